# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 3. GANs: ratios, divergences and distances
#
# **What does a discriminator learn, and what can you do with it?**
#
# In lessons {{gan}} (GAN) and {{gan_architectures}} (GAN architectures) a discriminator trained a generator and was thrown
# away. Here you study what it has learned. It holds the ratio of two densities, it measures a divergence or a
# distance, and its training together with the generator may or may not converge. You derive each of these on paper, write it
# in code, and then train a GAN under a budget and ask whether what you measure is more than chance.
#
# **What to hand in.** This one notebook, under its own name, `ps3_gan.ipynb`. Run it from top to bottom before you do
# ("Restart Kernel and Run All Cells"). Allow a week or two: about eight hours, half of them with paper and pencil.
#
# | task | | points |
# | --- | --- | --- |
# | 1 | The objective with unequal shares | 5 |
# | 2 | Importance weights from a discriminator | 5 |
# | 3 | Another divergence | 5 |
# | 4 | The Wasserstein-1 distance on a line | 6 |
# | 5 | A penalty on the slope | 5 |
# | 6 | Does training converge? | 5 |
# | 7 | A generator for any ring | 6 |
# | 8 | A permutation test for paired seeds | 3 |
# | 9 | An experiment (read by a person) | 6 |
# | 10 | Smoothed labels (read by a person) | 4 |
# | | **together** | **50** |
#
# **How points are given.** Tasks 1 to 8 are graded by tests that are not shown. They call your functions with inputs
# of their own: other shapes and dtypes, and extreme cases too. Points come in parts, so a function that is right for
# ordinary inputs and fails at the extremes keeps most of them. The examples below a task use the easiest inputs. If
# they pass you are on the way; they do not say that you are done. Feedback names your mistake.
#
# **What you may use.** All of torch and Python's standard library; of `genlib` what the tasks import. Do not use
# `genlib`'s own implementation of what a task asks for. A function may call your functions from earlier tasks. It may
# read the constants of the cell below, which are yours: other classes have other ones, and the tests know which. Keep
# the names and arguments of the functions, and leave the locked cells as they are.
#
# **Budget.** One core, no GPU. The grader stops a notebook after 240 seconds in all, and calls `ring` of task 7 once
# more on top of your own run. Ours needs less than a minute.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import plots
from genlib.data import EightGaussians
from genlib.metrics import mode_counts

NotImplementedError = checks.Unanswered  # a task that is still open says so in one line
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% tags=["variant"] nbgrader={"grade": false, "grade_id": "variant", "locked": true, "schema_version": 3, "solution": false, "task": false}
VARIANT = 0
REAL_SHARE = 0.3
DIVERGENCE = 'reverse KL'
SLOPE = 0.5
PENALTY = 'one-sided'
GAME = 'minimax'
LATENT = 4
RADIUS = 1.8
STD = 0.22

# %% [markdown]
# ## Task 1. The objective with unequal shares (5 points)
#
# A batch need not hold as many fakes as real examples. Let a share $\pi =$ `REAL_SHARE` $=$ {{REAL_SHARE}} of it be
# real, drawn from $p$, and the rest fake, drawn from $q$. The discriminator maximises
#
# $$V(D) = \pi\; \mathbb{E}_{x \sim p} \log D(x) + (1 - \pi)\; \mathbb{E}_{x \sim q} \log\big(1 - D(x)\big).$$
#
# On paper: which $D^*$ is best, which logit $\ell^*(x)$ belongs to it, and what is $V(D^*)$? You will find a skewed
# Jensen-Shannon divergence, a sum of two Kullback-Leibler divergences from $m = \pi p + (1 - \pi) q$, less a
# constant. Which constant, and why is it what a $D$ that sees nothing pays?
#
# Now $x$ is one of $K$ cells, so that all is a sum. Two things go wrong in careless code. A cell may have probability
# zero under $p$ or $q$. And a probability may be too small for a float, although its logarithm is not.
#
# **Write** `skewed_game(log_p, log_q)`. Both arguments are log probabilities in nats, (K,), of one dtype; $-\infty$
# stands for probability zero. It returns two tensors:
#
# - $\ell^*$, (K,). It is $+\infty$ where only $p$ lives and $-\infty$ where only $q$ does. Where neither does,
#   anything is best: return 0 there.
# - $V(D^*)$, one number in nats. A cell that has no probability adds nothing.

# %% nbgrader={"grade": false, "grade_id": "skewed_game-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def skewed_game(log_p, log_q):
    ### BEGIN SOLUTION
    nowhere = log_p.isneginf() & log_q.isneginf()
    prior = math.log(REAL_SHARE) - math.log(1 - REAL_SHARE)
    logit = torch.where(nowhere, 0.0, log_p - log_q + prior)

    def mean(log_prob, values):  # an expectation in which 0 times infinity is 0
        return torch.where(log_prob.isneginf(), 0.0, log_prob.exp() * values).sum()

    by_real = REAL_SHARE * mean(log_p, F.logsigmoid(logit))
    by_fake = (1 - REAL_SHARE) * mean(log_q, F.logsigmoid(-logit))
    return logit, by_real + by_fake
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "skewed_game-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
share = torch.tensor([REAL_SHARE, 1 - REAL_SHARE])
entropy = -(share * share.log()).sum()

