"""Reads the Parquet parts of a job with pyarrow and with DuckDB, and holds what they read against each other.

pip install pyarrow==26.0.1 duckdb==2.0.1
python3 scripts/score/read.py FOLDER [ROWS]
"""

import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

folder = Path(sys.argv[1])
parts = sorted(folder.glob("part-*.parquet"))
assert parts, f"no parts in {folder}"
tables = [pq.read_table(p) for p in parts]
rows = [row for t in tables for row in t.to_pylist()]
if len(sys.argv) > 2:
    assert len(rows) == int(sys.argv[2]), f"{len(rows)} rows, want {sys.argv[2]}"
keys = {row["key"] for row in rows}
assert len(keys) == len(rows), f"{len(rows)} rows of {len(keys)} keys"
for part in parts:
    said = pq.read_metadata(part).metadata
    assert int(said[b"vitserve.rows"]) == pq.read_metadata(part).num_rows

db = duckdb.connect()
found = db.sql(f"SELECT * FROM '{folder}/part-*.parquet' ORDER BY key").fetchall()
names = [c[0] for c in db.sql(f"DESCRIBE SELECT * FROM '{folder}/part-*.parquet'").fetchall()]
want = [tuple(row[n] for n in names) for row in sorted(rows, key=lambda r: r["key"].encode())]
assert len(found) == len(want)
for a, b in zip(found, want):
    assert a == b, f"DuckDB {a}, pyarrow {b}"

print(tables[0].schema)
print(f"{len(parts)} parts, {len(rows)} rows, {sum(r['error'] is not None for r in rows)} with an error: pyarrow and DuckDB read the same")
print(db.sql(f"SELECT label, count(*) AS photos, avg(score) AS score FROM '{folder}/part-*.parquet' WHERE error IS NULL GROUP BY label ORDER BY photos DESC LIMIT 5"))
