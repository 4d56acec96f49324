"""Writes tests/golden/context/yarn_160k/: a checkpoint of a few kilobytes and its logits at positions up to 163,839.

    python make_long_goldens.py [--out FOLDER] [--tokens N]

NumPy only, in float64, about three minutes. One sequence as long as YaRN's 40 x 4096 positions allow; logits of the few
rows in WANTED. Ids follow from a formula that the test has too, so that they need no space. --mistakes says what the
rows notice: how far they move if far keys are forgotten, or if YaRN or the float32 product of position and frequency
are left out.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from make_quantized_goldens import GOLDEN_FOLDER, to_array, to_tensor, write_safetensors
from numpy_deepseek_v2 import LATENT_NORM_EPS, NumpyDeepseekV2, Trace, softmax

CONFIG = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "model_type": "deepseek_v2",
    "torch_dtype": "bfloat16",
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 2,
    "moe_layer_freq": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 16,
    "v_head_dim": 8,
    "n_routed_experts": None,
    "n_shared_experts": None,
    "num_experts_per_tok": None,
    "moe_intermediate_size": None,
    "norm_topk_prob": False,
    "attention_bias": False,
    "vocab_size": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "max_position_embeddings": 163840,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
    },
    "tie_word_embeddings": False,
}
SEED = 16000
GAINS = {"q_proj": 2.2, "kv_b_proj": 1.0, "kv_a_proj_with_mqa": 1.0, "o_proj": 2.0, "lm_head": 2.0}
WANTED = [*range(5000, 5008), *range(20000, 20008), *range(100000, 100008), *range(163832, 163840)]
ROW_BLOCK = 32


def ids_of(count: int) -> np.ndarray:
    """The finaliser of SplitMix64 over the positions, modulo the vocabulary."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x % np.uint64(CONFIG["vocab_size"])).astype(np.int64)


def to_bfloat16(array: np.ndarray) -> tuple[str, list[int], bytes]:
    bits = array.astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return "BF16", list(array.shape), rounded.astype("<u2").tobytes()


