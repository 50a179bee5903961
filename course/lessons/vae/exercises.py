# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # VAE: exercises
#
# **Can you build a VAE from nothing but tensors, and measure how far its bound lies from the truth?**
#
# Eleven steps take you there, from the likelihood of one image to a network that draws digits. They belong to lesson
# [{{vae}} VAE](../notebooks/{{vae}}_vae.ipynb), which explains the ideas; read it first, or beside this. You need one course in
# probability and one in PyTorch. All eleven steps take about 165 minutes, and putting them together at the end 15 more; stop
# after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and if that is not enough the code below it. The
# answers are in
# [solutions](../solutions/{{vae}}_vae_exercises.ipynb); later steps use your functions, so copy the answer of a step
# that you skip.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import plots
from genlib.data import binarise, independent_pixels, load

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on images this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. An image, given its code
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# A latent-variable model draws a **code** $z$, a few numbers, and then an image $x$ that fits it. A **decoder** turns
# the code into one logit $\ell_i$ a pixel. Given the code, the pixels are independent, and pixel $i$ is white with
# probability $\sigma(\ell_i)$. So
#
# $$\log p(x \mid z) = \sum_i x_i \log \sigma(\ell_i) + (1 - x_i) \log (1 - \sigma(\ell_i))
# = \sum_i x_i \ell_i - \log(1 + e^{\ell_i}).$$
#
# The second form is exact for every logit, if $\log(1 + e^{\ell})$ is computed as a whole: $e^{\ell}$ alone overflows. In the
# first, $\sigma$ rounds to 0 or 1 when a logit is large, and the logarithm becomes infinite.
#
# **Write** `bernoulli_log_prob(logits, x)`, with both of shape (..., C, H, W) and `x` of zeros and ones. It sums over
# the last three axes. The axes in front may differ: logits (n, 1, C, H, W) of n codes, with images x (B, C, H, W),
# give (n, B).
#
# <details><summary>Hint</summary>
#
# torch has a function for $\log(1 + e^{\ell})$ that does not overflow. Then sum over the last three axes, counted from
# behind: so it fits whatever stands in front, and broadcasting does the rest.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# F.softplus(logits)  # log(1 + e^logit)
# pixels.sum(dim=(-3, -2, -1))  # of pixels (..., C, H, W)
# ```
# </details>

# %%
def bernoulli_log_prob(logits, x):
    """logits and x (..., C, H, W), x zeros and ones -> log-likelihoods (...), in nats."""
    ### BEGIN SOLUTION
    return (x * logits - F.softplus(logits)).sum(dim=(-3, -2, -1))
    ### END SOLUTION


# %%
checks.vae.bernoulli_log_prob(bernoulli_log_prob)

# %% [markdown]
# Here is the lamp, a decoder that needs no training. Its code says where a lamp stands: $z_1$ moves it down, $z_2$ to the
# right. Pixels near the lamp are likely to be white. If it stands far outside the frame, the image is black.

# %%
def lamp(z):
    """Codes (..., 2) -> logits (..., 1, 8, 8)."""
    place = torch.arange(8) - 3.5
    row, column = 2 * z[..., 0, None, None], 2 * z[..., 1, None, None]
    distance = (place[:, None] - row) ** 2 + (place - column) ** 2  # (..., 8, 8), squared
    return (3 - 0.75 * distance)[..., None, :, :]


codes = torch.tensor([[-0.6, 0.8], [0.4, 1.9], [0.0, 3.2]])
x = (lamp(codes) > 0).float()  # three images: a lamp, one at the edge, and none to be seen
plots.show_rows({"probabilities": lamp(codes).sigmoid(), "x": x}, size=1.1)
print("log p(x | z), one row a code, one column an image:")
for row in bernoulli_log_prob(lamp(codes)[:, None], x):
    print("  ".join(f"{value:7.1f}" for value in row))

# %% [markdown]
# Each image is likeliest under its own code. The decoder alone says how well a code fits an image, but not which code
# to expect.

# %% [markdown]
# ## Step 2. Which code to expect
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Codes are drawn from the **prior** $p(z) = \mathcal N(0, I)$. We shall soon need other Gaussians too, all of them with
# independent entries:
#
# $$\log \mathcal N(z; \mu, \sigma^2) = \sum_{d=1}^{D} -\frac{(z_d - \mu_d)^2}{2 \sigma_d^2} - \log \sigma_d
# - \frac{1}{2} \log 2 \pi.$$
#
# The last term is a constant and matters all the same: without it the density does not integrate to one, and no number
# made from it can be compared with another model's.
#
# **Write** `gaussian_log_prob(z, mean, log_std)`, with all three of shape (..., D). It sums over the last axis alone.
#
# <details><summary>Hint</summary>
#
# Write the three terms of one entry first, then sum: in this way the constant is counted once for each entry. Of
# $\sigma$ you are given the logarithm.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# noise = (z - mean) / log_std.exp()  # (..., D)
# constant = 0.5 * math.log(2 * math.pi)  # of each entry
# ```
# </details>

