"""Tiny random models of every checkpoint layout, with what timm and
transformers compute from them.

    python make_golden.py [FAMILY...]

writes golden/FAMILY/ beside this file: the checkpoint as its library saves it
(config.json, preprocessor_config.json, *.safetensors) and, as .npy of float32,

    pixels    (B, 3, H, W) in [0, 1], before the model's normalisation
    tokens    (L+1, B, N, C) the embedding, then the output of every block
    attention (L, B, H, N, N) the probabilities of every layer
    probe     (B, H, 1, N) the probabilities of attention pooling, where there is one
    features  (B, F) what the head is applied to
    logits    (B, K), where there is a head
    dpixels, dattention, dprobe: the gradients at pixels and at attention of the sum,
              over the batch, of the best class's logit, or of all features
              where there is no head

Made with the versions that golden/versions.txt names, which a run writes:
torch 2.15.0, timm 1.0.31, transformers 5.23.0 (from hf_dinov2 on 5.24.0), safetensors 0.8.0, numpy 2.4.6.
"""

import json
import platform
import sys
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import timm
import torch
import transformers
from timm.models import save_for_hf

HERE = Path(__file__).parent
INCEPTION = dict(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
FAMILIES = {}


def family(f):
    FAMILIES[f.__name__] = f
    return f


def randomise(model, seed, dtype=torch.float32):
    """Weights far from their initial values, so that no term is lost in a tolerance."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            r = torch.randn(p.shape, generator=g)
            if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "before.weight", "after.weight", "norm_pre.weight", "lambda1", "lambda_1", "lambda_2")) or "layernorm" in name and name.endswith("weight") or "layrnorm.weight" in name or "layer_norm" in name and name.endswith("weight"):
                r = 1 + 0.2 * r
            elif p.ndim > 1 and "pos" not in name and "token" not in name:
                r = r * (1.2 / p[0].numel() ** 0.5)  # keeps the variance of what it multiplies
            else:
                r = 0.3 * r
            p.copy_(r.to(dtype).float())
    return model.eval().requires_grad_(False)


def normalise(pixels, mean, std):
    m, s = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    return (pixels - m) / s


def pixels_of(size, seed):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(seed))


def write(folder, pixels, run, norm):
    """Runs a model on pixels and stores all that it computes."""
    pixels = pixels.clone().requires_grad_()
    arrays = dict(pixels=pixels) | run(normalise(pixels, **norm))
    attn, logits = arrays["attention"], arrays["logits"]
    probe = arrays.get("probe")
    for a in [*attn, *([] if probe is None else [probe])]:
        a.retain_grad()
    best = arrays["features"].sum() if logits is None else logits.max(1).values.sum()
    best.backward()
    arrays |= dict(attention=torch.stack(attn), dpixels=pixels.grad, dattention=torch.stack([a.grad for a in attn]))
    if probe is not None:
        n = attn[0].shape[-1]
        arrays |= dict(probe=whole(probe, n), dprobe=whole(probe.grad, n))
    for name, a in arrays.items():
        if a is not None:
            np.save(folder / f"{name}.npy", np.ascontiguousarray(a.detach().float().numpy()))


def attend(q, k, v, heads):
    """Attention of q (B, 1, C) to k and v (B, N, C), with its probabilities."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    a = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    return (a @ v).transpose(1, 2).flatten(2), a


def tap_timm_probe(pool, probe):
    """Has AttentionPoolLatent tell its probabilities, which it does not by itself."""
    asis = pool.forward

    def forward(x, attn_mask=None):
        k, v = pool.kv(x).chunk(2, -1)
        o, a = attend(pool.q(pool.latent).expand(len(x), -1, -1), k, v, pool.num_heads)
        o = pool.proj(o)
        o = (o + pool.mlp(pool.norm(o)))[:, 0]
        assert (o - asis(x)).abs().max() < 1e-5
        probe.append(a)
        return o

    pool.forward = forward


def tap_hf_probe(head, probe):
    """Has SigLIP's head tell its probabilities."""
    mha, asis = head.attention, head.forward

    def forward(x):
        w, b = mha.in_proj_weight.chunk(3), mha.in_proj_bias.chunk(3)
        q = head.probe.expand(len(x), -1, -1) @ w[0].T + b[0]
        o, a = attend(q, x @ w[1].T + b[1], x @ w[2].T + b[2], mha.num_heads)
        o = mha.out_proj(o)
        o = (o + head.mlp(head.layernorm(o)))[:, 0]
        assert (o - asis(x)).abs().max() < 1e-5
        probe.append(a)
        return o

    head.forward = forward


def whole(a, tokens):
    """Values of all tokens, some of which in front may not be pooled."""
    return torch.cat([a.new_zeros(*a.shape[:-1], tokens - a.shape[-1]), a], -1)


def folder_of(name):
    folder = HERE / "golden" / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    return folder


# --- timm ---------------------------------------------------------------


def run_timm(model, x):
    tokens, attn = [], []
    hooks = [model.blocks[0].register_forward_pre_hook(lambda m, a: tokens.append(a[0]))]
    for b in model.blocks:
        attends = getattr(b, "attn", b)  # a parallel block does so itself
        attends.fused_attn = False
        hooks.append(b.register_forward_hook(lambda m, a, o: tokens.append(o)))
        hooks.append(attends.attn_drop.register_forward_pre_hook(lambda m, a: attn.append(a[0])))
    probe = []
    if hasattr(getattr(model, "attn_pool", None), "latent"):
        tap_timm_probe(model.attn_pool, probe)
    y = model.forward_features(x)
    for h in hooks:
        h.remove()
    features = torch.cat([y[:, 0], y[:, 1]], 1) if hasattr(model, "head_dist") else model.forward_head(y, pre_logits=True)
    logits = model.head(features) if probe else model.forward_head(y) if model.num_classes else None
    found = dict(tokens=torch.stack(tokens), attention=attn, features=features, logits=logits if model.num_classes else None)
    return found | (dict(probe=probe[0]) if probe else {})


def timm_case(name, arch, seed, norm, size=(32, 32), data=None, edit=None, dtype=torch.float32, **args):
    args = dict(img_size=size, patch_size=8, embed_dim=32, depth=2, num_heads=2) | args
    model = randomise(timm.create_model(arch, **args), seed, dtype)
    channels = args.get("in_chans", 3)
    cfg = dict(input_size=(channels, *size), crop_pct=0.9, crop_mode="center", interpolation="bicubic") | norm | (data or {})
    model.pretrained_cfg = dict(model.pretrained_cfg) | cfg
    model.default_cfg = model.pretrained_cfg
    folder = folder_of(name)
    save_for_hf(model, folder, model_args=args, safe_serialization=True)
    for extra in ("README.md",):
        (folder / extra).unlink(missing_ok=True)
    if dtype != torch.float32:
        recast(folder, dtype)
    if edit:
        edit(folder)
    gray = (lambda x: x.mean(1, keepdim=True)) if channels == 1 else (lambda x: x)  # of equal channels each is the gray
    write(folder, pixels_of(size, seed + 1), lambda x: run_timm(model, gray(x)), norm)
    return model


def recast(folder, dtype):
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    safetensors.torch.save_file({k: v.to(dtype) for k, v in state.items()}, path, metadata={"format": "pt"})


def rewrite(change):
    """Renames the tensors of a folder's file."""

    def edit(folder):
        path = folder / "model.safetensors"
        state = safetensors.torch.load_file(path)
        safetensors.torch.save_file(change(state), path, metadata={"format": "pt"})

    return edit


@family
def timm_vit():
    timm_case("timm_vit", "vit_tiny_patch16_224", 10, INCEPTION, num_classes=7)


@family
def timm_vit_f16():
    timm_case("timm_vit_f16", "vit_tiny_patch16_224", 20, INCEPTION, num_classes=5, dtype=torch.float16)


@family
def timm_vit_bf16():
    timm_case("timm_vit_bf16", "vit_tiny_patch16_224", 30, INCEPTION, num_classes=5, dtype=torch.bfloat16)


@family
def timm_deit_distilled():
    timm_case("timm_deit_distilled", "deit_tiny_distilled_patch16_224", 40, IMAGENET, num_classes=7)


@family
def timm_deit3():
    """LayerScale, and positions for the patches alone; not square; stored with a wrapper's prefix."""
    timm_case(
        "timm_deit3", "deit3_small_patch16_224", 50, IMAGENET, size=(24, 40), num_classes=6,
        edit=rewrite(lambda s: {"module." + k: v for k, v in s.items()}),
    )


@family
def timm_reg_gap():
    """Registers, no class token, the norm after the mean."""
    timm_case("timm_reg_gap", "vit_mediumd_patch16_reg4_gap_256", 60, INCEPTION, num_classes=6)


@family
def timm_reg_cls():
    """A class token with registers whose positions the class token owns: DINOv2's."""
    timm_case("timm_reg_cls", "vit_small_patch14_reg4_dinov2", 70, IMAGENET, num_classes=0)


@family
def timm_dino():
    """DINO: no head."""
    timm_case("timm_dino", "vit_small_patch16_224", 80, IMAGENET, num_classes=0)


@family
def timm_pre_norm():
    """CLIP's image tower, fine-tuned: a norm before the blocks, no patch bias, another eps, QuickGELU."""
    timm_case("timm_pre_norm", "vit_base_patch16_clip_quickgelu_224", 90, INCEPTION, num_classes=4)


@family
def timm_swiglu():
    """DINOv2's giant: a gated MLP, LayerScale, the class token as the feature."""
    timm_case("timm_swiglu", "vit_giant_patch14_dinov2", 100, IMAGENET, num_classes=3, mlp_ratio=3.0)


@family
def timm_siglip():
    """Attention pooling over the patches, registers left out; tanh GELU; no head."""
    timm_case("timm_siglip", "vit_so400m_patch16_siglip_256", 260, INCEPTION, num_classes=0, mlp_ratio=3.0, reg_tokens=2)


@family
def timm_map():
    """Attention pooling over the patches and a register, LayerScale, a head; at 40x24."""
    timm_case("timm_map", "test_vit3", 270, INCEPTION, size=(40, 24), num_classes=5, mlp_ratio=2.5)


@family
def timm_no_norm():
    """The mean of all tokens, prefix included, without a last norm."""
    timm_case("timm_no_norm", "vit_tiny_patch16_224", 280, INCEPTION, num_classes=5, global_pool="avg", pool_include_prefix=True, final_norm=False)


@family
def timm_dinov3():
    """Rotary positions of halves, registers, no bias of keys, a gate and a value apart; not square."""
    timm_case("timm_dinov3", "vit_small_plus_patch16_dinov3_qkvb", 260, IMAGENET, size=(24, 40), num_classes=5, swiglu_align_to=8)


@family
def timm_beit():
    """Relative positions, no bias of keys, LayerScale, the norm after the mean; not square."""
    timm_case("timm_beit", "beit_base_patch16_224", 270, INCEPTION, size=(24, 40), num_classes=5)


@family
def timm_beit_shared():
    """Relative positions of all blocks besides a block's own, absolute ones, a gate and a value apart with a norm behind."""
    timm_case(
        "timm_beit_shared", "beit_base_patch16_224", 280, INCEPTION, num_classes=0, use_shared_rel_pos_bias=True, use_abs_pos_emb=True,
        swiglu_mlp=True, scale_mlp=True, global_pool="token",
    )


@family
def timm_beit_resized():
    """timm's rule for relative positions at another size: 32×32 to 40×24."""
    small = timm_case("timm_beit_resized", "beitv2_base_patch16_224", 290, IMAGENET, num_classes=5)
    folder = HERE / "golden" / "timm_beit_resized"
    small.set_input_size(img_size=(40, 24))
    write(folder, pixels_of((40, 24), 291), lambda x: run_timm(small, x), IMAGENET)


@family
def timm_beit3():
    """Norms inside attention and MLP."""
    timm_case("timm_beit3", "beit3_base_patch16_224", 300, INCEPTION, num_classes=5)


@family
def timm_eva02():
    """Rotary positions of pairs, queries, keys and values apart, norms inside, CLIP's: the class token, absolute positions."""
    timm_case("timm_eva02", "eva02_base_patch16_clip_224", 310, CLIP, size=(24, 40), num_classes=5)


@family
def timm_eva02_resized():
    """Rotary positions at another size are scaled to the grid of pretraining."""
    small = timm_case("timm_eva02_resized", "eva02_tiny_patch14_224", 320, CLIP, num_classes=5, ref_feat_shape=(3, 3))
    folder = HERE / "golden" / "timm_eva02_resized"
    small.set_input_size(img_size=(40, 24))
    write(folder, pixels_of((40, 24), 321), lambda x: run_timm(small, x), CLIP)


@family
def timm_rope_mixed():
    """Angles that each head of each block learned; not square."""
    timm_case("timm_rope_mixed", "vit_small_patch16_rope_mixed_ape_224", 330, IMAGENET, size=(24, 40), num_classes=5)


@family
def timm_mrope():
    """Qwen2-VL's rotary positions, by model_args alone."""
    timm_case(
        "timm_mrope", "eva02_tiny_patch14_224", 340, IMAGENET, size=(24, 40), num_classes=5, rope_type="mrope", rope_mrope_section=(1, 2, 3),
    )


@family
def timm_relpos():
    """Relative positions by an MLP over logarithms of distances, a class token that has none; not square."""
    timm_case("timm_relpos", "vit_relpos_base_patch16_clsgap_224", 400, INCEPTION, size=(24, 40), num_classes=5, rel_pos_dim=24)


@family
def timm_relpos_swin():
    """Swin's form of the MLP, shared by all blocks; no prefix."""
    timm_case(
        "timm_relpos_swin", "vit_relpos_base_patch16_224", 410, INCEPTION, size=(24, 40), num_classes=5, rel_pos_type="mlp-swin", shared_rel_pos=True,
        class_token=False, fc_norm=True,
    )


@family
def timm_relpos_table():
    """Relative positions of a table, as BEiT's, without a prefix."""
    timm_case("timm_relpos_table", "vit_relpos_base_patch16_224", 420, INCEPTION, num_classes=5, rel_pos_type="bias", class_token=False)


@family
def timm_sapiens2():
    """Heads that share keys and values, query-key norms, root mean squares, LayerScale of attention alone; not square."""
    timm_case("timm_sapiens2", "vit_huge_patch16_sapiens2", 430, IMAGENET, size=(24, 40), num_classes=5, num_heads=4, num_kv_heads=(4, 2))


@family
def timm_naflex_par():
    """Patches projected channels last; positions of a square of the longer side, cut; not square."""
    timm_case("timm_naflex_par", "naflexvit_base_patch16_par_gap", 440, INCEPTION, size=(24, 40), num_classes=5)


@family
def timm_naflex_factorized():
    """Positions of rows and columns, added up."""
    timm_case("timm_naflex_factorized", "naflexvit_base_patch16_parfac_gap", 450, INCEPTION, size=(24, 40), num_classes=5)


@family
def timm_pe():
    """Perception Encoder's towers for dense features: columns before rows, counted from one, a norm before the blocks and none behind."""
    timm_case("timm_pe", "vit_pe_spatial_small_patch16_512", 350, INCEPTION, size=(24, 40), num_classes=0)


@family
def timm_aimv2():
    """Root mean squares, one of them of the projected patches; a gated MLP in two matrices; no biases."""
    timm_case("timm_aimv2", "aimv2_large_patch14_224", 300, IMAGENET, size=(24, 40), num_classes=5, mlp_ratio=2.5)


@family
def timm_parallel():
    """xp: attention beside the MLP, in one matrix, with norms of queries and keys; a norm before the blocks."""
    timm_case("timm_parallel", "vit_base_patch16_xp_224", 310, INCEPTION, num_classes=5, mlp_ratio=3.0)


@family
def timm_parallel_apart():
    """pwee: the same with biases, and a LayerScale for both."""
    timm_case("timm_parallel_apart", "vit_pwee_patch16_reg1_gap_256", 320, INCEPTION, num_classes=5, mlp_ratio=3.0)


@family
def timm_norm_after():
    """rpn: norms behind attention and MLP."""
    timm_case("timm_norm_after", "vit_base_patch16_rpn_224", 330, INCEPTION, num_classes=5)


@family
def timm_qk_norm():
    """Norms of queries and keys, inside attention and inside the MLP; root mean squares."""
    timm_case(
        "timm_qk_norm", "vit_tiny_patch16_224", 340, INCEPTION, num_classes=5, qk_norm=True, norm_layer="rmsnorm", scale_attn_norm=True,
        scale_mlp_norm=True,
    )


@family
def timm_max():
    """The maximum of the patches, normed behind."""
    timm_case("timm_max", "vit_tiny_patch16_224", 460, INCEPTION, num_classes=5, global_pool="max")


@family
def timm_max_mean():
    """The mean of maximum and mean, of all tokens, normed before."""
    timm_case(
        "timm_max_mean", "vit_tiny_patch16_224", 470, INCEPTION, num_classes=5, global_pool="avgmax", pool_include_prefix=True, fc_norm=False, reg_tokens=2,
    )


@family
def timm_max_eva():
    """EVA's class norms before any pooling but avg."""
    timm_case("timm_max_eva", "vit_small_patch16_dinov3", 480, IMAGENET, size=(24, 40), num_classes=5, global_pool="max")


@family
def timm_prr():
    """Tokens that attend to each other once more, before the class token is taken."""
    timm_case("timm_prr", "vit_tiny_patch16_224", 490, INCEPTION, num_classes=5, global_pool="prr")


@family
def timm_prr_mean():
    """Likewise, and the mean of all tokens, of a model without a class token."""
    timm_case("timm_prr_mean", "vit_tiny_patch16_224", 500, INCEPTION, size=(24, 40), num_classes=0, global_pool="prr", class_token=False, reg_tokens=1)


@family
def timm_gray():
    """One channel."""
    timm_case("timm_gray", "vit_tiny_patch16_224", 510, dict(mean=(0.45,) * 3, std=(0.22,) * 3), num_classes=5, in_chans=1)


@family
def timm_naflex():
    """NaFlexVit: the projection a matrix over pixels, positions a grid of 16x16 brought to 4x2 by an antialiased triangle."""
    timm_case("timm_naflex", "naflexvit_base_patch16_siglip", 430, INCEPTION, size=(64, 32), num_classes=0, patch_size=16, mlp_ratio=3.0)


# --- transformers -------------------------------------------------------

HF = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, image_size=32, patch_size=8)


