# Targets of a checkout. Each sets up what it needs; Python 3.11 or later is the only requirement.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The tests start hundreds of processes, which take half as long again where the bytecode of modules is not kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test trial simulate fuzz test-sanitized test-brokers test-faults test-page screenshots test-monitoring test-packaging test-docs lint types imports protos protos-check docs site bench bench-sinks bench-memory bench-spool bench-spooled bench-idle adversary wheel wheels clean

help:
	@echo 'make demo            a gateway, ten simulated vehicles, their records on the terminal'
	@echo 'make test            the tests'
	@echo
	@echo 'make trial           the same tests, run by trial'
	@echo 'make simulate        20000 random histories of the core, with crashes; N=1000000 for more, N=1 SEED=7 for one (about two minutes)'
	@echo 'make fuzz            the functions in C beside their Python twins, on 10 million random inputs; N=1 SEED=7 for one (about five minutes)'
	@echo 'make test-sanitized  tests and a fuzz with the extension built for AddressSanitizer and UndefinedBehaviorSanitizer; needs gcc'
	@echo 'make test-brokers    the tests against real brokers; reports brokers that are missing'
	@echo 'make test-faults     every fault of docs/faults.md in full (twenty minutes); FLEETGW_FAULTS=bounded: three minutes'
	@echo 'make test-page       the live page in a headless Chromium (Debian: apt-get install chromium)'
	@echo 'make screenshots     the pictures of the page in docs/images/; the font Inter suits them (Debian: apt-get install fonts-inter)'
	@echo 'make test-monitoring alerts and dashboards of deploy/ in a real Prometheus, beside a gateway with simulated vehicles (half a minute)'
	@echo 'make test-packaging  wheel, editable install, demo and the example sink, each in its own environment'
	@echo 'make test-docs       the site, and every command and configuration on its pages'
	@echo 'make lint            ruff: rules and format'
	@echo 'make types           mypy'
	@echo 'make imports         the rules on imports between packages'
	@echo 'make protos          regenerate the code of protos/'
	@echo 'make protos-check    check that this code is up to date'
	@echo 'make docs            regenerate the parts of docs/ that come from the source'
	@echo 'make site            build the documentation as a site into build/site'
	@echo 'make bench           CPU per record and handshake, memory per vehicle (about three minutes); ROUNDS=11, OTHER=a checkout to compare with'
	@echo 'make bench-sinks     CPU per record of each sink, throughput to a distant broker (about two minutes)'
	@echo 'make bench-spool     records a second, CPU and latency of the spool, beside a bare loop on SQLite (about half a minute)'
	@echo 'make bench-spooled   the policy spooled beside accepted, through the whole gateway (about two minutes)'
	@echo 'make bench-idle      answers of the status port beside 10000 idle vehicles, and how long others wait for them (about three minutes)'
	@echo 'make bench-memory    resident memory while each sink hangs (about twelve minutes)'
	@echo 'make adversary       latency of honest vehicles beside a hostile one, for each sink (about three minutes)'
	@echo 'make wheel           build the wheel and the sdist into dist/'
	@echo 'make wheels          build a release: the sdist, and wheels with the extension for Linux (about a minute)'
	@echo 'make clean           remove everything that these targets made'

demo: $(VENV)/.installed
	@$(BIN)/fleetgw --version
	@$(BIN)/python examples/demo/demo.py

# Two workers for each of two cores: half of the time the tests wait for processes that they started.
test: $(VENV)/.installed-dev
	@$(BIN)/fleetgw --version
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile

# Four at a time, each in a folder of its own, which trial chooses. Workers of trial -j would not get -W error.
trial: $(VENV)/.installed-dev
	@$(BIN)/fleetgw --version
	@find tests -name 'test_*.py' ! -name 'test_broker*' ! -path 'tests/packaging/*' ! -path 'tests/docs/*' ! -path 'tests/page/*' ! -path 'tests/faults/*' ! -path 'tests/prometheus/*' | sort | \
	  xargs -P 4 -n 16 $(BIN)/python -W error -m twisted.trial --reporter=text

SEED ?= 0
# It draws the diagrams of the site.
MERMAID := build/mermaid-11.17.2.min.js

simulate: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.simulation $(or $(N),20000) --seed $(SEED)

