"""Many runs made into few figures: medians, spread, and the ratios that are asked for.

`runs[side][point]` is a list of what load.figures gave, one for each round. Ratios are taken
within a round, where both sides met the same machine, and their median is the figure. All are the
other's over Aorta's for costs, Aorta's over the other's for rates: larger is better for Aorta.
"""

from statistics import median

# Scenario of the generator, what the table calls it, what its ratio is called.
LOADS = [
    ("register", "challenged registrations", "registration"),
    ("refresh", "authenticated refreshes", "refresh"),
    ("challenge", "401 to a flood", "challenge"),
    ("refresh_offload", "refreshes, generator's offload on", "refresh_offload"),
]
RATES = [5_000, 20_000, 100_000]
OTHERS = [("kamailio", "kamailio"), ("datagram_loop", "datagram_loop")]


def spread(values):
    """Median, least and most."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def at_rate(rate):
    """The point of a run at so many refreshes a second."""
    return f"refresh_at_{rate // 1000}k"


def summed_up(rounds):
    """The rounds of one point: each figure with its spread, counts added up."""
    counts = ("lost", "wrong", "again")
    return {
        key: sum(one[key] for one in rounds)
        if key in counts
        else spread([one[key] for one in rounds])
        for key in rounds[0]
    }


def ratios_of(mine, others, key, larger_is_better):
    """A ratio for each round that both have."""
    pairs = [(one[key], other[key]) for one, other in zip(mine, others)]
    if larger_is_better:
        pairs = [(other, one) for one, other in pairs]
    return [above / below for below, above in pairs if below > 0]


def ratios(runs):
    """Every ratio by name, each with its spread; those whose sides did not run are left out."""
    found = {}

    def put(name, point, other, key, larger_is_better=False):
        mine, others = runs.get("aorta", {}).get(point), runs.get(other, {}).get(point)
        values = ratios_of(mine or [], others or [], key, larger_is_better)
        if values:
            found[name] = spread(values)

    for other, called in OTHERS:
        for point, _, name in LOADS:
            put(f"{name}_vs_{called}", point, other, "cpu_us")
            put(f"{name}_rate_vs_{called}", point, other, "requests_per_second", True)
        put(f"refresh_at_most_accounts_vs_{called}", "refresh_at_most_accounts", other, "cpu_us")
        for rate in RATES:
            point = at_rate(rate)
            for key in ("cpu_us", "p99_us", "p999_us"):
                put(f"{key[:-3]}_{point}_vs_{called}", point, other, key)
    return found


def limited_by_generator(point):
    """The server had time left where the generator had none."""
    return point["generator_busy"]["median"] > 0.9 and point["server_busy"]["median"] < 0.9
