"""Measures how fast families of ViT-B's size are beside ViT-B itself and beside ONNX Runtime.

    python scripts/bench/families.py --vitserve ./vitserve [--rounds 3] [--precision f32,bf16] [--threads 1]

Each is a checkpoint of random weights as timm saves it, and the same model as torch.onnx writes it.
In every round each is measured in turn by `vitserve bench` and, in f32, by ONNX Runtime's CPU
provider in a process of its own. The best time of all rounds counts, beside the best peak, for other
work on the machine only makes both worse. Writes a table in Markdown to standard output, or between
the marks of a document (--write docs/lab/benchmarks.md); what it is doing goes to standard error. A
run with the defaults takes less than ten minutes on a machine that does nothing else. Needs timm, torch, onnx, onnxscript and onnxruntime of requirements.txt.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

MODELS = [
    ("ViT-B/16", "vit_base_patch16_224", {}),
    ("DINOv2-B/14", "vit_base_patch14_dinov2", {"img_size": 224}),
    ("SigLIP-B/16", "vit_base_patch16_siglip_224", {}),
    ("DINOv3-B/16", "vit_base_patch16_dinov3", {"img_size": 224}),
    ("BEiT-B/16", "beit_base_patch16_224", {}),
    ("EVA-02-B/14", "eva02_base_patch14_224", {}),
    ("EVA-02-B/16, CLIP's", "eva02_base_patch16_clip_224", {}),
]
FIRST = MODELS[0][0]


def size_of(model, args):
    return args.get("img_size", model.pretrained_cfg["input_size"][-1])


def save(arch, args, folder):
    """Writes a checkpoint and its graph."""
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(1)
    model = timm.create_model(arch, **args).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "relative_position_bias_table" in name or name.endswith(("bias", "q_bias", "v_bias")):
                p.normal_(0, 0.1)
    size = size_of(model, args)
    model.pretrained_cfg = dict(model.pretrained_cfg) | dict(input_size=(3, size, size))
    save_for_hf(model, folder, model_args=args, safe_serialization=True)
    pixels = torch.rand(1, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (pixels,), str(folder / "model.onnx"), input_names=["pixels"], dynamo=True, external_data=True, verbose=False)
        return pixels.numpy(), model(pixels).numpy()


def session(file, threads):
    import onnxruntime

    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = threads
    o.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), o, providers=["CPUExecutionProvider"])


def peer(file, threads, seconds):
    """Prints the best time of a pass in milliseconds, after warming up."""
    import numpy as np

    s = session(file, threads)
    feed = {"pixels": np.random.default_rng(1).random([1, *s.get_inputs()[0].shape[1:]], np.float32)}
    for _ in range(3):
        s.run(None, feed)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        s.run(None, feed)
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"ms": 1e3 * best}))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def table(o, best, peer_best, peak, versions):
    """The results as text."""
    precisions = o.precision.split(",")
    share = {key: line["gflop_per_image"] / line["ms_per_image"] * 1e3 / peak for key, line in best.items()}
    head = "| family |" + "".join(f" {q}: ms an image | share of the peak | beside ViT-B |" for q in precisions)
    out = [f"{versions}; {o.threads} thread{'s' if o.threads != '1' else ''}, best of {o.rounds} rounds of {o.seconds:g} s, peak {peak:.0f} GFLOP/s.", ""]
    out.append(head + " ONNX Runtime, f32: ms | share of the peak | its time / vitserve's in f32 |")
    out.append("|---|" + "---|" * (3 * len(precisions) + 3))
    for name, _, _ in MODELS:
        row = f"| {name} |"
        for q in precisions:
            row += f" {best[name, q]['ms_per_image']:.1f} | {share[name, q]:.3f} | {share[name, q] / share[FIRST, q]:.3f} |"
        ms, line = peer_best[name], best.get((name, "f32"))
        gflop = best[name, precisions[0]]["gflop_per_image"]
        row += f" {ms:.1f} | {gflop / ms * 1e3 / peak:.3f} | " + (f"{ms / line['ms_per_image']:.2f} |" if line else "– |")
        out.append(row)
    return "\n".join(out)


def write(path, text):
    """Puts text between the two marks of a document."""
    begin, end = "<!-- families: begin -->", "<!-- families: end -->"
    before, rest = path.read_text().split(begin)
    _, after = rest.split(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--vitserve", default="./vitserve")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--precision", default="f32,bf16")
    p.add_argument("--threads", default="1")
    p.add_argument("--write", type=Path, help="document between whose marks the table goes")
    p.add_argument("--only", help="part of the name of an architecture, which ViT-B goes before")
    p.add_argument("--peer", help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.peer:
        return peer(o.peer, int(o.threads), o.seconds)
    if o.only:
        MODELS[1:] = [m for m in MODELS[1:] if o.only in m[1]]
    import numpy as np
    import onnxruntime

    with tempfile.TemporaryDirectory() as work:
        for name, arch, args in MODELS:
            folder = Path(work) / arch
            folder.mkdir()
            pixels, want = save(arch, args, folder)
            (got,) = session(folder / "model.onnx", int(o.threads)).run(None, {"pixels": pixels})
            assert np.abs(got - want).max() < 1e-3 * np.abs(want).max(), f"{name}: the graph is another model"
            print(f"{name}: saved", file=sys.stderr, flush=True)
        best, peer_best, peak, machine = {}, {}, 0, ""
        for turn in range(o.rounds):
            for name, arch, _ in MODELS:
                for precision in o.precision.split(","):
                    line = run([o.vitserve, "bench", "--model", str(Path(work) / arch), "--precision", precision, "--threads", o.threads,
                                "--seconds", str(o.seconds), "--json"])
                    key = name, precision
                    if key not in best or line["ms_per_image"] < best[key]["ms_per_image"]:
                        best[key] = line
                    peak = max(peak, line["peak_gflops"])
                ms = run([sys.executable, __file__, "--peer", str(Path(work) / arch / "model.onnx"), "--threads", o.threads, "--seconds", str(o.seconds)])["ms"]
                peer_best[name] = min(ms, peer_best.get(name, ms))
            print(f"round {turn + 1} of {o.rounds}", file=sys.stderr, flush=True)
    backend = next(iter(best.values()))["backend"]
    text = table(o, best, peer_best, peak, f"{processor()}, {backend.split()[0]}; ONNX Runtime {onnxruntime.__version__}")
    print(text)
    if o.write:
        write(o.write, text)


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


main()
