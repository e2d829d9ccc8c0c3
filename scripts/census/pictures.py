"""The two pictures of a census: a wide one without loss and a tall JPEG, which
have soft and hard edges, noise, and another size than any model's input."""

import numpy as np
from PIL import Image

NAMES = ["wide.png", "tall.jpg"]


def picture(width, height, seed):
    r = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    out = np.zeros((height, width, 3))
    for c in range(3):
        for f in (2, 5, 11, 23, 47):
            a, b, p, q = r.uniform(0.5, 1.5), r.uniform(0.5, 1.5), r.uniform(0, 6.28), r.uniform(0, 6.28)
            out[..., c] += np.sin(x * f * a * 6.28 / width + p) * np.cos(y * f * b * 6.28 / height + q) / f**0.5
    out += r.normal(0, 0.15, (height, width, 1))
    out = (out - out.min()) / (out.max() - out.min())
    for _ in range(12):
        x0, y0 = r.integers(0, width * 3 // 4), r.integers(0, height * 3 // 4)
        out[y0 : y0 + r.integers(8, height // 4), x0 : x0 + r.integers(8, width // 4)] = r.uniform(0, 1, 3)
    return Image.fromarray((out * 255).round().astype(np.uint8))


def make(folder):
    """Writes the pictures, unless they are there, and returns their paths."""
    paths = [folder / n for n in NAMES]
    if not all(p.exists() for p in paths):
        picture(640, 400, 1).save(paths[0])
        picture(427, 640, 2).save(paths[1], quality=90)
    return paths


def opened(paths):
    return [Image.open(p).convert("RGB") for p in paths]
