# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Diffusion: exercises
#
# **Can you turn noise into data, and know at every step how well it could be done at best?**
#
# Ten steps take you there, from a noisy example to a model that draws points, with a bound and a likelihood whose true
# values are known. They belong to lesson [{{diffusion}} Diffusion](../notebooks/{{diffusion}}_diffusion.ipynb), which explains
# the ideas; read it first, or beside this. You need one course in probability and one in PyTorch. All ten steps take
# about 155 minutes, and putting them together at the end 15 more; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and if that is not enough the code below it. The
# answers are in
# [solutions](../solutions/{{diffusion}}_diffusion_exercises.ipynb); later steps use your functions, so copy the answer of a step
# that you skip.

# %%
import math

import torch

from course import checks
from genlib import plots
from genlib.data import EightGaussians, load
from genlib.metrics import mode_coverage
from genlib.networks import TimeMLP

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. Noise in one go
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# A diffusion model destroys an example $x$ in many small steps, each of which shrinks it and adds a little Gaussian
# noise. Shrunk Gaussians that are added up are one Gaussian. So the state at time $t$ needs no loop:
#
# $$x_t = \alpha_t x + \sigma_t \epsilon, \qquad \epsilon \sim \mathcal N(0, I).$$
#
# $\alpha_t$ says how much of the example is left, and $\sigma_t$ is the standard deviation of the noise. A **schedule** gives
# both for every time from 0 to 1; the pair is the **noise level**. In training each example of a batch has a time of its own, so
# it has its own $\alpha$ and $\sigma$.
#
# **Write** `noisy(x, eps, alpha, sigma)`, with examples x and noise eps of one shape (B, ...), and alpha and sigma
# (B,). The examples may be points (B, D), images (B, C, H, W), or anything else. Do not assume that
# $\alpha^2 + \sigma^2 = 1$.
#
# <details><summary>Hint</summary>
#
# Tensors broadcast from the last axis, and here the first axes must meet. What shape must alpha have to be multiplied by
# x (B, C, H, W), and how many axes of length 1 does it take in general?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# ones = [1] * (x.ndim - 1)  # as many axes of length 1 as x has behind its first
# alpha.view(-1, *ones)  # (B, 1, ...)
# ```
# </details>

# %%
def noisy(x, eps, alpha, sigma):
    """Examples x and noise eps (B, ...), alpha and sigma (B,) -> x_t (B, ...)."""
    ### BEGIN SOLUTION
    ones = [1] * (x.ndim - 1)
    return alpha.view(-1, *ones) * x + sigma.view(-1, *ones) * eps
    ### END SOLUTION


# %%
checks.diffusion.noisy(noisy)

# %% [markdown]
# All later steps need this shape too, so here it is as a function, with a schedule: $\alpha$ is the cosine and $\sigma$ the
# sine of an angle that grows evenly with time. The picture shows what is left of eight Gaussians.

# %%
def each(value, x):
    """A number for each example, (B,), with as many axes as x: (B, 1, ...)."""
    return value.view(-1, *[1] * (x.ndim - 1))


FIRST, LAST = 0.05, math.pi / 2 - 0.001  # the angles at time 0, nearly clean, and at time 1, nearly all noise


def schedule(t):
    """Times (B,) in [0, 1] -> alpha and sigma (B,)."""
    angle = FIRST + (LAST - FIRST) * t
    return angle.cos(), angle.sin()


eight = EightGaussians()
x = eight.sample(1000)
panels = {}
for t in (0.0, 0.2, 0.5, 1.0):
    alpha, sigma = schedule(torch.full((1000,), t))
    panels[f"t = {t}"] = noisy(x, torch.randn_like(x), alpha, sigma)
plots.show_points(panels, modes=eight.means, radius=0.6)
print(f"at t = 1 the standard deviation is 1 within 0.1: {abs(panels['t = 1.0'].std() - 1) < 0.1}")

# %% [markdown]
# ## Step 2. One step undone
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# Let $s$ be a little before $t$. On the way from $x_s$ to $x_t$ the state is multiplied by
# $\alpha_{t|s} = \alpha_t / \alpha_s$, and noise of the variance $\sigma_{t|s}^2 = \sigma_t^2 - \alpha_{t|s}^2 \sigma_s^2$ is added,
# just as much as is missing. How can this be undone? Whoever knows $x$ can use Bayes' rule:
#
# $$q(x_s \mid x_t, x) \propto q(x_t \mid x_s)\, q(x_s \mid x)
# = \mathcal N(x_t;\, \alpha_{t|s} x_s,\, \sigma_{t|s}^2 I)\; \mathcal N(x_s;\, \alpha_s x,\, \sigma_s^2 I).$$
#
# A product of two Gaussians is a Gaussian. Its precision, one over the variance, is the sum of the precisions, and its
# mean lies between what the two say:
#
# $$\text{mean} = \frac{\alpha_{t|s}\, \sigma_s^2}{\sigma_t^2}\, x_t + \frac{\alpha_s\, \sigma_{t|s}^2}{\sigma_t^2}\, x,
# \qquad \text{standard deviation} = \frac{\sigma_{t|s}\, \sigma_s}{\sigma_t}.$$
#
# **Write** `posterior(x_t, x, alpha_t, sigma_t, alpha_s, sigma_s)`, with x_t and x (B, ...), and the levels of both
# times, (B,) each. It returns the mean (B, ...), and the standard deviation (B,). The formulas hold for every schedule, also where
# $\alpha^2 + \sigma^2$ is not 1. And they hold at both ends: $\alpha_t$ or $\sigma_s$ may be 0, so divide by neither.
#
# <details><summary>Hint</summary>
#
# Compute $\alpha_{t|s}$ and $\sigma_{t|s}^2$ first, and then the two factors of the mean, all of shape (B,). Only the factors
# need the shape of x, which `each` gives them.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# ratio = alpha_t / alpha_s
# added = sigma_t**2 - ratio**2 * sigma_s**2  # a variance, (B,)
# each(alpha_s * added / sigma_t**2, x) * x  # the second part of the mean
# ```
# </details>

