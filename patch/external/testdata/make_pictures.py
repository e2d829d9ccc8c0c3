"""Makes the pictures that TestPrograms reads, and what the references see in them.

    pip install pillow==13.0.0 pillow-heif==1.8.1
    python make_pictures.py    # with Debian's avifenc (libavif-bin 0.11.1) and cjxl (libjxl-tools 0.7.0)

NAME.heic is golden by pillow-heif, NAME.avif by Pillow, NAME.jxl by the picture it was made of:
NAME.EXT.png is exif_transpose(open(NAME.EXT)).convert("RGB"). Grids, irot, imir and EXIF are put
together here from coded tiles (ISO/IEC 23008-12, 6.5.10, 6.5.12 and 6.6.2.3).
"""

import io
import math
import pathlib
import struct
import subprocess
import tempfile

import pillow_heif
from PIL import Image, ImageOps

pillow_heif.register_heif_opener()
out = pathlib.Path(__file__).parent / "pictures"


def photo(w, h, alpha=False):
    """A picture whose corners, sides and colours differ, smooth as photos are."""
    m = Image.new("RGBA" if alpha else "RGB", (w, h))
    for y in range(h):
        for x in range(w):
            u, v = x / max(w - 1, 1), y / max(h - 1, 1)
            c = (
                int(40 + 180 * u),
                int(30 + 160 * v + 30 * math.sin(5 * u)),
                int(200 - 150 * u * v),
            )
            if x < w // 3 and y < h // 4:
                c = (230, 60, 50)
            m.putpixel((x, y), c + ((int(255 * u),) if alpha else ()))
    return m


def box(kind, body):
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind, body, version=0, flags=0):
    return box(kind, struct.pack(">I", version << 24 | flags) + body)


def boxes(data):
    at = 0
    while at + 8 <= len(data):
        n, kind = struct.unpack(">I4s", data[at : at + 8])
        n = n or len(data) - at
        yield kind, data[at + 8 : at + n]
        at += n


def coded(file):
    """The properties and the code of the first coded item of a file of one picture."""
    meta = next(b for k, b in boxes(file) if k == b"meta")
    inside = dict(boxes(meta[4:]))
    props = list(boxes(dict(boxes(inside[b"iprp"]))[b"ipco"]))
    loc = inside[b"iloc"]
    sizes, count = struct.unpack(">HH", loc[4:8])
    assert loc[0] < 2 and count >= 1
    base, extent = sizes >> 4 & 15, sizes >> 8 & 15
    at, size = 8, {0: None, 4: ">I", 8: ">Q"}
    at += 2 + (2 if loc[0] else 0) + 2  # item, construction, data reference
    start = struct.unpack_from(size[base], loc, at)[0] if base else 0
    at += base + 2
    offset, length = (sizes >> 12 & 15), extent
    start += struct.unpack_from(size[offset], loc, at)[0]
    n = struct.unpack_from(size[length], loc, at + offset)[0]
    codec = [(k, b) for k, b in props if k in (b"hvcC", b"av1C", b"pixi", b"colr")]
    return codec, file[start : start + n]


