# SPDX-License-Identifier: BSD-3-Clause
"""What a front-end and a control process send."""

from seeds import region, save, u16, u32, u64, u8

# ---- vhost-user: (request, payload, descriptors, flags beside the version)

UVA = 0x7f0000000000
GOOD = 1 << 32 | 1 << 30 | 1 << 29 | 1 << 28
PF_ALL = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 13 | 1 << 15 | 1 << 16
NEED_REPLY = 8
MEMORY, EVENT = 0x00, 0x10  # kind of the descriptors sent


def addr(ring, at=0, flags=0):
    return (u32(ring) + u32(flags) + u64(UVA + at) + u64(UVA + at + 0x2000)
            + u64(UVA + at + 0x1000) + u64(0))


HANDSHAKE = [
    (1, b"", 0, 0), (15, b"", 0, 0), (16, u64(PF_ALL), 0, 0),
    (17, b"", 0, 0), (36, b"", 0, 0), (21, b"", EVENT | 1, NEED_REPLY),
    (3, b"", 0, 0), (1, b"", 0, 0),
]
GPA = 0x100000
MEMORY_ADDED = [(37, u64(0) + region(GPA, 0x20000, UVA), MEMORY | 1,
                 NEED_REPLY)]
MEMORY_REMOVED = [(38, u64(0) + region(GPA, 0x20000, UVA), 0, NEED_REPLY)]


def fds_of(ring):
    return [(13, u64(ring), EVENT | 1, 0), (14, u64(ring), EVENT | 1, 0)]


def ring_up(ring):
    return [(8, u32(ring) + u32(128), 0, 0), (10, u32(ring) + u32(0), 0, 0),
            (9, addr(ring, ring * 0x8000), 0, 0),
            (12, u64(ring), EVENT | 1, 0)]


def enable(ring, on=1, flags=0):
    return [(18, u32(ring) + u32(on), 0, flags)]


def stop(ring):
    return [(11, u32(ring) + u32(0), 0, 0)]


QEMU = (HANDSHAKE + fds_of(0) + fds_of(1) + [(2, u64(GOOD), 0, 0)]
        + MEMORY_ADDED + ring_up(0) + ring_up(1) + enable(0) + enable(1)
        + [(39, u64(15), 0, 0), (40, b"", 0, 0)]
        + enable(0, 0) + stop(0) + enable(1, 0) + stop(1))
OLD = [(3, b"", 0, 0), (2, u64(1 << 32), 0, 0),
       (5, u32(2) + u32(0) + region(0, 0x10000, UVA)
        + region(0x10000, 0x10000, UVA + 0x10000, 0x10000), MEMORY | 2, 0)]

CONVERSATIONS = {
    "qemu_from_start_to_stop": QEMU,
    "qemu_stops_and_starts_again": QEMU + ring_up(0) + enable(0),
    "rings_enabled_without_protocol_features":
        OLD + ring_up(0) + ring_up(1) + stop(0) + stop(1),
    "second_request_queue": HANDSHAKE + [(2, u64(GOOD), 0, 0)] + MEMORY_ADDED
        + ring_up(0) + ring_up(1) + ring_up(2) + enable(0) + enable(1)
        + enable(2),
    "ring_beyond_the_last": HANDSHAKE + ring_up(0) + ring_up(65)
        + enable(65, 1, NEED_REPLY) + stop(65),
    "memory_taken_from_a_running_ring": QEMU[:-4] + MEMORY_REMOVED + stop(0)
        + MEMORY_ADDED,
    "memory_taken_away_at_last": QEMU[:-4] + MEMORY_REMOVED,
    "kick_before_memory": HANDSHAKE + [(2, u64(GOOD), 0, 0)] + ring_up(0)
        + MEMORY_ADDED + enable(0),
    "ring_outside_of_memory": HANDSHAKE + [(2, u64(GOOD), 0, 0)]
        + MEMORY_ADDED + ring_up(7) + enable(7),
    "device_reset": QEMU[:-4] + [(34, b"", 0, NEED_REPLY)] + ring_up(0),
    "status_zero_under_load": QEMU[:-4] + [(39, u64(0), 0, NEED_REPLY),
                                           (40, b"", 0, 0)],
    "migration_log": QEMU[:-4]
        + [(6, u64(0x1000) + u64(0), MEMORY | 1, 0),
           (2, u64(GOOD | 1 << 26), 0, 0), (9, addr(0, 0, 1), 0, 0),
           (7, b"", EVENT | 1, 0), (2, u64(GOOD), 0, 0)],
    "owner_given_up_and_taken_again": QEMU[:-4] + [(4, b"", 0, 0),
                                                   (3, b"", 0, 0)],
    "configuration_space": HANDSHAKE[:2]
        + [(16, u64(PF_ALL | 1 << 9), 0, 0), (3, b"", 0, 0),
           (24, u32(0) + u32(44) + u32(0) + bytes(44), 0, 0),
           (24, u32(40) + u32(256) + u32(0) + bytes(256), 0, 0),
           (25, u32(0) + u32(4) + u32(0) + bytes(4), 0, NEED_REPLY)],
    "kick_without_descriptor": HANDSHAKE + [(2, u64(GOOD), 0, 0)]
        + MEMORY_ADDED + ring_up(0)[:-1] + [(12, u64(0x100), 0, 0)]
        + enable(0),
    "features_never_offered": [(3, b"", 0, 0), (2, u64(1 << 63), 0, 0)],
    "unknown_requests": HANDSHAKE + [(0, b"", 0, NEED_REPLY),
                                     (60, bytes(16), 0, NEED_REPLY)],
    "regions_that_overlap": HANDSHAKE + MEMORY_ADDED
        + [(37, u64(0) + region(GPA + 0x1000, 0x1000, UVA), MEMORY | 1,
            NEED_REPLY)],
    "region_that_wraps": HANDSHAKE
        + [(37, u64(0) + region(2**64 - 0x1000, 0x2000, UVA), MEMORY | 1,
            NEED_REPLY)],
}


