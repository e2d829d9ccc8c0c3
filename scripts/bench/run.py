"""Measure vitserve beside its peers, in one run, and write docs/lab/benchmarks.md.

    python3 scripts/bench/run.py --install          # once: a venv with the peers in .venv
    python3 scripts/bench/run.py                    # measure, print the tables, write this machine's section
    python3 scripts/bench/run.py --python PYTHON    # peers of another Python
    python3 scripts/bench/run.py --all              # also the settings of peers that have not won yet
    python3 scripts/bench/run.py --read FILE        # write the section anew from a run's results
    python3 scripts/bench/run.py --prefix "chrt -f 10"

Everyone computes the same architecture with random weights, one picture at a
time, 224 × 224. Each contender runs in a process of its own, in every round
once, in a new order each round; before each run the machine rests. A contender
is a peer at its best: several settings (graphs, pinning, thread counts) compete
for it and the fastest single forward pass of all rounds counts. So does
vitserve's. A precision that vitserve refuses on this machine is left out and
named. Then come the linear layers alone (go test -bench GEMM ./backend/cpu) and
memory and start (footprint.py). Results are kept in results.json beside the
graphs, whatever becomes of the document.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shlex
import statistics
import subprocess
import sys
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PRECISIONS = ("f32", "bf16", "int8")

# Graphs of graphs.py by what they are called here, those that may win and
# those that only --all measures.
ORT = {
    "ONNX Runtime f32": ({"plain": "plain", "fused by hand": "fused", "fused by its tool": "tool"}, {}),
    "ONNX Runtime int8": (
        {"dynamic": "dynamic", "fused by its tool, dynamic": "dynamic_tool", "QDQ": "qdq", "fused by its tool, QDQ": "qdq_tool"},
        {"QDQ, outputs in f32": "qdq_out", "QDQ, s8 by s8": "qdq_s8", "QDQ, every operator": "qdq_all"},
    ),
}
OPENVINO = {
    "OpenVINO f32": ({"own graph": "openvino"}, {}, ("f32",)),
    "OpenVINO bf16": ({"own graph": "openvino"}, {}, ("bf16",)),
    "OpenVINO int8": ({"nncf": "nncf", "QDQ": "qdq"}, {"QDQ, outputs in f32": "qdq_out"}, ("f32", "bf16")),
}


def chosen(args, settings, others):
    return {**settings, **others} if args.all else settings


def kinds(args):
    """Return the graphs that a run needs."""
    found = [k for settings in ORT.values() for k in chosen(args, *settings).values()]
    found += [k for usual, others, _ in OPENVINO.values() for k in chosen(args, usual, others).values()]
    return list(dict.fromkeys(found))


def contenders(args, model, folder):
    """Yield (contender, setting, command) for a model."""
    t = str(args.threads)
    for precision in PRECISIONS:
        yield f"vitserve {precision}", "", bench(args, model, precision, args.threads, 1)
    peer = [args.python, str(HERE / "peer.py")]
    common = ["--model", model, "--seconds", str(args.seconds)]
    pins = [("", []), (", pinned", ["--pinned"])]
    graph = lambda kind: ["--file", str(folder / f"{model}.{kind}{'.xml' if kind in ('openvino', 'nncf') else '.onnx'}")]
    for name, settings in ORT.items():
        for setting, kind in chosen(args, *settings).items():
            ort = peer + ["ort"] + graph(kind) + common
            for pin, flag in pins:
                yield name, setting + pin, ort + ["--threads", t] + flag
            if args.all:
                yield name, setting + ", not spinning", ort + ["--threads", t, "--no-spin"]
                for n in sorted({1, 2 * args.threads} - {args.threads}):
                    yield name, f"{setting}, {n} thread{'s'[: n > 1]}", ort + ["--threads", str(n)]
    for name, (usual, others, rests) in OPENVINO.items():
        for setting, kind in chosen(args, usual, others).items():
            for rest in rests:
                if rest in args.refused:
                    continue
                for pin, flag in pins:
                    said = f"{setting}, rest {rest}{pin}" if len(rests) > 1 else setting + pin
                    yield name, said, peer + ["openvino", "--precision", rest] + graph(kind) + common + ["--threads", t] + flag
    for precision in ("f32", "bf16"):
        torch = peer + ["torch", "--precision", precision] + common + ["--threads", t]
        if args.all:
            yield f"PyTorch {precision}", "eager", torch
        yield f"PyTorch {precision}", "compiled", torch + ["--compiled"]


def bench(args, model, precision, threads, batch, *more):
    """Return vitserve's command at a setting."""
    runs = 30 if batch == 1 else 10  # of so many pictures each
    return [
        str(args.binary), "bench", "--preset", model, "--precision", precision, "--threads", str(threads), "--batch", str(batch),
        "--seconds", str(args.seconds), "--runs", str(runs), "--json", *more,
    ]  # fmt: skip


