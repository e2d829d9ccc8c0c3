"""Hold the text of documents to 100 columns.

    python3 ci/prose.py                  # every document that git knows
    python3 ci/prose.py --record         # keep in ci/prose.txt how many longer lines each still has
    python3 ci/prose.py --wrap A.md B.md # break the paragraphs of these that have a longer line

ci/prose.txt has the documents that are older than the bound, with how many longer lines each has: no more may come,
and a document that is broken anew leaves the list.

Tables, blocks of code, headings and what links need are exempt. A paragraph whose lines fit is left as it is.
"""

import os
import re
import subprocess
import sys

COLUMNS = 100
RECORD = "ci/prose.txt"
FENCE = re.compile(r"\s*(```|~~~)")
# What a paragraph begins with: quotes, and the mark of a list or the indentation below one.
PREFIX = re.compile(r"((?:> ?)*\s*(?:[-*+] |\d+[.)] )?)")
LINK = re.compile(r"\]\([^)]*\)|<?https?://\S+")
# Units that are not broken: code, links with their targets, words.
UNIT = re.compile(r"(?:`[^`]*`|\]\([^)]*\)|[^\s`])+|`")


def paragraphs(lines):
    """Yield (first, last, kind) of runs of lines: "code", "other" or "prose"."""
    i, fence = 0, None
    while i < len(lines):
        line = lines[i]
        mark = FENCE.match(line)
        if fence or mark:
            if mark and not fence:
                fence = mark[1]
            elif mark and mark[1] == fence:
                fence = None
            yield i, i + 1, "code"
            i += 1
        elif exempt(line) or (line.startswith("    ") and (i == 0 or not lines[i - 1].strip())):
            yield i, i + 1, "other"
            i += 1
        else:
            j = i + 1
            while j < len(lines) and not exempt(lines[j]) and not FENCE.match(lines[j]) and not starts(lines[j]):
                j += 1
            yield i, j, "prose"
            i = j


def exempt(line):
    text = line.lstrip("> ").strip()
    return not text or text[0] in "|#" or text.startswith(("<", "[!")) or set(text) <= set("-=*_ ")


def starts(line):
    return bool(re.match(r"(?:> ?)*\s*(?:[-*+] |\d+[.)] )", line))


def too_long(line):
    if len(line) <= COLUMNS or len(LINK.sub("", line)) <= COLUMNS and LINK.search(line):
        return False
    return len(UNIT.findall(line[len(PREFIX.match(line)[1]) :])) > 1


def wrap(lines):
    """Return the lines of one paragraph, broken anew."""
    first = PREFIX.match(lines[0])[1]
    rest = re.sub(r"[-*+]|\d+[.)]", lambda m: " " * len(m[0]), first)
    text = " ".join([lines[0][len(first) :]] + [line.lstrip("> ") if first.startswith(">") else line.strip() for line in lines[1:]])
    out, line, breaks = [], first, []
    for k, unit in enumerate(UNIT.findall(text)):
        if k > 0 and len(line) + 1 + len(unit) > COLUMNS and not starts(unit + " "):
            out.append(line)
            line = rest + unit
        else:
            line += (" " if k > 0 else "") + unit
    return out + [line]


def longer(path):
    """Return the lines of a document, and the numbers of those that are too long."""
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    return lines, [k for i, j, kind in paragraphs(lines) if kind == "prose" for k in range(i, j) if too_long(lines[k])]


def rewrap(path):
    lines, long = longer(path)
    out = []
    for i, j, _ in paragraphs(lines):
        out += wrap(lines[i:j]) if any(i <= k < j for k in long) else lines[i:j]
    if out != lines:
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(out))


def main():
    if sys.argv[1:2] == ["--wrap"]:
        for path in sys.argv[2:]:
            rewrap(path)
        return
    files = subprocess.run(["git", "ls-files", "*.md"], check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    found = {path: longer(path) for path in files if os.path.exists(path)}
    if sys.argv[1:2] == ["--record"]:
        with open(RECORD, "w", encoding="utf-8") as f:
            f.writelines(f"{len(long)} {path}\n" for path, (_, long) in found.items() if long)
        return
    with open(RECORD, encoding="utf-8") as f:
        allowed = {path: int(n) for n, path in (line.split() for line in f)}
    bad = False
    for path, (lines, long) in found.items():
        most = allowed.get(path, 0)
        if len(long) > most:
            bad = True
            print(f"{path}: {len(long)} lines of prose of more than {COLUMNS} columns, want at most {most}")
            for k in long:
                print(f"{path}:{k + 1}: {len(lines[k])} columns")
    if bad:
        sys.exit("break them, or let python3 ci/prose.py --wrap FILE… do it")


if __name__ == "__main__":
    main()
