"""Compares two builds of vitserve: pairs of processes, in turn, each `vitserve
bench` of a preset and a precision; prints the median of the ratios A/B.

    python3 scripts/bench/pairs.py A B [--pairs 20] [--realtime]

--realtime gives both a real-time priority (chrt, as root), so that other work
on the machine waits for them.
"""

import argparse
import json
import statistics
import subprocess


def milliseconds(program, preset, precision, runs, realtime):
    command = [program, "bench", "--preset", preset, "--precision", precision, "--json", "--runs", str(runs), "--seconds", "0.2"]
    if realtime:
        command = ["chrt", "-f", "50", *command]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])["ms_median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--realtime", action="store_true")
    o = parser.parse_args()
    for preset, runs in (("deit_tiny_patch16_224", 40), ("vit_base_patch16_224", 8)):
        for precision in ("f32", "bf16", "int8"):
            ratios = []
            for i in range(o.pairs):
                order = (o.a, o.b) if i % 2 == 0 else (o.b, o.a)
                ms = {p: milliseconds(p, preset, precision, runs, o.realtime) for p in order}
                ratios.append(ms[o.a] / ms[o.b])
            print(f"{preset} {precision}: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}", flush=True)


main()