# %%
def gaussian_log_prob(z, mean, log_std):
    """z, mean and log_std (..., D) -> log densities (...), in nats."""
    ### BEGIN SOLUTION
    noise = (z - mean) / log_std.exp()
    return (-0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(dim=-1)
    ### END SOLUTION


# %%
checks.vae.gaussian_log_prob(gaussian_log_prob)

# %% [markdown]
# A grid over the plane of codes turns integrals into sums: value times area, added up. A density must give one.

# %%
line = torch.linspace(-4, 4, 81)
area = 0.1**2  # of a square between neighbours
grid = torch.cartesian_prod(line, line)  # (n, 2)
zeros = torch.zeros(2)
print(f"the grid has {len(grid)} points")
print(f"the prior adds up to {(gaussian_log_prob(grid, zeros, zeros).exp() * area).sum():.3f}")

# %% [markdown]
# ## Step 3. The evidence
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# How likely is an image, whatever its code? Add up over all codes. That number is the **evidence**, the likelihood of
# the model, and what training would like to raise:
#
# $$\log p(x) = \log \int p(x \mid z)\, p(z)\, dz \;\approx\; \log \sum_{j=1}^{n} p(x \mid z_j)\, p(z_j)\, \Delta,$$
#
# where the $z_j$ are the points of a grid and $\Delta$ is the area of a square. The probabilities of images are tiny,
# and a computer rounds them to zero. So the sum stays in log-space: `torch.logsumexp` takes logarithms, adds what they
# stand for, and returns the logarithm.
#
# **Write** `log_evidence(log_likelihood, z, area)`, with log_likelihood (n, B), which is $\log p(x_b \mid z_j)$, and
# z (n, D). The prior is $\mathcal N(0, I)$. The result is (B,).
#
# <details><summary>Hint</summary>
#
# A product of three is a sum of three logarithms. Your `gaussian_log_prob` gives the prior, one number a point of the
# grid. It needs a second axis before it can be added to (n, B). Over which axis do you sum?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))  # (n,)
# torch.logsumexp(terms, dim=0)  # of terms (n, B); log_prior[:, None] is (n, 1)
# ```
# </details>

# %%
def log_evidence(log_likelihood, z, area):
    """log_likelihood (n, B), points z (n, D), area a number -> log p(x), (B,), in nats."""
    ### BEGIN SOLUTION
    log_prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))
    return torch.logsumexp(log_likelihood + log_prior[:, None] + math.log(area), dim=0)
    ### END SOLUTION


# %%
checks.vae.log_evidence(log_evidence)

# %% [markdown]
# Bayes' rule turns the same numbers into the **posterior** $p(z \mid x)$: which code made this image? In the lower row
# a point further down is a lamp further down, as in the images above.

# %%
log_likelihood = bernoulli_log_prob(lamp(grid)[:, None], x)  # (n, 3)
evidence = log_evidence(log_likelihood, grid, area)
log_prior = gaussian_log_prob(grid, zeros, zeros)[:, None]
posterior = (log_likelihood + log_prior - evidence).exp()  # (n, 3), a density in each column


def as_maps(density):
    """(n, B) on the grid -> images (B, 1, 81, 81), the largest value white."""
    return (density / density.amax(dim=0)).T.reshape(-1, 1, 81, 81)


plots.show_rows({"x": x, "p(z | x)": as_maps(posterior)}, size=1.6)
print("log p(x) =", ", ".join(f"{value:.2f}" for value in evidence))

# %% [markdown]
# The first two images say quite exactly where their lamps stand. The black one only says that the lamp is out of sight,
# on any side: its posterior is a ring.
#
# Two numbers on grids. The first says how little of the plane counts for one image, the second why grids end here.

# %%
largest = posterior[:, 0].sort(descending=True).values
needed = int(((largest.cumsum(0) * area) < 0.99).sum()) + 1
print(f"99% of the first posterior lies in {100 * needed / len(grid):.0f}% of the squares")
print(f"with 20 latents such a grid has 10^{20 * math.log10(len(line)):.0f} points")

