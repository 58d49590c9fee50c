# SPDX-License-Identifier: BSD-3-Clause
"""vhost/PROTOCOL.md holds each message of the table in vhost/dispatch.c."""

import os
import re

from style_tap import ROOT, read, report, without_comments


def in_table():
    """(served, refused): names of the rows OP() and NOT()."""
    text = without_comments(read("vhost/dispatch.c"))
    rows = re.findall(r"^\s*(OP|NOT)\((\w+),", text, flags=re.M)
    return ({name for kind, name in rows if kind == "OP"},
            {name for kind, name in rows if kind == "NOT"})


def in_document():
    if not os.path.exists(os.path.join(ROOT, "vhost/PROTOCOL.md")):
        return {}
    rows = re.findall(r"^\|\s*`?(?:VHOST_USER_)?([A-Z][A-Z_0-9]+)`?\s*\|(.*)",
                      read("vhost/PROTOCOL.md"), flags=re.M)
    return dict(rows)


def supported(cells):
    """Does the row's first cell after the name say yes?"""
    return re.match(r"\s*\**yes\b", cells) is not None


def main():
    (served, refused), document = in_table(), in_document()
    known = served | refused
    report([
        ("the message table can be read",
         [] if len(served) > 20 else ["%d messages found" % len(served)]),
        ("each message of the table has a row in PROTOCOL.md",
         ["%s: no row" % n for n in sorted(known - set(document))]),
        ("PROTOCOL.md calls supported what the table serves, nothing else",
         ["%s: says yes, is not served" % n
          for n in sorted(set(document) - served) if supported(document[n])]
         + ["%s: is served, does not say yes" % n
            for n in sorted(served & set(document))
            if not supported(document[n])]),
    ])


main()
