# `make train` and `make test` are all a newcomer needs; both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/nano
INSTALL := pip install --quiet --disable-pip-version-check
PIP := $(BIN)/$(INSTALL) -c constraints.txt
SOURCES := pyproject.toml constraints.txt $(shell find src -name '*.py' -o -name '*.[ch]')
KERNEL_TESTS := $(wildcard tests/ops/test_fused_*.py tests/adaptive/test_matching*.py) tests/ops/test_audible.py \
	tests/ops/test_local_mix.py tests/ops/test_few_rows.py tests/ops/test_gated_gelu.py tests/ops/test_norm.py \
	tests/ops/test_cross_entropy.py tests/ops/test_softcap.py tests/ops/test_swiglu.py tests/model/test_row_step.py
AVX2 := CFLAGS=-march=x86-64-v3 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2

.PHONY: install train test learn sanitize avx2 gpu wheel newest lock lint types check clean

install: $(VENV)/.dev

# The package is installed, not linked: what is trained and tested is what a user gets.
$(VENV)/.core: $(SOURCES)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(PIP) .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) ".[dev]"
	@touch $@

train: $(VENV)/.core
	@if [ -e $(RUN)/config.yaml ]; then $(BIN)/tmt train --out $(RUN) --resume; \
	else $(BIN)/tmt train --config recipes/nano.yaml --out $(RUN); fi

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

# Trains until something is learnt, for minutes.
learn: $(VENV)/.dev
	$(BIN)/python -m pytest -m learning -n 2

# The C kernels, in the machine's own vectors, under the address and undefined-behaviour sanitizers.
sanitize: $(VENV)/.dev
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all" \
	$(BIN)/python -m pytest -n 2 --max-worker-restart 0 -s -k "not march" $(KERNEL_TESTS)

# The C kernels as on an x86 processor without AVX-512 and bfloat16 products.
avx2: $(VENV)/.dev
	$(AVX2) $(BIN)/python -m pytest -n 2 -k "not march" $(KERNEL_TESTS)
	$(AVX2) $(BIN)/tmt bench ops --lengths 1024 --dtypes fp32 --seconds 0.5

# Checks and times one GPU in at most eight minutes.
gpu: $(VENV)/.dev
	$(BIN)/python -m tmt.bench.gpu

# The wheel by itself, in a fresh environment without a compiler.
wheel:
	PYTHON=$(PYTHON) .ci/wheel

# The suite with the newest release of everything that held.txt does not hold back.
newest:
	@test -x $(VENV)-newest/bin/pip || $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/$(INSTALL) --upgrade --upgrade-strategy eager -c held.txt ".[dev]"
	$(VENV)-newest/bin/python -m pytest -n 2 --deselect tests/test_package.py::test_what_is_installed_is_locked

# constraints.txt anew: the newest release of everything that held.txt does not hold back.
lock:
	@test -x $(VENV)-lock/bin/pip || $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/$(INSTALL) -c constraints.txt uv
	@{ \
	echo "# Every package of every extra, as development and CI run it, for Python 3.11 and newer on Linux, macOS and"; \
	echo "# Windows. Users are not bound by this file: pyproject.toml gives the ranges."; \
	echo '# Made by `make lock`; what is held back, and why, is said in held.txt.'; \
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-python-downloads --all-extras \
	--group lock -c held.txt --annotation-style line --no-header pyproject.toml; \
	} > $(VENV)-lock/constraints.txt
	cp $(VENV)-lock/constraints.txt constraints.txt

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

check: lint types test sanitize

clean:
	rm -rf $(VENV) $(VENV)-newest $(VENV)-lock .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
