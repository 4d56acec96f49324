#!/usr/bin/env python3
"""run.sh of compat/atb_models/tests/modeltest on the demo model: its whole grammar, its files, and their numbers computed again.
Standard library only.

usage: compat_modeltest_test.py FATHOM_BINARY"""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import cli_test
import compat_case
from compat_test import SPEED_COLUMNS

RUN = "cd ${llm_path}/tests/modeltest; bash run.sh"
FULL_COLUMNS = ["file_name", "value", "correct", "sum"]
DEBUG_COLUMNS = ["key", "queries", "input_token_ids", "output_token_ids", "test_result", "golden_result", "pass"]


class Precision(compat_case.Case):
    def run_mode(self, words, mode, dataset, dtype="fp16", chips=1, batch=1):
        """The total of the full result, held against its other rows, the debug csv and fathom's own results."""
        done = self.succeed(f"{RUN} {words}")
        below = f"NPU/precision_test/{mode}/{dtype}/deepseekv2"
        kind = words.split("_", 1)[0].split()[0]
        ending = f"{kind}_batch{batch}_tp{chips}"
        rows = self.rows(f"outputs/results/{below}/{dataset}_{ending}_full_result.csv")
        self.assertEqual(list(rows[0]), FULL_COLUMNS)
        self.assertEqual(rows[0]["file_name"], "total")
        self.assertEqual(int(rows[0]["sum"]), sum(int(row["sum"]) for row in rows[1:]))
        self.assertAlmostEqual(float(rows[0]["correct"]), sum(float(row["correct"]) for row in rows[1:]), delta=1e-5)
        for row in rows:
            self.assertAlmostEqual(float(row["value"]), float(row["correct"]) / int(row["sum"]), delta=2e-6)
        cases = self.rows(f"outputs/data/{below}/{dataset}_{ending}_debug_info.csv")
        self.assertEqual((list(cases[0]), len(cases)), (DEBUG_COLUMNS, int(rows[0]["sum"])))
        (short,) = self.rows(f"outputs/results/{below}/{mode}_{ending}_result.csv")
        self.assertEqual((short["Score"], short["Sum"], short["Dataset"]), (rows[0]["value"], rows[0]["sum"], dataset))
        (wide,) = (self.modeltest / "outputs" / "results" / below).glob(f"{mode}_{ending}_formatted_result.csv")
        lines = wide.read_text().splitlines()
        self.assertEqual([cell.strip() for cell in lines[1].split("|")], list(short.values()))
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertIn("|Tasks", done.stdout)
        return rows

    def test_boolq_equals_eval_and_its_own_cases(self):
        rows = self.run_mode("pa_fp16 full_BoolQ 1 deepseekv2 ${weight_path} 1", "full_BoolQ", "BoolQ")
        want = json.loads(cli_test.fathom("eval", self.fp16, "--tasks", "boolq", "--style", "modeltest", "--data", self.modeltest / "data",
                                          "--json").stdout)["results"]["boolq"]
        self.assertEqual((rows[0]["value"], int(rows[0]["sum"])), (f"{want['acc,none']:.6f}", want["sample_len"]))
        cases = self.rows("outputs/data/NPU/precision_test/full_BoolQ/fp16/deepseekv2/BoolQ_pa_batch1_tp1_debug_info.csv")
        self.assertEqual(int(float(rows[0]["correct"])), sum(case["pass"] == "True" for case in cases))

    def test_batches_and_chips_and_bf16(self):
        both = self.run_mode("pa_bf16 full_BoolQ [1,4] deepseekv2 base %s trust_remote_code 10 [1,10,1,10,1,1,1,1] 2048" % self.bf16,
                             "full_BoolQ", "BoolQ", dtype="bf16", chips=10, batch=4)
        one = self.rows("outputs/results/NPU/precision_test/full_BoolQ/bf16/deepseekv2/BoolQ_pa_batch1_tp10_full_result.csv")
        self.assertEqual(both, one)

    def test_killed_and_started_again(self):
        words = "pa_fp16 full_CEval 1 1 deepseekv2 ${weight_path} 1"
        want = self.run_mode(words, "full_CEval", "CEval")
        self.assertEqual(len(want), 1 + 52)
        process = subprocess.Popen(["bash", "-c", f"{RUN} {words}"], env=self.environment(), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        lines = 0
        while lines < 10 and process.poll() is None:
            lines = sum(path.read_bytes().count(b"\n") for path in self.modeltest.glob("outputs/data/**/progress.jsonl"))
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        (progress,) = self.modeltest.glob("outputs/data/**/progress.jsonl")
        kept = progress.read_bytes()
        self.assertGreaterEqual(kept.count(b"\n"), 10)
        self.assertEqual(self.run_mode(words, "full_CEval", "CEval"), want)
        self.assertFalse(progress.parent.exists())

    def test_contiguous_cache_scores_alike(self):
        paged = self.run_mode("pa_fp16 full_TruthfulQA 4 deepseekv2 ${weight_path} 1", "full_TruthfulQA", "TruthfulQA", batch=4)
        self.assertEqual(paged, self.run_mode("fa full_TruthfulQA 4 deepseekv2 ${weight_path} 1", "full_TruthfulQA", "TruthfulQA", batch=4))
        self.assertEqual([row["file_name"] for row in paged], ["total", "mc1", "mc2"])

    def test_examinations(self):
        for dataset, shots, subjects in (("MMLU", 1, 57), ("CMMLU", 1, 67), ("CMMLU", 0, 67)):
            rows = self.run_mode(f"pa_fp16 full_{dataset} {shots} 32 deepseekv2 ${{weight_path}} 1", f"full_{dataset}", dataset, batch=32)
            self.assertEqual(len(rows), 1 + subjects, dataset)

    def test_texts(self):
        self.run_mode("pa_fp16 full_GSM8K 2 deepseekv2 chat ${weight_path} 1", "full_GSM8K", "GSM8K", batch=2)
        rows = self.run_mode("pa_fp16 full_LongBench 32 deepseekv2 ${weight_path} 1", "full_LongBench", "LongBench", batch=32)
        self.assertEqual([row["file_name"] for row in rows[1:]], compat_case.LONGBENCH)
        rows = self.run_mode("pa_fp16 full_LongBench-E 32 deepseekv2 ${weight_path} 1", "full_LongBench-E", "LongBench-E", batch=32)
        self.assertEqual(len(rows), 1 + 2 * len(compat_case.LONGBENCH_E))
        rows = self.run_mode("pa_fp16 full_NeedleBench 4k 11 deepseekv2 ${weight_path} 1 1400", "full_NeedleBench", "NeedleBench", batch=11)
        self.assertEqual(len(rows), 1 + 11)

    def test_humaneval(self):
        done = self.bash(f"{RUN} pa_fp16 full_HumanEval 8 deepseekv2 ${{weight_path}} 1")
        if done.returncode == 1 and "sandbox" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = self.rows("outputs/results/NPU/precision_test/full_HumanEval/fp16/deepseekv2/HumanEval_pa_batch8_tp1_full_result.csv")
        self.assertEqual(rows[0]["sum"], "4")

    def test_simplified(self):
        for dataset in ("GSM8K", "TruthfulQA"):
            done = self.succeed(f"{RUN} pa_fp16 simplified_{dataset} 1 deepseekv2 ${{weight_path}} 1")
            (row,) = self.rows(f"outputs/results/NPU/precision_test/simplified_{dataset}/fp16/deepseekv2/"
                               f"simplified_{dataset}_pa_batch1_tp1_result.csv")
            passed = float(row["KL max"]) <= 1e-3 and float(row["KL share above 1e-4"]) <= 0.005
            self.assertEqual(row["Pass"], str(passed))
            self.assertIn("largest KL", done.stdout)

    def test_single(self):
        done = self.succeed(f"{RUN} pa_fp16 precision_single [[64,12]] '[\"The old house\",\"It was\"]' 1 deepseekv2 ${{weight_path}} 1")
        want = json.loads(cli_test.fathom("run", self.fp16, "It was", "--greedy", "--max-tokens", 12, "--json").stdout)
        self.assertIn(f"Answer[1]: {want['text']}\n", done.stdout)
        cases = self.rows("outputs/data/NPU/precision_test/precision_single/fp16/deepseekv2/precision_single_pa_batch2_tp1_debug_info.csv")
        self.assertEqual([case["queries"] for case in cases], ["The old house", "It was"])
        self.assertEqual(json.loads(cases[1]["output_token_ids"]), want["ids"])

    def test_quantised_folders_say_so(self):
        target = self.folder / "w8a8"
        self.succeed(f"bash ${{script_path}}/generate_quant_weight.sh -src {self.fp16} -dst {target} -type deepseekv2_w8a8_dynamic")
        self.run_mode(f"pa_fp16 full_BoolQ 8 deepseekv2 {target} 1", "full_BoolQ", "BoolQ", dtype="fp16_w8a8_dynamic", batch=8)


class Performance(compat_case.Case):
    def check_speed(self, path, lengths, batch):
        rows = self.rows(path)
        self.assertEqual(list(rows[0]), SPEED_COLUMNS)
        self.assertEqual([(int(row["Batchsize"]), int(row["In_seq"]), int(row["Out_seq"])) for row in rows],
                         [(batch, *pair) for pair in lengths])
        numbers = [{name: float(row[name]) for name in SPEED_COLUMNS[1:]} for row in rows]
        for row in numbers:
            total_ms, steps = row["Total time(s)"] * 1000, row["Out_seq"] - 1
            # Written with six digits behind the point; the decode time is a difference of two such numbers.
            self.assertAlmostEqual(row["Non-first token time(ms)"] * steps, total_ms - row["Prefill all time(ms)"], delta=1e-6 * steps + 2e-3)
            for name, count, time in (("Non-first token Throughput(Tokens/s)", batch, row["Non-first token time(ms)"] / 1000),
                                      ("E2E Throughput(Tokens/s)", batch * row["Out_seq"], row["Total time(s)"])):
                self.assertAlmostEqual(row[name] / (count / time), 1, delta=1e-3)
                average = name.replace("(Tokens/s)", " Average(Tokens/s)")
                self.assertAlmostEqual(row[average], sum(one[name] for one in numbers) / len(numbers), delta=1e-5)
            self.assertLessEqual(row["Prefill average time(ms)"], row["Prefill all time(ms)"])
        return numbers

    def result(self, mode, batch, model_type="pa", chips=1):
        return f"outputs/results/NPU/performance_test/{mode}/fp16/deepseekv2/{mode}_{model_type}_batch{batch}_tp{chips}_result.csv"

    def test_cases_and_batches(self):
        self.succeed(f"{RUN} pa_fp16 performance [[48,12],[16,8]] [[1,3],[1]] deepseekv2 ${{weight_path}} 1")
        self.check_speed(self.result("performance", 1), [(48, 12), (16, 8)], 1)
        self.check_speed(self.result("performance", 3), [(48, 12)], 3)

    def test_quoted_and_with_everything_optional(self):
        self.succeed(f"{RUN} pa_fp16 performance '[[48,12]]' 1,2 2 prefill_length 64 deepseekv2 chat ${{weight_path}} trust_remote_code "
                     "20 [1,20] 100", MODELTEST_PD_SPLIT_ENABLE="1")
        for batch in (1, 2):
            self.check_speed(self.result("performance", batch, chips=20), [(48, 12)], batch)
        self.succeed(f"{RUN} fa performance [[40,6]] 1 deepseekv2 ${{weight_path}} 1")
        self.check_speed(self.result("performance", 1, "fa"), [(40, 6)], 1)

    def test_questions(self):
        for dataset, more in (("boolq", "padding"), ("gsm8k", ""), ("humaneval", "2"), ("ceval", "padding 2"), ("customize", "padding INF")):
            self.succeed(f"{RUN} pa_fp16 performance [[32,6]] 2 dataset {dataset} {more} deepseekv2 ${{weight_path}} 1")
            (row,) = self.rows(self.result("performance", 2))
            self.assertEqual(row["Out_seq"], "6")
            if "padding" in more:
                self.assertEqual(row["In_seq"], "32")
        self.check_speed(self.result("performance", 2), [(32, 6)], 2)

    def test_single(self):
        (self.folder / "texts.txt").write_text("The old house\nIt was\nOnce\n")
        self.succeed(f"{RUN} pa_fp16 performance_single [[64,12],[64,4]] {self.folder}/texts.txt 2 deepseekv2 ${{weight_path}} 1")
        rows = self.rows(self.result("performance_single", 3))
        self.assertEqual([(row["Batchsize"], row["Out_seq"]) for row in rows], [("3", "12"), ("3", "4")])

    def test_largest_batch(self):
        done = self.succeed(f"{RUN} pa_fp16 performance_maxbs [[16,6],[8,4]] [[1,4],[2,3]] 100000 deepseekv2 ${{weight_path}} 1")
        self.assertIn("[16,6]: 4\n[8,4]: 3\n", done.stdout)
        for kind, batches in (("round", ["2", "3", "4", "2", "3"]), ("final", ["4", "3"])):
            (path,) = (self.modeltest / "result" / "deepseekv2").glob(f"performance_maxbs_*_{kind}_result.csv")
            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
            self.assertEqual((list(rows[0]), [row["Batchsize"] for row in rows]), (SPEED_COLUMNS, batches))


class Words(compat_case.Case):
    MODEL = "deepseekv2 ${weight_path} 1"

    def test_what_is_refused(self):
        table = "${rank_table_path}"
        for words, parts in (
                ("pa_int8 full_BoolQ 1 " + self.MODEL, ("pa_int8", "pa_fp16")), ("pa_bf16 full_BoolQ 1 " + self.MODEL, ("pa_bf16", "pa_fp16")),
                ("pa_fp16 full_Squad 1 " + self.MODEL, ("full_Squad", "full_BoolQ")), ("pa_fp16 full_GPQA 1 " + self.MODEL, ("full_GPQA",)),
                ("pa_fp16 full_BoolQ 0 " + self.MODEL, ("batches", "0")), ("pa_fp16 full_BoolQ one " + self.MODEL, ("batches", "one")),
                ("pa_fp16 full_BoolQ 1 llama ${weight_path} 1", ("llama", "deepseekv2")),
                ("pa_fp16 full_BoolQ 1 deepseekv2 lora x ${weight_path} 1", ("LoRA",)),
                ("pa_fp16 full_BoolQ 1 deepseekv2 /no/such 1", ("/no/such/config.json",)),
                ("pa_fp16 full_BoolQ 1 deepseekv2 ${weight_path}", ("ends after the weights", "two lines")),
                ("pa_fp16 full_BoolQ 1 deepseekv2", ("ends where", "weight folder")), ("pa_fp16", ("a mode",)),
                ("pa_fp16 full_BoolQ 1 " + self.MODEL + " 4096 x", ("\"x\"", "too much")),
                ("pa_fp16 full_BoolQ 1 " + self.MODEL + " [1,1", ("parallel degrees", "[1,1")),
                ("pa_fp16 full_BoolQ 1 deepseekv2 ${weight_path} 8 [4,2,1,1,8]", ("dp", "data parallel")),
                ("pa_fp16 full_BoolQ 1 deepseekv2 ${weight_path} 8 [1,4]", ("tp", "world size 8")),
                ("pa_fp16 full_CEval x 1 " + self.MODEL, ("shots", "x")), ("pa_fp16 full_NeedleBench 1000k 1 " + self.MODEL, ("1000k", "128k")),
                ("pa_fp16 performance [[16]] 1 " + self.MODEL, ("cases", "[16]")), ("pa_fp16 performance [[16,0]] 1 " + self.MODEL, ("[16, 0]",)),
                ("pa_fp16 performance 16x16 1 " + self.MODEL, ("cases", "16x16")),
                ("pa_fp16 performance [[16,8]] [[1],[2]] " + self.MODEL, ("2 lists", "1 cases")),
                ("pa_fp16 performance [[16,8]] 1 dataset squad " + self.MODEL, ("squad", "boolq")),
                ("pa_fp16 performance [[3000,2000]] 1 " + self.MODEL, ("5000", "4096")),
                ("pa_fp16 performance [[16,8]] 1 " + self.MODEL + " 20", ("20", "24 tokens")),
                ("pa_fp16 performance_maxbs [[16,8]] [[1,2],[1,2]] 50 " + self.MODEL, ("ranges", "2 for 1")),
                ("pa_fp16 performance_maxbs [[16,8]] [[3,2]] 50 " + self.MODEL, ("--range", "3-2")),
                ("pa_fp16 precision_single [[16,8]] '[1]' 1 " + self.MODEL, ("texts",)),
                (f"pa_fp16 full_BoolQ 1 deepseekv2 ${{weight_path}} {table} 8 2 0 127.0.0.1", ("world size", "16 devices")),
                (f"pa_fp16 full_BoolQ 1 deepseekv2 ${{weight_path}} {table} 16 1 0 127.0.0.1", ("nodes", "2 servers")),
                (f"pa_fp16 full_BoolQ 1 deepseekv2 ${{weight_path}} {table} 16 2 4 127.0.0.1", ("first rank", "0, 8")),
                (f"pa_fp16 full_BoolQ 1 deepseekv2 ${{weight_path}} {table} 16 2 0 10.0.0.9", ("master", "127.0.0.1")),
                ("pa_fp16 full_BoolQ 1 deepseekv2 ${weight_path} /no/table 16 2 0 127.0.0.1", ("/no/table",))):
            with self.subTest(words=words):
                self.refuse(f"{RUN} {words}", *parts)
        self.assertEqual(self.bash(RUN).returncode, 2)
        self.assertIn("CASES", self.succeed(f"{RUN} --help").stdout)

    def test_missing_data(self):
        self.refuse(f"{RUN} pa_fp16 full_BoolQ 1 {self.MODEL}", "MODELTEST_DATA_DIR", "/no/such", MODELTEST_DATA_DIR="/no/such")
        self.refuse(f"{RUN} pa_fp16 full_BoolQ 1 {self.MODEL}", "boolq/dev.jsonl", MODELTEST_DATA_DIR=str(self.folder))
        self.refuse(f"{RUN} pa_fp16 performance [[16,8]] 1 dataset gsm8k {self.MODEL}", "gsm8k", MODELTEST_DATA_DIR=str(self.folder))

    def test_results_that_cannot_be_written(self):
        in_the_way = self.modeltest / "outputs" / "results" / "NPU" / "performance_test" / "performance_single"
        in_the_way.parent.mkdir(parents=True, exist_ok=True)
        in_the_way.write_text("a file")
        self.refuse(f"{RUN} pa_fp16 performance_single [[16,8]] hello 1 deepseekv2 ${{weight_path}} 1", str(in_the_way))

    def test_no_second_node_where_the_number_of_ranks_is_given(self):
        done = self.succeed(f"{RUN} pa_fp16 full_BoolQ 1 deepseekv2 ${{weight_path}} ${{rank_table_path}} 16 2 8 127.0.0.1")
        self.assertIn("Nothing is left to do here", done.stdout)


@unittest.skipUnless(shutil.which("mpirun"), "Open MPI is not installed")
class Ranks(compat_case.Case):
    """Chips are ranks, in every mode."""

    def started(self, words):
        """The command lines of fathom that run.sh starts, those of the ranks among them."""
        log, binary = self.folder / "started", self.folder / "fathom"
        log.write_text("")
        binary.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {cli_test.BINARY} "$@"\n')
        binary.chmod(0o755)
        self.succeed(f"{RUN} {words}", FATHOM_RANKS=None, FATHOM_BIN=str(binary))
        return log.read_text().splitlines()

    def check_ranks(self, words, command):
        """Two ranks, and nothing else that has the model."""
        lines = [line for line in self.started(words) if not line.startswith("tokenize")]
        self.assertEqual([line.startswith(f"launch -n 2 -- {self.folder}/fathom {command} ") for line in lines], [True, False, False], lines)
        for line in lines[1:]:
            self.assertTrue(line.startswith(f"{command} {self.fp16} ") and " --tp 2" in line, line)
        return lines

    def test_accuracy(self):
        results = self.modeltest / "outputs/results/NPU/precision_test/full_BoolQ/fp16/deepseekv2"
        self.check_ranks("pa_fp16 full_BoolQ 8 deepseekv2 ${weight_path} 2", "eval")
        self.started("pa_fp16 full_BoolQ 8 deepseekv2 ${weight_path} 1")
        self.assertEqual(*[(results / f"BoolQ_pa_batch8_tp{chips}_full_result.csv").read_text() for chips in (1, 2)])
        self.check_ranks("pa_fp16 simplified_TruthfulQA 1 deepseekv2 ${weight_path} 2", "compare")
        self.check_ranks("pa_fp16 precision_single [[16,8]] hello 1 deepseekv2 ${weight_path} 2", "run")

    def test_speed(self):
        self.check_ranks("pa_fp16 performance [[16,8]] 1 deepseekv2 ${weight_path} 2", "bench model")
        self.check_ranks("pa_fp16 performance_maxbs [[16,6]] [[1,2]] 100000 deepseekv2 ${weight_path} 2", "bench maxbs")
        self.check_ranks("pa_fp16 performance_single [[16,8]] hello 1 deepseekv2 ${weight_path} 2", "run")

    def test_experts_shared_among_ranks(self):
        lines = self.check_ranks("pa_fp16 full_BoolQ 8 deepseekv2 ${weight_path} 2 [1,2,1,1,2]", "eval")
        self.assertIn("--moe-ep 2", lines[0])

    def test_ranks_that_the_model_does_not_allow(self):
        one_cpu = f"taskset -c {min(os.sched_getaffinity(0))}"
        done = self.bash(f"cd ${{llm_path}}/tests/modeltest; {one_cpu} bash run.sh pa_fp16 full_BoolQ 8 deepseekv2 ${{weight_path}} 3", FATHOM_RANKS=None)
        self.assertEqual(done.returncode, 1)
        self.assertIn("note: 3 ranks take turns on 1 CPUs", done.stderr)
        self.assertRegex(done.stderr, "(?m)^fathom: error: --tp: 3 does not divide num_attention_heads 8$")


@unittest.skipUnless(shutil.which("mpirun"), "Open MPI is not installed")
class TwoNodes(compat_case.Case):
    """Both nodes are this machine, by two addresses: for mpirun the second one is elsewhere."""
    PORT = 21700

    def nodes(self, *words_of_each, **variables):
        """What the commands of the nodes ended with: (status, stdout, stderr) each. Only the first node has data sets."""
        table = self.folder / "two.json"
        compat_case.write_rank_table(table, devices=1)
        TwoNodes.PORT += 10
        of_each = [variables, {**variables, "MODELTEST_DATA_DIR": "/no/such"}]
        started = [subprocess.Popen(
            ["bash", "-c", f"{RUN} {words} deepseekv2 $weight_path {table} 2 2 {rank} {compat_case.MASTER}"], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={k: v for k, v in self.environment(FATHOM_RANKS=None, MASTER_PORT=str(TwoNodes.PORT), **of_each[rank]).items()
                 if v is not None})
            for rank, words in enumerate(words_of_each) if words]
        outputs = [process.communicate(timeout=300) for process in started]
        return [(process.returncode, *output) for process, output in zip(started, outputs)]

    def test_both_commands_meet_and_share_the_model(self):
        words = "pa_fp16 performance [[16,8]] [1,2]"
        (status, out, errors), (second, out_of_second, errors_of_second) = self.nodes(words, words)
        self.assertEqual((status, second), (0, 0), (errors, errors_of_second))
        self.assertIn("127.0.0.2 has met the first node, 127.0.0.1", out_of_second)
        self.assertIn("ended with status 0", out_of_second)
        self.assertIn("results:", out)
        for batch in (1, 2):
            (row,) = self.rows(f"outputs/results/NPU/performance_test/performance/fp16/deepseekv2/performance_pa_batch{batch}_tp2_result.csv")
            self.assertEqual((row["In_seq"], row["Out_seq"]), ("16", "8"))

    def test_accuracy_and_the_largest_batch(self):
        for words, path, batches in (
                ("pa_fp16 full_BoolQ [2,8]", "outputs/results/NPU/precision_test/full_BoolQ/fp16/deepseekv2/full_BoolQ_*_tp2_result.csv", "28"),
                ("pa_fp16 performance_maxbs [[16,6]] [[1,2]] 100000", "result/deepseekv2/performance_maxbs_pa_fp16_tp2_final_result.csv", "2")):
            ended = self.nodes(words, words)
            self.assertEqual([status for status, *_ in ended], [0, 0], ended)
            files = sorted(self.modeltest.glob(path))
            self.assertEqual([line.split(",")[1] for file in files for line in file.read_text().splitlines()[1:]], list(batches))

    def test_failure_of_the_work_ends_both(self):
        words = "pa_fp16 performance [[16,8]] 1 dataset gsm8k"
        ended = self.nodes(words, words, MODELTEST_DATA_DIR=str(self.folder))
        self.assertEqual([status for status, *_ in ended], [1, 1])
        self.assertIn("gsm8k", ended[0][2])
        self.assertIn("ended with status 1", ended[1][1])

    def test_commands_that_differ(self):
        for status, _, errors in self.nodes("pa_fp16 performance [[16,8]] 1", "pa_fp16 performance [[16,9]] 1"):
            self.assertEqual(status, 1)
            for part in ("differ", "[[16,8]]", "[[16,9]]", "127.0.0.2"):
                self.assertIn(part, errors)

    def test_a_node_that_does_not_come(self):
        words = "pa_fp16 performance [[16,8]] 1"
        for alone, parts in (((words, ""), ("127.0.0.2", "1 s", "HCCL_CONNECT_TIMEOUT")), (("", words), ("127.0.0.1", "first node", "1 s"))):
            ((status, _, errors),) = self.nodes(*alone, HCCL_CONNECT_TIMEOUT="1")
            self.assertEqual(status, 1)
            for part in parts:
                self.assertIn(part, errors)


if __name__ == "__main__":
    cli_test.BINARY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
