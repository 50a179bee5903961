# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Flow matching: exercises
#
# **Can you carry noise to data along paths that are nearly straight, and measure how straight they are?**
#
# Nine steps take you there, from a straight line between two points to a model that draws in a few steps, with the best
# velocity known all the way. They belong to lesson [{{flow_matching}} Flow
# matching](../notebooks/{{flow_matching}}_flow_matching.ipynb), which explains the ideas; read it first, or beside this. You
# need one course in probability, one in PyTorch, and Euler's method. All nine steps take about 135 minutes, and putting them
# together at the end 15 more; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the gap,
# run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is right, and
# otherwise names the likely mistake. Stuck? Open the hint, and if that is not enough the code below it. The answers are in
# [solutions](../solutions/{{flow_matching}}_flow_matching_exercises.ipynb); later steps use your functions, so copy the
# answer of a step that you skip.
#
# **Which way time runs.** Here the noise is at $t = 0$ and the data at $t = 1$, as in most papers on flow matching. Lesson
# [{{diffusion}} Diffusion](../notebooks/{{diffusion}}_diffusion.ipynb) counts the other way.

# %%
import warnings

import torch
from scipy.optimize import linear_sum_assignment
from torch.func import jvp

from course import checks
from genlib import plots
from genlib.data import EightGaussians
from genlib.metrics import mode_coverage
from genlib.networks import TimeMLP

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
warnings.simplefilter("ignore", FutureWarning)  # torch's own, at the first `jvp`
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. A straight path
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Take a noise $x_0$ and an example $x_1$ of the data, and go from one to the other at constant velocity. At time $t$ you
# are at
#
# $$x_t = (1 - t)\, x_0 + t\, x_1, \qquad \text{and your velocity is} \qquad \frac{d x_t}{d t} = x_1 - x_0.$$
#
# (The lesson writes $\epsilon$ for $x_0$ and $x$ for $x_1$.) This is a path with $\alpha_t = t$ and $\sigma_t = 1 - t$, in
# the words of diffusion. The velocity does not depend on $t$: there is no straighter way. In training each pair of a batch
# has a time of its own.
#
# **Write** `on_the_path(start, end, t)`, with start and end (B, ...) and t (B,). It returns two tensors (B, ...): $x_t$,
# and the velocity there. The ends may be points (B, D), images (B, C, H, W), or anything else, and t may be 0 or 1.
#
# <details><summary>Hint</summary>
#
# Tensors broadcast from the last axis, and here the first axes must meet. What shape must t have to be multiplied by
# images, and how many axes of length 1 does it take in general? The velocity needs no t at all.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# t = t.view(-1, *[1] * (start.ndim - 1))  # (B, 1, ...)
# ```
# </details>

# %%
def on_the_path(start, end, t):
    """Ends (B, ...) and t (B,) -> x_t and the velocity, (B, ...) each."""
    ### BEGIN SOLUTION
    t = t.view(-1, *[1] * (start.ndim - 1))
    return (1 - t) * start + t * end, end - start
    ### END SOLUTION


# %%
checks.flow_matching.on_the_path(on_the_path)

# %% [markdown]
# The data are samples of `EightGaussians`, whose standard deviation, along one axis, is 1.4; that of the noise is 1. Each
# noise gets an example at random. **Predict before you run the cell:** does the spread of $x_t$ grow evenly from 1 to 1.4?
# (Later steps need the shape (B, 1, ...) too, so `each` makes it.)

# %%
def each(value, x):
    """A number for each example, (B,), with as many axes as x: (B, 1, ...)."""
    return value.view(-1, *[1] * (x.ndim - 1))


eight = EightGaussians()
points = eight.means  # (8, 2)
start, end = torch.randn(2000, 2), eight.sample(2000)
panels = {f"t = {t}": on_the_path(start, end, torch.full((2000,), t))[0] for t in (0.0, 0.3, 0.7, 1.0)}
plots.show_points(panels, modes=points, radius=0.6)
print("standard deviations:", ", ".join(f"{x.std():.1f} at {name}" for name, x in panels.items()))

# %% [markdown]
# It shrinks first. Variances of independent ends add up, $(1 - t)^2 + 1.4^2\, t^2$, and in the middle both factors are small.

