"""What run.py measured, in Markdown beside what was wanted, in docs/lab/benchmarks.md."""

import os
import platform
import shlex
import subprocess
import time

B, TI = "vit_base_patch16_224", "deit_tiny_patch16_224"

# What is compared with what: row, ours, theirs, and the least and the aim for each model.
RATIOS = [
    ("f32 against ONNX Runtime f32", "vitserve f32", "ONNX Runtime f32", {B: (1.10, 1.15), TI: (1.22, 1.38)}),
    ("bf16 against ONNX Runtime f32", "vitserve bf16", "ONNX Runtime f32", {B: (2.0, 2.25), TI: (1.9, 2.5)}),
    ("int8 against ONNX Runtime f32", "vitserve int8", "ONNX Runtime f32", {B: (3.4, 4.0), TI: (2.5, 3.5)}),
    ("int8 against ONNX Runtime int8", "vitserve int8", "ONNX Runtime int8", {B: (1.2, 1.4), TI: (1.45, 1.9)}),
    ("f32 against OpenVINO f32", "vitserve f32", "OpenVINO f32", {B: (1.0, 1.1)}),
    ("bf16 against OpenVINO bf16", "vitserve bf16", "OpenVINO bf16", {B: (1.0, 1.1)}),
    ("int8 against OpenVINO int8", "vitserve int8", "OpenVINO int8", {B: (1.0, 1.1)}),
    ("f32 against PyTorch f32", "vitserve f32", "PyTorch f32", {}),
    ("bf16 against PyTorch bf16", "vitserve bf16", "PyTorch bf16", {}),
]
THREADS, BATCH = (1.9, 2.0), (1.0, 1.0)  # throughput against one thread, and against batch 1
CLASS_ROWS, MATRICES = {B: (1.05, 1.02)}, {B: (1.30, 1.15)}  # time against a plain pass, at most
OF_PEAK = {B: (0.92, 0.96)}
LAYER, WEIGHTED = (0.94, 0.97), (0.95, 0.97)  # fraction of the peak of a linear layer, and of all four

# Multiply-adds of the linear layers for a token, in units of dim².
LAYERS = {"qkv": 3, "proj": 1, "fc1": 4, "fc2": 4}


def judged(found, want, form="{:.2f}", most=False):
    """Return the cells of a value beside its least (or most) and its aim; bold if it falls short."""
    said = form.format(found)
    if not want:
        return f"{said} | | "
    sign, short = ("≤ ", found > want[0]) if most else ("", found < want[0])
    return f"{'**' + said + '**' if short else said} | {sign}{want[0]:.2f} | {sign}{want[1]:.2f}"


def best_of(settings):
    """Return the fastest setting's result with its name, or None."""
    found = [{**r, "setting": s} for s, rounds in settings.items() for r in rounds if "best" in r]
    return min(found, key=lambda r: r["best"], default=None)


def spread(ours, theirs):
    """Ratio of the bests in each round that has both, lowest and highest."""
    rounds = []
    n = max(len(r) for r in list(ours.values()) + list(theirs.values()))
    for i in range(n):
        a = [r[i]["best"] for r in ours.values() if i < len(r) and "best" in r[i]]
        b = [r[i]["best"] for r in theirs.values() if i < len(r) and "best" in r[i]]
        if a and b:
            rounds.append(min(b) / min(a))
    return f"{min(rounds):.2f}–{max(rounds):.2f}" if rounds else "–"


def models(results):
    """Write the tables of each model."""
    out = []
    for model, names in results["models"].items():
        out += [f"### {model}, batch 1, {results['threads']} threads", "", "| | best ms | median ms | setting |", "|---|---:|---:|---|"]
        alone = names.get("vitserve alone", {})
        bests = {name: best_of(settings) for name, settings in names.items() if name != "vitserve alone"}
        for name in sorted(bests, key=lambda n: (bests[n] or {"best": 1e9})["best"]):
            b = bests[name]
            if b is None:
                error = next(r["error"] for rounds in names[name].values() for r in rounds if "error" in r)
                out.append(f"| {name} | – | – | {error} |")
                continue
            version = f" {b['version'].split('-')[0].split('+')[0]}" if "version" in b else ""
            setting = b["setting"] or f"{b['gflops']:.0f} GFLOP/s; peak probe f32 {b['peak']:.0f}"
            out.append(f"| {name}{version} | {b['best']:.2f} | {b['median']:.2f} | {setting} |")
        ratios = []
        for row, ours, theirs, want in RATIOS:
            if bests.get(ours) and bests.get(theirs):
                ratio = bests[theirs]["best"] / bests[ours]["best"]
                ratios.append(f"| {row} | {judged(ratio, want.get(model))} | {spread(names[ours], names[theirs])} |")
        if ratios:
            out += ["", "| times as fast | best against best | at least | aim | by round |", "|---|---:|---:|---:|---:|"] + ratios
        out += own(results, model, bests, alone)
        out += linear(results, model)
        out += settings(names, bests)
        out.append("")
    return out


