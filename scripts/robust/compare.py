# Compares a report of `vitserve robust` with what evaluate.py measured: every
# cell's top-1 beside the 95 % interval of the other (Wilson's, over the same
# photos).
#
#   python compare.py REPORT.json EVALUATED.json…   later files add cells
import json
import math
import sys

report = json.load(open(sys.argv[1]))
cells = {}
for name in sys.argv[2:]:
    for key, v in json.load(open(name)).items():
        cells.setdefault(key, v)


def wilson(n, k, z=1.959963984540054):
    p = n / k
    middle, half = p + z * z / (2 * k), z * math.sqrt(p * (1 - p) / k + z * z / (4 * k * k))
    return 100 * (middle - half) / (1 + z * z / k), 100 * (middle + half) / (1 + z * z / k)


inside, rows = 0, []
for r in report["results"]:
    key = r["name"] + (f"/{r['severity']}" if r.get("severity") else "")
    if key not in cells:
        continue
    c = cells[key]
    low, high = wilson(c["right"], c["photos"])
    ours = r["top1"]["value"]
    ok = low <= ours <= high
    inside += ok
    rows.append((key, ours, 100 * c["right"] / c["photos"], low, high, r["ece"]["value"], c["ece"], r["nll"]["value"], c["nll"], "" if ok else "outside"))
print(f"{inside} of {len(rows)} cells within the interval")
if not rows:
    sys.exit(1)
difference = [a - b for _, a, b, *_ in rows]
print(f"mean difference {sum(difference) / len(rows):+.2f} points, largest {max(map(abs, difference)):.1f}")
print("| corruption | 1 | 2 | 3 | 4 | 5 |\n|---|---|---|---|---|---|")
table = {}
for key, a, b, *_, note in rows:
    name, _, severity = key.partition("/")
    table.setdefault(name, {})[severity or "1"] = f"{a:.1f} ({b:.1f})" + (" outside" if note else "")
for r in report["results"]:  # those that Python has not computed, without a bracket
    if r["suite"] == "imagenet-c":
        table.setdefault(r["name"], {}).setdefault(str(r["severity"]), f"{r['top1']['value']:.1f}")
for name, row in table.items():
    print(f"| {name.replace('_', ' ')} | " + " | ".join(row.get(str(s), "") for s in range(1, 6)) + " |")
print("\nECE and NLL, vitserve and Python:")
for key, _, _, _, _, e, f, n, m, note in rows:
    if note or key == "clean":
        print(f"{key}: {e:.4f} {f:.4f}, {n:.4f} {m:.4f}")
sys.exit(0 if inside == len(rows) else 1)
