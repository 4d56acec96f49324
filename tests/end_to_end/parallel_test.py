#!/usr/bin/env python3
"""Ranks as mpirun starts them: sums the same bits wherever they run, lost ranks named, nothing left behind. Pretended
hosts are network namespaces, where this machine allows them (pretended_hosts.py). Standard library only.

usage: parallel_test.py FATHOM_BINARY"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

import pretended_hosts
from pretended_hosts import MpiFolder, host_list, on_first_host, rank_table
from serving import skip_without_open_mpi

BINARY = ""


def rank_program():
    return str(pathlib.Path(BINARY).with_name("rank_program"))


def run(*arguments, env=None):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, **(env or {})})
    return done


def launch(ranks, *command, env=None):
    return run(BINARY, "launch", "-n", ranks, "--", *command, env=env)


def processes_of(word):
    """Those that still run and have the word on their command line."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if word in (folder / "cmdline").read_text() and int(folder.name) != os.getpid():
                found.append(folder.name)
        except OSError:
            pass
    return found


class Case(unittest.TestCase):
    def digest(self, done, ranks, nodes):
        """Rank 0's line, and no other."""
        self.assertEqual(done.returncode, 0, done.stderr)
        match = re.fullmatch(r"ranks (\d+) nodes (\d+) digest ([0-9a-f]{16})\n", done.stdout)
        self.assertIsNotNone(match, done.stdout)
        self.assertEqual(match.groups()[:2], (str(ranks), str(nodes)))
        return match.group(3)


    def good_lines(self, jobs):
        """What jobs that run at the same time print."""
        outputs = [job.communicate(timeout=120) for job in jobs]
        for job, (_, errors) in zip(jobs, outputs):
            self.assertEqual(job.returncode, 0, errors)
        return [lines for lines, _ in outputs]


class OneHost(Case):
    def test_collectives(self):
        for ranks in (2, 3, 4, 8):
            done = launch(ranks, rank_program(), "collectives", 60)
            digest = self.digest(done, ranks, 1)
            again = launch(ranks, rank_program(), "collectives", 60)
            self.assertEqual(self.digest(again, ranks, 1), digest)

    def test_two_jobs_at_once(self):
        command = [BINARY, "launch", "-n", "2", "--", rank_program(), "collectives", "40"]
        jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(2)]
        lines = self.good_lines(jobs)
        self.assertEqual(lines[0], lines[1])

    def lose(self, number, words):
        with MpiFolder() as folder:
            done = launch(3, rank_program(), "lose", 1, int(number))
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"rank_program: {words}\n", done.stderr)
            self.assertEqual(processes_of(f"{rank_program()}\0lose\0{1}\0{int(number)}\0"), [])
            folder.wait_until_clean(30)

    def test_killed_rank(self):
        self.lose(signal.SIGKILL, "rank 1 on node 0 is lost: its process has ended")

    def test_stopped_rank(self):
        self.lose(signal.SIGSTOP, "rank 1 on node 0 is lost: no sign of life for 3 s")

    def test_a_rank_that_ends_in_front_of_the_others_ends_them(self):
        done = launch(3, "sh", "-c", f'[ $OMPI_COMM_WORLD_RANK != 1 ] || exit 7; exec {rank_program()} collectives 1')
        self.assertEqual(done.returncode, 7)

    def test_ranks_that_differ_do_not_start(self):
        done = launch(2, rank_program(), "disagree")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("ranks 0 and 1 differ in weights: a1 on rank 0, b2 on rank 1", done.stderr)

    def test_rank_0_alone_writes(self):
        self.assertEqual(launch(3, "sh", "-c", "echo rank $OMPI_COMM_WORLD_RANK").stdout, "rank 0\n")

    def test_visible_devices_say_how_many_ranks(self):
        done = run(BINARY, "launch", "--dry-run", "--", "x", env={"ASCEND_RT_VISIBLE_DEVICES": "0,1,2"})
        self.assertTrue(done.stdout.startswith("mpirun -n 3 "), done.stdout + done.stderr)

    def test_rank_tables_and_node_arguments(self):
        with tempfile.TemporaryDirectory() as name:
            table = pathlib.Path(name) / "ranks.json"
            table.write_text(json.dumps(rank_table(("10.0.0.1", "10.0.0.2"), 2)))

            def dry(*node):
                return run(BINARY, "launch", "--rank-table", table, *node, "--dry-run", "--", "x", env={"MASTER_PORT": "20040"})

            first = dry("--node", 4, 2, 0, "10.0.0.1")
            self.assertIn(" --host 10.0.0.1:2,10.0.0.2:2 ", first.stdout)
            self.assertIn(" oob_tcp_dynamic_ipv4_ports 20040 ", first.stdout)
            self.assertEqual(first.stdout, dry().stdout)
            self.assertEqual(dry("--node", 4, 2, 2, "10.0.0.1").stdout, "ranks 2 to 3 are started by the first node, 10.0.0.1\n")
            for node, words in (((8, 2, 0, "10.0.0.1"), f"world_size is 8, {table} has 4 ranks"),
                                ((4, 2, 1, "10.0.0.1"), "first_rank 1 is not the first of a node: 2 nodes of 2 ranks"),
                                ((4, 2, 0, "10.0.0.2"), f"master_address is 10.0.0.2, the first server of {table} is 10.0.0.1")):
                done = dry("--node", *node)
                self.assertEqual((done.returncode, done.stderr), (1, f"fathom: error: {words}\n"))

    def test_bench_comm(self):
        done = launch(2, BINARY, "bench", "comm", "--sizes", "1k,64k", "--seconds", "0.02", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["ranks"], report["nodes"]), (2, 1))
        self.assertEqual([(f["operation"], f["bytes"]) for f in report["figures"]],
                         [("barrier", 0), ("broadcast", 1024), ("all-reduce", 1024), ("broadcast", 65536),
                          ("all-reduce", 65536)])
        alone = run(BINARY, "bench", "comm")
        self.assertEqual(alone.returncode, 1)
        self.assertIn("one rank has nobody to talk to", alone.stderr)


class TwoHosts(pretended_hosts.TwoHosts, Case):
    def launch_on_hosts(self, ranks_each, *command, port=20030):
        return on_first_host(BINARY, "launch", "--hosts", host_list(ranks_each), "--", rank_program(), *command, port=port)

    def test_sixteen_ranks_sum_the_same_bits_on_two_hosts(self):
        two = run(*self.launch_on_hosts(8, "collectives", 20))
        one = launch(16, rank_program(), "collectives", 20)
        self.assertEqual(self.digest(two, 16, 2), self.digest(one, 16, 1))

    def test_two_jobs_on_two_ports(self):
        jobs = [subprocess.Popen(self.launch_on_hosts(4, "collectives", 10, port=port), stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True) for port in (20030, 20031)]
        lines = self.good_lines(jobs)
        self.assertEqual(lines[0], lines[1])

    def test_stopped_rank_on_the_other_host(self):
        done = run(*self.launch_on_hosts(4, "lose", 5, int(signal.SIGSTOP)))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("rank_program: rank 5 on node 1 is lost: no sign of life for 3 s", done.stderr)
        self.assertEqual(processes_of(f"{rank_program()}\0lose\0{5}\0"), [])


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    skip_without_open_mpi(pathlib.Path(rank_program()))
    # Open MPI never frees some of its memory; our own leaks show in the unit tests.
    os.environ["ASAN_OPTIONS"] = "detect_leaks=0"
    unittest.main()
