# sne-edge: `make demo` runs the whole way once, `make test` runs the tests; both set up what they need.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The version the project is tested with. On Linux, a plain `torch` is a CUDA build of several gigabytes: give the
# wheel you want, e.g. make demo TORCH="torch==2.13.0+cpu --index-url ..."
TORCH ?= torch==2.13.0
DEMO ?= demo
SCHEME ?= disentangled
PYTEST_FLAGS ?=
BENCH_FLAGS ?=
RESULTS_FLAGS ?=
MUTANTS ?= 12
MUTANTS_FLAGS ?=
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: tools $(VENV)/train ## Train, export, verify, benchmark and plot an ensemble on MNIST-1D
	$(BIN)/sne-edge doctor
	$(BIN)/sne-edge train --data mnist1d --scheme $(SCHEME) -o $(DEMO)/mnist1d.sne --force
	$(BIN)/sne-edge inspect $(DEMO)/mnist1d.sne
	$(BIN)/sne-edge export $(DEMO)/mnist1d.sne --target cortex-m -o $(DEMO)/mnist1d-c --force
	$(BIN)/sne-edge verify $(DEMO)/mnist1d.sne
	$(BIN)/sne-edge bench $(DEMO)/mnist1d.sne --data mnist1d
	$(BIN)/sne-edge plot $(DEMO)/mnist1d.sne -o $(DEMO)/mnist1d.png --force

test: tools test-tools $(VENV)/dev ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

mutants: tools test-tools $(VENV)/dev ## Put small faults into the code and see whether the tests notice: a sample, or MUTANTS=all
	$(BIN)/python tests/mutants/run.py --mutants $(MUTANTS) $(MUTANTS_FLAGS)

pythons: tools $(VENV)/dev ## Install the wheel for each Python 3.10 to 3.13 that is here, and use it
	$(BIN)/python tests/pythons.py

fuzz: tools test-tools $(VENV)/dev ## Fuzz the firmware's parsers with libFuzzer, FUZZ_SECONDS each
	$(BIN)/python tests/fuzz.py --seconds $(FUZZ_SECONDS)

proofs: tools proof-tools $(VENV)/dev ## Prove the contracts of the portable C with Frama-C
	$(BIN)/python -m pytest -q --require-tools tests/test_proofs.py

bench: tools riscv-tools $(VENV)/train ## Measure the engine on every emulated core and compare with the baseline
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py $(BENCH_FLAGS)

bench-host: tools $(VENV)/train ## Compare the host build's speed with other engines', on one thread
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/host.py

bench-cnn: tools $(VENV)/train ## Hold the ensembles against int8 CNNs; CMSIS_NN=PATH CMSIS_CORE=PATH measures these
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/cnn.py $(if $(CMSIS_NN),--cmsis-nn $(CMSIS_NN) --cmsis-core $(CMSIS_CORE)) $(BENCH_FLAGS)

bench-rivals: tools $(VENV)/train ## Hold the engine against others, whose sources BENCH_FLAGS names: --snn2mcu PATH ...
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/rivals.py $(BENCH_FLAGS)

results: tools $(VENV)/train ## Make every table of docs/results that is not this code's, and their summary; RESULTS_FLAGS=--plan says what it takes
	$(BIN)/sne-edge study all --force $(RESULTS_FLAGS)

recipe: tools $(VENV)/train ## Train, check and pack the CIFAR-10 ensemble and its table, on a GPU where there is one
	$(BIN)/python benchmarks/recipe.py $(RECIPE_FLAGS)

cost-model: tools riscv-tools $(VENV)/dev ## Measure what the engine's counts cost on every core, for `inspect --target` and `search`
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/cost_model.py

pictures: tools $(VENV)/train ## Draw every picture in docs/ anew from what is stored there; nothing is measured
	$(BIN)/python benchmarks/pictures.py

notebooks: $(VENV)/dev ## Write examples/*/*.ipynb anew from the scripts of their names
	$(BIN)/python examples/notebooks.py

