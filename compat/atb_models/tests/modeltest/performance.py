"""Speed: random prompts by `fathom bench model`, questions of a data set by `fathom run`, the largest batch by `fathom bench maxbs`."""
import dataclasses
import json

import results
from atb_compat import fathom, generation, tables
from atb_compat.fathom import Refusal

# The seed's tables have no shares of the machine's ceilings, so these are measured as briefly as can be.
NO_CEILINGS = ("--seconds", "0.001", "--read-memory", "1M")
COLUMNS = ("Model", "Batchsize", "In_seq", "Out_seq", "Total time(s)", "Prefill all time(ms)", "Prefill average time(ms)",
           "Non-first token time(ms)", "Non-first token Throughput(Tokens/s)", "E2E Throughput(Tokens/s)",
           "Non-first token Throughput Average(Tokens/s)", "E2E Throughput Average(Tokens/s)")
DATA_FILES = {  # file below the data folder, and what a line's question is
    "boolq": (("boolq/dev.jsonl", "boolq_dev.jsonl"), lambda line: f"{line['passage']}\nQuestion: {line['question']}?\nAnswer:"),
    "gsm8k": (("gsm8k/test.jsonl", "gsm8k_test.jsonl"), lambda line: line["question"]),
    "humaneval": (("humaneval/HumanEval.jsonl",), lambda line: line["prompt"]),
    "customize": (("customize/customize.jsonl",), lambda line: line["question"]),
}


@dataclasses.dataclass
class Measured:
    batch: int
    input: int
    output: int
    total_s: float
    prefill_ms: float
    prefill_steps: int
    token_ms: float    # non-first token time
    tokens: int        # generated, of all requests

    @property
    def decode_throughput(self):
        return self.batch * 1000 / self.token_ms if self.token_ms > 0 else 0.0

    @property
    def throughput(self):
        return self.tokens / self.total_s if self.total_s > 0 else 0.0


def table_rows(model, measured):
    """With the averages over all rows in each."""
    count = len(measured)
    averages = [sum(getattr(one, name) for one in measured) / count for name in ("decode_throughput", "throughput")]
    return [[model, one.batch, one.input, one.output, *(f"{value:.6f}" for value in (
        one.total_s, one.prefill_ms, one.prefill_ms / one.prefill_steps, one.token_ms, one.decode_throughput, one.throughput,
        *averages))] for one in measured]


def engine_words(command, batches):
    """Options that every way of measuring shares."""
    budget = results.step_tokens(command)
    most = max(batches)
    words = []
    if budget or most > 512:
        words += ["--max-num-batched-tokens", min(max(budget, most, 512), generation.MAX_STEP_TOKENS)]
    longest = max(sum(case) for case in command.cases)
    if command.max_position and command.max_position < longest:
        raise Refusal(f"longest sequence: {command.max_position} does not hold the case of {longest} tokens")
    if command.max_position:
        words += ["--max-model-len", command.max_position]
    if command.model_type == "fa":  # a page as long as the longest sequence: contiguous
        words += ["--block-size", min(longest, 4096)]
    return words


def by_random_prompts(command, group):
    """One call for the cases that share a list of batches."""
    measured = {}
    lists = {tuple(command.batches_of(i)) for i in range(len(command.cases))}
    for batches in sorted(lists):
        indices = [i for i in range(len(command.cases)) if tuple(command.batches_of(i)) == batches]
        pairs = ",".join(f"{command.cases[i][0]}x{command.cases[i][1]}" for i in indices)
        report = fathom.call_json(group, "bench", "model", command.weights, "--pairs", pairs, "--batch",
                                  ",".join(map(str, batches)), *NO_CEILINGS, *engine_words(command, batches))
        rows = iter(report["rows"])
        for i in indices:
            for batch in batches:
                row = next(rows)
                output = row["output"]
                after = (row["total_seconds"] - row["prefill_seconds"]) * 1000
                measured[i, batch] = Measured(batch, row["input"], output, row["total_seconds"], row["prefill_seconds"] * 1000,
                                              row["prefill_steps"], after / (output - 1) if output > 1 else 0.0, batch * output)
    return measured


