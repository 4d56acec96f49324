#!/usr/bin/env bash
# Builds, tests and measures the CUDA backend on a machine with a GPU, and prints the table of docs/performance.md:
# one command of at most eight minutes, without a network. It needs the CUDA toolkit, g++, CMake, ninja or make, Python 3,
# and the libraries of install_dependencies.sh, or in their place build/gpu_bundle.tar.xz, which gpu_bundle.sh made elsewhere.
#
#   tools/gpu_check.sh [FOLDER]              results go to FOLDER (build/gpu_check): table.txt, table.json, a log a phase
#   tools/gpu_check.sh --rehearse [FOLDER]   the same phases with a tiny model on the emulated device: tries this script out
#
# Each phase has a time limit, and one that fails does not keep the next from running. Random models of 57 GB in all are
# written beside the other phases, to memory where there is room, else to FOLDER, and removed once measured.
#
#   FATHOM_CHECK_SECONDS   of all phases, default 470
#   FATHOM_CHECK_BUILD     the build folder, default build/gpu
#   FATHOM_CHECK_MODELS    where the models are written
set -uo pipefail
cd "$(dirname "$0")/.."

rehearses=
if [ "${1-}" = --rehearse ]; then
  rehearses=yes
  shift
fi
out=${1:-build/gpu_check}
build=${FATHOM_CHECK_BUILD:-build/gpu}
end=$((SECONDS + ${FATHOM_CHECK_SECONDS:-470}))
rm -rf "$out"
mkdir -p "$out"
out=$(realpath "$out")

config=deepseek-v2-lite
types='w8a8-dynamic auto w4a8-dynamic'
fathom=$build/fathom
kernel_test=$build/tests/cuda_device_test
golden_test=$build/tests/cuda_device_golden_test
single='--pairs 2048x128 --batch 1 --repeat 3'
batches='--pairs 1024x32 --batch 64,256'
demo='--pairs 64x256 --batch 1'
kernel_bench='--seconds 0.02'
step_tokens=2048
many_heads=deepseek-v2
if [ -n "$rehearses" ]; then
  config=$out/tiny.json
  fathom=$build/fathom_emulated
  kernel_test=$build/src/fathom_kernels_test
  golden_test=$build/tests/cuda_golden_test
  single='--pairs 20x3 --batch 1'
  batches='--pairs 10x2 --batch 2,3'
  demo='--pairs 4x2 --batch 1 --max-num-batched-tokens 8'
  step_tokens=16
  kernel_bench='--tokens 1,20 --contexts 40 --seconds 0.0001'
  many_heads=$config
  sed -e 's/"hidden_size": *[0-9]*/"hidden_size": 64/' -e 's/"num_hidden_layers": *[0-9]*/"num_hidden_layers": 2/' \
    tests/golden/lite_like/config.json >"$config"
fi

# phase NAME LIMIT: runs the function NAME for at most LIMIT seconds, and no longer than what is left of all.
phase() {
  local name=$1 limit=$2 begin=$SECONDS left=$((end - SECONDS)) status result
  if [ "$left" -lt 5 ]; then
    result='left out: no time'
  else
    timeout -k 5 "$((limit < left ? limit : left))" bash -c "$functions; $name" >"$out/$name.log" 2>&1
    status=$?
    case $status in
      0) result=ok ;;
      77) result="skipped: $(tail -n 1 "$out/$name.log")" ;;
      124 | 137) result='stopped at its time limit' ;;
      *) result="FAILED with status $status, see $name.log" ;;
    esac
  fi
  printf '%-14s %4d s   %s\n' "$name" "$((SECONDS - begin))" "$result"
  printf '%s\t%d\t%s\n' "$name" "$((SECONDS - begin))" "$result" >>"$out/phases.tsv"
}

facts() {
  git rev-parse HEAD || true
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit --format=csv || true
  nvcc --version || /usr/local/cuda/bin/nvcc --version || true
  g++ --version
  cmake --version
  uname -a
  nproc
  free -g
  df -h . /dev/shm
}

# Of the GPU here: nvcc takes its time for each.
architecture() {
  local capability
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
  echo "${capability/#90/90a}"
}

