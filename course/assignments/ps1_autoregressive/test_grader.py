"""Problem set 1 under test: what its graders know, against brute force, and a bank of answers."""

import functools
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Categorical

from course.assignments.bank import VARIANTS, GraderBank, GradersOfAProblemSet
from course.assignments.ps1_autoregressive import grader as graders
from genlib.data import all_images, load

bank = GraderBank("ps1_autoregressive", trained="bars_log_prob")
wrong, right = bank.wrong, bank.right


class TestGraders(GradersOfAProblemSet):
    bank = bank


# ---------------------------------------------------------------- 1. prior_shift


@right("prior_shift")
def shift_class_by_class(v):
    def answer(logits, old_prior):
        columns = []
        total = torch.full_like(logits[:, 0], -torch.inf)
        for y in range(3):
            log_p = logits[:, y] - torch.logsumexp(logits, dim=1)
            columns.append(log_p + math.log(v["NEW_PRIOR"][y]) - torch.log(old_prior[y]))
            total = torch.logaddexp(total, columns[-1])
        return [torch.stack([c - total for c in columns], dim=1), total]

    return answer


def shift_with(change):
    """A wrong answer from the right one."""

    def factory(v):
        return lambda logits, old_prior: change(*shift_class_by_class(v)(logits, old_prior))

    factory.__name__ = change.__name__
    return factory


@wrong("prior_shift", loses=1, says="Stay in log-space")
def leaves_log_space(v):
    def answer(logits, old_prior):
        joint = logits.softmax(1) * logits.new_tensor(v["NEW_PRIOR"]) / old_prior
        return (joint / joint.sum(1, keepdim=True)).log(), joint.sum(1).log()

    return answer


@wrong("prior_shift", loses=4, says="returns 1: return 2 tensors")
@shift_with
def forgets_the_ratio(log_posterior, log_ratio):
    return (log_posterior,)


@wrong("prior_shift", loses=3, says="the task asks for torch.float64")
@shift_with
def shift_in_single_precision(log_posterior, log_ratio):
    return log_posterior.float(), log_ratio.float()


# ---------------------------------------------------------------- 2. level_bits


@right("level_bits")
def bits_draw_by_draw(v):
    def answer(log_density, n_values):
        width = (v["HIGH"] - v["LOW"]) / v["LEVELS"]
        cells = log_density + n_values * math.log(width)  # each draw's estimate of log P(k)
        total = functools.reduce(torch.logaddexp, cells.unbind(0)) - math.log(cells.shape[0])
        return -total / math.log(2) / n_values

    return answer


@wrong("level_bits", loses=1, says="Stay in log-space")
def averages_densities_in_double_precision(v):
    def answer(log_density, n_values):
        width = (v["HIGH"] - v["LOW"]) / v["LEVELS"]
        log_mean = log_density.double().exp().mean(0).log().to(log_density)
        return -(log_mean + n_values * math.log(width)) / (n_values * math.log(2))

    return answer


@wrong("level_bits", loses=4, says="these are nats")
def nats_not_bits(v):
    return lambda x, d: bits_draw_by_draw(v)(x, d) * math.log(2)


@wrong("level_bits", loses=4, says="the sign is wrong")
def negative_bits(v):
    return lambda x, d: -bits_draw_by_draw(v)(x, d)


# ---------------------------------------------------------------- 3. logistic_log_prob


def edges(v, mean, log_scale, level):
    top = v["LEVELS"] - 1
    x = -1 + 2 * level.to(mean.dtype) / top
    return (x - 1 / top - mean) / log_scale.exp(), (x + 1 / top - mean) / log_scale.exp()


@right("logistic_log_prob")
def logistic_by_softplus(v):
    def answer(mean, log_scale, level):
        a, b = edges(v, mean, log_scale, level)
        # log(sigmoid(b) - sigmoid(a)), with log sigmoid(b) = -softplus(-b) and so on
        inside = torch.log(-torch.expm1(a - b)) - F.softplus(-b) - F.softplus(a)
        result = torch.where(level == 0, -F.softplus(-b), inside)
        return torch.where(level == v["LEVELS"] - 1, -F.softplus(a), result)

    return answer


def logistic_with(change):
    """A wrong answer from both edges: what lies between them, and what is at the ends."""

    def factory(v):
        def answer(mean, log_scale, level):
            return change(v, mean, log_scale, level)

        return answer

    factory.__name__ = change.__name__
    return factory


