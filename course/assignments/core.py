"""How a task of a problem set is graded: questions, and parts with points.

A task asks a student's function some questions (`course.checking.questions` calls it, in the jail) and
judges what came back in parts, each worth points: the values, the gradient, an extreme case. A part
that fails costs its points and says why; it never says what would have been right.
"""

import contextlib
import copy
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from course.checking.core import (
    Answer,
    Wrong,
    own_random_numbers,
)
from course.checking.questions import Outcome, Question, answer_questions, pack, unpack
from course.checking.step import Property, Step

Variant = Mapping[str, Any]
MakeStep = Callable[[Variant], Step]
Judge = Callable[[str, Sequence[Question], Sequence[Outcome], Variant], None]


@dataclass(frozen=True)
class Part:
    """What one share of a task's points is given for.

    Args:
        points: lost when it fails.
        title: what it is about, for the feedback: "the values".
        judge: the task's name, questions, outcomes and variant -> raises `Wrong`, or returns.
        only: whether a question concerns this part; all do without. An outcome with words fails the part.
        whole: whether the judge is shown all questions, those that do not concern it too.
    """

    points: float
    title: str
    judge: Judge
    only: Callable[[Question], bool] = lambda question: True
    whole: bool = False


@dataclass(frozen=True)
class Task:
    """One graded task.

    Args:
        questions: a generator and the variant -> what to ask. Called anew for every submission, so the
            inputs are random and the same for nobody.
        parts: what is judged.
        step: a variant -> what is known about the task's function; None where `parts` know it all.
    """

    questions: Callable[[torch.Generator, Variant], Sequence[Question]]
    parts: Sequence[Part]
    step: MakeStep | None = None

    @property
    def max_points(self) -> float:
        return sum(part.points for part in self.parts)

    def right(self, variant: Variant) -> Answer:
        """The right function of a step, called as the students' are."""
        assert self.step is not None
        step = self.step(variant)
        return step.as_answer(step.right)


@dataclass(frozen=True)
class ProblemSet:
    """The graded tasks of a problem set, by their `grade_id`, and its variants.

    Args:
        name: of the notebook.
        variant: a seed -> the constants that this variant of the notebook defines, by their names there.
            Seed 0 is the one in the repository.
        tasks: by name.
        seconds: how long a whole submission may run: several times what the solution takes on a quiet core.
    """

    name: str
    variant: Callable[[int], dict[str, Any]]
    tasks: Mapping[str, Task]
    seconds: int


@dataclass(frozen=True)
class Verdict:
    """Points, and the messages for a student.

    Example:
        >>> print(Verdict(2, 3, ["the gradient (-1): something is detached."]))
        2 of 3 points
        the gradient (-1): something is detached.
    """

    points: float
    max_points: float
    messages: Sequence[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.points:g} of {self.max_points:g} points", *self.messages])


def problem_set(name: str) -> ProblemSet:
    """The graders of a problem set.

    Raises:
        ValueError: there are none of this name.
    """
    try:
        module = importlib.import_module(f"course.assignments.{name}.grader")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"no graders for {name!r}: write course/assignments/{name}/grader.py with a ProblemSet in it."
        ) from error
    return module.PROBLEM_SET


def grade(
    task: Task,
    name: str,
    questions: Sequence[Question],
    outcomes: Sequence[Outcome],
    variant: Variant,
) -> Verdict:
    """Judge what came of the questions, part by part.

    Args:
        task, name: the task and its name.
        questions: what was asked.
        outcomes: one for each.
        variant: the constants of the notebook's variant.

    Example:
        >>> def positive(name, questions, outcomes, v):
        ...     if not all((outcome.tensors[0] > 0).all() for outcome in outcomes):
        ...         raise Wrong("there are numbers below 0.")
        >>> task = Task(
        ...     lambda generator, v: [Question("three numbers", {"x": torch.rand(3, generator=generator)})],
        ...     [Part(2, "the sign", positive)],
        ... )
        >>> questions = task.questions(torch.Generator(), {})
        >>> outcomes = answer_questions("f", torch.neg, questions)
        >>> print(grade(task, "f", questions, outcomes, {}))
        0 of 2 points
        the sign (-2): there are numbers below 0.
    """
    lost: dict[str, list[Part]] = {}  # the same words for two parts are said once
    if len(outcomes) != len(questions):
        words = f"{len(outcomes)} answers came for {len(questions)} questions."
        return Verdict(0, task.max_points, [words])
    for part in task.parts:
        try:
            about = [i for i, question in enumerate(questions) if part.only(question)]
            for i in about:
                if (words_found := outcomes[i].words) is not None:
                    raise Wrong(words_found)
            # right answers are computed with gradients on and random numbers of their own, as the student's were
            about = [*range(len(questions))] if part.whole else about
            with own_random_numbers(0):
                part.judge(
                    name, [questions[i] for i in about], [outcomes[i] for i in about], variant
                )
        except Wrong as error:
            lost.setdefault(str(error), []).append(part)
    messages = [
        f"{' and '.join(part.title for part in parts)} (-{sum(part.points for part in parts):g}): {words}"
        for words, parts in lost.items()
    ]
    points = task.max_points - sum(part.points for parts in lost.values() for part in parts)
    return Verdict(points, task.max_points, messages)


