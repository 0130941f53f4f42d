#!/usr/bin/env python3
"""What handing over costs at numbers of cores that are not at hand, from parts that were measured.

Everything is CPU time of reactors for one request, nanoseconds. What is left out stands in the
README beside this.
"""

import argparse
import json
import sys
from pathlib import Path

CORES = [2, 8, 16, 64]
PARTS = Path(__file__).with_name("parts.json")

# The rings as src/shard/mesh makes them.
SLOT_BYTES = 256
SLOTS_INBOUND = 32_768
SLOTS_MIN, SLOTS_FEW_SHARDS = 512, 4096


def slots(cores):
    """Slots of each ring."""
    share = SLOTS_INBOUND // max(cores - 1, 1)
    return min(max(1 << (share.bit_length() - 1), SLOTS_MIN), SLOTS_FEW_SHARDS)


def ring_bytes(cores):
    """Memory of all rings, once each has been filled."""
    return cores * (cores - 1) * slots(cores) * SLOT_BYTES


def foreign_share(cores, hit=0.0):
    """The share of requests that another core owns, where steering finds `hit` of the senders."""
    return (cores - 1) / cores * (1 - hit)


def rings_touched(cores, foreign_per_batch):
    """Rings that get something of one batch, if owners are even."""
    others = cores - 1
    if others == 0 or foreign_per_batch == 0:
        return 0.0
    if foreign_per_batch <= 1:
        return foreign_per_batch
    return others * (1 - (1 - 1 / others) ** foreign_per_batch)


def message_ns(parts):
    """What one handed-over message costs beside the touch of its ring: read twice, copied twice.

    The measured cost of handing over at two cores holds one touch for each batch.
    """
    return max(parts["handoff_2_ns"] - parts["touch_ns"] / parts["batch"], 0.0)


def at(cores, parts, hit=0.0, batch=None, asleep=0.0, steered=False):
    """One line of the table.

    `batch` is how many datagrams a turn takes from its sockets, `asleep` the share of rings at whose
    other end somebody sleeps and has to be woken.
    """
    batch = parts["batch"] if batch is None else batch
    foreign = foreign_share(cores, hit)
    touched = rings_touched(cores, batch * foreign)
    costs = {
        "own": parts["own_ns"],
        "messages": foreign * message_ns(parts),
        "touches": touched * parts["touch_ns"] / batch,
        # A turn looks into each of its rings once, whatever it finds there.
        "polls": (cores - 1) * parts["poll_ns"] / batch,
        "wakes": touched * asleep * parts["wake_ns"] / batch,
        "lookup": parts["lookup_ns"] if steered else 0.0,
    }
    cpu_ns = sum(costs.values())
    return {
        "cores": cores,
        "foreign": foreign,
        "messages_per_ring": batch * foreign / touched if touched else 0.0,
        "costs": costs,
        "cpu_ns": cpu_ns,
        "over_own": cpu_ns / parts["own_ns"] - 1,
        "per_second": cores * 1e9 / cpu_ns,
        "ring_bytes": ring_bytes(cores),
    }


def cases(cores, parts):
    """The lines for a number of cores, each with its name."""
    hit = parts["hit"]
    return [
        ("busy", at(cores, parts)),
        ("busy, steered", at(cores, parts, hit, steered=True)),
        ("near idle", at(cores, parts, batch=1, asleep=1.0)),
        ("near idle, steered", at(cores, parts, hit, batch=1, asleep=1.0, steered=True)),
    ]


def from_bench(texts):
    """Parts out of the last lines of `cargo bench --bench handoff -- --json` and `steering`."""
    parts = {}
    for line in "\n".join(texts).splitlines():
        if not line.startswith("{"):
            continue
        told = json.loads(line)
        if "handoff" in told:
            # Two sizes of batch make a line: cost = message + touch / batch.
            cost = {int(batch): ns for batch, ns in told["handoff"]["batch_ns"].items()}
            least, most = min(cost), max(cost)
            parts["touch_ns"] = max((cost[least] - cost[most]) / (1 / least - 1 / most), 0.0)
            # The looks at many rings less those at few, for the call itself is paid once.
            poll = {int(cores): ns for cores, ns in told["handoff"]["poll_ns"].items()}
            few, many = min(poll), max(poll)
            parts["poll_ns"] = max((poll[many] - poll[few]) / (many - few), 0.0)
        if "steering" in told:
            rows = {row["name"]: row for row in told["steering"]}
            # Their foreign shares are counted, so they need not be quite what was aimed at.
            none, all_ = rows["foreign   0 %"], rows["foreign 100 %"]
            share = all_["foreign"] - none["foreign"]
            parts["own_ns"] = none["cpu_ns"]
            parts["handoff_2_ns"] = max((all_["cpu_ns"] - none["cpu_ns"]) / share, 0.0)
            off = rows.get("as the hash has it, steering off")
            on = rows.get("as the hash has it, steering on")
            if off and on and off["foreign"] > 0:
                parts["hit"] = 1 - on["foreign"] / off["foreign"]
    return parts


def table(parts, cores):
    """Text for a person."""
    lines = [
        "parts: " + ", ".join(f"{name} {value:g}" for name, value in parts.items()),
        "",
        f"{'cores':>5}  {'':20} {'foreign':>8} {'a ring':>7} {'CPU ns':>8} {'more':>7} "
        f"{'M/s':>7} {'rings':>9}",
    ]
    for number in cores:
        for name, row in cases(number, parts):
            rate = f"{row['per_second'] / 1e6:7.2f}" if name.startswith("busy") else " " * 7
            lines.append(
                f"{number:>5}  {name:20} {row['foreign'] * 100:6.1f} % "
                f"{row['messages_per_ring']:7.1f} {row['cpu_ns']:8.0f} "
                f"{row['over_own'] * 100:+6.1f}% {rate} {row['ring_bytes'] / 2**20:5.0f} MiB"
            )
    return "\n".join(lines)


def load(path):
    """The values of a file of parts."""
    return {name: part["value"] for name, part in json.loads(Path(path).read_text()).items()}


def main(arguments):
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--parts", default=PARTS, help="a file like parts.json")
    parser.add_argument("--bench", action="append", default=[], metavar="FILE",
                        help="output of the benches with --json; its parts hold over the file's")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--cores", default=",".join(map(str, CORES)))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    parts = load(asked.parts)
    parts |= from_bench([Path(file).read_text() for file in asked.bench])
    for text in asked.set:
        name, _, value = text.partition("=")
        if name not in parts:
            parser.error(f"no part {name}; there are {', '.join(parts)}")
        parts[name] = float(value)
    cores = [int(number) for number in asked.cores.split(",")]
    if asked.json:
        rows = {number: dict(cases(number, parts)) for number in cores}
        print(json.dumps({"parts": parts, "cores": rows}))
    else:
        print(table(parts, cores))


if __name__ == "__main__":
    main(sys.argv[1:])
