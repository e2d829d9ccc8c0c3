"""Compares what decoding lossless pictures takes in two commits of package patch.

    python3 scripts/bench/pictures.py OLD [--pairs 9] [--size 1200x900]

Pillow writes a picture in every lossless kind; scripts/bench/pictures, built in a
worktree of OLD and in this one, decodes them, a process each, in turn. Prints the
best processor time of each file in both, in milliseconds, and the median of the
ratios of the pairs, as Markdown. Kinds that OLD does not read are left out.
"""

import argparse
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

from PIL import Image, ImageDraw

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = "scripts/bench/pictures"


def picture(w, h):
    rng = random.Random(7)
    m = Image.linear_gradient("L").resize((w, h)).convert("RGB")
    d = ImageDraw.Draw(m)
    for _ in range(60):
        x, y, r = rng.randrange(w), rng.randrange(h), rng.randrange(5, w // 8)
        d.ellipse([x - r, y - r, x + r, y + r], fill=tuple(rng.randbytes(3)))
    return Image.blend(m, Image.frombytes("RGB", (w, h), rng.randbytes(3 * w * h)), 0.04)


def write(folder, w, h):
    m = picture(w, h)
    alpha = m.copy()
    alpha.putalpha(Image.linear_gradient("L").resize((w, h)))
    indexed, gray, one = m.quantize(200), m.convert("L"), m.convert("1")
    for name, image, options in [
        ("rgb.png", m, {}),
        ("rgba.png", alpha, {}),
        ("palette.png", indexed, {}),
        ("gray.png", gray, {}),
        ("rgb.bmp", m, {}),
        ("palette.bmp", indexed, {}),
        ("palette.gif", indexed, {}),
        ("raw.tif", m, {"compression": "raw"}),
        ("lzw.tif", m, {"compression": "tiff_lzw"}),
        ("deflate.tif", m, {"compression": "tiff_adobe_deflate"}),
        ("packbits.tif", gray, {"compression": "packbits"}),
        ("group3.tif", one, {"compression": "group3"}),
        ("group4.tif", one, {"compression": "group4"}),
        ("lossless.webp", m, {"lossless": True, "quality": 60}),
        ("palette.webp", indexed.convert("RGB"), {"lossless": True, "quality": 60}),
    ]:
        image.save(folder / name, **options)
    return sorted(folder.iterdir())


def build(root, to):
    subprocess.run(["go", "build", "-o", to, f"./{PROGRAM}"], cwd=root, check=True)
    return to


def times(program, files):
    out = {}
    for f in files:
        p = subprocess.run([program, f], capture_output=True, text=True)
        if p.returncode == 0:
            name, ms = p.stdout.split()
            out[name] = float(ms)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--size", default="1200x900")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        pictures = folder / "pictures"
        pictures.mkdir()
        files = write(pictures, *map(int, o.size.split("x")))
        tree = folder / "old"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree, o.old], cwd=ROOT, check=True)
        try:
            shutil.copytree(ROOT / PROGRAM, tree / PROGRAM, dirs_exist_ok=True)
            if "func Decode(data" in (tree / "patch/decode.go").read_text():  # it knew no context
                main = tree / PROGRAM / "main.go"
                main.write_text(main.read_text().replace("context.Background(), ", "").replace('\t"context"\n', ""))
            old, new = build(tree, folder / "a"), build(ROOT, folder / "b")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
        seen = {old: [], new: []}
        for i in range(o.pairs):
            for p in (old, new) if i % 2 == 0 else (new, old):
                seen[p].append(times(p, files))
            print(f"pair {i + 1} of {o.pairs}", file=sys.stderr)
        print(f"| | {o.old} | now | now by {o.old} |\n|---|---|---|---|")
        for f in files:
            a, b = ([t[f.name] for t in seen[p] if f.name in t] for p in (old, new))
            if a and b:
                print(f"| {f.name} | {min(a):.2f} | {min(b):.2f} | {statistics.median(y / x for x, y in zip(a, b)):.2f} |")
            else:
                print(f"| {f.name} | {'' if not a else f'{min(a):.2f}'} | {'' if not b else f'{min(b):.2f}'} | |")


main()
