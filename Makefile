# make run     set up, then the test plans of lab1 on emulators
# make test    set up, then lint, types, import contracts and the project's own tests
.PHONY: run test lint types imports tests bench clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

run: $(VENV)/ready
	$(BIN)/pytest testplans/ --rig=lab1 --emulate

test: lint types imports tests

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/ready
	$(BIN)/mypy

imports: $(VENV)/ready
	$(BIN)/lint-imports

tests: $(VENV)/ready
	$(BIN)/pytest tests/ -p xdist.plugin --numprocesses=2 --dist=loadfile --timeout=600 --durations=15

bench: $(VENV)/ready
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
