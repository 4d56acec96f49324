#!/usr/bin/env python3
"""`fathom bench maxbs`, the page of `bench model`, and the step times of `run`, on the demo model. Standard library only.

usage: bench_test.py FATHOM_BINARY"""
import csv
import io
import json
import os
import pathlib
import re
import sys
import tempfile
import unittest

import cli_test
import eval_test
from cli_test import DEMO


class MaxBatch(cli_test.Case):
    def maxbs(self, *more):
        return ["bench", "maxbs", DEMO, "--pairs", "16x6,8x4", *more]

    def test_every_limit(self):
        out = json.loads(self.succeed(*self.maxbs("--range", "1x4,2x3", "--limit-ms", "1e6", "--json")).stdout)
        self.assertEqual([case["batch"] for case in out["cases"]], [4, 3])
        self.assertEqual([one["batch"] for one in out["cases"][0]["rounds"]], [2, 3, 4])
        for case in out["cases"]:
            for one in case["rounds"]:
                self.assertTrue(one["within"])
                decode = (one["total_seconds"] - one["prefill_seconds"]) * 1000
                self.assertAlmostEqual(one["tpot_ms"] * (case["output"] - 1), decode, places=6)
                self.assertAlmostEqual(one["decode_tps"] * one["tpot_ms"], one["batch"] * 1000, places=6)
        out = json.loads(self.succeed(*self.maxbs("--range", "1x4", "--limit-ms", "0", "--format", "json")).stdout)
        self.assertEqual([case["batch"] for case in out["cases"]], [None, None])

    def test_batches_without_room(self):
        out = json.loads(self.succeed("bench", "maxbs", DEMO, "--pairs", "120x8", "--range", "1x64", "--limit-ms", "1e6", "--kv-memory", "2M",
                                      "--json").stdout)["cases"][0]
        full = [one for one in out["rounds"] if one["tpot_ms"] is None]
        self.assertTrue(full)
        self.assertTrue(all(one["batch"] > out["batch"] for one in full))

    def test_forms(self):
        table = self.succeed(*self.maxbs("--range", "1x2", "--limit-ms", "1e6")).stdout
        self.assertRegex(table, r"batches 1 to 2, at most 1000000 ms a token: 2\n  batch    1 +[\d.]+ ms a token +[\d.]+ tokens/s  within\n")
        rows = list(csv.DictReader(io.StringIO(self.succeed(*self.maxbs("--range", "1x2", "--limit-ms", "1e6", "--format", "csv")).stdout)))
        self.assertEqual([(row["batch"], row["within"], row["best"]) for row in rows],
                         [("1", "true", "false"), ("2", "true", "true")] * 2)

    def test_refuses(self):
        self.fail_with("--range", "3 ranges for 2 pairs", arguments=self.maxbs("--range", "1x2,1x2,1x2"))
        self.fail_with("--range", "4-2", arguments=self.maxbs("--range", "4x2"))
        self.fail_with("--range", "1-600", "512", arguments=self.maxbs("--range", "1x600"))
        self.fail_with("--pairs", "8x1", arguments=["bench", "maxbs", DEMO, "--pairs", "8x1"])
        self.fail_with("--read-memory", "1k", "64k", arguments=["bench", "model", DEMO, "--read-memory", "1k"])
        for wrong in (("--limit-ms", "-1"), ("--max-num-seqs", "4"), ("--format", "html")):
            self.assertEqual(cli_test.fathom(*self.maxbs(*wrong)).returncode, 2, wrong)


