#!/usr/bin/env python3
"""A model over several ranks, as `fathom launch` and mpirun start them: the same answers as from one process, refusals,
lost ranks. Standard library only.

usage: ranks_test.py FATHOM_BINARY"""
import array
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

from pretended_hosts import MpiFolder
from rank_serving import TEXT, RankServer, lose_a_rank
from serving import DEMO, ROOT, events_of, free_port, in_threads, skip_without_open_mpi

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


def serving_ranks(ranks, *flags, launch=()):
    return RankServer(BINARY, [BINARY, "launch", "-n", ranks, *launch, "--"] if ranks > 1 else [], *flags)


class Answers(unittest.TestCase):
    def test_any_number_of_ranks_writes_the_same(self):
        arguments = ("run", DEMO, "The old house", "--max-tokens", 24, "--temperature", 0.8, "--seed", 3, "--slices", 4)
        want = output(1, *arguments)
        self.assertGreater(len(want.split()), 5)
        for ranks in (2, 4):
            self.assertEqual(output(ranks, *arguments), want)
            self.assertEqual(output(ranks, *arguments, "--dp-attention"), want)

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

    def test_whole_attention_on_ranks_that_do_not_divide_the_heads(self):
        arguments = ("run", GOLDEN, "--ids", IDS, "--dtype", "fp32", "--greedy", "--max-tokens", 16, "--dp-attention", "--json")
        want = json.loads(output(1, *arguments))["ids"]
        for ranks in (2, 3):
            self.assertEqual(json.loads(output(ranks, *arguments))["ids"], want)

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
                want = json.loads(output(1, *arguments))["ids"]
                for flags in ((), ("--dp-attention",)):
                    self.assertEqual(json.loads(output(2, *arguments, *flags))["ids"], want)

    def test_compare(self):
        arguments = ("compare", DEMO, DEMO, "--b-kv-cache-dtype", "int8", "--text-file", DEMO / "held_out_en.txt", "--limit",
                     300, "--slices", 2, "--json")
        want = json.loads(output(1, *arguments))
        for flags in ((), ("--dp-attention",)):
            self.assertEqual(json.loads(output(2, *arguments, *flags)), want)
        # Texts need to lie on rank 0's server alone.
        here, elsewhere = (" ".join(map(str, arguments)).replace("held_out_en", name) for name in ("held_out_en", "not_there"))
        script = f"exec {BINARY} $([ $OMPI_COMM_WORLD_RANK = 0 ] && echo {here} || echo {elsewhere}) --threads 1"
        done = run(BINARY, "launch", "-n", 2, "--", "sh", "-c", script)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout), want)

    def test_eval(self):
        arguments = ("eval", DEMO, "--tasks", "boolq", "--data", ROOT / "tests" / "end_to_end" / "eval_data", "--limit", 4,
                     "--slices", 2, "--json")
        results = [json.loads(output(ranks, *arguments, *flags))["results"]
                   for ranks, flags in ((1, ()), (2, ()), (2, ("--dp-attention",)))]
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])

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
        arguments = ("bench", "model", GOLDEN, "--pairs", "16x4", "--seconds", 0.02, "--read-memory", "1M", "--format")
        report = json.loads(output(2, *arguments, "json"))
        self.assertGreater(report["rows"][0]["decode_tps"], 0)
        self.assertEqual(report["machine"]["ranks"], 2)
        self.assertIn(" on 2 ranks of 1 threads of ", output(2, *arguments, "table"))


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
        script = f'[ $OMPI_COMM_WORLD_RANK = 0 ] || more=--dp-attention; exec {BINARY} run {DEMO} x --threads 1 $more'
        done = run(BINARY, "launch", "-n", 2, "--", "sh", "-c", script)
        self.refused(done, "ranks 0 and 1 differ in --dp-attention: off on rank 0, on on rank 1")

    def differ(self, name, *serve, other):
        """Rank 1 runs another command line; by its name is refused what differs."""
        first, second = (" ".join(map(str, (*words, "--threads", 1))) for words in (serve, other))
        script = f'[ $OMPI_COMM_WORLD_RANK = 0 ] && exec {first}; exec {second}'
        done = run(BINARY, "launch", "-n", 2, "--", "sh", "-c", script)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, rf"(?m)^fathom: error: ranks 0 and 1 differ in {name}: \S+ on rank 0, \S+ on rank 1$")

    def test_programs_configs_and_weights_that_differ(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            shutil.copy(BINARY, folder / "fathom")
            (folder / "libfathom_mpi.so").symlink_to(pathlib.Path(BINARY).with_name("libfathom_mpi.so"))
            with (folder / "fathom").open("ab") as file:
                file.write(b"of another build")
            arguments = ("run", GOLDEN, "--ids", IDS)
            self.differ("the program", BINARY, *arguments, other=(folder / "fathom", *arguments))
            config = json.loads((GOLDEN / "config.json").read_text())
            models = [folder / str(seed) for seed in range(2)]
            for seed, model in enumerate(models):
                made = run(BINARY, "synth", GOLDEN / "config.json", model, "--seed", seed)
                self.assertEqual(made.returncode, 0, made.stderr)
            words = [(BINARY, "run", model, "--ids", IDS) for model in models]
            self.differ("the weights' values", *words[0], other=words[1])
            (models[1] / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))
            self.differ("config.json", *words[0], other=words[1])

    def test_numbers_that_do_not_fit(self):
        self.refused(fathom(3, "run", DEMO, "x"), "--tp: 3 does not divide num_attention_heads 8")
        self.refused(fathom(2, "run", DEMO, "x", "--tp", 4),
                     "--tp: 4 ranks are asked for and 2 are there: start it by fathom launch -n 4 --")
        self.refused(fathom(3, "run", DEMO, "x", "--slices", 3, "--dp-attention"),
                     "--tp: 3 does not divide num_attention_heads 8")
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
        with serving_ranks(1, "--slices", 2) as server:
            want = self.answers(server)
        with serving_ranks(2) as server:
            self.assertEqual(self.answers(server), want)

    def test_ranks_with_sequences_of_their_own(self):
        """Many at once, more than one answer to a prompt."""
        cache = ("--kv-memory", "4M", "--block-size", 16)
        bodies = [{"prompt": f"{'The old house ' * (5 * (i % 3))}number {i % 5}", "max_tokens": 16 + i, "seed": i, "n": 1 + i % 3,
                   "temperature": 0.5 * (i % 3), "logprobs": 1} for i in range(16)]
        def ask(server):
            found = in_threads([lambda body=body: server.post(TEXT, body)["choices"] for body in bodies])
            return found, server.load()["cache_pages"]
        with serving_ranks(1, "--slices", 4, *cache) as server:
            want, pages = ask(server)
        for ranks in (2, 4):
            with serving_ranks(ranks, "--slices", 4, "--dp-attention", *cache) as server:
                got, more_pages = ask(server)
            self.assertEqual(got, want)
            self.assertEqual(more_pages, ranks * pages)

    def lose(self, number, words):
        with MpiFolder() as folder:
            with serving_ranks(2, "--max-num-seqs", 1) as server:
                lose_a_rank(self, server, "The old house", lambda: server.signal_rank(1, number), words)
            folder.wait_until_clean(30)

    def test_killed_rank(self):
        self.lose(signal.SIGKILL, "rank 1 on node 0 is lost: its process has ended")

    def test_stopped_rank(self):
        self.lose(signal.SIGSTOP, "rank 1 on node 0 is lost: no sign of life for 10 s")

    def test_lost_groups_end_and_are_started_again(self):
        port = free_port()
        with MpiFolder() as folder:
            with serving_ranks(2, "--port", port, launch=("--restart", 1)) as server:
                answer = lambda: server.post(TEXT, {"prompt": "The old house", "max_tokens": 8, "temperature": 0})["choices"]
                want = answer()
                server.signal_rank(1, signal.SIGKILL)  # noticed although nothing is asked
                server.wait_for_health(503)
                server.wait_for_health(200)
                self.assertEqual(answer(), want)
                server.signal_rank(0, signal.SIGKILL)
                self.assertNotEqual(server.wait_for_end(), 0)
            folder.wait_until_clean(30)
        self.assertIn("start 1 of 1 again in 1 s", server.log)

    def test_a_group_whose_mpirun_is_killed_ends(self):
        with serving_ranks(2) as server:
            (mpirun,) = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
            os.kill(int(mpirun), signal.SIGKILL)
            self.assertEqual(server.wait_for_end(), 128 + signal.SIGKILL)

    def test_waiting_ranks_leave_the_cpus_alone(self):
        with serving_ranks(4) as server:
            time.sleep(1.5)  # the longer they wait, the less they look
            ticks = server.cpu_ticks()
            time.sleep(2)
            self.assertLess(server.cpu_ticks() - ticks, 0.5 * 2 * os.sysconf("SC_CLK_TCK"))

    def test_told_to_end_it_lets_answers_end(self):
        with serving_ranks(2, "--shutdown-timeout", 100) as server:
            body = {"prompt": "The old house", "max_tokens": 400, "ignore_eos": True, "stream": True}
            response, connection = server.send("POST", TEXT, body)
            response.readline()
            server.process.send_signal(signal.SIGTERM)  # to fathom launch
            events = events_of(response.read().decode().lstrip("\n"))
            self.assertEqual(events[-1]["choices"][0]["finish_reason"], "length")
            connection.close()
            self.assertEqual(server.wait_for_end(), 0)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    skip_without_open_mpi(pathlib.Path(BINARY).with_name("libfathom_mpi.so"))
    unittest.main()
