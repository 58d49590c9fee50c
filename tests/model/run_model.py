# SPDX-License-Identifier: BSD-3-Clause
"""Checks kick.pml with spin: what must hold, or that its mutants do not.

usage: run_model.py holds|mutants [WORD]     (WORD: only rows that hold it)
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kick.pml")
MEMORY_MB = 1000
DEPTH = 10000
SECONDS = 280

# ALLOW of the model: what the front-end may do.
DISABLE, SWAP, MEMORY, STOP, RESET = 1, 2, 4, 8, 16
ANY = 31
# The guest waits until the ring has been started once: what comes after is
# looked at more deeply.
WARM = "WARM"


def row(sentence, allow, ops, *more, reqs=2, ahead=2):
    """OPS operations out of ALLOW; REQS requests; AHEAD messages unread."""
    return sentence, ["ALLOW=%d" % allow, "OPS=%d" % ops, "REQS=%d" % reqs,
                      "AHEAD=%d" % ahead, *more]


HOLDS = [
    row("start and enable, in any order, control late", 0, 0,
        reqs=3, ahead=4),
    row("disable and enable while it all begins", DISABLE, 1, ahead=3),
    row("a kick fd swapped while it all begins", SWAP, 1, ahead=3),
    row("a memory table changed while it all begins", MEMORY, 1, ahead=3),
    row("stop and start with base while it all begins", STOP, 1, ahead=3),
    row("device reset while it all begins", RESET, 1),
    row("two of disable and kick fd swap", DISABLE + SWAP, 2, WARM),
    row("two of disable and stop", DISABLE + STOP, 2, WARM),
    row("two of memory change and stop", MEMORY + STOP, 2, WARM),
    row("two of memory change and kick fd swap", MEMORY + SWAP, 2, WARM),
    row("two resets", RESET, 2, WARM),
    row("three memory changes", MEMORY, 3, WARM),
    row("any one, kicks suppressed by index", ANY, 1, WARM, "EVENT_IDX"),
    row("two disables, kicks suppressed by index", DISABLE, 2, WARM,
        "EVENT_IDX"),
    row("any one, requests in the pool", ANY, 1, WARM, "POOL"),
    row("any one but a reset, threads that lose their ring",
        ANY - RESET, 1, WARM, "POOL", "TAKE"),
    row("any one, requests that wait for locks", ANY, 1, WARM, "WAITS"),
    row("any one, with naps", ANY, 1, WARM, "NAP"),
    row("start and enable, with naps, by index", 0, 0, "NAP", "EVENT_IDX",
        reqs=3, ahead=3),
    row("any one, with polling", ANY, 1, WARM, "POLL"),
    row("start and enable, with polling, by index", 0, 0, "POLL",
        "EVENT_IDX", reqs=3, ahead=3),
    row("a stop, with polling, requests in the pool", STOP, 1, WARM, "POLL",
        "POOL"),
    row("for ever: start and enable, with naps", 0, 0, "LIVENESS", "NAP",
        ahead=3),
    row("for ever: start and enable", 0, 0, "LIVENESS", ahead=3),
    row("for ever: any one", ANY, 1, WARM, "LIVENESS", reqs=1),
    row("for ever: a stop, requests in the pool", STOP, 1, WARM, "LIVENESS",
        "POOL", reqs=1),
]

# How a refutation reads: pan's words.
LOST = r"assertion violated .*used==avail"
DRAINED = r"assertion violated .*looked&&"
LATE_WRITE = r"assertion violated +!\(quiet\)"
OLD_MEMORY = r"assertion violated .*mem>=mem_min"
UNKNOWN_FD = r"assertion violated .*r_kick_gen<=mail_kick"
UNKNOWN_MEMORY = r"assertion violated .*r_mem_gen<=mm\)"
TORN = r"assertion violated .*r_tag==r_tag2"
STUCK = r"pan:1: invalid end state"
NEVER = r"acceptance cycle"


def mutant(sentence, refuted_by, name, allow, ops, *more, **sizes):
    return (*row(sentence, allow, ops, "MUTANT_" + name, *more, **sizes),
            refuted_by)


MUTANTS = [
    mutant("draining before the check is seen", DRAINED,
           "DRAIN_BEFORE_CHECK", 0, 0, reqs=1),
    mutant("draining before the check loses a kick, without the scan", LOST,
           "DRAIN_BEFORE_CHECK", 0, 0, "NO_DRAIN_ASSERT", "MUTANT_NO_RESCAN",
           reqs=1),
    mutant("replying before the publish", LATE_WRITE,
           "REPLY_BEFORE_PUBLISH", DISABLE, 1, WARM),
    mutant("replying before the sync", LATE_WRITE,
           "REPLY_BEFORE_SYNC", DISABLE, 1, WARM),
    mutant("a sync that does not wait, at a stop", LATE_WRITE,
           "SYNC_NO_WAIT", STOP, 1, WARM),
    mutant("a sync that does not wait, at a memory change", OLD_MEMORY,
           "SYNC_NO_WAIT", MEMORY, 1, WARM),
    mutant("a stop that does not wait for the pool", OLD_MEMORY,
           "NO_WAIT_IN_FLIGHT", STOP, 1, WARM, "POOL"),
    mutant("waiting for the pool before looking at its list", STUCK,
           "WAIT_BEFORE_REAP", STOP, 1, WARM, "POOL"),
    mutant("a stop that does not wait for a thread that was taken",
           OLD_MEMORY, "NO_WAIT_IN_FLIGHT", STOP, 1, WARM, "POOL", "TAKE"),
    mutant("a thread that was taken, and answers all the same", STUCK,
           "TAKEN_PUSHES", STOP, 1, WARM, "POOL", "TAKE"),
    mutant("a ring that is taken though its thread has just left", LOST,
           "TAKE_BLINDLY", STOP, 1, WARM, "POOL", "TAKE"),
    mutant("no scan on becoming live, after a disable", LOST,
           "NO_RESCAN", DISABLE, 1, WARM),
    mutant("no scan on becoming live, with another kick fd", LOST,
           "NO_RESCAN", SWAP, 1, WARM),
    mutant("no scan on becoming live, for ever", NEVER,
           "NO_RESCAN", DISABLE, 1, WARM, "LIVENESS"),
    mutant("waking before the publish", LOST,
           "WAKE_BEFORE_PUBLISH", DISABLE, 1, WARM),
    mutant("publishing before the kick fd is acknowledged", UNKNOWN_FD,
           "PUBLISH_BEFORE_ACK", SWAP, 1, WARM),
    mutant("publishing before the memory table is acknowledged",
           UNKNOWN_MEMORY, "MEM_PUBLISH_BEFORE_ACK", MEMORY, 1, WARM),
    mutant("arming without another look", LOST,
           "ARM_NO_RECHECK", 0, 0),
    mutant("arming by index without another look", LOST,
           "ARM_NO_RECHECK", 0, 0, "EVENT_IDX"),
    mutant("arming without a barrier", LOST,
           "ARM_NO_BARRIER", 0, 0),
    mutant("arming by index without a barrier", LOST,
           "ARM_NO_BARRIER", 0, 0, "EVENT_IDX"),
    mutant("a nap without an end", LOST, "NAP_FOR_EVER", 0, 0, "NAP"),
    mutant("a nap without an end, by index", LOST, "NAP_FOR_EVER", 0, 0,
           "NAP", "EVENT_IDX"),
    mutant("polling, and a sleep without arming", LOST, "POLL_UNARMED", 0, 0,
           "POLL"),
    mutant("the same by index", LOST, "POLL_UNARMED", 0, 0, "POLL",
           "EVENT_IDX"),
    mutant("polling that looks at the ring alone", STUCK, "POLL_BLIND",
           DISABLE, 1, WARM, "POLL"),
    mutant("an answer to who waited, while the ring rests", LATE_WRITE,
           "ANSWER_AT_REST", DISABLE, 1, WARM, "WAITS"),
    mutant("a start that forgets who waits", LOST,
           "FORGET_ALWAYS", STOP, 1, WARM, "WAITS"),
    mutant("a ring begun anew that answers who waited before", LOST,
           "KEEP_ALWAYS", RESET, 1, WARM, "WAITS"),
    mutant("a lock granted without a wake", LOST,
           "GRANT_NO_WAKE", 0, 0, "WAITS"),
    mutant("a writer without the odd count", TORN,
           "NO_ODD_STORE", DISABLE, 1, WARM),
]


def run(args, where):
    done = subprocess.run(args, cwd=where, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=SECONDS)
    return done.returncode, done.stdout


def check(defines, where):
    """(pan's words, None), or (words, why they mean nothing)."""
    live = "LIVENESS" in defines
    status, said = run(["spin", "-a", *["-D" + d for d in defines], MODEL],
                       where)
    if status or "rror" in said:
        return said, "spin refuses the model"
    # A mutant falls early: what takes its time there is the compiler.
    speed = "-O0" if "MUTANT_" in " ".join(defines) else "-O2"
    status, said = run(["gcc", speed, "-w", "-DMEMLIM=%d" % MEMORY_MB,
                        "-DCOLLAPSE", "-DCOLLAPSE" if live else "-DSAFETY",
                        "-o", "pan", "pan.c"], where)
    if status:
        return said, "gcc refuses pan.c"
    status, said = run(["./pan", "-m%d" % DEPTH, *(["-a"] * live)],
                       where)
    # An incomplete search looks just like a good one.
    for limit in ("max search depth too small", "MEMLIM", "out of memory",
                  "Search not completed", "aborting"):
        if limit in said and not re.search(r"errors: [1-9]", said):
            return said, "the search was cut short: " + limit
    if not re.search(r"errors: \d+", said):
        return said, "pan does not end as it should (exit %d)" % status
    return said, None


def holds(defines, where):
    said, why = check(defines, where)
    if not why and not re.search(r"errors: 0\b", said):
        why = "it does not hold"
    return said, why


def refuted(defines, where, how):
    said, why = check(defines, where)
    if not why and re.search(r"errors: 0\b", said):
        why = "nothing was found wrong with it"
    if not why and not re.search(how, said):
        why = "refuted, but not by: " + how
    return said, why


def sizes(said):
    states = re.search(r"([\d.e+]+) states, stored", said)
    depth = re.search(r"depth reached (\d+)", said)
    how = re.search(r"pan:1: (.*)", said)
    return ", ".join([m.group(1) + unit for m, unit in
                      ((states, " states"), (depth, " steps deep"), (how, ""))
                      if m])


def skip(why):
    """This can not run here: a failure where all must run."""
    if os.environ.get("VIRTIOFSD_MUST_RUN") == "1":
        print("1..1\nnot ok 1 - can not run here: " + why)
        sys.exit(1)
    print("1..0 # SKIP " + why)
    sys.exit(77)


def main():
    for tool in ("spin", "gcc"):
        if not shutil.which(tool):
            skip(tool + " is not installed")
    what, word = sys.argv[1], (sys.argv[2:] or [""])[0]
    rows = {"holds": HOLDS, "mutants": MUTANTS}[what]
    rows = [r for r in rows if word in " ".join([r[0], *r[1]])]
    bad = 0
    print("1..%d" % len(rows))
    for number, (sentence, defines, *how) in enumerate(rows, 1):
        with tempfile.TemporaryDirectory(prefix="virtiofsd-model.") as where:
            try:
                said, why = (refuted(defines, where, *how) if how
                             else holds(defines, where))
            except subprocess.TimeoutExpired:
                said, why = "", "not done after %d s" % SECONDS
        if why:
            bad += 1
            print("# %s\n# %s" % (why, said.strip().replace("\n", "\n# ")))
        print("# -D%s: %s" % (" -D".join(defines), sizes(said)))
        print("%s %d - %s%s" % ("not ok" if why else "ok", number,
                                "refuted: " if how else "", sentence),
              flush=True)
    sys.exit(1 if bad else 0)


main()
