# Every target builds what it needs: a virtual environment in .venv, and in it the extra it asks for.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := JAX_PLATFORMS=$${JAX_PLATFORMS:-cpu} $(BIN)/python -m pytest
ARGS ?=

# The extra `oracle` (torch, transformers, diffusers): 1 installs it, 0 does not, auto does where pip
# finds a CPU wheel of torch: on macOS in the registry, elsewhere in its find-links (PIP_FIND_LINKS).
ORACLE ?= auto
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)",/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help bench test test-all test-aot lint type fmt clean
.NOTPARALLEL:

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

bench: .venv/.stamp-bench  ## run the benchmark; options in ARGS, as in: make bench ARGS="--quick"
	@$(BIN)/python -m sod2jax.bench $(ARGS)

test: .venv/.stamp-test .venv/.stamp-oracle  ## run the fast tests; ORACLE=0 does not install torch, ORACLE=1 does
	@$(PYTEST) $(ARGS)

test-all: .venv/.stamp-test .venv/.stamp-oracle  ## run all tests, the slow ones too, with more examples, compiled in full
	@TEST_PROFILE=thorough $(PYTEST) -m "" $(ARGS)

# One process: the TPU compiler takes memory, and a lock.
test-aot: .venv/.stamp-test .venv/.stamp-aot  ## compile for a GPU and a TPU that are not there (1.3 GB more)
	@TPU_SKIP_MDS_QUERY=1 ALLOW_MULTIPLE_LIBTPU_LOAD=1 $(PYTEST) -n0 -m "cuda_aot or tpu_aot" tests/aot $(ARGS)

lint: .venv/.stamp-dev  ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: .venv/.stamp-dev  ## check types
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

fmt: .venv/.stamp-dev  ## fix style and formatting where that can be done safely
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:  ## remove the virtual environment, caches and build outputs
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.stamp-venv:
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.stamp-bench .venv/.stamp-test .venv/.stamp-dev: .venv/.stamp-%: .venv/.stamp-venv pyproject.toml
	@echo "Installing sod2jax[$*$(ALSO)] into .venv"
	@$(PIP) install -e '.[$*$(ALSO)]'
	@touch $@

.venv/.stamp-aot: .venv/.stamp-venv pyproject.toml
	@echo "Installing sod2jax[cuda-aot,tpu-aot] into .venv"
	@$(PIP) install -e '.[cuda-aot,tpu-aot]'
	@touch $@

# The inputs of the models are photographs and speech.
.venv/.stamp-bench: ALSO := ,models

# Decided once per environment; a decision given by hand is not remembered.
ifeq ($(ORACLE),auto)
.venv/.stamp-oracle: .venv/.stamp-test
	@if [ "$$(uname)" != Darwin ] && ! $(BIN)/python -m pip install --no-index --no-deps --dry-run \
	    --ignore-installed '$(TORCH)' 2>/dev/null | grep -q 'Would install .*+cpu'; then \
	  echo "No CPU wheel of $(TORCH) found: tests that need torch are skipped (ORACLE=1 installs it)"; \
	  touch $@; \
	elif echo "Installing sod2jax[oracle] into .venv" && $(PIP) install -e '.[oracle]'; then \
	  touch $@; \
	else \
	  echo "Installing $(TORCH) failed: tests that need torch are skipped"; \
	fi
else
.PHONY: .venv/.stamp-oracle
.venv/.stamp-oracle: .venv/.stamp-test
	@if [ "$(ORACLE)" = 1 ]; then $(PIP) install -e '.[oracle]'; fi
endif
