# Needs Python 3.11 or newer, make and the package registries. `make help` lists the targets.

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix lint bench bench-sync bench-engine bench-fairness bench-not-due bench-schedules bench-rls soak chaos clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: $(READY) ## sync 60 simulated accounts and a tap's real data on an embedded Postgres; ONCE=1 stops after the summary
	$(BIN)/tidemill demo $(if $(filter-out 0,$(ONCE)),--once)

test: lint ## lint, then every test but the long fault runs
	scripts/debian-packages
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

test-matrix: $(READY) ## the tests that depend on the server: PostgreSQL 15, 16, and 18 as a plain owner; LEGS=15 chooses
	scripts/debian-packages
	$(BIN)/python -m tests.matrix $(LEGS)

lint: $(READY) ## style, format, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: bench-sync bench-engine bench-fairness bench-not-due bench-schedules bench-rls ## every benchmark there is but the soak

bench-sync: $(READY) ## measure the sync against a bare HTTP loop and the one-by-one algorithm
	$(BIN)/python -m benchmarks.sync

bench-engine: $(READY) ## measure the job engine against its limit and its peers; QUICK=1 only sees that it runs
	$(BIN)/python -m benchmarks.engine $(if $(filter-out 0,$(QUICK)),--quick)

bench-fairness: $(READY) ## one tenant's half a million jobs beside 2,000 small tenants; QUICK=1 only sees that it runs
	$(BIN)/python -m benchmarks.fairness $(if $(filter-out 0,$(QUICK)),--quick)

bench-not-due: $(READY) ## claims beside a million delayed and a million ended jobs; QUICK=1 only sees that it runs
	$(BIN)/python -m benchmarks.not_due $(if $(filter-out 0,$(QUICK)),--quick)

bench-schedules: $(READY) ## measure a tick of 10,000 due schedules against a bare statement that writes the same; QUICK=1
	$(BIN)/python -m benchmarks.schedules $(if $(filter-out 0,$(QUICK)),--quick)

bench-rls: $(READY) ## what row security costs a tenant among a million sync jobs; QUICK=1 only sees that it runs
	$(BIN)/python -m benchmarks.rls $(if $(filter-out 0,$(QUICK)),--quick)

soak: $(READY) ## an hour of 500 jobs a second beside a long transaction, with a picture; MINUTES=5 is a short one
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60) $(if $(filter-out 0,$(QUICK)),--quick)

chaos: $(READY) ## the long fault runs: processes, network and Postgres fail, ten minutes of all at once among them
	scripts/debian-packages
	$(BIN)/pytest -m chaos

clean: ## remove what was built; .tidemill, where the demo's data lives, stays
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt scripts/venv
	scripts/venv
	@touch $@
