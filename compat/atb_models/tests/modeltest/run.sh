#!/bin/bash
# run.sh pa_fp16|pa_bf16|fa MODE ...: the grammar is in docs/from-the-seed.md, and in what it prints for --help.
export MODELTEST_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
exec python3 "$MODELTEST_DIR/modeltest.py" "$@"
