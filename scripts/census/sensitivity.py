"""What a census would say of faults: the logits of a ViT whose weights show
faults, with one thing done wrong, against those with all of it right."""

import copy

import timm
import torch
from torch import nn

from weights import randomise, uninitialised

ARCH = "vit_small_patch16_224.augreg_in21k_ft_in1k"


def eps(model, value, which=lambda name: True):
    for name, m in model.named_modules():
        if isinstance(m, nn.LayerNorm) and which(name):
            m.eps = value


def tanh(model):
    for b in model.blocks:
        b.mlp.act = nn.GELU("tanh")


def transposed(model):
    side = model.patch_embed.grid_size[0]
    p = model.pos_embed.data
    grid = p[:, 1:].reshape(1, side, side, -1).transpose(1, 2).reshape(1, side * side, -1)
    model.pos_embed.data = torch.cat([p[:, :1], grid], 1)


def lost_bias(model):
    model.blocks[0].attn.qkv.bias.data[: model.embed_dim] = 0


FAULTS = {
    "eps 1e-5 for 1e-6": lambda m: eps(m, 1e-5),
    "eps 1e-12 for 1e-6": lambda m: eps(m, 1e-12),
    "another eps of the last norm alone": lambda m: eps(m, 1e-5, lambda n: n == "norm"),
    "tanh GELU for the exact one": tanh,
    "transposed positions": transposed,
    "a lost query bias of one block": lost_bias,
    "nothing": lambda m: None,
}


@torch.no_grad()
def main(pictures):
    with uninitialised():
        model = timm.create_model(ARCH, pretrained=False, depth=2).eval()
    randomise(model, 1)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    x = torch.stack([transform(p) for p in pictures])
    right = model(x).double()
    for name, spoil in FAULTS.items():
        spoilt = copy.deepcopy(model)
        spoil(spoilt)
        print(f"{name:40} {float((spoilt(x) - right).abs().max() / right.abs().max()):.2g} of the largest logit")
