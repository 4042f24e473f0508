# Two commands matter: `make figures` and `make test`. Both need Python >= 3.11 and make, nothing else.
# Settings, each given as NAME=value:
#   PRESET   smoke | quick | paper   how long the experiments may take     (make figures)
#   JOBS     how many processes share the tests                            (make test)
#   ARGS     passed to pytest, python -m benchmarks                        (make test, make bench)
#   PYTHON   the interpreter to use instead of the newest one found
#   VENV     where the environment lies

VENV   ?= .venv
PRESET ?= quick
JOBS   ?= 2
ARGS   ?=
SPHINXOPTS ?=

py  := $(VENV)/bin/python
env := @sh tools/environment.sh "$(VENV)"

# The settings reach the scripts through the environment, however they were given.
export PYTHON SOAP_JAX SOAP_TORCH
# An activated environment or a foreign module path must not leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help figures test lint format notebooks docs bench peers oracles constraints clean

help: ## this list
	@echo "TheoryLab: make TARGET [NAME=value]"
	@sed -n 's/^\([a-z]*\):.* ## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 16
	@sed -n 's/^#   /  /p' $(MAKEFILE_LIST)

figures: ## regenerate the headline figures on real data, check their claims, say where they are
	$(env) experiments
	@echo "== regenerating the figures, preset $(PRESET)"
	@"$(py)" -m experiments all --preset "$(PRESET)"

test: ## run the tests, and the examples in the docstrings
	$(env) dev
	@echo "== running the tests"
	@"$(py)" -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: ## ruff, mypy, and who may import whom
	$(env) dev
	@"$(VENV)/bin/ruff" check .
	@"$(VENV)/bin/ruff" format --check .
	@"$(py)" -m mypy
	@PYTHONPATH=. "$(VENV)/bin/lint-imports"

format: ## put the code into ruff's form
	$(env) dev
	@"$(VENV)/bin/ruff" check --fix .
	@"$(VENV)/bin/ruff" format .

notebooks: ## execute the notebooks; the executed copies go to build/notebooks
	$(env) notebooks
	@"$(py)" tools/run_notebooks.py

docs: ## build the site into docs/_build/html, warnings being errors
	$(env) docs
	@"$(py)" -m sphinx -W --keep-going -q $(SPHINXOPTS) -b html docs docs/_build/html
	@echo "== docs/_build/html/index.html"

# Peers have no wheels for every Python: a benchmark says which ones are missing.
bench: ## time TheoryLab against its peers in one run
	$(env) dev
	-$(env) interop
	@"$(py)" -m benchmarks $(ARGS)

peers: ## make the environment of the optimizers' peers, PyTorch among them
	@bash benchmarks/make_peers.sh

oracles: ## make the frozen reference arrays again, in an environment of their own
	@bash tests/oracles/make.sh
	$(env) dev,interop
	@JAX_PLATFORMS=cpu "$(py)" tests/oracles/generate_transport.py

constraints: ## choose the exact versions in constraints.txt again
	@python=$$(sh tools/find_python.sh) && "$$python" tools/update_constraints.py

clean: ## remove the environment, caches and builds; published figures stay
	rm -rf "$(VENV)" .cache build dist docs/_build docs/_generated .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path "./.*" -prune -exec rm -rf {} +
