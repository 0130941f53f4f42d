"""What is read from cargo, callgrind and rustc, and what is said about counts.

python3 -m unittest discover -s bench/gate
"""

import copy
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path
from unittest import mock

import counts
import verdict

HERE = Path(__file__).resolve().parent
CONDITIONS = {"compiler": "rustc 1.95.0, LLVM 22", "CPU": "x86_64 ff"}


def record(**primitives):
    """Counts of a machine on which every yardstick is 1000."""
    return {
        "conditions": dict(CONDITIONS),
        "yardsticks": {"yardstick-copy": 1000.0, "yardstick-sort": 1000.0},
        "primitives": {name.replace("_", "-"): float(count) for name, count in primitives.items()},
    }


def elsewhere(**primitives):
    """The same, counted with another compiler."""
    other = record(**primitives)
    other["conditions"]["compiler"] = "rustc 1.96.0, LLVM 23"
    return other


class Judged(unittest.TestCase):
    def judge(self, recorded, measured):
        judged = verdict.judge(recorded, measured)
        return judged.failures, "\n".join(judged.lines)

    def test_what_counts_the_same_passes_without_a_word(self):
        self.assertEqual(self.judge(record(parse=1000), record(parse=1000)), ([], ""))

    def test_5_1_percent_more_fails_with_the_name_and_5_percent_passes(self):
        for now, fails in ((1051, True), (1050, False), (1049, False), (1500, True)):
            failures, _ = self.judge(record(parse=1000, write=10), record(parse=now, write=10))
            self.assertEqual(bool(failures), fails, now)
        failures, _ = self.judge(record(parse=1000, write=10), record(parse=1051, write=10))
        self.assertEqual(len(failures), 1)
        self.assertIn("parse: 1000.0 -> 1051.0 instructions, +5.1%", failures[0])

    def test_each_that_is_worse_is_named(self):
        failures, _ = self.judge(record(parse=100, write=100), record(parse=110, write=120))
        self.assertEqual([one.split(":")[0] for one in failures], ["WORSE parse", "WORSE write"])

    def test_5_1_percent_fewer_passes_and_is_told_with_what_records_it(self):
        failures, said = self.judge(record(parse=1000), record(parse=949))
        self.assertEqual(failures, [])
        self.assertIn("better parse: 1000.0 -> 949.0", said)
        self.assertIn("bench/gate/run --record", said)
        self.assertEqual(self.judge(record(parse=1000), record(parse=950)), ([], ""))

    def test_a_primitive_that_is_gone_fails(self):
        failures, _ = self.judge(record(parse=1000, write=10), record(parse=1000))
        self.assertEqual(len(failures), 1)
        self.assertIn("write: recorded but not there", failures[0])

    def test_a_new_primitive_fails_with_what_records_it(self):
        failures, _ = self.judge(record(parse=1000), record(parse=1000, write=10))
        self.assertEqual(len(failures), 1)
        self.assertIn("write: there but not recorded", failures[0])
        self.assertIn("bench/gate/run --record", failures[0])

    def test_without_a_record_every_primitive_is_new(self):
        nothing = {"conditions": {}, "yardsticks": {}, "primitives": {}}
        failures, _ = self.judge(nothing, record(parse=1000))
        self.assertIn("parse: there but not recorded", failures[0])

    def test_something_that_cost_nothing_and_now_does_is_worse(self):
        self.assertEqual(len(self.judge(record(parse=0), record(parse=1))[0]), 1)


class Elsewhere(unittest.TestCase):
    judge = Judged.judge

    def test_other_conditions_are_compared_where_the_yardsticks_count_the_same(self):
        measured = elsewhere(parse=1100)
        measured["yardsticks"]["yardstick-copy"] = 1009.0
        failures, said = self.judge(record(parse=1000), measured)
        self.assertEqual(len(failures), 1)
        self.assertIn("compared all the same", said)
        self.assertIn("recorded with rustc 1.95.0, LLVM 22, here rustc 1.96.0, LLVM 23", said)

    def test_where_a_yardstick_counts_otherwise_nothing_is_compared_and_the_reason_is_said(self):
        for count in (1011.0, 989.0):
            measured = elsewhere(parse=5000)
            measured["yardsticks"]["yardstick-copy"] = count
            failures, said = self.judge(record(parse=1000), measured)
            self.assertEqual(failures, [])
            for part in ("SKIPPED", "yardstick-copy: 1000.0", "compiler: recorded with"):
                self.assertIn(part, said)

    def test_yardsticks_that_are_not_the_recorded_ones_compare_nothing(self):
        measured = elsewhere(parse=5000)
        del measured["yardsticks"]["yardstick-sort"]
        self.assertIn("SKIPPED", self.judge(record(parse=1000), measured)[1])

    def test_names_are_checked_wherever_it_runs(self):
        measured = elsewhere(write=10)
        measured["yardsticks"]["yardstick-copy"] = 2000.0
        failures, _ = self.judge(record(parse=1000), measured)
        self.assertEqual(len(failures), 2)

    def test_under_the_same_conditions_the_yardsticks_are_not_asked(self):
        measured = record(parse=1100)
        measured["yardsticks"] = {}
        self.assertEqual(len(self.judge(record(parse=1000), measured)[0]), 1)

    def test_a_condition_that_only_one_side_knows_is_a_difference(self):
        measured = record(parse=1)
        measured["conditions"]["variables"] = "RUSTFLAGS=-Ctarget-cpu=native"
        self.assertIn("recorded with nothing", verdict.differences(record(parse=1), measured)[0])


