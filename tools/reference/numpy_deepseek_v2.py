"""DeepSeek-V2 in NumPy and float64, with quantised linears: the second reference, for quantised checkpoints.

Shares nothing with the engine, and with deepseek_v2.py only the formulas; make_quantized_goldens.py holds the float
case against the logits that deepseek_v2.py left in tests/golden. What this file is about is `linear`: a linear layer is
float, or integer weights by inputs that may be rounded.

Letters in shapes: T tokens, D hidden, H heads, R latent rank (kv_lora_rank), E routed experts, K experts per token,
n = qk_nope_head_dim, r = qk_rope_head_dim, v = v_head_dim.
"""

import math
from dataclasses import dataclass, field

import numpy as np

LATENT_NORM_EPS = 1e-6  # of the norms inside attention, whatever rms_norm_eps says

FLOAT, W8A16, W8A8 = "FLOAT", "W8A16", "W8A8_DYNAMIC"  # as description files spell them
W4A16, W4A8 = "W4A16", "W4A8_DYNAMIC"

# Steps between 0 and a row's largest magnitude. 127: one int8 digit. 32384 = 254 * 127 + 126: two of them, the value
# being 254 high + low with both in [-127, 127].
ONE_DIGIT_STEPS = 127
TWO_DIGIT_STEPS = 254 * 127 + 126


@dataclass
class QuantizedWeight:
    q: np.ndarray  # [outputs, inputs] int8
    scale: np.ndarray  # [outputs] float32: the weight is q * scale
    # int4 only: q = factors, each for a group of inputs, times digits.
    digits: np.ndarray | None = None  # [outputs, inputs] int8 in [-8, 7]
    factors: np.ndarray | None = None  # [outputs, groups] uint8 in [0, 15]

    def dequantized(self) -> np.ndarray:
        return self.q.astype(np.float64) * self.scale.astype(np.float64)[:, None]


def quantize_weight(weight: np.ndarray) -> QuantizedWeight:
    """Symmetric, per output row, min-max: scale = max|w| / 127 in float32, q to the nearest, ties to even."""
    weight = weight.astype(np.float32)
    scale = np.abs(weight).max(1) / np.float32(ONE_DIGIT_STEPS)
    q = np.rint(weight / np.where(scale > 0, scale, 1)[:, None])
    return QuantizedWeight(q.astype(np.int8), scale)


def quantize_weight_to_int4(weight: np.ndarray, group_size: int) -> QuantizedWeight:
    """int4 as docs/quantization.md says, to the nearest, all in float32."""
    weight = weight.astype(np.float32)
    starts = np.arange(0, weight.shape[1], group_size)
    group_of = np.arange(weight.shape[1]) // group_size
    scale = np.abs(weight).max(1) / np.float32(7) / np.float32(15)
    x = weight / np.where(scale > 0, scale, 1)[:, None]
    factors = np.rint(np.maximum.reduceat(np.abs(x), starts, axis=1) / np.float32(7))
    inverse = np.float32(1) / np.where(factors > 0, factors, np.float32(1))
    digits = np.clip(np.rint(x * inverse[:, group_of]), -8, 7) * (factors > 0)[:, group_of]
    q = (digits * factors[:, group_of]).astype(np.int8)
    return QuantizedWeight(q, scale, digits.astype(np.int8), factors.astype(np.uint8))


