"""What transformers and timm answer for the checkpoints in trials/, of the photo
trials/plain.png, and a small CLIP tower of timm's. Made with torch 2.15.0,
torchvision 0.30.0, timm 1.0.31, transformers 5.24.0, Pillow 13.0.0.

    python make_trials.py
"""

import json
import os
from pathlib import Path

import safetensors.torch
import timm
import torch
import transformers
from PIL import Image

OUT = Path(__file__).parent / "trials"
PHOTO = Image.open(OUT / "plain.png").convert("RGB")
answers = {"versions": {m.__name__: m.__version__ for m in (torch, timm, transformers)}}


def by_timm(model, cfg=None):
    data = timm.data.resolve_data_config(pretrained_cfg=cfg or model.pretrained_cfg)
    x = timm.data.create_transform(**data, is_training=False)(PHOTO).unsqueeze(0)
    with torch.no_grad():
        return model.eval()(x)[0]


def floats(x):
    return [float(v) for v in x]


# transformers, with Pillow's processor unless the file asks for another.
for name in ("hf_processor_config", "hf_noproctype"):
    processor = transformers.AutoImageProcessor.from_pretrained(OUT / name, backend="pil")
    model = transformers.AutoModelForImageClassification.from_pretrained(OUT / name).eval()
    with torch.no_grad():
        answers[name] = floats(model(**processor(PHOTO, return_tensors="pt")).logits[0])

# timm: names that torch.compile and DataParallel prefix.
model = timm.create_model(f"local-dir:{OUT / 'tm_origmod'}", pretrained=True)
answers["tm_origmod"] = floats(by_timm(model))

# timm's CLIP tower, small: its head is the projection.
torch.manual_seed(5)
name = OUT / "tm_clip"
name.mkdir(exist_ok=True)
args = {"embed_dim": 32, "depth": 2, "img_size": 64}
model = timm.create_model("vit_medium_patch32_clip_224.tinyclip_laion400m", pretrained=False, num_classes=512, **args)
with torch.no_grad():
    for k, p in model.named_parameters():
        p.copy_(torch.empty_like(p).uniform_(0.5, 1.5) if "norm" in k and k.endswith("weight") else torch.randn_like(p) * 0.1)
        p.copy_(p.half().float())
safetensors.torch.save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, name / "model.safetensors")
cfg = {k: v for k, v in model.pretrained_cfg.items() if k in ("tag", "input_size", "crop_pct", "crop_mode", "interpolation", "mean", "std", "num_classes")}
cfg["input_size"] = [3, 64, 64]
config = {"architecture": "vit_medium_patch32_clip_224", "num_classes": 512, "num_features": 32, "pretrained_cfg": cfg, "model_args": args}
(name / "config.json").write_text(json.dumps(config, indent=1))
answers["tm_clip"] = floats(by_timm(model, {**cfg}))

(OUT / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")
for k, v in answers.items():
    print(k, v if isinstance(v, dict) else v[:4])