# %%
def posterior(x_t, x, alpha_t, sigma_t, alpha_s, sigma_s):
    """x_t and x (B, ...), the levels of t and of s < t, (B,) -> mean (B, ...) and standard deviation (B,)."""
    ### BEGIN SOLUTION
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    of_x_t, of_x = ratio * sigma_s**2 / sigma_t**2, alpha_s * added / sigma_t**2
    return each(of_x_t, x) * x_t + each(of_x, x) * x, (added / sigma_t**2).sqrt() * sigma_s
    ### END SOLUTION


# %%
checks.diffusion.posterior(posterior)

# %% [markdown]
# Does the formula keep what Bayes' rule promises? On the line a grid can tell: multiply the two densities at every
# place, and divide by their sum times the width of a cell.

# %%
def normal(x, mean, std):
    return torch.distributions.Normal(mean, std).log_prob(x).exp()


levels = [*schedule(torch.tensor([0.6])), *schedule(torch.tensor([0.4]))]
alpha_t, sigma_t, alpha_s, sigma_s = levels
x, x_t, line = torch.tensor([[1.5]]), torch.tensor([[-0.2]]), torch.linspace(-3, 4, 1401)
ratio = alpha_t / alpha_s
before = normal(line, alpha_s * x[0], sigma_s)
heard = normal(x_t[0], ratio * line, (sigma_t**2 - ratio**2 * sigma_s**2).sqrt())
by_bayes = before * heard / ((before * heard).sum() * 0.005)
mean, std = posterior(x_t, x, *levels)
plots.show_curves(
    {"q(x_s | x)": before, "q(x_t | x_s), scaled": heard / heard.max(), "q(x_s | x_t, x)": by_bayes},
    x=line, xlabel="$x_s$", ylabel="density", marks={"your mean": mean.item()},
)
print(f"your Gaussian is that of Bayes within 0.001: {(normal(line, mean[0], std) - by_bayes).abs().max() < 1e-3}")

# %% [markdown]
# ## Step 3. The best denoiser
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# Whoever draws an image does not know $x$. All that can be done is to guess it from $x_t$, and the guess with the smallest
# mean squared error is the **posterior mean** $E[x \mid x_t]$. A network is trained to come near it. If there are only
# finitely many data, all equally probable, Bayes' rule gives it exactly:
#
# $$E[x \mid x_t] = \sum_{i=1}^{N} p(x_i \mid x_t)\, x_i, \qquad
# p(x_i \mid x_t) \propto \exp \Big( - \frac{\|x_t - \alpha x_i\|^2}{2 \sigma^2} \Big).$$
#
# Far from all data, or with little noise, all N exponentials round to zero, and their shares become 0/0. So the
# exponents must be normalised before anything is exponentiated.
#
# **Write** `ideal_denoiser(x_t, alpha, sigma, data)`, with x_t (B, D), alpha and sigma (B,), data (N, D). It returns
# (B, D). $\alpha$ may be 0, $\sigma$ never is.
#
# <details><summary>Hint</summary>
#
# Give x_t and the data an axis each, so that their difference is (B, N, D). Sum its square over the last axis. Which function
# of torch turns exponents into shares that add up to one? Over which axis?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# apart = x_t[:, None] - alpha[:, None, None] * data  # (B, N, D)
# torch.softmax(exponent, dim=1)  # of exponents (B, N): p(x_i | x_t)
# ```
# </details>

# %%
def ideal_denoiser(x_t, alpha, sigma, data):
    """x_t (B, D), alpha and sigma (B,), data (N, D) -> E[x | x_t], (B, D)."""
    ### BEGIN SOLUTION
    square = (x_t[:, None] - alpha[:, None, None] * data).square().sum(dim=2)  # (B, N)
    return torch.softmax(-square / (2 * sigma[:, None] ** 2), dim=1) @ data
    ### END SOLUTION


# %%
checks.diffusion.ideal_denoiser(ideal_denoiser)

# %% [markdown]
# Here it looks at three test images that it has never seen. The data are 1437 training images, scaled to [-1, 1]. **Predict
# before you run the cell:** what does the best denoiser find where almost all is noise, and what where almost none is?

# %%
train, test = load("digits").floats(), load("digits", "test").floats()[[3, 11, 20]]
data, x = 2 * train.flatten(1) - 1, 2 * test.flatten(1) - 1
t = torch.tensor([0.02, 0.4, 0.6, 0.75, 0.98]).repeat(3)
alpha, sigma = schedule(t)
x = x.repeat_interleave(5, dim=0)
x_t = noisy(x, torch.randn_like(x), alpha, sigma)
found = ideal_denoiser(x_t, alpha, sigma, data)
rows = {"x": x, "$x_t$": x_t, "E[x | $x_t$]": found}
plots.show_rows({name: ((y + 1) / 2).clamp(0, 1).view(-1, 1, 8, 8) for name, y in rows.items()}, size=0.65)
to_data = torch.cdist(found, data).min(dim=1).values.view(3, 5)
to_mean = (found - data.mean(dim=0)).norm(dim=1).view(3, 5)
to_x = (found - x).norm(dim=1).view(3, 5)
print(f"mean distance of a training image from the mean of all: {(data - data.mean(dim=0)).norm(dim=1).mean():.1f}")
print(f"with little noise it finds a training image, within 0.5:     {(to_data[:, 0] < 0.5).all()}")
print(f"which is at least 1.5 from the image that it should be:      {(to_x[:, 0] > 1.5).all()}")
print(f"in noise it finds the mean of all training images, within 1: {(to_mean[:, -1] < 1).all()}")

