"""Graphs of plain Vision Transformers with random weights, for peers.

plain      standard operators only (opset 20), as exporters write them today
fused      ONNX Runtime's own operators where it has them: Attention, BiasGelu,
           SkipLayerNormalization (com.microsoft), put there by hand
separate   plain with a projection each for queries, keys and values, as exports of
           transformers have them: what ONNX Runtime's fusion tool knows
tool       separate as that tool fuses it (onnxruntime.transformers.optimizer, "vit")
dynamic    plain in ONNX Runtime's dynamic int8; dynamic_tool: tool in the same
qdq        plain in int8 by calibration, in and out of each linear layer; u8 by s8
qdq_out    the same, the layers' outputs staying float32
qdq_s8     qdq with signed activations, symmetric about 0
qdq_all    qdq of every operator that ONNX Runtime's quantizer takes
openvino   OpenVINO's own conversion of timm's model
nncf       openvino in int8 by nncf's post-training quantization

The first three are built by hand so that no exporter stands between a peer and its
best, and from one generator of weights, so that they must agree. In int8 weights have
a scale for each output channel and all their eight bits (reduce_range is for CPUs
without VNNI); but for qdq_all and nncf, which choose themselves, linear layers only:
the patch projection and the head stay float32, as they do in vitserve.
"""

import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# dim, depth, heads; patch 16, image 224, MLP 4 × dim.
# DeiT: table 1 of https://arxiv.org/abs/2012.12877. ViT: table 1 of https://arxiv.org/abs/2010.11929.
SIZES = {
    "deit_tiny_patch16_224": (192, 12, 3),
    "deit_small_patch16_224": (384, 12, 6),
    "vit_base_patch16_224": (768, 12, 12),
}
IMAGE, PATCH, CLASSES, EPS = 224, 16, 1000, 1e-6


class Graph:
    """A graph that is written from top to bottom."""

    def __init__(self, seed=1):
        self.nodes, self.weights, self.n = [], [], 0
        self.rng = np.random.default_rng(seed)

    def const(self, value):
        self.n += 1
        name = f"w{self.n}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def normal(self, *shape):
        return self.const(self.rng.normal(0, 0.02, shape).astype(np.float32))

    def ints(self, *values):
        return self.const(np.array(values, np.int64))

    def op(self, kind, *inputs, outputs=1, domain="", **attrs):
        self.n += 1
        names = [f"{kind}_{self.n}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{self.n}", domain=domain, **attrs))
        return names[0] if outputs == 1 else names

    def norm(self, x, dim):
        weight = self.const(np.ones(dim, np.float32))
        bias = self.const(np.zeros(dim, np.float32))
        return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=EPS)


def mlp(g, x, dim):
    """Add the second half of a block in standard operators."""
    h = g.norm(x, dim)
    h = g.op("Add", g.op("MatMul", h, g.normal(dim, 4 * dim)), g.normal(4 * dim))
    h = g.op("Gelu", h)
    return g.op("Add", x, g.op("Add", g.op("MatMul", h, g.normal(4 * dim, dim)), g.normal(dim)))


def separate_attention(g, h, dim, heads, tokens, batch):
    """Add attention from three projections, of the weights that one has otherwise."""
    head = dim // heads
    weights = np.split(g.rng.normal(0, 0.02, (dim, 3 * dim)).astype(np.float32), 3, axis=1)
    biases = np.split(g.rng.normal(0, 0.02, 3 * dim).astype(np.float32), 3)
    q, k, v = (
        g.op("Reshape", g.op("Add", g.op("MatMul", h, g.const(w)), g.const(b)), g.ints(batch, tokens, heads, head))
        for w, b in zip(weights, biases)
    )  # fmt: skip
    q, k, v = g.op("Transpose", q, perm=[0, 2, 1, 3]), g.op("Transpose", k, perm=[0, 2, 3, 1]), g.op("Transpose", v, perm=[0, 2, 1, 3])
    scores = g.op("Div", g.op("MatMul", q, k), g.const(np.array(head**0.5, np.float32)))
    o = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    return g.op("Reshape", o, g.ints(batch, tokens, dim))


