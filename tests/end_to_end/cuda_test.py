#!/usr/bin/env python3
"""--device cuda as a user runs it, on an emulated device: the same answers as on the CPU, and its refusals. And on a
program whose device this machine lacks: one line that says so. Standard library only.

usage: cuda_test.py FATHOM_EMULATED_BINARY FATHOM_BINARY"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

from serving import has_open_mpi

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
EMULATED = FATHOM = ""
# Emulation takes its time: short steps.
SMALL = ("--max-model-len", "256", "--max-num-batched-tokens", "32", "--max-num-seqs", "3")
PROMPTS = ("The old house stood at the end of the", "Once upon a time there was", "In the morning the")


def run(binary, *arguments, stdin=""):
    return subprocess.run([binary, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=600,
                          check=False)


class CudaTest(unittest.TestCase):
    def answer(self, binary, *arguments):
        done = run(binary, "run", DEMO, *arguments, *SMALL)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_greedy_answers_are_those_of_the_cpu(self):
        for prompt in PROMPTS:
            wanted = self.answer(FATHOM, prompt, "--max-tokens", 12, "--temperature", 0, "--device", "cpu")
            self.assertEqual(self.answer(EMULATED, prompt, "--max-tokens", 12, "--temperature", 0, "--device", "cuda"), wanted)

    def test_a_file_of_requests_gives_each_the_answer_it_gets_alone(self):
        lines = "".join(json.dumps({"prompt": prompt, "max_tokens": 8, "seed": 7, "temperature": 0.8}) + "\n"
                        for prompt in PROMPTS)
        alone = [self.answer(EMULATED, prompt, "--max-tokens", 8, "--seed", 7, "--temperature", 0.8, "--device", "cuda")
                 for prompt in PROMPTS]
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write(lines)
            file.flush()
            done = run(EMULATED, "run", DEMO, "--file", file.name, "--json", "--device", "cuda", *SMALL)
        self.assertEqual(done.returncode, 0, done.stderr)
        texts = [answer["text"] for answer in json.loads(done.stdout)]
        self.assertEqual([text.strip() for text in texts], [text.strip() for text in alone])

    def test_ranks_that_share_a_device_write_what_one_process_does(self):
        if not has_open_mpi(pathlib.Path(EMULATED).with_name("libfathom_mpi.so")):
            self.skipTest("Open MPI is not installed")
        arguments = ("run", DEMO, PROMPTS[0], "--max-tokens", 4, "--seed", 3, "--slices", 2, "--device", "cuda", "--threads", 1,
                     "--log-level", "info")
        wanted = run(EMULATED, *arguments, *SMALL)
        self.assertEqual(wanted.returncode, 0, wanted.stderr)
        for flags in ((), ("--dp-attention",)):
            done = run(EMULATED, "launch", "-n", 2, "--", EMULATED, *arguments, *SMALL, *flags)
            self.assertEqual((done.returncode, done.stdout), (0, wanted.stdout), done.stderr)
            self.assertIn("2 ranks reach each other through the host's memory: ranks 0 and 1 share a GPU", done.stderr)

    def test_too_little_device_memory_is_told_before_loading(self):
        done = run(EMULATED, "run", DEMO, PROMPTS[0], "--device", "cuda", "--kv-memory", "64G", "--max-tokens", 1)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"out of memory foreseen: .* GiB available on emulated device: lower --kv-memory")
        self.assertEqual(done.stdout, "")

    def test_a_machine_without_a_device_is_told_in_one_line(self):
        done = run(FATHOM, "run", DEMO, PROMPTS[0], "--device", "cuda", *SMALL)
        if done.returncode == 0:
            self.skipTest("this machine has a CUDA device")
        self.assertRegex(done.stderr.strip(), r"^fathom: error: --device cuda: [^\n]*$")
        self.assertEqual(done.returncode, 1)

    def test_an_unknown_device_is_refused(self):
        done = run(FATHOM, "run", DEMO, PROMPTS[0], "--device", "npu")
        self.assertEqual(done.stderr.strip(), 'fathom: error: --device: "npu" is not one of cpu, cuda')


if __name__ == "__main__":
    EMULATED, FATHOM = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
