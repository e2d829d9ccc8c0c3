# Compares reports of `vitserve robust` with what evaluate.py measured.
#
#   python compare.py EVALUATED.json REPORT.json…   a report for each --seed
#
# A cell of a random corruption is a draw: the same program with other seeds gives
# other numbers. So a report's top-1 is held to the 95 % interval of what Python
# has over its seeds: Wilson's, over the photos, about the mean of all draws. The
# means of both over their seeds are compared, too: their difference over its
# standard error, from the deviation of draws that all cells share.
import json
import math
import sys

evaluated = json.load(open(sys.argv[1]))
reports = [json.load(open(name)) for name in sys.argv[2:]]


def wilson(p, k, z=1.959963984540054):
    middle, half = p + z * z / (2 * k), z * math.sqrt(p * (1 - p) / k + z * z / (4 * k * k))
    return 100 * (middle - half) / (1 + z * z / k), 100 * (middle + half) / (1 + z * z / k)


ours = {}
for report in reports:
    for r in report["results"]:
        key = r["name"] + (f"/{r['severity']}" if r.get("severity") else "")
        if key in evaluated:
            ours.setdefault(key, []).append((r["top1"]["value"], r["ece"]["value"], r["nll"]["value"]))
if not ours:
    sys.exit("no cell in common")


def mean(v):
    return sum(v) / len(v)


inside, pooled, table, differences = 0, [], {}, {}
for key, draws in ours.items():
    c = evaluated[key]
    k = c["photos"]
    theirs = [100 * n / k for n in c["by_seed"]]
    mine = [d[0] for d in draws]
    low, high = wilson(mean(theirs) / 100, k)
    ok = low <= mine[0] <= high
    inside += ok
    # What varies within a side varies by chance; without random numbers nothing does.
    for v in (theirs, mine):
        if len(v) > 1 and len(set(theirs + mine)) > 1:
            pooled += [((x - mean(v)) ** 2, len(v) / (len(v) - 1)) for x in v]
    differences[key] = (mean(mine) - mean(theirs), len(mine), len(theirs), len(set(theirs + mine)) > 1)
    name, _, severity = key.partition("/")
    more = f"; {mean(mine):.1f} by {mean(theirs):.1f} with {len(mine)} and {len(theirs)} seeds" if len(mine) > 3 < len(theirs) else ""
    table.setdefault(name, {})[severity or "1"] = f"{mine[0]:.1f} ({mean(theirs):.1f}){more}" + ("" if ok else " outside")
print(f"{inside} of {len(ours)} cells of the first report within the interval")
random = {k: d for k, d in differences.items() if d[3]}
if pooled:
    deviation = math.sqrt(mean([square * unbiased for square, unbiased in pooled]))
    z = {k: d / (deviation * math.sqrt(1 / a + 1 / b)) for k, (d, a, b, _) in random.items()}
    print(f"{len(random)} cells vary with the seed, by {deviation:.2f} points of deviation from draw to draw")
    print(f"differences of the means over their standard errors: mean square {mean([v * v for v in z.values()]):.2f} (chance: 1), beyond 1.96: {sum(abs(v) > 1.96 for v in z.values())} (chance: {0.05 * len(z):.1f})")
    print("largest: " + ", ".join(f"{k} {z[k]:+.1f} ({random[k][0]:+.1f} points)" for k in sorted(z, key=lambda k: -abs(z[k]))[:5]))
    print(f"mean of the differences {mean([d[0] for d in random.values()]):+.2f} points, its standard error {math.sqrt(sum((deviation**2) * (1 / a + 1 / b) for _, a, b, _ in random.values())) / len(random):.2f}")
same = {k: d[0] for k, d in differences.items() if not d[3]}
print(f"{sum(v == 0 for v in same.values())} of {len(same)} cells without random numbers have the same count")
print("\n| corruption | 1 | 2 | 3 | 4 | 5 |\n|---|---|---|---|---|---|")
for name, row in table.items():
    print(f"| {name.replace('_', ' ')} | " + " | ".join(row.get(str(s), "") for s in range(1, 6)) + " |")
print("\nECE and NLL, vitserve and Python:")
for key in ("clean",):
    if key in ours:
        _, e, n = ours[key][0]
        print(f"{key}: {e:.4f} {evaluated[key]['ece']:.4f}, {n:.4f} {evaluated[key]['nll']:.4f}")
sys.exit(0 if inside == len(ours) else 1)
