"""How far bf16 and int8 are from the library, family by family: the normalised
mean squared error of logits, or of features where there is no head,

    Σ (got - want)² / Σ want²

over both pictures, of one of timm's models of each family with real widths and
two blocks. What softmax does not tell, the mean of the logits, is left out of
both."""

import csv
import pathlib
import shutil
import sys
import zlib

import numpy as np

import from_timm
from judge import Program, Refused, embeddings, scores

ARCHS = pathlib.Path(__file__).parent.parent.parent / "models" / "timm_archs.csv"
PRECISIONS = ["f32", "bf16", "int8"]


def chosen():
    """One case of each family: the one nearest to a dim of 768 at the smallest input."""
    with open(ARCHS, newline="") as f:
        dims = {row["arch"]: int(row["dim"]) for row in csv.DictReader(f)}
    best = {}
    for family, name in from_timm.cases():
        arch = name.split(".")[0]
        if arch not in dims:
            continue
        rank = abs(dims[arch] - 768), from_timm.timm.get_pretrained_cfg(name).input_size[-1], name
        best[family] = min(rank, best.get(family, rank))
    return {family: name for family, (_, _, name) in sorted(best.items())}


def error(got, want):
    got, want = (np.concatenate([x.reshape(-1).astype(np.float64) for x in xs]) for xs in (got, want))
    return float(((got - want) ** 2).sum() / (want**2).sum())


def centred(xs):
    return [x - x.mean() for x in (np.asarray(x, np.float64) for x in xs)]


def measured(o, name, folder, shown, pictures):
    """The error in each precision."""
    model = from_timm.build(name, zlib.crc32(name.encode()), folder)
    want = from_timm.answers(model, pictures)
    out = []
    for precision in PRECISIONS:
        program = Program(o.vitserve)
        flags = ["--precision", precision]
        try:
            wanted = [want[f"logits{i}"] for i in range(len(shown))]
            out.append(error(centred([np.log(s) for s in scores(program, folder, shown, *flags)]), centred(wanted)))
        except (KeyError, Refused):
            kind = next(k for k in ("logits", "features", "grid") if f"{k}0" in want)
            wanted = [want[f"{kind}{i}"] for i in range(len(shown))]
            pool = "grid" if kind == "grid" else "model"
            out.append(error(embeddings(Program(o.vitserve, flags), folder, shown, pool), wanted))
    return out


def main(o, shown, pictures):
    rows = ["| family | model | f32 | bf16 | int8 |", "|---|---|---|---|---|"]
    for family, name in chosen().items():
        if o.family and family not in o.family:
            continue
        folder = o.work / "precision"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            found = measured(o, name, folder, shown, pictures)
        except Refused as e:
            print(f"{family} {name}: {e}", file=sys.stderr, flush=True)
            continue
        rows.append(f"| {family} | `{name}` | " + " | ".join(f"{x:.1e}" for x in found) + " |")
        print(rows[-1], flush=True)
        shutil.rmtree(folder)
    return "\n".join(rows)
