"""Makes the files beside it: small pictures in every format and mode, what
Pillow makes of them, and what timm, torchvision and transformers hand to a
model.

Run it in this folder. The committed files were made with Python 3.11.7,
Pillow 13.0.0 (libjpeg-turbo 3.2.0, libtiff 4.7.2, libwebp 1.6.0), numpy 2.4.6,
imagecodecs 2026.3.6 (the encoder of YCCK with subsampled chroma), torchvision 0.29.2, timm 1.0.31 and transformers 5.23.0.
"""

import hashlib
import io
import itertools
import json
import pathlib
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image, ImageOps, features

HERE = pathlib.Path(__file__).parent
FORMATS = HERE / "formats"


def picture(w, h, seed=0, channels=3):
    """Smooth colours, hard edges and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    out = np.zeros((h, w, channels))
    for c in range(channels):
        a, b, p = rng.uniform(0.03, 0.3, 3)
        out[..., c] = 128 + 90 * np.sin(a * x + 6 * p) * np.cos(b * y + c)
    out[(x - w / 2) ** 2 + (y - h / 2) ** 2 < (min(w, h) / 4) ** 2] = rng.integers(0, 256, channels)
    out[h // 5 : h // 5 + 2] = rng.integers(0, 256, channels)
    out += rng.normal(0, 6, out.shape)
    return out.clip(0, 255).round().astype(np.uint8)


# ---- files ----------------------------------------------------------------

files = {}


def save(name, image, format=None, **options):
    buf = io.BytesIO()
    image.save(buf, format or name.rsplit(".", 1)[1].replace("tif", "tiff").upper().replace("JPG", "JPEG"), **options)
    files[name] = buf.getvalue()
    return files[name]


def patched(name, data, *changes):
    data = bytearray(data)
    for at, value in changes:
        data[at : at + len(value)] = value
    files[name] = bytes(data)


def find(data, marker):
    at = data.index(marker)
    return at


rgb = Image.fromarray(picture(67, 45))
soft = Image.fromarray(picture(64, 48, 3))
small = Image.fromarray(picture(40, 30, 1))


def jpegs():
    for name, sub in [("444", 0), ("422", 1), ("420", 2)]:
        save(f"{name}.jpg", rgb, quality=88, subsampling=sub)
        save(f"{name}p.jpg", rgb, quality=88, subsampling=sub, progressive=True)
    save("rough.jpg", rgb, quality=3, subsampling=2)
    save("fine.jpg", rgb, quality=100, subsampling=2)
    save("optimized.jpg", rgb, quality=75, subsampling=2, optimize=True)
    save("restart.jpg", rgb, quality=80, subsampling=2, restart_marker_blocks=3)
    save("gray.jpg", rgb.convert("L"), quality=85)
    save("grayp.jpg", rgb.convert("L"), quality=85, progressive=True)
    save("rgb.jpg", rgb, quality=85, keep_rgb=True)
    cmyk = save("cmyk.jpg", rgb.convert("CMYK"), quality=90)
    # The last byte of the Adobe segment says what the four channels are;
    # other colours, but as good a file.
    patched("ycck.jpg", cmyk, (find(cmyk, b"Adobe") + 11, b"\x02"))
    cmykp = save("cmykp.jpg", rgb.convert("CMYK"), quality=90, progressive=True)
    patched("ycckp.jpg", cmykp, (find(cmykp, b"Adobe") + 11, b"\x02"))
    # Without its Adobe segment, which is 16 bytes long.
    at = find(cmyk, b"Adobe") - 4
    files["cmykbare.jpg"] = cmyk[:at] + cmyk[at + 16 :]
    ink = np.asarray(rgb.convert("CMYK")).copy()
    ink[..., 3] = picture(67, 45, 11, 1)[..., 0]  # Pillow's own black is always 0
    files["ycck420.jpg"] = imagecodecs.jpeg8_encode(ink, 88, colorspace="CMYK", outcolorspace="YCCK", subsampling="420")
    patched("cmyk420.jpg", files["ycck420.jpg"], (find(files["ycck420.jpg"], b"Adobe") + 11, b"\x00"))
    for w, h in [(1, 1), (2, 2), (3, 3), (4, 5), (5, 1), (17, 16), (16, 17), (8, 33)]:
        save(f"{w}x{h}.jpg", Image.fromarray(picture(w, h, w)), quality=90, subsampling=2)
    for w, h in [(1, 3), (4, 9), (5, 5)]:
        save(f"422_{w}x{h}.jpg", Image.fromarray(picture(w, h, w)), quality=90, subsampling=1)
    # A scan of 2x1 chroma read as 1x2, of 2x2 as 4x1: as many blocks a unit
    # in a scrambled place, so valid files that Pillow does not write.
    half = save("422_64x48.jpg", soft, quality=88, subsampling=1)
    sof = find(half, b"\xff\xc0")
    patched("440.jpg", half, (sof + 5, struct.pack(">HH", 64, 48)), (sof + 11, b"\x12"))
    quarter = save("420_64x48.jpg", soft, quality=88, subsampling=2)
    sof = find(quarter, b"\xff\xc0")
    patched("411.jpg", quarter, (sof + 5, struct.pack(">HH", 32, 96)), (sof + 11, b"\x41"))


def png(w, h, depth, color, rows, palette=None, trns=None, interlace=False):
    """rows(x0, y0, dx, dy) packs the scan lines of one pass."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    data = b"".join(b"\0" + r for p in (passes if interlace else [(0, 0, 1, 1)]) for r in rows(*p))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, int(interlace)))
    if palette is not None:
        out += chunk(b"PLTE", bytes(palette))
    if trns is not None:
        out += chunk(b"tRNS", bytes(trns))
    return out + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def packed(samples, depth):
    """samples (H, W, C) to scan lines of depth bits a sample."""

    def rows(x0, y0, dx, dy):
        part = samples[y0::dy, x0::dx]
        if part.size == 0:
            return
        for row in part.reshape(part.shape[0], -1):
            if depth == 16:
                yield row.astype(">u2").tobytes()
            elif depth == 8:
                yield row.astype(np.uint8).tobytes()
            else:
                bits = "".join(format(int(v), f"0{depth}b") for v in row)
                bits += "0" * (-len(bits) % 8)
                yield bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))

    return rows