class Table(unittest.TestCase):
    def test_it_has_what_is_recorded_what_is_now_and_what_is_new(self):
        text = verdict.table(record(parse=1000), record(parse=1100, write=10))
        self.assertRegex(text, r"parse +1000\.0 +1100\.0 +\+10\.0%")
        self.assertRegex(text, r"write +- +10\.0 +-")


class Read(unittest.TestCase):
    def test_what_was_done_once_cancels_out(self):
        self.assertEqual(counts.of_one(10_000 + 5 * 32 * 7, 10_000 + 10 * 32 * 7, 5, 32), 7.0)

    def test_rounds_that_cost_nothing_are_no_count(self):
        with self.assertRaises(counts.Failed):
            counts.of_one(1000, 1000, 5, 1)

    def test_the_summary_of_callgrind_is_the_sum(self):
        self.assertEqual(counts.parse_summary("events: Ir\nfn=(1) a\n1 2\nsummary: 77\n"), 77)
        with self.assertRaises(counts.Failed):
            counts.parse_summary("events: Ir\n")

    def test_the_program_says_rounds_and_operations(self):
        self.assertEqual(counts.parse_list("a 5 32\nb 7 1\n"), {"a": (5, 32), "b": (7, 1)})

    def test_the_program_is_where_cargo_says(self):
        lib = json.dumps({"target": {"name": "aorta"}, "executable": None})
        other = json.dumps({"target": {"name": "aorta"}, "executable": "/t/aorta"})
        ours = json.dumps({"target": {"name": "instructions"}, "executable": "/t/instructions"})
        end = json.dumps({"reason": "build-finished"})
        found = counts.executable("\n".join([lib, other, ours, end]))
        self.assertEqual(found, Path("/t/instructions"))
        with self.assertRaises(counts.Failed):
            counts.executable(lib)

    def test_the_compiler_is_its_version_and_that_of_its_code_generator(self):
        text = "rustc 1.95.0 (abc 2026-04-14)\nbinary: rustc\nLLVM version: 22.1\n"
        self.assertEqual(counts.compiler(text), "rustc 1.95.0 (abc 2026-04-14), LLVM 22.1")

    def test_variables_that_change_the_build_are_conditions_and_others_are_not(self):
        variables = {
            "RUSTFLAGS": "-Ctarget-cpu=native", "CARGO_PROFILE_RELEASE_LTO": "off",
            "CARGO_TARGET_DIR": "/t", "CARGO_BUILD_JOBS": "2", "HOME": "/", "CC": "ccache cc",
            "CARGO_ENCODED_RUSTFLAGS": "",
        }  # fmt: skip
        self.assertEqual(
            counts.telling(variables),
            "CARGO_PROFILE_RELEASE_LTO=off RUSTFLAGS=-Ctarget-cpu=native",
        )


class Counted(unittest.TestCase):
    """With a program in the place of valgrind."""

    def valgrind(self, script, listed):
        import tempfile

        with tempfile.TemporaryDirectory() as directory:
            fake = Path(directory) / "valgrind"
            fake.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
            fake.chmod(0o755)
            path = f"{directory}:{os.environ['PATH']}"
            with mock.patch.dict(os.environ, {"PATH": path}):
                return counts.all_of("/nowhere/instructions", listed)

    # Its last two arguments are the primitive and the rounds, its second names the file.
    WRITES = (
        "out = sys.argv[3].split('=', 1)[1]\n"
        "open(out, 'w').write(f'summary: {900 + 64 * int(sys.argv[-1])}')"
    )

    def test_each_primitive_is_counted_by_the_difference_of_two_runs(self):
        found = self.valgrind(self.WRITES, {"parse": (10, 1), "hand-over": (20, 32)})
        self.assertEqual(found, {"parse": 64.0, "hand-over": 2.0})

    def test_a_primitive_that_panics_is_a_failure_with_its_name(self):
        with self.assertRaisesRegex(counts.Failed, "parse 0000.*status 7\n *the reason"):
            self.valgrind("sys.stderr.write('the reason')\nsys.exit(7)", {"parse": (10, 1)})


class Program(unittest.TestCase):
    """What `run` itself answers."""

    def run_without_valgrind(self, *arguments):
        return subprocess.run(
            [sys.executable, HERE / "run", *arguments],
            env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def test_without_valgrind_it_is_skipped_aloud_and_nothing_is_recorded(self):
        before = (HERE / "instructions.json").read_bytes()
        done = self.run_without_valgrind()
        self.assertEqual((done.returncode, done.stdout.count("SKIPPED")), (0, 1), done.stderr)
        self.assertEqual(self.run_without_valgrind("--record").returncode, 1)
        self.assertEqual((HERE / "instructions.json").read_bytes(), before)

    def test_the_record_judges_itself_as_unchanged_and_one_that_is_worse_by_its_name(self):
        recorded = json.loads((HERE / "instructions.json").read_text())
        self.assertGreater(len(recorded["primitives"]), 10)
        self.assertEqual(verdict.judge(recorded, recorded).failures, [])
        for name in recorded["primitives"]:
            worse = copy.deepcopy(recorded)
            worse["primitives"][name] *= 1.051
            (failure,) = verdict.judge(recorded, worse).failures
            self.assertIn(f"WORSE {name}:", failure)


if __name__ == "__main__":
    unittest.main()
