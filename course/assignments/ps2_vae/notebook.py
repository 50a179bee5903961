# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 2: how far is a bound from the truth?
#
# A VAE is trained on a bound, and nobody sees how far below the truth that bound lies. Here you will. First you build a
# model so simple that its evidence, its posterior and its ELBO are all known in closed form, and measure what it costs
# to use the wrong $q$. Then you let $q$ have another shape than a Gaussian. In the end you train a VAE of your own, and
# its evidence on images that it has never seen is measured for you.
#
# It belongs to lessons [{{autoencoder}} Autoencoders](../../{{autoencoder}}_autoencoder.ipynb) and [{{vae}} VAE](../../{{vae}}_vae.ipynb). Do their exercises
# first. Plan 10 to 14 hours over one or two weeks, half of it with pencil and paper.
#
# | | task | points |
# | --- | --- | --- |
# | 1 | What a code costs under another prior | 4 |
# | 2 | The evidence of a linear model | 4 |
# | 3 | Its posterior, and the best Gaussian that is diagonal | 6 |
# | 4 | Its ELBO, without drawing | 5 |
# | 5 | An experiment: which latents die? | 5 |
# | 6 | A question on the experiment, in words | 5 |
# | 7 | A posterior that is not Gaussian | 4 |
# | 8 | A tighter bound for it | 5 |
# | 9 | A VAE of your own, under a budget | 7 |
# | 10 | A question on its two numbers, in words | 5 |
#
# **Points.** Tasks with code are graded by tests that you do not see. They call your function with inputs of their own:
# random numbers, other shapes, and cases that overflow where the code is careless. Points are given for parts: the values, the
# gradient, an extreme case. Each task names its parts. The cell below each task checks a little. It prints what holds
# for right code; code that passes it may still be wrong. The two written answers are read by a person.
#
# **Budget.** Your whole notebook must run within four minutes on one processor core. Ours takes less than half a minute.
# Task 9 has a budget of its own.
#
# **What you may use.** Python, torch with its distributions (not all of them survive the extreme cases), and of `genlib`
# what the cells here import. Not allowed: what `genlib.variational`, `genlib.metrics` and `course.checks` have for the
# same quantities. You may talk with others about the mathematics; code and words are your own.
#
# **Handing in.** Hand in this one notebook under its name, `ps2_vae.ipynb`. Do not rename, remove or copy cells. Before
# that, restart the kernel and run everything from top to bottom.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Independent, Normal

from course import checks
from genlib import plots
from genlib.data import binarise, load

NotImplementedError = checks.Unanswered  # a task that is still open says so in one line
torch.set_num_threads(1)
torch.manual_seed(0);

# %% [markdown]
# These constants are yours, and other classes have others. Your functions read them, and the tests expect that. In all
# tasks the prior of a code is
#
# $$p(z) = \prod_{d=1}^{D} \mathcal N(z_d;\, m, s^2), \qquad m = \texttt{PRIOR\_MEAN} = {{PRIOR_MEAN}},
# \quad s = \texttt{PRIOR\_SCALE} = {{PRIOR_SCALE}}.$$
#
# `PRIOR_SCALE` is a standard deviation. `NOISE` and `ACTIVE` are explained where they are needed.

# %% nbgrader={"grade": false, "grade_id": "variant", "locked": true, "schema_version": 3, "solution": false, "task": false} tags=["variant"]
VARIANT = 0
PRIOR_MEAN = -1.9
PRIOR_SCALE = 1.7
NOISE = 'gumbel'
ACTIVE = 0.025

# %% [markdown]
# ## Task 1. What a code costs under another prior (4 points)
#
# In the exercises the prior was $\mathcal N(0, 1)$. Now it is $\mathcal N(m, s^2)$ in every dimension, and the posterior
# of an image is $q(z) = \prod_d \mathcal N(z_d;\, \mu_d, \sigma_d^2)$. Derive
#
# $$KL(q \,\|\, p) = \int q(z) \log \frac{q(z)}{p(z)}\, dz$$
#
# in closed form. Start from $E_q[(z_d - m)^2] = \sigma_d^2 + (\mu_d - m)^2$.
#
# **Write** `kl(mean, log_std)`. Both have the shape (..., D), with any number of axes in front; `log_std` is
# $\log \sigma$. It returns nats, one number a code, of the shape (...).
#
# Parts: the values (2), the gradient with respect to both arguments (1), an extreme case (1): `log_std` may be as low as -65
# in float32, where $\sigma^2$ is no number that float32 could tell from zero, but the divergence is an ordinary one.