def read_questions(name):
    if name == "ceval":
        return ceval_questions()
    names, question = DATA_FILES[name]
    for path in (results.data_dir() / one for one in names):
        if not path.exists():
            continue
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
            return [question(json.loads(line)) for line in lines if line.strip()]
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{path}: not one JSON object a line with the question: {error!r}") from error
    raise Refusal(f"dataset {name}: {' or '.join(names)} is not in {results.data_dir()}")


def ceval_questions():
    import csv
    questions = []
    for path in sorted((results.data_dir() / "ceval" / "val").glob("*_val.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            questions += ["{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\n答案：".format(**row) for row in csv.DictReader(file)]
    if not questions:
        raise Refusal(f"dataset ceval: ceval/val/*_val.csv is not in {results.data_dir()}")
    return questions


def fitted(ids, length, is_padded):
    """At most length tokens; padded: exactly so many, by saying them again."""
    if is_padded and ids:
        ids = ids * -(-length // len(ids))
    return ids[:length]


def by_questions(command, group):
    questions = read_questions(command.dataset)
    measured = {}
    ids = generation.token_ids(command.weights, questions)
    for i, (length, output) in enumerate(command.cases):
        for batch in command.batches_of(i):
            count = min(len(ids), batch * command.groups) if command.groups else len(ids)
            prompts = [fitted(one, length, command.is_padded) for one in ids[:count]]
            answers, times = generation.generate(group, generation.Request(
                model=command.weights, prompts=[{"ids": prompt} for prompt in prompts], max_tokens=output, batch=batch,
                ignore_eos=True, warm_up=min(length, 1024), more=tuple(engine_words(command, [batch]))))
            # Of one batch all decode steps over one token less than there are, of several the mean step.
            steps = max(len(times.decode), 1)
            token_ms = times.decode_token(output) if count <= batch else sum(times.decode) / steps
            measured[i, batch] = Measured(batch, max(map(len, prompts)), output, times.total / 1000, sum(times.prefill),
                                          len(times.prefill), token_ms, sum(len(answer["ids"]) for answer in answers))
    return measured


def run(command, checkpoint):
    group = results.group_of(command)
    measured = (by_questions if command.dataset else by_random_prompts)(command, group)
    for batch in sorted({batch for _, batch in measured}):
        rows = table_rows(command.model_name, [one for (_, of_batch), one in sorted(measured.items()) if of_batch == batch])
        print(tables.markdown(COLUMNS, rows), end="")
        results.Results(command, checkpoint, batch).write(command.mode, COLUMNS, rows)


def maxbs_rows(command, case):
    """Of one case: a row a round that was run, and the row of the largest batch within the limit."""
    rounds = [Measured(one["batch"], case["input"], case["output"], one["total_seconds"], one["prefill_seconds"] * 1000,
                       one["prefill_steps"], one["tpot_ms"], one["batch"] * case["output"])
              for one in case["rounds"] if one["tpot_ms"] is not None]
    best = [one for one in rounds if one.batch == case["batch"]]
    return [table_rows(command.model_name, [one])[0] for one in rounds], [table_rows(command.model_name, [one])[0] for one in best]


def run_maxbs(command, checkpoint):
    group = results.group_of(command)
    pairs = ",".join(f"{a}x{b}" for a, b in command.cases)
    ranges = ",".join(f"{a}x{b}" for a, b in command.ranges)
    report = fathom.call_json(group, "bench", "maxbs", command.weights, "--pairs", pairs, "--range", ranges, "--limit-ms",
                              command.limit_ms, *engine_words(command, [high for _, high in command.ranges]))
    folder = results.modeltest_dir() / "result" / command.model_name
    name = f"{command.mode}_{command.model_type}_{checkpoint.dtype}_tp{command.chips}"
    all_rounds, finals = [], []
    for case in report["cases"]:
        rounds, final = maxbs_rows(command, case)
        all_rounds += rounds
        finals += final
        print(f"[{case['input']},{case['output']}]: {case['batch'] or 0}")
    for kind, rows in (("round", all_rounds), ("final", finals)):
        path = folder / f"{name}_{kind}_result.csv"
        tables.write_csv(path, COLUMNS, rows)
        print(f"results: {path}")
    print(tables.markdown(COLUMNS, finals), end="")
