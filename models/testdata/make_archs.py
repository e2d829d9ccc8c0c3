"""Writes two tables, one folder up. timm_archs.csv: what timm's VisionTransformers,
Evas and Beits are by their names. timm_ropes.csv: the rotary positions of those
that have any. Made with timm 1.0.31 and torch 2.15.0; no weights are fetched.

    python make_archs.py
"""

import csv
from pathlib import Path

import timm
import torch
from timm.layers import pos_embed_sincos as rope
from timm.models.beit import Beit
from timm.models.beit import Block as BeitBlock
from timm.models.eva import Eva, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer

ACTS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "swiglu"}


def plain(m):
    """What this project's layout covers: one kind of block, layer norms, a patch convolution."""
    return (
        isinstance(m, (VisionTransformer, Eva, Beit))
        and all(type(b) in (Block, EvaBlock, BeitBlock) for b in m.blocks)
        and type(m.patch_embed).__name__ == "PatchEmbed"
        and {type(x).__name__ for x in m.modules() if "Norm" in type(x).__name__} == {"LayerNorm"}
    )


def rotary(name, m):
    """The rotary positions of a model, or None."""
    r = getattr(m, "rope", None)
    kinds = {
        rope.RotaryEmbeddingCat: "axial", rope.RotaryEmbeddingMixed: "mixed", rope.RotaryEmbeddingDinoV3: "dinov3", rope.RotaryEmbeddingMRope: "mrope",
    }
    if r is None:
        return None
    assert not getattr(r, "in_pixels", False) and getattr(r, "grid_type", "index") == "index" and getattr(r, "normalize_coords", "separate") == "separate"
    h, w = getattr(r, "ref_feat_shape", None) or (0, 0)
    return [
        name, kinds[type(r)], r.temperature, getattr(r, "grid_offset", 0), r.grid_indexing, h, w,
        m.blocks[0].attn.rotate_half, " ".join(map(str, getattr(r, "mrope_section", ()))),
    ]


here = Path(__file__).parent.parent
with open(here / "timm_archs.csv", "w", newline="") as f, open(here / "timm_ropes.csv", "w", newline="") as g:
    out, ropes = csv.writer(f, lineterminator="\n"), csv.writer(g, lineterminator="\n")
    out.writerow(["arch", "dim", "heads", "depth", "hidden", "patch", "image", "eps", "act", "pool", "fc_norm", "norm"])
    ropes.writerow(["arch", "kind", "temperature", "offset", "indexing", "ref_h", "ref_w", "half", "section"])
    for name in timm.list_models(["vit_*", "deit*", "test_vit*", "flexivit*", "eva*", "beit*"]):
        with torch.device("meta"):
            m = timm.create_model(name, num_classes=5)
        if not plain(m):
            continue
        b = m.blocks[0]
        (eps,) = {x.eps for x in m.modules() if type(x).__name__ == "LayerNorm"}
        out.writerow([
            name, m.embed_dim, b.attn.num_heads, len(m.blocks), b.mlp.fc2.in_features, m.patch_embed.patch_size[0], m.patch_embed.img_size[0],
            eps, ACTS[type(b.mlp.act).__name__], m.global_pool, type(m.fc_norm).__name__ == "LayerNorm",
            {"Identity": "pooled" if type(m.fc_norm).__name__ == "LayerNorm" else "none"}.get(type(m.norm).__name__, "tokens"),
        ])
        if row := rotary(name, m):
            ropes.writerow(row)
