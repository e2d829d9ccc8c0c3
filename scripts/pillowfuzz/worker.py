"""Reads pictures with Pillow for scripts/pillowfuzz, over pipes.

A request is a letter, the length of what follows in four bytes, and that:
  D  a file: its format as text, a zero byte, its bytes.
     Answer: b"P", width, height (four bytes each), RGB; or b"E" and a text
  O  a file of any format, to be turned as its EXIF says.
     Answer: b"W" and the format, a space, and how many warnings there were; then as for D
  E  JSON {"format", "mode", "width", "height", "seed", "options"}: a picture is
     drawn and saved.  Answer: b"F" and the file; or b"E" and a text
Texts and files have their length in four bytes before them; all numbers are
little-endian.  Nothing larger than LIMIT pixels is decoded: b"E" "too large".
"""

import array
import io
import json
import random
import resource
import struct
import sys
import warnings

import PIL
from PIL import Image, ImageDraw, ImageOps

LIMIT = 1 << 20
LIMIT_OF_ANY = 50_000_000  # patch.DefaultMaxPixels
NAMES = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "dib": "DIB", "ico": "ICO", "tiff": "TIFF", "webp": "WEBP"}

warnings.simplefilter("ignore")
Image.MAX_IMAGE_PIXELS = None
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def text(kind, value):
    value = value if isinstance(value, bytes) else str(value).encode()
    return kind + struct.pack("<I", len(value)) + value


def read(m, limit, turn):
    try:
        if m.width * m.height > limit:
            return text(b"E", "too large")
        m.load()
        shift = 4 if getattr(m, "tag_v2", {}).get(258) == (12,) else 8
        if turn:
            m = ImageOps.exif_transpose(m)
        if m.mode.startswith("I;16"):  # vitserve keeps the high bits where Pillow clips
            values = array.array("H", m.tobytes())
            if m.mode == "I;16B":
                values.byteswap()
            m = Image.frombytes("L", m.size, bytes(v >> shift & 255 for v in values))
        m = m.convert("RGB")
    except BaseException as e:  # MemoryError and panics are verdicts, too
        return text(b"E", f"{type(e).__name__}: {e}")
    return b"P" + struct.pack("<II", *m.size) + m.tobytes()


def decode(body):
    name, _, data = body.partition(b"\0")
    try:
        m = Image.open(io.BytesIO(data), formats=[NAMES[name.decode()]])
    except BaseException as e:
        return text(b"E", f"{type(e).__name__}: {e}")
    return read(m, LIMIT, False)


def any_file(data):
    name, kind = "none", b""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            m = Image.open(io.BytesIO(data))
            name = m.format
            kind = read(m, LIMIT_OF_ANY, True)
        except BaseException as e:
            kind = text(b"E", f"{type(e).__name__}: {e}")
    return text(b"W", f"{name} {len(said)}") + kind


def draw(mode, width, height, seed):
    """Smooth colours, some edges, some noise."""
    rng = random.Random(seed)
    m = Image.new("RGB", (width, height), tuple(rng.randrange(256) for _ in range(3)))
    d = ImageDraw.Draw(m)
    for _ in range(rng.randrange(6)):
        box = sorted(rng.randrange(-4, width + 4) for _ in "xx"), sorted(rng.randrange(-4, height + 4) for _ in "yy")
        d.ellipse([box[0][0], box[1][0], box[0][1], box[1][1]], fill=tuple(rng.randrange(256) for _ in range(3)))
    if rng.random() < 0.5:
        noise = Image.frombytes("RGB", (width, height), rng.randbytes(3 * width * height))
        m = Image.blend(m, noise, rng.random())
    if mode in ("RGBA", "LA"):
        m.putalpha(Image.frombytes("L", (width, height), rng.randbytes(width * height)))
    if mode == "I;16":
        return Image.frombytes("I;16", (width, height), rng.randbytes(2 * width * height))
    return m.convert(mode)


def encode(body):
    want = json.loads(body)
    try:
        m = draw(want["mode"], want["width"], want["height"], want["seed"])
        out = io.BytesIO()
        options = want.get("options") or {}
        if "exif" in options:
            exif = Image.Exif()
            exif[0x0112] = options.pop("exif")
            options["exif"] = exif
        frames = options.pop("frames", 0)
        if frames:
            options.update(save_all=True, append_images=[draw(want["mode"], want["width"], want["height"], i) for i in range(frames)])
        m.save(out, NAMES[want["format"]], **options)
    except Exception as e:
        return text(b"E", f"{type(e).__name__}: {e}")
    return text(b"F", out.getvalue())


def main():
    assert PIL.__version__ == "13.0.0", f"Pillow {PIL.__version__}, want 13.0.0"
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while head := stdin.read(5):
        body = stdin.read(struct.unpack("<I", head[1:])[0])
        stdout.write({b"D": decode, b"O": any_file, b"E": encode}[head[:1]](body))
        stdout.flush()


main()
