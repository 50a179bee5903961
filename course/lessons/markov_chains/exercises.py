# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Markov chains: exercises
#
# **Can you train a model whose likelihood you cannot compute, and then compute it all the same?**
#
# Eleven steps take you there, from a table of twelve numbers to a restricted Boltzmann machine of your own, whose
# $\log Z$ you know in two ways. They belong to lesson [{{markov_chains}} Markov chains](../notebooks/{{markov_chains}}_markov_chains.ipynb), which
# explains the ideas; read it first, or beside this. You need one course in probability and one in PyTorch. All eleven
# steps take about 165 minutes, and putting them together at the end 15 more; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and then the code below it. The answers are in
# [solutions](../solutions/{{markov_chains}}_markov_chains_exercises.ipynb); later steps use your functions, so copy the answer of a
# step that you skip.

# %%
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import data, plots
from genlib.markov import RBM, annealed_importance
from genlib.metrics import bars_counts, bars_kl

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on models this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. A Gibbs step on a table
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# Two variables, $x$ with $K$ values and $h$ with $L$, and a table of their joint probabilities $p(x, h)$. To draw from
# it, **Gibbs sampling** alternates: draw $h$ given $x$, then a new $x'$ given $h$. That is one step. It needs
# conditionals only, and those need no constant in front of $p$.
#
# $$p(h \mid x) = \frac{p(x, h)}{\sum_{h'} p(x, h')}, \qquad
# T_{x x'} = \sum_h p(h \mid x)\, p(x' \mid h).$$
#
# $T$ is the **transition matrix**. Row $x$ says where a chain that stands at $x$ goes next, so each row sums to one.
#
# **Write** `gibbs_matrix(joint)`. The table is (K, L): a row for each $x$, a column for each $h$, all entries above
# zero. It returns $T$, (K, K).
#
# <details><summary>Hint</summary>
#
# $p(h \mid x)$ and $p(x \mid h)$ come from the same table: in one the rows sum to one, in the other the columns. The sum over
# $h$ is a matrix product; one of the two must be transposed for it.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# h_given_x = joint / joint.sum(dim=1, keepdim=True)  # each row divided by its sum, (K, L)
# ```
# </details>

# %%
def gibbs_matrix(joint):
    """joint (K, L), all above zero -> T (K, K): where a chain at x goes in one sweep."""
    ### BEGIN SOLUTION
    h_given_x = joint / joint.sum(dim=1, keepdim=True)
    x_given_h = joint / joint.sum(dim=0, keepdim=True)
    return h_given_x @ x_given_h.T
    ### END SOLUTION


# %%
checks.markov_chains.gibbs_matrix(gibbs_matrix)

# %% [markdown]
# Two things make this useful. If $x$ already follows $p(x)$, it still does after a sweep. And from anywhere else, the
# sweeps lead there. How fast depends on the table. In both tables below $x$ is 0 or 1 with probability one half. In the
# second one $x$ and $h$ nearly always agree, so a chain that is at 0 will stay there for long.
#
# **Predict before you run.** In the loose table $x$ and $h$ agree nine times of ten, in the tight one ninety-nine times of a
# hundred. After how many sweeps is less than 0.1 of the probability in the wrong place? Write down a number for each, and
# look them up in the figure.

# %%
tables = {
    "loose": torch.tensor([[0.45, 0.05], [0.05, 0.45]]),
    "tight": torch.tensor([[0.495, 0.005], [0.005, 0.495]]),
}
off = {}
for name, joint in tables.items():
    T, p_x = gibbs_matrix(joint), joint.sum(dim=1)
    print(f"{name}: a step leaves p(x) as it is: {torch.allclose(p_x @ T, p_x)}")
    p, off[name] = torch.tensor([1.0, 0.0]), []  # every chain starts at x = 0
    for _ in range(61):
        off[name].append((p - p_x).abs().sum() / 2)
        p = p @ T
plots.show_curves(
    off, x=range(61), xlabel="steps", ylabel="probability in the wrong place"
)

# %% [markdown]
# ## Step 2. Free energy
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# An image has $2^D$ values, so no table holds it. A **restricted Boltzmann machine** (RBM) describes it by an energy.
# It has $D$ pixels $x$ and $J$ hidden units $h$, all 0 or 1, weights $W$ of shape (D, J), and biases $b$ and $c$:
#
# $$E(x, h) = -b^T x - c^T h - x^T W h, \qquad p(x, h) = \frac{1}{Z}\, e^{-E(x, h)}.$$
#
# Low energy means probable. What about $x$ alone? We sum over all $2^J$ hidden states. No two hidden units are joined,
# so the sum is a product with one factor $1 + e^{c_j + x^T W_{:j}}$ for each, its two terms being off and on. That
# leaves $p(x) = e^{-F(x)} / Z$ with the **free energy**
#
# $$F(x) = -b^T x - \sum_j \text{softplus}\big(c_j + x^T W_{:j}\big), \qquad \text{softplus}(a) = \log(1 + e^a).$$
#
# **Write** `free_energy(x, weight, b, c)`, with images x (B, D), weight (D, J), b (D,) and c (J,). It returns $F$ for
# each image, (B,). Inputs of hidden units can be large, and gradients will run through it.
#
# <details><summary>Hint</summary>
#
# The inputs of all hidden units are one matrix product, (B, J). Softplus takes each of them by itself, before the sum over
# the hidden units. Do not write log(1 + exp(a)): it overflows.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# inputs = c + x @ weight  # (B, J)
# F.softplus(inputs)  # log(1 + e^a), and never infinite
# ```
# </details>

