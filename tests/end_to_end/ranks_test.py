#!/usr/bin/env python3
"""A model over several ranks, as `fathom launch` and mpirun start them: the same answers as from one process, refusals,
lost ranks. Standard library only.

usage: ranks_test.py FATHOM_BINARY"""
import array
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from serving import DEMO, ROOT, Server, events_of, in_threads, wait_until

NO_TEST = 77
TEXT = "/v1/completions"
GOLDEN = ROOT / "tests" / "golden" / "lite_like"
IDS = "5,17,40,3,99,200,7,7,31,8,120,64,2,90,11,12,13,77,150,6"
BINARY = ""


def run(*arguments):
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=300, check=False)


def fathom(ranks, *arguments):
    """Over so many ranks; 1: without mpirun."""
    start = [BINARY, "launch", "-n", ranks, "--"] if ranks > 1 else []
    return run(*start, BINARY, *arguments, "--threads", 1)


def output(ranks, *arguments):
    done = fathom(ranks, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_npy(path):
    data = path.read_bytes()
    length = int.from_bytes(data[8:10], "little")
    values = array.array("f")
    values.frombytes(data[10 + length:])
    return values


class RankServer(Server):
    def __init__(self, ranks, *flags):
        super().__init__(BINARY, *flags)
        command = [BINARY, "serve", str(DEMO), "--port", "0", "--threads", "1", "--max-model-len", "2k", *map(str, flags)]
        self.arguments = [BINARY, "launch", "-n", str(ranks), "--", *command] if ranks > 1 else command

    def pid_of(self, rank):
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_text().split("\0")
                variables = (folder / "environ").read_text().split("\0")
            except OSError:
                continue
            if words[:2] == [BINARY, "serve"] and f"OMPI_COMM_WORLD_RANK={rank}" in variables:
                return int(folder.name)
        raise AssertionError(f"no rank {rank}")


def shared_files():
    return {p.name for p in pathlib.Path("/dev/shm").iterdir()} if pathlib.Path("/dev/shm").is_dir() else set()


class Answers(unittest.TestCase):
    def test_any_number_of_ranks_writes_the_same(self):
        arguments = ("run", DEMO, "The old house", "--max-tokens", 24, "--temperature", 0.8, "--seed", 3, "--slices", 4)
        want = output(1, *arguments)
        self.assertGreater(len(want.split()), 5)
        for ranks in (2, 4):
            self.assertEqual(output(ranks, *arguments), want)

    def test_scores_are_the_same_bytes_under_plain_mpirun(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("one.npy", "two.npy")]
            arguments = ("score", GOLDEN, "--ids", IDS, "--kv-cache-dtype", "int8", "--slices", 2)
            want = output(1, *arguments, "--out", paths[0])
            root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
            done = run("mpirun", *root, "--oversubscribe", "--bind-to", "none", "-n", 2, BINARY, *arguments, "--threads", 1,
                       "--out", paths[1])
            self.assertEqual((done.returncode, done.stdout), (0, want), done.stderr)
            self.assertEqual(paths[0].read_bytes(), paths[1].read_bytes())

    def test_close_to_the_model_in_one_piece(self):
        with tempfile.TemporaryDirectory() as folder:
            arguments = ("score", GOLDEN, "--ids", IDS, "--dtype", "fp32", "--out")
            whole, cut = pathlib.Path(folder) / "whole.npy", pathlib.Path(folder) / "cut.npy"
            output(1, *arguments, whole)
            want = read_npy(whole)
            for flags in ((), ("--moe-ep", 2), ("--moe-ep", 4)):
                output(4, *arguments, cut, *flags)
                got = read_npy(cut)
                self.assertEqual(len(got), len(want))
                self.assertLess(max(abs(a - b) for a, b in zip(got, want)), 1e-3 * max(map(abs, want)))
        greedy = ("run", GOLDEN, "--ids", IDS, "--dtype", "fp32", "--greedy", "--max-tokens", 16, "--json")
        self.assertEqual(json.loads(output(2, *greedy))["ids"], json.loads(output(1, *greedy))["ids"])

    def test_quantised(self):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("w8a8-dynamic", "w4a16"):
                model = pathlib.Path(folder) / kind
                made = run(BINARY, "synth", GOLDEN / "config.json", model, "--type", kind)
                self.assertEqual(made.returncode, 0, made.stderr)
                arguments = ("run", model, "--ids", IDS, "--greedy", "--max-tokens", 16, "--slices", 2, "--json")
                self.assertEqual(json.loads(output(2, *arguments))["ids"], json.loads(output(1, *arguments))["ids"])

    def test_compare(self):
        arguments = ("compare", DEMO, DEMO, "--b-kv-cache-dtype", "int8", "--text-file", DEMO / "held_out_en.txt", "--limit",
                     300, "--slices", 2, "--json")
        self.assertEqual(json.loads(output(2, *arguments)), json.loads(output(1, *arguments)))

    def test_eval(self):
        arguments = ("eval", DEMO, "--tasks", "boolq", "--data", ROOT / "tests" / "end_to_end" / "eval_data", "--limit", 4,
                     "--slices", 2, "--json")
        results = [json.loads(output(ranks, *arguments))["results"] for ranks in (1, 2)]
        self.assertEqual(results[0], results[1])

    def test_chat(self):
        arguments = ("chat", DEMO, "Where is the house?", "--max-tokens", 12, "--temperature", 0, "--slices", 2)
        want = output(1, *arguments)
        self.assertTrue(want.strip())
        self.assertEqual(output(2, *arguments), want)

    def test_bench_maxbs(self):
        found = json.loads(output(2, "bench", "maxbs", GOLDEN, "--pairs", "8x3", "--range", "1x2", "--limit-ms", 60000,
                                  "--json"))
        self.assertEqual(found["cases"][0]["batch"], 2)

    def test_bench_model(self):
        report = json.loads(output(2, "bench", "model", GOLDEN, "--pairs", "16x4", "--seconds", 0.02, "--format", "json"))
        self.assertGreater(report["rows"][0]["decode_tps"], 0)


class Refusals(unittest.TestCase):
    def refused(self, done, words):
        self.assertEqual(done.returncode, 1)
        errors = [line for line in done.stderr.splitlines() if line.startswith("fathom: error: ")]
        self.assertEqual(errors, [f"fathom: error: {words}"], done.stderr)
        self.assertEqual(done.stdout, "")

    def test_options_that_differ(self):
        script = f'exec {BINARY} run {DEMO} x --threads 1 --block-size $((16 << OMPI_COMM_WORLD_RANK))'
        done = run(BINARY, "launch", "-n", 2, "--", "sh", "-c", script)
        self.refused(done, "ranks 0 and 1 differ in --block-size: 16 on rank 0, 32 on rank 1")

    def test_numbers_that_do_not_fit(self):
        self.refused(fathom(3, "run", DEMO, "x"), "--tp: 3 does not divide num_attention_heads 8")
        self.refused(fathom(2, "run", DEMO, "x", "--tp", 4),
                     "--tp: 4 ranks are asked for and 2 are there: start it by fathom launch -n 4 --")
        self.refused(fathom(2, "run", DEMO, "x", "--moe-ep", 3), "--moe-ep: 3 does not divide the 2 slices")

    def test_a_failure_of_one_rank_is_told_by_rank_0(self):
        script = f'[ $OMPI_COMM_WORLD_RANK = 0 ] || export FATHOM_ISA=abacus; exec {BINARY} run {DEMO} x --threads 1'
        done = run(BINARY, "launch", "-n", 2, "--", "sh", "-c", script)
        self.refused(done, 'rank 1 on node 0 failed: FATHOM_ISA: "abacus" is not one of reference, avx2, avx512, amx')


class Serving(unittest.TestCase):
    def answers(self, server):
        bodies = [{"prompt": "The old house", "max_tokens": 20, "seed": 5, "temperature": 0.9, "logprobs": 2},
                  {"prompt": "The old house stood", "max_tokens": 20, "temperature": 0, "logprobs": 0},
                  {"prompt": "Once " * 180, "max_tokens": 12, "temperature": 0}]
        at_once = in_threads([lambda body=body: server.post(TEXT, body)["choices"] for body in bodies])
        again = [server.post(TEXT, body)["choices"] for body in bodies]
        self.assertEqual(at_once, again)
        return at_once

    def test_two_ranks_answer_what_one_process_answers(self):
        with RankServer(1, "--slices", 2) as server:
            want = self.answers(server)
        with RankServer(2) as server:
            self.assertEqual(self.answers(server), want)

    def lose(self, number, answer, words):
        before = shared_files()
        with RankServer(2) as server:
            victim, other = server.pid_of(1), server.pid_of(0)
            body = {"prompt": "The old house", "max_tokens": 2000, "ignore_eos": True, "stream": True}
            response, connection = server.send("POST", TEXT, body)
            response.readline()  # the first token is there
            os.kill(victim, number)
            began = time.monotonic()
            try:
                text = response.read().decode()
            except (OSError, http.client.HTTPException):
                text = "the connection broke"
            self.assertLess(time.monotonic() - began, 15)
            self.assertIn(answer, text[-2000:])
            connection.close()
            self.assertNotEqual(server.process.wait(30), 0)
        self.assertIn(words, server.log)
        for pid in (victim, other):
            wait_until(lambda pid=pid: not pathlib.Path(f"/proc/{pid}").exists(), f"process {pid} has ended", 30)
        self.assertEqual(shared_files() - before, set())

    def test_killed_rank(self):
        self.lose(signal.SIGKILL, "the connection broke", "process rank 1")

    def test_stopped_rank(self):
        self.lose(signal.SIGSTOP, "the request failed", "rank 1 on node 0 is lost: no sign of life for 10 s")

    def test_a_rank_that_dies_while_nothing_is_asked_ends_the_server(self):
        with RankServer(2) as server:
            os.kill(server.pid_of(1), signal.SIGKILL)
            self.assertNotEqual(server.process.wait(30), 0)

    def test_told_to_end_it_lets_answers_end(self):
        with RankServer(2) as server:
            body = {"prompt": "The old house", "max_tokens": 300, "ignore_eos": True, "stream": True}
            response, connection = server.send("POST", TEXT, body)
            response.readline()
            os.kill(server.pid_of(0), signal.SIGTERM)
            events = events_of(response.read().decode().lstrip("\n"))
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "length")
            connection.close()
            self.assertEqual(server.process.wait(30), 0)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    if shutil.which("mpirun") is None or not pathlib.Path(BINARY).with_name("libfathom_mpi.so").exists():
        print("skipped: Open MPI (openmpi-bin, libopenmpi-dev) is not installed")
        sys.exit(NO_TEST)
    unittest.main()