def difference(v, mean, log_scale, level):
    a, b = edges(v, mean, log_scale, level)
    upper = torch.where(level == v["LEVELS"] - 1, 1.0, b.sigmoid())
    return upper - torch.where(level == 0, 0.0, a.sigmoid())


@wrong("logistic_log_prob", loses=2, says="Stay in log-space")
@logistic_with
def subtracts_sigmoids(v, mean, log_scale, level):
    return difference(v, mean, log_scale, level).log()


@wrong("logistic_log_prob", loses=2, says="a probability is clamped")
@logistic_with
def clamps(v, mean, log_scale, level):
    return difference(v, mean, log_scale, level).clamp(min=1e-12).log()


@wrong("logistic_log_prob", loses=1, says="no gradient reaches `mean`")
@logistic_with
def detaches(v, mean, log_scale, level):
    return logistic_by_softplus(v)(mean.detach(), log_scale, level)


@wrong("logistic_log_prob", loses=3, says="the task asks for torch.float64")
@logistic_with
def logistic_in_single_precision(v, mean, log_scale, level):
    return logistic_by_softplus(v)(mean, log_scale, level).float()


@wrong("logistic_log_prob", loses=1, says="the gradient of `mean` is not right")
@logistic_with
def no_gradient_far_away(v, mean, log_scale, level):
    right = logistic_by_softplus(v)(mean, log_scale, level)
    return torch.where(right < -30, right.detach(), right)


# ---------------------------------------------------------------- 4. order_mask


def comes_before(v, a, b):
    """Whether the pixel a is passed before b, for two pairs of row and column."""
    sign = -1 if "lower" in v["START"] else 1, -1 if "right" in v["START"] else 1
    a, b = ((sign[0] * i, sign[1] * j) for i, j in (a, b))
    return a < b if v["SCAN"] == "rows" else a[::-1] < b[::-1]


@right("order_mask")
def mask_by_loops(v):
    def answer(kind, size, in_group, out_group):
        mask, c = torch.zeros(len(out_group), len(in_group), size, size), size // 2
        for f, g, i, j in itertools.product(*map(range, mask.shape)):
            own, other = ("RGB"[int(x)] for x in (out_group[f], in_group[g]))
            ahead = v["COLOURS"].index(own) - v["COLOURS"].index(other)
            if (i, j) == (c, c):
                mask[f, g, i, j] = ahead > 0 or (kind == "B" and ahead == 0)
            else:
                mask[f, g, i, j] = comes_before(v, (i, j), (c, c))
        return mask

    return answer


@wrong("order_mask", loses=3, says="row or the column of the centre")
def mask_without_its_own_line(v):
    def answer(kind, size, in_group, out_group):
        mask = mask_by_loops(v)(kind, size, in_group, out_group)
        c = size // 2
        line = mask[:, :, c] if v["SCAN"] == "rows" else mask[:, :, :, c]
        kept = line[..., c].clone()
        line[:] = 0
        line[..., c] = kept
        return mask

    return answer


@wrong("order_mask", loses=5, says="returns the shape")
def mask_with_in_and_out_swapped(v):
    return lambda *a: mask_by_loops(v)(*a).transpose(0, 1)


@wrong("order_mask", loses=2, says="the centre of the mask")
def mask_in_bgr(v):
    return mask_by_loops({**v, "COLOURS": "BGR"})


# ---------------------------------------------------------------- 5. reads