same = torch.tensor([0.5, 0.3, 0.2]).log()
logit, value = skewed_game(same, same)
print("nothing to see: D says the share of real examples:", torch.allclose(logit.sigmoid(), share[0]))
print("and the value is minus the entropy of the labels: ", torch.allclose(value, -entropy))

apart = torch.tensor([1.0, 0.0]).log(), torch.tensor([0.0, 1.0]).log()
print("nothing in common: the value is zero:             ", skewed_game(*apart)[1].abs().item() < 1e-6)

# %% nbgrader={"grade": true, "grade_id": "skewed_game", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "skewed_game", skewed_game, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 2. Importance weights from a discriminator (5 points)
#
# Now use task 1 in reverse. You are given the logits of a good discriminator, trained on batches with a share $\pi =$
# `REAL_SHARE` of real examples, at $n$ fakes $x_1, \dots, x_n$. You have no density. But you know how the logit
# depends on the ratio $r(x) = p(x) / q(x)$, and a ratio is all that importance sampling needs:
#
# $$\mathbb{E}_{x \sim p} f(x) = \mathbb{E}_{x \sim q}\, r(x) f(x).$$
#
# So a discriminator can correct the samples of a generator after training. Two ways:
#
# - **Importance weights.** Give the fake $x_i$ the weight $w_i = r(x_i) / \sum_j r(x_j)$, and estimate the mean of $f$ by $\sum_i
#   w_i f(x_i)$. Weights that differ cost precision. As many fakes as $n_\text{eff} = 1 / \sum_i w_i^2$ with equal
#   weights would do as well.
# - **Rejection sampling.** Keep the fake $x_i$ with the probability $a_i = r(x_i) / M$, by chance, one by one. What is kept
#   follows $p$, if no $a_i$ exceeds 1. The smallest such $M$ for these $n$ fakes wastes the least (Azadi et al.,
#   2019, arXiv:1810.06758).
#
# **Write** `corrected(logit, f)`, with logit (n,) and f (n, d), the values $f(x_i)$. It returns four tensors: $\log
# r$ (n,), the estimate (d,), $n_\text{eff}$ (one number), and $a$ (n,). Logits of a thousand, up or down, must not
# make the last three wrong.

# %% nbgrader={"grade": false, "grade_id": "corrected-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def corrected(logit, f):
    ### BEGIN SOLUTION
    log_ratio = logit - (math.log(REAL_SHARE) - math.log(1 - REAL_SHARE))
    weight = log_ratio.softmax(dim=0)  # the constant cancels, and so does whatever is large
    keep = (log_ratio - log_ratio.max()).exp()
    return log_ratio, weight @ f, 1 / weight.square().sum(), keep
    ### END SOLUTION

# %% [markdown]
# Here is a generator on the line that is not very good: data with two bumps, and one wide bump to imitate them. The
# logits are the best ones. Do the fakes that you keep follow the data? What does it cost?

# %% nbgrader={"grade": false, "grade_id": "corrected-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def log_data(x):
    """Two bumps of one weight."""
    at, width = torch.tensor([[1.5], [-1.0]]), torch.tensor([[0.4], [0.6]])
    return torch.distributions.Normal(at, width).log_prob(x).logsumexp(dim=0) - math.log(2)


fakes = 2 * torch.randn(20_000)
log_fake = torch.distributions.Normal(0.0, 2.0).log_prob(fakes)
best = log_data(fakes) - log_fake + math.log(REAL_SHARE) - math.log(1 - REAL_SHARE)
_, mean, effective, keep = corrected(best, torch.stack([torch.ones_like(fakes), fakes], dim=1))
kept = fakes[torch.rand(len(fakes)) < keep]

print("a constant stays what it is:             ", torch.allclose(mean[0], torch.ones(())))
print("the mean of the data, 0.25, is met:      ", abs(mean[1].item() - 0.25) < 0.05)
print("weights cost some fakes:                 ", 0.3 < effective.item() / len(fakes) < 0.95)
print("the surest fake is kept, most are not:   ", keep.max().item() == 1 and len(kept) < 10_000)
places = torch.linspace(-5, 5, 81)
middle, width = (places[1:] + places[:-1]) / 2, places[1] - places[0]
plots.show_curves(
    {
        "data": log_data(middle).exp(),
        "all fakes": torch.histc(fakes, 80, -5, 5) / len(fakes) / width,
        "kept fakes": torch.histc(kept, 80, -5, 5) / len(kept) / width,
    },
    x=middle, xlabel="x", ylabel="density",
)

