# SPDX-License-Identifier: BSD-3-Clause
"""What a guest writes: descriptors and requests, and rings to serve."""

from seeds import save, u16, u32, u64, u8

# ---- descriptor chains: place() of fuzz_chain.c as 16 bits

RING, BUF, EDGE, BUF_END, ODD = (0 << 13, 2 << 13, 3 << 13, 4 << 13, 5 << 13)
NEXT, WRITE, INDIRECT = 1, 2, 4


def head(size_log2=6, features=0x30, base=0):
    return u8(size_log2) + u8(features) + u16(base) + u8(0)


def desc(idx, place, length, flags, nxt=0, table=None):
    kind = u8(1) if table is None else u8(2) + u16(table)
    return (kind + u8(idx) + u16(place) + u16(length) + u8(flags) + u8(nxt))


def offer(h=0):
    return u8(3) + u16(h)


SERVE = u8(5) + u16(0) + u16(200)
TABLE = RING + 0x1000


def chains():
    two = desc(0, BUF, 40, NEXT, 1) + desc(1, BUF + 64, 128, WRITE)
    many = b"".join(desc(i, BUF + 16 * i, 16, NEXT, i + 1) for i in range(40))
    save("chain", "request_and_reply", head() + two + offer() + SERVE)
    save("chain", "with_log", head(6, 0xb0) + two + offer() + SERVE)
    save("chain", "indirect",
         head() + desc(0, BUF, 40, NEXT, 1, TABLE)
         + desc(1, BUF + 64, 128, WRITE, 0, TABLE)
         + desc(0, TABLE, 32, INDIRECT) + offer() + SERVE)
    save("chain", "indirect_long",
         head() + b"".join(desc(i, BUF + 64 * i, 32, NEXT | (i // 16 * WRITE),
                                i + 1, TABLE) for i in range(32))
         + desc(32, BUF, 9, WRITE, 0, TABLE)
         + desc(0, TABLE, 33 * 16, INDIRECT) + offer() + SERVE)
    save("chain", "indirect_within_indirect",
         head() + desc(0, TABLE, 16, INDIRECT, 0, TABLE)
         + desc(0, TABLE, 16, INDIRECT) + offer() + SERVE)
    save("chain", "indirect_and_next",
         head() + desc(0, TABLE, 16, INDIRECT | NEXT, 1) + offer() + SERVE)
    save("chain", "indirect_not_agreed",
         head(6, 0) + desc(0, TABLE, 16, INDIRECT) + offer() + SERVE)
    save("chain", "indirect_of_half_a_descriptor",
         head() + desc(0, TABLE, 24, INDIRECT) + offer() + SERVE)
    save("chain", "zero_length", head() + desc(0, BUF, 0, 0) + offer() + SERVE)
    save("chain", "loop", head() + desc(0, BUF, 1, NEXT, 1)
         + desc(1, BUF, 1, NEXT, 0) + offer() + SERVE)
    save("chain", "over_two_regions",
         head() + desc(0, EDGE + 0xff0, 64, NEXT, 1)
         + desc(1, EDGE + 0xf00, 512, WRITE) + offer() + SERVE)
    save("chain", "past_the_last_region",
         head() + desc(0, BUF_END + 0x7f0, 64, 0) + offer() + SERVE)
    save("chain", "readable_behind_writable",
         head() + desc(0, BUF, 4, WRITE | NEXT, 1) + desc(1, BUF, 4, 0)
         + offer() + SERVE)
    save("chain", "four_gigabytes",
         head() + desc(0, BUF, 0, 0x42) + u32(0xffffffff) + offer() + SERVE)
    save("chain", "address_that_wraps",
         head() + desc(0, BUF, 64, 0x80) + u64(2**64 - 16) + offer() + SERVE)
    save("chain", "next_out_of_range",
         head() + desc(0, BUF, 4, NEXT, 64) + offer() + SERVE)
    save("chain", "next_beyond_the_indirect_table",
         head() + desc(0, BUF, 40, NEXT, 1, TABLE)
         + desc(0, TABLE, 16, INDIRECT) + offer() + SERVE)
    save("chain", "indirect_loop",
         head() + desc(0, BUF, 0, NEXT, 0, TABLE)
         + desc(0, TABLE, 16, INDIRECT) + offer() + SERVE)
    save("chain", "head_out_of_range", head() + offer(64) + SERVE)
    save("chain", "index_too_far_ahead", head() + u8(4) + u16(300) + SERVE)
    save("chain", "many_pieces", head() + many + desc(40, BUF, 9, WRITE)
         + offer() + SERVE)
    save("chain", "index_wraps", head(4, 0x30, 0xfffe)
         + two + 4 * (offer() + SERVE) + u8(6))
    save("chain", "odd_region", head() + u8(1) + u8(0) + u16(ODD + 1)
         + u16(33) + u8(0) + u8(0) + offer() + SERVE)
    save("chain", "rings_in_the_odd_region", u8(2) + u8(0x30) + u16(0) + u8(1)
         + u16(ODD) + u16(ODD + 0x100) + u16(ODD + 0x200) + offer() + SERVE)
    save("chain", "remapped_under_way", head(6, 0xb0) + two + offer() + SERVE
         + u8(7) + u16(BUF) + offer() + SERVE)


# ---- FUSE: (opcode, node, second id, body, room)

(LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK) = (1, 2, 3, 4, 5, 6)
(MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE_OP) = range(8, 17)
(STATFS, RELEASE, FSYNC, SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH,
 INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR) = (
     17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
(ACCESS, CREATE, INTERRUPT, DESTROY) = (34, 35, 36, 38)
(BATCH_FORGET, FALLOCATE, READDIRPLUS, RENAME2, LSEEK, COPY) = (
    42, 43, 44, 45, 46, 47)


def rw(size, offset=0):
    return u64(0) + u64(offset) + u32(size) + u32(0) + u64(0) + u32(0) + u32(0)


def setattr_in(valid, size=0, mode=0, uid=0):
    return (u32(valid) + u32(0) + u64(0) + u64(size) + u64(0) + u64(0)
            + u64(0) + u64(0) + u32(0) + u32(0) + u32(0) + u32(mode) + u32(0)
            + u32(uid) + u32(uid) + u32(0))


def init_in(minor=36, flags=0x73fffffb):
    return u32(7) + u32(minor) + u32(131072) + u32(flags)


# Behind the arguments of what makes a file; the odd room says that it counts.
LABEL = u32(32) + u32(1) + u32(2) + u32(0) + b"security.a\0vv\0\0\0"
GROUPS = u32(16) + u32(32) + u32(1) + u32(42)
MKDIR_IN = u32(0o755) + u32(0o22) + b"made\0"
CREATE_IN = u32(0o102) + u32(0o644) + u32(0o22) + u32(0) + b"made\0"
RELEASE_IN = u64(0) + u32(0) + u32(0) + u64(0)
SHAPES = {
    "lookup": (LOOKUP, 0, 0, b"file\0", 144),
    "lookup_dir": (LOOKUP, 0, 0, b"dir\0", 144),
    "lookup_missing": (LOOKUP, 0, 0, b"nothing\0", 144),
    "lookup_dot_dot": (LOOKUP, 0, 0, b"..\0", 144),
    "getattr": (GETATTR, 0, 0, bytes(16), 120),
    "setattr_size": (SETATTR, 1, 0, setattr_in(0x8, 4000), 120),
    "setattr_handle": (SETATTR, 1, 0, setattr_in(0x48, 100), 120),
    "setattr_mode": (SETATTR, 1, 0, setattr_in(0x1, 0, 0o640), 120),
    "setattr_owner": (SETATTR, 1, 0, setattr_in(0x6, 0, 0, 1000), 120),
    "setattr_now": (SETATTR, 1, 0, setattr_in(0x1b0), 120),
    "lookup_link": (LOOKUP, 0, 0, b"link\0", 144),
    "readlink": (READLINK, 2, 0, b"", 4112),
    "symlink": (SYMLINK, 0, 0, b"new\0../there\0", 144),
    "mknod_fifo": (MKNOD, 0, 0, u32(0o10644) + u32(0) + u32(0) + u32(0)
                   + b"fifo\0", 144),
    "mknod_device": (MKNOD, 0, 0, u32(0o20644) + u32(0x103) + u32(0) + u32(0)
                     + b"null\0", 144),
    "mkdir": (MKDIR, 0, 0, u32(0o755) + u32(0o22) + b"made\0", 144),
    "mkdir_label": (MKDIR, 0, 0, MKDIR_IN + LABEL, 145),
    "mkdir_label_that_lies": (MKDIR, 0, 0, MKDIR_IN + LABEL[:8]
                              + u32(0xffffffff) + LABEL[12:], 145),
    "create_groups": (CREATE, 0, 0, CREATE_IN + GROUPS + LABEL, 161),
    "create_groups_that_lie": (CREATE, 0, 0, CREATE_IN + GROUPS[:8]
                               + u32(0xffffffff) + u32(42), 161),
    "unlink": (UNLINK, 0, 0, b"file\0", 16),
    "rmdir": (RMDIR, 0, 0, b"dir\0", 16),
    "rename": (RENAME, 0, 0, u64(1) + b"file\0other\0", 16),
    "rename2": (RENAME2, 0, 0, u64(1) + u32(2) + u32(0) + b"file\0dir\0", 16),
    "link": (LINK, 0, 1, u64(0) + b"second\0", 144),
    "open": (OPEN, 1, 0, u32(2) + u32(0), 32),
    "read": (READ, 1, 0, rw(4096), 4112),
    "write": (WRITE_OP, 1, 0, rw(11) + b"hello there", 24),
    "statfs": (STATFS, 0, 0, b"", 96),
    "flush": (FLUSH, 1, 0, u64(0) + u32(0) + u32(0) + u64(0), 16),
    "fsync": (FSYNC, 1, 0, u64(0) + u32(1) + u32(0), 16),
    "lseek": (LSEEK, 1, 0, u64(0) + u64(0) + u32(4) + u32(0), 24),
    "fallocate": (FALLOCATE, 1, 0, u64(0) + u64(0) + u64(8192) + u32(1)
                  + u32(0), 16),
    "copy": (COPY, 1, 0, u64(0) + u64(0) + u64(2) + u64(0) + u64(100)
             + u64(20) + u64(0), 24),
    "release": (RELEASE, 1, 0, RELEASE_IN, 16),
    "setxattr": (SETXATTR, 1, 0, u32(5) + u32(0) + b"user.a\0value", 16),
    "getxattr": (GETXATTR, 1, 0, u32(64) + u32(0) + b"user.a\0", 80),
    "getxattr_size": (GETXATTR, 1, 0, u32(0) + u32(0) + b"user.a\0", 24),
    "listxattr": (LISTXATTR, 1, 0, u32(256) + u32(0), 272),
    "removexattr": (REMOVEXATTR, 1, 0, b"user.a\0", 16),
    "opendir": (OPENDIR, 0, 0, u32(0) + u32(0), 32),
    "readdir": (READDIR, 0, 0, rw(4096), 4112),
    "readdirplus": (READDIRPLUS, 0, 0, rw(4096), 4112),
    "readdirplus_one": (READDIRPLUS, 0, 0, rw(180, 2), 196),
    "fsyncdir": (FSYNCDIR, 0, 0, u64(0) + u32(0) + u32(0), 16),
    "releasedir": (RELEASEDIR, 0, 0, RELEASE_IN, 16),
    "access": (ACCESS, 1, 0, u32(4) + u32(0), 16),
    "create": (CREATE, 0, 0, u32(0o102) + u32(0o644) + u32(0o22) + u32(0)
               + b"created\0", 160),
    "create_exclusive": (CREATE, 0, 0, u32(0o302) + u32(0o600) + u32(0)
                         + u32(0) + b"file\0", 160),
    "forget": (FORGET, 1, 0, u64(1), 0),
    "batch_forget": (BATCH_FORGET, 0, 1, u32(2) + u32(0) + u64(0) + u64(1)
                     + u64(99) + u64(1), 0),
    "interrupt": (INTERRUPT, 0, 0, u64(2), 0),
    "init": (INIT, 0, 0, init_in() + bytes(48), 80),
    "init_old": (INIT, 0, 0, init_in(12), 80),
    "init_of_tomorrow": (INIT, 0, 0, u32(8) + init_in()[4:], 80),
    "destroy": (DESTROY, 0, 0, b"", 16),
    "ioctl": (39, 1, 0, bytes(32), 64),
}

# What is wrong with a request, each with a name.
WRONG = {
    "lookup_without_its_nul": (LOOKUP, 0, 0, b"file", 144),
    "lookup_without_a_name": (LOOKUP, 0, 0, b"", 144),
    "lookup_with_a_slash": (LOOKUP, 0, 0, b"dir/sub\0", 144),
    "reply_buffer_too_small": (LOOKUP, 0, 0, b"file\0", 143),
    "reply_buffer_without_header": (GETATTR, 0, 0, bytes(16), 8),
    "no_reply_buffer": (GETATTR, 0, 0, bytes(16), 0),
    "init_of_one_descriptor": (INIT, 0, 0, init_in(), 0),
    "init_cut_short": (INIT, 0, 0, init_in()[:8], 80),
    "batch_forget_that_lies": (BATCH_FORGET, 0, 0, u32(0xffffffff) + u32(0)
                               + u64(1) + u64(1), 0),
    "setxattr_that_lies": (SETXATTR, 0, 0, u32(0xffffffff) + u32(0)
                           + b"user.a\0v", 16),
    "setxattr_a_byte_short": (SETXATTR, 0, 0, u32(6) + u32(0)
                              + b"user.a\0value", 16),
    "batch_forget_of_one_too_many": (BATCH_FORGET, 0, 0, u32(2) + u32(0)
                                     + u64(1) + u64(1), 0),
    "reply_longer_than_its_room": (GETXATTR, 1, 0, u32(64) + u32(0)
                                   + b"user.a\0", 18),
    "forget_cut_short_with_room": (FORGET, 1, 0, u32(1), 64),
    "setxattr_value_cut_short": (SETXATTR, 0, 0, u32(9) + u32(0)
                                 + b"user.a\0v", 16),
    "write_that_lies": (WRITE_OP, 0, 0, rw(0xffffffff) + b"x", 24),
    "write_without_arguments": (WRITE_OP, 0, 0, b"", 24),
    "symlink_of_one_name": (SYMLINK, 0, 0, b"name\0", 144),
    "rename_of_one_name": (RENAME, 0, 0, u64(1) + b"name\0", 16),
    "read_of_four_gigabytes": (READ, 0, 0, rw(0xffffffff, 2**63), 4112),
    "opcode_zero": (0, 0, 0, b"", 144),
    "cuse_init": (0xfc, 0, 0, bytes(16), 144),
    "notify_reply": (41, 0, 0, bytes(40), 144),
    "forget_of_the_root": (FORGET, 0, 0, u64(2**64 - 1), 0),
    "forget_with_room": (FORGET, 0, 0, u64(1), 64),
    "node_of_the_next_life": (GETATTR, 0xfc, 0, bytes(16), 120),
    "node_zero": (GETATTR, 0xfb, 0, bytes(16), 120),
    "handle_made_up": (READ, 0, 0xfe, rw(4096), 4112),
}

ROOT = 0x20


def session(request, control=ROOT, claim=None, visible=None):
    opcode, node, second, body, room = request
    data = (u8(opcode) + u8(node) + u8(second)
            + u8(control | (8 if claim is not None else 0)
                 | (16 if visible is not None else 0))
            + u16(room) + u16(len(body)))
    if claim is not None:
        data += u16(claim)
    if visible is not None:
        data += u16(visible)
    return data + body


def sequence(*names, control=ROOT):
    return b"".join(session(SHAPES[n], control) for n in names)


# What differs from another only in what it means, not in its shape.
SAME_SHAPE = {
    "lookup_dir", "lookup_missing", "lookup_dot_dot", "lookup_link",
    "setattr_size", "setattr_mode", "setattr_owner", "setattr_now",
    "mknod_device", "readdirplus_one", "create_exclusive", "node_zero",
    "node_of_the_next_life", "handle_made_up", "lookup_with_a_slash",
    "forget_of_the_root", "getxattr_size", "reply_longer_than_its_room", "unlink", "rmdir",
}


def validate():
    for name, (opcode, _, _, body, room) in {**SHAPES, **WRONG}.items():
        if name in SAME_SHAPE:
            continue
        opcode = 4096 if opcode == 0xfc else opcode
        save("validate", name, u32(opcode) + u16(room) + body)


def sessions():
    start = u8(0)
    io = ("lookup", "open", "read", "write", "lseek", "fallocate", "copy",
          "setattr_handle", "flush", "fsync", "release")
    save("session", "file_io", start + sequence(*io))
    save("session", "file_io_in_single_bytes",
         start + sequence(*io, control=ROOT | 3))
    save("session", "file_io_indirect",
         start + sequence(*io, control=ROOT | 4 | 1 | 0x80))
    save("session", "file_io_writeback", u8(2) + sequence(*io))
    save("session", "file_io_readonly", u8(4) + sequence(*io))
    save("session", "directories", start + sequence(
        "opendir", "readdir", "readdirplus", "readdirplus_one", "fsyncdir",
        "releasedir", "batch_forget"))
    save("session", "names", start + sequence(
        "mkdir", "symlink", "mknod_fifo", "mknod_device", "lookup", "link",
        "rename", "rename2", "unlink", "rmdir", "lookup_missing"))
    save("session", "names_as_somebody", start + sequence(
        "create", "mkdir", "symlink", "mknod_fifo", "write", "link", control=1))
    save("session", "attributes", start + sequence(
        "lookup", "getattr", "setattr_size", "setattr_mode", "setattr_owner",
        "setattr_now", "access", "statfs", "lookup_link", "readlink"))
    save("session", "extended_attributes", start + sequence(
        "lookup", "setxattr", "getxattr_size", "getxattr", "listxattr",
        "removexattr"))
    save("session", "created_and_kept", start + sequence(
        "create", "create_exclusive", "lookup", "lookup", "forget", "unlink"))
    save("session", "looked_up_often", start + sequence(
        *4 * ["lookup"], *4 * ["lookup_dir"], "lookup"))
    save("session", "xattr_longer_than_its_room", start + sequence(
        "lookup", "setxattr") + session(WRONG["reply_longer_than_its_room"]))
    save("session", "lives", start + sequence(
        "lookup", "open", "init", "getattr", "opendir", "destroy", "getattr",
        "lookup", "init", "lookup_dir", "interrupt"))
    save("session", "nothing_before_init", u8(1) + sequence(
        "lookup", "forget", "getattr", "init_old", "init_of_tomorrow",
        "getattr", "init", "lookup"))
    save("session", "request_shorter_than_its_header",
         start + session(SHAPES["getattr"], visible=39)
         + session(SHAPES["getattr"], visible=0)
         + session((0, 0, 0, b"", 0), visible=0) + sequence("getattr"))
    save("session", "header_claims_more",
         start + session(SHAPES["lookup"], claim=60000)
         + session(SHAPES["lookup"], claim=39)
         + session(SHAPES["lookup"], claim=0)
         + session(SHAPES["forget"], claim=60000) + sequence("lookup"))
    save("session", "zero_length_chain",
         start + session((0, 0, 0, b"", 0), ROOT | 0x80, visible=0))
    save("session", "batch_forget_large",
         start + session((BATCH_FORGET, 0, 0, u32(3000) + u32(0)
                          + 3000 * (u64(2) + u64(1)), 0))[:4000])
    for name in ("reply_buffer_too_small", "reply_buffer_without_header",
                 "no_reply_buffer", "init_of_one_descriptor",
                 "batch_forget_that_lies", "write_that_lies",
                 "forget_with_room", "forget_cut_short_with_room", "node_of_the_next_life",
                 "handle_made_up"):
        save("session", name, start + session(WRONG[name]) + sequence("lookup"))
    save("session", "everything_wrong",
         start + sequence("lookup", "open")
         + b"".join(session(r) for r in WRONG.values()))


# ---- the device: steps of fuzz_device.c

def dcmd(kind, body=b"", fds=0, fd_kind=0):
    return u8(0) + u8(fds | fd_kind << 4) + u8(kind) + u8(len(body)) + body


def dmem(at, data):
    return u8(3) + u16(at // 2) + u8(len(data)) + data


def slot(ring, body=b""):
    return u8(1) + u8(ring) + u8(len(body)) + body


MEM_SET = dcmd(2, u32(1) + u32(1) + u64(0) + u64(0x40000) + u64(0), 1)
KICK = dcmd(5, u32(1) + u32(1), 1, 1) + dcmd(6, u32(1) + u32(1), 1, 1)
SYNC = u8(7)


def gdesc(addr_, length, flags, nxt):
    return u64(addr_) + u32(length) + u16(flags) + u16(nxt)


def fuse(opcode, node, body):
    return (u32(40 + len(body)) + u32(opcode) + u64(7) + u64(node) + u32(0)
            + u32(0) + u32(0) + u32(0) + body)


def on_ring(*requests):
    """Requests in guest memory, published at once."""
    data = b""
    for i, r in enumerate(requests):
        at = 0x4000 + 0x800 * i
        data += dmem(at, r)
        data += dmem(32 * i, gdesc(at, len(r), 1, 2 * i + 1)
                     + gdesc(at + 0x400, 0x400, 2, 0))
        data += dmem(0x1004 + 2 * i, u16(2 * i))
    return data + dmem(0x1002, u16(len(requests)))


def devices():
    init = fuse(26, 0, init_in() + bytes(48))
    up = u8(0) + MEM_SET + KICK
    look = fuse(LOOKUP, 1, b"file\0")
    save("device", "init_and_lookup",
         up + on_ring(init, look, fuse(OPENDIR, 1, bytes(8))) + slot(1)
         + u8(5) + SYNC + dcmd(9, u32(1) + bytes(12)) + SYNC)
    save("device", "init_and_lookup_in_a_pool",
         u8(1) + up[1:] + on_ring(init, look, look) + slot(1) + u8(5) + SYNC)
    save("device", "broken_ring", up + dmem(0x1002, u16(900)) + slot(1)
         + u8(5) + SYNC + u8(6) + u8(1) + slot(1) + SYNC)
    save("device", "two_rings", up + dcmd(5, u32(2) + u32(1), 1, 1)
         + on_ring(init, look) + slot(1) + slot(2) + SYNC + u8(6) + u8(0))
    save("device", "writer_dies_in_the_middle",
         up + slot(1) + SYNC + u8(2) + u8(1) + u8(5) + slot(1) + u8(2) + u8(1))
    save("device", "kick_fd_at_its_end",
         u8(0) + MEM_SET + dcmd(5, u32(1) + u32(1), 1, 2) + on_ring(init)
         + slot(1) + SYNC)
    save("device", "memory_removed", up + on_ring(init) + slot(1) + SYNC
         + dcmd(4, u32(2) + u32(1) + u64(0) + u64(0x40000) + u64(0)) + SYNC
         + dcmd(3, u32(3) + u32(1) + u64(0) + u64(0x40000) + u64(0), 1) + SYNC)
    save("device", "region_past_the_end_of_its_file",
         u8(0) + dcmd(2, u32(1) + u32(1) + u64(0) + u64(2**40) + u64(0), 1))
    save("device", "region_at_an_odd_offset",
         u8(0) + dcmd(2, u32(1) + u32(1) + u64(0) + u64(0x3fff0) + u64(7), 1)
         + KICK + slot(1) + SYNC)
    save("device", "regions_of_devices",
         u8(0) + dcmd(2, u32(1) + u32(2) + u64(0) + u64(4096) + u64(0)
                      + u64(8192) + u64(4096) + u64(0), 2, 2))
    save("device", "dirty_log", up + dcmd(8, u64(4096) + u64(0) + u32(1), 1)
         + on_ring(init) + slot(1, u32(7)) + SYNC + dcmd(8))
    save("device", "reset", up + on_ring(init, look) + slot(1) + SYNC
         + slot(1, u32(0)) + SYNC + dcmd(10) + dcmd(11, b"", 1) + dcmd(1))
    save("device", "before_hello", u8(2) + MEM_SET + KICK + dcmd(9) + dcmd(10))
    save("device", "fds_replaced_before_they_are_taken", up
         + dcmd(6, u32(1) + u32(2), 1, 1) + dcmd(6, u32(1) + u32(3), 1, 1)
         + dcmd(7, u32(1) + u32(4), 1, 1) + dcmd(7, u32(1) + u32(5)))
    save("device", "memory_told_again_and_again", u8(0) + 4 * MEM_SET)
    save("device", "impossible_slots", up
         + slot(1, u32(3) + u32(63)) + SYNC + slot(1, u32(3) + u32(0)) + SYNC
         + slot(1, u32(3) + u32(64) + u64(1)) + SYNC
         + slot(1, u32(3) + u32(65536)) + SYNC)
    # Each round offers three requests again, kicks, and stops at once.
    rounds = b""
    for n in range(1, 11):
        rounds += (b"".join(dmem(0x1004 + 2 * (i % 64), u16(2 * (i % 3)))
                            for i in range(3 * n, 3 * n + 3))
                   + dmem(0x1002, u16(3 * n + 3)) + u8(5)
                   + slot(1, u32(0)) + SYNC
                   + slot(1, u32(3) + u32(64) + u64(0) + u64(0x1000)
                          + u64(0x2000) + u64(0) + u64(1 << 32) + u32(n + 1)
                          + u32(3 * n + 3) + u32(1) + u32(1) + u32(1)))
    save("device", "pooled_ring_stopped_under_load",
         u8(1) + up[1:] + on_ring(init, look, look) + slot(1) + rounds + SYNC)
    # The slot turns impossible, and good again, while jobs are under way.
    rounds = b""
    for n in range(1, 11):
        rounds += (b"".join(dmem(0x1004 + 2 * (i % 64), u16(2 * (i % 3)))
                            for i in range(3 * n, 3 * n + 3))
                   + dmem(0x1002, u16(3 * n + 3)) + u8(5)
                   + slot(1, u32(0x80000003)) + slot(1) + SYNC)
    save("device", "pooled_ring_with_an_impossible_slot",
         u8(1) + up[1:] + on_ring(init, look, look) + slot(1) + rounds + SYNC)
    save("device", "ring_grows_without_a_start_in_a_pool",
         u8(1) + up[1:] + on_ring(init) + slot(1, u32(3) + u32(2)) + SYNC
         + dmem(16 * 50, gdesc(0x4000, 104, 1, 51) + gdesc(0x4400, 80, 2, 0))
         + dmem(0x1006, u16(50)) + dmem(0x1002, u16(2)) + slot(1) + u8(5)
         + SYNC)
    save("device", "absurd_slot", up + slot(1, b"\xff" * 80) + SYNC)
