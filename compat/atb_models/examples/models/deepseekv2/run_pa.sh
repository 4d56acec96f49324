#!/bin/bash
# Dialogue test. Exported variables are respected: ASCEND_RT_VISIBLE_DEVICES, MASTER_PORT and those of docs/from-the-seed.md.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/run_pa.py" "$@"