# %% [markdown]
# ## Step 4. Draws that gradients pass
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# Instead of all codes, let us look only where the posterior might be. A Gaussian
# $q(z \mid x) = \mathcal N(\mu, \sigma^2)$ shall stand in for it, and we shall learn $\mu$ and $\sigma$, for each image
# its own. For that, gradients must pass through a random draw. The trick is to draw noise that depends on nothing, and
# to move it:
#
# $$z = \mu + \sigma \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I).$$
#
# **Write** `reparameterise(mean, log_std, k)`, with mean and log_std (B, D). It returns k draws for each image,
# (k, B, D), and every one of them has its own noise.
#
# <details><summary>Hint</summary>
#
# Draw all noise at once, with an axis of length k in front; mean (B, D) broadcasts against it. A standard deviation is
# neither its logarithm nor its square.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# noise = torch.randn(k, *mean.shape)  # (k, B, D)
# ```
# </details>

# %%
def reparameterise(mean, log_std, k):
    """mean and log_std (B, D), k a number -> draws (k, B, D)."""
    ### BEGIN SOLUTION
    return mean + log_std.exp() * torch.randn(k, *mean.shape)
    ### END SOLUTION


# %%
checks.vae.reparameterise(reparameterise)

# %% [markdown]
# What is it good for? The average of $(z - 3)^2$ under $\mathcal N(\mu, 1)$ is $(\mu - 3)^2 + 1$, and its derivative at
# $\mu = 0$ is $-6$. Your draws find it without the formula.

# %%
mean = torch.zeros(1, 1, requires_grad=True)
average = ((reparameterise(mean, torch.zeros(1, 1), 20_000) - 3) ** 2).mean()
average.backward()
print(f"the gradient from 20000 draws lies within 0.1 of -6: {abs(mean.grad.item() + 6) < 0.1}")

# %% [markdown]
# ## Step 5. What a code costs
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# If $q$ is narrow and far from the prior, it says much about the image, and that must cost something. The price is the
# Kullback-Leibler divergence. Between these two Gaussians it has a closed form:
#
# $$KL(q(z \mid x) \,\|\, p(z)) = \int q(z \mid x) \log \frac{q(z \mid x)}{p(z)}\, dz
# = \frac{1}{2} \sum_{d=1}^{D} \mu_d^2 + \sigma_d^2 - 1 - 2 \log \sigma_d.$$
#
# It is a sum over the latent dimensions, because the log densities are sums. It is zero where $q$ is the prior, and
# positive everywhere else.
#
# **Write** `kl(mean, log_std)`, with both of shape (B, D). It returns one number an image, (B,).
#
# <details><summary>Hint</summary>
#
# Of the four terms in the sum, two need log_std: what is $\sigma^2$, written with $\log \sigma$? Sum over the latents, not
# over the images.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# variance = torch.exp(2 * log_std)
# ```
# </details>

# %%
def kl(mean, log_std):
    """mean and log_std (B, D) -> KL to the prior, (B,), in nats."""
    ### BEGIN SOLUTION
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(dim=1)
    ### END SOLUTION


# %%
checks.vae.kl(kl)

# %% [markdown]
# The integral is an average under $q$, so it can be had by drawing too. Three of your functions must agree.

# %%
mean, log_std = torch.tensor([[1.0, -0.5]]), torch.tensor([[-1.0, 0.2]])
z = reparameterise(mean, log_std, 20_000)
by_draws = (gaussian_log_prob(z, mean, log_std) - gaussian_log_prob(z, zeros, zeros)).mean()
print(f"closed form: {kl(mean, log_std).item():.3f} nats")
print(f"20000 draws agree within 0.05: {abs(by_draws - kl(mean, log_std)).item() < 0.05}")

# %% [markdown]
# ## Step 6. The ELBO
#
# *Difficulty 3 of 5 · importance 5 of 5 · 20 minutes*
#
# Now put them together. The **evidence lower bound** rewards codes that explain the image, and charges for them:
#
# $$\text{ELBO}(x) = \mathbb E_{q(z \mid x)}\big[\log p(x \mid z)\big] - KL(q(z \mid x) \,\|\, p(z)) \;\le\; \log p(x).$$
#
# Both terms are sums, in nats, for one image. Average one of them over pixels and the other not, and their balance is
# off by the number of pixels. For the expectation one draw is enough: over many steps of training its noise averages
# out. The KL needs no draw: your `kl` has it in closed form.
#
# **Write** `elbo(encode, decode, x)`. `encode` maps x (B, C, H, W) to two tensors (B, D), the mean and log_std of $q$.
# `decode` maps codes (..., D) to logits (..., C, H, W). The result is (B,), from one draw an image.
#
# <details><summary>Hint</summary>
#
# Encode, draw, decode: then each of the two terms is one of your own functions. `reparameterise` returns an axis of draws
# in front, and here there is one draw.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# z = reparameterise(mean, log_std, 1)[0]  # (B, D), with mean and log_std from encode(x)
# ```
# </details>

