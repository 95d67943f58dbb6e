# `make train` and `make test` are all a newcomer needs; both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/nano
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt $(shell find src -name '*.py' -o -name '*.[ch]')

.PHONY: install train test learn sanitize lint types check clean

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
	$(BIN)/python -m pytest -m learning -n 0

# The C kernels under the address and undefined-behaviour sanitizers.
sanitize: $(VENV)/.dev
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
	CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all" \
	$(BIN)/python -m pytest -s tests/ops/test_fused_mesh.py tests/ops/test_fused_graph.py \
	tests/ops/test_audible.py tests/ops/test_local_mix.py tests/ops/test_few_rows.py tests/ops/test_gated_gelu.py \
	tests/ops/test_norm.py tests/ops/test_cross_entropy.py tests/ops/test_softcap.py \
	tests/adaptive/test_matching.py tests/adaptive/test_matching_exact.py tests/adaptive/test_matching_document.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python

check: lint types test sanitize

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
