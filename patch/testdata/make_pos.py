"""Position embeddings of random grids brought to other grids, by timm's rule
and by transformers'. Made with torch 2.15.0 and timm 1.0.31, numpy 2.4.6.

    python make_pos.py

writes pos/FROM.npy (rows·columns, C) and pos/FROM-TO-RULE.npy.
"""

from pathlib import Path

import numpy as np
import torch
from timm.layers import resample_abs_pos_embed

OUT = Path(__file__).parent / "pos"
OUT.mkdir(exist_ok=True)
DIM = 3
GRIDS = [(4, 4), (7, 7), (3, 5), (1, 2)]
SIZES = [(8, 8), (5, 9), (3, 2), (1, 1), (14, 3), (4, 4)]


def huggingface(pos, old, new):
    """What ViTEmbeddings.interpolate_pos_encoding does to the patches' part."""
    x = pos.reshape(1, *old, DIM).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, size=new, mode="bicubic", align_corners=False)
    return x.permute(0, 2, 3, 1).reshape(-1, DIM)


def dinov2(pos, old, new):
    """What DinoVisionTransformer.interpolate_pos_encoding does, with its offset of 0.1."""
    x = pos.reshape(1, *old, DIM).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, scale_factor=[(n + 0.1) / o for n, o in zip(new, old)], mode="bicubic")
    assert x.shape[2:] == new
    return x.permute(0, 2, 3, 1).reshape(-1, DIM)


def bilinear(pos, old, new):
    """What Tipsv2VisionEmbeddings.interpolate_pos_encoding does."""
    x = pos.reshape(1, *old, DIM).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, size=new, mode="bilinear", align_corners=False, antialias=True)
    return x.permute(0, 2, 3, 1).reshape(-1, DIM)


def radio(pos, old, new):
    """What RadioPatchEmbeddings does: a square as long as the longer side, cut."""
    x = pos.reshape(1, *old, DIM).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, size=(max(new), max(new)), mode="bilinear", align_corners=False)[..., : new[0], : new[1]]
    return x.permute(0, 2, 3, 1).reshape(-1, DIM)


def corners(pos, old, new):
    """What NaFlexEmbeds does for RADIO's of align_corners: a square, cut."""
    x = pos.reshape(1, *old, DIM).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, size=(max(new), max(new)), mode="bilinear", align_corners=True)[..., : new[0], : new[1]]
    return x.permute(0, 2, 3, 1).reshape(-1, DIM)


def square(pos, old, new):
    """What NaFlexEmbeds does where it preserves the aspect: a square, cut."""
    x = pos.reshape(1, *old, DIM).permute(0, 3, 1, 2)
    x = torch.nn.functional.interpolate(x, size=(max(new), max(new)), mode="bicubic", align_corners=False, antialias=True)[..., : new[0], : new[1]]
    return x.permute(0, 2, 3, 1).reshape(-1, DIM)


for i, old in enumerate(GRIDS):
    pos = torch.randn(old[0] * old[1], DIM, generator=torch.Generator().manual_seed(i))
    name = "%dx%d" % old
    np.save(OUT / f"{name}.npy", pos.numpy())
    for new in SIZES:
        if new == old:
            continue
        timm = resample_abs_pos_embed(pos[None], list(new), list(old), num_prefix_tokens=0)[0]
        np.save(OUT / ("%s-%dx%d-timm.npy" % (name, *new)), timm.numpy())
        np.save(OUT / ("%s-%dx%d-huggingface.npy" % (name, *new)), huggingface(pos, old, new).numpy())
        for rule in bilinear, radio:
            np.save(OUT / ("%s-%dx%d-%s.npy" % (name, *new, rule.__name__)), rule(pos, old, new).numpy())
        np.save(OUT / ("%s-%dx%d-radio-corners.npy" % (name, *new)), corners(pos, old, new).numpy())
        np.save(OUT / ("%s-%dx%d-timm-square.npy" % (name, *new)), square(pos, old, new).numpy())
        if old[0] == old[1]:
            np.save(OUT / ("%s-%dx%d-dinov2.npy" % (name, *new)), dinov2(pos, old, new).numpy())