# %% [markdown]
# No function has a smaller error on the training images, and yet nobody wants this one: with little noise it returns a training
# image, also for an image that it has not seen. A network that reached the optimum would draw nothing new.

# %% [markdown]
# ## Step 4. Three things that a network may say
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# A network need not return $\hat x$. Ho et al. (2020) let it return the noise $\hat \epsilon$; Salimans & Ho (2022, arXiv:2202.00512)
# let it return $v$, a mixture of both. If $\alpha^2 + \sigma^2 = 1$, then $(\alpha, \sigma)$ is a point on the unit
# circle, and $x_t$ and $v$ are $x$ and $\epsilon$ seen from turned axes:
#
# $$x_t = \alpha x + \sigma \epsilon, \qquad v = \alpha \epsilon - \sigma x
# \qquad \Longrightarrow \qquad x = \alpha x_t - \sigma v, \qquad \epsilon = \sigma x_t + \alpha v.$$
#
# Since $x_t$ is known, each of the three gives the other two. But to get $\epsilon$ from $x$ one divides by $\sigma$, which
# is near zero at one end of time, and to get $x$ from $\epsilon$ by $\alpha$, which is near zero at the other. From
# $v$ nothing is divided.
#
# **Write** `convert(kind, said, x_t, alpha, sigma)`. `kind` is "x", "eps" or "v", and says what the network's `said`
# (B, ...) stands for. alpha and sigma are (B,), with $\alpha^2 + \sigma^2 = 1$. It returns three tensors (B, ...): x, eps and v.
# A "v" must do at $\sigma = 0$ and at $\alpha = 0$ too.
#
# <details><summary>Hint</summary>
#
# One branch for each kind finds x and eps: two of them solve $x_t = \alpha x + \sigma \epsilon$ for what is missing, the third is the
# formula on the right. Then v is the same line for all.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# alpha, sigma = each(alpha, x_t), each(sigma, x_t)
# if kind == "x":
#     x, eps = said, (x_t - alpha * said) / sigma
# ```
# </details>

# %%
def convert(kind, said, x_t, alpha, sigma):
    """kind "x", "eps" or "v", said and x_t (B, ...), alpha and sigma (B,) -> x, eps and v, (B, ...) each."""
    ### BEGIN SOLUTION
    alpha, sigma = each(alpha, x_t), each(sigma, x_t)
    if kind == "x":
        x, eps = said, (x_t - alpha * said) / sigma
    elif kind == "eps":
        x, eps = (x_t - sigma * said) / alpha, said
    else:
        x, eps = alpha * x_t - sigma * said, sigma * x_t + alpha * said
    return x, eps, alpha * eps - sigma * x
    ### END SOLUTION


# %%
checks.diffusion.convert(convert)

# %% [markdown]
# Three networks are wrong by the same amount, 0.1, in what they return. What does this do to the x that follows? **Predict before
# you run the cell:** where in time is each of the three worst?

# %%
t = torch.linspace(0, 1, 101)
alpha, sigma = schedule(t)
x, eps = torch.ones(101, 1), torch.zeros(101, 1)
x_t = noisy(x, eps, alpha, sigma)
truth = dict(zip(("x", "eps", "v"), convert("x", x, x_t, alpha, sigma)))
errors = {
    kind: (convert(kind, right + 0.1, x_t, alpha, sigma)[0] - x).abs()[:, 0] for kind, right in truth.items()
}
plots.show_curves({f"from {kind}": e.clamp(max=0.5) for kind, e in errors.items()}, x=t, xlabel="t",
                  ylabel="error of x (cut at 0.5)")
print("largest error of x:", ", ".join(f"{e.max():.2f} from {kind}" for kind, e in errors.items()))

# %% [markdown]
# ## Step 5. The loss
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# All of training is least squares: corrupt an example, and ask for it back. With a weight $w$ for each noise level, the loss of a
# batch is
#
# $$L = \frac{1}{B} \sum_{b=1}^{B} w_b\, \frac{1}{D} \big\| x_b - \hat x(\alpha_b x_b + \sigma_b \epsilon_b) \big\|^2,$$
#
# where D is the number of values of an example. The weight decides which noise levels matter, not what the best
# denoiser is: that is $E[x \mid x_t]$ at every level, whatever the weights are. With the **signal-to-noise ratio**
# $\text{SNR} = \alpha^2 / \sigma^2$ for the weight, the error is that of $\hat \epsilon$, since
# $\epsilon - \hat \epsilon = -(\alpha / \sigma)(x - \hat x)$. This is the "simple loss" of Ho et al. With $1 + \text{SNR}$ it
# is that of $v$, if $\alpha^2 + \sigma^2 = 1$.
#
# **Write** `denoising_loss(denoiser, x, eps, alpha, sigma, weight)`. `denoiser` maps x_t (B, ...), alpha and sigma
# (B,) to $\hat x$ (B, ...). x and eps are (B, ...), weight is (B,). It returns one number, and the denoiser must be able to
# learn from it.
#
# <details><summary>Hint</summary>
#
# Your `noisy` makes x_t. Of the squared error take the mean over all axes but the first, so that each example has one number for
# its weight; the mean over the examples comes last.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x_hat = denoiser(noisy(x, eps, alpha, sigma), alpha, sigma)
# (x - x_hat).square().flatten(1).mean(dim=1)  # (B,)
# ```
# </details>

