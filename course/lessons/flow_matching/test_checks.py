"""What no table of this lesson's checks knows: right answers in other styles, and wrong ones with their words."""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch.func import jacfwd, jvp, vmap

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("flow_matching")
on_the_path, ideal_velocity, matching_loss, sample, dictionary, couple, straightness, guided, target = (
    bank.solutions[step] for step in bank.steps
)  # fmt: skip
each = bank.solutions["each"]


class TestSteps(StepsOfALesson):
    bank = bank


# ---------------------------------------------------------------- right answers


def ideal_by_the_noise(x, t, data):
    """E[x_1 | x_t] - E[x_0 | x_t], and the largest weight as 1."""
    exponent = -(x[:, None] - t[:, None, None] * data).square().sum(2) / (2 * (1 - t[:, None]) ** 2)
    weight = (exponent - exponent.amax(1, keepdim=True)).exp()
    mean = (weight @ data) / weight.sum(1, keepdim=True)
    return mean - (x - t[:, None] * mean) / (1 - t[:, None])


def ideal_by_paths(x, t, data):
    """The mean of the velocities of the N paths that pass here."""
    t = t[:, None, None]
    starts = (x[:, None] - t * data) / (1 - t)
    return (torch.softmax(-starts.square().sum(2) / 2, 1)[..., None] * (data - starts)).sum(1)


def loss_by_torch(velocity, start, end, t):
    return F.mse_loss(velocity(torch.lerp(start, end, each(t, start)), t), end - start)


def sample_by_times(velocity, start, steps):
    x, times = start, torch.linspace(0, 1, steps + 1)
    for t, s in zip(times[:-1], times[1:], strict=True):
        half = velocity(x, t.expand(len(x)))
        x = x + (s - t) * velocity(x + (s - t) / 2 * half, (t + s).expand(len(x)) / 2)
    return x


def dictionary_by_solving(u, x_t, *levels):
    a, s, a_slope, s_slope = (level.double() for level in levels)
    matrix = torch.stack([torch.stack([a, s], 1), torch.stack([a_slope, s_slope], 1)], 1)
    known = torch.stack([x_t.flatten(1), u.flatten(1)], 1).double()
    x, noise = (y.to(x_t).view_as(x_t) for y in torch.linalg.solve(matrix, known).unbind(1))
    return x, noise, -noise / each(levels[1], x_t)


def dictionary_by_tweedie(u, x_t, alpha, sigma, *slopes):
    x, noise, _ = dictionary(u, x_t, alpha, sigma, *slopes)
    return x, noise, (each(alpha, x) * x - x_t) / each(sigma, x) ** 2


def couple_by_products(start, end):
    """Squares of single points are the same in every order: the products decide."""
    rows, columns = linear_sum_assignment(start.flatten(1) @ end.flatten(1).T, maximize=True)
    order = torch.empty(len(start), dtype=torch.long)
    order[columns] = torch.as_tensor(rows)
    return start[order]


def straightness_by_variance(velocity, start, steps):
    """The way of Euler's path is the mean of its velocities."""
    x, seen = start, []
    for k in range(steps):
        seen.append(velocity(x, torch.full((len(x),), k / steps)))
        x = x + seen[-1] / steps
    return torch.stack(seen).flatten(1).var(0, unbiased=False).sum() / len(start)


def target_by_jacobians(u, x, t, r, v):
    alone = jacfwd(lambda x, t, r: u(x[None], t[None], r[None])[0], (0, 1))
    by_x, by_t = vmap(alone)(x, t, r)
    slope = (by_x.reshape(len(x), v[0].numel(), -1) @ v.flatten(1)[..., None]).view_as(v) + by_t
    return v + each(r - t, x) * slope.detach()


def target_with_r_fixed(u, x, t, r, v):
    slope = jvp(lambda x, t: u(x, t, r), (x, t), (v, t**0))[1]
    return torch.addcmul(v, each(r - t, x), slope).detach()


bank.right("on_the_path", lambda a, b, t: (torch.lerp(a, b, each(t, a)), b - a))
bank.right("ideal_velocity", ideal_by_the_noise, ideal_by_paths)
bank.right("matching_loss", loss_by_torch)
bank.right("sample", sample_by_times)
bank.right("dictionary", dictionary_by_solving, dictionary_by_tweedie)
bank.right("couple", couple_by_products)
bank.right("straightness", straightness_by_variance)
bank.right("guided", lambda f, x, t, y, none, w: w * f(x, t, y) + (1 - w) * f(x, t, y * 0 + none))
bank.right("average_velocity_target", target_by_jacobians, target_with_r_fixed)