# %% nbgrader={"grade": true, "grade_id": "corrected", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "corrected", corrected, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 3. Another divergence (5 points)
#
# A GAN need not measure the Jensen-Shannon divergence. Any convex $f$ with $f(1) = 0$ makes a divergence, $D_f(p
# \,\|\, q) = \mathbb{E}_q\, f\big(p(x) / q(x)\big)$. And any of them can be the objective (Nowozin et al., 2016,
# arXiv:1606.00709). With the **conjugate** $f^*(t) = \sup_{u > 0} \big( u t - f(u) \big)$,
#
# $$D_f(p \,\|\, q) \;\ge\; \mathbb{E}_{x \sim p}\, T(x) - \mathbb{E}_{x \sim q}\, f^*\big(T(x)\big)
# \qquad \text{for every function } T,$$
#
# and equal for the best one. A conjugate is not defined everywhere, so the network's raw output $v$ goes through a
# function $g$ that keeps it where it is: $T = g(v)$.
#
# | divergence | $f(u)$ | $g(v)$ |
# | --- | --- | --- |
# | KL | $u \log u$ | $v$ |
# | reverse KL | $-\log u$ | $-e^{-v}$ |
# | Pearson | $(u - 1)^2$ | $v$ |
# | squared Hellinger | $(\sqrt{u} - 1)^2$ | $1 - e^{-v}$ |
#
# Yours is the one in `DIVERGENCE`: **{{DIVERGENCE}}**. Derive $f^*$ on paper, put $g$ into it, and simplify. Then
# derive which $T$ is best (set the derivative of the bound to zero under the integral), and which raw output $v$ that
# is.
#
# **Write** `f_gan(real, fake, log_ratio)`, with raw outputs real (n,) of real examples and fake (m,) of fakes, and
# log_ratio (k,), values of $\log(p / q)$ at some places. It returns three tensors:
#
# - the discriminator's loss, one number to *minimise*: minus the bound, expectations taken as means;
# - the generator's loss, one number to *minimise*. Not the bound, whose slope fades when fakes are found out. Take
#   what the paper takes in its section 3.2: the generator raises the mean of $g(v)$ on its fakes;
# - the best raw output at those places, (k,).
#
# Gradients must flow from the losses to the outputs.

# %% nbgrader={"grade": false, "grade_id": "f_gan-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def f_gan(real, fake, log_ratio):
    ### BEGIN SOLUTION
    if DIVERGENCE == "KL":  # f*(t) = e^(t - 1), T = 1 + log u
        for_real, for_fake, best = real, (fake - 1).exp(), 1 + log_ratio
        seen = fake
    elif DIVERGENCE == "reverse KL":  # f*(t) = -1 - log(-t), T = -1 / u
        for_real, for_fake, best = -(-real).exp(), fake - 1, log_ratio
        seen = -(-fake).exp()
    elif DIVERGENCE == "Pearson":  # f*(t) = t^2 / 4 + t, T = 2 (u - 1)
        for_real, for_fake, best = real, fake.square() / 4 + fake, 2 * log_ratio.expm1()
        seen = fake
    else:  # f*(t) = t / (1 - t), T = 1 - 1 / sqrt(u)
        for_real, for_fake, best = 1 - (-real).exp(), fake.expm1(), log_ratio / 2
        seen = 1 - (-fake).exp()
    return for_fake.mean() - for_real.mean(), -seen.mean(), best
    ### END SOLUTION

# %% [markdown]
# At the best outputs the bound is the divergence, and no other outputs give more. Where $p = q$ the divergence is
# zero.

# %% nbgrader={"grade": false, "grade_id": "f_gan-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def loss_at(change):
    """The discriminator's loss for p = q, when its best output is changed."""
    _, _, best = f_gan(torch.zeros(1), torch.zeros(1), torch.zeros(1))
    return f_gan(best + change, best + change, torch.zeros(1))[0].item()


print("p = q: the bound is zero at the best output:", abs(loss_at(0.0)) < 1e-6)
print("and lower to either side of it:             ", loss_at(0.1) > 1e-4 and loss_at(-0.1) > 1e-4)