# %%
def denoising_loss(denoiser, x, eps, alpha, sigma, weight):
    """denoiser: x_t (B, ...), alpha, sigma (B,) -> (B, ...); x, eps (B, ...), weight (B,) -> a number."""
    ### BEGIN SOLUTION
    x_hat = denoiser(noisy(x, eps, alpha, sigma), alpha, sigma)
    error = (x - x_hat).square().flatten(1).mean(dim=1)
    return (weight * error).mean()
    ### END SOLUTION


# %%
checks.diffusion.denoising_loss(denoising_loss)

# %% [markdown]
# How good can a denoiser be? The data are eight points on a circle, so your `ideal_denoiser` is the best there is. Beside it
# stand two others: one returns the nearest of the points, the other the best that a *linear* function of $x_t$ can do.

# %%
points = eight.means  # (8, 2)


def ideal(x_t, alpha, sigma):
    return ideal_denoiser(x_t, alpha, sigma, points)


def nearest(x_t, alpha, sigma):
    return points[torch.cdist(x_t, points).argmin(dim=1)]  # they lie on a circle: alpha changes nothing


def linear(x_t, alpha, sigma):
    share = 2 * alpha / (2 * alpha**2 + sigma**2)  # a coordinate of the points has the variance 2
    return each(share, x_t) * x_t


x = points[torch.randint(8, (4000,))]
eps, times = torch.randn_like(x), torch.linspace(0.05, 1, 20)
losses = {"ideal": [], "nearest": [], "linear": []}
for t in times:
    alpha, sigma = schedule(t.expand(4000))
    for denoiser in (ideal, nearest, linear):
        losses[denoiser.__name__].append(denoising_loss(denoiser, x, eps, alpha, sigma, torch.ones(4000)))
plots.show_curves(losses, x=times, xlabel="t", ylabel="squared error of x, of each value")
least = torch.tensor(losses["ideal"])
for name in ("nearest", "linear"):
    never = (least <= 1.01 * torch.tensor(losses[name]) + 1e-3).all()
    print(f"the ideal denoiser is nowhere worse than the {name} one, but for chance: {never}")

# %% [markdown]
# At one end the ideal denoiser is the nearest point, at the other it is a linear function, that returns nearly the mean.
# The difficult part of the work lies between.

# %% [markdown]
# ## Step 6. A term of the bound
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# A diffusion model has a bound like a VAE's, with one KL divergence for each step. The model undoes a step with
# $q(x_s \mid x_t, \hat x)$, your `posterior` with a guess in the place of $x$. So it has the right standard deviation and
# only a wrong mean, and the KL of two such Gaussians is the squared distance of their means over twice the variance:
#
# $$KL\big(q(x_s \mid x_t, x) \,\|\, q(x_s \mid x_t, \hat x)\big) = \frac{\alpha_s^2 \sigma_{t|s}^4 / \sigma_t^4}{2\, \sigma_{t|s}^2
# \sigma_s^2 / \sigma_t^2} \|x - \hat x\|^2 = \frac{1}{2} \big(\text{SNR}(s) - \text{SNR}(t)\big)\, \|x - \hat x\|^2.$$
#
# The bound is a weighted squared error: a step costs what the signal-to-noise ratio gains in it, times what
# the denoiser does not know (Kingma et al., 2021, arXiv:2107.00630).
#
# **Write** `elbo_term(x, x_hat, alpha_t, sigma_t, alpha_s, sigma_s)`, with x and x_hat (B, ...), and the levels (B,). It
# returns the KL of each example, (B,), in nats. A denoiser can be trained on it, so a gradient must reach x_hat.
#
# <details><summary>Hint</summary>
#
# SNR is $\alpha^2 / \sigma^2$, and larger at s than at t. A KL of independent values adds up: the squares are summed over all
# values of an example, not averaged.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# snr_t = (alpha_t / sigma_t) ** 2  # (B,)
# (x - x_hat).square().flatten(1).sum(dim=1)  # (B,)
# ```
# </details>

# %%
def elbo_term(x, x_hat, alpha_t, sigma_t, alpha_s, sigma_s):
    """x and x_hat (B, ...), the levels of t and of s < t, (B,) -> the KL of the step, (B,), in nats."""
    ### BEGIN SOLUTION
    snr_t, snr_s = (alpha_t / sigma_t) ** 2, (alpha_s / sigma_s) ** 2
    return 0.5 * (snr_s - snr_t) * (x - x_hat).square().flatten(1).sum(dim=1)
    ### END SOLUTION


# %%
checks.diffusion.elbo_term(elbo_term)

# %% [markdown]
# First the algebra: your `posterior` must give the same KL. Then the whole sum, for the eight points and the best denoiser.
# Each of them has the probability 1/8, and costs $\log 8$ nats. **Predict before you run the cell:** does the sum of all
# terms lie above $\log 8$ or below, and what happens when T grows?

# %%
x, x_hat, x_t = points, points + 0.3 * torch.randn(8, 2), torch.randn(8, 2)
levels = [*schedule(torch.full((8,), 0.6)), *schedule(torch.full((8,), 0.4))]
(mean, std), (mean_hat, _) = posterior(x_t, x, *levels), posterior(x_t, x_hat, *levels)
by_means = (mean - mean_hat).square().sum(dim=1) / (2 * std**2)
print(f"the KL of the two posteriors is your term: {torch.allclose(by_means, elbo_term(x, x_hat, *levels), rtol=1e-3)}")

