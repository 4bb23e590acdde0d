# `make` lists the targets. Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PYTHON ?= python3.11
WORKERS ?= 2
TESTS ?= tests

BIN := .venv/bin
READY := .venv/.ready
UNFINISHED := .venv/.unfinished

export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
PIP_INSTALL = $(BIN)/python -m pip install -qq --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint format types constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## create .venv with the pinned packages

# A .venv whose making was interrupted is made again from nothing; one that was made by hand, or that
# only wants an update, is kept and installed into.
$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "error: PYTHON=$(PYTHON) must be Python 3.11, 3.12 or 3.13; give one, such as: make setup PYTHON=python3.12" >&2; \
	  exit 1; }
	@if [ -e $(UNFINISHED) ]; then echo "the last set-up was interrupted: starting again"; rm -rf .venv; fi
	@echo "setting up .venv: the first time downloads 1 GB, and more where torch comes with CUDA"
	@[ -x $(BIN)/python ] || { mkdir -p .venv && touch $(UNFINISHED) && $(PYTHON) -m venv .venv; }
	@$(PIP_INSTALL) setuptools
	@$(PIP_INSTALL) --no-build-isolation --editable '.[test,dev]'
	@touch $(READY) && rm -f $(UNFINISHED)

demo: $(READY) ## the whole way on embedded reviews, from training to the dossier: under five minutes
	@$(BIN)/python -m bias.demo

# One thread a worker: more of them only wait for one another on a small machine.
test: export OMP_NUM_THREADS ?= 1
test: $(READY) ## run the tests (TESTS=tests/models for some of them)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

check: lint types test ## what CI runs: format, lint, types, tests

lint: $(READY) ## check format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(READY) ## format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(READY) ## check types
	$(BIN)/mypy

# Resolved afresh inside the ranges of setup.cfg, apart from .venv. One file serves all machines: a
# build's suffix (+cpu) and what a CUDA build of torch pins itself are left out, and both ONNX
# Runtimes are in, of which setup.cfg installs one.
constraints: ## write constraints.txt anew from setup.cfg (on Linux x86-64)
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/python -m pip install --quiet --editable '.[test,dev,bench]'
	.venv-constraints/bin/python -m pip freeze --all --exclude-editable --exclude pip > .venv-constraints/pins
	echo "# Every version that \`make setup\` installs, and the benchmarks' peers. Regenerate with: make constraints" > constraints.new
	sed -E -e 's/\+.*$$//' -e '/^(cuda|nvidia|triton)/d' -e '/^onnxruntime-gpu==/{p;s/-gpu//;}' \
	  .venv-constraints/pins >> constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-constraints

clean: ## remove caches and build leftovers; .venv and runs stay
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
