"""Times Pillow (libjpeg-turbo) on the benchmarks' photos, one core.

VITSERVE_BENCH_PHOTOS=DIR go test -run TestWritePhotos ./patch
python patch/testdata/bench_pillow.py DIR
"""

import io
import pathlib
import sys
import time

import numpy as np
from PIL import Image, features


def best(f, n):
    times = []
    for _ in range(n):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def tensor(image):
    w, h = image.size
    size = (256, 256 * h // w) if w <= h else (256 * w // h, 256)
    image = image.resize(size, Image.BICUBIC)
    x, y = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    image = image.crop((x, y, x + 224, y + 224))
    return np.ascontiguousarray(np.asarray(image, np.float32).transpose(2, 0, 1)) / 255


print("Pillow", Image.__version__, "libjpeg-turbo", features.version("libjpeg_turbo"))
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jpg")):
    data = path.read_bytes()
    n = max(5, 20_000_000 // len(data))
    decode = best(lambda: Image.open(io.BytesIO(data)).convert("RGB"), n)
    whole = best(lambda: tensor(Image.open(io.BytesIO(data)).convert("RGB")), n)

    def draft():
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (512, 512))
        return tensor(image.convert("RGB"))

    print(f"{path.name} {len(data)} bytes: decode {decode:.2f} ms, to tensor {whole:.2f} ms, with draft {best(draft, n):.2f} ms")