def make_weights() -> dict[str, tuple[str, list[int], bytes]]:
    generator, c = np.random.default_rng(SEED), CONFIG
    hidden, rank, heads = c["hidden_size"], c["kv_lora_rank"], c["num_attention_heads"]
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    matrices = {"model.embed_tokens": (c["vocab_size"], hidden), "lm_head": (c["vocab_size"], hidden)}
    norms = {"model.norm": hidden}
    for layer in range(c["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        matrices |= {
            f"{name}.self_attn.q_proj": (heads * (nope + rope), hidden),
            f"{name}.self_attn.kv_a_proj_with_mqa": (rank + rope, hidden),
            f"{name}.self_attn.kv_b_proj": (heads * (nope + value), rank),
            f"{name}.self_attn.o_proj": (hidden, heads * value),
            f"{name}.mlp.gate_proj": (c["intermediate_size"], hidden),
            f"{name}.mlp.up_proj": (c["intermediate_size"], hidden),
            f"{name}.mlp.down_proj": (hidden, c["intermediate_size"]),
        }
        norms |= {f"{name}.input_layernorm": hidden, f"{name}.post_attention_layernorm": hidden}
        norms |= {f"{name}.self_attn.kv_a_layernorm": rank}
    tensors = {}
    for name, shape in sorted(matrices.items()):
        gain = GAINS.get(name.rsplit(".", 1)[-1], 1.0)
        scale = 1.0 if name.endswith("embed_tokens") else gain / math.sqrt(shape[1])
        tensors[name + ".weight"] = to_bfloat16(generator.standard_normal(shape) * scale)
    for name, size in sorted(norms.items()):
        tensors[name + ".weight"] = to_bfloat16(1 + 0.1 * generator.standard_normal(size))
    return tensors


class LongDeepseekV2(NumpyDeepseekV2):
    """The second reference, a few query rows at a time. farthest: keys further back are forgotten (a mistake)."""

    def __init__(self, config: dict, weights: dict, farthest: int | None = None):
        super().__init__(config, weights, {})
        self.farthest = farthest

    def attend_rows(self, name: str, x: np.ndarray, rows: np.ndarray, trace: Trace) -> np.ndarray:
        cfg = self.config
        nope, rank = cfg["qk_nope_head_dim"], cfg["kv_lora_rank"]
        q = self.queries(name, x, trace)
        q = np.concatenate((q[..., :nope], self.rotate(q[..., nope:])), -1) * self.softmax_scale()
        compressed = self.linear(name + ".kv_a_proj_with_mqa", x, trace)
        latent = self.rms_norm(name + ".kv_a_layernorm", compressed[:, :rank], LATENT_NORM_EPS)
        trace.latent_crests.append(np.abs(latent).max(-1) / np.sqrt((latent * latent).mean(-1)))
        kv = self.linear(name + ".kv_b_proj", latent, trace).reshape(len(x), cfg["num_attention_heads"], -1)
        k_rope = np.broadcast_to(self.rotate(compressed[:, None, rank:]), (*kv.shape[:2], cfg["qk_rope_head_dim"]))
        k = np.concatenate((kv[..., :nope], k_rope), -1)
        attended = np.empty((len(rows), cfg["num_attention_heads"], cfg["v_head_dim"]))
        for begin in range(0, len(rows), ROW_BLOCK):
            block = rows[begin : begin + ROW_BLOCK]
            end = block.max() + 1
            distance = block[:, None] - np.arange(end)[None]
            unseen = distance < 0 if self.farthest is None else (distance < 0) | (distance > self.farthest)
            for head in range(cfg["num_attention_heads"]):
                scores = q[block, head] @ k[:end, head].T
                scores[unseen] = -np.inf
                attended[begin : begin + len(block), head] = softmax(scores) @ kv[:end, head, nope:]
        return self.linear(name + ".o_proj", attended.reshape(len(rows), -1), trace)

    def forward_rows(self, ids: np.ndarray, wanted: np.ndarray, trace: Trace) -> np.ndarray:
        """Logits of the wanted rows, [len(wanted), vocab_size]; the last layer computes no other."""
        cfg, eps = self.config, self.config["rms_norm_eps"]
        x = self.weights["model.embed_tokens.weight"][ids]
        for layer in range(cfg["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            rows = wanted if layer == cfg["num_hidden_layers"] - 1 else np.arange(len(ids))
            normed = self.rms_norm(name + ".input_layernorm", x, eps)
            x = x[rows] + self.attend_rows(name + ".self_attn", normed, rows, trace)
            x = x + self.mlp(name + ".mlp", self.rms_norm(name + ".post_attention_layernorm", x, eps), trace)
        return self.linear("lm_head", self.rms_norm("model.norm", x, eps), trace)


class NoYarn(LongDeepseekV2):
    def inv_freq(self) -> np.ndarray:
        exponents = np.arange(0, self.config["qk_rope_head_dim"], 2, dtype=np.float32)
        return 1.0 / np.float32(self.config["rope_theta"]) ** (exponents / np.float32(self.config["qk_rope_head_dim"]))


class WideAngles(LongDeepseekV2):
    def inv_freq(self) -> np.ndarray:
        return super().inv_freq().astype(np.float64)


def distances(got: np.ndarray, want: np.ndarray) -> str:
    groups = np.linalg.norm((got - want).reshape(-1, 8 * got.shape[1]), axis=1)
    return " ".join(f"{d:.1e}" for d in groups / np.linalg.norm(want.reshape(-1, 8 * got.shape[1]), axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=GOLDEN_FOLDER / "context" / "yarn_160k")
    parser.add_argument("--tokens", type=int, default=CONFIG["max_position_embeddings"], help="fewer, to try out")
    parser.add_argument("--mistakes", action="store_true", help="also compute what the rows would notice")
    args = parser.parse_args()
    tensors = make_weights()
    floats = {name: to_array(tensor) for name, tensor in tensors.items()}
    ids = ids_of(args.tokens)
    wanted = np.array([row for row in WANTED if row < args.tokens])
    trace = Trace()
    logits = LongDeepseekV2(CONFIG, floats).forward_rows(ids, wanted, trace)
    if args.mistakes:
        mistakes = {
            "keys 4096 back and more forgotten": LongDeepseekV2(CONFIG, floats, farthest=4096),
            "no YaRN frequencies": NoYarn(CONFIG, floats),
            "angles in float64": WideAngles(CONFIG, floats),
        }
        for about, model in mistakes.items():
            print(f"{about:36}", distances(model.forward_rows(ids, wanted, Trace()), logits), flush=True)
    crests = np.concatenate(trace.latent_crests)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    write_safetensors(args.out / "model.safetensors", tensors, {"format": "pt"})
    golden = {
        "rows": wanted,
        "logits": logits.astype(np.float32),
        "latent_crest": np.array([np.sqrt((crests**2).mean())], np.float32),
    }
    write_safetensors(args.out / "golden.safetensors", {name: to_tensor(array) for name, array in golden.items()})


if __name__ == "__main__":
    main()
