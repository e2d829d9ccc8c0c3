"""Writes timm_archs.csv, one folder up: what timm's VisionTransformers are by
their names. Made with timm 1.0.31 and torch 2.15.0; no weights are fetched.

    python make_archs.py
"""

import csv
from pathlib import Path

import timm
import torch
from timm.models.vision_transformer import Block, VisionTransformer

ACTS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "swiglu"}


def plain(m):
    """What this project's layout covers: one kind of block, layer norms, a patch convolution."""
    return (
        isinstance(m, VisionTransformer)
        and all(type(b) is Block for b in m.blocks)
        and type(m.patch_embed).__name__ == "PatchEmbed"
        and {type(x).__name__ for x in m.modules() if "Norm" in type(x).__name__} == {"LayerNorm"}
    )


with open(Path(__file__).parent.parent / "timm_archs.csv", "w", newline="") as f:
    out = csv.writer(f, lineterminator="\n")
    out.writerow(["arch", "dim", "heads", "depth", "hidden", "patch", "image", "eps", "act", "pool", "fc_norm"])
    for name in timm.list_models(["vit_*", "deit*", "test_vit*", "flexivit*"]):
        with torch.device("meta"):
            m = timm.create_model(name, num_classes=5)
        if not plain(m):
            continue
        b = m.blocks[0]
        (eps,) = {x.eps for x in m.modules() if type(x).__name__ == "LayerNorm"}
        out.writerow([
            name, m.embed_dim, b.attn.num_heads, len(m.blocks), b.mlp.fc2.in_features, m.patch_embed.patch_size[0], m.patch_embed.img_size[0],
            eps, ACTS[type(b.mlp.act).__name__], m.global_pool, type(m.fc_norm).__name__ == "LayerNorm",
        ])