# %% nbgrader={"grade": false, "grade_id": "kl-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def kl(mean, log_std):
    ### BEGIN SOLUTION
    var, prior_var = torch.exp(2 * log_std), PRIOR_SCALE**2
    each = math.log(PRIOR_SCALE) - log_std + (var + (mean - PRIOR_MEAN) ** 2) / (2 * prior_var) - 0.5
    return each.sum(dim=-1)
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "kl-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
as_prior = torch.full((2, 3), PRIOR_MEAN), torch.full((2, 3), math.log(PRIOR_SCALE))
print("what the prior itself costs, for two codes:", kl(*as_prior).abs().tolist())
half = kl(as_prior[0][:1, :1], as_prior[1][:1, :1] - math.log(2))
print(f"one number, half as wide as the prior: {half.item():.4f} nats, by hand 0.3181")

# %% nbgrader={"grade": true, "grade_id": "kl", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "kl", kl, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 2. The evidence of a linear model (4 points)
#
# Take a decoder without any hidden layer. Images are vectors of N pixels, and
#
# $$z_d \sim \mathcal N(m, s^2), \qquad x \mid z \sim \mathcal N(W z + b,\, \sigma^2 I).$$
#
# With the right W this is probabilistic PCA (Tipping and Bishop, 1999). The evidence is an integral over all codes, and for
# once it has a closed form: x is a sum of Gaussian things, so x is Gaussian. Find its mean and its covariance. Then
#
# $$\log p(x) = \log \mathcal N(x;\, \text{mean}, \text{covariance}).$$
#
# **Write** `log_evidence(x, weight, bias, log_noise)`. x is (B, N), weight is W, (N, D), bias is b, (N,), and log_noise is
# $\log \sigma$, a tensor without axes. D may be larger than N. It returns nats with every constant, one number an image, (B,).
#
# Parts: the values (3), an extreme case (1): with hundreds of pixels and little noise the determinant of the covariance is
# far too small for floating point, and its logarithm is not. All tensors of tasks 2 to 5 are float64.

# %% nbgrader={"grade": false, "grade_id": "log_evidence-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def log_evidence(x, weight, bias, log_noise):
    ### BEGIN SOLUTION
    n = len(bias)
    center = bias + PRIOR_MEAN * weight.sum(dim=1)
    noise = torch.exp(2 * log_noise) * torch.eye(n, dtype=x.dtype)
    covariance = PRIOR_SCALE**2 * weight @ weight.T + noise
    root = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(root, (x - center).T, upper=False)  # (N, B)
    log_det = 2 * root.diagonal().log().sum()
    return -0.5 * (white.square().sum(dim=0) + log_det + n * math.log(2 * math.pi))
    ### END SOLUTION

# %% [markdown]
# A small model to play with: three pixels and two latents, whose columns of W are not orthogonal. A density adds up to one,
# also yours: here with one pixel, added up over a fine grid.

# %% nbgrader={"grade": false, "grade_id": "log_evidence-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
weight = torch.tensor([[1.0, 0.8], [0.6, 1.0], [0.2, 0.9]], dtype=torch.float64)
bias = torch.tensor([0.5, -0.5, 0.0], dtype=torch.float64)
log_noise = torch.tensor(-0.7, dtype=torch.float64)
x = torch.tensor([[0.0, 1.0, 1.0], [2.0, -1.0, 0.5]], dtype=torch.float64)

line = torch.linspace(-60, 60, 24001, dtype=torch.float64)[:, None]
density = log_evidence(line, weight[:1], bias[:1], log_noise).exp()
print(f"one pixel, added up over the line: {density.sum() * 0.005:.4f}")
print("shape for two images of three pixels:", tuple(log_evidence(x, weight, bias, log_noise).shape))

# %% nbgrader={"grade": true, "grade_id": "log_evidence", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "log_evidence", log_evidence, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 3. Its posterior, and the best Gaussian that is diagonal (6 points)
#
# Bayes' rule gives $p(z \mid x) = p(x \mid z)\, p(z) / p(x)$. As a function of z its logarithm is quadratic, so the
# posterior of the linear model is a Gaussian, $\mathcal N(\mu, \Sigma)$. Complete the square: the terms with $z^\top z$ give
# $\Sigma^{-1}$, the terms with $z$ give $\Sigma^{-1} \mu$. Do not forget the mean of the prior.
#
# $\Sigma$ need not be diagonal, but the $q$ of a VAE is. So the best it can do is the minimum of
#
# $$KL\Big(\prod_d \mathcal N(z_d;\, \nu_d, \tau_d^2) \,\Big\|\, \mathcal N(z;\, \mu, \Sigma)\Big)$$
#
# over $\nu$ and $\tau$. Its mean is $\nu = \mu$. Find $\tau$: write down what depends on $\tau_d$ and set the derivative to zero.
# Which entries of $\Sigma$, or of its inverse, remain?
#
# **Write** `posterior(x, weight, bias, log_noise)`, with arguments as in task 2. It returns three tensors: the mean $\mu$
# of each image, (B, D), the covariance $\Sigma$, (D, D), and $\log \tau$, (D,).
#
# Parts: the mean (2), the covariance (2), $\log \tau$ (2).

