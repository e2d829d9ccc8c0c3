"""Makes resample.json beside it: what torchvision's resize of bytes, and
Pillow's box and hamming filters, make of small pictures, as sha256 of their
RGB bytes; and what torchvision makes of the same as floats from 0 to 1, of which
it is the sha256 of (3, H, W). The pictures are those of `noise` in resample_test.go.

The committed file was made with torch 2.15.0, torchvision 0.29.2 and Pillow 13.0.0
on a processor with AVX2.
"""

import hashlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, functional

SIZES = [(37, 53, 16, 24), (240, 320, 224, 224), (31, 17, 64, 48), (100, 16, 16, 16), (16, 90, 16, 16), (333, 500, 256, 384), (9, 9, 9, 20), (7, 300, 5, 3), (400, 60, 20, 60)]
TORCH = {"nearest": InterpolationMode.NEAREST_EXACT, "bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC, "lanczos": InterpolationMode.LANCZOS}
PILLOW = {"box": Image.Resampling.BOX, "hamming": Image.Resampling.HAMMING}


def noise(h, w):
    """A linear congruential generator, one byte a step."""
    out, state = np.empty(h * w * 3, np.uint8), h * 65536 + w
    for i in range(out.size):
        state = (state * 1664525 + 1013904223) % 2**32
        out[i] = state >> 24
    return out.reshape(h, w, 3)


def main():
    rows = []
    for h, w, oh, ow in SIZES:
        m = noise(h, w)
        planes = torch.from_numpy(m).permute(2, 0, 1).contiguous()[None]
        for name, mode in TORCH.items():
            got = functional.resize(planes, [oh, ow], interpolation=mode, antialias=True)[0].permute(1, 2, 0).numpy()
            rows.append({"resampler": "torchvision", "interpolation": name, "from": [h, w], "to": [oh, ow], "sha256": hashlib.sha256(np.ascontiguousarray(got).tobytes()).hexdigest()})
        got = functional.resize(planes * (1 / 255), [oh, ow], interpolation=TORCH["bilinear"], antialias=True)[0].numpy()
        rows.append({"resampler": "torchvision-float", "interpolation": "bilinear", "from": [h, w], "to": [oh, ow], "sha256": hashlib.sha256(np.ascontiguousarray(got).astype("<f4").tobytes()).hexdigest()})
        for name, mode in PILLOW.items():
            got = np.asarray(Image.fromarray(m).resize((ow, oh), mode))
            rows.append({"resampler": "pillow", "interpolation": name, "from": [h, w], "to": [oh, ow], "sha256": hashlib.sha256(got.tobytes()).hexdigest()})
    path = pathlib.Path(__file__).parent / "resample.json"
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


main()
