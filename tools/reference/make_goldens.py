"""Writes tests/golden/<variant>/: a tiny checkpoint and what the plain-torch reference makes of it.

    python make_goldens.py [--out FOLDER] [VARIANT ...]

Weights are drawn from a seed, rounded to the variant's type and stored; the reference then reads the stored files. A
seed is passed over when a routing decision or a greedy choice hangs by less than MIN_SCORE_MARGIN or MIN_GREEDY_MARGIN,
so that no rounding of float32 can flip it. The same machine and the pinned versions give the same bytes again.
"""

import argparse
import json
import math
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from deepseek_v2 import Config, DeepseekV2, Trace
from variants import GAINS, VARIANTS, Variant

MIN_SCORE_MARGIN = 1e-4
MIN_GREEDY_MARGIN = 1e-3
MAX_SEEDS = 200
GOLDEN_FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"


def tensor_shapes(cfg: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor of the checkpoint, in the published layout and order."""
    hidden, heads = cfg.hidden_size, cfg.num_attention_heads
    shapes = {"model.embed_tokens.weight": (cfg.vocab_size, hidden)}

    def linear(name: str, outputs: int, inputs: int, bias: bool = False) -> None:
        shapes[name + ".weight"] = (outputs, inputs)
        if bias:
            shapes[name + ".bias"] = (outputs,)

    def mlp(name: str, width: int) -> None:
        linear(name + ".gate_proj", width, hidden)
        linear(name + ".up_proj", width, hidden)
        linear(name + ".down_proj", hidden, width)

    for layer in range(cfg.num_hidden_layers):
        name = f"model.layers.{layer}"
        attn = name + ".self_attn"
        q_size = heads * (cfg.qk_nope_head_dim + cfg.qk_rope_head_dim)
        if cfg.q_lora_rank is None:
            linear(attn + ".q_proj", q_size, hidden)
        else:
            linear(attn + ".q_a_proj", cfg.q_lora_rank, hidden, cfg.attention_bias)
            shapes[attn + ".q_a_layernorm.weight"] = (cfg.q_lora_rank,)
            linear(attn + ".q_b_proj", q_size, cfg.q_lora_rank)
        linear(attn + ".kv_a_proj_with_mqa", cfg.kv_lora_rank + cfg.qk_rope_head_dim, hidden, cfg.attention_bias)
        shapes[attn + ".kv_a_layernorm.weight"] = (cfg.kv_lora_rank,)
        linear(attn + ".kv_b_proj", heads * (cfg.qk_nope_head_dim + cfg.v_head_dim), cfg.kv_lora_rank)
        linear(attn + ".o_proj", hidden, heads * cfg.v_head_dim, cfg.attention_bias)
        if DeepseekV2(cfg, {}).is_moe_layer(layer):
            linear(name + ".mlp.gate", cfg.n_routed_experts, hidden)
            for expert in range(cfg.n_routed_experts):
                mlp(f"{name}.mlp.experts.{expert}", cfg.moe_intermediate_size)
            if cfg.n_shared_experts:
                mlp(name + ".mlp.shared_experts", cfg.moe_intermediate_size * cfg.n_shared_experts)
        else:
            mlp(name + ".mlp", cfg.intermediate_size)
        shapes[name + ".input_layernorm.weight"] = (hidden,)
        shapes[name + ".post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    linear("lm_head", cfg.vocab_size, hidden)
    return shapes


def draw_tensor(name: str, shape: tuple[int, ...], gains: dict, generator: torch.Generator) -> torch.Tensor:
    if "norm" in name:
        return torch.rand(shape, generator=generator) + 0.5
    values = torch.randn(shape, generator=generator)
    gain = 1.0
    for pattern, value in gains.items():
        gain = value if re.search(pattern, name) else gain
    if "embed_tokens" in name or name.endswith(".bias"):
        return values * gain
    return values * (gain / math.sqrt(shape[-1]))


def draw(variant: Variant, seed: int) -> tuple[dict[str, torch.Tensor], list[int]]:
    """The stored weights and the prompt."""
    generator = torch.Generator().manual_seed(seed)
    cfg = Config.from_dict(variant.config())
    gains = GAINS | variant.gains
    weights = {
        name: draw_tensor(name, shape, gains, generator).to(variant.dtype) for name, shape in tensor_shapes(cfg).items()
    }
    ids = torch.randint(0, cfg.vocab_size, (variant.num_tokens,), generator=generator).tolist()
    return weights, ids


def write_checkpoint(folder: Path, variant: Variant, weights: dict[str, torch.Tensor]) -> None:
    (folder / "config.json").write_text(json.dumps(variant.config(), indent=2) + "\n")
    if variant.shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    # Real V2 files count with five digits and total with six; readers must take names from the index.
    names = [f"model-{i + 1:05d}-of-{variant.shards:06d}.safetensors" for i in range(variant.shards)]
    weight_map = {tensor: names[i * variant.shards // len(weights)] for i, tensor in enumerate(weights)}
    for name in names:
        save_file({t: weights[t] for t in weights if weight_map[t] == name}, folder / name, metadata={"format": "pt"})
    total = sum(t.numel() * t.element_size() for t in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def golden_tensors(
    model: DeepseekV2, ids: list[int], greedy: list[int], keep_activations: bool
) -> dict[str, torch.Tensor]:
    trace = Trace()
    tensors = {
        "ids": torch.tensor(ids),
        "logits": model.forward(ids, trace),
        "greedy": torch.tensor(greedy),
        "rope.inv_freq": model.inv_freq(),
    }
    if keep_activations:
        tensors |= {f"hidden.{layer}": x for layer, x in enumerate(trace.hidden)}
        tensors["final_norm"] = trace.final_norm
        for layer in trace.experts:
            tensors[f"experts.{layer}"] = trace.experts[layer]
            tensors[f"expert_weights.{layer}"] = trace.expert_weights[layer]
    assert all(torch.isfinite(t).all() for t in tensors.values())
    return {name: t.contiguous() for name, t in tensors.items()}


def make(name: str, variant: Variant, out: Path) -> str:
    """Writes one folder and returns its line of the report."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for seed in range(variant.seed, variant.seed + MAX_SEEDS):
        weights, ids = draw(variant, seed)
        model = DeepseekV2(Config.from_dict(variant.config()), {k: w.float() for k, w in weights.items()})
        first = Trace()
        model.forward(ids, first)
        if first.score_margin < MIN_SCORE_MARGIN:
            continue
        greedy, greedy_margin, trace = model.greedy(ids, variant.greedy_count)
        if trace.score_margin >= MIN_SCORE_MARGIN and greedy_margin >= MIN_GREEDY_MARGIN:
            break
    else:
        raise SystemExit(f"{name}: no seed from {variant.seed} on has the margins")
    write_checkpoint(folder, variant, weights)
    model = DeepseekV2.load(folder)
    tensors = golden_tensors(model, ids, greedy, variant.keep_activations)
    facts = {
        "seed": seed,
        "torch": torch.__version__,
        "reference": "tools/reference/deepseek_v2.py in float32",
        "softmax_scale": model.softmax_scale(),
        "rope_magnitude": model.rope_magnitude(),
        "least_expert_score_margin": trace.score_margin if trace.experts else None,
        "least_greedy_logit_margin": greedy_margin,
    }
    # One key: the writer keeps several in no fixed order, and the file should come out the same every time.
    save_file(tensors, folder / "golden.safetensors", metadata={"golden": json.dumps(facts)})
    size = sum(f.stat().st_size for f in folder.iterdir())
    logits = tensors["logits"]
    largest = max(h.abs().max().item() for h in trace.hidden)
    return (
        f"{name:22} seed {seed:6} {size / 1024:7.0f} KiB  logits std {logits.std():.2f} max {logits.abs().max():.1f}"
        f"  residual max {largest:.3g}  margins: score {trace.score_margin:.1e} log score {trace.logit_margin:.1e}"
        f" greedy {greedy_margin:.1e}  distinct greedy {len(set(greedy))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=GOLDEN_FOLDER)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=f"of: {', '.join(VARIANTS)}; all by default")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.variants or VARIANTS:
        print(make(name, VARIANTS[name], args.out), flush=True)


if __name__ == "__main__":
    main()
