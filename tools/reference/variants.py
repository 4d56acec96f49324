"""The tiny models behind tests/golden: what each config says, and how its random weights are scaled.

A variant isolates one or two points of the arithmetic. Sizes are as small as the point allows; odd numbers are on purpose.
"""

from dataclasses import dataclass, field

import torch

YARN = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 40,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 4096,
    "type": "yarn",
}

# V2-Lite's config.json with small numbers; every variant changes some of these keys.
BASE = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_deepseek.DeepseekV2Config",
        "AutoModel": "modeling_deepseek.DeepseekV2Model",
        "AutoModelForCausalLM": "modeling_deepseek.DeepseekV2ForCausalLM",
    },
    "aux_loss_alpha": 0.001,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "first_k_dense_replace": 1,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 112,
    "kv_lora_rank": 32,
    "max_position_embeddings": 163840,
    "model_type": "deepseek_v2",
    "moe_intermediate_size": 32,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_attention_heads": 4,
    "num_experts_per_tok": 3,
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "q_lora_rank": None,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": YARN,
    "rope_theta": 10000,
    "routed_scaling_factor": 1.0,
    "scoring_func": "softmax",
    "seq_aux": True,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "topk_method": "greedy",
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "v_head_dim": 16,
    "vocab_size": 160,
}
ABSENT = object()  # as a value: the key is left out of config.json

# Standard deviation of a weight is its gain / sqrt(number of inputs), chosen so that attention is neither flat nor one-hot
# and that each sublayer moves the residual stream about as much as the one before. Keys are regular expressions; a later match
# wins. The embedding and biases are not divided.
GAINS = {
    r"embed_tokens": 1.0,
    r"\.q_proj": 1.5,
    r"\.q_b_proj": 1.5,
    r"\.o_proj": 2.0,
    r"\.down_proj": 1.5,
    r"\.experts\.": 1.5,
    r"\.gate\.weight": 1.5,
    r"lm_head": 2.0,
}


@dataclass
class Variant:
    about: str
    changes: dict
    seed: int
    num_tokens: int = 24
    dtype: torch.dtype = torch.bfloat16
    gains: dict = field(default_factory=dict)
    greedy_count: int = 32
    shards: int = 1
    keep_activations: bool = False  # also store what every layer leaves behind

    def config(self) -> dict:
        merged = BASE | self.changes
        return {key: value for key, value in sorted(merged.items()) if value is not ABSENT}


def new_spelling(dtype: str, **rope) -> dict:
    """The keys as transformers 5 writes them."""
    return {
        "rope_scaling": ABSENT,
        "rope_theta": ABSENT,
        "torch_dtype": ABSENT,
        "auto_map": ABSENT,
        "dtype": dtype,
        "rope_parameters": YARN | {"rope_type": "yarn", "rope_theta": 10000.0} | rope,
        "transformers_version": "5.23.0",
    }


