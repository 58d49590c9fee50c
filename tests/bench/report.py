# SPDX-License-Identifier: BSD-3-Clause
"""From the benchmark's lines of JSON to a table and a picture.

    report.py RESULTS.json DIRECTORY

writes DIRECTORY/results.md and DIRECTORY/results.svg.  The first daemon that
was measured is the one which the others are compared with.
"""

import collections
import json
import math
import os
import statistics
import sys

# Not among the rows of the geometric mean: what they show is not a speed of
# the daemon (the disk's, or whether queues stand still).
APART = ("direct_", "write_sync", "slow_neighbour", "idle")

# Commands in the report begin where the sources do.
ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))), "")

Key = collections.namedtuple("Key", "row depth queues rings wait")


class Data:
    """All that was measured, by configuration and contestant."""

    def __init__(self, path):
        self.meta = {}
        self.titles = {}
        self.runs = collections.defaultdict(dict)
        self.syscalls = collections.defaultdict(dict)
        self.none = []
        self.who = []
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                self.add(json.loads(line))
        # The first of all that is no variant.
        first = next(iter(self.runs), None)
        self.main = first[2:] if first else None
        depths = sorted({key.depth for key in self.runs
                         if key[2:] == self.main and key.row != "idle"})
        self.depth = 8 if 8 in depths else depths[len(depths) // 2] \
            if depths else 0

    def add(self, line):
        if "meta" in line:
            self.meta[line["meta"]] = line["value"].replace(ROOT, "")
            if line["meta"].startswith("daemon "):
                self.who.append(line["meta"][7:])
            return
        row, who = line["row"], line["who"]
        self.titles[row] = line["title"]
        for kind in ("na", "failed"):
            if kind in line:
                self.none.append((row, who, kind, line[kind],
                                  line["queues"], line["rings"]))
                return
        key = Key(row, line["depth"], line["queues"], line["rings"],
                  line["wait"])
        if "syscalls" in line:
            self.syscalls[key][who] = line
        else:
            self.runs[key].setdefault(who, []).append(line)

    def keys(self, main):
        return [key for key in self.runs
                if (key[2:] == self.main) == main and key.row != "idle"]

    def rates(self, key, who):
        """Per round: operations or bytes per second."""
        return {run["round"]:
                run["ops"] * max(run["bytes"], 1) * 1e9 / max(run["ns"], 1)
                for run in self.runs[key].get(who, [])}

    def median(self, key, who, what):
        runs = self.runs[key].get(who)
        return statistics.median(map(what, runs)) if runs else None

    def cpu(self, key, who):
        return self.median(key, who, lambda run:
                           run["cpu_ns"] / 1e3 / max(run["ops"], 1))

    def ratios(self, key, peer):
        """Ours to the peer's, of each round in which both took part."""
        ours, theirs = self.rates(key, self.who[0]), self.rates(key, peer)
        return [ours[r] / theirs[r] for r in ours
                if theirs.get(r) and ours[r]]


def rate_text(value, is_bytes):
    if value is None:
        return "n/a"
    if is_bytes:
        return "%.0f MB/s" % (value / 1e6)
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return "%.3g %s" % (value / size, unit)
    return "%.3g" % value


def number(value):
    if value is None:
        return "n/a"
    if value >= 100:
        return "%.0f" % value
    return "%.3g" % value


def ratio_text(ratios):
    if not ratios:
        return "n/a"
    return "**%.2f** (%.2f–%.2f)" % (statistics.median(ratios), min(ratios),
                                     max(ratios))


def geometric(values):
    values = [v for v in values if v and v > 0]
    if not values:
        return None
    return math.exp(sum(map(math.log, values)) / len(values))


def table(out, head, rows):
    out.append("| " + " | ".join(head) + " |")
    out.append("|" + "---|" * len(head))
    out.extend("| " + " | ".join(row) + " |" for row in rows)
    out.append("")


def speed_rows(data, keys, describe):
    for key in keys:
        is_bytes = any(run["bytes"] for runs in data.runs[key].values()
                       for run in runs)
        row = [data.titles[key.row]] + describe(key)
        for who in ["native"] + data.who:
            rates = data.rates(key, who).values()
            row.append(rate_text(statistics.median(rates) if rates else None,
                                 is_bytes))
        row += [ratio_text(data.ratios(key, peer)) for peer in data.who[1:]]
        row += [number(data.cpu(key, who)) for who in data.who]
        yield row


def depth_text(data, key):
    """Long chains may leave no room for as many on the ring."""
    fit = min((run["fit"] for who, runs in data.runs[key].items()
               for run in runs if who != "native"), default=key.depth)
    return str(key.depth) if fit == key.depth else \
        "%d (%d fit)" % (key.depth, fit)


def speed_head(data, extra):
    ours, peers = data.who[0], data.who[1:]
    return (["row"] + extra + ["native, 1 thread"] + data.who +
            ["%s / %s" % (ours, peer) for peer in peers] +
            ["CPU µs/op, " + who for who in data.who])


def means(data, out):
    ours, peers = data.who[0], data.who[1:]
    keys = [key for key in data.keys(True) if key.depth == data.depth
            and not key.row.startswith(APART)]
    rows = []
    for peer in peers:
        speed = geometric(statistics.median(r) for r in
                          (data.ratios(key, peer) for key in keys) if r)
        cpu = geometric(
            data.cpu(key, ours) / data.cpu(key, peer) for key in keys
            if data.cpu(key, ours) and data.cpu(key, peer))
        rows.append(["%s / %s" % (ours, peer), number(speed), number(cpu),
                     str(sum(1 for key in keys if data.ratios(key, peer)))])
    if rows:
        out.append("Geometric means at depth %d, of the rows on memory "
                   "without the slow disk:\n" % data.depth)
        table(out, ["", "speed (more is better)", "CPU per operation "
                    "(less is better)", "rows"], rows)


def latencies(data, out):
    rows = []
    for key in data.keys(True):
        row = [data.titles[key.row], str(key.depth)]
        for who in ["native"] + data.who:
            row.append(" / ".join(
                number(data.median(key, who, lambda run, q=q: run[q] / 1e3))
                for q in ("p50", "p99", "p999"))
                if who in data.runs[key] else "n/a")
        rows.append(row)
    out.append("## Latency, µs: p50 / p99 / p99.9\n")
    table(out, ["row", "depth", "native"] + data.who, rows)


def per_op(data, out):
    rows = []
    for key in data.keys(True):
        if key.depth != data.depth and key not in data.syscalls:
            continue
        for who in data.who:
            if who not in data.runs[key]:
                continue
            traced = data.syscalls[key].get(who)
            ops = max(traced["ops"], 1) if traced else 1
            calls = sorted(((n / ops, name) for name, n in
                            traced["syscalls"].items()), reverse=True) \
                if traced else []
            what = {name: data.median(key, who, lambda run, name=name:
                                      run[name] / max(run["ops"], 1))
                    for name in ("switches", "preempted", "kicks")}
            rows.append(
                [data.titles[key.row], str(key.depth), who] +
                [number(what[name]) for name in
                 ("switches", "preempted", "kicks")] +
                [number(sum(n for n, _ in calls)) if traced else "n/a",
                 ", ".join("%s %s" % (name, number(n)) for n, name in calls
                           if n >= 0.01)])
    out.append("## Context switches and system calls per operation\n")
    table(out, ["row", "depth", "daemon", "switches", "preempted", "kicks",
                "system calls", "which (strace, a run of its own)"], rows)


def idle(data, out):
    rows = []
    for key in data.runs:
        if key.row != "idle":
            continue
        for who, runs in data.runs[key].items():
            run = runs[0]
            rows.append([who, "%.1f" % (run["cpu_ns"] / 1e3),
                         "%.2f" % (run["ns"] / 1e9),
                         str(run["switches"] + run["preempted"])])
    if rows:
        out.append("## Idle, with the rings running\n")
        table(out, ["daemon", "CPU µs", "in seconds", "switches"], rows)


def absent(data, out):
    rows = [[data.titles[row], who, kind, why, str(queues), rings]
            for row, who, kind, why, queues, rings in data.none
            if (row, who) != ("idle", "native")]
    if rows:
        out.append("## Not there\n")
        table(out, ["row", "daemon", "", "why", "queues", "rings"], rows)


def write_markdown(data, path):
    out = ["# Benchmark results\n",
           "By `tests/bench/run`; `tests/bench/README.md` says what the "
           "columns mean.  Each figure is the median of its rounds, a ratio "
           "the median of the ratios of each round, with the smallest and "
           "the largest.\n",
           "![ratios](results.svg)\n"]
    table(out, ["", ""], [[key, "`%s`" % value if key.startswith("daemon")
                           else value] for key, value in data.meta.items()])
    means(data, out)
    if data.main:
        out.append("## Speed: %d request queue%s, %s, completions by %s\n"
                   % (data.main[0], "s" * (data.main[0] > 1), data.main[1],
                      data.main[2]))
        table(out, speed_head(data, ["depth"]),
              speed_rows(data, data.keys(True), lambda key:
                         [depth_text(data, key)]))
    if data.keys(False):
        out.append("## Speed with other rings\n")
        table(out, speed_head(data, ["depth", "queues", "rings", "wait"]),
              speed_rows(data, data.keys(False), lambda key: [
                  depth_text(data, key)] + list(map(str, key[2:]))))
    latencies(data, out)
    per_op(data, out)
    idle(data, out)
    absent(data, out)
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out))