# %% nbgrader={"grade": true, "grade_id": "f_gan", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "f_gan", f_gan, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 4. The Wasserstein-1 distance on a line (6 points)
#
# How far must probability mass be moved, on average, to turn one distribution into another? On a line this
# **Wasserstein-1 distance** (earth mover's distance) needs no network. Let the points $x_i$ hold the shares $a_i$ of the mass,
# $\sum_i a_i = 1$, and let the points $y_j$ need the shares $b_j$, with $F(t) = \sum_{x_i \le t} a_i$ and $G(t) = \sum_{y_j \le t} b_j$. What must cross
# the place $t$, and what does that cost? So, on paper,
#
# $$W = \int_{-\infty}^{\infty} \big| F(t) - G(t) \big| \, dt
# = \max_{h} \; \sum_i a_i\, h(x_i) - \sum_j b_j\, h(y_j),$$
#
# where the maximum is over all functions $h$ whose slope is nowhere above 1. Write the sum on the right as an
# integral over $h'(t)$ (by parts), and you see which $h$ is best: where must it rise, and where fall?
#
# **Write** `wasserstein(x, y, weight_x, weight_y)`, with places x (n,) and y (m,), unsorted, perhaps equal to each
# other, and weights of the same shapes. Weights are not negative, some may be zero, and they need not add up to 1:
# shares are weights divided by their sum. Return three tensors:
#
# - $W$, one number;
# - the scores of a best critic at x, (n,), and at y, (m,). Your class uses critics whose slope may be up to
#   `SLOPE` $=$ {{SLOPE}}, so that the gap of the mean scores is `SLOPE` times $W$. The score is high where $x$ is.
#   Any constant may be added, so the tests look at what the scores do and not at what they are.

# %% nbgrader={"grade": false, "grade_id": "wasserstein-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def wasserstein(x, y, weight_x, weight_y):
    ### BEGIN SOLUTION
    place, order = torch.cat([x, y]).sort()
    share = torch.cat([weight_x / weight_x.sum(), -weight_y / weight_y.sum()])[order]
    ahead = share.cumsum(dim=0)[:-1]  # F - G between each place and the next
    gap = place.diff()
    # by parts, the gap of the mean scores is the integral of -h' (F - G): fall where F is ahead
    rise = -SLOPE * ahead.sign() * gap
    score = torch.empty_like(place)
    score[order] = F.pad(rise.cumsum(dim=0), (1, 0))
    return (ahead.abs() * gap).sum(), score[: len(x)], score[len(x) :]
    ### END SOLUTION

# %% [markdown]
# Three points, moved by five. And two distributions with one mean: a line through the middle would not tell them apart, so
# the best critic must bend.

# %% nbgrader={"grade": false, "grade_id": "wasserstein-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
three, ones = torch.tensor([3.0, 0.0, 1.0]), torch.ones(3)
distance, _, _ = wasserstein(three, three + 5, ones, ones)
print(f"moved by five: {distance:.3f}")

x, y = torch.tensor([-1.0, 1.0]), torch.tensor([-3.0, 3.0])
distance, at_x, at_y = wasserstein(x, y, torch.ones(2), torch.ones(2))
print(f"one mean, another width: {distance:.3f}")
gap = at_x.mean() - at_y.mean()
print("the critic's gap is SLOPE times that:", abs(gap / SLOPE - distance).item() < 1e-5)

# %% nbgrader={"grade": true, "grade_id": "wasserstein", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "wasserstein", wasserstein, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 5. A penalty on the slope (5 points)
#
# A network's slope is held by a penalty. Lesson {{gan_architectures}} drew it to 1, from both sides. Both are choices. Yours hold the
# length $s_i = \lVert \nabla_x D(x_i) \rVert_2$ at the place $x_i$ against $k =$ `SLOPE` $=$ {{SLOPE}}, with one
# number for each example, over all the numbers of the example:
#
# $$P_\text{two-sided} = \frac{1}{n} \sum_i (s_i - k)^2, \qquad
# P_\text{one-sided} = \frac{1}{n} \sum_i \max(0,\, s_i - k)^2.$$
#
# `PENALTY` says which one: **{{PENALTY}}**. (Gulrajani et al., 2017, take the first with $k = 1$ and mention the
# second; arXiv:1704.00028, sections 4 and 5.)
#
# **Write** `penalty(discriminator, x)`. `x` are places, (n, ...): points (n, d), or images (n, C, H, W).
# `discriminator` is a module that maps them to scores (n,), each example by itself. Return two tensors:
#
# - $P$, one number;
# - its gradient by the discriminator's parameters, all in one row: flattened, one after the other in the order of
#   `discriminator.parameters()`. A parameter that $P$ does not depend on has the gradient zero.
#
# Where a slope is exactly zero it has no direction. Let such an example add nothing to the gradient, and above all no
# NaN. Leave no gradients behind in the module and no marks on x.

# %% nbgrader={"grade": false, "grade_id": "penalty-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def penalty(discriminator, x):
    ### BEGIN SOLUTION
    x = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    off = slope.flatten(1).norm(dim=1) - SLOPE
    if PENALTY == "one-sided":
        off = off.clamp(min=0)
    value = off.square().mean()
    # a bias of the last layer moves scores and no slope: it is unused, and its gradient zero
    weights = list(discriminator.parameters())
    row = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    return value.detach(), torch.cat([gradient.flatten() for gradient in row])
    ### END SOLUTION

