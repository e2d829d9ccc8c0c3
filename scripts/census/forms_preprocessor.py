"""Forms of preprocessor_config.json and processor_config.json, on a ViT of 32 pixels."""

from tiny import PHOTOS, Form, by_hf, hf_model, save_hf, write

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
SIZE = {"size": {"height": 32, "width": 32}}
CROP = {"crop_size": {"height": 32, "width": 32}}


def form(name, photos, file="preprocessor_config.json", model=None, **more):
    def make(folder):
        save_hf(folder, hf_model(**(model or {})), None)
        if photos is not None:
            write(folder, file, photos)
        for k, v in more.items():
            write(folder, k + ".json", v)

    return Form(f"preprocessor/{name}", make, by_hf)


def plain(name, **change):
    return form(name, {k: v for k, v in (PHOTOS | change).items() if v is not ABSENT})


def of(kind, name="", **said):
    return form(f"{kind} {name}".strip(), {"image_processor_type": kind + "ImageProcessor", **said})


def by_default(folder, pictures):
    """What the processor of the model's type does where no file says anything, at the model's size."""
    write(folder, "preprocessor_config.json", {"image_processor_type": "ViTImageProcessor", **SIZE})
    out = by_hf(folder, pictures)
    (folder / "preprocessor_config.json").unlink()
    return out


ABSENT = object()


def forms():
    yield plain("plain")
    yield plain("no type", image_processor_type=ABSENT)
    yield plain("old type", image_processor_type=ABSENT, feature_extractor_type="ViTFeatureExtractor")
    yield plain("both types", feature_extractor_type="ViTFeatureExtractor")
    for i, how in enumerate(("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")):
        yield plain(f"resample {how}", resample=i)
    yield plain("resample absent", resample=ABSENT)
    yield plain("size number", size=32)
    yield plain("size pair", size=[32, 32])
    yield form("size absent", {k: v for k, v in PHOTOS.items() if k != "size"}, model={"image_size": 224, "patch_size": 56})
    yield plain("mean absent", image_mean=ABSENT, image_std=ABSENT)
    yield plain("ImageNet's", **IMAGENET)
    yield plain("no normalisation", do_normalize=False)
    yield plain("normalisation null", do_normalize=None)
    yield plain("no rescaling", do_rescale=False, image_mean=[127.5] * 3, image_std=[127.5] * 3)
    yield plain("rescaling null", do_rescale=None, image_mean=[127.5] * 3, image_std=[127.5] * 3)
    yield plain("factor 1/127.5", rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3)
    yield plain("factor 1/256", rescale_factor=1 / 256)
    yield plain("factor 0.00392", rescale_factor=0.00392)
    yield plain("factor 0.00392156862745098", rescale_factor=0.00392156862745098)
    yield plain("factor absent", rescale_factor=ABSENT, do_rescale=ABSENT)
    yield plain("no resizing but a crop", do_resize=False, do_center_crop=True, **CROP)
    yield plain("crop of nothing", do_center_crop=True, **CROP)
    yield plain("shortest edge and crop", size={"shortest_edge": 36}, do_center_crop=True, **CROP)
    yield plain("shortest and longest edge", size={"shortest_edge": 32, "longest_edge": 48}, do_center_crop=True, **CROP)
    yield plain("RGB said", do_convert_rgb=True)
    yield plain("unknown keys", foo=1, _valid_processor_keys=["images"], processor_class=None)
    yield plain("mean of one number", image_mean=0.5, image_std=0.5)
    yield plain("NaN unneeded", pad_value=float("nan"))
    yield plain("flipped channels", do_flip_channel_order=True)
    yield plain("another size than the model", size={"height": 48, "width": 48})
    yield Form("preprocessor/nothing", lambda folder: save_hf(folder, hf_model(), None), by_default)  # which a note says
    yield form("processor_config", {"image_processor": PHOTOS | IMAGENET, "processor_class": "CLIPProcessor"}, "processor_config.json")
    yield form("both files", {"image_processor": PHOTOS | IMAGENET}, "processor_config.json", preprocessor_config=PHOTOS)
    yield form("ViT fast", PHOTOS | {"image_processor_type": "ViTImageProcessorFast"})
    yield form("ViT fast bicubic", PHOTOS | {"image_processor_type": "ViTImageProcessorFast", "resample": 3})
    yield of("CLIP", size={"shortest_edge": 32}, **CROP)
    yield of("CLIP", "numbers", size=32, crop_size=32)
    yield form("CLIP fast", {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 32}, **CROP})
    yield of("Siglip", **SIZE)
    yield of("Bit", size={"shortest_edge": 36}, **CROP, **IMAGENET)
    yield of("DeiT", size={"height": 36, "width": 36}, **CROP)
    yield of("Beit", **SIZE)
    yield of("Beit", "cropped", size=36, do_center_crop=True, **CROP)
    yield of("ConvNext", size={"shortest_edge": 32}, crop_pct=0.875)
    yield of("EfficientNet", **SIZE)
    yield of("EfficientNet", "offset", **SIZE, rescale_factor=1 / 127.5, rescale_offset=True, include_top=False)
    yield of("Blip", **SIZE)
    yield of("Perceiver", **SIZE, crop_size={"height": 36, "width": 36})
    yield of("Levit", size={"shortest_edge": 32}, **CROP)
    yield of("ChineseCLIP", size={"shortest_edge": 32}, **CROP)
    yield of("PoolFormer", size={"shortest_edge": 32}, crop_pct=0.9, **CROP)


assert len(list(forms())) == 56, len(list(forms()))