# %% [markdown]
# ## Step 2. The best velocity
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# Whoever draws from a model knows $x_t$, but not the two ends. Many paths pass through the same place, and no field of
# velocities can follow all of them. Flow matching (Lipman et al., 2023, arXiv:2210.02747) takes their mean,
# $E[x_1 - x_0 \mid x_t]$. It needs no second mean for $x_0$, since $x_t$ is known, and $x_1 - x_0 = (x_1 - x_t) / (1 - t)$:
#
# $$u(x, t) = E[x_1 - x_0 \mid x_t = x] = \frac{E[x_1 \mid x_t = x] - x}{1 - t}.$$
#
# For noise $x_0 \sim \mathcal N(0, I)$ and finitely many data $a_1, \dots, a_N$, all equally probable, Bayes' rule gives the
# rest. Given $x_1 = a_i$, $x_t$ lies around $t\, a_i$ with the standard deviation $1 - t$:
#
# $$E[x_1 \mid x_t = x] = \sum_{i=1}^{N} p(a_i \mid x)\, a_i, \qquad
# p(a_i \mid x) \propto \exp \Big( - \frac{\|x - t\, a_i\|^2}{2 (1 - t)^2} \Big).$$
#
# **Write** `ideal_velocity(x, t, data)`, with x (B, D), t (B,) below 1, and data (N, D). It returns (B, D). Near $t = 1$, and
# far from all data, all N exponentials round to zero, so normalise the exponents before you exponentiate.
#
# <details><summary>Hint</summary>
#
# Give x and the data an axis each, so that their difference is (B, N, D). Sum its square over the last axis. Which function
# of torch turns exponents into shares that add up to one? Over which axis?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# apart = x[:, None] - t[:, None, None] * data  # (B, N, D)
# mean = torch.softmax(exponent, dim=1) @ data  # of exponents (B, N): E[x_1 | x_t]
# ```
# </details>

# %%
def ideal_velocity(x, t, data):
    """x (B, D), t (B,) below 1, data (N, D) -> E[x_1 - x_0 | x_t = x], (B, D)."""
    ### BEGIN SOLUTION
    square = (x[:, None] - t[:, None, None] * data).square().sum(dim=2)  # (B, N)
    mean = torch.softmax(-square / (2 * (1 - t[:, None]) ** 2), dim=1) @ data
    return (mean - x) / (1 - t[:, None])
    ### END SOLUTION


# %%
checks.flow_matching.ideal_velocity(ideal_velocity)

# %% [markdown]
# Is it the mean of what passes? Two data on the line, -1 and 1, and 400,000 straight paths. At $t = 0.5$ we keep those that
# are within 0.05 of 0.2, and average their velocities. **Predict before you run the cell:** what is the best velocity
# at $x = 0$, and what at $t = 0$, wherever you are?

# %%
pair = torch.tensor([[-1.0], [1.0]])
start, end = torch.randn(400_000, 1), pair[torch.randint(2, (400_000,))]
x_t, velocity = on_the_path(start, end, torch.full((400_000,), 0.5))
here = ((x_t - 0.2).abs() < 0.05)[:, 0]
best = ideal_velocity(torch.tensor([[0.2]]), torch.tensor([0.5]), pair).item()
line = torch.linspace(-2, 2, 81)[:, None]
curves = {f"t = {t}": ideal_velocity(line, torch.full((81,), t), pair)[:, 0] for t in (0.0, 0.5, 0.8)}
plots.show_curves(curves, x=line[:, 0], xlabel="x", ylabel="best velocity")
print(f"the paths' mean is the best velocity within 0.1:       {abs(velocity[here].mean() - best) < 0.1}")
print(f"by itself a path is off by more than 0.5 on average:   {(velocity[here] - best).abs().mean() > 0.5}")
at_zero = ideal_velocity(torch.zeros(1, 1), torch.tensor([0.5]), pair)
print(f"at x = 0 it is 0, though no path stands still:         {at_zero.abs().item() < 1e-6}")
print(f"at t = 0 it leads to the mean of the data, which is 0: {torch.allclose(curves['t = 0.0'], -line[:, 0], atol=1e-4)}")

# %% [markdown]
# ## Step 3. The loss
#
# *Difficulty 2 of 5 · importance 5 of 5 · 15 minutes*
#
# On real data the sum runs over all examples at each step, and its flow ends in the training set. A network learns the mean
# instead. A mean is what minimises a squared error. So ask the network for the velocity at $x_t$, and compare it with the
# velocity of the one path that led there:
#
# $$L = \frac{1}{B D} \sum_{b=1}^{B} \big\| v(x_t^{(b)}, t_b) - (x_1^{(b)} - x_0^{(b)}) \big\|^2,$$
#
# where D is the number of values of an example. This is the **conditional flow matching loss**. Its target is a single path,
# yet its minimum is the mean over all of them, your `ideal_velocity`.
#
# **Write** `matching_loss(velocity, start, end, t)`. `velocity` maps x (B, ...) and t (B,) to (B, ...); start and end are
# (B, ...). Ends and times are given, so nothing is drawn. It returns one number, the mean over all values, and gradients
# must reach the parameters of `velocity`.
#
# <details><summary>Hint</summary>
#
# Your `on_the_path` gives both: the place where to ask, and what the answer should be.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x_t, wanted = on_the_path(start, end, t)
# ```
# </details>

