"""Holds what ray_pipeline.py wrote to what score wrote of the same folder: the same photos, labels, scores, errors.

python3 scripts/score/ray_check.py OUTPUT PART
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

rows = [row for part in Path(sys.argv[1]).glob("*.parquet") for row in pq.read_table(part).to_pylist()]
found = {Path(row["path"]).name: row for row in rows}
want = {Path(row["key"]).name: row for row in map(json.loads, Path(sys.argv[2]).read_text().splitlines())}
assert len(rows) == len(found) and found.keys() == want.keys(), f"{sorted(found)}, want {sorted(want)}"
for key, row in want.items():
    got = found[key]
    assert got["label"] == row.get("label"), f"{key}: {got}, want {row}"
    assert (got["error"] is None) == ("error" not in row), f"{key}: {got}, want {row}"
    if got["error"] is None:
        assert abs(got["score"] - row["score"]) <= 1e-6, f"{key}: {got}, want {row}"
broken = sum(row["error"] is not None for row in rows)
assert 0 < broken < len(rows)
print(f"{len(rows)} rows, {broken} with an error: Ray Data and score say the same")
