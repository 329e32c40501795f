PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two tests at a time; a process that has no more takes over from one that has.
PARALLEL := -n 2 --dist worksteal

.DEFAULT_GOAL := help

help: ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

quickstart: $(VENV)/.installed ## install, then search eps for a small network on handwritten digits (2 minutes)
	$(BIN)/epsearch run studies/quickstart.yaml

test: $(VENV)/.installed-dev ## the tests that protect the design (5 minutes on 2 cores)
	$(BIN)/pytest -m "not thorough and not slow" $(PARALLEL)

test-rest: $(VENV)/.installed-dev ## what `make test` leaves out: processes, clusters, servers, real data (20 minutes)
	$(BIN)/pytest -m "thorough and not alone and not slow" $(PARALLEL) && status=0 || status=1; \
	$(BIN)/pytest -m "alone and not slow" && exit $$status

test-all: ## both, as CI runs them
	@$(MAKE) --no-print-directory test && status=0 || status=1; \
	$(MAKE) --no-print-directory test-rest && exit $$status

coverage: $(VENV)/.installed-dev ## lines and branches that all of these tests reach, in the processes they start too
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not alone and not slow" $(PARALLEL); \
	$(BIN)/coverage run -m pytest -m "alone and not slow"; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report

slow: $(VENV)/.installed-dev ## the tests that take an hour: every row of Table 1 on real data (EPSEARCH_DATA), 1,000 fuzzed study files
	$(BIN)/pytest -m slow -s

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(VENV)/.installed-dev ## renew the JSON Schema of study files from the models
	$(BIN)/python -m epsearch.study.config > epsearch/study/study.schema.json

bench: $(VENV)/.installed-dev ## run the benchmarks (docs/benchmarks.md says what each measures)
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python benchmarks/endurance.py
	$(BIN)/python benchmarks/probe_percentiles.py
	$(BIN)/python benchmarks/probe_memory.py
	$(BIN)/python benchmarks/probe_cost.py
	$(BIN)/python benchmarks/epoch_speed.py
	PATH=$(BIN):$$PATH $(BIN)/python benchmarks/report_speed.py
	unshare -n sh -c 'ip link set lo up; $(BIN)/python benchmarks/ray_overhead.py'

bench-kills: $(VENV)/.installed-dev ## kill studies 100 times, by both engines, in SQLite and PostgreSQL (half an hour)
	unshare -n sh -c 'ip link set lo up; $(BIN)/python -m benchmarks.kills'

bench-search: $(VENV)/.installed-dev ## searches compared, over the tables of benchmarks/outcomes.py and run for real (EPSEARCH_DATA)
	$(BIN)/python benchmarks/range_holds.py
	$(BIN)/python benchmarks/heatmaps.py
	$(BIN)/python benchmarks/search_comparison.py
	unshare -n sh -c 'ip link set lo up; $(BIN)/python benchmarks/search_for_real.py'

reproduce: $(VENV)/.installed-dev ## the probes of the paper's Tables 2, 3 and 4 (EPSEARCH_DATA; half a day on a CPU)
	$(BIN)/python benchmarks/reproduction.py probe

clean: ## remove the environment and what the tools left
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.*

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

.PHONY: help quickstart test test-rest test-all coverage slow lint types format schema bench bench-kills bench-search reproduce clean
