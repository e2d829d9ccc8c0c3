"""Random weights that show faults.

Weights as training scripts begin with them hide faults: norms of ones, biases
of zeros and a residual stream of order one make eps, the form of the GELU and a
lost bias invisible. Here norms are 0.5 to 1.5, biases, tokens and positions are
random, what is added to the residual stream is 3e-3 of the usual, so that eps
counts beside its variance, and the first layer of an MLP is doubled, so that
the GELUs differ. census.py sensitivity measures what that shows.
"""

import contextlib
import math
import re

import torch

STREAM = 3e-3

# What writes to the residual stream, in the names of both libraries.
WRITERS = re.compile(
    r"(attn|attention|self_attn|attn_pool|cross_attn)\.(proj|out_proj|o_proj|projection)\."
    r"|output\.dense\.|(^|\.)(fc2|w3|down_proj|weights_out|linear_fc2|lin2)\."
    r"|patch_embed|embeddings\.projection|patch_generator|patchifier"
    r"|(cls|dist|reg|class|distillation|register|detection|mask|storage)_(token|embed)|pos_embed|position_embed"
    r"|norm_pre|pre_layrnorm|embeds\.|patch_conv"
)
FIRST = re.compile(r"(^|\.)(fc1|fc1_g|fc1_x|w12|w1|w2|weights_in|up_proj|gate_proj|intermediate\.dense|linear_fc1|lin1)\.")
SCALES = re.compile(r"gamma|lambda|layer_scale|(^|\.)ls\d|_gain$")
KEPT = re.compile(r"logit_scale|logit_bias|inv_freq|periods|position_ids|relative_position_index|num_batches")
NORM = re.compile(r"norm|(^|\.)ln_|layrnorm", re.I)


def norms(model):
    """Names of the parameters of norms, by the class of their module."""
    found = set()
    for name, module in model.named_modules():
        if "norm" in type(module).__name__.lower():
            found.update(f"{name}.{p}" for p, _ in module.named_parameters(recurse=False))
    return found


@torch.no_grad()
def randomise(model, seed):
    """Fills every parameter and buffer that a file holds."""
    g = torch.Generator().manual_seed(seed)
    of_norms, held = norms(model), set(model.state_dict())
    tensors = [*model.named_parameters(), *(b for b in model.named_buffers() if b[0] in held)]
    for name, p in tensors:
        if KEPT.search(name) or not p.is_floating_point() or p.dim() == 0:
            continue
        size = STREAM if WRITERS.search(name) else 1.0
        if post_norm(model, name):
            size = STREAM
        if name in of_norms and p.dim() == 1 and name.endswith("weight") or name.endswith("running_var"):
            p.uniform_(0.5, 1.5, generator=g).mul_(size)
        elif SCALES.search(name):
            p.uniform_(0.5, 1.5, generator=g)
        elif "freqs" in name:
            p.mul_(torch.empty_like(p).uniform_(0.9, 1.1, generator=g))
        elif "relative_position_bias_table" in name or "rel_pos" in name and p.dim() == 2:
            p.normal_(0, 0.5, generator=g)
        elif name.endswith("bias") or p.dim() == 1 and "embed" not in name:
            p.normal_(0, 0.2 * size, generator=g)
        elif "token" in name or "embed" in name and not name.endswith(("proj.weight", "projection.weight")) or "latent" in name or "probe" in name:
            p.normal_(0, size, generator=g)
        else:
            gain = 2.0 if FIRST.search(name) else 1.0
            p.normal_(0, size * gain / math.sqrt(p[0].numel()), generator=g)


def post_norm(model, name):
    """Norms after a branch write to the residual stream themselves."""
    at = name.rsplit(".", 2)[0]
    try:
        block = model.get_submodule(at)
    except AttributeError:
        return False
    return "PostNorm" in type(block).__name__ or "PostBlock" in type(block).__name__


@contextlib.contextmanager
def uninitialised():
    """Leaves out the libraries' own initialisation, whose numbers are overwritten."""
    names = ["normal_", "uniform_", "erfinv_"]
    kept = {n: getattr(torch.Tensor, n) for n in names if hasattr(torch.Tensor, n)}
    try:
        for n in kept:
            setattr(torch.Tensor, n, lambda self, *a, **k: self.zero_())  # a truncated normal is drawn until it is in its bounds
        yield
    finally:
        for n, f in kept.items():
            setattr(torch.Tensor, n, f)