# %%
def elbo(encode, decode, x):
    """encode: (B, C, H, W) -> mean, log_std (B, D); decode: (..., D) -> (..., C, H, W); x (B, C, H, W) -> (B,)."""
    ### BEGIN SOLUTION
    mean, log_std = encode(x)
    z = reparameterise(mean, log_std, 1)[0]
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)
    ### END SOLUTION


# %%
checks.vae.elbo(elbo)

# %% [markdown]
# Here is what it does, without any network. Each of the three images gets a mean and a log_std of its own, and gradient
# ascent on the ELBO moves them. The black image starts near one side of its ring; from the middle, all sides look the
# same. To see the curves through the noise, each image stands in the batch 100 times. **Predict before you run the cell:** which
# of the two bounds will come nearer to its $\log p(x)$, and can the other one get there, too?

# %%
means = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 2.0]], requires_grad=True)
log_stds = torch.full((3, 2), -0.5, requires_grad=True)


def encode(x):
    """The q of each image, for batches in which the three images repeat."""
    return means.repeat(len(x) // 3, 1), log_stds.repeat(len(x) // 3, 1)


optimizer = torch.optim.Adam([means, log_stds], lr=0.05)
many, history = x.repeat(100, 1, 1, 1), []
for _ in range(300):
    bound = elbo(encode, lamp, many).reshape(100, 3).mean(dim=0)
    optimizer.zero_grad()
    (-bound.sum()).backward()
    optimizer.step()
    history.append(bound.detach())

curves = torch.stack(history).T
plots.show_curves(
    {"ELBO of the lamp": curves[0], "ELBO of the black image": curves[2]},
    baselines={"log p(x) of the lamp": evidence[0], "log p(x) of the black image": evidence[2]},
    xlabel="step", ylabel="nats",
)
missing = evidence - curves[:, -50:].mean(dim=1)
print(f"the ELBO of the lamp ends less than 0.5 nats below log p(x): {missing[0] < 0.5}")
print(f"that of the black image stays 1 to 2 nats below:             {1 < missing[2] < 2}")

# %% [markdown]
# ## Step 7. The gap
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# How far below? Exactly as far as $q$ is from the posterior:
#
# $$\log p(x) - \text{ELBO}(x) = KL(q(z \mid x) \,\|\, p(z \mid x))
# = \int q(z \mid x) \log \frac{q(z \mid x)}{p(z \mid x)}\, dz, \qquad p(z \mid x) = \frac{p(x \mid z)\, p(z)}{p(x)}.$$
#
# A larger model has no posterior to compare with. Ours has: on the grid, the integral is a sum once more.
#
# **Write** `gap(log_q, log_likelihood, z, area)`. log_q and log_likelihood are (n, B), the logarithms of
# $q(z_j \mid x_b)$ and $p(x_b \mid z_j)$; z (n, D) and area are the grid's. The result is (B,), one KL an image.
#
# <details><summary>Hint</summary>
#
# Take the logarithm of Bayes' rule: your `log_evidence` is one of its three terms. The integral is an average under $q$:
# each point of the grid weighs its density times the area.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_posterior = log_likelihood + log_prior[:, None] - log_evidence(log_likelihood, z, area)  # (n, B)
# weight = log_q.exp() * area  # (n, B)
# ```
# </details>

# %%
def gap(log_q, log_likelihood, z, area):
    """log_q and log_likelihood (n, B), points z (n, D), area a number -> KL, (B,), in nats."""
    ### BEGIN SOLUTION
    log_prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))
    log_posterior = log_likelihood + log_prior[:, None] - log_evidence(log_likelihood, z, area)
    return (log_q.exp() * (log_q - log_posterior) * area).sum(dim=0)
    ### END SOLUTION


# %%
checks.vae.gap(gap)

# %% [markdown]
# Two ways to the same number. One adds up over the grid; the other needs no grid, only thousands of ELBOs from draws.

# %%
with torch.no_grad():
    log_q = gaussian_log_prob(grid[:, None], means, log_stds)  # (n, 3)
    gaps = gap(log_q, log_likelihood, grid, area)
    bound = elbo(encode, lamp, x.repeat(5000, 1, 1, 1)).reshape(5000, 3).mean(dim=0)
plots.show_rows({"p(z | x)": as_maps(posterior), "q(z | x)": as_maps(log_q.exp())}, size=1.5)
agree = (evidence - bound - gaps).abs() < 0.1
print("log p(x) - ELBO agrees with KL(q || posterior) within 0.1 nats:", agree.tolist())
print(f"the gap of the lamp is below 0.1 nats:                          {gaps[0] < 0.1}")
print(f"the gap of the black image is {gaps[2]:.1f} nats; ln 4 = {math.log(4):.1f}")