def grade_here(
    problem_set_name: str,
    task_name: str,
    answer: Answer,
    variant: int = 0,
    seed: int = 0,
    questions: Sequence[Question] | None = None,
) -> Verdict:
    """Ask and judge in this process: for the solutions and for tests, not for strangers' code.

    Args:
        problem_set_name, task_name: what is graded.
        answer: the function.
        variant: the seed of the variant.
        seed: of the questions.
        questions: these, in place of new ones.
    """
    graders = problem_set(problem_set_name)
    constants, task = graders.variant(variant), graders.tasks[task_name]
    if questions is None:
        questions = task.questions(torch.Generator().manual_seed(seed), constants)
    outcomes = answer_questions(task_name, answer, questions, seed)
    # the way that answers take out of the jail, so that what it refuses is refused here as well
    outcomes, _ = unpack(pack(outcomes))
    return grade(task, task_name, questions, outcomes, constants)


# ---------------------------------------------------------------- tasks that are steps


def task(*parts: Part | Callable[[MakeStep], Part]) -> Callable[[MakeStep], Task]:
    """Make a `Task` of the function below, which takes a variant and returns a `Step`.

    Args:
        parts: of `compared` and `trained`, or with judges of their own.

    Example:
        >>> from course.checking.step import extreme, step, tame
        >>> @task(compared(2, "the values", only=is_ordinary), compared(1, "an extreme case", only=is_extreme))
        ... def scaled(v):
        ...     @step(lambda g: [tame("two", x=torch.ones(2)), extreme("large", x=torch.full((1,), 1e30))])
        ...     def scaled(x):
        ...         return v["SCALE"] * x
        ...
        ...     scaled.wrong = {"SCALE says by how much.": lambda x: x}
        ...     return scaled
        >>> questions = scaled.questions(torch.Generator(), {"SCALE": 3.0})
        >>> outcomes = answer_questions("scaled", lambda x: x, questions)
        >>> print(grade(scaled, "scaled", questions, outcomes, {"SCALE": 3.0}))
        0 of 3 points
        the values and an extreme case (-3): SCALE says by how much.
    """

    def made(new: MakeStep) -> Task:
        steps: dict[str, Step] = {}

        def make(variant: Variant) -> Step:
            """The step of a variant, made once, so that its functions are the same ones for all parts."""
            if str(variant) not in steps:
                steps[str(variant)] = new(variant)
            return copy.copy(steps[str(variant)])  # parts change what it may say

        def questions(generator: torch.Generator, variant: Variant) -> Sequence[Question]:
            return make(variant).cases(generator)

        functools.update_wrapper(make, new)
        return Task(questions, [x if isinstance(x, Part) else x(make) for x in parts], make)

    return made


def always(question: Question) -> bool:
    return True


def is_extreme(question: Question) -> bool:
    """Whether a question is about an extreme case: for `Part.only`."""
    return question.kind == "extreme"


def is_ordinary(question: Question) -> bool:
    """Whether it is about any other."""
    return not is_extreme(question)


def labelled(word: str) -> Callable[[Question], bool]:
    """Whether a question's label begins with a word: for `Part.only`."""
    return lambda question: question.label.startswith(word)


def compared(
    points: float,
    title: str,
    result: int | None = None,
    only: Callable[[Question], bool] = always,
    *,
    probe: Property | None = None,
) -> Callable[[MakeStep], Part]:
    """A part for values that are those of the step's right function.

    Args:
        points, title, only: as in `Part`.
        result: which of several results is judged; all if None.
        probe: of this part, as that of a `Step`.
    """

    def made(make: MakeStep) -> Part:
        def judge(
            name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
        ) -> None:
            step = make(v)
            step.reveal, many = False, len(step.results) > 1

            def seen(outcome: Outcome) -> Outcome:
                if len(outcome.tensors) == 1:
                    outcome = replace(outcome, several=many)
                try:
                    tensors = step.tensors(outcome)
                except Wrong as error:  # it stopped, or returned another number of results
                    return Outcome(words=str(error))
                return outcome if result is None else Outcome(tensors=tensors[result : result + 1])

            outcomes = [seen(outcome) for outcome in outcomes]
            step = step if result is None else step.of_result(result)
            step.probe = probe or step.probe
            pairs = list(zip(questions, outcomes, strict=True))
            fits = [step.fits(*pair) for pair in pairs]
            asked = [pair for pair in pairs if only(pair[0])]
            # with what is right elsewhere, which says where the mistake begins
            told = [p for p, right in zip(pairs, fits, strict=True) if right or only(p[0])]
            if len(told) == sum(fits):
                return
            # what explains all that came explains this part best; no entry explains what is not finite in one part
            finite = all(x.isfinite().all() for _, outcome in asked for x in outcome.tensors)
            for some in (pairs, asked) if finite else (pairs,):
                if words := step.known(*zip(*some, strict=True)):
                    raise Wrong(words)
            step.judge_values(*zip(*told, strict=True))

        return Part(points, title, judge, only, whole=True)

    return made


def trained(
    points: float, title: str, only: Callable[[Question], bool] = is_ordinary
) -> Callable[[MakeStep], Part]:
    """A part for the gradients that the step asks for: of a weighted sum of the results, so a wrong constant in them
    costs the values' points and not these. Where a wrong function of the table explains both, it is named."""

    def made(make: MakeStep) -> Part:
        def judge(
            name: str, questions: Sequence[Question], outcomes: Sequence[Outcome], v: Variant
        ) -> None:
            step = make(v)
            try:
                step.judge_gradient(questions, outcomes)
            except Wrong as error:
                raise Wrong(explained(step, questions, outcomes) or str(error)) from None

        return Part(points, title, judge, only)

    return made


def explained(step: Step, questions: Sequence[Question], outcomes: Sequence[Outcome]) -> str | None:
    """The words of a wrong function whose values and gradients are those that came."""
    for words, wrong in step.wrong.items():
        other = Step(step.as_answer(wrong), step.inputs, results=step.results)
        if all(map(other.fits, questions, outcomes)):
            with contextlib.suppress(Wrong):
                other.judge_gradient(questions, outcomes)
                return words
    return None
