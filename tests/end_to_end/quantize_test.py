#!/usr/bin/env python3
"""fathom quantize and verify as a user runs them: killed at any moment, out of disk space, run by the engine.

usage: quantize_test.py FATHOM_BINARY      FATHOM_KILLS=500 kills that often instead of 50"""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from killing import kill_at_random_moments

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "tests" / "golden" / "lite_like"
SEED = 20240611
KILLS = int(os.environ.get("FATHOM_KILLS", "50"))
BINARY = ""


def command(destination, *options, shard_size="8k"):
    return [BINARY, "quantize", str(SOURCE), str(destination), "--shard-size", shard_size, *options]


def fathom(*arguments):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fathom_quantize_"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = self.folder / "out"

    def quantize(self, destination, *options, shard_size="8k"):
        done = subprocess.run(command(destination, *options, shard_size=shard_size), capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def verify(self, destination):
        done = fathom("verify", destination)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Killed(Case):
    def test_killed_at_random_moments(self):
        kill_at_random_moments(self, command, self.folder, KILLS, SEED, "going on behind shard")


class Limits(Case):
    def test_a_full_disk(self):
        """RLIMIT_FSIZE: a write fails in the middle, with one line, and the next run goes on."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        before = {path.name: path.read_bytes() for path in SOURCE.iterdir() if path.is_file()}
        done = subprocess.run(command(self.out, shard_size="1M"), capture_output=True, text=True, timeout=120, check=False,
                              preexec_fn=limit, restore_signals=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn("cannot write: File too large", done.stderr)
        self.assertIn("the same command goes on", done.stderr)
        self.assertFalse(self.out.exists())
        self.assertEqual(before, {path.name: path.read_bytes() for path in SOURCE.iterdir() if path.is_file()})
        self.quantize(self.out, shard_size="1M")
        self.verify(self.out)

    def test_two_runs_at_once(self):
        """One of them makes the folder, the other says why it does not."""
        runs = [subprocess.Popen(command(self.out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for _ in range(2)]
        results = sorted((run.wait(), run.stderr.read()) for run in runs)
        for run in runs:
            run.stderr.close()
        self.assertEqual([status for status, _ in results], [0, 1], results)
        self.assertRegex(results[1][1], "another run|not empty")
        self.verify(self.out)

    def test_a_folder_that_cannot_be_written(self):
        (self.folder / "file").write_text("")
        done = fathom("quantize", SOURCE, self.folder / "file" / "out")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)


class Results(Case):
    def test_every_recipe_runs(self):
        recipes = {"w8a16": ["--type", "w8a16"], "w8a8": [], "mix": ["--mix", "self_attn=w8a16"],
                   "ascend": ["--layout", "ascendv1", "--quantize-head", "--exclude", "layers.0."],
                   "w4a16": ["--type", "w4a16", "--group-size", "32"],
                   "w4a8": ["--type", "w4a8-dynamic", "--group-size", "128", "--layout", "ascendv1"],
                   "w4_mix": ["--type", "w4a8-dynamic", "--mix", "self_attn=w8a16"]}
        for name, options in recipes.items():
            with self.subTest(recipe=name):
                out = self.folder / name
                report = json.loads(self.quantize(out, *options, "--json").stdout)
                self.assertGreater(report["snr_db"], 18 if "w4" in name else 30)
                self.verify(out)
                done = fathom("run", out, "--ids", "1,2,3", "--max-tokens", 4, "--ignore-eos", "--json")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(len(json.loads(done.stdout)["ids"]), 4)
        tensors = json.loads(fathom("show", self.folder / "mix", "--tensors", "--json").stdout)["weight_tensors"]
        types = {entry["name"]: (entry["stored"], entry["type"]) for entry in tensors}
        self.assertEqual(types["model.layers.1.self_attn.o_proj.weight"], ("int8", "w8a16"))
        self.assertEqual(types["model.layers.1.mlp.experts.0.up_proj.weight"], ("int8", "w8a8_dynamic"))
        self.assertEqual(types["model.layers.1.self_attn.kv_b_proj.weight"][1], "float")
        self.assertIn("int8    w8a16", fathom("show", self.folder / "mix", "--tensors").stdout)

    def test_damage_is_named(self):
        self.quantize(self.out)
        path = sorted(self.out.glob("*.safetensors"))[1]
        data = bytearray(path.read_bytes())
        data[-1] ^= 4
        path.write_bytes(data)
        done = fathom("verify", self.out, "--json")
        self.assertEqual(done.returncode, 1)
        damages = json.loads(done.stdout)["damages"]
        self.assertEqual([damage["file"] for damage in damages], [path.name])
        self.assertTrue(damages[0]["tensor"].startswith("model."))
        self.assertIn(f'{path.name}: tensor "{damages[0]["tensor"]}"', fathom("verify", self.out).stdout)
        done = fathom("verify", SOURCE)
        self.assertEqual(done.returncode, 0)
        self.assertIn("no checksums", done.stdout)

    def test_wrong_options(self):
        for options, part in [(["--type", "w4"], "w8a16, w8a8-dynamic, w4a16, w4a8-dynamic"), (["--mix", "q_proj"], "PATTERN=TYPE"),
                              (["--mix", "q_proj=int8"], "int8"), (["--mix", "no_such=w8a16"], "no_such"),
                              (["--exclude", "embed_tokens"], "embed_tokens")]:
            done = fathom("quantize", SOURCE, self.out, *options)
            self.assertEqual(done.returncode, 1, options)
            self.assertIn(part, done.stderr)
            self.assertFalse(self.out.exists())
            self.assertFalse(pathlib.Path(f"{self.out}.partial").exists())


if __name__ == "__main__":
    BINARY = sys.argv.pop(1)
    unittest.main()
