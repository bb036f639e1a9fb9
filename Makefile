# Two commands do everything on a machine with Python >= 3.11, make and pip: `make demo` and `make test`.
# The environment is built once in .venv from exact pins; uv is used where it is present.
# `make test-slow EXTRAS=test,spark` also tries Spark, which wants Java 17.

PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= test
STAMP := .venv/.installed-$(EXTRAS)
CONSTRAINTS := $(abspath constraints.txt)

.PHONY: env demo test test-slow docs examples bench clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" .venv && \
	  uv pip install --quiet --python $(BIN)/python -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'; \
	else \
	  $(PYTHON) -m venv .venv && \
	  PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[$(EXTRAS)]'; \
	fi
	@touch $(STAMP)

demo: env
	$(BIN)/riskmodel demo

test: env
	$(BIN)/python -m pytest

test-slow: env
	$(BIN)/python -m pytest -m slow

docs: env
	$(BIN)/python -m pytest tests/test_docs.py

examples: env
	$(BIN)/python docs/examples/make.py

bench: env
	$(BIN)/python benchmarks/panels.py
	$(BIN)/python benchmarks/leaky.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis riskmodel-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
