# Two commands do everything on a machine that has Python 3.11 or newer:
#
#   make demo     search the documentation of Python's standard library
#   make test     run the tests
#
# Each creates .venv when it is missing and installs what it needs, in the versions of constraints.txt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Requires an old pymilvus in its metadata and works with the new one, so it is installed beside the resolver.
LLAMA_STORE := llama-index-vector-stores-milvus

PYTEST_ARGS ?= -n 2 --dist loadfile
DEMO_ARGS ?=
BENCH_ARGS ?= --workload w1
KILLS_ARGS ?= --rounds 1000
CRASHES_ARGS ?= --seeds 100
BITFLIPS_ARGS ?=
FUZZ_ARGS ?= --seconds 600

.PHONY: help demo test quick lint format bench kills crashes bitflips fuzz clean

help:
	@echo "make demo    search the documentation of Python's standard library, offline"
	@echo "make test    run the tests                 (PYTEST_ARGS='-k filter' picks some)"
	@echo "make quick   run the tests that are not marked slow"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make format  let ruff rewrite the code"
	@echo "make bench   measure Redkite               (BENCH_ARGS='--workload tiny' is a smoke test)"
	@echo "make kills   kill a writing process 1,000 times (KILLS_ARGS='--rounds 20' is quick)"
	@echo "make crashes cut the power at every operation of 100 traces (CRASHES_ARGS='--seeds 5' is quick)"
	@echo "make bitflips flip each byte of a small database in turn (BITFLIPS_ARGS='--every 50' is quick)"
	@echo "make fuzz    feed damaged bytes to the readers of files (FUZZ_ARGS='--seconds 20' is quick)"
	@echo "make clean   remove the virtual environment and caches"

$(BIN)/python:
	@for python in python3.11 python3.13 python3.12 python3; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then echo "Redkite needs Python 3.11 or newer; none is on the PATH." >&2; exit 1; fi; \
	echo "Creating $(VENV) with $$($$found --version)"; \
	$$found -m venv $(VENV) || { echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Redkite with what the demo needs"
	@$(PIP) install --quiet -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Redkite with what its tests need"
	@$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	@$(PIP) install --quiet -c constraints.txt --no-deps $(LLAMA_STORE)
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/redkite demo $(DEMO_ARGS)

test: $(VENV)/.dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

quick: $(VENV)/.dev
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not slow"

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(VENV)/.dev
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# Every test over the wire, with Redkite inside Envoy.
envoy: $(VENV)/.dev
	@$(PIP) install --quiet "pyvoy>=1.3" -c constraints.txt
	@FRONT=envoy $(BIN)/python -m pytest tests/server tests/acceptance tests/client $(PYTEST_ARGS)

kills: $(VENV)/.dev
	@$(BIN)/python -m tests.proof.kills $(KILLS_ARGS)

crashes: $(VENV)/.dev
	@$(BIN)/python -m tests.proof.crash_points $(CRASHES_ARGS)

bitflips: $(VENV)/.dev
	@$(BIN)/python -m tests.integrity.flips $(BITFLIPS_ARGS)

# Guided by atheris where there is one for this Python; by a trace of lines elsewhere.
fuzz: $(VENV)/.dev
	@$(PIP) install --quiet atheris || echo "No atheris for this Python: tracing lines instead."
	@$(BIN)/python -m tests.integrity.fuzz $(FUZZ_ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