x, sums, numbers = points.repeat(250, 1), [], [2, 5, 10, 20, 50, 100, 200]
for steps in numbers:
    times, total = torch.linspace(0, 1, steps + 1), 0.0
    for s, t in zip(times[:-1], times[1:]):
        levels = [*schedule(t.expand(2000)), *schedule(s.expand(2000))]
        x_hat = ideal(noisy(x, torch.randn_like(x), *levels[:2]), *levels[:2])
        total += elbo_term(x, x_hat, *levels).mean().item()
    sums.append(total)
plots.show_curves({"sum of the terms": sums[2:]}, x=numbers[2:], xlabel="T, number of steps", ylabel="nats",
                  baselines={"log 8": math.log(8)})
print(f"with 10 steps {sums[2]:.1f} nats, with 200 {sums[-1]:.1f}; log 8 = {math.log(8):.1f}")

# %% [markdown]
# A bound on the cost lies above it, and comes down to it as the steps get small. That holds for the best denoiser; for any other
# the sum ends higher, by half its surplus error, weighted by the gain in SNR.

# %% [markdown]
# ## Step 7. A step back
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# To draw an example, begin with pure noise, and go back step by step. DDPM draws each $x_s$ from
# $q(x_s \mid x_t, \hat x)$. **DDIM** (Song et al., 2020, arXiv:2010.02502) draws nothing: it asks which noise $x_t$ must hold if
# $\hat x$ is right, and puts as much of this very noise back in as belongs to the time $s$:
#
# $$\hat \epsilon = \frac{x_t - \alpha_t \hat x}{\sigma_t}, \qquad x_s = \alpha_s \hat x + \sigma_s \hat \epsilon.$$
#
# (This is their $\eta = 0$.) The first noise decides everything, so the way can be followed backwards, and few steps are enough.
#
# **Write** `ddim_step(x_t, x_hat, alpha_t, sigma_t, alpha_s, sigma_s)`, with x_t and x_hat (B, ...), and the levels (B,). It
# returns x_s (B, ...).
#
# <details><summary>Hint</summary>
#
# It is `noisy` at the time s, of $\hat x$ and $\hat \epsilon$. You need the levels of t only to find the noise.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# eps = (x_t - each(alpha_t, x_t) * x_hat) / each(sigma_t, x_t)
# ```
# </details>

# %%
def ddim_step(x_t, x_hat, alpha_t, sigma_t, alpha_s, sigma_s):
    """x_t and x_hat (B, ...), the levels of t and of s < t, (B,) -> x_s (B, ...)."""
    ### BEGIN SOLUTION
    eps = (x_t - each(alpha_t, x_t) * x_hat) / each(sigma_t, x_t)
    return noisy(x_hat, eps, alpha_s, sigma_s)
    ### END SOLUTION


# %%
checks.diffusion.ddim_step(ddim_step)

# %% [markdown]
# A few lines make a sampler of it, for any denoiser. Here with the best one for the eight points. **Predict before you run
# the cell:** with a single step, where do all samples land?

# %%
@torch.no_grad()
def draw(denoiser, n, steps):
    """n points in the plane, from noise, by `steps` steps of ddim."""
    x, times = torch.randn(n, 2), torch.linspace(1, 0, steps + 1)
    for t, s in zip(times[:-1], times[1:]):
        levels = [*schedule(t.expand(n)), *schedule(s.expand(n))]
        x = ddim_step(x, denoiser(x, *levels[:2]), *levels)
    return x  # with the noise of time 0, a standard deviation of 0.05


panels = {f"steps: {steps}": draw(ideal, 1000, steps) for steps in (1, 2, 5, 20)}
plots.show_points(panels, modes=points, radius=0.3)
for name, drawn in panels.items():
    off = torch.cdist(drawn, points).min(dim=1).values
    print(f"{name:9}  {100 * (off < 0.3).float().mean():3.0f}% of the samples within 0.3 of a data point")

# %% [markdown]
# ## Step 8. Guidance
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# A conditional model is told a label $y$, and denoises to $E[x \mid x_t, y]$. Its samples obey, but often not clearly enough.
# **Guidance** (Ho & Salimans, 2022, arXiv:2207.12598) also asks what the denoiser says without the label, and goes from
# there in the direction of the label, further than the label says itself:
#
# $$\hat x = E[x \mid x_t] + w\, \big( E[x \mid x_t, y] - E[x \mid x_t] \big).$$
#
# With $w = 0$ the label does not count, with $w = 1$ this is the conditional model, and with $w > 1$ it goes beyond it.
# (In the paper the conditional model is $w = 0$; we count like most code today.)
#
# **Write** `guided(told, untold, weight, x_t, alpha, sigma)`. `told` knows the label and `untold` does not; both are
# denoisers, and map x_t (B, ...), alpha and sigma (B,) to (B, ...). weight is the number $w$. It returns $\hat x$ (B, ...).
#
# <details><summary>Hint</summary>
#
# Ask both denoisers with the same three arguments. Then test your line on paper: what is left at $w = 0$, and what at
# $w = 1$?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# without = untold(x_t, alpha, sigma)
# ```
# </details>

# %%
def guided(told, untold, weight, x_t, alpha, sigma):
    """told and untold: x_t (B, ...), alpha, sigma (B,) -> (B, ...); weight a number -> x_hat (B, ...)."""
    ### BEGIN SOLUTION
    without = untold(x_t, alpha, sigma)
    return without + weight * (told(x_t, alpha, sigma) - without)
    ### END SOLUTION


# %%
checks.diffusion.guided(guided)

