"""DeepSeek-V2 in plain torch, written to be read.

One sequence, no cache, no batching, no tricks: every step of the arithmetic is one short method, so that an engine can
be held against it line by line, and so that a test can replace one method to see what a single wrong formula does.
Weights are read in the type the checkpoint stores and converted to `dtype` (float32 for every golden file).

It follows the code that DeepSeek published beside the checkpoints. Where other implementations differ is said at the
line in question, and measured in check_transformers.py.

Letters in shapes: T tokens, D hidden, H heads, R latent rank (kv_lora_rank), E routed experts, K experts per token.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file

# The two norms inside attention are built without an eps argument in the published code: rms_norm_eps never reaches them.
LATENT_NORM_EPS = 1e-6


@dataclass
class Config:
    """The fields of config.json that the arithmetic depends on, under the checkpoint's own names."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None = None
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: dict | None = None
    attention_bias: bool = False
    n_routed_experts: int | None = None
    n_shared_experts: int | None = None
    num_experts_per_tok: int | None = None
    moe_intermediate_size: int | None = None
    first_k_dense_replace: int = 0
    moe_layer_freq: int = 1
    topk_method: str = "greedy"
    n_group: int | None = None
    topk_group: int | None = None
    norm_topk_prob: bool = False
    routed_scaling_factor: float = 1.0

    @classmethod
    def from_dict(cls, raw: dict) -> "Config":
        """Accepts both spellings of the rope keys; `rope_scaling` comes out as None where there is no scaling."""
        fields = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        scaling = raw.get("rope_parameters") or raw.get("rope_scaling")
        if scaling:
            fields["rope_theta"] = scaling.get("rope_theta", raw.get("rope_theta", 10000.0))
            kind = scaling.get("rope_type", scaling.get("type", "default"))
            assert kind in ("default", "yarn"), kind
            fields["rope_scaling"] = scaling if kind == "yarn" else None
        return cls(**fields)

    @classmethod
    def load(cls, folder: Path) -> "Config":
        return cls.from_dict(json.loads((Path(folder) / "config.json").read_text()))


def load_weights(folder: Path, dtype=torch.float32) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint folder, one file or sharded, converted to `dtype`."""
    folder = Path(folder)
    index = folder / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    weights = {}
    for name in names:
        weights.update(load_file(folder / name))
    return {name: tensor.to(dtype) for name, tensor in weights.items()}


@dataclass
class Trace:
    """What a forward pass leaves behind for debugging and for the margin check."""

    hidden: list[torch.Tensor] = field(default_factory=list)  # after each layer, [T, D]
    final_norm: torch.Tensor | None = None  # [T, D]
    experts: dict[int, torch.Tensor] = field(default_factory=dict)  # layer -> [T, K], ids ascending
    expert_weights: dict[int, torch.Tensor] = field(default_factory=dict)  # layer -> [T, K], in the same order
    score_margin: float = math.inf  # least distance between a chosen and the best rejected score, experts and groups
    logit_margin: float = math.inf  # the same distance between logarithms of scores


def yarn_m(factor: float, mscale: float) -> float:
    """YaRN's magnitude: 0.1 * mscale * ln(factor) + 1, and 1 where nothing is stretched."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


