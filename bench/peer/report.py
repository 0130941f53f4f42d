"""The figures as a table for people and as one line of JSON for programs."""

import json

from figures import LOADS, RATES, at_rate, limited_by_generator, ratios, summed_up
from servers import SIDES

ASKED_FOR = ["refresh_vs_kamailio", "registration_vs_kamailio", "refresh_vs_datagram_loop"]


def ranged(value, form, factor=1.0):
    """A median with its least and most."""
    low, middle, high = (value[key] * factor for key in ("min", "median", "max"))
    return f"{middle:{form}} ({low:{form}}-{high:{form}})"


def summary(conditions, runs, memory, sipp, missing):
    """All that was measured, ready for JSON. The ratios that are asked for stand at the top, null
    where the peer did not run."""
    points = {
        side: {point: summed_up(rounds) for point, rounds in of.items() if rounds}
        for side, of in runs.items()
    }
    compared = ratios(runs)
    top = {name: round(compared[name]["median"], 3) if name in compared else None
           for name in [*ASKED_FOR, *(name for name in compared if name not in ASKED_FOR)]}  # fmt: skip
    bytes_of = {side: one["bytes_per_binding"] for side, one in memory.items()}
    return {
        **top,
        "bytes_per_binding": bytes_of.get("aorta"),
        "bytes_per_binding_kamailio": bytes_of.get("kamailio"),
        **conditions,
        "missing": missing,
        "spread": {name: [round(one["min"], 3), round(one["max"], 3)]
                   for name, one in compared.items()},  # fmt: skip
        "sides": points,
        "memory": memory,
        "sipp": sipp,
    }


def note(point):
    """What a reader must know about a point beside its figures."""
    said = []
    if limited_by_generator(point):
        said.append("the generator is the limit")
    said += [f"{point[key]} {word}" for key, word in
             (("lost", "lost"), ("again", "sent again"), ("wrong", "WRONG")) if point[key]]  # fmt: skip
    return f"  [{', '.join(said)}]" if said else ""


def lines_of_loads(points):
    """The closed loop: what a server does at most, and what a request costs it."""
    yield "closed loop: registrations a second (of the flood: requests), CPU us of a request"
    for name, title, _ in LOADS:
        if not any(name in of for of in points.values()):
            continue
        yield f"  {title}"
        for side in SIDES:
            point = points.get(side.key, {}).get(name)
            if not point:
                continue
            unit = "requests" if name == "challenge" else "registrations"
            rate = ranged(point[f"{unit}_per_second"], ".0f")
            parts = f"{point['user_us']['median']:.2f} + {point['system_us']['median']:.2f}"
            yield (
                f"    {side.title:<19}{rate:>24} /s {ranged(point['cpu_us'], '.2f'):>18} us"
                f" = {parts} user + system, server {point['server_busy']['median']:.0%} busy,"
                f" generator {point['generator_busy']['median']:.0%}{note(point)}"
            )


def lines_of_rates(points):
    """The open loop: how long a phone waits at a given rate."""
    yield "open loop of refreshes: from the intended send, us"
    for rate in RATES:
        yield f"  {rate} a second"
        for side in SIDES:
            point = points.get(side.key, {}).get(at_rate(rate))
            if not point:
                continue
            waits = "  ".join(
                f"{key} {ranged(point[f'{key}_us'], '.0f')}" for key in ("p50", "p99", "p999")
            )
            yield f"    {side.title:<19}{waits}  CPU {ranged(point['cpu_us'], '.2f')}{note(point)}"


def lines_of_memory(memory):
    """Bindings in bytes."""
    for side in SIDES:
        one = memory.get(side.key)
        if one:
            yield (
                f"  {side.title:<19}{one['bytes_per_binding']:>6.0f} B a binding, growth of"
                f" memory over {one['accounts']} bindings; before them {one['before_mib']:.0f} MiB"
            )


def lines_of_ratios(compared):
    """Every ratio with the least and most of its rounds."""
    for name, one in compared.items():
        yield f"  {name:<42}{ranged(one, '.2f')}"


def table(whole, compared):
    """The table."""
    points, memory, sipp = whole["sides"], whole["memory"], whole["sipp"]
    lines = [
        f"{whole['accounts']} accounts, {whole['rounds']} interleaved rounds of {whole['seconds']} s:"
        f" median (least-most); server on CPU {whole['server_cpu']}, generator on CPU"
        f" {whole['generator_cpu']}, every datagram on its own unless said",
        *lines_of_loads(points),
        *lines_of_rates(points),
    ]
    if memory:
        lines += ["memory", *lines_of_memory(memory)]
    if any("refresh_at_most_accounts" in of for of in points.values()):
        lines.append(f"refreshes at {whole['most_accounts']} accounts")
        for side in SIDES:
            point = points.get(side.key, {}).get("refresh_at_most_accounts")
            if point:
                rate = point["requests_per_second"]["median"]
                cost = point["cpu_us"]["median"]
                lines.append(f"  {side.title:<19}{rate:.0f} /s, CPU {cost:.2f} us{note(point)}")
    if sipp:
        lines.append(
            f"SIPp {sipp['version']} as the generator, one core, against the {sipp['against']}:"
            f" {sipp['registrations_per_second']:.0f} challenged registrations/s, CPU"
            f" {sipp['generator_cpu_us']:.2f} us of its own a request, {sipp['failed']} failed"
        )
    lines += [
        "ratios, larger is better: CPU of a request or latency, the other's over Aorta's; rates,"
        " Aorta's over the other's",
        *lines_of_ratios(compared),
        *(f"MISSING: {one}" for one in whole["missing"]),
    ]
    return "\n".join(lines)


def as_json(whole):
    """One line."""
    return json.dumps(rounded(whole), separators=(",", ":"))


def rounded(value):
    """The same with numbers of a length that says what is known."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, float):
        return round(value, 4)
    return value