def run_hf(model, x, **kw):
    # The last of hidden_states may be the normed tokens; the norm's input is the last block's output.
    norms = []
    base = getattr(model, model.base_model_prefix, model)
    hook = base.layernorm.register_forward_hook(lambda m, a, o: norms.append((a[0], o)))
    out = model(x, output_hidden_states=True, output_attentions=True, **kw)
    hook.remove()
    ((last, y),) = norms
    tokens = [*out.hidden_states[: HF["num_hidden_layers"]], last]
    features = torch.cat([y[:, 0], y[:, 1]], 1) if "WithTeacher" in type(model).__name__ else y[:, 0]
    if "Dinov2" in type(model).__name__ and hasattr(model, "classifier"):
        patches = y[:, 1 + getattr(model.config, "num_register_tokens", 0) :]
        features = torch.cat([y[:, 0], patches.mean(1)], 1)
    return dict(tokens=torch.stack(tokens), attention=list(out.attentions), features=features, logits=getattr(out, "logits", None))


def hf_case(name, cls, config, processor, seed, norm, size=(32, 32), edit=None, shards=None, run=None, processor_config=None, **kw):
    config._attn_implementation = "eager"
    model = randomise(cls(config), seed)
    folder = folder_of(name)
    model.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
    for extra in folder.glob("generation*"):
        extra.unlink()
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    if processor_config is not None:
        (folder / "processor_config.json").write_text(json.dumps(processor_config, indent=2) + "\n")
    if edit:
        edit(folder)
    write(folder, pixels_of(size, seed + 1), lambda x: (run or run_hf)(model, x, **kw), norm)
    return model


