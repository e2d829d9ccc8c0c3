"""Makes TIFFs of gray JPEG of twelve bits, sequential, progressive and lossless,
JPEGs in lossless code of several scans, and Pillow's pixels.

Run it in this folder with Pillow 13.0.0.  The encoders are here: a transform in
floats, codes of fixed lengths, no refinement.  Of twelve bits the goldens hold the
highest eight.
"""

import array
import math
import pathlib
import random
import struct

import PIL
from PIL import Image

FORMATS = pathlib.Path(__file__).parent / "formats"
ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))


class Bits:
    def __init__(self):
        self.bits = []

    def put(self, value, count):
        self.bits.extend(value >> i & 1 for i in reversed(range(count)))

    def value(self, v, size):
        self.put(v if v > 0 else v + (1 << size) - 1, size)

    def bytes(self):
        self.bits.extend([1] * (-len(self.bits) % 8))
        out = bytearray()
        for i in range(0, len(self.bits), 8):
            b = int("".join(map(str, self.bits[i : i + 8])), 2)
            out.extend(b"\xff\x00" if b == 255 else [b])
        return bytes(out)


def segment(marker, body):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def frame(marker, precision, w, h, sampling=((1, 1),)):
    return segment(marker, struct.pack(">BHHB", precision, h, w, len(sampling)) + b"".join(bytes([i + 1, a << 4 | b, 0]) for i, (a, b) in enumerate(sampling)))


def scan(components, *parameters):
    return segment(0xDA, bytes([len(components)]) + b"".join(bytes([c + 1, 0]) for c in components) + bytes(parameters))


# Codes: of DC, and of lossless differences, five bits; of AC eight or nine.
DC = segment(0xC4, b"\x00" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17)))
DCT_DC = segment(0xC4, b"\x00" + bytes([0, 0, 0, 0, 16] + [0] * 11) + bytes(range(16)))
AC = segment(0xC4, b"\x10" + bytes([0] * 7 + [128, 128] + [0] * 7) + bytes(range(256)))


def ac(bits, symbol):
    bits.put(*((symbol, 8) if symbol < 128 else (256 + symbol - 128, 9)))


def samples(w, h, seed, most=4095):
    rng = random.Random(seed)
    return [[max(0, min(most, int(most * (0.5 + 0.45 * math.sin(x / 5 + seed) * math.cos(y / 7)) + rng.gauss(0, most / 50)))) for x in range(w)] for y in range(h)]


def blocks(rows, w, h, quant):
    """Quantized coefficients of each block, in the file's order."""
    cos = [[math.cos((2 * x + 1) * u * math.pi / 16) * (math.sqrt(0.125) if u == 0 else 0.5) for x in range(8)] for u in range(8)]
    for y in range(0, h, 8):
        for x in range(0, w, 8):
            b = [[rows[min(y + j, h - 1)][min(x + i, w - 1)] - 2048 for i in range(8)] for j in range(8)]
            t = [[sum(b[j][i] * cos[u][i] for i in range(8)) for u in range(8)] for j in range(8)]
            f = [sum(t[j][u] * cos[v][j] for j in range(8)) for v in range(8) for u in range(8)]
            yield [round(f[k] / quant[i]) for i, k in enumerate(ZIGZAG)]


def put_ac(bits, coefficients):
    run = 0
    last = max([i for i, v in enumerate(coefficients) if v], default=-1)
    for v in coefficients[: last + 1]:
        if v == 0:
            run += 1
            continue
        while run > 15:
            ac(bits, 0xF0)
            run -= 16
        size = abs(v).bit_length()
        ac(bits, run << 4 | size)
        bits.value(v, size)
        run = 0
    if last + 1 < len(coefficients):
        ac(bits, 0)