# %% [markdown]
# A Gaussian fits the first posterior well. It cannot be a ring: it settles on one side of four, and $\ln 4$ nats are the
# price of leaving out the others. More training of $q$ cannot change that; only another family could.

# %% [markdown]
# ## Step 8. More draws, a tighter bound
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# The gap can be narrowed without a better $q$. Draw k codes from $q$, and let those count less that $q$ draws too often:
#
# $$L_k(x) = \mathbb E \Big[ \log \frac{1}{k} \sum_{j=1}^{k} \frac{p(x \mid z_j)\, p(z_j)}{q(z_j \mid x)} \Big],
# \qquad \text{ELBO} = L_1 \le L_2 \le \dots \to \log p(x).$$
#
# The mean of the weights is right on average, for every k. Its logarithm is too small on average, and less so the
# larger k is. Mind the order: the logarithm of the mean, not the mean of the logarithms.
#
# **Write** `importance_bound(encode, decode, x, k)`, with `encode` and `decode` as in `elbo`. It returns (B,): for each
# image the logarithm of the mean of its k weights.
#
# <details><summary>Hint</summary>
#
# Your functions keep the axes in front, so with codes (k, B, D) all three log densities are (k, B). A weight is a product and a
# quotient, its logarithm a sum and a difference. There is no KL. The mean of k numbers is their sum divided by k: in log-space?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# z = reparameterise(mean, log_std, k)  # (k, B, D)
# torch.logsumexp(log_weight, dim=0) - math.log(k)  # the logarithm of a mean
# ```
# </details>

# %%
def importance_bound(encode, decode, x, k):
    """encode, decode and x as in elbo, k draws an image -> (B,), in nats."""
    ### BEGIN SOLUTION
    mean, log_std = encode(x)
    z = reparameterise(mean, log_std, k)  # (k, B, D)
    log_prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))
    log_weight = bernoulli_log_prob(decode(z), x) + log_prior - gaussian_log_prob(z, mean, log_std)
    return torch.logsumexp(log_weight, dim=0) - math.log(k)
    ### END SOLUTION


# %%
checks.vae.importance_bound(importance_bound)

# %% [markdown]
# Two images whose bounds lie low, for different reasons. The lamp gets a wide $q$, three times as wide as it should be.
# The black image keeps its own, which sees one side of the ring. Averages over many repetitions show where the bounds
# lie.

