# `make help` lists what there is. The first target that needs it sets up .venv.

PYTHON ?=
LESSON ?=
PDF ?=
PS ?=
SEED ?=
SUBMISSIONS ?=
PRIVATE_TESTS ?=
JOBS ?= 2
ROSTER ?=
DUE ?=
TIMES ?=
LATE ?= none
EXPORT ?=
ASSIGNMENT ?=
UNSAFE ?=
ONLY ?=
RUN ?=
NAME ?=
ARGS ?=
LAB_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
# there once a set-up has ended well, so an interrupted one is taken up again
READY := $(VENV)/.ready
# what ruff looks after (pyproject.toml says how)
CODE := $(wildcard genlib course benchmarks tests docs conftest.py)

.DEFAULT_GOAL := help
.PHONY: help setup lab test check lessons release student grade marks slides book pictures datasets results pack bench format clean

help:  ## list what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv with everything the course needs (the others do so on first use)

$(READY): pyproject.toml constraints.txt $(wildcard course/explorers/live/*)
	@rm -f $(READY)
	@python=$$(sh course/find_python.sh $(PYTHON)) || exit 1; \
	$(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "Setting up $(VENV) with $$python (a few minutes, once)"; "$$python" -m venv --clear $(VENV); }
	@$(PY) -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[lab,dev]'
	@touch $(READY)

# The whole course is served, so that lessons can link to solutions; the kernel is this .venv's, not a user's own, and
# figures appear in the notebook, whatever MPLBACKEND says. A student's copy has course/lab, which takes nbgrader's menus away.
lab: $(READY)  ## open JupyterLab on the lessons (LAB_ARGS="--no-browser" to open it yourself)
	env -u MPLBACKEND JUPYTER_PREFER_ENV_PATH=1 JUPYTER_CONFIG_PATH="$(CURDIR)/course/lab$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	    $(PY) -m jupyterlab --ServerApp.root_dir="$(CURDIR)" \
	    --LabApp.default_url=/lab/tree/notebooks $(LAB_ARGS)

test: $(READY)  ## run every test: unit tests and doctests, then each notebook against its stored outputs
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 10 $(ARGS)

check: $(READY)  ## what needs no running: style, types, notebooks built from course/, versions in step
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy
	$(PY) -m course.publish.build --check
	$(PY) -m pytest -q tests/test_environment.py

lessons: $(READY)  ## build notebooks/ and solutions/ from course/ (LESSON=pixelcnn for one, LESSON=03 for those whose name starts so; ARGS=--keep-outputs if only text changed)
	$(PY) -m course.publish.build $(LESSON) $(ARGS)

release: $(READY)  ## hand out and grade a variant of a problem set (PS=ps2_vae SEED=7; without SEED the repository's own)
	@test -n "$(PS)" || { echo "Which problem set? make release PS=ps2_vae [SEED=7]"; exit 2; }
	$(PY) -m course.publish.release $(PS) $(if $(SEED),--seed $(SEED))

student: $(READY)  ## make the copy of the course that a class gets, as a folder and a zip
	$(PY) -m course.publish.student

grade: $(READY)  ## grade a class (PS=ps2_vae SUBMISSIONS=folder; JOBS=, PRIVATE_TESTS=, ROSTER=, DUE=, TIMES=, LATE=, EXPORT=, ONLY=, UNSAFE=1)
	@test -n "$(PS)" -a -n "$(SUBMISSIONS)" || { echo "make grade PS=ps2_vae SUBMISSIONS=folder-or-zip"; exit 2; }
	@OMP_NUM_THREADS=1 $(PY) -m course.grading $(PS) "$(SUBMISSIONS)" --jobs $(JOBS) \
	    $(if $(PRIVATE_TESTS),--private-tests "$(PRIVATE_TESTS)") $(if $(UNSAFE),--unsafe) \
	    $(if $(ROSTER),--roster "$(ROSTER)") $(if $(DUE),--due "$(DUE)") $(if $(TIMES),--times "$(TIMES)") \
	    --late "$(LATE)" $(if $(EXPORT),--export "$(EXPORT)") $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)") \
	    $(if $(ONLY),--only "$(ONLY)") $(ARGS)

marks: $(READY)  ## read the written answers of a graded class in nbgrader's formgrader (PS=ps2_vae)
	@test -f "grading/$(PS)/nbgrader_config.py" || { echo "Grade first: make grade PS=ps2_vae SUBMISSIONS=folder"; exit 2; }
	cd grading/$(PS) && PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(CURDIR)/$(PY) -m jupyterlab \
	    --ServerApp.root_dir=. --ServerApp.default_url=/formgrader $(LAB_ARGS)

slides: $(READY)  ## make a deck of slides of every lecture, build/slides/NN_topic.html (LESSON=pixelcnn for one; PDF=1 prints them)
	$(PY) -m course.publish.slides $(LESSON) $(if $(PDF),--pdf)

book: $(READY)  ## make the website, build/book/html/index.html
	$(PY) -m course.publish.book

pictures: $(READY)  ## take the pictures of README.md again, in a real browser (ARGS="-k slide" for one)
	PICTURES=docs/pictures $(PY) -m pytest -q tests/test_pictures.py $(ARGS)

datasets: $(READY)  ## run the lessons on the other data that their DATASET names (LESSON=pixelcnn; ARGS="--data mnist --images 500")
	$(PY) -m course.publish.datasets $(LESSON) $(ARGS)

results: $(READY)  ## train on real data, measure, and make the table of docs/results.md (ARGS="vae gan --minutes 10")
	$(PY) -m benchmarks.results $(ARGS)

pack: $(READY)  ## pack a trained run into genlib/pretrained, where genlib.pretrained finds it (RUN=folder NAME=vae-mnist)
	@test -n "$(RUN)" -a -n "$(NAME)" || { echo "make pack RUN=folder NAME=gated_pixelcnn-mnist"; exit 2; }
	$(PY) -m benchmarks.pack "$(RUN)" $(NAME) $(ARGS)

bench: $(READY)  ## measure speed: ratios, then how cost grows with size; or each notebook (ARGS="--parts lessons --out FILE.json")
	$(PY) -m benchmarks.bench $(ARGS)

format: $(READY)  ## put the code in ruff's format and mend what it can
	$(PY) -m ruff check --fix $(CODE)
	$(PY) -m ruff format $(CODE)

clean:  ## remove caches and half-built files; never notebooks, data, grades or .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache genlib.egg-info
	find genlib course benchmarks tests notebooks solutions \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	    -prune -exec rm -rf {} + 2>/dev/null || true