# %%
def matching_loss(velocity, start, end, t):
    """velocity: x (B, ...), t (B,) -> (B, ...); start, end (B, ...), t (B,) -> a number."""
    ### BEGIN SOLUTION
    x_t, wanted = on_the_path(start, end, t)
    return (velocity(x_t, t) - wanted).square().mean()
    ### END SOLUTION


# %%
checks.flow_matching.matching_loss(matching_loss)

# %% [markdown]
# The data are the eight means alone. Then the best velocity is known, and its loss is the least that any network can reach.
# **Predict before you run the cell:** is that zero? At which times is it largest?

# %%
def ideal(x, t):
    return ideal_velocity(x, t, points)


def to_the_mean(x, t):
    return -x / (1 - t[:, None])  # the mean of the data is 0


def nearest(x, t):
    """Straight to the most probable of the points."""
    apart = torch.cdist(x[:, None], t[:, None, None] * points)[:, 0]
    return (points[apart.argmin(dim=1)] - x) / (1 - t[:, None])


start, end, times = torch.randn(4000, 2), points[torch.randint(8, (4000,))], torch.linspace(0, 0.95, 20)
losses = {
    name: torch.stack([matching_loss(field, start, end, t.expand(4000)) for t in times])
    for name, field in (("best", ideal), ("to the mean", to_the_mean), ("to the nearest", nearest))
}
plots.show_curves({name: loss.clamp(max=8) for name, loss in losses.items()}, x=times, xlabel="t",
                  ylabel="loss (cut at 8)")
print(f"the least loss at t = 0: {losses['best'][0]:.0f}")
print(f"at t = 0.3 it is larger, by more than a third, and at t = 0.95 less than 0.01: "
      f"{losses['best'][6] > 4 / 3 * losses['best'][0] and losses['best'][-1] < 0.01}")
for name in ("to the mean", "to the nearest"):
    print(f"the best velocity is nowhere worse than the one {name}, but for chance: "
          f"{(losses['best'] <= 1.05 * losses[name] + 0.02).all()}")

# %% [markdown]
# At $t = 0$ nothing is known of the end, and the least loss is the variance of the data. It first rises: the variance of
# $x_1$ given $x_t$ is divided by $(1 - t)^2$, since there is less time left to make up for a wrong guess. Then it falls,
# since $x_t$ shows more and more of the end. A loss that stops far above zero is no sign of a bad network.

# %% [markdown]
# ## Step 4. A sampler
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# To draw, start with noise at $t = 0$, and follow $dx/dt = v(x, t)$ to $t = 1$. Euler's method takes the velocity where a
# step of length $h$ begins and goes on with it. The **midpoint rule** goes half a step first, looks at the velocity there,
# and then takes the whole step with that, from where the step began:
#
# $$m = x_t + \frac{h}{2}\, v(x_t, t), \qquad x_{t+h} = x_t + h\, v\Big(m,\; t + \frac{h}{2}\Big).$$
#
# It asks for two velocities a step, and is worth it: with half the length its error is a quarter, Euler's only half.
#
# **Write** `sample(velocity, start, steps)`. `velocity` maps x (B, ...) and t (B,) to (B, ...), start is (B, ...), and steps
# the number of steps, all of the same length. It returns x at $t = 1$, (B, ...).
#
# <details><summary>Hint</summary>
#
# The length of a step is 1 / steps, and step k begins at k / steps. The velocity wants a time for each example: a tensor (B,)
# of equal numbers.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# for k in range(steps):
#     t = torch.full((len(x),), k * h)
#     middle = x + h / 2 * velocity(x, t)
# ```
# </details>

# %%
def sample(velocity, start, steps):
    """velocity: x (B, ...), t (B,) -> (B, ...); start (B, ...), a number of steps -> x at t = 1, (B, ...)."""
    ### BEGIN SOLUTION
    x, h = start, 1 / steps
    for k in range(steps):
        t = torch.full((len(x),), k * h)
        middle = x + h / 2 * velocity(x, t)
        x = x + h * velocity(middle, t + h / 2)
    return x
    ### END SOLUTION


# %%
checks.flow_matching.sample(sample)

# %% [markdown]
# First a field that turns everything once around the centre, so we know where each point must end: where it began. Euler's
# method gets twice as many steps, so that both ask equally often. Then the best velocity for the eight points. **Predict
# before you run the cell:** its first velocity leads every point to the centre. Where do the samples of one step land?

# %%
def euler(velocity, start, steps):
    x = start
    for k in range(steps):
        x = x + velocity(x, torch.full((len(x),), k / steps)) / steps
    return x


def around(x, t):
    return 2 * torch.pi * torch.stack([-x[:, 1], x[:, 0]], dim=1)