def mux(brand, item, tiles, w, h, tile, columns, rows, turn=(), exif=None):
    """A file of tiles (codec properties and code), put together in a grid where there are several."""
    props, grid = [], columns * rows > 1
    ids = list(range(1, len(tiles) + 1))
    infos, codes, assoc = [], [], []
    for i, (codec, code) in zip(ids, tiles):
        mine = [(b"ispe", struct.pack(">III", 0, *tile))] + codec
        if not grid:
            mine += list(turn)
        numbers = []
        for p in mine:
            if p not in props:
                props.append(p)
            numbers.append(props.index(p) + 1)
        hidden = 1 if grid else 0
        infos.append(full(b"infe", struct.pack(">HH4sx", i, 0, item), 2, hidden))
        codes.append(code)
        assoc.append((i, numbers))
    primary, refs = 1, b""
    if grid:
        primary = len(tiles) + 1
        ids.append(primary)
        mine = [(b"ispe", struct.pack(">III", 0, w, h))] + [p for p in tiles[0][0] if p[0] == b"pixi"] + list(turn)
        for p in mine:
            if p not in props:
                props.append(p)
        infos.append(full(b"infe", struct.pack(">HH4sx", primary, 0, b"grid"), 2))
        codes.append(struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, w, h))
        assoc.append((primary, [props.index(p) + 1 for p in mine]))
        refs += box(b"dimg", struct.pack(">HH", primary, len(tiles)) + b"".join(struct.pack(">H", i) for i in ids[:-1]))
    if exif:
        i = len(codes) + 1
        ids.append(i)
        infos.append(full(b"infe", struct.pack(">HH4sx", i, 0, b"Exif"), 2))
        codes.append(struct.pack(">I", 0) + exif)
        refs += box(b"cdsc", struct.pack(">HHH", i, 1, primary))
    needed = {b"hvcC", b"av1C", b"irot", b"imir", b"clap"}
    ipma = struct.pack(">I", len(assoc))
    for i, numbers in assoc:
        ipma += struct.pack(">HB", i, len(numbers))
        ipma += b"".join(bytes([n | (0x80 if props[n - 1][0] in needed else 0)]) for n in numbers)
    iprp = box(b"ipco", b"".join(box(k, b) for k, b in props)) + full(b"ipma", ipma)
    brands = [brand, b"mif1", b"miaf"]
    ftyp = box(b"ftyp", brand + struct.pack(">I", 0) + b"".join(brands))

    def meta(start):
        loc, at = struct.pack(">HH", 0x4400, len(codes)), start
        for i, code in zip(ids, codes):
            loc += struct.pack(">HHHII", i, 0, 1, at, len(code))
            at += len(code)
        body = full(b"hdlr", struct.pack(">I4s12xx", 0, b"pict"))
        body += full(b"pitm", struct.pack(">H", primary)) + full(b"iloc", loc)
        body += full(b"iinf", struct.pack(">H", len(infos)) + b"".join(infos))
        if refs:
            body += full(b"iref", refs)
        return full(b"meta", body + box(b"iprp", iprp))

    head = ftyp + meta(len(ftyp) + len(meta(0)) + 8)
    return head + box(b"mdat", b"".join(codes))


def exif(orientation):
    e = Image.Exif()
    e[0x112] = orientation
    return e.tobytes().removeprefix(b"Exif\0\0")


def save(m, kind, **how):
    b = io.BytesIO()
    m.save(b, kind, **how)
    return b.getvalue()


def write(name, data):
    (out / name).write_bytes(data)
    m = Image.open(io.BytesIO(data))
    ImageOps.exif_transpose(m).convert("RGB").save(out / (name + ".png"), optimize=True)
    print(name, len(data), m.size)


def turns(irot=None, imir=None):
    t = []
    if irot is not None:
        t.append((b"irot", bytes([irot])))
    if imir is not None:
        t.append((b"imir", bytes([imir])))
    return t


