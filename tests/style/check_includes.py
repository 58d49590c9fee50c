# SPDX-License-Identifier: BSD-3-Clause
"""Who may include whom: the table of ARCHITECTURE.md, "Include rules"."""

import fnmatch
import os
import re

from style_tap import ROOT, read, report, tree, without_comments

# Room of a file: the first pattern that fits.
ROOMS = [
    ("base", "virtiofsd/base/*"),
    ("main", "virtiofsd/*"),
    ("both", "vhost/ring_ipc.[ch]"),
    ("both", "vhost/vring_shared.[ch]"),
    ("both", "vhost/memtable.[ch]"),
    ("data", "vhost/memmap.[ch]"),
    ("data", "vhost/vring.[ch]"),
    ("data", "vhost/chain.[ch]"),
    ("data", "vhost/dirtylog.[ch]"),
    ("data", "vhost/guard.[ch]"),
    ("control", "vhost/spec.h"),
    ("control", "vhost/wire.[ch]"),
    ("control", "vhost/dispatch.[ch]"),
    ("control", "vhost/conn*.[ch]"),
    ("control", "vhost/on_*.[ch]"),
    ("maps", "fuse/passthrough/idmap.[ch]"),
    ("maps", "fuse/passthrough/xattrmap.[ch]"),
    ("pt", "fuse/passthrough/*"),
    # The headers that are the passthrough's view of the rest of fuse/.
    ("ptview", "fuse/request.h"),
    ("ptview", "fuse/proto.h"),
    ("ptview", "fuse/fuse_api.h"),
    ("fuse", "fuse/*"),
    ("sandbox", "sandbox/*"),
    ("tests", "tests/*"),
]

ALL = {room for room, _ in ROOMS} - {"tests"}
MAY = {
    "base": {"base"},
    "main": ALL,
    "both": {"base", "both"},
    "data": {"base", "both", "data"},
    "control": {"base", "both", "control"},
    "maps": {"base", "maps"},
    "pt": {"base", "maps", "pt", "ptview"},
    "ptview": {"base", "ptview"},
    "fuse": {"base", "both", "data", "maps", "pt", "ptview", "fuse"},
    "sandbox": {"base", "sandbox"},
    "tests": ALL | {"tests"},
}

# Libraries' headers, and who may have them.
FOREIGN = {
    "fuse_lowlevel.h": ["fuse/fuse_api.h"],
    "fuse.h": [],
    "linux/fuse.h": ["fuse/*", "tests/*"],
    "seccomp.h": ["sandbox/*", "tests/*"],
    "cap-ng.h": ["sandbox/*", "tests/*"],
}


def room_of(path):
    for room, pattern in ROOMS:
        if fnmatch.fnmatch(path, pattern):
            return room
    return None


def main():
    homeless, forbidden, foreign, lost = [], [], [], []
    for path in tree(".c", ".h"):
        room = room_of(path)
        if not room:
            homeless.append(path + ": in no room of check_includes.py")
            continue
        text = without_comments(read(path))
        for quote, name in re.findall(
            r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text, flags=re.M
        ):
            if quote == "<":
                who = FOREIGN.get(name)
                if who is not None and not any(
                    fnmatch.fnmatch(path, p) for p in who
                ):
                    foreign.append("%s: <%s>" % (path, name))
            elif not os.path.exists(os.path.join(ROOT, name)):
                lost.append('%s: "%s" is not a path from the root'
                            % (path, name))
            elif room_of(name) not in MAY[room]:
                forbidden.append('%s (%s): "%s" (%s)'
                                 % (path, room, name, room_of(name)))
    report([
        ("every source file stands in a room", homeless),
        ("quoted includes are paths from the root", lost),
        ("no room includes one it may not know", forbidden),
        ("libraries are used by their rooms only", foreign),
    ])


main()
