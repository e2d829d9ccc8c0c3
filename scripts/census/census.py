"""Holds vitserve to timm and transformers over whole libraries of models.

Each case is a checkpoint of random weights that shows faults, saved as the
libraries save them, and two pictures; vitserve's tensors and answers are held
to the library's own. See README.md beside it.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import shutil
import sys
import time
import traceback
import zlib

import numpy as np

import pictures as drawn
from judge import Crash, Program, Refused, answers_digest, judge

os.environ["HF_HUB_OFFLINE"] = "1"  # no case needs the hub

SOURCES = ["timm", "hf", "form"]
VERDICTS = ["exact", "wrong", "refused", "crash", "error"]
HERE = pathlib.Path(__file__).parent


def source(name):
    """The module of a source, which is slow to import."""
    if name == "timm":
        import from_timm as module
    elif name == "hf":
        import from_transformers as module
    else:
        import forms as module
    return module


def key(case):
    return f"{case['source']}/{case['name']}"


def recorded(path):
    """Result lines by case; of several the last."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {key(r): r for r in lines}


def program_text(module, name):
    """What a kept reference depends on."""
    files = [HERE / f"{n}.py" for n in ("weights", "pictures", module.__name__)]
    text = b"".join(f.read_bytes() for f in files) + module.facts(name).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def reference(module, name, seed, folder, kept, shown):
    """Builds a case in folder and returns the library's answers and the fields
    that the source has of it, from the last run where they are kept."""
    import torch

    torch.manual_seed(seed)  # what a library draws itself, such as frequencies that are learned
    model = module.build(name, seed, folder)
    if kept.exists():
        with np.load(kept) as f:
            return {k: f[k] for k in f.files}
    out = module.answers(model, drawn.opened(shown))
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, **out)
    return out


def one(o, module, family, name, shown):
    """Runs one case and returns its result line."""
    began = time.time()
    folder = o.work / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seed = zlib.crc32(name.encode())
    line = {"source": o.source, "family": family, "name": name}
    kept = o.work / "references" / o.source / f"{name.replace('/', '+')}-{program_text(module, name)}.npz"
    try:
        want = reference(module, name, seed, folder, kept, shown)
    except Exception as e:  # the library's own refusal
        traceback.print_exc(file=sys.stderr)
        return line | {"verdict": "error", "why": f"{type(e).__name__}: {e}"[:500]}
    referred = time.time() - began
    line |= judge(Program(o.vitserve, module.flags(name)), folder, shown, want, o.work)
    if o.base and o.source != "form":
        line["base"] = against(o, folder, shown, want)
    shutil.rmtree(folder, ignore_errors=True)
    return line | {"seconds": [round(referred, 1), round(time.time() - began - referred, 1)]}


def against(o, folder, shown, want):
    """Says whether another build answers the same to the bit."""
    classes = len(want["logits0"]) if "logits0" in want else 0
    try:
        theirs = answers_digest(Program(o.base), folder, shown, classes)
    except (Refused, Crash) as e:
        return f"refused: {e}"[:200]
    try:
        return "same" if answers_digest(Program(o.vitserve), folder, shown, classes) == theirs else "differs"
    except (Refused, Crash) as e:
        return f"differs: {e}"[:200]


def run(o):
    shown = drawn.make(o.work)
    done = {} if o.again else recorded(o.out)
    for o.source in o.sources:
        module = source(o.source)
        for family, name in module.cases():
            case = {"source": o.source, "name": name}
            if o.family and family not in o.family or o.only and not any(part in name for part in o.only) or key(case) in done:
                continue
            line = one(o, module, family, name, shown)
            with open(o.out, "a") as f:
                f.write(json.dumps(line) + "\n")
            print(f"{line['verdict']:8} {o.source} {family} {name} {line.get('why', '')[:300]} {line.get('seconds', '')}", flush=True)


def table(lines):
    """The totals of result lines, as text."""
    counts = collections.defaultdict(collections.Counter)
    for r in lines:
        for family in (r["family"], "ALL"):
            counts[SOURCES.index(r["source"]), family == "ALL", family][r["verdict"]] += 1
    out = [f"{'source':7} {'family':16}" + f"{'all':>5}" + "".join(f"{v:>9}" for v in VERDICTS)]
    for s, last, family in sorted(counts):
        c = counts[s, last, family]
        out.append(f"{SOURCES[s]:7} {family:16}{sum(c.values()):>5}" + "".join(f"{c[v] or '':>9}" for v in VERDICTS))
    return "\n".join(line.rstrip() for line in out)


def write(path, text, mark="census"):
    """Puts text between the two marks of a document."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, rest = path.read_text().split(begin)
    _, after = rest.split(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("command", choices=["run", "list", "table", "families", "precision", "sensitivity"])
    p.add_argument("--vitserve", type=pathlib.Path, default="./vitserve", help="the program that is held to the libraries")
    p.add_argument("--base", type=pathlib.Path, help="another build, which must answer the same to the bit")
    p.add_argument("--source", dest="sources", action="append", choices=SOURCES, help="one or more; default all")
    p.add_argument("--family", action="append", help="one or more; default all")
    p.add_argument("--only", action="append", help="part of the name of a case; one or more")
    p.add_argument("--out", type=pathlib.Path, default="census.jsonl", help="result lines; cases that it has are not run again")
    p.add_argument("--again", action="store_true", help="run also the cases that --out has")
    p.add_argument("--work", type=pathlib.Path, default="/tmp/census", help="folder for checkpoints and for references, which are kept")
    p.add_argument("--write", type=pathlib.Path, help="document between whose marks the table of these results goes")
    p.add_argument("--threads", type=int, default=1, help="of the libraries")
    o = p.parse_args()
    o.sources = o.sources or SOURCES
    if o.command == "table":
        lines = [r for r in recorded(o.out).values() if r["source"] in o.sources]
        print(table(lines))
        if o.write:
            write(o.write, f"```\n{table(lines)}\n```")
        return
    if o.command == "families":
        import families

        text = families.table()
        print(text)
        if o.write:
            write(o.write, text, "families")
        return
    import torch

    torch.set_num_threads(o.threads)
    o.work.mkdir(parents=True, exist_ok=True)
    if o.command == "list":
        for s in o.sources:
            for family, name in source(s).cases():
                print(s, family, name)
    elif o.command == "precision":
        import precision

        o.vitserve = o.vitserve.resolve()
        shown = drawn.make(o.work)
        text = precision.main(o, shown, drawn.opened(shown))
        if o.write:
            write(o.write, text, "precision")
    elif o.command == "sensitivity":
        import sensitivity

        sensitivity.main(drawn.opened(drawn.make(o.work)))
    else:
        o.vitserve = o.vitserve.resolve()
        run(o)


if __name__ == "__main__":
    main()
