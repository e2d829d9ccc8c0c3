#!/usr/bin/env python3
"""Times a Vision Transformer in PyTorch, beside which vitserve bench stands: python3 peer.py --json FILE [--quick]

DeiT's and ViT's sizes with random weights, in float32 (without TF32) and bfloat16, as it is and compiled, on the first
GPU, or on the CPU where there is none.
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn

SIZES = {"deit_tiny_patch16_224": (192, 3, 12), "deit_small_patch16_224": (384, 6, 12), "vit_base_patch16_224": (768, 12, 12)}


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(y.transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, dim, heads, depth):
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 16, 16)
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 197, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, 1000)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


def measure(model, x, device, once):
    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(1 if once else 5):
        model(x)
    wait()
    times, begun = [], time.perf_counter()
    while len(times) < (1 if once else 10) or (not once and time.perf_counter() - begun < 1):
        start = time.perf_counter()
        model(x)
        wait()
        times.append(time.perf_counter() - start)
    return min(times), statistics.median(times)


@torch.inference_mode()
def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--json", required=True)
    p.add_argument("--quick", action="store_true")
    args = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rows, begun = [], time.perf_counter()
    for name, size in list(SIZES.items())[:1] if args.quick else SIZES.items():
        for kind in ["f32"] if args.quick else ["f32", "bf16"]:
            model = ViT(*size).eval().to(device, torch.float32 if kind == "f32" else torch.bfloat16)
            for how in ["eager"] if args.quick else ["eager", "compiled"]:
                for batch in [1] if args.quick else [1, 8, 64]:
                    if time.perf_counter() - begun > 90:
                        break
                    run = torch.compile(model) if how == "compiled" else model
                    x = torch.randn(batch, 3, 224, 224, device=device, dtype=next(model.parameters()).dtype)
                    best, median = measure(run, x, device, args.quick)
                    rows.append({"model": name, "precision": kind, "how": how, "batch": batch, "ms_per_image": 1e3 * best / batch,
                                 "ms_median": 1e3 * median / batch, "images_per_second": batch / best})
                    print(rows[-1], flush=True)
                    found = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "rows": rows}
                    with open(args.json, "w") as f:  # after each, so that nothing is lost
                        json.dump(found, f)


if __name__ == "__main__":
    main()