docs: $(VENV)/dev ## Build the documentation site, warnings being errors, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The first Python that the package runs on, for mypy; but from 3.12 on numpy's stubs are written for no older one than that.
OLDEST = $$($(abspath $(BIN))/python -c "import sys; print('--python-version=3.10' if sys.version_info < (3, 12) else '')")

lint: $(VENV)/dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tests/installed.py build/installed # so that mypy sees codegen under its installed name
	cd build/installed && $(abspath $(BIN))/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache $(OLDEST)

install: $(VENV)/train ## Make .venv with the package and its training half

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A target's tools: installed with apt where that is possible; elsewhere the rest goes on without them.
tools:
	@$(call ensure,gcc:gcc gcc:libc6-dev arm-none-eabi-gcc:gcc-arm-none-eabi arm-none-eabi-gcc:libnewlib-arm-none-eabi \
	    qemu-system-arm:qemu-system-arm)
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { $(call apt,python3-venv); }

riscv-tools:
	@$(call ensure,riscv64-unknown-elf-gcc:gcc-riscv64-unknown-elf \
	    /usr/lib/picolibc/riscv64-unknown-elf/picolibc.specs:picolibc-riscv64-unknown-elf qemu-system-riscv32:qemu-system-misc)

# Python's own, for what torch compiles.
HEADERS = $$($(PYTHON) -c "import sysconfig; print(sysconfig.get_path('include'))")/Python.h

test-tools: proof-tools riscv-tools
	@$(call ensure,clang:clang g++:g++ $(HEADERS):python3-dev avr-gcc:gcc-avr /usr/lib/avr/include/avr/io.h:avr-libc simavr:simavr \
	    mips-linux-gnu-gcc:gcc-mips-linux-gnu mips-linux-gnu-gcc:libc6-dev-mips-cross qemu-mips:qemu-user \
	    xtensa-lx106-elf-gcc:gcc-xtensa-lx106 wasm-ld:lld node:nodejs chromium:chromium \
	    cmake:cmake ninja:ninja-build arduino-builder:arduino-builder /usr/share/arduino/hardware/arduino/avr/boards.txt:arduino-core-avr \
	    cargo:cargo /usr/share/doc/librust-cc-dev/copyright:librust-cc-dev \
	    /usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz:dataset-fashion-mnist)
	@[ -e "$$(clang -print-runtime-dir 2>/dev/null)/libclang_rt.fuzzer-$$(uname -m).a" ] || { $(call apt,libclang-rt-dev); }
	-@$(call ensure,clang-22:clang-22 clang-22:libclang-rt-22-dev) # its type sanitizer, where there is one

proof-tools:
	@$(call ensure,frama-c:frama-c-base why3:why3 cvc4:cvc4)

apt = if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 -o -n "$$(command -v sudo)" ]; then \
	    echo "installing $(1)"; run=""; [ "$$(id -u)" = 0 ] || run=sudo; \
	    $$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
	else echo "not installed: $(1). Install these (Debian's names) to build and emulate firmware; going on without."; fi

# ensure,COMMAND:PACKAGE ...: install the packages whose command, or file, is missing.
ensure = missing=""; for pair in $(1); do command -v $${pair%%:*} >/dev/null || [ -f $${pair%%:*} ] || missing="$$missing $${pair\#*:}"; done; \
	if [ -n "$$missing" ]; then $(call apt,$$missing); fi

$(VENV)/bin/python: | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --upgrade pip

$(VENV)/train: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check "$(firstword $(TORCH))" $(wordlist 2,99,$(TORCH))
	$(BIN)/pip install -q --disable-pip-version-check -e ".[train]"
	@touch $@

$(VENV)/dev: pyproject.toml | $(VENV)/train
	$(BIN)/pip install -q --disable-pip-version-check -e ".[train,dev]"
	$(BIN)/pip install -q --disable-pip-version-check --no-deps "neurobench==2.3.0" # its metrics need no data sets, nor torchaudio
	@touch $@

.PHONY: help demo test mutants pythons fuzz proofs bench bench-host bench-cnn results recipe cost-model pictures notebooks docs lint install clean tools test-tools proof-tools riscv-tools
