# The two commands of the README: `make demo` and `make test`. Each installs first, once, what it runs and no more.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: install demo test suite check style types format results docs wheel benchmarks clean

# Byte code of what is installed, and of the package itself, is made by all processors at once: pip would take one, and
# every Python that a test starts would make the package's own again. Files for other Pythons in it are no fault.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib src || true

install: .venv/.installed

.venv/.made:
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	touch $@

# The package alone: what a user needs.
.venv/.package: pyproject.toml constraints.txt | .venv/.made
	$(PIP) --constraint constraints.txt --editable .
	$(COMPILE)
	touch $@

# With the developers' tools: tests, linters, peers.
.venv/.installed: pyproject.toml constraints.txt | .venv/.made
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	$(COMPILE)
	touch .venv/.package $@

demo: .venv/.package
	$(BIN)/zeuxis demo --out runs/demo

# mypy takes one processor: it runs beside the tests. Both go on to their ends, and either may fail.
test: install style
	$(MAKE) --jobs=2 --keep-going types suite

# In the order of their names: modules of few tests, last otherwise, are some of the longest.
suite: install
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

check: style types

style: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Check one claim and keep the result, in place of one from another kind of machine with MORE=--replace:
# make results RECIPE=dcgan
results: install
	$(BIN)/zeuxis reproduce $(RECIPE) --out src/zeuxis/results $(MORE)
	$(MAKE) docs

# The generated pages of docs/: the catalogue, the parts, the results, the degradations, the lecture.
docs: install
	$(BIN)/python tools/generate.py

# The wheel, built, installed into a fresh environment and run from there.
wheel: install
	$(BIN)/python tools/try_wheel.py runs/wheel

# Speed beside peers, one after another on an idle machine; the table is docs/benchmarks-table.md.
benchmarks: install
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache
