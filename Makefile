# The only list of commands. Everything runs from .venv, which the first command makes.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types format bench race chaos migration pin reference wheel clean

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "pgledger needs Python 3.11 or newer; say which: make PYTHON=python3.12 demo"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(INSTALLED) ## See the ledger at work on a throw-away PostgreSQL (nothing else needed)
	@$(BIN)/pgledger demo

test: $(INSTALLED) ## Run the tests (PGLEDGER_TEST_DSN or PGLEDGER_PG_BIN: on another PostgreSQL)
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 $(ARGS)

check: lint types test ## Everything a change must pass: lint, types, tests

lint: $(INSTALLED) ## Check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED) ## Check types, the public API's among them
	$(BIN)/mypy

format: $(INSTALLED) ## Format the Python code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) ## Measure the hot path against bare statements (about 20 minutes)
	$(BIN)/python -m tools.bench $(ARGS)

race: $(INSTALLED) ## Run the random tests for long (about 10 minutes)
	PGLEDGER_EXAMPLES=2000 PGLEDGER_RACE_SECONDS=60 $(BIN)/pytest tests/test_state_machine.py \
	  tests/test_batch_equals_calls.py tests/test_concurrency.py tests/test_races_of_batches.py

chaos: $(INSTALLED) ## Send a thousand payments through chaos, workers killed (about 2 minutes)
	PGLEDGER_PAYMENTS=1000 $(BIN)/pytest tests/test_chaos.py $(ARGS)

migration: $(INSTALLED) ## Write the next migration from what changed in sql/: make migration name=...
	@test -n "$(name)" || { echo 'usage: make migration name=what_it_brings'; exit 2; }
	$(BIN)/python tools/new_migration.py $(name)

pin: $(INSTALLED) ## Record the checksums of new migrations, for a release
	$(BIN)/python tools/new_migration.py --pin

reference: $(INSTALLED) ## Write docs/reference.md and docs/errors.md from the comments in sql/
	$(BIN)/python tools/reference.py

wheel: $(INSTALLED) ## Build the wheel and the sdist into dist/
	$(BIN)/python -m build

clean: ## Remove what the commands above made
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
