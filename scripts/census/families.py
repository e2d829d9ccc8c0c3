"""The table of families in docs/families.md, of the rows of families.tsv. Each
has an example of a checkpoint that is published: those of timm's are held to
timm's own list."""

import csv
import pathlib

import timm

ROWS = pathlib.Path(__file__).parent / "families.tsv"


def table():
    with open(ROWS, newline="") as f:
        rows = list(csv.reader(f, delimiter="\t", quoting=csv.QUOTE_NONE))
    known = set(timm.list_pretrained())
    for row in rows[1:]:
        assert len(row) == len(rows[0]), row
        owner, _, name = row[-1].strip("`").partition("/")
        assert owner and name, f"{row[0]}: {row[-1]} is no ORG/NAME"
        assert owner != "timm" or name in known, f"{row[0]}: timm knows no {name}"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
