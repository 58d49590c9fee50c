# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark works: every row, tiny counts, data verified; no times.

    smoke.py BENCH VIRTIOFSD REPORT.PY
"""

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

BENCH, VIRTIOFSD, REPORT = sys.argv[1:4]
MUST_RUN = os.environ.get("VIRTIOFSD_MUST_RUN") == "1"

# What a machine may lack; with MUST_RUN nothing but direct I/O.
EXCUSES = ["no O_DIRECT on this file system"]
if not MUST_RUN:
    EXCUSES.append("no FUSE or mount namespace to be had")

# Written down once more: a row that gets lost is missed.
ROWS = """getattr lookup_hit lookup_new lookup_missing open create mkdir
list_small list_big git_status read_4k read_128k read_1m write_4k write_128k
write_1m direct_read_4k direct_read_128k direct_read_1m direct_write_4k
direct_write_128k direct_write_1m write_sync slow_neighbour idle""".split()

count = 0
failed = False


def check(what, wrong):
    """One line of TAP; @wrong lists what is not as it should be."""
    global count, failed
    count += 1
    for line in wrong:
        print("# " + line)
    print("%s %d - %s" % ("not ok" if wrong else "ok", count, what))
    failed = failed or bool(wrong)


def bench(work, name, daemon, *args):
    """Return: exit status, lines of results, what was printed."""
    out = os.path.join(work, name + ".json")
    run = subprocess.run(
        [BENCH, "--daemon", daemon, "--out", out, "--dir", work,
         "--disk-dir", work, *args],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)
    with open(out, encoding="utf-8") as lines:
        return run.returncode, [json.loads(line) for line in lines], \
            run.stdout


def row_names():
    told = subprocess.run([BENCH, "--list"], stdout=subprocess.PIPE,
                          text=True, check=True).stdout
    return dict(line.split(None, 1) for line in told.splitlines())


def measured(lines, row, who):
    return [line for line in lines if line.get("row") == row
            and line["who"] == who and "round" in line]


def missing_rows(lines):
    """Rows that neither have a result nor a good excuse."""
    for row in ROWS:
        excuses = [line["na"] for line in lines
                   if line.get("row") == row and "na" in line]
        for who in ("native", "ours"):
            if row == "idle" and who == "native":
                continue
            if not measured(lines, row, who) and \
                    not any(text in EXCUSES for text in excuses):
                yield "%s, %s: %s" % (row, who, excuses or "nothing")


def incomplete(lines):
    for line in lines:
        if "round" not in line or line["row"] == "idle":
            continue
        if line["ops"] < 1 or line["ns"] <= 0 or \
                not 0 < line["p50"] <= line["p99"] <= line["p999"]:
            yield json.dumps(line)


def missing_variants(lines):
    seen = {(line["queues"], line["rings"], line["wait"]) for line in lines
            if "round" in line and line["who"] == "ours"}
    for want in ((1, "indirect+event_idx", "poll"),
                 (2, "indirect+event_idx", "poll"),
                 (1, "event_idx", "poll"), (1, "indirect", "poll"),
                 (1, "plain", "poll"), (1, "indirect+event_idx", "call")):
        if want not in seen:
            yield str(want)


def missing_in_report(work, lines, rows):
    subprocess.run([sys.executable, REPORT, os.path.join(work, "all.json"),
                    work], check=True)
    with open(os.path.join(work, "results.md"), encoding="utf-8") as f:
        text = f.read()
    speed = text.partition("## Speed:")[2].partition("\n## ")[0]
    for row, title in rows.items():
        if measured(lines, row, "ours") and row != "idle" and \
                "| %s |" % title not in speed:
            yield "the table lacks " + row
    if "## Idle" not in text:
        yield "results.md lacks the idle row"
    xml.etree.ElementTree.parse(os.path.join(work, "results.svg"))


def main():
    rows = row_names()
    with tempfile.TemporaryDirectory(dir="/tmp") as work:
        status, lines, said = bench(
            work, "all", "ours=%s --allow-direct-io" % VIRTIOFSD, "--tiny",
            "--ops", "64", "--rounds", "1", "--seconds", "10", "--depth",
            "1,8", "--queues", "1,2", "--rings",
            "indirect+event_idx,event_idx,indirect,plain",
            "--idle-seconds", "0.05", "--no-syscalls", "--quiet")
        check("all rows run, and their data are right",
              said.splitlines() + ["exit status %d" % status]
              if status else [])
        check("each row has a result", list(missing_rows(lines)))
        check("each result is whole", list(incomplete(lines)))
        check("rings are varied", list(missing_variants(lines)))
        check("the report holds each row",
              list(missing_in_report(work, lines, rows)))
        status, lines, said = bench(
            work, "deeper", "ours=" + VIRTIOFSD, "--tiny", "--rows",
            "write_4k", "--ops", "64", "--rounds", "1", "--depth", "1",
            "--queues", "1,2", "--no-syscalls", "--quiet")
        check("two queues take a depth of two, whatever was asked for",
              [] if status == 0 and any(line.get("depth") == 2
                                        for line in lines)
              else said.splitlines() + ["exit status %d" % status])
        status, lines, _ = bench(work, "bad", "bad=false", "--tiny",
                                 "--rows", "getattr", "--ops", "1")
        check("a daemon that does not start is a failure",
              [] if status == 1 and any("failed" in x for x in lines)
              else ["exit status %d" % status])
        check("nothing is left behind",
              [name for name in os.listdir(work)
               if name.startswith("vfsd-bench")])
    print("1..%d" % count)
    return 1 if failed else 0


sys.exit(main())