@functools.cache
def read_by_gradient(scan, start, first, height, width, depth, pixel):
    """A network of ones: an output's derivative counts the paths to each pixel."""
    v = {"SCAN": scan, "START": start, "COLOURS": "RGB"}
    x = torch.zeros(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    h, grey = x, torch.zeros(1, dtype=torch.long)
    a, b = (mask_by_loops(v)(*kind, grey, grey).double() for kind in (("A", first), ("B", 3)))
    for mask in [a] + [b] * depth:
        h = F.conv2d(h, mask / mask.sum(), padding=len(mask[0, 0]) // 2)
    (paths,) = torch.autograd.grad(h[0, 0, pixel[0], pixel[1]], x)
    return paths[0, 0] > 0


@right("reads")
def reads_by_gradient(v):
    def answer(height, width, depth, pixel):
        def field(depth):
            return read_by_gradient(v["SCAN"], v["START"], v["FIRST"], height, width, depth, pixel)

        blind = earlier_pixels(v, height, width, pixel) & ~field(height + width)
        return field(depth), blind

    return answer


def reads_with(change):
    """A wrong answer from the right one."""

    def factory(v):
        def answer(height, width, depth, pixel):
            return change(
                v, height, width, depth, pixel, *reads_by_gradient(v)(height, width, depth, pixel)
            )

        return answer

    factory.__name__ = change.__name__
    return factory


def earlier_pixels(v, height, width, pixel):
    places = itertools.product(range(height), range(width))
    return torch.tensor([comes_before(v, p, pixel) for p in places]).reshape(height, width)


@wrong("reads", loses=5, says="True or False")
@reads_with
def counts_for_booleans(v, height, width, depth, pixel, read, blind):
    return read.float(), blind.float()


def blind_spot_at(name, depth_of):
    """The blind spot of a stack that is called deep enough; for a bank, a mistake with a depth of its own."""

    def factory(v):
        def answer(height, width, depth, pixel):
            read = reads_by_gradient(v)(height, width, depth, pixel)[0]
            deep = reads_by_gradient(v)(height, width, depth_of(height, width, depth), pixel)[0]
            return read, earlier_pixels(v, height, width, pixel) & ~deep

        return answer

    factory.__name__ = name
    wrong("reads", loses=2, says="the blind spot")(factory)


for fixed in (1, 2, 3, 4, 5, 6, 8, 12):
    blind_spot_at(f"blind_at_depth_{fixed}", lambda h, w, d, fixed=fixed: fixed)
blind_spot_at("blind_at_the_height", lambda h, w, d: h)
blind_spot_at("blind_at_the_width", lambda h, w, d: w)
blind_spot_at("blind_at_the_shorter_side", lambda h, w, d: min(h, w))
blind_spot_at("blind_a_few_layers_on", lambda h, w, d: d + 3)


def reads_to_depth(most):
    """What is read where the stack never gets deeper than this."""

    def factory(v):
        def answer(height, width, depth, pixel):
            blind = reads_by_gradient(v)(height, width, depth, pixel)[1]
            return reads_by_gradient(v)(height, width, min(depth, most), pixel)[0], blind

        return answer

    factory.__name__ = f"reads_to_depth_{most}"
    wrong("reads", loses=3, says="is wrong")(factory)


for most in (1, 2, 3, 4):
    reads_to_depth(most)


@wrong("reads", loses=3, says="is wrong")
@reads_with
def first_layer_of_the_paper(v, height, width, depth, pixel, read, blind):
    return reads_by_gradient({**v, "FIRST": 7})(height, width, depth, pixel)[0], blind


@wrong("reads", loses=3, says="is wrong")
@reads_with
def reads_round_the_edge(v, height, width, depth, pixel, read, blind):
    """Places are counted modulo the size, as a negative index does."""
    reach = v["FIRST"] // 2 + depth
    far = height + 2 * reach, width + 2 * reach
    wide, _ = reads_by_gradient(v)(*far, depth, (pixel[0] + reach, pixel[1] + reach))
    around = torch.zeros_like(read)
    for i, j in (wide.nonzero() - reach).tolist():
        around[i % height, j % width] = True
    return around, blind


# ---------------------------------------------------------------- 6. completions


def kl(p, q):
    terms = [(a.exp() * (a - b)).item() for a, b in zip(p, q, strict=True) if a > -torch.inf]
    return p.new_tensor(math.fsum(terms))


@right("completions")
def completions_row_by_row(v):
    def answer(log_factors, known):
        joint = torch.stack([row.sum() for row in log_factors])
        drawn = [sum(x for x, k in zip(row, known, strict=True) if not k) for row in log_factors]
        exact, clamped = joint - torch.logsumexp(joint, 0), torch.stack(drawn)
        return (
            exact,
            clamped,
            kl(*((exact, clamped) if v["KL_FROM"] == "exact" else (clamped, exact))),
        )

    return answer


@wrong("completions", loses=1, says="contains NaN")
def probabilities_underflow(v):
    def answer(log_factors, known):
        joint = log_factors.exp().prod(1)
        exact, clamped = joint / joint.sum(), log_factors[:, ~known].exp().prod(1)
        p, q = (exact, clamped) if v["KL_FROM"] == "exact" else (clamped, exact)
        return exact.log(), clamped.log(), torch.where(p > 0, p * (p / q).log(), 0).sum()

    return answer


# ---------------------------------------------------------------- 7. bars_log_prob


def order_numbers(v):
    """The number of each of 16 pixels."""
    return torch.tensor(order_of(v, 4, 4)).argsort()


class Masked(torch.nn.Linear):
    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x):
        return F.linear(x, self.mask * self.weight, self.bias)


class Made(torch.nn.Module):
    """A masked autoencoder: hidden unit g reads pixels up to number g, pixel n reads hidden units below n."""

    def __init__(self, number, peeks=False, linear=False):
        super().__init__()
        hidden = torch.arange(16).repeat(16)
        self.direct = Masked(number < number[:, None]) if linear else None
        self.read = Masked(number <= hidden[:, None])
        self.write = Masked((hidden <= number[:, None]) if peeks else (hidden < number[:, None]))

    def forward(self, x):
        x = x.flatten(1)
        logits = self.direct(x) if self.direct else self.write(self.read(2 * x - 1).relu())
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none")


def bars_weights(v):
    labels = load("bars").labels
    share = torch.tensor([p / (labels == y).sum() for y, p in enumerate(v["NEW_PRIOR"])])
    return share[labels]


factors_of = {}  # by what a network was trained with: the same tables answer for all seeds


def made(v, updates, images, *, order=None, weights=None, **options):
    """The factors (N, 16) of all images."""
    number = order_numbers(order or v)
    p = bars_weights(v) if weights is None else weights
    key = (tuple(number.tolist()), tuple(p.tolist()), updates, len(images), tuple(options))
    if key not in factors_of:
        torch.manual_seed(1)
        model = Made(number, **options)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
        for step in range(updates):
            optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / updates)
            loss = -(p * model(load("bars").floats()).sum(1)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            factors_of[key] = model(images)
    return factors_of[key]


def at_pixel(v):
    return 4 * v["PIXEL"][0] + v["PIXEL"][1]


@right("bars_log_prob")
def bars_by_made(v):
    def answer(updates, images):
        factors = made(v, updates, images)
        return factors.sum(1), factors[:, at_pixel(v)]

    return answer


class Convolutions(torch.nn.Module):
    """One masked layer that sees the whole image, and layers that see one pixel."""

    def __init__(self, v, centred):
        super().__init__()
        grey = torch.zeros(1, dtype=torch.long)
        mask = mask_by_loops(v)("A", 7, grey, grey)
        self.centred = centred
        self.first = torch.nn.Conv2d(1, 16, 7, padding=3)
        self.first.weight.data *= mask  # only here: the gradients of what it hides are zero
        self.first.weight.register_hook(lambda gradient: gradient * mask)
        self.rest = torch.nn.Sequential(
            torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 2, 1)
        )

    def forward(self, x):
        logits = self.rest(self.first(2 * x - 1 if self.centred else x))  # (N, 2, 4, 4)
        return Categorical(logits=logits.movedim(1, -1)).log_prob(x[:, 0].long())


