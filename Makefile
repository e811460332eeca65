# Everything works from a clean clone: the first target that needs the environment makes it.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= $(shell nproc)
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-all bench scoreboard setup format clean

demo: setup  ## the whole story on Fashion-MNIST; the report is runs/demo/report.html
	$(BIN)/limbeck demo --out runs/demo

test: setup  ## formatting, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not long"

test-all: setup  ## the long fault and contract matrix too
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup -m long

bench: setup  ## make bench NAME=stored_epoch: writes benchmarks/results/NAME.json
	$(BIN)/python -m benchmarks.$(NAME)

scoreboard: setup  ## every method under one protocol; resumable, MINUTES=60 stops by itself
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scoreboard $(MINUTES)

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Limbeck needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made. On Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs build *.egg-info
