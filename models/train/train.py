"""Trains the default model of vitserve: a plain ViT on Tiny-ImageNet-200, from random weights.

    python train.py --data tiny-imagenet-200 --out run                      # the real thing, on one GPU
    python train.py --data tiny-imagenet-200 --out run --minutes 9          # a piece of it; the same line goes on
    python train.py --data tiny-imagenet-200 --out run --evaluate           # top-1, top-5 and the table of classes

The program resumes from --out by itself. When the last epoch is done it writes model.safetensors (float16, timm's
names), config.json (timm's form) and metrics.json there. README.md beside this file tells the rest.
"""

import argparse
import json
import math
import os
import sys
import time

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import augment
import checkpoint
from data import Classes, read_classes, read_pictures

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def arguments(argv=None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--data", required=True, help="folder with train-*.zip, val.zip and classes.csv")
    p.add_argument("--out", required=True, help="folder for the checkpoint, the log and the finished model")
    p.add_argument("--classes", default="", help="comma-separated wnids; empty: all 200")
    p.add_argument("--limit", type=int, default=0, help="training pictures a class, for trials; 0: all")
    p.add_argument("--size", type=int, default=64)
    p.add_argument("--patch", type=int, default=4)
    p.add_argument("--dim", type=int, default=192)
    p.add_argument("--depth", type=int, default=12)
    p.add_argument("--heads", type=int, default=3)
    p.add_argument("--drop-path", type=float, default=0.1)
    p.add_argument("--epochs", type=int, default=60)
    p.add_argument("--batch", type=int, default=512)
    p.add_argument("--lr", type=float, default=1e-3, help="for a batch of 512; scaled linearly")
    p.add_argument("--warmup", type=float, default=5, help="epochs")
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--smoothing", type=float, default=0.1)
    p.add_argument("--ema", type=float, default=0.9995)
    p.add_argument("--teacher", default="", help="safetensors of deit_tiny_patch16_224 in timm's names; empty: none")
    p.add_argument("--teacher-weight", type=float, default=0.5)
    p.add_argument("--temperature", type=float, default=1.5)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--compile", action="store_true", help="torch.compile the model")
    p.add_argument("--minutes", type=float, default=0, help="stop and save after so long; 0: never")
    p.add_argument("--steps", type=int, default=0, help="stop and save after so many steps of this run; 0: never")
    p.add_argument("--evaluate", action="store_true", help="only measure the finished model in --out")
    return p.parse_args(argv)


def build(a: argparse.Namespace, classes: int) -> torch.nn.Module:
    return timm.models.VisionTransformer(
        img_size=a.size, patch_size=a.patch, embed_dim=a.dim, depth=a.depth, num_heads=a.heads,
        num_classes=classes, drop_path_rate=a.drop_path)


def parameter_groups(model: torch.nn.Module, decay: float) -> list[dict]:
    """Norms, biases, positions and the class token are not decayed."""
    plain, decayed = [], []
    for name, p in model.named_parameters():
        (plain if p.ndim < 2 or name in ("pos_embed", "cls_token") else decayed).append(p)
    return [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


class Teacher:
    """DeiT-tiny's opinion on the student's classes: https://arxiv.org/abs/1503.02531, on the student's own pictures."""

    def __init__(self, path: str, classes: Classes, temperature: float, device: str):
        self.model = timm.create_model("deit_tiny_patch16_224", pretrained=False)
        self.model.load_state_dict(load_file(path), strict=True)
        self.model.eval().to(device)
        self.columns = torch.tensor(classes.imagenet, device=device)
        self.temperature = temperature

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x is normalised (B, 3, S, S); both models share ImageNet's mean and standard deviation."""
        logits = self.model(F.interpolate(x, size=224, mode="bicubic", antialias=True))
        return (logits.float()[:, self.columns] / self.temperature).softmax(1)


def normalise(x: torch.Tensor) -> torch.Tensor:
    return (x - x.new_tensor(MEAN).view(1, 3, 1, 1)) / x.new_tensor(STD).view(1, 3, 1, 1)


@torch.no_grad()
def measure(model: torch.nn.Module, pictures, classes: Classes, device: str, batch: int = 500) -> dict:
    """Top-1 and top-5 in float32 over all pictures, and top-1 by class."""
    model.eval()
    k = min(5, len(classes.wnids))
    first = torch.zeros(len(classes.wnids))
    count = torch.zeros(len(classes.wnids))
    top5 = 0
    for i in range(0, len(pictures.labels), batch):
        y = pictures.labels[i:i + batch]
        x = normalise(pictures.images[i:i + batch].to(device).float() / 255)
        best = model(x).float().topk(k, 1).indices.cpu()
        right = best == y.view(-1, 1)
        top5 += int(right.sum())
        first.index_add_(0, y, right[:, 0].float())
        count.index_add_(0, y, torch.ones(len(y)))
    model.train()
    n = int(count.sum())
    return {"pictures": n, "top1": round(100 * float(first.sum()) / n, 2), "top5": round(100 * top5 / n, 2),
            "by_class": {f"{w} {name}": round(100 * float(f / c), 1) if c else None
                         for w, name, f, c in zip(classes.wnids, classes.names, first, count)}}


def export(a: argparse.Namespace, classes: Classes, average: dict[str, torch.Tensor], folder: str) -> None:
    save_file({n: t.to(torch.float16).contiguous().cpu() for n, t in average.items()}, os.path.join(folder, "model.safetensors"))
    k = len(classes.wnids)
    config = {
        "architecture": f"vitserve_patch{a.patch}_{a.size}", "num_classes": k, "num_features": a.dim, "global_pool": "token",
        "label_names": classes.wnids, "label_descriptions": dict(zip(classes.wnids, classes.names)),
        "model_args": {"img_size": a.size, "patch_size": a.patch, "embed_dim": a.dim, "depth": a.depth, "num_heads": a.heads,
                       "mlp_ratio": 4.0, "num_classes": k},
        "pretrained_cfg": {"tag": f"tiny{k}", "input_size": [3, a.size, a.size], "fixed_input_size": True,
                           "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center", "mean": list(MEAN), "std": list(STD),
                           "num_classes": k, "first_conv": "patch_embed.proj", "classifier": "head"},
    }
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)


def finish(a: argparse.Namespace, classes: Classes, log) -> dict:
    """Measures the exported file itself, float16 rounding included."""
    model = build(a, len(classes.wnids)).to(a.device)
    model.load_state_dict({n: t.float() for n, t in load_file(os.path.join(a.out, "model.safetensors")).items()}, strict=True)
    metrics = measure(model, read_pictures(a.data, "val", classes, a.size), classes, a.device)
    with open(os.path.join(a.out, "metrics.json"), "w") as f:
        json.dump(metrics, f, indent=1)
    log(f"finished model: top-1 {metrics['top1']} %, top-5 {metrics['top5']} % on {metrics['pictures']} pictures")
    return metrics


def main(argv=None) -> dict:
    a = arguments(argv)
    started = time.time()
    os.makedirs(a.out, exist_ok=True)
    classes = read_classes(a.data, [w for w in a.classes.split(",") if w])
    k = len(classes.wnids)

    def log(line: str) -> None:
        print(line, flush=True)
        with open(os.path.join(a.out, "log.txt"), "a") as f:
            f.write(line + "\n")

    if a.evaluate:
        return finish(a, classes, log)

    torch.manual_seed(a.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    model = build(a, k).to(a.device)
    average = {n: p.detach().clone() for n, p in model.state_dict().items()}
    lr = a.lr * a.batch / 512
    optimizer = torch.optim.AdamW(parameter_groups(model, a.weight_decay), lr=lr, betas=(0.9, 0.999))
    folder = os.path.join(a.out, "checkpoint")
    recipe = {key: v for key, v in vars(a).items() if key not in ("data", "out", "teacher", "device", "compile", "minutes", "steps", "evaluate")}
    recipe["teacher"] = bool(a.teacher)
    state = checkpoint.load(folder, model, average, optimizer) or {"step": 0, "seconds": 0.0, "recipe": recipe}
    if state["recipe"] != recipe:
        changed = sorted(key for key in recipe if recipe[key] != state["recipe"].get(key))
        sys.exit(f"{folder} was made with other settings ({', '.join(changed)}): use another --out or the same settings")

    train = read_pictures(a.data, "train", classes, a.size, a.limit)
    images, labels = train.images.to(a.device), train.labels.to(a.device)
    teacher = Teacher(a.teacher, classes, a.temperature, a.device) if a.teacher else None
    forward = torch.compile(model) if a.compile else model
    per_epoch = len(labels) // a.batch
    if per_epoch == 0:
        sys.exit(f"{len(labels)} pictures do not fill one batch of {a.batch}")
    total, warmup = per_epoch * a.epochs, a.warmup * per_epoch
    cuda = a.device.startswith("cuda")
    log(f"{len(labels)} pictures, {k} classes, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, "
        f"{total} steps of {a.batch} on {torch.cuda.get_device_name() if cuda else 'the CPU'}, from step {state['step']}")

    model.train()
    begin, order, order_epoch, running = state["step"], None, -1, None
    for step in range(begin, total):
        epoch = step // per_epoch
        if epoch != order_epoch:
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(a.seed * 1000003 + epoch)).to(a.device)
            order_epoch = epoch
        rate = lr * min(1, (step + 1) / max(1, warmup)) if step < warmup else \
            lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))))
        for group in optimizer.param_groups:
            group["lr"] = rate

        d = augment.Draw(torch.Generator(a.device).manual_seed(a.seed * 7919 + step))
        torch.manual_seed(a.seed * 104729 + step)  # stochastic depth draws from the global generator
        rows = order[(step % per_epoch) * a.batch:(step % per_epoch + 1) * a.batch]
        with torch.no_grad():
            x = augment.random_resized_crop(images[rows].float() / 255, d)
            x = augment.random_erasing(augment.rand_augment(x, d), d)
            y = F.one_hot(labels[rows], k).float() * (1 - a.smoothing) + a.smoothing / k
            x, y = augment.mix(x, y, d)
            x = normalise(x)
        with torch.autocast(a.device.split(":")[0], torch.bfloat16):
            if teacher:
                y = (1 - a.teacher_weight) * y + a.teacher_weight * teacher(x)
            logits = forward(x)
        loss = F.cross_entropy(logits.float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay = min(a.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for n, p in model.state_dict().items():
                average[n].lerp_(p, 1 - decay)

        state["step"] = step + 1
        if (step + 1) % 50 == 0 or step + 1 == total or step == begin:
            running = loss.item() if running is None else 0.5 * running + 0.5 * loss.item()
            if not math.isfinite(running):
                sys.exit(f"step {step + 1}: the loss is {running}; nothing is saved")
            log(f"step {step + 1}/{total} epoch {epoch + 1} loss {running:.4f} lr {rate:.2e} {time.time() - started:.0f} s")
        out_of_time = bool(a.minutes) and time.time() - started > 60 * a.minutes
        out_of_steps = bool(a.steps) and step + 1 - begin >= a.steps
        if step + 1 == total or out_of_time or out_of_steps or (step + 1) % (5 * per_epoch) == 0:
            seconds = state["seconds"] + time.time() - started
            checkpoint.save(folder, {**state, "seconds": seconds}, model, average, optimizer)
        if (out_of_time or out_of_steps) and step + 1 < total:
            log(f"stopped at step {step + 1}; the same command goes on from here")
            return {"step": step + 1, "loss": loss.item()}

    export(a, classes, average, a.out)
    return finish(a, classes, log)


if __name__ == "__main__":
    main()
