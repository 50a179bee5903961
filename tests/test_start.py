"""What lesson Start here finds, on machines where something is missing."""

import importlib.metadata
import socket
import subprocess
import sys

import pytest
import torch

from course import checks, start
from genlib import data


def found(what):
    (finding,) = [finding for finding in start.check_environment() if finding.what == what]
    return finding


def test_everything_is_there_in_the_courses_own_environment():
    findings = start.check_environment()
    assert start.ready(findings), "\n".join(map(str, findings))
    for what in (*start.NEEDED, "Python", "device", "threads", "digits", "strokes", "mnist"):
        assert found(what).good


@pytest.mark.parametrize("package", start.NEEDED)
def test_a_package_that_is_not_there_is_named_with_its_cure(package, monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert not found(package).good and "make setup" in str(found(package))
    assert str(found(package)).startswith("MISSING")
    assert not start.ready(start.check_environment())


def test_a_package_that_is_broken_is_named(monkeypatch):
    real = start.importlib.import_module

    def broken(name):
        if name == "torchvision":
            raise ImportError("libjpeg.so is missing")
        return real(name)

    monkeypatch.setattr(start.importlib, "import_module", broken)
    assert "libjpeg.so" in str(found("torchvision")) and not found("torchvision").good


def test_another_version_than_the_course_needs_is_told_apart(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.0" if name == "torch" else real(name)
    )
    assert not found("torch").good
    assert "1.0, but the course needs" in str(found("torch"))


def test_without_torch_it_still_says_so():
    program = """
import sys
for name in ("torch", "torchvision", "sklearn", "numpy"):
    sys.modules[name] = None  # importing it fails from here on
from course import start
found = start.check_environment()
assert not start.ready(found)
print([f.what for f in found if not f.good])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    missing = done.stdout
    assert all(name in missing for name in ("torch", "torchvision", "scikit-learn", "numpy"))


def test_data_that_cannot_be_read_are_named(monkeypatch):
    real = data.load

    def load(name, **options):
        if name == "digits":
            raise OSError("the disk is gone")
        return real(name, **options)

    monkeypatch.setattr(data, "load", load)
    assert not found("digits").good and "the disk is gone" in str(found("digits"))
    assert found("bars").good


def test_real_data_are_found_and_never_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path))
    assert found("mnist").good and "GENLIB_DATA" in found("mnist").cure
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    assert found("mnist") == start.Finding("mnist", f"in {tmp_path}")
    assert found("cifar10").cure


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch):
    monkeypatch.setattr(start, "_writable", lambda folder: False)
    finding = found("cache folder")
    assert finding.good and "XDG_CACHE_HOME" in finding.cure


def test_many_threads_are_no_fault_but_come_with_advice(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert found("threads").good and "OMP_NUM_THREADS=1" in found("threads").cure
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert not found("threads").cure


def test_a_gpu_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert found("device").found == "cuda, NVIDIA H100"


def test_old_python_is_refused(monkeypatch):
    monkeypatch.setattr(start.sys, "version_info", (3, 9, 18))
    assert not found("Python").good and "3.11" in found("Python").cure


def test_nothing_is_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("GENLIB_DATA", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("it asks the network"))
    assert start.ready(start.check_environment())
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- the exercise of Start here


def test_right_answers_pass(capsys):
    checks.start_here.brightness(lambda x: x.mean(dim=(1, 2, 3)))
    checks.start_here.brightness(lambda x: torch.stack([image.mean() for image in x]), seed=7)
    assert capsys.readouterr().out == "Right: one number for each image.\n" * 2


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda x: x.sum() / x.numel(), "one number for each image"),
        (lambda x: x.flatten(1).sum(1), "divide by their number"),
        (lambda x: sum(x) / len(x), "axis 0"),
        (lambda x: x.sum(-1) / x.shape[-1], "last axis only"),
        (lambda x: x[:, 0, 0, 0], None),
        (lambda x: None, None),
        (lambda x: x.mul_(2).mean(dim=(1, 2, 3)), None),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_answers_get_a_diagnosis(answer, words, seed):
    with pytest.raises(checks.Wrong, match=words):
        checks.start_here.brightness(answer, seed=seed)


def test_without_a_home_everything_is_looked_for_all_the_same(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "GENLIB_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(start.Path, "home", nobody)
    findings = start.check_environment()
    assert start.ready(findings) and "HOME" in found("home folder").cure
    assert "mnist" in [finding.what for finding in findings]
