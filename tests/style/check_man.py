# SPDX-License-Identifier: BSD-3-Clause
"""The man page and the option table tell of the same options.

usage: check_man.py ROOT DUMP_OPTIONS
"""

import os
import re
import shutil
import subprocess
import sys

from style_tap import ROOT, read, report

PAGE = "virtiofsd/virtiofsd.1"


def in_table():
    """(long, letters, keys, values) of the option table."""
    told = subprocess.run([sys.argv[2]], capture_output=True, text=True,
                          check=True).stdout
    names = {"long": set(), "letter": set(), "key": set()}
    values = set()
    for line in told.splitlines():
        kind, name, *choices = line.split()
        names[kind].add(name)
        values.update(choices)
    return names["long"], names["letter"], names["key"], values


def in_page():
    """(long, letters, keys, words): headings, and all words set in Cm."""
    long_names, letters, keys, words = set(), set(), set(), set()
    dialect = False
    for line in read(PAGE).splitlines():
        if line.startswith((".Ss ", ".Sh ")):
            dialect = line == ".Ss The older dialect"
        words.update(re.findall(r"\bCm (\S+)", line))
        if line.startswith(".It "):
            long_names.update(re.findall(r"\bFl -([a-z][a-z0-9-]+)", line))
            letters.update(re.findall(r"\bFl ([a-zA-Z])(?= |$)", line))
            key = re.match(r"\.It Cm (\w+)", line)
            if dialect and key:
                keys.add(key.group(1))
    for line in read(PAGE).splitlines():
        if re.match(r"\.Cm \S", line):
            words.add(line.split()[1])
    return long_names, letters, keys, words


def lint():
    """Complaints of mandoc about the page; none where it is missing."""
    if not shutil.which("mandoc"):
        if os.environ.get("VIRTIOFSD_MUST_RUN") == "1":
            return ["can not run here: mandoc is not installed"]
        return []
    told = subprocess.run(["mandoc", "-Tlint", PAGE], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    # Which other pages are installed is not this page's fault.
    return [line for line in (told.stdout + told.stderr).splitlines()
            if "referenced manual" not in line and "mandoc.db" not in line]


def differ(what, one, other):
    return ["%s: %s" % (what, name) for name in sorted(one - other)]


def main():
    t_long, t_letters, t_keys, t_values = in_table()
    p_long, p_letters, p_keys, p_words = in_page()
    report([
        ("the man page has each option of the table",
         differ("no .It", t_long, p_long)
         + differ("no .It", t_letters, p_letters)),
        ("the man page has each key of -o", differ("no .It", t_keys, p_keys)),
        ("the man page has each value an option can be given",
         differ("no Cm", t_values, p_words)),
        ("the table has each option of the man page",
         differ("not an option", p_long, t_long)
         + differ("not an option", p_letters, t_letters)
         + differ("not a key of -o", p_keys, t_keys)),
        ("mandoc has no complaint", lint()),
    ])


main()
