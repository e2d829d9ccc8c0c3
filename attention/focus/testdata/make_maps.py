#!/usr/bin/env python3
"""Golden focus maps of whole models, for gradient_test.go and norms_test.go.

For each model of KINDS, from models/testdata/golden, <model>_maps.npy is
(method, target, B, rows·cols): the maps of METHODS for TARGETS of the model's
own golden pixels, computed by PyTorch's automatic differentiation with each
author's formula. Their normalisation to 0..1, which changes no correlation,
is left out. <model>_norms.npy is (option, B, rows·cols): the maps of
NORM_OPTIONS, which know no class. <model>_looks.npy is (LOOKS, B, rows·cols): what
the probe looks at where the model pools by attention, else what the last block does, the mean of
the heads, the second of them, and rollout from it.

    relevance      Chefer et al. 2021, the notebook's rules for ViT
    gradrollout    vit-explain's grad_rollout with rows normalised, discard 0 and 0.5
    vit-explain    the same as that program computes it: columns divided,
                   gradients in the order its hooks meet them, discard 0.9
    gradcam        pytorch-grad-cam on a block's norm1
    legrad         LeGrad, the model's own pooling in place of its mean of tokens;
                   of attention pooling the gradient at its own attention
    inputgradient, integrated  captum's with a black baseline in [0, 1]
    normrollout    the summed norms of Kobayashi et al. 2020, each vector made,
                   rows normalised, rolled out with Abnar and Zuidema's identity

Made with torch 2.15.0, timm 1.0.31, transformers 5.24.0, safetensors 0.8.0, numpy 2.4.6. Run in
this folder, with the names of some models or without.
"""

import json
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch
import transformers

GOLDEN = Path("../../../models/testdata/golden")
# class token; distilled; not square and LayerScale; registers without class token; a norm before the blocks; a probe;
# rotary positions; relative ones, of a table and of an MLP; norms inside; both; learned rotary positions; root mean
# squares without a class token; attention and MLP side by side, their projections joined and apart; norms behind
KINDS = [
    "timm_vit", "timm_deit_distilled", "timm_deit3", "timm_reg_gap", "timm_pre_norm", "timm_map",
    "timm_dinov3", "timm_beit", "timm_relpos", "timm_beit3", "timm_eva02", "timm_rope_mixed", "timm_aimv2",
    "timm_parallel", "timm_parallel_apart", "timm_norm_after",
]
NORMED_AFTER = ["timm_norm_after"]  # whose heads' shares a norm behind them changes: no norm_rollout
LOOKS_OF = KINDS[5:]
TARGETS = [(0, None), (2, None), (3, 1)]  # a class, and the class that is subtracted
METHODS = ["relevance", "gradrollout", "gradrollout 0.5", "vit-explain", "gradcam", "gradcam 1", "legrad", "legrad 2", "inputgradient", "integrated"]
STEPS = 12
NORM_OPTIONS = [(0, 1), (0.5, 1), (0, 2)]  # discard ratio, first layer


