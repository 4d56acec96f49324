"""DeepSeek-V2 language model in plain PyTorch, written for reading and for CPU training.

Multi-head latent attention without the query compression, interleaved RoPE with YaRN, and
a mixture of experts with a softmax router and greedy top-k. Master weights are float32;
`compute_dtype` is the type of the matrix products and of the activations between them.
"""

import math
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class YarnConfig:
    type: str = "yarn"
    factor: float = 4.0
    original_max_position_embeddings: int = 1024
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 0.707
    mscale_all_dim: float = 0.707


@dataclass
class ModelConfig:
    vocab_size: int = 8192
    hidden_size: int = 256
    intermediate_size: int = 768
    moe_intermediate_size: int = 256
    num_hidden_layers: int = 5
    first_k_dense_replace: int = 1
    num_attention_heads: int = 8
    kv_lora_rank: int = 128
    qk_nope_head_dim: int = 32
    qk_rope_head_dim: int = 32
    v_head_dim: int = 32
    n_routed_experts: int = 16
    num_experts_per_tok: int = 2
    n_shared_experts: int = 1
    routed_scaling_factor: float = 2.0
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 4096
    bos_token_id: int = 8190
    eos_token_id: int = 8191
    rope_scaling: YarnConfig = field(default_factory=YarnConfig)

    @property
    def qk_head_dim(self) -> int:
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "ModelConfig":
        """Reads the fields this model knows from a config.json dictionary."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        yarn = {name: known["rope_scaling"][name] for name in YarnConfig.__dataclass_fields__}
        return cls(**{**known, "rope_scaling": YarnConfig(**yarn)})


# ---------------------------------------------------------------- rotary positions

def yarn_magnitude(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1.0 else 1.0


def yarn_frequencies(config: ModelConfig) -> Tensor:
    """Angle per position of each rotated pair: slow pairs are divided by the YaRN factor."""
    dim, base, yarn = config.qk_rope_head_dim, config.rope_theta, config.rope_scaling

    def pair_of_rotations(rotations: float) -> float:
        length = yarn.original_max_position_embeddings
        return dim * math.log(length / (2 * math.pi * rotations)) / (2 * math.log(base))

    low = max(math.floor(pair_of_rotations(yarn.beta_fast)), 0)
    high = min(math.ceil(pair_of_rotations(yarn.beta_slow)), dim - 1)
    if low == high:
        high += 0.001
    pair = torch.arange(dim // 2, dtype=torch.float32)
    plain = base ** (-2.0 * pair / dim)
    ramp = ((pair - low) / (high - low)).clamp(0.0, 1.0)
    return plain / yarn.factor * ramp + plain * (1.0 - ramp)


def rotary_tables(config: ModelConfig, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, float32, [length, rope dim / 2]."""
    yarn = config.rope_scaling
    magnitude = yarn_magnitude(yarn.factor, yarn.mscale) / yarn_magnitude(yarn.factor, yarn.mscale_all_dim)
    positions = torch.arange(length, dtype=torch.float32)
    angles = torch.outer(positions, yarn_frequencies(config))
    return angles.cos() * magnitude, angles.sin() * magnitude


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Interleaved RoPE: dimensions (2j, 2j+1) turn together. x is [batch, time, heads, rope dim]."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[:, None, :], sin[:, None, :]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def softmax_scale(config: ModelConfig) -> float:
    yarn = config.rope_scaling
    magnitude = yarn_magnitude(yarn.factor, yarn.mscale_all_dim) if yarn.mscale_all_dim else 1.0
    return config.qk_head_dim**-0.5 * magnitude * magnitude


# ---------------------------------------------------------------- parts

def linear(x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x, weight.to(x.dtype))


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        x = x.float()
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return x.to(dtype) * self.weight.to(dtype)


