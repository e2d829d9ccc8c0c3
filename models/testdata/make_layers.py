"""Writes golden/*/layers.npy (L, B, K): what each layer of a golden model would have answered, which is the final norm, the pooling and the
head on the tokens after that layer, computed by timm's or transformers' own modules from the files that are there.

Versions: golden/versions.txt. Run: python make_layers.py
"""

import json
from pathlib import Path

import numpy
import timm
import torch
import transformers
from safetensors.torch import load_file

HERE = Path(__file__).parent / "golden"

# Names, with what the tokens after a layer are given.
TIMM = ["timm_vit", "timm_deit3", "timm_deit_distilled", "timm_reg_gap", "timm_pre_norm", "timm_swiglu"]
HF = {
    "hf_vit": (transformers.ViTForImageClassification, lambda m, t: m.classifier(m.vit.layernorm(t)[:, 0])),
    "hf_dinov2_head": (transformers.Dinov2ForImageClassification, lambda m, t: head_dinov2(m, m.dinov2.layernorm(t))),
}


def head_dinov2(m, tokens):
    return m.classifier(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1))


def normalised(folder, config):
    pixels = torch.from_numpy(numpy.load(folder / "pixels.npy"))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in config)
    return (pixels - mean) / std


def run_timm(folder):
    config = json.loads((folder / "config.json").read_text())
    model = timm.create_model(config["architecture"], **config.get("model_args", {})).eval()
    model.load_state_dict({k.removeprefix("module."): v for k, v in load_file(folder / "model.safetensors").items()})
    seen = []
    for b in model.blocks:
        b.register_forward_hook(lambda m, a, o: seen.append(o))
    pre = config["pretrained_cfg"]
    model(normalised(folder, (pre["mean"], pre["std"])))
    return [model.forward_head(model.norm(t)) for t in seen]


def run_hf(folder, of, head):
    model = of.from_pretrained(folder).eval()
    pre = json.loads((folder / "preprocessor_config.json").read_text())
    out = model(normalised(folder, (pre["image_mean"], pre["image_std"])), output_hidden_states=True)
    return [head(model, t) for t in out.hidden_states[1:]]


with torch.no_grad():
    for name in TIMM + list(HF):
        folder = HERE / name
        layers = torch.stack(run_timm(folder) if name in TIMM else run_hf(folder, *HF[name])).numpy()
        said = numpy.load(folder / "logits.npy")
        assert numpy.abs(layers[-1] - said).max() < 1e-5, (name, numpy.abs(layers[-1] - said).max())
        numpy.save(folder / "layers.npy", layers.astype(numpy.float32))
        print(name, layers.shape)
