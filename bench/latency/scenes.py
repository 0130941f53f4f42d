"""What the server goes through while its latency is measured, one scene after the other."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# Servers are started, and loads made, as in the comparison with the peers.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peer"))

import load  # noqa: E402
import servers  # noqa: E402

TROUBLE = (servers.NotThere, load.Failed, OSError)
# Scenes in the order they are played.
ALL = ("idle", "capacity", "10%", "50%", "90%", "storm", "growth", "expiry")
SHARES = {"10%": 0.1, "50%": 0.5, "90%": 0.9}
FULL = {"accounts": 100_000, "many": 1_000_000, "seconds": 10, "expires": 60}
QUICK = {"accounts": 20_000, "many": 50_000, "seconds": 2, "expires": 60}
# A phone alone on the server.
IDLE_RATE = 20
# Beside the expiry.
EXPIRY_RATE = 10_000
# Phones a second, each with its two requests.
STORM_RATE = 30_000
# Below what the generator and one core can do with new bindings.
GROWTH_RATE = 25_000
PERCENTILES = ("p50", "p90", "p99", "p999", "p9999", "max")


def say(text):
    """What goes on, beside the figures."""
    print(f"latency: {text}", file=sys.stderr, flush=True)


def row(scene, summary):
    """What is kept of a run's summary."""
    latency = summary["latency_us"]
    return {
        "scene": scene,
        "requests_per_second": summary["requests_per_second"],
        "requests": summary["requests"],
        "lost": summary["lost"],
        # Told to come back later, which is right where more comes than one core can do.
        "shed": summary["statuses"].get("503", 0),
        "wrong": max(0, summary["wrong"] - summary["statuses"].get("503", 0)),
        "again": summary["retransmissions"],
        "latency_us": {name: latency[name] for name in PERCENTILES},
    }


def table(rows):
    """The rows for people, microseconds."""
    head = "".join(f"{name:>10}" for name in PERCENTILES)
    lines = [f"{'scene':<10}{'requests/s':>12}{head}  lost    shed  sent again   (us, from the intended send)"]
    for one in rows:
        figures = "".join(f"{one['latency_us'][name]:>10.0f}" for name in PERCENTILES)
        lines.append(
            f"{one['scene']:<10}{one['requests_per_second']:>12.0f}{figures}"
            f"{one['lost']:>6}{one['shed']:>8}{one['again']:>12}"
        )
    return "\n".join(lines)


class Stage:
    """Where the scenes are played: a core for the server, another for the generator."""

    def __init__(self, binaries, directory, out, quick):
        self.binaries, self.directory, self.out = binaries, directory, out
        self.scale = QUICK if quick else FULL
        cpus = sorted(os.sched_getaffinity(0))
        self.server_cpu, self.generator_cpu = cpus[0], cpus[min(1, len(cpus) - 1)]
        if len(cpus) == 1:
            say("MISSING: a second CPU: server and generator share one, so the figures mean little")
        os.sched_setaffinity(0, {self.generator_cpu})

    def server(self, accounts, *more):
        """A fresh server."""
        return servers.Running(
            servers.AORTA, accounts, self.server_cpu, self.directory, self.binaries, more
        )

    def command(self, scene, scenario, target, *more):
        """The generator's command line."""
        line = [
            str(self.binaries / "aorta-load"), scenario, "--target", target, "--sockets", "64",
            "--cpus", str(self.generator_cpu), "--threads", "1", "--algorithm", "md5",
            "--offload", "off", "--quiet", "--json", *map(str, more),
        ]  # fmt: skip
        if self.out is not None:
            line += ["--out", str(self.out / scene.strip("%"))]
        return line

    def run(self, scene, scenario, target, *more):
        """One run, to its end."""
        line = self.command(scene, scenario, target, *more)
        ended = subprocess.run(
            line, capture_output=True, text=True, timeout=load.RUN_S_MAX, check=False
        )
        try:
            one = row(scene, json.loads(ended.stdout.strip().splitlines()[-1]))
        except (IndexError, ValueError):
            said = ended.stderr.strip() or f"aorta-load ended with {ended.returncode}"
            raise load.Failed(f"{scene}: {said}") from None
        say(f"{scene}: {one['requests_per_second']:.0f} requests/s, p99 {one['latency_us']['p99']:.0f} us")
        return one

    def play(self, wanted):
        """The rows of the wanted scenes."""
        rows = []
        if {"idle", "capacity", *SHARES} & set(wanted):
            rows += self.steady(wanted)
        for scene, play in (("storm", self.storm), ("growth", self.growth), ("expiry", self.expiry)):
            if scene in wanted:
                rows.append(play())
        return rows

    def steady(self, wanted):
        """Refreshes of registered phones: few, as many as can be, and shares of that."""
        accounts, seconds = self.scale["accounts"], self.scale["seconds"]
        common = ("--users", accounts, "--seconds", seconds)
        rows = []
        with self.server(accounts) as server:
            if "idle" in wanted:
                few = ("--users", IDLE_RATE, "--seconds", seconds, "--rate", IDLE_RATE)
                rows.append(self.run("idle", "refresh", server.target, *few))
            if not {"capacity", *SHARES} & set(wanted):
                return rows
            most = self.run("capacity", "refresh", server.target, *common, "--window", load.WINDOW)
            rows.append(most)
            for scene, share in SHARES.items():
                if scene in wanted:
                    rate = int(most["requests_per_second"] * share)
                    rows.append(self.run(scene, "refresh", server.target, *common, "--rate", rate))
        return rows

    def storm(self):
        """Everybody comes back, as fast as one core lets them in."""
        many = self.scale["many"]
        with self.server(many) as server:
            ramp = max(1, many // STORM_RATE)
            return self.run("storm", "storm", server.target, "--users", many, "--ramp", ramp)

    def growth(self):
        """New bindings from the first to the last, at a steady rate."""
        many = self.scale["many"]
        with self.server(many) as server:
            seconds = many // GROWTH_RATE
            more = ("--users", many, "--seconds", max(1, seconds), "--rate", GROWTH_RATE)
            return self.run("growth", "register", server.target, *more)

    def expiry(self):
        """Some phones refresh while the bindings of all others end within seconds."""
        many, few, expires = self.scale["many"], 10_000, self.scale["expires"]
        with self.server(many + few, "--set", "registrar.expires_spread=0") as server:
            ramp = max(2, many // 50_000)
            gone = (
                "storm", server.target, "--users", many, "--first-user", few + 1, "--ramp", ramp,
                "--expires", expires,
            )  # fmt: skip
            begun = time.monotonic()
            self.run("expiring", *gone)
            taken = time.monotonic() - begun
            seconds = int(expires + 10 - max(0, taken - ramp))
            more = ("--users", few, "--seconds", seconds, "--rate", EXPIRY_RATE)
            return self.run("expiry", "refresh", server.target, *more)