def is_quantized_linear(name: str) -> bool:
    """Which layers the tools quantise: all linears but kv_b_proj, the router and the head."""
    attention = ("q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "o_proj")
    network = ("gate_proj", "up_proj", "down_proj")
    return name.rsplit(".", 1)[-1] in attention + network


@dataclass
class Trace:
    """What the search for prompts and the bounds of the tests need, of the last token or of all."""

    tie_distance: float = math.inf  # least distance of an int8 input from a tie, in steps
    score_margin: float = math.inf  # least distance between a chosen and the best rejected score
    crests: list[np.ndarray] = field(default_factory=list)  # max|x| / rms(x) of rows that were, or would be, rounded
    latent_crests: list[np.ndarray] = field(default_factory=list)  # of rows of the latent cache


def crest(x: np.ndarray) -> np.ndarray:
    return np.abs(x).max(-1) / np.sqrt((x * x).mean(-1))


def yarn_m(factor: float, mscale: float) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1.0 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


class NumpyDeepseekV2:
    """config is config.json as it is; weights float arrays by name, or QuantizedWeight; types by layer name.

    round_w8a16: whether W8A16 layers round their inputs to two digits. Without it they are what the name says, a float
    product with dequantised weights.
    """

    def __init__(self, config: dict, weights: dict, types: dict[str, str], round_w8a16: bool = False):
        self.config, self.types, self.round_w8a16 = config, types, round_w8a16
        self.weights, self.integers = {}, {}
        for name, weight in weights.items():
            if isinstance(weight, QuantizedWeight):
                self.integers[name] = weight
                self.weights[name] = weight.dequantized()
            else:
                self.weights[name] = weight.astype(np.float64)

    # ---- linear pieces -------------------------------------------------------------------------------------------

    def linear(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        """y = x w^T + bias. x is [T, inputs]; T may be 0."""
        kind = self.types.get(name, FLOAT)
        if kind != FLOAT and len(x):
            trace.crests.append(crest(x))
        if kind in (W8A8, W4A8):
            y = self.rounded_product(name, x, ONE_DIGIT_STEPS, trace)
        elif kind in (W8A16, W4A16) and self.round_w8a16:
            y = self.rounded_product(name, x, TWO_DIGIT_STEPS, None)
        else:
            y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def rounded_product(self, name: str, x: np.ndarray, steps: int, trace: Trace | None) -> np.ndarray:
        """Inputs as integers by their token's largest magnitude; the sums of integers are exact in float64."""
        weight = self.integers[name + ".weight"]
        scale = np.abs(x).max(-1, keepdims=True) / steps
        quotient = x / np.where(scale > 0, scale, 1)
        if trace is not None and len(x):
            # Of the last token only: the earlier ones were accepted before it came.
            fraction = np.abs(quotient[-1]) % 1.0
            trace.tie_distance = min(trace.tie_distance, np.abs(fraction - 0.5).min())
        sums = np.rint(quotient) @ weight.q.astype(np.float64).T
        return sums * weight.scale.astype(np.float64) * scale

    def rms_norm(self, name: str, x: np.ndarray, eps: float) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.weights[name + ".weight"]

    def mlp(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        hidden = silu(self.linear(name + ".gate_proj", x, trace)) * self.linear(name + ".up_proj", x, trace)
        return self.linear(name + ".down_proj", hidden, trace)

    # ---- rotary positions ----------------------------------------------------------------------------------------

    def yarn(self) -> dict | None:
        return self.config.get("rope_scaling")

    def inv_freq(self) -> np.ndarray:
        """[r / 2] float32."""
        cfg, yarn, dim = self.config, self.yarn(), self.config["qk_rope_head_dim"]
        exponents = np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)
        period = np.float32(cfg["rope_theta"]) ** exponents
        if yarn is None:
            return (1.0 / period).astype(np.float32)

        def pair_of(turns: float) -> float:  # the pair that makes so many turns within the original length
            length = yarn["original_max_position_embeddings"]
            return dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(cfg["rope_theta"]))

        low = max(math.floor(pair_of(yarn["beta_fast"])), 0)
        high = min(math.ceil(pair_of(yarn["beta_slow"])), dim - 1)
        ramp = np.clip((np.arange(dim // 2) - low) / (high - low + (0.001 if low == high else 0)), 0, 1)
        return (ramp / (yarn["factor"] * period) + (1 - ramp) / period).astype(np.float32)

    def rotate(self, x: np.ndarray) -> np.ndarray:
        """x is [T, heads, r]: neighbours (2j, 2j+1) are one complex number, turned by a float32 angle."""
        yarn = self.yarn()
        magnitude = 1.0
        if yarn:
            magnitude = yarn_m(yarn["factor"], yarn["mscale"]) / yarn_m(yarn["factor"], yarn["mscale_all_dim"])
        angles = np.arange(len(x), dtype=np.float32)[:, None] * self.inv_freq()
        turn = np.exp(1j * angles.astype(np.float64))[:, None, :] * magnitude
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack((turned.real, turned.imag), -1).reshape(x.shape)

    # ---- attention -----------------------------------------------------------------------------------------------

    def softmax_scale(self) -> float:
        cfg, yarn = self.config, self.yarn()
        scale = (cfg["qk_nope_head_dim"] + cfg["qk_rope_head_dim"]) ** -0.5
        return scale * yarn_m(yarn["factor"], yarn["mscale_all_dim"]) ** 2 if yarn else scale

    def queries(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        """[T, H, n + r], not yet rotated."""
        if self.config.get("q_lora_rank") is None:
            q = self.linear(name + ".q_proj", x, trace)
        else:
            latent = self.rms_norm(name + ".q_a_layernorm", self.linear(name + ".q_a_proj", x, trace), LATENT_NORM_EPS)
            q = self.linear(name + ".q_b_proj", latent, trace)
        return q.reshape(len(x), self.config["num_attention_heads"], -1)

    def attention(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        cfg = self.config
        nope, rank = cfg["qk_nope_head_dim"], cfg["kv_lora_rank"]
        q = self.queries(name, x, trace)
        compressed = self.linear(name + ".kv_a_proj_with_mqa", x, trace)
        latent = self.rms_norm(name + ".kv_a_layernorm", compressed[:, :rank], LATENT_NORM_EPS)
        trace.latent_crests.append(crest(latent))
        kv = self.linear(name + ".kv_b_proj", latent, trace).reshape(len(x), cfg["num_attention_heads"], -1)
        k_rope = self.rotate(compressed[:, None, rank:])[:, 0]
        scores = np.einsum("qhd,khd->hqk", q[..., :nope], kv[..., :nope])
        scores += np.einsum("qhd,kd->hqk", self.rotate(q[..., nope:]), k_rope)
        unseen = np.triu(np.ones((len(x), len(x)), bool), 1)
        probs = softmax(np.where(unseen, -np.inf, scores * self.softmax_scale()))
        attended = np.einsum("hqk,khd->qhd", probs, kv[..., nope:]).reshape(len(x), -1)
        return self.linear(name + ".o_proj", attended, trace)

    # ---- experts -------------------------------------------------------------------------------------------------

    def choose(self, scores: np.ndarray, trace: Trace) -> np.ndarray:
        """[T, K] expert ids. scores is [T, E]."""
        cfg = self.config
        if cfg["topk_method"] == "group_limited_greedy":
            best = scores.reshape(len(scores), cfg["n_group"], -1).max(-1)
            kept = self.largest(best, cfg["topk_group"], trace)
            mask = np.zeros_like(best)
            np.put_along_axis(mask, kept, 1.0, 1)
            scores = scores * mask.repeat(cfg["n_routed_experts"] // cfg["n_group"], 1)
        return self.largest(scores, cfg["num_experts_per_tok"], trace)

    def largest(self, scores: np.ndarray, count: int, trace: Trace) -> np.ndarray:
        order = np.argsort(-scores, axis=1, kind="stable")
        last = scores[-1, order[-1]]
        trace.score_margin = min(trace.score_margin, last[count - 1] - last[count])
        return order[:, :count]

    def moe(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        cfg = self.config
        assert not cfg["norm_topk_prob"]
        scores = softmax(self.linear(name + ".gate", x, trace))
        chosen = self.choose(scores, trace)
        y = np.zeros_like(x)
        for expert in range(cfg["n_routed_experts"]):
            tokens = np.flatnonzero((chosen == expert).any(1))
            if len(tokens):
                weights = scores[tokens, expert] * cfg["routed_scaling_factor"]
                y[tokens] += weights[:, None] * self.mlp(f"{name}.experts.{expert}", x[tokens], trace)
        return y + self.mlp(name + ".shared_experts", x, trace) if cfg["n_shared_experts"] else y

    # ---- the model -----------------------------------------------------------------------------------------------

    def forward(self, ids: list[int], trace: Trace | None = None) -> np.ndarray:
        """Logits of every position, [T, vocab_size]."""
        cfg, trace = self.config, trace or Trace()
        eps = cfg["rms_norm_eps"]
        x = self.weights["model.embed_tokens.weight"][np.array(ids)]
        for layer in range(cfg["num_hidden_layers"]):
            name = f"model.layers.{layer}"
            x = x + self.attention(name + ".self_attn", self.rms_norm(name + ".input_layernorm", x, eps), trace)
            normed = self.rms_norm(name + ".post_attention_layernorm", x, eps)
            routed = layer >= cfg["first_k_dense_replace"] and layer % cfg["moe_layer_freq"] == 0
            x = x + (self.moe if routed else self.mlp)(name + ".mlp", normed, trace)
        return self.linear("lm_head", self.rms_norm("model.norm", x, eps), trace)
