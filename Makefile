# Short targets that call tools; continuous integration calls the same ones.

# The first Python that is new enough and can make a virtual environment; `make setup PYTHON=…` overrules it.
PYTHON ?= $(firstword $(foreach python,python3 python3.13 python3.12 python3.11,$(shell \
    $(python) -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
BIN := .venv/bin
BENCHMARKS ?= $(patsubst benchmarks/%.py,%,$(shell grep -l __main__ benchmarks/*.py))
LOCK_TOOL := .tools/lock/bin/uv
COMPILE := $(LOCK_TOOL) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-annotate --custom-compile-command 'make lock' $(LOCK_ARGS)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full test-tools check bench reproduce docs offline-kit lock clean

help: ## show this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 14

setup: .venv/.installed ## make .venv with everything for use and development; the command is .venv/bin/stella

.venv/.created:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with its venv module is needed (on Debian: python3 and python3-venv).'; exit 5; }
	@echo 'setup: a virtual environment in .venv'
	@'$(PYTHON)' -m venv --clear .venv
	@touch $@

.venv/.installed: .venv/.created requirements/dev.txt pyproject.toml
	@echo 'setup: the pinned libraries of requirements/dev.txt'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@echo 'setup: stellaops itself, editable'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
	@echo 'setup: ready: $(BIN)/stella --help'

demo: setup ## from our example advisories to a signed database that Trivy uses
	@tools/demo.sh

test: test-tools ## all tests but the slow ones (15 minutes at most on 2 cores)
	@$(BIN)/python -m pytest -n 3 tests $(ARGS)

test-full: test-tools ## all tests
	@$(BIN)/python -m pytest -n 3 --run-slow tests $(ARGS)

test-tools: setup
	@$(BIN)/python tools/fetch_tools.py

check: setup ## lint, types, layers, generated documents, words that must not be there
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/docs.py --check
	@$(BIN)/python -m tools.monitoring --check
	@$(BIN)/python tools/check_words.py

bench: setup ## measure, beside peers where they are installed
	@for name in $(BENCHMARKS); do echo "# $$name"; $(BIN)/python -m benchmarks.$$name $(ARGS) || exit; done

reproduce: setup ## fill two stores in unlike surroundings, export both, compare every byte
	@$(BIN)/python tools/reproduce.py $(ARGS)

docs: setup ## generate docs/reference and deploy/monitoring from the code
	@$(BIN)/python tools/docs.py
	@$(BIN)/python -m tools.monitoring

offline-kit: setup ## build offline-kit/: verifies and applies bundles on a machine without network (ARGS='--run RUN --chunk-size 4G')
	@$(BIN)/python tools/offline_kit.py $(ARGS)

lock: $(LOCK_TOOL) ## pin requirements/*.txt anew (LOCK_ARGS=--upgrade for newer versions)
	@$(COMPILE) pyproject.toml -o requirements/runtime.txt
	@$(COMPILE) --all-extras pyproject.toml requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt
	@$(COMPILE) requirements/kit.in -c requirements/runtime.txt -o requirements/kit.txt
	@$(COMPILE) --all-extras pyproject.toml requirements/image.in -c requirements/dev.txt -o requirements/image.txt
	@$(COMPILE) requirements/lock.in -o requirements/lock.txt

$(LOCK_TOOL): requirements/lock.txt
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with its venv module is needed.'; exit 5; }
	@'$(PYTHON)' -m venv --clear .tools/lock
	@.tools/lock/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/lock.txt
	@touch $@

clean: ## remove what the other targets made
	@rm -rf .venv .tools .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist demo
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
