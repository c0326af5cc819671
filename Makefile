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
.PHONY: help demo test soak check fmt cluster-up cluster-down bench lock clean environment

help:
	@echo "make demo          see reroll do its main job, step by step"
	@echo "make test          all tests; those on a real control plane need Go (built once, some minutes)"
	@echo "make soak          random plays with every fault, for MINUTES=60"
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
test: environment
	@$(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile --durations=15 $(ARGS)

# For so many minutes, with ever new seeds: random plays on a real control plane (docs/testing.md).
MINUTES ?= 60
soak: environment
	@REROLL_SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -q -x tests/stateful $(ARGS)

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
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@scripts/set-up
