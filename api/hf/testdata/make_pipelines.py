"""What transformers' own pipelines answer of the tiny checkpoints and photos of this project.

    python make_pipelines.py

writes pipelines.json beside this file. Pictures are prepared by the processors that are made of Pillow.
Made with transformers 5.24.0, torch 2.15.0, Pillow 13.0.0.
"""

import json
import pathlib

import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, pipeline

ROOT = pathlib.Path(__file__).parents[3]
GOLDEN = ROOT / "models/testdata/golden"
PHOTOS = ["banana.jpg", "ladybug.png", "gray.jpg", "school_bus.png"]

# task, checkpoint, parameters
CASES = [
    ("image-classification", "hf_vit", {}),
    ("image-classification", "hf_vit", {"top_k": 2}),
    ("image-classification", "hf_vit", {"function_to_apply": "sigmoid", "top_k": 3}),
    ("image-classification", "hf_vit", {"function_to_apply": "none"}),
    ("image-classification", "hf_vit", {"function_to_apply": "softmax", "top_k": 1000}),
    ("image-classification", "hf_deit_distilled", {}),
    ("image-classification", "hf_dinov2_head", {}),
    ("image-classification", "hf_siglip_head", {}),
    ("image-feature-extraction", "hf_dino", {}),
    ("image-feature-extraction", "hf_dinov2_registers", {}),
    ("image-feature-extraction", "hf_dinov2", {"pool": True}),
]


def main():
    torch.set_num_threads(1)
    out = []
    for task, name, parameters in CASES:
        folder = str(GOLDEN / name)
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        pipe = pipeline(task, model=folder, image_processor=processor, device="cpu")
        for photo in PHOTOS:
            answer = pipe(Image.open(ROOT / "testdata/images" / photo).convert("RGB"), **parameters)
            if task != "image-classification":
                # Of many numbers the first, a few between and the sum: a file of all would be large.
                x = torch.tensor(answer)
                answer = {"shape": list(x.shape), "sum": x.double().sum().item(), "every": x.flatten()[::37].tolist()}
            out.append({"task": task, "model": name, "parameters": parameters, "photo": photo, "answer": answer})
    text = json.dumps({"transformers": transformers.__version__, "cases": out}, indent=None, separators=(",", ":"))
    (pathlib.Path(__file__).parent / "pipelines.json").write_text(text.replace('{"task"', '\n{"task"') + "\n")


main()
