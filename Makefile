# Each target does all its own set-up: it needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# On all processors; what is covered is judged in the end, when all of it has run.
COVERED := --cov --cov-report= --cov-fail-under=0
SHARED  := --numprocesses=auto --dist=worksteal
# Each target tells what it did in one piece, where make can do that.
SYNC    := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
FUZZ    := tests/readers/test_fuzz.py tests/test_fuzz_hdf5.py tests/safety/test_fuzz.py
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Tests begin sooner where Python may keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check fuzz lint bench docs clean uncompiled everything compiled

demo: $(VENV)/.installed
	$(BIN)/drt-engine demo --output demo --overwrite

# What answers soon: all but the slow tests, without a record of the lines that they run, which takes half as long again.
test: $(VENV)/.installed-test
	$(MAKE) --jobs=3 $(SYNC) lint compiled $(VENV)/.collected
	$(BIN)/pytest -m 'not slow' --quiet $(SHARED)

# Everything, and as long as it runs two minutes of made-up input beside it.
check: $(VENV)/.installed-test
	rm -f .coverage .coverage.*
	$(MAKE) --jobs=3 $(SYNC) lint uncompiled compiled
	$(MAKE) --jobs=2 $(SYNC) everything fuzz
	$(BIN)/coverage report

# One thread for the linear algebra of each process, since a second one of small matrices does little but wait, at full
# load: that doubles the processor time. Tests of threads have theirs.
test check compiled uncompiled everything fuzz: export OPENBLAS_NUM_THREADS = 1

everything: $(VENV)/.collected
	$(BIN)/pytest --quiet $(SHARED) $(COVERED) --cov-append $(addprefix --ignore=,$(FUZZ))

# Kernels as plain Python, by which it is seen which of their lines are tested.
uncompiled: $(VENV)/.collected
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest tests/kernels -m 'not slow and not compiled' --quiet $(SHARED) $(COVERED)

# Once, and not by every process of the tests at the same time.
compiled: $(VENV)/.compiled

# Made-up input against readers, HDF5 files, conditions and job files, for so many seconds of processor time in all:
# beside the tests it takes above all what they leave while they wait, and ends at about the same time.
fuzz: export DRT_ENGINE_FUZZ_SECONDS ?= 120
fuzz: $(VENV)/.installed-test
	nice -n 10 $(BIN)/pytest $(FUZZ) --quiet

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

$(VENV)/.compiled: $(wildcard kernels/drt_kernels/*.py) | $(VENV)/.installed-test
	$(BIN)/python tests/compile_kernels.py
	touch $@

# pytest writes assertions anew so that they say more, and keeps what comes of it: once, and not in each of several
# processes. What is wrong with a file is told by the tests.
$(VENV)/.collected: $(wildcard tests/*.py tests/*/*.py) | $(VENV)/.installed-test
	$(BIN)/python tests/rewrite_assertions.py >/dev/null 2>&1 || $(BIN)/pytest --collect-only --quiet >/dev/null || true
	touch $@

# One stamp for each set of extras; an edit of pyproject.toml installs again.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[$*]'
	touch $@ $(VENV)/.installed
