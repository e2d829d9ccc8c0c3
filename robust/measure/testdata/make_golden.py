# Writes golden.json: logits of a model that is often right, and what scikit-learn,
# netcal, torchmetrics and SciPy say of them; loops stand where none of these has
# the measure. Packages: ../../../scripts/robust/requirements.txt of the project.
import json
import pathlib

import numpy as np
import torch
from netcal.metrics import ECE
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import binomtest, entropy, spearmanr
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score, roc_curve
from torchmetrics.classification import MulticlassCalibrationError

rng = np.random.default_rng(7)
n, k = 131, 9


def answers(n, gain, y=None):
    y = rng.integers(0, k, n) if y is None else y
    z = rng.normal(0, 1, (n, k)) + gain * np.eye(k)[y] * rng.uniform(0, 2, (n, 1))
    return np.round(z, 3).astype(np.float32), y


z, y = answers(n, 2.0)
other, _ = answers(n, 1.2, y)
outliers, _ = answers(77, 0.5)
p = softmax(z.astype(np.float64), 1)
confidence, right = p.max(1), p.argmax(1) == y
right2 = softmax(other.astype(np.float64), 1).argmax(1) == y


def best_temperature(z, y):
    nll = lambda t: -log_softmax(z.astype(np.float64) / np.exp(t), 1)[np.arange(len(y)), y].mean()
    return float(np.exp(minimize_scalar(nll, bounds=(-4, 4), method="bounded", options={"xatol": 1e-10}).x))


def aurc():
    order = np.argsort(-confidence, kind="stable")
    return float(np.mean(np.cumsum(~right[order]) / np.arange(1, n + 1)))


scores = {
    "msp": lambda z: -softmax(z.astype(np.float64), 1).max(1),
    "max_logit": lambda z: -z.astype(np.float64).max(1),
    "energy": lambda z: -logsumexp(z.astype(np.float64), axis=1),
    "entropy": lambda z: entropy(softmax(z.astype(np.float64), 1), axis=1),
}
detection = {}
for name, f in scores.items():
    s, positive = np.concatenate([f(z), f(outliers)]), np.r_[np.zeros(n), np.ones(len(outliers))]
    fpr, tpr, _ = roc_curve(positive, s, drop_intermediate=False)
    detection[name] = [roc_auc_score(positive, s), average_precision_score(positive, s), float(fpr[np.argmax(tpr >= 0.95)])]

a, b = rng.random(196).astype(np.float32), rng.random(196).astype(np.float32)
a[:20] = a[20:40]  # ties
top = lambda v: set(np.argsort(-v, kind="stable")[:40])
ece = MulticlassCalibrationError(num_classes=k, n_bins=15, norm="l1")
swapped = int((right & ~right2).sum()), int((~right & right2).sum())
golden = {
    "logits": z.tolist(), "truth": y.tolist(), "other": other.tolist(), "outliers": outliers.tolist(),
    "nll": log_loss(y, p, labels=range(k)),
    "brier": brier_score_loss(y, p, labels=range(k), scale_by_half=False),
    "ece": float(ECE(15).measure(p, y)),
    "ece_torchmetrics": float(ece(torch.tensor(p), torch.tensor(y))),
    "ece_equal_mass": float(ECE(15, equal_intervals=False).measure(p, y)),
    "temperature": best_temperature(z, y),
    "temperature_other": best_temperature(other, y),
    "aurc": aurc(),
    "entropy": entropy(p, axis=1).tolist(),
    "kl": [float(entropy(u, v)) for u, v in zip(p, softmax(other.astype(np.float64), 1))],
    "detection": detection,
    "maps": [a.tolist(), b.tolist()],
    "drift": [
        float(a.astype(np.float64) @ b / np.linalg.norm(a.astype(np.float64)) / np.linalg.norm(b.astype(np.float64))),
        float(spearmanr(a, b).statistic), float(jensenshannon(a.astype(np.float64), b.astype(np.float64), 2) ** 2),
        len(top(a) & top(b)) / len(top(a) | top(b)),
    ],
    "mcnemar": [*swapped, float(binomtest(min(swapped), sum(swapped)).pvalue)],
}
pathlib.Path(__file__).with_name("golden.json").write_text(json.dumps(golden) + "\n")
