#!/usr/bin/env python3
"""`fathom eval` as a user runs it, on the demo model and twenty made-up questions of each kind (eval_data). Standard library
only.

usage: eval_test.py FATHOM_BINARY"""
import csv
import html.parser
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import cli_test
from cli_test import DEMO

DATA = pathlib.Path(__file__).resolve().parent / "eval_data"
CEVAL = "ceval:advanced_mathematics,ceval:college_physics"
CMMLU = "cmmlu:elementary_mathematics,cmmlu:conceptual_physics"
MMLU = "mmlu:abstract_algebra,mmlu:business_ethics"
TASKS = {"boolq": 20, CEVAL: 20, CMMLU: 20, MMLU: 20, "gsm8k": 20, "truthfulqa_mc": 40, "perplexity": 20}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open, self.balanced = [], [], True

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.balanced &= bool(self.open) and self.open.pop() == tag


class Eval(cli_test.Case):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def arguments(self, tasks, *more, data=DATA):
        length = () if "--max-model-len" in more else ("--max-model-len", 2048)
        return ["eval", DEMO, "--tasks", tasks, "--data", data, "--kv-memory", "256M", *length, *more]

    def run_json(self, tasks, *more, data=DATA):
        return json.loads(self.succeed(*self.arguments(tasks, *more, "--json", data=data)).stdout)

    def test_batches_change_nothing(self):
        for task, count in TASKS.items():
            shots = ("--shots", 2) if task in (CEVAL, CMMLU, MMLU, "gsm8k") else ()
            limit = ("--limit", 4) if task == "gsm8k" else ()
            results, samples = [], []
            for batch in (1, 8):
                out = self.folder / f"{len(list(self.folder.iterdir()))}"
                results.append(self.run_json(task, "--batch", batch, *shots, *limit, "--out", out)["results"])
                samples.append(next(out.glob("*/samples_*.jsonl")).read_bytes())
            self.assertEqual(results[0], results[1], task)
            self.assertEqual(samples[0], samples[1], task)
            self.assertEqual(samples[0].count(b"\n"), 4 if limit else count)

    def test_modeltest(self):
        for task, shots in (("boolq", ()), (CEVAL, ("--shots", 3)), (CMMLU, ("--shots", 1)), (MMLU, ("--shots", 3))):
            done = self.succeed(*self.arguments(task, "--style", "modeltest", *shots))
            self.assertRegex(done.stdout, r"\|Tasks *\|N-Shot\|Total\|Pass\|Metric\|Value *\|Stderr\|")
            self.assertRegex(done.stdout, r"\| +\d\| +20\| +\d+\|acc")
        self.succeed(*self.arguments(CEVAL, "--style", "modeltest", "--shots", 0, "--limit", 1))

    def test_needle(self):
        results = self.run_json("needle", "--limit", 1, "--max-model-len", 1400)["results"]
        self.assertEqual(results["needle"]["sample_len"], 11)
        self.assertIn("needle_en_1000_depth_52", results)

    def test_humaneval(self):
        done = cli_test.fathom(*self.arguments("humaneval", "--limit", 1, "--style", "modeltest"))
        if done.returncode == 1 and "sandbox" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("pass@1", done.stdout)

    def test_files(self):
        out = self.folder / "out"
        self.succeed(*self.arguments(f"boolq,{MMLU}", "--out", out))
        (folder,) = out.iterdir()
        names = {path.name.split("_20")[0] + path.suffix for path in folder.iterdir()}
        self.assertEqual(names, {"results.json", "report.html", "samples_boolq.jsonl", "samples_mmlu.jsonl", "cases_boolq.csv",
                                 "cases_mmlu.csv"})
        results = json.loads(next(folder.glob("results_*")).read_text(encoding="utf-8"))
        for key in ("results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config",
                    "git_hash", "date", "model_name", "model_name_sanitized", "chat_template", "chat_template_sha", "start_time",
                    "end_time", "total_evaluation_time_seconds", "task_hashes"):
            self.assertIn(key, results)
        self.assertEqual(results["group_subtasks"]["mmlu"], ["mmlu_abstract_algebra", "mmlu_business_ethics"])
        self.assertEqual(set(results["groups"]), {"mmlu", "mmlu_stem", "mmlu_other"})
        self.assertEqual(results["n-samples"]["boolq"], {"original": 20, "effective": 20})
        # The table, the csv and the samples tell the same story.
        with next(folder.glob("cases_boolq*")).open(encoding="utf-8", newline="") as file:
            cases = list(csv.DictReader(file))
        self.assertEqual(list(cases[0]), ["key", "queries", "input_token_ids", "output_token_ids", "test_result", "golden_result", "pass"])
        passed = [case["pass"] == "True" for case in cases]
        acc = results["results"]["boolq"]["acc,none"]
        self.assertEqual(sum(passed) / 20, acc)
        self.assertAlmostEqual(results["results"]["boolq"]["acc_stderr,none"], math.sqrt(acc * (1 - acc) / 19), places=12)
        samples = [json.loads(line) for line in next(folder.glob("samples_boolq*")).read_text(encoding="utf-8").splitlines()]
        for sample, case in zip(samples, cases):
            self.assertEqual(sample["arguments"], [[case["queries"], " no"], [case["queries"], " yes"]])
            said = "True" if sample["resps"][1] > sample["resps"][0] else "False"
            self.assertEqual((said, str(said == case["golden_result"])), (case["test_result"], case["pass"]))
        page = Page()
        text = next(folder.glob("report_*")).read_text(encoding="utf-8")
        page.feed(text)
        self.assertTrue(page.balanced and not page.open)
        self.assertEqual(sum(tag == "svg" for tag, _ in page.tags), 2)
        for _, attributes in page.tags:
            self.assertFalse({"src", "href", "onload"} & attributes.keys())

    def test_log_likelihoods_are_those_of_score(self):
        out = self.folder / "out"
        self.succeed(*self.arguments("boolq", "--limit", 3, "--dtype", "fp32", "--out", out))
        for line in next(out.glob("*/samples_*")).read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            for (prompt, choice), want in zip(sample["arguments"], sample["resps"]):
                nll = [json.loads(self.succeed("score", DEMO, "--text", text, "--dtype", "fp32", "--json").stdout)["nll"]
                       for text in (prompt, prompt + choice)]
                # Sums of some hundred doubles below 20.
                self.assertAlmostEqual(nll[0] - nll[1], want, delta=1e-4)

    def test_resume_after_kill(self):
        arguments = self.arguments(f"boolq,{MMLU},truthfulqa_mc")
        want = json.loads(self.succeed(*arguments, "--json").stdout)["results"]
        out = self.folder / "out"
        progress = out / "progress.jsonl"
        kills = 0
        for _ in range(20):
            before = progress.read_bytes().count(b"\n") if progress.exists() else 0
            process = subprocess.Popen([cli_test.BINARY, *map(str, arguments), "--out", str(out), "--resume", "--json"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                if kills < 3 and progress.exists() and progress.read_bytes().count(b"\n") >= before + 6:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
                time.sleep(0.002)
            output = process.communicate()[0]
            if process.returncode == 0:
                break
            if kills == 1:
                self.fail_with("--resume", "slices", arguments=[*arguments, "--out", out, "--resume", "--slices", 2])
        self.assertGreater(kills, 0)
        self.assertEqual(json.loads(output)["results"], want)
        self.assertFalse(progress.exists())

    def test_a_run_under_way_is_not_overwritten(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "progress.jsonl").write_text('{"model": "another"}\n')
        self.fail_with("--resume", str(out), arguments=self.arguments("boolq", "--out", out))
        self.fail_with("another", str(DEMO), arguments=self.arguments("boolq", "--out", out, "--resume"))

    def test_limit_and_shots(self):
        results = self.run_json(CEVAL, "--limit", 3, "--shots", 3)
        self.assertEqual(results["results"]["ceval-valid_college_physics"]["sample_len"], 3)
        self.assertEqual(results["groups"]["ceval-valid"]["sample_len"], 6)
        self.assertEqual(results["n-shot"]["ceval-valid"], 3)
        self.assertEqual(results["n-samples"]["ceval-valid_college_physics"], {"original": 10, "effective": 3})

    def test_errors(self):
        self.fail_with("BoolQ", "boolq/dev.jsonl", "boolean-questions", arguments=self.arguments("boolq", data=self.folder))
        self.fail_with("ceval/val/computer_network_val.csv", "hkust-nlp/ceval", arguments=self.arguments("ceval"))
        self.fail_with("squad", "boolq, ceval", arguments=self.arguments("squad"))
        self.fail_with("--shots", "boolq", arguments=self.arguments("boolq", "--shots", 5))
        (self.folder / "boolq").mkdir()
        (self.folder / "boolq" / "dev.jsonl").write_text('{"question": "q"}\n')
        self.fail_with("line 1", "passage", arguments=self.arguments("boolq", data=self.folder))
        for wrong in (("--style", "mine"), ("--limit", 0), ("--resume",), ("--batch", 0), ("--shots", -1)):
            self.assertEqual(cli_test.fathom(*self.arguments("boolq", *wrong)).returncode, 2, wrong)


if __name__ == "__main__":
    cli_test.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
