"""The tiny models that odd forms are made of, and what the libraries answer."""

import dataclasses
import json
import typing
import zlib

import numpy as np
import safetensors.torch
import timm
import torch
import transformers
from transformers import AutoImageProcessor, AutoModelForImageClassification

from weights import FIRST, SCALES, STREAM, WRITERS, norms

HF = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96, "image_size": 32, "patch_size": 8,
      "id2label": {i: f"thing {i}" for i in range(5)}}
PHOTOS = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": True,
          "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
ARGS = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 32, "patch_size": 8}
CFG = {"num_classes": 5, "input_size": [3, 32, 32], "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic", "mean": [0.5, 0.5, 0.5],
       "std": [0.5, 0.5, 0.5], "first_conv": "patch_embed.proj", "classifier": "head"}
ARCH = "vit_tiny_patch16_224"


FILLED = {}  # of the bytes of every tensor that fill made: seed, centre, spread


def values(seed, n):
    """n numbers from -1 to 1 that a few lines make anywhere: MurmurHash3's last
    steps of the index and the seed."""
    x = (np.arange(n, dtype=np.uint64) * 0x9E3779B1 + seed) % 2**32
    for shift, times in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ((x ^ (x >> shift)) * times) % 2**32
    return (x ^ (x >> 16)).astype(np.float64) / 2**31 - 1


@torch.no_grad()
def fill(model):
    """The weights of weights.py that show faults, as numbers which the tests in Go make, too."""
    of_norms = norms(model)
    for name, p in model.state_dict().items():
        size, seed = STREAM if WRITERS.search(name) else 1.0, zlib.crc32(name.encode())
        centre, spread = 0.0, size * 1.5
        if SCALES.search(name) or name in of_norms and name.endswith("weight"):
            centre, spread = size, size / 2
        elif name.endswith("bias") or p.dim() == 1 and "token" not in name:
            spread = size * 0.4
        elif p.dim() > 1 and "token" not in name and "pos" not in name:
            spread *= (2 if FIRST.search(name) else 1) / float(np.sqrt(p[0].numel()))
        centre, spread = float(f"{centre:.3g}"), float(f"{spread:.3g}")
        p.copy_(torch.from_numpy((centre + spread * values(seed, p.numel())).astype(np.float32)).reshape(p.shape))
        for stored in (p, p.half(), p.bfloat16(), p.double()):
            FILLED[raw(stored)] = seed, centre, spread


def raw(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


@dataclasses.dataclass
class Form:
    name: str
    make: typing.Callable  # of a folder: writes the files
    reference: typing.Callable  # of a folder and pictures: what is right
    flags: list = dataclasses.field(default_factory=list)


def hf_model(cls="ViTForImageClassification", **said):
    cls = getattr(transformers, cls)
    model = cls(cls.config_class(**(HF | said))).eval()
    fill(model)
    return model


def timm_model(arch=ARCH, num_classes=5, **args):
    args = {k: v for k, v in (ARGS | args).items() if v is not None}
    model = timm.create_model(arch, pretrained=False, num_classes=num_classes, **args).eval()
    fill(model)
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
    data = timm.data.resolve_model_data_config(model) | data
    transform = timm.data.create_transform(**data, is_training=False)
    mode = "L" if data["input_size"][0] == 1 else "RGB"  # as timm's validate.py opens photos
    out = {"scoring": np.array("softmax")}
    for i, p in enumerate(pictures):
        x = transform(p.convert(mode))
        out[f"tensor{i}"] = x.numpy()
        said = model(x[None])[0].numpy()
        out[("logits" if model.num_classes > 0 else "features") + str(i)] = said
    return out
