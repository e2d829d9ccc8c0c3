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
