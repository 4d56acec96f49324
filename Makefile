# Two commands: `make run` and `make test`. Both install what is missing first (Debian packages only).
JOBS ?= $(shell nproc)
PROMPT ?= The old house stood at the end of the lane, and

.PHONY: all run test check asan tsan dependencies format clean

all: build/release/fathom

build/release/fathom: dependencies build/release/build.ninja FORCE
	@cmake --build build/release --parallel $(JOBS) --target fathom

build/release/build.ninja: CMakePresets.json
	@cmake --preset release

dependencies:
	@tools/install_dependencies.sh

run: build/release/fathom
	@build/release/fathom run models/demo "$(PROMPT)" --stats

test: dependencies build/release/build.ninja
	@cmake --build build/release --parallel $(JOBS)
	@ctest --preset release --parallel $(JOBS)

# The sanitizer presets: slower, part of CI.
asan tsan: dependencies
	@cmake --preset $@ >/dev/null
	@cmake --build build/$@ --parallel $(JOBS)
	@ctest --preset $@ --parallel $(JOBS)

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	rm -rf build

FORCE:
