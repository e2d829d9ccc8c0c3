"""Published configurations of transformers, as facts: of a model on the hub its
class, the values of its config.json that are not the class's own defaults, and
how it prepares photos. Depth is set to two blocks by from_transformers.py."""

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}


def square(n):
    return {"height": n, "width": n}


def vit_photos(n, kind="ViTImageProcessor", resample=2, **rest):
    return {"image_processor_type": kind, "do_resize": True, "size": square(n), "resample": resample, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, **HALF, **rest}


def crop_photos(n, short=None, kind="CLIPImageProcessor", resample=3, **rest):
    return {"image_processor_type": kind, "do_resize": True, "size": {"shortest_edge": short or n}, "do_center_crop": True, "crop_size": square(n),
            "resample": resample, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "do_convert_rgb": True, **CLIP, **rest}


def deit_photos(n, of):
    return {"image_processor_type": "DeiTImageProcessor", "do_resize": True, "size": square(of), "resample": 3, "do_center_crop": True,
            "crop_size": square(n), "do_normalize": True, **IMAGENET}


def dims(dim, heads, hidden=None, **rest):
    return {"hidden_size": dim, "num_attention_heads": heads, **({"intermediate_size": hidden} if hidden else {}), **rest}


def labels(n):
    return {"num_labels": n}


TINY, SMALL = dims(192, 3, 768), dims(384, 6, 1536)
BASE, LARGE, HUGE = dims(768, 12, 3072), dims(1024, 16, 4096), dims(1280, 16, 5120)
TEXT = {"num_hidden_layers": 1, "vocab_size": 120, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}  # the tower that is passed over


def dual(vision, projection=None, text=None):
    """A model for pictures and words."""
    out = {"vision_config": vision, "text_config": TEXT | (text or {})}
    return out | ({"projection_dim": projection} if projection else {})


DINOV2 = crop_photos(224, 256, "BitImageProcessor", **IMAGENET)
DINOV3 = {"image_processor_type": "DINOv3ViTImageProcessorFast", "do_resize": True, "size": square(224), "resample": 2, "do_rescale": True,
          "rescale_factor": 1 / 255, "do_normalize": True, **IMAGENET}
MAE = vit_photos(224, resample=3, **IMAGENET)
BEIT = {"image_processor_type": "BeitImageProcessor", "do_resize": True, "size": square(224), "resample": 3, "do_center_crop": False,
        "crop_size": square(224), "do_normalize": True, **HALF}
BEIT_224 = {"use_relative_position_bias": True, "use_mean_pooling": True}


def siglip_photos(n):
    return {"image_processor_type": "SiglipImageProcessor", "do_resize": True, "size": square(n), "resample": 3, "do_rescale": True,
            "rescale_factor": 1 / 255, "do_normalize": True, **HALF}


def so400m(image, patch):
    return dims(1152, 16, 4304, image_size=image, patch_size=patch)


def dinov3(dim, heads, hidden, **rest):
    return dims(dim, heads, hidden, num_register_tokens=4, **rest)


GATED = {"use_gated_mlp": True, "hidden_act": "silu"}

