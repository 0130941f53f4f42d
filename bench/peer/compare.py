"""Aorta, Kamailio and a bare datagram loop under the same load, one after the other on one core.

Started by `run`, which has built and installed what this needs.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import load
import processes
import report
import servers
from figures import RATES, at_rate, ratios

# Seconds of each run, rounds, accounts, accounts of the measure of memory.
FULL = {"seconds": 3, "rounds": 3, "accounts": 100_000, "most_accounts": 1_000_000}
QUICK = {"seconds": 1, "rounds": 1, "accounts": 20_000, "most_accounts": 100_000}
# What keeps a side from being measured; the last where its processes are gone.
TROUBLE = (servers.NotThere, load.Failed, OSError)


def say(text):
    """What goes on, beside the figures."""
    print(f"peer: {text}", file=sys.stderr, flush=True)


class Comparison:
    """What was measured so far, and under which conditions."""

    def __init__(self, arguments, directory):
        self.scale = dict(QUICK if arguments.quick else FULL)
        if arguments.rounds:
            self.scale["rounds"] = arguments.rounds
        self.quick = arguments.quick
        self.binaries = arguments.binaries
        self.directory = Path(directory)
        cpus = sorted(os.sched_getaffinity(0))
        self.server_cpu, self.generator_cpu = cpus[0], cpus[min(1, len(cpus) - 1)]
        self.missing = []
        self.runs = {side.key: {} for side in servers.SIDES}
        self.memory = {}
        self.sipp = None
        self.sides = list(servers.SIDES)
        if len(cpus) == 1:
            self.lacks("a second CPU: server and generator share one, so the rates mean little")
        if not servers.kamailio():
            self.lacks("Kamailio is not installed: nothing is compared with it")
            self.sides.remove(servers.KAMAILIO)
        # This program stays off the server's core.
        os.sched_setaffinity(0, {self.generator_cpu})

    def lacks(self, what):
        say(f"MISSING: {what}")
        self.missing.append(what)

    def start(self, side, accounts):
        return servers.Running(side, accounts, self.server_cpu, self.directory, self.binaries)

    def measure(self, side, server, point, scenario, accounts, **more):
        """One run; figures go where the point is."""
        seconds = self.scale["seconds"]
        one = load.run(
            self.binaries, server, scenario, accounts, seconds, self.generator_cpu, **more
        )
        say(
            f"{side.title}: {point}: {one['requests_per_second']:.0f} requests/s,"
            f" {one['cpu_us']:.2f} us each, p99 {one['p99_us']:.0f} us"
        )
        self.runs[side.key].setdefault(point, []).append(one)

    def drive(self, side):
        """Every load against a fresh server."""
        accounts = self.scale["accounts"]
        with self.start(side, accounts) as server:
            for scenario in ("register", "refresh", "challenge"):
                self.measure(side, server, scenario, scenario, accounts)
            if not self.quick:
                self.measure(side, server, "refresh_offload", "refresh", accounts, offload=True)
            for rate in RATES:
                self.measure(side, server, at_rate(rate), "refresh", accounts, rate=rate)

    def weigh(self, side):
        """Bytes of a binding: everybody registers once, then refreshes for a while."""
        accounts = self.scale["most_accounts"]
        with self.start(side, accounts) as server:
            before = processes.pss_bytes(server.pids)
            self.measure(side, server, "refresh_at_most_accounts", "refresh", accounts)
            after = processes.pss_bytes(server.pids)
        self.memory[side.key] = {
            "accounts": accounts,
            "bytes_per_binding": (after - before) / accounts,
            "before_mib": before / (1 << 20),
        }

    def try_sipp(self):
        """The generator that a user would take otherwise, against a server that costs least."""
        version = load.sipp_version()
        if version is None:
            return self.lacks("SIPp is not installed: its row is left out")
        seconds = self.scale["seconds"] + 1
        try:
            with self.start(servers.LOOP, 1) as server:
                figures = load.sipp(
                    server, self.scale["accounts"], seconds, self.generator_cpu, self.directory
                )
        except TROUBLE as why:
            return self.lacks(f"SIPp gave no figures: {why}")
        self.sipp = {"version": version, "against": servers.LOOP.title, **figures}

    def attempt(self, side, what):
        """Does what it can: a peer that does not run is said and left out, Aorta must."""
        try:
            what(side)
        except TROUBLE as why:
            if side is servers.AORTA:
                raise
            self.lacks(f"{side.title}: {why}")
            self.sides.remove(side)

    def all(self):
        for number in range(self.scale["rounds"]):
            say(f"round {number + 1} of {self.scale['rounds']}")
            # Nobody is always first.
            turn = number % len(self.sides)
            for side in self.sides[turn:] + self.sides[:turn]:
                self.attempt(side, self.drive)
        for side in [one for one in self.sides if one.binds]:
            self.attempt(side, self.weigh)
        if self.quick:
            self.missing.append(
                f"memory at {FULL['most_accounts']} accounts: --quick weighs"
                f" {self.scale['most_accounts']}"
            )
        self.try_sipp()

    def conditions(self):
        return {
            **self.scale,
            "quick": self.quick,
            "server_cpu": self.server_cpu,
            "generator_cpu": self.generator_cpu,
            "kamailio_version": servers.kamailio_version(),
        }


def main():
    parser = argparse.ArgumentParser(prog="bench/peer/run", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="under a minute, rough")
    parser.add_argument("--json", action="store_true", help="the line of JSON alone on stdout")
    parser.add_argument("--rounds", type=int, help="instead of 3, with --quick 1")
    parser.add_argument("--binaries", type=Path, required=True, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    with tempfile.TemporaryDirectory(prefix="aorta-peer-") as directory:
        comparison = Comparison(arguments, directory)
        try:
            comparison.all()
        except TROUBLE as why:
            say(f"FAILED: {why}")
            return 1
    runs = comparison.runs
    whole = report.summary(
        comparison.conditions(), runs, comparison.memory, comparison.sipp, comparison.missing
    )
    print(report.table(whole, ratios(runs)), file=sys.stderr if arguments.json else sys.stdout)
    print(report.as_json(whole), flush=True)
    # Rates and latencies fail nobody; answers that are wrong are no figures.
    wrong = sum(one["wrong"] for of in runs.values() for rounds in of.values() for one in rounds)
    if wrong:
        say(f"FAILED: {wrong} answers were wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