# %%
def free_energy(x, weight, b, c):
    """x (B, D), weight (D, J), b (D,), c (J,) -> F of each image, (B,)."""
    ### BEGIN SOLUTION
    return -x @ b - F.softplus(c + x @ weight).sum(dim=1)
    ### END SOLUTION


# %%
checks.markov_chains.free_energy(free_energy)

# %% [markdown]
# Is the product right? Here is a small RBM, 4 pixels and 3 hidden units, with random parameters. We sum its $2^3$
# hidden states one by one. From here on an RBM is a tuple `rbm = (weight, b, c)`, and `*rbm` hands over all three.

# %%
def all_states(n):
    """All 2^n states of n units, one a row."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)))


small = (1.5 * torch.randn(4, 3), torch.randn(4), torch.randn(3))
weight, b, c = small
x, h = all_states(4), all_states(3)
energy = -(x @ b)[:, None] - h @ c - x @ weight @ h.T  # (16, 8), of every image with every h
by_sum = -(-energy).logsumexp(dim=1)
agrees = torch.allclose(free_energy(x, *small), by_sum, atol=1e-4)
print(f"your F is -log of the sum over all h: {agrees}")

# %% [markdown]
# ## Step 3. One layer given the other
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# For Gibbs sampling we need the conditionals. Given $x$, the hidden units are independent. Turning unit $j$ on lowers
# the energy by $c_j + x^T W_{:j}$, whatever the other units do. Those are its **log-odds**, so
#
# $$p(h_j = 1 \mid x) = \sigma\big(c_j + x^T W_{:j}\big), \qquad
# p(x_i = 1 \mid h) = \sigma\big(b_i + W_{i:}\, h\big), \qquad \sigma(a) = \frac{1}{1 + e^{-a}}.$$
#
# The energy treats the two layers alike. So one function will do for both.
#
# **Write** `p_on(state, weight, bias)`. The states of the given layer are (B, m), weight is (m, n), and bias (n,)
# belongs to the layer that is asked for. It returns the probability of each of its units to be on, (B, n).
#
# <details><summary>Hint</summary>
#
# The log-odds have the same form as the inputs in step 2. What makes a probability of log-odds?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_odds = bias + state @ weight  # (B, n)
# ```
# </details>

# %%
def p_on(state, weight, bias):
    """state (B, m) of the given layer, weight (m, n), bias (n,) -> probabilities to be on, (B, n)."""
    ### BEGIN SOLUTION
    return (bias + state @ weight).sigmoid()
    ### END SOLUTION


# %%
checks.markov_chains.p_on(p_on)

# %% [markdown]
# So `p_on(x, weight, c)` is $p(h \mid x)$, and `p_on(h, weight.T, b)` is $p(x \mid h)$. A sigmoid is the slope of a
# softplus. Hence differentiating your free energy by $c$ gives your probabilities, with a minus. Step 6 will live off
# that.

# %%
c_trained = c.clone().requires_grad_()
(slope,) = torch.autograd.grad(free_energy(x, weight, b, c_trained).sum(), c_trained)
agrees = torch.allclose(-slope, p_on(x, weight, c).sum(dim=0), atol=1e-4)
print(f"the slope of -F by c is p(h = 1 | x), summed over the images: {agrees}")

# %% [markdown]
# ## Step 4. A Gibbs step
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# Now a Gibbs step as in step 1, for layers instead of single variables. Draw all hidden units at once, then all pixels:
#
# $$h_j = \begin{cases} 1 & \text{if } u_j < p(h_j = 1 \mid x) \\ 0 & \text{otherwise} \end{cases} \qquad
# x'_i = \begin{cases} 1 & \text{if } v_i < p(x_i = 1 \mid h) \\ 0 & \text{otherwise} \end{cases}$$
#
# The numbers $u$ and $v$ are uniform in [0, 1). You get them as arguments, so that the same call always returns the
# same image. Mind that $h$ is **drawn** before it is used. If you pass its probabilities on, you have another chain,
# which does not lead to $p(x)$.
#
# **Write** `gibbs_step(x, weight, b, c, u_h, u_x)`, with x (B, D), u_h (B, J) and u_x (B, D). It returns the new
# images, (B, D), as floats 0 and 1.
#
# <details><summary>Hint</summary>
#
# Two calls of your `p_on`, and a comparison after each. On the way back the weights must be turned round, and other biases
# belong to the layer that is asked for.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# h = (u_h < p_on(x, weight, c)).to(x.dtype)  # drawn: 0 or 1
# ```
# </details>

# %%
def gibbs_step(x, weight, b, c, u_h, u_x):
    """x (B, D), weight (D, J), b (D,), c (J,), u_h (B, J), u_x (B, D) -> new images (B, D)."""
    ### BEGIN SOLUTION
    h = (u_h < p_on(x, weight, c)).to(x.dtype)
    return (u_x < p_on(h, weight.T, b)).to(x.dtype)
    ### END SOLUTION


# %%
checks.markov_chains.gibbs_step(gibbs_step)

# %% [markdown]
# The small RBM has 16 images, so this once we can compute what the chain should lead to. Twenty thousand chains start
# from black images. After 50 steps, how often do we find each image? Count, and compare with $e^{-F(x)}$, normalised.

# %%
def chain(x, rbm, steps):
    """Images after so many of your Gibbs steps."""
    for _ in range(steps):
        u_h, u_x = torch.rand(len(x), len(rbm[2])), torch.rand(len(x), len(rbm[1]))
        x = gibbs_step(x, *rbm, u_h, u_x)
    return x


ends = chain(torch.zeros(20_000, 4), small, steps=50)
number = (ends @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()  # which row of all_states(4)
counted = number.bincount(minlength=16) / len(ends)
exact = (-free_energy(all_states(4), *small)).softmax(dim=0)
plots.show_curves(
    {"by your F": exact, "counted in your chains": counted},
    x=range(16), xlabel="image", ylabel="probability",
)
misplaced = (counted - exact).abs().sum() / 2
print(f"less than 0.03 of the probability is in another place: {misplaced < 0.03}")

# %% [markdown]
# ## Step 5. Effective sample size
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# Neighbours in a chain are alike. So $T$ steps of one chain are worth fewer than $T$ independent draws. To say how
# many, follow some number $f_1, \dots, f_T$ along the chain, with the mean $\bar f$. Its **autocorrelation** at lag $t$
# and its **effective size** are
#
# $$\rho_t = \frac{\sum_{s=1}^{T-t} (f_s - \bar f)(f_{s+t} - \bar f)}{\sum_{s=1}^{T} (f_s - \bar f)^2}, \qquad
# n_{\text{eff}} = \frac{T}{1 + 2 \sum_{t=1}^{\text{lags}} \rho_t}.$$
#
# The mean of $f$ over the chain is as uncertain as that over $n_{\text{eff}}$ independent draws. (The sum should run
# over all lags. But far out there is only noise, so we stop where $\rho_t$ has died away.)
#
# **Write** `effective_size(f, lags)`, with f (T,). It returns two tensors: $\rho_0, \dots, \rho_{\text{lags}}$,
# (lags + 1,), and $n_{\text{eff}}$, one number.
#
# <details><summary>Hint</summary>
#
# Subtract the mean first. For lag t the two factors are the chain without its last t numbers, and the chain without its
# first t; mind that t may be 0. In the second formula lag 0 is the 1.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# t_earlier, t_later = f[: len(f) - t], f[t:]  # for t = 0 too
# ```
# </details>

# %%
def effective_size(f, lags):
    """f (T,) along a chain, lags a whole number -> rho_0 ... rho_lags, (lags + 1,), and n_eff."""
    ### BEGIN SOLUTION
    f = f - f.mean()
    sums = torch.stack([f[: len(f) - t] @ f[t:] for t in range(lags + 1)])
    rho = sums / sums[0]
    return rho, len(f) / (1 + 2 * rho[1:].sum())
    ### END SOLUTION


# %%
checks.markov_chains.effective_size(effective_size)

# %% [markdown]
# Back to the two tables of step 1. For a chain on two states everything is known: $\rho_t = \lambda^t$, where $\lambda$
# is the second eigenvalue of $T$, and $n_{\text{eff}} = T\, (1 - \lambda) / (1 + \lambda)$. Your $T$ gives the one,
# your estimate from a chain of 20,000 steps the other.

# %%
def chain_of(T, steps):
    """A chain of states that starts at 0, by a transition matrix of two states."""
    x, states = 0, []
    for u in torch.rand(steps).tolist():
        x = int(u < T[x][1])
        states.append(float(x))
    return torch.tensor(states)


curves, lags = {}, 100
for name, joint in tables.items():
    T = gibbs_matrix(joint)
    second = T.trace() - 1  # the eigenvalues are 1 and this
    rho, size = effective_size(chain_of(T.tolist(), 20_000), lags)
    known = 20_000 * (1 - second) / (1 + second)
    curves |= {f"{name}, estimated": rho, f"{name}, exact": second ** torch.arange(lags + 1)}
    print(f"{name}: 20,000 steps are worth {known:.0f} draws; your estimate is within 60 %: "
          f"{abs(size / known - 1) < 0.6}")
plots.show_curves(curves, x=range(lags + 1), xlabel="lag", ylabel="autocorrelation")

# %% [markdown]
# ## Step 6. Contrastive divergence
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# How does an RBM learn? The gradient of the log-likelihood has two halves: push the free energy of the data down, and
# that of the model's own images up. For the second we need draws from the model, so a long chain at each update.
# **Contrastive divergence** (CD-k, Hinton, 2002) starts the chains at the data and stops after $k$ steps. With the
# data $x$ and the ends of the chains $x'$ it goes downhill on
#
# $$L = \langle F(x) \rangle_{\text{data}} - \langle F(x') \rangle_{\text{ends}},$$
#
# where the brackets are means and the ends are mere images, not functions of the parameters. By step 3 its slopes are
#
# $$\nabla_W L = \langle x'\, p(h \mid x')^T \rangle - \langle x\, p(h \mid x)^T \rangle, \quad
# \nabla_b L = \langle x' \rangle - \langle x \rangle, \quad
# \nabla_c L = \langle p(h \mid x') \rangle - \langle p(h \mid x) \rangle,$$
#
# $p(h \mid x)$ being the probabilities of the hidden units to be on.
#
# **Write** `cd_gradient(x, ends, weight, b, c)`, with data x (B, D) and ends (M, D); there may be more or fewer of
# these. It returns three tensors, the slopes by weight (D, J), b (D,) and c (J,). Write them out; autograd is not
# needed.
#
# <details><summary>Hint</summary>
#
# The mean over a batch of the products of every pixel with every hidden unit is one matrix product, (D, J), divided by the
# number of images that went into it. If you want to be sure, let autograd differentiate $L$.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# p = p_on(x, weight, c)  # (B, J)
# of_data = x.T @ p / len(x)  # the mean of x p^T
# ```
# </details>

# %%
def cd_gradient(x, ends, weight, b, c):
    """x (B, D), ends (M, D), weight (D, J), b (D,), c (J,) -> slopes (D, J), (D,), (J,)."""
    ### BEGIN SOLUTION
    p, p_ends = p_on(x, weight, c), p_on(ends, weight, c)
    by_weight = ends.T @ p_ends / len(ends) - x.T @ p / len(x)
    return by_weight, ends.mean(dim=0) - x.mean(dim=0), p_ends.mean(dim=0) - p.mean(dim=0)
    ### END SOLUTION


# %%
checks.markov_chains.cd_gradient(cd_gradient)

# %% [markdown]
# Your functions can learn now. The data are `bars`: thirty images of 4x4 pixels, each made of whole columns or of whole
# rows. We train two RBMs of 12 hidden units, by CD-1 and by CD-10, with plain gradient descent.

# %%
bars = data.load("bars").floats()
flat = bars.flatten(1)  # (30, 16)
plots.show_images(bars, columns=10, size=0.6)

# %%
def learn(k, updates=2000, rate=0.3):
    """CD-k on bars: the RBM every 50 updates, and the loss of every update."""
    rbm = (0.1 * torch.randn(16, 12), torch.zeros(16), torch.zeros(12))
    kept, losses = [rbm], []
    for update in range(1, updates + 1):
        ends = chain(flat, rbm, k)
        losses.append(free_energy(flat, *rbm).mean() - free_energy(ends, *rbm).mean())
        slopes = cd_gradient(flat, ends, *rbm)
        rbm = tuple(p - rate * slope for p, slope in zip(rbm, slopes, strict=True))
        if update % 50 == 0:
            kept.append(rbm)
    return kept, torch.stack(losses)


runs = {"CD-1": learn(1), "CD-10": learn(10)}
kept = {name: steps for name, (steps, _) in runs.items()}
rbm = kept["CD-10"][-1]
smooth = {name: losses.unfold(0, 20, 20).mean(dim=1) for name, (_, losses) in runs.items()}
plots.show_curves(smooth, x=torch.arange(100) * 20 + 10, xlabel="updates", ylabel="$L$, nats")

# %% [markdown]
# Have they learned anything, and which of the two is better? These curves do not tell: they fall, and rise again. $L$ is
# a difference of two free energies, and chains that never leave the data would make it zero. To judge, we need $p(x)$
# itself, and so $Z$.

# %% [markdown]
# ## Step 7. The partition function
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# $Z$ is the sum of $e^{-F(x)}$ over all images. But the energy treats both layers alike. So we may as well sum the
# pixels out and go through all hidden states, whose free energy has the same form:
#
# $$Z = \sum_x e^{-F(x)} = \sum_h e^{-F'(h)}, \qquad
# F'(h) = -c^T h - \sum_i \text{softplus}\big(b_i + W_{i:}\, h\big).$$
#
# One sum has $2^D$ terms, the other $2^J$. Take the shorter one. Terms can be huge, so stay with logarithms.
#
# **Write** `log_partition(weight, b, c)`. It returns $\log Z$, one number. Sum over the states of the smaller layer;
# the check tries layers of 18 units beside 3.
#
# <details><summary>Hint</summary>
#
# `all_states(n)` from step 2 lists the states. Your `free_energy` also computes $F'$, if the weights are turned round and the
# biases come in the other order. How do you sum exponentials without leaving logarithms?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_sum = (-f).logsumexp(dim=0)  # of e^(-f), f holding one free energy for each state
# f_of_hidden = free_energy(h, weight.T, c, b)
# ```
# </details>

# %%
def log_partition(weight, b, c):
    """weight (D, J), b (D,), c (J,) -> log Z, one number; at most 2^min(D, J) terms."""
    ### BEGIN SOLUTION
    if len(b) < len(c):
        weight, b, c = weight.T, c, b  # now c belongs to the smaller layer
    h = all_states(len(c)).to(weight)
    return (-free_energy(h, weight.T, c, b)).logsumexp(dim=0)
    ### END SOLUTION


# %%
checks.markov_chains.log_partition(log_partition)

# %% [markdown]
# And so your RBM has a likelihood, $\log p(x) = -F(x) - \log Z$. A complete test: over all 65,536 images it
# must sum to one. Beside it the library, given your parameters.

# %%
def log_prob(x, rbm):
    return -free_energy(x, *rbm) - log_partition(*rbm)


total = log_prob(data.all_images(2, (1, 4, 4)).flatten(1), rbm).double().exp().sum()
print(f"all images together have probability 1: {abs(total - 1) < 1e-4}")

library = RBM((1, 4, 4), hidden_dim=12)
library.load_state_dict(dict(zip(("weight", "visible_bias", "hidden_bias"), rbm, strict=True)))
with torch.no_grad():
    agrees = torch.allclose(library.log_prob(bars), log_prob(flat, rbm), atol=1e-3)
print(f"genlib.markov.RBM says the same of every image of bars: {agrees}")

# %% [markdown]
# Now we can judge. The Kullback-Leibler divergence from `bars` to the model is zero if the model is perfect. A model of
# independent pixels, the baseline to beat, has 7.69 nats. The curves are exact, computed by your $\log Z$ every 50
# updates.

# %%
def kl(rbm):
    return bars_kl(lambda x: log_prob(x.flatten(1), rbm))


divergence = {name: [kl(step) for step in steps] for name, steps in kept.items()}
baseline = 16 * math.log(2) - math.log(30)
plots.show_curves(
    divergence, x=range(0, 2001, 50), xlabel="updates", ylabel="exact KL from bars, nats",
    baselines={"independent pixels": baseline},
)
cd1, cd10 = (divergence[name][-1] for name in kept)
print(f"independent pixels have                       {baseline:.2f} nats")
print(f"your RBM by CD-1 ends below 3 nats:           {cd1 < 3}")
print(f"your RBM by CD-10 ends below 1.2 nats:        {cd10 < 1.2}")
print(f"and is at least 0.4 nats better than by CD-1: {cd1 - cd10 > 0.4}")

# %% [markdown]
# Both have learned, and the longer chains pay. CD-1 never sees images that are probable under the model and far from the data, and
# leaves them probable. None of this showed in the losses, which rise again while the divergence falls.

# %% [markdown]
# ## Step 8. Persistent chains
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# Ten times the work for CD-10. Is there a cheaper way to long chains? An update changes the RBM only a little. So the
# ends of the last chains nearly follow the new model as well. **Persistent contrastive divergence** (PCD, Tieleman,
# 2008) keeps them: the chains have no other start than the place where they stopped. At update $t$, with the parameters
# $\theta = (W, b, c)$, the data $x$, and the rate $\eta$,
#
# $$x'_{t+1} = \text{one Gibbs step from } x'_t \text{ under } \theta_t, \qquad
# \theta_{t+1} = \theta_t - \eta\, \nabla_\theta L(x, x'_{t+1}),$$
#
# with the slopes of step 6 at $\theta_t$. After a thousand updates each chain has taken a thousand steps, for the price
# of CD-1. The data never enter the chains.
#
# **Write** `persistent(x, chains, weight, b, c, rate, u_h, u_x)`. The data x are (B, D), and `chains` (M, D) are images
# where M chains stopped before. u_h (T, M, J) and u_x (T, M, D) hold the uniform numbers of T updates. It returns four
# tensors after the last update: the chains (M, D), then weight, b and c.
#
# <details><summary>Hint</summary>
#
# Two of your functions make an update, `gibbs_step` and `cd_gradient`. Which of the tensors does the next update take
# over from this one?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# for now_h, now_x in zip(u_h, u_x):  # (M, J) and (M, D)
#     chains = gibbs_step(chains, weight, b, c, now_h, now_x)
# ```
# </details>

# %%
def persistent(x, chains, weight, b, c, rate, u_h, u_x):
    """x (B, D), chains (M, D), u_h (T, M, J), u_x (T, M, D) -> chains, weight, b, c after T updates."""
    ### BEGIN SOLUTION
    for now_h, now_x in zip(u_h, u_x, strict=True):
        chains = gibbs_step(chains, weight, b, c, now_h, now_x)
        by_weight, by_b, by_c = cd_gradient(x, chains, weight, b, c)
        weight, b, c = weight - rate * by_weight, b - rate * by_b, c - rate * by_c
    return chains, weight, b, c
    ### END SOLUTION


# %%
checks.markov_chains.persistent(persistent)

# %% [markdown]
# Does it matter where the chains start? Below, one thing changes. Both runs have 90 chains and take one Gibbs step an
# update. In the first, the chains are put back on the data before each update. That is CD-1, by your new function. In
# the second they go on. A third run goes on too, at three times the rate.
#
# **Predict before you run.** Chains must keep up with the model. Which of the three ends nearest to `bars`, and which
# farthest?

# %%
def learn_on(rate, persists, updates=2000):
    """The exact KL from bars, every 50 updates."""
    start = flat.repeat(3, 1)  # (90, 16)
    chains, rbm, values = start, (0.1 * torch.randn(16, 12), torch.zeros(16), torch.zeros(12)), []
    for update in range(updates + 1):
        if update % 50 == 0:
            values.append(kl(rbm))
        u_h, u_x = torch.rand(1, 90, 12), torch.rand(1, 90, 16)
        chains, *rbm = persistent(flat, chains if persists else start, *rbm, rate, u_h, u_x)
    return values


curves_of = {
    "CD-1, rate 0.1": learn_on(0.1, persists=False),
    "PCD, rate 0.1": learn_on(0.1, persists=True),
    "PCD, rate 0.3": learn_on(0.3, persists=True),
}
plots.show_curves(
    curves_of, x=range(0, 2001, 50), xlabel="updates", ylabel="exact KL from bars, nats",
    baselines={"independent pixels": baseline},
)
by_cd, by_pcd, too_fast = (sum(values[-10:]) / 10 for values in curves_of.values())
print("in the mean of the last 500 updates")
print(f"PCD is at least 0.15 nats below CD-1:           {by_pcd < by_cd - 0.15}")
print(f"at three times the rate, more than 1 nat above: {too_fast > by_cd + 1}")

# %% [markdown]
# The chains that go on find images that are probable under the model and far from the data, as those of CD-10 do, in
# one step an update. But they lag behind the model. At the high rate it runs away from where they are, and the same
# chains lead it astray. So PCD wants a small rate, or one that falls.

# %% [markdown]
# ## Step 9. Annealing
#
# *Difficulty 4 of 5 · importance 4 of 5 · 15 minutes*
#
# With hundreds of units in both layers the sum is out of reach. **Annealed importance sampling** (AIS, Neal, 2001,
# arXiv:physics/9803008) estimates $Z$ by leading chains, step by step, from an RBM whose $Z$ is known to yours. The
# RBM at $\beta$ has the parameters $\beta W, \beta b, \beta c$. At $\beta_0 = 0$ all states are equally likely, at
# $\beta_K = 1$ it is the real one.
#
# $$\log w = \sum_{k=0}^{K-1} \Big( F_{\beta_k}(x_k) - F_{\beta_{k+1}}(x_k) \Big), \qquad
# F_\beta(x) = -\beta b^T x - \sum_j \text{softplus}\big(\beta c_j + \beta x^T W_{:j}\big).$$
#
# A chain starts at $x_0$, random pixels. Before it moves on by a Gibbs step of the next RBM, its weight is multiplied by
# how much more probable **the same** image is under that RBM, before normalisation.
#
# **Write** `ais_log_weights(states, betas, weight, b, c)`. `states` (K, n, D) has the images $x_0, \dots, x_{K-1}$ of n
# chains, `betas` (K + 1,) the numbers $\beta_0, \dots, \beta_K$, not always evenly spaced. It returns $\log w$ for each
# chain, (n,).
#
# <details><summary>Hint</summary>
#
# A loop over k. $F_\beta$ is your `free_energy` with all three parameters multiplied by $\beta$. It is not $\beta$ times $F$:
# softplus is not linear.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# for x, beta, following in zip(states, betas[:-1], betas[1:]):  # x (n, D)
#     before = free_energy(x, beta * weight, beta * b, beta * c)
# ```
# </details>

# %%
def ais_log_weights(states, betas, weight, b, c):
    """states (K, n, D), betas (K + 1,), weight (D, J), b (D,), c (J,) -> log w, (n,)."""
    ### BEGIN SOLUTION
    log_w = 0
    for x, beta, following in zip(states, betas[:-1], betas[1:], strict=True):
        log_w = log_w + free_energy(x, beta * weight, beta * b, beta * c)
        log_w = log_w - free_energy(x, following * weight, following * b, following * c)
    return log_w
    ### END SOLUTION


# %%
checks.markov_chains.ais_log_weights(ais_log_weights)

# %% [markdown]
# Here are the weights of 500 chains, in order of size, on paths of 1, 10, 100 and 1000 steps. On average a weight is
# $Z / Z_0$. You know its logarithm exactly: the dashed line. With one step, which is plain importance sampling, hardly
# any chain is near it. The more steps, the more the chains agree.

# %%
def anneal(rbm, steps, n=500):
    """The betas of a way of so many steps, and the images of n chains on it, by your Gibbs steps."""
    betas, x, states = torch.linspace(0, 1, steps + 1), (torch.rand(n, 16) < 0.5).float(), []
    for beta in betas[1:]:
        states.append(x)
        x = chain(x, [beta * p for p in rbm], 1)
    return torch.stack(states), betas


exact, log_z_0 = log_partition(*rbm), (16 + 12) * math.log(2)
ways = (1, 3, 10, 30, 100, 300, 1000)
log_w = {steps: ais_log_weights(*anneal(rbm, steps), *rbm) for steps in ways}
plots.show_curves(
    {f"K = {steps}": log_w[steps].sort().values for steps in (1, 10, 100, 1000)},
    xlabel="chain, in order of its weight", ylabel=r"$\log w$",
    baselines={r"$\log\, Z / Z_0$": exact - log_z_0},
)

# %% [markdown]
# ## Step 10. The estimate and its error bar
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# It is the weight, not its logarithm, that is right on average: $\mathbb{E}[w] = Z / Z_0$. So with $n$ chains
#
# $$\log Z \approx \log \bar w + \log Z_0, \qquad \bar w = \frac{1}{n} \sum_{i=1}^n w_i, \qquad
# \log Z_0 = (D + J) \log 2.$$
#
# ($Z_0$ counts the states, for at $\beta = 0$ each has $e^{-E} = 1$.) The mean of the logarithms would be smaller,
# always.
#
# How far may it be off? The mean of $n$ independent weights has the standard error $s / \sqrt n$, where
# $s^2 = \frac{1}{n - 1} \sum_i (w_i - \bar w)^2$. Near $\bar w$ the logarithm is a straight line of slope $1 / \bar w$,
# so an error of $\bar w$ becomes $1 / \bar w$ times as large. This is the **delta method**:
#
# $$\text{error of } \log Z \approx \frac{s}{\bar w \sqrt n}.$$
#
# **Write** `ais_log_z(log_w, n_visible, n_hidden)`, with log weights (n,), at least two, and the whole numbers D and J.
# It returns two numbers: the estimate of $\log Z$, and its error. Weights may be too large or too small to be written
# down.
#
# <details><summary>Hint</summary>
#
# The logarithm of a mean is that of the sum, less $\log n$. Stay with logarithms, as in step 7. The error is a quotient:
# dividing all weights by the largest does not change it.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_of_sum = log_w.logsumexp(dim=0)  # of the weights
# w = (log_w - log_w.max()).exp()  # the largest is 1
# ```
# </details>

# %%
def ais_log_z(log_w, n_visible, n_hidden):
    """log_w (n,), whole numbers n_visible and n_hidden -> log Z and its error, two numbers."""
    ### BEGIN SOLUTION
    log_mean = log_w.logsumexp(dim=0) - math.log(len(log_w))
    w = (log_w - log_w.max()).exp()
    error = w.std() / (w.mean() * math.sqrt(len(w)))
    return log_mean + (n_visible + n_hidden) * math.log(2), error
    ### END SOLUTION


# %%
checks.markov_chains.ais_log_z(ais_log_z)

# %% [markdown]
# How far is it off, and how far is the mean of the logarithms? This is a luxury: for an RBM of real size there is no
# exact $\log Z$, and no such figure. The weights of 1000 steps agree so well that both means would do. With fewer steps
# the mean of the logarithms is far too low.

# %%
estimate = {steps: ais_log_z(w, 16, 12)[0] for steps, w in log_w.items()}
means = {steps: w.mean() + log_z_0 for steps, w in log_w.items()}
plots.show_curves(
    {
        "log of the mean": [abs(float(estimate[steps] - exact)) for steps in ways],
        "mean of the logs": [abs(float(means[steps] - exact)) for steps in ways],
    },
    x=ways, xlabel="steps", ylabel=r"error of $\log Z$, nats", log=True,
)
with torch.no_grad():
    by_library, _ = annealed_importance(library, n_chains=500, n_temperatures=1000)
print(f"log w scatters by more than 2 nats in one step:           {log_w[1].std() > 2}")
print(f"and by less than 1 nat in 1000 steps:                    {log_w[1000].std() < 1}")
print(f"there your estimate is off by less than 0.1 nats:        {abs(estimate[1000] - exact) < 0.1}")
print(f"so is that of genlib.markov:                             {abs(by_library - exact) < 0.1}")
lower = all(means[steps] < estimate[steps] for steps in ways)
print(f"the mean of the logarithms is smaller in every case:     {lower}")

# %% [markdown]
# Is the error bar honest? Estimate $\log Z$ a hundred times, each time with 100 new chains. If it is, it agrees with how
# the hundred estimates scatter, and about 95 of them lie within two error bars of the exact value.
#
# **Predict before you run.** With 100 steps, and with a single one: how many of the hundred will?

# %%
bars_of = {}
for steps in (1, 100):
    many = ais_log_weights(*anneal(rbm, steps, n=10_000), *rbm)
    estimates, errors = torch.stack([torch.stack(ais_log_z(w, 16, 12)) for w in many.split(100)]).T
    within = ((estimates - exact).abs() < 2 * errors).float().mean()
    bars_of[steps] = (estimates.std(), errors.mean(), within)
scatter, error, within = bars_of[100]
print(f"100 steps: the error bar is the scatter, within a factor of 1.5: {2 / 3 < error / scatter < 1.5}")
print(f"100 steps: at least 85 of 100 within two error bars:             {within >= 0.85}")
scatter, error, within = bars_of[1]
print(f"1 step: the scatter is more than 1.3 error bars:                 {scatter > 1.3 * error}")
print(f"1 step: at most 50 of 100 within two error bars:                 {within <= 0.5}")

# %% [markdown]
# With one step the bar deceives you. It knows only the weights that were drawn, and hardly any chain has found the images
# that make up $Z$. It cannot even warn you: whatever the weights are, it is never above 1 nat, which it reaches when one
# chain outweighs all others. So a small error bar says that the chains agree. It does not say that they are right. Take more
# steps, and see whether the estimate stays.

# %% [markdown]
# ## Step 11. Walkback
#
# *Difficulty 4 of 5 · importance 3 of 5 · 20 minutes*
#
# A **generative stochastic network** (GSN) has no energy and no $Z$. It *is* a Markov chain. One step corrupts the image,
# and asks a network what the image was:
#
# $$\tilde x_t \sim C(\tilde x \mid x_t), \qquad x_{t+1} \sim P_\theta(x \mid \tilde x_t), \qquad
# L = \frac{1}{T} \sum_{t=0}^{T-1} -\log P_\theta(x_0 \mid \tilde x_t).$$
#
# $C$ is **salt-and-pepper noise**: each pixel is replaced, with probability `noise`, by a draw of Bernoulli(1/2). $P_\theta$ treats
# pixels as independent given $\tilde x$, with log-odds from the network. Training by **walkback** (Bengio et al., 2013,
# arXiv:1305.6663) lets the chain run from a data point $x_0$ for $T$ steps. At each step the target is the image
# where the chain **began**: $x_0$, not $x_t$. So the network learns to return from images that are not in the data.
#
# **Write** `walkback_loss(network, x, noise, u)`. `network` maps corrupted images (B, D) to logits (B, D); x (B, D) are
# the data; u (T, 3, B, D) are uniform random numbers. At step t
#
# - pixels with `u[t, 0] < noise` are replaced: white where `u[t, 1] < 1/2`, else black;
# - the next image is white where `u[t, 2]` is below the network's probability.
#
# It returns $L$ in nats an image: summed over pixels, averaged over images and steps.
#
# <details><summary>Hint</summary>
#
# Keep two images apart: `state`, which walks, and `x`, which stays. The nats of each pixel come from the logits, as a binary
# cross-entropy that takes logits; sum them over the pixels of an image.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# state, nats = x, []
# for replace, fresh, draw in u:
#     corrupted = torch.where(replace < noise, (fresh < 0.5).to(x.dtype), state)
#     logits = network(corrupted)
#     each = F.binary_cross_entropy_with_logits(logits, x, reduction="none")  # (B, D)
# ```
# </details>

# %%
def walkback_loss(network, x, noise, u):
    """network, x (B, D), noise a number, u (T, 3, B, D) -> one number, which trains the network."""
    ### BEGIN SOLUTION
    state, nats = x, []
    for replace, fresh, draw in u:
        corrupted = torch.where(replace < noise, (fresh < 0.5).to(x.dtype), state)
        logits = network(corrupted)
        each = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        nats.append(each.sum(dim=1).mean())
        state = (draw < logits.sigmoid()).to(x.dtype)
    return torch.stack(nats).mean()
    ### END SOLUTION


# %%
checks.markov_chains.walkback_loss(walkback_loss)

# %% [markdown]
# Two GSNs learn `bars`: one by walkback of a single step, which is a denoising autoencoder, and one of three.

# %%
NOISE = 0.05


def learn_gsn(steps, updates=1000):
    network = nn.Sequential(
        nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)
    )
    optimizer, twice = torch.optim.Adam(network.parameters(), lr=5e-3), flat.repeat(2, 1)
    for _ in range(updates):
        loss = walkback_loss(network, twice, NOISE, torch.rand(steps, 3, *twice.shape))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


networks = {"GSN, walkback 1": learn_gsn(1), "GSN, walkback 3": learn_gsn(3)}

# %% [markdown]
# ## All together: three chains
#
# Your RBM and your two GSNs are all sampled by a chain. Start 2000 chains of each from random pixels, where 30 of 65,536
# images are bars or stripes. How fast do they reach these, and how many do?

# %%
@torch.no_grad()
def gsn_step(network, x):
    replace, fresh, draw = torch.rand(3, *x.shape)
    corrupted = torch.where(replace < NOISE, (fresh < 0.5).float(), x)
    return (draw < network(corrupted).sigmoid()).float()


# one step of each chain; the `network=network` keeps the one of this pass of the loop
step_of = {"your RBM": lambda x: chain(x, rbm, 1)}
for name, network in networks.items():
    step_of[name] = lambda x, network=network: gsn_step(network, x)


def valid(x):
    """The share of images that are bars or stripes."""
    return bars_counts(x.unflatten(1, (1, 4, 4)))["valid"]


home, ends = {}, {}
for name, step in step_of.items():
    x, home[name] = (torch.rand(2000, 16) < 0.5).float(), []
    for _ in range(60):
        x = step(x)
        home[name].append(valid(x))
    ends[name] = x
plots.show_curves(
    home, xlabel="steps of the chain", ylabel="share of bars and stripes",
    baselines={"random pixels": 30 / 2**16},
)

# %%
plots.show_rows({name: x[:12].unflatten(1, (1, 4, 4)) for name, x in ends.items()}, size=0.6)

# %% [markdown]
# All three reach bars and stripes, but not always: some images are neither. For your RBM you know the exact share. Sum
# its exact probabilities of the thirty, and compare with what the chains found.

# %%
due = log_prob(flat, rbm).exp().sum().item()
print(f"your RBM gives the thirty the probability its chains found, within 0.06: "
      f"{abs(home['your RBM'][-1] - due) < 0.06}")
for name, shares in home.items():
    print(f"{name + ':':<22} more than half are bars or stripes: {shares[-1] > 0.5}")

# %% [markdown]
# How well do the chains mix? Follow the number of white pixels along 4,000 steps, and ask your
# step 5 what the chains are worth. (The lags stop at 200, where $\rho$ has not died away yet. So these sizes are still
# too large.)

# %%
def worth(step, steps=4000, chains=20):
    """How many draws 1000 steps are worth, in the mean over chains."""
    x, white = ends["your RBM"][:chains], []
    for _ in range(steps):
        x = step(x)
        white.append(x.sum(dim=1))
    sizes = [float(effective_size(f, lags=200)[1]) for f in torch.stack(white).T]
    return sum(sizes) / len(sizes) / steps * 1000


for name, step in step_of.items():
    print(f"{name + ':':<22} 1000 steps are worth fewer than 20 draws: {worth(step) < 20}")

# %% [markdown]
# This is the cost of the whole family. Between two patterns lie images that nearly never occur, and a chain must
# cross them. On 16 pixels that takes fifty steps and more. A pixel model or a GAN draws afresh each time.
#
# What does walkback of more steps change? Give the network every image there is, without noise. If it is no bar and no stripe, and the
# network still reproduces it, it is a **trap** for the chain.

# %%
every = data.all_images(2, (1, 4, 4)).flatten(1)
is_data = (every[:, None] == flat).all(dim=2).any(dim=1)
traps = []
for network in networks.values():
    with torch.no_grad():
        nats = F.binary_cross_entropy_with_logits(network(every), every, reduction="none").sum(dim=1)
    stays = (-nats).exp() > 0.5
    traps.append((stays & ~is_data).sum().item())
print(f"with walkback 1 more than 200 images are traps: {traps[0] > 200}")
print(f"with walkback 3 at least 50 fewer:              {traps[1] <= traps[0] - 50}")

# %% [markdown]
# So walkback works as intended: the network learns to return from images that are no data. It has a price, which you can
# see in the figure above. After more steps there is more doubt about where the chain began, and pixels drawn independently
# turn doubt into images that are neither the one nor the other.

# %% [markdown]
# ## What you have built
#
# A Gibbs sampler, an RBM that learns by contrastive divergence, with chains that start at the data or go on, its exact
# $\log Z$, the estimate in use when there is no exact one, with an error bar, and a network that is a Markov chain. You have also measured what these chains cost.
#
# Where to go on:
#
# - Let the rate of PCD fall from 0.3 to zero over the updates. How near to `bars` does it come now?
# - Give the RBM 4 hidden units, or 30. Which sum does your `log_partition` take, and how does the KL change?
# - In `gibbs_step`, pass the probabilities of h on instead of drawing it, and look at the figure of step 4 again.
# - Multiply the parameters of `rbm` by 3, and estimate its $\log Z$ by AIS. How many steps do you need now?
# - Raise `NOISE` to 0.2. More noise moves a GSN's chain faster. What does it cost?
# - Read `genlib/markov/rbm.py` and `genlib/markov/gsn.py`, and `annealed_importance` in `genlib/markov/ais.py`: your
#   functions, with checks of what they are given.
# - Back to the lesson, [{{markov_chains}} Markov chains](../notebooks/{{markov_chains}}_markov_chains.ipynb). Lesson {{comparison}} compares all models of the
#   course.
