# Two commands: `make run` and `make test`. Both install what is missing first (Debian packages only).
JOBS ?= $(shell nproc)
PROMPT ?= The old house stood at the end of the lane, and

.PHONY: all run test asan tsan dependencies format clean FORCE

all: build/release/fathom

build/release/fathom: dependencies build/release/build.ninja FORCE
	@cmake --build build/release --parallel $(JOBS) --target fathom

build/release/build.ninja: CMakePresets.json | dependencies
	@cmake --preset release

dependencies:
	@tools/install_dependencies.sh

run: build/release/fathom
	@build/release/fathom run models/demo "$(PROMPT)" --stats

test: dependencies build/release/build.ninja
	@cmake --build build/release --parallel $(JOBS)
	@ctest --preset release --parallel $(JOBS)

# The sanitizer presets, part of CI. tsan builds the tests in which threads run.
TSAN_TESTS = fathom_base_test fathom_device_test fathom_parallel_test determinism_test

asan: dependencies
	@cmake --preset asan >/dev/null
	@cmake --build build/asan --parallel $(JOBS)
	@ctest --preset asan --parallel $(JOBS)

tsan: dependencies
	@cmake --preset tsan >/dev/null
	@cmake --build build/tsan --parallel $(JOBS) --target $(TSAN_TESTS)
	@ctest --preset tsan --parallel $(JOBS) -R '^($(subst $(eval ) ,|,$(TSAN_TESTS)))$$'

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

clean:
	rm -rf build

