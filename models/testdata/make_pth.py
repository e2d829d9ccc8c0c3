"""Small checkpoints as PyTorch saves them, and what they hold as safetensors.
Made with torch 2.15.0 and safetensors 0.8.0.

    python make_pth.py
"""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import os
import pathlib
import sys
import types
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

OUT = Path(__file__).parent / "pth"
OUT.mkdir(exist_ok=True)
g = torch.Generator().manual_seed(1)
base = torch.randn(4, 6, generator=g)

state = {
    "w": base,
    "transposed": base.t(),
    "middle": base[1:3, 2:5],
    "column": base[:, 1],
    "expanded": torch.randn(3, 1, generator=g)[:, 0],
    "half": torch.randn(5, generator=g).half(),
    "bfloat": torch.randn(5, generator=g).bfloat16(),
    "double": torch.randn(2, 2, generator=g).double(),
    "long": torch.arange(3),
    "flag": torch.tensor([True, False, True]),
    "scalar": torch.tensor(7.5),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(torch.randn(2, generator=g)),
}
safetensors.torch.save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, OUT / "state.safetensors")
torch.save(state, OUT / "state.pth")


class Evil:
    def __reduce__(self):
        return os.system, ("echo run > /tmp/run",)


linear = torch.nn.Linear(3, 2)
with torch.no_grad():
    for p in linear.parameters():
        p.copy_(torch.randn(p.shape, generator=g))
safetensors.torch.save_file(linear.state_dict(), OUT / "linear.safetensors")
torch.save(linear.state_dict(), OUT / "ordered.pth")
optimizer = torch.optim.AdamW(linear.parameters())
torch.save(
    {
        "model": linear.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5, "device": torch.device("cpu"),
        "size": torch.Size([1, 2]), "args": argparse.Namespace(lr=0.1, name="run"), "history": [1.5, None, (True, -70000)],
    },
    OUT / "training.pth",
)
torch.save({"student": {"x": torch.zeros(1)}, "teacher": linear.state_dict()}, OUT / "dino.pth")
torch.save({"w": torch.zeros(1), "evil": Evil()}, OUT / "evil.pth")
torch.save(linear, OUT / "module.pth")
torch.save({"epoch": 3}, OUT / "nothing.pth")
torch.save(linear.state_dict(), OUT / "legacy.pth", _use_new_zipfile_serialization=False)

# Moving averages beside what they are averages of, and a script's own tensors
# beside both.
raw = {k: torch.zeros_like(v) for k, v in linear.state_dict().items()}
torch.save({"state_dict": raw, "state_dict_ema": linear.state_dict(), "epoch": torch.tensor(3)}, OUT / "ema.pth")
torch.save({"model": raw, "model_ema": linear.state_dict(), "state_dict_ema": None}, OUT / "model_ema.pth")

# What stands beside weights. OmegaConf and a script's own classes are stood in
# for: what matters is how they are pickled.
omegaconf = types.ModuleType("omegaconf.dictconfig")
omegaconf.DictConfig = type("DictConfig", (), {"__module__": "omegaconf.dictconfig"})
sys.modules["omegaconf"], sys.modules["omegaconf.dictconfig"] = types.ModuleType("omegaconf"), omegaconf
config = omegaconf.DictConfig()
config.__dict__.update(_content={"lr": 0.1}, _parent=None)


@dataclasses.dataclass
class Arguments:
    lr: float = 0.1


class Phase(enum.Enum):
    TRAIN = 1


beside = {
    "dtype": torch.float32, "half": torch.bfloat16, "device": torch.device("cpu"), "size": torch.Size([1, 2]), "layout": torch.strided,
    "scalar": np.float64(0.5), "integer": np.int64(7), "array": np.arange(6.0).reshape(2, 3), "kind": np.dtype("float32"),
    "path": pathlib.Path("runs") / "one", "pure": pathlib.PurePosixPath("a"), "namespace": argparse.Namespace(lr=0.1, out=pathlib.Path("x")), "config": config,
    "arguments": Arguments(), "phase": Phase.TRAIN, "when": datetime.datetime(2026, 1, 2), "counts": collections.Counter("aab"), "set": {1, 2}, "frozen": frozenset([1]),
    "complex": 1 + 2j, "bytes": b"ab", "bytearray": bytearray(b"ab"), "slice": slice(1, 2), "default": collections.defaultdict(list, a=[1]), "version": torch.__version__,
    "queue": collections.deque([1]), "partial": functools.partial(int, base=2), "decimal": decimal.Decimal("1.5"), "simple": types.SimpleNamespace(a=1),
}
for name, options in {"beside": {}, "beside4": {"pickle_protocol": 4}, "beside_legacy": {"_use_new_zipfile_serialization": False}}.items():
    torch.save({**beside, "state_dict": linear.state_dict()}, OUT / f"{name}.pth", **options)
torch.save(state, OUT / "state_legacy.pth", _use_new_zipfile_serialization=False)
torch.save(collections.defaultdict(int, linear.state_dict()), OUT / "defaultdict.pth")
