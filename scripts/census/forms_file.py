"""Forms of weight files: prefixes, what lies beside the weights, pickles."""

import argparse
import collections
import pathlib

import numpy as np
import safetensors.torch
import torch

from tiny import ARGS, CFG, Form, by_hf, by_timm, hf_model, save_hf, save_timm, timm_config, timm_model, write


def of_timm(name, change, same=True):
    """A file of timm's whose tensors are changed; the right answer stays that of the model, where it is the same."""

    def make(folder):
        save_timm(folder, timm_model(), timm_config())
        file = folder / "model.safetensors"
        safetensors.torch.save_file(change(safetensors.torch.load_file(file)), file)

    return Form(f"file/{name}", make, lambda folder, pictures: by_timm(folder, pictures, pretrained(timm_model()) if same else None))


def pretrained(model):
    model.pretrained_cfg = model.pretrained_cfg | CFG
    return model


def of_hf(name, change=lambda w: w, after=lambda folder: None):
    def make(folder):
        save_hf(folder, hf_model(), weights=change)
        after(folder)

    return Form(f"file/{name}", make, lambda folder, pictures: by_hf(folder, pictures, hf_model()))


def prefixed(p):
    return lambda w: {p + k: v for k, v in w.items()}


def pickled(name, what, file="model.pth", **how):
    """A file of torch.save, which convert reads. what makes the object of a state dict."""

    def make(folder):
        torch.save(what(timm_model().state_dict()), folder / file, **how)
        write(folder, "config.json", timm_config())

    return Form(f"file/{name}", make, lambda folder, pictures: by_timm(folder, pictures, pretrained(timm_model())))


def wrong(state):
    """Other weights, which must not be taken."""
    return {k: v + 0.25 for k, v in state.items()}


def sharded(folder):
    w = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = [sorted(w)[::2], sorted(w)[1::2]]
    names = [f"model-{i + 1:05}-of-00002.safetensors" for i in range(2)]
    for part, name in zip(parts, names):
        safetensors.torch.save_file({k: w[k] for k in part}, folder / name)
    write(folder, "model.safetensors.index.json", {"metadata": {}, "weight_map": {k: n for p, n in zip(parts, names) for k in p}})


def forms():
    yield of_timm("plain timm", lambda w: w)
    yield of_hf("plain transformers")
    yield of_hf("shards", after=sharded)
    yield of_hf("another file name", after=lambda f: (f / "model.safetensors").rename(f / "vit-5-things.safetensors"))
    yield of_hf("float64", lambda w: {k: v.double() for k, v in w.items()})
    for p in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.", "backbone.", "encoder.", "model.net."):
        yield of_timm(f"prefix {p}", prefixed(p))
    yield of_hf("position_ids beside", lambda w: w | {"vit.embeddings.position_ids": torch.arange(17)[None]})
    yield of_timm("n_averaged beside", lambda w: prefixed("module.")(w) | {"n_averaged": torch.tensor(5)})
    yield of_hf("decoder beside", lambda w: w | {"decoder.0.weight": torch.zeros(192, 48, 1, 1), "decoder.0.bias": torch.zeros(192)})
    yield of_timm("mask_token beside", lambda w: w | {"mask_token": torch.zeros(1, 1, 48)})
    yield pickled("state dict", lambda s: s)
    yield pickled("training checkpoint", lambda s: {"epoch": 3, "arch": "vit", "state_dict": s, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, "last.ckpt")
    yield pickled("averaged before raw", lambda s: {"state_dict": wrong(s), "state_dict_ema": s})
    yield pickled("model_ema before model", lambda s: {"model": wrong(s), "model_ema": s})
    yield pickled("arguments beside", lambda s: {"model": s, "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("/data"))})
    yield pickled("numpy scalars beside", lambda s: {"state_dict": collections.OrderedDict(s), "best": np.float64(0.5), "history": np.arange(3)})
    yield pickled("dtype beside", lambda s: {"model": s, "dtype": torch.float32, "device": torch.device("cpu")})
    yield pickled("before 1.6", lambda s: s, _use_new_zipfile_serialization=False)
    yield of_timm("a tensor missing", lambda w: {k: v for k, v in w.items() if k != "blocks.1.norm2.weight"}, same=False)
    yield of_timm("a tensor of another model", lambda w: w | {"neck.weight": torch.zeros(3, 3)}, same=False)



assert len(list(forms())) == 28, len(list(forms()))
