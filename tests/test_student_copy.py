"""`make student`: what a class gets, and that no answer is in it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
import zipfile

import nbformat
import pytest

from course.publish.browser import ARGUMENTS, CHROMIUM
from course.publish.build import ROOT
from course.publish.student import Leak, answers, check_leaks, main, student_makefile, text_of
from tests.test_links import missing


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    assert main(["--out", str(out)]) == 0
    return out / "student"


@pytest.fixture(scope="module")
def secret():
    return answers(ROOT)


def test_it_holds_what_a_student_needs_and_nothing_else(copy):
    assert {path.name for path in copy.iterdir()} == {
        "genlib", "course", "notebooks", "Makefile", "README.md", "environment.yml", "pyproject.toml", "setup.py",
        "constraints.txt", "LICENSE", "LICENSE-text.md", "CITATION.cff",
    }  # fmt: skip
    assert {path.name for path in (copy / "course").iterdir()} == {
        "__init__.py", "checking", "checks.py", "explorers", "figures.py", "find_python.sh", "lab", "lessons",
        "start.py",
        "syllabus.py", "syllabus.toml",
    }  # fmt: skip
    assert {path.name for path in (copy / "course").glob("lessons/*/*")} == {
        "__init__.py",
        "checks.py",
        "letters.py",
    }
    models = {path.name for path in (ROOT / "genlib" / "pretrained").iterdir()} - {"__pycache__"}
    assert (
        {path.name for path in (copy / "genlib" / "pretrained").iterdir()}
        == models
        >= {"models.json"}
    )
    assert {p.name for p in (copy / "notebooks" / "assignments").iterdir()} == {
        p.name for p in (ROOT / "notebooks" / "assignments").iterdir()
    }
    assert not [p for p in copy.rglob("*") if p.name in ("__pycache__", ".ipynb_checkpoints")]


def test_the_zip_holds_the_same(copy):
    archive = zipfile.ZipFile(next(copy.parent.glob("*.zip")))
    inside = {name.split("/", 1)[1] for name in archive.namelist()}
    assert inside == {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()}


def test_no_line_of_an_answer_is_in_it(copy, secret):
    """By another way than the tool's own: every line of an answer, against every line of every notebook."""
    assert len(secret) > 500 and len({source for source in secret.values()}) >= 12
    for path in [*copy.glob("notebooks/*_exercises.ipynb"), *copy.rglob("ps*.ipynb")]:
        shown = {line.strip() for line in text_of(path).splitlines()}
        assert not shown & set(secret), path
        assert "hand_in(" not in text_of(path) and "BEGIN" not in text_of(path)
        assert all(not c.get("outputs") for c in nbformat.read(path, as_version=4).cells)


@pytest.mark.parametrize("kind", ["exercise", "problem set", "hidden test"])
def test_one_line_of_an_answer_is_enough_to_refuse(copy, secret, kind, tmp_path):
    leaky = tmp_path / "student"
    shutil.copytree(copy, leaky)
    lines = {
        "exercise": next(k for k, v in secret.items() if "pixelcnn/exercises.py" in v),
        "problem set": next(k for k, v in secret.items() if "ps2" in v),
        "hidden test": next(k for k in secret if k.startswith("hand_in(")),
    }
    (leaky / "README.md").write_text(f"Hello.\n    {lines[kind]}\n")
    with pytest.raises(Leak, match="README.md shows a line of an answer"):
        check_leaks(leaky, ROOT)


def test_its_links_lead_somewhere(copy):
    pages = [*copy.rglob("*.ipynb"), copy / "README.md"]
    assert len(pages) > 20
    assert {page.name: missing(page) for page in pages if missing(page)} == {}


def test_its_makefile_has_the_students_targets_only(copy):
    text = (copy / "Makefile").read_text()
    assert set(re.findall(r"^([a-z]+):.*## ", text, re.MULTILINE)) == {
        "help",
        "setup",
        "lab",
        "clean",
    }
    assert "[lab,dev]" not in text and "[lab]" in text
    assert "[lab]" in (copy / "environment.yml").read_text()
    done = subprocess.run(["make", "-C", copy, "help"], capture_output=True, text=True)
    assert done.returncode == 0 and "make lab" in done.stdout and "make grade" not in done.stdout
    assert student_makefile(text) == text


def test_make_lab_opens_the_notebooks_and_a_lesson_finds_its_genlib(copy):
    """With this course's environment in the place of a fresh one, which would take minutes to install."""
    borrowed = copy / ".venv"
    borrowed.mkdir()
    for part in (ROOT / ".venv").iterdir():
        (borrowed / part.name).symlink_to(part)
    # its own and the newest file of all: `make` must never set up anything in what is borrowed
    (borrowed / ".ready").unlink()
    (borrowed / ".ready").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port={port} --IdentityProvider.token=t"
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "JUPYTER_RUNTIME_DIR": str(copy.parent / "run"),
    }
    server = subprocess.Popen(
        ["make", "-C", copy, "lab", f"LAB_ARGS={options}"],
        env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        listed = ask(server, f"http://127.0.0.1:{port}/api/contents/notebooks?token=t")
        names = {entry["name"] for entry in listed["content"]}
        assert "assignments" in names and any(name.endswith("_taxonomy.ipynb") for name in names)
        if CHROMIUM:
            assert_no_grading_menus(f"http://127.0.0.1:{port}/lab/tree/notebooks", names)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(
            30
        )  # it is make that ends; JupyterLab goes on until its kernels have ended, or for ever
        with contextlib.suppress(ProcessLookupError):
            time.sleep(2)
            os.killpg(server.pid, signal.SIGKILL)
        shutil.rmtree(borrowed)  # links only
    where = subprocess.run(
        [ROOT / ".venv/bin/python", "-c", "import genlib; print(genlib.__file__)"],
        env=environment, cwd=copy / "notebooks", capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.strip() == str(copy / "genlib" / "__init__.py")


def assert_no_grading_menus(url, names):
    """A student's JupyterLab, with a notebook open; tests/test_browser.py sees the menus in a teacher's."""
    from playwright.sync_api import sync_playwright

    notebook = next(name for name in sorted(names) if name.endswith("_taxonomy.ipynb"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=ARGUMENTS,
        )
        try:
            page = browser.new_page()
            page.set_default_timeout(60_000)
            page.goto(f"{url}/{notebook}?token=t")
            page.locator(".jp-NotebookPanel-toolbar [data-command='RISE:preview']").wait_for()
            shown = page.locator("body").inner_text()
            menus = page.get_by_role("menubar").first.inner_text()
        finally:
            browser.close()
    assert "Kernel" in menus and "Notebook" in shown  # all of it has come
    assert not re.search("nbgrader|Validate|Create Assignment|Formgrader", menus + shown, re.I)


def ask(server, url):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        try:
            return json.load(urllib.request.urlopen(url, timeout=5))
        except OSError:
            time.sleep(0.3)
    raise AssertionError("JupyterLab did not start")
