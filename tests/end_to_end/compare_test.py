#!/usr/bin/env python3
"""`fathom compare` as a user runs it, on the demo model and on tiny checkpoints. Standard library only.

usage: compare_test.py FATHOM_BINARY"""
import json
import math
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import unittest

import cli_test
from cli_test import DEMO, GOLDEN, fathom

HELD_OUT = GOLDEN / "demo" / "held_out_en.txt"


def read_logits(path):
    """Rows of a float32 .npy file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<H", data[8:10])
    rows, cols = map(int, data[10:10 + length].split(b"'shape': (")[1].split(b")")[0].split(b","))
    values = struct.unpack(f"<{rows * cols}f", data[10 + length:])
    return [values[i * cols:(i + 1) * cols] for i in range(rows)]


def log_softmax(row):
    largest = max(row)
    log_sum = math.log(math.fsum(math.exp(x - largest) for x in row))
    return [x - largest - log_sum for x in row]


def byte_tokenizer(bos):
    """A tokenizer of single bytes that fits into a vocabulary of 256: all but four bytes that ASCII never needs, BOS and EOS."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    symbols = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}
    ids = [i for i in range(254) if i not in (bos, bos + 1)]
    vocab = {symbols[b]: i for b, i in enumerate(ids)}
    added = [{"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, content in ((bos, "<bos>"), (bos + 1, "<eos>"))]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocab, "merges": []}}


class Compare(cli_test.Case):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def compare(self, *arguments, env=None):
        return json.loads(self.succeed("compare", *arguments, "--json", env=env).stdout)

    def text(self, content, name="text.txt"):
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.folder / name

    def tiny(self, kind=None, name=None, bos=0):
        """A copy of tests/golden/lite_like, or of its quantised form, with a tokenizer of bytes."""
        out = self.folder / (name or kind or "float")
        if kind is None:
            shutil.copytree(GOLDEN / "lite_like", out)
        else:
            shutil.copytree(GOLDEN / "quantized" / "lite_like" / kind, out)
            weights = "quant_model_weight_w8a8_dynamic.safetensors"
            shutil.copy(GOLDEN / "quantized" / "lite_like" / weights, out / weights)
        (out / "golden.safetensors").unlink()
        (out / "tokenizer.json").write_text(json.dumps(byte_tokenizer(bos)), encoding="utf-8")
        (out / "tokenizer_config.json").write_text('{"bos_token": "<bos>", "eos_token": "<eos>"}')
        return out

    def test_a_model_equals_itself(self):
        out = self.compare(DEMO, DEMO, "--text-file", HELD_OUT)
        self.assertEqual((out["tokens"], out["bytes"], out["windows"], out["context"]), (930, HELD_OUT.stat().st_size, 2, 512))
        self.assertEqual([out["kl"][key] for key in ("mean", "median", "p99", "max", "above_1e-4")], [0, 0, 0, 0, 0])
        self.assertEqual(out["top1_agreement"], 1)
        self.assertEqual(out["perplexity_ratio"], 1)
        self.assertEqual(out["log_ratio_standard_error"], 0)
        self.assertEqual(out["a"], out["b"])

    def test_equals_the_logits_of_score(self):
        text = self.text("It was a bright cold day in April, and the clocks were striking thirteen.")
        ids = json.loads(self.succeed("tokenize", DEMO, "--json", "--no-bos", text.read_text()).stdout)["ids"]
        logits = []
        for dtype in ("fp32", "bf16"):
            out = self.folder / f"{dtype}.npy"
            self.succeed("score", DEMO, "--ids", ",".join(map(str, [8190, *ids])), "--dtype", dtype, "--out", out)
            logits.append([log_softmax(row) for row in read_logits(out)[:-1]])
        kls = [math.fsum(math.exp(a) * (a - b) for a, b in zip(*rows)) for rows in zip(*logits)]
        nlls = [-math.fsum(row[token] for row, token in zip(side, ids)) for side in logits]
        same = [row_a.index(max(row_a)) == row_b.index(max(row_b)) for row_a, row_b in zip(*logits)]
        differences = [row_a[token] - row_b[token] for row_a, row_b, token in zip(*logits, ids)]
        mean = math.fsum(differences) / len(ids)
        error = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (len(ids) - 1) / len(ids))

        out = self.compare(DEMO, DEMO, "--dtype", "fp32", "--b-dtype", "bf16", "--text-file", text)
        self.assertEqual(out["tokens"], len(ids))
        self.assertGreater(out["kl"]["max"], 0)
        # Sums of 8192 doubles below 1.
        close = 8192 * 2 ** -52 * 16
        self.assertAlmostEqual(out["kl"]["mean"], sum(kls) / len(kls), delta=close)
        self.assertAlmostEqual(out["kl"]["max"], max(kls), delta=close)
        self.assertAlmostEqual(out["kl"]["median"], sorted(kls)[(len(kls) + 1) // 2 - 1], delta=close)
        self.assertEqual(out["kl"]["max_at"]["token"], kls.index(max(kls)))
        self.assertEqual(out["top1_agreement"], sum(same) / len(same))
        self.assertAlmostEqual(out["a"]["nll"], nlls[0], delta=len(ids) * close)
        self.assertAlmostEqual(out["b"]["nll"], nlls[1], delta=len(ids) * close)
        self.assertAlmostEqual(out["perplexity_ratio"], math.exp((nlls[1] - nlls[0]) / len(ids)), delta=2 * close)
        self.assertAlmostEqual(out["perplexity_difference_percent"], 100 * (out["perplexity_ratio"] - 1), places=12)
        self.assertAlmostEqual(out["log_ratio_standard_error"], error, delta=2 * close)
        self.assertAlmostEqual(out["a"]["bits_per_byte"], nlls[0] / math.log(2) / text.stat().st_size, delta=len(ids) * close)

    def test_threads_and_steps_change_no_bit(self):
        arguments = (DEMO, DEMO, "--b-kv-cache-dtype", "int8", "--text-file", HELD_OUT, "--limit", 300)
        want = self.compare(*arguments)
        self.assertGreater(want["kl"]["mean"], 0)
        for cut in (("--threads", 1), ("--max-num-batched-tokens", 17), ("--max-num-seqs", 512), ("--block-size", 16)):
            self.assertEqual(self.compare(*arguments, *cut), want, cut)

    def test_quantised_forms(self):
        text = self.text("Never odd or even. " * 20)
        floating = self.tiny()
        for kind in ("w8a16", "w8a8_dynamic", "mix"):
            out = self.compare(floating, self.tiny(kind), "--text-file", text, "--dtype", "fp32", "--context", 64)
            self.assertEqual(out["tokens"], 380)
            self.assertEqual(out["windows"], 7)
            self.assertGreater(out["kl"]["mean"], 0)

    def test_windows_and_limit(self):
        a, b = self.text("abcdefghij", "a.txt"), self.text("xyz", "b.txt")
        model = self.tiny()
        cut = lambda *more: [self.compare(model, model, "--text-file", a, "--text-file", b, *more)[key] for key in ("windows", "tokens")]
        self.assertEqual(cut(), [2, 13])
        self.assertEqual(cut("--context", 4), [5, 13])
        self.assertEqual(cut("--context", 4, "--limit", 11), [5, 11])
        self.assertEqual(cut("--limit", 1), [1, 1])

    def test_table(self):
        table = self.succeed("compare", DEMO, DEMO, "--b-kv-cache-dtype", "int8", "--text-file", HELD_OUT, "--limit", 40).stdout
        for part in ("kv-cache-dtype int8", "40 tokens", "perplexity", "bits per byte", "KL(A || B)", "top-1 agreement", str(HELD_OUT)):
            self.assertIn(part, table)

    def test_other_tokenizers_are_refused(self):
        text = self.text("abc")
        model = self.tiny()
        self.fail_with("vocab_size", "256", "8192", arguments=["compare", model, DEMO, "--text-file", text])
        other = self.tiny(name="other", bos=2)
        self.fail_with("BOS", "0", "2", str(other), arguments=["compare", model, other, "--text-file", text])
        tokenizer = json.loads((model / "tokenizer.json").read_text())
        vocab = tokenizer["model"]["vocab"]
        vocab["a"], vocab["c"] = vocab["c"], vocab["a"]
        other = self.tiny(name="swapped")
        (other / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.fail_with(str(text), "token 0", str(model), str(other), arguments=["compare", model, other, "--text-file", text])
        (other / "tokenizer.json").unlink()
        self.fail_with("tokenizer.json", str(other), arguments=["compare", model, other, "--text-file", text])

    def test_logits_that_are_not_finite(self):
        text = self.text("abc")
        model, broken = self.tiny(), self.tiny(name="broken")
        path = broken / "model.safetensors"
        data = bytearray(path.read_bytes())
        (length,) = struct.unpack("<Q", data[:8])
        begin, end = json.loads(data[8:8 + length])["model.norm.weight"]["data_offsets"]
        data[8 + length + begin:8 + length + end] = b"\xff" * (end - begin)
        path.write_bytes(data)
        self.fail_with("B (", str(broken), "token 0", str(text), "not finite", arguments=["compare", model, broken, "--text-file", text])
        self.fail_with("A (", str(broken), "token 0", str(text), "not finite", arguments=["compare", broken, model, "--text-file", text])

    def test_wrong_texts_and_options(self):
        text = self.text("abc")
        common = ["compare", DEMO, DEMO, "--text-file"]
        self.fail_with("/no/such.txt", arguments=[*common, "/no/such.txt"])
        self.fail_with("empty.txt", arguments=[*common, self.text("", "empty.txt")])
        self.fail_with("UTF-8", "broken.txt", arguments=[*common, self.text(b"a\xff", "broken.txt")])
        self.fail_with("/no/such", arguments=["compare", DEMO, "/no/such", "--text-file", text])
        self.fail_with("--context", "5000", "4096", arguments=[*common, text, "--context", 5000])
        self.fail_with("--max-model-len", "100", "--context 512", arguments=[*common, text, "--max-model-len", 100])
        self.fail_with("--limit", "0", arguments=[*common, text, "--limit", 0])
        self.fail_with("--b-dtype", "int3", arguments=[*common, text, "--b-dtype", "int3"])
        self.fail_with("--b-kv-cache-dtype", "int3", arguments=[*common, text, "--b-kv-cache-dtype", "int3"])
        self.assertEqual(fathom("compare", DEMO, "--text-file", text).returncode, 2)
        self.assertEqual(fathom("compare", DEMO, DEMO).returncode, 2)

    def test_the_temporary_file_leaves_nothing(self):
        text = self.text("abc")
        scratch = self.folder / "scratch"
        scratch.mkdir()
        self.compare(DEMO, DEMO, "--text-file", text, env={"TMPDIR": str(scratch)})
        self.assertEqual(os.listdir(scratch), [])
        done = fathom("compare", DEMO, DEMO, "--text-file", text, env={"TMPDIR": "/no/such"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("/no/such", done.stderr)


if __name__ == "__main__":
    cli_test.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
