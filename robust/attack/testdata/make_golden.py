"""What torchattacks makes of a tiny model in float64, with recorded random numbers.

    pip install -r requirements.txt
    python make_golden.py

writes golden.json, a list of cases, and golden.f64, their numbers: the random
numbers that the attack drew, in its order, and the picture that it ends with.
The model is models/testdata/golden/timm_vit, the pictures are its pixels. ε are
powers of two, because torchattacks keeps APGD's step size in float32.
"""

import json
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch
import torchattacks

HERE = Path(__file__).parent
FOLDER = HERE.parents[2] / "models" / "testdata" / "golden" / "timm_vit"

config = json.loads((FOLDER / "config.json").read_text())
net = timm.create_model(config["architecture"], **config["model_args"])
net.load_state_dict(safetensors.torch.load_file(FOLDER / "model.safetensors"))
net = net.double()
mean, std = (torch.tensor(config["pretrained_cfg"][k], dtype=torch.float64).view(1, 3, 1, 1) for k in ("mean", "std"))
pixels = torch.from_numpy(np.load(FOLDER / "pixels.npy")).double().clamp(0, 1)

drawn = []
rng = None


def uniform(shape):
    u = torch.from_numpy(rng.random(shape, dtype=np.float32).astype(np.float64))
    drawn.append(u.numpy().ravel())
    return u


def normal(shape):
    n = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32).astype(np.float64))
    drawn.append(n.numpy().ravel())
    return n


torch.rand = lambda *shape, **_: uniform(tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape)
torch.randn = lambda *shape, **_: normal(tuple(shape[0]))
torch.Tensor.uniform_ = lambda self, lo=0.0, hi=1.0: self.copy_(lo + (hi - lo) * uniform(tuple(self.shape)))
torch.Tensor.normal_ = lambda self, *_: self.copy_(normal(tuple(self.shape)))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net((x - mean) / std)


model = Model().eval()
clean = model(pixels)


def plain(attack, x, label, target):
    if target is not None:
        attack.set_mode_targeted_by_label(quiet=True)
    return attack(x, torch.tensor([label if target is None else target]))


def single(attack, x, label, target):
    if target is not None:
        attack.target_class = int((clean_of(x).argsort(descending=True) == target).nonzero()) + 1
    return attack.attack_single_run(x, torch.tensor([label]))[0]


def clean_of(x):
    return model(x)[0]


def squares(attack, x, label, target):
    attack.init_hyperparam(x)
    return attack.attack_single_run(x, torch.tensor([label]))[1]


E5, E6 = 1 / 32, 1 / 64
CASES = [
    ("fgsm", dict(norm="linf", epsilon=E5, steps=1, step=E5), plain, lambda: torchattacks.FGSM(model, eps=E5), False),
    ("pgd", dict(norm="linf", epsilon=E5, steps=10, step=E6 / 2), plain,
     lambda: torchattacks.PGD(model, eps=E5, alpha=E6 / 2, steps=10, random_start=False), False),
    ("pgd", dict(norm="linf", epsilon=E5, steps=10, step=E6 / 2, random_start=True), plain,
     lambda: torchattacks.PGD(model, eps=E5, alpha=E6 / 2, steps=10, random_start=True), False),
    ("pgd-targeted", dict(norm="linf", epsilon=E5, steps=10, step=E6 / 2, random_start=True, targeted=True), plain,
     lambda: torchattacks.PGD(model, eps=E5, alpha=E6 / 2, steps=10, random_start=True), True),
    ("san-pgd", dict(norm="linf", epsilon=E5, steps=4, step=E6 / 2, targeted=True), plain,
     lambda: torchattacks.PGD(model, eps=E5, alpha=E6 / 2, steps=4, random_start=False), True),
    ("pgd-l2", dict(norm="l2", epsilon=0.5, steps=10, step=0.125, random_start=True), plain,
     lambda: torchattacks.PGDL2(model, eps=0.5, alpha=0.125, steps=10, random_start=True), False),
    ("pgd-l2", dict(norm="l2", epsilon=0.5, steps=10, step=0.125, targeted=True), plain,
     lambda: torchattacks.PGDL2(model, eps=0.5, alpha=0.125, steps=10, random_start=False), True),
    ("apgd-ce", dict(norm="linf", epsilon=E6, steps=10, random_start=True), single,
     lambda: torchattacks.APGD(model, eps=E6, steps=10), False),
    ("apgd-ce", dict(norm="linf", epsilon=E6, steps=20, random_start=True), single,
     lambda: torchattacks.APGD(model, eps=E6, steps=20), False),
    ("apgd-ce", dict(norm="l2", epsilon=0.25, steps=10, random_start=True), single,
     lambda: torchattacks.APGD(model, norm="L2", eps=0.25, steps=10), False),
    ("apgd-t", dict(norm="linf", epsilon=E6, steps=10, random_start=True, targets=1), single,
     lambda: torchattacks.APGDT(model, eps=E6, steps=10, n_classes=7), True),
    ("square", dict(norm="linf", epsilon=E6, steps=100, rescale=True), squares,
     lambda: torchattacks.Square(model, eps=E6, n_queries=100, resc_schedule=True), False),
    ("square", dict(norm="linf", epsilon=E6, steps=100), squares,
     lambda: torchattacks.Square(model, eps=E6, n_queries=100, resc_schedule=False), False),
]

index, numbers, at = [], [], 0


def put(a):
    global at
    numbers.append(np.asarray(a, np.float64).ravel())
    begin, at = at, at + numbers[-1].size
    return [begin, at]


for name, params, run, make, targeted in CASES:
    for i in range(len(pixels)):
        rng = np.random.default_rng(len(index))
        x = pixels[i : i + 1].clone()
        label = int(clean[i].argmax())
        target = None
        if targeted:
            target = int(clean[i].argsort(descending=True)[1 if name == "apgd-t" else 3])
        drawn.clear()
        y = run(make(), x, label, target).detach()
        params.setdefault("restarts", 1)
        params.setdefault("random_start", False)
        index.append(dict(attack=name, params=params, picture=i, label=label, target=target,
                          draws=put(np.concatenate(drawn) if drawn else []), x=put(y.numpy()),
                          answer=int(model(y)[0].argmax())))
        print(name, i, label, target, index[-1]["answer"])
np.concatenate(numbers).astype("<f8").tofile(HERE / "golden.f64")
(HERE / "golden.json").write_text(json.dumps(index, indent=1) + "\n")
