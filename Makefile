# pxOS. `make help` lists the targets. Every target sets the machine up first (scripts/setup.sh).
PXOS := .venv/bin/pxos
# pytest keeps the tests' modules compiled, whatever the caller's habits: rewriting their assertions takes seconds.
PYTEST := env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest
JOBS ?= 2

.PHONY: help setup demo iso run debug test test-fast test-slow test-matrix chat lint bench fix clean
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## system packages, virtual environment, locked dependencies
	@scripts/setup.sh

demo: setup ## the main job on real input: boot, break, repair, learn
	@$(PXOS) demo

iso: setup ## build/pxos.iso, bootable by BIOS and UEFI from CD and USB stick
	@$(PXOS) build

run: setup ## boot with the serial line on this terminal
	@$(PXOS) run

debug: setup ## boot under gdb with the symbols loaded
	@$(PXOS) debug

test: setup ## all tests but the slow ones: the fast first, then longer ones, then those that boot QEMU
	@$(PYTEST) -q -n $(JOBS) -m "not long and not qemu and not slow"
	@$(PYTEST) -q -n $(JOBS) -m "long and not qemu and not slow"
	@$(PYTEST) -q -n $(JOBS) -m "qemu and not slow"

test-fast: setup ## the quick tests that need no QEMU, under a minute
	@$(PYTEST) -q -n $(JOBS) -m "not long and not qemu and not slow"

test-slow: setup ## the long suites: more generated programs, every bug of the corpus
	@$(PYTEST) -q -n $(JOBS) -m slow --timeout 3600

test-matrix: setup ## the kernel's own tests on all 288 machines of the matrix; goes on where it was interrupted
	@.venv/bin/python -m tests.boot.matrix --jobs $(JOBS)

chat: setup ## talk with the architect about the kernel
	@$(PXOS) chat

lint: setup ## ruff and mypy --strict
	@.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy

bench: setup ## every benchmark, each beside its peer
	@for what in build boot mailbox shaders vm pixel fix; do $(PXOS) bench $$what || exit; done

fix: setup ## repair the kernel in kernel/ (nothing is changed without APPLY=1)
	@$(PXOS) fix $(if $(APPLY),--apply)

clean: ## remove what was built; keeps .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
