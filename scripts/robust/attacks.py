"""Attacks of vitserve beside torchattacks 3.5.1, on the same pixels.

    python attacks.py --vitserve ./vitserve --model deit_tiny_patch16_224 \\
        --truth labels.csv --out attacks/ images/ [EXPERIMENT…]

Each experiment runs `vitserve robust` with --pictures, attacks the clean inputs
that it wrote with torchattacks and the same settings, and compares them on the
photos that were right: signs of the change (of few steps), the loss by photo
(of all steps) or the success rate, with Wilson's intervals at 95 %. For success
rates torchattacks has one photo at a time, and is stopped at the first picture
that fools, which it would count whatever came later. A line of JSON for each is added to attacks/results.jsonl. Versions: requirements.txt.
"""

import argparse
import csv
import json
import math
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch
import torchattacks
from PIL import Image

E = 1 / 255
# name: photos, flags of vitserve, torchattacks, what is compared
EXPERIMENTS = {
    "fgsm": (50, "--suite fgsm --epsilon 8/255", lambda m: torchattacks.FGSM(m, eps=8 * E), "signs"),
    "pgd2": (50, "--suite pgd --epsilon 8/255 --attack-steps 2 --attack-step-size 4/255 --random-start=false --all-steps",
             lambda m: torchattacks.PGD(m, eps=8 * E, alpha=4 * E, steps=2, random_start=False), "signs"),
    "pgd10": (100, "--suite pgd --epsilon 0.25/255 --attack-steps 10 --attack-step-size 0.0625/255 --random-start=false --all-steps",
              lambda m: torchattacks.PGD(m, eps=0.25 * E, alpha=E / 16, steps=10, random_start=False), "loss"),
    "apgd-ce-0.25": (100, "--suite apgd-ce --epsilon 0.25/255", lambda m: torchattacks.APGD(m, eps=0.25 * E, steps=100), "success"),
    "apgd-ce-0.5": (100, "--suite apgd-ce --epsilon 0.5/255", lambda m: torchattacks.APGD(m, eps=0.5 * E, steps=100), "success"),
    "apgd-t-0.25": (100, "--suite apgd-t --epsilon 0.25/255", lambda m: torchattacks.APGDT(m, eps=0.25 * E, steps=100, n_classes=10), "success"),
    "apgd-t-0.5": (100, "--suite apgd-t --epsilon 0.5/255", lambda m: torchattacks.APGDT(m, eps=0.5 * E, steps=100, n_classes=10), "success"),
    "square-2": (50, "--suite square --epsilon 2/255", lambda m: torchattacks.Square(m, eps=2 * E, n_queries=1000, resc_schedule=True), "success"),
    "square-4": (50, "--suite square --epsilon 4/255", lambda m: torchattacks.Square(m, eps=4 * E, n_queries=1000, resc_schedule=True), "success"),
}
# APGDT's n_classes is how many classes it aims at, and one more.


def wilson(n, k):
    if k == 0:
        return 0.0, 1.0
    z, p = 1.959963984540054, n / k
    mid, half = p + z * z / (2 * k), z * math.sqrt(p * (1 - p) / k + z * z / (4 * k * k))
    return (mid - half) / (1 + z * z / k), (mid + half) / (1 + z * z / k)


def journal(path, cells=2):
    """Rows of a journal: name, class, and of the attack rank, success, queries, NLL."""
    data = path.read_bytes()
    at = data.index(b"\n") + 1
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        body = data[at + 8 : at + 8 + size]
        at += 8 + size
        end = body.index(b"\n")
        row = json.loads(body[:end])
        rec = body[end + 1 + (cells - 1) * 160 :]
        ints, floats = struct.unpack_from("<8i", rec), struct.unpack_from("<16d", rec, 32)
        yield row["name"], row["class"], dict(rank=ints[2], success=ints[4], queries=floats[13], nll=floats[1])


