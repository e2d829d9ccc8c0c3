"""Augmentation of whole batches on the device: every function takes and returns (B, 3, S, S) in [0, 1].

All randomness comes from the generator that is passed in, so a step's pictures depend on the seed and the step alone
and a resumed run sees what an uninterrupted one would have seen.
"""

import functools
import math

import torch
import torch.nn.functional as F

MAGNITUDE = 0.9  # of RandAugment's range; m9 of 10, https://arxiv.org/abs/1909.13719


class Draw:
    """Uniform and normal draws of shape (n) on the generator's device."""

    def __init__(self, generator: torch.Generator):
        self.g = generator

    def uniform(self, n: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=self.g, device=self.g.device)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.g, device=self.g.device)

    def sign(self, n: int) -> torch.Tensor:
        return (self.uniform(n) < 0.5).float() * 2 - 1

    def integers(self, n: int, high: int) -> torch.Tensor:
        return torch.randint(high, (n,), generator=self.g, device=self.g.device)


def warp(x: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """Samples x at theta (B, 2, 3), output coordinates to input coordinates, both in [-1, 1]."""
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def random_resized_crop(x: torch.Tensor, d: Draw, scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3)) -> torch.Tensor:
    """Crops an area of scale and an aspect of ratio, flips half of them, and brings them back to S x S."""
    n = len(x)
    area = d.uniform(n, *scale)
    aspect = torch.exp(d.uniform(n, math.log(ratio[0]), math.log(ratio[1])))
    w = (area * aspect).sqrt().clamp(max=1)
    h = (area / aspect).sqrt().clamp(max=1)
    theta = x.new_zeros(n, 2, 3)
    theta[:, 0, 0] = w * d.sign(n)
    theta[:, 1, 1] = h
    theta[:, 0, 2] = d.uniform(n, -1, 1) * (1 - w)
    theta[:, 1, 2] = d.uniform(n, -1, 1) * (1 - h)
    return warp(x, theta)


def _affine(x, xx, xy, yx, yy, tx, ty):
    theta = torch.stack([torch.stack([xx, xy, tx], 1), torch.stack([yx, yy, ty], 1)], 1)
    return warp(x, theta)


def _gray(x):
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _blend(a, b, factor):
    return (a + factor.view(-1, 1, 1, 1) * (b - a)).clamp(0, 1)


def _rotate(x, m):
    a = m * math.radians(30)
    return _affine(x, a.cos(), -a.sin(), a.sin(), a.cos(), 0 * m, 0 * m)


def _autocontrast(x, m):
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _sharpness(x, m):
    return _blend(F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1), x, 1 + 0.9 * m)


def _posterize(x, m):
    levels = (2 ** (8 - 4 * m.abs()).round()).view(-1, 1, 1, 1)
    return (x * 255 / 256 * levels).floor() / (levels - 1)


def _solarize(x, m):
    return torch.where(x >= 1 - m.abs().view(-1, 1, 1, 1), 1 - x, x)


# RandAugment's operations as functions of the pictures and a signed magnitude (B) in [-1, 1].
OPERATIONS = [
    lambda x, m: x,
    _autocontrast,
    _rotate,
    _posterize,
    _solarize,
    _sharpness,
    lambda x, m: _blend(_gray(x).expand_as(x), x, 1 + 0.9 * m),  # colour
    lambda x, m: _blend(_gray(x).mean((2, 3), keepdim=True).expand_as(x), x, 1 + 0.9 * m),  # contrast
    lambda x, m: (x * (1 + 0.9 * m).view(-1, 1, 1, 1)).clamp(0, 1),  # brightness
    lambda x, m: _affine(x, 1 + 0 * m, 0.3 * m, 0 * m, 1 + 0 * m, 0 * m, 0 * m),  # shear x
    lambda x, m: _affine(x, 1 + 0 * m, 0 * m, 0.3 * m, 1 + 0 * m, 0 * m, 0 * m),  # shear y
    lambda x, m: _affine(x, 1 + 0 * m, 0 * m, 0 * m, 1 + 0 * m, 0.45 * m, 0 * m),  # translate x
    lambda x, m: _affine(x, 1 + 0 * m, 0 * m, 0 * m, 1 + 0 * m, 0 * m, 0.45 * m),  # translate y
]