def dct(w, h, seed, step, progressive=False):
    quant = [step + i // 3 for i in range(64)]
    all_blocks = list(blocks(samples(w, h, seed), w, h, quant))
    out = b"\xff\xd8" + segment(0xDB, b"\x10" + struct.pack(">64H", *quant)) + frame(0xC2 if progressive else 0xC1, 12, w, h) + DCT_DC + AC

    def data(dc, first, last):
        bits, before = Bits(), 0
        for b in all_blocks:
            if dc:
                d, before = b[0] - before, b[0]
                size = abs(d).bit_length()
                bits.put(size, 5)
                bits.value(d, size)
            if last:
                put_ac(bits, b[first : last + 1])
        return bits.bytes()

    if not progressive:
        return out + scan([0], 0, 63, 0) + data(True, 1, 63) + b"\xff\xd9"
    out += scan([0], 0, 0, 0) + data(True, 0, 0)
    return out + scan([0], 1, 9, 0) + data(False, 1, 9) + scan([0], 10, 63, 0) + data(False, 10, 63) + b"\xff\xd9"


def lossless(w, h, seed, precision, predictors, shift=0, sampling=((1, 1),)):
    """One scan a component, of each its own predictor."""
    across, down = max(a for a, _ in sampling), max(b for _, b in sampling)
    out = b"\xff\xd8" + frame(0xC3, precision, w, h, sampling) + DC
    for n, (predictor, (a, b)) in enumerate(zip(predictors, sampling, strict=True)):
        pw, ph = -(-w * a // across), -(-h * b // down)
        rows = [[v >> shift for v in row] for row in samples(pw, ph, seed + n, (1 << precision) - 1)]
        bits = Bits()
        for y in range(ph):
            for x in range(pw):
                if x == 0:
                    p = rows[y - 1][0] if y else 1 << (precision - shift - 1)
                elif y == 0:
                    p = rows[0][x - 1]
                else:
                    l, u, c = rows[y][x - 1], rows[y - 1][x], rows[y - 1][x - 1]
                    p = [0, l, u, c, l + u - c, l + (u - c >> 1), u + (l - c >> 1), l + u >> 1][predictor]
                d = rows[y][x] - p
                size = abs(d).bit_length()
                bits.put(size, 5)
                bits.value(d, size)
        out += scan([n], predictor, 0, shift) + bits.bytes()
    return out + b"\xff\xd9"


def tiff(name, w, h, *strips):
    """Gray of twelve bits in JPEG; strips are of h rows but the last."""
    high = -(-h // len(strips))
    at = 8 + 2 + 12 * 9 + 4 + 8 * len(strips)
    places = []
    for s in strips:
        places.append(at)
        at += len(s)
    one = len(strips) == 1
    values = 8 + 2 + 12 * 9 + 4
    tags = [(256, 3, 1, w), (257, 3, 1, h), (258, 3, 1, 12), (259, 3, 1, 7), (262, 3, 1, 1)]
    tags += [(273, 4, len(strips), places[0] if one else values), (277, 3, 1, 1), (278, 3, 1, high)]
    tags += [(279, 4, len(strips), len(strips[0]) if one else values + 4 * len(strips))]
    out = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", *t) for t in tags) + b"\0\0\0\0"
    out += struct.pack(f"<{2 * len(strips)}I", *places, *map(len, strips))
    (FORMATS / name).write_bytes(out + b"".join(strips))


assert PIL.__version__ == "13.0.0"
tiff("twelve.tif", 37, 29, dct(37, 29, 1, 9))
tiff("twelve_strips.tif", 24, 32, dct(24, 16, 2, 1), dct(24, 16, 3, 40))
tiff("twelve_progressive.tif", 33, 17, dct(33, 17, 4, 5, progressive=True))
for p in range(1, 8):
    tiff(f"twelve_lossless_{p}.tif", 20 + p, 19, lossless(20 + p, 19, p, 12, [p], shift=p % 3))
(FORMATS / "lossless_scans.jpg").write_bytes(lossless(21, 18, 5, 8, [4, 1, 7], sampling=[(1, 1)] * 3))
(FORMATS / "lossless_scans_420.jpg").write_bytes(lossless(23, 15, 6, 8, [2, 6, 5], shift=1, sampling=[(2, 2), (1, 1), (1, 1)]))
(FORMATS / "lossless_scans_cmyk.jpg").write_bytes(lossless(17, 12, 7, 8, [3, 5, 1, 7], sampling=[(1, 1)] * 4))
for path in sorted(FORMATS.glob("twelve*.tif")) + sorted(FORMATS.glob("lossless_scans*.jpg")):
    with Image.open(path) as m:
        if m.mode == "I;16":
            values = array.array("H", m.tobytes())
            m = Image.frombytes("L", m.size, bytes(v >> 4 for v in values))
        m.convert("RGB").save(f"{path}.golden.png", optimize=True)
