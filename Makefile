# Two commands do everything on a machine with Python 3.11, make and apt: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay with one worker, which makes what they share once; tests/conftest.py puts the long ones first.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder
export NEUTRO_DEMO_AS_OF := 2026-11-22T02:00:00
# The tests start the command hundreds of times: its modules are compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check coverage bench bench-large docs lock sbom clean

demo: $(VENV)/.core
	@$(BIN)/neutro-screen run --labs sample_data/labs.csv --medications sample_data/medications.csv \
	  --patients sample_data/patients.csv --diagnoses sample_data/diagnoses.csv --events sample_data/events.csv \
	  --store reports/demo/screen.duckdb --reports reports/demo --as-of $(NEUTRO_DEMO_AS_OF)

test: $(VENV)/.dev $(VENV)/.browser $(VENV)/.postgresql
	$(PYTEST)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pip check

# Tests with coverage.py, slower than `make test`; fails below the floor in pyproject.toml (docs/adr/0013).
coverage: $(VENV)/.dev $(VENV)/.browser $(VENV)/.postgresql
	$(PYTEST) --cov --cov-report=term

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

bench-large: $(VENV)/.dev
	$(BIN)/python -m benchmarks --large

docs: $(VENV)/.dev
	$(BIN)/python -m docs.build
	$(BIN)/zensical build --clean
	@find site -name '*.py' -delete
	@echo "open site/index.html"

# Each stamp is made again when what it was made from changes.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: requirements.lock pyproject.toml | $(VENV)/bin/python
	@test -f $(VENV)/.dev || $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.core

# The browser tests drive Debian's Chromium; where it cannot be installed the command says what to do.
$(VENV)/.browser: | $(VENV)/bin/python
	@command -v chromium >/dev/null 2>&1 || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null) \
	  || { echo "The browser tests need Chromium: run 'sudo apt-get install chromium' and repeat."; exit 1; }
	@touch $@

# One test file starts a PostgreSQL server of its own; Debian's package brings the programs.
$(VENV)/.postgresql: | $(VENV)/bin/python
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 \
	  || (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null) \
	  || { echo "The PostgreSQL tests need its server: run 'sudo apt-get install postgresql' and repeat."; exit 1; }
	@touch $@

# The locks name versions and hashes, no registry. They are complete: pip is told not to resolve anything itself (with hashes
# it looks past the pin of a package that another one asks for with an extra); `make check` ends with `pip check`.
lock:
	uv pip compile --universal --generate-hashes --no-header --python-version 3.11 --extra build pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --no-header --python-version 3.11 --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

# The list of components (CycloneDX): what an installation from requirements.lock brings. The warning that is switched off asks
# for the graph of dependencies, which a lock does not hold.
sbom: $(VENV)/.dev
	@$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --validate -o sbom.json
	@echo "sbom.json"

clean:
	rm -rf $(VENV) reports/demo sbom.json