def rand_augment(x: torch.Tensor, d: Draw, rounds: int = 2) -> torch.Tensor:
    for _ in range(rounds):
        choice = d.integers(len(x), len(OPERATIONS))
        magnitude = d.sign(len(x)) * (MAGNITUDE + 0.05 * d.normal(len(x))).clamp(0, 1)
        y = x.clone()
        for i, operation in enumerate(OPERATIONS):
            rows = (choice == i).nonzero(as_tuple=True)[0]
            if len(rows):
                y[rows] = operation(x[rows], magnitude[rows]).to(y.dtype)
        x = y
    return x.clamp(0, 1)


def _box(d: Draw, n: int, size: int, area: torch.Tensor, aspect: torch.Tensor) -> torch.Tensor:
    """A mask (n, 1, S, S), true inside one box a picture."""
    w = (area * aspect).sqrt() * size
    h = (area / aspect).sqrt() * size
    cx, cy = d.uniform(n) * size, d.uniform(n) * size
    at = torch.arange(size, device=area.device) + 0.5
    inx = (at >= (cx - w / 2).view(n, 1)) & (at < (cx + w / 2).view(n, 1))
    iny = (at >= (cy - h / 2).view(n, 1)) & (at < (cy + h / 2).view(n, 1))
    return (iny.view(n, 1, size, 1) & inx.view(n, 1, 1, size))


def random_erasing(x: torch.Tensor, d: Draw, p: float = 0.25) -> torch.Tensor:
    """https://arxiv.org/abs/1708.04896 with noise, a box of 2 to 33 % of the area."""
    n, size = len(x), x.shape[-1]
    aspect = torch.exp(d.uniform(n, math.log(0.3), math.log(1 / 0.3)))
    mask = _box(d, n, size, d.uniform(n, 0.02, 0.33), aspect)
    mask &= (d.uniform(n) < p).view(n, 1, 1, 1)
    return torch.where(mask, (0.45 + 0.25 * d.normal(*x.shape)).clamp(0, 1), x)


def mix(x: torch.Tensor, y: torch.Tensor, d: Draw, alpha: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    """mixup (https://arxiv.org/abs/1710.09412) or CutMix (https://arxiv.org/abs/1905.04899), half and half by picture.

    y are soft labels (B, K); a picture's partner is its neighbour in the batch, whose order is random.
    """
    n, size = len(x), x.shape[-1]
    x2, y2 = x.roll(1, 0), y.roll(1, 0)
    table = beta_quantiles(alpha).to(x.device)
    lam = table[d.integers(n, len(table))]
    mask = _box(d, n, size, d.uniform(n), torch.ones(n, device=x.device))
    cut = d.uniform(n) < 0.5
    share = torch.where(cut, 1 - mask.float().mean((1, 2, 3)), lam)
    blended = lam.view(n, 1, 1, 1) * x + (1 - lam.view(n, 1, 1, 1)) * x2
    pasted = torch.where(mask, x2, x)
    return torch.where(cut.view(n, 1, 1, 1), pasted, blended), share.view(n, 1) * y + (1 - share.view(n, 1)) * y2


@functools.cache
def beta_quantiles(alpha: float) -> torch.Tensor:
    """4,096 quantiles of Beta(alpha, alpha) by summing its density: torch's own sampler takes no generator."""
    at = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    cdf = ((alpha - 1) * (at.log() + (1 - at).log())).exp().cumsum(0)
    q = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096 * cdf[-1]
    return at[torch.searchsorted(cdf, q).clamp(max=len(at) - 1)].float()
