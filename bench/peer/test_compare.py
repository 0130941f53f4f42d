"""What is read from /proc and from the generators, and what is made of it.

python3 -m unittest discover -s bench/peer
"""

import unittest

import figures
import load
import processes
import report


def summary(**changes):
    whole = {
        "requests": 2000, "seconds": 2.0, "requests_per_second": 1000.0,
        "registrations_per_second": 500.0, "generator_cpu_seconds": 1.0,
        "generator_cpu_us_per_request": 500.0, "lost": 0, "wrong": 0, "retransmissions": 3,
        "latency_us": {"p50": 10.0, "p99": 20.0, "p999": 30.0},
    }  # fmt: skip
    return {**whole, **changes}


def run(cpu_us, rate, **more):
    requests = rate * 2
    whole = summary(requests=requests, requests_per_second=float(rate), **more)
    return load.figures(whole, (cpu_us * requests / 1e6, 0.2, 0.6))


class Proc(unittest.TestCase):
    def test_a_name_with_parentheses_and_blanks_does_not_shift_the_fields_of_stat(self):
        line = "7 (a) b (c) S 3 7 7 0 -1 64 0 0 0 0 120 45 0 0 20 0 1 0 99 0 0"
        self.assertEqual(processes.parse_stat(line), (3, 120, 45))

    def test_memory_is_the_share_of_pages_and_not_all_of_them(self):
        text = "5500-7ff [rollup]\nRss:  900 kB\nPss:   12 kB\nPss_Anon: 7 kB\n"
        self.assertEqual(processes.parse_pss(text), 12 * 1024)
        with self.assertRaises(ValueError):
            processes.parse_pss("Rss: 1 kB\n")

    def test_workers_of_workers_belong_to_the_server_and_strangers_do_not(self):
        parents = {2: 1, 3: 2, 4: 3, 5: 1, 6: 5}
        self.assertEqual(processes.descendants(2, parents), [2, 3, 4])

    def test_own_processes_are_read(self):
        import os

        self.assertIn(os.getpid(), processes.tree(os.getpid()))
        self.assertGreater(processes.cpu_seconds([os.getpid()])[0], 0)

    def test_cpu_time_is_taken_between_the_samples(self):
        samples = [(0.0, 0.0, 0.0), (1.0, 1.0, 0.5), (2.0, 1.0, 0.5), (3.0, 2.0, 0.5)]
        self.assertEqual(processes.between(samples, 0.5, 2.5), [1.0, 0.25])
        self.assertEqual(processes.between(samples, -1.0, 9.0), [2.0, 0.5])
        self.assertEqual(processes.between(samples[:1], 0.0, 1.0), [0.0, 0.0])


class Load(unittest.TestCase):
    def test_the_sum_is_the_schedulers_and_the_parts_are_those_of_the_ticks(self):
        one = load.figures(summary(), (0.01, 0.5, 1.5))
        self.assertAlmostEqual(one["cpu_us"], 5.0)
        self.assertAlmostEqual(one["user_us"], 1.25)
        self.assertAlmostEqual(one["system_us"], 3.75)
        self.assertAlmostEqual(one["server_busy"], 0.005)
        self.assertAlmostEqual(one["generator_busy"], 0.5)

    def test_a_run_without_answers_gives_no_figures(self):
        with self.assertRaises(load.Failed):
            load.figures(summary(requests=0), (0.1, 0.1, 0.1))

    def test_everybody_gets_the_same_load(self):
        one = load.arguments("refresh", "127.0.0.1:1", 9, 3, 1)
        other = load.arguments("refresh", "127.0.0.1:2", 9, 3, 1)
        self.assertEqual([a for a in one if ":" not in a], [a for a in other if ":" not in a])
        self.assertEqual(one[one.index("--offload") + 1], "off")
        self.assertIn("--rate", load.arguments("refresh", "127.0.0.1:1", 9, 3, 1, rate=5))

    def test_sipp_is_judged_by_its_last_statistics(self):
        rows = [{"SuccessfulCall(C)": "4", "FailedCall(C)": "0"},
                {"SuccessfulCall(C)": "100", "FailedCall(C)": "2"}]  # fmt: skip
        one = load.sipp_figures(rows, 2.0, 0.001)
        self.assertEqual((one["registrations_per_second"], one["failed"]), (50.0, 2))
        self.assertAlmostEqual(one["generator_cpu_us"], 5.0)
        for nothing in ([], [{"SuccessfulCall(C)": "0", "FailedCall(C)": "9"}]):
            with self.assertRaises(load.Failed):
                load.sipp_figures(nothing, 1.0, 0.1)


