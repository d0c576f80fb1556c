# Two commands: `make demo` runs the whole of FlashLips on this machine, `make test` the tests.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
CLIP ?=

.PHONY: help setup up down demo test check ci fuzz chaos chaos-all nano learn codec bench clean
help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip -c constraints.txt $(PIP_ARGS)
	$(BIN)/python -m pip install -q -c constraints.txt $(PIP_ARGS) torch
	$(BIN)/python -m pip install -q -c constraints.txt $(PIP_ARGS) -e '.[dev]'
	$(BIN)/flashlips weights fetch
	touch $(READY)

setup: $(READY) ## install into .venv and fetch the small weights (quick the second time)

up: $(READY) ## the services of a team on this machine, without Docker (docs/how_to/run_the_services.md)
	$(BIN)/flashlips up

down: $(READY) ## end them; data stays
	$(BIN)/flashlips down

demo: $(READY) ## the main job end to end; CLIP=my.mp4 adds personalise and sync of that person
	$(BIN)/flashlips demo $(if $(CLIP),--clip "$(CLIP)")

test: $(READY) ## the tests
	$(BIN)/python -m pytest tests

check: $(READY) ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ci: check test ## what CI runs
	$(BIN)/python -m pytest tests -m 'slow and not cell'
	$(BIN)/python -m pytest -m cell tests/chaos/test_preprocess.py::test_driver tests/chaos/test_train.py::test_worker
	$(BIN)/flashlips demo

fuzz: $(READY) ## 240 damaged files through preprocessing, 200 through sync (FUZZ_SEED=1 for others)
	FUZZ_FILES=$${FUZZ_FILES:-240} SYNC_FUZZ_FILES=$${SYNC_FUZZ_FILES:-200} $(BIN)/python -m pytest -m slow \
		tests/integration/test_fuzz.py tests/integration/test_sync_fuzz.py

chaos: $(READY) ## kill, cut and fill up what each part stands on, a seeded moment each (a quarter of an hour; docs/chaos.md)
	CHAOS_MOMENTS=$${CHAOS_MOMENTS:-1} $(BIN)/python -m pytest -m cell tests/chaos

chaos-all: $(READY) ## three moments of each, and the table of docs/chaos.md anew
	CHAOS_MOMENTS=3 CHAOS_TABLE=docs/chaos.md $(BIN)/python -m pytest -m cell tests/chaos

codec: $(READY) ## train the slim codec again (needs the TAEF2 weights and runs/corpus; PICTURES=folders adds clips)
	$(BIN)/flashlips codec --out checkpoints/codec-slim $(if $(PICTURES),--real $(PICTURES)) --rendered runs/corpus

nano: $(READY) ## train the shipped nano checkpoint again
	$(BIN)/flashlips nano --out checkpoints/nano

learn: $(READY) ## measure what the issue's gates ask for (at most 90 minutes)
	$(BIN)/python bench/learn.py

bench: $(READY) ## speeds of preprocessing, reading, training and editing (an hour, on a quiet machine)
	$(BIN)/python bench/preprocess.py
	$(BIN)/python bench/reading.py
	$(BIN)/python bench/latents.py
	$(BIN)/python bench/train_step.py
	$(BIN)/python bench/sync.py
	$(BIN)/python bench/backends.py

clean: ## remove what runs have made (not .venv, not weights)
	rm -rf runs
