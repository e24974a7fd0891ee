# Everything a newcomer and CI run. Needs python3 (3.11 or later) with its venv module, and make; nothing is compiled.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip --quiet --disable-pip-version-check
PYTEST_ARGS ?=
BENCH_ARGS ?=
LAB_ARGS ?=
DIST_ARGS ?=
DEPLOY_VENV := .venv-deploy
DEPLOY_BIN := $(CURDIR)/$(DEPLOY_VENV)/bin
DEPLOY_READY := $(DEPLOY_VENV)/.ready
DEPLOY_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help start test test-long check fix cover bench bench-smoke lab dist deploy-check deploy-test lock lock-deploy clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Set-up runs once for each change of what is to be installed. The pinned set first, then the tree itself on top of it.
$(READY): pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --only-binary :all: --requirement requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# In a terminal's foreground the gateway gets a process group of its own, as under an interactive shell: Ctrl-C then
# reaches it and not make, which would end with an error while the gateway still drains. Fields as in proc(5).
start: $(READY) ## run a gateway here: SOCKS5 and HTTP CONNECT on 127.0.0.1:1080; Ctrl-C drains and stops it
	@read -r _ _ _ _ group _ _ foreground _ </proc/$$$$/stat; \
	if ((group == foreground)); then set -m; $(BIN)/gateway start --workers auto; \
	else exec $(BIN)/gateway start --workers auto; fi

test: $(READY) ## run the tests, but for the long stories; PYTEST_ARGS="-k NAME" picks some
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-long: $(READY) ## tell the stories that take long: many gateways, many sessions, much time
	$(BIN)/python -m pytest --long $(PYTEST_ARGS)

check: $(READY) ## judge the code and change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

fix: $(READY) ## mend what tools can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/codespell --write-changes

cover: $(READY) ## run all tests and show the lines that none of them reached
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage run -m pytest --long $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(READY) ## measure next to HAProxy and nginx; takes minutes, writes bench-results/; BENCH_ARGS="--only bulk" picks some
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-smoke: $(READY) ## run every measurement for a moment, to see that it runs
	$(BIN)/python -m tests.bench --smoke

lab: $(READY) ## measure ladder, download and relays in a WAN emulated here; needs root, writes lab-results/; LAB_ARGS="--repeats 9"
	@mkdir -p lab-results
	$(BIN)/gateway lab ladder --picture lab-results/ladder.svg $(LAB_ARGS)
	$(BIN)/gateway lab download --picture lab-results/download.svg
	$(BIN)/gateway lab relay $(LAB_ARGS)

dist: $(READY) ## make what hosts install: dist/ with one archive of wheels; DIST_ARGS="--machine aarch64" for other hosts
	$(BIN)/python deploy/dist.py $(DIST_ARGS)

# What runs plays has an environment of its own: nothing of it is for gateways, or for their tests.
$(DEPLOY_READY): requirements-deploy.txt
	$(PYTHON) -m venv $(DEPLOY_VENV)
	$(DEPLOY_BIN)/pip --quiet --disable-pip-version-check install --only-binary :all: --requirement requirements-deploy.txt
	@touch $@

deploy-check: $(DEPLOY_READY) ## judge the plays in deploy/ansible
	cd deploy/ansible && export PATH="$(DEPLOY_BIN):$$PATH" && ansible-lint && \
	ansible-playbook --inventory inventory.example --syntax-check *.yml

deploy-test: $(DEPLOY_READY) dist ## deploy to three Debian hosts made here, and see how they fare; needs root; DEPLOY_ARGS="-k NAME"
	MIDMILE_DEPLOY_ANSIBLE=$(DEPLOY_BIN)/ansible-playbook $(BIN)/python -m tests.deploy dist $(DEPLOY_ARGS)

lock: ## write requirements-dev.txt anew from pyproject.toml
	set -euo pipefail; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/pip" install --quiet --only-binary :all: --upgrade setuptools; \
	"$$fresh/bin/pip" install --quiet --prefer-binary --no-build-isolation '.[dev]'; \
	{ head -1 requirements-dev.txt; "$$fresh/bin/pip" freeze --all | grep -vE '^(pip|midmile)\b'; } > "$$fresh/lock"; \
	cp "$$fresh/lock" requirements-dev.txt

lock-deploy: ## write requirements-deploy.txt anew from pyproject.toml
	set -euo pipefail; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["deploy"])' \
		| xargs "$$fresh/bin/pip" install --quiet --only-binary :all:; \
	{ head -1 requirements-deploy.txt; "$$fresh/bin/pip" freeze; } > "$$fresh/lock"; \
	cp "$$fresh/lock" requirements-deploy.txt

clean: ## remove all that was made, the environment too
	rm -rf $(VENV) $(DEPLOY_VENV) deploy/ansible/.ansible build dist *.egg-info bench-results lab-results .import_linter_cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
