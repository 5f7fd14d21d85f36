# Each target stands alone: on a fresh machine with Python >= 3.11 it makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint bench clean
.DEFAULT_GOAL := help

help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

demo: $(STAMP) ## stress the sample service for under a minute and leave a report
	@$(BIN)/harness demo

test: $(STAMP) ## run the test suite
	@scripts/install-browser
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP) ## ruff, mypy --strict, codespell
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell

bench: $(STAMP) ## measure the harness and its peers, in ratios (an hour; FULL=1: several)
	@scripts/install-bench
	@failed=; for b in bench/[a-z]*.py; do \
		echo "== $$b"; $(BIN)/python $$b || failed="$$failed $$b"; \
	done; [ -z "$$failed" ] || { echo "do not hold:$$failed"; exit 1; }

$(STAMP): pyproject.toml constraints.txt scripts/install
	@PYTHON="$(PYTHON)" scripts/install $(VENV)
	@touch $@

clean: ## remove the environment, caches and runs
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
