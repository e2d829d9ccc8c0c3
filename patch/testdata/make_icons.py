"""Makes DIB and ICO files, and Pillow's pixels.

Run it in this folder with Pillow 13.0.0.
"""

import io
import pathlib
import random
import struct

import PIL
from PIL import Image, ImageDraw

FORMATS = pathlib.Path(__file__).parent / "formats"


def picture(mode, w, h, seed):
    rng = random.Random(seed)
    m = Image.linear_gradient("L").resize((w, h)).convert("RGB")
    d = ImageDraw.Draw(m)
    for _ in range(5):
        x, y = rng.randrange(w), rng.randrange(h)
        d.ellipse([x, y, x + rng.randrange(1, w), y + rng.randrange(1, h)], fill=tuple(rng.randbytes(3)))
    if mode == "P":
        return m.quantize(23)
    if mode == "RGBA":
        m.putalpha(Image.frombytes("L", (w, h), rng.randbytes(w * h)))
    return m.convert(mode)


def frame(kind, m):
    out = io.BytesIO()
    m.save(out, kind)
    data = out.getvalue()
    if kind == "dib":
        w, h = m.size
        data = data[:8] + struct.pack("<I", 2 * h) + data[12:]
        if m.mode != "RGBA":
            data += b"\x55\xaa" * ((w + 31) // 32 * 2 * h)  # a mask
    return data


def icon(name, *pictures):
    """pictures are (kind, picture, colours and bits that the directory has)."""
    frames = [frame(kind, m) for kind, m, *_ in pictures]
    at = 6 + 16 * len(frames)
    out = struct.pack("<HHH", 0, 1, len(frames))
    for data, (_, m, colors, bits) in zip(frames, pictures):
        out += struct.pack("<BBBBHHII", m.width & 255, m.height & 255, colors, 0, 1, bits, len(data), at)
        at += len(data)
    (FORMATS / name).write_bytes(out + b"".join(frames))


assert PIL.__version__ == "13.0.0"
for mode in ("1", "L", "P", "RGB", "RGBA"):
    picture(mode, 21, 14, mode).save(FORMATS / f"{mode.lower()}.dib", "dib")
icon("one.ico", ("dib", picture("1", 33, 9, 1), 2, 0))
icon("palette.ico", ("dib", picture("P", 24, 24, 2), 0, 8))
icon("rgb.ico", ("dib", picture("RGB", 19, 23, 3), 0, 24))
icon("rgba.ico", ("dib", picture("RGBA", 20, 20, 4), 0, 32))
icon("png.ico", ("png", picture("RGBA", 256, 40, 5), 0, 32))
icon("sizes.ico", *[("dib", picture("RGB", n, n, n), 0, 24) for n in (16, 32, 24)])
# Of the same size the one of the fewest bits counts, and the first of such.
icon("depths.ico", ("png", picture("RGBA", 16, 16, 6), 0, 32), ("dib", picture("P", 16, 16, 7), 0, 8), ("dib", picture("P", 16, 16, 8), 200, 0))
for path in sorted(FORMATS.glob("*.dib")) + sorted(FORMATS.glob("*.ico")):
    with Image.open(path) as m:
        m.convert("RGB").save(f"{path}.golden.png", optimize=True)
