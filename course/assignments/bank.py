"""What the graders of every problem set must do. Their tables test themselves; a bank adds what no table knows.

    bank = GraderBank("ps2_vae")

    @bank.right("elbo")             # in another style than the notebook's solution, which is there already
    def in_one_line(v): ...         # v: the constants of the variant; returns the function

    @bank.wrong("elbo", loses=3, says="part of the message")
    def mean_for_sum(v): ...

    class TestGraders(GradersOfAProblemSet):
        bank = bank

A wrong answer is what a student writes, so none of them calls the grader's own code.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence

import jupytext
import pytest
import torch

from course.assignments import Verdict, grade_here, problem_set
from course.checking.questions import Question
from course.checking.suite import kept, solutions
from course.publish.build import ROOT

Answer = Callable[..., object]
Factory = Callable[[Mapping], Answer]
VARIANTS = range(4)  # 0 is the repository's own
# of an answer, each with inputs of its own, over the variants; after a change of the questions ask with RUNS=20
RUNS = int(os.environ.get("RUNS", len(VARIANTS)))


class GraderBank:
    """Answers to the graded tasks of a problem set.

    Args:
        name: of the problem set.
        trained: tasks that train, apart by spaces: the bank brings all their answers, since the notebook's takes long.
    """

    def __init__(self, name: str, *, trained: str = ""):
        self.name, self.trained = name, trained.split()
        self.where: dict[Factory, Callable[[Mapping], bool]] = {}
        self.graders = problem_set(name)
        self.source = ROOT / "course" / "assignments" / name / "notebook.py"
        self.wrongs: list[tuple[str, float, str, Factory]] = []
        self.rights: list[tuple[str, Factory]] = []
        source = self.source.read_text()
        self.functions = dict(re.findall(rf'^hand_in\("{name}", "(\w+)", (\w+)', source, re.M))
        self.solutions = solutions(source)
        self._questions: dict[tuple, Sequence[Question]] = {}  # the same for all answers
        self._first: dict[tuple[str, Factory], Verdict] = {}

    def wrong(
        self,
        task: str,
        *,
        loses: float,
        says: str,
        where: Callable[[Mapping], bool] = lambda variant: True,
    ) -> Callable[[Factory], Factory]:
        """Args: `where` says in which variants the answer is wrong; in the others it is right."""

        def remember(factory: Factory) -> Factory:
            self.where[factory] = where
            self.wrongs.append((task, loses, says, factory))
            return factory

        return remember

    def right(self, task: str) -> Callable[[Factory], Factory]:
        def remember(factory: Factory) -> Factory:
            self.rights.append((task, factory))
            return factory

        return remember

    def solution(self, task: str) -> Factory:
        """The notebook's own, in any variant."""

        def solution(v: Mapping) -> Answer:
            self.solutions.update(v)
            return self.solutions[self.functions[task]]

        return solution

    def known(self, task: str) -> dict[str, Factory]:
        """The wrong functions of the table, as answers."""
        make = self.graders.tasks[task].step

        def factory(words: str) -> Factory:
            return lambda v: make(v).as_answer(make(v).wrong[words])

        variants = (self.graders.variant(seed) for seed in VARIANTS)
        return {words: factory(words) for v in variants for words in make(v).wrong} if make else {}

    def own(self, task: str) -> list[Factory]:
        """Right answers that nobody has to write: the grader's, and the notebook's."""
        if task in self.trained or self.graders.tasks[task].step is None:
            return []
        return [self.graders.tasks[task].right, self.solution(task)]

    def runs(self, task: str) -> range:
        """With which inputs an answer is tried; a network takes seconds to train, so half as many."""
        return range(max(2, RUNS // 2) if task in self.trained else RUNS)

    def verdict(self, task: str, factory: Factory, variant: int = 0, seed: int = 0):
        constants, about = self.graders.variant(variant), self.graders.tasks[task]
        key = task, variant, seed

        def make() -> Sequence[Question]:
            return about.questions(torch.Generator().manual_seed(seed), constants)

        with kept(self._questions, key, make) as questions:
            return grade_here(self.name, task, factory(constants), variant, seed, questions)

    def first_verdict(self, task: str, factory: Factory):
        """With the first inputs of the repository's own variant, asked for once."""
        if (task, factory) not in self._first:
            self._first[task, factory] = self.verdict(task, factory)
        return self._first[task, factory]


def graded_points(notebook) -> dict[str, float]:
    """The points of every automatically graded cell."""
    about = [cell.metadata.get("nbgrader", {}) for cell in notebook.cells]
    return {x["grade_id"]: x["points"] for x in about if x.get("grade") and not x.get("solution")}


def words_of(verdict: Verdict) -> set[str]:
    """What a verdict says, without titles and points."""
    return {message.split("): ", 1)[-1] for message in verdict.messages}


class GradersOfAProblemSet:
    """The tests; a subclass names the bank."""

    bank: GraderBank

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        bank = self.bank
        for name, entries in (
            ("wrong", bank.wrongs),
            ("task", list(bank.graders.tasks)),
        ):
            if name in metafunc.fixturenames:
                ids = [e if isinstance(e, str) else f"{e[0]}-{e[-1].__name__}" for e in entries]
                metafunc.parametrize(name, entries, ids=ids)

    def test_a_wrong_answer_loses_its_points_and_is_told_why(self, wrong):
        """The same points and words whatever the inputs: one mistake, one grade."""
        task, loses, says, factory = wrong
        for seed in self.bank.runs(task):
            variant = seed % len(VARIANTS)
            verdict = (
                self.bank.verdict(task, factory, variant, seed)
                if seed
                else self.bank.first_verdict(task, factory)
            )
            if not self.bank.where[factory](self.bank.graders.variant(variant)):
                assert verdict.points == verdict.max_points, (variant, str(verdict))
                continue
            assert verdict.max_points - verdict.points == loses, (seed, str(verdict))
            assert says in str(verdict), (seed, str(verdict))

    def test_each_wrong_function_of_the_table_gets_its_own_words(self, task):
        """In every variant in which it is wrong, whatever the inputs; and there is one."""
        missed, points = [], {}
        for words, factory in self.bank.known(task).items():
            for seed in range(RUNS + 1):
                variant = seed % len(VARIANTS)
                table = self.bank.graders.tasks[task].step(self.bank.graders.variant(variant)).wrong
                if words not in table:
                    continue
                verdict = self.bank.verdict(task, factory, variant, seed)
                points.setdefault(words, {}).setdefault(variant, set()).add(verdict.points)
                told = words_of(verdict)
                if told and words not in told or told & table.keys() > {words}:
                    missed.append(f"{words}\n    variant {variant}, seed {seed}: {verdict}")
        assert not missed, "\n".join(missed)
        full = {self.bank.graders.tasks[task].max_points}
        luck = [words for words, by in points.items() if any(len(x) > 1 for x in by.values())]
        right = [words for words, by in points.items() if all(x == full for x in by.values())]
        assert not luck and not right, (luck, right)

    def test_no_wrong_answer_of_the_bank_is_known_to_the_table(self, wrong):
        """It would be written twice."""
        task, _, _, factory = wrong
        assert not words_of(self.bank.first_verdict(task, factory)) & self.bank.known(task).keys()

    def test_a_right_answer_gets_full_marks(self, task):
        rights = [factory for name, factory in self.bank.rights if name == task]
        for factory in self.bank.own(task) + rights:
            for seed in self.bank.runs(task):
                verdict = self.bank.verdict(task, factory, seed % len(VARIANTS), seed)
                assert verdict.points == verdict.max_points, (factory, seed, str(verdict))

    def test_there_are_enough_answers_to_trust_the_grader(self, task):
        wrongs = [w for w in self.bank.wrongs if w[0] == task]
        rights = [r for r in self.bank.rights if r[0] == task]
        assert len(wrongs) + len(self.bank.known(task)) >= 6
        assert len(rights) + len(self.bank.own(task)) >= 2

    def test_verdicts_do_not_depend_on_the_run(self, task):
        wrongs = [w[-1] for w in self.bank.wrongs if w[0] == task]
        factory = [*wrongs, *self.bank.known(task).values()][0]
        assert len({str(self.bank.verdict(task, factory, 1, 1)) for _ in range(2)}) == 1

    def test_what_is_no_answer_gets_nothing_and_stops_nothing(self, task):
        def unanswered(*arguments):
            raise NotImplementedError()

        def crashes(*arguments):
            return arguments[0].no_such_thing

        def leaves(*arguments):
            raise SystemExit()

        answers = [unanswered, crashes, leaves, None, 3, lambda *a: None, lambda *a: "a word"]
        answers += [lambda *a: torch.zeros(0), lambda *a: torch.full((7,), torch.nan), lambda: 0]
        for answer in answers:
            verdict = self.bank.verdict(task, lambda v, answer=answer: answer)
            assert verdict.points == 0, (answer, str(verdict))
            assert len(str(verdict)) < 1500

    def test_a_message_gives_no_answer_away(self):
        """No line of a solution stands in the diagnosis of a wrong answer."""
        nb = jupytext.read(self.bank.source, fmt="py:percent")
        solutions = [
            line.split("  #")[0].strip()
            for cell in nb.cells
            for part in re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.S)
            for line in part.splitlines()
        ]
        lines = {line.removeprefix("return ") for line in solutions if len(line) > 20}
        told = [
            str(self.bank.first_verdict(task, factory)) for task, _, _, factory in self.bank.wrongs
        ]
        for message in [
            *told,
            *(words for task in self.bank.graders.tasks for words in self.bank.known(task)),
        ]:
            assert not [line for line in lines if line in message]

    def test_the_points_are_those_of_the_notebook(self):
        tasks = {name: task.max_points for name, task in self.bank.graders.tasks.items()}
        assert graded_points(jupytext.read(self.bank.source, fmt="py:percent")) == tasks

    def test_variants_differ_and_repeat(self):
        made = [self.bank.graders.variant(seed) for seed in range(20)]
        assert made == [self.bank.graders.variant(seed) for seed in range(20)]
        assert len({str(variant) for variant in made}) >= 10
        assert len({tuple(variant) for variant in made}) == 1  # the same names
