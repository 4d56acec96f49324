"""The files that the seed's tools leave beside their answers: timings, token ids, logits."""
import array
import os
import pathlib
import tempfile

from . import fathom, tables, variables

BENCHMARK_COLUMNS = ("batch_size", "input_seq_len", "output_seq_len", "e2e_time(ms)", "prefill_time(ms)", "decoder_token_time(ms)",
                     "prefill_count", "prefill_token_times", "decode_token_times", "prefill_average_time(ms)")


def benchmark(batch, answers, times):
    """Writes a row to benchmark.csv and prints it."""
    longest = max(len(answer["ids"]) for answer in answers)
    def listed(values):
        return ",".join(f"{value:.3f}" for value in values)
    row = (batch, max(len(answer["prompt_ids"]) for answer in answers), longest, f"{times.total:.3f}", f"{sum(times.prefill):.3f}",
           f"{times.decode_token(longest):.3f}", len(times.prefill), listed(times.prefill), listed(times.decode),
           f"{sum(times.prefill) / len(times.prefill):.3f}")
    path = os.environ.get("ATB_LLM_BENCHMARK_FILEPATH") or "./benchmark_result/benchmark.csv"
    tables.append_csv(path, BENCHMARK_COLUMNS, row)
    short = [i for i, name in enumerate(BENCHMARK_COLUMNS) if not name.endswith("_times")]
    print(tables.markdown([BENCHMARK_COLUMNS[i] for i in short], [[row[i] for i in short]]), end="")
    print(f"benchmark: {path}")


def write_npy(path, kind, shape, data):
    """kind: NumPy's name of the element type; data: bytes."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data)


def token_ids(answers):
    folder = pathlib.Path(os.environ.get("ATB_LLM_TOKEN_IDS_SAVE_FOLDER") or "./")
    folder.mkdir(parents=True, exist_ok=True)
    for i, answer in enumerate(answers):
        write_npy(folder / f"input_ids_{i}.npy", "<i8", (len(answer["prompt_ids"]),), array.array("q", answer["prompt_ids"]).tobytes())
        (folder / f"output_ids_{i}.txt").write_text(",".join(map(str, answer["ids"])) + "\n")


def logits(ranks, model, answers):
    """logits_{step}.npy, float32 [requests, vocabulary]: the logits that each step's tokens were chosen from, computed once more
    from prompt and answer (`fathom score`); requests that ended before a step are left out of it."""
    folder = pathlib.Path(os.environ.get("ATB_LLM_LOGITS_SAVE_FOLDER") or "./")
    folder.mkdir(parents=True, exist_ok=True)
    steps = [bytearray() for _ in range(max(len(answer["ids"]) for answer in answers))]
    width = 0
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary) / "logits.npy"
        for answer in answers:
            prompt = answer["prompt_ids"]
            ids = prompt + answer["ids"][:-1]
            # Two positions at the least: the likelihood that is reported beside needs one.
            fathom.call(ranks, "score", model, "--ids", ",".join(map(str, ids if len(ids) > 1 else ids * 2)), "--out", out, "--json")
            data = out.read_bytes()
            begin = 10 + int.from_bytes(data[8:10], "little")
            width = (len(data) - begin) // max(len(ids), 2)
            for step in range(len(answer["ids"])):
                row = begin + (len(prompt) - 1 + step) * width
                steps[step] += data[row:row + width]
    for step, rows in enumerate(steps):
        write_npy(folder / f"logits_{step}.npy", "<f4", (len(rows) // width, width // 4), bytes(rows))


def wanted_dumps(ranks, model, answers):
    """Those that the environment asks for."""
    if variables.is_on("ATB_LLM_TOKEN_IDS_SAVE_ENABLE"):
        token_ids(answers)
    if variables.is_on("ATB_LLM_LOGITS_SAVE_ENABLE"):
        logits(ranks, model, answers)
