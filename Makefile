# Two commands do everything on a fresh Debian 12 machine, as root: `make demo` and `make test`. Both install what they
# need, and can be run again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Debian's own Python, whatever else comes first in PATH: it is the one that images have too.
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

# What the virtual environment and the unit tests need, and what a bake and a local machine need on top.
PYTHON_PACKAGES := python3 python3-venv tzdata git openssh-client ca-certificates
HOST_PACKAGES := haproxy packer mmdebstrap systemd-container iproute2 squashfs-tools zstd

# Installs those of its arguments that are missing; runs no apt command when none is.
install = missing=$$(for package in $(1); do \
	    dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	if [ -n "$$missing" ]; then \
	    if [ "$$(id -u)" != 0 ]; then echo "make: missing packages; as root:  apt-get install $$(echo $$missing)" >&2; exit 16; fi; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    echo "make: installing" $$missing; \
	    apt-get update -qq; \
	    apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 $$missing >/dev/null; \
	fi

.PHONY: help demo test unit system bench lint format venv packages lock clean

help: ## say what there is
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: packages venv ## bake the example stack and boot its image as three machines, each answering
	$(BIN)/python examples/demo.py

test: packages venv ## every test: lint, units, and the system tests that bake and boot (root)
	$(BIN)/python -m pytest

unit: venv ## the unit tests alone, in seconds
	$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile --ignore=tests/system -m "not house"

system: packages venv ## the system tests alone (root)
	$(BIN)/python -m pytest -m system

bench: packages venv ## measure bake, boot and region against their floors, side by side
	@for bench in tests/benchmarks/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench; done

lint: venv ## ruff, mypy, the import rule and the other house rules
	$(BIN)/python -m pytest --ignore=tests/system -m house

format: venv ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

packages: ## install the Debian packages that a bake needs
	@$(call install,$(PYTHON_PACKAGES) $(HOST_PACKAGES))

venv: $(VENV)/.installed ## make the virtual environment

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# pip takes its settings (indexes, certificates, time-outs) from the machine; the hashes hold wherever a file comes from.
$(VENV)/.locked: requirements.lock
	@$(call install,$(PYTHON_PACKAGES))
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(PIP) --no-index --no-deps --no-build-isolation --editable .
	@touch $@

# pip-compile asks the index that pip is set up for, and writes no address into what it makes.
PIP_COMPILE := build/lock-venv/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

lock: ## pin anew, with hashes: the toolkit's environment and the agent's
	@$(call install,$(PYTHON_PACKAGES) gcc pkg-config python3-dev libsystemd-dev)
	$(PYTHON) -m venv --clear build/lock-venv
	build/lock-venv/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	$(PIP_COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	$(PIP_COMPILE) --output-file agent/requirements.lock agent/requirements.in
	echo setuptools | $(PIP_COMPILE) --output-file agent/requirements-build.lock -

clean: ## remove build/ with the tests' home, the environment and caches; not $BAKEBOOT_HOME, nor bench's folder
	rm -rf --one-file-system build dist $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
