"""Small checkpoints as PyTorch saves them, and what they hold as safetensors.
Made with torch 2.15.0 and safetensors 0.8.0.

    python make_pth.py
"""

import argparse
import os
from pathlib import Path

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
