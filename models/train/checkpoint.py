"""Checkpoints as a handful of safetensors files, each under 16 MiB, so that they pass through small transfers.

float32 weights are split; the average and Adam's first moment are stored in bfloat16 and its second moment as the
bfloat16 of its square root, which keeps more of its range: exact enough to go on from, not to compare bit by bit.
"""

import json
import os

import torch
from safetensors.torch import load_file, save_file

LIMIT = 15 << 20  # bytes a file


def _shards(tensors: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    shards, size = [{}], 0
    for name, t in tensors.items():
        bytes_ = t.numel() * t.element_size()
        if bytes_ > LIMIT:
            raise SystemExit(f"{name} alone has {bytes_} bytes, more than a checkpoint file may have ({LIMIT})")
        if size + bytes_ > LIMIT:
            shards.append({})
            size = 0
        shards[-1][name] = t.detach().contiguous().cpu()
        size += bytes_
    return shards


def save(folder: str, state: dict, model: torch.nn.Module, average: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Writes to folder.new and renames, so that a killed run leaves the old checkpoint or the new, never half of one."""
    new = folder + ".new"
    os.makedirs(new, exist_ok=True)
    for name in os.listdir(new):
        os.remove(os.path.join(new, name))
    names = {id(p): n for n, p in model.named_parameters()}
    first, second = {}, {}
    for p, s in optimizer.state.items():
        first[names[id(p)]] = s["exp_avg"].to(torch.bfloat16)
        second[names[id(p)]] = s["exp_avg_sq"].sqrt().to(torch.bfloat16)
    parts = {
        "weights": {n: p.float() for n, p in model.state_dict().items()},
        "average": {n: t.to(torch.bfloat16) for n, t in average.items()},
        "moment1": first,
        "moment2": second,
    }
    for part, tensors in parts.items():
        for i, shard in enumerate(_shards(tensors)):
            save_file(shard, os.path.join(new, f"{part}-{i}.safetensors"))
    with open(os.path.join(new, "state.json"), "w") as f:
        json.dump(state, f, indent=1)
    old = folder + ".old"
    if os.path.isdir(folder):
        os.rename(folder, old)
    os.rename(new, folder)
    if os.path.isdir(old):
        for name in os.listdir(old):
            os.remove(os.path.join(old, name))
        os.rmdir(old)


def _load(folder: str, part: str) -> dict[str, torch.Tensor]:
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if name.startswith(part + "-"):
            tensors.update(load_file(os.path.join(folder, name)))
    return tensors


def load(folder: str, model: torch.nn.Module, average: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> dict | None:
    """Restores everything in place and returns the state, or None where there is no checkpoint."""
    for candidate in (folder, folder + ".old"):
        if os.path.exists(os.path.join(candidate, "state.json")):
            break
    else:
        return None
    with open(os.path.join(candidate, "state.json")) as f:
        state = json.load(f)
    model.load_state_dict(_load(candidate, "weights"), strict=True)
    for name, t in _load(candidate, "average").items():
        average[name].copy_(t)
    first, second = _load(candidate, "moment1"), _load(candidate, "moment2")
    for name, p in model.named_parameters():
        if name in first:
            optimizer.state[p] = {
                "step": torch.tensor(float(state["step"])),
                "exp_avg": first[name].to(p.device, p.dtype),
                "exp_avg_sq": second[name].to(p.device, p.dtype).square(),
            }
    return state
