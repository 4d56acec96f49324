# source set_env.sh: as the seed's, before its scripts. Nothing here depends on it; it only says which fathom they use.
FATHOM_COMPAT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ -z "$FATHOM_BIN" ] && [ -x "$FATHOM_COMPAT_DIR/../../build/release/fathom" ]; then
    export FATHOM_BIN="$FATHOM_COMPAT_DIR/../../build/release/fathom"
fi
