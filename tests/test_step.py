"""The cheap questions, asked of a step that has no table: each answer is told what is wrong with it."""

import math
import re
from dataclasses import replace

import pytest
import torch

from course.checking.core import Case, Wrong, normal
from course.checking.questions import Outcome
from course.checking.relations import explain
from course.checking.step import Step, extreme, hard, step, tame


def make(**options):
    @step(
        lambda g: [
            tame("3 rows of 4", x=normal(g, 3, 4)),
            tame("5 rows of 2", x=normal(g, 5, 2)),
            extreme("large numbers", x=300 + 200 * normal(g, 2, 3).abs()),
        ],
        gradient="x",
        **options,
    )
    def log_sum(x):
        return x.logsumexp(1)

    return log_sum


def told(about, answer, seed=0):
    try:
        about(answer, seed=seed)
    except Wrong as error:
        return str(error)
    return None


def right(x):
    return x.logsumexp(1)


def seeds_itself(x):
    torch.manual_seed(0)
    return torch.randn(len(x))


def in_place(x):
    x -= 1
    return right(x + 1)


class Rounds(torch.autograd.Function):
    """The right values, and half the gradient."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient / 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("says", "answer"),
    [
        ("called with 1 arguments, .log_sum.x", lambda x, dim: right(x)),
        ("axis of length 1 is too many", lambda x: x.logsumexp(1, keepdim=True)),
        ("you sum over everything", lambda x: right(x).sum()),
        ("you average over everything", lambda x: right(x).mean()),
        ("returns a list or tuple of 3", lambda x: list(right(x))),
        ("int64", lambda x: right(x).long() + 1),
        ("cut to whole numbers", lambda x: right(x).trunc()),
        ("contains NaN", lambda x: (right(x) - math.inf) - (right(x) - math.inf)),
        ("root or logarithm of a negative number", lambda x: x.log().sum(1)),
        ("is infinite", lambda x: x.exp().sum(1).log()),
        ("small number .* or a clamp", lambda x: x.clamp(max=50).exp().sum(1).log()),
        ("or a mask, or `nan_to_num`", lambda x: right(x).where(right(x) < 99, torch.zeros(()))),
        ("the sign is wrong", lambda x: -right(x)),
        ("twice the right one", lambda x: 2 * right(x)),
        ("bits where nats", lambda x: right(x) / math.log(2)),
        ("base 10", lambda x: right(x) / math.log(10)),
        ("divided by the length of axis 1", lambda x: right(x) / x.shape[1]),
        ("multiplied by the root of the length of axis 0", lambda x: right(x) * len(x) ** 0.5),
        (r"\(n - 1\)/n times, with n the length of axis 0", lambda x: right(x) * (1 - 1 / len(x))),
        ("the logarithm of the length of axis 1 of `x` is missing", lambda x: right(x) - math.log(x.shape[1])),
        ("half of the length of axis 1 of `x` is added to", lambda x: right(x) + x.shape[1] / 2),
        ("log.2 pi./2 too small", lambda x: right(x) - 0.5 * math.log(2 * math.pi)),
        ("right to three digits only", lambda x: right(x) * 1.0005),
        ("3.25 times the right one", lambda x: 3.25 * right(x)),
        ("you return the exp", lambda x: right(x).exp()),
        ("not every sign|the sign is wrong", lambda x: -right(x).abs()),
        ("reverse order", lambda x: right(x).flip(0)),
        ("shifted by one place", lambda x: right(x).roll(1, 0)),
        ("added up", lambda x: right(x).cumsum(0)),
        ("another order", lambda x: right(x).sort().values),
        ("Two or three digits are right: is a small number added", lambda x: (x.exp().sum(1) + 0.002).log()),
        ("right to three digits only", lambda x: 1.001 * right(x)),
        ("half precision", lambda x: right(x).bfloat16()),
        ("digits are right: .* half precision", lambda x: right(x) * (1 + 1e-3 * x[:, 0].sign())),
        ("changes its argument `x`", in_place),
        ("no gradient reaches `x`", lambda x: right(x.detach())),
        ("gradient of `x` is not right", lambda x: Rounds.apply(right(x))),
        ("returns 0 everywhere", lambda x: 0 * right(x)),
        ("int64: return floating-point numbers", lambda x: right(x).long() // 10**6),
        ("only in the last place along axis 0", lambda x: torch.cat([right(x)[:-1], right(x)[:1] + 1])),
        ("only in the first place along axis 0", lambda x: torch.cat([right(x)[:1] + 1, right(x)[1:]])),
        ("The number 3 of 3 rows of 4 stands in your code", lambda x: right(x) + len(x) - 3),
    ],
)  # fmt: skip
def test_a_cheap_question_explains(says, answer, seed):
    words = told(make(), answer, seed)
    assert words is not None and re.search(says, words), words
    assert len(words) <= 250


@pytest.mark.parametrize(
    ("says", "cut"), [("below 0 and above 1", (0, 1)), ("negative", (0, None))]
)
def test_numbers_that_are_cut_off_are_named(says, cut):
    @step(lambda g: [tame("5 numbers", x=torch.tensor([-2.0, 0.5, -0.3, 0.7, 3.0]))])
    def same(x):
        return 1 * x

    assert says in told(same, lambda x: x.clamp(*cut))


def test_labels_of_zero_are_no_reason_for_nan():
    @step(lambda g: [tame("three labels", x=normal(g, 3), y=torch.tensor([0, 1, 0]))])
    def picked(x, y):
        return x[y]

    assert "inf - inf, as after an exp" in told(picked, lambda x, y: x[y] + math.inf - math.inf)


def test_an_axis_in_another_place_is_not_one_too_many():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    said = [explain("f", [Case("one", {})], [[y]], [[x]], ["it"]) for y in (x.movedim(2, 0), x[0])]
    assert "another order" in said[0] and "keep the axis" in said[1]


def test_a_result_near_zero_is_not_one_cut_to_whole_numbers():
    x = torch.rand(5)
    assert "whole" not in explain("f", [Case("one", {})], [[1e-9 * x**2]], [[x / 2]], ["it"])


def test_numbers_are_printed_with_the_digits_that_differ():
    words = told(make(), lambda x: right(x) * (1 + 2e-4 * x[:, 0].sign()))
    a, b = re.search(r"it is (\S+), not (\S+)\.", words).groups()
    assert a != b


def test_a_number_is_named_only_where_it_stands_in_the_code():
    assert "stands" not in told(make(), lambda x: right(x) + (len(x) > x.shape[1]))


def test_a_table_wins_over_the_cheap_questions_and_zeros_over_the_table():
    about = make()
    about.wrong = {"own words": lambda x: -right(x), "all zeros": lambda x: 0 * right(x)}
    assert told(about, lambda x: -right(x)) == "own words"
    assert told(about, lambda x: 0 * right(x)) != "all zeros"


def test_a_wrong_formula_is_recognised_though_it_overflows_in_its_own_way():
    about = make()
    about.wrong = {"a factor": lambda x: 1.5 * right(x)}
    assert told(about, lambda x: 1.5 * x.exp().sum(1).log()) == "a factor"


def test_infinities_alone_recognise_nothing():
    about = make()
    about.wrong = {"own words": lambda x: right(x) + math.inf}
    assert told(about, lambda x: x.exp().sum(1) * math.inf) != "own words"


def test_the_dtype_that_the_next_cell_needs():
    assert told(make(), lambda x: right(x.double())) is None
    assert "float64, and the next cell needs torch.float32" in told(
        make(dtype="same"), lambda x: right(x.double())
    )


def test_several_results_are_judged_each_by_itself():
    @step(
        lambda g: [hard("2 rows", x=normal(g, 2, 3)), hard("4 rows", x=normal(g, 4, 3))],
        results=("the mean", "the spread"),
    )
    def moments(x):
        return x.mean(1), x.std(1)

    moments.wrong = {
        "the root is missing": lambda x: (None, x.var(1)),
        "a sum": lambda x: (x.sum(1), None),
    }
    assert told(moments, lambda x: (x.mean(1), x.std(1))) is None
    assert told(moments, lambda x: (x.mean(1), x.var(1))) == "the root is missing"
    assert told(moments, lambda x: (x.sum(1), x.var(1))) == "a sum"
    assert "another order: return the mean and the spread" in told(
        moments, lambda x: (x.std(1), x.mean(1))
    )
    assert "returns one thing: return 2 tensors" in told(moments, lambda x: x.mean(1))


def test_what_is_drawn_must_differ_from_call_to_call():
    @step(lambda g: [tame("3 rows", x=normal(g, 3))], random=True)
    def noise(x):
        return torch.randn(len(x))

    assert told(noise, lambda x: torch.randn(len(x))) is None
    assert "every call draws the same" in told(noise, seeds_itself)
    assert "shape" in told(noise, lambda x: torch.randn(len(x), 1))
    noise.properties = (lambda case, z: "too far" if z.abs().max() > 9 else None,)
    assert told(noise, lambda x: 99 * torch.randn(len(x))) == "too far"


def test_asking_and_judging_stand_alone():
    """A problem set asks in one process and judges in another."""
    about = make()
    cases = about.cases(7)
    assert isinstance(cases[0], Case) and [case.kind for case in cases][-1] == "extreme"
    about.judge(cases, about.ask(right, cases))
    about.reveal = False
    with pytest.raises(Wrong, match="at .* it is [^,]*$"):
        about.judge(cases, about.ask(lambda x: right(x) + x[:, 0], cases))


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ((1.0, 0.0), "the second is missing in your result."),
        ((2.0, -1.0), "the first counts twice and the second has the wrong sign in your result."),
        ((1.0, 0.7), "the second counts 0.7 times in your result."),
        ((2.0, 2.0), "your result is twice the right one"),
    ],
)
def test_the_weight_of_a_part_is_named(weights, says):
    @step(
        lambda g: [tame("four numbers", x=normal(g, 4)), tame("two numbers", x=normal(g, 2))],
        parts=lambda x: {"the first": x.exp(), "the second": x.square()},
    )
    def both(x):
        return x.exp() + x.square()

    a, b = weights
    assert says in told(both, lambda x: a * x.exp() + b * x.square())
    assert "is wrong: at [" in told(both, lambda x: x.exp() + x.sin())


def test_weights_that_fit_whatever_came_are_no_explanation():
    @step(
        lambda g: [tame("one", x=normal(g, 1)), tame("another", x=normal(g, 1))],
        parts=lambda x: {"the first": x.exp(), "the second": x.square()},
    )
    def both(x):
        return x.exp() + x.square()

    assert "counts" not in told(both, lambda x: x.exp() + 0.37 * x.square())


def test_a_probe_is_asked_after_a_factor_and_before_a_chance_likeness_of_truths():
    def probe(case, *results):
        return f"seen in {case.label}: {len(results)} results"

    @step(
        lambda g: [tame("3 numbers", x=normal(g, 3)), extreme("large ones", x=1e4 * normal(g, 4))],
        probe=probe,
    )
    def numbers(x):
        return x

    assert "twice the right one" in told(numbers, lambda x: 2 * x)
    assert told(numbers, lambda x: x + x.sin()) == "seen in 3 numbers: 2 results"
    assert told(numbers, lambda x: x.clamp(-9, 9)) == "seen in large ones: 2 results"
    assert "shape" in told(numbers, lambda x: (x + x.sin())[:2])
    assert "NaN" in told(numbers, lambda x: x + math.nan)

    @step(lambda g: [tame("3 numbers", x=torch.tensor([1.0, 2, 3]))], probe=probe)
    def first(x):
        return x < 2

    # the right truths in reverse order, by chance
    assert told(first, lambda x: x > 2) == "seen in 3 numbers: 2 results"


def test_one_of_several_results_is_judged_by_itself():
    def moments(x):
        return x.mean(1), x.std(1)

    about = Step(
        moments,
        lambda g: [tame("2 rows", x=normal(g, 2, 3))],
        results=("the mean", "the spread"),
    )
    about.wrong = {"the root is missing": lambda x: (None, x.var(1))}
    cases = about.cases()
    of_spread = [
        Outcome(tensors=(x.tensors[1],)) for x in about.ask(lambda x: (x.sum(1), x.var(1)), cases)
    ]
    assert about.of_result(1).known(cases, of_spread) == "the root is missing"
    right = [Outcome(tensors=(x.tensors[1],)) for x in about.ask(moments, cases)]
    about.of_result(1).judge_values(cases, right)


def test_gradients_of_the_right_answer_are_kept_by_what_they_were_asked_for():
    about = Step(
        lambda x, y: x * y, lambda g: [tame("two", x=normal(g, 2), y=normal(g, 2))], gradient="x y"
    )
    [case] = about.cases()
    for trained in (("x", "y"), ("y",), ("x",)):
        asked = [replace(case, trained=trained)]
        about.judge_gradient(asked, about.ask(lambda x, y: x * y, asked))
