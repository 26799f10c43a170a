# make run     set up, then the test plans of lab1 on emulators
# make test    set up, then lint, types, import contracts and the project's own tests
.PHONY: run test lint types imports tests bench clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What is compiled is kept, whatever the caller's shell says: the tests start some five hundred processes, and each
# would compile the whole house for itself.
unexport PYTHONDONTWRITEBYTECODE

run: $(VENV)/ready
	$(BIN)/pytest testplans/ --rig=lab1 --emulate

# Types are checked while the tests begin, on the core that they leave.
test: $(VENV)/ready
	$(MAKE) --no-print-directory --jobs=2 lint types imports tests

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/ready
	$(BIN)/mypy

imports: $(VENV)/ready
	$(BIN)/lint-imports

# Three files at a time on two cores: what ends a run on a rig in real time waits for most of it. In the order of
# tests/conftest.py, which begins with the longest.
tests: $(VENV)/ready
	$(BIN)/pytest tests/ -p xdist.plugin --numprocesses=3 --dist=loadfile --no-loadscope-reorder --timeout=600 --durations=15

bench: $(VENV)/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/round_trip.py
	$(BIN)/python benchmarks/bench_open.py
	$(BIN)/python benchmarks/plant_speed.py

# The project is installed in place: the folder fixtures/ answers to the name rackproof_fixtures.
# One short plan shows whether what was installed works, and leaves compiled what every run loads.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	-$(BIN)/pytest testplans/communication --rig=lab1 --emulate --no-live --quiet --runs=$(VENV)/trial
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
