"""Accuracy: `fathom eval` in the seed's style, and its results in the seed's files."""
import hashlib
import json
import shutil

import results
from atb_compat import fathom
from atb_compat.fathom import Refusal

TASKS = {"full_BoolQ": "boolq", "full_CEval": "ceval", "full_MMLU": "mmlu", "full_CMMLU": "cmmlu", "full_GSM8K": "gsm8k",
         "full_HumanEval": "humaneval", "full_TruthfulQA": "truthfulqa_mc", "full_LongBench": "longbench",
         "full_LongBench-E": "longbench_e", "full_NeedleBench": "needle"}
COLUMNS = ("Model", "Batchsize", "Dataset", "Shots", "Score", "Correct", "Sum", "Total time(s)")
NEEDLE_ANSWER = 256  # tokens


def max_model_len(command, checkpoint):
    """0: fathom's default. NeedleBench takes the lengths that fit."""
    if command.max_position or not command.context_length:
        return command.max_position
    return min(command.context_length + NEEDLE_ANSWER, checkpoint.max_positions)


def eval_words(command, checkpoint, batch):
    words = ["eval", command.weights, "--tasks", TASKS[command.mode], "--style", "modeltest", "--data", results.data_dir(), "--batch", batch]
    if command.shots >= 0:
        words += ["--shots", command.shots]
    if command.is_chat:
        words.append("--chat")
    longest = max_model_len(command, checkpoint)
    if longest:
        words += ["--max-model-len", longest]
    if command.model_type == "fa":
        words += ["--block-size", min(longest or checkpoint.max_positions, 4096)]
    return words


def score_of(row):
    """A row's only metric."""
    return next(value for key, value in row.items() if "," in key and "_stderr" not in key)


def full_rows(report):
    """file_name, value, correct, sum of each subject, behind the total of all."""
    groups = report["groups"].keys()
    rows = []
    for name, row in report["results"].items():
        if name not in groups:
            rows.append([row["alias"], score_of(row), score_of(row) * row["sample_len"], row["sample_len"]])
    correct, total = sum(row[2] for row in rows), sum(row[3] for row in rows)
    return [["total", correct / total, correct, total], *rows]


def rounded(rows):
    """Counts of right answers are whole where scores are."""
    return [[name, f"{value:.6f}", f"{correct:.6f}".rstrip("0").rstrip("."), total] for name, value, correct, total in rows]


def run_batch(command, checkpoint, group, batch):
    """The answers lie on disk until all are there, so that the same command goes on where an earlier one ended."""
    files = results.Results(command, checkpoint, batch)
    dataset = command.mode.split("_", 1)[1]
    words = eval_words(command, checkpoint, batch)
    digest = hashlib.sha256(json.dumps([str(word) for word in words]).encode()).hexdigest()
    folder = files.debug_path(dataset).with_suffix(f".unfinished_{digest[:8]}")
    fathom.call(group, *words, "--out", folder, "--resume", show=True)
    (report_path,) = folder.glob("*/results_*.json")
    report = json.loads(report_path.read_text(encoding="utf-8"))
    (cases,) = report_path.parent.glob("cases_*.csv")
    shutil.copyfile(cases, files.debug_path(dataset))
    shutil.copyfile(report_path, files.debug_path(dataset).with_suffix(".json"))
    shutil.rmtree(folder)
    rows = full_rows(report)
    _, value, correct, total = rounded(rows)[0]
    files.write(command.mode, COLUMNS, [[command.model_name, batch, dataset, max(command.shots, 0), value, correct, total,
                                         report["total_evaluation_time_seconds"]]])
    files.write_full(dataset, rounded(rows))


def run(command, checkpoint):
    if not results.data_dir().is_dir():
        raise Refusal(f"{results.data_dir()}: no such folder; it holds the data sets, laid out as docs/evaluation.md says "
                      "(MODELTEST_DATA_DIR names another)")
    group = results.group_of(command)
    for batch in command.batches[0]:
        run_batch(command, checkpoint, group, batch)