numbers = [25, 50, 100, 200]
errors = {
    "midpoint": [(sample(around, points, n) - points).norm(dim=1).mean().item() for n in numbers],
    "Euler, twice the steps": [(euler(around, points, 2 * n) - points).norm(dim=1).mean().item() for n in numbers],
}
plots.show_curves(errors, x=numbers, xlabel="steps of the midpoint rule", ylabel="distance from the truth", log=True)
for name, error in errors.items():
    print(f"{name:22}  twice the steps divide the error by {error[-2] / error[-1]:.0f}")
start = torch.randn(1000, 2)
panels = {f"steps: {steps}": sample(ideal, start, steps) for steps in (1, 2, 5, 20)}
plots.show_points(panels, modes=points, radius=0.3, limit=4.5)
for name, drawn in panels.items():
    off = torch.cdist(drawn, points).min(dim=1).values
    print(f"{name:9}  {100 * (off < 0.3).float().mean():3.0f}% of the samples within 0.3 of a data point")

# %% [markdown]
# A single step of the midpoint rule asks at $t = 0.5$, and lands at $2\, E[x_1 \mid x_{0.5}]$, anywhere in a disc of twice the
# ring's radius. Paths that bend need steps. How much they bend is measured in step 7.

# %% [markdown]
# ## Step 5. The dictionary
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# With independent Gaussian noise, the best velocity of flow matching and the best denoiser of diffusion each give the other.
# From here on $x$ is the example, so far $x_1$, and $\epsilon$ the noise, so far $x_0$, as in the lesson. Take any path $x_t
# = \alpha x + \sigma \epsilon$, with $\alpha$ and $\sigma$ functions of $t$, and write $\alpha'$ and $\sigma'$ for their
# derivatives. Its velocity is $\alpha' x + \sigma' \epsilon$, and means may be taken on both sides:
#
# $$\begin{aligned} x_t &= \alpha\, E[x \mid x_t] + \sigma\, E[\epsilon \mid x_t], \\
# u &= \alpha' E[x \mid x_t] + \sigma' E[\epsilon \mid x_t]. \end{aligned}$$
#
# Two equations for two unknowns. With the determinant $d = \alpha \sigma' - \alpha' \sigma$,
#
# $$E[x \mid x_t] = \frac{\sigma' x_t - \sigma u}{d}, \qquad
# E[\epsilon \mid x_t] = \frac{\alpha u - \alpha' x_t}{d}, \qquad
# \nabla \log p_t(x_t) = - \frac{E[\epsilon \mid x_t]}{\sigma}.$$
#
# For noise that is Gaussian and drawn independently of $x$, a velocity thus gives the denoiser, the noise, and the score.
# (With the pairs of step 6 the first two formulas still hold, the third does not.) On the straight path $d = -1$.
#
# **Write** `dictionary(u, x_t, alpha, sigma, alpha_slope, sigma_slope)`, with u and x_t (B, ...), and the four numbers of
# the path, (B,) each. It returns three tensors (B, ...): the denoised $x$, the noise, and the score. It must hold on every
# path, and at $\alpha = 0$ too, so do not divide by $\alpha$; $\sigma$ and $d$ are never 0.
#
# <details><summary>Hint</summary>
#
# Give the four numbers the shape (B, 1, ...), all in the same way. Then the three formulas stand there.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# a, s, a_slope, s_slope = (each(y, x_t) for y in (alpha, sigma, alpha_slope, sigma_slope))
# d = a * s_slope - a_slope * s
# ```
# </details>

# %%
def dictionary(u, x_t, alpha, sigma, alpha_slope, sigma_slope):
    """u, x_t (B, ...), levels and their slopes (B,) -> the denoised x, the noise, the score, (B, ...) each."""
    ### BEGIN SOLUTION
    a, s, a_slope, s_slope = (each(y, x_t) for y in (alpha, sigma, alpha_slope, sigma_slope))
    d = a * s_slope - a_slope * s
    noise = (a * u - a_slope * x_t) / d
    return (s_slope * x_t - s * u) / d, noise, -noise / s
    ### END SOLUTION


# %%
checks.flow_matching.dictionary(dictionary)

# %% [markdown]
# The score is the gradient of $\log p_t$, which is known for the eight points. Then a network that is wrong by 0.1 in its
# velocity. **Predict before you run the cell:** near the noise, and near the data, how wrong are the denoised $x$, the noise,
# and the score that follow?

# %%
x_t, t = torch.randn(500, 2, requires_grad=True), 0.9 * torch.rand(500)
square = (x_t[:, None] - t[:, None, None] * points).square().sum(dim=2)
(by_autograd,) = torch.autograd.grad(torch.logsumexp(-square / (2 * (1 - t[:, None]) ** 2), dim=1).sum(), x_t)
x_t = x_t.detach()
straight = t, 1 - t, torch.ones(500), -torch.ones(500)
score = dictionary(ideal(x_t, t), x_t, *straight)[2]
print(f"the score is the gradient of log p within 0.001:  {((score - by_autograd) / (1 + score.abs())).abs().max() < 1e-3}")

