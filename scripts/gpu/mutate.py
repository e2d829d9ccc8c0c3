#!/usr/bin/env python3
"""Plants faults in the GPU's kernels and driver, one at a time: the tests must notice each.

    python3 scripts/gpu/mutate.py              all of mutants.py; prints a table, fails if one goes unnoticed
    python3 scripts/gpu/mutate.py --only WORD  those whose file or reason matches, a regular expression
    python3 scripts/gpu/mutate.py --list       the table without answers

Each runs on the stand-in for NVIDIA's driver with threads and groups from the first to the last, and from the last to the
first. Needs Go and g++, no GPU. Without a fault the same tests have to pass, or nothing is said at all.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from mutants import MUTANTS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
GPU = ROOT / "backend" / "gpu"
ORDERS = ["forward", "reverse"]
FLAGS = "-std=c++17 -O1 -ffp-contract=off -mfma -Wno-unknown-pragmas -shared -fPIC".split()
SECONDS = 900  # of the tests of one fault; who takes longer hangs


def pattern(tests, order):
    """What -test.run gets: parts of the suite by their names, or tests, which begin with Test."""
    own = [n if n.startswith("Test") else f"TestCUDA/{order}/{n}" for n in tests.split()]
    return "|".join("/".join(f"^{part}$" for part in n.split("/")) for n in own)


def exchange(file, old, new):
    text = (GPU / file).read_text()
    if text.count(old) != 1:
        sys.exit(f"{file}: {old!r} stands there {text.count(old)} times, want once")
    return text.replace(old, new)


def run(*command, **more):
    return subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def library(folder, kernels):
    """Builds the stand-in with kernels of a folder."""
    out, source = folder / "libcuda.so.1", GPU / "standin" / "src"
    made = run("g++", *FLAGS, "-I", source, "-I", kernels, "-o", out, source / "standin.cpp", "-lpthread", "-ldl")
    return out, made


def program(folder, overlay=None):
    """Builds the program of the tests; overlay puts files in the places of others."""
    out = folder / "gpu.test"
    more = []
    if overlay:
        (folder / "overlay.json").write_text(json.dumps({"Replace": {str(k): str(v) for k, v in overlay.items()}}))
        more = ["-overlay", folder / "overlay.json"]
    return out, run("go", "test", "-c", *more, "-o", out, "./backend/gpu", cwd=ROOT)


def ask(tests, order, driver, binary):
    """Returns what the tests say of a fault: nothing if they pass."""
    env = {**os.environ, "VITSERVE_GPU_TESTS": "installed", "VITSERVE_CUDA": str(driver), "STANDIN_ORDER": order}
    try:
        done = run(binary, "-test.run", pattern(tests, order), "-test.skip", "/opencl", "-test.failfast", cwd=GPU, env=env, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "hangs"
    if "no tests to run" in done.stdout:
        sys.exit(f"{tests}: no such tests")
    if done.returncode == 0:
        return ""
    for found in [r"^(standin: .*)$", r"(SIGSEGV|SIGFPE)", r"(nmse [^;]*)", r"(panic: .*)", r"Error:\s*(\S.*)", r"--- FAIL: (\S+)"]:
        if m := re.search(found, done.stdout, re.M):
            return m[1].strip()[:60]
    return f"rc {done.returncode}"


def plant(number, base):
    """Plants a fault and returns what the tests say in both orders."""
    file, old, new, _, tests = MUTANTS[number]
    folder = pathlib.Path(tempfile.mkdtemp(dir=base))
    text = exchange(file, old, new)
    driver, binary = base / "libcuda.so.1", base / "gpu.test"
    if file.startswith("kernels/"):
        shutil.copytree(GPU / "kernels", folder / "kernels")
        (folder / file).write_text(text)
        driver, made = library(folder, folder / "kernels")
    else:
        changed = folder / pathlib.Path(file).name
        changed.write_text(text)
        binary, made = program(folder, {GPU / file: changed})
    if made.returncode:
        sys.exit(f"{file}: {new!r} does not compile:\n{made.stdout}")
    said = [ask(tests, order, driver, binary) for order in ORDERS]
    shutil.rmtree(folder)
    return said


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="", metavar="WORD")
    p.add_argument("--list", action="store_true")
    p.add_argument("--jobs", type=int, default=2)
    args = p.parse_args()
    chosen = [i for i, (file, _, _, why, _) in enumerate(MUTANTS) if re.search(args.only, f"{file} {why}")]
    for i in chosen:
        exchange(*MUTANTS[i][:3])
        tests = MUTANTS[i][4]
        if args.list:
            print(f"| {MUTANTS[i][0]} | {MUTANTS[i][3]} | {tests.replace('|', ', ')} |")
    if args.list:
        return
    with tempfile.TemporaryDirectory() as base:
        base = pathlib.Path(base)
        for _, made in [library(base, GPU / "kernels"), program(base)]:
            if made.returncode:
                sys.exit(made.stdout)
        tests = " ".join(sorted({t for i in chosen for t in MUTANTS[i][4].split()}))
        for order in ORDERS:
            if said := ask(tests, order, base / "libcuda.so.1", base / "gpu.test"):
                sys.exit(f"without a fault, {order}: {said}")
        print("without a fault: they pass", flush=True)
        missed = 0
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            for i, said in zip(chosen, pool.map(lambda i: plant(i, base), chosen)):
                missed += not any(said)
                print(f"| {MUTANTS[i][0]} | {MUTANTS[i][3]} | " + " | ".join(s.replace("|", "/") or "-" for s in said) + " |", flush=True)
        print(f"{len(chosen) - missed} of {len(chosen)} noticed")
        sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
