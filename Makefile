# Everything here works on a machine that has only Python 3.11 (or newer) and make: what's missing comes from
# the package registry into .tools and .venv. Go is needed for the real control plane alone.

# The Python to set up with; by default python3, or the newest python3.N on PATH where that is too old.
PYTHON ?=
# Passed on to the tests (make test ARGS="-k rollout"), the demo and the bench.
ARGS ?=

# The version of Kubernetes of the control plane (docs/devcluster.md); by default that of devcluster/versions.py.
K8S ?=

export PYTHON K8S
BIN := .venv/bin
CLUSTER = "$$(scripts/find-python)" devcluster/cluster.py

.DEFAULT_GOAL := help
.PHONY: help demo test quick test-lowest soak check fmt cluster-up cluster-down bench lock clean environment

help:
	@echo "make demo          see reroll do its main job, step by step"
	@echo "make test          all tests; those on a real control plane need Go (built once, some minutes)"
	@echo "make quick         those that need no control plane: the loop of a person at work, under a minute"
	@echo "make test-lowest   make quick on the oldest releases of our dependencies that pyproject.toml allows"
	@echo "make soak          random plays with every fault, for MINUTES=60; failures are listed at its end"
	@echo "make check         lint, types and layers"
	@echo "make fmt           format the code and mend what lint can mend"
	@echo "make cluster-up    start a real control plane to play with; prints its KUBECONFIG"
	@echo "make cluster-down  stop it"
	@echo "make bench         measure reroll on a real control plane"
	@echo "make lock          renew requirements.lock and requirements-runtime.lock"
	@echo "make clean         remove .venv, .tools and all caches of the project"
	@echo
	@echo 'Settings: PYTHON=python3.13 to choose a Python, WORKERS=1 for one process of tests, ARGS="..." for test, demo and bench,'
	@echo '          K8S=1.30.14 for another version of the control plane (docs/devcluster.md).'

demo: environment
	@$(BIN)/reroll demo $(ARGS)

# Processes of tests. Each has a control plane of its own (530 MB), and takes the files of tests one by one. On a
# cluster that is given all tests are in one, for some use the same namespace.
WORKERS ?= $(if $(KUBECONFIG)$(REROLL_TEST_KUBECONFIG)$(findstring --context,$(ARGS))$(findstring --kubeconfig,$(ARGS)),0,2)
# How long all tests may take; then it is told which still run, and they are ended, with all that they started.
LIMIT ?= 30m
# A worker that dies is not replaced: xdist would give its test to the next one, which dies of it too, and so on.
# The files come in our order, the longest first (tests/conftest.py); xdist's own goes by the number of tests.
SPREAD = --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder --max-worker-restart=0
# Where all tests run, branches of the controller are counted, and BRANCHES percent of them have to be taken.
BRANCHES ?= 0
COVERAGE = $(if $(ARGS),,--cov --cov-report=)

test: environment
	@$(BIN)/python scripts/run_tests.py --limit=$(LIMIT) -- $(SPREAD) --durations=15 $(COVERAGE) $(ARGS)
	@$(if $(COVERAGE),$(BIN)/python scripts/branches.py --at-least=$(BRANCHES))

quick: environment
	@$(BIN)/python scripts/run_tests.py --limit=$(LIMIT) -- $(SPREAD) -q -m "not cluster and not slow" $(ARGS)

test-lowest:
	@scripts/test-lowest $(ARGS)

# For so many minutes, with ever new seeds: random plays on a real control plane and on virtual time (docs/testing.md).
# A failure does not end it.
MINUTES ?= 60
soak: environment
	@$(BIN)/python scripts/soak.py $(MINUTES) -- $(ARGS)

check: environment
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: environment
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

cluster-up:
	@$(CLUSTER) up

cluster-down:
	@$(CLUSTER) down

bench: environment
	@$(BIN)/python -m bench $(ARGS)

lock:
	@scripts/set-up uv
	@.tools/bin/uv pip compile --universal --generate-hashes --group dev pyproject.toml -o requirements.lock --python-version 3.11 -q
	@.tools/bin/uv pip compile --universal --generate-hashes pyproject.toml -c requirements.lock -o requirements-runtime.lock --python-version 3.11 -q

clean:
	rm -rf .venv .venv-lowest .tools .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@scripts/set-up
