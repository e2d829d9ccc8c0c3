# Writes golden.npz: a small picture, what imagecorruptions makes of it at each
# severity, the random numbers that it used, and the same of the original
# programs' formulas where they differ. Pins: requirements.txt.
#
#   python make_golden.py [PICTURE SIZE OUT]   of a photo instead, for a look at large ones
import pathlib
import sys

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.ndimage import zoom as scizoom
from skimage.filters import gaussian

import reference


def synthetic(w, h, seed):
    """Waves, an edge, a gray patch, black and white."""
    y, x = np.mgrid[:h, :w]
    rng = np.random.default_rng(seed)
    channels = [127 + 90 * np.sin(x / (5 + c) + y / (9 - c)) + 30 * (x > y) + rng.normal(0, 6, (h, w)) for c in range(3)]
    p = np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)
    p[4:14, 6:20] = 120
    p[h - 8 : h - 2, w - 12 : w - 6] = 255
    p[h - 8 : h - 2, w - 6 : w - 1] = 0
    return p


def to_bytes(x):
    return np.uint8(np.clip(x, 0, 1) * 255)


def zoom_blur(p, s, _):
    steps = [np.arange(1, 1.11, 0.01), np.arange(1, 1.16, 0.01), np.arange(1, 1.21, 0.02), np.arange(1, 1.26, 0.02), np.arange(1, 1.31, 0.03)][s]
    x = (p / 255.0).astype(np.float32)
    total = np.zeros_like(x)
    n = len(x)  # of a square
    for z in steps:
        part = int(np.ceil(n / z))
        top = (n - part) // 2
        large = scizoom(x[top : top + part, top : top + part], (z, z, 1), order=1)
        cut = (len(large) - n) // 2
        total += large[cut : cut + n, cut : cut + n]
    return to_bytes((x + total) / (len(steps) + 1))


def pixelate(p, s, _):
    c = [0.6, 0.5, 0.4, 0.3, 0.25][s]
    m = Image.fromarray(p)
    h, w = p.shape[:2]
    return np.asarray(m.resize((int(w * c), int(h * c)), Image.BOX).resize((w, h), Image.BOX))


def elastic_transform(p, s, r):
    alpha, sigma, by = [(244 * 2, 244 * 0.7, 244 * 0.1), (244 * 2, 244 * 0.08, 244 * 0.2), (244 * 0.05, 244 * 0.01, 244 * 0.02), (244 * 0.07, 244 * 0.01, 244 * 0.02), (244 * 0.12, 244 * 0.01, 244 * 0.02)][s]
    x = np.array(p, dtype=np.float32) / 255.0
    h, w = x.shape[:2]
    middle, side = np.float32((h, w)) // 2, min(h, w) // 3
    before = np.float32([middle + side, [middle[0] + side, middle[1] - side], middle - side])
    after = before + r.uniform(-by, by, size=before.shape).astype(np.float32)
    x = cv2.warpAffine(x, cv2.getAffineTransform(before, after), (w, h), borderMode=cv2.BORDER_REFLECT_101)
    dx, dy = ((gaussian(r.uniform(-1, 1, size=(h, w)), sigma, mode="reflect", truncate=3) * alpha).astype(np.float32) for _ in range(2))
    yy, xx = np.mgrid[:h, :w]
    return to_bytes(np.stack([map_coordinates(x[..., c], [yy + dy, xx + dx], order=1, mode="reflect") for c in range(3)], -1))


def frost(p, s, r):
    a, b = [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)][s]
    r.randint(5)
    y, x = r.randint(0, len(texture) - len(p)), r.randint(0, texture.shape[1] - p.shape[1])
    return np.uint8(np.clip(a * p + b * texture[y : y + len(p), x : x + p.shape[1]].astype(np.float64), 0, 255))


out = {}
texture = synthetic(66, 60, 5) // 2 + 60
if len(sys.argv) > 1:
    pictures = {"wide": np.asarray(Image.open(sys.argv[1]).convert("RGB").resize((int(sys.argv[2]),) * 2))}
else:
    pictures = {"wide": synthetic(40, 34, 1), "square": synthetic(36, 36, 2), "large": synthetic(72, 50, 3)}
out["texture"] = texture
for key, p in pictures.items():
    out[key] = p
    names = reference.get_corruption_names("all")
    for i, name in enumerate(names):
        for s in range(5):
            if key == "square" or key == "large" and ((s + i) % 5 or name.endswith("noise")):
                continue  # the large one has others than noise once each, and a texture that is too small for it
            made, draws = reference.recorded(p, name, s + 1, 100 * i + s, texture)
            out[f"{key}/imagecorruptions/{name}/{s + 1}"] = made
            for k, v in draws.items():
                out[f"{key}/imagecorruptions/{name}/{s + 1}/{k}"] = v
    if key == "large":
        continue
    for name, f in {"zoom_blur": zoom_blur, "pixelate": pixelate, "elastic_transform": elastic_transform, "frost": frost}.items():
        if p.shape[0] != p.shape[1] or len(p) > len(texture):
            continue
        for s in range(5):
            r = reference.Recorder(9000 + s)
            out[f"{key}/original/{name}/{s + 1}"] = f(p, s, r)
            for k, v in r.recorded().items():
                out[f"{key}/original/{name}/{s + 1}/{k}"] = v
path = sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).with_name("golden.npz")
np.savez_compressed(path, **out)
