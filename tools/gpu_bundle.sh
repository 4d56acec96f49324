#!/usr/bin/env bash
# Collects the third-party libraries that fathom is built with into build/gpu_bundle.tar.xz, 4 MB, for a machine where they
# cannot be installed: copy the tree there with that file and run tools/gpu_check.sh.
#
# Run it where the packages of install_dependencies.sh are and build/release is built: of Boost, which is large, the
# bundle holds the headers that this build read. Programs of the other machine need its libc, libstdc++ and libudev.
set -euo pipefail
cd "$(dirname "$0")/.."

bundle=build/gpu_bundle
arch=$(g++ -print-multiarch)
libraries=lib/$arch
headers=(fmt spdlog nlohmann CLI openssl gtest hwloc hwloc.h pcre2.h xxhash.h "$arch"/{openssl,hwloc} boost/config boost/config.hpp boost/version.hpp)
modules=("$libraries"/cmake/{fmt,spdlog,GTest} share/cmake/{nlohmann_json,CLI11} "$libraries"/pkgconfig/{libpcre2-8,hwloc,libxxhash}.pc)
links=("$libraries"/lib{fmt,spdlog,pcre2-8,hwloc,xxhash,ssl,crypto}.so "$libraries"/libgtest{,_main}.a)

rm -rf "$bundle"
mkdir -p "$bundle/bin"

boost=$(ninja -C build/release -t deps | grep -o '/usr/include/boost/[^ ]*' | sort -u)
if [ -z "$boost" ]; then
  echo "build/release has read no header of Boost: build it first" >&2
  exit 1
fi
# Paths below /usr, links as they are; with the files that links of libraries lead to.
{
  printf '%s\n' "${headers[@]/#/include/}" "${modules[@]}" "${links[@]}"
  sed 's|^/usr/||' <<<"$boost"
  for link in "${links[@]}"; do
    while [ -L "/usr/$link" ]; do
      link=$libraries/$(readlink "/usr/$link")
      echo "$link"
    done
  done
} | tar -C /usr -c --files-from=- | tar -C "$bundle" -x
# Only below /usr/include do compilers look there.
cp -r "$bundle/include/$arch/." "$bundle/include"
rm -r "$bundle/include/$arch"

# The machine may have no pkg-config, and the bundle's place is not known yet.
cp -L /usr/bin/pkgconf "/usr/$libraries/libpkgconf.so.3" "$bundle/bin"
cat >"$bundle/bin/pkg-config" <<'WRAPPER'
#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH=$here exec "$here/pkgconf" "$@"
WRAPPER
chmod +x "$bundle/bin/pkg-config"
sed -i 's|^prefix=/usr$|prefix=${pcfiledir}/../../..|' "$bundle/$libraries"/pkgconfig/*.pc

tar -C build -cJf "$bundle.tar.xz" gpu_bundle
rm -r "$bundle"
ls -l "$bundle.tar.xz"
