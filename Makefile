# Needs Python 3.11 or newer, make and the package registries. `make help` lists the targets.

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix lint bench bench-sync bench-engine bench-schedules chaos clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(READY) ## sync 60 simulated accounts on an embedded Postgres; ONCE=1 stops after the summary
	$(BIN)/tidemill demo $(if $(filter-out 0,$(ONCE)),--once)

test: lint ## lint, then every test but the long fault runs
	scripts/debian-packages
	$(BIN)/pytest -n 2 --dist loadfile

test-matrix: $(READY) ## the tests that depend on the server: PostgreSQL 15, 16, and 18 as a plain owner; LEGS=15 chooses
	scripts/debian-packages
	$(BIN)/python -m tests.matrix $(LEGS)

lint: $(READY) ## style, format, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: bench-sync bench-engine bench-schedules ## every benchmark there is

bench-sync: $(READY) ## measure the sync against a bare HTTP loop and the one-by-one algorithm
	$(BIN)/python -m benchmarks.sync

bench-engine: $(READY) ## measure the job engine against its limit and its peers; QUICK=1 only sees that it runs
	$(BIN)/python -m benchmarks.engine $(if $(filter-out 0,$(QUICK)),--quick)

bench-schedules: $(READY) ## measure a tick of 10,000 due schedules against a bare statement that writes the same; QUICK=1
	$(BIN)/python -m benchmarks.schedules $(if $(filter-out 0,$(QUICK)),--quick)

chaos: $(READY) ## the long fault runs: processes killed and stopped, Postgres restarted
	scripts/debian-packages
	$(BIN)/pytest -m chaos

clean: ## remove what was built; .tidemill, where the demo's data lives, stays
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt scripts/venv
	scripts/venv
	@touch $@
