# Needs Python 3.11 or newer with pip, and make. Everything is installed into .venv from the lock files.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# Tests wait for processes and limits a sixth of their time: three processes keep two cores busy.
PYTEST := $(BIN)/pytest --numprocesses 3 --dist loadgroup
COMPILE := $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --no-annotate --no-emit-index-url \
	--no-emit-find-links --no-emit-trusted-host

# Tests start processes by the dozen: where bytecode is not stored, each compiles the program and its tests anew.
fast test slow fuzz coverage: export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo fast test slow fuzz coverage fix lint venv dev screenshots reference bench lock clean docs

help:  ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

venv: .venv/installed  ## Install what running needs into .venv

dev: .venv/installed-dev  ## Install what tests, checks and benchmarks need, too

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) --requirement requirements.lock
	$(PIP) --no-deps --editable .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(PIP) --requirement requirements-dev.lock
	@touch $@

demo: venv  ## Run the main job on a generated world of 500 listeners, add 10 through simulated services, show matches
	@$(BIN)/spotify-dag demo

fast: dev  ## Run the tests to run at every save: in about a minute, no processes, no browser
	$(BIN)/pytest --numprocesses 2 --dist loadgroup -m "not slow and not medium and not process and not browser"

test: dev  ## Run all tests but those of `make slow`
	$(PYTEST) -m "not slow and not browser"

slow: dev  ## Run kills, whole runs, PostgreSQL, Ray and browsers
	$(PYTEST) -m "slow or browser"

fuzz: dev  ## Run the tests of random input with other input each time: in `make test` it is always the same
	$(PYTEST) -m hypothesis --hypothesis-profile default

coverage: dev  ## Run the tests of `make test`, and list the lines they do not reach
	$(PYTEST) -m "not slow and not browser" --cov spotify_dag --cov-report term-missing:skip-covered

fix: dev  ## Mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: dev  ## Check style, types, the direction of imports, dependencies and the words of the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry spotify_dag
	$(BIN)/deptry . --ignore DEP004
	$(BIN)/python -m tools.words
	$(BIN)/hadolint Dockerfile deploy/cluster.Dockerfile deploy/space/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

docs: dev  ## Make the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

screenshots: dev  ## Make the pictures of the pages that docs/how-to/publish.md shows
	$(BIN)/pytest spotify_dag_tests/app/test_page_looks.py --screenshots

reference: dev  ## Write the pages of docs/reference that follow from the code
	$(BIN)/python -m tools.reference

bench: dev  ## Measure speed and memory
	$(BIN)/python -m bench

lock: dev  ## Resolve the dependencies of pyproject.toml anew
	$(COMPILE) --extra postgres --extra tune --output-file requirements.lock pyproject.toml
	sed -i 's/^torch==\([0-9.]*\)+cpu$$/torch==\1/' requirements.lock
	$(COMPILE) --extra postgres --extra tune --extra ray --extra k8s --extra dev --constraint requirements.lock \
		--output-file requirements-dev.lock pyproject.toml
	sed -i 's/^torch==\([0-9.]*\)+cpu$$/torch==\1/' requirements-dev.lock

clean:  ## Delete everything generated
	rm -rf .venv data/demo site bench/results