# %% nbgrader={"grade": false, "grade_id": "posterior-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def posterior(x, weight, bias, log_noise):
    ### BEGIN SOLUTION
    identity, var = torch.eye(weight.shape[1], dtype=x.dtype), torch.exp(2 * log_noise)
    precision = weight.T @ weight / var + identity / PRIOR_SCALE**2
    linear = (x - bias) @ weight / var + PRIOR_MEAN / PRIOR_SCALE**2  # (B, D)
    mean = torch.linalg.solve(precision, linear.T).T
    return mean, torch.linalg.inv(precision), -0.5 * precision.diagonal().log()
    ### END SOLUTION

# %% [markdown]
# Bayes' rule must hold at every z. So $\log p(x \mid z) + \log p(z) - \log p(z \mid x)$ is the same number for all codes, and
# you know which.

# %% nbgrader={"grade": false, "grade_id": "posterior-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
mean, covariance, log_tau = posterior(x, weight, bias, log_noise)
z = torch.randn(500, 1, 2, dtype=torch.float64)
likelihood = Independent(Normal(z @ weight.T + bias, log_noise.exp()), 1).log_prob(x)  # (500, 2)
prior = Independent(Normal(torch.full_like(z, PRIOR_MEAN), PRIOR_SCALE), 1).log_prob(z)
exact = torch.distributions.MultivariateNormal(mean, covariance).log_prob(z)
by_bayes = likelihood + prior - exact
agree = torch.allclose(by_bayes, log_evidence(x, weight, bias, log_noise).expand(500, 2))
print(f"Bayes' rule gives the evidence of both images at all of 500 codes: {agree}")

# %% nbgrader={"grade": true, "grade_id": "posterior", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "posterior", posterior, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 4. Its ELBO, without drawing (5 points)
#
# Let each image have its own diagonal $q(z) = \prod_d \mathcal N(z_d;\, \mu_d, \tau_d^2)$, any one, not only the best. The
# lesson estimates $E_q[\log p(x \mid z)]$ with draws. In the linear model the expectation is known. Put $z = \mu + \tau
# \varepsilon$ into $\| x - b - W z \|^2$, multiply out, and take the expectation of each term. What remains of those that are
# linear in $\varepsilon$? Of those that are quadratic?
#
# $$\text{ELBO}(x) = E_q[\log p(x \mid z)] - KL(q \,\|\, p)$$
#
# **Write** `linear_elbo(x, weight, bias, log_noise, mean, log_std)`. mean and log_std are $\mu$ and $\log \tau$, (B, D); the
# rest is as in task 2. It returns nats with every constant, one number an image, (B,), and draws nothing. You may call `kl`.
#
# Parts: the values (3), the gradient with respect to weight, bias, log_noise, mean and log_std (2).

# %% nbgrader={"grade": false, "grade_id": "linear_elbo-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_elbo(x, weight, bias, log_noise, mean, log_std):
    ### BEGIN SOLUTION
    decoded = mean @ weight.T + bias  # (B, N)
    spread = torch.exp(2 * log_std) @ weight.square().sum(dim=0)  # (B,), squared distance from `decoded`
    error = (x - decoded).square().sum(dim=1) + spread
    constant = x.shape[1] * (log_noise + 0.5 * math.log(2 * math.pi))
    return -error / (2 * torch.exp(2 * log_noise)) - constant - kl(mean, log_std)
    ### END SOLUTION

# %% [markdown]
# Three things that must hold. With a single latent the posterior is diagonal, so the right $q$ leaves no gap. With two
# latents a gap remains, and it is the same for both images, since $\Sigma$ does not depend on x. And no other width than your
# $\tau$ does better: the figure stretches it by a factor.

