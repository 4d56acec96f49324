"""simplified_GSM8K and simplified_TruthfulQA: the distance of the model's predictions from golden ones on fixed prompts. Golden are
those of float32 activations and cache on the same weights, where the seed has a GPU's."""
import json
import pathlib
import tempfile

import performance
import results
from atb_compat import fathom
from atb_compat.fathom import Refusal

COLUMNS = ("Model", "Batchsize", "Dataset", "KL max", "KL share above 1e-4", "Tokens", "Pass")
NUM_PROMPTS = 20
MAX_KL = 1e-3
MAX_SHARE = 0.005


def read_prompts(dataset):
    if dataset == "GSM8K":
        return performance.read_questions("gsm8k")[:NUM_PROMPTS]
    path = results.data_dir() / "truthfulqa" / "mc_task.json"
    try:
        return [f"Q: {one['question']}\nA:" for one in json.loads(path.read_text(encoding="utf-8"))[:NUM_PROMPTS]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path}: no JSON list of objects with \"question\": {error!r}") from error


def run(command, checkpoint):
    group = results.group_of(command)
    dataset = command.mode.split("_", 1)[1]
    with tempfile.TemporaryDirectory() as folder:
        words = ["compare", command.weights, command.weights, "--dtype", "fp32", "--b-dtype", checkpoint.dtype]
        for i, prompt in enumerate(read_prompts(dataset)):
            path = pathlib.Path(folder) / f"prompt_{i}.txt"
            path.write_text(prompt, encoding="utf-8")
            words += ["--text-file", path]
        report = fathom.call_json(group, *words)
    largest, share = report["kl"]["max"], report["kl"]["above_1e-4"]
    row = [command.model_name, command.batches[0][0], dataset, f"{largest:.6g}", f"{share:.6g}", report["tokens"],
           largest <= MAX_KL and share <= MAX_SHARE]
    print(f"largest KL {largest:.3g} (at most {MAX_KL:g}), share above 1e-4 {share:.3g} (at most {MAX_SHARE:g})")
    results.Results(command, checkpoint, command.batches[0][0]).write(command.mode, COLUMNS, [row])