t = torch.linspace(0.02, 0.98, 49)
straight = t, 1 - t, torch.ones(49), -torch.ones(49)
x_t = torch.zeros(49, 1)
right, wrong = (dictionary(torch.full((49, 1), u), x_t, *straight) for u in (0.0, 0.1))
off = {name: (a - b).abs()[:, 0] for name, a, b in zip(("denoised x", "noise", "score"), right, wrong)}
plots.show_curves({name: e.clamp(max=0.5) for name, e in off.items()}, x=t, xlabel="t", ylabel="error (cut at 0.5)")
print("largest error:", ", ".join(f"{e.max():.1f} of the {name}" for name, e in off.items()))

# %% [markdown]
# An error $e$ of the velocity is $(1 - t)\, e$ of the denoised $x$, $t\, e$ of the noise, and $t\, e / (1 - t)$ of the
# score. So near the data the score is very wrong.

# %% [markdown]
# ## Step 6. Better pairs
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# Until now each noise got an example at random, and paths cross everywhere. It need not be so: any pairs will do, as long as
# all starts together are noise and all ends together are data. **Minibatch optimal transport** (Tong et al., 2024,
# arXiv:2302.00482; Pooladian et al., 2023, arXiv:2304.14772) reorders the noise of each batch so that the ways are short:
#
# $$\pi = \operatorname{arg\,min}_{\pi} \sum_{j=1}^{B} \big\| x_0^{(\pi(j))} - x_1^{(j)} \big\|^2, \qquad \pi \text{ a permutation of } 1 \ldots B.$$
#
# To try all B! permutations is hopeless, but an assignment problem can be solved in about $B^3$ steps.
# `linear_sum_assignment(cost)` of scipy takes an array (B, B), and returns two: rows, in order, and for each row its
# column, each column once, so that the sum of the chosen costs is least.
#
# **Write** `couple(start, end)`, with start and end (B, ...). It returns `start` (B, ...), reordered, so that row j of what
# you return is the partner of `end[j]`. `end` keeps its order. Of several best orders any will do.
#
# <details><summary>Hint</summary>
#
# You look for a start for each end. So let the rows be ends and the columns starts. The examples may be images: flatten them
# first.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# cost = (end.flatten(1)[:, None] - start.flatten(1)).square().sum(dim=2)  # (B ends, B starts)
# _, columns = linear_sum_assignment(cost)
# ```
# </details>

# %%
def couple(start, end):
    """start and end (B, ...) -> start (B, ...) in the order that makes the pairs' squared distances least."""
    ### BEGIN SOLUTION
    cost = (end.flatten(1)[:, None] - start.flatten(1)).square().sum(dim=2)  # (B ends, B starts)
    _, columns = linear_sum_assignment(cost)
    return start[torch.as_tensor(columns)]
    ### END SOLUTION


# %%
checks.flow_matching.couple(couple)

# %% [markdown]
# Take two pairs $(x_0, x_1)$ and $(y_0, y_1)$. If $(x_0 - y_0) \cdot (x_1 - y_1) < 0$, swapping their starts makes the sum
# less. So a best coupling has no two such pairs. Two straight paths that meet at a time between 0 and 1 have $(1 - t)(x_0 -
# y_0) = -t\, (x_1 - y_1)$, which makes the product negative. So these paths never meet. **Predict before you run the cell:**
# what share of all twos of random pairs is like this? And what does the coupling do to the squared length in batches of 1,
# of 4, of 256?

# %%
def share_against(start, end):
    """Of all two pairs, the share whose starts and ends lie in opposite order."""
    ways = [(x[:, None] - x[None]).flatten(0, 1) for x in (start, end)]
    return ((ways[0] * ways[1]).sum(dim=1) < -1e-4).float().mean().item()


start, end = torch.randn(1024, 2), eight.sample(1024)
sizes, lengths = [1, 4, 16, 64, 256], []
for size in sizes:
    pairs = [(couple(a, b), b) for a, b in zip(start.split(size), end.split(size))]
    lengths.append(torch.stack([(a - b).square().sum(dim=1).mean() for a, b in pairs]).mean().item())
plots.show_curves({"coupled": lengths}, x=sizes, xlabel="size of a batch", ylabel="squared length of a path", log=True)
print(f"in opposite order: {100 * share_against(start[:256], end[:256]):.0f}% at random, "
      f"{100 * share_against(*pairs[0]):.0f}% when coupled")
print(f"squared length of a path: {lengths[0]:.0f} in batches of 1, {lengths[-1]:.0f} in batches of 256")

