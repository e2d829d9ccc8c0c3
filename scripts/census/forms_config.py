"""Forms of transformers' config.json."""

import torch

from tiny import HF, PHOTOS, Form, by_hf, hf_model, save_hf


def changed(name, cls="ViTForImageClassification", model=None, config=None, weights=None, same=False, photos=PHOTOS):
    """A form whose model has some values and whose config.json is changed after it was saved."""
    model, config, weights = model or {}, config or {}, weights or (lambda w: w)

    def make(folder):
        def edit(c):
            if callable(config):
                return config(c)
            for k, v in config.items():
                c.pop(k, None) if v is ABSENT else c.update({k: v})

        save_hf(folder, hf_model(cls, **model), photos, edit, weights)

    def reference(folder, pictures):
        return by_hf(folder, pictures, hf_model(cls, **model) if same else None)

    return Form(f"config/{name}", make, reference)


ABSENT = object()


def rounded(name, dtype):
    """Weights of fewer bits, computed in float32."""

    def make(folder):
        save_hf(folder, hf_model(), weights=lambda w: {k: v.to(dtype) for k, v in w.items()})

    def reference(folder, pictures):
        model = hf_model()
        model.load_state_dict({k: v.to(dtype).float() for k, v in model.state_dict().items()})
        return by_hf(folder, pictures, model)

    return Form(f"config/{name}", make, reference)


def labels(n):
    return {"id2label": {i: f"thing {i}" for i in range(n)}}


def forms():
    yield changed("plain")
    yield changed("one logit", model=labels(1))
    yield changed("one logit, multi_label", model=labels(1) | {"problem_type": "multi_label_classification"})
    yield changed("one logit, regression", model=labels(1) | {"problem_type": "regression"})
    yield changed("regression", model=labels(3) | {"problem_type": "regression"})
    yield changed("multi_label", model={"problem_type": "multi_label_classification"})
    yield changed("single_label", model={"problem_type": "single_label_classification"})
    yield changed("problem_type null", config={"problem_type": None})
    for act in ("gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu"):
        yield changed(f"hidden_act {act}", model={"hidden_act": act})
    yield changed("eps 1e-5", model={"layer_norm_eps": 1e-5})
    yield changed("eps absent", config={"layer_norm_eps": ABSENT})
    yield changed("heads absent", model={"num_attention_heads": 12}, config={"num_attention_heads": ABSENT})
    yield changed("no qkv bias", model={"qkv_bias": False})
    yield changed("fewer layers than tensors", config={"num_hidden_layers": 1})
    yield changed("more layers than tensors", config={"num_hidden_layers": 3})
    yield changed("another width", config={"hidden_size": 96})
    yield changed("another MLP width", config={"intermediate_size": 192})
    yield changed("another patch size", config={"patch_size": 16})
    yield changed("image_size pair", model={"image_size": [32, 48]}, photos=PHOTOS | {"size": {"height": 32, "width": 48}})
    yield changed("another image_size", config={"image_size": 64}, photos=PHOTOS | {"size": {"height": 64, "width": 64}})
    yield changed("fewer labels than rows", config={"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}})
    yield changed("no labels", config={"id2label": ABSENT, "label2id": ABSENT}, same=True)
    yield changed("labels out of order", config={"id2label": {str(i): f"thing {i}" for i in (4, 2, 0, 1, 3)}})
    yield changed("no architectures", config={"architectures": ABSENT})
    yield changed("NaN where nobody looks", config={"initializer_range": float("nan"), "layerdrop": float("inf")}, same=True)
    yield rounded("float16", torch.float16)
    yield rounded("bfloat16", torch.bfloat16)
    yield changed("one channel", model={"num_channels": 1})
    yield changed("distilled", "DeiTForImageClassificationWithTeacher", photos=PHOTOS | {"image_processor_type": "DeiTImageProcessor", "do_center_crop": False})


assert len(list(forms())) == 33, len(list(forms()))
