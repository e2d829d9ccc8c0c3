"""Measure vitserve beside its peers, in one run, and write docs/benchmarks.md.

    python3 scripts/bench/run.py --install          # once: a venv with the peers in .venv
    python3 scripts/bench/run.py                    # measure, print the tables, write the document
    python3 scripts/bench/run.py --python PYTHON    # peers of another Python
    python3 scripts/bench/run.py --prefix "chrt -f 10"

Everyone computes the same architecture with random weights, one picture at a
time, 224 × 224. Each contender runs in a process of its own, in every round
once, in a new order each round; before each run the machine rests. A contender
is a peer at its best: several settings (graphs, pinning, thread counts) compete
for it and the fastest single forward pass of all rounds counts. So does
vitserve's.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import shlex
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- peers: begin, written by scripts/bench/run.py -->", "<!-- peers: end -->"

# What is compared with what: (row, ours, theirs).
RATIOS = [
    ("f32 against ONNX Runtime f32", "vitserve f32", "ONNX Runtime f32"),
    ("bf16 against ONNX Runtime f32", "vitserve bf16", "ONNX Runtime f32"),
    ("int8 against ONNX Runtime f32", "vitserve int8", "ONNX Runtime f32"),
    ("int8 against ONNX Runtime int8", "vitserve int8", "ONNX Runtime int8"),
    ("f32 against OpenVINO f32", "vitserve f32", "OpenVINO f32"),
    ("bf16 against OpenVINO bf16", "vitserve bf16", "OpenVINO bf16"),
    ("int8 against OpenVINO int8", "vitserve int8", "OpenVINO int8"),
    ("f32 against PyTorch f32", "vitserve f32", "PyTorch f32"),
    ("bf16 against PyTorch bf16", "vitserve bf16", "PyTorch bf16"),
]


def contenders(args, model, graphs):
    """Yield (contender, setting, command) for a model."""
    t = str(args.threads)
    for precision in ("f32", "bf16", "int8"):
        yield f"vitserve {precision}", "", [
            str(args.binary), "bench", "--preset", model, "--precision", precision,
            "--threads", t, "--batch", "1", "--seconds", str(args.seconds), "--json",
        ]  # fmt: skip
    peer = [args.python, str(HERE / "peer.py")]
    common = ["--model", model, "--threads", t, "--seconds", str(args.seconds)]
    pins = [("", []), (", pinned", ["--pinned"])]
    for pin, flag in pins:
        for kind, precision in (("plain", "f32"), ("fused", "f32"), ("dynamic", "int8"), ("qdq", "int8")):
            file = str(graphs / f"{model}.{kind}.onnx")
            yield f"ONNX Runtime {precision}", kind + pin, peer + ["ort", "--file", file] + common + flag
        for precision in ("f32", "bf16"):
            file = str(graphs / f"{model}.openvino.xml")
            yield f"OpenVINO {precision}", "own graph" + pin, peer + ["openvino", "--precision", precision, "--file", file] + common + flag
        for rest in ("f32", "bf16"):
            file = str(graphs / f"{model}.qdq.onnx")
            yield "OpenVINO int8", f"qdq, rest {rest}{pin}", peer + ["openvino", "--precision", rest, "--file", file] + common + flag
    for precision in ("f32", "bf16"):
        yield f"PyTorch {precision}", "eager", peer + ["torch", "--precision", precision] + common
        yield f"PyTorch {precision}", "compiled", peer + ["torch", "--precision", precision, "--compiled"] + common


def own_settings(args, model):
    """Yield (setting, command) of what vitserve is compared with itself on."""
    command = [str(args.binary), "bench", "--preset", model, "--seconds", str(args.seconds), "--json"]
    for attention in ("class", "full"):
        yield f"attention {attention}", command + ["--threads", str(args.threads), "--attention", attention]
    for precision in ("f32", "bf16", "int8"):
        for threads in sorted({1, args.threads}):
            for batch in (1, 8):
                if threads == args.threads and batch == 1:
                    continue  # a contender already
                yield f"{precision}, threads {threads}, batch {batch}", command + ["--threads", str(threads), "--precision", precision, "--batch", str(batch)]


def make_graphs(args, folder):
    """Write the graphs that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        subprocess.run([args.python, str(HERE / "graphs.py"), model, str(folder)], check=True, stderr=subprocess.DEVNULL)


