"""What the checks of every lesson must do, asked of a bank of wrong and right answers.

    bank = Bank("pixelcnn", steps="conditionals mask ...")

    @bank.right("mask")
    def by_slices(kind, size): ...

    @bank.wrong("mask", "part of the diagnosis")
    def always_b(kind, size): ...

    class TestChecks(ChecksOfALesson):
        bank = bank

A wrong answer is what a student writes, so none of them calls the check's own code. Two right answers
of every step, written differently, stand beside them.
"""

import ast
import importlib
import itertools
import math
import random
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from course.checks import Wrong
from course.publish.build import ROOT, ThisPython, find_lessons, read_source, student_version

Answer = Callable[..., object]


class Bank:
    """The answers to the steps of one exercise notebook.

    Args:
        name: of the lesson.
        steps: names of the functions to write, in the order of the notebook.
        results: how many tensors a step returns, where it is not one.
        may_be_integers: steps whose right answer loses nothing in integers.
        takes_no_tensors: steps without an argument that an answer could change.
        random: steps whose result is drawn.
    """

    def __init__(
        self,
        name: str,
        *,
        steps: str,
        results: dict[str, int] | None = None,
        may_be_integers: Iterable[str] = (),
        takes_no_tensors: Iterable[str] = (),
        random: Iterable[str] = (),
    ):
        self.name = name
        self.module = importlib.import_module(f"course.lessons.{name}.checks")
        self.source = Path("course/lessons", name, "exercises.py")
        self.steps = steps.split()
        self.results = results or {}
        self.may_be_integers = set(may_be_integers)
        self.takes_no_tensors = set(takes_no_tensors)
        self.random = set(random)
        self.wrongs: list[
            tuple[str, str, Answer]
        ] = []  # the step, part of the diagnosis, the answer
        self.rights: list[tuple[str, Answer]] = []
        self._diagnoses: dict[tuple[str, Answer], str | None] = {}

    def wrong(self, step: str, says: str) -> Callable[[Answer], Answer]:
        def remember(answer: Answer) -> Answer:
            self.wrongs.append((step, says, answer))
            return answer

        return remember

    def right(self, step: str) -> Callable[[Answer], Answer]:
        def remember(answer: Answer) -> Answer:
            self.rights.append((step, answer))
            return answer

        return remember

    def verdict(self, step: str, answer: object, **options) -> str | None:
        """The diagnosis; None where the answer is accepted."""
        try:
            getattr(self.module, step)(answer, **options)
        except Wrong as error:
            return str(error)
        return None

    def diagnosis(self, step: str, answer: Answer) -> str | None:
        """The diagnosis with the first inputs, asked for once."""
        if (step, answer) not in self._diagnoses:
            self._diagnoses[step, answer] = self.verdict(step, answer, seed=0)
        return self._diagnoses[step, answer]

    def first_right(self, step: str) -> Answer:
        return next(answer for name, answer in self.rights if name == step)

    def changed_result(self, step: str, change: Callable) -> Answer:
        """The right answer with one more step at its end."""

        def answer(*arguments):
            result = self.first_right(step)(*arguments)
            if isinstance(result, list | tuple):
                return type(result)(map(change, result))
            return change(result)

        return answer


CARD = re.compile(
    r"^\*Difficulty ([1-5]) of 5 · importance ([1-5]) of 5 · (\d+) minutes\*$", re.MULTILINE
)