# %% nbgrader={"grade": false, "grade_id": "linear_elbo-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
one = x, weight[:, :1], bias, log_noise
at, _, width = posterior(*one)
gap = log_evidence(*one) - linear_elbo(*one, at, width.expand(2, 1))
print("the gap with one latent: ", [f"{abs(nats):.4f}" for nats in gap.tolist()])

two = x, weight, bias, log_noise
factors = torch.linspace(0.4, 2, 81, dtype=torch.float64)
bounds = torch.stack([linear_elbo(*two, mean, (log_tau + f.log()).expand(2, 2))[0] for f in factors])
gap = log_evidence(*two) - linear_elbo(*two, mean, log_tau.expand(2, 2))
print("the gap with two latents: the same for both images:", torch.allclose(gap[0], gap[1]))
print(f"the best factor for the width: {factors[bounds.argmax()]:.2f}")
plots.show_curves(
    {"ELBO": bounds}, x=factors, baselines={"log p(x)": log_evidence(*two)[0]},
    xlabel="width of q, times your standard deviation", ylabel="nats",
)

# %% nbgrader={"grade": true, "grade_id": "linear_elbo", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "linear_elbo", linear_elbo, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 5. An experiment: which latents die? (5 points)
#
# Large VAEs often leave latents unused: their posterior is the prior, whatever the image. This is called posterior collapse, and
# many papers blame the bound, or the encoder. Your linear model has the exact posterior and no gap worth the name. Do its
# latents die too?
#
# Fix the noise $\sigma$ of the decoder, as a constant weight on the squared error does, and give the model its best W and b.
# Let $\lambda_1 \ge \lambda_2 \ge \dots$ be the eigenvalues of the covariance of the images, divided by their number B (not
# by B - 1), and $u_1, u_2, \dots$ its eigenvectors of length 1. The likelihood of all images is highest for (Tipping and Bishop, 1999,
# equation 7, with our prior)
#
# $$W = \frac{1}{s} \Big( \sqrt{(\lambda_1 - \sigma^2)^+}\; u_1, \;\dots,\; \sqrt{(\lambda_D - \sigma^2)^+}\; u_D \Big),
# \qquad b = \bar x - m \sum_d w_d,$$
#
# where $(a)^+$ is a, or 0 if a is negative, $\bar x$ the mean image, and $w_d$ the columns of W.
#
# Measure three things for each $\sigma$, on the same images:
#
# - the **squared error**: decode the posterior mean of each image; sum the squares of the difference to x over the
#   pixels, average over the images;
# - the **divergence**: the KL of each posterior from the prior, in nats, averaged over the images. The columns of W
#   are orthogonal, so the posterior is diagonal and your `kl` applies;
# - the number of **active units** (Burda, Grosse and Salakhutdinov, 2016): latent d is active if its posterior mean varies
#   from image to image, with a variance above {{ACTIVE}} times the variance of the prior. The threshold is the constant `ACTIVE`;
#   divide by B in this variance too.
#
# **Write** `sweep(x, latent_dim, noises)`, with x (B, N), latent_dim an int of at most N, and noises (K,), the values of $\sigma$
# (not its logarithm), in any order. It returns three tensors (K,): squared error, divergence, number of active units, the last
# as floats too. All latents may be dead.
#
# Parts: the squared error (2), the divergence (1), the active units (2).

# %% nbgrader={"grade": false, "grade_id": "sweep-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sweep(x, latent_dim, noises):
    ### BEGIN SOLUTION
    center = x.mean(dim=0)
    eigenvalues, vectors = torch.linalg.eigh((x - center).T @ (x - center) / len(x))  # rising
    eigenvalues, vectors = eigenvalues.flip(0)[:latent_dim], vectors.flip(1)[:, :latent_dim]
    rows = []
    for noise in noises:
        weight = vectors * (eigenvalues - noise**2).clamp(min=0).sqrt() / PRIOR_SCALE
        bias = center - PRIOR_MEAN * weight.sum(dim=1)
        mean, _, log_std = posterior(x, weight, bias, noise.log())
        error = (x - bias - mean @ weight.T).square().sum(dim=1).mean()
        active = mean.var(dim=0, correction=0) > ACTIVE * PRIOR_SCALE**2
        divergence = kl(mean, log_std.expand_as(mean)).mean()
        rows.append(torch.stack([error, divergence, active.sum().double()]))
    return tuple(torch.stack(rows).T)
    ### END SOLUTION

# %% [markdown]
# Now with handwritten digits and 16 latents. The figures have the noise on a logarithmic axis.

# %% nbgrader={"grade": false, "grade_id": "sweep-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
pixels = load("digits").floats().flatten(1).double()  # (1437, 64), grey
noises = torch.logspace(-1.5, 0.1, 129, dtype=torch.float64)
error, divergence, active = sweep(pixels, 16, noises)