def processor(kind, norm, **kw):
    return dict(
        image_processor_type=kind, do_resize=True, do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
        image_mean=list(norm["mean"]), image_std=list(norm["std"]), size={"height": 32, "width": 32}, resample=2,
    ) | kw


LABELS = {i: n for i, n in enumerate(["ant", "bee", "cat", "dog", "eel"])}


@family
def hf_vit():
    hf_case(
        "hf_vit", transformers.ViTForImageClassification,
        transformers.ViTConfig(**HF, id2label=LABELS, label2id={v: k for k, v in LABELS.items()}),
        processor("ViTImageProcessor", INCEPTION), 110, INCEPTION,
    )


@family
def hf_vit_sharded():
    hf_case(
        "hf_vit_sharded", transformers.ViTForImageClassification,
        transformers.ViTConfig(**HF, id2label=LABELS, problem_type="multi_label_classification", qkv_bias=False, layer_norm_eps=1e-6, hidden_act="gelu_new"),
        processor("ViTImageProcessor", INCEPTION), 120, INCEPTION, shards="60KB",
    )


@family
def hf_deit():
    """A distilled backbone with one head, on the class token."""
    hf_case(
        "hf_deit", transformers.DeiTForImageClassification, transformers.DeiTConfig(**HF, num_labels=6),
        processor("DeiTImageProcessor", IMAGENET, size={"height": 36, "width": 36}, crop_size={"height": 32, "width": 32}, do_center_crop=True, resample=3),
        130, IMAGENET,
    )


