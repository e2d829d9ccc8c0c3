"""Makes JPEGs in codes that Pillow reads and does not write, and Pillow's pixels.

Run it in this folder, with Pillow 13.0.0 and, for arithmetic code, cjpeg (the committed
files: libjpeg-turbo 2.1.5 of Debian 12).  Lossless files are written here (T.81,
annex H): differences of the chosen predictor in one Huffman table.
"""

import pathlib
import random
import struct
import subprocess

import PIL
from PIL import Image, ImageDraw

FORMATS = pathlib.Path(__file__).parent / "formats"


def picture(mode, w, h, seed):
    rng = random.Random(seed)
    m = Image.linear_gradient("L").resize((w, h)).convert("RGB")
    d = ImageDraw.Draw(m)
    for _ in range(6):
        x, y = rng.randrange(w), rng.randrange(h)
        d.ellipse([x, y, x + rng.randrange(1, w), y + rng.randrange(1, h)], fill=tuple(rng.randbytes(3)))
    noise = Image.frombytes("RGB", (w, h), rng.randbytes(3 * w * h))
    return Image.blend(m, noise, 0.1).convert(mode)


def arithmetic(name, mode, w, h, *options):
    m = picture(mode, w, h, name)
    kind = b"P5" if mode == "L" else b"P6"
    raw = kind + b" %d %d 255\n" % (w, h) + m.tobytes()
    data = subprocess.run(["cjpeg", "-arithmetic", *options], input=raw, stdout=subprocess.PIPE, check=True).stdout
    (FORMATS / name).write_bytes(data)


def lossless(name, mode, w, h, predictor, shift=0, sampling=None, restart=0, marker=b""):
    m = picture(mode, w, h, name)
    n = len(m.getbands())
    sampling = sampling or [(1, 1)] * n
    across, down = max(s[0] for s in sampling), max(s[1] for s in sampling)
    planes = []
    for band, (sh, sv) in zip(m.split(), sampling, strict=True):
        pw, ph = -(-w // across) * sh, -(-h // down) * sv
        planes.append((band.resize((pw, ph)).tobytes(), pw))
    bits = []

    def put(value, count):
        bits.extend(value >> i & 1 for i in reversed(range(count)))

    out = bytearray()

    def flush():
        bits.extend([1] * (-len(bits) % 8))
        for i in range(0, len(bits), 8):
            b = int("".join(map(str, bits[i : i + 8])), 2)
            out.extend(b"\xff\x00" if b == 255 else [b])
        bits.clear()

    rows, columns = -(-h // down), -(-w // across)
    fresh = 0  # row after which prediction began anew
    for y in range(rows):
        if restart and y and y % restart == 0:
            flush()
            out.extend([0xFF, 0xD0 + (y // restart - 1) % 8])
            fresh = y
        for x in range(columns):
            for (plane, pw), (sh, sv) in zip(planes, sampling, strict=True):
                at = lambda i, j: plane[j * pw + i] >> shift
                for j in range(y * sv, y * sv + sv):
                    for i in range(x * sh, x * sh + sh):
                        first = j == fresh * sv
                        # Samples beyond the picture have no neighbours that count.
                        if i == 0:
                            p = 1 << (7 - shift) if first else at(i, j - 1)
                        elif first:
                            p = at(i - 1, j)
                        else:
                            a, b, c = at(i - 1, j), at(i, j - 1), at(i - 1, j - 1)
                            p = [0, a, b, c, a + b - c, a + (b - c >> 1), b + (a - c >> 1), a + b >> 1][predictor]
                        d = at(i, j) - p
                        size = abs(d).bit_length()
                        put(size, 5)  # codes of five bits
                        put(d if d > 0 else d + (1 << size) - 1, size)
    flush()
    segment = lambda m, body: b"\xff" + bytes([m]) + struct.pack(">H", len(body) + 2) + body
    frame = struct.pack(">BHHB", 8, h, w, n) + b"".join(bytes([i + 1, s[0] << 4 | s[1], 0]) for i, s in enumerate(sampling))
    table = b"\x00" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    scan = bytes([n]) + b"".join(bytes([i + 1, 0]) for i in range(n)) + bytes([predictor, 0, shift])
    data = b"\xff\xd8" + marker + segment(0xC3, frame) + segment(0xC4, table)
    if restart:
        data += segment(0xDD, struct.pack(">H", restart * columns))
    (FORMATS / name).write_bytes(data + segment(0xDA, scan) + bytes(out) + b"\xff\xd9")


assert PIL.__version__ == "13.0.0"
arithmetic("arith_gray.jpg", "L", 33, 21)
arithmetic("arith_420.jpg", "RGB", 35, 27)
arithmetic("arith_444_restarts.jpg", "RGB", 29, 30, "-sample", "1x1", "-restart", "1", "-quality", "95")
arithmetic("arith_progressive.jpg", "RGB", 37, 26, "-progressive", "-quality", "92")
arithmetic("arith_progressive_gray.jpg", "L", 19, 40, "-progressive", "-restart", "3B")
for p in range(1, 8):
    lossless(f"lossless_{p}.jpg", "L", 11 + p, 23 - p, p, shift=p % 3)
lossless("lossless_rgb.jpg", "RGB", 17, 13, 4)
lossless("lossless_restarts.jpg", "RGB", 14, 12, 6, restart=5)
lossless("lossless_420.jpg", "RGB", 15, 13, 7, sampling=[(2, 2), (1, 1), (1, 1)])
lossless("lossless_cmyk.jpg", "CMYK", 16, 9, 5)
for path in sorted(FORMATS.glob("arith_*.jpg")) + sorted(FORMATS.glob("lossless_*.jpg")):
    Image.open(path).convert("RGB").save(f"{path}.golden.png")