base_ten = [noise.log10().item() for noise in noises]
axis = {"x": base_ten, "xlabel": "log10 of the decoder's noise"}
curves = {"divergence, nats": divergence, "active units, of 16": active}
plots.show_curves(curves, **axis, ylabel="nats, or units")
plots.show_curves({"squared error": error}, **axis, ylabel="summed over pixels")

# %% nbgrader={"grade": false, "grade_id": "sweep-claims", "locked": true, "schema_version": 3, "solution": false, "task": false}
ends = active.int().tolist()
print(f"active units: {ends[0]} at the least noise, {ends[-1]} at the most")
print("more noise never revives a latent:", bool((active.diff() <= 0).all()))
print("more noise never lowers the error:", bool((error.diff() >= -1e-9).all()))

# %% nbgrader={"grade": true, "grade_id": "sweep", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "sweep", sweep, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 6. Why do they die? (5 points, in words)
#
# A colleague trains a VAE with 16 latents, a Gaussian decoder and a fixed $\sigma$. Four latents are active. "The ELBO
# is to blame," she says, "my encoder is too weak." In 100 to 200 words:
#
# 1. What decides in your experiment whether a latent lives, and can the bound or the encoder be to blame there?
# 2. Which quantity would you let her learn instead of fixing it, and why would that help?
# 3. Another colleague pays no KL for the first 0.5 nats of each latent ("free bits"): the loss has
#    $\sum_d \max(0.5, KL_d)$ in place of $\sum_d KL_d$. Does minus his loss still lie below $\log p(x)$? And what is lost when
#    the KL is multiplied by 0.5 instead?

# %% [markdown] nbgrader={"grade": true, "grade_id": "collapse", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# 1. A latent lives if the variance of the images along its direction exceeds the noise: $\lambda_d > \sigma^2$. The posterior
#    is exact and diagonal there, so the ELBO equals the evidence and there is no gap to blame; a stronger encoder
#    has nothing to improve. The latents die because the likelihood itself is highest with zero columns: what the noise
#    explains already is not worth a code.
# 2. $\sigma$. With the noise at its own optimum (the average of the variances that no latent explains) it shrinks as the
#    decoder gets better, and more directions stand out above it. A fixed and too large $\sigma$ is a fixed and too large
#    weight on the KL.
# 3. Free bits: yes. $\max(0.5, KL_d) \ge KL_d$, so minus the loss is at most the ELBO, and that is at most $\log p(x)$;
#    only it is looser. With half the KL, minus the loss lies above the ELBO, and may lie above $\log p(x)$. It is no bound
#    any more, and the ELBO must be computed anew, with the whole KL, to report anything.
#
# ### BEGIN MARK SCHEME
# **Rubric, 5 points.**
# - 1 point: names the comparison of the data's variance along the latent's direction ($\lambda_d$) with the noise $\sigma^2$.
# - 1 point: says that in the experiment the posterior is exact (no gap), so neither bound nor encoder is to blame.
# - 1 point: learn $\sigma$ (or choose it by likelihood); a reason that fits. Half for "lower the noise" without a reason.
# - 1 point: free bits remain a valid lower bound, because the maximum only adds to the cost.
# - 1 point: half the KL is no lower bound on the evidence; figures need the full KL.
# Take off half a point for an answer of more than 250 words. Wrong additions cancel the point that they contradict.
# ### END MARK SCHEME
# ### END SOLUTION

# %% [markdown]
# ## Task 7. A posterior that is not Gaussian (4 points)
#
# Gradients pass through a draw whenever it is a smooth function of noise that depends on nothing. The Gaussian is only
# the best-known case. If u is uniform between 0 and 1, the **inverse distribution function** turns it into any one-dimensional
# distribution. Your noise is **{{NOISE}}** (the constant `NOISE`). In their standard forms the three families of this
# course are
#
# | `NOISE` | density | distribution function | mean | variance |
# | --- | --- | --- | --- | --- |
# | laplace | $\frac12 e^{-\lvert y \rvert}$ | $\frac12 e^{y}$ below 0, else $1 - \frac12 e^{-y}$ | 0 | 2 |
# | logistic | $e^{-y} / (1 + e^{-y})^2$ | $1 / (1 + e^{-y})$ | 0 | $\pi^2 / 3$ |
# | gumbel | $e^{-y - e^{-y}}$ | $e^{-e^{-y}}$ | 0.5772156649 | $\pi^2 / 6$ |
#
# The encoder returns mean and log_std as always, and they shall be exactly that: every entry of z has that mean and that
# standard deviation. The standard forms do not have mean 0 and standard deviation 1. So move and stretch.
#
# **Write** `draw(mean, log_std, u)`, with mean and log_std (B, D) and u (k, B, D) strictly between 0 and 1. It returns z (k,
# B, D): each entry is the u-quantile of its distribution. So z rises with u.
#
# Parts: the values (2), the gradient with respect to mean and log_std (1), an extreme case (1): u as small as $10^{-30}$ or as
# near 1 as float32 allows. Only your family is asked for.