def convolved(v, updates, images, centred=True):
    """The factors (N, 4, 4) of all images."""
    key = ("convolutions", str(v), updates, len(images), centred)
    if key not in factors_of:
        torch.manual_seed(2)
        model, p = Convolutions(v, centred), bars_weights(v)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for step in range(updates):
            optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / updates)
            # drawn images in place of the whole sum
            x = load("bars").floats()[torch.multinomial(p, 64, replacement=True)]
            optimizer.zero_grad()
            (-model(x).sum((1, 2)).mean()).backward()
            optimizer.step()
        with torch.no_grad():
            factors_of[key] = torch.cat([model(some) for some in images.split(4096)])
    return factors_of[key]


@right("bars_log_prob")
def bars_by_convolutions(v):
    def answer(updates, images):
        factors = convolved(v, updates, images)
        return factors.sum((1, 2)), factors[:, v["PIXEL"][0], v["PIXEL"][1]]

    return answer


@wrong("bars_log_prob", loses=2, says="nats, and the bound is")
def bars_whose_edge_is_black(v):
    """Zeros stand beyond the edge and for black, so no layer knows where it is."""

    def answer(updates, images):
        factors = convolved(v, updates, images, centred=False)
        return factors.sum((1, 2)), factors[:, v["PIXEL"][0], v["PIXEL"][1]]

    return answer


def in_raster_order(v):
    return {**v, "SCAN": "rows", "START": "upper left"}


