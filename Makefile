# Every target sets up .venv on first use; `make demo SPEECH=folder` takes your own recordings.
PYTHON := .venv/bin/python
COVERED := metrics losses batches sampler audio checkpoint

.PHONY: demo test test-slow check format bench bench-original parity-original bench-peer bench-ecapa clean setup-demo setup-dev
.DEFAULT_GOAL := demo

demo: setup-demo
	$(PYTHON) -m hive_mtl demo $(if $(SPEECH),--speech "$(SPEECH)")

test: setup-dev
	$(PYTHON) -m pytest -m "not slow" --numprocesses 2 --cov --cov-report json:.coverage.json
	$(PYTHON) tools/check_branch_coverage.py .coverage.json 90 $(COVERED)

test-slow: setup-dev
	$(PYTHON) -m pytest -m slow

check: setup-dev
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

format: setup-dev
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

# All but what they share.
SHARED := environments measure paired
bench: setup-dev
	for script in $(sort $(filter-out $(SHARED:%=benchmarks/%.py),$(wildcard benchmarks/*.py))); do $(PYTHON) $$script || exit; done

# Both make .venv-original, with TensorFlow, on first use.
bench-original: setup-dev
	$(PYTHON) benchmarks/original/compare.py

parity-original: setup-dev
	$(PYTHON) benchmarks/original/parity.py

# Both make an environment of their own, too: .venv-peer and .venv-ecapa.
bench-peer: setup-dev
	$(PYTHON) benchmarks/peer/compare.py

bench-ecapa: setup-dev
	$(PYTHON) benchmarks/ecapa/compare.py --steps $(or $(STEPS),2000)

clean:
	rm -rf .venv .venv.lock .venv-* .coverage .coverage.json .mypy_cache .pytest_cache .ruff_cache demo dist

setup-demo setup-dev: setup-%:
	@python3 tools/setup_environment.py $*