# %% nbgrader={"grade": false, "grade_id": "draw-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def draw(mean, log_std, u):
    ### BEGIN SOLUTION
    if NOISE == "laplace":
        near = torch.minimum(u, 1 - u)
        y = torch.sign(u - 0.5) * -torch.log(2 * near) / math.sqrt(2)
    elif NOISE == "logistic":
        y = (torch.log(u) - torch.log1p(-u)) * math.sqrt(3) / math.pi
    else:
        y = (-torch.log(-torch.log(u)) - 0.5772156649) * math.sqrt(6) / math.pi
    return mean + torch.exp(log_std) * y
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "draw-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
u = (torch.arange(200_000) + 0.5) / 200_000  # every quantile once
z = draw(torch.tensor([[3.0]]), torch.tensor([[math.log(0.5)]]), u[:, None, None])
print("shape:", tuple(z.shape))
print(f"mean {z.mean():.2f}, asked for 3.00; standard deviation {z.std():.2f}, asked for 0.50")

# %% nbgrader={"grade": true, "grade_id": "draw", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "draw", draw, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 8. A tighter bound for it (5 points)
#
# For such a $q$ the KL has no closed form that you would want to derive. The importance-weighted bound of the exercises needs
# none. It needs the densities at the codes that were drawn:
#
# $$L_k(x) = \log \frac{1}{k} \sum_{j=1}^{k} \frac{p(x \mid z_j)\, p(z_j)}{q(z_j \mid x)}, \qquad z_j \sim q(z \mid x).$$
#
# Here $p(z)$ is the prior of this problem set, and $q$ the density of `NOISE` with mean `mean` and standard deviation
# $e^{\texttt{log\_std}}$ in each dimension. Derive it from the table: what does stretching do to a density?
#
# **Write** `importance_bound(log_likelihood, z, mean, log_std)`. log_likelihood is $\log p(x_b \mid z_{jb})$, (k, B), z are the
# codes, (k, B, D), mean and log_std (B, D). It returns $L_k$ in nats for each image, (B,).
#
# Parts: the values (3), the gradient with respect to log_likelihood, mean and log_std (1), extreme cases (1): log-likelihoods of
# thousands of nats, and, in float32, codes a hundred standard deviations from the mean of q. (For gumbel to the right only: on
# the left there is almost nothing.)

# %% nbgrader={"grade": false, "grade_id": "importance_bound-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def importance_bound(log_likelihood, z, mean, log_std):
    ### BEGIN SOLUTION
    log_prior = Normal(PRIOR_MEAN, PRIOR_SCALE).log_prob(z).sum(dim=-1)
    y = (z - mean) / torch.exp(log_std)  # mean 0 and standard deviation 1
    if NOISE == "laplace":
        log_density = -math.sqrt(2) * y.abs() - 0.5 * math.log(2)
    elif NOISE == "logistic":
        scale = math.sqrt(3) / math.pi
        log_density = -y / scale - 2 * F.softplus(-y / scale) - math.log(scale)
    else:
        scale = math.sqrt(6) / math.pi
        standard = y / scale + 0.5772156649
        log_density = -standard - torch.exp(-standard) - math.log(scale)
    log_q = (log_density - log_std).sum(dim=-1)
    return torch.logsumexp(log_likelihood + log_prior - log_q, dim=0) - math.log(len(z))
    ### END SOLUTION

# %% [markdown]
# The linear model knows its evidence, so you can see how the bound climbs. Here $q$ has the wrong shape and no correlation. It
# gets the posterior's mean and twice your best width: codes that $q$ misses are never made up for, while a wide $q$ only wastes draws.
# Try `STRETCH = 0.5` too.

# %% nbgrader={"grade": false, "grade_id": "importance_bound-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
STRETCH = 2.0