def own(results, model, bests, alone):
    """Write what vitserve's own settings cost beside one another."""
    threads = results["threads"]
    rows = {s: best_of({s: rounds}) for s, rounds in alone.items()}
    for precision in ("f32", "bf16", "int8"):
        rows[f"{precision}, threads {threads}, batch 1"] = bests.get(f"vitserve {precision}")
    rows = {s: b for s, b in rows.items() if b}
    out = []

    def ratio(text, slow, fast, want, form="{:.3f}", **how):
        if slow in rows and fast in rows and slow != fast:
            out.append(f"| {text} | {judged(rows[slow]['best'] / rows[fast]['best'], want, form, **how)} |")

    plain = f"f32, threads {threads}, batch 1"
    if plain in rows:
        out.append(f"| f32: fraction of the peak probe, best of each | {judged(rows[plain]['gflops'] / rows[plain]['peak'], OF_PEAK.get(model), '{:.3f}')} |")
    for precision in ("f32", "bf16", "int8"):
        p = f"{precision}, threads"
        ratio(f"{precision}: throughput of batch 8 on {threads} threads against 1 thread", f"{p} 1, batch 8", f"{p} {threads}, batch 8", THREADS)
        ratio(f"{precision}: throughput of batch 8 against batch 1", f"{p} {threads}, batch 1", f"{p} {threads}, batch 8", BATCH)
    ratio("f32: time with the class token's attention of every layer and head, against without", "attention class", plain, CLASS_ROWS.get(model), most=True)
    ratio("f32: time with every attention matrix, against without", "attention full", plain, MATRICES.get(model), most=True)
    return ["", "| vitserve beside itself | found | at least | aim |", "|---|---:|---:|---:|"] + out if out else []


def linear(results, model):
    """Write the linear layers' fractions of the peak."""
    gemm, short = results.get("gemm"), {B: "B", TI: "Ti"}.get(model)
    if not gemm or not short:
        return []
    if "error" in gemm:
        return ["", f"The linear layers alone were not measured: {gemm['error']}"]
    out = ["", "| linear layers on one core, fraction of the float32 peak | " + " | ".join(LAYERS) + " | weighted by their work |", "|---|" + "---:|" * (len(LAYERS) + 1)]
    for precision, found in gemm.items():
        each = {layer: found[f"{short}_{layer}"] for layer in LAYERS if f"{short}_{layer}" in found}
        if len(each) < len(LAYERS):
            continue
        whole = sum(LAYERS.values()) / sum(work / each[layer] for layer, work in LAYERS.items())
        cell = lambda v, want: f"**{v:.3f}**" if precision == "f32" and v < want[0] else f"{v:.3f}"
        out.append(f"| {precision} | " + " | ".join(cell(v, LAYER) for v in each.values()) + f" | {cell(whole, WEIGHTED)} |")
    out.append("| f32, at least; aim | " + " | ".join([f"{LAYER[0]:.2f}; {LAYER[1]:.2f}"] * len(LAYERS)) + f" | {WEIGHTED[0]:.2f}; {WEIGHTED[1]:.2f} |")
    return out


def settings(names, bests):
    """Write the settings that lost."""
    lost = []
    for name in sorted(bests):
        found = [(min(r["best"] for r in rounds if "best" in r), s) for s, rounds in names[name].items() if any("best" in r for r in rounds)]
        said = [f"{s} {ms:.2f}" for ms, s in sorted(found)[1:]]
        said += [f"{s}: {r['error']}" for s, rounds in names[name].items() for r in rounds if "error" in r]
        if said:
            lost.append(f"{name}: " + "; ".join(said))
    return ["", "Settings that lost, best ms:", ""] + [f"- {line}" for line in lost] if lost else []


def footprint(results):
    """Write memory and start."""
    checks = results.get("footprint")
    if not checks:
        return []
    out = ["### Memory and start", "", "| | at most | found | |", "|---|---:|---:|---|"]
    for c in checks:
        if "error" in c:
            out.append(f"| not measured: {c['error']} | | | |")
        elif "what" in c:
            said = f"{c['found']:.1f} {c['unit']}"
            most = f"{c['wanted']:.1f} {c['unit']}" if c["wanted"] else "–"
            out.append(f"| {c['what']} | {most} | {said if c['ok'] else '**' + said + '**'} | {c['note']} |")
    return out + [""]


def about(root, arguments):
    """Say where, when and from what a run is made; the processor's name is the section's key."""
    git = lambda *a: subprocess.run(["git", *a], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    # Paths are this machine's own and say nothing.
    skip, said = {"--python", "--graphs"}, []
    for i, a in enumerate(arguments):
        if a.split("=")[0] not in skip and (i == 0 or arguments[i - 1] not in skip):
            said.append(a)
    return {
        "cpu": cpu(),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}",
        "load": os.getloadavg()[0],
        "commit": git("rev-parse", "--short=12", "HEAD") + (" with changes" if git("status", "--porcelain", "--", "*.go", "*.s") else ""),
        "go": subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout.split()[2],
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python3", "scripts/bench/run.py", *said]),
    }


def cpu():
    """Name the processor."""
    fields = {}
    try:
        for line in open("/proc/cpuinfo"):
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def section(results):
    """Write the section of this machine."""
    a = results["about"]
    load = f"; load average before {a['load']:.1f}" if a["load"] > 0.5 else ""
    out = [
        f"## {a['cpu']}",
        "",
        f"- machine: {a['machine']}{load}",
        f"- commit: {a['commit']}; {a['go']}; {a['date']}",
        f"- command: `{a['command']}`",
        "- bold: short of what was wanted",
    ]
    for precision, why in results["refused"].items():
        out.append(f"- left out: {precision}, which vitserve refuses on this machine ({why}), and peers in it")
    return "\n".join(out + [""] + models(results) + footprint(results))


BEGIN, END = "<!-- machine: {}; written by scripts/bench/run.py -->", "<!-- end of machine -->"


def write(document, results, text):
    """Put the section into the document, in place of the same machine's if it has one, else before the others."""
    whole = document.read_text()
    begin = BEGIN.format(results["about"]["cpu"])
    new = f"{begin}\n\n{text}\n{END}"
    if begin in whole:
        head, rest = whole.split(begin, 1)
        whole = head + new + rest.split(END, 1)[1]
    else:
        head, mark, rest = whole.partition(BEGIN.split("{}")[0])
        whole = f"{head}{new}\n\n{mark}{rest}" if mark else f"{head.rstrip()}\n\n{new}\n"
    document.write_text(whole)
