"""The tiny models that odd forms are made of, and what the libraries answer."""

import dataclasses
import json
import typing

import numpy as np
import safetensors.torch
import timm
import torch
import transformers
from transformers import AutoImageProcessor, AutoModelForImageClassification

from weights import randomise

HF = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "image_size": 32, "patch_size": 8,
      "id2label": {i: f"thing {i}" for i in range(5)}}
PHOTOS = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": True,
          "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
ARGS = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 32, "patch_size": 8}
CFG = {"num_classes": 5, "input_size": [3, 32, 32], "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5],
       "std": [0.5, 0.5, 0.5], "first_conv": "patch_embed.proj", "classifier": "head"}
ARCH = "vit_tiny_patch16_224"


@dataclasses.dataclass
class Form:
    name: str
    make: typing.Callable  # of a folder: writes the files
    reference: typing.Callable  # of a folder and pictures: what is right
    flags: list = dataclasses.field(default_factory=list)


def hf_model(cls="ViTForImageClassification", **said):
    cls = getattr(transformers, cls)
    model = cls(cls.config_class(**(HF | said))).eval()
    randomise(model, 7)
    return model


def timm_model(arch=ARCH, num_classes=5, **args):
    args = {k: v for k, v in (ARGS | args).items() if v is not None}
    model = timm.create_model(arch, pretrained=False, num_classes=num_classes, **args).eval()
    randomise(model, 7)
    return model


def write(folder, name, what):
    (folder / name).write_text(what if isinstance(what, str) else json.dumps(what, indent=1))


def save_hf(folder, model, photos=PHOTOS, config=lambda c: None, weights=lambda w: w):
    """Saves a model with its configuration and its tensors changed."""
    model.save_pretrained(folder)
    said = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", config(said) or said)
    if photos is not None:
        write(folder, "preprocessor_config.json", photos)
    file = folder / "model.safetensors"
    safetensors.torch.save_file(weights(safetensors.torch.load_file(file)), file, {"format": "pt"})


def timm_config(arch=ARCH, num_classes=5, args=None, cfg=None, **rest):
    return {"architecture": arch, "num_classes": num_classes, "num_features": 48, "model_args": ARGS | (args or {}),
            "pretrained_cfg": CFG | (cfg or {}), **rest}


def save_timm(folder, model, config):
    safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    write(folder, "config.json", config)


def scoring(config):
    """How transformers' pipeline makes scores: pipelines/image_classification.py."""
    if config.problem_type == "regression":
        return "raw"
    if config.problem_type == "multi_label_classification" or config.num_labels == 1:
        return "sigmoid"
    return "softmax"


def hf_processor(folder):
    kind = ""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).exists() and not kind:
            said = json.loads((folder / name).read_text())
            kind = said.get("image_processor", said).get("image_processor_type") or ""
    return AutoImageProcessor.from_pretrained(folder, backend="torchvision" if kind.endswith("Fast") else "pil")


@torch.no_grad()
def by_hf(folder, pictures, model=None, **asked):
    """What transformers answers; of a given model where the folder's file is not its own."""
    processor = hf_processor(folder)
    if model is None:
        model, info = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        if info["missing_keys"] or info.get("mismatched_keys"):
            raise ValueError(f"transformers makes random tensors of {sorted(info['missing_keys'])[:3]} {info.get('mismatched_keys')}")
    model = model.eval()
    out = {"scoring": np.array(scoring(model.config))}
    for i, p in enumerate(pictures):
        x = processor(p, return_tensors="pt", **asked.get("processed", {}))["pixel_values"]
        out[f"tensor{i}"] = x[0].float().numpy()
        out[f"logits{i}"] = model(x.float(), **asked.get("computed", {})).logits[0].numpy()
    return out


@torch.no_grad()
def by_timm(folder, pictures, model=None, **data):
    """What timm answers, by its loader of folders."""
    if model is None:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    model = model.eval()
    transform = timm.data.create_transform(**(timm.data.resolve_model_data_config(model) | data), is_training=False)
    out = {"scoring": np.array("softmax")}
    for i, p in enumerate(pictures):
        x = transform(p)
        out[f"tensor{i}"] = x.numpy()
        said = model(x[None])[0].numpy()
        out[("logits" if model.num_classes > 0 else "features") + str(i)] = said
    return out