def average_bound(k, repeats=20_000):
    """The mean of L_k for the first image of the linear model."""
    n = repeats // k + 400  # repetitions stand in the batch
    at, width = mean[:1].expand(n, 2), (log_tau + math.log(STRETCH)).expand(n, 2)
    z = draw(at, width, torch.rand(k, n, 2, dtype=torch.float64).clamp(1e-12, 1 - 1e-12))
    likelihood = Independent(Normal(z @ weight.T + bias, log_noise.exp()), 1).log_prob(x[0])
    return importance_bound(likelihood, z, at, width).mean().item()


counts = [1, 2, 4, 8, 16, 32, 64, 128, 256]
bounds = [average_bound(k) for k in counts]
evidence = log_evidence(*two)[0].item()
plots.show_curves(
    {"$L_k$": bounds}, x=[math.log2(k) for k in counts],
    baselines={"log p(x)": evidence, "ELBO of the best diagonal Gaussian": (evidence - gap[0]).item()},
    xlabel="log2 of k, draws for each image", ylabel="nats",
)
print("one draw is below 16, and 16 are below 256:", bounds[0] < bounds[4] < bounds[8])
print(f"256 draws end within 0.1 nats of the evidence: {abs(evidence - bounds[8]) < 0.1}")

# %% nbgrader={"grade": true, "grade_id": "importance_bound", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "importance_bound", importance_bound, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 9. A VAE of your own, under a budget (7 points)
#
# The data are the digits in black and white, 8 x 8. You get 2000 batches of 64 training images, and that is the budget:
# **one update of the networks for each batch**. The networks, the optimiser and its learning rates are your choice. Ours has two
# small networks and takes about five seconds.
#
# Two things are fixed. The code has **two** numbers, whose prior is $\mathcal N({{PRIOR_MEAN}}, {{PRIOR_SCALE}}^2)$ each, and
# $q(z \mid x)$ is a diagonal Gaussian. The decoder gives one logit a pixel, and the pixels are independent given the code.
#
# **Write** `train_model(batches)`. `batches` yields images (64, 1, 8, 8) of zeros and ones, as floats. It returns two functions:
#
# - `encode(x)`, images (B, 1, 8, 8) -> a tuple of mean and log_std of $q$, (B, 2) each;
# - `decode(z)`, codes (n, 2) -> logits (n, 1, 8, 8).
#
# Both are done with training when you return them, and say the same of an input whatever else is in the batch.
#
# **How it is graded.** The grader asks your decoder about some 2,500 codes on a grid over the plane, and your encoder about the 360
# images of the test split. From these numbers alone it computes, outside of your notebook, two averages over the test images: the evidence
# $\log p(x)$, by adding up over the grid, and the ELBO. With two latents nothing needs to be estimated, and your own estimate is not
# used. Independent pixels have -25.1 nats.
#
# Parts: an image or a code gets the same answer whatever else is in the batch (1), evidence of at least -19.3 nats (3), ELBO of at least -20.6
# nats (3). Do not train on the test split: a person looks at what you do here.

# %% nbgrader={"grade": false, "grade_id": "budget", "locked": true, "schema_version": 3, "solution": false, "task": false}
UPDATES = 2000
digits = binarise(load("digits"))


def batches():
    """UPDATES batches of 64 training images, (64, 1, 8, 8) of zeros and ones."""
    generator, left = torch.Generator().manual_seed(VARIANT), UPDATES
    while True:
        for images, _labels in digits.batches(64, generator=generator):
            if len(images) < 64:
                continue
            if left == 0:
                return
            left -= 1
            yield images

# %% nbgrader={"grade": false, "grade_id": "model-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_model(batches):
    ### BEGIN SOLUTION
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 4))
    decoder = nn.Sequential(
        nn.Linear(2, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(),
        nn.Linear(200, 64), nn.Unflatten(1, (1, 8, 8)),
    )

    # the networks work in units of the prior, so that they start where codes are
    def encode(x):
        mean, log_std = encoder(x - 0.5).chunk(2, dim=1)
        return PRIOR_MEAN + PRIOR_SCALE * mean, math.log(PRIOR_SCALE) + log_std

    def decode(z):
        return decoder((z - PRIOR_MEAN) / PRIOR_SCALE)

    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=UPDATES)
    for x in batches:
        mean, log_std = encode(x)
        logits = decode(mean + torch.exp(log_std) * torch.randn_like(mean))
        log_likelihood = (x * logits - F.softplus(logits)).sum(dim=(1, 2, 3))
        loss = (kl(mean, log_std) - log_likelihood).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return encode, decode
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "train", "locked": true, "schema_version": 3, "solution": false, "task": false}
def trained(what, values):
    """What the grader calls: codes -> logits, images -> mean and log_std."""
    with torch.no_grad():
        return decode(values) if what == "codes" else encode(values)


