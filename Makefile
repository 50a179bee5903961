# `make help` lists what there is. The first target that needs it sets up .venv.

PYTHON ?=
LESSON ?=
ARGS ?=
LAB_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
# there once a set-up has ended well, so an interrupted one is taken up again
READY := $(VENV)/.ready
# what ruff looks after (pyproject.toml says how)
CODE := $(wildcard genlib tools tests lessons conftest.py)

.DEFAULT_GOAL := help
.PHONY: help setup lab test check lessons results bench format clean

help:  ## list what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv with everything the course needs (the others do so on first use)

$(READY): pyproject.toml constraints.txt
	@rm -f $(READY)
	@python=$$(sh tools/find_python.sh $(PYTHON)) || exit 1; \
	$(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "Setting up $(VENV) with $$python (a few minutes, once)"; "$$python" -m venv --clear $(VENV); }
	@$(PY) -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[lab,dev]'
	@touch $(READY)

# The whole course is served, so that lessons can link to solutions; the kernel is this .venv's, not a user's own.
lab: $(READY)  ## open JupyterLab on the lessons (LAB_ARGS="--no-browser" to open it yourself)
	JUPYTER_PREFER_ENV_PATH=1 $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/notebooks $(LAB_ARGS)

test: $(READY)  ## run every test: unit tests and doctests, then each notebook against its stored outputs
	$(PY) -m pytest -n 2 --dist loadfile --durations 10 $(ARGS)

check: $(READY)  ## what needs no running: style, types, notebooks built from lessons/, versions in step
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy
	$(PY) tools/build.py --check
	$(PY) -m pytest -q tests/test_environment.py

lessons: $(READY)  ## build notebooks/ and solutions/ from lessons/ (LESSON=03 for those whose name starts so)
	$(PY) tools/build.py $(LESSON)

results: $(READY)  ## measure the figures that README.md reports (ARGS for tools/results.py)
	$(PY) tools/results.py $(ARGS)

bench: $(READY)  ## measure what the course says about speed, as ratios (ARGS="--out FILE.json")
	$(PY) tools/bench.py $(ARGS)

format: $(READY)  ## put the code in ruff's format and mend what it can
	$(PY) -m ruff check --fix $(CODE)
	$(PY) -m ruff format $(CODE)

clean:  ## remove caches and half-built files; never notebooks, data, grades or .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache genlib.egg-info
	find genlib tools tests lessons notebooks solutions \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	    -prune -exec rm -rf {} + 2>/dev/null || true
