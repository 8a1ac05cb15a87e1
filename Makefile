# Two commands: `make demo` and `make test`. Both make .venv first; pip packages only, no root.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DATA ?= synthetic
OUT ?= build/demo
BASE ?= HEAD
ARGS ?=

# NNCF reports usage and compiles a C++ extension unless told not to; neither is wanted
export NNCF_CI := 1

# two workers, neither idle while the other has tests left, and one thread in each: more threads than cores wait for each other
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

.PHONY: help demo test quick check fuzz replay clean

help:
	@echo "make demo [DATA=folder] [ARGS=...]  train, quantise, emit, verify and measure a keyword spotter; ends in $(OUT)/index.html"
	@echo "make test                the quick and the slow suite"
	@echo "make quick               the quick suite"
	@echo "make check               formatting, lint and types"
	@echo "make fuzz                long random campaigns: malformed models, random graphs, long streams"
	@echo "make replay BASE=rev     the lines of generated C that differ between a revision and the working tree"

$(BIN)/installed: pyproject.toml
	@$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11)" || { echo "Python 3.11 or newer is needed: make PYTHON=path"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(BIN)/installed
	$(BIN)/kws demo --data $(DATA) --out $(OUT) $(ARGS)

test: $(BIN)/installed
	$(PYTEST)

quick: $(BIN)/installed
	$(PYTEST) -m "not slow"

check: $(BIN)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fuzz: $(BIN)/installed
	$(BIN)/python tests/fuzz_tflite.py --count 200000
	$(BIN)/python tests/fuzz_graphs.py --count 2000
	@if [ -f $(OUT)/model.tflite ]; then $(BIN)/python benchmarks/stream.py $(OUT)/model.tflite; \
	else echo "no $(OUT)/model.tflite: after make demo, the long stream runs too"; fi

replay: $(BIN)/installed
	@$(BIN)/python tests/replay.py $(BASE) $(ARGS)

clean:
	rm -rf build