# %% [markdown]
# The easiest discriminator: a straight line with the slope (3, 4), whose length is 5 everywhere.

# %% nbgrader={"grade": false, "grade_id": "penalty-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
line = nn.Linear(2, 1)
line.load_state_dict({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.zeros(1)})
straight = nn.Sequential(line, nn.Flatten(0))
value, gradient = penalty(straight, torch.randn(6, 2))
print("the penalty:", torch.allclose(value, torch.tensor((5 - SLOPE) ** 2)))
print("its gradient has a number for each parameter:", tuple(gradient.shape) == (3,))
cosine = F.cosine_similarity(gradient[:2], line.weight[0], dim=0).item()
print("and points along the weight:", abs(cosine - 1) < 1e-5)

# %% nbgrader={"grade": true, "grade_id": "penalty", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "penalty", penalty, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 6. Does training converge? (5 points)
#
# The smallest GAN there is (Mescheder et al., 2018, arXiv:1801.04406): all the data lie at 0, the generator puts all
# its fakes at $\theta$, and the discriminator's raw output is $\psi x$. The equilibrium is $\theta = \psi = 0$. Do
# the two get there? With $s(t) = \log(1 + e^t)$ their losses are
#
# | `GAME` | the discriminator minimises | the generator minimises |
# | --- | --- | --- |
# | minimax | $s(\psi \theta) + \frac{\gamma}{2} \psi^2$ | $-s(\psi \theta)$ |
# | non-saturating | $s(\psi \theta) + \frac{\gamma}{2} \psi^2$ | $s(-\psi \theta)$ |
# | Wasserstein | $\psi \theta + \frac{\gamma}{2} \psi^2$ | $-\psi \theta$ |
#
# up to constants. The term with $\gamma$ is a zero-centred gradient penalty. Each network takes plain gradient steps,
# the discriminator with the rate $\eta_D$ and the generator with $\eta_G$. They may move **simultaneously**, both
# from where the other was. Or they **alternate**: $\psi$ moves first, and then $\theta$, which sees the new $\psi$.
#
# Your losses are **{{GAME}}**. Near the equilibrium, a step of both is a linear map of $(\theta, \psi)$, to first order. Write down both
# matrices. Over many steps the distance from the equilibrium changes by a factor for each step, on average: the largest modulus
# of the matrix's eigenvalues. Below 1 the two converge, above 1 they diverge, and at exactly 1 they circle.
#
# **Write** `contraction(rate_d, rate_g, weight)`, with three tensors (n,), float64: $\eta_D$, $\eta_G$ and $\gamma$
# of $n$ such GANs. It returns two tensors (n,): the factor of simultaneous and that of alternating steps. The eigenvalues
# may be a complex pair, or two real numbers, of either sign.

# %% nbgrader={"grade": false, "grade_id": "contraction-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def contraction(rate_d, rate_g, weight):
    ### BEGIN SOLUTION
    gradient = 1.0 if GAME == "Wasserstein" else 0.5  # the slope of s at 0
    one, zero = torch.ones_like(rate_d), torch.zeros_like(rate_d)

    def matrix(a, b, c, d):
        return torch.stack([a, b, c, d], dim=-1).unflatten(-1, (2, 2))

    together = matrix(one, gradient * rate_g, -gradient * rate_d, 1 - rate_d * weight)
    discriminator = matrix(one, zero, -gradient * rate_d, 1 - rate_d * weight)
    generator = matrix(one, gradient * rate_g, zero, one)
    in_turn = generator @ discriminator  # the discriminator first
    return tuple(torch.linalg.eigvals(m).abs().amax(dim=-1) for m in (together, in_turn))
    ### END SOLUTION

# %% [markdown]
# The same training, run. The cell below makes the real steps, not the linear ones, and prints by what factor the
# distance from the equilibrium changed in a step, as a geometric mean. Small rates and a start near it: your factors
# should be the same.

# %% nbgrader={"grade": false, "grade_id": "contraction-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
def train(rate_d, rate_g, weight, alternate, steps=300):
    """The distance from the equilibrium after every step."""
    theta, psi = torch.tensor([0.02, 0.0], dtype=torch.float64)
    distances = []
    for _ in range(steps):
        product = psi * theta
        fake = 1.0 if GAME == "Wasserstein" else product.sigmoid()
        new_psi = psi - rate_d * (fake * theta + weight * psi)
        seen = new_psi if alternate else psi
        product = seen * theta
        sides = {"minimax": product, "non-saturating": -product}
        gradient = 1.0 if GAME == "Wasserstein" else sides[GAME].sigmoid()
        theta, psi = theta + rate_g * gradient * seen, new_psi
        distances.append((theta**2 + psi**2).sqrt().item())
    return distances