class Matrix(nn.Module):
    """A bias-free projection [out, in]."""

    def __init__(self, out_features: int, in_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over the past, in blocks of queries to skip keys of the future."""
    time, block = q.shape[2], 128
    mixed = []
    for start in range(0, time, block):
        end = min(start + block, time)
        scores = (q[:, :, start:end] @ k[:, :, :end].transpose(2, 3)).float()
        future = torch.ones(end - start, end, dtype=torch.bool, device=q.device).triu(start + 1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1).to(v.dtype)
        mixed.append(weights @ v[:, :, :end])
    return torch.cat(mixed, dim=2) if len(mixed) > 1 else mixed[0]


class Attention(nn.Module):
    KV_NORM_EPS = 1e-6  # fixed in the family, whatever rms_norm_eps says

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        c, heads = config, config.num_attention_heads
        self.q_proj = Matrix(heads * c.qk_head_dim, c.hidden_size)
        self.kv_a_proj_with_mqa = Matrix(c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size)
        self.kv_a_layernorm = RMSNorm(c.kv_lora_rank, self.KV_NORM_EPS)
        self.kv_b_proj = Matrix(heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank)
        self.o_proj = Matrix(c.hidden_size, heads * c.v_head_dim)
        self.scale = softmax_scale(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        c = self.config
        batch, time, _ = x.shape
        q = self.q_proj(x).view(batch, time, c.num_attention_heads, c.qk_head_dim)
        q_nope, q_rope = q.split((c.qk_nope_head_dim, c.qk_rope_head_dim), dim=-1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split((c.kv_lora_rank, c.qk_rope_head_dim), dim=-1)
        kv = self.kv_b_proj(self.kv_a_layernorm(latent, x.dtype))
        kv = kv.view(batch, time, c.num_attention_heads, c.qk_nope_head_dim + c.v_head_dim)
        k_nope, v = kv.split((c.qk_nope_head_dim, c.v_head_dim), dim=-1)

        k_rope = rotate(k_rope[:, :, None, :], cos, sin)  # one rotated key part for all heads
        k_rope = k_rope.expand(-1, -1, c.num_attention_heads, -1)
        q = torch.cat((q_nope, rotate(q_rope, cos, sin)), dim=-1).transpose(1, 2)
        k = torch.cat((k_nope, k_rope), dim=-1).transpose(1, 2)

        mixed = causal_attention(q * self.scale, k, v.transpose(1, 2))
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, time, -1))


ROWS = 32  # granularity of the rows given to one expert


def swiglu(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


class FeedForward(nn.Module):
    """down(silu(gate x) * up x); gate and up are stored as one matrix [2 width, hidden]."""

    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate_up = Matrix(2 * width, hidden)
        self.down_proj = Matrix(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_up(x)))


class Dispatch(torch.autograd.Function):
    """Copies tokens into expert order: out[i] = x[source[i]]; slot j of x lies at out[place[j]]."""

    @staticmethod
    def forward(ctx, x: Tensor, source: Tensor, place: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(place)
        ctx.k = k
        return x.index_select(0, source)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (place,) = ctx.saved_tensors
        return grad.index_select(0, place).unflatten(0, (-1, ctx.k)).sum(1), None, None, None


class Collect(torch.autograd.Function):
    """The way back: out[j] = y[place[j]]; rows of y that no slot uses get no gradient."""

    @staticmethod
    def forward(ctx, y: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.rows = y.shape[0]
        return y.index_select(0, place)

    @staticmethod
    def backward(ctx, grad: Tensor):
        (place,) = ctx.saved_tensors
        return grad.new_zeros(ctx.rows, grad.shape[1]).index_copy_(0, place, grad), None


def weighted_sum(slots: Tensor, weights: Tensor) -> Tensor:
    return (slots.float() * weights[:, :, None]).sum(1)


class MixtureOfExperts(nn.Module):
    def __init__(self, config: ModelConfig):
        super().__init__()
        c = config
        self.config = c
        self.router = nn.Parameter(torch.empty(c.n_routed_experts, c.hidden_size))
        self.gate_up = nn.Parameter(torch.empty(c.n_routed_experts, 2 * c.moe_intermediate_size, c.hidden_size))
        self.down = nn.Parameter(torch.empty(c.n_routed_experts, c.hidden_size, c.moe_intermediate_size))
        self.shared_experts = FeedForward(c.hidden_size, c.n_shared_experts * c.moe_intermediate_size)
        self.activate, self.mix = swiglu, weighted_sum
        self.balance_loss: Tensor | None = None  # of the last call, for training
        self.load: Tensor | None = None  # share of slots per expert in the last call

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Experts and weights per token; float32, raw softmax values times the scaling factor."""
        c = self.config
        scores = F.linear(x.float(), self.router).softmax(-1)
        weights, experts = scores.topk(c.num_experts_per_tok, dim=-1, sorted=False)
        counts = torch.bincount(experts.flatten(), minlength=c.n_routed_experts)
        self.load = counts / experts.numel()
        self.balance_loss = c.n_routed_experts * (self.load * scores.mean(0)).sum()
        return experts, weights * c.routed_scaling_factor

    def forward(self, x: Tensor) -> Tensor:
        k = self.config.num_experts_per_tok
        tokens = x.reshape(-1, x.shape[-1])
        experts, weights = self.route(tokens)
        source, place, rows = self.sort_by_expert(experts)

        slots = Dispatch.apply(tokens, source, place, k)
        slots = self.per_expert(slots, rows, self.gate_up)
        slots = self.per_expert(self.activate(slots), rows, self.down)
        slots = Collect.apply(slots, place).unflatten(0, (-1, k))
        mixed = self.mix(slots, weights).to(x.dtype)
        return mixed.view_as(x) + self.shared_experts(x)

    def sort_by_expert(self, experts: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Token of each row, row of each slot, rows per expert.

        The rows of an expert are filled up to a multiple of ROWS (with token 0, result unused):
        few distinct matrix sizes mean few kernels for the matrix library to generate.
        """
        slot_expert, order = experts.flatten().sort(stable=True)
        counts = torch.bincount(slot_expert, minlength=self.config.n_routed_experts)
        padded = (counts + ROWS - 1) // ROWS * ROWS
        shift = (padded.cumsum(0) - padded) - (counts.cumsum(0) - counts)
        row = torch.arange(order.numel(), device=order.device) + shift[slot_expert]
        place = torch.empty_like(order)
        place[order] = row
        rows = padded.tolist()
        source = order.new_zeros(sum(rows))
        source[row] = order // experts.shape[1]
        return source, place, rows

    @staticmethod
    def per_expert(slots: Tensor, rows: list[int], weights: Tensor) -> Tensor:
        matrices = weights.to(slots.dtype).unbind(0)
        return torch.cat([part @ matrix.t() for part, matrix in zip(slots.split(rows), matrices)])


class Layer(nn.Module):
    def __init__(self, config: ModelConfig, index: int):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        if index < config.first_k_dense_replace:
            self.mlp = FeedForward(config.hidden_size, config.intermediate_size)
        else:
            self.mlp = MixtureOfExperts(config)

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Residual stream after attention, and the input of the feed-forward part."""
        x = x + self.self_attn(self.input_layernorm(x, dtype), cos, sin)
        return x, self.post_attention_layernorm(x, dtype)


class DeepseekV2(nn.Module):
    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32):
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype
        self.embed_tokens = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        cos, sin = rotary_tables(config, config.max_position_embeddings)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def hidden(self, ids: Tensor) -> Tensor:
        """Normalised hidden states, [batch, time, hidden]. The residual stream is float32."""
        time = ids.shape[1]
        cos, sin = self.cos[:time], self.sin[:time]
        x = F.embedding(ids, self.embed_tokens)
        for layer in self.layers:
            x, normed = layer.attend(x, cos, sin, self.compute_dtype)
            x = x + layer.mlp(normed)
        return self.norm(x, self.compute_dtype)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, float32, [batch, time, vocabulary]."""
        return linear(self.hidden(ids), self.lm_head).float()

    def initialise(self, generator: torch.Generator) -> None:
        """Projections into the residual stream start at zero, the others scaled by fan-in."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            if name in ("embed_tokens", "lm_head") or name.endswith("router"):
                deviation = {"embed_tokens": 0.5, "lm_head": 0.02}.get(name, 0.02)
            elif name.endswith(("o_proj.weight", "down_proj.weight", "mlp.down")):
                deviation = 0.0
            else:
                deviation = 0.6 * parameter.shape[-1] ** -0.5
            with torch.no_grad():
                parameter.normal_(0.0, deviation, generator=generator)


def compile_parts(model: DeepseekV2) -> None:
    """Fuses the element-wise work; the expert loop with its changing sizes stays eager."""
    for layer in model.layers:
        layer.attend = torch.compile(layer.attend, dynamic=False)
        if isinstance(layer.mlp, MixtureOfExperts):
            layer.mlp.activate = torch.compile(swiglu, dynamic=True)
            layer.mlp.mix = torch.compile(weighted_sum)


def count_parameters(model: DeepseekV2) -> tuple[int, int]:
    """Total, and active per token: without the unchosen experts and the embedding table."""
    c = model.config
    total = sum(p.numel() for p in model.parameters())
    experts = sum(
        layer.mlp.gate_up.numel() + layer.mlp.down.numel()
        for layer in model.layers
        if isinstance(layer.mlp, MixtureOfExperts)
    )
    unused = experts * (c.n_routed_experts - c.num_experts_per_tok) // c.n_routed_experts
    return total, total - unused - model.embed_tokens.numel()
