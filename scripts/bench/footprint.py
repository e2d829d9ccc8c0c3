"""Measure vitserve's memory and its start, against the bounds that it promises.

    python3 scripts/bench/run.py --install      # once: a venv with numpy in .venv
    .venv/bin/python scripts/bench/footprint.py
    .venv/bin/python scripts/bench/footprint.py --precisions f32 --json
    chrt -f 10 .venv/bin/python scripts/bench/footprint.py      # on a machine that others use

Memory: a server with ViT-B classifies 100 photos of 640×480, one after the
other. Its anonymous resident memory (/proc/PID/smaps_rollup; the map of the weight
file is not anonymous) must stay within 1.25 × the weights in the chosen precision
+ 64 MiB, and in the 900 photos after them it must not grow. Until then it rises by what the
garbage collector lets lie, which is said, too; and so is, without a bound, what
eight clients at once take.

Start: from the birth of the process to its first answer with DeiT-Ti, by the command
line and by the server, the weight file being in the system's cache; the median of 20
must be within 150 ms.

Weights are random, photos drawn by scripts/load; both are made on the first run.
A precision that the machine lacks is left out and named. The exit code is 1 if a
bound is broken.
"""

import argparse
import http.client
import itertools
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

import graphs

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MIB = 1 << 20
BYTES = {"f32": 4, "bf16": 2, "int8": 1}  # of a weight

# The bounds. Growth is, soon, of the highest among the requests up to SOON over the
# highest among the first REQUESTS, which moves with the garbage collector; and, late,
# of the median of the last WINDOW requests over that of the WINDOW after REQUESTS,
# which does not. A page of the system's, 2 MiB, is no growth.
TIMES_WEIGHTS, BESIDE, GROWTH, START_MS = 1.25, 64 * MIB, 2 * MIB, 150.0
EARLY, REQUESTS, SOON, LATE, WINDOW, CLIENTS = 10, 100, 300, 1000, 200, 8


def tensors(name):
    """Return {timm's name: shape} of a preset's weights."""
    dim, depth, _ = graphs.SIZES[name]
    shapes = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, (graphs.IMAGE // graphs.PATCH) ** 2 + 1, dim),
        "patch_embed.proj.weight": (dim, 3, graphs.PATCH, graphs.PATCH),
        "patch_embed.proj.bias": (dim,),
    }

    def linear(at, out, into):
        shapes[at + ".weight"], shapes[at + ".bias"] = (out, into), (out,)

    def norm(at):
        shapes[at + ".weight"] = shapes[at + ".bias"] = (dim,)

    for i in range(depth):
        at = f"blocks.{i}."
        norm(at + "norm1")
        linear(at + "attn.qkv", 3 * dim, dim)
        linear(at + "attn.proj", dim, dim)
        norm(at + "norm2")
        linear(at + "mlp.fc1", 4 * dim, dim)
        linear(at + "mlp.fc2", dim, 4 * dim)
    norm("norm")
    linear("head", graphs.CLASSES, dim)
    return shapes


def parameters(name):
    """Return how many weights a preset has."""
    return sum(int(np.prod(shape)) for shape in tensors(name).values())


