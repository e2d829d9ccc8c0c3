"""Holds the cost of a whole robustness run: ImageNet-C's 15 corruptions x 5 severities on every photo.

    python3 scripts/robust/whole.py ./vitserve MODEL_FOLDER PHOTOS LABELS_CSV

With the 250 photos of data/nips2017 these are 18,750 pictures, and the clean photos. Between measurements of the network
alone (vitserve bench at the batch size of the run), before and after, the run is timed on all cores. Prints both times,
by the clock and by the processor, their ratios, and the most memory that was resident with a tenth of the photos and with
all of them. Ends with 1 if the run takes more than 1.25 times what the network alone takes for its pictures, or if memory
grows by more than the 64 MiB that a report's summary may take, however many photos there are. It takes about five minutes on two cores with DeiT-tiny; a machine with other work makes the
clock useless, and the processor's time is still worth something. Needs Python's standard library alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

BATCH = 8  # of vitserve robust by default
MOST, GROWTH = 1.25, 64


def timed(command, quiet=False):
    """Returns seconds by the clock, seconds of the processor, bytes that were resident at most, and the output."""
    with tempfile.TemporaryFile() as out:
        begun = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL if quiet else None)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        if child.returncode:
            sys.exit(f"{' '.join(command)}: exit code {child.returncode}")
        out.seek(0)
        return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, out.read().decode()


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    program, model, photos, labels = sys.argv[1:]
    n = sum(1 for line in open(labels) if line.strip()) - 1
    pictures = n * (15 * 5 + 1)

    def network():
        command = [program, "bench", "--model", model, "--precision", "f32", "--batch", str(BATCH), "--seconds", "15", "--json"]
        clock, processor, _, out = timed(command, quiet=True)
        b = json.loads(out.splitlines()[-1])
        return b["ms_median"], b["ms_per_image"], b["threads"]

    with tempfile.TemporaryDirectory() as here:

        def run(limit):
            command = [program, "robust", "--model", model, "--truth", labels, photos, "--gallery", "0"]
            return timed(command + ["--limit", str(limit), "--out", os.path.join(here, f"{limit}.json")], quiet=True)

        before = network()
        few = run(max(n // 10, 1))
        whole = run(n)
        after = network()
    median = (before[0] + after[0]) / 2
    best, threads = min(before[1], after[1]), before[2]
    alone = pictures * median / 1000
    print(f"pictures              {pictures} ({n} photos, clean and 75 times disturbed)")
    print(f"network alone         {alone:.1f} s by the clock, median of {before[0]:.2f} and {after[0]:.2f} ms a picture (best {best:.2f}) on {threads} threads")
    print(f"the whole run         {whole[0]:.1f} s by the clock, {whole[1]:.1f} s of the processor")
    ratio = whole[0] / alone
    print(f"ratio                 {ratio:.3f} by the clock, at most {MOST}; {whole[1] / (alone * threads):.3f} by the processor")
    growth = (whole[2] - few[2]) / 2**20
    print(f"memory at most        {few[2] / 2**20:.0f} MiB with {max(n // 10, 1)} photos, {whole[2] / 2**20:.0f} MiB with {n}: {growth:+.0f} MiB, at most {GROWTH:+}")
    if ratio > MOST or growth > GROWTH:
        sys.exit("out of bounds")


main()
