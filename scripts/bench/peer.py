"""One peer at one setting, measured in a process of its own.

Prints one JSON object: {"peer", "version", "setting", "threads", "times"}, the
times of single forward passes in seconds, in order, the first ones left out.
"""

import argparse
import json
import os
import time

import numpy as np

import graphs


def measure(forward, seconds, least=30):
    """Time forward for a while, at least `least` times, after warming up."""
    end = time.perf_counter() + min(2.0, seconds)
    for n in range(1000):
        forward()
        if n >= 5 and time.perf_counter() > end:
            break
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        forward()
        times.append(time.perf_counter() - start)
    return times


def ort(args, pixels):
    """ONNX Runtime's CPU provider over a graph file."""
    import onnxruntime

    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = args.threads
    o.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if args.pinned and args.threads > 1:
        # The calling thread is the first of the pool; the others are given a
        # core each, counted from 1.
        cores = sorted(os.sched_getaffinity(0))[: args.threads]
        os.sched_setaffinity(0, {cores[0]})
        o.add_session_config_entry("session.intra_op_thread_affinities", ";".join(str(c + 1) for c in cores[1:]))
    if args.no_spin:
        o.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(args.file, o, providers=["CPUExecutionProvider"])
    feed = {"pixels": pixels}
    return onnxruntime.__version__, lambda: session.run(None, feed)


def openvino(args, pixels):
    """OpenVINO's CPU plugin over a graph file of its own or of ONNX."""
    import openvino as ov

    compiled = ov.Core().compile_model(
        args.file,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(args.threads),
            "INFERENCE_PRECISION_HINT": args.precision,
            "ENABLE_CPU_PINNING": "YES" if args.pinned else "NO",
        },
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(pixels))
    return ov.__version__, request.infer


def torch(args, pixels):
    """PyTorch over timm's model: eager, or compiled with frozen weights."""
    import timm
    import torch
    import torch._inductor.config

    torch.set_num_threads(args.threads)
    torch._inductor.config.freezing = True
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[args.precision]
    net = timm.create_model(args.model, pretrained=False).eval().to(kind)
    x = torch.from_numpy(pixels).to(kind)
    if args.compiled:
        net = torch.compile(net)

    def forward():
        with torch.inference_mode():
            net(x)

    return torch.__version__, forward


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("peer", choices=["ort", "openvino", "torch"])
    p.add_argument("--model", required=True, choices=list(graphs.SIZES))
    p.add_argument("--file", help="graph, for ort and openvino")
    p.add_argument("--precision", default="f32")
    p.add_argument("--threads", type=int, required=True)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--pinned", action="store_true")
    p.add_argument("--no-spin", action="store_true", help="ort: threads that wait sleep")
    p.add_argument("--compiled", action="store_true")
    p.add_argument("--seconds", type=float, default=3)
    args = p.parse_args()
    pixels = np.random.default_rng(3).normal(0, 1, (args.batch, 3, graphs.IMAGE, graphs.IMAGE)).astype(np.float32)
    version, forward = {"ort": ort, "openvino": openvino, "torch": torch}[args.peer](args, pixels)
    print(json.dumps({"version": version, "threads": args.threads, "times": measure(forward, args.seconds)}))


if __name__ == "__main__":
    main()
