# SPDX-License-Identifier: BSD-3-Clause
"""A file past 600 lines is two; a function past 80 does too much."""

from style_tap import read, report, tree

FILE_LINES = 600
FUNCTION_LINES = 80
COLUMNS = 80


def functions(lines):
    """(line number, length) of each: clang-format puts a function's braces
    in the first column, and no other pair."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield start, number - start + 1
            start = None


def unfenced(lines):
    """Line numbers and lines, without the tables fenced off clang-format."""
    fenced = False
    for number, line in enumerate(lines, 1):
        if "clang-format off" in line:
            fenced = True
        if not fenced:
            yield number, line
        if "clang-format on" in line:
            fenced = False


def main():
    files, long_functions, wide = [], [], []
    for path in tree(".c", ".h", ".py", ".sh"):
        lines = read(path).splitlines()
        if len(lines) > FILE_LINES:
            files.append("%s: %d lines" % (path, len(lines)))
        if not path.endswith((".c", ".h")):
            continue
        for number, line in unfenced(lines):
            if len(line) > COLUMNS:
                wide.append("%s:%d: %d columns" % (path, number, len(line)))
        for number, length in functions(lines):
            if length > FUNCTION_LINES:
                long_functions.append("%s:%d: %d lines"
                                      % (path, number, length))
    report([
        ("no file has more than %d lines" % FILE_LINES, files),
        ("no function has more than %d lines" % FUNCTION_LINES,
         long_functions),
        ("no line of C has more than %d columns" % COLUMNS, wide),
    ])


main()