curves = {}
for weight in (0.0, 0.5):
    for name, alternate in (("simultaneous", False), ("alternating", True)):
        curves[f"{name}, weight {weight}"] = distances = train(0.2, 0.2, weight, alternate)
        factors = contraction(*torch.tensor([[0.2], [0.2], [weight]], dtype=torch.float64))
        measured = (distances[-1] / distances[99]) ** (1 / 200)
        agrees = abs(factors[alternate].item() - measured) < 0.005
        print(f"{name:<12} weight {weight}: agrees with the training: {agrees}")
plots.show_curves(
    {name: [math.log10(d) for d in distances] for name, distances in curves.items()},
    xlabel="steps", ylabel="distance from the equilibrium, power of ten",
)

# %% nbgrader={"grade": true, "grade_id": "contraction", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "contraction", contraction, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 7. A generator for any ring (6 points)
#
# Eight Gaussians on a ring, as in lesson {{gan}}. But now the ring comes in unknown units: its center lies
# anywhere, it may be thirty times as large, and it is turned. A network that was tuned for numbers about 1 finds
# nothing there. What would you do to the data first, and to the fakes last?
#
# **Write** `ring(real, z)`, with data real (N, 2) and noise z (n, {{LATENT}}), which is standard normal. It trains a
# generator on `real` alone, from scratch, and returns what the generator makes of the given z: points (n, 2), in the
# units of `real`, without gradients. Equal rows of z give equal points.
#
# The budget: at most 2000 updates of the generator with at most 256 fakes each, and about 20 seconds. The loss is
# free, from the lessons or from above. You may add functions of your own in this cell; in task 9 you will want one
# that takes a setting as an argument.
#
# The tests call `ring` once, with 4000 points of a ring of their own: radius {{RADIUS}} and Gaussians of width {{STD}},
# moved and blown up. Then they count, among 2000 points:
#
# - at least 7 of 8 modes get a tenth of their share or more, within three standard deviations (2 points);
# - at least 60 % of the points lie within two standard deviations of a mode; of the data it is 86 % (2 points);
# - the Gaussians are not narrower than half of those of the data (1 point);
# - the points are a function of z, and no copies of the data (1 point).
#
# Results differ from seed to seed. Try several seeds, and leave a margin.

# %% nbgrader={"grade": false, "grade_id": "ring-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ring(real, z):
    ### BEGIN SOLUTION
    center = real.mean(dim=0)
    size = (real - center).square().mean().sqrt() / 1.4
    generator = fit(((real - center) / size)[None], z.shape[1], updates=1500)
    return generator(z[None])[0].detach() * size + center


