"""A few steps of the program on pictures that the test draws: pytest test_train.py"""

import csv
import io
import json
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import augment
import checkpoint
import train

SMALL = ["--size", "16", "--patch", "4", "--dim", "32", "--depth", "2", "--heads", "2", "--batch", "16", "--epochs", "6",
         "--warmup", "1", "--lr", "3e-2", "--device", "cpu", "--drop-path", "0.1", "--ema", "0.9"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three classes that colour alone tells apart."""
    folder = tmp_path_factory.mktemp("data")
    colours = {"n1": (220, 40, 40), "n2": (40, 200, 40), "n3": (40, 40, 220)}
    with open(folder / "classes.csv", "w", newline="") as f:
        w = csv.writer(f)
        w.writerow(["index", "wnid", "imagenet_index", "name"])
        for i, wnid in enumerate(colours):
            w.writerow([i, wnid, i * 10, f"colour {i}"])
    rng = np.random.default_rng(1)
    for name, n in (("train-0.zip", 32), ("val.zip", 10)):
        with zipfile.ZipFile(folder / name, "w") as z:
            for wnid, rgb in colours.items():
                for i in range(n):
                    pixels = np.clip(np.array(rgb) + rng.normal(0, 25, (16, 16, 3)), 0, 255).astype(np.uint8)
                    b = io.BytesIO()
                    Image.fromarray(pixels).save(b, "WEBP", lossless=True)
                    z.writestr(f"{wnid}/{i}.webp", b.getvalue())
    return str(folder)


def test_trains_exports_and_is_measured(data, tmp_path):
    metrics = train.main(["--data", data, "--out", str(tmp_path), *SMALL])
    assert metrics["pictures"] == 30
    assert metrics["top1"] >= 60, metrics  # chance is 33
    config = json.load(open(tmp_path / "config.json"))
    assert config["label_names"] == ["n1", "n2", "n3"]
    assert config["label_descriptions"]["n2"] == "colour 1"
    assert train.main(["--data", data, "--out", str(tmp_path), *SMALL, "--evaluate"]) == metrics


def test_a_resumed_run_follows_the_uninterrupted_one(data, tmp_path):
    whole = train.main(["--data", data, "--out", str(tmp_path / "a"), *SMALL, "--steps", "12"])
    train.main(["--data", data, "--out", str(tmp_path / "b"), *SMALL, "--steps", "7"])
    resumed = train.main(["--data", data, "--out", str(tmp_path / "b"), *SMALL, "--steps", "5"])
    assert resumed["step"] == whole["step"] == 12
    assert resumed["loss"] == pytest.approx(whole["loss"], rel=0.02)  # the moments went through bfloat16


def test_other_settings_are_refused(data, tmp_path):
    train.main(["--data", data, "--out", str(tmp_path), *SMALL, "--steps", "1"])
    with pytest.raises(SystemExit, match="smoothing"):
        train.main(["--data", data, "--out", str(tmp_path), *SMALL, "--smoothing", "0.2", "--steps", "1"])


def test_checkpoint_files_stay_small(tmp_path):
    a = train.arguments(["--data", "x", "--out", "x"])
    model = train.build(a, 200)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.zeros(1, 3, 64, 64)).sum().backward()
    optimizer.step()
    checkpoint.save(str(tmp_path / "c"), {"step": 1}, model, model.state_dict(), optimizer)
    sizes = [os.path.getsize(tmp_path / "c" / n) for n in os.listdir(tmp_path / "c")]
    assert max(sizes) < 16 << 20
    assert sum(sizes) < 64 << 20
    assert len(sizes) <= 8


def test_augmentation_depends_on_the_seed_alone():
    x = torch.rand(32, 3, 16, 16)

    def run(seed):
        d = augment.Draw(torch.Generator().manual_seed(seed))
        z = augment.random_erasing(augment.rand_augment(augment.random_resized_crop(x, d), d), d)
        return augment.mix(z, torch.eye(32), d)

    (a, ya), (b, yb), (c, _) = run(5), run(5), run(6)
    assert torch.equal(a, b) and torch.equal(ya, yb) and not torch.equal(a, c)
    assert a.min() >= 0 and a.max() <= 1
    torch.testing.assert_close(ya.sum(1), torch.ones(32))


@pytest.mark.parametrize("i", range(len(augment.OPERATIONS)))
def test_operations_keep_shape_and_range(i):
    x = torch.rand(8, 3, 16, 16)
    y = augment.OPERATIONS[i](x, torch.linspace(-1, 1, 8)).clamp(0, 1)
    assert y.shape == x.shape and torch.isfinite(y).all()
    assert i == 0 or not torch.equal(x, y)


def test_the_identity_crop_is_the_picture():
    x = torch.rand(2, 3, 16, 16)
    theta = torch.eye(2, 3).expand(2, 2, 3)
    torch.testing.assert_close(augment.warp(x, theta), x, atol=1e-5, rtol=0)


def test_labels_follow_the_pixels_in_mix():
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16) / 4
    d = augment.Draw(torch.Generator().manual_seed(1))
    mixed, y = augment.mix(x, torch.eye(4), d)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), (y * torch.arange(4.0) / 4).sum(1), atol=1e-4, rtol=0)


def test_beta_quantiles_have_the_moments():
    q = augment.beta_quantiles(0.8)
    assert abs(q.mean() - 0.5) < 1e-3
    assert abs(q.var() - 1 / (4 * (2 * 0.8 + 1))) < 1e-3
