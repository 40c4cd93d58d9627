# From a bare machine: `make deploy`. Everything else: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help deploy destroy env test test-long lint unit contract render score rules kind oldest controller app docs awx golden clean

# A service has no HOME.
export HOME := $(or $(HOME),$(shell echo ~))
CACHE := $(or $(TWISTERLAB_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/twisterlab)
# Made once and kept by the hash of the requirements; a recipe that needs Ansible starts with one of these.
USE := venv=$$(scripts/venv.sh requirements.txt 12) && export PATH="$$venv/bin:$(CACHE)/bin:$$PATH" TWISTERLAB_CACHE_DIR="$(CACHE)" &&
USE_DEV := venv=$$(scripts/venv.sh requirements-dev.txt 12) && export PATH="$$venv/bin:$(CACHE)/bin:$$PATH" TWISTERLAB_CACHE_DIR="$(CACHE)" &&

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deploy: ## a local cluster if none is there, then the whole stack; ARGS="-e twisterlab_..." is passed on
	@$(USE) ansible-playbook deploy.yml $(ARGS)

destroy: ## the workloads; data and secrets stay unless ARGS says otherwise (see README)
	@$(USE) ansible-playbook destroy.yml $(ARGS)

env: ## for eval "$$(make -s env)": the project's ansible and kubectl on PATH, KUBECONFIG of the local cluster
	@$(USE) echo "export PATH='$$venv/bin:$(CACHE)/bin':\"\$$PATH\" KUBECONFIG='$(CACHE)/clusters/twisterlab/kubeconfig'"

test: ## all tests, from cheap to dear
	@scripts/test.sh lint unit contract render score rules oldest controller app kind

test-long: ## a backup of one gibibyte, and all tests on the cluster, with every playbook killed ten times in the place of once
	@TWISTERLAB_TEST_LONG=1 TWISTERLAB_TEST_KILLS=10 scripts/test.sh app kind

lint unit contract render score rules oldest controller app kind: ## one stage of `make test`
	@scripts/test.sh $@

docs: ## docs/variables.md from the roles' argument specs, the drawing of docs/network.md, the table of rights in docs/security.md
	@$(USE_DEV) python scripts/variables.py && python scripts/network.py && python scripts/rights.py

awx: ## awx/surveys.yml from the roles' argument specs
	@$(USE_DEV) python scripts/awx.py

golden: ## the expected renders anew, after a change that is meant
	@$(USE_DEV) python -m pytest -q tests/render --update-golden

clean: ## what the tests and renders left in this folder
	@rm -rf build .pytest_cache .ruff_cache .mypy_cache .hypothesis
