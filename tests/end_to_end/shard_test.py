#!/usr/bin/env python3
"""fathom shard as a user runs it: the same bits from a sharded folder as from the model it was made of, refusals,
damage, killed at any moment. Standard library only.

usage: shard_test.py FATHOM_BINARY      FATHOM_KILLS=500 kills that often instead of 30"""
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from killing import kill_at_random_moments
from serving import DEMO, ROOT, has_open_mpi

GOLDEN = ROOT / "tests" / "golden"
IDS = "5,17,40,3,99,20,7,7,31,8,12,64,2,90,11,12,13,77,15,6"
SEED = 20251201
KILLS = int(os.environ.get("FATHOM_KILLS", "30"))
BINARY = ""


def needs_mpi(test):
    @functools.wraps(test)
    def wrapped(self):
        if not has_open_mpi(pathlib.Path(BINARY).with_name("libfathom_mpi.so")):
            self.skipTest("Open MPI (openmpi-bin, libopenmpi-dev) is not installed")
        test(self)
    return wrapped


def run(*arguments):
    return subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=300, check=False)


def fathom(*arguments):
    return run(BINARY, *arguments)


def on_ranks(ranks, *arguments):
    start = [BINARY, "launch", "-n", ranks, "--"] if ranks > 1 else []
    return run(*start, BINARY, *arguments, "--threads", 1)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fathom_shard_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "out"

    def succeed(self, *arguments):
        done = fathom(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def shard(self, source, *options, out=None):
        return self.succeed("shard", source, out or self.out, *options)

    def synth(self, config, *options):
        model = self.folder / "model"
        self.succeed("synth", GOLDEN / config / "config.json", model, *options)
        return model

    def refused(self, done, words):
        self.assertEqual(done.returncode, 1, done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("fathom: error: ")]
        self.assertEqual(errors, [f"fathom: error: {words}"], done.stderr)


class Answers(Case):
    def same(self, ranks, model, *options):
        """Ids, text and every logit from the sharded folder are those from the model, bit by bit."""
        output, logits = [], []
        for folder in (model, self.out):
            done = on_ranks(ranks, "run", folder, "--ids", IDS, "--greedy", "--max-tokens", 16, "--ignore-eos", "--json",
                            *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            output.append(json.loads(done.stdout)["ids"])
            npy = self.folder / "logits.npy"
            done = on_ranks(ranks, "score", folder, "--ids", IDS, "--json", "--out", npy, *options)
            self.assertEqual(done.returncode, 0, done.stderr)
            logits.append((npy.read_bytes(), json.loads(done.stdout)["nll"]))
        self.assertEqual(len(output[0]), 16)
        self.assertEqual(output[0], output[1])
        self.assertEqual(logits[0], logits[1])

    def test_one_rank_with_slices(self):
        self.shard(GOLDEN / "lite_like", "--tp", 1, "--slices", 4)
        self.same(1, GOLDEN / "lite_like", "--slices", 4)

    @needs_mpi
    def test_every_float_type(self):
        for name, ranks in (("lite_like", 2), ("new_spelling_sharded", 2), ("odd_sizes", 3), ("attention_bias", 2)):
            with self.subTest(model=name):
                self.out = self.folder / f"{name}-out"
                self.shard(GOLDEN / name, "--tp", ranks, "--shard-size", "20k")
                self.same(ranks, GOLDEN / name)

    @needs_mpi
    def test_two_ranks_of_every_quantised_type(self):
        recipes = {"w8a16": ["--type", "w8a16"], "w8a8": [], "head": ["--quantize-head"],
                   "mix": ["--mix", "self_attn=w8a16"], "ascend": ["--layout", "ascendv1"],
                   "w4a16": ["--type", "w4a16", "--group-size", 128], "w4a8": ["--type", "w4a8-dynamic"],
                   "w4_mix": ["--mix", ".mlp.experts.=w4a8-dynamic"]}
        for name, options in recipes.items():
            with self.subTest(recipe=name):
                model = self.folder / name
                self.succeed("quantize", DEMO, model, *options)
                self.out = self.folder / f"{name}-out"
                self.shard(model, "--tp", 2)
                self.succeed("verify", self.out)
                self.same(2, model)

    @needs_mpi
    def test_experts_and_slices(self):
        model = self.synth("q_lora_groups", "--type", "w8a8-dynamic")
        for number, options in enumerate((["--moe-ep", 2], ["--slices", 4], ["--slices", 4, "--moe-ep", 4])):
            with self.subTest(options=options):
                self.out = self.folder / f"out{number}"
                self.shard(model, "--tp", 2, *options)
                self.same(2, model, *options)

    @needs_mpi
    def test_each_server_has_its_own_ranks_files_only(self):
        """And other commands take the folder like any model."""
        self.shard(DEMO, "--tp", 2)
        servers = [self.folder / f"server{rank}" for rank in range(2)]
        for rank, server in enumerate(servers):
            shutil.copytree(self.out, server, ignore=shutil.ignore_patterns(f"rank-0{1 - rank}*"))
            self.succeed("verify", server, "--ranks", rank)
            self.assertIn(f"those of ranks {rank} are here", self.succeed("show", server).stdout)
        answers = ["run", "x", "The old house", "--greedy", "--max-tokens", "12", "--threads", "1", "--json"]
        model = f"{self.folder}/server$OMPI_COMM_WORLD_RANK"
        words = " ".join(f"'{word}'" for word in answers).replace("'x'", model)
        done = run(BINARY, "launch", "-n", 2, "--", "sh", "-c", f"exec {BINARY} {words}")
        self.assertEqual(done.returncode, 0, done.stderr)
        want = json.loads(on_ranks(2, *(DEMO if word == "x" else word for word in answers[:-3]), "--json").stdout)
        self.assertEqual(json.loads(done.stdout)["text"], want["text"])
        report = on_ranks(2, "bench", "model", self.out, "--pairs", "16x4", "--seconds", 0.02, "--format", "json")
        self.assertGreater(json.loads(report.stdout)["rows"][0]["decode_tps"], 0, report.stderr)


class Refusals(Case):
    def test_another_number_of_ranks(self):
        self.shard(DEMO, "--tp", 2)
        self.refused(fathom("run", self.out, "x"),
                     f"{self.out}: was sharded for 2 ranks, --moe-ep 1, --slices 2; asked for are 1 rank, --moe-ep 1, "
                     "--slices 1: start it as it was sharded, or shard the model anew")
        self.refused(fathom("quantize", self.out, self.folder / "q"),
                     f"{self.out}: is sharded for ranks (it has a sharding.json): give the folder it was made from")
        self.refused(fathom("show", self.out, "--tp", 4),
                     f"{self.out}: was sharded for 2 ranks, --moe-ep 1, --slices 2; asked for are 4 ranks, --moe-ep 1, "
                     "--slices 4: start it as it was sharded, or shard the model anew")

    @needs_mpi
    def test_files_that_are_missing_or_cut(self):
        self.shard(DEMO, "--tp", 2)
        path = self.out / "rank-01-of-02.safetensors"
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        words = f"{path}: has {len(data) - 1} bytes, {len(data)} in sharding.json: copy it again"
        self.refused(on_ranks(2, "run", self.out, "x"), f"rank 1 on node 0 failed: {words}")
        path.unlink()
        words = f"{path}: no such file, but sharding.json names it for rank 1 of 2: copy it here"
        self.refused(on_ranks(2, "run", self.out, "x"), f"rank 1 on node 0 failed: {words}")

    def test_options(self):
        for options, words in ((["--tp", 3], "--tp: 3 does not divide num_attention_heads 8"),
                               (["--tp", 0], "--tp: 0 is outside [1, 1024]"),
                               (["--tp", 2, "--moe-ep", 4], "--moe-ep: 4 does not divide the 2 slices"),
                               (["--tp", 2, "--slices", 3], "--slices: 3 is not the 2 ranks times a power of two")):
            self.refused(fathom("shard", DEMO, self.out, *options), words)
        self.assertEqual(fathom("shard", DEMO, self.out).returncode, 2)
        self.assertEqual(os.listdir(self.folder), [])


class Reports(Case):
    def test_verify_names_damage(self):
        self.shard(DEMO, "--tp", 2)
        path = self.out / "rank-01-of-02.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 4
        path.write_bytes(data)
        done = fathom("verify", self.out, "--json")
        self.assertEqual(done.returncode, 1)
        (damage,) = json.loads(done.stdout)["damages"]
        self.assertEqual(damage["file"], path.name)
        self.assertEqual(damage["tensor"], "lm_head.weight")
        self.succeed("verify", self.out, "--ranks", 0)
        path.unlink()
        done = fathom("verify", self.out, "--json")
        self.assertEqual([(d["file"], d["what"]) for d in json.loads(done.stdout)["damages"]],
                         [(path.name, "the file is missing")])
        self.refused(fathom("verify", self.out, "--ranks", "0,2"),
                     f"--ranks: 2 is no rank of {self.out}, which is sharded for 2")
        (self.out / "rank-00-of-03.safetensors").write_bytes(b"")
        done = fathom("verify", self.out, "--ranks", 0)
        self.assertIn("rank-00-of-03.safetensors: the file is not in the manifest", done.stdout)
        (self.out / "rank-00-of-03.safetensors").unlink()
        sharding = self.out / "sharding.json"
        sharding.write_text(sharding.read_text().replace('"ranks": 2', '"ranks": 4'))
        done = fathom("verify", self.out, "--json")
        self.assertIn("sharding.json", [d["file"] for d in json.loads(done.stdout)["damages"]])

    def test_show_and_json(self):
        report = json.loads(self.shard(DEMO, "--tp", 4, "--moe-ep", 2, "--json").stdout)
        self.assertEqual((report["ranks"], report["moe_ep"], report["slices"], report["files"]), (4, 2, 4, 4))
        self.assertEqual(report["rank_bytes"], [path.stat().st_size for path in sorted(self.out.glob("rank-*.safetensors"))])
        for path in self.out.glob("rank-0[13]-*.safetensors"):
            path.unlink()
        shown = json.loads(self.succeed("show", self.out, "--json").stdout)
        self.assertEqual(shown["sharding"]["ranks_here"], [0, 2])
        want = json.loads(self.succeed("show", DEMO, "--tp", 4, "--moe-ep", 2, "--json").stdout)
        for key in ("weights", "weight_bytes", "plan", "tensors", "parameters"):
            self.assertEqual(shown[key], want[key], key)
        self.assertIn("for 4 ranks, --moe-ep 2, --slices 4; of the ranks' files those of ranks 0, 2 are here",
                      self.succeed("show", self.out).stdout)
        self.assertIsNone(want["sharding"])


class Killed(Case):
    def command(self, destination):
        return [BINARY, "shard", str(GOLDEN / "lite_like"), str(destination), "--tp", "2", "--shard-size", "8k"]

    def test_killed_at_random_moments(self):
        kill_at_random_moments(self, self.command, self.folder, KILLS, SEED, "going on behind part")

    def verify(self, destination):
        self.succeed("verify", destination)


if __name__ == "__main__":
    BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main()