# %%
def wide(x):
    mean, log_std = encode(x)
    return mean, log_std + torch.tensor([math.log(3), 0.0, 0.0]).repeat(len(x) // 3)[:, None]


draws = [1, 2, 4, 8, 16, 32, 64, 128]
with torch.no_grad():
    bounds = [
        importance_bound(wide, lamp, x.repeat(25_600 // k, 1, 1, 1), k).reshape(-1, 3).mean(dim=0)
        for k in draws
    ]
bounds = torch.stack(bounds).T  # (3, 8)

# %%
plots.show_curves(
    {"lamp, wide q": bounds[0], "black image": bounds[2]},
    baselines={"log p(x) of the lamp": evidence[0], "log p(x) of the black image": evidence[2]},
    x=draws, xlabel="k, draws for each image", ylabel="nats",
)
closed = (bounds[:, -1] - bounds[:, 0]) / (evidence - bounds[:, 0])
print(f"128 draws close more than 90% of the gap of the wide q:       {closed[0] > 0.9}")
print(f"and less than 25% of the black image's:                       {closed[2] < 0.25}")

# %% [markdown]
# Draws soon make up for a $q$ that is too wide. A $q$ that hardly ever draws from the other sides of the ring would need a very
# large k. So this bound is only as good as the $q$ that draws for it.

# %% [markdown]
# ## Step 9. Draw an image
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# New images need no encoder. Follow the model from the top: a code from the prior, then the pixels given the code,
#
# $$z \sim \mathcal N(0, I), \qquad x_i \sim \text{Bernoulli}(\sigma(\ell_i(z))).$$
#
# Many papers show $\sigma(\ell)$ instead, which looks smoother. It is the mean image of a code, not a draw from the
# model.
#
# **Write** `sample(decode, n, latent_dim)`. `decode` maps z (n, D) to logits (n, C, H, W). It returns n images of zeros
# and ones, as floats.
#
# <details><summary>Hint</summary>
#
# How do you make an event of probability $p$ from a number that is uniform between 0 and 1? Every pixel needs a number of its
# own.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# white = torch.sigmoid(decode(torch.randn(n, latent_dim)))  # probabilities, (n, C, H, W)
# torch.rand_like(white)  # a number for each pixel
# ```
# </details>

# %%
@torch.no_grad()
def sample(decode, n, latent_dim):
    """decode: (n, D) -> logits (n, C, H, W) -> n images of zeros and ones, (n, C, H, W)."""
    ### BEGIN SOLUTION
    white = torch.sigmoid(decode(torch.randn(n, latent_dim)))
    return (torch.rand_like(white) < white).float()
    ### END SOLUTION


# %%
checks.vae.sample(sample)
plots.show_images(sample(lamp, 24, latent_dim=2), columns=12, size=0.65, title="drawn from the lamp")

# %% [markdown]
# ## Step 10. Grey images
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# A pixel of the original digits has $K = 17$ grey levels. A Gaussian decoder gives such an image a **density** $f(x)$,
# which is no probability: a density may be as large as it likes, and piles up on the levels if they are all there is.
# The remedy is to spread each level over a cell of width $1/K$, with noise $u_i$ that is uniform between 0 and 1. The
# density times the volume of the cell then stands for the probability of the level:
#
# $$x = \frac{\text{level} + u}{K}, \qquad
# \text{bits/dim} = -\frac{\log f(x) - CHW \log K}{CHW \ln 2}.$$
#
# On average over the noise, this is at least what the exact probabilities of the cells would cost. So it may be compared
# with PixelCNN's bits/dim, and it never flatters the density.
#
# **Write** `grey_bits(log_density, level, u, levels)`. `log_density` maps images (B, C, H, W) to $\log f(x)$, (B,);
# level holds whole numbers from 0 to K - 1, u noise of the same shape, and `levels` is K. The result is (B,).
#
# <details><summary>Hint</summary>
#
# Add the noise before you divide. $CHW$ counts all numbers of one image, colours included. The sign: bits are a cost.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# size = level[0].numel()  # C H W
# log_p = log_density((level + u) / levels) - size * math.log(levels)  # nats, (B,)
# ```
# </details>

# %%
def grey_bits(log_density, level, u, levels):
    """log_density: (B, C, H, W) -> (B,); level and u (B, C, H, W), levels a number -> bits/dim (B,)."""
    ### BEGIN SOLUTION
    size = level[0].numel()
    log_p = log_density((level + u) / levels) - size * math.log(levels)
    return -log_p / (size * math.log(2))
    ### END SOLUTION


# %%
checks.vae.grey_bits(grey_bits)

# %% [markdown]
# Two densities that know next to nothing about digits. The flat one costs $\log_2 17$ bits, as a blind guess among 17
# levels does. The other has found out that pixels often are black, and puts a needle there. Without the noise it claims
# to need fewer bits than none, which is absurd. With noise the needle hardly ever hits, and is worse than a blind guess.

# %%
level = load("digits").images


def flat(x):
    return torch.zeros(len(x))


def needle(x, log_width=-12.0):
    """Each pixel: half a flat density, half a needle at black."""
    at_zero = gaussian_log_prob(x.flatten(1)[..., None], torch.zeros(1), torch.full((1,), log_width))
    return (torch.logaddexp(at_zero, torch.zeros(())) - math.log(2)).sum(dim=1)


u = torch.rand(level.shape)
print(f"log2(17) =             {math.log2(17):5.1f}")
print(f"flat, with noise:      {grey_bits(flat, level, u, 17).mean():5.1f} bits/dim")
print(f"needle, without noise: {grey_bits(needle, level, 0 * u, 17).mean():5.1f} bits/dim")
print(f"needle, with noise:    {grey_bits(needle, level, u, 17).mean():5.1f} bits/dim")

# %% [markdown]
# ## Step 11. The weight of the KL
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# Training may put a **weight** $\beta$ on the KL (Higgins et al., 2017). The loss of a batch, to be minimised, is then
#
# $$L_\beta = \frac{1}{B} \sum_{b=1}^{B} \beta\, KL(q(z \mid x_b) \,\|\, p(z)) - \log p(x_b \mid z_b).$$
#
# With $\beta = 1$ it is minus the ELBO. Otherwise it is no bound, and what you report is still the ELBO. To see what
# a weight does, divide by it: $L_\beta / \beta$ is the loss with weight 1 where every $\log p(x \mid z)$ counts $1 / \beta$. With
# a weight of 4 four pixels say as much about a code as one did before.
#
# A latent that saves fewer nats than it costs is best left at the prior. The decoder then hears only noise from it, and
# learns to ignore it. This is **posterior collapse**, and $\beta = 1$ is not safe from it. You find such latents by their own
# part of the KL, averaged over the images:
#
# $$KL_d = \frac{1}{B} \sum_{b=1}^{B} \frac{1}{2} \big( \mu_{bd}^2 + \sigma_{bd}^2 - 1 - 2 \log \sigma_{bd} \big).$$
#
# No term is negative. So $KL_d = 0$ means that latent $d$ follows the prior for *every* image: it says nothing about any.
# Averaging $\mu$ and $\sigma$ over the images first would not do: the means of a busy latent average to nearly zero, too.
#
# **Write** `weighted_loss(log_likelihood, mean, log_std, weight)`, with log_likelihood (B,), which is
# $\log p(x_b \mid z_b)$, mean and log_std (B, D), and `weight` = $\beta$. It returns two tensors: the loss, one number, and
# all $KL_d$, (D,), which are reported and so carry no weight.
#
# <details><summary>Hint</summary>
#
# Make the KL of each latent of each image first, (B, D). The loss sums over latents and averages over images; the second
# result averages over images alone.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# each = 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std)  # (B, D); its sum is your kl
# ```
# </details>

# %%
def weighted_loss(log_likelihood, mean, log_std, weight):
    """log_likelihood (B,), mean and log_std (B, D), weight a number -> the loss, a number; KL of each latent (D,)."""
    ### BEGIN SOLUTION
    each = 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std)  # (B, D)
    return (weight * each.sum(dim=1) - log_likelihood).mean(), each.mean(dim=0)
    ### END SOLUTION


# %%
checks.vae.weighted_loss(weighted_loss)

# %% [markdown]
# Now networks are needed: a small encoder, and a small decoder. The data are handwritten digits, 8 x 8, black and white.

# %%
class MyVAE(nn.Module):
    def __init__(self, shape, latent_dim=2, width=200):
        super().__init__()
        self.shape, pixels = shape, math.prod(shape)
        self.encoder = nn.Sequential(
            nn.Linear(pixels, width), nn.ReLU(),
            nn.Linear(width, 2 * latent_dim),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, width), nn.ReLU(),
            nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, pixels),
        )

    def encode(self, x):
        return self.encoder(x.flatten(1)).chunk(2, dim=1)  # mean and log_std, (B, D) each

    def decode(self, z):
        return self.decoder(z).unflatten(-1, self.shape)


