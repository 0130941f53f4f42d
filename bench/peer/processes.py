"""What a server's processes took of the machine, as /proc has it: CPU time and memory.

A server is a process and all that descend from it. What it serves is no business of this file.
"""

import os
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.05


def parse_stat(text):
    """Parent, user ticks and system ticks of a line of /proc/PID/stat."""
    # The name stands in parentheses and may hold anything, parentheses too.
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), int(fields[11]), int(fields[12])


def parse_pss(text):
    """Bytes of /proc/PID/smaps_rollup, pages that are shared counted in parts."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss in it")


def descendants(root, parents):
    """`root` and all below it, where `parents` has the parent of each process."""
    found, fresh = {root}, {root}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return sorted(found)


def read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()


def tree(root):
    """Process `root` and its descendants, as they are now."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = parse_stat(read(f"/proc/{name}/stat"))[0]
            except (OSError, ValueError):
                continue  # It has ended since.
    return descendants(root, parents)


def pss_bytes(pids):
    """Memory of these processes, a page that they share counted once."""
    return sum(parse_pss(read(f"/proc/{pid}/smaps_rollup")) for pid in pids)


def cpu_seconds(pids):
    """CPU time so far: all, user, system. The scheduler's clock has the sum to the tick of the
    running thread; /proc/PID/stat has the parts."""
    total = user = system = 0.0
    for pid in pids:
        _, user_ticks, system_ticks = parse_stat(read(f"/proc/{pid}/stat"))
        user += user_ticks / TICKS
        system += system_ticks / TICKS
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                total += int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) / 1e9
        except FileNotFoundError:
            continue
    # A kernel without schedstat leaves the ticks.
    return (total or user + system), user, system


def between(samples, start, end):
    """Growth of each figure between two times, in straight lines between samples of
    (time, figure, figure, ...)."""

    def at(moment):
        before = samples[0]
        for sample in samples:
            if sample[0] >= moment:
                span = sample[0] - before[0]
                part = (moment - before[0]) / span if span > 0 else 1.0
                return [a + (b - a) * part for a, b in zip(before[1:], sample[1:])]
            before = sample
        return list(before[1:])

    return [b - a for a, b in zip(at(start), at(end))]


class Watch:
    """Samples the CPU time of processes while a load runs."""

    def __init__(self, pids):
        self._pids = pids
        self._samples = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _sample(self):
        try:
            self._samples.append((time.time(), *cpu_seconds(self._pids)))
        except OSError:
            self._ended.set()  # The server is gone; the load says so.

    def _run(self):
        while not self._ended.wait(SAMPLE_S):
            self._sample()
        self._sample()

    def taken(self, start, end):
        """CPU seconds from `start` to `end`: all, user, system."""
        return between(self._samples, start, end)
