# `make help` lists what there is. PYTHON chooses the interpreter (3.11 or newer) that makes the environment.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DATA ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help demo install test slow torture soak check lint types imports docs format bench accuracy shipped image-check secrets wheel clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## install everything into .venv and watch chest images go through the whole system
	@$(PYTHON) examples/install.py --venv $(VENV)
	@$(BIN)/medjobs demo

install: ## install for development into .venv (CPU build of torch where there is no NVIDIA driver)
	@$(PYTHON) examples/install.py --venv $(VENV) --dev

# What starts workers and kills them has time limits, so it has the machine for itself; the rest shares the cores.
test: install ## install, then run the tests (some twenty minutes on two cores)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --ignore tests/processes --ignore tests/e2e tests
	$(BIN)/python -m pytest tests/processes tests/e2e

slow: install ## the tests that take longer than a minute each
	$(BIN)/python -m pytest -m slow --timeout=1800

torture: install ## every fault on SQLite and PostgreSQL, every guard switched off (SEED=n replays; docs/torture.md)
	$(BIN)/python -m tests.torture --guards --report torture.md $(if $(SEED),--seed $(SEED))

soak: install ## an hour of all faults mixed on each database, with the memory of every process (MINUTES=60)
	$(BIN)/python -m tests.torture --soak $(or $(MINUTES),60) --report soak.md $(if $(SEED),--seed $(SEED))

check: lint types imports docs ## lint, types, import rules, documents

lint: install ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy --strict
	$(BIN)/mypy

imports: install ## imports point down (import-linter)
	$(BIN)/lint-imports

docs: install ## every command, link, setting, state and code in the documents against the code
	$(BIN)/python -m pytest -q tests/docs

format: install ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## end-to-end rates and latencies beside the bare model, in one run
	$(BIN)/python -m benchmarks

accuracy: install ## figures of the shipped models on their test parts, beside the baseline
	$(BIN)/python -m models.diagnosis.accuracy

shipped: install ## train the shipped models again by jobs of a stack of their own (DATA=folder NAMES="chest-pneumonia")
	$(BIN)/python examples/ship.py --data $(DATA) $(NAMES)

image-check: install ## build the image and start every service of docker-compose.yml without Docker (root; WORK=folder)
	$(BIN)/python -m deploy.check $(if $(WORK),--work $(WORK))

secrets: ## make what docker-compose.yml reads from secrets/
	@sh deploy/secrets.sh

wheel: install ## build the wheel into dist/
	$(BIN)/python -m pip -q wheel --no-deps -w dist .

clean: ## remove what was built, and the environment
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