# %% [markdown]
# Two classes that overlap: 300 points each around (-0.7, 0) and (0.7, 0). The label is "right". **Predict before you run
# the cell:** with $w = 4$, do the samples still look like the points of the right class?

# %%
left, right = torch.tensor([-0.7, 0.0]) + 0.7 * torch.randn(300, 2), torch.tensor([0.7, 0.0]) + 0.7 * torch.randn(300, 2)


def told(x_t, alpha, sigma):
    return ideal_denoiser(x_t, alpha, sigma, right)


def untold(x_t, alpha, sigma):
    return ideal_denoiser(x_t, alpha, sigma, torch.cat([left, right]))


panels = {"right class": right}
for weight in (0, 1, 4):
    panels[f"w = {weight}"] = draw(lambda *at, w=weight: guided(told, untold, w, *at), 600, 30)
plots.show_points(panels, modes=torch.tensor([[-0.7, 0.0], [0.7, 0.0]]), radius=0.7)
for name, drawn in panels.items():
    print(f"{name:11}  mean of the first coordinate {drawn[:, 0].mean():4.1f}, standard deviation {drawn[:, 0].std():.1f}")

# %% [markdown]
# The samples obey more, and vary less: they move away from where the other class is, not to where the right class is densest.
# One would think that guidance draws from $p(x)\, p(y \mid x)^w$, scaled to one. It does not: the lesson measures how far off that is.

# %% [markdown]
# ## Step 9. The score of a mixture
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# The **score** of the noisy data is the gradient $\nabla \log p_t(x_t)$, and points where the density rises. It is known
# exactly if the data are a mixture of Gaussians $\sum_i w_i\, \mathcal N(\mu_i, s_i^2 I)$. Noise keeps them Gaussians:
#
# $$p_t(x_t) = \sum_{i=1}^{N} w_i\, \mathcal N(x_t;\, \alpha \mu_i,\, v_i I), \qquad v_i = \alpha^2 s_i^2 + \sigma^2,$$
#
# $$\nabla \log p_t(x_t) = \sum_{i=1}^{N} p(i \mid x_t)\, \frac{\alpha \mu_i - x_t}{v_i}, \qquad
# p(i \mid x_t) \propto w_i\, \mathcal N(x_t;\, \alpha \mu_i,\, v_i I).$$
#
# The normalising constant of a component, $(2 \pi v_i)^{-D/2}$, differs between components, so it counts in the shares too. As in
# step 3, never leave log-space.
#
# **Write** `noisy_mixture(x_t, alpha, sigma, means, stds, weights)`, with x_t (B, D), alpha and sigma (B,), means (N, D), stds
# and weights (N,); the weights are positive and add up to one, and $v_i$ is never 0. It returns two tensors: $\log p_t(x_t)$, (B,), and the
# score, (B, D). The next step differentiates the score, so a gradient must pass through both.
#
# <details><summary>Hint</summary>
#
# Make one table first, (B, N): $\log w_i$ plus the log density of component i. Its `logsumexp` is the first result, its
# `softmax` the shares in the second.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# v = (alpha[:, None] * stds) ** 2 + sigma[:, None] ** 2  # (B, N)
# apart = alpha[:, None, None] * means - x_t[:, None]  # (B, N, D)
# shares[..., None] * apart / v[..., None]  # of shares (B, N): what to sum over the components
# ```
# </details>

# %%
def noisy_mixture(x_t, alpha, sigma, means, stds, weights):
    """x_t (B, D), alpha, sigma (B,), means (N, D), stds, weights (N,) -> log p (B,) and score (B, D)."""
    ### BEGIN SOLUTION
    v = (alpha[:, None] * stds) ** 2 + sigma[:, None] ** 2  # (B, N)
    apart = alpha[:, None, None] * means - x_t[:, None]  # (B, N, D)
    constant = 0.5 * means.shape[1] * torch.log(2 * math.pi * v)
    log_joint = weights.log() - apart.square().sum(dim=2) / (2 * v) - constant
    shares = torch.softmax(log_joint, dim=1)
    return torch.logsumexp(log_joint, dim=1), (shares[..., None] * apart / v[..., None]).sum(dim=1)
    ### END SOLUTION


# %%
checks.diffusion.noisy_mixture(noisy_mixture)

# %% [markdown]
# Score and denoiser are the same thing. **Tweedie's formula** says
#
# $$E[x \mid x_t] = \frac{x_t + \sigma^2\, \nabla \log p_t(x_t)}{\alpha}.$$
#
# For Gaussians without width, your `ideal_denoiser` must come out. With the width of `EightGaussians`, the formula gives the
# best denoiser for these, which is not limited to finitely many points.

# %%
def by_tweedie(x_t, alpha, sigma, std=eight.std):
    """The best denoiser for eight Gaussians: x_t (B, 2), alpha and sigma (B,) -> E[x | x_t]."""
    _, score = noisy_mixture(x_t, alpha, sigma, points, torch.full((8,), std), torch.full((8,), 1 / 8))
    return (x_t + each(sigma, x_t) ** 2 * score) / each(alpha, x_t)


x_t, (alpha, sigma) = torch.randn(500, 2), schedule(torch.rand(500).clamp(max=0.9))
difference = by_tweedie(x_t, alpha, sigma, std=0.0) - ideal(x_t, alpha, sigma)
print(f"without width it is your ideal denoiser within 0.001: {difference.abs().max() < 1e-3}")
x_t.requires_grad_()
log_p, score = noisy_mixture(x_t, alpha, sigma, points, torch.full((8,), 0.2), torch.full((8,), 1 / 8))
(by_autograd,) = torch.autograd.grad(log_p.sum(), x_t)
print(f"the score is the gradient of log p within 0.001:      {(by_autograd - score).abs().max() < 1e-3}")
plots.show_points({"data": eight.sample(1000), "drawn, best denoiser": draw(by_tweedie, 1000, 50)}, modes=points, radius=0.6)