# %% [markdown]
# ## Step 7. Straightness
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# The paths of the *training pairs* are straight. Those of the *flow*, which follows the mean velocity, bend where pairs cross.
# Liu et al. (2023, arXiv:2209.03003) measure by how much. On a straight path at even speed the velocity is at
# all times $x_1 - x_0$. So
#
# $$S = E \int_0^1 \big\| (x_1 - x_0) - v(x_t, t) \big\|^2\, dt$$
#
# is 0 if all paths are straight and followed at even speed, and then a single Euler step is exact. Here $x_t$ is on the path
# of the flow from $x_0$, and $x_1$ is where that ends.
#
# **Write** `straightness(velocity, start, steps)`. `velocity` maps x (B, ...) and t (B,) to (B, ...), and start is (B, ...).
# Follow Euler's method with `steps` steps of the same length h, $x_{t + h} = x_t + h\, v(x_t, t)$; $x_1$ is its end. The
# result is one number: the square summed over the values of an example, and averaged over examples and the times $0, h, 2h,
# \ldots, 1 - h$.
#
# <details><summary>Hint</summary>
#
# The way is known only at the end. So keep the velocities on the way in a list, and compare when you are there.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# velocities = torch.stack(seen)  # (steps, B, ...)
# (x - start - velocities).square().flatten(2).sum(dim=2)  # (steps, B)
# ```
# </details>

# %%
def straightness(velocity, start, steps):
    """velocity: x (B, ...), t (B,) -> (B, ...); start (B, ...), a number of steps -> a number."""
    ### BEGIN SOLUTION
    x, seen = start, []
    for k in range(steps):
        seen.append(velocity(x, torch.full((len(x),), k / steps)))
        x = x + seen[-1] / steps
    return (x - start - torch.stack(seen)).square().flatten(2).sum(dim=2).mean()
    ### END SOLUTION


# %%
checks.flow_matching.straightness(straightness)

# %% [markdown]
# The best velocity for one datum, for two, and for eight on the same circle. **Predict before you run the cell:** which of the
# three is straight? With which does one step do?

# %%
start = torch.randn(2000, 2)
for name, data in (("one", points[:1]), ("two", points[[0, 4]]), ("eight", points)):
    def field(x, t, data=data):
        return ideal_velocity(x, t, data)

    off = torch.cdist(euler(field, start, 1), data).min(dim=1).values
    print(f"{name:5}  straightness {straightness(field, start, 50):.1f}, one step lands {off.mean():.1f} from the data")

# %% [markdown]
# With one datum the paths are straight, and one step is enough. With two or eight the first velocity aims at their mean, and
# one step lands there.

# %% [markdown]
# ## Step 8. Guidance
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# A conditional model knows a label $y$: its velocity is $u(x, t, y)$. One network gives the velocity without a label as
# well, if in training some labels are replaced by one that stands for "not told", $\varnothing$. **Classifier-free
# guidance** (Ho & Salimans, 2022, arXiv:2207.12598) goes from that velocity in the direction of the label, and, for $w > 1$,
# past the conditional velocity:
#
# $$\tilde u(x, t, y) = u(x, t, \varnothing) + w\, \big( u(x, t, y) - u(x, t, \varnothing) \big).$$
#
# With $w = 0$ the label does not count, with $w = 1$ this is the conditional model, and with $w > 1$ it goes beyond it.
#
# **Write** `guided(velocity, x, t, y, none, w)`. `velocity` maps x (B, ...), t (B,) and labels (B,) to (B, ...). y are the
# labels wanted, (B,), `none` is the label $\varnothing$, a whole number, and w a number. It returns $\tilde u$ (B, ...).
#
# <details><summary>Hint</summary>
#
# The velocity takes a label for each example, also where there is no label. Then test your line on paper: what is left at $w
# = 0$, and what at $w = 1$?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# without = velocity(x, t, torch.full_like(y, none))
# ```
# </details>

# %%
def guided(velocity, x, t, y, none, w):
    """velocity: x (B, ...), t and y (B,) -> (B, ...); labels y (B,), numbers none and w -> (B, ...)."""
    ### BEGIN SOLUTION
    without = velocity(x, t, torch.full_like(y, none))
    return without + w * (velocity(x, t, y) - without)
    ### END SOLUTION


# %%
checks.flow_matching.guided(guided)

# %% [markdown]
# Two classes that overlap, 300 points each around (-0.7, 0) and (0.7, 0), and their best velocities. All ask for label 1, the
# right class. **Predict before you run the cell:** with $w = 3$, do the samples still look like the points of the right class?

# %%
classes = [torch.tensor([x, 0.0]) + 0.7 * torch.randn(300, 2) for x in (-0.7, 0.7)]
data = [*classes, torch.cat(classes)]  # label 2 stands for "not told"


def with_label(x, t, y):
    return ideal_velocity(x, t, data[int(y[0])])  # one label a batch will do here


panels, start, right = {"right class": classes[1]}, torch.randn(600, 2), torch.ones(600, dtype=torch.long)
for w in (0, 1, 3):
    panels[f"w = {w}"] = sample(lambda x, t, w=w: guided(with_label, x, t, right, 2, w), start, 20)