class Linears(nn.Module):
    """Linear layers of several GANs side by side: (gans, n, inputs) -> (gans, n, outputs)."""

    def __init__(self, gans, inputs, outputs):
        super().__init__()
        bound = inputs**-0.5  # as in nn.Linear
        self.weight = nn.Parameter(torch.empty(gans, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(gans, 1, outputs).uniform_(-bound, bound))

    def forward(self, x):
        return torch.baddbmm(self.bias, x, self.weight)


def network(gans, inputs, outputs, width=64):
    return nn.Sequential(
        Linears(gans, inputs, width), nn.LeakyReLU(0.2),
        Linears(gans, width, width), nn.LeakyReLU(0.2),
        Linears(gans, width, outputs),
    )


def fit(real, latent_dim, updates, momentum=0.5, weight=0.0):
    """A generator for each GAN, trained on its points (gans, N, 2) of a size of about 1.

    No GAN depends on another: a sum of losses has the gradients of each, and Adam treats every weight by
    itself. Six GANs at once take little longer than one.
    """
    gans, n = len(real), 128
    generator, discriminator = network(gans, latent_dim, 2), network(gans, 2, 1)
    of_g, of_d = [
        torch.optim.Adam(net.parameters(), betas=(momentum, 0.99), fused=True)
        for net in (generator, discriminator)
    ]
    for step in range(updates):
        for optimizer in (of_g, of_d):  # ever smaller steps
            optimizer.param_groups[0]["lr"] = 2e-3 * (1 - 0.95 * step / updates)
        x = real[:, torch.randint(real.shape[1], (n,))].requires_grad_(weight > 0)
        fake = generator(torch.randn(gans, n, latent_dim))
        on_real = discriminator(x)
        loss = F.softplus(-on_real).sum() + F.softplus(discriminator(fake.detach())).sum()
        if weight > 0:  # zero-centred, at the data
            (slope,) = torch.autograd.grad(on_real.sum(), x, create_graph=True)
            loss = loss + weight / 2 * slope.square().sum()
        of_d.zero_grad()
        (loss / n).backward()
        of_d.step()
        loss = F.softplus(-discriminator(fake)).sum() / n
        of_g.zero_grad()
        loss.backward()
        of_g.step()
    return generator
    ### END SOLUTION

# %% [markdown]
# A ring of that kind, and how your points look in its own units.

# %% nbgrader={"grade": false, "grade_id": "ring-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
eight, center, size = EightGaussians(RADIUS, STD), torch.tensor([-70.0, 40.0]), 25.0
data = center + size * eight.sample(4000)
points = (ring(data, torch.randn(2000, LATENT)) - center) / size
counts = mode_counts(points, eight.means, radius=2 * STD)
print("modes with a tenth of their share, 7 or more: ", int((counts >= 25).sum()) >= 7)
print("points near a mode, more than 60 %:          ", counts.sum().item() / 2000 > 0.6)
plots.show_points(
    {"data": eight.sample(2000), "yours": points}, modes=eight.means, radius=2 * STD, limit=3.2,
)

# %% nbgrader={"grade": true, "grade_id": "ring", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "ring", ring, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 8. A permutation test for paired seeds (3 points)
#
# You trained with one setting and with another, each from the same seeds. So the results come in pairs: $a_i$ and
# $b_i$ belong to seed $i$. Is one setting better, or is the difference chance?
#
# Suppose that the setting made no difference. Then the sign of every difference $d_i = a_i - b_i$ is Bernoulli(1/2).
# There are $2^n$ ways to choose the $n$ signs, all as likely, and each gives another mean $\frac{1}{n} \sum_i \pm d_i$.
# Let $p$ be the share of the ways whose mean is at least as large in size as the observed one, up or down. If it is
# small, chance is an unlikely explanation. The test is exact, whatever the distribution of the $d_i$, as long as either sign
# is as likely.
#
# **Write** `luck(a, b)`, with results (n,), n from 2 to 12. It returns three numbers: the mean of $d$, its standard
# error $\sqrt{\sum_i (d_i - \bar d)^2 / (n - 1)} / \sqrt{n}$, and $p$. The observed signs are one of the ways. Two
# ways may tie; rounding must not part them, so compare in double precision and with a little slack.

# %% nbgrader={"grade": false, "grade_id": "luck-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def luck(a, b):
    ### BEGIN SOLUTION
    d = (a - b).double()
    n = len(d)
    signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=torch.float64)] * n)  # (2^n, n)
    means = (signs @ d / n).abs()
    p = (means >= d.mean().abs() * (1 - 1e-9) - 1e-12).double().mean()
    return d.mean(), d.std() / math.sqrt(n), p
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "luck-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
mean, error, p = luck(torch.tensor([3.0, 5.0, 4.0]), torch.tensor([1.0, 4.0, 1.0]))
print(f"three pairs of one sign: mean {mean:.2f}, standard error {error:.3f}, p = {p:.2f}")
print("with three pairs nothing can be less likely than that: 2 of 8 ways")

# %% nbgrader={"grade": true, "grade_id": "luck", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps3_gan", "luck", luck, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 9. An experiment (6 points)
#
# Two pieces of advice about GANs: *take little momentum in Adam* ($\beta_1 = 0.5$, and not the usual 0.9), and
# *penalise the discriminator's slope at the data* (weight 0.1 times half the mean of $\lVert \nabla_x D(x) \rVert^2$,
# in place of none). Do they help here, on the ring of radius {{RADIUS}} and width {{STD}}, with 500 updates?
#
# Measure for each setting, over at least six seeds, the share of 2000 points that lie within two standard deviations
# of a mode. The same seed must mean the same first weights and the same data. Compare momentum 0.5 with 0.9, and
# penalty with none at momentum 0.5. Use `luck`. Show a figure, and print what you conclude from (3 points for this
# cell).

# %% nbgrader={"grade": true, "grade_id": "experiment", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
def shares_near(momentum=0.5, weight=0.0):
    """Six GANs, each with first weights, data and noise of its own: the same ones in every call."""
    torch.manual_seed(0)
    real = torch.stack([eight.sample(4000) for _ in seeds])
    generator = fit(real, LATENT, updates=500, momentum=momentum, weight=weight)
    points = generator(torch.randn(len(seeds), 2000, LATENT)).detach()
    near = [mode_counts(x, eight.means, radius=2 * STD).sum() for x in points]
    return torch.stack(near) / 2000


seeds = range(6)
little, much, penalised = shares_near(), shares_near(momentum=0.9), shares_near(weight=0.1)
shares = {"momentum 0.5": little, "momentum 0.9": much, "momentum 0.5, penalty": penalised}
best = {"data": 1 - math.exp(-2)}
plots.show_curves(shares, x=list(seeds), xlabel="seed", ylabel="share near a mode", baselines=best)
by_momentum, by_penalty = luck(little, much), luck(penalised, little)
better = int((little > much).sum())
print(f"little momentum is better in at least five of six runs:  {better >= 5}")
print(f"by more than 0.1 on average, and p is below 0.15:        "
      f"{bool(by_momentum[0] > 0.1 and by_momentum[2] < 0.15)}")