@family
def hf_deit_distilled():
    hf_case(
        "hf_deit_distilled", transformers.DeiTForImageClassificationWithTeacher, transformers.DeiTConfig(**HF, num_labels=6),
        processor("DeiTImageProcessor", IMAGENET, size=36, crop_size=32, do_center_crop=True, resample=3), 140, IMAGENET,
    )


@family
def hf_dino():
    """DINO as transformers stores it: a bare ViTModel, with a pooler that nobody trained."""
    hf_case(
        "hf_dino", transformers.ViTModel, transformers.ViTConfig(**HF),
        processor("ViTImageProcessor", IMAGENET, resample=3), 150, IMAGENET,
    )


# --- DINOv2 -------------------------------------------------------------

DINO = dict(HF, layerscale_value=0.7) | dict(mlp_ratio=3)
del DINO["intermediate_size"]
CROPPED = dict(size={"shortest_edge": 27}, crop_size={"height": 24, "width": 24}, do_center_crop=True, resample=3)


@family
def hf_dinov2():
    """Trained at 32×32, given photos of 24×24: positions are resampled, not antialiased."""
    hf_case(
        "hf_dinov2", transformers.Dinov2Model, transformers.Dinov2Config(**DINO),
        processor("BitImageProcessor", IMAGENET, **CROPPED), 180, IMAGENET, size=(24, 24),
    )