torch.manual_seed(VARIANT)
encode, decode = train_model(batches())

# %% [markdown]
# Look at it: test images, what is left of them after two numbers, and images of codes drawn from the prior. The figures below
# it are your own estimate of the ELBO, on a part of the training images. The grader's is for images that you did not train on, so expect it to be lower.

# %% nbgrader={"grade": false, "grade_id": "model-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
some = binarise(load("digits", "test", size=12)).floats()
drawn = PRIOR_MEAN + PRIOR_SCALE * torch.randn(12, 2)
plots.show_rows(
    {
        "test images": some,
        "decoded": trained("codes", trained("images", some)[0]).sigmoid(),
        "from the prior": trained("codes", drawn).sigmoid(),
    },
    size=0.6,
)
seen = digits.floats()[:500]
mean, log_std = trained("images", seen)
logits = trained("codes", mean + log_std.exp() * torch.randn_like(mean))
bound = (seen * logits - F.softplus(logits)).sum(dim=(1, 2, 3)) - kl(mean, log_std)
print("the ELBO of 500 training images, in nats, is above -20.6:", bool(bound.mean() > -20.6))

# %% nbgrader={"grade": true, "grade_id": "model", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in

hand_in("ps2_vae", "model", trained, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 10. Two numbers of one model (5 points, in words)
#
# The grader measures two numbers of your VAE on the test images: an evidence of, say, -18.3 nats and an ELBO of -19.5 nats. In 100
# to 200 words:
#
# 1. What exactly is the difference of 1.2 nats? Name two changes that could make it smaller. Say for each whether it can change
#    the evidence, and whether it helps one who only wants to draw images.
# 2. A classmate trains on the same black and white digits with squared error plus KL and reports "a log-likelihood of +120 nats".
#    How do you know without running anything that this is no log-likelihood of these images? What did he probably compute?

# %% [markdown] nbgrader={"grade": true, "grade_id": "two-numbers", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# 1. It is the divergence of $q(z \mid x)$ from the true posterior $p(z \mid x)$, averaged over the test images. A better encoder
#    (larger, trained longer, or fitted anew to each test image) or a richer family of $q$ makes it smaller. With the decoder
#    held fixed neither changes the evidence, which depends on prior and decoder alone, so samples stay as they are. Trained
#    together, a better $q$ lets the decoder use posteriors that it avoided before, and the evidence may rise. More
#    importance samples tighten the reported bound without touching $p$ or $q$. A decoder whose posteriors are nearer to
#    diagonal Gaussians closes the gap too, and does change the evidence, for better or worse.
# 2. An image of 64 black or white pixels has a probability, which is at most 1, so its logarithm is never positive. He computed a
#    density: a Gaussian decoder with a small $\sigma$ on values that are exactly 0 or 1 can make its density as high as it
#    likes. Such a number cannot be compared with ours.
#
# ### BEGIN MARK SCHEME
# **Rubric, 5 points.**
# - 1 point: the gap is $KL(q(z \mid x) \| p(z \mid x))$, in this direction, averaged over images.
# - 1 point: two changes that fit (better or refined encoder, richer family, importance weights, regularised decoder, ...).
# - 1 point: for each says correctly whether the evidence changes; sampling uses prior and decoder alone.
# - 1 point: a log-probability of discrete images is never positive.
# - 1 point: he reports a density (Gaussian, small $\sigma$, perhaps without its constants), or a loss without its normaliser.
# Accept the claim that joint training changes the evidence too, if it is argued. Take off half a point for more than 250 words.
# ### END MARK SCHEME
# ### END SOLUTION

# %% [markdown]
# ## References
#
# - M. Tipping and C. Bishop, *Probabilistic principal component analysis*, Journal of the Royal Statistical Society B, 1999.
# - D. Kingma and M. Welling, *Auto-encoding variational Bayes*, 2014, arXiv:1312.6114.
# - Y. Burda, R. Grosse and R. Salakhutdinov, *Importance weighted autoencoders*, 2016, arXiv:1509.00519.
# - J. Lucas, G. Tucker, R. Grosse and M. Norouzi, *Don't blame the ELBO! A linear VAE perspective on posterior collapse*, 2019,
#   arXiv:1911.02469. Read it after task 6.
# - D. Kingma and others, *Improving variational inference with inverse autoregressive flow*, 2016, arXiv:1606.04934: free bits,
#   in its appendix.
