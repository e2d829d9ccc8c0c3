"""timm's plain Vision Transformers: a case for each architecture, input size and
number of classes among the weights that timm knows of, at depth 2 with the real
widths, saved as timm saves for the hub."""

import timm
import torch
from timm.models._registry import _model_with_tags, _module_to_models

from weights import randomise, uninitialised

MODULES = ["beit", "deepseek_vit", "deit", "eva", "gemma4_vit", "naflexvit", "qwen3_vit", "vision_transformer",
           "vision_transformer_hybrid", "vision_transformer_relpos", "vision_transformer_sam"]

# The family of an architecture is the first whose name it contains; then its module's.
FAMILIES = [
    ("naflexvit", "naflexvit"), ("test_vit", "test"), ("beit3", "beit3"), ("beitv2", "beitv2"), ("beit", "beit"),
    ("aimv2", "aimv2"), ("eva02", "eva02"), ("eva_", "eva"), ("deit3", "deit3"), ("distilled", "deit-distilled"), ("deit", "deit"),
    ("flexivit", "flexivit"), ("_rpn_", "rpn"), ("relpos", "relpos"), ("samvit", "sam"), ("_xp_", "xp"), ("18x2", "parallel"), ("36x1", "parallel"),
    ("dinov3", "dinov3"), ("reg4_dinov2", "dinov2-reg"), ("dinov2", "dinov2"), ("lingbot", "lingbot"), ("sapiens2", "sapiens2"),
    ("_pe_", "pe"), ("radio", "radio"), ("intern", "internvit"), ("tips", "tips"), ("_rope_", "rope-vit"),
    ("siglip_gap", "siglip-gap"), ("siglip", "siglip"), ("_clip_", "clip"), ("_map_", "sbb-map"), ("_reg1_", "sbb"), ("_reg4_gap", "sbb"), ("wee_", "sbb"),
    ("_gap_", "gap"), ("deepseek", "deepseek-vit"), ("gemma4", "gemma4-vit"), ("qwen3", "qwen3-vit"),
]


def family(module, arch):
    if module == "vision_transformer_hybrid":
        return "hybrid"
    return next((f for part, f in FAMILIES if part in arch), "vit")


def cases():
    """Yields (family, name), name as timm writes it: architecture.tag."""
    for module in MODULES:
        for arch in sorted(_module_to_models[module]):
            seen = set()
            for name in _model_with_tags.get(arch, []):
                cfg = timm.get_pretrained_cfg(name)
                what = (tuple(cfg.input_size), cfg.num_classes)
                if what not in seen:
                    seen.add(what)
                    yield family(module, arch), name


def build(name, seed, folder):
    """Saves the model of a case and returns it."""
    torch.manual_seed(seed)  # learned frequencies are scaled from where they begin
    with uninitialised():
        model = shallow(name).eval()
    randomise(model, seed)
    timm.models._hub.save_for_hf(model, folder, safe_serialization=True)
    return model


def shallow(name):
    """The architecture at depth 2, also where it says something of each block."""
    if "sapiens2" in name:
        heads = [b.attn.num_kv_heads for b in timm.create_model(name, pretrained=False, device="meta").blocks]
        return timm.create_model(name, pretrained=False, depth=2, num_kv_heads=(max(heads), min(heads)))
    if "_enc" in name:  # the tower of a language model, which has no head
        return timm.create_model(name, pretrained=False, depth=2, num_classes=0)
    return timm.create_model(name, pretrained=False, depth=2)


@torch.no_grad()
def answers(model, pictures):
    """What timm makes of the pictures: their tensors, the logits, if any, and
    the features before them."""
    data = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**data, is_training=False)
    out = {}
    for i, p in enumerate(pictures):
        x = transform(p)
        out[f"tensor{i}"] = x.numpy()
        tokens = model.forward_features(x[None])
        said = model(x[None])[0]
        if model.num_classes > 0:
            out[f"logits{i}"] = said.numpy()
        if said.dim() > 1:
            out[f"grid{i}"] = grid(model, said).numpy()
            continue
        if hasattr(model, "head_dist"):
            said = torch.cat([tokens[0, 0], tokens[0, 1]])  # what its two heads look at
        elif model.num_classes > 0:
            said = model.forward_head(tokens, pre_logits=True)[0]
        out[f"features{i}"] = said.numpy()
    return out


def grid(model, tokens):
    """The patches of a model that does not pool: (N, C)."""
    if tokens.dim() == 3:  # (C, H, W)
        return tokens.flatten(1).T
    return tokens[getattr(model, "num_prefix_tokens", 0):]


def facts(name):
    """What else the references depend on."""
    return ""


def flags(name):
    return []