@family
def hf_dinov2_head():
    """The head over class token and mean of the patches, the giant's gated MLP; at 40×24."""
    hf_case(
        "hf_dinov2_head", transformers.Dinov2ForImageClassification, transformers.Dinov2Config(**DINO, use_swiglu_ffn=True, id2label=LABELS),
        processor("BitImageProcessor", IMAGENET, **CROPPED), 190, IMAGENET, size=(40, 24),
    )


@family
def hf_dinov2_registers():
    """Positions are resampled with antialiasing."""
    hf_case(
        "hf_dinov2_registers", transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersConfig(**DINO, num_register_tokens=4),
        processor("BitImageProcessor", IMAGENET, **CROPPED), 200, IMAGENET, size=(24, 24),
    )


@family
def hf_dinov2_registers_head():
    hf_case(
        "hf_dinov2_registers_head", transformers.Dinov2WithRegistersForImageClassification,
        transformers.Dinov2WithRegistersConfig(**DINO, num_register_tokens=2, id2label=LABELS, hidden_act="gelu_new", layer_norm_eps=1e-5),
        processor("BitImageProcessor", IMAGENET, **CROPPED), 210, IMAGENET, size=(24, 24),
    )


# --- CLIP ---------------------------------------------------------------

CLIP = dict(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711))
WORDS = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=11, max_position_embeddings=5, bos_token_id=1, eos_token_id=2)


