# Everything from a clean clone with Python 3.11 or newer alone: `make test`, `make demo`. See CONTRIBUTING.md.

PYTHON ?= python3
JOBS ?= 2
COVERAGE ?= --cov --cov-report=term
EXAMPLES ?= 2000
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# What needs no server: a rule, a golden file or an import that broke shows here first.
QUICK := tests/unit tests/golden tests/test_architecture.py

.PHONY: help setup controlplane browser promtool quick test fuzz lint format types bench demo fidelity fidelity-kubernetes docs site changelog dist lock clean spark

help:
	@echo "setup         virtual environment in .venv from requirements.lock (other targets call it)"
	@echo "quick         unit tests, golden files and architecture: no servers, half a minute; ARGS as for test"
	@echo "test          all tests, on real servers, and how much of the code they run; ARGS='-k name' chooses, JOBS=4 runs more at once"
	@echo "fuzz          damaged and forged bytes through every decoder; EXAMPLES=20000 tries that many at each"
	@echo "lint types    ruff and import-linter; mypy"
	@echo "format        rewrite what ruff can"
	@echo "bench         one JSON line per measure"
	@echo "demo          capture, disaster, restore and comparison, before your eyes; ARGS=--keep leaves the archive, and serves its page"
	@echo "fidelity      capture a hard database while it changes, restore ten points, compare; SQL=folder or DSN=… for yours"
	@echo "fidelity-kubernetes  the same for custom resources and other objects; FOLDER=folder of YAML for yours"
	@echo "spark         history files, read by Spark as by DuckDB and a restore"
	@echo "docs          write anew the pages that are made from the code"
	@echo "site          the documentation as a site in .site/html; a link or heading that is not there ends it"
	@echo "changelog     show the next release's section, from changelog.d"
	@echo "dist          sdist and wheel in dist/, as docs/howto/release.md uses them"
	@echo "controlplane  build the Kubernetes test server into the cache folder, once (minutes)"
	@echo "browser       find Chromium, which tests of the page use, or install Debian's package"
	@echo "promtool      put Debian's promtool into the cache folder, once: it tests the chart's alerts"
	@echo "lock          resolve requirements.lock anew"
	@echo "clean         remove .venv and caches of tools"

setup: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@test -x $(BIN)/python || { echo "creating .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing requirements.lock"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

controlplane: setup
	@$(BIN)/python -m tests.servers.controlplane_build

# Tests of the page need Chromium: found, or installed as Debian's package where that can be done; else a sentence says what to install.
browser: setup
	@$(BIN)/python -m tests.servers.browser

# Debian's, without its service; where it cannot be had, the chart's alerts are not tested, and this says why.
promtool: setup
	@$(BIN)/python -m tests.servers.promtool

quick: setup
	$(BIN)/pytest -q -n $(JOBS) $(QUICK) $(ARGS)

test: setup controlplane browser promtool
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(if $(ARGS),$(ARGS),$(COVERAGE))

fuzz: setup
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -q -n $(JOBS) tests/fuzz $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy

bench: setup
	@$(BIN)/python -m benchmarks $(ARGS)

demo: setup
	@$(BIN)/python -m demo $(ARGS)

# SQL=folder of .sql files, SCHEDULE=their order as PostgreSQL's suite writes it, DSN=a database of yours, POINTS=10.
fidelity: setup
	@$(BIN)/python -m fidelity $(if $(SQL),--sql '$(SQL)') $(if $(SCHEDULE),--schedule '$(SCHEDULE)') $(if $(DSN),--dsn '$(DSN)') \
	  $(if $(POINTS),--points $(POINTS)) $(ARGS)

# FOLDER=definitions and objects as YAML; its subfolders, if there are any, are states that follow each other.
fidelity-kubernetes: setup controlplane
	@$(BIN)/python -m fidelity.kubernetes $(if $(FOLDER),--folder '$(FOLDER)') $(if $(POINTS),--points $(POINTS)) $(ARGS)

# Spark comes from PyPI and Maven Central and takes half a gigabyte, so it has a virtual environment of its own; Java 17 is the machine's.
spark: setup .venv-spark/.installed
	SPARK_PYTHON=.venv-spark/bin/python $(BIN)/pytest -q tests/integration/maintenance/spark_reads.py $(ARGS)

.venv-spark/.installed: Makefile
	@$(PYTHON) -m venv .venv-spark
	@.venv-spark/bin/python -m pip --disable-pip-version-check --quiet install 'pyspark==4.1.*'
	@touch $@

docs: setup
	$(BIN)/python -m docs.generate

# What is read in the repository, laid out for the site.
site: setup
	@$(BIN)/python -m docs.site .site
	@$(BIN)/zensical build --strict -f .site/mkdocs.yml

changelog: setup
	@$(BIN)/towncrier build --draft --version next

# The wheel is built from the sdist, so that the sdist is known to be whole.
dist: setup
	rm -rf dist
	$(BIN)/hatchling build -t sdist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz

lock: setup
	@test -x $(BIN)/uv || $(PIP) install uv
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml -o requirements-runtime.lock

clean:
	rm -rf .venv .venv-spark .site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