families = {
    "heic": (b"heic", b"hvc1", lambda m, **k: save(m, "HEIF", **{"quality": 80, **k})),
    "avif": (b"avif", b"av01", lambda m, **k: save(m, "AVIF", **{"quality": 80, **k})),
}
out.mkdir(exist_ok=True)
for ext, (brand, item, encode) in families.items():
    write(f"plain.{ext}", encode(photo(96, 64)))
    write(f"odd.{ext}", encode(photo(97, 65)))
    write(f"alpha.{ext}", encode(photo(96, 64, alpha=True)))
    sampling = {"chroma": 444} if ext == "heic" else {"subsampling": "4:4:4"}
    write(f"444.{ext}", encode(photo(96, 64), **sampling))
    one = coded(encode(photo(96, 64)))
    for name, turn, o in [
        ("exif6", turns(), 6),
        ("irot1", turns(irot=1), None),
        ("irot3_exif6", turns(irot=3), 6),
        ("irot2_exif8", turns(irot=2), 8),
        ("imir0_exif2", turns(imir=0), 2),
        ("imir1_exif3", turns(imir=1), 3),
        ("irot1_imir0_exif5", turns(irot=1, imir=0), 5),
    ]:
        e = exif(o) if o else None
        write(f"{name}.{ext}", mux(brand, item, [one], 96, 64, (96, 64), 1, 1, turn, e))
    clap = (b"clap", struct.pack(">IIIIiIiI", 60, 1, 40, 1, 4, 1, -2, 1))
    write(f"clap_irot1_exif3.{ext}", mux(brand, item, [one], 96, 64, (96, 64), 1, 1, [clap] + turns(irot=1), exif(3)))
    whole = photo(180, 120)
    tiles = [coded(encode(whole.crop((x, y, x + 64, y + 64)))) for y in (0, 64) for x in (0, 64, 128)]
    write(f"grid.{ext}", mux(brand, item, tiles, 180, 120, (64, 64), 3, 2))
    write(f"grid_irot1_exif8.{ext}", mux(brand, item, tiles, 180, 120, (64, 64), 3, 2, turns(irot=1), exif(8)))

several = pillow_heif.HeifFile()
for m in (photo(80, 48).rotate(180), photo(96, 64), photo(64, 64)):
    several.add_from_pillow(m)
b = io.BytesIO()
several.save(b, quality=80, primary_index=1)
write("second_of_three.heic", b.getvalue())
write("sequence.avif", save(photo(96, 64), "AVIF", quality=80, save_all=True, append_images=[photo(96, 64).rotate(180)]))
b = io.BytesIO()
pillow_heif.from_pillow(photo(96, 64)).save(
    b, quality=80, color_primaries=1, transfer_characteristics=13, matrix_coefficients=1, full_range_flag=0
)
write("limited_709.heic", b.getvalue())

deep = photo(96, 64)
ten = b"".join(struct.pack("<H", v * 257) for v in deep.tobytes())
b = io.BytesIO()
pillow_heif.from_bytes(mode="RGB;16", size=deep.size, data=ten).save(b, quality=80)
write("10bit.heic", b.getvalue())

with tempfile.TemporaryDirectory() as folder:
    png, avif = pathlib.Path(folder, "a.png"), pathlib.Path(folder, "a.avif")
    photo(96, 64, alpha=True).save(png)
    subprocess.run(["avifenc", "-d", "10", "-s", "8", png, avif], check=True, stdout=subprocess.DEVNULL)
    write("10bit_alpha.avif", avif.read_bytes())
    for name, m, how in [
        ("lossless.jxl", photo(96, 64), []),
        ("container.jxl", photo(97, 65), ["--container=1"]),
        ("alpha.jxl", photo(96, 64, alpha=True), []),
        ("gray_square.jxl", photo(50, 50).convert("L"), []),
        ("gray_alpha.jxl", photo(44, 33, alpha=True).convert("LA"), []),
        ("wide.jxl", photo(600, 3), []),
        ("two_to_one.jxl", photo(64, 32), []),
    ]:
        png = pathlib.Path(folder, "a.png")
        m.save(png)
        subprocess.run(["cjxl", "--quiet", "-d", "0", *how, png, out / name], check=True)
        m.convert("RGB").save(out / (name + ".png"), optimize=True)
    frames = [photo(96 + 3 * i, 64 + i).resize((96, 64)) for i in range(12)]
    frames[0].save(png, save_all=True, append_images=frames[1:], duration=40)
    subprocess.run(["cjxl", "--quiet", "-d", "0", png, out / "animation.jxl"], check=True)
    frames[0].save(out / "animation.jxl.png", optimize=True)
    jpg = pathlib.Path(folder, "a.jpg")
    photo(96, 64).save(jpg, quality=90, exif=b"Exif\0\0" + exif(6))
    subprocess.run(["cjxl", "--quiet", jpg, out / "jpeg_exif6.jxl"], check=True)
    ImageOps.exif_transpose(Image.open(jpg)).convert("RGB").save(out / "jpeg_exif6.jxl.png", optimize=True)
