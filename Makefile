# `make` lists the verbs. Everything happens in .venv, which `make setup` makes from a bare Python 3.11 or newer.

SHELL := /bin/sh
PY := .venv/bin/python
SETUP = @python=$$(sh scripts/python.sh) && "$$python" scripts/setup.py
PYTEST := $(PY) -m pytest -n auto --maxprocesses 8 --dist loadgroup
ARGS ?=
STORE ?=
ENGINE ?=
GROUND_SERVICES = $(if $(STORE)$(ENGINE),corpus postgres s3 $(if $(ENGINE),redis kubernetes),corpus)
CHECKS := 'ruff check --output-format concise' 'ruff format --check --output-format concise' \
  'lint-imports --no-logo' 'pyright --pythonpath $(PY)'

.DEFAULT_GOAL := help
.PHONY: help setup demo test conformance faults lint format bench docs clean

help: ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo 'More arguments for pytest: make test ARGS="-k cache". Another Python: make clean setup PYTHON=python3.13.'

setup: ## make .venv, or bring it up to date
	$(SETUP) test

demo: setup ## run the iris pipeline here and trace its model
	@$(PY) scripts/demo.py

test: setup ## every suite; without its service a test is skipped, with the reason
	$(PYTEST) $(ARGS)

conformance: setup ## every corpus pipeline, the long ones too; STORE=postgres+s3, ENGINE=celery: on these
	@mkdir -p build
	PENSTOCK_FULL=1 PENSTOCK_TEST_STORE=$(STORE) PENSTOCK_TEST_ENGINE=$(ENGINE) PENSTOCK_REQUIRE='$(GROUND_SERVICES)' \
	  $(PYTEST) tests/conformance$(if $(STORE),/test_servers.py)$(if $(ENGINE),/test_celery.py) \
	  --junitxml=build/conformance.xml $(ARGS); status=$$?; \
	  $(PY) -m tests.conformance.page $(or $(STORE),$(ENGINE),embedded) build/conformance.xml && exit $$status

faults: setup ## kill at every failpoint and at random, all seeds
	PENSTOCK_FULL=1 $(PYTEST) tests/faults $(ARGS)

lint: setup ## ruff, the layers, pyright; all of them, whatever the first says
	$(SETUP) lint
	@status=0; for check in $(CHECKS); do \
	  echo "$$check"; PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/$$check || status=1; \
	done; exit $$status

format: setup ## let ruff format and sort
	$(SETUP) lint
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

bench: setup ## measure; writes docs/benchmarks.md
	$(PY) -m tests.benchmarks $(ARGS)

docs: setup ## build the documentation into site/
	$(SETUP) docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

clean: ## remove whatever the verbs made
	rm -rf .venv .venvs .demo build site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find core dags scripts tests workers -name __pycache__ -type d -prune -exec rm -rf {} +
