# SPDX-License-Identifier: BSD-3-Clause
"""clang-format decides.  Its releases disagree, so one of them does: 14."""

import re
import shutil
import subprocess

from style_tap import ROOT, report, skip, tree

VERSION = "14"


def find():
    for name in ("clang-format-" + VERSION, "clang-format"):
        path = shutil.which(name)
        if not path:
            continue
        told = subprocess.run([path, "--version"], capture_output=True,
                              text=True, check=False).stdout
        if re.search(r"version %s\." % VERSION, told):
            return path
    return None


def main():
    tool = find()
    if not tool:
        skip("clang-format %s is not installed" % VERSION)
    files = tree(".c", ".h")
    told = subprocess.run([tool, "--dry-run", "-Werror", "--style=file"]
                          + files, cwd=ROOT, capture_output=True, text=True,
                          check=False)
    places = [line for line in told.stderr.splitlines()
              if re.match(r"\S+:\d+:\d+: ", line)]
    if told.returncode and not places:
        places = told.stderr.splitlines() or ["exit %d" % told.returncode]
    report([("the code is as clang-format writes it", places)])


main()
