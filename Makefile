# Two commands on a machine with Python 3.11 or 3.12 and make, nothing else:
#   make quickstart   sets up .venv and runs the main job end to end on an embedded data set; ends with runs/quickstart/report.html
#   make test         sets up .venv and runs the tests (make test-slow: the long proofs)
# PYTHON=python3.12 chooses the interpreter, FLAGS="--tiny" reaches the quickstart, TESTS=tests/flow narrows the tests.

VENV   ?= .venv
TESTS  ?= tests
FLAGS  ?=
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; then echo $$p; break; fi; done)
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TORCH  := $(shell sed -n 's/^torch = \["\(.*\)"\]$$/\1/p' pyproject.toml)

# The lock holds jax for CPUs and both jobs are sized for one; JAX_PLATFORMS=cuda make ... uses a chip where jax has been given one.
export JAX_PLATFORMS ?= cpu

.PHONY: help quickstart test test-slow lint setup torch clean clean-all

help:
	@sed -n '1,5s/^# \{0,1\}//p' Makefile

quickstart: $(STAMP)
	$(BIN)/python -m launch.quickstart $(FLAGS)

# Compiling is most of the work and has one thread: a process a core, a file's tests in one of them.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test: torch
	$(PYTEST) $(TESTS) $(FLAGS)

test-slow: torch
	$(PYTEST) -m slow $(TESTS) $(FLAGS)

lint: $(STAMP)
	$(BIN)/python -m ruff check .

setup: $(STAMP)

# The tests compare with PyTorch, nothing else needs it: outside the lock (its builds differ by machine), and they skip without it.
torch: $(STAMP)
	@$(BIN)/python -c 'import importlib.metadata as m; m.version("torch")' >/dev/null 2>&1 || { \
	echo "== installing $(TORCH), which the tests of torch_io compare with"; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)" \
	|| echo "== $(TORCH) cannot be installed: the tests that compare with PyTorch are skipped"; }

# Made once; again when the lock, the metadata or the chosen interpreter's folder changes. The lock has hashes: pip refuses
# anything else than the tested set.
$(STAMP): requirements.lock pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or 3.12 found; name one with PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "== setting up $(VENV) with $$($(PYTHON) --version) (once; about a minute with a fast connection, 1.5 GB on disk)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 11), (3, 12)) else "error: $(VENV) holds Python %d.%d; remove it and call make again" % v)'
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || { echo "== installing uv into $(VENV)"; $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	@echo "== installing the locked packages (every file checked against its hash)"
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@echo "== installing this project, editable"
	@$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

clean:
	rm -rf runs/quickstart* build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean
	rm -rf $(VENV)
