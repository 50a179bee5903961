"""The tests of a lesson's steps: the tables test themselves, and a bank adds what no table knows.

    bank = Bank("vae")
    bank.right("kl", by_distributions)                     # right answers in other styles
    bank.wrong("kl", {"part of the words": a_function})    # wrong answers that are no entry of the table

    class TestSteps(StepsOfALesson):
        bank = bank

The lesson's own solution is the first right answer; it is read from exercises.py, so nobody writes it again.
"""

import ast
import atexit
import contextlib
import functools
import importlib
import itertools
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from course.checking.core import Answer, Wrong
from course.checking.questions import Question
from course.checking.relations import explain
from course.checking.step import Step, several
from course.publish.build import ROOT, ThisPython, find_lessons, read_source, student_version

SEEDS = range(2)
CARD = re.compile(
    r"^\*Difficulty ([1-5]) of 5 · importance ([1-5]) of 5 · (\d+) minutes\*$", re.MULTILINE
)


def solutions(source: str) -> dict[str, Any]:
    """What the functions, classes, imports and plain constants of a lesson's source define, by name.

    Example:
        >>> solutions("import math\\nTWO = 2\\nshow(TWO)\\ndef double(x):\\n    return TWO * x")["double"](3)
        6
    """
    kept = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.Tuple))
    ]
    namespace: dict[str, Any] = {}
    for node in kept:
        try:
            exec(compile(ast.Module([node], []), "<solution>", "exec"), namespace)
        except NameError:  # made of what only a running notebook has
            continue
    return namespace