# With the libraries that are installed, else with those of the bundle.
configure() {
  local options=(--preset release -B "$build" -Wno-dev -DFATHOM_CUDA="$([ -n "$rehearses" ] && echo AUTO || echo ON)")
  command -v ninja || options+=(-G 'Unix Makefiles')
  local capability
  capability=$(architecture)
  if [ -z "$rehearses" ]; then options+=(-DFATHOM_WERROR=OFF ${capability:+-DFATHOM_CUDA_ARCHITECTURES="$capability"}); fi
  cmake "${options[@]}" && return
  local bundle=$PWD/build/gpu_bundle
  if ! [ -e "$bundle.tar.xz" ]; then
    echo "libraries are missing: install them (tools/install_dependencies.sh), or bring the file of tools/gpu_bundle.sh"
    return 1
  fi
  rm -rf "$build" "$bundle"
  mkdir -p build
  python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall("build")' "$bundle.tar.xz" || return
  cmake "${options[@]}" -DCMAKE_PREFIX_PATH="$bundle" -DPKG_CONFIG_EXECUTABLE="$bundle/bin/pkg-config"
}

build_program() { cmake --build "$build" --parallel "$(nproc)" --target "$(basename "$fathom")"; }
build_tests() {
  local targets=("$(basename "$kernel_test")" "$(basename "$golden_test")")
  if [ -z "$rehearses" ]; then targets+=(cuda_product_families_test gpu_ranks_test); fi
  cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}"
}

# Random models, the most wanted first; one is written when there is room for it, and complete when TYPE.done is there.
write_models() {
  local type
  for type in $types; do
    while [ "$(free_gigabytes "$models")" -lt "$(gigabytes_of "$type")" ]; do sleep 1; done
    "$fathom" synth "$config" "$models/$type" --type "$type" && touch "$models/$type.done"
  done
}
free_gigabytes() { df --output=avail -BG "$1" | tail -n 1 | tr -dc 0-9; }
gigabytes_of() {
  if [ -n "$rehearses" ]; then echo 1; return; fi
  case $1 in
    auto) echo 33 ;;
    w8a8-dynamic) echo 18 ;;
    *) echo 11 ;;
  esac
}

# bench_model TYPE NAME OPTION..
bench_model() {
  local type=$1 name=$2
  shift 2
  while ! [ -e "$models/$type.done" ]; do
    kill -0 "$writer" || { echo "there is no model $type: see write_models.log"; return 1; }
    sleep 0.5
  done
  "$fathom" bench model "$models/$type" --device cuda --max-num-batched-tokens $step_tokens --format json "$@" >"$out/model_$name.json"
}

