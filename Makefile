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

# The tests start some hundreds of interpreters, which need not compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

PYTEST_ARGS ?= -n 4 --dist loadfile --no-loadscope-reorder
DEMO_ARGS ?=
BENCH_ARGS ?= --workload w1
KILLS_ARGS ?= --rounds 1000
CRASHES_ARGS ?= --seeds 100
BITFLIPS_ARGS ?=
FUZZ_ARGS ?= --seconds 600
SIMULATION_ARGS ?= --seeds 10000
CLUSTER_PROOF_ARGS ?=
CONGRUENCE_ARGS ?=

.PHONY: help demo test quick lint format support bench kills crashes bitflips fuzz congruence brokers cluster migrate-milvus rest reference clients integrations dropin webui clean simulation cluster-proof cluster-acceptance

help:
	@echo "make demo    search the documentation of Python's standard library, offline"
	@echo "make test    run the tests                 (PYTEST_ARGS='-k filter' picks some)"
	@echo "make quick   run the tests that are not marked slow"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make format  let ruff rewrite the code"
	@echo "make support write docs/support.md: what is supported, and which tests say so"
	@echo "make bench   measure Redkite               (BENCH_ARGS='--workload tiny' is a smoke test)"
	@echo "make cluster-acceptance  what clients do, against a whole cluster in one process"
	@echo "make kills   kill a writing process 1,000 times (KILLS_ARGS='--rounds 20' is quick)"
	@echo "make simulation  clusters in a simulated world, 10,000 seeds (SIMULATION_ARGS='--seeds 100' is quick)"
	@echo "make cluster-proof  kill, stop and cut off every part of a real cluster (as root; CLUSTER_LOG, CLUSTER_RUNTIME)"
	@echo "make crashes cut the power at every operation of 100 traces (CRASHES_ARGS='--seeds 5' is quick)"
	@echo "make bitflips flip each byte of a small database in turn (BITFLIPS_ARGS='--every 50' is quick)"
	@echo "make fuzz    feed damaged bytes to the readers of files (FUZZ_ARGS='--seconds 20' is quick)"
	@echo "make reference renew the pages about settings and commands, which are made of the code"
	@echo "make migrate-milvus MILVUS_PYTHON=…  carry collections over from a real Milvus"
	@echo "make webui   the page of the metrics port in a browser (Chromium has to be there)"
	@echo "make rest    send every endpoint of REST many bodies (REST_EXAMPLES=20 is quick)"
	@echo "make congruence  the same calls through every client, old and new: what differs, and why"
	@echo "make brokers the log in a real Kafka and a real Pulsar, which Maven fetches (Java 17)"
	@echo "make cluster a whole cluster of processes on this machine, used and restarted (CLUSTER_LOG=pulsar, CLUSTER_RUNTIME=ray)"
	@echo "make clients Milvus's SDKs for Node, Go and Java against a server"
	@echo "make integrations  LangChain, LlamaIndex, Haystack and mem0, each in an environment that suits it"
	@echo "make dropin  the official pymilvus opens local .db files with Redkite"
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

support: $(VENV)/.dev
	@$(BIN)/python -m tests.support

bench: $(VENV)/.dev
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# The page of the metrics port, in a browser: Chromium on the PATH, or the one that BROWSER_PATH names.
webui: $(VENV)/.dev
	@$(PIP) install --quiet playwright -c constraints.txt
	@$(BIN)/python -m pytest tests/webui $(PYTEST_ARGS)

# Many bodies for each endpoint of REST, made of the OpenAPI document.
REST_EXAMPLES ?= 200
rest: $(VENV)/.dev
	@REST_EXAMPLES=$(REST_EXAMPLES) $(BIN)/python -m pytest tests/server/test_openapi.py

# Every test over the wire, with Redkite inside Envoy.
envoy: $(VENV)/.dev
	@$(PIP) install --quiet "pyvoy>=1.3" -c constraints.txt
	@FRONT=envoy $(BIN)/python -m pytest tests/server tests/acceptance tests/client $(PYTEST_ARGS)

# What clients do over the wire, against a cluster of all roles in one process.
cluster-acceptance: $(VENV)/.dev
	@CLUSTER=1 $(BIN)/python -m pytest tests/acceptance tests/server -k "not embedded" $(PYTEST_ARGS)
	@CLUSTER=query=1 $(BIN)/python -m pytest tests/acceptance/test_resource_groups.py -k "not embedded" $(PYTEST_ARGS)
	@CLUSTER=query=3 $(BIN)/python -m pytest tests/acceptance/test_node_groups.py -k "not embedded" $(PYTEST_ARGS)

kills: $(VENV)/.dev
	@$(BIN)/python -m tests.proof.kills $(KILLS_ARGS)