# %% [markdown]
# ## Step 10. A likelihood on the way
#
# *Difficulty 4 of 5 · importance 3 of 5 · 20 minutes*
#
# As its steps get small, DDIM becomes an ordinary differential equation $dx/dt = u(x, t)$, the **probability flow** (Song et
# al., 2021, arXiv:2011.13456). Follow a data point along it from time 0 to time 1, where the density is $\mathcal N(0, 1)$. On
# the way the density at the moving point changes as the flow spreads or squeezes what is around it. On the line
#
# $$\log p(x) = \log \mathcal N(x(1); 0, 1) + \int_0^1 \frac{\partial u}{\partial x}(x(t), t)\, dt.$$
#
# Euler's method takes $u$ and its derivative at the beginning of each step, and goes on as if they stayed the same. With
# $h_k = t_{k+1} - t_k$, and $I$ for the integral, which starts at 0,
#
# $$x_{k+1} = x_k + h_k\, u(x_k, t_k), \qquad I_{k+1} = I_k + h_k\, \frac{\partial u}{\partial x}(x_k, t_k).$$
#
# **Write** `flow_log_prob(velocity, x, times)`. `velocity` maps n points (n,) and one time to $u$ (n,), each point by itself;
# x is (n,), times (K + 1,), which need not be evenly spaced, and may fall. The result is (n,), in nats:
# $\log \mathcal N(x_K; 0, 1) + I_K$.
#
# <details><summary>Hint</summary>
#
# Each velocity depends on its own point alone. So the gradient of the sum of all velocities, by x, holds the n derivatives. For
# that x must be a tensor that requires a gradient; make a new one in each step, so that nothing is remembered of the way.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x = x.detach().clone().requires_grad_()
# u = velocity(x, t)
# (slope,) = torch.autograd.grad(u.sum(), x)
# ```
# </details>

# %%
def flow_log_prob(velocity, x, times):
    """velocity: points (n,) and a time -> (n,); x (n,), times (K + 1,) -> log p(x), (n,), in nats."""
    ### BEGIN SOLUTION
    integral = torch.zeros_like(x)
    for t, s in zip(times[:-1], times[1:]):
        x = x.detach().clone().requires_grad_()
        u = velocity(x, t)
        (slope,) = torch.autograd.grad(u.sum(), x)
        x, integral = (x + (s - t) * u).detach(), integral + (s - t) * slope
    return -0.5 * x**2 - 0.5 * math.log(2 * math.pi) + integral
    ### END SOLUTION


# %%
checks.diffusion.flow_log_prob(flow_log_prob)

# %% [markdown]
# Our schedule moves on the unit circle: $\dot \alpha = -\omega \sigma$ and $\dot \sigma = \omega \alpha$, where $\omega$ is how fast the angle
# grows. Then the velocity of the probability flow is $u = \omega\, (\alpha\, E[\epsilon \mid x_t] - \sigma\, E[x \mid x_t])$, which is $\omega$ times the best
# $v$ of step 4. Written with the score, it is $u = -\omega\, \frac{\sigma}{\alpha} (x_t + \nabla \log p_t(x_t))$. Three Gaussians on
# the line, whose density is known. **Predict before you run the cell:** what do twice as many steps do to the error?

# %%
means, stds, weights = torch.tensor([[-1.5], [0.2], [1.4]]), torch.tensor([0.4, 0.3, 0.5]), torch.tensor([0.5, 0.2, 0.3])


def velocity(x, t):
    alpha, sigma = schedule(t.expand(len(x)))
    _, score = noisy_mixture(x[:, None], alpha, sigma, means, stds, weights)
    return -(LAST - FIRST) * sigma / alpha * (x + score[:, 0])


line = torch.linspace(-3, 3.5, 131)
exact, _ = noisy_mixture(line[:, None], *schedule(torch.zeros(131)), means, stds, weights)
errors = {}
for steps in (50, 100, 200, 400, 800):
    found = flow_log_prob(velocity, line, torch.linspace(0, 1, steps + 1))
    errors[steps] = (found - exact).abs().mean().item()
    print(f"{steps:3} steps: {errors[steps]:.4f} nats off on average")
plots.show_curves({"exact": exact.exp(), "by the flow": found.exp()}, x=line, xlabel="x", ylabel="density")

# %% [markdown]
# The error is halved with each doubling, as Euler's method promises. Heun's falls with the square of the number of steps; the
# lesson uses a better one still.

# %% [markdown]
# ## All together: your diffusion model
#
# *15 minutes*
#
# A network learns to denoise samples of `EightGaussians`. It is a perceptron that reads a point and a time, and returns $v$;
# everything else is yours: `noisy`, `convert` and `denoising_loss` train it, `ddim_step` draws from it, and `elbo_term` bounds
# its likelihood.

# %%
network = TimeMLP((2,), hidden_dim=64)


def learnt(x_t, alpha, sigma):
    """The denoiser that the network makes: x_t (B, 2), alpha and sigma (B,) -> (B, 2)."""
    t = torch.atan2(sigma, alpha) / (math.pi / 2)
    return convert("v", network(x_t, t), x_t, alpha, sigma)[0]


optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
updates = 2000
decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / updates)
for _ in range(updates):
    x = eight.sample(512)
    alpha, sigma = schedule(torch.rand(512) ** 2)  # more often near 0, where it takes most work
    loss = denoising_loss(learnt, x, torch.randn_like(x), alpha, sigma, 1 + (alpha / sigma) ** 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    decay.step()

# %% [markdown]
# **Predict before you run the cell:** your network, and the best denoiser from step 9. At which noise levels will the two differ
# most, and can the network's error be the smaller one?

# %%
x, eps, times = eight.sample(4000), torch.randn(4000, 2), torch.linspace(0.05, 0.95, 19)
losses = {"network": [], "best possible": []}
with torch.no_grad():
    for t in times:
        alpha, sigma = schedule(t.expand(4000))
        weight = 1 + (alpha / sigma) ** 2
        for name, denoiser in (("network", learnt), ("best possible", by_tweedie)):
            losses[name].append(denoising_loss(denoiser, x, eps, alpha, sigma, weight).item())
ours, best = (torch.tensor(losses[name]) for name in ("network", "best possible"))
plots.show_curves({"network": 100 * (ours / best - 1)}, x=times, xlabel="t", ylabel="% above the least possible",
                  baselines={"best denoiser": 0.0})
print(f"the network's mean loss is within 2% of the least possible: {ours.mean() / best.mean() < 1.02}")
print(f"at no level is it smaller, but for 1% of chance:            {(ours > 0.99 * best).all()}")

# %% [markdown]
# Now the samples, beside those of the best denoiser, which are all that a perfect network could draw in as many steps.

# %%
panels = {"data": eight.sample(2000), "best denoiser": draw(by_tweedie, 2000, 50), "network": draw(learnt, 2000, 50)}
plots.show_points(panels, modes=points, radius=0.6)
within = {name: (torch.cdist(drawn, points).min(dim=1).values < 0.6).float().mean() for name, drawn in panels.items()}
log_p = {name: eight.log_prob(drawn).mean() for name, drawn in panels.items()}
print("modes reached:", ", ".join(f"{mode_coverage(drawn, points, radius=0.6)} by {name}" for name, drawn in panels.items()))
print(f"data within three standard deviations of a mode:          {100 * within['data']:.0f}%")
print(f"the best denoiser's samples: at most 2% fewer:            {within['data'] - within['best denoiser'] < 0.02}")
print(f"the network's: at most 8% fewer:                          {within['data'] - within['network'] < 0.08}")
print(f"their mean log p is less than 0.4 nats below the data's:  {log_p['data'] - log_p['network'] < 0.4}")

# %% [markdown]
# And the bound. Beside the sum of your terms it takes what stands at the ends: the KL of $q(x_1 \mid x)$ to $\mathcal N(0, I)$, and
# the cost of $x$ given $x_0$, for which the model has the Gaussian $\mathcal N(x_0 / \alpha_0, \sigma_0^2 / \alpha_0^2)$. The truth is the mean of
# $-\log p(x)$ of the data.

# %%
@torch.no_grad()
def cost(denoiser, x, steps=200):
    """The bound on -log p(x), averaged over the points x (B, 2), in nats."""
    n, times = len(x), torch.linspace(0, 1, steps + 1) ** 2  # small steps near 0, where SNR falls fast
    total, same_noise = torch.zeros(n), torch.Generator().manual_seed(0)  # for all denoisers
    for s, t in zip(times[:-1], times[1:]):
        levels = [*schedule(t.expand(n)), *schedule(s.expand(n))]
        eps = torch.randn(n, 2, generator=same_noise)
        x_hat = denoiser(noisy(x, eps, *levels[:2]), *levels[:2])
        total += elbo_term(x, x_hat, *levels)
    (alpha, sigma), (alpha_0, sigma_0) = schedule(torch.ones(n)), schedule(torch.zeros(n))
    prior = 0.5 * (alpha**2 * x.square().sum(dim=1) + 2 * (sigma**2 - 1 - 2 * sigma.log()))
    decoder = 1 + math.log(2 * math.pi) + 2 * (sigma_0 / alpha_0).log()  # its noise costs 1/2 a value on average
    return (prior + total + decoder).mean().item()


x = eight.sample(2000)
truth = -eight.log_prob(x).mean().item()
costs = {"best denoiser": cost(by_tweedie, x), "network": cost(learnt, x)}
print(f"the truth:     {truth:.1f} nats")
for name, nats in costs.items():
    print(f"{name:13}  {nats:.1f} nats")
print(f"the best denoiser's bound lies above the truth, by less than 0.3: {0 < costs['best denoiser'] - truth < 0.3}")
print(f"the network's lies above that:                                    {costs['network'] > costs['best denoiser']}")

# %% [markdown]
# ## What you have built
#
# A diffusion model with nothing hidden: noise in closed form, a step undone by Bayes' rule, the denoiser that no network can
# beat, a loss and a bound made of its error, and three ways to use it: to draw, to guide, and to compute a likelihood. On real images only
# the network changes. What is lost there is the truth beside it.
#
# Where to go on:
#
# - Draw with 5, 10 and 20 steps. From which number on is it the network, not the steps, that makes the errors?
# - Train with the weights 1 and SNR, all else the same. At which noise levels does the loss of v change?
# - Draw each $x_s$ from your `posterior` instead of `ddim_step`. How many steps does it take to be as good?
# - Train on 20 points of `EightGaussians` instead of fresh ones, for long. Does the network draw anything else?
# - Read `genlib/diffusion/diffusion.py`. It has your functions, with labels and levels of grey beside them.
# - Back to the lesson, [{{diffusion}} Diffusion](../notebooks/{{diffusion}}_diffusion.ipynb).