def svg_bars(data):
    """(title, [(peer, ratio, smallest, largest)]) of each row to draw."""
    bars = []
    for key in data.keys(True):
        at = [k.depth for k in data.keys(True) if k.row == key.row]
        if key.depth != (data.depth if data.depth in at else at[0]):
            continue
        row = []
        for peer in data.who[1:]:
            r = data.ratios(key, peer)
            if r:
                row.append((peer, statistics.median(r), min(r), max(r)))
        if row:
            bars.append((data.titles[key.row], row))
    return bars


def write_svg(data, path):
    bars = svg_bars(data)
    colours = ["#3b6ea5", "#c8742c", "#5a8f4e", "#8a5aa5"]
    left, width, high, gap, top = 270, 560, 11, 8, 64
    span = max([1.0] + [abs(math.log2(v)) for _, row in bars
                        for bar in row for v in bar[1:]])
    span = min(math.ceil(span), 6)
    middle = left + width / 2

    def x(ratio):
        return middle + max(-span, min(span, math.log2(ratio))) \
            * width / 2 / span

    out, y = [], top
    for title, row in bars:
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                   % (left - 10, y + len(row) * high / 2 + 4, title))
        for peer, ratio, low, most in row:
            colour = colours[(data.who.index(peer) - 1) % len(colours)]
            a, b = sorted((middle, x(ratio)))
            out.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%d" '
                       'fill="%s"/>' % (a, y, b - a, high - 2, colour))
            out.append('<path d="M%.1f %.1fH%.1f" stroke="#222"/>'
                       % (x(low), y + (high - 2) / 2, x(most)))
            out.append('<text x="%d" y="%.1f">%.2f</text>'
                       % (left + width + 10, y + high - 2, ratio))
            y += high
        y += gap
    grid = []
    for power in range(-span, span + 1):
        at = middle + power * width / 2 / span
        grid.append('<path d="M%.1f %dV%d" stroke="%s"/>'
                    % (at, top - 6, y, "#222" if power == 0 else "#ddd"))
        grid.append('<text x="%.1f" y="%d" text-anchor="middle">%s</text>'
                    % (at, top - 12, "%g×" % 2 ** power if power >= 0
                       else "1/%d×" % 2 ** -power))
    legend = []
    for i, peer in enumerate(data.who[1:]):
        legend.append('<rect x="%d" y="22" width="10" height="10" '
                      'fill="%s"/>' % (left + 110 * i,
                                       colours[i % len(colours)]))
        legend.append('<text x="%d" y="31">to %s</text>'
                      % (left + 110 * i + 15, peer))
    head = ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
            'font-family="sans-serif" font-size="11">'
            '<rect width="100%%" height="100%%" fill="#fff"/>'
            '<text x="10" y="16" font-size="13">Speed of %s relative to '
            'others, depth %d; longer to the right is better; lines: spread '
            'of the rounds</text>'
            % (left + width + 70, y + 10, data.who[0] if data.who else "",
               data.depth))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join([head] + legend + grid + out + ["</svg>\n"]))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data = Data(sys.argv[1])
    os.makedirs(sys.argv[2], exist_ok=True)
    write_markdown(data, os.path.join(sys.argv[2], "results.md"))
    write_svg(data, os.path.join(sys.argv[2], "results.svg"))


main()