def content(cases: Iterable[Question]) -> str:
    """All that the arguments hold, to see whether an answer has changed them.

    Example:
        >>> case = Question("two", {"x": torch.zeros(2), "names": ["a"]})
        >>> before = content([case])
        >>> case.arguments["names"].append("b")
        >>> content([case]) == before
        False
    """

    def held(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.requires_grad, hash(x.detach().cpu().numpy().tobytes())
        if isinstance(x, torch.nn.Module):
            return x.training, [held(y) for y in (*x.parameters(), *x.buffers())]
        if isinstance(x, list | tuple):
            return [held(y) for y in x]
        return x

    return repr([held(x) for case in cases for x in case.arguments.values()])


@contextlib.contextmanager
def kept(
    calls: dict[tuple, Sequence[Question]], key: tuple, make: Callable[[], Sequence[Question]]
) -> Iterator[Sequence[Question]]:
    """The same calls for one answer after the other, made anew once an answer has changed them.

    Args:
        calls: those made so far.
        key: which ones are wanted.
        make: makes them.
    """
    if key not in calls:
        calls[key] = make()
    before = content(calls[key])
    try:
        yield calls[key]
    finally:
        if content(calls[key]) != before:
            del calls[key]


@functools.cache
def a_kernel() -> NotebookClient:
    """One for the unanswered notebooks of all lessons: most of what each takes is to import the same."""
    client = NotebookClient(
        nbformat.v4.new_notebook(),
        timeout=60,
        allow_errors=True,
        kernel_manager_class=ThisPython,
        kernel_name="python3",
    )
    running = contextlib.ExitStack()
    running.enter_context(client.setup_kernel())
    atexit.register(running.close)
    return client


class Bank:
    """The answers to the steps of one exercise notebook.

    Args:
        name: of the lesson.
        whole: steps whose right answer loses nothing in integers.
        single: steps that are not tried in double precision.
    """

    def __init__(self, name: str, *, whole: str = "", single: str = ""):
        self.name = name
        self.module = importlib.import_module(f"course.lessons.{name}.checks")
        self.source = Path("course/lessons", name, "exercises.py")
        text = (ROOT / self.source).read_text()
        # in the order of the notebook
        self.steps = re.findall(rf"^checks\.{name}\.(\w+)\(", text, re.MULTILINE)
        self.solutions = solutions(text)
        self.whole, self.single = whole.split(), single.split()
        self.rights: dict[str, list[Answer]] = {step: [self.solutions[step]] for step in self.steps}
        self.wrongs: dict[str, dict[str, Answer]] = {step: {} for step in self.steps}
        self._cases: dict[tuple, Sequence[Question]] = {}

    def right(self, step: str, *answers: Answer) -> None:
        """Remember right answers."""
        self.rights[step] += answers

    def wrong(self, step: str, answers: Mapping[str, Answer]) -> None:
        """Remember wrong answers, each with a regular expression that its words must match."""
        self.wrongs[step] |= answers

    def step(self, name: str) -> Step:
        return getattr(self.module, name)

    def verdict(self, step: str, answer: Any, seed: int = 0) -> str | None:
        """The words that an answer gets; None where it is accepted. Where it can, it asks the same calls again."""
        about, key = self.step(step), (step, seed, torch.get_default_dtype())
        same = kept(self._cases, key, lambda: about.cases(seed))
        try:
            with same if about.lasting else contextlib.nullcontext() as cases:
                about(answer, seed=seed, cases=cases)
        except Wrong as error:
            return str(error)
        return None

    def entries(self, step: str) -> Iterable[tuple[str, Answer]]:
        """The wrong functions of the table, as answers."""
        about = self.step(step)
        for words, wrong in about.wrong.items():
            yield words, about.as_answer(wrong)

    def changed(self, step: str, change: Callable[[torch.Tensor], Any]) -> Answer:
        """The solution with one more operation at its end."""

        def answer(*arguments: Any) -> Any:
            result = self.rights[step][0](*arguments)
            if isinstance(result, list | tuple):
                return type(result)(map(change, several(result)))
            return change(several(result)[0])

        return answer


class StepsOfALesson:
    """The tests; a subclass names the bank."""

    bank: Bank

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "step" in metafunc.fixturenames:
            metafunc.parametrize("step", self.bank.steps)

    # ------------------------------------------------------------ the table and the bank

    def told(self, step: str, answer: Answer) -> Iterable[tuple[str, str | None]]:
        """What an answer is told, for several inputs and in double precision: no verdict may be luck."""
        for seed in SEEDS:
            yield f"seed {seed}", self.bank.verdict(step, answer, seed)
        if step not in self.bank.single:
            torch.set_default_dtype(torch.float64)
            try:
                yield "in double", self.bank.verdict(step, answer, seed=5)
            finally:
                torch.set_default_dtype(torch.float32)

    def test_each_wrong_function_of_the_table_gets_its_own_words(self, step):
        missed = [
            f"{words}\n    {where}: {told}"
            for words, answer in self.bank.entries(step)
            for where, told in self.told(step, answer)
            if told != words or len(told) > 250
        ]
        assert not missed, "\n".join(missed)

    def test_each_wrong_answer_of_the_bank_gets_words_that_fit(self, step):
        missed = [
            f"{says}\n    {where}: {told}"
            for says, answer in self.bank.wrongs[step].items()
            for where, told in self.told(step, answer)
            if told is None
            or not re.search(says, told)
            or len(told) > 250
            or told
            in self.bank.step(step).wrong  # an entry of the table: it would be written twice
        ]
        assert not missed, "\n".join(missed)

    def test_what_is_missing_of_the_parts_of_a_result_is_named(self, step):
        about = self.bank.step(step)
        if (
            about.parts is None or about.told is not None
        ):  # a model that remembers has been asked nothing here
            pytest.skip("its parts are not known")
        cases = [case for case in about.cases(0) if case.kind != "extreme"]
        parts, (_, wanted) = about._parts(cases), about._wanted(cases)
        for n, names in enumerate(parts[0]):
            sums = [sum(those[n].values()) for those in parts] if names else []
            assert all(map(torch.allclose, sums, (results[n] for results in wanted))), "not the sum"
            for name in names:
                given = [list(results) for results in wanted]
                for mine, those in zip(given, parts, strict=True):
                    mine[n] = mine[n] - those[n][name]
                says = explain(step, cases, given, wanted, about.results, parts=parts)
                assert f"{name} is missing" in says, (name, says)

    def test_right_answers_are_accepted_with_one_line(self, step, capsys):
        about, missed, n = self.bank.step(step), [], 0
        # the gradient through what `play` makes is not a student's
        own = [] if about.told else [about.as_answer(about.right)]
        for answer in [*own, *self.bank.rights[step]]:
            for where, told in self.told(step, answer):
                n += 1
                missed += [f"{answer.__name__}, {where}: {told}"] if told else []
        assert not missed, "\n".join(missed)
        said = capsys.readouterr().out.splitlines()
        assert len(said) == n and len(set(said)) == 1 and said[0].startswith("Right: ")

    def test_a_right_sampler_is_not_refused_by_chance(self, step):
        if not self.bank.step(step).random:
            pytest.skip("it draws nothing")
        for seed in range(10, 25):
            assert self.bank.verdict(step, self.bank.rights[step][0], seed=seed) is None

    # ------------------------------------------------------------ what goes wrong in every step

    def test_what_stops_is_told_where(self, step):
        def open_(*arguments):
            raise NotImplementedError()

        def stops(*arguments):
            return torch.zeros(2) @ torch.zeros(3)

        def quits(*arguments):
            raise SystemExit

        def unsupported(*arguments):
            raise NotImplementedError('"conv2d" not implemented for this')

        def recurses(*arguments):
            return recurses(*arguments)

        for answer, says in (
            (open_, f"`{step}` is still to be written"),
            (stops, f"`{step}` stops.*at `return torch.zeros.2. @ torch.zeros.3.`, with RuntimeError: "),
            (quits, "with SystemExit"),
            (unsupported, 'with NotImplementedError: "conv2d"'),
            (recurses, "with RecursionError"),
            (lambda: None, "is called with .* arguments"),
            (torch.zeros(3, 3), f"give it `{step}`, without brackets"),
        ):  # fmt: skip
            assert re.search(says, self.bank.verdict(step, answer)), says

    def test_a_result_of_another_kind_is_named(self, step):
        n = len(self.bank.step(step).results)
        lists = [[[0.0]]] * n if n > 1 else [[0.0]]
        for answer, says in (
            (lambda *arguments: None, "None"),
            (lambda *arguments: lists, "returns a list"),
            (self.bank.changed(step, lambda x: x[None]), "shape"),
            (self.bank.changed(step, lambda x: x.float() * math.nan), "NaN|infinite|zeros and ones|True or False"),
        ):  # fmt: skip
            assert re.search(says, self.bank.verdict(step, answer) or ""), says
        if step not in self.bank.whole:
            cut = self.bank.verdict(step, self.bank.changed(step, torch.Tensor.long))
            assert re.search("return|levels|cut|rounded", cut)

    def test_an_answer_that_remembers_or_spoils_is_found(self, step):
        about, first = self.bank.step(step), []

        def remembers(*arguments):
            first.append(self.bank.rights[step][0](*arguments))
            return first[0]

        def spoils(*arguments):
            result = self.bank.rights[step][0](*arguments)
            tensors = [x for x in arguments if isinstance(x, torch.Tensor)]
            with torch.no_grad():
                tensors[0].copy_(tensors[0].flip(0).logical_not())
            return result

        assert self.bank.verdict(step, remembers) is not None
        if any(isinstance(x, torch.Tensor) for x in about.cases(0)[0].arguments.values()):
            said = self.bank.verdict(step, spoils)
            assert re.search("changes its argument|overwrite|leave marks", said)

    def test_a_check_is_a_good_guest(self, step):
        """It leaves random numbers and gradients as they were, and takes less than a second."""

        def numbers():
            return torch.rand(3).tolist(), random.random(), np.random.rand()

        right = self.bank.rights[step][0]
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        expected = numbers()
        torch.manual_seed(5), random.seed(5), np.random.seed(5)
        start = time.process_time()
        with torch.no_grad():
            assert self.bank.verdict(step, right) is None
            assert not torch.is_grad_enabled()
        assert time.process_time() - start < 1
        self.bank.verdict(step, lambda *arguments: torch.rand(3))
        assert numbers() == expected

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
        assert sorted(self.bank.steps) == sorted(self.bank.module.__all__)

    def test_the_minutes_of_the_cards_add_up_to_what_the_first_cell_says(self):
        cards = itertools.chain.from_iterable(
            CARD.findall(text) for text, _, _ in self.steps_of_the_lesson()
        )
        minutes = sum(int(m) for _, _, m in cards)
        assert f"about {minutes} minutes" in self.cells()[0].source

    def test_an_unanswered_notebook_fails_step_by_step_in_a_line_each(self):
        (lesson,) = (x for x in find_lessons(ROOT) if x.source == self.bank.source)
        nb = student_version(read_source(ROOT, lesson), lesson)
        nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
        client = a_kernel()
        client.nb = nb
        client.execute(cleanup_kc=False)
        errors = [
            (cell.source, output)
            for cell in nb.cells
            for output in cell.get("outputs", [])
            if output.output_type == "error"
            and ("checks." in cell.source or output.ename != "NameError")
        ]
        told = "\n".join(line for _, output in errors for line in output.traceback)
        for step in self.bank.steps:
            assert f"`{step}` is still to be written" in told
        for source, output in errors:
            assert len(output.traceback) == 1 and len(output.traceback[0].splitlines()) == 1, source

    def test_the_checks_are_found_under_one_name(self):
        assert getattr(importlib.import_module("course.checks"), self.bank.name) is self.bank.module
