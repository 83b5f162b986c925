# The commands that people and CI both run. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The interpreter that .venv is made from, if python3.11 or python3 is not the one you want.
export PYTHON ?=
# More arguments for pytest, e.g. make test ARGS='-k schedule -x'
ARGS ?=
# The crash campaign: how many kills, on which database (sqlite, postgresql or both), and the first campaign's seed;
# who runs what is due (rows; on PostgreSQL alone also procrastinate, or both at once).
N ?= 1000
SEED ?= 1
DATABASE ?= both
DISPATCHER ?= rows

# What we start many times shall be compiled once.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv/.bootstrapped
BIN := .venv/bin

.PHONY: help up down test test-full check crash soak idle load bench bench-quick docs

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: $(VENV) ## Start a local Azure and run `pulumi up` on the quickstart stack; everything lies in .local/
	@$(BIN)/python -m tools.quickstart up

down: $(VENV) ## Destroy the quickstart stack, show what the local Azure saw, stop it
	@$(BIN)/python -m tools.quickstart down

test: $(VENV) ## Every test but the slow ones (under 10 minutes)
	@tools/run-tests test -n auto --dist loadgroup -m 'not full' $(ARGS)

test-full: $(VENV) ## The slow tests (under 45 minutes)
	@tools/run-tests full -n auto --dist loadgroup -m full $(ARGS)

crash: $(VENV) ## Kill N processes, wherever they are, and look what is left: make crash N=5000 SEED=1000 DATABASE=sqlite
	@$(BIN)/python -m tests.crash --kills $(N) --seed $(SEED) --database $(DATABASE) --dispatcher $(DISPATCHER)

soak: $(VENV) ## Three years of 2,000 items, with kills and downtimes: each due date served once, or caught up once
	@$(BIN)/python -m tests.soak --database $(DATABASE)

load: $(VENV) ## 10,000 items due within a minute, three schedulers on PostgreSQL, two of them killed: start delays, rate
	@$(BIN)/python -m tests.load --dispatcher $(DISPATCHER)

idle: $(VENV) ## What a scheduler costs that has nothing to do, with 1,000 to 1,000,000 items
	@$(BIN)/python -m tests.idle --database $(DATABASE)

check: $(VENV) ## Lint, format, types, layers, acceptance rows, lock, our own rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.checks
	$(BIN)/python -m tools.docs --check
	$(BIN)/python -m pytest --collect-only --rows-check -q

bench: $(VENV) ## Measure: imports, start-up, the sandbox, a rotation
	@$(BIN)/python -m tests.benchmarks

bench-quick: $(VENV) ## The same with few rounds: does it run, is the order of magnitude right
	@$(BIN)/python -m tests.benchmarks --quick

docs: $(VENV) ## Generate the reference pages from the code
	@$(BIN)/python -m tools.docs

# Second runs cost nothing: this happens only when one of the three changed.
$(VENV): uv.lock pyproject.toml tools/bootstrap
	@tools/bootstrap