print(f"the penalty changes it by less than half of that:        "
      f"{bool(by_penalty[0].abs() < by_momentum[0] / 2)}")

### BEGIN MARK SCHEME
# 1: pairs are pairs: the seed is set before weights and data, for each setting alike; at least six seeds
# 1: both comparisons by `luck` (or the same by hand), in the share near a mode and with 500 updates
# 1: a figure, or a table, in which every single run can be seen
### END MARK SCHEME
### END SOLUTION

# %% [markdown]
# **Write** three to six sentences (3 points): what do you conclude about each piece of advice, from which numbers?
# What is the smallest $p$ that six seeds can give, and what follows for a reader of papers? And what does your
# experiment *not* say?

# %% [markdown] nbgrader={"grade": true, "grade_id": "conclusion", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# Little momentum helps: so say all six seeds, by more than 0.1 in the share near a mode, which is many standard
# errors. (With other seeds it may be five of six: the share scatters.) With all six $p = 2 / 64 = 0.031$, and no
# outcome of six pairs gives less, for the observed signs and their mirror image always count. So a $p$ of 0.03 from six
# seeds is all that one can have; with three seeds it would be 0.25, and a paper with one run for each method says
# nothing about chance. About the penalty we should not claim much: the
# mean difference is small beside that of the momentum, and the seeds alone move the share by about as much. That is
# no proof that it does nothing; more seeds would find a small effect. Nor does any of this speak of other data, of
# longer training, where the picture may change, or of the modes found, which were not measured. And we made two
# comparisons: the more one makes, the more likely it is that one of them has a small $p$ by chance.
#
# ### BEGIN MARK SCHEME
# - 1: a conclusion for each piece of advice that fits the student's own numbers (difference, error and $p$; not $p$
#   alone)
# - 1: the smallest $p$, $2 / 2^n$, and a sensible consequence (few seeds cannot convince; one run says nothing)
# - 1: a real limit: one data set, one budget, one measure, another setting of the rest, several comparisons; or that
#   a large $p$ does not prove that there is no effect
# ### END MARK SCHEME
# ### END SOLUTION

# %% [markdown]
# ## Task 10. Smoothed labels (4 points)
#
# Some people do not give the discriminator the labels 1 and 0, but $\alpha$ for real examples and $\beta$ for fakes,
# such as 0.9 and 0.1. Its loss is then, for equal shares,
#
# $$-\,\mathbb{E}_p \big[ \alpha \log D + (1 - \alpha) \log(1 - D) \big]
# - \mathbb{E}_q \big[ \beta \log D + (1 - \beta) \log(1 - D) \big].$$
#
# **Derive** the best $D$, and look at it where $p$ is nearly zero and $q$ is not. Why is it common advice to smooth
# one of the two labels and never the other (Salimans et al., 2016, arXiv:1606.03498, section 3.4)? And what becomes
# of `corrected` if its logits come from a discriminator that was trained with $\alpha = 0.9$ and $\beta = 0$?

# %% [markdown] nbgrader={"grade": true, "grade_id": "labels", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# At each place we minimise $-(\alpha p + \beta q) \log D - ((1 - \alpha) p + (1 - \beta) q) \log(1 - D)$. Its
# derivative by $D$ vanishes at
#
# $$D^* = \frac{\alpha p + \beta q}{p + q},$$
#
# which lies between $\beta$ and $\alpha$. With $\beta > 0$ the density of the fakes stands in the numerator: where $p
# \approx 0$ and the generator puts its fakes, $D^* \approx \beta$ is flat instead of falling with $p / q$, and its
# slope gives fakes there no direction towards the data; a peak of $q$ can even be a place where $D^*$ does not get lower, so that the
# generator has no reason to leave. With $\beta = 0$ smoothing only scales: $D^* = \alpha p / (p + q)$, which has its
# low values where it had them, and the discriminator is kept from extreme logits on real data. So smooth the label of
# the real examples only.
#
# `corrected` reads $p / q$ from $D / (1 - D)$. For $\alpha = 0.9$, $\beta = 0$ that is $0.9\, p / (0.1\, p + q)$:
# never above 9, too small wherever $p$ is large. Weights of good fakes would be too small, the estimate biased
# towards the generator's own mean. The ratio is $D / (\alpha - D)$ instead, and infinite or without meaning for a
# logit that says $D \ge \alpha$.
#
# ### BEGIN MARK SCHEME
# - 1: $D^*$ with its derivation
# - 1: with $\beta > 0$: $q$ in the numerator, so $D^* \to \beta$ where $p \approx 0$, and what this does to the
#   generator there
# - 1: with $\beta = 0$: $D^*$ is scaled by $\alpha$ only; so smooth the real labels
# - 1: `corrected` is biased, $0.9\, p / (0.1\, p + q)$, or that the ratio must be $D / (\alpha - D)$
# ### END MARK SCHEME
# ### END SOLUTION