def own_settings(args, model):
    """Yield (setting, command) of what vitserve is compared with itself on."""
    for attention in ("class", "full"):
        yield f"attention {attention}", bench(args, model, "f32", args.threads, 1, "--attention", attention)
    for precision in PRECISIONS:
        if precision not in args.refused:
            for threads in sorted({1, args.threads}):
                yield f"{precision}, threads {threads}, batch 8", bench(args, model, precision, threads, 8)


def make_graphs(args, folder):
    """Write the graphs that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        print(f"graphs of {model}", file=sys.stderr, flush=True)
        command = [args.python, str(HERE / "graphs.py"), model, str(folder), *kinds(args)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            sys.exit(done.stdout[-2000:] + f"\nthe graphs of {model} could not be made")


def environment():
    """Return the environment without what would choose for a library what it does best."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOMP_", "VITSERVE_"))}


def run(args, command, timeout=600):
    """Run a command as a contender is run and return its output."""
    time.sleep(args.rest)
    words = shlex.split(args.prefix) + command
    return subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=timeout, cwd=ROOT, check=True).stdout


def run_once(args, command):
    """Run one contender; return its milliseconds (best, median), version and peak, or why not."""
    try:
        answer = json.loads(run(args, command).strip().splitlines()[-1])
    except subprocess.CalledProcessError as e:
        return {"error": (e.stderr.strip().splitlines() or ["no message"])[-1]}
    except (subprocess.TimeoutExpired, IndexError, ValueError) as e:
        return {"error": str(e)}
    if "times" in answer:
        times = answer["times"]
        return {"best": 1e3 * min(times), "median": 1e3 * statistics.median(times), "runs": len(times), "version": answer["version"]}
    return {
        "best": answer["ms_per_image"], "median": answer["ms_median"], "runs": answer["runs"],
        "peak": answer["peak_gflops"], "gflops": answer["gflops"], "backend": answer["backend"],
    }  # fmt: skip


def refused(args):
    """Return {precision: why} of those that vitserve refuses on this machine."""
    found = {}
    for precision in PRECISIONS:
        done = subprocess.run(
            [str(args.binary), "bench", "--model", "starter", "--precision", precision, "--runs", "1", "--seconds", "0"],
            capture_output=True, text=True, env=environment(),
        )  # fmt: skip
        if done.returncode and "not supported by this machine" in done.stderr:
            found[precision] = done.stderr.strip().splitlines()[-1].split(": ")[-1]
        elif done.returncode:
            sys.exit(f"vitserve bench --precision {precision}: {done.stderr}")
    return found


def wanted(args, name, words):
    return any(w in name for w in words or [])


def measure(args, folder):
    """Return {model: {contender: {setting: [result of each round]}}}."""
    results = {}
    for n in range(args.rounds):
        for model in args.models:
            todo = list(contenders(args, model, folder))
            todo += [("vitserve alone", setting, command) for setting, command in own_settings(args, model)]
            todo = [t for t in todo if not any(t[0].endswith(" " + p) for p in args.refused)]
            random.shuffle(todo)
            for name, setting, command in todo:
                if args.only and not wanted(args, name, args.only) or n > 0 and wanted(args, name, args.once):
                    continue
                past = results.setdefault(model, {}).setdefault(name, {}).setdefault(setting, [])
                if past and "error" in past[-1]:
                    continue
                r = run_once(args, command)
                past.append(r)
                said = r.get("error") or f"{r['best']:8.2f} ms best, {r['median']:8.2f} median"
                print(f"round {n + 1}/{args.rounds}  {model}  {name:18} {setting:36} {said}", file=sys.stderr, flush=True)
    return results