VARIANTS = {
    "lite_like": Variant(
        "V2-Lite in small: YaRN 40 with both mscale 0.707, 16 experts top 6, 2 shared, one dense layer; activations kept",
        {
            "hidden_size": 96,
            "intermediate_size": 176,
            "kv_lora_rank": 64,
            "n_routed_experts": 16,
            "num_experts_per_tok": 6,
            "qk_nope_head_dim": 32,
            "qk_rope_head_dim": 16,
            "v_head_dim": 32,
            "vocab_size": 256,
        },
        seed=1000,
        num_tokens=20,
        keep_activations=True,
    ),
    "q_lora_groups": Variant(
        "V2 236B in small: q-LoRA, 8 groups of which 3 kept, 32 experts top 6, scaling 16, mscale 1.0",
        {
            "q_lora_rank": 40,
            "topk_method": "group_limited_greedy",
            "n_group": 8,
            "topk_group": 3,
            "n_routed_experts": 32,
            "num_experts_per_tok": 6,
            "routed_scaling_factor": 16.0,
            "qk_rope_head_dim": 16,
            "vocab_size": 256,
            "rope_scaling": YARN | {"mscale": 1.0, "mscale_all_dim": 1.0},
        },
        seed=2000,
        gains={r"\.experts\.": 1.0, r"\.experts\.\d+\.down_proj": 0.5},
    ),
    "odd_sizes": Variant(
        "no size is a multiple of 8: tails of every kernel; float32; small latents and rms_norm_eps 1e-5, so that the "
        "fixed 1e-6 inside attention shows",
        {
            "hidden_size": 75,
            "intermediate_size": 91,
            "kv_lora_rank": 44,
            "q_lora_rank": 27,
            "moe_intermediate_size": 37,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "qk_nope_head_dim": 12,
            "qk_rope_head_dim": 10,
            "v_head_dim": 11,
            "n_routed_experts": 7,
            "num_experts_per_tok": 3,
            "n_shared_experts": 1,
            "vocab_size": 1003,
            "rms_norm_eps": 1e-05,
            "torch_dtype": "float32",
            "rope_theta": 10000.0,
        },
        seed=3000,
        num_tokens=37,
        dtype=torch.float32,
        gains={r"q_a_proj": 0.01, r"kv_a_proj": 0.01},
    ),
    "norm_topk_prob": Variant(
        "expert weights normalised, and then not scaled although a factor of 2.5 stands in the config",
        {"norm_topk_prob": True, "routed_scaling_factor": 2.5, "n_routed_experts": 12, "num_experts_per_tok": 4},
        seed=4000,
    ),
    "top_1_expert": Variant(
        "one expert per token: norm_topk_prob has then no effect and the scaling applies; no shared experts",
        {"norm_topk_prob": True, "routed_scaling_factor": 2.5, "num_experts_per_tok": 1, "n_shared_experts": None},
        seed=5000,
    ),
    "no_rope_scaling": Variant(
        "plain rope, base 50000, in the new spelling (rope_type default, dtype)",
        {
            "rope_scaling": ABSENT,
            "rope_theta": ABSENT,
            "torch_dtype": ABSENT,
            "dtype": "bfloat16",
            "head_dim": 12,
            "rope_parameters": {"rope_theta": 50000.0, "rope_type": "default"},
            "qk_rope_head_dim": 12,
        },
        seed=6000,
    ),
    "mscale_differs": Variant(
        "mscale 0.707 beside mscale_all_dim 1.0: cos and sin are scaled; original length 64, so that YaRN's lower bound "
        "is clamped and every position feels it",
        {
            "rope_scaling": YARN | {"mscale_all_dim": 1.0, "original_max_position_embeddings": 64},
            "qk_rope_head_dim": 16,
        },
        seed=7000,
    ),
    "mscale_only": Variant(
        "mscale_all_dim absent: no m^2 on the softmax, m(mscale) on cos and sin; base 500, so that YaRN's upper bound "
        "lies beyond the last pair",
        {
            "rope_scaling": {k: v for k, v in YARN.items() if k != "mscale_all_dim"},
            "rope_theta": 500,
            "qk_rope_head_dim": 16,
        },
        seed=8000,
    ),
    "first_k_dense_0": Variant(
        "every layer has experts; the method is spelt gready as in early files",
        {
            "first_k_dense_replace": 0,
            "topk_method": "gready",
            "n_group": ABSENT,
            "topk_group": ABSENT,
            "seq_aux": ABSENT,
        },
        seed=9000,
    ),
    "first_k_dense_2": Variant(
        "first_k_dense_replace 2 and moe_layer_freq 3 in 5 layers: only layer 3 has experts",
        {"first_k_dense_replace": 2, "moe_layer_freq": 3, "num_hidden_layers": 5},
        seed=10000,
    ),
    "dense_only": Variant(
        "no experts at all; rope_scaling null, integers where floats are meant",
        {
            "n_routed_experts": None,
            "n_shared_experts": None,
            "num_experts_per_tok": None,
            "moe_intermediate_size": None,
            "topk_method": None,
            "n_group": None,
            "topk_group": None,
            "rope_scaling": None,
            "rope_theta": 10000,
            "routed_scaling_factor": 1,
        },
        seed=11000,
    ),
    "attention_bias": Variant(
        "biases on q_a_proj, kv_a_proj_with_mqa and o_proj",
        {"attention_bias": True, "q_lora_rank": 24},
        seed=12000,
        gains={r"\.bias": 0.5},
    ),
    "new_spelling_sharded": Variant(
        "config as transformers 5 writes it, model_type deepseekv2, float16, two shards; beta_fast = beta_slow = 1",
        new_spelling("float16", beta_fast=1, beta_slow=1, factor=32.0) | {"model_type": "deepseekv2", "head_dim": 8},
        seed=13000,
        dtype=torch.float16,
        shards=2,
    ),
    "fp16_overflow": Variant(
        "float16 weights whose residual stream leaves float16's range (65504) while the logits stay small",
        {"torch_dtype": "float16"},
        seed=14000,
        dtype=torch.float16,
        gains={
            r"embed_tokens": 8e3,
            r"\.o_proj": 4e4,
            r"\.down_proj": 4e4,
            r"\.experts\..*(gate|up)_proj": 1.0,
            r"\.experts\..*down_proj": 4e4,
        },
    ),
    "long_positions": Variant(
        "4250 tokens: positions beyond original_max_position_embeddings 4096, attention over all of them",
        {
            "hidden_size": 48,
            "intermediate_size": 80,
            "kv_lora_rank": 24,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "qk_rope_head_dim": 16,
            "vocab_size": 96,
            "first_k_dense_replace": 2,
        },
        seed=15000,
        num_tokens=4250,
        gains={r"\.q_proj": 1.5},
    ),
}
