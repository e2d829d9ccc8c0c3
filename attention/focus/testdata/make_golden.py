#!/usr/bin/env python3
"""Golden focus maps for golden_test.go: random attention and what the
formulas, written with PyTorch as their authors write them, make of it.

For each kind of model, <kind>_attn.npy is (L, B, H, N, N) and
<kind>_rollout.npy (case, B, N): the rollout's row of the class token, or the
mean of the rows of a model without one, prefix columns included. The cases
are those of CASES, in order.

Made with torch 2.15.0, numpy 2.4.6. Run in this folder.
"""

import numpy as np
import torch

KINDS = {"class": (1, 3, 4), "distilled": (2, 3, 3), "patches": (0, 4, 3)}  # prefix, rows, cols
CASES = [(f, d, a) for f in ("mean", "max", "min") for d in (0.0, 0.5, 0.9) for a in ("row", "column")]


def rollout(layers, fusion, discard, axis):
    n = layers[0].shape[-1]
    result = torch.eye(n)
    for attn in layers:  # (H, N, N)
        fused = {"mean": attn.mean(0), "max": attn.amax(0), "min": attn.amin(0)}[fusion].clone()
        lowest = fused.flatten().topk(int(n * n * discard), largest=False).indices
        fused.view(-1)[lowest[lowest != 0]] = 0
        a = (fused + torch.eye(n)) / 2
        sums = a.sum(dim=-1)
        # Without keepdim, broadcasting divides the columns: vit-explain's.
        a = a / (sums[:, None] if axis == "row" else sums)
        result = a @ result
    return result


torch.manual_seed(6)
for kind, (prefix, rows, cols) in KINDS.items():
    n = prefix + rows * cols
    attn = torch.softmax(2 * torch.randn(3, 2, 2, n, n), -1)
    want = []
    for case in CASES:
        full = torch.stack([rollout(list(attn[:, b]), *case) for b in range(2)])
        want.append(full[:, 0] if prefix else full.mean(1))
    np.save(f"{kind}_attn.npy", attn.numpy())
    np.save(f"{kind}_rollout.npy", torch.stack(want).numpy())