class DeepseekV2:
    def __init__(self, config: Config, weights: dict[str, torch.Tensor]):
        self.config = config
        self.weights = weights

    @classmethod
    def load(cls, folder: Path, dtype=torch.float32) -> "DeepseekV2":
        return cls(Config.load(folder), load_weights(folder, dtype))

    # ---- linear pieces -------------------------------------------------------------------------------------------

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def rms_norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        return normed * self.weights[name + ".weight"]

    def mlp(self, name: str, x: torch.Tensor) -> torch.Tensor:
        gate = torch.nn.functional.silu(self.linear(name + ".gate_proj", x))
        return self.linear(name + ".down_proj", gate * self.linear(name + ".up_proj", x))

    # ---- rotary positions ----------------------------------------------------------------------------------------

    def inv_freq(self, dtype=torch.float32) -> torch.Tensor:
        """[qk_rope_head_dim / 2], the angle per position of each pair; float32 whatever the other arithmetic is."""
        cfg, dim = self.config, self.config.qk_rope_head_dim
        period = cfg.rope_theta ** (torch.arange(0, dim, 2, dtype=dtype) / dim)
        plain = 1.0 / period
        if cfg.rope_scaling is None:
            return plain
        stretched = 1.0 / (cfg.rope_scaling["factor"] * period)
        low, high = self.yarn_range()
        ramp = ((torch.arange(dim // 2, dtype=dtype) - low) / (high - low)).clamp(0, 1)
        return stretched * ramp + plain * (1 - ramp)

    def yarn_range(self) -> tuple[float, float]:
        """The pairs between which YaRN goes over from untouched to fully stretched."""
        cfg, dim, yarn = self.config, self.config.qk_rope_head_dim, self.config.rope_scaling
        length = yarn.get("original_max_position_embeddings", 4096)

        def pair_of(turns: float) -> float:  # the pair that makes so many turns within the original length
            return dim * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(cfg.rope_theta))

        low = max(math.floor(pair_of(yarn.get("beta_fast", 32))), 0)
        high = min(math.ceil(pair_of(yarn.get("beta_slow", 1))), dim - 1)  # dim - 1, not dim / 2 - 1
        return low, high + 0.001 if low == high else high

    def rope_magnitude(self) -> float:
        """Factor on cos and sin. 1 where mscale and mscale_all_dim agree; an absent mscale_all_dim counts as 0."""
        yarn = self.config.rope_scaling
        if yarn is None:
            return 1.0
        return yarn_m(yarn["factor"], yarn.get("mscale", 1)) / yarn_m(yarn["factor"], yarn.get("mscale_all_dim", 0))

    def softmax_scale(self) -> float:
        """The usual 1/sqrt(head dim), times m^2 of mscale_all_dim (not of mscale)."""
        cfg, yarn = self.config, self.config.rope_scaling
        scale = (cfg.qk_nope_head_dim + cfg.qk_rope_head_dim) ** -0.5
        if yarn and yarn.get("mscale_all_dim", 0):
            scale *= yarn_m(yarn["factor"], yarn["mscale_all_dim"]) ** 2
        return scale

    def rope_angles(self, num_tokens: int) -> torch.Tensor:
        """[T, qk_rope_head_dim / 2] float32: the product is rounded to float32, which shows at long positions."""
        return torch.arange(num_tokens, dtype=torch.float32)[:, None] * self.inv_freq()

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """x is [T, heads, qk_rope_head_dim]. Neighbours (2j, 2j+1) are one complex number turned by t * inv_freq[j]."""
        angles = self.rope_angles(x.shape[0])
        cos = (angles.cos() * self.rope_magnitude()).to(x.dtype)[:, None, :]
        sin = (angles.sin() * self.rope_magnitude()).to(x.dtype)[:, None, :]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)

    # ---- attention -----------------------------------------------------------------------------------------------

    def queries(self, name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, H, qk_nope_head_dim] and, not yet rotated, [T, H, qk_rope_head_dim]."""
        cfg = self.config
        if cfg.q_lora_rank is None:
            q = self.linear(name + ".q_proj", x)
        else:
            latent = self.linear(name + ".q_a_proj", x)
            q = self.linear(name + ".q_b_proj", self.rms_norm(name + ".q_a_layernorm", latent, LATENT_NORM_EPS))
        q = q.view(x.shape[0], cfg.num_attention_heads, cfg.qk_nope_head_dim + cfg.qk_rope_head_dim)
        return q.split([cfg.qk_nope_head_dim, cfg.qk_rope_head_dim], dim=-1)

    def keys_and_values(self, name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[T, H, qk_nope_head_dim], not yet rotated [T, 1, qk_rope_head_dim], and [T, H, v_head_dim]."""
        cfg = self.config
        compressed = self.linear(name + ".kv_a_proj_with_mqa", x)
        latent, k_rope = compressed.split([cfg.kv_lora_rank, cfg.qk_rope_head_dim], dim=-1)
        latent = self.rms_norm(name + ".kv_a_layernorm", latent, LATENT_NORM_EPS)  # k_rope stays as it is
        kv = self.linear(name + ".kv_b_proj", latent)
        kv = kv.view(x.shape[0], cfg.num_attention_heads, cfg.qk_nope_head_dim + cfg.v_head_dim)
        k_nope, v = kv.split([cfg.qk_nope_head_dim, cfg.v_head_dim], dim=-1)
        return k_nope, k_rope[:, None, :], v

    def unseen(self, num_tokens: int) -> torch.Tensor:
        """[T, T] true where a query (row) must not see a key (column): everything later than itself."""
        return torch.ones(num_tokens, num_tokens, dtype=torch.bool).triu(1)

    def attention(self, name: str, x: torch.Tensor) -> torch.Tensor:
        q_nope, q_rope = self.queries(name, x)
        k_nope, k_rope, v = self.keys_and_values(name, x)
        q_rope, k_rope = self.rotate(q_rope), self.rotate(k_rope)[:, 0, :]
        scores = torch.einsum("qhd,khd->hqk", q_nope, k_nope) + torch.einsum("qhd,kd->hqk", q_rope, k_rope)
        probs = (scores * self.softmax_scale()).masked_fill(self.unseen(x.shape[0]), -math.inf).softmax(-1)
        return self.linear(name + ".o_proj", torch.einsum("hqk,khd->qhd", probs, v).flatten(1))

    # ---- experts -------------------------------------------------------------------------------------------------

    def is_moe_layer(self, layer: int) -> bool:
        cfg = self.config
        return (
            cfg.n_routed_experts is not None and layer >= cfg.first_k_dense_replace and layer % cfg.moe_layer_freq == 0
        )

    def kept_groups(self, scores: torch.Tensor) -> torch.Tensor:
        """[T, n_group] true for the groups whose best expert is among the topk_group best."""
        best = scores.view(scores.shape[0], self.config.n_group, -1).amax(-1)
        kept = torch.zeros_like(best, dtype=torch.bool)
        return kept.scatter(1, best.topk(self.config.topk_group, dim=-1).indices, True)

    def choose(self, scores: torch.Tensor) -> torch.Tensor:
        """[T, K] expert ids, best first."""
        cfg = self.config
        if cfg.topk_method == "group_limited_greedy":
            kept = self.kept_groups(scores).repeat_interleave(cfg.n_routed_experts // cfg.n_group, dim=1)
            scores = scores.masked_fill(~kept, 0.0)
        else:
            assert cfg.topk_method in ("greedy", "gready"), cfg.topk_method  # early files misspell it
        return scores.topk(cfg.num_experts_per_tok, dim=-1).indices

    def weigh(self, chosen_scores: torch.Tensor) -> torch.Tensor:
        """Either normalised or scaled, never both, and a single expert is never normalised."""
        cfg = self.config
        if cfg.norm_topk_prob and cfg.num_experts_per_tok > 1:
            return chosen_scores / (chosen_scores.sum(-1, keepdim=True) + 1e-20)
        return chosen_scores * cfg.routed_scaling_factor

    def moe(self, name: str, x: torch.Tensor, layer: int, trace: Trace | None) -> torch.Tensor:
        scores = self.linear(name + ".gate", x).softmax(-1)  # [T, E], over all experts, before the choice
        chosen = self.choose(scores).sort(-1).values
        weights = self.weigh(scores.gather(1, chosen))
        y = torch.zeros_like(x)
        for expert in range(self.config.n_routed_experts):
            token, slot = torch.where(chosen == expert)
            if len(token):
                y[token] += weights[token, slot, None] * self.mlp(f"{name}.experts.{expert}", x[token])
        if trace is not None:
            trace.experts[layer], trace.expert_weights[layer] = chosen, weights
            self.note_margins(scores, chosen, trace)
        # One MLP of width n_shared_experts * moe_intermediate_size, without a gate and without scaling.
        return y + self.mlp(name + ".shared_experts", x) if self.config.n_shared_experts else y

    def note_margins(self, scores: torch.Tensor, chosen: torch.Tensor, trace: Trace) -> None:
        """How far the nearest change of a routing decision is, over all tokens."""
        cfg = self.config
        pairs = []
        if cfg.topk_method == "group_limited_greedy":
            best = scores.view(scores.shape[0], cfg.n_group, -1).amax(-1).sort(-1, descending=True).values
            pairs.append((best[:, cfg.topk_group - 1], best[:, cfg.topk_group]))
            kept = self.kept_groups(scores).repeat_interleave(cfg.n_routed_experts // cfg.n_group, dim=1)
            scores = scores.masked_fill(~kept, 0.0)
        worst_chosen = scores.gather(1, chosen).amin(-1)
        pairs.append((worst_chosen, scores.scatter(1, chosen, 0.0).amax(-1)))
        for taken, left in pairs:
            trace.score_margin = min(trace.score_margin, (taken - left).min().item())
            trace.logit_margin = min(trace.logit_margin, (taken.log() - left.log()).min().item())

    # ---- the model -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def forward(self, ids: list[int], trace: Trace | None = None) -> torch.Tensor:
        """Logits of every position, [T, vocab_size]."""
        cfg = self.config
        x = self.weights["model.embed_tokens.weight"][torch.tensor(ids)]
        for layer in range(cfg.num_hidden_layers):
            name = f"model.layers.{layer}"
            x = x + self.attention(name + ".self_attn", self.rms_norm(name + ".input_layernorm", x, cfg.rms_norm_eps))
            normed = self.rms_norm(name + ".post_attention_layernorm", x, cfg.rms_norm_eps)
            if self.is_moe_layer(layer):
                x = x + self.moe(name + ".mlp", normed, layer, trace)
            else:
                x = x + self.mlp(name + ".mlp", normed)
            if trace is not None:
                trace.hidden.append(x)
        x = self.rms_norm("model.norm", x, cfg.rms_norm_eps)
        if trace is not None:
            trace.final_norm = x
        return self.linear("lm_head", x)

    def greedy(self, ids: list[int], count: int) -> tuple[list[int], float, Trace]:
        """`count` tokens after `ids`, never stopping, with the least distance between the best and second logit.

        Each step runs the whole sequence again. The trace is that of the last and longest run, and so covers every
        token but the last.
        """
        out, margin, trace = [], math.inf, Trace()
        for _ in range(count):
            trace = Trace()
            best = self.forward(ids + out, trace)[-1].topk(2)
            margin = min(margin, (best.values[0] - best.values[1]).item())
            out.append(best.indices[0].item())
        return out, margin, trace