def run_tower(model, x, **kw):
    """An image tower, or the images of a model for pictures and words."""
    tower = getattr(model, "vision_model", model)
    inputs, outputs = [], []
    hooks = [tower.encoder.layers[0].register_forward_pre_hook(lambda m, a, k: inputs.append(a[0] if a else k["hidden_states"]), with_kwargs=True)]
    for layer in tower.encoder.layers:
        hooks.append(layer.register_forward_hook(lambda m, a, o: outputs.append(o[0] if isinstance(o, tuple) else o)))
    probe = []
    if hasattr(tower, "head"):
        tap_hf_probe(tower.head, probe)
    out = tower(x, output_attentions=True, **kw)
    for h in hooks:
        h.remove()
    logits = features = None
    if hasattr(model, "classifier"):
        features = out.last_hidden_state[:, 1 if hasattr(tower, "pre_layrnorm") else 0 :].mean(1)
        logits = model.classifier(features)
    else:
        features = out.pooler_output
        if hasattr(model, "visual_projection"):
            features = model.visual_projection(features)
    found = dict(tokens=torch.stack([*inputs, *outputs]), attention=list(out.attentions), features=features, logits=logits)
    return found | (dict(probe=probe[0]) if probe and logits is None else {})


@family
def hf_clip():
    """Pictures and words: the projection, quick GELU, a text tower beside."""
    config = transformers.CLIPConfig(text_config=WORDS, vision_config=HF, projection_dim=24)
    config.vision_config._attn_implementation = "eager"
    hf_case(
        "hf_clip", transformers.CLIPModel, config, None, 220, CLIP, run=run_tower,
        processor_config=dict(image_processor=processor("CLIPImageProcessor", CLIP, size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_center_crop=True, resample=3)),
    )


@family
def hf_clip_vision():
    """The image tower alone with its projection, exact GELU as LAION's, at 24×40."""
    hf_case(
        "hf_clip_vision", transformers.CLIPVisionModelWithProjection, transformers.CLIPVisionConfig(**HF, projection_dim=24, hidden_act="gelu"),
        processor("CLIPImageProcessor", CLIP, size={"shortest_edge": 32}, crop_size=32, do_center_crop=True, resample=3), 230, CLIP,
        size=(24, 40), run=run_tower, interpolate_pos_encoding=True,
    )


@family
def hf_clip_head():
    """A head over the mean of the patches, without a last norm."""
    config = transformers.CLIPConfig(text_config=WORDS, vision_config=HF, id2label=LABELS)
    config.vision_config._attn_implementation = "eager"
    hf_case(
        "hf_clip_head", transformers.CLIPForImageClassification, config,
        processor("CLIPImageProcessor", CLIP, size={"shortest_edge": 32}, crop_size=32, do_center_crop=True, resample=3), 240, CLIP, run=run_tower,
    )


# --- SigLIP -------------------------------------------------------------


@family
def hf_siglip_head():
    """A head over the mean of the tokens: the pooling by attention stands beside, unused. At 24×40."""
    config = transformers.SiglipConfig(text_config=dict(WORDS, pad_token_id=0), vision_config=HF, id2label=LABELS)
    config.vision_config._attn_implementation = "eager"
    hf_case(
        "hf_siglip_head", transformers.SiglipForImageClassification, config,
        processor("SiglipImageProcessor", INCEPTION, resample=3), 250, INCEPTION, size=(24, 40), run=run_tower, interpolate_pos_encoding=True,
    )


@family
def hf_siglip():
    """Pictures and words: pooling by attention, a text tower beside; positions resampled from 32x32 to 24x40."""
    config = transformers.SiglipConfig(text_config=dict(WORDS, pad_token_id=0), vision_config=HF)
    config.vision_config._attn_implementation = "eager"
    hf_case(
        "hf_siglip", transformers.SiglipModel, config,
        processor("SiglipImageProcessor", INCEPTION, resample=3), 290, INCEPTION, size=(24, 40), run=run_tower, interpolate_pos_encoding=True,
    )


# --- DINOv3, BEiT, data2vec ---------------------------------------------


def run_rotary(model, x, **kw):
    """DINOv3: the tokens of its blocks, and the class token behind the norm."""
    tokens, attn = [], []
    blocks = model.model.layer
    hooks = [blocks[0].register_forward_pre_hook(lambda m, a: tokens.append(a[0]))]
    for b in blocks:
        hooks.append(b.register_forward_hook(lambda m, a, o: tokens.append(o[0] if isinstance(o, tuple) else o)))
        hooks.append(b.attention.register_forward_hook(lambda m, a, o: attn.append(o[1])))
    out = model(x)
    for h in hooks:
        h.remove()
    return dict(tokens=torch.stack(tokens), attention=attn, features=out.pooler_output, logits=None)