def build(name, path, form, batch=1):
    """Write the graph of a preset to path; form is plain, separate or fused."""
    dim, depth, heads = SIZES[name]
    head, tokens = dim // heads, (IMAGE // PATCH) ** 2 + 1
    g = Graph()

    x = g.op("Conv", "pixels", g.normal(dim, 3, PATCH, PATCH), g.normal(dim), kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    x = g.op("Reshape", x, g.ints(batch, dim, tokens - 1))
    x = g.op("Transpose", x, perm=[0, 2, 1])
    x = g.op("Concat", g.normal(batch, 1, dim), x, axis=1)
    x = g.op("Add", x, g.normal(1, tokens, dim))

    if form != "fused":
        for _ in range(depth):
            h = g.norm(x, dim)
            if form == "separate":
                o = separate_attention(g, h, dim, heads, tokens, batch)
                x = g.op("Add", x, g.op("Add", g.op("MatMul", o, g.normal(dim, dim)), g.normal(dim)))
                x = mlp(g, x, dim)
                continue
            qkv = g.op("Add", g.op("MatMul", h, g.normal(dim, 3 * dim)), g.normal(3 * dim))
            qkv = g.op("Reshape", qkv, g.ints(batch, tokens, 3, heads, head))
            qkv = g.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
            q, k, v = (g.op("Gather", qkv, g.const(np.array(i, np.int64)), axis=0) for i in range(3))
            q = g.op("Mul", q, g.const(np.array(head**-0.5, np.float32)))
            a = g.op("Softmax", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
            o = g.op("Transpose", g.op("MatMul", a, v), perm=[0, 2, 1, 3])
            o = g.op("Reshape", o, g.ints(batch, tokens, dim))
            x = g.op("Add", x, g.op("Add", g.op("MatMul", o, g.normal(dim, dim)), g.normal(dim)))
            x = mlp(g, x, dim)
        x = g.norm(x, dim)
    else:
        ms = dict(domain="com.microsoft")
        ones, zeros = np.ones(dim, np.float32), np.zeros(dim, np.float32)
        h = g.norm(x, dim)
        for layer in range(depth):
            w, b = g.rng.normal(0, 0.02, (dim, 3 * dim)).astype(np.float32), g.rng.normal(0, 0.02, 3 * dim).astype(np.float32)
            o = g.op("Attention", h, g.const(w), g.const(b), num_heads=heads, **ms)
            o = g.op("MatMul", o, g.normal(dim, dim))
            h, _, _, x = g.op("SkipLayerNormalization", o, x, g.const(ones), g.const(zeros), g.normal(dim), outputs=4, epsilon=EPS, **ms)
            h = g.op("MatMul", h, g.normal(dim, 4 * dim))
            h = g.op("BiasGelu", h, g.normal(4 * dim), **ms)
            h = g.op("MatMul", h, g.normal(4 * dim, dim))
            h, _, _, x = g.op("SkipLayerNormalization", h, x, g.const(ones), g.const(zeros), g.normal(dim), outputs=4, epsilon=EPS, **ms)
        x = h

    x = g.op("Gather", x, g.const(np.array(0, np.int64)), axis=1)
    g.nodes.append(helper.make_node("Gemm", [x, g.normal(CLASSES, dim), g.normal(CLASSES)], ["logits"], name="head", transB=1))

    graph = helper.make_graph(
        g.nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, IMAGE, IMAGE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
        g.weights,
    )
    opsets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid("com.microsoft", 1)] if form == "fused" else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


class Pixels:
    """Calibration data: eight random pictures."""

    def __init__(self, batch=1):
        rng = np.random.default_rng(2)
        self.left = [rng.normal(0, 1, (batch, 3, IMAGE, IMAGE)).astype(np.float32) for _ in range(8)]

    def get_next(self):
        return {"pixels": self.left.pop()} if self.left else None


def fuse(name, separate, path):
    """Write what ONNX Runtime's fusion tool makes of a graph."""
    from onnxruntime.transformers.optimizer import optimize_model

    dim, depth, heads = SIZES[name]
    fused = optimize_model(separate, model_type="vit", num_heads=heads, hidden_size=dim, opt_level=0)
    found = fused.get_fused_operator_statistics()
    # Version 1.32 leaves the attention of the first block as it is.
    if found["Attention"] < depth - 1 or found["BiasGelu"] < depth:
        raise RuntimeError(f"ONNX Runtime's tool found {found}, want {depth} Attention and BiasGelu")
    fused.save_model_to_file(path)


def linears(model):
    """Return the names of the nodes that are linear layers of the blocks."""
    graph = onnx.load(model).graph
    weights = {w.name for w in graph.initializer}
    return [n.name for n in graph.node if n.op_type in ("MatMul", "Attention") and n.input[1] in weights]


def quantize_dynamic(graph, path):
    """Write the dynamic int8 form of a graph."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        graph, path, per_channel=True, reduce_range=False, weight_type=QuantType.QInt8,
        nodes_to_quantize=linears(graph), op_types_to_quantize=["MatMul", "Attention"],
        extra_options={"DefaultTensorType": TensorProto.FLOAT},  # no shapes are inferred behind operators of its own
    )  # fmt: skip


def quantize_qdq(graph, path, activations="QUInt8", everything=False, float_out=False):
    """Write a QDQ form of a graph, calibrated after the pre-processing that its authors ask for.

    Its optimization makes Gemm of MatMul and Add; only `everything` has it, the
    others keep the MatMul that ONNX Runtime fuses when it loads them.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = path + ".ready"
    quant_pre_process(graph, ready, skip_optimization=not everything)
    chosen = {} if everything else {"nodes_to_quantize": linears(ready), "op_types_to_quantize": ["MatMul", "Attention"]}
    options = {"WeightSymmetric": True, "ActivationSymmetric": activations == "QInt8", "DefaultTensorType": TensorProto.FLOAT}
    if float_out:
        options["OpTypesToExcludeOutputQuantization"] = ["MatMul"]
    quantize_static(
        ready, path, Pixels(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=False,
        activation_type=QuantType[activations], weight_type=QuantType.QInt8, extra_options=options, **chosen,
    )  # fmt: skip
    pathlib.Path(ready).unlink()


def openvino(name, path, batch=1):
    """Write timm's model in OpenVINO's format, in float32."""
    import openvino as ov
    import timm
    import torch

    net = timm.create_model(name, pretrained=False).eval()
    model = ov.convert_model(net, example_input=torch.zeros(batch, 3, IMAGE, IMAGE))
    model.reshape([batch, 3, IMAGE, IMAGE])
    ov.save_model(model, path, compress_to_fp16=False)


def quantize_nncf(graph, path):
    """Write OpenVINO's model as nncf quantizes Transformers after training."""
    import nncf
    import openvino as ov

    pictures = [p["pixels"] for p in iter(Pixels().get_next, None)]
    model = nncf.quantize(
        ov.Core().read_model(graph), nncf.Dataset(pictures), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(pictures)
    )  # fmt: skip
    ov.save_model(model, path, compress_to_fp16=False)


# How each kind is made: (what from, how), in an order in which that is there.
KINDS = {
    "plain": (None, lambda name, _, path: build(name, path, "plain")),
    "fused": (None, lambda name, _, path: build(name, path, "fused")),
    "separate": (None, lambda name, _, path: build(name, path, "separate")),
    "tool": ("separate", fuse),
    "dynamic": ("plain", lambda _, graph, path: quantize_dynamic(graph, path)),
    "dynamic_tool": ("tool", lambda _, graph, path: quantize_dynamic(graph, path)),
    "qdq": ("plain", lambda _, graph, path: quantize_qdq(graph, path)),
    "qdq_out": ("plain", lambda _, graph, path: quantize_qdq(graph, path, float_out=True)),
    "qdq_s8": ("plain", lambda _, graph, path: quantize_qdq(graph, path, "QInt8")),
    "qdq_all": ("plain", lambda _, graph, path: quantize_qdq(graph, path, everything=True)),
    "qdq_tool": ("tool", lambda _, graph, path: quantize_qdq(graph, path)),
    "openvino": (None, lambda name, _, path: openvino(name, path)),
    "nncf": ("openvino", lambda _, graph, path: quantize_nncf(graph, path)),
}


def file(folder, name, kind):
    """Return where the graph of a kind lies."""
    return pathlib.Path(folder) / f"{name}.{kind}{'.xml' if kind in ('openvino', 'nncf') else '.onnx'}"


def write(name, folder, kinds):
    """Write graphs of a preset that are not in folder yet, and those they are made from."""
    for kind in kinds:
        source, make = KINDS[kind]
        if source:
            write(name, folder, [source])
        if file(folder, name, kind).exists():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as whole:
            make(name, str(file(folder, name, source)) if source else None, str(file(whole, name, kind)))
            for f in pathlib.Path(whole).iterdir():
                f.rename(pathlib.Path(folder) / f.name)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], sys.argv[3:])
