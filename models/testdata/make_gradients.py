"""Gradients of the tiny models that make_golden.py made, by PyTorch.

    python make_gradients.py [FAMILY...]

writes into golden/FAMILY/, of L = Σ seed ∘ logits (features without a head),
as .npy of float32:

    seed           (B, K) normally distributed
    grad_pixels    (B, 3, H, W) ∂L/∂pixels in [0, 1]
    grad_tokens    (L+1, B, N, C) ∂L/∂ of the embedding and of every block's output
    grad_attention (L, B, H, N, N) ∂L/∂ of the probabilities of every layer

make_golden.py removes them: run it first. Made with the versions that
golden/versions.txt names: torch 2.15.0,
timm 1.0.31, safetensors 0.8.0, numpy 2.4.6.
"""

import json
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch

HERE = Path(__file__).parent
# Class token, distilled, LayerScale on a grid that is not square, registers
# with the mean of the patches, pre-norm with QuickGELU, registers without a head.
FAMILIES = ["timm_vit", "timm_deit_distilled", "timm_deit3", "timm_reg_gap", "timm_pre_norm", "timm_reg_cls"]


def load(folder):
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], **config["model_args"])
    state = safetensors.torch.load_file(folder / "model.safetensors")
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    cfg = config["pretrained_cfg"]
    return model.eval(), *(torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))


def derive(folder):
    model, mean, std = load(folder)
    tokens, attention = [], []

    def keep(to, x):
        x.retain_grad()
        to.append(x)

    model.blocks[0].register_forward_pre_hook(lambda m, a: keep(tokens, a[0]))
    for b in model.blocks:
        b.attn.fused_attn = False
        b.register_forward_hook(lambda m, a, o: keep(tokens, o))
        b.attn.attn_drop.register_forward_pre_hook(lambda m, a: keep(attention, a[0]))
    pixels = torch.from_numpy(np.load(folder / "pixels.npy")).requires_grad_()
    y = model.forward_features((pixels - mean) / std)
    logits = model.forward_head(y) if model.num_classes else model.forward_head(y, pre_logits=True)
    seed = torch.randn(logits.shape, generator=torch.Generator().manual_seed(7))
    (seed * logits).sum().backward()
    golden = folder / ("logits.npy" if model.num_classes else "features.npy")
    assert np.abs(np.load(golden) - logits.detach().numpy()).max() < 1e-5, "not the model of the goldens"
    for name, a in dict(
        seed=seed,
        grad_pixels=pixels.grad,
        grad_tokens=torch.stack([t.grad for t in tokens]),
        grad_attention=torch.stack([t.grad for t in attention]),
    ).items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(a.detach().numpy()))


for name in sys.argv[1:] or FAMILIES:
    print(name)
    derive(HERE / "golden" / name)