class Ratios(unittest.TestCase):
    def runs(self):
        return {
            "aorta": {"refresh": [run(2.0, 300), run(4.0, 200), run(2.0, 100)]},
            "kamailio": {"refresh": [run(8.0, 100), run(8.0, 100), run(7.0, 100)]},
            "datagram_loop": {"refresh": [run(1.0, 600)]},
        }

    def test_costs_are_the_others_over_ours_and_rates_ours_over_the_others(self):
        found = figures.ratios(self.runs())
        for name, low, middle, high in [
            ("refresh_vs_kamailio", 2.0, 3.5, 4.0),
            ("refresh_rate_vs_kamailio", 1.0, 2.0, 3.0),
            # Rounds that only one side has are left out.
            ("refresh_vs_datagram_loop", 0.5, 0.5, 0.5),
        ]:
            for key, value in (("min", low), ("median", middle), ("max", high)):
                self.assertAlmostEqual(found[name][key], value, msg=f"{name} {key}")
        self.assertNotIn("registration_vs_kamailio", found)

    def test_the_generator_is_the_limit_where_the_server_has_time_left(self):
        busy = figures.summed_up([run(2.0, 300, generator_cpu_seconds=1.99)])
        self.assertTrue(figures.limited_by_generator(busy))
        self.assertFalse(figures.limited_by_generator(figures.summed_up([run(2.0, 300)])))

    def test_lost_ones_are_added_up_over_the_rounds(self):
        self.assertEqual(figures.summed_up([run(2.0, 300, lost=2), run(2.0, 300, lost=3)])["lost"], 5)


class Report(unittest.TestCase):
    CONDITIONS = {"accounts": 9, "rounds": 3, "seconds": 2, "server_cpu": 0, "generator_cpu": 1,
                  "most_accounts": 90, "quick": True}  # fmt: skip

    def whole(self, runs):
        memory = {"aorta": {"accounts": 90, "bytes_per_binding": 300.0, "before_mib": 1.0}}
        return report.summary(self.CONDITIONS, runs, memory, None, ["nobody"])

    def test_what_is_asked_for_stands_there_with_and_without_the_peer(self):
        runs = Ratios().runs()
        whole = self.whole(runs)
        self.assertEqual(whole["refresh_vs_kamailio"], 3.5)
        self.assertEqual(whole["bytes_per_binding"], 300.0)
        self.assertEqual(whole["spread"]["refresh_vs_kamailio"], [2.0, 4.0])
        alone = self.whole({"aorta": runs["aorta"], "kamailio": {}})
        self.assertIsNone(alone["refresh_vs_kamailio"])
        self.assertIsNone(alone["refresh_vs_datagram_loop"])

    def test_the_table_names_who_ran_what_is_missing_and_what_went_wrong(self):
        runs = Ratios().runs()
        runs["kamailio"]["refresh"].append(run(7.0, 100, wrong=4))
        whole = self.whole(runs)
        text = report.table(whole, figures.ratios(runs))
        for part in ("Kamailio", "MISSING: nobody", "4 WRONG", "refresh_vs_datagram_loop", "300 B"):
            self.assertIn(part, text)
        self.assertNotIn("\n", report.as_json(whole))


if __name__ == "__main__":
    unittest.main()