fuzz: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.fuzz $(or $(N),10000000) --seed $(SEED)

test-sanitized: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.speedups.sanitized

test-brokers: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q $$(find tests -name 'test_broker*.py' | sort)

test-faults: export FLEETGW_FAULTS ?= full
test-faults: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -rA -n 2 --dist loadfile tests/faults

test-page: $(VENV)/.installed-page
	@$(BIN)/python -m pytest -q -n 2 tests/page

screenshots: $(VENV)/.installed-page
	@$(BIN)/python -m tests.page.screenshots docs/images

test-monitoring: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q tests/prometheus

test-packaging: $(VENV)/.installed-release
	@$(BIN)/python -m pytest -q tests/packaging

test-docs: $(VENV)/.installed-docs $(VENV)/.installed-page $(MERMAID)
	@$(BIN)/python -m pytest -q tests/docs

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(VENV)/.installed-dev
	@$(BIN)/mypy

imports: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

protos: $(VENV)/.installed-dev
	@$(BIN)/python protos/generate.py

protos-check: $(VENV)/.installed-dev
	@$(BIN)/python protos/generate.py --check

docs: $(VENV)/.installed-dev
	@$(BIN)/python -m fleetgw.app.config docs/configuration.md
	@$(BIN)/python docs/generate.py

# The variable turns off a warning about a version of mkdocs that this site does not use. With --quiet, mkdocs forgets --strict.
site: export NO_MKDOCS_2_WARNING = 1
site: $(VENV)/.installed-docs $(MERMAID)
	@$(BIN)/mkdocs build --strict
	@echo 'The site is in build/site; to read it: python3 -m http.server --directory build/site 8000'

bench: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/bench.py $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(OTHER),--other $(OTHER))

bench-sinks: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/sinks.py

bench-idle: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/idle.py

bench-memory: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/memory.py

bench-spool: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/spool.py

bench-spooled: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/spooled.py

adversary: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/adversary.py

wheel: $(VENV)/.installed-dev
	@$(BIN)/python -m build --outdir dist

wheels: $(VENV)/.installed-release
	@$(BIN)/python build_wheels.py dist

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache _trial_temp*

# Stamp files skip the installation until a file changes that it depends on. It compiles the extension where it can; pip shows
# no output of a build, so that the line that says why it was not compiled is taken from the log.

INSTALLED_FROM := pyproject.toml hatch_build.py $(wildcard src/fleetgw/_speedups.c)
INSTALL = $(BIN)/python -m pip install --quiet --no-compile --log $(VENV)/install.log --editable
SAY_WHY = sed -n 's/.*\(fleetgw is built without its C extension\)/\1/p' $(VENV)/install.log

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo '$(PYTHON) is not there; install Python 3.11 or later, or name it: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fleetgw needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version); name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo '$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/.installed: $(INSTALLED_FROM) | $(VENV)/.python
	@echo 'Installing fleetgw into $(VENV) (once, about half a minute) ...'
	@rm -f $(VENV)/install.log
	@$(INSTALL) .
	@$(SAY_WHY)
	@touch $@

$(VENV)/.installed-dev: $(INSTALLED_FROM) | $(VENV)/.python
	@echo 'Installing fleetgw, its sinks and the development tools into $(VENV) (once, about a minute) ...'
	@rm -f $(VENV)/install.log
	@$(INSTALL) '.[all]' --group dev
	@$(SAY_WHY)
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-release: pyproject.toml $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --group release
	@touch $@

$(VENV)/.installed-page: pyproject.toml $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --group page
	@touch $@

$(VENV)/.installed-docs: pyproject.toml $(VENV)/.installed-dev
	@$(BIN)/python -m pip install --quiet --group docs
	@touch $@

$(MERMAID):
	@command -v npm >/dev/null || { echo 'npm not found: install it first (Debian: apt-get install nodejs npm)' >&2; exit 1; }
	@mkdir -p build && rm -f build/mermaid-*
	@cd build && npm pack --silent $(patsubst mermaid-%.min.js,mermaid@%,$(notdir $@)) >/dev/null && \
	  tar -xzf mermaid-*.tgz --strip-components=2 package/dist/mermaid.min.js && rm mermaid-*.tgz && mv mermaid.min.js $(notdir $@)
