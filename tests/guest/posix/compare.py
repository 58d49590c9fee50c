#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""compare.py HOST GUEST [-e EXPECTED] [-w WORD]... [-k VERSION] [--partial]

Compares what posix_battery said on the host's file system with what it said
on the share.  Each difference has to be a row of the file EXPECTED, and each
row that applies has to meet a difference: one that vanished is told too.
The rows' form is told in that file.

  -w WORD      a word that rows can ask for, e.g. cache=never
  -k VERSION   the guest's kernel, e.g. 6.1.0-35
  --partial    not every case was run: rows that meet nothing are fine

Exit status: 0 when there is nothing to tell.
"""

import argparse
import fnmatch
import re
import sys

MISSING = "-"


def read(path):
    """{key: value}, the key with a number where a label comes again."""
    lines, seen = {}, {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for text in file.read().splitlines():
            key, found, value = text.partition(" = ")
            if not found:
                value = "(no value)"
            seen[key] = seen.get(key, 0) + 1
            if seen[key] > 1:
                key += " #%d" % seen[key]
            lines[key] = value.rstrip()
    return lines


def version(text):
    return tuple(int(n) for n in re.findall(r"\d+", text)[:2])


class Row:
    def __init__(self, number, fields):
        self.number = number
        self.when, self.key, self.host, self.guest, self.why = fields
        self.optional = "maybe" in self.when.split()
        self.met = 0

    def applies(self, words, kernel):
        for word in self.when.split():
            if word in ("always", "maybe"):
                continue
            m = re.fullmatch(r"kernel(<|>=)([\d.]+)", word)
            if m:
                older = version(kernel) < version(m.group(2))
                if older != (m.group(1) == "<"):
                    return False
            elif word.startswith("!"):
                if word[1:] in words:
                    return False
            elif word not in words:
                return False
        return True

    def fits(self, key, host, guest):
        # Values hold brackets, which fnmatch would take for its own.
        def match(text, pattern):
            pattern = pattern.replace("[", "[[]")
            return fnmatch.fnmatchcase(text, pattern)
        return (match(key, self.key) and match(host, self.host)
                and match(guest, self.guest))


def rows(path, words, kernel):
    found = []
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file.read().splitlines(), 1):
            if not text.strip() or text.startswith("#"):
                continue
            fields = [f.strip() for f in text.split(" | ")]
            if len(fields) != 5:
                sys.exit("%s:%d: not five fields" % (path, number))
            row = Row(number, fields)
            if row.applies(words, kernel):
                found.append(row)
    return found


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("host")
    parser.add_argument("guest")
    parser.add_argument("-e", dest="expected")
    parser.add_argument("-w", dest="words", action="append", default=[])
    parser.add_argument("-k", dest="kernel", default="0.0")
    parser.add_argument("--partial", action="store_true")
    args = parser.parse_args()

    host, guest = read(args.host), read(args.guest)
    expected = rows(args.expected, args.words, args.kernel) \
        if args.expected else []
    bad = differences = 0
    for key in list(host) + [k for k in guest if k not in host]:
        a, b = host.get(key, MISSING), guest.get(key, MISSING)
        # Wrong on both sides is wrong, whatever the two think of each other.
        if a == b:
            if " !" in a:
                bad += 1
                print("%s = %s on both" % (key, a))
            continue
        differences += 1
        row = next((r for r in expected if r.fits(key, a, b)), None)
        if row:
            row.met += 1
            continue
        bad += 1
        print("%s\n    host:  %s\n    guest: %s" % (key, a, b))
    for row in expected:
        if not row.met and not row.optional and not args.partial:
            bad += 1
            print("%s:%d: this difference is gone: %s"
                  % (args.expected, row.number, row.key))
    print("%d lines, %d differences, %d not expected"
          % (len(host), differences, bad))
    if not host or not guest:
        sys.exit("nothing to compare")
    sys.exit(1 if bad else 0)


main()