# (family, name on the hub, class, configuration, processor, what is compared).
# What: "logits"; "class", the class token after the last norm; "mean", that of
# all tokens; "pooler", what the model itself calls pooled; "image", the vector
# that the model compares with words; "vision", the pooled one of the tower;
# "grid", every patch of a model that has its own idea of no pooled vector.
ROWS = [
    ("vit", "google/vit-base-patch16-224", "ViTForImageClassification", BASE | labels(1000), vit_photos(224), "logits"),
    ("vit", "google/vit-base-patch16-224-in21k", "ViTModel", BASE, vit_photos(224), "class"),
    ("vit", "google/vit-base-patch16-384", "ViTForImageClassification", BASE | labels(1000) | {"image_size": 384}, vit_photos(384), "logits"),
    ("vit", "google/vit-base-patch32-384", "ViTForImageClassification", BASE | labels(1000) | {"image_size": 384, "patch_size": 32}, vit_photos(384), "logits"),
    ("vit", "google/vit-large-patch16-224", "ViTForImageClassification", LARGE | labels(1000), vit_photos(224), "logits"),
    ("vit", "google/vit-huge-patch14-224-in21k", "ViTModel", HUGE | {"patch_size": 14}, vit_photos(224), "class"),
    ("vit", "Falconsai/nsfw_image_detection", "ViTForImageClassification", BASE | labels(2), vit_photos(224), "logits"),
    ("vit", "vit-base, masked image modelling", "ViTForMaskedImageModeling", BASE, vit_photos(224), "class"),
    ("deit", "facebook/deit-base-patch16-224", "ViTForImageClassification", BASE | labels(1000), deit_photos(224, 256), "logits"),
    ("deit", "facebook/deit-tiny-distilled-patch16-224", "DeiTForImageClassificationWithTeacher", TINY | labels(1000), deit_photos(224, 256), "logits"),
    ("deit", "facebook/deit-small-distilled-patch16-224", "DeiTForImageClassificationWithTeacher", SMALL | labels(1000), deit_photos(224, 256), "logits"),
    ("deit", "facebook/deit-base-distilled-patch16-224", "DeiTForImageClassificationWithTeacher", BASE | labels(1000), deit_photos(224, 256), "logits"),
    ("deit", "facebook/deit-base-distilled-patch16-384", "DeiTForImageClassificationWithTeacher", BASE | labels(1000) | {"image_size": 384}, deit_photos(384, 438), "logits"),
    ("dino", "facebook/dino-vitb16", "ViTModel", BASE, vit_photos(224, resample=2, **IMAGENET), "class"),
    ("dino", "facebook/dino-vits8", "ViTModel", SMALL | {"patch_size": 8}, vit_photos(224, resample=2, **IMAGENET), "class"),
    ("dinov2", "facebook/dinov2-small", "Dinov2Model", dims(384, 6, image_size=518), DINOV2, "pooler"),
    ("dinov2", "facebook/dinov2-base", "Dinov2Model", dims(768, 12, image_size=518), DINOV2, "pooler"),
    ("dinov2", "facebook/dinov2-large-imagenet1k-1-layer", "Dinov2ForImageClassification", dims(1024, 16, image_size=518) | labels(1000), DINOV2, "logits"),
    ("dinov2", "facebook/dinov2-giant", "Dinov2Model", dims(1536, 24, image_size=518, use_swiglu_ffn=True), DINOV2, "pooler"),
    ("dinov2-reg", "facebook/dinov2-with-registers-base", "Dinov2WithRegistersModel", dims(768, 12, image_size=518, num_register_tokens=4), DINOV2, "pooler"),
    ("dinov2-reg", "facebook/dinov2-with-registers-small-imagenet1k-1-layer", "Dinov2WithRegistersForImageClassification",
     dims(384, 6, image_size=518, num_register_tokens=4) | labels(1000), DINOV2, "logits"),
    ("dinov2-reg", "facebook/dinov2-with-registers-giant", "Dinov2WithRegistersModel",
     dims(1536, 24, image_size=518, num_register_tokens=4, use_swiglu_ffn=True), DINOV2, "pooler"),
    ("dinov3", "facebook/dinov3-vits16-pretrain-lvd1689m", "DINOv3ViTModel", dinov3(384, 6, 1536), DINOV3, "pooler"),
    ("dinov3", "facebook/dinov3-vits16plus-pretrain-lvd1689m", "DINOv3ViTModel", dinov3(384, 6, 1536, **GATED), DINOV3, "pooler"),
    ("dinov3", "facebook/dinov3-vitb16-pretrain-lvd1689m", "DINOv3ViTModel", dinov3(768, 12, 3072), DINOV3, "pooler"),
    ("dinov3", "facebook/dinov3-vith16plus-pretrain-lvd1689m", "DINOv3ViTModel", dinov3(1280, 20, 5120, **GATED), DINOV3, "pooler"),
    ("dinov3", "facebook/dinov3-vit7b16-pretrain-lvd1689m", "DINOv3ViTModel", dinov3(4096, 32, 8192, query_bias=False, value_bias=False, **GATED), DINOV3, "pooler"),
    ("clip", "openai/clip-vit-base-patch32", "CLIPModel", dual(BASE | {"patch_size": 32}, 512), crop_photos(224), "image"),
    ("clip", "openai/clip-vit-base-patch16", "CLIPModel", dual(BASE | {"patch_size": 16}, 512), crop_photos(224), "image"),
    ("clip", "openai/clip-vit-large-patch14-336", "CLIPModel", dual(LARGE | {"patch_size": 14, "image_size": 336, "projection_dim": 768}, 768), crop_photos(336), "image"),
    ("clip", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "CLIPModel", dual(HUGE | {"patch_size": 14, "hidden_act": "gelu", "projection_dim": 1024}, 1024), crop_photos(224), "image"),
    ("clip", "laion/CLIP-ViT-L-14 image encoder", "CLIPVisionModelWithProjection", LARGE | {"patch_size": 14, "hidden_act": "gelu", "projection_dim": 768}, crop_photos(224), "embeds"),
    ("clip", "openai/clip-vit-large-patch14 vision tower", "CLIPVisionModel", LARGE | {"patch_size": 14, "projection_dim": 768}, crop_photos(224), "pooler"),
    ("clip", "fine-tuned clip-vit-base-patch32", "CLIPForImageClassification", dual(BASE | {"patch_size": 32}, 512) | labels(10), crop_photos(224), "logits"),
    ("metaclip2", "facebook/metaclip-2-worldwide-huge-quickgelu", "MetaClip2Model", dual(HUGE | {"patch_size": 14, "projection_dim": 1024}, 1024), crop_photos(224), "image"),
    ("metaclip2", "facebook/metaclip-2-worldwide-huge-378", "MetaClip2Model", dual(HUGE | {"patch_size": 14, "image_size": 378, "hidden_act": "gelu", "projection_dim": 1024}, 1024), crop_photos(378), "image"),
    ("metaclip2", "facebook/metaclip-2-worldwide-s16 vision tower", "MetaClip2VisionModelWithProjection", SMALL | {"patch_size": 16, "projection_dim": 384, "hidden_act": "gelu"}, crop_photos(224), "embeds"),
    ("altclip", "BAAI/AltCLIP", "AltCLIPModel", dual(LARGE | {"patch_size": 14, "projection_dim": 768}, 768, dims(1024, 16, 4096, project_dim=768)), crop_photos(224), "image"),
    ("chinese-clip", "OFA-Sys/chinese-clip-vit-base-patch16", "ChineseCLIPModel", dual(BASE | {"patch_size": 16}, 512), crop_photos(224, kind="ChineseCLIPImageProcessor"), "image"),
    ("blip", "Salesforce/blip-image-captioning-base", "BlipForConditionalGeneration", dual(BASE | {"image_size": 384, "patch_size": 16}, 512, {"hidden_size": 768}), vit_photos(384, "BlipImageProcessor", 3, **CLIP), "vision"),
    ("mlcd", "DeepGlint-AI/mlcd-vit-bigG-patch14-448", "MLCDVisionModel", dims(1664, 16, 8192, image_size=448, patch_size=14), crop_photos(448), "pooler"),
    ("siglip", "google/siglip-base-patch16-224", "SiglipModel", dual(BASE), siglip_photos(224), "image"),
    ("siglip", "google/siglip-large-patch16-384", "SiglipModel", dual(LARGE | {"image_size": 384}), siglip_photos(384), "image"),
    ("siglip", "google/siglip-so400m-patch14-384", "SiglipModel", dual(so400m(384, 14)), siglip_photos(384), "image"),
    ("siglip", "google/siglip-so400m-patch14-224 vision tower", "SiglipVisionModel", so400m(224, 14), siglip_photos(224), "pooler"),
    ("siglip", "fine-tuned siglip-base-patch16-224", "SiglipForImageClassification", dual(BASE) | labels(7), siglip_photos(224), "logits"),
    ("siglip2", "google/siglip2-base-patch16-256", "SiglipModel", dual(BASE | {"image_size": 256}), siglip_photos(256), "image"),
    ("siglip2", "google/siglip2-so400m-patch16-384", "SiglipModel", dual(so400m(384, 16)), siglip_photos(384), "image"),
    ("siglip2", "google/siglip2-base-patch16-naflex", "Siglip2Model", dual(BASE | {"num_patches": 256}),
     {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 16, "max_num_patches": 256, "resample": 2, **HALF}, "image"),
    ("siglip2", "google/siglip2-so400m-patch16-naflex vision tower", "Siglip2VisionModel", dims(1152, 16, 4304, num_patches=256, patch_size=16),
     {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 16, "max_num_patches": 256, "resample": 2, **HALF}, "pooler"),
    ("beit", "microsoft/beit-base-patch16-224", "BeitForImageClassification", BASE | BEIT_224 | labels(1000), BEIT, "logits"),
    ("beit", "microsoft/beit-large-patch16-512", "BeitForImageClassification", LARGE | BEIT_224 | labels(1000) | {"image_size": 512, "layer_scale_init_value": 1e-5},
     BEIT | {"size": square(512), "crop_size": square(512)}, "logits"),
    ("beit", "microsoft/beit-base-patch16-224-pt22k-ft22k", "BeitForImageClassification", BASE | BEIT_224 | labels(21841), BEIT, "logits"),
    ("beit", "microsoft/beit-base-patch16-224-pt22k", "BeitForMaskedImageModeling",
     BASE | {"use_shared_relative_position_bias": True, "use_mask_token": True, "use_mean_pooling": True}, BEIT, "grid"),
    ("data2vec", "facebook/data2vec-vision-base-ft1k", "Data2VecVisionForImageClassification", BASE | BEIT_224 | labels(1000), BEIT, "logits"),
    ("data2vec", "facebook/data2vec-vision-large", "Data2VecVisionModel", LARGE | {"use_shared_relative_position_bias": True, "use_mean_pooling": True}, BEIT, "grid"),
    ("mae", "facebook/vit-mae-base", "ViTMAEForPreTraining", BASE, MAE, "class"),
    ("mae", "facebook/vit-mae-large", "ViTMAEModel", LARGE, MAE, "class"),
    ("mae", "facebook/vit-mae-huge as a ViT", "ViTModel", HUGE | {"patch_size": 14, "layer_norm_eps": 1e-12}, MAE, "class"),
    ("msn", "facebook/vit-msn-small", "ViTMSNModel", SMALL, vit_photos(224, resample=3, **IMAGENET), "class"),
    ("msn", "fine-tuned vit-msn-base", "ViTMSNForImageClassification", BASE | labels(37), vit_photos(224, resample=3, **IMAGENET), "logits"),
    ("ijepa", "facebook/ijepa_vith14_1k", "IJepaModel", HUGE | {"patch_size": 14, "layer_norm_eps": 1e-6}, vit_photos(224, **IMAGENET), "mean"),
    ("ijepa", "facebook/ijepa_vith16_1k", "IJepaModel", HUGE | {"patch_size": 16, "image_size": 448, "layer_norm_eps": 1e-6}, vit_photos(448, **IMAGENET), "mean"),
    ("ijepa", "fine-tuned ijepa_vith14_22k", "IJepaForImageClassification", HUGE | {"patch_size": 14, "layer_norm_eps": 1e-6} | labels(5), vit_photos(224, **IMAGENET), "logits"),
    ("aimv2", "apple/aimv2-large-patch14-224", "Aimv2VisionModel", dims(1024, 8, 2816, image_size=224, patch_size=14, use_head=False), crop_photos(224), "mean"),
    ("aimv2", "apple/aimv2-large-patch14-224-lit", "Aimv2Model", dual(dims(1024, 8, 2816, image_size=224, patch_size=14), 768), crop_photos(224), "image"),
    ("aimv2", "apple/aimv2-huge-patch14-336", "Aimv2VisionModel", dims(1536, 12, 4096, image_size=336, patch_size=14, use_head=False), crop_photos(336), "mean"),
    ("pixio", "facebook/pixio-vitb16", "PixioModel", dims(768, 12, image_size=256), vit_photos(256, resample=3, **IMAGENET), "pooler"),
    ("radio", "nvidia/C-RADIOv4-H", "RadioModel", dims(1280, 16, image_size=432), vit_photos(432, resample=3, do_normalize=False), "summary"),
    ("tips", "google/tipsv2-b14", "Tipsv2Model", dual(BASE_TIPS := dims(768, 12, image_size=448, patch_size=14)), {"image_processor_type": "Tipsv2ImageProcessorFast"}, "image"),
    ("tips", "google/tipsv2-b14 vision tower", "Tipsv2VisionModel", BASE_TIPS, {"image_processor_type": "Tipsv2ImageProcessorFast"}, "pooler"),
    ("timm_wrapper", "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k", "TimmWrapperForImageClassification", labels(1000), None, "logits"),
    ("timm_wrapper", "timm/deit_tiny_patch16_224.fb_in1k", "TimmWrapperForImageClassification", labels(1000), None, "logits"),
    ("timm_wrapper", "timm/vit_small_patch14_reg4_dinov2.lvd142m", "TimmWrapperModel", {}, None, "pooler"),
    ("timm_wrapper", "Freepik/nsfw_image_detector: timm/eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", "TimmWrapperForImageClassification", labels(4), None, "logits"),
    ("vitdet", "VitDet base", "VitDetModel", dims(768, 12, image_size=224, window_size=14, window_block_indices=[0], use_relative_position_embeddings=True), vit_photos(224, **IMAGENET), "none"),
    ("vitpose", "usyd-community/vitpose-base-simple", "VitPoseForPoseEstimation", {"backbone_config": dims(768, 12, image_size=[256, 192], patch_size=[16, 16], num_labels=17)},
     None, "none"),
    ("yolos", "hustvl/yolos-small", "YolosForObjectDetection", SMALL | {"image_size": [512, 864]}, {"image_processor_type": "YolosImageProcessor", "size": {"shortest_edge": 512, "longest_edge": 864}}, "none"),
]
