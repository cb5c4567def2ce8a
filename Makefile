# Each target does all its own set-up: it needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# On all processors; what is covered is judged in the end, when all of it has run.
COVERED := --numprocesses=auto --dist=worksteal --cov --cov-report= --cov-fail-under=0
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint bench docs clean

demo: $(VENV)/.installed
	$(BIN)/drt-engine demo --output demo --overwrite

test: lint
	rm -f .coverage .coverage.*
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest tests/kernels --quiet $(COVERED)
	$(BIN)/pytest $(COVERED) --cov-append
	$(BIN)/coverage report

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.installed-test
	$(BIN)/pytest benchmarks --quiet --benchmark-only --benchmark-max-time=0.5 --benchmark-columns=min,median,iqr,rounds

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf $(VENV) demo docs/_build .coverage .coverage.*

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "drt-engine needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras; an edit of pyproject.toml installs again.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[$*]'
	touch $@ $(VENV)/.installed