def run_once(args, command):
    """Run one contender; return its milliseconds (best, median), version and peak, or why not."""
    # Libraries choose by themselves what they do best.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOMP_", "VITSERVE_"))}
    time.sleep(args.rest)
    try:
        done = subprocess.run(shlex.split(args.prefix) + command, capture_output=True, text=True, env=env, timeout=600, check=True)
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.CalledProcessError as e:
        return {"error": (e.stderr.strip().splitlines() or ["no message"])[-1]}
    except (subprocess.TimeoutExpired, IndexError, ValueError) as e:
        return {"error": str(e)}
    if "times" in answer:
        times = answer["times"]
        return {"best": 1e3 * min(times), "median": 1e3 * statistics.median(times), "runs": len(times), "version": answer["version"]}
    return {"best": answer["ms_per_image"], "median": answer["ms_median"], "runs": answer.get("runs", 0), "peak": answer["peak_gflops"], "gflops": answer["gflops"]}


def measure(args, graphs):
    """Return {model: {contender: {setting: [result of each round]}}}."""
    results = {}
    for n in range(args.rounds):
        for model in args.models:
            todo = list(contenders(args, model, graphs))
            todo += [("vitserve alone", setting, command) for setting, command in own_settings(args, model)]
            random.shuffle(todo)
            for name, setting, command in todo:
                if args.only and not any(o in name for o in args.only):
                    continue
                if n > 0 and any(o in name for o in args.once or []):
                    continue
                past = results.setdefault(model, {}).setdefault(name, {}).setdefault(setting, [])
                if past and "error" in past[-1]:
                    continue
                r = run_once(args, command)
                past.append(r)
                said = r.get("error") or f"{r['best']:8.2f} ms best, {r['median']:8.2f} median"
                print(f"round {n + 1}/{args.rounds}  {model}  {name:18} {setting:24} {said}", file=sys.stderr, flush=True)
    return results


def best_of(settings):
    """Return (setting, best, its median, version) of the fastest setting, or None."""
    found = [(r["best"], r["median"], s, r) for s, rounds in settings.items() for r in rounds if "best" in r]
    if not found:
        return None
    best, median, setting, r = min(found, key=lambda f: f[:2])
    return {"best": best, "median": median, "setting": setting, **{k: r[k] for k in ("version", "peak", "gflops") if k in r}}


def spread(ours, theirs):
    """Ratio of the bests in each round, lowest and highest."""
    rounds = []
    n = max(len(r) for r in list(ours.values()) + list(theirs.values()))
    for i in range(n):
        a = [r[i]["best"] for r in ours.values() if i < len(r) and "best" in r[i]]
        b = [r[i]["best"] for r in theirs.values() if i < len(r) and "best" in r[i]]
        if a and b:
            rounds.append(min(b) / min(a))
    return f"{min(rounds):.2f}–{max(rounds):.2f}" if rounds else "–"


def tables(args, results):
    """Write the results in Markdown."""
    out = []
    for model, names in results.items():
        out += [f"### {model}, batch 1, {args.threads} threads", "", "| | best ms | median ms | setting |", "|---|---:|---:|---|"]
        bests = {name: best_of(settings) for name, settings in names.items()}
        alone = names.get("vitserve alone", {})
        bests.pop("vitserve alone", None)
        for name in sorted(bests, key=lambda n: (bests[n] or {"best": 1e9})["best"]):
            b = bests[name]
            if b is None:
                error = next(r["error"] for rounds in names[name].values() for r in rounds if "error" in r)
                out.append(f"| {name} | – | – | {error} |")
                continue
            version = f" {b['version'].split('-')[0].split('+')[0]}" if "version" in b else ""
            setting = b["setting"] or f"{b['gflops']:.0f} GFLOP/s; peak probe f32 {b['peak']:.0f}"
            out.append(f"| {name}{version} | {b['best']:.2f} | {b['median']:.2f} | {setting} |")
        out += ["", "| times as fast | best against best | by round |", "|---|---:|---:|"]
        for row, ours, theirs in RATIOS:
            if bests.get(ours) and bests.get(theirs):
                out.append(f"| {row} | {bests[theirs]['best'] / bests[ours]['best']:.2f} | {spread(names[ours], names[theirs])} |")
        out += own_table(args, bests, alone)
        out.append("")
    return "\n".join(out)