def gemm(args, results):
    """Return {"f32": {"B_qkv": fraction of the peak}, ...} of the linear layers on one core, or why not."""
    backends = {r["backend"] for m in results.values() for n in m.values() for s in n.values() for r in s if "backend" in r}
    if not backends:
        return {"error": "vitserve was not measured"}
    kernels = backends.pop().removeprefix("cpu/").split()[0]
    print(f"linear layers of {kernels}", file=sys.stderr, flush=True)
    # Built before, so that the prefix is for the measurement and not for the compiler.
    test = str(args.graphs / "cpu.test")
    try:
        subprocess.run(["go", "test", "-c", "-o", test, "./backend/cpu"], cwd=ROOT, check=True)
        out = run(args, [test, "-test.run", "-", "-test.bench", f"GEMM(Low)?/^{kernels}$", "-test.benchtime", "1s"])
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as e:
        return {"error": str(e)}
    found = {}
    for line in out.splitlines():
        m = re.match(rf"BenchmarkGEMM(?:Low)?/{kernels}/(?:(\w+)/)?(\w+?)(?:-\d+)?\s.*\s([\d.]+) of-peak", line)
        if m:
            found.setdefault(m[1] or "f32", {})[m[2]] = float(m[3])
    return found or {"error": "no benchmark named GEMM ran"}


def footprint(args):
    """Return the checks of memory and start, or why not."""
    print("memory and start", file=sys.stderr, flush=True)
    precisions = [p for p in PRECISIONS if p not in args.refused]
    command = [args.python, str(HERE / "footprint.py"), "--json", "--binary", str(args.binary), "--folder", str(args.graphs), "--precisions", ",".join(precisions)]
    try:
        out = run(args, command, timeout=1200)
    except subprocess.CalledProcessError as e:
        if e.returncode != 1 or not e.stdout:
            return [{"error": e.stderr.strip().splitlines()[-1]}]
        out = e.stdout  # a bound is broken, which the lines say, too
    except subprocess.TimeoutExpired as e:
        return [{"error": str(e)}]
    return [json.loads(line) for line in out.splitlines()]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--install", action="store_true", help="make the venv with the peers, then stop")
    p.add_argument("--python", default=str(ROOT / ".venv" / "bin" / "python"), help="Python that has the peers")
    p.add_argument("--models", nargs="+", default=["vit_base_patch16_224", "deit_tiny_patch16_224"])
    p.add_argument("--only", nargs="+", help="only contenders whose name contains one of these")
    p.add_argument("--once", nargs="+", default=["PyTorch"], help="contenders whose name contains one of these run in the first round only")
    p.add_argument("--all", action="store_true", help="also settings of peers that have not won yet")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--seconds", type=float, default=1, help="how long each contender runs in each round, but at least 30 passes")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rest", type=float, default=0.5, help="seconds of rest before each run")
    p.add_argument("--prefix", default="", help="words before every command, such as chrt -f 10")
    p.add_argument("--graphs", type=pathlib.Path, default=ROOT / ".cache" / "bench", help="folder for graphs, weights and results")
    p.add_argument("--read", type=pathlib.Path, help="results of an earlier run, in place of a new one")
    p.add_argument("--no-document", action="store_true", help="only print the tables")
    args = p.parse_args()
    if args.install:
        venv = pathlib.Path(args.python).parent.parent
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([args.python, "-m", "pip", "install", "-r", str(HERE / "requirements.txt")], check=True)
        return
    if args.read:
        results = json.loads(args.read.read_text())
    else:
        args.graphs = args.graphs.resolve()
        args.binary = args.graphs / "vitserve"
        # What the machine does before all this work.
        about = report.about(ROOT, sys.argv[1:])
        make_graphs(args, args.graphs)
        subprocess.run(["go", "build", "-o", str(args.binary), "./cmd/vitserve"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
        args.refused = refused(args)
        results = {"about": about, "threads": args.threads, "refused": args.refused, "models": measure(args, args.graphs)}
        if not args.only:
            results["gemm"] = gemm(args, results["models"])
            results["footprint"] = footprint(args)
        (args.graphs / "results.json").write_text(json.dumps(results))
    text = report.section(results)
    print(text)
    if not args.no_document:
        report.write(ROOT / "docs" / "lab" / "benchmarks.md", results, text)


if __name__ == "__main__":
    main()
