# Writes original.npz: what the original programs' motion blur and snow make of a
# small square picture at each severity, by ImageMagick itself (MotionBlurImage),
# and the random numbers that were used. Pins: requirements.txt, Wand 0.7.2 and
# ImageMagick 6.9.11-60 Q16, which is Debian 12's libmagickwand-6.q16-6.
import io
import pathlib

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import zoom as scizoom
from wand.image import Image as Magick

import reference


def motion(p, radius, sigma, angle):
    """of bytes (H, W) or (H, W, 3), whose file ImageMagick reads and writes"""
    file = io.BytesIO()
    Image.fromarray(p).save(file, "PNG")
    with Magick(blob=file.getvalue()) as m:
        m.motion_blur(radius=radius, sigma=sigma, angle=angle)
        made = Image.open(io.BytesIO(m.make_blob("PNG")))
    return np.asarray(made.convert("RGB" if p.ndim == 3 else "L"))


def clipped_zoom(x, z):
    """of a square, whose middle fills it"""
    n = len(x)
    part = int(np.ceil(n / z))
    top = (n - part) // 2
    large = scizoom(x[top : top + part, top : top + part], (z, z), order=1)
    cut = (len(large) - n) // 2
    return large[cut : cut + n, cut : cut + n]


def motion_blur(p, s, r):
    radius, sigma = [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)][s]
    return motion(p, radius, sigma, r.uniform(-45, 45))


def snow(p, s, r):
    loc, scale, z, threshold, radius, sigma, mix = [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ][s]
    x = np.array(p, dtype=np.float32) / 255.0
    layer = clipped_zoom(r.normal(loc, scale, p.shape[:2]), z)
    layer[layer < threshold] = 0
    layer = motion((np.clip(layer, 0, 1) * 255).astype(np.uint8), radius, sigma, r.uniform(-135, -45)) / 255.0
    layer = layer[..., None]
    x = mix * x + (1 - mix) * np.maximum(x, cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., None] * 1.5 + 0.5)
    return np.uint8(np.clip(x + layer + np.rot90(layer, k=2), 0, 1) * 255)


def synthetic(n, seed):
    y, x = np.mgrid[:n, :n]
    rng = np.random.default_rng(seed)
    p = np.stack([127 + 90 * np.sin(x / (5 + c) + y / (9 - c)) + 30 * (x > y) + rng.normal(0, 6, (n, n)) for c in range(3)], -1)
    p[4:14, 6:20] = 120
    return np.clip(p, 0, 255).astype(np.uint8)


out = {}
for key, p in {"small": synthetic(32, 7), "square": synthetic(50, 8)}.items():
    out[key] = p
    for i, (name, f) in enumerate({"motion_blur": motion_blur, "snow": snow}.items()):
        for s in range(5):
            r = reference.Recorder(7000 + 10 * i + s)
            out[f"{key}/original/{name}/{s + 1}"] = f(p, s, r)
            for k, v in r.recorded().items():
                out[f"{key}/original/{name}/{s + 1}/{k}"] = v
np.savez_compressed(pathlib.Path(__file__).with_name("original.npz"), **out)