class ChecksOfALesson:
    """The tests; a subclass names the bank."""

    bank: Bank

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        bank = self.bank
        for name, entries in (("wrong", bank.wrongs), ("right", bank.rights), ("step", bank.steps)):
            if name in metafunc.fixturenames:
                ids = [e if isinstance(e, str) else f"{e[0]}-{e[-1].__name__}" for e in entries]
                metafunc.parametrize(name, entries, ids=ids)

    # ------------------------------------------------------------ the answers of the bank

    def test_a_wrong_answer_gets_its_diagnosis(self, wrong):
        step, says, answer = wrong
        diagnoses = [self.bank.diagnosis(step, answer)]
        # whatever the inputs: no verdict may be luck
        diagnoses += [self.bank.verdict(step, answer, seed=seed) for seed in (1, 2, 3)]
        for diagnosis in diagnoses:
            assert diagnosis is not None and says in diagnosis and len(diagnosis) < 250

    def test_a_right_answer_is_accepted_with_one_line(self, right, capsys):
        step, answer = right
        for seed in range(4):
            assert self.bank.verdict(step, answer, seed=seed) is None
        printed = capsys.readouterr().out.splitlines()
        assert len(printed) == 4 and len(set(printed)) == 1 and printed[0].startswith("Right: ")

    def test_a_right_answer_is_accepted_in_double_precision(self, right):
        torch.set_default_dtype(torch.float64)
        try:
            assert self.bank.verdict(*right) is None
        finally:
            torch.set_default_dtype(torch.float32)

    def test_no_two_wrong_answers_of_a_step_get_the_same_diagnosis(self, step):
        bank = [(says, answer) for name, says, answer in self.bank.wrongs if name == step]
        diagnoses = [self.bank.diagnosis(step, answer) or "" for _, answer in bank]
        assert len(bank) >= 4 and len(set(diagnoses)) == len(bank)
        for says, _ in bank:
            assert sum(says in diagnosis for diagnosis in diagnoses) == 1, says
        assert sum(name == step for name, _ in self.bank.rights) >= 2

    def test_every_diagnosis_of_the_module_has_its_wrong_answer(self):
        """Each entry of a table of mistakes, not only those we thought of here."""
        diagnoses = {self.bank.diagnosis(step, answer) for step, _, answer in self.bank.wrongs}
        tree = ast.parse(Path(self.bank.module.__file__).read_text())
        tables = [
            entry.elts[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and getattr(node.annotation, "id", "") == "Mistakes"
            for entry in node.value.elts
        ]
        assert len(tables) > 3 * len(self.bank.steps)
        assert [words for words in tables if words not in diagnoses] == []

    # ------------------------------------------------------------ what goes wrong in every step

    def test_an_open_step_says_so(self, step):
        def open_(*arguments):
            raise NotImplementedError()

        assert f"`{step}` is still to be written" in self.bank.verdict(step, open_)

    def test_an_error_is_shown_with_its_line(self, step):
        def stops(*arguments):
            return torch.zeros(2) @ torch.zeros(3)

        diagnosis = self.bank.verdict(step, stops)
        assert f"`{step}` stops" in diagnosis and "with RuntimeError: " in diagnosis
        assert "at `return torch.zeros(2) @ torch.zeros(3)`" in diagnosis

    def test_other_ways_to_stop_are_caught(self, step):
        def quits(*arguments):
            raise SystemExit

        def unsupported(*arguments):
            raise NotImplementedError('"conv2d" not implemented for this')

        def recurses(*arguments):
            return recurses(*arguments)

        assert "with SystemExit" in self.bank.verdict(step, quits)
        assert 'with NotImplementedError: "conv2d"' in self.bank.verdict(step, unsupported)
        assert "with RecursionError" in self.bank.verdict(step, recurses)
        assert "with TypeError" in self.bank.verdict(step, lambda: None)

    def test_a_missing_return_is_named(self, step):
        assert "None" in self.bank.verdict(step, lambda *arguments: None)

    def test_what_is_no_tensor_is_named(self, step):
        n_results = self.bank.results.get(step, 1)
        lists = [[[0.0]]] * n_results if n_results > 1 else [[0.0]]
        assert "returns a list" in self.bank.verdict(step, lambda *arguments: lists)

    def test_a_result_given_for_the_function_is_named(self, step):
        assert f"give it `{step}`, without brackets" in self.bank.verdict(step, torch.zeros(3, 3))

    def test_a_wrong_shape_is_named(self, step):
        assert "shape" in self.bank.verdict(step, self.bank.changed_result(step, lambda x: x[None]))

    def test_a_nan_is_found(self, step):
        nan = self.bank.changed_result(step, lambda x: x.float() * math.nan)
        words = "NaN|infinite|zeros and ones|True or False"
        assert re.search(words, self.bank.verdict(step, nan))

    def test_integers_are_refused_where_they_lose_the_answer(self, step):
        if step in self.bank.may_be_integers:
            pytest.skip("integers are fine here")
        integers = self.bank.changed_result(step, torch.Tensor.long)
        assert re.search("return|levels", self.bank.verdict(step, integers))

    def test_changing_an_argument_is_named(self, step):
        if step in self.bank.takes_no_tensors:
            pytest.skip("there is nothing to change")

        def corrupts(*arguments):
            result = self.bank.first_right(step)(*arguments)
            tensors = [x for x in arguments if isinstance(x, torch.Tensor)]
            with torch.no_grad():
                tensors[0].copy_(tensors[0].flip(0).logical_not())
            return result

        printed = self.bank.verdict(step, corrupts)
        assert re.search("changes its argument|overwrite|leave marks", printed)

    def test_an_answer_for_the_example_only_is_found(self, step):
        """It returns what it returned in the first call, whatever the arguments."""
        if step in self.bank.random:
            pytest.skip("a sampler has no one answer")
        first = []

        def remembers(*arguments):
            first.append(self.bank.first_right(step)(*arguments))
            return first[0]

        assert self.bank.verdict(step, remembers) is not None

    # ------------------------------------------------------------ checks are good guests

    def test_a_check_leaves_the_random_numbers_alone(self, step):
        def numbers():
            return torch.rand(3).tolist(), random.random(), np.random.rand()

        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        expected = numbers()
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        self.bank.verdict(step, self.bank.first_right(step))
        self.bank.verdict(step, lambda *arguments: torch.rand(3))
        assert numbers() == expected

    def test_a_check_works_without_gradients_and_leaves_them_off(self, step):
        with torch.no_grad():
            assert self.bank.verdict(step, self.bank.first_right(step)) is None
            assert not torch.is_grad_enabled()

    def test_a_check_takes_less_than_a_second(self, step):
        start = time.process_time()
        self.bank.verdict(step, self.bank.first_right(step))
        assert time.process_time() - start < 1

    # ------------------------------------------------------------ what a student sees

    def cells(self) -> list[nbformat.NotebookNode]:
        return jupytext.read(ROOT / self.bank.source, fmt="py:percent").cells

    def steps_of_the_lesson(self) -> list[tuple[str, str, str]]:
        """For each step its markdown, its gap and the first cell after the gap."""
        cells = self.cells()
        starts = [i for i, cell in enumerate(cells) if cell.source.startswith("## Step ")]
        return [(cells[i].source, cells[i + 1].source, cells[i + 2].source) for i in starts]

    def test_every_step_has_a_card_a_hint_a_solution_and_a_check(self):
        steps = zip(self.bank.steps, self.steps_of_the_lesson(), strict=True)
        for number, (name, (text, gap, check)) in enumerate(steps, start=1):
            assert text.startswith(f"## Step {number}. ")
            assert len(CARD.findall(text)) == 1
            assert text.count("<details><summary>Hint</summary>\n\n") == 1
            assert text.count("\n\n</details>") == 1
            assert "$$" in text and f"**Write** `{name}(" in text
            assert f"def {name}(" in gap
            assert gap.count("### BEGIN SOLUTION") == 1 == gap.count("### END SOLUTION")
            assert check.splitlines()[0] == f"checks.{self.bank.name}.{name}({name})"

    def test_every_check_of_the_module_is_used_once(self):
        source = "\n".join(cell.source for cell in self.cells())
        used = re.findall(rf"checks\.{self.bank.name}\.(\w+)\(", source)
        assert sorted(used) == sorted(self.bank.module.__all__) == sorted(self.bank.steps)

    def test_the_minutes_of_the_cards_add_up_to_what_the_first_cell_says(self):
        cards = itertools.chain.from_iterable(
            CARD.findall(text) for text, _, _ in self.steps_of_the_lesson()
        )
        minutes = sum(int(m) for _, _, m in cards)
        assert f"about {minutes} minutes" in self.cells()[0].source

    def test_an_unanswered_notebook_fails_step_by_step_in_a_line_each(self):
        (lesson,) = (x for x in find_lessons(ROOT) if x.source == self.bank.source)
        nb = student_version(read_source(ROOT, lesson), lesson)
        NotebookClient(
            nb,
            timeout=60,
            allow_errors=True,
            kernel_manager_class=ThisPython,
            kernel_name="python3",
        ).execute()
        errors = [
            (cell.source, output)
            for cell in nb.cells
            for output in cell.get("outputs", [])
            if output.output_type == "error"
            and ("checks." in cell.source or output.ename != "NameError")
        ]
        output = "\n".join(line for _, error in errors for line in error.traceback)
        for step in self.bank.steps:
            assert f"`{step}` is still to be written" in output
        for source, output in errors:
            assert len(output.traceback) == 1 and len(output.traceback[0].splitlines()) == 1, source

    def test_the_checks_are_found_under_one_name(self):
        assert getattr(importlib.import_module("course.checks"), self.bank.name) is self.bank.module
