#!/usr/bin/env python3
"""`--device cuda` from the commands and the server, on the small checkpoints of tests/golden: on a GPU, or on the emulated
device of fathom_emulated, which takes a quarter of a second a token. Standard library only.

usage: device_test.py FATHOM_BINARY

Other tests of the server (serve_test.py and all that use serving.Server) run on a device with FATHOM_TEST_DEVICE=cuda."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

from serving import ROOT, Server, in_threads

BINARY = ""
TEXT = "/v1/completions"
BF16 = ROOT / "tests" / "golden" / "lite_like"
W8A8 = None  # a folder that setUpModule fills
ENGINE = ["--device", "cuda", "--kv-memory", "4M", "--max-model-len", "128", "--block-size", "16",
          "--max-num-batched-tokens", "24", "--max-num-seqs", "4"]  # few, as the engine tries out its longest step when it loads
PROMPT = [5, 77, 9, 200, 13, 42, 120, 3, 250, 66, 17, 18, 5, 77, 9, 30, 31, 2, 99, 101, 8, 44]


def setUpModule():
    global folder, W8A8
    folder = tempfile.TemporaryDirectory()
    W8A8 = os.path.join(folder.name, "w8a8")
    command("quantize", BF16, W8A8, "--type", "w8a8-dynamic")


def tearDownModule():
    folder.cleanup()


def command(*words):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def json_of(*words):
    return json.loads(command(*words, "--json"))


def ids_text(ids):
    return ",".join(map(str, ids))


class Commands(unittest.TestCase):
    def test_chunks_change_nothing(self):
        def run(*more):
            return json_of("run", W8A8, "--ids", ids_text(PROMPT), "--max-tokens", 3, "--greedy", *more)["ids"]

        chunks = [*ENGINE[:-4], "--max-num-batched-tokens", "5", "--max-num-seqs", "4"]
        self.assertEqual(run(*ENGINE), run(*chunks))

    def test_scores_are_the_cpus(self):
        def score(*engine):
            return json_of("score", BF16, "--ids", ids_text(PROMPT), "--threads", 2, "--dtype", "fp32", *engine)["nll"]

        # Logits in float32 are within 1e-5 of the reference (cuda_golden_test), on the CPU as well: a position's score within 4e-5.
        self.assertAlmostEqual(score(*ENGINE), score(), delta=4e-5 * len(PROMPT))

    def test_ceilings(self):
        found = json_of("bench", "machine", "--device", "cuda", "--seconds", 0.01)
        self.assertGreater(found["multiprocessors"], 0)
        self.assertGreater(found["copy_gb_per_s"]["best"], 0)
        self.assertEqual({product["name"] for product in found["products"]}, {"bf16", "int8"})
        self.assertIn("own kernel", [product["by"] for product in found["products"]])

    def test_kernels(self):
        config = json.loads((BF16 / "config.json").read_text())
        path = os.path.join(folder.name, "config.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({**config, "num_attention_heads": 2, "num_key_value_heads": 2, "n_routed_experts": 4, "num_experts_per_tok": 2}, file)

        def rows(group, *more):
            found = json_of("bench", "kernels", "--device", "cuda", "--model", path, "--only", group, "--seconds", 1e-4, *more)
            return {section["name"]: section["rows"] for section in found["sections"]}

        experts = rows("experts", "--tokens", 9)
        self.assertEqual(list(experts), ["w8a8", "w8a16", "w4a8", "w4a16", "bf16", "fp16"])
        gate_up = experts["w8a8"][0]
        # Gate and up of 32 outputs and 96 inputs, padded to 128, a scale an output, of 4 experts; 9 tokens have 18 pairs, 4 each.
        self.assertEqual((gate_up["name"], gate_up["bytes"]), ("expert gate_up", 4 * 2 * 32 * (128 + 4)))
        self.assertEqual(gate_up["operations"], 2 * 2 * 32 * 96 * 16)
        attention = {row["shape"]: row for row in rows("attention", "--contexts", 20)["absorbed, bf16 cache"]}
        self.assertEqual(attention["32 x 20 keys, 2 heads"]["bytes"], 32 * 20 * 2 * (64 + 16))
        for row in [*experts["bf16"], *attention.values()]:
            self.assertGreater(row["roof_fraction"], 0)

    def test_model_bench_is_held_against_the_device(self):
        found = json_of("bench", "model", W8A8, *ENGINE, "--pairs", "6x3", "--batch", 2, "--seconds", 0.01)
        self.assertNotEqual(found["machine"]["device"], "cpu")
        self.assertNotIn("cpu", found["machine"])
        self.assertGreater(found["machine"]["int8_tops"], 0)
        row = found["rows"][0]
        self.assertAlmostEqual(row["roof_fraction_decode"], row["decode_gb_per_s"] / row["read_gb_per_s"], delta=1e-9)


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(BINARY, *ENGINE, "--roof-seconds", 0.01, model=W8A8)
        cls.server.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.__exit__()

    def ids(self, body):
        return self.server.post(TEXT, {"return_token_ids": True, **body})["choices"][0]["token_ids"]

    def test_stream_equals_whole_equals_run(self):
        body = {"prompt": PROMPT, "max_tokens": 4, "temperature": 0.8, "seed": 7, "return_token_ids": True}
        whole = self.ids(body)
        streamed = [id for event in self.server.stream(TEXT, body) for choice in event["choices"] for id in choice.get("token_ids", [])]
        self.assertEqual(streamed, whole)
        run = json_of("run", W8A8, "--ids", ids_text(PROMPT), "--max-tokens", 4, "--temperature", 0.8, "--seed", 7, *ENGINE)
        self.assertEqual(run["ids"], whole)

    def test_batch_mates_and_cached_prompts_change_nothing(self):
        bodies = [{"prompt": PROMPT[i:] + PROMPT, "max_tokens": 2 + i, "seed": i, "temperature": 1} for i in range(3)]
        alone = [self.ids(body) for body in bodies]
        self.assertEqual(in_threads([lambda body=body: self.ids(body) for body in bodies]), alone)
        self.assertGreater(self.server.metric("fathom:prefix_cache_hits_total"), 0)

    def test_steps_are_held_against_the_device(self):
        before = self.server.metric("fathom:step_roof_share_sum")
        self.ids({"prompt": PROMPT[:3], "max_tokens": 2})
        self.assertGreater(self.server.metric("fathom:step_roof_share_sum"), before)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