@family
def hf_dinov3():
    """A gated MLP, registers; given photos of 24×40."""
    hf_case(
        "hf_dinov3", transformers.DINOv3ViTModel,
        transformers.DINOv3ViTConfig(**HF, num_register_tokens=3, use_gated_mlp=True, hidden_act="silu", rope_theta=50.0),
        processor("DINOv3ViTImageProcessor", IMAGENET, size={"height": 24, "width": 40}), 360, IMAGENET, size=(24, 40), run=run_rotary,
    )


def run_beit(model, x, **kw):
    """BEiT or data2vec: what its head looks at, or would."""
    tokens, attn = [], []
    base = getattr(model, model.base_model_prefix, model)
    blocks = base.layers if hasattr(base, "layers") else base.encoder.layer
    hooks = [blocks[0].register_forward_pre_hook(lambda m, a: tokens.append(a[0]))]
    for b in blocks:
        hooks.append(b.register_forward_hook(lambda m, a, o: tokens.append(o[0] if isinstance(o, tuple) else o)))
        a = b.attention if hasattr(base, "layers") else b.attention.attention
        hooks.append((a.dropout if hasattr(a, "dropout") else a).register_forward_hook(lambda m, a, o: attn.append(o[1] if isinstance(o, tuple) else o)))
    out = base(x)
    for h in hooks:
        h.remove()
    features = out.pooler_output
    logits = model.classifier(features) if hasattr(model, "classifier") else None
    return dict(tokens=torch.stack(tokens), attention=attn, features=features, logits=logits)


@family
def hf_beit():
    """Relative positions, LayerScale, the norm of the mean; trained at 32×32, given photos of 24×40."""
    hf_case(
        "hf_beit", transformers.BeitForImageClassification, transformers.BeitConfig(**HF, use_relative_position_bias=True, id2label=LABELS),
        processor("BeitImageProcessor", INCEPTION, resample=3), 370, INCEPTION, size=(24, 40), run=run_beit,
    )


@family
def hf_beit_shared():
    """Relative positions of all blocks, absolute ones, no LayerScale, the class token."""
    hf_case(
        "hf_beit_shared", transformers.BeitModel,
        transformers.BeitConfig(
            **HF, use_shared_relative_position_bias=True, use_absolute_position_embeddings=True, use_mask_token=True, use_mean_pooling=False,
            layer_scale_init_value=0.0,
        ),
        processor("BeitImageProcessor", INCEPTION, resample=3), 380, INCEPTION, run=run_beit,
    )


@family
def hf_data2vec():
    """As BEiT, with relative positions of a block's own and of all."""
    hf_case(
        "hf_data2vec", transformers.Data2VecVisionForImageClassification,
        transformers.Data2VecVisionConfig(**HF, use_relative_position_bias=True, use_shared_relative_position_bias=True, id2label=LABELS),
        processor("BeitImageProcessor", INCEPTION, resample=3), 390, INCEPTION, run=run_beit,
    )


# --- other encoders -----------------------------------------------------


def run_layers(layers, features):
    """Runs a model whose blocks are layers(model) and whose features are features(model, output)."""

    def run(model, x, **kw):
        inputs, outputs = [], []
        blocks = layers(model)
        hooks = [blocks[0].register_forward_pre_hook(lambda m, a, k: inputs.append(a[0] if a else k["hidden_states"]), with_kwargs=True)]
        for b in blocks:
            hooks.append(b.register_forward_hook(lambda m, a, o: outputs.append(o[0] if isinstance(o, tuple) else o)))
        out = model(x, output_attentions=True, **kw)
        for h in hooks:
            h.remove()
        return dict(tokens=torch.stack([*inputs, *outputs]), attention=list(out.attentions), features=features(model, out), logits=getattr(out, "logits", None))

    return run


@family
def hf_ijepa():
    """No class token: the mean of the patches."""
    hf_case(
        "hf_ijepa", transformers.IJepaForImageClassification, transformers.IJepaConfig(**HF, id2label=LABELS),
        processor("ViTImageProcessor", IMAGENET), 350, IMAGENET,
        run=lambda m, x: (r := run_hf(m, x)) | dict(features=m.ijepa(x).last_hidden_state.mean(1)),
    )


@family
def hf_msn():
    hf_case("hf_msn", transformers.ViTMSNForImageClassification, transformers.ViTMSNConfig(**HF, id2label=LABELS), processor("ViTImageProcessor", IMAGENET), 360, IMAGENET)


