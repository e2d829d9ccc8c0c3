"""Makes processors.json beside it: configurations of image processors and what
transformers makes of a small photo with each, as float32 in base64.

The committed file was made with transformers 5.24.0, torch 2.15.0,
torchvision 0.29.2 and Pillow 13.0.0. A class that ends with Fast computes with
torchvision, every other with Pillow.
"""

import base64
import json
import pathlib
import tempfile

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

HERE = pathlib.Path(__file__).parent
PHOTO = HERE / "trials" / "plain.png"

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SQUARE = {"size": {"height": 16, "width": 16}}
CROP = {"crop_size": {"height": 16, "width": 16}}


def of(name, **rest):
    return {"image_processor_type": name, **rest}


FORMS = [
    of("ViTImageProcessor", **SQUARE),
    of("ViTImageProcessorFast", **SQUARE),
    of("ViTImageProcessorFast", **SQUARE, resample=3, **IMAGENET),
    of("ViTImageProcessorFast", **SQUARE, resample=1),
    of("ViTImageProcessorFast", **SQUARE, do_normalize=False),
    of("ViTImageProcessor", **SQUARE, do_normalize=None, do_rescale=None),
    of("ViTImageProcessor", **SQUARE, do_normalize=False),
    of("ViTImageProcessor", **SQUARE, rescale_factor=1 / 127.5, image_mean=[1.0, 1.0, 1.0], image_std=[1.0, 1.0, 1.0]),
    of("ViTImageProcessor", **SQUARE, rescale_factor=1 / 256),
    of("ViTImageProcessor", **SQUARE, rescale_factor=0.00392),
    of("ViTImageProcessor", **SQUARE, do_rescale=False, image_mean=[123.675, 116.28, 103.53], image_std=[58.395, 57.12, 57.375]),
    of("ViTImageProcessorFast", **SQUARE, do_rescale=False, image_mean=[123.675, 116.28, 103.53], image_std=[58.395, 57.12, 57.375]),
    of("ViTImageProcessor", **SQUARE, resample=4),
    of("ViTImageProcessor", **SQUARE, resample=5),
    of("ViTImageProcessor", size=16),
    of("ViTImageProcessor", size=[16, 16]),
    of("ViTImageProcessor", size={"shortest_edge": 18}, do_center_crop=True, **CROP),
    of("CLIPImageProcessor", size={"shortest_edge": 20, "longest_edge": 24}, **CROP),
    of("CLIPImageProcessor", size={"shortest_edge": 16}, **CROP),
    of("CLIPImageProcessorFast", size={"shortest_edge": 16}, **CROP),
    of("CLIPImageProcessor", size=20, crop_size=16),
    of("BitImageProcessor", size={"shortest_edge": 18}, **CROP, **IMAGENET),
    of("ChineseCLIPImageProcessor", size={"shortest_edge": 16}, **CROP),
    of("SiglipImageProcessor", **SQUARE),
    of("SiglipImageProcessorFast", **SQUARE),
    of("BeitImageProcessor", **SQUARE),
    of("BeitImageProcessor", size=18, do_center_crop=True, **CROP),
    of("BlipImageProcessor", **SQUARE),
    of("DeiTImageProcessor", size={"height": 18, "width": 18}, **CROP, **IMAGENET),
    of("DeiTImageProcessor", size={"height": 18, "width": 18}, crop_size={"height": 16, "width": 16}, do_center_crop=True, resample=2),
    of("FlavaImageProcessor", **SQUARE, **CROP),
    of("PvtImageProcessor", **SQUARE),
    of("SegformerImageProcessor", **SQUARE),
    of("MobileNetV2ImageProcessor", size={"shortest_edge": 18}, **CROP),
    of("LevitImageProcessor", size={"shortest_edge": 16}, **CROP),
    of("ConvNextImageProcessor", size={"shortest_edge": 16}, crop_pct=0.875),
    of("ConvNextImageProcessor", size={"shortest_edge": 16}, crop_pct=0.95, resample=2, **IMAGENET),
    of("PoolFormerImageProcessor", size={"shortest_edge": 16}, **CROP, crop_pct=0.9),
    of("EfficientNetImageProcessor", **SQUARE),
    of("EfficientNetImageProcessor", **SQUARE, include_top=False),
    of("EfficientNetImageProcessor", **SQUARE, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False, do_normalize=False),
]


def main():
    photo = Image.open(PHOTO).convert("RGB")
    rows = []
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "preprocessor_config.json").write_text(json.dumps(form))
            fast = form["image_processor_type"].endswith("Fast")
            p = AutoImageProcessor.from_pretrained(folder, backend="torchvision" if fast else "pil")
            x = np.ascontiguousarray(np.asarray(p(photo, return_tensors="np")["pixel_values"])[0], np.float32)
        assert x.shape == (3, 16, 16), (form, x.shape)
        rows.append({"config": form, "class": type(p).__name__, "tensor": base64.b64encode(x.tobytes()).decode()})
    (HERE / "processors.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


main()