plots.show_points(panels, modes=torch.tensor([[-0.7, 0.0], [0.7, 0.0]]), radius=0.7)
for name, drawn in panels.items():
    print(f"{name:11}  mean of the first coordinate {drawn[:, 0].mean():4.1f}, standard deviation {drawn[:, 0].std():.1f}")

# %% [markdown]
# As with diffusion, they follow the label more and vary less: they go to the side that is far from the other class, not to
# where their own is densest.

# %% [markdown]
# ## Step 9. The average velocity
#
# *Difficulty 5 of 5 · importance 3 of 5 · 15 minutes*
#
# One step is exact if it goes with the **average velocity** of the time that it jumps over. In this step $v$ is the best
# velocity, so far $u$, and $u$ is its average over time, which the lesson writes $\bar u$. Let $x_s$ follow the flow from
# $x_t = x$, and let
#
# $$u(x, t, r) = \frac{1}{r - t} \int_t^r v(x_s, s)\, ds, \qquad \text{so that} \qquad x_r = x + (r - t)\, u(x, t, r).$$
#
# MeanFlow (Geng et al., 2025, arXiv:2505.13447) trains a network to be $u$ without ever computing the integral. Multiply by
# $r - t$, and take the derivative by $t$ along the path, with $r$ fixed: on the left $-u + (r - t) \frac{d}{dt} u$, on the
# right $-v$. So
#
# $$u = v + (r - t)\, \frac{d}{dt} u, \qquad \frac{d}{dt} u(x_t, t, r) = \frac{\partial u}{\partial x}\, v + \frac{\partial u}{\partial t}.$$
#
# The right-hand side, for the network as it is now, is the target of its left-hand side. (In the paper time runs the other
# way, so its sign is another.)
#
# **Write** `average_velocity_target(u, x, t, r, v)`. `u` maps x (B, ...), t and r (B,) to (B, ...); v (B, ...) is the velocity
# at x and t, and $r \ge t$. It returns the target (B, ...), detached: the network must not learn by moving its target.
#
# <details><summary>Hint</summary>
#
# `jvp(f, inputs, moves)` of torch.func returns f(*inputs), and the derivative of f where each input moves at the velocity that
# `moves` names. How fast do x, t and r move along the path?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# _, slope = jvp(u, (x, t, r), (v, torch.ones_like(t), torch.zeros_like(r)))
# ```
# </details>

# %%
def average_velocity_target(u, x, t, r, v):
    """u: x (B, ...), t and r (B,) -> (B, ...); x and v (B, ...), t and r >= t (B,) -> the target, (B, ...)."""
    ### BEGIN SOLUTION
    _, slope = jvp(u, (x, t, r), (v, torch.ones_like(t), torch.zeros_like(r)))
    return (v + each(r - t, x) * slope).detach()
    ### END SOLUTION


# %%
checks.flow_matching.average_velocity_target(average_velocity_target)

# %% [markdown]
# For the eight points $u$ can be computed, by many steps of your sampler between $t$ and $r$. Such a $u$ should be its own
# target. **Predict before you run the cell:** how far is $v$ from $u$, and where do samples land that take one step with
# each?

# %%
def average(x, t, r):
    """The average of the best velocity, by 50 steps from t to r."""
    way = each(r - t, x)
    return (sample(lambda y, s: way * ideal(y, t + s * (r - t)), x, 50) - x) / way


x, t = torch.randn(200, 2), 0.6 * torch.rand(200)
r = t + 0.1 + 0.2 * torch.rand(200)
v, u = ideal(x, t), average(x, t, r)
target = average_velocity_target(average, x, t, r, v)
print(f"u is less than 0.01 from its target on average:  {(u - target).norm(dim=1).mean() < 0.01}")
print(f"v is more than 0.3 from u:                       {(u - v).norm(dim=1).mean() > 0.3}")
start, zero = torch.randn(1000, 2), torch.zeros(1000)
panels = {"one step of v": start + ideal(start, zero), "one step of u": start + average(start, zero, zero + 1)}
plots.show_points(panels, modes=points, radius=0.3)
for name, drawn in panels.items():
    off = torch.cdist(drawn, points).min(dim=1).values
    print(f"{name}: {100 * (off < 0.3).float().mean():3.0f}% of the samples within 0.3 of a data point")

# %% [markdown]
# ## All together: your flow
#
# *15 minutes*
#
# Three networks learn to carry noise to `EightGaussians`, each with your loss, and all alike but for the pairs that they are
# shown:
#
# - **at random**: each noise gets any example;
# - **coupled**: `couple` reorders the noise of each batch of 128;
# - **reflow** (Liu et al.): each noise gets the sample that the first network draws from it. The paths of a flow never
#   cross. Do the straight lines between their ends still lie in opposite order? The cell counts.