def wire_bytes(conversation):
    data = b""
    for request, payload, fds, flags in conversation:
        message = u32(request) + u32(1 | flags) + u32(len(payload)) + payload
        data += u8(fds & 15) + u16(len(message)) + message
    return data


def dribble(conversation):
    data = b""
    for request, payload, fds, flags in conversation:
        message = u32(request) + u32(1 | flags) + u32(len(payload)) + payload
        for i in range(0, len(message), 5):
            piece = message[i:i + 5]
            data += u8(fds & 15 if i == 0 else 0) + u16(len(piece)) + piece
    return data


def dispatch_bytes(conversation, script=b"", tag=0):
    data = u8(tag) + u8(len(script)) + script
    for request, payload, fds, flags in conversation:
        data += (u8(request) + u8(flags) + u8(fds) + u16(len(payload))
                 + payload)
    return data


def control():
    save("wire", "qemu", wire_bytes(QEMU))
    save("wire", "qemu_in_small_pieces", dribble(QEMU[:16]))
    save("wire", "header_cut_short", u8(0) + u16(7) + bytes(7))
    save("wire", "payload_cut_short",
         u8(1) + u16(14) + u32(5) + u32(1) + u32(264) + bytes(2))
    save("wire", "payload_too_long",
         u8(0) + u16(12) + u32(5) + u32(1) + u32(0xffffffff))
    save("wire", "payload_of_6000_bytes",
         u8(0) + u16(12) + u32(5) + u32(1) + u32(6000)
         + u8(0) + u16(6000) + bytes(6000))
    save("wire", "nine_descriptors",
         u8(9) + u16(12) + u32(5) + u32(1) + u32(0))
    save("wire", "descriptors_with_every_byte",
         b"".join(u8(3) + u16(1) + u8(b)
                  for b in u32(5) + u32(1) + u32(4) + bytes(4)))
    save("wire", "two_messages_at_once",
         u8(2) + u16(24) + 2 * (u32(1) + u32(1) + u32(0)))
    save("wire", "version_two", u8(0) + u16(12) + u32(1) + u32(2) + u32(0))
    save("wire", "a_reply", u8(0) + u16(12) + u32(1) + u32(5) + u32(0))
    for name, conversation in CONVERSATIONS.items():
        save("dispatch", name,
             dispatch_bytes(conversation, tag="config" in name))
    for fate, name in enumerate([
            "refuses", "dies", "fails_by_event", "tells_of_a_broken_ring",
            "answers_another_command", "sends_descriptors",
            "tells_an_absurd_position", "sends_a_bad_event"], 1):
        save("dispatch", "request_process_" + name,
             dispatch_bytes(QEMU, bytes(12) + u8(fate) + bytes(3)))
        save("dispatch", "at_stop_request_process_" + name,
             dispatch_bytes(QEMU, bytes(14) + 8 * u8(fate)))


# ---- the private channels

def record(kind, payload, fds=0):
    return u8(kind) + u8(fds) + u16(len(payload)) + payload


HELLO = u16(1) + u32(1) + u32(65)


def channels():
    good = [(HELLO, 66), (u16(2) + u32(1) + u32(1) + region(0, 4096, 4096)[:24],
                          1),
            (u16(5) + u32(0) + u32(1), 1), (u16(6) + u32(0) + u32(1), 1),
            (u16(9) + u32(0xffffffff), 0), (u16(8) + u64(4096) + u64(0), 1),
            (u16(10), 0), (u16(11), 1)]
    save("ring_ipc", "commands",
         b"".join(record(0, p, n) for p, n in good))
    save("ring_ipc", "hello_with_the_wrong_count", record(0, HELLO, 65))
    save("ring_ipc", "too_many_descriptors", record(0, u16(9), 99))
    save("ring_ipc", "events", record(2, u16(64) + u32(1) + u32(-22))
         + record(2, u16(65)))
    save("ring_ipc", "command_on_the_event_channel", record(2, u16(9)))
    save("ring_ipc", "type_between_the_channels", record(0, u16(12)))
    save("ring_ipc", "answers", record(0x81, u16(0) + u32(1) + u32(65), 1)
         + record(0x31, u16(0)) + record(0x43, u16(1)))
    save("ring_ipc", "answer_with_an_event_before",
         u8(0x89) + u8(0) + u16(2) + u16(65) + u16(2) + u16(0))
    save("ring_ipc", "answer_with_descriptors", record(0x81, u16(0), 3))
    save("ring_ipc", "bytes", record(4, bytes(216)) + record(5, bytes(3)))
    save("ring_ipc", "nothing", record(4, b""))
    save("ring_ipc", "too_long", record(4, b"VIP1" + bytes(230), 2))
