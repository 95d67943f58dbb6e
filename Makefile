# `make train` and `make test` are all a newcomer needs; both set up .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/nano

.PHONY: install train test lint types check clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt ".[dev]"
	touch $@

# The package is installed, not linked: what is tested is what a user gets.
$(VENV)/.package: $(VENV)/.installed $(shell find src -name '*.py')
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	touch $@

train: $(VENV)/.package
	@if [ -e $(RUN)/config.yaml ]; then $(BIN)/tmt train --out $(RUN) --resume; \
	else $(BIN)/tmt train --config recipes/nano.yaml --out $(RUN); fi

test: $(VENV)/.package
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.package
	$(BIN)/pyrefly check

check: lint types test

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