for loses, says, name, change in (
    (7, "read its own pixel", "peek", {"peeks": True}),
    (2, "in raster order", "in_raster_order", {"order": in_raster_order}),
    (2, "equally probable", "of_the_old_world", {"weights": torch.full((30,), 1 / 30)}),
    (2, "nats, and the bound is", "without_hidden_units", {"linear": True}),
):  # of another network

    def of_another(v, change=change):
        options = {k: x(v) if callable(x) else x for k, x in change.items()}

        def answer(updates, images):
            factors = made(v, updates, images, **options)
            return factors.sum(1), factors[:, at_pixel(v)]

        return answer

    of_another.__name__ = f"bars_{name}"
    wrong("bars_log_prob", loses=loses, says=says)(of_another)

for loses, says, name, change in (
    (7, "add up to more than one", "mean_for_sum", lambda v, x: (x.mean(1), x[:, at_pixel(v)])),
    (
        7,
        "add up to less than one",
        "lose_a_pixel_twice",
        lambda v, x: (x.sum(1) + x[:, 0], x[:, at_pixel(v)]),
    ),
    (2, "both results are the same", "all_for_one", lambda v, x: (x.sum(1), x.sum(1))),
    (
        2,
        "is it the right pixel",
        "of_the_pixel_beside",
        lambda v, x: (x.sum(1), x[:, at_pixel(v) - 1]),
    ),
    (
        2,
        "is it the right pixel",
        "of_column_and_row",
        lambda v, x: (x.sum(1), x[:, v["PIXEL"][0] + 4 * v["PIXEL"][1]]),
    ),
    (
        2,
        "is it the right pixel",
        "of_a_place_in_the_order",
        lambda v, x: (x.sum(1), x[:, order_numbers(v).argsort()[at_pixel(v)]]),
    ),
    (
        2,
        "logarithms above 0",
        "probability_of_a_pixel",
        lambda v, x: (x.sum(1), x[:, at_pixel(v)].exp()),
    ),
    (7, "returns 1 results where 2", "without_a_pixel", lambda v, x: x.sum(1)),
):  # from the factors of the right one

    def from_factors(v, change=change):
        return lambda updates, images: change(v, made(v, updates, images))

    from_factors.__name__ = f"bars_{name}"
    wrong("bars_log_prob", loses=loses, says=says)(from_factors)


@wrong("bars_log_prob", loses=3, says="with 0 updates")
def bars_trained_beforehand(v):
    return lambda updates, images: bars_by_made(v)(v["UPDATES"], images)


@wrong("bars_log_prob", loses=3, says="changes next to nothing")
def bars_never_trained(v):
    return lambda updates, images: bars_by_made(v)(0, images)


# ---------------------------------------------------------------- 8. two_orders


def order_of(v, height, width):
    places = list(itertools.product(range(height), range(width)))
    key = functools.cmp_to_key(lambda a, b: -1 if comes_before(v, a, b) else 1)
    return [places.index(place) for place in sorted(places, key=key)]


fits = {}  # many wrong answers are the right one and a slip


def fitted(p, order, **options):
    key = (str(p.tolist()), str(order), str(options))
    if key not in fits:
        fits[key] = fit_anew(p, order, **options)
    return fits[key]


def fit_anew(p, order, steps=20, bias=True, reads=None):
    """KL of the best logistic chain by Newton's method on each pixel, from what `reads` leaves."""
    x = all_images(2, (1, 1, len(order))).flatten(1).double()
    p = p.double()
    total = (p * p.log()).sum()
    for i, pixel in enumerate(order):
        earlier = order[:i][-reads:] if reads else order[:i]
        columns = [x[:, j] for j in earlier] + [torch.full_like(p, float(bias))]
        a = torch.stack(columns, dim=1)
        w = torch.zeros(a.shape[1], dtype=p.dtype)
        for _ in range(steps):
            q = torch.sigmoid(a @ w)
            hessian = a.T @ ((p * q * (1 - q))[:, None] * a)
            hessian += 1e-9 * torch.eye(len(w), dtype=p.dtype)
            move = torch.linalg.solve(hessian, a.T @ (p * (x[:, pixel] - q)))
            w = w + move / max(1.0, move.abs().max().item() / 2)
            if move.abs().max() < 1e-8:
                break
        total = total - (p * Bernoulli(logits=a @ w).log_prob(x[:, pixel])).sum()
    return total


