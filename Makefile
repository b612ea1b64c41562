# The same verbs on a laptop and in CI. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := __main__.py settings.py config_reader.py composition.py bootstrap components checks scripts rehearsal ami examples benchmarks tests

.DEFAULT_GOAL := help
.PHONY: help setup check format test rehearse bench clean lock

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

setup: .venv/ready ## Make the virtual environment with the locked packages

.venv/ready: requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@

check: setup ## Lint, format and types, on all folders
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/run ami/provision/*.sh

format: setup ## Put the code into the one format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

test: setup ## Run every test, the rehearsal among them (needs root for that one)
	@$(BIN)/python -m rehearsal.install tests || echo "tests that need what is missing are skipped, each with its reason"
	$(BIN)/python -m pytest $(ARGS)

rehearse: setup ## Play the whole journey on this machine; report in build/rehearsal/
	$(BIN)/python -m rehearsal $(ARGS)

bench: setup ## Measure what the program and the boot cost; figures in build/benchmarks.json
	$(BIN)/python -m benchmarks $(ARGS)

clean: setup ## Remove what dead rehearsals left, and the caches
	$(BIN)/python -m rehearsal.ground sweep
	rm -rf build .mypy_cache .ruff_cache .pytest_cache

lock: setup ## Resolve the packages of pyproject.toml anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-annotate pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-annotate --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
