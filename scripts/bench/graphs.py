"""Graphs of plain Vision Transformers with random weights, for peers.

plain  standard operators only (opset 20), as exporters write them today
fused  ONNX Runtime's own operators where it has them: MultiHeadAttention,
       BiasGelu, SkipLayerNormalization (com.microsoft)

openvino  OpenVINO's own conversion of timm's model
dynamic, qdq  ONNX Runtime's int8 forms of plain

The first two are built by hand so that no exporter stands between a peer and its best,
and from one generator of weights, so that they must agree.
"""

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


def build(name, path, fused=False, batch=1):
    """Write the graph of a preset to path."""
    dim, depth, heads = SIZES[name]
    head, tokens = dim // heads, (IMAGE // PATCH) ** 2 + 1
    g = Graph()

    x = g.op("Conv", "pixels", g.normal(dim, 3, PATCH, PATCH), g.normal(dim), kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    x = g.op("Reshape", x, g.ints(batch, dim, tokens - 1))
    x = g.op("Transpose", x, perm=[0, 2, 1])
    x = g.op("Concat", g.normal(batch, 1, dim), x, axis=1)
    x = g.op("Add", x, g.normal(1, tokens, dim))

    if not fused:
        for _ in range(depth):
            h = g.norm(x, dim)
            qkv = g.op("Add", g.op("MatMul", h, g.normal(dim, 3 * dim)), g.normal(3 * dim))
            qkv = g.op("Reshape", qkv, g.ints(batch, tokens, 3, heads, head))
            qkv = g.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
            q, k, v = (g.op("Gather", qkv, g.const(np.array(i, np.int64)), axis=0) for i in range(3))
            q = g.op("Mul", q, g.const(np.array(head**-0.5, np.float32)))
            a = g.op("Softmax", g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
            o = g.op("Transpose", g.op("MatMul", a, v), perm=[0, 2, 1, 3])
            o = g.op("Reshape", o, g.ints(batch, tokens, dim))
            x = g.op("Add", x, g.op("Add", g.op("MatMul", o, g.normal(dim, dim)), g.normal(dim)))
            h = g.norm(x, dim)
            h = g.op("Add", g.op("MatMul", h, g.normal(dim, 4 * dim)), g.normal(4 * dim))
            h = g.op("Gelu", h)
            x = g.op("Add", x, g.op("Add", g.op("MatMul", h, g.normal(4 * dim, dim)), g.normal(dim)))
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
    opsets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid("com.microsoft", 1)] if fused else [])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


class Pixels:
    """Calibration data: eight random pictures."""

    def __init__(self, batch=1):
        rng = np.random.default_rng(2)
        self.left = [rng.normal(0, 1, (batch, 3, IMAGE, IMAGE)).astype(np.float32) for _ in range(8)]

    def get_next(self):
        return {"pixels": self.left.pop()} if self.left else None


def quantize(plain, dynamic, qdq):
    """Write int8 forms of a plain graph: dynamic, and QDQ by calibration.

    Linear layers only; the patch projection and the head stay float32, as they
    do in vitserve.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

    graph = onnx.load(plain).graph
    weights = {w.name for w in graph.initializer}
    linear = [n.name for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    common = dict(nodes_to_quantize=linear, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
    quantize_dynamic(plain, dynamic, **common)
    quantize_static(plain, qdq, Pixels(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, **common)


def openvino(name, path, batch=1):
    """Write timm's model in OpenVINO's format, in float32."""
    import openvino as ov
    import timm
    import torch

    net = timm.create_model(name, pretrained=False).eval()
    model = ov.convert_model(net, example_input=torch.zeros(batch, 3, IMAGE, IMAGE))
    model.reshape([batch, 3, IMAGE, IMAGE])
    ov.save_model(model, path, compress_to_fp16=False)


def write(name, folder):
    """Write every graph of a preset that is not in folder yet."""
    import os

    path = lambda kind, end=".onnx": os.path.join(folder, f"{name}.{kind}{end}")
    if not os.path.exists(path("openvino", ".xml")):
        openvino(name, path("openvino", ".xml"))
    if not os.path.exists(path("plain")):
        build(name, path("plain"))
    if not os.path.exists(path("fused")):
        build(name, path("fused"), fused=True)
    if not os.path.exists(path("qdq")):
        quantize(path("plain"), path("dynamic"), path("qdq"))


if __name__ == "__main__":
    import sys

    write(*sys.argv[1:])
