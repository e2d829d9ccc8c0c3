"""Writes Pillow's pixels beside files that are damaged and that it reads.

The files were found by scripts/pillowfuzz.  Run it in this folder with Pillow 13.0.0.
"""

import pathlib

import PIL
from PIL import Image

FORMATS = pathlib.Path(__file__).parent / "formats"
FILES = ["two_headers.png", "damage_behind.png", "simple_codes.webp", "alpha_cut.webp", "alpha_unsaid.webp", "tables_cut.tif", "photometric_many.tif", "samples_unsaid.tif"]

assert PIL.__version__ == "13.0.0"
for name in FILES:
    with Image.open(FORMATS / name) as m:
        m.convert("RGB").save(FORMATS / f"{name}.golden.png", optimize=True)
