# Every task of the repository. `make help` lists them; the first use prepares .venv by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := UV_SYSTEM_CERTS=true $(BIN)/uv --quiet
PROJECTS := pyproject.toml $(wildcard connectors/*/pyproject.toml)
MEMBERS := $(patsubst %/pyproject.toml,%,$(wildcard connectors/*/pyproject.toml))
WORKERS ?= logical
PYTEST := $(BIN)/pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal
ASSETS := hub/web/static/vendor/manifest.json
CATALOGS := $(wildcard hub/translations/*/LC_MESSAGES/messages.po)

.DEFAULT_GOAL := help
.PHONY: help setup assets demo messages test lint format bench certify twins chaos simulate races mutation screenshots lock clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed $(ASSETS) $(CATALOGS:.po=.mo) ## prepare .venv and the front-end files (needs only Python 3.11+ with venv)
	@:

$(VENV)/.uv: tools/bootstrap.txt
	@echo "setup: creating $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tallyhub needs Python 3.11 or later, this is " + sys.version.split()[0] + ". Name another: make setup PYTHON=python3.12")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tools/bootstrap.txt
	@touch $@

$(VENV)/.locked: $(VENV)/.uv requirements.lock
	@echo "setup: installing what requirements.lock names"
	@$(UV) pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.locked $(PROJECTS)
	@echo "setup: installing the workspace: tallyhub $(notdir $(MEMBERS))"
	@$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation --offline -e . $(addprefix -e ./,$(MEMBERS))
	@touch $@

$(ASSETS): $(VENV)/.locked package-lock.json tools/assets.py tools/icons.txt
	@echo "setup: fetching the front-end files"
	@$(BIN)/python tools/assets.py
	@touch $@

assets: $(VENV)/.locked ## fetch the front-end files again
	@$(BIN)/python tools/assets.py
	@touch $(ASSETS)

%.mo: %.po
	@$(BIN)/pybabel --quiet compile --input-file $< --output-file $@

messages: setup ## gather the texts of the pages and bring every catalog up to date; NEW=de begins one
	@$(BIN)/python tools/messages.py $(NEW)

demo: setup ## sell on simulated shops, watch the stock follow and the parcels leave
	@$(BIN)/hub demo $(ARGS)

test: setup ## run the tests
	@$(PYTEST) -m "not slow and not chaos and not certify and not twin" $(ARGS)

lint: setup ## check style, types, layers and what must never be committed
	@$(BIN)/python tools/lint.py

format: setup ## put the code into the house style
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

bench: setup ## measure; writes bench/results.json
	@$(BIN)/python -m bench $(ARGS)

certify: setup ## try every connector against every case of its contract; `make test` takes one case in eight
	@$(PYTEST) connectors/*/tests/*_certified.py docs/examples/larkmart/tests $(ARGS)

twins: setup ## what `make test` runs in one kind of database, in the other kind
	@$(PYTEST) -m "twin and not slow and not chaos" $(ARGS)

chaos: setup ## the long tests that kill processes
	@$(BIN)/pytest -n 0 -m chaos $(ARGS)

simulate: setup ## live through 10,000 simulated worlds, and try 2,000 examples of each machine: ARGS="--seeds 500"
	@$(BIN)/python -m simulation $(ARGS)
	@TALLYHUB_TEST_EXAMPLES=$(or $(EXAMPLES),2000) $(BIN)/pytest -n 0 -o timeout=0 \
	  tests/core/test_stock_book_machine.py tests/store/test_stock_machine.py

races: setup ## 500 buyers in 8 processes for 100 units, ROUNDS times (1000), in each kind of database
	@TALLYHUB_TEST_ROUNDS=$(or $(ROUNDS),1000) $(BIN)/pytest -n 0 tests/store/test_races.py $(ARGS)

mutation: setup ## break the stock code in every small way, and see whether a test notices
	@$(BIN)/mutmut run $(ARGS)
	@$(BIN)/mutmut results

screenshots: setup ## draw the pictures of the docs: ARGS="--base-url URL --password …" of a running `make demo`
	@$(BIN)/python -m tools.screenshots $(ARGS)

lock: $(VENV)/.uv ## resolve requirements.lock and package-lock.json again (UPGRADE=1 takes newer versions)
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean: ## remove everything `make` has made, the environment too
	rm -rf $(VENV) node_modules build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	rm -rf hub/web/static/vendor tests/vendor mutants
	find hub connectors tests tools bench -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