class Page(cli_test.Case):
    def test_charts_have_roofs_and_load_nothing(self):
        text = self.succeed("bench", "model", DEMO, "--pairs", "24x6,8x4", "--batch", "1,3", "--repeat", "2", "--seconds", "0.05", "--read-memory", "1M", "--format",
                            "html").stdout
        page = eval_test.Page()
        page.feed(text)
        self.assertTrue(page.balanced and not page.open)
        self.assertEqual(sum(tag == "svg" for tag, _ in page.tags), 4)
        # Two lines in each chart, each with its roof; two points a line, with the range of the repeats and a tick of the roof.
        lines = [attributes for tag, attributes in page.tags if tag == "polyline"]
        self.assertEqual(sum("stroke-dasharray" in attributes for attributes in lines), 8)
        self.assertTrue(all(len(attributes["points"].split()) == 2 for attributes in lines))
        self.assertEqual(sum(tag == "circle" for tag, _ in page.tags), 16)
        for _, attributes in page.tags:
            self.assertFalse({"src", "href", "onload"} & attributes.keys())
        self.assertNotIn("<script", text)
        for title in ("Decode against batch", "Decode against context", "Prefill against batch", "Prefill against prompt length"):
            self.assertIn(title, text)
        # Everything is drawn inside its chart.
        for height in re.findall(r"cy='([-\d.]+)'", text):
            self.assertTrue(0 <= float(height) <= 340)

    def test_drafts(self):
        with tempfile.TemporaryDirectory() as folder:
            config = json.loads((DEMO / "config.json").read_text())
            config["num_hidden_layers"] = 2
            path, model = pathlib.Path(folder) / "config.json", pathlib.Path(folder) / "model"
            path.write_text(json.dumps(config))
            self.succeed("synth", path, model, "--repeat-after", 8)
            words = ["bench", "model", model, "--pairs", "16x200", "--seconds", "0.05", "--read-memory", "1M", "--json"]
            plain = json.loads(self.succeed(*words).stdout)["rows"][0]
            self.assertEqual((plain["drafts"], plain["decode_steps"]), (0, 199))
            row = json.loads(self.succeed(*words, "--speculation", "ngram").stdout)["rows"][0]
            self.assertGreater(row["accepted_drafts"], 0)
            self.assertEqual(row["decode_steps"] + row["accepted_drafts"], 199)
            self.assertEqual(row["decode_batch"], 1)

    def test_one_row_without_decode(self):
        text = self.succeed("bench", "model", DEMO, "--pairs", "8x1", "--seconds", "0.05", "--read-memory", "1M", "--format", "html").stdout
        self.assertNotIn("Decode against", text)
        self.assertIn("Prefill against batch", text)
        self.assertIn("steps of 512 tokens, one run a row", text)


class Steps(cli_test.Case):
    def test_steps_add_up(self):
        with tempfile.TemporaryDirectory() as folder:
            prompts, path = pathlib.Path(folder) / "p.jsonl", pathlib.Path(folder) / "steps.json"
            prompts.write_text('{"ids": [5, 6, 7, 8, 9]}\n{"ids": [5, 4]}\n')
            words = ["run", DEMO, "--file", prompts, "--max-tokens", 6, "--ignore-eos", "--greedy", "--json"]
            plain = json.loads(self.succeed(*words).stdout)
            timed = json.loads(self.succeed(*words, "--steps", path, "--warm-up", 40, "--max-num-batched-tokens", 4).stdout)
            steps = json.loads(path.read_text())
        self.assertEqual([one["ids"] for one in timed], [one["ids"] for one in plain])
        self.assertEqual(sum(step["first_tokens"] for step in steps), 2)
        self.assertEqual(sum(step["later_tokens"] for step in steps), 10)
        self.assertTrue(all(step["seconds"] > 0 for step in steps))
        # Five tokens in steps of four: the first step brings no token.
        self.assertEqual((steps[0]["first_tokens"], steps[0]["later_tokens"]), (0, 0))
        self.fail_with("--warm-up", "4096", arguments=["run", DEMO, "--ids", "1", "--warm-up", "5000"])
        self.assertEqual(cli_test.fathom("run", DEMO, "--ids", "1", "--warm-up", "-1").returncode, 2)


class Chat(cli_test.Case):
    def test_questions_as_turns(self):
        with tempfile.TemporaryDirectory() as folder:
            words = ["eval", DEMO, "--tasks", "boolq", "--data", eval_test.DATA, "--limit", 2, "--style", "modeltest"]
            self.succeed(*words, "--chat", "--out", folder)
            (path,) = pathlib.Path(folder).glob("*/samples_boolq*")
            prompts = [json.loads(line)["arguments"][0][0] for line in path.read_text(encoding="utf-8").splitlines()]
        for prompt in prompts:
            self.assertRegex(prompt, r"(?s)^<｜begin▁of▁sentence｜>User: .*Answer:\n\nAssistant:$")
        self.fail_with("--chat", "perplexity", arguments=["eval", DEMO, "--tasks", "perplexity", "--data", eval_test.DATA, "--chat"])


if __name__ == "__main__":
    cli_test.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
