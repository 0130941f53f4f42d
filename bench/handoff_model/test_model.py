"""What the model makes of its parts."""

import contextlib
import io
import json
import unittest

import model

PARTS = {
    "own_ns": 3000.0,
    "handoff_2_ns": 400.0,
    "touch_ns": 100.0,
    "poll_ns": 2.0,
    "wake_ns": 9000.0,
    "lookup_ns": 50.0,
    "batch": 32,
    "hit": 0.99,
}


class Shares(unittest.TestCase):
    def test_without_steering_all_but_one_nth_is_foreign(self):
        self.assertEqual(model.foreign_share(1), 0)
        self.assertEqual(model.foreign_share(2), 0.5)
        self.assertEqual(model.foreign_share(64), 63 / 64)

    def test_steering_leaves_what_it_does_not_find(self):
        self.assertAlmostEqual(model.foreign_share(8, 0.9), 0.0875)
        self.assertEqual(model.foreign_share(8, 1.0), 0)


class Rings(unittest.TestCase):
    def test_slots_are_those_of_the_mesh(self):
        # The same that the tests of the mesh name.
        self.assertEqual([model.slots(n) for n in (2, 9, 128)], [4096, 4096, 512])
        self.assertEqual(model.slots(64), 512)
        self.assertEqual(model.ring_bytes(2), 2 * 2**20)

    def test_a_batch_spreads_over_the_rings(self):
        self.assertEqual(model.rings_touched(2, 16), 1)
        self.assertEqual(model.rings_touched(1, 0), 0)
        self.assertEqual(model.rings_touched(64, 1), 1)
        self.assertEqual(model.rings_touched(64, 0.25), 0.25)
        # 16 messages at 63 rings seldom meet; at 7 they fill nearly all.
        self.assertTrue(14 < model.rings_touched(64, 16) < 15)
        self.assertTrue(6 < model.rings_touched(8, 16) < 7)

    def test_a_ring_gets_less_of_a_batch_the_more_there_are(self):
        of = [model.at(n, PARTS)["messages_per_ring"] for n in (2, 8, 16, 64)]
        self.assertEqual(of, sorted(of, reverse=True))
        self.assertEqual(of[0], 16)


class Costs(unittest.TestCase):
    def test_one_core_pays_for_nothing_but_its_own(self):
        row = model.at(1, PARTS)
        self.assertEqual((row["cpu_ns"], row["foreign"], row["ring_bytes"]), (3000, 0, 0))
        self.assertAlmostEqual(row["per_second"], 1e9 / 3000)

    def test_what_was_measured_at_two_cores_comes_out_again(self):
        row = model.at(2, PARTS)
        # Half is foreign; a batch of half as many touches the ring as often.
        expected = 3000 + 0.5 * (400 - 100 / 32) + 100 / 32 + 2 / 32
        self.assertAlmostEqual(row["cpu_ns"], expected)

    def test_the_parts_add_up(self):
        for cores in model.CORES:
            for _, row in model.cases(cores, PARTS):
                self.assertAlmostEqual(sum(row["costs"].values()), row["cpu_ns"])
                self.assertAlmostEqual(row["per_second"], cores * 1e9 / row["cpu_ns"])

    def test_nobody_is_woken_under_load_and_each_time_when_it_is_quiet(self):
        rows = dict(model.cases(2, PARTS))
        self.assertEqual(rows["busy"]["costs"]["wakes"], 0)
        self.assertEqual(rows["near idle"]["costs"]["wakes"], 4500)
        self.assertAlmostEqual(rows["near idle, steered"]["costs"]["wakes"], 45)

    def test_a_lookup_is_paid_by_all_and_spares_the_handoffs(self):
        rows = dict(model.cases(16, PARTS))
        self.assertEqual(rows["busy"]["costs"]["lookup"], 0)
        self.assertEqual(rows["busy, steered"]["costs"]["lookup"], 50)
        self.assertLess(rows["busy, steered"]["cpu_ns"], rows["busy"]["cpu_ns"])
        useless = model.at(16, PARTS, hit=0.0, steered=True)
        self.assertAlmostEqual(useless["cpu_ns"], rows["busy"]["cpu_ns"] + 50)

    def test_polls_grow_with_the_cores(self):
        self.assertAlmostEqual(model.at(64, PARTS)["costs"]["polls"], 63 * 2 / 32)


class FromBench(unittest.TestCase):
    def test_the_parts_are_read_out_of_what_the_benches_print(self):
        handoff = {"batch_ns": {"1": 130.0, "32": 37.0}, "poll_ns": {"2": 5.0, "64": 129.0}}
        steering = [
            {"name": "foreign   0 %", "foreign": 0.0, "cpu_ns": 3000},
            {"name": "foreign 100 %", "foreign": 1.0, "cpu_ns": 3500},
            {"name": "as the hash has it, steering off", "foreign": 0.5, "cpu_ns": 3250},
            {"name": "as the hash has it, steering on", "foreign": 0.01, "cpu_ns": 3010},
        ]
        texts = ["a table\n" + json.dumps({"handoff": handoff}), json.dumps({"steering": steering})]
        parts = model.from_bench(texts)
        self.assertAlmostEqual(parts["touch_ns"], 96)
        self.assertAlmostEqual(parts["poll_ns"], 2)
        self.assertEqual((parts["own_ns"], parts["handoff_2_ns"]), (3000, 500))
        self.assertAlmostEqual(parts["hit"], 0.98)

    def test_no_steering_leaves_the_rest(self):
        steering = [
            {"name": "foreign   0 %", "foreign": 0.0, "cpu_ns": 3000},
            {"name": "foreign 100 %", "foreign": 1.0, "cpu_ns": 3500},
        ]
        self.assertNotIn("hit", model.from_bench([json.dumps({"steering": steering})]))


class Program(unittest.TestCase):
    def run_with(self, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            model.main(arguments)
        return out.getvalue()

    def test_the_parts_that_are_kept_have_all_that_is_needed(self):
        self.assertEqual(set(model.load(model.PARTS)), set(PARTS))
        told = json.loads(self.run_with("--json", "--set", "own_ns=1000", "--cores", "1,2"))
        self.assertEqual(told["parts"]["own_ns"], 1000)
        self.assertEqual(told["cores"]["1"]["busy"]["cpu_ns"], 1000)

    def test_a_person_gets_a_line_for_each_case(self):
        lines = self.run_with().splitlines()
        self.assertEqual(len(lines), 3 + 4 * len(model.CORES))

    def test_a_part_that_is_none_is_refused(self):
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            self.run_with("--set", "owns=1")


if __name__ == "__main__":
    unittest.main()