def orders_with(fit):
    """An answer from a function of the table and an order."""

    def factory(v):
        def answer(p, height, width):
            raster = list(range(height * width))
            return torch.stack([fit(p, raster), fit(p, order_of(v, height, width))])

        return answer

    factory.__name__ = fit.__name__
    return factory


@right("two_orders")
@orders_with
def orders_by_newton(p, order):
    return fitted(p, order)


@wrong("two_orders", loses=4, says="larger than that of the best model")
@orders_with
def orders_without_bias(p, order):
    return fitted(p, order, bias=False)


@wrong("two_orders", loses=4, says="larger than that of the best model")
@orders_with
def orders_of_markov_chains(p, order):
    return fitted(p, order, reads=1)


@wrong("two_orders", loses=4, says="larger than that of the best model")
@orders_with
def orders_after_one_step(p, order):
    return fitted(p, order, steps=1)


# ---------------------------------------------------------------- theorems about the graders' own functions


@pytest.fixture(params=VARIANTS)
def v(request):
    return graders.variant(request.param)


@pytest.mark.parametrize("seed", range(40))
def test_no_variant_makes_the_choice_of_a_lesson(seed):
    v = graders.variant(seed)
    assert (v["SCAN"], v["START"]) != ("rows", "upper left")
    assert v["COLOURS"] != "RGB" and sorted(v["COLOURS"]) == ["B", "G", "R"]
    assert v["HIGH"] - v["LOW"] != 1 and v["FIRST"] > 3
    assert math.isclose(sum(v["NEW_PRIOR"]), 1)
    # the order of the variant must matter in the experiment
    world = graders.half_adder(v["WORLD"], 6, 0.05)
    raster, mine = graders.two_orders.right(v)(world, 2, 3).tolist()
    assert mine < 0.2 and raster > 0.5
    # and so must the proportions: who trains on all images alike gets no full marks
    _, p = graders.truth(v)
    assert graders.WELL + 0.1 < (p * (p * 30).log()).sum() < graders.LEARNED - 0.4


@pytest.mark.parametrize("task", bank.graders.tasks)
def test_the_code_of_last_year_does_not_pass(task):
    of_last_year = graders.variant(0)
    keys = ("NEW_PRIOR", "LOW", "HIGH", "START", "LEVELS", "COLOURS", "FIRST", "PIXEL", "KL_FROM")
    this_year = next(
        i for i in range(400) if all(graders.variant(i)[k] != of_last_year[k] for k in keys)
    )
    factory = bars_by_made if task in bank.trained else bank.solution(task)
    verdict = bank.verdict(
        task, lambda v: factory({**of_last_year, "UPDATES": v["UPDATES"]}), this_year
    )
    assert verdict.points < verdict.max_points


def test_prior_shift_is_bayes_rule_in_both_worlds(v):
    look = torch.rand(3, 50, dtype=torch.float64).softmax(dim=1)  # p(x | y) of 50 images
    old, new = torch.tensor([0.2, 0.7, 0.1]).double(), torch.tensor(v["NEW_PRIOR"]).double()
    p_old, p_new = old @ look, new @ look
    logits = (old[:, None] * look / p_old).T.log() + torch.randn(
        50, 1
    )  # any shift of an image's logits
    log_posterior, log_ratio = graders.prior_shift.right(v)(logits, old)
    assert torch.allclose(log_posterior.exp(), (new[:, None] * look / p_new).T)
    assert torch.allclose(log_ratio.exp(), p_new / p_old)


def test_bits_of_levels_are_those_of_the_integral_over_a_cell(v):
    normal = torch.distributions.Normal(torch.tensor(0.3).double(), torch.tensor(0.8).double())
    width = (v["HIGH"] - v["LOW"]) / v["LEVELS"]
    ends = v["LOW"] + width * torch.arange(v["LEVELS"] + 1).double()
    mass = normal.cdf(ends[1:]) - normal.cdf(ends[:-1])
    u = (torch.arange(2000).double() + 0.5) / 2000
    log_density = normal.log_prob(ends[:-1] + width * u[:, None])
    assert torch.allclose(graders.level_bits.right(v)(log_density, 1), -mass.log2(), atol=1e-6)
    two = graders.level_bits.right(v)(2 * log_density[:1], 2)  # two values alike: the bits of each
    assert torch.allclose(two, graders.level_bits.right(v)(log_density[:1], 1))