def checkpoint(name, folder):
    """Write a preset with random weights, as timm names them, if it is not there yet."""
    if (folder / "model.safetensors").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": name,
        "num_classes": graphs.CLASSES,
        "global_pool": "token",
        "pretrained_cfg": {
            "input_size": [3, graphs.IMAGE, graphs.IMAGE], "interpolation": "bicubic", "crop_pct": 0.9,
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for key, shape in tensors(name).items():
        end = at + 4 * int(np.prod(shape))
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(1)
    unfinished = folder / "unfinished"
    with open(unfinished, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for key, shape in tensors(name).items():
            # Matrices keep the variance of what they are applied to.
            values = rng.standard_normal(shape, np.float32)
            values *= np.prod(shape[1:]) ** -0.5 if len(shape) > 1 and "weight" in key else 0.1
            if "norm" in key and "weight" in key:
                values += 1
            f.write(values.tobytes())
    unfinished.rename(folder / "model.safetensors")


def pictures(folder):
    """Return photos of 640×480 as bytes and the path of one of them."""
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["go", "run", "./scripts/load", "-write", str(folder)], cwd=ROOT, check=True)
    files = sorted(folder.glob("*.jpg"))
    return [f.read_bytes() for f in files], files[0]


class Server:
    """A running vitserve serve, ended at the end of a with."""

    def __init__(self, binary, model, precision):
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [binary, "serve", "--addr", f"127.0.0.1:{self.port}", "--model", str(model), "--precision", precision, "--log-level", "error"],
            stderr=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def wait(self, photo):
        """Ask until there is an answer and return how long that took since the start."""
        while time.perf_counter() < self.begun + 60:
            if self.process.poll() is not None:
                raise RuntimeError("vitserve serve ended: " + self.process.stderr.read().decode().strip())
            try:
                ready = self.send("GET", "/readyz")[0] == 200
            except ConnectionError:
                ready = False
            if ready:
                self.ask(photo)
                return time.perf_counter() - self.begun
            time.sleep(0.002)
        raise RuntimeError("not ready in a minute")

    def send(self, method, path, body=None, connection=None):
        """Send a request, over a connection of its own if none is given; return status and text."""
        c = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            c.request(method, path, body)
            reply = c.getresponse()
            return reply.status, reply.read().decode()
        finally:
            if not connection:
                c.close()

    def ask(self, photo, connection=None):
        """Classify a photo."""
        status, text = self.send("POST", "/v1/classify", photo, connection)
        if status != 200:
            raise RuntimeError(f"status {status}: {text}")

    def anonymous(self):
        """Return the bytes of anonymous memory that are resident."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as f:
            return next(1024 * int(line.split()[1]) for line in f if line.startswith("Anonymous:"))


def lacking(binary, precision, photo):
    """Return why this machine refuses a precision, or "". """
    done = subprocess.run([binary, "classify", "--precision", precision, str(photo)], capture_output=True, text=True)
    if done.returncode and "not supported" in done.stderr:
        return done.stderr.strip().splitlines()[-1].split(": ")[-1]
    done.check_returncode()
    return ""


def memory(binary, model, precision, photos):
    """Yield the checks of memory."""
    weights = parameters("vit_base_patch16_224") * BYTES[precision]
    bound = TIMES_WEIGHTS * weights + BESIDE
    what = f"ViT-B {precision}, anonymous memory"
    with Server(binary, model, precision) as server:
        server.wait(photos[0])
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        trace = []
        for photo in itertools.islice(itertools.cycle(photos), LATE):
            server.ask(photo, c)
            trace.append(server.anonymous() / MIB)
        early, at, soon = max(trace[:EARLY]), max(trace[:REQUESTS]), max(trace[REQUESTS:SOON])
        first, last = statistics.median(trace[REQUESTS:REQUESTS + WINDOW]), statistics.median(trace[-WINDOW:])
        yield check(f"{what} after {REQUESTS} classifications", "MiB", bound / MIB, trace[REQUESTS - 1], f"since request {EARLY} {at - early:+.1f}")
        yield check(f"{what}, growth from request {REQUESTS} to {SOON}", "MiB", GROWTH / MIB, soon - at)
        yield check(f"{what}, growth of the median to request {LATE}", "MiB", GROWTH / MIB, last - first, f"highest of all {max(trace):.1f}")

        todo, lock = iter(itertools.islice(itertools.cycle(photos), REQUESTS)), threading.Lock()

        def client():
            own = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            while True:
                with lock:
                    photo = next(todo, None)
                if photo is None:
                    return
                server.ask(photo, own)

        threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        # Activations of a whole batch, and as many photos decoded.
        yield check(f"{what} after {REQUESTS} more, {CLIENTS} at once", "MiB", None, server.anonymous() / MIB, "no bound is promised")


def starts(binary, model, precision, photo, n):
    """Yield the checks of the start."""
    first = []
    for _ in range(n):
        begun = time.perf_counter()
        command = [binary, "classify", "--json", "--model", str(model), "--precision", precision, str(photo)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as p:
            answer = p.stdout.readline()
            first.append(time.perf_counter() - begun)
            json.loads(answer)
    yield start("classify", precision, first)
    served, data = [], photo.read_bytes()
    for _ in range(n):
        with Server(binary, model, precision) as server:
            served.append(server.wait(data))
    yield start("serve", precision, served)


def start(command, precision, seconds):
    ms = [1e3 * s for s in seconds]
    return check(f"DeiT-Ti {precision}, {command}: process start to first answer, median of {len(ms)}", "ms", START_MS, statistics.median(ms), f"best {min(ms):.1f}")


def check(what, unit, wanted, found, note=""):
    """Return a finding beside the most it may be; None is no bound."""
    return {"what": what, "unit": unit, "wanted": wanted and round(wanted, 1), "found": round(found, 1), "ok": wanted is None or found <= wanted, "note": note}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--precisions", type=lambda s: s.split(","), default=list(BYTES), help="f32,bf16,int8")
    p.add_argument("--starts", type=int, default=20, help="processes that are started for a median")
    p.add_argument("--binary", help="vitserve; built without it")
    p.add_argument("--folder", type=pathlib.Path, default=ROOT / ".cache" / "bench", help="where weights and photos are kept")
    p.add_argument("--json", action="store_true", help="write a JSON object a line for each check")
    args = p.parse_args()
    if not args.binary:
        args.binary = str(args.folder / "vitserve")
        subprocess.run(["go", "build", "-o", args.binary, "./cmd/vitserve"], cwd=ROOT, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    models = {name: args.folder / name for name in ("vit_base_patch16_224", "deit_tiny_patch16_224")}
    for name, folder in models.items():
        checkpoint(name, folder)
    photos, one = pictures(args.folder / "photos")

    failed = False
    for precision in args.precisions:
        why = lacking(args.binary, precision, one)
        if why:
            print(json.dumps({"precision": precision, "refused": why}) if args.json else f"{precision}: refused on this machine, {why}", flush=True)
            continue
        checks = itertools.chain(
            memory(args.binary, models["vit_base_patch16_224"], precision, photos),
            starts(args.binary, models["deit_tiny_patch16_224"], precision, one, args.starts),
        )
        for c in checks:
            failed |= not c["ok"]
            note = f" ({c['note']})" if c["note"] else ""
            wanted = f"at most {c['wanted']} {c['unit']}, " if c["wanted"] else ""
            said = f"{'ok    ' if c['ok'] else 'BROKEN'}  {c['what']}: {wanted}found {c['found']} {c['unit']}{note}"
            print(json.dumps({"precision": precision, **c}) if args.json else said, flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