machine() { "$fathom" bench machine --device cuda --json >"$out/machine.json"; }
# A process for each suite: an illegal access takes what comes after it in its process with it.
kernel_tests() {
  local suite failed=0
  for suite in $("$kernel_test" --gtest_list_tests | grep "^Cuda${rehearses:+Router}"); do
    timeout -k 2 30 "$kernel_test" --gtest_brief=1 --gtest_filter="$suite*" || { echo "FAILED: $suite"; failed=1; }
  done
  return $failed
}
# on_gpu COMMAND..: there is nothing to rehearse of it.
on_gpu() {
  if [ -n "$rehearses" ]; then echo 'needs a GPU'; return 77; fi
  "$@"
}
product_tests() { on_gpu "$build/tests/cuda_product_families_test"; }  # Hopper's against other GPUs'
rank_tests() { on_gpu "$build/tests/gpu_ranks_test"; }
golden_tests() { "$golden_test" --gtest_brief=1 ${rehearses:+--gtest_filter='*lite_like*'}; }
w8a8() { bench_model w8a8-dynamic w8a8 $single; }
w8a8_batches() { bench_model w8a8-dynamic w8a8_batches $batches; }
bf16() { bench_model auto bf16 $single; }
w4a8() { bench_model w4a8-dynamic w4a8 $single; }
bench_kernels() { "$fathom" bench kernels --device cuda --json $kernel_bench "$@"; }
attention_lite() { bench_kernels --model "$config" --only attention >"$out/attention_lite.json"; }
attention_v2() { bench_kernels --model "$many_heads" --only attention >"$out/attention_v2.json"; }
products() { bench_kernels --model "$config" --only linear >"$out/products.json"; }
experts() { bench_kernels --model "$config" --only experts >"$out/experts.json"; }
small() { bench_kernels --model "$config" --only small >"$out/small.json"; }
# The whole service on a tiny model; of a step of it, almost all is the host's.
host_overhead() { "$fathom" bench model models/demo --device cuda --format json $demo >"$out/model_demo.json"; }
commands() { python3 tests/end_to_end/device_test.py "$fathom"; }
server() { on_gpu python3 tests/end_to_end/serve_test.py "$fathom"; }
# sanitize TOOL FILTER: of the golden tests; some runtimes do not let the sanitizer near the device.
sanitize() {
  local sanitizer status
  sanitizer=$(command -v compute-sanitizer /usr/local/cuda/bin/compute-sanitizer | head -n 1)
  if [ -z "$sanitizer" ]; then echo 'no compute-sanitizer'; return 77; fi
  "$sanitizer" --tool "$1" --error-exitcode 9 "$golden_test" --gtest_brief=1 --gtest_filter="$2" >"$out/$1.txt" 2>&1
  status=$?
  cat "$out/$1.txt"
  if grep 'Device not supported' "$out/$1.txt"; then return 77; fi
  return $status
}
memcheck() { sanitize memcheck '*lite_like*:*w8a8*:*w4a1*:*ChunksChangeNoBit*'; }
initcheck() { sanitize initcheck '*lite_like*'; }
racecheck() { sanitize racecheck '*lite_like*'; }
# Of the 236B model in int4; status 1 says that it does not fit.
memory_plan() {
  "$fathom" show deepseek-v2 --json >"$out/v2.json"
  python3 -c 'import json, sys
config = json.load(open(sys.argv[1]))["config"]
json.dump({**config, "quantize": "w4a8_dynamic"}, open(sys.argv[2], "w"))' "$out/v2.json" "$out/v2_w4a8.json" || return
  "$fathom" show "$out/v2_w4a8.json" --device cuda --kv-cache-dtype int8 --max-num-seqs 1 --json >"$out/plan_v2.json"
  [ -s "$out/plan_v2.json" ]
}

functions=$(declare -f)
export rehearses out build config many_heads types fathom kernel_test golden_test step_tokens single batches demo kernel_bench models writer
export FATHOM_TEST_DEVICE=cuda
# Where Python's packages bring them, they are seldom where the loader looks.
for library in 'libcublas.so.1[23]' libnccl.so.2; do
  found=$(find /usr /opt -name "$library" -print -quit 2>/dev/null)
  if [ -n "$found" ]; then export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${found%/*}; fi
done

# What the models take together, and as much memory again for the largest while it is loaded.
models=$out
free_memory=$(awk '/MemAvailable/ { print int($2 / 1e6) }' /proc/meminfo)
if [ "$free_memory" -gt 80 ] && [ "$(free_gigabytes /dev/shm)" -gt 33 ]; then models=/dev/shm; fi
models=$(mktemp -d "${FATHOM_CHECK_MODELS:-$models}/fathom_models.XXXXXX")
writer=
trap 'if [ -n "$writer" ]; then kill -- -"$writer" 2>/dev/null; fi; rm -rf "$models"' EXIT

echo "results in $out, models in $models with $(free_gigabytes "$models") GB free"
phase facts 20
phase configure 60
phase build_program 240
setsid bash -c "$functions; write_models" >"$out/write_models.log" 2>&1 &
export writer=$!
phase machine 20
phase build_tests 120
phase product_tests 20
phase kernel_tests 90
phase golden_tests 60
phase w8a8 90
phase attention_lite 30
phase attention_v2 30
phase w8a8_batches 60
rm -rf "$models/w8a8-dynamic"
phase bf16 90
rm -rf "$models/auto"
phase w4a8 60
phase host_overhead 30
phase memory_plan 10
phase commands 60
phase rank_tests 20
phase products 40
phase experts 30
phase small 20
phase memcheck 40
phase racecheck 40
phase initcheck 40
phase server 60

python3 tools/gpu_report.py "$out"
! grep -qE 'FAILED|stopped|left out' "$out/phases.tsv"