def test_the_levels_of_a_logistic_have_probability_one(v):
    mean, log_scale = 2 * torch.randn(2, 40, 1).double()
    every = torch.arange(v["LEVELS"]).expand(40, -1)
    log_p = graders.logistic_log_prob.right(v)(
        *(x.expand(every.shape) for x in (mean, log_scale)), every
    )
    assert torch.allclose(log_p.exp().sum(dim=1), torch.ones(40).double())


def test_levels_are_the_nearest_to_a_logistic_brightness(v):
    n, mean, log_scale = 200_000, torch.tensor(0.4), torch.tensor(-1.0)
    u = torch.rand(n)
    brightness = mean + log_scale.exp() * (u.log() - (-u).log1p())
    seen = ((brightness + 1) * (v["LEVELS"] - 1) / 2).round().clamp(0, v["LEVELS"] - 1).long()
    every = torch.arange(v["LEVELS"])
    p = graders.logistic_log_prob.right(v)(
        mean.expand(len(every)), log_scale.expand(len(every)), every
    ).exp()
    share = seen.bincount(minlength=v["LEVELS"]) / n
    assert ((share - p).abs() < 5 * (p * (1 - p) / n).sqrt() + 1e-6).all()


def test_the_stable_form_is_right_where_double_precision_still_can_tell(v):
    mean, log_scale = torch.randn(2, 300).double()
    level = torch.randint(v["LEVELS"], (300,))
    stable = graders.logistic_log_prob.right(v)(mean, log_scale, level)
    assert torch.allclose(stable, difference(v, mean, log_scale, level).log(), atol=1e-8)
    arguments = mean[:9].requires_grad_(), log_scale[:9].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m, s: graders.logistic_log_prob.right(v)(m, s, level[:9]), arguments
    )


def test_a_masked_network_depends_on_what_comes_before_and_on_nothing_else(v):
    colours = torch.arange(3)
    features = torch.arange(3).repeat(3)
    layers = [("A", colours, features), ("B", features, features), ("B", features, colours)]
    weights = [
        torch.rand(len(o), len(i), 7, 7).double() * graders.order_mask.right(v)(kind, 7, i, o)
        for kind, i, o in layers
    ]

    def network(x):
        for weight in weights:
            x = F.conv2d(x, weight, padding=3)
        return x

    jacobian = torch.autograd.functional.jacobian(network, torch.rand(1, 3, 3, 4).double())
    reads = jacobian.reshape(3, 3, 4, 3, 3, 4) != 0
    for (c, i, j), (d, k, m) in itertools.product(
        itertools.product(range(3), range(3), range(4)), repeat=2
    ):
        colour = v["COLOURS"].index("RGB"[d]) < v["COLOURS"].index("RGB"[c])
        before = colour if (i, j) == (k, m) else comes_before(v, (k, m), (i, j))
        assert reads[c, i, j, d, k, m] == before


def test_exact_and_clamped_completions_follow_from_the_table_of_all_images(v):
    joint = torch.randn((2,) * 4).double()
    p = joint.flatten().softmax(dim=0).reshape((2,) * 4)
    factors = graders.chain_factors(joint)
    assert torch.allclose(factors.sum(dim=1).exp(), p.flatten())
    known, images = torch.tensor([False, True, False, True]), all_images(2, (1, 1, 4)).flatten(1)
    agree = (images[:, 1] == 1) & (images[:, 3] == 0)
    exact, clamped, divergence = graders.completions.right(v)(factors[agree], known)
    assert torch.allclose(exact.exp(), (p[:, 1, :, 0] / p[:, 1, :, 0].sum()).flatten())
    first, third = p.sum((1, 2, 3)), p[:, 1].sum(-1) / p[:, 1].sum((-1, -2))[:, None]
    assert torch.allclose(clamped.exp(), (first[:, None] * third).flatten())
    assert torch.allclose(clamped.exp().sum(), torch.ones(()).double())
    assert divergence > 0


def test_conditionals_are_read_off_a_table_of_all_images():
    log_p = torch.randn(16).double().log_softmax(dim=0)
    p = log_p.exp().reshape(2, 2, 2, 2)  # rows (a, b) and (c, d)
    number = graders.rank("columns", "upper right", 2, 2)  # b, d, a, c
    got = graders.conditional(log_p, number, (0, 0)).reshape(2, 2, 2, 2).exp()
    of_abd = p.sum(dim=2, keepdim=True)
    assert torch.allclose(got, (of_abd / of_abd.sum(dim=0, keepdim=True)).expand(2, 2, 2, 2))


