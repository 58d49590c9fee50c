# SPDX-License-Identifier: BSD-3-Clause
"""What the style checks share: TAP, the tree's files, and skipping."""

import os
import re
import sys

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.getcwd()


def tree(*ends):
    """Paths, from the root, of the project's files with such an end.

    The directory is walked, not git asked: a tarball is tested, too.
    """
    found = []
    for top, dirs, files in os.walk(ROOT):
        dirs[:] = sorted(
            d
            for d in dirs
            if d not in (".git", ".cache", "__pycache__")
            and not d.startswith("build")
            and not os.path.exists(os.path.join(top, d, "meson-private"))
        )
        for name in sorted(files):
            path = os.path.relpath(os.path.join(top, name), ROOT)
            if not ends or path.endswith(ends):
                found.append(path)
    return found


def read(path):
    """The file's text; None when it is no text."""
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            return f.read()
    except UnicodeDecodeError:
        return None


def without_comments(text):
    """C without comments; lines keep their numbers."""
    blank = lambda m: "\n" * m.group(0).count("\n")
    return re.sub(r"/\*.*?\*/", blank, text, flags=re.S)


def skip(why):
    """This check can not run here: a failure where all must run."""
    if os.environ.get("VIRTIOFSD_MUST_RUN") == "1":
        print("1..1\nnot ok 1 - can not run here: " + why)
        sys.exit(1)
    print("1..0 # SKIP " + why)
    sys.exit(77)


def report(checks):
    """checks: (sentence, list of complaints) each.  Prints TAP and exits."""
    bad = 0
    print("1..%d" % len(checks))
    for i, (sentence, complaints) in enumerate(checks, 1):
        for complaint in complaints:
            print("# " + complaint)
        print("%s %d - %s" % ("not ok" if complaints else "ok", i, sentence))
        bad += bool(complaints)
    sys.exit(1 if bad else 0)