# ---------------------------------------------------------------- wrong answers

bank.wrong("on_the_path", {
    "no gradient reaches `end`": lambda a, b, t: on_the_path(a, b.detach(), t),
    "another order": lambda a, b, t: on_the_path(a, b, t)[::-1],
    "stops for 4 square images": lambda a, b, t: (torch.lerp(a, b, t[:, None, None]), b - a),
    "in the velocity of example . .*`end` is 2": lambda a, b, t: (on_the_path(a, b, t)[0], 2 * b - a),
    "factor of `start` is .*, and the factor of `end` is": lambda a, b, t: on_the_path(2 * a, -b, t),
})  # fmt: skip
bank.wrong("ideal_velocity", {
    "times near 1 .* small number": lambda x, t, data: ideal_velocity(x, t.clamp(max=0.95), data),
    "draws random numbers": lambda x, t, data: (data[torch.randint(len(data), (len(x),))] - x) / (1 - t[:, None]),
    "half the right one": lambda *given: ideal_velocity(*given) / 2,
    "factor of `x` is": lambda x, t, data: ideal_velocity(x, t, data) + x,
})  # fmt: skip
bank.wrong("matching_loss", {
    "no gradient reaches the velocity": torch.no_grad()(matching_loss),
    "gradient that reaches the velocity is not": lambda *given:
        matching_loss(*given) / 2 + matching_loss(*given).detach() / 2,
    "`t` of the shape": lambda f, a, b, t: matching_loss(lambda x, t: f(x, each(t, x)), a, b, t),
    "half the right one": lambda *given: matching_loss(*given) / 2,
})  # fmt: skip
bank.wrong("sample", {
    "`t` of the shape of no tensor": lambda f, x, n: sample(lambda x, t: f(x, float(t[0])), x, n),
    "changes its argument `start`": lambda f, x, n: x.add_(1),
    "shape": lambda f, x, n: torch.stack([x, sample(f, x, n)]),
})  # fmt: skip
bank.wrong("dictionary", {
    "right for 4 square images, .*alpha = 0": lambda u, x_t, a, *rest: dictionary(u, x_t, a.clamp(min=0.1), *rest),
    "another order": lambda *given: dictionary(*given)[::-1],
    "factor of `u` is": lambda u, *rest: dictionary(2 * u, *rest),
    "no gradient reaches `u`": lambda u, *rest: dictionary(u.detach(), *rest),
})  # fmt: skip
bank.wrong("couple", {
    "no other order of `start`": lambda start, end: (couple(start, end) + end) / 2,
    "best of all": lambda start, end:
        couple(start, end) if len(start) < 9 else couple(start, end)[[1, 2, 0, *range(3, 9)]],
    "do you add up squares": lambda start, end: start[linear_sum_assignment(
        (end.flatten(1)[:, None] - start.flatten(1)).square().sum(2) ** 2)[1]],
    "half precision": lambda start, end: couple(start, end).half(),
})  # fmt: skip
bank.wrong("straightness", {
    "half the right one": lambda *given: straightness(*given) / 2,
    "a single step .* NaN": lambda f, x, n: straightness(f, x, n) + (0.0 if n > 1 else torch.nan),
})  # fmt: skip
bank.wrong("guided", {
    "`y` of the shape": lambda f, x, t, y, none, w: guided(lambda x, t, y: f(x, t, y[0]), x, t, y, none, w),
    "labels of torch.float": lambda f, x, t, y, none, w: guided(f, x, t, y.float(), none, w),
    "factor of `u.y.` is": lambda f, x, t, y, none, w: guided(f, x, t, y, none, w + 0.3),
})  # fmt: skip
bank.wrong("average_velocity_target", {
    "gradient flows through your target": lambda u, x, t, r, v:
        v + each(r - t, x) * jvp(u, (x, t, r), (v, t**0, 0 * r))[1],
    "factor of `du/dt` is": lambda u, x, t, r, v: 2 * target(u, x, t, r, v) - v,
    "`r` of the shape": lambda u, x, t, r, v: target(lambda x, t, r: u(x, t, each(r, x)), x, t, r, v),
})  # fmt: skip
