# Everything a checkout needs. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

SUITE ?= manufacturing
BENCHMARKS := cli_start null_system bias benchmark_app int8_speedup parent_overhead fpga_core_speed fpga_networks \
	fpga_scoreboard projection_backtest cpu_power_model capacity_speed capacity_validation suite_time

.DEFAULT_GOAL := help
.PHONY: help run test lint gate bench clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## Measure the suite `manufacturing` (SUITE=... for another) and say where the report is.
	@$(BIN)/leptonbench run --suite $(SUITE)

test: lint ## Check the style, the types and the floors, then run every test.
	@$(BIN)/python -m pytest -q

lint: $(READY) ## Check style, types, the import contracts and the generated pages.
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > $(VENV)/lint-imports.txt || { cat $(VENV)/lint-imports.txt; exit 1; }
	@$(BIN)/python -m leptonbench.cli.docs --check
	@echo "lint: style, types, import contracts and generated pages are in order"

gate: $(READY) ## Compare this folder's inspection cell with the commit before, for information; two minutes.
	@git rev-parse --quiet --verify HEAD~1 > /dev/null || { echo "gate: there is no commit before this one"; exit 0; } ; \
		$(BIN)/leptonbench gate --base HEAD~1 --head . --advisory

bench: $(READY) ## Hold leptonbench itself against its own goals; a quiet machine and about twenty minutes.
	@for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name || exit 1; done

clean: ## Remove the environment, caches and builds; results stay.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made anew when what it is made from changes; an interrupted installation leaves no stamp.
$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: leptonbench needs Python 3.11 or newer; choose one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
