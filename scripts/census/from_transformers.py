"""Published configurations of transformers (configurations.py), at depth 2 with
the real widths, saved as transformers saves them."""

import json

import timm
import torch
import transformers
from transformers import AutoImageProcessor

from configurations import ROWS
from weights import randomise, uninitialised

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
BY_NAME = {r[1]: r for r in ROWS}


def cases():
    for family, name, *_ in ROWS:
        yield family, name


def configured(cls, said):
    """The class's own configuration with what is said, at depth 2."""
    said = json.loads(json.dumps(said))
    said.setdefault("num_hidden_layers", 2)
    for tower in ("vision_config", "backbone_config"):
        if tower in said:
            said[tower].setdefault("num_hidden_layers", 2)
    if "backbone_config" in said:
        said["backbone_config"]["model_type"] = "vitpose_backbone"
    return cls.config_class(**said)


def build(name, seed, folder):
    _, _, cls, said, photos, _ = BY_NAME[name]
    cls = getattr(transformers, cls)
    with uninitialised():
        model = wrapped(cls, name, said) if cls.__name__.startswith("TimmWrapper") else cls(configured(cls, said))
    model = model.eval()
    randomise(model, seed)
    model.save_pretrained(folder)
    if photos is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(photos, indent=1))
    model.saved_in, model.census_name = folder, name
    return model


def wrapped(cls, name, said):
    """A model of timm's as transformers keeps it."""
    tag = name.rsplit("timm/", 1)[1]
    cfg = timm.get_pretrained_cfg(tag).to_dict()
    arch = tag.split(".")[0]
    config = cls.config_class.from_dict({
        "architecture": arch, "num_classes": said.get("num_labels", 0), "num_labels": said.get("num_labels", 0), "do_pooling": True,
        "model_args": {"depth": 2, **({"img_size": cfg["input_size"][1]} if cfg.get("fixed_input_size") else {})},
        "pretrained_cfg": {k: v for k, v in cfg.items() if k in ("tag", "input_size", "fixed_input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std", "num_classes", "classifier", "first_conv")},
    })
    return cls(config)


@torch.no_grad()
def answers(model, pictures):
    what = BY_NAME[model.census_name][5]
    if what == "none":
        return {}
    processor = AutoImageProcessor.from_pretrained(model.saved_in, **backend(model.saved_in))
    out = {}
    for i, p in enumerate(pictures):
        x = processor(p, return_tensors="pt")
        if x["pixel_values"].dim() == 4:
            out[f"tensor{i}"] = x["pixel_values"][0].float().numpy()
        kind = what if what in ("logits", "grid") else "features"
        out[f"{kind}{i}"] = ANSWERS[what](model, x)[0].float().numpy()
    return out


def backend(folder):
    """A fast processor computes with torchvision, every other with Pillow."""
    try:
        kind = json.loads((folder / "preprocessor_config.json").read_text()).get("image_processor_type", "")
    except FileNotFoundError:
        return {}
    return {"backend": "torchvision" if kind.endswith("Fast") else "pil"}


def tokens(model, x):
    """Those of the encoder after its last norm, of one that is trained on a part of the patches too."""
    encoder = getattr(model, "vit", getattr(model, "beit", model))
    if hasattr(model.config, "mask_ratio"):
        encoder.config.mask_ratio = 0.0
    out = encoder(**x).last_hidden_state
    return model.layernorm(out) if hasattr(model, "beit") else out


ANSWERS = {
    "logits": lambda m, x: m(**x).logits,
    "class": lambda m, x: tokens(m, x)[:, 0],
    "grid": lambda m, x: tokens(m, x)[:, 1:],
    "mean": lambda m, x: m(**x).last_hidden_state.mean(1),
    "pooler": lambda m, x: m(**x).pooler_output,
    "embeds": lambda m, x: m(**x).image_embeds,
    "image": lambda m, x: pooled(m.get_image_features(**x)),
    "vision": lambda m, x: m.vision_model(x["pixel_values"]).pooler_output,
    "summary": lambda m, x: m(**x).summary,
}


def pooled(said):
    return said if isinstance(said, torch.Tensor) else said.pooler_output


def facts(name):
    """What else the references depend on."""
    return repr(BY_NAME[name])


def flags(name):
    return []
