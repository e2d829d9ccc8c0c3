"""Runs vitserve on a saved checkpoint and holds its answers to a reference."""

import hashlib
import json
import subprocess

import numpy as np

LIMIT = 2e-5  # of the largest logit


class Refused(Exception):
    pass


class Crash(Exception):
    pass


def run(program, *args, timeout=300):
    """Runs vitserve and returns its standard output."""
    try:
        p = subprocess.run([program, *map(str, args)], capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise Crash(f"no answer in {timeout} s") from late
    err = p.stderr.decode(errors="replace").strip()
    if p.returncode < 0 or "goroutine " in err or "panic" in err:
        raise Crash(err[-2000:] or f"signal {-p.returncode}")
    if p.returncode != 0:
        raise Refused(err.splitlines()[-1] if err else f"exit code {p.returncode}")
    return p.stdout


def rows(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def scores(program, folder, pictures, *flags):
    """Scores by class, as vitserve tells them: (pictures, classes), float64."""
    out = []
    for row in rows(run(program, "classify", "--json", "--top", 0, "--model", folder, *flags, *pictures)):
        by_class = np.zeros(len(row["predictions"]))
        for p in row["predictions"]:
            by_class[p["index"]] = p["score"]
        out.append(by_class)
    return out


def embeddings(program, folder, pictures, pool="model"):
    found = rows(run(program, "embed", "--pool", pool, "--model", folder, *pictures))
    return [np.asarray(r["embedding"] if "embedding" in r else r["embeddings"], np.float32) for r in found]


def far(got, want):
    """The largest difference, of the largest value."""
    if got.shape != want.shape:
        return f"shape {got.shape}, want {want.shape}"
    if not np.isfinite(got).all():
        return "not finite"
    return float(np.abs(got.astype(np.float64) - want).max() / max(np.abs(want).max(), 1e-30))


def score_distance(got, logits, scoring):
    """The difference of logits that scores show, of the largest logit."""
    logits = logits.astype(np.float64)
    if got.shape != logits.shape:
        return f"{got.size} classes, want {logits.size}"
    if scoring == "raw":
        return far(got, logits)
    with np.errstate(divide="ignore"):
        if scoring == "sigmoid":
            found, want = np.log(got) - np.log1p(-got), logits
        else:
            top = logits.max()
            found, want = np.log(got), logits - top - np.log(np.exp(logits - top).sum())
    return float(np.abs(found - want).max() / max(np.abs(logits).max(), 1e-30))


def tensor_of(program, folder, picture, at):
    run(program, "inspect", folder, "--image", picture, "--npy", at)
    return np.load(at)


def judge(program, folder, pictures, reference, scratch, scoring="softmax"):
    """Returns the verdict on a checkpoint as the fields of a result line."""
    try:
        return held(program, folder, pictures, reference, scratch, scoring)
    except Refused as e:
        return {"verdict": "refused", "why": clean(str(e), folder)}
    except Crash as e:
        return {"verdict": "crash", "why": clean(str(e), folder)}


def clean(text, folder):
    return text.replace(str(folder), "MODEL")


def held(program, folder, pictures, reference, scratch, scoring):
    n = len(pictures)
    report = json.loads(inspected(program, folder))
    if "refused" in report:
        return {"verdict": "refused", "why": clean(report["refused"], folder)}
    wrong, worst, tensors = [], 0.0, "equal"
    for i, p in enumerate(pictures):
        if f"tensor{i}" not in reference:
            tensors = "not compared"
            continue
        got, want = tensor_of(program, folder, p, scratch / "tensor.npy"), reference[f"tensor{i}"]
        if got.shape != want.shape:
            wrong.append(f"tensor of {p.name}: shape {got.shape}, want {want.shape}")
        elif not np.array_equal(got, want):
            off = np.abs(got - want)
            wrong.append(f"tensor of {p.name}: off by {off.max():.3g} at {(off > 0).mean():.2%} of its values")
            tensors = "differ"

    def hold(what, distance):
        nonlocal worst
        if isinstance(distance, str):
            wrong.append(f"{what}: {distance}")
            return
        worst = max(worst, distance)
        if not distance <= LIMIT:
            wrong.append(f"{what}: off by {distance:.3g} of the largest")

    projects = (report.get("config") or {}).get("Projection", 0) > 0
    if "logits0" in reference and not projects:
        for i, got in enumerate(scores(program, folder, pictures)):
            hold(f"logits of {pictures[i].name}", score_distance(got, reference[f"logits{i}"], report.get("scores", scoring)))
        if report.get("scores", scoring) != scoring:
            wrong.append(f"scores by {report.get('scores')}, want {scoring}")
    embedded = "logits" if projects and "logits0" in reference else "features"
    if f"{embedded}0" in reference:
        for i, got in enumerate(embeddings(program, folder, pictures)):
            hold(f"{embedded} of {pictures[i].name}", far(got.reshape(-1), reference[f"{embedded}{i}"]))
    if "grid0" in reference:
        for i, got in enumerate(embeddings(program, folder, pictures, "grid")):
            want = reference[f"grid{i}"]
            hold(f"patches of {pictures[i].name}", far(got.reshape(-1, got.shape[-1]), want))
    out = {"verdict": "wrong" if wrong else "exact", "far": worst, "tensors": tensors}
    if wrong:
        out["why"] = "; ".join(wrong)
    assert n == 2
    return out


def inspected(program, folder):
    """The report of inspect, also of a model that it refuses."""
    try:
        p = subprocess.run([program, "inspect", "--json", str(folder)], capture_output=True, timeout=300)
    except subprocess.TimeoutExpired as late:
        raise Crash("inspect: no answer in 300 s") from late
    err = p.stderr.decode(errors="replace").strip()
    if p.returncode < 0 or "goroutine " in err:
        raise Crash(err[-2000:])
    if not p.stdout.strip():
        raise Refused(err.splitlines()[-1] if err else f"exit code {p.returncode}")
    return p.stdout


def answers_digest(program, folder, pictures, classes):
    """The sha256 of everything that a program answers, to hold two builds to
    each other bit by bit. With classes, labels are given, so that the head of
    an image tower counts as one of classes in every build."""
    h = hashlib.sha256()
    if classes:
        names = folder / "labels.txt"
        names.write_text("".join(f"c{i}\n" for i in range(classes)))
        for s in scores(program, folder, pictures, "--labels", names):
            h.update(s.tobytes())
    else:
        for e in embeddings(program, folder, pictures):
            h.update(e.tobytes())
    return h.hexdigest()
