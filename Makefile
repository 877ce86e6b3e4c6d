# Two commands do everything: `make demo` shows the program, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format clean help

help:            ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(READY)   ## Set up, then run the main job on a small world drawn from nothing.
	$(BIN)/sbka demo -o demo

test: $(READY)   ## Set up, then run every test, with types, style and the doors between the rooms.
	$(BIN)/python -m pytest

check: $(READY)  ## Style and types alone: quick.
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(READY) ## Format the code.
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:           ## Remove what the demo and the tests made; keeps the environment.
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

# torch and torchvision must be a matching pair; constraints.txt pins both, and everything else.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make test PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)
