"""What the scenes make of summaries, and which of them are played."""

import unittest
from pathlib import Path

import scenes

SUMMARY = {
    "requests_per_second": 20000.0, "requests": 200000, "lost": 1, "wrong": 2,
    "retransmissions": 3, "statuses": {"200": 199998, "503": 2},
    "latency_us": {name: 10.0 * place for place, name in enumerate(scenes.PERCENTILES)},
}  # fmt: skip


class Recorded(scenes.Stage):
    """A stage that starts nothing."""

    def __init__(self, out=None):
        self.binaries, self.directory, self.out = Path("bin"), Path("dir"), out
        self.scale = scenes.QUICK
        self.generator_cpu = 1
        self.played = []

    def server(self, accounts, *more):
        stage = self

        class Server:
            target = "127.0.0.1:5060"

            def __enter__(self):
                stage.played.append(("server", accounts, *more))
                return self

            def __exit__(self, *_):
                pass

        return Server()

    def run(self, scene, scenario, target, *more):
        self.played.append((scene, scenario, *more))
        return {**scenes.row(scene, SUMMARY), "requests_per_second": 1000.0}


class Scenes(unittest.TestCase):
    def test_a_row_keeps_what_the_summary_says(self):
        one = scenes.row("50%", SUMMARY)
        self.assertEqual((one["lost"], one["again"]), (1, 3))
        self.assertEqual((one["shed"], one["wrong"]), (2, 0), "to come back later is no wrong answer")
        self.assertEqual(one["latency_us"]["max"], 50.0)
        self.assertIn("50%", scenes.table([one]))
        self.assertIn("20000", scenes.table([one]))

    def test_shares_are_of_the_capacity_that_was_measured(self):
        stage = Recorded()
        rows = stage.play(["10%", "90%"])
        self.assertEqual([one["scene"] for one in rows], ["capacity", "10%", "90%"])
        rates = [line[line.index("--rate") + 1] for line in stage.played if "--rate" in line]
        self.assertEqual(rates, [100, 900])

    def test_only_what_is_wanted_is_played(self):
        stage = Recorded()
        self.assertEqual([one["scene"] for one in stage.play(["idle"])], ["idle"])
        self.assertEqual(len(stage.played), 2)

    def test_the_refreshing_phones_of_the_expiry_are_not_those_that_expire(self):
        stage = Recorded()
        stage.play(["expiry"])
        gone, stay = (line for line in stage.played if line[0] != "server")
        first = gone[gone.index("--first-user") + 1]
        self.assertGreater(first, stay[stay.index("--users") + 1])
        self.assertIn("registrar.expires_spread=0", stage.played[0])

    def test_histograms_go_into_a_directory_of_each_scene(self):
        line = Recorded(Path("out")).command("90%", "refresh", "h:1")
        self.assertEqual(line[line.index("--out") + 1], str(Path("out") / "90"))
        self.assertNotIn("--out", Recorded().command("90%", "refresh", "h:1"))


if __name__ == "__main__":
    unittest.main()