simulation: $(VENV)/.dev
	@$(BIN)/python -m tests.simulation $(SIMULATION_ARGS)

# Network namespaces want root; etcd, Java and versitygw have to be there.
cluster-proof: $(VENV)/.dev
	@if [ "$(CLUSTER_RUNTIME)" = ray ]; then $(PIP) install --quiet "ray>=2.40" -c constraints.txt; fi
	@$(BIN)/python -m tests.proof.cluster_kills --log $(CLUSTER_LOG) --runtime $(CLUSTER_RUNTIME) $(CLUSTER_PROOF_ARGS)

crashes: $(VENV)/.dev
	@$(BIN)/python -m tests.proof.crash_points $(CRASHES_ARGS)

bitflips: $(VENV)/.dev
	@$(BIN)/python -m tests.integrity.flips $(BITFLIPS_ARGS)

# Guided by atheris where there is one for this Python; by a trace of lines elsewhere.
fuzz: $(VENV)/.dev
	@$(PIP) install --quiet atheris || echo "No atheris for this Python: tracing lines instead."
	@$(BIN)/python -m tests.integrity.fuzz $(FUZZ_ARGS)

reference: $(VENV)/.dev
	@$(BIN)/redkite config reference --update docs/configuration.md
	@$(BIN)/redkite man --markdown --output docs/commands.md

# An interpreter whose environment has the package milvus (2.3.5), or MIGRATE_ARGS='--uri http://…' of a server that runs.
MILVUS_PYTHON ?=
MIGRATE_ARGS ?= --python "$(MILVUS_PYTHON)"
migrate-milvus: $(VENV)/.dev
	@$(BIN)/python -m tests.migration.from_milvus $(MIGRATE_ARGS)

# Older versions of pymilvus in environments of their own, kept in a cache; CONGRUENCE_MILVUS names one with `milvus`.
congruence: $(VENV)/.dev
	@$(BIN)/python -m tests.congruence.report $(CONGRUENCE_ARGS)

# Libraries that use pymilvus want versions of it that exclude one another.
ENVIRONMENTS := pymilvus-3.0 pymilvus-2.6
TEST_ALONE := -p no:cacheprovider -o filterwarnings=default

.venv-%/.done: tests/integrations/environments/%.txt dropin/pyproject.toml dropin/redkite_dropin.pth pyproject.toml | $(BIN)/python
	@echo "Installing what tests/integrations/environments/$*.txt names"
	@$(BIN)/python -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r $<
	@.venv-$*/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -e . ./dropin
	@touch $@

integrations: $(ENVIRONMENTS:%=.venv-%/.done)
	@for name in $(ENVIRONMENTS); do .venv-$$name/bin/python -m redkite_dropin; \
	  .venv-$$name/bin/python -m pytest tests/integrations --confcutdir=tests/integrations $(TEST_ALONE); done
	@.venv-pymilvus-2.6/bin/python -m tests.integrations.llama_timings

.venv-dropin/.done: dropin/pyproject.toml dropin/redkite_dropin.pth pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m venv .venv-dropin
	@.venv-dropin/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt \
	  -e ".[server,client]" pymilvus pytest pytest-asyncio pytest-timeout
	@.venv-dropin/bin/python -m pip install --disable-pip-version-check --quiet --no-deps ./dropin
	@touch $@

dropin: .venv-dropin/.done
	@.venv-dropin/bin/python -m redkite_dropin
	@.venv-dropin/bin/python -m pytest tests/dropin --confcutdir=tests/dropin $(TEST_ALONE)

# Each fetches the SDK of its language, in the versions of its lock file.
clients: $(VENV)/.dev
	@CLIENTS=1 $(BIN)/python -m pytest tests/clients -m slow

clean:
	rm -rf $(VENV) .venv-* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist

brokers: $(VENV)/.dev
	@REDKITE_BROKERS="$${REDKITE_BROKERS:-}" $(BIN)/python -m pytest tests/storage/test_real_brokers.py tests/storage/test_etcd.py

# etcd, a broker, a store that speaks S3 and every role as a process: brought up, used, killed, restarted under load.
CLUSTER_LOG ?= kafka
CLUSTER_RUNTIME ?= processes
cluster: $(VENV)/.dev
	@if [ "$(CLUSTER_RUNTIME)" = ray ]; then $(PIP) install --quiet "ray>=2.40" -c constraints.txt; fi
	@CLUSTER_LOG=$(CLUSTER_LOG) CLUSTER_RUNTIME=$(CLUSTER_RUNTIME) REDKITE_BROKERS="$${REDKITE_BROKERS:-}" \
	  $(BIN)/python -m pytest tests/launch/test_real_cluster.py tests/launch/test_bad_days.py tests/launch/test_ray_nodes.py \
	  tests/launch/test_ray_tasks.py $(TEST_ALONE)
