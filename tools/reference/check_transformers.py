"""Holds the golden files against Hugging Face transformers' own DeepSeek-V2, eager attention, everything in float32.

    python check_transformers.py [--golden FOLDER] [VARIANT ...]

Both read the same stored checkpoint. Each variant runs twice: through transformers as it is, and, where its config asks
for something that transformers is known not to do, with exactly that one formula put right in memory (PATCHES). The
number is |a - b| / |b| over the logits of prompt and greedy continuation, b being the golden side. Exit status 1 when
the patched run is further away than TOLERANCE or disagrees about a greedy token.
"""

import argparse
import contextlib
import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as native
from transformers.models.deepseek_v2.configuration_deepseek_v2 import DeepseekV2Config

from deepseek_v2 import DeepseekV2, yarn_m
from make_goldens import GOLDEN_FOLDER
from variants import VARIANTS

TOLERANCE = 1e-5


@contextlib.contextmanager
def replaced(owner: object, name: str, value: object):
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def respect_moe_layer_freq(raw: dict):
    """transformers makes every layer from first_k_dense_replace on a MoE layer."""
    plain_init = native.DeepseekV2DecoderLayer.__init__

    def init(self, config, layer_idx):
        plain_init(self, config, layer_idx)
        if layer_idx % raw["moe_layer_freq"]:
            self.mlp = native.DeepseekV2MLP(config)

    with replaced(native.DeepseekV2DecoderLayer, "__init__", init):
        yield


@contextlib.contextmanager
def respect_norm_topk_prob(raw: dict):
    """transformers never reads the flag and always scales; the sum below also divides that scaling out again."""
    plain_forward = native.DeepseekV2TopkRouter.forward

    def forward(self, hidden_states):
        logits, weights, chosen = plain_forward(self, hidden_states)
        return logits, weights / weights.sum(-1, keepdim=True), chosen

    with replaced(native.DeepseekV2TopkRouter, "forward", forward):
        yield


@contextlib.contextmanager
def absent_mscale_all_dim_is_zero(raw: dict):
    """transformers takes m(1) for the magnitude of cos and sin unless both mscale values are given and not zero."""
    rope = rope_of(raw)
    rope["attention_factor"] = yarn_m(rope["factor"], rope.get("mscale", 1)) / yarn_m(rope["factor"], 0)
    yield


@contextlib.contextmanager
def accept_gready(raw: dict):
    """transformers leaves its weights undefined for the misspelt method of early files."""
    raw["topk_method"] = "greedy"
    yield


@contextlib.contextmanager
def no_routed_experts(raw: dict):
    """transformers insists on numbers for the experts, and on a float for their scaling; all layers dense say the same."""
    raw["first_k_dense_replace"] = raw["num_hidden_layers"]
    raw |= {"n_routed_experts": 1, "moe_intermediate_size": 1, "routed_scaling_factor": 1.0}
    yield


@contextlib.contextmanager
def no_shared_experts(raw: dict):
    """transformers always builds shared experts."""
    raw["n_shared_experts"] = 1
    plain_init = native.DeepseekV2Moe.__init__

    def init(self, config):
        plain_init(self, config)
        self.shared_experts = torch.nn.Identity()
        self.shared_experts.forward = torch.zeros_like

    with replaced(native.DeepseekV2Moe, "__init__", init):
        yield


def rope_of(raw: dict) -> dict:
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def is_yarn(raw: dict) -> bool:
    return rope_of(raw).get("rope_type", rope_of(raw).get("type", "default")) == "yarn"


# name -> (when a config needs it, how the formula is put right)
PATCHES = {
    "moe_layer_freq": (lambda raw: raw["moe_layer_freq"] != 1, respect_moe_layer_freq),
    "norm_topk_prob": (lambda raw: raw["norm_topk_prob"] and raw["num_experts_per_tok"] > 1, respect_norm_topk_prob),
    "mscale_all_dim": (
        lambda raw: is_yarn(raw) and not rope_of(raw).get("mscale_all_dim"),
        absent_mscale_all_dim_is_zero,
    ),
    "gready": (lambda raw: raw["topk_method"] == "gready", accept_gready),
    "n_routed_experts": (lambda raw: raw["n_routed_experts"] is None, no_routed_experts),
    "n_shared_experts": (lambda raw: raw["n_shared_experts"] is None, no_shared_experts),
}


def native_logits(folder: Path, patches: list[str], ids: list[int]) -> torch.Tensor:
    raw = json.loads((folder / "config.json").read_text())
    raw.pop("auto_map", None)
    raw["model_type"] = "deepseek_v2"
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(PATCHES[patch][1](raw))
        model, info = native.DeepseekV2ForCausalLM.from_pretrained(
            folder,
            config=DeepseekV2Config(**raw),
            dtype=torch.float32,
            attn_implementation="eager",
            experts_implementation="eager",
            output_loading_info=True,
        )
        wrong = [f"{len(names)} {kind.replace('_', ' ')}" for kind, names in sorted(info.items()) if names]
        if wrong:
            raise ValueError("checkpoint does not fit: " + ", ".join(wrong))
        with torch.no_grad():
            return model.eval()(torch.tensor([ids]), use_cache=False).logits[0]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def check(folder: Path) -> tuple[str, bool]:
    """One row of the table, and whether it is good."""
    golden = load_file(folder / "golden.safetensors")
    raw = json.loads((folder / "config.json").read_text())
    patches = [name for name, (needed, _) in PATCHES.items() if needed(raw)]
    ids = golden["ids"].tolist() + golden["greedy"].tolist()[:-1]
    count = len(golden["ids"])
    ours = DeepseekV2.load(folder).forward(ids)
    try:
        as_is = f"{distance(native_logits(folder, [], ids), ours):.1e}"
    except Exception as error:  # whatever transformers cannot do with this config is a result here
        as_is = "no: " + str(error.__cause__ or error).strip().splitlines()[0]
    theirs = native_logits(folder, patches, ids) if patches else None
    best = theirs if patches else native_logits(folder, [], ids)
    far = distance(best, ours)
    same_greedy = torch.equal(best[count - 1 :].argmax(-1), golden["greedy"])
    stored = distance(ours[:count], golden["logits"])
    double = distance(ours, DeepseekV2.load(folder, torch.float64).forward(ids))
    row = [folder.name, as_is, ", ".join(patches) or "-", f"{far:.1e}", "yes" if same_greedy else "NO"]
    row += [f"{stored:.1e}", f"{double:.1e}"]
    return "| " + " | ".join(row) + " |", far <= TOLERANCE and same_greedy and stored <= TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", type=Path, default=GOLDEN_FOLDER)
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    print("| variant | as it is | put right | then | same greedy tokens | recomputed | float32 from float64 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    good = True
    for name in args.variants or VARIANTS:
        row, fine = check(args.golden / name)
        good = good and fine
        print(row, flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
