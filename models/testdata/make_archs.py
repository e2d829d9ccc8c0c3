"""Writes two tables, one folder up. timm_archs.csv: what timm's VisionTransformers,
with relative positions or without, Evas and Beits are by their names. timm_ropes.csv: the rotary positions of those
that have any. Made with timm 1.0.31 and torch 2.15.0; no weights are fetched.

    python make_archs.py
"""

import csv
from pathlib import Path

import timm
import torch
from timm.layers import pos_embed_sincos as rope
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos

NORMS = {"LayerNorm": "layernorm", "RmsNorm": "rmsnorm"}
ACTS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "swiglu"}


def read(m):
    """What this project's layout covers: a patch convolution and blocks of one kind."""
    if isinstance(m, NaFlexVit):
        return m.embeds.is_linear and m.embeds.channels_last and m.embeds.norm_input is None and not m.embeds.pos_embed_use_grid_sample
    return isinstance(m, (VisionTransformer, VisionTransformerRelPos, Eva, Beit)) and type(m.patch_embed).__name__ == "PatchEmbed"


def embedding(m):
    """Patch size, input size, and of NaFlexVit how positions are brought to another grid."""
    if not isinstance(m, NaFlexVit):
        return m.patch_embed.patch_size[0], m.patch_embed.img_size[0], ""
    e = m.embeds
    how = [e.pos_embed_interp_mode] if e.pos_embed_type == "learned" else [e.pos_embed_type]
    how += [word for word, on in (("antialias", e.pos_embed_antialias), ("corners", e.pos_embed_align_corners), ("proportion", e.pos_embed_ar_preserving)) if on]
    return e.patch_size[0], m.default_cfg["input_size"][1], "+".join(how)


def last(m):
    """Where the last norm stands."""
    return "pooled" if hasattr(m.fc_norm, "eps") else "tokens" if hasattr(m.norm, "eps") else "none"


def norms(m):
    """Those that a model has of one kind, whatever else there is inside its blocks."""
    b = m.blocks[0]
    return [n for n in (m.norm, m.fc_norm, getattr(b, "norm1", None), getattr(b, "in_norm", None)) if hasattr(n, "eps")] or [b.attns[0].norm]


def act(block):
    (found,) = {type(x).__name__ for x in block.modules() if type(x).__name__ in ACTS}
    return ACTS[found]


def hidden(block):
    """Inputs of the MLP's second layer."""
    if hasattr(block, "in_split"):
        return block.in_split[0]
    return (block.mlp if hasattr(block, "mlp") else block.ffns[0].mlp).fc2.in_features


def heads(block):
    return (block.attns[0].attn if hasattr(block, "attns") else getattr(block, "attn", block)).num_heads


def kind(block):
    """The class of the block, and of its attention where that is another than usual."""
    name, attn = type(block).__name__, type(getattr(block, "attn", None)).__name__
    return name + "+" + attn if attn == "DiffAttention" else name


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
    out.writerow(["arch", "dim", "heads", "depth", "hidden", "patch", "image", "eps", "act", "pool", "last_norm", "norm", "block", "prefix_pooled", "probe_heads", "positions"])
    ropes.writerow(["arch", "kind", "temperature", "offset", "indexing", "ref_h", "ref_w", "half", "section"])
    for name in timm.list_models(["vit_*", "deit*", "test_vit*", "flexivit*", "eva*", "beit*", "aimv2*", "naflexvit*"]):
        with torch.device("meta"):
            m = timm.create_model(name, num_classes=5)
        if not read(m):
            continue
        b, probe = m.blocks[0], getattr(m, "attn_pool", None)
        patch, image, positions = embedding(m)
        (eps,), (norm,) = {n.eps for n in norms(m)}, {NORMS[type(n).__name__] for n in norms(m)}
        out.writerow([
            name, m.embed_dim, heads(b), len(m.blocks), hidden(b), patch, image,
            eps, act(b), m.global_pool, last(m), norm, kind(b), getattr(m, "pool_include_prefix", isinstance(m, Eva) and probe is not None),
            probe.num_heads if probe is not None else 0, positions,
        ])
        if row := rotary(name, m):
            ropes.writerow(row)