def test_the_truth_has_the_new_proportions(v):
    images, p = graders.truth(v)
    labels = load("bars").labels
    shares = torch.stack([p[labels == y].sum() for y in range(3)])
    assert torch.allclose(shares, torch.tensor(v["NEW_PRIOR"]).double()) and len(images) == 30


def test_a_logistic_chain_is_found_again_in_its_own_order(v):
    order = graders.in_order(v, 2, 3).flatten().argsort()
    x = all_images(2, (1, 2, 3)).flatten(1).double()[:, order]
    logits = x @ (2 * torch.randn(6, 6)).double().tril(-1).T + torch.randn(6).double()
    p = Bernoulli(logits=logits).log_prob(x).sum(dim=1).exp()
    raster, mine = graders.two_orders.right(v)(p, 2, 3).tolist()
    assert abs(mine) < 1e-6 < raster


def test_no_logistic_chain_is_nearer_than_the_best():
    p = torch.randn(16).double().softmax(dim=0)
    x = all_images(2, (1, 2, 2)).flatten(1).double()
    best = graders.logistic_chain_kl(p, torch.arange(4))
    assert 0 < best < graders.independent_kl(p)
    for scale in (0.01, 0.1, 1.0):
        for _ in range(50):
            logits = x @ (scale * torch.randn(4, 4)).double().tril(-1).T + scale * torch.randn(4)
            log_q = Bernoulli(logits=logits).log_prob(x).sum(dim=1)
            assert (p * (p.log() - log_q)).sum() > best


@pytest.mark.parametrize("seed", range(50))
def test_no_two_meanings_share_a_constant(seed):
    v = graders.variant(seed)
    low, high, levels = v["LOW"], v["HIGH"], v["LEVELS"]
    # how wide a level may be thought to be: the first is right
    ranges = [high - low, 1, 2, high, -low, high + low, 2 * high, -2 * low]
    widths = [ranges[0] / levels, *(x / k for x in ranges for k in (levels - 1, levels + 1, 256))]
    widths += [x / levels for x in ranges[1:]]
    assert all(not math.isclose(widths[0], x) for x in widths[1:])
    assert len({high - low, 1, 2, 2 * high}) == 4  # each of which has words of its own
    halves = [1 / (levels - 1), 2 / (levels - 1), 0.5 / (levels - 1), 1 / levels, 0.5 / levels]
    halves += [1 / 255, 1 / 256]
    assert len({round(x, 9) for x in halves}) == len(halves)

    colours = v["COLOURS"]
    turned = "".join("RGB"[colours.index(colour)] for colour in "RGB")  # its inverse
    assert colours not in ("RGB", "BGR", colours[::-1], turned)

    assert v["FIRST"] not in (3, 7)  # the later layers', the paper's
    assert len(set(v["NEW_PRIOR"])) == 3  # no class stands for another
    assert not torch.allclose(  # nor for the share that it has in the file
        torch.tensor(v["NEW_PRIOR"]), load("bars").labels.bincount() / 30, atol=0.02
    )

    # pixels: an order is neither another order, nor its own inverse, nor its own end
    orders = [{**v, "SCAN": s, "START": c} for s in ("rows", "columns") for c in graders.CORNERS]
    others = [
        other for other in orders if (other["SCAN"], other["START"]) != (v["SCAN"], v["START"])
    ]
    assert len(others) == 7 and order_numbers(v).tolist() != list(range(16))
    assert order_numbers(v).reshape(4, 4).T.flatten().tolist() != list(range(16))  # raster, turned
    for height, width in ((2, 3), (3, 2)):
        order = order_of(v, height, width)
        assert order not in ([order.index(i) for i in range(6)], order[::-1], list(range(6)))

    # the pixel of task 7: not that of (column, row), not the one with its raster number in the order,
    # with something to read and something to come, and what it reads is that of no other order
    i, j = v["PIXEL"]
    number = order_numbers(v)
    assert i != j and number[4 * i + j] != 4 * i + j and 4 <= number[4 * i + j] <= 11
    before = {tuple((order_numbers(o) < order_numbers(o)[4 * i + j]).tolist()) for o in orders}
    assert len(before) == 8
