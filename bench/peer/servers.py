"""Who is measured, and how each is started: pinned to one core, answering before it is used."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import processes

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
# A million accounts take their time to be made.
START_S = 120
# From here on Kamailio needs a larger table.
MANY_ACCOUNTS = 500_000

PROBE = (
    "REGISTER sip:example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {0}:{1};branch=z9hG4bKprobe{2}\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:u1@example.com>;tag=probe\r\nTo: <sip:u1@example.com>\r\n"
    "Call-ID: probe\r\nCSeq: {2} REGISTER\r\nContact: <sip:u1@{0}:{1}>\r\n"
    "Content-Length: 0\r\n\r\n"
)


class NotThere(Exception):
    """A server cannot be measured here, and why."""


@dataclass
class Side:
    """One of those that are compared."""

    key: str
    title: str
    binds: bool  # It remembers bindings, so that they can be counted in bytes.


AORTA = Side("aorta", "Aorta", True)
KAMAILIO = Side("kamailio", "Kamailio", True)
LOOP = Side("datagram_loop", "bare datagram loop", False)
SIDES = [AORTA, KAMAILIO, LOOP]


def command(side, port, accounts, cpu, directory, binaries):
    """What starts a side."""
    if side is AORTA:
        return [
            str(binaries / "aorta"), "serve", "--test-accounts", str(accounts),
            "--reactors", "1", "--cpus", str(cpu), "--listen", f"udp:{HOST}:{port}",
            # One challenge of one digest for everybody.
            "--set", "auth.algorithms=md5",
            # The peer asks no phone whether it is there either.
            "--set", "liveness.interval=0",
        ]  # fmt: skip
    if side is LOOP:
        return [str(binaries / "examples" / "datagram-loop"), f"{HOST}:{port}"]
    many = ["-A", "MANY_ACCOUNTS"] if accounts >= MANY_ACCOUNTS else []
    return [
        kamailio(), "-f", str(HERE / "kamailio.cfg"), "-l", f"udp:{HOST}:{port}", "-n", "1",
        "-m", "4000", "-M", "32", "-x", "tlsf", "-X", "tlsf", "-DD",
        "-P", f"{directory}/kamailio.pid", "-Y", str(directory), *many,
    ]  # fmt: skip


def kamailio():
    """Where Kamailio is, or None; Debian has it where not everybody's PATH goes."""
    return shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin")


def kamailio_version():
    """What the installed Kamailio says of itself, or None where there is none."""
    if not kamailio():
        return None
    said = subprocess.run([kamailio(), "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"version: kamailio (\S+)", said.stdout)
    return found.group(1) if found else "unknown"


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


class Running:
    """A server that answers; `with` ends it."""

    def __init__(self, side, accounts, cpu, directory, binaries, more=()):
        if side is KAMAILIO and not kamailio():
            raise NotThere("kamailio is not installed")
        self.port = free_port()
        self._log = Path(directory) / f"{side.key}.log"
        arguments = [*command(side, self.port, accounts, cpu, directory, binaries), *more]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
            )  # fmt: skip
        try:
            self._await_answer(side)
            self.pids = processes.tree(self._process.pid)
        except BaseException:
            self._end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    @property
    def target(self):
        return f"{HOST}:{self.port}"

    def _await_answer(self, side):
        end = time.monotonic() + START_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((HOST, self.port))
            probe.settimeout(0.1)
            own, sequence = probe.getsockname()[1], 0
            while time.monotonic() < end and self._process.poll() is None:
                sequence += 1
                try:
                    probe.send(PROBE.format(HOST, own, sequence).encode())
                    if probe.recv(4096).startswith(b"SIP/2.0 401 "):
                        return
                except TimeoutError:
                    continue
                except ConnectionRefusedError:
                    time.sleep(0.02)  # Nobody listens yet.
        said = self._log.read_text(errors="replace").strip().splitlines()
        raise NotThere(f"{side.title} does not answer: {' / '.join(said[-3:]) or 'it says nothing'}")

    def _end(self):
        # Its whole session, which is its own: workers too.
        for kind, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
            try:
                os.killpg(self._process.pid, kind)
            except ProcessLookupError:
                pass
            try:
                self._process.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue
