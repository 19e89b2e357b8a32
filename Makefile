# Everything sets itself up: a virtual environment in .venv, pinned by constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
VPS_HOME ?= data
PORT ?= 3000
export VPS_HOME
# `make install TORCH_INDEX=https://download.pytorch.org/whl/cpu`: PyTorch from there, and nothing that only a GPU needs.
# Versions stay those that are pinned; hashes those of all packages but these.
TORCH := $(shell sed -nE 's/^(torch(vision)?==[^ ]+).*/\1/p' constraints.txt)
OF_TORCH := torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+
# A release that PyPI knows a vulnerability of: where even that is not told, an audit would tell nothing.
KNOWN_BAD := https://pypi.org/pypi/requests/2.25.0/json
BENCHMARKS := statistics landing embedding embedding_files words training serving comparables lineage year million events

.PHONY: install demo test test-scale test-hosts test-mlflow test-of-marketplace test-of-all-else test-all check audit bench ui report clean

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), f"Python 3.11 is needed, this is {sys.version}"'
	$(PYTHON) -m venv .venv
ifdef TORCH_INDEX
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --index-url "$(TORCH_INDEX)" $(TORCH)
	sed -E '/^($(OF_TORCH))(\[.*\])?==/,/[^\]$$/d' constraints.txt > .venv/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/constraints.txt
else
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement constraints.txt
endif
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

install: .venv/.installed

demo: install
	$(BIN)/vps demo

report: install
	$(BIN)/vps report

# Two processes on two cores, of about as long: the tests' marketplace with those of some rooms, and all else. The first
# reads only the files that it runs tests of; both keep what Python compiles, as hundreds of processes read it.
BESIDE := tests/vps_assets/landing tests/vps_assets/demo tests/vps_assets/report
ON_MARKETPLACE = $(shell grep -rlw --include='test_*.py' marketplace tests)

test: install
	@$(MAKE) --no-print-directory --jobs 2 --output-sync test-of-marketplace test-of-all-else

test-of-marketplace test-of-all-else: export OMP_NUM_THREADS := 1
test-of-marketplace test-of-all-else: export PYTHONDONTWRITEBYTECODE :=
test-of-marketplace:
	$(BIN)/pytest $(ON_MARKETPLACE) $(BESIDE) -m "not slow and (marketplace or beside)"
test-of-all-else:
	$(BIN)/pytest $(addprefix --ignore=,$(BESIDE)) -m "not slow and not marketplace and not scale"

# What an extra installs, `scale` or `mlflow`, laid over the other environment.
.venv-%/.installed: .venv/.installed constraints-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement constraints-$*.txt
	echo $(CURDIR)/.venv/lib/python3.11/site-packages > .venv-$*/lib/python3.11/site-packages/zz-beneath.pth
	echo $(CURDIR) > .venv-$*/lib/python3.11/site-packages/zz-own.pth
	touch $@

# On real servers of Postgres, S3 and Ray.
test-scale: .venv-scale/.installed
	.venv-scale/bin/python -m pytest -m "scale and not slow" -rs

# Three hosts for ten minutes of kills, and until they have settled; needs root, for their namespaces.
test-hosts: .venv-scale/.installed
	.venv-scale/bin/python -m pytest -m "scale and slow" -s

# MLflow holds pyarrow back.
test-mlflow: .venv-mlflow/.installed
	.venv-mlflow/bin/python -m pytest tests/vps_assets/orchestration/test_tracking.py -rs

test-all: install
	HYPOTHESIS_PROFILE=search $(BIN)/pytest -m "not scale"

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -c 'import sys, vps_assets.definitions as d; d.defs(); assert "torch" not in sys.modules, "definitions import torch"'
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/dg check defs
	@if $(BIN)/python -c 'import requests; requests.get("$(KNOWN_BAD)", timeout=5).json()["vulnerabilities"][0]' 2>/dev/null; \
		then $(MAKE) audit; else echo "audit left out: PyPI's advisories cannot be had from here"; fi

# Known vulnerabilities of what is pinned, where PyPI's own index can be asked; a part of `check`.
audit: install
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

bench: install
	for subject in $(BENCHMARKS); do echo "== $$subject" >&2; $(BIN)/python benchmarks/$$subject.py || exit 1; done

# The UI, on loopback and behind its guard, and the daemon; the instance is the one that `vps run` uses.
ui: install
	exec $(BIN)/vps ui --port $(PORT)

clean:
	rm -rf .venv .venv-scale .venv-mlflow build *.egg-info
