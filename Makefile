PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two tests at a time; an idle process takes over tests of a busy one.
PARALLEL := -n 2 --dist worksteal

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

quickstart: $(VENV)/.installed ## install, then search eps for a small network on handwritten digits (2 minutes)
	$(BIN)/epsearch run studies/quickstart.yaml

test: $(VENV)/.installed-dev ## run the tests that protect the design (5 minutes on 2 cores)
	$(BIN)/pytest -m "not thorough and not slow" $(PARALLEL)

test-rest: $(VENV)/.installed-dev ## run the other tests: processes, clusters, servers, real data (20 minutes)
	$(BIN)/pytest -m "thorough and not alone and not slow" $(PARALLEL) && status=0 || status=1; \
	$(BIN)/pytest -m "alone and not slow" && exit $$status

test-all: ## run both, as CI does
	@$(MAKE) --no-print-directory test && status=0 || status=1; \
	$(MAKE) --no-print-directory test-rest && exit $$status

coverage: $(VENV)/.installed-dev ## measure the lines and branches that these tests reach, also in subprocesses
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not alone and not slow" $(PARALLEL); \
	$(BIN)/coverage run -m pytest -m "alone and not slow"; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report

slow: $(VENV)/.installed-dev ## run the hour-long tests: every row of Table 1 on real data (EPSEARCH_DATA), 1,000 fuzzed study files
	$(BIN)/pytest -m slow -s

lint: $(VENV)/.installed-dev ## check rules and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## check types with mypy, strict
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## fix what ruff can fix, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.installed-dev ## regenerate the JSON Schema of study files
	$(BIN)/python -m epsearch.study.config > epsearch/study/study.schema.json

bench: $(VENV)/.installed-dev ## run the benchmarks (see docs/benchmarks.md)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python benchmarks/endurance.py
	$(BIN)/python benchmarks/probe_percentiles.py
	$(BIN)/python benchmarks/probe_memory.py
	$(BIN)/python benchmarks/probe_cost.py
	$(BIN)/python benchmarks/epoch_speed.py
	PATH=$(BIN):$$PATH $(BIN)/python benchmarks/report_speed.py
	unshare -n sh -c 'ip link set lo up; $(BIN)/python benchmarks/ray_overhead.py'

bench-kills: $(VENV)/.installed-dev ## kill and resume studies 100 times, on both engines, in SQLite and PostgreSQL (half an hour)
	unshare -n sh -c 'ip link set lo up; $(BIN)/python -m benchmarks.kills'

bench-search: $(VENV)/.installed-dev ## compare searches, simulated and run for real (EPSEARCH_DATA)
	$(BIN)/python benchmarks/ranges.py
	$(BIN)/python benchmarks/ridges.py
	$(BIN)/python benchmarks/lr_tests.py
	$(BIN)/python benchmarks/heatmaps.py
	$(BIN)/python benchmarks/search_comparison.py
	$(BIN)/python benchmarks/search_for_real.py

dist: $(VENV)/.installed-dev ## build the sdist and the wheel in dist/, and check them
	rm -rf build dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

reproduce: $(VENV)/.installed-dev ## run the probes of the paper's Tables 2, 3 and 4 (EPSEARCH_DATA; half a day on a CPU)
	$(BIN)/python benchmarks/reproduction.py probe

clean: ## remove the environment, builds and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "epsearch needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[dashboard]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.installed

.PHONY: help quickstart test test-rest test-all coverage slow lint types format schema dist bench bench-kills bench-search reproduce clean
