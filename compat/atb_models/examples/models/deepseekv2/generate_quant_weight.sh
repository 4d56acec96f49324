#!/bin/bash
# generate_quant_weight.sh -src FLOAT -dst OUT -type deepseekv2_w8a16|deepseekv2_w8a8_dynamic|deepseekv2_lite_... [-trust_remote_code]
exec python3 "$(dirname "${BASH_SOURCE[0]}")/generate_quant_weight.py" "$@"