parser = argparse.ArgumentParser()
parser.add_argument("--vitserve", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--truth", required=True)
parser.add_argument("--out", required=True, type=Path)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--limit", type=int, default=0, help="photos of each experiment; 0: as many as the table says")
parser.add_argument("images")
parser.add_argument("experiments", nargs="*", default=list(EXPERIMENTS))
args = parser.parse_args()
torch.set_num_threads(args.threads)
args.out.mkdir(parents=True, exist_ok=True)

folder = Path(args.model)
config = json.loads((folder / "config.json").read_text())
net = timm.create_model(config["architecture"])
net.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
cfg = config["pretrained_cfg"] if "pretrained_cfg" in config else config
mean, std = (torch.tensor(cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))


class Found(Exception):
    """A picture that fools: torchattacks would go on, and count it a success."""


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
        self.label = None  # of the one picture under attack that may end

    def forward(self, x):
        z = self.net((x - mean) / std)
        if self.label is not None and int(z[0].argmax()) != self.label:
            raise Found(x.detach().clone())
        return z


model = Model().eval()


def read(path):
    return torch.from_numpy(np.asarray(Image.open(path)).transpose(2, 0, 1).astype(np.float32) / 255)


for name in args.experiments:
    photos, flags, make, what = EXPERIMENTS[name]
    photos = args.limit or photos
    out = args.out / name
    command = [args.vitserve, "robust", args.images, "--model", args.model, "--truth", args.truth, "--limit", str(photos),
               "--gallery", "0", "--pictures", str(out), "--out", f"{out}.json", *flags.split()]
    begin = time.time()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ours = time.time() - begin
    hash_ = json.loads(Path(f"{out}.json").read_text())["protocol_sha256"]
    rows = [r for r in journal(Path(f"{out}.json.rows")) if r[2]["success"] >= 0]
    cell = next(p for p in out.iterdir() if p.name != "clean") / "1"
    begin = time.time()
    same = total = fooled = 0
    losses, wins = [], []
    attack = make(model)
    batch = 1 if what == "success" else 10
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        x = torch.stack([read(out / "clean" / Path(n).with_suffix(".png")) for n, _, _ in part])
        y = torch.tensor([c for _, c, _ in part])
        try:
            model.label = int(y[0]) if what == "success" else None
            adv = attack(x, y).detach()
        except Found as found:
            adv = found.args[0]
        model.label = None
        with torch.no_grad():
            z = model(adv)
        wins += (z.argmax(1) != y).tolist()
        if what == "loss":
            theirs = torch.nn.functional.cross_entropy(z, y, reduction="none").tolist()
            losses += [(r["nll"], t) for (_, _, r), t in zip(part, theirs)]
        if what == "signs":
            mine = torch.stack([read(cell / Path(n).with_suffix(".png")) for n, _, _ in part])
            a, b = ((v - x) * 255 for v in (mine, adv))
            same += int((a.round().sign() == b.round().sign()).sum())
            total += a.numel()
        print(name, len(wins), flush=True)
    n, mine = len(rows), sum(r["success"] for _, _, r in rows)
    result = dict(name=name, flags=flags, photos=photos, attacked=n, protocol=hash_, seconds=[round(ours), round(time.time() - begin)],
                  success=[mine / n, sum(wins) / n], interval=wilson(mine, n), theirs=wilson(sum(wins), n), at=time.strftime("%F %T"))
    if what == "signs":
        result["signs"] = same / total
    if what == "loss":
        rel = [abs(a - b) / b for a, b in losses]
        result["loss"] = dict(worst=max(rel), median=sorted(rel)[len(rel) // 2], within=sum(r <= 0.01 for r in rel) / len(rel), mean=[float(np.mean(v)) for v in zip(*losses)])
    if what == "success":
        queries = sorted(r["queries"] for _, _, r in rows)
        result["queries"] = dict(median=queries[n // 2], mean=sum(queries) / n)
    print(json.dumps(result), flush=True)
    with open(args.out / "results.jsonl", "a") as f:
        f.write(json.dumps(result) + "\n")