# %%
def train(pairs, updates=1000):
    """A network that learns the velocity of straight paths between pairs (start, end), (128, 2) each."""
    network = TimeMLP((2,), hidden_dim=64)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / updates)
    for _ in range(updates):
        start, end = pairs()
        loss = matching_loss(network, start, end, torch.rand(len(start)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return network.requires_grad_(False)


def at_random():
    return torch.randn(128, 2), eight.sample(128)


def coupled():
    start, end = at_random()
    return couple(start, end), end


networks = {"at random": train(at_random), "coupled": train(coupled)}
many = torch.randn(20_000, 2)
drawn = sample(networks["at random"], many, 20)


def reflowed():
    which = torch.randint(len(many), (128,))
    return many[which], drawn[which]


networks["reflow"] = train(reflowed)
for name, pairs in (("at random", at_random()), ("coupled", coupled()), ("reflow", reflowed())):
    print(f"{name:9}  in opposite order: {100 * share_against(*pairs):.0f}% of two pairs")

# %% [markdown]
# **Predict before you run the cell:** which of the three flows is the straightest, and by how much?

# %%
start = torch.randn(2000, 2)
bends = {name: straightness(network, start, 50).item() for name, network in networks.items()}
print(f"at random it is more than 1:                     {bends['at random'] > 1}")
print(f"coupled it is at least 50 times smaller:         {bends['at random'] > 50 * bends['coupled']}")
print(f"by reflow it is smaller still, by 2 or more:     {bends['coupled'] > 2 * bends['reflow']}")

# %% [markdown]
# A straight flow should need few steps. We count the samples within three standard deviations of a mode, and the modes that
# they reach. **Predict before you run the cell:** what does a single step of the midpoint rule draw with each network?

# %%
numbers, within = [1, 2, 4, 8, 16], {}
for name, network in networks.items():
    samples = {steps: sample(network, start, steps) for steps in numbers}
    within[name] = [(torch.cdist(x, points).min(dim=1).values < 0.6).float().mean().item() for x in samples.values()]
    print(f"{name:9}  modes reached in 16 steps: {mode_coverage(samples[16], points, radius=0.6)} of 8")
plots.show_curves({name: [100 * y for y in shares] for name, shares in within.items()}, x=numbers,
                  xlabel="steps", ylabel="% within 0.6 of a mode")
one, most = ({name: shares[i] for name, shares in within.items()} for i in (0, -1))
straighter = ("coupled", "reflow")
print(f"one step, at random: at most 40% arrive:             {one['at random'] < 0.4}")
print(f"one step, coupled and reflow: at least 70% do:       {min(one[name] for name in straighter) > 0.7}")
print(f"15 more steps give these two less than 10% more:     {max(most[name] - one[name] for name in straighter) < 0.1}")
print(f"16 steps: at least 70% arrive with every network:    {min(most.values()) > 0.7}")
print(f"and the networks differ by less than 15%:            {max(most.values()) - min(most.values()) < 0.15}")
of_data = (torch.cdist(eight.sample(20_000), points).min(dim=1).values < 0.6).float().mean()
print(f"of the data themselves: {100 * of_data:.0f}%")

# %% [markdown]
# With enough steps the pairs matter little: all three networks learn to carry the same noise to the same data. Of the data
# 99% are within 0.6 of a mode. What is missing is the error of a small network after a few seconds, and no number of steps
# mends that. Reflow is the straightest, but it learns from samples of the first network, and their errors are in its data.

# %%
panels = {"data": eight.sample(2000)} | {f"{name}, one step": sample(net, start, 1) for name, net in networks.items()}
plots.show_points(panels, modes=points, radius=0.6)

# %% [markdown]
# ## What you have built
#
# Flow matching with nothing hidden: a straight path, the mean velocity that no network can beat, a loss of two lines and a
# sampler of four, a dictionary to diffusion, and three ways to need fewer steps: better pairs, straightened paths, and the
# average velocity. For images only the network changes.
#
# Where to go on:
#
# - Couple in batches of 16 instead of 128. How much of the straightness is left?
# - Reflow a second time, from the reflowed network. Does it get straighter, and do the samples get worse?
# - Train a network u(x, t, r) on your `average_velocity_target`, with the path's own velocity for v. Does one step do?
# - Start from `Spiral` instead of noise: `genlib.data` has it. Nothing in your loss asks the start to be Gaussian.
# - Change the path to $\alpha = \sin(\pi t / 2)$ and $\sigma = \cos(\pi t / 2)$. What changes in the loss? Is the flow
#   straight?
# - Read `genlib/flow_matching/`. It has your functions, with labels and other paths beside them.
# - Back to the lesson, [{{flow_matching}} Flow matching](../notebooks/{{flow_matching}}_flow_matching.ipynb).
