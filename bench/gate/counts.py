"""Instructions of the primitives, as valgrind's callgrind counts them, and the conditions they
were counted under. What is made of them is `verdict`'s.

Each primitive runs twice, for N rounds and for twice as many. The difference is what N rounds cost:
start, preparation and whatever is done only once cancel out, and no name of a symbol is relied on.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

YARDSTICK = "yardstick-"
RUN_S = 120
BUILD_S = 900
# Variables that change what is built or what the C library chooses.
TELLING = re.compile(
    r"RUSTFLAGS|CARGO_ENCODED_RUSTFLAGS|CARGO_BUILD_.*|CARGO_PROFILE_RELEASE_.*"
    r"|CARGO_TARGET_.*_RUSTFLAGS|RUSTC.*WRAPPER|GLIBC_TUNABLES|LD_PRELOAD"
)
HARMLESS = {"CARGO_BUILD_JOBS", "CARGO_BUILD_TARGET_DIR"}


class Failed(Exception):
    """Something that must work did not."""


class NotHere(Exception):
    """This machine cannot count."""


def build():
    """Builds the program as it ships; gives its path."""
    command = ["cargo", "build", "--release", "--locked", "-p", "aorta-gate",
               "--message-format=json-render-diagnostics"]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=BUILD_S
        )
    except FileNotFoundError:
        raise Failed("cargo is needed and is not here") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"the build was not done after {BUILD_S} s") from None
    if done.returncode != 0:
        raise Failed("the build failed")
    return executable(done.stdout.decode())


def executable(messages):
    """The path of the program in the messages of cargo, one JSON a line."""
    for line in messages.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return Path(message["executable"])
    raise Failed("cargo built no program called instructions")


def parse_list(text):
    """{name: (rounds, operations of one)} of what the program says of itself."""
    found = {}
    for line in text.splitlines():
        name, rounds, operations = line.split()
        found[name] = (int(rounds), int(operations))
    return found


def parse_summary(text):
    """All instructions of a callgrind.out file."""
    for line in text.splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise Failed("callgrind wrote no summary")


def surroundings():
    """The variables that what is counted may see: as few as can be, for they lie on its stack."""
    return {
        name: os.environ[name] for name in ("VALGRIND_LIB", "GLIBC_TUNABLES") if name in os.environ
    }


def valgrind(binary, tool, *arguments, directory="/"):
    """One run; what it printed."""
    command = ["valgrind", "--quiet", *tool, str(binary), *arguments]
    try:
        done = subprocess.run(
            command, env={"PATH": os.environ["PATH"], **surroundings()}, cwd=directory,
            capture_output=True, stdin=subprocess.DEVNULL, timeout=RUN_S, text=True,
            errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(arguments)}: not done after {RUN_S} s") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[:12]
        raise Failed("\n    ".join([f"{' '.join(arguments)}: status {done.returncode}", *last]))
    return done.stdout


def count(binary, name, rounds, directory):
    """Instructions of a whole run."""
    out = Path(directory) / f"{name}.{rounds}"
    # Numbers of one length, so that the stack begins at the same place.
    tool = ["--tool=callgrind", f"--callgrind-out-file={out}"]
    valgrind(binary, tool, name, f"{rounds:08}", directory=directory)
    return parse_summary(out.read_text(errors="replace"))


def of_one(shorter, longer, rounds, operations):
    """Instructions of one operation, from a run of `rounds` and one of twice as many."""
    if longer <= shorter:
        raise Failed("twice as many rounds cost no more: nothing was counted")
    return round((longer - shorter) / (rounds * operations), 1)


def primitives(binary):
    """What the program can run."""
    done = subprocess.run([binary], capture_output=True, text=True, timeout=RUN_S)
    if done.returncode != 0 or not done.stdout:
        raise Failed(f"{binary} names no primitives")
    return parse_list(done.stdout)


def all_of(binary, listed):
    """{name: instructions of one operation}; as many runs at a time as there are CPUs."""
    with (
        tempfile.TemporaryDirectory(prefix="aorta-gate-") as directory,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        runs = {
            name: [pool.submit(count, binary, name, n, directory) for n in (rounds, 2 * rounds)]
            for name, (rounds, _) in listed.items()
        }
        return {
            name: of_one(*(run.result() for run in runs[name]), rounds, operations)
            for name, (rounds, operations) in listed.items()
        }


def first_line(*command):
    """What a program says of its version."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]


def compiler(verbose):
    """Version and code generator in the text of `rustc -vV`."""
    llvm = re.search(r"^LLVM version: (.*)$", verbose, re.MULTILINE)
    return f"{verbose.splitlines()[0]}, LLVM {llvm.group(1) if llvm else 'none'}"


def telling(variables):
    """Those that change what is counted, in words."""
    names = sorted(name for name in variables if TELLING.fullmatch(name) and name not in HARMLESS)
    return " ".join(f"{name}={variables[name]}" for name in names if variables[name])


def require_valgrind():
    """Raises where there is none."""
    if not shutil.which("valgrind"):
        raise NotHere("valgrind is not installed (apt-get install valgrind)")


def conditions(binary):
    """Whatever the counts depend on besides the source."""
    try:
        cpu = valgrind(binary, ["--tool=none"], "--cpu").strip()
    except Failed as why:
        raise NotHere(f"valgrind does not run here: {why}") from None
    verbose = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return {
        "compiler": compiler(verbose),
        "variables": telling(os.environ),
        "C library": " ".join(platform.libc_ver()),
        "valgrind": first_line("valgrind", "--version"),
        # What valgrind lets the program see, which is less than there is.
        "CPU": cpu,
    }
