r"""One form for a step: the right function, inputs that decide, and wrong functions with the words that help.

::

    @step(
        lambda g: [tame("3 images", mean=normal(g, 3, 2)), extreme("far away", mean=1e4 * normal(g, 2, 2))],
        passes="one number an image.", gradient="mean",
    )
    def cost(mean):
        '''Check `cost(mean)`: half the square, summed, (B, D) -> (B,).'''
        return 0.5 * mean.square().sum(1)

    cost.wrong = {
        "the factor 1/2 is missing.": lambda mean: mean.square().sum(1),
    }  # fmt: skip

`cost(answer, seed=0)` asks a student's function and judges what came. The two halves stand alone too, `ask` and
`judge`: a problem set asks in the student's process and judges in another. What is looked at, in this order:

 1. it is a function, takes the arguments, stops nowhere, changes none of them, and returns as many results;
 2. the table: a wrong function that agrees everywhere gives its words, or everywhere before the answer stops;
 3. the cheap questions of `relations.py`, which are the same for all steps;
 4. where the values are right: the dtype, properties of the answer, a gradient, and the seed of random numbers.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, allclose, isfinite, where

from course.checking.core import Answer, Case, Wrong, own_random_numbers, same
from course.checking.questions import Outcome, Question, answer_questions
from course.checking.relations import Numbers, explain, number

Inputs = Callable[[torch.Generator], Iterable[Case]]
Property = Callable[..., str | None]
KINDS = ("tame", "hard", "extreme")


def tame(label: str, /, **arguments: Any) -> Case:
    """A call with ordinary inputs."""
    return Case(label, arguments)


def hard(label: str, /, **arguments: Any) -> Case:
    """A call that tells apart what ordinary inputs do not: a tie, an edge, a single row."""
    return Case(label, arguments, kind="hard")


def extreme(label: str, /, **arguments: Any) -> Case:
    """A call where numbers under- or overflow unless one takes care."""
    return Case(label, arguments, kind="extreme")


class Step:
    """What is known about one step of an exercise; called with a student's function, it checks that.

    Args:
        right: the right function; its docstring is the check's. With `told`, it takes what that returns.
        inputs: a generator -> the calls to make; the first is the example of the exercise.
        passes: what is printed after "Right: ".
        gradient: names of the arguments that a gradient must reach, apart by spaces.
        results: what the results are, where there are several.
        dtype: that the next cell needs; "same" for the right function's. By default any of the same kind
            (floating, whole, boolean) will do.
        random: whether the function draws, so that two calls must differ.
        compared: whether the values are; by default they are not where the function draws. The table is asked all the
            same: "these are the probabilities" is a wrong draw that agrees exactly.
        view: the student's arguments -> those of `right` and of the wrong functions, in order, if others say it
            shorter.
        told: a case that was asked -> the same, where they depend on what a model that the check handed out has
            recorded. May raise `Wrong`. `play` must then say what answer goes wrong like a wrong function.
        probe: a case, its results and the right ones -> words or None: "these do not sum to one". Asked of the first
            case that is wrong when neither the table nor the cheap questions know better (`explain` says when).
        changed: what to say to an answer that changes an argument, if there is more to say than that.
        around: an answer -> the function whose results are compared, where more counts than what the answer returns:
            it calls the answer on copies, and returns what became of these too. The right function and the
            wrong ones are answers then, as a student writes them.
        read: what came back and the arguments -> what is compared in its place, for what is no tensor (a name ->
            its number), or where several results are right (an axis and its opposite). Results of the right and of
            wrong functions are read too. It takes whatever a student returns, and may raise `Wrong`.
        parts: the arguments of `right` -> the parts whose sum the result is, each by a name ("the mean"); of several
            results a tuple, {} for a result without parts. A part that is missing, or counts twice, is then named.
        zeros: what to add for an answer that is 0 or False everywhere.
        properties: a case and its results -> words or None; asked once values are right, or not compared.
        live: an answer and a generator -> words or None, last of all; asked in a student's notebook, not by
            `judge`. For what must call the answer in its own way.

    Attributes:
        wrong: words -> the function of a student who needs them. It returns what the right one does; where
            there are several results, None in the place of those that it says nothing of.
        reveal: whether words may say what would have been right, as for exercises.

    Example:
        >>> @step(lambda g: [tame("two numbers", x=torch.rand(2, generator=g))], passes="e to the x.")
        ... def exponential(x):
        ...     return x.exp()
        >>> exponential.wrong = {"that is 1 too little.": torch.expm1}
        >>> exponential(torch.exp)
        Right: e to the x.
        >>> exponential(torch.expm1)
        Traceback (most recent call last):
            ...
        course.checking.core.Wrong: that is 1 too little.
    """

    def __init__(
        self,
        right: Callable[..., Any],
        inputs: Inputs,
        *,
        passes: str = "",
        gradient: str = "",
        results: Sequence[str] = ("the result",),
        dtype: torch.dtype | str | None = None,
        random: bool = False,
        compared: bool | None = None,
        view: Callable[..., Mapping[str, Any]] | None = None,
        told: Callable[[Case], Mapping[str, Any]] | None = None,
        play: Callable[[Callable[..., Any]], Answer] | None = None,
        around: Callable[[Answer], Answer] | None = None,
        read: Callable[..., Any] | None = None,
        parts: Callable[..., Any] | None = None,
        zeros: str = "",
        properties: Sequence[Property] = (),
        probe: Property | None = None,
        changed: str | None = None,
        live: Sequence[Property] = (),
    ):
        functools.update_wrapper(self, right)  # doctest and `help` see a function
        self.name = right.__name__
        self.right, self.inputs, self.passes = right, inputs, passes
        self.gradient = tuple(gradient.split())
        self.results, self.dtype, self.random = tuple(results), dtype, random
        self.compared = not random if compared is None else compared
        self.view, self.told, self.play = view, told, play
        self.around, self.read, self.zeros, self.changed = around, read, zeros, changed
        self.probe, self.parts = probe, parts
        self.properties, self.live = tuple(properties), tuple(live)
        self.wrong: dict[str, Callable[..., Any]] = {}
        self.reveal = True
        self._answers: dict[Callable[..., Any], Answer] = {}
        self._places = slice(None)  # of the results that are judged

    @property
    def lasting(self) -> bool:
        """Whether the same case asks the same again: nothing is drawn, and no model remembers its calls."""
        return self.told is None and not self.random

    def __call__(
        self, answer: Answer, *, seed: int = 0, cases: Sequence[Question] | None = None
    ) -> None:
        """Check an answer: print one line, or raise `Wrong` with the likely mistake.

        Args:
            answer: the student's function.
            seed: of the calls.
            cases: these calls, in place of new ones.
        """
        if not callable(answer):
            raise Wrong(
                f"the check wants the function itself, not what it returns: give it `{self.name}`, "
                f"without brackets."
            )
        cases = self.cases(seed) if cases is None else cases
        self._takes(answer, cases[0])
        # gradients are for those whose values are right
        plain = [replace(case, trained=()) for case in cases]
        outcomes = self.ask(answer, plain, seed)
        with own_random_numbers(0):
            try:
                self.judge_values(cases, outcomes, numbers_of(answer))
            except Wrong as error:
                if not self.random and str(error) not in self.wrong:
                    again = self.ask(answer, plain[:1], seed + 1000)[0].tensors
                    if not all(map(same_or_nan, outcomes[0].tensors, again)):
                        raise Wrong(
                            f"`{self.name}` draws random numbers of its own: the same arguments must give the same "
                            "result."
                        ) from None
                raise
            if self.gradient:
                self.judge_gradient(cases, self.ask(answer, cases, seed))
        with own_random_numbers(seed) as generator:
            for question in self.live:
                _raise(question(answer, generator))
        print(f"Right: {self.passes}")

    def cases(self, seed: int | torch.Generator = 0) -> list[Question]:
        """The calls to make. The last of a random step is the first one again."""
        with own_random_numbers(0):
            if isinstance(seed, torch.Generator):
                seed = int(torch.randint(2**31, (), generator=seed))
            cases = list(self.inputs(torch.Generator().manual_seed(seed)))
            if self.random:  # made anew: a case may hold a model that remembers its calls
                cases.append(next(iter(self.inputs(torch.Generator().manual_seed(seed)))))
        return [
            Question(
                case.label,
                case.arguments,
                self.gradient if case.kind != "extreme" else (),
                kind=case.kind,
                about=case.about,
            )
            for case in cases
        ]

    def ask(self, answer: Answer, cases: Sequence[Question], seed: int = 0) -> list[Outcome]:
        """Call the answer for every case, each with random numbers of its own; this may happen elsewhere."""
        asked = self._reading(self._whole(answer))
        return [
            answer_questions(self.name, asked, [case], 100 + seed + i)[0]  # not the inputs' numbers
            for i, case in enumerate(cases)
        ]

    def judge(
        self,
        cases: Sequence[Question],
        outcomes: Sequence[Outcome],
        numbers: Numbers = frozenset(),
    ) -> None:
        """Return when every outcome is right; else raise `Wrong` with the best diagnosis there is.

        Args:
            cases: the calls made, from `cases`.
            outcomes: what came of each, from `ask`.
            numbers: that stand in the student's code, if one may look.
        """
        with own_random_numbers(0):
            self.judge_values(cases, outcomes, numbers)
            self.judge_gradient(cases, outcomes, but="the values are right, but ")

    def as_answer(self, function: Callable[..., Any]) -> Answer:
        """The right function or a wrong one as a student would write it; made once, as what it returns is kept."""
        if function not in self._answers:
            self._answers[function] = self._new_answer(function)
        return self._answers[function]

    def _new_answer(self, function: Callable[..., Any]) -> Answer:
        if self.play is not None:
            return self.play(function)
        if self.around is not None:
            return function
        view = self.view

        def answer(*arguments: Any) -> Any:
            made = function(*view(*arguments).values()) if view else function(*arguments)
            if isinstance(made, tuple) and any(x is None for x in made):  # it says nothing of these
                right = self.as_answer(self.right)(*arguments)
                return tuple(b if a is None else a for a, b in zip(made, right, strict=True))
            return made

        return answer

    def of_result(self, n: int) -> "Step":
        """The step of one of several results, which is judged by itself.

        Example:
            >>> both = Step(lambda x: (x, -x), lambda g: [tame("one", x=torch.ones(1))], results=("x", "-x"))
            >>> both.of_result(1).fits(both.cases()[0], Outcome(tensors=(-torch.ones(1),)))
            True
        """
        made = copy.copy(self)
        made.results, made._places, made.properties = (self.results[n],), slice(n, n + 1), ()
        made.probe = made.parts = None
        # zeros in one of several results have a reason, which the table may know
        made._constant = lambda given, wanted: None  # type: ignore[method-assign]
        return made

    def fits(self, case: Question, outcome: Outcome) -> bool:
        """Whether the values that came of one call are right; asks nothing of those that are not."""
        try:
            given = self.tensors(outcome)
            if not all_same(given, self._wanted([case])[1][0]):
                return False
            self.judge_values([case], [outcome])
        except Wrong:
            return False
        return True

    def known(self, cases: Sequence[Question], outcomes: Sequence[Outcome]) -> str | None:
        """The words of the table, if an entry agrees with what came; calls that stopped are left out."""
        came = [(a, b) for a, b in zip(cases, outcomes, strict=True) if b.words is None]
        told, wanted = self._wanted([case for case, _ in came])
        given = [self.tensors(outcome) for _, outcome in came]
        if all(map(all_same, given, wanted)):
            return None
        return self._known([case for case, _ in came], told, given, wanted)

    # ------------------------------------------------------------ the halves of `judge`

    def judge_values(
        self,
        cases: Sequence[Question],
        outcomes: Sequence[Outcome],
        numbers: Numbers = frozenset(),
    ) -> None:
        """The part of `judge` that is about what came back."""
        stops = next((i for i, outcome in enumerate(outcomes) if outcome.words), None)
        if stops:  # by what came before it may be known: a layer of another size, a missing row
            self._judge_table(cases[:stops], list(map(self.tensors, outcomes[:stops])))
        given = [self.tensors(outcome) for outcome in outcomes]
        if self.random:
            cases, given, again = cases[:-1], given[:-1], given[-1]
        wanted = self._judge_table(cases, given)
        if self.compared and not all(map(all_same, given, wanted)):
            self._check_kinds(given, wanted)
            _raise(
                explain(
                    self.name,
                    cases,
                    given,
                    wanted,
                    self.results,
                    numbers,
                    self.reveal,
                    self.probe,
                    self._parts(cases),
                )  # fmt: skip
            )
        self._check_kinds(given, wanted)
        if not self.compared:
            same_shapes = [
                [where(isfinite(a), b, a) if a.shape == b.shape else a for a, b in zip(x, y, strict=True)]
                for x, y in zip(given, wanted, strict=True)
            ]  # fmt: skip
            if not all(map(all_same, same_shapes, wanted)):
                _raise(
                    explain(
                        self.name, cases, same_shapes, wanted, self.results, numbers, self.reveal
                    )
                )
        self._all_asked(self.properties, cases, given)
        if self.random and all_same(given[0], again):
            raise Wrong(
                "every call draws the same numbers: set no seed inside the function, and draw anew in each call."
            )
        self._check_dtypes(given, wanted)

    def _judge_table(self, cases: Sequence[Question], given: Sequence) -> list[tuple]:
        """What is wanted; `Wrong` if the table knows what was given instead."""
        told, wanted = self._wanted(cases)
        if not all(map(all_same, given, wanted)):
            _raise(self._constant(given, wanted))
            _raise(self._known(cases, told, given, wanted))
        return wanted

    def judge_gradient(
        self, cases: Sequence[Question], outcomes: Sequence[Outcome], but: str = ""
    ) -> None:
        """The part that is about gradients: of a weighted sum of the results, whose constants do not matter."""
        for case, outcome in zip(cases, outcomes, strict=True):
            if not case.trained:
                continue
            _raise(outcome.words)  # such as a backward that stops
            wanted = self._gradients(case)
            if [key for key, _ in outcome.gradients] != list(case.trained):
                raise Wrong(f"the gradients that came for {case.label} are not the ones asked for.")
            lost = [
                key
                for (key, a), (_, b) in zip(outcome.gradients, wanted, strict=True)
                if b.any() and not a.any()
            ]
            if lost:
                raise Wrong(
                    f"no gradient reaches {' and '.join(f'`{key}`' for key in lost)}, so nothing could learn: leave "
                    "out `.detach()`, `.data`, `.item()` and `torch.no_grad()`."
                )
            for (key, a), (_, b) in zip(outcome.gradients, wanted, strict=True):
                scale = float(b[isfinite(b)].abs().max()) if isfinite(b).any() else 1.0
                close = a.shape == b.shape and allclose(
                    a.double(), b.double(), rtol=1e-3, atol=1e-4 * max(scale, 1e-3), equal_nan=True
                )
                if not close:
                    raise Wrong(
                        f"{but}the gradient of `{key}` is not right (for {case.label}): is something on its way "
                        "detached, rounded, or computed twice?"
                    )

    def _gradients(self, case: Question) -> tuple:
        known, key = case.made if self.lasting else {}, (self.right, case.trained)
        if key not in known:
            right = self._reading(self._whole(self.as_answer(self.right)))
            known[key] = answer_questions(self.name, right, [case])[0].gradients
        return known[key]

    # ------------------------------------------------------------ the questions

    def _whole(self, answer: Answer) -> Answer:
        """What is called: the answer, or what stands around it; `__wrapped__` leads back to the student's lines."""
        return answer if self.around is None else functools.wraps(answer)(self.around(answer))

    def _takes(self, answer: Answer, case: Case) -> None:
        try:
            signature = inspect.signature(answer)
        except (TypeError, ValueError):  # built in
            return
        try:
            signature.bind(*case.arguments.values())
        except TypeError:
            raise Wrong(
                f"`{self.name}` is called with {len(case.arguments)} arguments, "
                f"`{self.name}({', '.join(case.arguments)})`; yours is written as "
                f"`{self.name}{signature}`, and stops with TypeError."
            ) from None

    def tensors(self, outcome: Outcome) -> tuple[Tensor, ...]:
        """The results that came, as many as there should be."""
        if outcome.words is not None:
            changes = f"`{self.name}` changes its argument" in outcome.words
            raise Wrong(self.changed if changes and self.changed else outcome.words)
        n, came = len(self.results), len(outcome.tensors)
        if n == 1 and outcome.several:
            raise Wrong(
                f"`{self.name}` returns a list or tuple of {came}: return one tensor, as for instance `torch.stack` "
                "makes of a list."
            )
        if n > 1 and (came != n or not outcome.several):
            raise Wrong(
                f"`{self.name}` returns {came if outcome.several else 'one thing'}: return {n} tensors, "
                f"{', '.join(self.results[:-1])} and {self.results[-1]}."
            )
        return outcome.tensors

    def _arguments(self, case: Case) -> Mapping[str, Any]:
        if self.told is not None:
            return self.told(case)
        return case.arguments if self.view is None else self.view(*case.arguments.values())

    def _parts(self, cases: Sequence[Case]) -> list[tuple]:
        made = [self.parts(*self._arguments(case).values()) for case in cases] if self.parts else []
        return [x if isinstance(x, tuple) else (x,) for x in made]

    def _reading(self, answer: Answer) -> Answer:
        return answer if self.read is None else _Reading(answer, self.read)

    def _wanted(self, cases: Sequence[Case]) -> tuple[list[Mapping[str, Any]], list[tuple]]:
        """For each case what the right function is given, and what it returns."""
        told = [self._arguments(case) for case in cases]
        return told, [self._results(self.right, *both) for both in zip(cases, told, strict=True)]

    def _results(
        self, function: Callable[..., Any], case: Case, told: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        # what depends on the answer's own calls or on random numbers is computed anew
        known = case.made if isinstance(case, Question) and self.lasting else {}
        if function not in known:
            made = self._whole(function)(*told.values())
            read = made if self.read is None else self.read(made, *case.arguments.values())
            known[function] = tuple(
                x.detach() if isinstance(x, Tensor) else x for x in several(read)
            )
        return known[function][self._places]

    def _all_asked(
        self, questions: Sequence[Property], cases: Sequence[Case], given: Sequence
    ) -> None:
        for case, results in zip(cases, given, strict=True):
            for question in questions:
                _raise(question(case, *results))

    def _constant(self, given: Sequence, wanted: Sequence) -> str | None:
        """Nothing but zeros or False explains itself: no entry of a table may claim it."""
        numbers = [x for results in given for x in results]
        if all(x.numel() and not x.any() for x in numbers) and any(
            x.any() for results in wanted for x in results
        ):
            self._check_kinds(given, wanted)  # a quotient of whole numbers, cut
            what = "False" if numbers[0].dtype == torch.bool else "0"
            words = f"`{self.name}` returns {what} everywhere, for all inputs: does it use its arguments?"
            return f"{words} {self.zeros}".strip()
        return None

    def _known(
        self, cases: Sequence[Case], told: Sequence, given: Sequence, wanted: Sequence
    ) -> str | None:
        """The words of the first wrong function that agrees with the answer.

        In all results, or in the first that is wrong; for all inputs, or, where the answer is wrong for
        ordinary ones already, for those: a formula may overflow in ways of its own.
        """
        made: dict[tuple[str, int], tuple[Tensor | None, ...]] = {}

        def results(words: str, i: int) -> tuple[Tensor | None, ...]:
            if (words, i) not in made:
                try:
                    made[words, i] = self._results(self.wrong[words], cases[i], told[i])
                except RuntimeError:  # it stops, as the student's may
                    made[words, i] = (None,) * len(self.results)
            return made[words, i]

        def agrees(words: str, i: int, place: int | None) -> bool:
            pairs = list(zip(given[i], results(words, i), strict=True))
            if place is None:
                return all(b is not None and same_or_nan(a, b) for a, b in pairs)
            return pairs[place][1] is not None and same_or_nan(*pairs[place])

        def tells(words: str, places: Sequence[int]) -> bool:
            """Not infinities and NaN alone: many formulas overflow in the same place."""
            made = [x for i in places for x in results(words, i) if x is not None]
            return any(isfinite(x).any() for x in made)

        everywhere = range(len(cases))
        ordinary = [i for i in everywhere if cases[i].kind != "extreme"]
        tries = [(everywhere, None), (ordinary, None)]
        if len(self.results) > 1:
            first = next(
                n
                for n in range(len(self.results))
                if not all(same(a[n], b[n]) for a, b in zip(given, wanted, strict=True))
            )
            tries += [(everywhere, first), (ordinary, first)]
        for places, place in tries:
            wrong = any(
                not same(a, b)
                for i in places
                for n, (a, b) in enumerate(zip(given[i], wanted[i], strict=True))
                if place in (None, n)
            )
            if wrong:
                for words in self.wrong:
                    if all(agrees(words, i, place) for i in places) and tells(words, places):
                        return words
        return None

    def _check_kinds(self, given: Sequence, wanted: Sequence) -> None:
        """Floating, whole or boolean as the right results are; whole numbers may come as floating ones."""
        for a, b, what in self._triples(given, wanted):
            of = f" as {what}" if len(self.results) > 1 else ""
            if b.dtype == torch.bool and a.dtype != torch.bool:
                raise Wrong(
                    f"`{self.name}` returns {a.dtype}{of}: return True or False, as a comparison does (`... != 0`)."
                )
            if b.is_floating_point() and not a.is_floating_point():
                raise Wrong(
                    f"`{self.name}` returns {a.dtype}{of}: return floating-point numbers (`.float()`; `//` cuts, `/` "
                    "does not)."
                )

    def _check_dtypes(self, given: Sequence, wanted: Sequence) -> None:
        for a, b, what in self._triples(given, wanted):
            needed = b.dtype if self.dtype == "same" else self.dtype
            if needed is not None and a.dtype != needed:
                needs = "the next cell needs" if self.reveal else "the task asks for"
                raise Wrong(
                    f"the values are right, but {what} of `{self.name}` is {a.dtype}, and {needs} {needed}."
                )

    def _triples(self, given: Sequence, wanted: Sequence) -> Iterator[tuple[Tensor, Tensor, str]]:
        for results_given, results_wanted in zip(given, wanted, strict=True):
            yield from zip(results_given, results_wanted, self.results, strict=True)


class _Reading:
    """A function whose results are read; an error is still shown with the line of the student's."""

    def __init__(self, answer: Answer, read: Callable[..., Any]):
        self.answer, self.read = answer, read
        self.__code__ = getattr(answer, "__code__", None)

    def __call__(self, *arguments: Any) -> Any:
        return self.read(self.answer(*arguments), *arguments)


def step(inputs: Inputs, **options: Any) -> Callable[[Callable[..., Any]], Step]:
    """Make a `Step` of the right function that stands below; the options are those of `Step`."""
    return lambda right: Step(right, inputs, **options)


def several(result: Any) -> tuple:
    """The results of a function as a tuple of tensors.

    Example:
        >>> several(2.0)
        (tensor(2., dtype=torch.float64),)
    """
    results = tuple(result) if isinstance(result, tuple | list) else (result,)
    return tuple(number(x) for x in results)


def same_or_nan(a: Tensor, b: Tensor) -> bool:
    """`same`, with NaN in the same places: a formula that overflows may be recognised by where."""
    return a.shape == b.shape and allclose(
        a.double(), b.double(), rtol=1e-4, atol=1e-5, equal_nan=True
    )


def all_same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(same(x, y) for x, y in zip(a, b, strict=True))


def numbers_of(answer: Answer) -> Numbers:
    """The numbers that stand in a function's code.

    Example:
        >>> sorted(numbers_of(lambda x: [y / 7 for y in x]))
        [7]
    """
    found, codes = set(), [getattr(inspect.unwrap(answer), "__code__", None)]
    while codes:
        code = codes.pop()
        for constant in getattr(code, "co_consts", ()):
            if inspect.iscode(constant):
                codes.append(constant)
            elif isinstance(constant, tuple):
                found |= {x for x in constant if isinstance(x, int | float)}
            elif isinstance(constant, int | float):
                found.add(constant)
    return frozenset(found)


def _raise(words: str | None) -> None:
    if words:
        raise Wrong(words)