def pngs():
    w, h = 33, 21
    for color, channels, name in [(0, 1, "gray"), (2, 3, "rgb"), (4, 2, "graya"), (6, 4, "rgba")]:
        deep = picture(w, h, 7, channels).astype(np.uint32) * 257 + 3
        deep = deep.clip(0, 65535)
        if name != "gray":  # Pillow clips 16-bit gray; see decode_test.go
            files[f"{name}16.png"] = png(w, h, 16, color, packed(deep, 16))
        flat = picture(w, h, 8, channels)
        if channels in (2, 4):
            flat[:, : w // 2, -1] = 0  # colour under full transparency
        files[f"{name}8.png"] = png(w, h, 8, color, packed(flat, 8))
        files[f"{name}8i.png"] = png(w, h, 8, color, packed(flat, 8), interlace=True)
    gray = picture(w, h, 9, 1)
    for depth in (1, 2, 4):
        files[f"gray{depth}.png"] = png(w, h, depth, 0, packed(gray >> (8 - depth), depth))
        colors = picture(2**depth, 1, depth)
        files[f"palette{depth}.png"] = png(w, h, depth, 3, packed(gray >> (8 - depth), depth), palette=colors.tobytes())
    colors = picture(256, 1, 5)
    files["palette8.png"] = png(w, h, 8, 3, packed(gray, 8), palette=colors.tobytes(), trns=range(0, 256, 2))
    files["palette8i.png"] = png(w, h, 8, 3, packed(gray, 8), palette=colors.tobytes(), interlace=True)
    files["graytrns.png"] = png(w, h, 8, 0, packed(gray, 8), trns=struct.pack(">H", int(gray[3, 3, 0])))
    files["rgbtrns.png"] = png(w, h, 8, 2, packed(picture(w, h, 8), 8), trns=struct.pack(">HHH", *map(int, picture(w, h, 8)[4, 4])))


def others():
    alpha = np.dstack([picture(40, 30, 1), picture(40, 30, 2, 1)])
    alpha[:10, :, 3] = 0
    alpha[10:15, :, 3] = 255
    rgba = Image.fromarray(alpha)
    for w, h in [(67, 45), (64, 48), (1, 1), (2, 3), (17, 1), (1, 18)]:
        save(f"lossy{w}x{h}.webp", Image.fromarray(picture(w, h, 4)), quality=80)
    save("lossless.webp", small, lossless=True)
    save("losslessalpha.webp", rgba, lossless=True, exact=True)
    save("lossyalpha.webp", rgba, quality=70)
    save("animated.webp", rgba, save_all=True, append_images=[soft.resize((40, 30)).convert("RGBA")], lossless=True, exact=True)
    save("animatedlossy.webp", small, save_all=True, append_images=[soft.resize((40, 30))], quality=80)
    paletted = small.quantize(64)
    save("plain.gif", paletted)
    save("transparent.gif", paletted, transparency=5)
    save("animated.gif", paletted, save_all=True, append_images=[soft.resize((40, 30)).quantize(16)])
    gif = save("interlaced.gif", paletted, interlace=1)
    # The same frame, a little aside on a larger screen.
    frame = gif.index(b"\x2c\x00\x00\x00\x00" + struct.pack("<HH", 40, 30))
    patched("aside.gif", gif, (6, struct.pack("<HH", 50, 37)), (frame + 1, struct.pack("<HH", 4, 3)))
    clear = files["transparent.gif"]
    frame = clear.index(b"\x2c\x00\x00\x00\x00" + struct.pack("<HH", 40, 30))
    patched("asideclear.gif", clear, (6, struct.pack("<HH", 50, 37)), (frame + 1, struct.pack("<HH", 4, 3)))
    save("rgb.bmp", small)
    save("palette.bmp", paletted)
    save("gray.bmp", small.convert("L"))
    save("one.bmp", small.convert("1"))
    save("rgba.bmp", rgba)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        save(f"rgb_{compression.split('_')[-1]}.tif", small, compression=compression)
    save("gray.tif", small.convert("L"))
    save("one.tif", small.convert("1"))
    for group in (3, 4):
        for name, zero in [("white", 0), ("black", 1)]:  # what 0 is: PhotometricInterpretation
            save(f"g{group}_{name}.tif", small.convert("1"), compression=f"group{group}", tiffinfo={262: zero})
    save("palette.tif", paletted)
    save("lzma.tif", small, compression="lzma")
    noisy = Image.fromarray(picture(90, 61, 3, 1)[..., 0])
    save("lzma_gray.tif", noisy, compression="lzma")
    save("lzma_one.tif", noisy.convert("1"), compression="lzma")
    save("rgba.tif", rgba)


def oriented():
    tiny = Image.fromarray(picture(7, 5, 6))
    for n in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = n
        save(f"exif{n}.png", tiny, exif=exif)
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = 6
    save("exif6.jpg", small, exif=exif, quality=90)
    save("exif6.webp", small, exif=exif, lossless=True)
    save("exif6.tif", small, tiffinfo={0x0112: 6})


# ---- what a model sees ----------------------------------------------------


def transforms():
    import torchvision.transforms as T
    from timm.data.transforms_factory import transforms_imagenet_eval
    from transformers import ViTImageProcessorPil

    resample = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    cases, pixels = [], []

    def add(name, photo, size, fit, resize, how, rounding, out):
        out = np.asarray(out)
        assert out.shape == (3, *size) and out.dtype == np.uint8, (name, out.shape, out.dtype)
        t = {"size": size, "fit": fit, "resize": resize, "interpolation": how, "rounding": rounding, "mean": mean, "std": std}
        cases.append({"name": name, "photo": photo, "transform": t})
        pixels.append(out.reshape(-1))

    def timm_case(photo, size, pct, mode, how):
        f = transforms_imagenet_eval(img_size=size, crop_pct=pct, crop_mode=mode, interpolation=how, mean=mean, std=std, normalize=False)
        fit = {"center": "short", "squash": "squash", "border": "long"}[mode]
        resize = tuple(int(np.floor(s / pct)) for s in size)
        name = f"timm {photo} {size} {pct} {mode} {how}"
        add(name, photo, size, fit, resize, how, "torchvision", f(Image.open(HERE / "photos" / photo).convert("RGB")).numpy())

    def hf_case(photo, size, resize, how):
        short = isinstance(resize, int)
        p = ViTImageProcessorPil(
            size={"shortest_edge": resize} if short else {"height": resize[0], "width": resize[1]},
            resample=resample[how],
            do_center_crop=True,
            crop_size={"height": size[0], "width": size[1]},
            do_rescale=False,
            do_normalize=False,
        )
        out = p(Image.open(HERE / "photos" / photo).convert("RGB"), return_tensors="np")["pixel_values"][0]
        name = f"hf {photo} {size} {resize} {how}"
        add(name, photo, size, "short" if short else "squash", (resize, resize) if short else resize, how, "floor", out)

    (HERE / "photos").mkdir(exist_ok=True)
    for i, (w, h) in enumerate([(97, 61), (64, 48), (31, 75), (24, 24), (150, 9), (3, 2)]):
        Image.fromarray(picture(w, h, 20 + i)).save(HERE / "photos" / f"{w}x{h}.png", optimize=True)
    for photo in ["97x61.png", "64x48.png", "31x75.png", "24x24.png"]:
        for how in resample:
            for mode in ["center", "squash", "border"]:
                timm_case(photo, (24, 24), 0.9, mode, how)
            hf_case(photo, (24, 24), 27, how)
        timm_case(photo, (23, 23), 0.875, "center", "bicubic")
        timm_case(photo, (24, 24), 1.0, "center", "bilinear")
        timm_case(photo, (20, 28), 0.9, "center", "bicubic")
        timm_case(photo, (20, 28), 0.9, "border", "bicubic")
        hf_case(photo, (24, 24), (24, 24), "bilinear")
        hf_case(photo, (23, 23), 30, "bicubic")
        hf_case(photo, (24, 24), (20, 31), "bicubic")
    for photo in ["150x9.png", "3x2.png"]:
        for mode in ["center", "squash", "border"]:
            timm_case(photo, (24, 24), 0.9, mode, "bicubic")
        hf_case(photo, (24, 24), 26, "lanczos")

    # The normalised tensor, as the file that numpy.save would write.
    receipts = []
    modes = [("97x61.png", "center"), ("31x75.png", "squash"), ("64x48.png", "border")]
    for color, (photo, mode) in itertools.product(["RGB", "L"], modes):
        # In gray as timm's validate.py opens photos for a model of one channel.
        some = {"mean": mean, "std": std} if color == "RGB" else {"mean": mean[:1], "std": std[:1]}
        f = transforms_imagenet_eval(img_size=(24, 24), crop_pct=0.9, crop_mode=mode, interpolation="bicubic", **some)
        buf = io.BytesIO()
        np.save(buf, f(Image.open(HERE / "photos" / photo).convert("RGB").convert(color)).numpy())
        fit = {"center": "short", "squash": "squash", "border": "long"}[mode]
        t = {"size": (24, 24), "fit": fit, "resize": (26, 26), "interpolation": "bicubic", "rounding": "torchvision", "mean": mean, "std": std}
        if color == "L":
            t |= {"mean": mean[:1] * 3, "std": std[:1] * 3, "gray": True}
        receipts.append({"photo": photo, "transform": t, "sha256": hashlib.sha256(buf.getvalue()).hexdigest()})
    (HERE / "receipts.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in receipts) + "\n]\n")

    # torchvision's rounding of odd margins and its padding, where nothing is resized.
    for photo in ["97x61.png", "31x75.png", "3x2.png"]:
        for size in [(24, 24), (60, 40), (80, 100)]:
            out = T.functional.pil_to_tensor(T.CenterCrop(size)(Image.open(HERE / "photos" / photo).convert("RGB"))).numpy()
            add(f"torchvision crop {photo} {size}", photo, size, "crop", (0, 0), "", "torchvision", out)

    (HERE / "transforms.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    (HERE / "transforms.bin.z").write_bytes(zlib.compress(np.concatenate(pixels).tobytes(), 9))


def main():
    assert features.check_feature("libjpeg_turbo")
    FORMATS.mkdir(exist_ok=True)
    for old in FORMATS.iterdir():
        old.unlink()
    jpegs(), pngs(), others()
    plain = set(files)
    oriented()
    for name, data in files.items():
        (FORMATS / name).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        if name not in plain:
            image = ImageOps.exif_transpose(image)
        image.convert("RGB").save(FORMATS / (name + ".golden.png"), optimize=True)
    transforms()


if __name__ == "__main__":
    main()
