"""What is said about counts: which primitive is worse than what is recorded, and whether the two
may be compared at all. Knows nothing of valgrind, files or compilers.

A record is {"conditions": {what: text}, "yardsticks": {name: count}, "primitives": {name: count}},
where a count is instructions of one operation.
"""

ALLOWED = 0.05
YARDSTICKS_AGREE = 0.01
RECORD = "bench/gate/run --record"


def change(before, after):
    """0.1 is a tenth more; more than nothing is without bounds."""
    if before == after:
        return 0.0
    # Rounded, or 1050 for 1000 would be more than a twentieth more.
    return round(after / before - 1, 9) if before > 0 else float("inf")


def shown(name, before, after):
    """One primitive in words."""
    return f"{name}: {before:.1f} -> {after:.1f} instructions, {change(before, after):+.1%}"


def differences(recorded, measured):
    """What is not as it was when the record was made, in words."""
    here, there = measured["conditions"], recorded["conditions"]
    return [
        f"{what}: recorded with {there.get(what) or 'nothing'}, here {here.get(what) or 'nothing'}"
        for what in sorted({*here, *there})
        if here.get(what) != there.get(what)
    ]


def disagreements(recorded, measured):
    """Why the counts of this machine mean something else than those recorded, in words; nothing
    where each yardstick counts the same."""
    here, there = measured["yardsticks"], recorded["yardsticks"]
    if not there or here.keys() != there.keys():
        return ["the yardsticks are others than those recorded"]
    return [
        shown(name, there[name], here[name])
        for name in sorted(there)
        if abs(change(there[name], here[name])) > YARDSTICKS_AGREE
    ]


class Verdict:
    """What is said, in order, and what fails."""

    def __init__(self):
        self.failures = []
        self.lines = []


def names(verdict, recorded, measured):
    """Every primitive is recorded, and what is recorded is there: that depends on no machine."""
    here, there = measured["primitives"], recorded["primitives"]
    for name in sorted(there.keys() - here.keys()):
        verdict.failures.append(f"{name}: recorded but not there; where that is meant: {RECORD}")
    for name in sorted(here.keys() - there.keys()):
        verdict.failures.append(f"{name}: there but not recorded; record it: {RECORD}")


def counts(verdict, recorded, measured):
    """Nothing costs more than is allowed, and what costs less is said."""
    here, there = measured["primitives"], recorded["primitives"]
    better = False
    for name in sorted(here.keys() & there.keys()):
        changed = change(there[name], here[name])
        if changed > ALLOWED:
            one = shown(name, there[name], here[name])
            verdict.failures.append(f"WORSE {one}, allowed {ALLOWED:.0%}")
        elif changed < -ALLOWED:
            better = True
            verdict.lines.append(f"better {shown(name, there[name], here[name])}")
    if better:
        verdict.lines.append(f"so that it stays better: {RECORD}")


def judge(recorded, measured):
    """The verdict about what was measured. Yardsticks are asked only where the conditions are not
    those of the record."""
    verdict = Verdict()
    names(verdict, recorded, measured)
    others = differences(recorded, measured)
    reasons = disagreements(recorded, measured) if others else []
    verdict.lines += others
    if reasons:
        verdict.lines += reasons
        verdict.lines.append(
            f"SKIPPED: counts of this machine cannot be compared with those recorded; {RECORD}"
            " makes them those of this one"
        )
        return verdict
    if others:
        verdict.lines.append("the yardsticks count the same: compared all the same")
    counts(verdict, recorded, measured)
    return verdict


def table(recorded, measured):
    """What was counted beside what is recorded, the yardsticks where they were asked."""
    lines = [f"{'instructions of one':<20}{'recorded':>12}{'now':>12}{'change':>10}"]
    for kind in ("primitives", "yardsticks"):
        here, there = measured[kind], recorded[kind]
        for name, count in here.items():
            before = there.get(name)
            beside = (f"{before:>12.1f}", f"{change(before, count):>+10.1%}") if before else (
                f"{'-':>12}", f"{'-':>10}")  # fmt: skip
            lines.append(f"{name:<20}{beside[0]}{count:>12.1f}{beside[1]}")
    return "\n".join(lines)
