# `make` lists what there is. With an active virtual environment its tools are used; otherwise .venv is made first.
ifdef VIRTUAL_ENV
BIN := $(VIRTUAL_ENV)/bin
READY :=
else
BIN := .venv/bin
READY := .venv/.ready
endif
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test storms check lint types layout playbooks fix migration bench lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

.venv/.ready: pyproject.toml constraints.txt
	python3 -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY) ## everything in one process, to try it in the browser
	incident-center demo

test: $(READY) ## all tests but the storms, on every core
	pytest

count ?= full
storms: $(READY) ## crashes, cuts, full disks, load; the build machine says count=reduced
	STORMS=$(count) pytest -n 2 --dist worksteal -m storm --timeout 3600 tests/storms tests/broker

check: lint types layout playbooks ## what a commit must pass: linter, types, layout, models = migrations, playbooks

lint: $(READY)
	ruff check
	ruff format --check

types: $(READY)
	mypy

layout: $(READY)
	pytest -q -n 0 tests/architecture tests/test_schema.py

playbooks: $(READY)
	incident-center playbooks check

fix: $(READY) ## let the linter repair and format what it can
	ruff check --fix
	ruff format

migration: $(READY) ## write the migration that the models ask for: make migration m="why"
	python -m tests.support.new_migration "$(m)"
	ruff format migrations
	ruff check --fix migrations

SIZE ?= full
bench: $(READY) ## how fast it is beside others, docs/benchmarks.md; SIZE=small takes minutes
	python -m benchmarks --size $(SIZE)
	python -m benchmarks.publish_cost --rounds $(if $(filter small,$(SIZE)),10,60)

lock: $(READY) ## constraints.txt anew from pyproject.toml
	uv pip compile pyproject.toml --all-extras --universal --upgrade --no-header --no-annotate -q -o constraints.txt