@family
def hf_pixio():
    """Several class tokens, whose mean is the feature."""
    hf_case(
        "hf_pixio", transformers.PixioModel, transformers.PixioConfig(**dict(HF, mlp_ratio=3), n_cls_tokens=3), processor("ViTImageProcessor", IMAGENET), 370, IMAGENET,
        run=run_layers(lambda m: m.layers, lambda m, o: o.pooler_output),
    )


@family
def hf_aimv2():
    """Root mean squares, pooling by attention without an MLP, a gated MLP."""
    hf_case(
        "hf_aimv2", transformers.Aimv2VisionModel, transformers.Aimv2VisionConfig(**HF), processor("CLIPImageProcessor", CLIP, size={"shortest_edge": 32}, crop_size=32, do_center_crop=True),
        380, CLIP, run=run_aimv2,
    )


@family
def hf_aimv2_native():
    """Sines for positions; the mean of the patches."""
    hf_case(
        "hf_aimv2_native", transformers.Aimv2VisionModel, transformers.Aimv2VisionConfig(**HF, is_native=True, use_head=False),
        processor("CLIPImageProcessor", CLIP, size={"shortest_edge": 32}, crop_size=32, do_center_crop=True), 390, CLIP, size=(24, 40), run=run_aimv2,
    )


def run_aimv2(model, x):
    probe = []
    if model.use_head:
        head, asis = model.head, model.head.forward

        def forward(y):
            o, a = attend(head.cls_token.expand(len(y), -1, -1), head.k_proj(y), head.v_proj(y), head.num_heads)
            o = head.output_proj(o)[:, 0]
            assert (o - asis(y)).abs().max() < 1e-5
            probe.append(a)
            return o

        head.forward = forward
    found = run_layers(lambda m: m.encoder.layers, lambda m, o: o.pooler_output if m.use_head else o.last_hidden_state.mean(1))(model, x)
    return found | (dict(probe=probe[0]) if probe else {})


@family
def hf_blip():
    """BLIP's image tower: queries, keys and values packed, the class token normed twice."""
    hf_case(
        "hf_blip", transformers.BlipVisionModel, transformers.BlipVisionConfig(**HF), processor("BlipImageProcessor", CLIP, resample=3), 400, CLIP,
        run=run_layers(lambda m: m.encoder.layers, lambda m, o: o.pooler_output),
    )


@family
def hf_tips():
    """TIPSv2's image tower by its authors' names, positions resampled from 32x32 to 24x40 by an antialiased triangle."""
    tips = dict(HF, mlp_ratio=3)
    del tips["intermediate_size"]
    hf_case(
        "hf_tips", transformers.Tipsv2VisionModel, transformers.Tipsv2VisionConfig(**tips), processor("Tipsv2ImageProcessorFast", INCEPTION, do_normalize=False), 410,
        dict(mean=(0, 0, 0), std=(1, 1, 1)), size=(24, 40), run=run_layers(lambda m: m.encoder.layer, lambda m, o: o.pooler_output),
    )


@family
def hf_radio():
    """Class tokens side by side, registers, positions cut from a large grid, photos normalised inside."""
    radio = dict(HF, mlp_ratio=3.0, patch_dim=192, max_img_size=64, num_cls_tokens=3, num_registers=2)
    del radio["intermediate_size"]
    hf_case(
        "hf_radio", transformers.RadioModel, transformers.RadioConfig(**radio), processor("ViTImageProcessor", INCEPTION, do_normalize=False, size={"height": 24, "width": 40}), 420,
        dict(mean=(0, 0, 0), std=(1, 1, 1)), size=(24, 40), run=run_layers(lambda m: m.encoder.layer, lambda m, o: o.summary),
    )


# --- another input size -------------------------------------------------


@family
def timm_resized():
    """timm's rule for positions at another size: bicubic, antialiased; 32×32 to 40×24."""
    small = timm_case("timm_resized", "vit_tiny_patch16_224", 160, INCEPTION, num_classes=7)
    folder = HERE / "golden" / "timm_resized"
    small.set_input_size(img_size=(40, 24))
    write(folder, pixels_of((40, 24), 161), lambda x: run_timm(small, x), INCEPTION)


@family
def hf_resized():
    """transformers' rule: bicubic, not antialiased; 32×32 to 24×56."""
    hf_case(
        "hf_resized", transformers.ViTForImageClassification, transformers.ViTConfig(**HF, id2label=LABELS),
        processor("ViTImageProcessor", INCEPTION), 170, INCEPTION, size=(24, 56), interpolate_pos_encoding=True,
    )


def main():
    for name in sys.argv[1:] or FAMILIES:
        print(name)
        FAMILIES[name]()
    (HERE / "golden" / "versions.txt").write_text(
        f"python {platform.python_version()}\ntorch {torch.__version__.split('+')[0]}\ntimm {timm.__version__}\n"
        f"transformers {transformers.__version__}\nsafetensors {safetensors.__version__}\nnumpy {np.__version__}\n"
    )


main()
