# All but clean and help make .venv when there is none, and bring it up to date when
# what is to be installed has changed.

PYTHON ?= python3
VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
SOURCES := setup.py pyproject.toml tfcaps/__init__.py $(wildcard bin/*)
# setuptools warns of every editable installation.
PIP := PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# A folder of its own for each demo: a run never writes over another one.
LOG_DIR ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help

.PHONY: demo check test lint types bench fuzz chaos docs lock licences format clean help

help:
	@echo "make demo    learn handwritten digits with EM routing, into runs/demo-TIME (LOG_DIR=... elsewhere)"
	@echo "make check   lint, types, and the tests that start no process, train nothing and are quick: for the daily loop"
	@echo "make test    run all tests (ARGS=... goes to pytest, e.g. ARGS=tests/routing)"
	@echo "make lint    check style, format and who imports whom"
	@echo "make types   check the types of arguments and results"
	@echo "make bench   measure speed and memory against a plain reference"
	@echo "make fuzz    read odd command lines and damaged files, CASES=1000 of each kind"
	@echo "make chaos   end programs at random moments, MOMENTS=20 of each, and compare what comes out"
	@echo "make docs    build the site into build/site, strictly; docs/flags.md is written first, from the options"
	@echo "make lock    write requirements.lock: the exact versions of all that setup.py asks for"
	@echo "make licences  write the licences of all packages into docs/dependencies.md"
	@echo "make format  bring the code into the format that lint checks"
	@echo "make clean   remove .venv and all that tools have cached; runs/ stays"
	@echo "PYTHON=python3.12 before or after a target picks the Python that .venv is made with."

demo: $(VENV)/.installed
	$(RUN) bin/train_capsnet --routing=em --flagfile=configs/train_capsnet/demo.flags --log_dir=$(LOG_DIR)

test: $(VENV)/.installed-test
	$(RUN) python -m pytest $(ARGS)

lint: $(VENV)/.installed-test
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) lint-imports --no-logo

types: $(VENV)/.installed-test
	$(RUN) mypy

check: lint types
	$(RUN) python -m pytest -p tests.daily $(ARGS)

format: $(VENV)/.installed-test
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: $(VENV)/.installed
	$(RUN) python -m benchmarks $(ARGS)

fuzz: $(VENV)/.installed-test
	$(RUN) python -m tests.fuzz --cases=$(or $(CASES),1000) $(ARGS)

chaos: $(VENV)/.installed-test
	$(RUN) python -m tests.chaos $(or $(FOLDER),runs/chaos) --moments=$(or $(MOMENTS),20) $(ARGS)

docs: $(VENV)/.installed-docs
	$(RUN) python docs/flags.py
	$(RUN) NO_MKDOCS_2_WARNING=1 python -m mkdocs build

# Of all extras but cuda, which brings gigabytes, and those that only write files of this project.
LOCKED := docs labeling nlp robustness test
lock: $(VENV)/.installed-release
	$(RUN) UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile setup.py $(LOCKED:%=--extra %) \
	  --universal --python-version 3.10 --generate-hashes --quiet --output-file requirements.lock $(ARGS)

# Of all extras: what pip would install is asked for, and not installed.
licences: $(VENV)/.installed-test
	@mkdir -p build
	$(PIP) --dry-run --ignore-installed --report build/licences.json \
	  '.[cuda,docs,labeling,mutation,nlp,release,robustness,test]'
	$(RUN) python docs/licences.py build/licences.json

clean:
	rm -rf $(VENV) build dist *.egg-info .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define CHECK_PYTHON
import sys
found = "%d.%d" % sys.version_info[:2]
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit("tfcaps needs Python 3.10 to 3.13, and $(PYTHON) is Python %s: make ... PYTHON=python3.12" % found)
endef
export CHECK_PYTHON

# $(1): what to install. A .venv whose pip doesn't run (made halfway, or by a Python that is gone)
# is made again. A new pip first: the ones that Python 3.10 and 3.11 bring resolve slowly.
define install
	@if ! $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	  command -v "$(PYTHON)" >/dev/null \
	    || { echo "There is no $(PYTHON): install Python 3.10 to 3.13, or name it as in make ... PYTHON=python3.12" >&2; exit 1; }; \
	  "$(PYTHON)" -c "$$CHECK_PYTHON" || exit 1; \
	  "$(PYTHON)" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing into $(VENV); the first time this takes a few minutes."
	@$(PIP) --upgrade pip
	@$(PIP) --editable '$(1)'
	@touch $@
endef

$(VENV)/.installed: $(SOURCES)
	$(call install,.)

$(VENV)/.installed-docs: $(SOURCES)
	$(call install,.[docs])

$(VENV)/.installed-release: $(SOURCES)
	$(call install,.[release])

$(VENV)/.installed-test: $(SOURCES)
	$(call install,.[test])
