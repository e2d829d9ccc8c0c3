# Writes compressed.json: JPEG files that Pillow writes of pictures that the test
# computes as well, by size and quality. Pillow 13.0.0 (libjpeg-turbo 3).
import base64
import io
import json
import pathlib

from PIL import Image


def picture(w, h):
    """Waves, an edge and some noise of a linear congruential generator."""
    state, pixels = 1, bytearray()
    for y in range(h):
        for x in range(w):
            for c in range(3):
                state = (state * 1664525 + 1013904223) % 2**32
                v = (x * (c + 3) + y * (5 - c)) % 256 // 2 + (100 if x > y else 0) + (state >> 24) % 24
                pixels.append(min(v, 255))
    return Image.frombytes("RGB", (w, h), bytes(pixels))


cases = []
for w, h in ((1, 1), (3, 2), (16, 16), (17, 33), (40, 30), (49, 50), (64, 23)):
    for quality in (1, 7, 10, 15, 18, 25, 50, 75, 100):
        b = io.BytesIO()
        picture(w, h).save(b, "JPEG", quality=quality)
        cases.append({"width": w, "height": h, "quality": quality, "file": base64.b64encode(b.getvalue()).decode()})
path = pathlib.Path(__file__).with_name("compressed.json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
