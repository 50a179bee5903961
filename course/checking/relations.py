"""The cheap questions: how a wrong result is related to the right one, the same for all steps.

A factor, a difference, another order of axes or of results, a missing axis, a sum too many: each explains an answer
better than one number that is wrong, and needs no table.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import torch
from torch import Tensor, allclose, cat, isclose, isfinite, isinf, isnan, where

from course.checking.core import Case, same

Numbers = Set[float]
Parts = Mapping[str, Tensor]  # what a result is the sum of, by a name

FACTORS = {  # the right result times this
    -1.0: "the sign is wrong: what is wanted is minus your result.",
    math.log(2): "you divide by log2(e), or forget to divide by ln 2: these are nats where bits are wanted.",
    1 / math.log(2): "these are bits where nats are wanted: multiply by ln 2, or take natural logarithms.",
    1 / math.log(10): "you take logarithms to base 10 where natural ones are wanted.",
    math.log(10): "you take natural logarithms where those to base 10 are wanted.",
    100.0: "these are percentages: return the shares themselves, between 0 and 1.",
    math.log(2) ** 2: "you multiply by ln 2 where you should divide by it.",
    1 / math.log(2) ** 2: "you divide by ln 2 where you should multiply by it.",
    2.0: "your result is twice the right one: a factor 1/2 is missing, or something is counted twice.",
    0.5: "your result is half the right one: a factor 1/2 is too much, or something is left out.",
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {  # of the right result
    "you return the logarithm: take its exp.": lambda x: x.log(),
    "you return the exp: what is wanted is its logarithm.": lambda x: x.exp(),
    "you return 1 minus what is wanted.": lambda x: 1 - x,
    "you return the reciprocal: what is wanted is 1 over your result.": lambda x: 1 / x,
    "you return the square: the root is missing.": lambda x: x.square(),
    "you return the root: what is wanted is its square.": lambda x: x.sqrt(),
    "negative numbers are set to zero, as `relu` and `clamp(min=0)` do.": lambda x: x.clamp(min=0),
    "numbers below 0 and above 1 are cut off, as `clamp(0, 1)` does.": lambda x: x.clamp(0, 1),
    "your result is rounded to whole numbers.": lambda x: x.round(),
    "your result is cut to whole numbers, as `long()` and `//` do.": lambda x: x.trunc(),
}  # fmt: skip


def explain(
    name: str,
    cases: Sequence[Case],
    given: Sequence[Sequence[Tensor]],
    wanted: Sequence[Sequence[Tensor]],
    results: Sequence[str],
    numbers: Numbers = frozenset(),
    reveal: bool = True,
    probe: Callable[..., str | None] | None = None,
    parts: Sequence[Sequence[Parts]] = (),
) -> str:
    """What to say about results that are wrong, and that no table knows.

    Args:
        name: of the student's function.
        cases, given, wanted: the calls, what came and what should have come.
        results: what the results are.
        numbers: that stand in the student's code.
        reveal: whether to say what would have been right, as for exercises.
        probe: the first case that is wrong, its results (finite, and of the right shapes) and the right ones -> words
            or None. Asked before the last resort; of whole numbers and of True and False, between which a factor or
            a difference may be chance, first.
        parts: of each result of each call, if they are known: the right result is their sum.

    Example:
        >>> case, x = Case("three numbers", {}), torch.rand(3)
        >>> explain("f", [case], [[2 * x]], [[x]], ["the result"])
        'your result is twice the right one: a factor 1/2 is missing, or something is counted twice.'
    """
    if len(results) > 1 and (words := _swapped(given, wanted, results)):
        return words
    fits = [all(map(same, a, b)) for a, b in zip(given, wanted, strict=True)]
    first = fits.index(False)
    place = next(n for n in range(len(results)) if not same(given[first][n], wanted[first][n]))
    of = f"{results[place]}: " if len(results) > 1 else ""
    pairs = [(a[place], b[place]) for a, b in zip(given, wanted, strict=True)]
    ordinary = [i for i, case in enumerate(cases) if case.kind != "extreme"]
    right = [i for i in ordinary if fits[i]]
    case, (got, want) = cases[first], pairs[first]
    but = f"right for {cases[right[0]].label}, but " if right else ""
    start = f"{but}for {case.label} {results[place]} of `{name}`"
    if got.shape != want.shape:
        words = _shape(got, want)
        stands = _stands(cases, first, numbers, fits)
        return f"{start} has the shape {tuple(got.shape)} where {tuple(want.shape)} is wanted{words}.{stands}"
    odd = ~isfinite(got) & ~((got == want) | (isnan(got) & isnan(want)))
    if odd.any() and not isnan(got[odd]).any() and not want.isinf().all():
        return (
            f"for {case.label} {results[place]} of `{name}` is infinite: a number is rounded to 0 before its "
            "logarithm, or grows too large for an exp. Stay in log-space (`torch.logsumexp`, `F.softplus`)."
        )
    if odd.any():
        return f"{start} contains NaN: look for {_where_from(case)}."
    sound = all(
        a.shape == b.shape and (isfinite(a) | ~isfinite(b)).all()
        for a, b in zip(given[first], wanted[first], strict=True)
    )
    told = probe(case, *given[first], *wanted[first]) if probe is not None and sound else None
    only_extreme = ordinary and len(right) == len(ordinary)
    if told and (only_extreme or not want.is_floating_point()):
        return told
    if only_extreme:
        hides = ", or a mask, or `nan_to_num`," if isinf(want).any() or (got == 0).any() else ""
        return (
            f"right for ordinary numbers, but for {case.label} {_largest(got, want, reveal)}: a small number "
            f"(`+ 1e-8`) or a clamp{hides} in your code changes it, or a number is rounded on its way."
        )
    chosen = [pairs[i] for i in ordinary or range(len(cases))]
    if all(a.shape == b.shape for a, b in chosen):
        if parts and (words := _weighed(chosen, [parts[i][place] for i in ordinary])):
            return f"{of}{words}"
        words = _related(chosen, [cases[i] for i in ordinary or range(len(cases))], reveal)
        if words:
            return f"{of}{words}"
    if told:
        return told
    why = _at_an_end(pairs) + _stands(cases, first, numbers, fits)
    if not why and want.is_floating_point() and all(_close(a, b) for a, b in chosen):
        why = " Two or three digits are right: is a small number added, or one cut or rounded, as in half precision?"
    return f"{start} is wrong: {_largest(got, want, reveal)}.{why}"


def _close(got: Tensor, want: Tensor) -> bool:
    a, b = got.double(), want.double()
    finite = b[isfinite(b)]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return a.shape == b.shape and allclose(a, b, rtol=5e-3, atol=2e-3 * largest)


def number(x: Any) -> Any:
    """A Python number as a tensor, anything else as it is."""
    return torch.tensor(x, dtype=torch.float64) if isinstance(x, float) else (
        torch.tensor(x) if isinstance(x, int) else x
    )  # fmt: skip


# ---------------------------------------------------------------- a probe


def factors(*names: str, **terms: Callable[..., Tensor]) -> Callable[..., str | None]:
    """A probe for results that add up two tensors, each times a number an example: which number is wrong?

    The names are those of the results, where there are several.
    """

    def words(case: Case, *results: Tensor) -> str | None:
        pairs = list(zip(results[: len(results) // 2], results[len(results) // 2 :], strict=True))
        place = next(n for n, pair in enumerate(pairs) if not same(*pair))
        (got, want), in_it = pairs[place], f"in {names[place]} of" if names else "in"
        made = [term(*case.arguments.values()).flatten(1) for term in terms.values()]
        if case.kind != "tame" or got.ndim < 2 or made[0].shape[1] < 3 or _close(got, want):
            return None  # a standard deviation, two values, which some two numbers always fit, or one that is rounded
        pair = torch.stack(made, -1).double()
        both = torch.stack([got.flatten(1), want.flatten(1)], -1).double()
        found = torch.linalg.lstsq(pair, both).solution  # (B, the two terms, given and wanted)
        if not same((pair @ found)[..., 0], both[..., 0]):
            of = " plus one times ".join(f"`{name}`" for name in terms)
            what = names[place] if names else "your result"
            return (
                f"for {case.label} {what} is not one number an example times {of}: is one of them changed on the way, "
                "cut off or averaged, or is more in it?"
            )
        off = (found[..., 0] - found[..., 1]).abs()
        if off.max() < 0.02 or off.amax(1).min() < 1e-3:  # rounded, or other examples are right
            return None
        b = int(off.amax(1).argmax())
        say = "the factor of `{}` is {:.4g}, not {:.4g}".format
        rows = zip(terms, *found[b].round(decimals=6).T.tolist(), off.amax(0), strict=True)
        wrong = [say(*three) for *three, far in rows if far > 1e-3]
        wrong += [] if wrong[1:] else ["that of the other is right"]
        return f"{in_it} example {b} of {case.label} {', and '.join(wrong)}."

    return words


# ---------------------------------------------------------------- one question each


def _swapped(given: Sequence, wanted: Sequence, results: Sequence[str]) -> str | None:
    n = len(results)
    for order in itertools.permutations(range(n)):
        if order != tuple(range(n)) and all(
            all(same(a[place], b[i]) for i, place in enumerate(order))
            for a, b in zip(given, wanted, strict=True)
        ):
            return f"the results come in another order: return {', '.join(results[:-1])} and {results[-1]}."
    return None


def _shape(got: Tensor, want: Tensor) -> str:
    """What to add about a shape that is wrong, if it can be told from the numbers."""
    if got.ndim != want.ndim and got.squeeze().shape == want.squeeze().shape:
        if same(got.reshape(want.shape), want):
            if got.ndim < want.ndim:
                return ", and the numbers are right: keep the axis (`keepdim=True`, or `[:, None]`)"
            return ", and the numbers are right: an axis of length 1 is too many (`squeeze`, `[0]`)"
    if got.ndim == want.ndim <= 5 and sorted(got.shape) == sorted(want.shape):
        for order in itertools.permutations(range(got.ndim)):
            if same(got.permute(order), want):
                return ", and the numbers are right: the axes are in another order"
    if got.numel() == want.numel() and same(got.flatten(), want.flatten()):
        return ", and the numbers are right: `reshape` them"
    for what, reduce in (("sum", Tensor.sum), ("average", Tensor.mean)):
        if want.is_floating_point() and same(got, reduce(want)):
            return f": you {what} over everything"
        for small, large, words in (
            (want, got, f": {what} over axis {{}} too"),
            (got, want, f": you {what} over axis {{}}, which must stay"),
        ):
            if not large.is_floating_point() and what == "average":
                continue
            for dim in range(large.ndim):
                if same(reduce(large, dim), small):
                    return words.format(dim)
    return ""


def _where_from(case: Case) -> str:
    numbers = [x for x in case.arguments.values() if isinstance(x, Tensor)]
    if any(isinf(x).any() for x in numbers if x.is_floating_point()):
        return "inf - inf, or 0 times inf: this input holds infinities"
    if any((x == 0).any() for x in numbers if x.is_floating_point()):  # labels divide nothing
        return "0/0, 0 times log 0, inf - inf, or the logarithm of a negative number: this input holds zeros"
    return "0/0, inf/inf, or inf - inf, as after an exp that overflows, or the root or logarithm of a negative number"


def _related(
    pairs: Sequence[tuple[Tensor, Tensor]], cases: Sequence[Case], reveal: bool
) -> str | None:
    """How what came is made of what was wanted, for all inputs alike."""
    got, want = (
        cat([x.double().flatten() for x in several])
        for several in zip(*pairs, strict=True)
    )  # fmt: skip
    if pairs[0][1].dtype == torch.bool:
        if bool((got != want).all()) and len(want) > 1:
            return "True and False are the wrong way round."
        return _moved(pairs)
    if len(want) < 3 or not isfinite(want).all() or (want == want[0]).all():
        return None
    if allclose(got, want, rtol=1e-2, atol=1e-2 * float(want.abs().max())) and same(
        got, want.bfloat16().double()
    ) | same(got, want.half().double()):
        return "your result is right to three digits only: it is computed in half precision. Keep float32."
    for words, function in FUNCTIONS.items():
        made = function(want)
        if made.any() and allclose(got, made, rtol=1e-4, atol=1e-5):  # 0 everywhere tells nothing
            return words
    if allclose(got.abs(), want.abs(), rtol=1e-4, atol=1e-5) and not same(got, -want):
        return "the size of each number is right, but not every sign: is there an `abs`, or a root of a square?"
    return _moved(pairs) or _times(pairs, cases, reveal) or _plus(pairs, cases, reveal)


def _moved(pairs: Sequence[tuple[Tensor, Tensor]]) -> str | None:
    """The right numbers in other places."""

    def always(move: Callable[[Tensor], Tensor]) -> bool:
        return all(same(a, move(b)) for a, b in pairs)

    ndim = min(b.ndim for _, b in pairs)
    if ndim >= 2 and always(lambda x: x.transpose(-1, -2) if x.shape[-1] == x.shape[-2] else x[:0]):
        return "your result is transposed: rows and columns are the wrong way round."
    for dim in range(-ndim, 0):
        where = "" if ndim == 1 else f" along axis {dim}"
        if always(lambda x, dim=dim: x.flip(dim)):
            return f"your result is in the reverse order{where}."
        for by in (1, -1):
            if always(lambda x, dim=dim, by=by: x.roll(by, dim)):
                return f"your result is shifted by one place{where}."
        if pairs[0][1].is_floating_point() and always(lambda x, dim=dim: x.cumsum(dim)):
            return f"your result is added up{where}: return each by itself."
    if ndim == 1 and all(same(a.sort().values, b.sort().values) for a, b in pairs):
        return "your numbers are right, but in another order (sorted?): each has its own place."
    return None


def _quantities(case: Case) -> Iterator[tuple[str, float]]:
    """Sizes and numbers that a case is made of, by a name: what a mean divides by."""
    for key, x in case.arguments.items():
        if isinstance(x, Tensor):
            for dim, n in enumerate(x.shape):
                yield f"the length of axis {dim} of `{key}`", n
            if x.ndim > 1:
                yield f"the number of entries of `{key}`", x.numel()
                yield (
                    f"the number of entries of `{key}` for one of its rows",
                    x[0].numel() if len(x) else 0,
                )
        elif isinstance(x, int | float) and not isinstance(x, bool):
            yield f"`{key}`", x


def _weighed(pairs: Sequence[tuple[Tensor, Tensor]], parts: Sequence[Parts]) -> str | None:
    """Which parts of a sum have another weight than 1, if weights explain what came.

    Example:
        >>> x, y = torch.rand(2, 5)
        >>> _weighed([(x - y, x + y)], [{"the first": x, "the second": y}])
        'the second has the wrong sign in your result.'
    """
    got = cat([a.double().flatten() for a, _ in pairs])
    columns = [
        cat([several[name].double().expand_as(b).flatten() for several, (_, b) in zip(parts, pairs, strict=True)])
        for name in parts[0]
    ]  # fmt: skip
    if not columns or len(got) < len(columns) or not isfinite(got).all():
        return None
    matrix = torch.stack(columns, dim=1)
    size = matrix.norm(dim=0).clamp_min(1e-30)
    if torch.linalg.matrix_rank(matrix / size, rtol=1e-3) < len(columns):
        return None
    weights = torch.linalg.lstsq(matrix / size, got[:, None], driver="gelsd").solution[:, 0] / size
    if not allclose(matrix @ weights, got, rtol=1e-4, atol=1e-5):
        return None
    known = {0.0: "is missing", -1.0: "has the wrong sign", 2.0: "counts twice", 0.5: "counts half"}
    said: dict[str, list[str]] = {}
    for name, weight in zip(parts[0], weights.tolist(), strict=True):
        near = next((x for x in (1.0, *known) if math.isclose(weight, x, abs_tol=3e-3)), None)
        if near is None and len(got) == len(columns):  # some weights fit whatever came
            return None
        if near != 1:
            said.setdefault(known.get(near, f"counts {weight:.4g} times"), []).append(name)
    if not said or any(len(names) == len(columns) for names in said.values()):
        return None
    each = [f"{name} {verb}" for verb, names in said.items() for name in names]
    return f"{', '.join(each[:-1])}{' and ' if each[1:] else ''}{each[-1]} in your result."


def _constant_of(found: Sequence[Tensor]) -> list[float] | None:
    """One number a case, if each case has only one."""
    means = []
    for x in found:
        if not len(x) or not allclose(x, x.mean(), rtol=3e-4, atol=1e-9):
            return None
        means.append(float(x.mean()))
    return means


def _times(
    pairs: Sequence[tuple[Tensor, Tensor]], cases: Sequence[Case], reveal: bool
) -> str | None:
    ratios = []
    for a, b in pairs:
        a, b = a.double().flatten(), b.double().flatten()
        if same(b, torch.zeros_like(b)) and same(a, b):  # as of any factor
            ratios.append(a[:0])
            continue
        large = b.abs() > 1e-3 * b.abs().max()
        if not same(a[~large], b[~large] * (a[large] / b[large]).mean()):
            return None
        ratios.append((a / b)[large])
    cases = [case for case, x in zip(cases, ratios, strict=True) if len(x)]
    factors = _constant_of([x for x in ratios if len(x)])
    if not factors:
        return None
    if all(math.isclose(x, factors[0], rel_tol=3e-4) for x in factors):
        for factor, words in FACTORS.items():
            if math.isclose(factors[0], factor, rel_tol=3e-4):
                return words
    forms = {
        "divided by {} once too often: is there a mean in the place of a sum?": lambda n: 1 / n,
        "multiplied by {}: a mean is wanted, and this is a sum?": lambda n: n,
        "divided by the root of {}.": lambda n: n**-0.5,
        "multiplied by the root of {}.": lambda n: n**0.5,
        "(n - 1)/n times, with n {}: divide by n - 1, not by n.": lambda n: (n - 1) / n,
        "n/(n - 1) times, with n {}: divide by n, not by n - 1.": lambda n: n / (n - 1),
    }  # fmt: skip
    for sign in (1, -1):
        for words, form in forms.items():
            what = _form_of([sign * x for x in factors], cases, form)
            if what:
                minus = "minus " if sign < 0 else ""
                given = cases[0].arguments.get(what.strip("`"))
                if isinstance(given, float):  # over an area nothing is averaged
                    words = words.split(":")[0].removesuffix(" once too often") + " once too often."
                return f"your result is {minus}the right one " + words.format(what)
    if all(math.isclose(x, factors[0], rel_tol=3e-4) for x in factors) and factors[0]:
        if abs(factors[0] - 1) < 2e-3:
            return "your result is right to three digits only: it is rounded, or a difference stands for a derivative."
        times = f"{factors[0]:.5g}" if reveal else "a constant"
        return f"your result is {times} times the right one, for all inputs: look at the factors."
    return None


def _plus(
    pairs: Sequence[tuple[Tensor, Tensor]], cases: Sequence[Case], reveal: bool
) -> str | None:
    found = [(a.double() - b.double()).flatten() for a, b in pairs]
    means = [float(x.mean()) for x in found]
    if any(float((x - x.mean()).abs().max()) > 1e-4 * (1 + float(b.abs().max()))
           for x, (_, b) in zip(found, pairs, strict=True)):  # fmt: skip
        return None
    half = 0.5 * math.log(2 * math.pi)
    for sign, more in ((1, "added to"), (-1, "missing in")):
        for words, form in {
            "the logarithm of {}": lambda n: math.log(n),
            "{}": lambda n: n,
            "half of {}": lambda n: n / 2,
            "log(2 pi)/2 times {}": lambda n: n * half,
        }.items():
            what = _form_of([sign * x for x in means], cases, form)
            if what:
                return f"{words.format(what)} is {more} your result."
    size = abs(means[0])
    if size > 1e-3 and all(abs(x - means[0]) < 1e-4 * (1 + abs(x)) for x in means):
        known = [
            (half, "log(2 pi)/2"),
            (2 * half, "log(2 pi)"),
            (math.log(2), "ln 2"),
            (0.5, "1/2"),
        ]
        what = [words for x, words in known if math.isclose(x, size, rel_tol=1e-3)] or [
            f"{size:.5g}" if reveal else "a constant"
        ]
        much = "large" if means[0] > 0 else "small"
        return f"your result is {what[0]} too {much}, for all inputs: look at the constants."
    return None


def _form_of(
    values: Sequence[float], cases: Sequence[Case], form: Callable[[float], float]
) -> str | None:
    """The name of the quantity whose form all values are, if it takes different values."""
    if len(values) != len(cases) or len(set(np.round(values, 6))) < 2:
        return None
    quantities = [dict(_quantities(case)) for case in cases]
    for key in quantities[0]:
        try:
            made = [form(float(several[key])) for several in quantities]
        except (KeyError, ValueError, ZeroDivisionError, OverflowError):
            continue
        if all(
            not isinstance(a, complex) and math.isclose(a, b, rel_tol=3e-4, abs_tol=1e-5)
            for a, b in zip(made, values, strict=True)
        ):
            return key
    return None


# ---------------------------------------------------------------- the last resort


def _largest(got: Tensor, want: Tensor, reveal: bool) -> str:
    """Where the gap is largest, and the numbers there, with as many digits as it takes to see it."""
    gap = (got.double() - want.double()).abs()
    gap = where(isnan(gap), 0.0, gap)
    place = np.unravel_index(int(gap.argmax()), tuple(gap.shape))
    a, b = digits(got[place].item(), want[place].item())
    found = f"at {[int(i) for i in place]} it is {a}" if place else f"it is {a}"
    return f"{found}, not {b}" if reveal else found


def digits(a: float, b: float) -> tuple[str, str]:
    """Two different numbers, written so that one sees it.

    Example:
        >>> digits(1 / 3, 0.33334)
        ('0.33333', '0.33334')
    """
    for n in range(4, 18):
        if f"{a:.{n}g}" != f"{b:.{n}g}":
            break
    return f"{a:.{n}g}", f"{b:.{n}g}"


def _at_an_end(pairs: Sequence[tuple[Tensor, Tensor]]) -> str:
    """Whether all that is wrong stands in the last or first place along an axis, as where a loop is too short."""
    unequal = [
        ~isclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)
        for a, b in pairs
        if a.shape == b.shape and not same(a, b)
    ]
    for dim in range(min((x.ndim for x in unequal), default=0)):
        if sum(x.shape[dim] > 1 for x in unequal) < 2:  # one may be chance
            continue
        for i, which in ((-1, "last"), (0, "first")):
            if all(x.sum() == x.select(dim, i).sum() for x in unequal):
                return f" It is wrong only in the {which} place along axis {dim}: where do your loops begin and end?"
    return ""


def _stands(cases: Sequence[Case], wrong: int, numbers: Numbers, fits: Sequence[bool]) -> str:
    """A number of an example that stands in the code, where the answer is right for that example alone."""
    if not any(fits):
        return ""
    example = fits.index(True)

    def values(case: Case) -> set[float]:
        return {n for _, n in _quantities(case)}

    found = sorted((values(cases[example]) - values(cases[wrong])) & set(numbers) - {0, 1, 2})
    if not found:
        return ""
    return f" The number {found[0]:g} of {cases[example].label} stands in your code: take it from the arguments."
