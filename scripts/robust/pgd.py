"""PGD-10 of vitserve and the same loop in PyTorch, in one run, by processor time.

    python pgd.py --vitserve ./vitserve --model deit_tiny_patch16_224 --truth labels.csv \\
        --out pgd/ [--limit 250] [--threads 2] images/

vitserve runs before and after PyTorch, as a whole process: it reads, decodes and
answers the photos, makes all ten steps (--all-steps: none is dropped), asks again
about what it found and writes reports. PyTorch's loop is counted alone, on the
clean inputs that vitserve wrote, in batches of the same size, without gradients of
weights. Both take the photos whose clean answer is right.
"""

import argparse
import json
import os
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch
from PIL import Image

parser = argparse.ArgumentParser()
for name in ("vitserve", "model", "truth"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--out", required=True, type=Path)
parser.add_argument("--limit", type=int, default=250)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("images")
o = parser.parse_args()
torch.set_num_threads(o.threads)
o.out.mkdir(parents=True, exist_ok=True)
EPS, ALPHA = 1 / 255, 0.25 / 255


def ours(extra=()):
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run([o.vitserve, "robust", o.images, "--model", o.model, "--truth", o.truth, "--limit", str(o.limit), "--suite", "pgd",
                    "--epsilon", "1/255", "--attack-step-size", "0.25/255", "--random-start=false", "--all-steps", "--gallery", "0",
                    "--threads", str(o.threads), "--batch", str(o.batch), "--fresh", "--out", str(o.out / "r.json"), *extra],
                   check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.time() - began


config = json.loads((Path(o.model) / "config.json").read_text())
net = timm.create_model(config["architecture"]).eval()
net.load_state_dict(safetensors.torch.load_file(Path(o.model) / "model.safetensors"))
cfg = config.get("pretrained_cfg", config)
mean, std = (torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
net.requires_grad_(False)

ours(["--pictures", str(o.out / "pictures")])  # the pixels, and a warm cache of files
files = sorted((o.out / "pictures" / "clean").rglob("*.png"))
x = torch.stack([torch.from_numpy(np.asarray(Image.open(f)).transpose(2, 0, 1).astype(np.float32) / 255) for f in files])
with torch.no_grad():
    y = torch.cat([net((b - mean) / std).argmax(1) for b in x.split(o.batch)])
report = json.loads((o.out / "r.json").read_text())
attacked = next(r["attacked"] for r in report["results"] if r["name"] == "pgd")
labels = {}
for line in open(o.truth).read().splitlines()[1:]:
    f, label = line.split(",")[:2]
    labels[Path(f).stem] = int(label)
keep = [i for i, f in enumerate(files) if labels[f.stem] == int(y[i])]
assert len(keep) == attacked, (len(keep), attacked)
x, y = x[keep], y[keep]

first = ours()
cpu, began, fooled = time.process_time(), time.time(), 0
for a, t in zip(x.split(o.batch), y.split(o.batch)):
    adv = a.clone()
    for _ in range(10):
        adv.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(net((adv - mean) / std), t)
        (g,) = torch.autograd.grad(loss, adv)
        adv = (a + (adv.detach() + ALPHA * g.sign() - a).clamp(-EPS, EPS)).clamp(0, 1).detach()
    with torch.no_grad():
        fooled += int((net((adv - mean) / std).argmax(1) != t).sum())
theirs = time.process_time() - cpu, time.time() - began
last = ours()
mine = (first[0] + last[0]) / 2
success = next(r["success"]["value"] for r in report["results"] if r["name"] == "pgd")
print(json.dumps(dict(
    photos=o.limit, attacked=attacked, threads=o.threads, batch=o.batch, cpus=os.cpu_count(),
    vitserve_cpu_s=[round(first[0], 1), round(last[0], 1)], torch_cpu_s=round(theirs[0], 1), ratio=round(theirs[0] / mine, 2),
    wall_s=dict(vitserve=[round(first[1]), round(last[1])], torch=round(theirs[1])),
    success=[success, 100 * fooled / attacked], protocol=report["protocol_sha256"], at=time.strftime("%F %T"))))
