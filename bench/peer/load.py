"""The load: one run of a generator against one server, and what it took of the server's CPU."""

import csv
import json
import os
import re
import shutil
import subprocess
import time

import processes
from servers import HERE

# Requests under way where a server is to be busy; sockets, each for accounts of its own.
WINDOW = 256
SOCKETS = 64
SIPP_CALLS_MAX = 500
SIPP_USERS_MAX = 10_000
RUN_S_MAX = 300


class Failed(Exception):
    """A run that gives no figures, and why."""


def arguments(scenario, target, accounts, seconds, cpu, rate=None, offload=False):
    """The generator's command line but for its name."""
    pace = ["--window", str(WINDOW)] if rate is None else ["--rate", str(rate)]
    return [
        scenario, "--target", target, "--users", str(accounts), "--seconds", str(seconds), *pace,
        "--sockets", str(SOCKETS), "--cpus", str(cpu), "--threads", "1", "--algorithm", "md5",
        "--offload", "on" if offload else "off", "--timeout", "8", "--quiet", "--json",
    ]  # fmt: skip


def run(binaries, server, scenario, accounts, seconds, cpu, **more):
    """One run; the figures of it, CPU time in microseconds a request."""
    line = [str(binaries / "aorta-load")]
    line += arguments(scenario, server.target, accounts, seconds, cpu, **more)
    with processes.Watch(server.pids) as watch:
        try:
            ended = subprocess.run(
                line, capture_output=True, text=True, timeout=RUN_S_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"{scenario} is not over after {RUN_S_MAX} s") from None
    try:
        summary = json.loads(ended.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(ended.stderr.strip() or f"aorta-load ended with {ended.returncode}") from None
    start = summary["started_unix_seconds"]
    return figures(summary, watch.taken(start, start + summary["seconds"]))


def figures(summary, cpu_seconds):
    """What is kept of a run's summary, beside the server's CPU seconds: all, user, system."""
    requests, seconds = summary["requests"], summary["seconds"]
    if requests == 0:
        raise Failed("nothing was answered")
    total, user, system = cpu_seconds
    parts = user + system
    # The ticks of stat have the proportion, the scheduler's clock the sum.
    user_share = user / parts if parts > 0 else 0.0
    cpu_us = total * 1e6 / requests
    latency = summary["latency_us"]
    return {
        "requests_per_second": summary["requests_per_second"],
        "registrations_per_second": summary["registrations_per_second"],
        "cpu_us": cpu_us,
        "user_us": cpu_us * user_share,
        "system_us": cpu_us * (1 - user_share),
        "server_busy": total / seconds,
        "generator_busy": summary["generator_cpu_seconds"] / seconds,
        "generator_cpu_us": summary["generator_cpu_us_per_request"],
        "p50_us": latency["p50"],
        "p99_us": latency["p99"],
        "p999_us": latency["p999"],
        "lost": summary["lost"],
        "wrong": summary["wrong"],
        "again": summary["retransmissions"],
    }


def sipp_version():
    """What the installed SIPp says of itself, or None where there is none."""
    if not shutil.which("sipp"):
        return None
    said = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"SIPp v([\d.]*\d)", said.stdout + said.stderr)
    return found.group(1) if found else "unknown"


def sipp(server, accounts, seconds, cpu, directory):
    """SIPp as the generator: challenged registrations as fast as it makes them."""
    users = directory / "users.csv"
    with open(users, "w", newline="", encoding="ascii") as file:
        file.write("SEQUENTIAL\n")
        rows = csv.writer(file, delimiter=";", lineterminator="\n")
        for number in range(1, min(accounts, SIPP_USERS_MAX) + 1):
            credentials = f"[authentication username=u{number} password=p{number}]"
            rows.writerow([f"u{number}", credentials])
    statistics = directory / "sipp.csv"
    line = [
        "sipp", server.target, "-sf", str(HERE / "sipp_register.xml"), "-inf", str(users),
        "-i", "127.0.0.1", "-t", "u1", "-r", "200000", "-l", str(SIPP_CALLS_MAX), "-nostdin",
        "-buff_size", str(4 << 20), "-timeout", f"{seconds}s",
        "-trace_stat", "-stf", str(statistics), "-fd", "1",
    ]  # fmt: skip
    before = os.times()
    begun = time.monotonic()
    try:
        ended = subprocess.run(
            line, capture_output=True, text=True, timeout=seconds + 60, cwd=directory, check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed("SIPp does not end") from None
    took = time.monotonic() - begun
    after = os.times()
    if not statistics.exists():
        raise Failed(ended.stderr.strip().splitlines()[-1] if ended.stderr.strip() else "no figures")
    with open(statistics, newline="", encoding="ascii", errors="replace") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return sipp_figures(
        rows,
        took,
        after.children_user + after.children_system - before.children_user - before.children_system,
    )


def sipp_figures(rows, took, cpu_seconds):
    """What SIPp's last statistics say, over the whole time it ran."""
    if not rows:
        raise Failed("SIPp left no statistics")
    done, failed = int(rows[-1]["SuccessfulCall(C)"]), int(rows[-1]["FailedCall(C)"])
    if done == 0:
        raise Failed(f"SIPp registered nobody, {failed} calls failed")
    return {
        "registrations_per_second": done / took,
        "generator_cpu_us": cpu_seconds * 1e6 / done / 2,
        "generator_busy": cpu_seconds / took,
        "failed": failed,
    }
