#!/usr/bin/env bash
# Installs the Debian packages that building and testing need, and those named as arguments; does nothing where all are present.
set -euo pipefail

packages=(
  g++ cmake ninja-build pkg-config make
  nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev libpcre2-dev libhwloc-dev libxxhash-dev libssl-dev libboost1.81-dev libgtest-dev python3 python3-venv
  libopenmpi-dev openmpi-bin iproute2
  "$@"
)

missing=()
for package in "${packages[@]}"; do
  if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
    missing+=("$package")
  fi
done
if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi

run=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "fathom needs these Debian packages, and neither root nor sudo is at hand: ${missing[*]}" >&2
    exit 1
  fi
  run=(sudo env DEBIAN_FRONTEND=noninteractive)
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq
"${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
