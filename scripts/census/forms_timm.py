"""Forms of timm's config.json, and input sizes other than the model's own."""

import collections

import timm

from tiny import ARCH, ARGS, CFG, Form, by_hf, by_timm, fill, hf_model, save_hf, save_timm, timm_config, timm_model


def args(name, arch=ARCH, num_classes=5, **said):
    """A model with other arguments, which its config.json says; those that are None are the architecture's own."""

    def make(folder):
        config = timm_config(arch, num_classes, said, {"num_classes": num_classes, "input_size": [said.get("in_chans", 3)] + 2 * [said.get("img_size", 32)]})
        if channels := said.get("in_chans"):
            config["pretrained_cfg"] |= {"mean": [0.5] * channels, "std": [0.5] * channels}
        config["model_args"] = {k: v for k, v in config["model_args"].items() if v is not None}
        save_timm(folder, timm_model(arch, num_classes, **said), config)

    return Form(f"timm-config/{name}", make, by_timm)


def cfg(name, drop=(), edit=lambda c: None, same=False, **said):
    """The plain model with another pretrained_cfg, or another config.json."""

    def make(folder):
        config = timm_config(cfg=said)
        for k in drop:
            config["pretrained_cfg"].pop(k)
        save_timm(folder, timm_model(), edit(config) or config)

    def plain(folder, pictures):
        model = timm_model()
        model.pretrained_cfg = model.pretrained_cfg | CFG
        return by_timm(folder, pictures, model)

    return Form(f"timm-config/{name}", make, plain if same else by_timm)


def whole(name, edit):
    """An architecture as it is, with another config.json, as files were before they had model_args."""

    def make(folder):
        model = timm.create_model(ARCH, pretrained=False, num_classes=5).eval()
        fill(model)
        config = timm_config(cfg={"input_size": [3, 224, 224]})
        config.pop("model_args")
        save_timm(folder, model, edit(config))

    return Form(f"timm-config/{name}", make, by_timm)


def old(config):
    """As timm before 0.9: the keys of pretrained_cfg at the top."""
    top = config.pop("pretrained_cfg")
    return {**config, **top, "labels": [f"thing {i}" for i in range(5)]}


def without(key):
    return lambda c: {k: v for k, v in c.items() if k != key}


def put(**said):
    return lambda c: c | said


def sized(name, size, what="timm", **args):
    """A photo size other than the model's own, by --image-size."""
    text = "x".join(map(str, size))

    def make(folder):
        save_hf(folder, hf_model()) if what == "hf" else save_timm(folder, timm_model(**args), timm_config(args=args))

    def reference(folder, pictures):
        if what == "hf":
            return by_hf(folder, pictures, processed={"size": {"height": size[0], "width": size[1]}}, computed={"interpolate_pos_encoding": True})
        model = timm.create_model(f"local-dir:{folder}", pretrained=True, img_size=size)
        return by_timm(folder, pictures, model, input_size=(3, *size))

    return Form(f"image-size/{name}", make, reference, ["--image-size", text])


def forms():
    yield cfg("plain")
    for how in ("nearest", "bilinear", "lanczos", "box", "hamming"):
        yield cfg(f"interpolation {how}", interpolation=how)
    yield cfg("interpolation absent", ["interpolation"])
    for mode in ("squash", "border"):
        yield cfg(f"crop_mode {mode}", crop_mode=mode)
    yield cfg("crop_mode absent", ["crop_mode"])
    yield cfg("crop_pct 1", crop_pct=1.0)
    yield cfg("crop_pct 0.875", crop_pct=0.875)
    yield cfg("crop_pct absent", ["crop_pct"])
    yield cfg("mean of ImageNet", mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    yield cfg("mean and std absent", ["mean", "std"])
    yield cfg("input_size absent", ["input_size"], same=True)
    yield cfg("test_input_size", test_input_size=[3, 48, 48])
    yield cfg("fixed_input_size", fixed_input_size=True)
    yield cfg("unknown keys", same=True, foo=1, url="", hf_hub_id="x/y", license="mit")
    yield whole("no pretrained_cfg", without("pretrained_cfg"))
    yield whole("old file", old)
    yield cfg("no num_classes", ["num_classes"], without("num_classes"), same=True)
    yield cfg("no num_features, a global_pool", edit=put(num_features=None, global_pool="token"))
    yield cfg("label_names", edit=put(label_names=[f"n{i}" for i in range(5)], label_descriptions={f"n{i}": f"thing {i}" for i in range(5)}))
    yield cfg("another num_classes", edit=put(num_classes=7))
    yield cfg("another depth", edit=put(model_args=ARGS | {"depth": 1}))
    yield cfg("another dim", edit=put(model_args=ARGS | {"embed_dim": 96}))
    yield cfg("another patch", edit=put(model_args=ARGS | {"patch_size": 16}))
    yield cfg("another architecture", edit=put(architecture="vit_base_patch16_224", model_args={}))
    yield args("heads of the architecture", embed_dim=96, num_heads=None)
    yield args("12 heads of the architecture", "vit_base_patch16_224", embed_dim=96, num_heads=None)
    for pool in ("avg", "avgmax", "max", "map", "prr"):
        yield args(f"global_pool {pool}", global_pool=pool)
    yield args("global_pool max, normed before", global_pool="max", fc_norm=False, pool_include_prefix=True)
    yield args("global_pool prr, no class token", global_pool="prr", class_token=False, num_classes=0)
    yield args("in_chans 1", in_chans=1)
    yield args("in_chans 1, avgmax, registers", in_chans=1, global_pool="avgmax", reg_tokens=2)
    yield args("in_chans 4", in_chans=4)
    yield args("no class token", class_token=False, global_pool="avg")
    yield args("no_embed_class", no_embed_class=True)
    yield args("registers", reg_tokens=4)
    yield args("registers and no_embed_class", reg_tokens=4, no_embed_class=True)
    yield args("norm before", pre_norm=True)
    yield args("fc_norm", global_pool="avg", fc_norm=True)
    yield args("no fc_norm", global_pool="avg", fc_norm=False)
    yield args("no last norm", final_norm=False)
    yield args("LayerScale", init_values=1e-5)
    yield args("qk_norm", qk_norm=True)
    yield args("no qkv bias", qkv_bias=False)
    yield args("no proj bias", proj_bias=False)
    yield args("prefix in the mean", global_pool="avg", pool_include_prefix=True)
    for act in ("gelu_tanh", "quick_gelu", "relu", "silu"):
        yield args(f"act_layer {act}", act_layer=act)
    yield args("mlp_ratio", mlp_ratio=3)
    yield args("no classes", num_classes=0)
    yield args("padded to whole patches", img_size=36, dynamic_img_pad=True)
    yield args("dynamic size", dynamic_img_size=True)
    yield sized("timm 48", (48, 48))
    yield sized("timm 40x56", (40, 56))
    yield sized("timm smaller", (16, 16))
    yield sized("timm 64x32", (64, 32))
    yield sized("timm registers", (48, 48), reg_tokens=4)
    yield sized("timm no_embed_class", (48, 40), no_embed_class=True)
    yield sized("hf 48", (48, 48), "hf")
    yield sized("hf 40x56", (40, 56), "hf")
    yield sized("hf smaller", (16, 16), "hf")
    yield sized("hf 64x32", (64, 32), "hf")


assert collections.Counter(f.name.split("/")[0] for f in forms()) == {"timm-config": 62, "image-size": 10}
