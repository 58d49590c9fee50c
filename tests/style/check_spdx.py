# SPDX-License-Identifier: BSD-3-Clause
"""Every source says its licence first and leaves nothing open."""

import re

from style_tap import read, report, tree

TAG = "SPDX-License-Identifier: BSD-3-Clause"
ENDS = (".c", ".h", ".py", ".sh", ".bt", ".pml", ".1", ".service",
        ".service.in", "meson.build", "meson_options.txt")
# Written so that this file does not hold them.
OPEN = re.compile(r"\b(%s)\b" % "|".join(["TO" + "DO", "FIX" + "ME",
                                          "X" * 3]))


def sources():
    for path in tree():
        text = read(path)
        if text is None:
            continue
        if path.endswith(ENDS) or text.startswith("#!"):
            yield path, text


def main():
    unlicensed, left_open = [], []
    for path, text in sources():
        lines = text.splitlines() or [""]
        first = lines[1:2] if lines[0].startswith("#!") else lines[:1]
        if not first or TAG not in first[0]:
            unlicensed.append(path + ": does not begin with " + TAG)
        for number, line in enumerate(lines, 1):
            if OPEN.search(line):
                left_open.append("%s:%d: %s" % (path, number, line.strip()))
    report([
        ("every source begins with its licence", unlicensed),
        ("nothing is left open in the sources", left_open),
    ])


main()