def own_table(args, bests, alone):
    """Write what vitserve's own settings cost beside one another."""
    rows = {s: best_of({s: rounds}) for s, rounds in alone.items()}
    for precision in ("f32", "bf16", "int8"):
        rows[f"{precision}, threads {args.threads}, batch 1"] = bests.get(f"vitserve {precision}")
    rows = {s: b for s, b in rows.items() if b}
    out = []

    def ratio(text, slow, fast, form="{:.2f}"):
        if slow in rows and fast in rows:
            out.append(f"| {text} | {form.format(rows[slow]['best'] / rows[fast]['best'])} |")

    plain = f"f32, threads {args.threads}, batch 1"
    for precision in ("f32", "bf16", "int8"):
        p = f"{precision}, threads"
        ratio(f"{precision}: throughput of batch 8 on {args.threads} threads against 1 thread", f"{p} 1, batch 8", f"{p} {args.threads}, batch 8")
        ratio(f"{precision}: throughput of batch 8 against batch 1", f"{p} {args.threads}, batch 1", f"{p} {args.threads}, batch 8")
    ratio("f32: time with the class token's attention of every layer and head, against without", "attention class", plain, "{:.3f}")
    ratio("f32: time with every attention matrix, against without", "attention full", plain, "{:.3f}")
    if plain in rows and "peak" in rows[plain]:
        out.append(f"| f32: fraction of the peak probe, best of each | {rows[plain]['gflops'] / rows[plain]['peak']:.3f} |")
    return ["", "| vitserve beside itself | |", "|---|---:|"] + out if out else []


def machine():
    """Name the processor and what the system gives of it."""
    name = platform.processor() or platform.machine()
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
            if line.startswith("cpu family"):
                family = line.split(":", 1)[1].strip()
            if line.startswith("model\t"):
                name_model = line.split(":", 1)[1].strip()
        name += f" (family {family}, model {name_model})"
    except (OSError, UnboundLocalError):
        pass
    return f"{len(os.sched_getaffinity(0))} cores of {name}, {platform.system()} {platform.machine()}"


def describe(args, results):
    """Say what was measured, where and how."""
    git = lambda *a: subprocess.run(["git", *a], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    commit = git("rev-parse", "--short=12", "HEAD") + (" with changes" if git("status", "--porcelain", "--", "*.go", "*.s") else "")
    load = f"; load average before {args.load:.1f}" if args.load > 0.5 else ""
    command = "python3 scripts/bench/run.py " + " ".join(
        a
        for a in [
            f"--rounds {args.rounds}",
            f"--seconds {args.seconds:g}",
            f"--once {' '.join(json.dumps(o) for o in args.once)}" if args.once else "",
            f'--prefix "{args.prefix}"' if args.prefix else "",
        ]
        if a
    )
    return "\n".join([
        f"- machine: {machine()}{load}",
        f"- commit: {commit}; {subprocess.run(['go', 'version'], capture_output=True, text=True, check=True).stdout.split()[2]}; {time.strftime('%Y-%m-%d')}",
        f"- command: `{command}`",
        "",
    ])  # fmt: skip


def write(text):
    """Put text between the document's marks."""
    document = DOCUMENT.read_text()
    head, rest = document.split(BEGIN)
    DOCUMENT.write_text(head + BEGIN + "\n\n" + text + "\n" + END + rest.split(END)[1])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--install", action="store_true", help="make the venv with the peers, then stop")
    p.add_argument("--python", default=str(ROOT / ".venv" / "bin" / "python"), help="Python that has the peers")
    p.add_argument("--models", nargs="+", default=["vit_base_patch16_224", "deit_tiny_patch16_224"])
    p.add_argument("--only", nargs="+", help="only contenders whose name contains one of these")
    p.add_argument("--once", nargs="+", help="contenders whose name contains one of these run in the first round only")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=5, help="how long each contender runs in each round")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rest", type=float, default=0.5, help="seconds of rest before each run")
    p.add_argument("--prefix", default="", help="words before every command, such as chrt -f 10")
    p.add_argument("--graphs", type=pathlib.Path, default=ROOT / ".cache" / "bench", help="folder for the ONNX files")
    p.add_argument("--raw", type=pathlib.Path, help="write every result to this JSON file")
    p.add_argument("--no-document", action="store_true", help="only print the tables")
    args = p.parse_args()
    if args.install:
        venv = pathlib.Path(args.python).parent.parent
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([args.python, "-m", "pip", "install", "-r", str(HERE / "requirements.txt")], check=True)
        return
    args.binary = args.graphs / "vitserve"
    args.load = os.getloadavg()[0]
    make_graphs(args, args.graphs)
    subprocess.run(["go", "build", "-o", str(args.binary), "./cmd/vitserve"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    results = measure(args, args.graphs)
    if args.raw:
        args.raw.write_text(json.dumps(results))
    text = describe(args, results) + "\n" + tables(args, results)
    print(text)
    if not args.no_document:
        write(text)


if __name__ == "__main__":
    main()
