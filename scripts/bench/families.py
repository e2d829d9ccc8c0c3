"""Measures how fast families of ViT-B's size are beside ViT-B itself.

    python scripts/bench/families.py --vitserve ./vitserve [--rounds 3] [--precision f32,bf16] [--threads 1]

Each is a checkpoint of random weights as timm saves it. In every round each is measured in turn by
`vitserve bench`. The best time of all rounds counts, beside the best peak, for other work on the
machine only makes both worse. Writes a table in Markdown to standard output.
Needs timm, torch and safetensors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
from timm.models import save_for_hf

MODELS = [
    ("ViT-B/16", "vit_base_patch16_224", {}),
    ("DINOv2-B/14", "vit_base_patch14_dinov2", {"img_size": 224}),
    ("SigLIP-B/16", "vit_base_patch16_siglip_224", {}),
    ("DINOv3-B/16", "vit_base_patch16_dinov3", {"img_size": 224}),
    ("BEiT-B/16", "beit_base_patch16_224", {}),
    ("EVA-02-B/14", "eva02_base_patch14_224", {}),
    ("EVA-02-B/16, CLIP's", "eva02_base_patch16_clip_224", {}),
]


def save(arch, args, folder):
    torch.manual_seed(1)
    model = timm.create_model(arch, **args)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "relative_position_bias_table" in name or name.endswith(("bias", "q_bias", "v_bias")):
                p.normal_(0, 0.1)
    size = args.get("img_size", model.pretrained_cfg["input_size"][-1])
    model.pretrained_cfg = dict(model.pretrained_cfg) | dict(input_size=(3, size, size))
    save_for_hf(model, folder, model_args=args, safe_serialization=True)


def measure(program, folder, o, precision):
    done = subprocess.run(
        [program, "bench", "--model", folder, "--precision", precision, "--threads", o.threads, "--seconds", str(o.seconds), "--json"],
        capture_output=True, text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--vitserve", default="./vitserve")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--precision", default="f32,bf16")
    p.add_argument("--threads", default="1")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for _, arch, args in MODELS:
            save(arch, args, Path(work) / arch)
        best, peak = {}, 0
        precisions = o.precision.split(",")
        for _ in range(o.rounds):
            for precision in precisions:
                for name, arch, _ in MODELS:
                    line = measure(o.vitserve, str(Path(work) / arch), o, precision)
                    key = name, precision
                    if key not in best or line["ms_per_image"] < best[key]["ms_per_image"]:
                        best[key] = line
                    peak = max(peak, line["peak_gflops"])
    share = {key: line["gflop_per_image"] / line["ms_per_image"] * 1e3 / peak for key, line in best.items()}
    print("| family |" + "".join(f" {q}: ms an image | share of the peak | beside ViT-B |" for q in precisions))
    print("|---|" + "---|" * (3 * len(precisions)))
    for name, _, _ in MODELS:
        row = f"| {name} |"
        for q in precisions:
            row += f" {best[name, q]['ms_per_image']:.0f} | {share[name, q]:.3f} | {share[name, q] / share['ViT-B/16', q]:.3f} |"
        print(row)


main()
