"""Makes forms/: every odd form of a checkpoint of scripts/census whose weights
are safetensors, and what the libraries answer of two small pictures. The numbers
of the weights are not stored, for forms_test.go makes them, too: they are
tiny.py's fill of a seed, a centre and a spread.

    python make_forms.py

The committed files were made with the versions of scripts/census/requirements.txt.
"""

import hashlib
import io
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import safetensors

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "scripts" / "census"))

import forms  # noqa: E402
import pictures  # noqa: E402
import tiny  # noqa: E402

NAMES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
OUT = HERE / "forms"


def tensors(file):
    """The tensors of a file: [name, dtype, shape] and what fill made them of."""
    rows = []
    with safetensors.safe_open(file, "pt") as f:
        for name in f.keys():
            t = f.get_tensor(name)
            kind = {"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "torch.float64": "F64", "torch.int64": "I64"}[str(t.dtype)]
            seed, centre, spread = tiny.FILLED.get(tiny.raw(t), (0, 0.0, 0.0))
            if spread == 0:
                assert kind == "I64" or not t.any() or name == "n_averaged", name  # positions of patches, which nobody reads
            rows.append([name, kind, list(t.shape), seed, centre, spread])
    return rows


def text_of(path):
    """A configuration; numbers that JSON does not have are words after an @."""
    return json.loads(path.read_text(), parse_constant=lambda word: "@" + word)


def change(base, now):
    """What makes now of base: keys that are set and keys that are dropped."""
    dropped = [k for k in base if k not in now]
    put = {k: v for k, v in now.items() if k not in base or base[k] != v or type(base[k]) is not type(v)}
    nested = {k: change(base[k], v) for k, v in put.items() if isinstance(v, dict) and isinstance(base.get(k), dict) and k not in ("size", "id2label", "label2id")}
    out = {"put": {k: v for k, v in put.items() if k not in nested}, "drop": dropped, "in": nested}
    return {k: v for k, v in out.items() if v}


def rounded(x):
    return [float(f"{v:.7g}") for v in x]


def main():
    OUT.mkdir(exist_ok=True)
    shown = [OUT / "wide.png", OUT / "tall.jpg"]
    pictures.picture(48, 36, 3).save(shown[0])
    pictures.picture(38, 56, 4).save(shown[1], quality=90)
    unique, tables, bases, rows = [], [], {}, []
    for name, form in forms.FORMS.items():
        with tempfile.TemporaryDirectory() as d:
            folder = pathlib.Path(d)
            forms.build(name, 0, folder)
            if any(p.suffix in (".pth", ".ckpt", ".bin") for p in folder.iterdir()):
                continue  # models/testdata/pth
            row = {"name": name, **({"flags": form.flags} if form.flags else {}), "weights": {}, "files": {}}
            for p in sorted(folder.glob("*.safetensors")):
                table, prefix = [], name.removeprefix("file/prefix ") if name.startswith("file/prefix ") else ""
                for row_of in tensors(p):
                    row_of[0] = row_of[0].removeprefix(prefix)
                    if row_of not in unique:
                        unique.append(row_of)
                    table.append(unique.index(row_of))
                if table not in tables:
                    tables.append(table)
                row["weights"][p.name] = [tables.index(table), prefix]
            for p in sorted(folder.glob("*.json")):
                now = text_of(p)
                base = f"{p.name} of {'timm' if 'architecture' in now else 'transformers'}"
                bases.setdefault(base, now)
                row["files"][p.name] = [base, change(bases[base], now)]
            said = forms.answers(form, pictures.opened(shown))
            if "fails" in said:
                row["fails"] = True
            else:
                kind = "logits" if "logits0" in said else "features"
                row[kind] = [rounded(said[f"{kind}{i}"]) for i in range(2)]
                row["scores"] = str(said["scoring"])
                row["tensors"] = []
                for i in range(2):
                    npy = io.BytesIO()
                    np.save(npy, said[f"tensor{i}"])
                    row["tensors"].append(hashlib.sha256(npy.getvalue()).hexdigest()[:12])
            rows.append(row)
    lines = [json.dumps(r) for r in rows]
    (OUT / "forms.json").write_text('{"bases": ' + json.dumps(bases) + ',\n"tensors": [\n' + ",\n".join(map(json.dumps, unique)) + '],\n"tables": [\n' + ",\n".join(map(json.dumps, tables)) + '],\n"forms": [\n' + ",\n".join(lines) + "\n]}\n")


main()
