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


class Program:
    """A build of vitserve, with flags about the model for every command."""

    def __init__(self, path, flags=()):
        self.path, self.flags = path, list(flags)

    def run(self, *args, timeout=300, refusals=True):
        """Returns standard output. refusals=False: also of a model that is refused."""
        command = [self.path, *map(str, args)]
        if args[0] != "convert":
            command += self.flags
        try:
            p = subprocess.run(command, capture_output=True, timeout=timeout)
        except subprocess.TimeoutExpired as late:
            raise Crash(f"{args[0]}: no answer in {timeout} s") from late
        err = p.stderr.decode(errors="replace").strip()
        if p.returncode < 0 or "goroutine " in err:
            raise Crash(err[-2000:] or f"signal {-p.returncode}")
        if p.returncode != 0 and (refusals or not p.stdout.strip()):
            raise Refused(err.splitlines()[-1] if err else f"exit code {p.returncode}")
        return p.stdout


def rows(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def scores(program, folder, pictures, *flags):
    """Scores by class, as vitserve tells them: (pictures, classes), float64."""
    out = []
    for row in rows(program.run("classify", "--json", "--top", 0, "--model", folder, *flags, *pictures)):
        by_class = np.zeros(len(row["predictions"]))
        for p in row["predictions"]:
            by_class[p["index"]] = p["score"]
        out.append(by_class)
    return out


def embeddings(program, folder, pictures, pool="model"):
    found = rows(program.run("embed", "--pool", pool, "--model", folder, *pictures))
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
    program.run("inspect", folder, "--image", picture, "--npy", at)
    return np.load(at)


def judge(program, folder, pictures, reference, scratch):
    """Returns the verdict on a checkpoint as the fields of a result line."""
    try:
        convert(program, folder)
        out = held(program, folder, pictures, reference, scratch)
    except Refused as e:
        out = {"verdict": "refused", "why": str(e)}
    except Crash as e:
        out = {"verdict": "crash", "why": str(e)}
    if "why" in out:
        out["why"] = out["why"].replace(str(folder), "MODEL")
    if "fails" in reference:
        out["library"] = str(reference["fails"])
        if out["verdict"] != "refused":
            out |= {"verdict": "wrong", "why": "it answers what the library refuses"}
    return out


def convert(program, folder):
    """Makes safetensors of a pickle."""
    pickle = next((p for p in sorted(folder.iterdir()) if p.suffix in (".bin", ".pth", ".pt", ".ckpt")), None)
    if pickle is not None:
        program.run("convert", pickle, "-o", folder / "model.safetensors")
        pickle.unlink()


def held(program, folder, pictures, reference, scratch):
    report = json.loads(program.run("inspect", "--json", folder, refusals=False))
    if "refused" in report:
        return {"verdict": "refused", "why": report["refused"]}
    scoring = str(reference.get("scoring", "softmax"))
    if "fails" in reference:
        scores(program, folder, pictures)
        return {"verdict": "exact"}
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
    return out


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
