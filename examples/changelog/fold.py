#!/usr/bin/env python3
"""Folds a changelog in Kafka into the rows that there are now: key, window and row as `headwater export` prints them.

    ... | fold.py [GROUP]

Reads the topic's values from its beginning, a line each, behind their partition: `0<TAB>{...}` or `Partition:0<TAB>{...}`, as kcat
and Kafka's own console consumer print them. The README says how.

A changelog is a sum: each line adds a row (`"diff":1`) or takes one away (-1), and what is left is the table. So the order
between partitions does not matter. Within one, time only rises, until a mark takes it back:

    {"resume":"T"}     the job was started again from T: the lines of this partition whose time is after T are void
    {"resume":null}    it began anew: all of them are
"""

import json
import sys
from collections import defaultdict


def time_of(text):
    """A time that sorts: RFC 3339 with all six digits of the microseconds."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return seconds + "." + fraction.ljust(6, "0")


def dumps(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Table:
    def __init__(self):
        self.counts = defaultdict(int)  # how often a row is there: in the end once, or not at all
        self.lines = defaultdict(list)  # by partition, what may have to be taken back: (time, row, diff)

    def take(self, partition, line):
        if "resume" in line:
            self.take_back(partition, line["resume"])
            return
        window = line.get("window")
        row = (line["features"], dumps(line["key"]), window and dumps(window), dumps(line["row"]))
        self.add(row, line["diff"])
        self.lines[partition].append((time_of(line["time"]), row, line["diff"]))

    def take_back(self, partition, resume):
        lines = self.lines[partition]
        while lines and (resume is None or lines[-1][0] > time_of(resume)):
            _, row, diff = lines.pop()
            self.add(row, -diff)

    def add(self, row, diff):
        self.counts[row] += diff
        if self.counts[row] == 0:
            del self.counts[row]

    def rows(self, group):
        """The rows in the order of `export`: by key, then by window."""
        odd = [row for row, count in self.counts.items() if count != 1]
        if odd:
            sys.exit(f"fold.py: lines are missing, or the job was writing meanwhile: {odd[0]} is there {self.counts[odd[0]]} times")
        start = lambda window: time_of(json.loads(window)["start"]) if window else ""
        for row in sorted(self.counts, key=lambda row: (row[0], row[1], start(row[2]))):
            if group in (None, row[0]):
                yield row


def main():
    group = sys.argv[1] if len(sys.argv) > 1 else None
    table = Table()
    for text in sys.stdin:
        partition, tab, value = text.rstrip("\n").partition("\t")
        if not tab or not value.startswith("{"):
            sys.exit(f"fold.py: expected a partition, a tab and a line of JSON, not: {text[:80]!r}")
        table.take(partition.removeprefix("Partition:"), json.loads(value))
    for _, key, window, row in table.rows(group):
        window = f',"window":{window}' if window else ""
        print(f'{{"key":{key}{window},"row":{row}}}')


main()
