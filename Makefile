# Everything works from a clean clone: the first target that needs the environment makes it.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV ?= .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
WORKERS ?= $(shell nproc)
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-all bench scoreboard setup format clean

demo: setup  ## the whole story on Fashion-MNIST; the report is runs/demo/report.html
	$(BIN)/limbeck demo --out runs/demo

test: setup  ## formatting, lint, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not long"

test-all: setup  ## the long fault and contract matrix too, and the laws on more drawn examples
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) -m long
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) -m "hypothesis and not long" --hypothesis-profile=limbeck-long

bench: $(BENCH_STAMP)  ## make bench NAME=engine: beside its peers, writes benchmarks/results/NAME.json
	test -n "$(NAME)" || { echo "Name one: make bench NAME=engine (or store, stored_epoch)"; exit 2; }
	OMP_NUM_THREADS=1 $(BENCH_VENV)/bin/python -m benchmarks.$(NAME) $(ARGUMENTS)

scoreboard: setup  ## every method under one protocol; resumable, MINUTES=60 stops by itself
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.scoreboard $(MINUTES)

setup: $(STAMP)

define environment
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Limbeck needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 2; }
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || { echo "No virtual environment could be made. On Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
endef

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

$(STAMP): pyproject.toml constraints.txt
	$(call environment,$(VENV))
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@

# Peers come without their dependencies: torchvision from PyPI asks for a CUDA build of torch.
$(BENCH_STAMP): pyproject.toml constraints.txt benchmarks/peers.txt benchmarks/peers-older.txt
	$(call environment,$(BENCH_VENV))
	$(BENCH_VENV)/bin/python $(PIP_INSTALL) --constraint constraints.txt --editable .
	$(BENCH_VENV)/bin/python $(PIP_INSTALL) --no-deps --requirement benchmarks/peers.txt
	rm -rf $(BENCH_VENV)/older
	$(BENCH_VENV)/bin/python $(PIP_INSTALL) --no-deps --target $(BENCH_VENV)/older --requirement benchmarks/peers-older.txt
	touch $@

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(BENCH_VENV) runs build *.egg-info