# %% [markdown]
# The same network with six latents and three weights, all else the same. **Predict before you run the cell:** which weight gives
# the best ELBO on test images, and what does a decoder draw whose latents are all dead?

# %%
train, test = binarise(load("digits")), binarise(load("digits", split="test", size=120))
x = test.floats()
alone = independent_pixels(train).log_prob(x.long()).flatten(1).sum(dim=1).mean()  # the baseline
elbos, used, rows = {}, {}, {"test images": x[:12]}
for weight in (0.1, 1.0, 4.0):
    model = MyVAE(train.shape, latent_dim=6, width=100)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(20):
        for batch, _labels in train.batches(64):
            mean, log_std = model.encode(batch)
            z = reparameterise(mean, log_std, 1)[0]
            likelihood = bernoulli_log_prob(model.decode(z), batch)
            loss, _ = weighted_loss(likelihood, mean, log_std, weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        mean, log_std = model.encode(x)
        likelihood = bernoulli_log_prob(model.decode(reparameterise(mean, log_std, 20)), x).mean(dim=0)
        loss, by_latent = weighted_loss(likelihood, mean, log_std, 1.0)
        rows[f"weight {weight:g}"] = model.decode(mean[:12]).sigmoid()
    elbos[weight], used[weight] = -loss, int((by_latent > 0.1).sum())

plots.show_rows(rows, size=0.6)
print(f"weight 0.1: {used[0.1]} of 6 latents above 0.1 nats, weight 4: {used[4.0]} of 6")
print(f"weight 1 has the best ELBO, by 2 nats or more:                  {elbos[1.0] > 2 + max(elbos[0.1], elbos[4.0])}")
print(f"at weight 4 the ELBO is that of independent pixels, within 0.5: {abs(elbos[4.0] - alone) < 0.5}")

# %% [markdown]
# With a small weight codes are cheap and images sharp, but the ELBO pays the full price for them. With a large one every image
# is decoded to the same, the mean of the data: a VAE whose latents are dead is a histogram for each pixel, at some expense.

# %% [markdown]
# ## All together: your VAE
#
# *15 minutes*
#
# Your pieces make a whole model. The encoder and the decoder are the small networks of step 11; everything else is yours,
# and nothing comes from `genlib.variational`. Two latents, so that the grid can still say the truth.

# %%
model = MyVAE(train.shape)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(60):
    for batch, _labels in train.batches(64):
        loss = -elbo(model.encode, model.decode, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

# %% [markdown]
# Three numbers for 120 test images: the bound, the importance bound with 50 draws, and the evidence itself, on a finer
# grid. They must stand in this order. The baseline to beat, independent pixels, must lie far below.

# %%
line = torch.linspace(-5, 5, 161)
grid, area = torch.cartesian_prod(line, line), (10 / 160) ** 2
with torch.no_grad():
    bound = torch.stack([elbo(model.encode, model.decode, x) for _ in range(50)]).mean(dim=0)
    tighter = importance_bound(model.encode, model.decode, x, 50)
    logits = model.decode(grid)[:, None]
    evidence = torch.cat([
        log_evidence(bernoulli_log_prob(logits, few), grid, area) for few in x.split(4)
    ])
    every_other = torch.arange(161 * 161).reshape(161, 161)[::2, ::2].flatten()
    log_likelihood = bernoulli_log_prob(logits[every_other], x[:10])
    coarse = log_evidence(log_likelihood, grid[every_other], 4 * area)

# %%
difference = (coarse - evidence[:10]).abs().max()
bound, tighter, exact = bound.mean(), tighter.mean(), evidence.mean()
print(f"a grid half as fine gives the same evidence within 0.05 nats:  {difference < 0.05}")
print(f"the ELBO is at least 0.4 nats below the importance bound:      {tighter - bound > 0.4}")
print(f"the importance bound is below the evidence:                    {tighter < exact}")
print(f"the evidence is at least 5 nats above independent pixels:      {exact - alone > 5}")
print(f"even the ELBO is at least 3.5 nats above them:                 {bound - alone > 3.5}")

# %% [markdown]
# Now look at it. First some test images, and what is left of them after two numbers; then images drawn from the prior,
# each with the mean image of another code below.

# %%
with torch.no_grad():
    again = model.decode(model.encode(x)[0]).sigmoid()
    means = model.decode(torch.randn(12, 2)).sigmoid()
drawn = sample(model.decode, 500, latent_dim=2)
plots.show_rows(
    {"test images": x[:12], "decoded": again[:12], "drawn": drawn[:12], "mean images": means},
    size=0.6,
)

# %% [markdown]
# Are the drawn images any good? Count in how many pixels an image differs from the most similar training image, and
# compare with draws of independent pixels.

# %%
def to_nearest(images):
    differ = torch.cdist(images.flatten(1), train.floats().flatten(1), p=1)
    return differ.min(dim=1).values.mean()


independent = to_nearest(independent_pixels(train).sample((500,)).float())
ours, real = to_nearest(drawn), to_nearest(x)
print(f"drawn images are nearer to a training image, by at least 2 pixels:  {independent - ours > 2}")
print(f"test images are nearer still, by at least 1 pixel:                  {ours - real > 1}")

# %% [markdown]
# With two latents the whole latent space fits on a page: down is $z_1$, to the right is $z_2$. The steps are such
# that each part of the map is equally likely under the prior. Follow a row: you move one latent and keep the other.

# %%
steps = torch.special.ndtri(torch.linspace(0.03, 0.97, 12))  # from shares of the prior to codes
with torch.no_grad():
    world = model.decode(torch.cartesian_prod(steps, steps)).sigmoid()  # (144, 1, 8, 8)
framed = F.pad(world, (1, 1, 1, 1), value=torch.nan)
page = framed.reshape(12, 12, 10, 10).permute(0, 2, 1, 3).reshape(1, 1, 120, 120)
plots.show_images(page, size=6)

# %% [markdown]
# ## What you have built
#
# A latent-variable model with everything that belongs to it: its likelihood, the evidence on a grid, a bound that trains
# it, the gap of that bound explained to the last nat, a tighter bound, and a sampler. It is small. Two latents cannot
# hold all that is in a digit, so the images are blurred: one code must serve many of them, and its mean image is
# their average.
#
# Where to go on:
#
# - Give `MyVAE` more latents. The grid is out of reach then, but `importance_bound` is not. When does the gain end?
# - Train it on `bars`, whose distribution is known. What does `genlib.metrics.bars_kl` say of the evidence on the
#   grid?
# - Train it with `weighted_loss`, and half the KL, or twice. What happens to the map, and to the evidence?
# - Read `genlib/variational/vae.py`. It has your functions, with labels beside them; other likelihoods are in `genlib/variational/likelihoods.py`.
# - Back to the lesson, [{{vae}} VAE](../notebooks/{{vae}}_vae.ipynb).
