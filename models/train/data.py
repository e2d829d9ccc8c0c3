"""Tiny-ImageNet-200 as it lies in zip files: class folders of 64x64 WebP pictures."""

import csv
import glob
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image


@dataclass
class Classes:
    """The classes in the order of the model's outputs (K of them)."""

    wnids: list[str]
    names: list[str]
    imagenet: list[int]  # index among the 1000 classes of ImageNet-1k, for the teacher


@dataclass
class Pictures:
    images: torch.Tensor  # (N, 3, S, S) uint8
    labels: torch.Tensor  # (N) int64


def read_classes(folder: str, only: list[str] | None = None) -> Classes:
    """Reads classes.csv (index, wnid, imagenet_index, name); only keeps the named wnids, renumbered."""
    with open(os.path.join(folder, "classes.csv"), newline="") as f:
        rows = sorted(csv.DictReader(f), key=lambda r: int(r["index"]))
    if only:
        rows = [r for r in rows if r["wnid"] in set(only)]
    if not rows:
        raise SystemExit(f"{folder}/classes.csv: no class left")
    return Classes([r["wnid"] for r in rows], [r["name"] for r in rows], [int(r["imagenet_index"]) for r in rows])


def read_pictures(folder: str, prefix: str, classes: Classes, size: int, limit: int = 0) -> Pictures:
    """Decodes every picture of prefix*.zip whose folder is one of the classes; limit > 0 keeps that many a class."""
    index = {w: i for i, w in enumerate(classes.wnids)}
    paths = sorted(glob.glob(os.path.join(folder, prefix + "*.zip")))
    if not paths:
        raise SystemExit(f"{folder}: no {prefix}*.zip")
    found: list[tuple[str, str]] = []
    for path in paths:
        with zipfile.ZipFile(path) as z:
            found += [(path, n) for n in sorted(z.namelist()) if n.split("/")[0] in index and not n.endswith("/")]
    if limit:
        seen: dict[str, int] = {}
        kept = []
        for path, name in found:
            wnid = name.split("/")[0]
            seen[wnid] = seen.get(wnid, 0) + 1
            if seen[wnid] <= limit:
                kept.append((path, name))
        found = kept
    images = np.empty((len(found), 3, size, size), np.uint8)
    labels = np.empty(len(found), np.int64)

    def decode(start: int, stop: int) -> None:
        # A ZipFile of its own for each thread: reading moves the file's position.
        files: dict[str, zipfile.ZipFile] = {}
        for i in range(start, stop):
            path, name = found[i]
            if path not in files:
                files[path] = zipfile.ZipFile(path)
            picture = Image.open(io.BytesIO(files[path].read(name))).convert("RGB")
            if picture.size != (size, size):
                picture = picture.resize((size, size), Image.BICUBIC)
            images[i] = np.asarray(picture).transpose(2, 0, 1)
            labels[i] = index[name.split("/")[0]]
        for z in files.values():
            z.close()

    step = 2000
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda s: decode(s, min(s + step, len(found))), range(0, len(found), step)))
    return Pictures(torch.from_numpy(images), torch.from_numpy(labels))
