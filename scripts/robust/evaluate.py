# Evaluates a model of timm on corrupted photos with imagecorruptions itself:
# what `vitserve robust` measures, by the programs that people have used so far.
# Packages: requirements.txt beside this, with reference.py of
# robust/corrupt/testdata, which makes imagecorruptions run with them.
#
#   python evaluate.py MODEL_FOLDER PHOTOS LABELS_CSV OUT.json [--logits OUT.npz]
#                      [--corruptions NAME,…] [--severities 1,…] [--seeds N] [--frost FOLDER]
#
# MODEL_FOLDER has timm's config.json and model.safetensors; LABELS_CSV the columns
# file and label (an index). With --frost the textures are the PNG files of a folder
# (vitserve corrupt --textures writes those of vitserve) in place of the package's.
# Random corruptions are drawn --seeds times: by_seed counts the right answers of
# each draw, and the other numbers are means of all draws. What OUT.json has already
# is not computed again.
import argparse
import csv
import json
import pathlib
import sys

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config
from torchvision import transforms

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "robust" / "corrupt" / "testdata"))
import reference  # noqa: E402

parser = argparse.ArgumentParser()
for name in ("model", "photos", "labels", "out"):
    parser.add_argument(name, type=pathlib.Path)
parser.add_argument("--logits", type=pathlib.Path)
parser.add_argument("--corruptions", default=",".join(reference.get_corruption_names()))
parser.add_argument("--severities", default="1,2,3,4,5")
parser.add_argument("--seeds", type=int, default=1)
parser.add_argument("--frost", type=pathlib.Path)
o = parser.parse_args()
torch.set_num_threads(1)

config = json.loads((o.model / "config.json").read_text())
net = timm.create_model(config["architecture"])
net.load_state_dict(load_file(o.model / "model.safetensors"))
net.eval()
steps = create_transform(**resolve_data_config(config.get("pretrained_cfg", {}), model=net)).transforms
crop = transforms.Compose(steps[:2])  # resize and crop
tensor = transforms.Compose(steps[2:])  # to [0, 1], mean and deviation
print(steps, file=sys.stderr)

rows = list(csv.DictReader(o.labels.open()))
truth = np.array([int(r["label"]) for r in rows])
crops = [np.asarray(crop(Image.open(o.photos / r["file"]).convert("RGB"))) for r in rows]
if o.frost:
    import cv2

    textures = [cv2.imread(str(p)) for p in sorted(o.frost.glob("*.png"))]
    reference.corruptions.cv2 = type("cv2", (), {**vars(cv2), "imread": staticmethod(lambda name: textures[int(name.split("frost")[-1][0]) - 1])})


def glass_blur(x, severity):
    """imagecorruptions' own, but for its loop: it draws two numbers a pixel in a
    call each, which takes half a second a picture. The same numbers, drawn a row
    at a time, give the same picture."""
    sigma, delta, times = [(0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)][severity - 1]
    blur = lambda v: reference.skimage.filters.gaussian(v, sigma=sigma, channel_axis=-1)
    y = np.uint8(blur(x / 255.0) * 255)
    h, w = y.shape[:2]
    for _ in range(times):
        for i in range(h - delta, delta, -1):
            moves = np.random.randint(-delta, delta, size=(w - 2 * delta, 2)).tolist()
            row = y[i]
            for j, (dx, dy) in zip(range(w - delta, delta, -1), moves):
                row[j] = y[i + dy, j + dx]
    return np.uint8(np.clip(blur(y / 255.0), 0, 1) * 255)


def corrupt(p, name, severity):
    if name == "glass_blur":
        return glass_blur(p, severity)
    return reference.corrupt(p, corruption_name=name, severity=severity)


@torch.no_grad()
def logits(pictures):
    out = []
    for i in range(0, len(pictures), 25):
        out.append(net(torch.stack([tensor(Image.fromarray(p)) for p in pictures[i : i + 25]])))
    return torch.cat(out).double().numpy()


RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog", "elastic_transform", "speckle_noise", "spatter"}


def measures(z):
    """of one draw"""
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    order = np.argsort(-z, 1, kind="stable")
    confidence, right = p.max(1), order[:, 0] == truth
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    ece = sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins))
    return {
        "photos": len(z), "right": int(right.sum()), "right5": int((order[:, :5] == truth[:, None]).any(1).sum()),
        "nll": float(-np.log(p[np.arange(len(z)), truth]).mean()), "ece": float(ece), "confidence": float(confidence.mean()),
    }


def add(cell, one):
    """adds a draw to what is known of a cell"""
    k = len(cell.get("by_seed", []))
    cell["photos"] = one.pop("photos")
    cell["by_seed"] = cell.get("by_seed", []) + [one.pop("right")]
    for key, v in one.items():
        cell[key] = (cell.get(key, 0) * k + v) / (k + 1)
    return cell


cells = json.loads(o.out.read_text()) if o.out.exists() else {}
kept = {}
jobs = [("clean", 0)] + [(c, int(s)) for s in o.severities.split(",") for c in o.corruptions.split(",")]
for seed in range(o.seeds):
    for number, (name, s) in enumerate(jobs):
        key = f"{name}/{s}" if s else name
        if len(cells.get(key, {}).get("by_seed", [])) > seed or (seed and name not in RANDOM):
            continue
        np.random.seed(1000 + number + 100000 * seed)
        z = logits(crops if not s else [corrupt(p, name, s) for p in crops])
        cells[key] = add(cells.get(key, {}), measures(z))
        if not seed:
            kept[key] = z.astype(np.float32)
        print(key, cells[key]["by_seed"], flush=True)
        o.out.write_text(json.dumps(cells) + "\n")
if o.logits:
    np.savez_compressed(o.logits, truth=truth, **kept)
