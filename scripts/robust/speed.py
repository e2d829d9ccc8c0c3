# Times the corruptions of vitserve beside imagecorruptions', on one core, on
# 224 × 224 pixels: milliseconds of processor time, which other work on the
# machine disturbs least, the mean of five severities. Run it where the packages
# of requirements.txt are; it needs go.
#
#   python speed.py [PHOTO]
import math
import os
import pathlib
import re
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
root = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(root / "robust" / "corrupt" / "testdata"))
import numpy as np  # noqa: E402
import reference  # noqa: E402
from PIL import Image  # noqa: E402

if len(sys.argv) > 1:
    photo = np.asarray(Image.open(sys.argv[1]).convert("RGB").resize((224, 224)))
else:
    y, x = np.mgrid[:224, :224]
    photo = np.stack([127 + 90 * np.sin(x / (9 + c) + y / (14 - c)) + (x * 31 + y * 17) % 20 for c in range(3)], -1).astype(np.uint8)

theirs = {}
for name in reference.get_corruption_names("all"):
    for s in range(1, 6):
        best = math.inf
        for _ in range(3):
            start = time.process_time()
            reference.corrupt(photo, corruption_name=name, severity=s)
            best = min(best, time.process_time() - start)
        theirs[name] = theirs.get(name, 0) + 200 * best
out = subprocess.run(
    ["go", "test", "./robust/corrupt", "-run", "^$", "-bench", "Corruptions", "-benchtime", "20x", "-cpu", "1", "-count", "3"],
    cwd=root, check=True, capture_output=True, text=True,
).stdout
ours = {}
for name, s, ms in re.findall(r"BenchmarkCorruptions/(\w+)/(\d)\S*\s.*?([\d.]+) cpu-ms/op", out):
    ours.setdefault(name, {}).setdefault(s, []).append(float(ms))
product = 1.0
print("| corruption | imagecorruptions ms | vitserve ms | times as fast |\n|---|---|---|---|")
for name, t in theirs.items():
    mine = sum(min(v) for v in ours[name].values()) / 5
    product *= t / mine
    print(f"| {name} | {t:.2f} | {mine:.2f} | {t / mine:.1f} |")
print(f"| geometric mean | | | {product ** (1 / len(theirs)):.1f} |")