def load(kind):
    folder = GOLDEN / kind
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], **config["model_args"])
    state = safetensors.torch.load_file(folder / "model.safetensors")
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    for b in model.blocks:
        getattr(b, "attn", b).fused_attn = False  # a parallel block attends itself
    if getattr(model, "attn_pool", None) is None:
        model.attn_pool = None
    else:
        model.attn_pool.forward = lambda x: pooled(model, x)[0]
    cfg = config["pretrained_cfg"]
    mean, std = (torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    return model.eval().requires_grad_(False), mean, std


def pooled(model, x):
    """timm's attention pooling and its attention (B, H, 1, N), which it does not tell."""
    p = model.attn_pool
    heads = lambda t: t.unflatten(-1, (p.num_heads, -1)).transpose(1, 2)
    k, v = map(heads, p.kv(x).chunk(2, -1))
    a = (heads(p.q(p.latent)) @ k.transpose(-2, -1) * p.head_dim**-0.5).softmax(-1)
    o = p.proj((a @ v).transpose(1, 2).flatten(2))
    return (o + p.mlp(p.norm(o)))[:, 0], a


class Run:
    """One forward pass of one image with its graph."""

    def __init__(self, model, mean, std, pixels):
        self.model = model
        self.pixels = pixels.clone().requires_grad_()
        self.attn, self.normed, self.tokens = [], [], []
        hooks = []
        for b in model.blocks:
            hooks.append(getattr(b, "attn", b).attn_drop.register_forward_pre_hook(lambda m, a: self.attn.append(a[0])))
            if type(b).__name__ == "ResPostBlock":  # attention is given the tokens themselves
                hooks.append(b.register_forward_pre_hook(lambda m, a: self.normed.append(a[0])))
            else:
                hooks.append(getattr(b, "norm1", getattr(b, "in_norm", None)).register_forward_hook(lambda m, a, o: self.normed.append(o)))
            hooks.append(b.register_forward_hook(lambda m, a, o: self.tokens.append(o)))
        if model.attn_pool is None:
            self.probe = None
            self.logits = model((self.pixels - mean) / std)[0]
        else:
            assert model.pool_include_prefix
            features, self.probe = pooled(model, model.forward_features((self.pixels - mean) / std))
            self.logits = model.head(features)[0]
        for h in hooks:
            h.remove()
        self.prefix = model.num_prefix_tokens
        self.pooled = model.global_pool == "avg"

    def grads(self, target, of, logits=None):
        logits = self.logits if logits is None else logits
        y = logits[target[0]] - (logits[target[1]] if target[1] is not None else 0)
        return torch.autograd.grad(y, of, retain_graph=True)

    def row(self, r, begins=None):
        if begins is not None:  # what a probe looks at, through the layers
            return (begins @ r)[self.prefix :]
        r = r[self.prefix :].mean(0) if self.pooled else r[0]
        return r[self.prefix :]

    def patches(self, x):
        p = self.model.patch_embed.patch_size
        return torch.nn.functional.avg_pool2d(x.sum(1, keepdim=True), p).flatten() * p[0] * p[1]


def relevance(run, target):
    r = torch.eye(run.attn[0].shape[-1])
    for a, g in zip(run.attn, run.grads(target, run.attn)):
        r = r + (g[0] * a[0]).clamp(min=0).mean(0) @ r
    if run.probe is None:
        return run.row(r)
    (g,) = run.grads(target, [run.probe])
    return run.row(r, (g * run.probe)[0, :, 0].clamp(min=0).mean(0))


def grad_rollout(run, target, discard, hooked):
    n = run.attn[0].shape[-1]
    result = torch.eye(n)
    grads = run.grads(target, run.attn)
    for a, g in zip(run.attn, reversed(grads) if hooked else grads):
        fused = (a[0] * g[0]).mean(0).clamp(min=0).clone()
        fused.view(-1)[fused.flatten().topk(int(n * n * discard), largest=False).indices] = 0
        m = (fused + torch.eye(n)) / 2
        m = m / (m.sum(-1) if hooked else m.sum(-1, keepdim=True))
        result = m @ result
    if run.probe is None:
        return run.row(result)
    (g,) = run.grads(target, [run.probe])
    begins = (g * run.probe)[0, :, 0].mean(0).clamp(min=0)
    return run.row(result, begins / begins.sum())


def rollout(run):
    result = torch.eye(run.attn[0].shape[-1])
    for a in run.attn:
        m = a[0].mean(0) + torch.eye(len(result))
        result = m / m.sum(-1, keepdim=True) @ result
    return run.row(result, None if run.probe is None else run.probe[0, :, 0].mean(0))


def looks(run):
    if run.probe is not None:
        raw = [run.probe[0, :, 0].mean(0)[run.prefix :], run.probe[0, 1, 0, run.prefix :]]
    else:
        raw = [run.row(run.attn[-1][0].mean(0)), run.row(run.attn[-1][0, 1])]
    return [*raw, rollout(run)]


def values_of(attn, x):
    if hasattr(attn, "in_proj"):  # a parallel block: hidden, queries, keys, values
        bias = None if attn.in_proj.bias is None else attn.in_proj.bias[-x.shape[-1] :]
        return torch.nn.functional.linear(x, attn.in_proj.weight[-x.shape[-1] :], bias)
    if attn.qkv is None:
        return attn.v_proj(x)
    bias = getattr(attn, "v_bias", None)
    if bias is None and attn.qkv.bias is not None:
        bias = attn.qkv.bias.chunk(3)[2]
    return torch.nn.functional.linear(x, attn.qkv.weight.chunk(3)[2], bias)


def norm_rollout(run, discard, start):
    n = run.attn[0].shape[-1]
    result = torch.eye(n)
    for block, a, normed in list(zip(run.model.blocks, run.attn, run.normed))[start - 1 :]:
        heads = a.shape[1]
        values = values_of(getattr(block, "attn", block), normed[0]).unflatten(-1, (heads, -1))  # (N, H, D)
        if hasattr(block, "attn"):
            project = block.attn.proj.weight
        elif hasattr(block, "attn_out_proj"):
            project = block.attn_out_proj.weight
        else:
            project = block.out_proj.weight[:, : normed.shape[-1]]
        gamma = getattr(getattr(block, "ls1", getattr(block, "ls", None)), "gamma", getattr(block, "gamma_1", None))
        if gamma is not None:
            project = project * gamma[:, None]  # what reaches the residual stream
        if isinstance(getattr(getattr(block, "attn", None), "norm", None), torch.nn.LayerNorm):
            # of what a norm makes of the heads, but for the deviation of what they are together
            project = project * block.attn.norm.weight
            project = project - project.mean(1, keepdim=True)
        f = torch.einsum("jhd,chd->hjc", values, project.unflatten(-1, (heads, -1)))
        moved = torch.einsum("hij,hjc->ijc", a[0], f).norm(dim=-1)
        moved = moved / moved.sum(-1, keepdim=True)
        kept = moved[0, 0].clone()
        moved.view(-1)[moved.flatten().topk(int(n * n * discard), largest=False).indices] = 0
        moved[0, 0] = kept
        m = moved + torch.eye(n)
        result = m / m.sum(-1, keepdim=True) @ result
    return run.row(result, None if run.probe is None else run.probe[0, :, 0].mean(0))


def gradcam(run, target, layer):
    (g,) = run.grads(target, [run.normed[layer]])
    x, g = run.normed[layer][0, run.prefix :], g[0, run.prefix :]
    return (x * g.mean(0)).sum(-1).clamp(min=0)


def legrad(run, target, start):
    total = 0
    for tokens, attn in list(zip(run.tokens, run.attn))[start:]:
        if run.probe is not None:
            features, attn = pooled(run.model, run.model.norm(tokens))
            logits = run.model.head(features)[0]
        else:
            logits = head(run.model, tokens)[0]
        (g,) = run.grads(target, [attn], logits)
        total = total + g[0].clamp(min=0).mean(0).mean(0)[run.prefix :]
    return total


def head(model, tokens):
    if hasattr(model, "dinov2_with_registers"):
        y = model.dinov2_with_registers.layernorm(tokens)
        return model.classifier(torch.cat([y[:, 0], y[:, 1 + model.config.num_register_tokens :].mean(1)], 1))
    if hasattr(model, "vision_model"):
        return model.classifier(tokens[:, 1:].mean(1))
    y = model.forward_head(model.norm(tokens))
    return (y[0] + y[1]) / 2 if isinstance(y, tuple) else y


def integrated(model, mean, std, pixels, target):
    total = 0
    for k in range(STEPS):
        run = Run(model, mean, std, pixels * (k + 0.5) / STEPS)
        total = total + run.grads(target, [run.pixels])[0] / STEPS
    return run.patches(total * pixels)


def maps(model, mean, std, pixels, target):
    run = Run(model, mean, std, pixels)
    return {
        "relevance": relevance(run, target),
        "gradrollout": grad_rollout(run, target, 0, False),
        "gradrollout 0.5": grad_rollout(run, target, 0.5, False),
        "vit-explain": grad_rollout(run, target, 0.9, True),
        "gradcam": gradcam(run, target, -1),
        "gradcam 1": gradcam(run, target, 0),
        "legrad": legrad(run, target, -2),
        "legrad 2": legrad(run, target, 1),
        "inputgradient": run.patches(run.grads(target, [run.pixels])[0] * pixels),
        "integrated": integrated(model, mean, std, pixels, target),
    }


class TransformersRun(Run):
    """The same of a classifier of transformers: DINOv2's, CLIP's."""

    def __init__(self, model, mean, std, pixels):
        self.model = model
        self.pixels, self.probe = pixels.clone().requires_grad_(), None
        self.attn, self.normed, self.tokens = [], [], []
        hooks = []
        dino = hasattr(model, "dinov2_with_registers")
        for b in model.dinov2_with_registers.encoder.layer if dino else model.vision_model.encoder.layers:
            hooks.append((b.attention if dino else b.self_attn).register_forward_hook(lambda m, a, o: self.attn.append(o[1])))
            hooks.append((b.norm1 if dino else b.layer_norm1).register_forward_hook(lambda m, a, o: self.normed.append(o)))
            hooks.append(b.register_forward_hook(lambda m, a, o: self.tokens.append(o)))
        self.logits = model((self.pixels - mean) / std).logits[0]
        for h in hooks:
            h.remove()
        self.prefix = 1 + getattr(model.config, "num_register_tokens", 0)
        self.pooled = not dino

    def patches(self, x):
        p = 8
        return torch.nn.functional.avg_pool2d(x.sum(1, keepdim=True), p).flatten() * p * p


TRANSFORMERS = {
    "hf_dinov2_registers_head": transformers.Dinov2WithRegistersForImageClassification,
    "hf_clip_head": transformers.CLIPForImageClassification,
}


def load_transformers(kind):
    model = TRANSFORMERS[kind].from_pretrained(GOLDEN / kind, attn_implementation="eager")
    cfg = json.loads((GOLDEN / kind / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("image_mean", "image_std"))
    return model.eval().requires_grad_(False), mean, std


asked = sys.argv[1:] or [*TRANSFORMERS, *KINDS]
for kind in filter(asked.__contains__, TRANSFORMERS):
    model, mean, std = load_transformers(kind)
    timm_run, Run = Run, TransformersRun
    pixels = torch.from_numpy(np.load(GOLDEN / kind / "pixels.npy"))
    found = [[maps(model, mean, std, x[None], t) for x in pixels] for t in TARGETS]
    Run = timm_run
    stacked = torch.stack([torch.stack([torch.stack([m[name] for m in by]) for by in found]) for name in METHODS])
    assert stacked.isfinite().all()
    np.save(f"{kind}_maps.npy", stacked.detach().numpy())

for kind in filter(asked.__contains__, KINDS):
    model, mean, std = load(kind)
    pixels = torch.from_numpy(np.load(GOLDEN / kind / "pixels.npy"))
    found = [[maps(model, mean, std, x[None], t) for x in pixels] for t in TARGETS]
    stacked = torch.stack([torch.stack([torch.stack([m[name] for m in by]) for by in found]) for name in METHODS])
    assert stacked.isfinite().all()
    np.save(f"{kind}_maps.npy", stacked.detach().numpy())
    runs = [Run(model, mean, std, x[None]) for x in pixels]
    if kind in LOOKS_OF:
        np.save(f"{kind}_looks.npy", torch.stack([torch.stack(by) for by in zip(*map(looks, runs))]).detach().numpy())
    if kind in NORMED_AFTER:
        continue
    norms = torch.stack([torch.stack([norm_rollout(run, *o) for run in runs]) for o in NORM_OPTIONS])
    assert norms.isfinite().all()
    np.save(f"{kind}_norms.npy", norms.detach().numpy())
