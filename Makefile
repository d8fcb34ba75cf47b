# Needs Python 3.11 or newer with pip, and make. Everything is installed into .venv from the lock file.
PYTHON ?= python3
BIN := .venv/bin
DEMO := data/demo
SIMULATE := $(BIN)/spotify-dag simulate --users 505 --

.PHONY: help demo test lint venv screenshots reference bench lock clean

help:  ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

venv: .venv/installed  ## Install everything into .venv

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: venv  ## Run the main job on a generated world of 500 listeners, add 5 through the Web API, show matches
	@$(BIN)/spotify-dag --data $(DEMO) run --source synthetic --users 500
	@echo 'Five more listeners, read from a simulated Spotify:'
	@seq -f 'synthetic-%06g' 500 504 > $(DEMO)/spotify_users.txt
	@$(SIMULATE) $(BIN)/spotify-dag --data $(DEMO) run --source spotify --path $(DEMO)/spotify_users.txt
	@$(BIN)/spotify-dag --data $(DEMO) recommend synthetic-000007 -k 5
	@echo 'The pages people use, the graph in the Dagster UI and a simulated Spotify, in one terminal:'
	@echo '  $(BIN)/spotify-dag --data $(DEMO) up'

# Tests wait for processes and limits a sixth of their time: three of them keep two cores busy.
test: venv  ## Run all tests
	$(BIN)/pytest --numprocesses 3 --dist loadgroup

lint: venv  ## Check style, types, the direction of imports and the words of the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.words

screenshots: venv  ## Make the pictures of the pages that docs/how-to/publish.md shows
	$(BIN)/pytest spotify_dag_tests/app/test_pages.py --screenshots

reference: venv  ## Write the pages of docs/reference that follow from the code
	$(BIN)/python -m tools.reference

bench: venv  ## Measure speed and memory
	$(BIN)/python -m bench

lock: venv  ## Resolve the dependencies of pyproject.toml anew
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra postgres --extra tune --strip-extras --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	sed -i 's/^torch==\([0-9.]*\)+cpu$$/torch==\1/' requirements.lock

clean:  ## Delete everything generated
	rm -rf .venv data/demo bench/results
