# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # GAN: exercises
#
# **Can you build a GAN from nothing but tensors, and hold it against the truth?**
#
# Nine steps take you there, from noise through a function to two networks that play against each other. They belong to
# lesson [{{gan}} GAN](../notebooks/{{gan}}_gan.ipynb), which explains the ideas; read it first, or beside this. You need one
# course in probability and one in PyTorch. All nine steps take about 120 minutes, and putting them together 15 more; stop
# after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and then the code below it. The answers are in
# [solutions](../solutions/{{gan}}_gan_exercises.ipynb); later steps use your functions, so copy the answer of a step
# that you skip.

# %%
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from course import checks
from genlib import plots
from genlib.data import EightGaussians

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. Noise, through a function
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# A GAN draws noise $z$ and computes $x = g(z)$. That is all of its sampling. The price: the density of $x$
# is unknown. In a space of images it has none that you could write down. On the line it still does, as long as $g$ always
# rises or always falls. Where $g$ is steep, the same probability is spread over more $x$:
#
# $$p_g(x) = \frac{p(z)}{|g'(z)|} \quad \text{at } x = g(z), \qquad p(z) = \frac{1}{\sqrt{2\pi}}\, e^{-z^2/2}.$$
#
# We stay on the line for a while. There we can see what the two networks do.
#
# **Write** `pushforward(g, z)`. `g` maps a tensor (n,) to a tensor (n,), each entry by itself; z is (n,). It returns
# two tensors (n,): $x = g(z)$, and $\log p_g(x)$ when $z$ comes from $N(0, 1)$. Far out $p(z)$ rounds to zero, so
# write its logarithm directly. Both are to be looked at, so let go of the graph: `.detach()`.
#
# <details><summary>Hint</summary>
#
# Each entry of x depends on one entry of z alone. So the gradient of the sum of all x holds all n slopes. A slope may be
# negative, and its logarithm must exist.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# z = z.detach().clone().requires_grad_()  # a copy to differentiate by
# x = g(z)
# (slope,) = torch.autograd.grad(x.sum(), z)
# ```
# </details>

# %%
def pushforward(g, z):
    """g, a function (n,) -> (n,), and z (n,) -> x (n,) and log p(x) (n,), both detached."""
    ### BEGIN SOLUTION
    z = z.detach().clone().requires_grad_()
    x = g(z)
    (slope,) = torch.autograd.grad(x.sum(), z)
    log_p_z = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    return x.detach(), (log_p_z - slope.abs().log()).detach()
    ### END SOLUTION


# %%
checks.gan.pushforward(pushforward)

# %% [markdown]
# Here is a generator that rises: a straight line plus smooth steps. Rising is no loss on the line, where a rising
# function can turn $N(0, 1)$ into any density. Does your formula agree with a histogram of draws? The two curves
# should lie on each other.

# %%
class Rising(nn.Module):
    """A generator on the line that always rises: a straight line plus 16 smooth steps upwards."""

    def __init__(self, shift):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))
        self.log_slope = nn.Parameter(torch.zeros(()))
        self.log_height = nn.Parameter(torch.full((16,), -3.0))
        self.log_steepness = nn.Parameter(torch.full((16,), 1.0))
        self.at = nn.Parameter(torch.linspace(-2, 2, 16))

    def forward(self, z):
        steps = self.log_height.exp() * torch.tanh(self.log_steepness.exp() * (z[:, None] - self.at))
        return self.shift + self.log_slope.exp() * z + steps.sum(dim=1)


# %%
start = Rising(shift=-1.0)
x, log_p = pushforward(start, torch.linspace(-3, 3, 400))
with torch.no_grad():
    drawn = start(torch.randn(100_000))
share = ((x[:, None] - drawn).abs() < 0.1).float().mean(dim=1)  # of the draws, around each x
plots.show_curves(
    {"by your formula": log_p.exp(), "counted": share / 0.2}, x=x, xlabel="x", ylabel="density"
)

# %% [markdown]
# ## Step 2. The discriminator's loss
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# The **discriminator** $D$ looks at a point and says how likely it is to be real. Its network computes a logit $\ell$,
# and $D = \sigma(\ell) = 1 / (1 + e^{-\ell})$. It wants $D$ large for real points $x$ and small for fakes $G(z)$, so
# it minimises
#
# $$L_D = -\,\mathbb{E}_x \log D(x) - \mathbb{E}_z \log\big(1 - D(G(z))\big).$$
#
# Do not compute $D$ first. For a large logit it rounds to 0 or 1, and the logarithm becomes infinite. The function
# $\text{softplus}(a) = \log(1 + e^a)$ is exact for every number, and it is all you need:
#
# $$-\log \sigma(\ell) = \text{softplus}(-\ell), \qquad -\log(1 - \sigma(\ell)) = \text{softplus}(\ell).$$
#
# **Write** `discriminator_loss(real, fake)`. Both are logits, real (n,) for real points and fake (m,) for fakes. It
# returns one number: the mean over the real ones plus the mean over the fakes.
#
# <details><summary>Hint</summary>
#
# Both logarithms are minus a softplus, so both halves of the loss are the mean of one. Which of them gets a minus inside?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# of_real = F.softplus(-real).mean()
# ```
# </details>

# %%
def discriminator_loss(real, fake):
    """Logits real (n,) and fake (m,) -> one number."""
    ### BEGIN SOLUTION
    return F.softplus(-real).mean() + F.softplus(fake).mean()
    ### END SOLUTION


# %%
checks.gan.discriminator_loss(discriminator_loss)

# %% [markdown]
# Two numbers to remember. A discriminator that says 1/2 everywhere has the loss $\log 4$; a useful one has less. And
# one that is sure and wrong has a large loss, but not an infinite one.

# %%
undecided, wrong = torch.zeros(1), torch.tensor([-200.0])
print(f"always D = 1/2:                {discriminator_loss(undecided, undecided):.3f}")
print(f"log 4:                         {math.log(4):.3f}")
print(f"a real point with logit -200:  {discriminator_loss(wrong, undecided):.1f}")
print(f"the same by log(sigmoid):      {-wrong.sigmoid().log().item()}")

# %% [markdown]
# ## Step 3. The best discriminator
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Suppose we knew both densities. What is the best that $D$ can do? The loss is an integral, and at each point $x$ we
# may choose $D(x)$ freely. So minimise under the integral:
#
# $$-\,p_{\text{data}}(x) \log D - p_g(x) \log(1 - D) \quad \text{is smallest at} \quad
# D^*(x) = \frac{p_{\text{data}}(x)}{p_{\text{data}}(x) + p_g(x)}.$$
#
# (Set the derivative by $D$ to zero.) A network answers with a logit. Which one is best? It is
#
# $$\ell^*(x) = \log \frac{D^*(x)}{1 - D^*(x)}.$$
#
# **Write** `best_logit(log_p_data, log_p_fake)`. It takes the two log densities, tensors of one shape, and returns
# $\ell^*$ in that shape. Simplify on paper first: your answer must hold where both densities round to zero.
#
# <details><summary>Hint</summary>
#
# Put $D^*$ into $D^* / (1 - D^*)$. The sum of the two densities cancels. What remains is one ratio, and you are given
# logarithms.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_of_a_ratio = torch.log(a) - torch.log(b)
# ```
# </details>

# %%
def best_logit(log_p_data, log_p_fake):
    """Two log densities of one shape (...) -> the logit of the best D, (...)."""
    ### BEGIN SOLUTION
    return log_p_data - log_p_fake
    ### END SOLUTION


# %%
checks.gan.best_logit(best_logit)

# %% [markdown]
# Our data for the next steps: three bumps on the line. Beside them the generator from above, untrained, and the best
# discriminator of the two. It holds where the data are more likely than the fakes, and not the density of the data.

# %%
data = MixtureSameFamily(
    Categorical(torch.tensor([0.3, 0.5, 0.2])),
    Normal(torch.tensor([-2.0, 0.5, 2.5]), torch.tensor([0.4, 0.5, 0.3])),
)
x, log_p_start = pushforward(start, torch.linspace(-3.5, 5.5, 800))
best = best_logit(data.log_prob(x), log_p_start).sigmoid()
plots.show_curves(
    {"data": data.log_prob(x).exp(), "generator": log_p_start.exp(), "best D": best},
    x=x, xlabel="x", ylabel="density, and D", baselines={"cannot tell": 0.5},
)

# %% [markdown]
# ## Step 4. What the objective measures
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# The **value function** $V(D, G)$ is minus the loss of $D$. Put the best discriminator into it, and a distance between the
# two densities comes out:
#
# $$\mathbb{E}_x \log D^*(x) + \mathbb{E}_z \log\big(1 - D^*(G(z))\big)
# = 2\, \text{JSD}(p_{\text{data}}, p_g) - \log 4.$$
#
# So against the best $D$, a generator that lowers the value lowers the **Jensen-Shannon divergence**. With the mixture
# $m = (p + q) / 2$ and the Kullback-Leibler divergence $KL(p \,\|\, m) = \int p \log (p / m)$ it is
#
# $$\text{JSD}(p, q) = \tfrac{1}{2} KL(p \,\|\, m) + \tfrac{1}{2} KL(q \,\|\, m).$$
#
# It is zero where $p = q$, and at most $\log 2$. On the line we compute it by **quadrature**: cut the line into cells,
# take the density in each, and multiply by its width $\Delta x$.
#
# $$\int p(x) \log \frac{p(x)}{m(x)}\, dx \approx \sum_i p(x_i) \log \frac{p(x_i)}{m(x_i)}\, \Delta x_i.$$
#
# **Write** `jsd(log_p, log_q, dx)`, with the log densities and the widths of n cells, (n,) each. The widths may
# differ. It returns one number, in nats. There may be cells that neither density reaches, where both round to zero.
#
# <details><summary>Hint</summary>
#
# Never leave log-space for the mixture. Then each term of the sum is a density times a difference of logarithms: where
# the density rounds to zero, a zero times a finite number.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_sum = torch.logaddexp(log_p, log_q)  # log(p + q)
# log_m = log_sum - math.log(2)
# ```
# </details>

# %%
def jsd(log_p, log_q, dx):
    """Log densities and widths of cells, (n,) each -> one number, in nats."""
    ### BEGIN SOLUTION
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    from_m = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
    return 0.5 * (from_m * dx).sum()
    ### END SOLUTION


# %%
checks.gan.jsd(jsd)

# %% [markdown]
# Two Gaussians, further and further apart. First the theorem: the value at your best discriminator, computed by
# itself, against your JSD. Then the curve, and what it means: once the two hardly overlap, moving them closer changes
# next to nothing. A generator that follows this curve from the far right gets hardly any gradient.

# %%
line, cell = torch.linspace(-10, 20, 6001), torch.full((6001,), 0.005)
log_p = Normal(0.0, 1.0).log_prob(line)
distances, values, divergences = torch.linspace(0, 10, 41).tolist(), [], []
for distance in distances:
    log_q = Normal(distance, 1.0).log_prob(line)
    logit = best_logit(log_p, log_q)
    loss = log_p.exp() * F.softplus(-logit) + log_q.exp() * F.softplus(logit)
    values.append(-(loss * cell).sum())
    divergences.append(jsd(log_p, log_q, cell))
gap = (torch.tensor(values) - (2 * torch.tensor(divergences) - math.log(4))).abs().max()
print(f"value at the best D = 2 JSD - log 4, within 0.0001: {gap < 1e-4}")
plots.show_curves(
    {"JSD": divergences}, x=distances, xlabel="distance of the means", ylabel="nats",
    baselines={"log 2": math.log(2)},
)

# %% [markdown]
# ## Step 5. Two losses for the generator
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Now the other network. The **generator** wants its fakes called real. Two losses say so, and it minimises either:
#
# $$L_{\text{minimax}} = \mathbb{E}_z \log\big(1 - D(G(z))\big), \qquad
# L_{\text{non-saturating}} = -\,\mathbb{E}_z \log D(G(z)).$$
#
# The first is the very term that $D$ pushes up, with the opposite sign: one value, a minimum for one network and a
# maximum for the other. The second (Goodfellow et al., 2014, arXiv:1406.2661, section 3) swaps the label: call the
# fakes real, and take the cross-entropy. Watch the signs. Some lecture notes let the generator *maximise*
# $-\log D(G(z))$, which would make $D$ call its fakes fake.
#
# **Write** `generator_losses(fake)`, with the logits of fakes (n,). It returns two numbers, the minimax loss first. As
# before, every logit must be safe.
#
# <details><summary>Hint</summary>
#
# Step 2 has both formulas: $-\log \sigma(\ell)$ and $-\log(1 - \sigma(\ell))$ as a softplus. One of the two losses needs a
# minus in front of it.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_one_minus_d = -F.softplus(fake)
# ```
# </details>

# %%
def generator_losses(fake):
    """Logits fake (n,) -> two numbers: the minimax loss, the non-saturating loss."""
    ### BEGIN SOLUTION
    return -F.softplus(fake).mean(), F.softplus(-fake).mean()
    ### END SOLUTION


# %%
checks.gan.generator_losses(generator_losses)

# %% [markdown]
# Both losses fall as $D$ rises on the fakes. But look at where they are flat. Early in training fakes are
# easy to tell, and the logits of $D$ for fakes are far below zero.

# %%
logits = torch.linspace(-8, 8, 161)
minimax, non_saturating = torch.tensor([generator_losses(logit[None]) for logit in logits]).T
plots.show_curves(
    {"minimax": minimax, "non-saturating": non_saturating},
    x=logits, xlabel="logit of a fake", ylabel="loss of the generator",
)

# %% [markdown]
# ## Step 6. Gradient magnitudes
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# A loss acts on the generator only through its gradient. For one fake with the logit $\ell$ the slopes are
#
# $$s_{\text{minimax}} = \frac{d}{d\ell} \log\big(1 - \sigma(\ell)\big), \qquad
# s_{\text{non-saturating}} = \frac{d}{d\ell} \big({-\log \sigma(\ell)}\big), \qquad
# \text{where } \sigma'(\ell) = \sigma(\ell)\,(1 - \sigma(\ell)).$$
#
# Work them out by hand. Everything else in the gradient, from the logit back through $D$ and into $G$, is the same for
# both losses. So these two slopes are the whole difference.
#
# **Write** `slopes(fake)`, with logits of any shape. It returns two tensors of that shape, $s_{\text{minimax}}$ first: one
# slope for each fake by itself.
#
# <details><summary>Hint</summary>
#
# The chain rule gives $-\sigma'(\ell) / (1 - \sigma(\ell))$ for the first. One factor cancels. Do the same for the second.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# # to be sure, let autograd differentiate a loss of each logit by itself
# leaf = fake.detach().clone().requires_grad_()
# (slope,) = torch.autograd.grad(-F.softplus(leaf).sum(), leaf)
# ```
# </details>

# %%
def slopes(fake):
    """Logits fake (...) -> two tensors (...): the slopes of the minimax and of the non-saturating loss."""
    ### BEGIN SOLUTION
    return -fake.sigmoid(), fake.sigmoid() - 1
    ### END SOLUTION


# %%
checks.gan.slopes(slopes)

# %% [markdown]
# The two curves are mirror images. At the left, where $D$ has found the fake out, the minimax slope **vanishes**: the
# worse the fake, the less it learns. The non-saturating slope is steepest there.

# %%
minimax, non_saturating = slopes(logits)
plots.show_curves(
    {"minimax": minimax, "non-saturating": non_saturating},
    x=logits, xlabel="logit of a fake", ylabel="slope",
)

# %% [markdown]
# Now put it together. Data from $N(0, 1)$, a generator $x = m + z$ that starts at the distance $m$, and the best
# discriminator, whose logit is $\ell^*(x) = m^2/2 - m x$ (your step 3, for two Gaussians). The gradient by $m$ is the
# mean of slope times $d\ell^*/dx = -m$. Which loss moves the generator to the data from far away?

# %%
z = torch.special.ndtri((torch.arange(2000) + 0.5) / 2000)  # N(0, 1), spread evenly
m = torch.linspace(0.1, 8, 80)[:, None]
logit = m**2 / 2 - m * (m + z)
gradients = [(-m * slope).mean(dim=1) for slope in slopes(logit)]
plots.show_curves(
    {"minimax": gradients[0], "non-saturating": gradients[1]},
    x=m[:, 0], xlabel="distance m", ylabel="gradient by m",
)
far = [gradient[-1].item() for gradient in gradients]
print(f"at m = 8 the non-saturating gradient is {far[1]:.1f}, and the minimax gradient {far[0]:.0e}")

# %% [markdown]
# ## Step 7. The discriminator's step
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# The two steps alternate. First $D$, whose parameters we call $\phi$, goes a small step $\eta$ downhill, on one batch
# of real points $x$ and one of noise $z$:
#
# $$\phi \leftarrow \phi - \eta\, \nabla_\phi\, L_D\big(D(x),\; D(\text{fixed}(G(z)))\big).$$
#
# The fakes are **fixed**: for this step they are mere points. A gradient that ran on into $G$ would cost time. And it
# would be left in the parameters of $G$, where it points the wrong way: it makes fakes easier to find out.
#
# **Write** `discriminator_step(discriminator, generator, optimizer, x, z)`. `generator(z)` are fakes, and
# `discriminator` maps points to logits (n,). The optimizer holds the parameters of $D$; these may still carry
# gradients from the generator's last step. Take one step on your `discriminator_loss` and return the loss that you
# stepped on, as a tensor. The generator, its gradients included, must be as it was.
#
# <details><summary>Hint</summary>
#
# Which numbers must not remember where they came from? Then the three calls of every training loop, in their order.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# fake = generator(z).detach()  # the same numbers, without their history
# ...
# optimizer.zero_grad()
# loss.backward()
# optimizer.step()
# ```
# </details>

# %%
def discriminator_step(discriminator, generator, optimizer, x, z):
    """Points x (n, d) and noise z (m, d) -> the loss of D, one number; D has moved."""
    ### BEGIN SOLUTION
    fake = generator(z).detach()
    loss = discriminator_loss(discriminator(x), discriminator(fake))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
    ### END SOLUTION


# %%
checks.gan.discriminator_step(discriminator_step)

# %% [markdown]
# Let only $D$ move, against the untrained generator. It gets no density. All it gets are points, and yet it
# must come close to $D^*$, since there is its best loss.

# %%
def network(inputs, width, outputs):
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, outputs),
    )


# momentum 0.5 in place of Adam's usual 0.9: the objective is non-stationary, so old gradients mislead
def adam(player, rate):
    return torch.optim.Adam(player.parameters(), lr=rate, betas=(0.5, 0.99), fused=True)


# on the line: (n,) -> (n,)
discriminator = nn.Sequential(nn.Unflatten(0, (-1, 1)), network(1, 32, 1), nn.Flatten(0))
optimizer = adam(discriminator, 3e-3)
before = copy.deepcopy(start.state_dict())
for _ in range(500):
    discriminator_step(discriminator, start, optimizer, data.sample((256,)), torch.randn(256))

# %%
codes = torch.linspace(-20, 20, 8001)
x, log_p_start = pushforward(start, codes)
log_p_data, dx = data.log_prob(x), torch.gradient(x)[0]  # dx: the width of each cell
with torch.no_grad():
    logit = discriminator(x)
paid = log_p_data.exp() * F.softplus(-logit) + log_p_start.exp() * F.softplus(logit)
least = math.log(4) - 2 * jsd(log_p_data, log_p_start, dx)
excess = (paid * dx).sum() - least
unmoved = all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
print(f"the best loss of any discriminator here:       {least:.3f}")
print(f"yours pays more than that, by at most 0.06:    {0 < excess < 0.06}")
print(f"the generator has not moved:                   {unmoved}")
seen = (x > -4.5) & (x < 4.5)
best = best_logit(log_p_data, log_p_start).sigmoid()
plots.show_curves(
    {"your D": logit.sigmoid()[seen], "best D": best[seen]},
    x=x[seen], xlabel="x", ylabel="D", baselines={"cannot tell": 0.5},
)

# %% [markdown]
# Where there are many points, the two are close. Where there are hardly any, at the edges, the output of $D$ has next to
# no effect on its loss. It affects the generator all the same.

# %% [markdown]
# ## Step 8. The generator's step
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# Now the step of $G$, whose parameters we call $\theta$. It goes downhill on the non-saturating loss, and this
# time the gradient must run **through** $D$ and into $G$:
#
# $$\theta \leftarrow \theta + \eta\, \nabla_\theta\, \mathbb{E}_z \log D(G_\theta(z)), \qquad
# \phi \text{ unchanged}.$$
#
# No real points are needed. All information about the data reaches $G$ through $D$.
#
# **Write** `generator_step(discriminator, generator, optimizer, z)`. The optimizer holds the parameters of $G$. Take
# one step on your non-saturating loss and return the loss that you stepped on, as a tensor. $D$ must be as it was;
# what is left in its gradients does not matter, since its own step clears them.
#
# <details><summary>Hint</summary>
#
# The same three calls. Nothing is detached. An optimizer changes only the parameters that it was given, so $D$ is safe
# although `backward` leaves gradients there.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# logits = discriminator(generator(z))
# ```
# </details>

# %%
def generator_step(discriminator, generator, optimizer, z):
    """Noise z (m, d) -> the non-saturating loss, one number; G has moved."""
    ### BEGIN SOLUTION
    _, loss = generator_losses(discriminator(generator(z)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss
    ### END SOLUTION


# %%
checks.gan.generator_step(generator_step)

# %% [markdown]
# And if only $G$ moved? Here is the generator alone, 600 steps against the discriminator of step 7, which stands still.
# **Predict before you run the cell:** does the JSD from the data fall all the way, fall and rise again, or rise from the
# start? What is the best answer to a fixed $D$?

# %%
def from_the_data(generator):
    """JSD between the data and a generator on the line, in nats."""
    x, log_p_fake = pushforward(generator, codes)
    return float(jsd(data.log_prob(x), log_p_fake, torch.gradient(x)[0]))


greedy = copy.deepcopy(start)
optimizer, alone = adam(greedy, 1e-2), [from_the_data(greedy)]
for _ in range(30):
    for _ in range(20):
        generator_step(discriminator, greedy, optimizer, torch.randn(256))
    alone.append(from_the_data(greedy))
plots.show_curves(
    {"generator alone": alone}, x=range(0, 601, 20), xlabel="steps of the generator, none of D",
    ylabel="JSD from the data, nats", baselines={"log 2": math.log(2)},
)
print(f"at its best the generator was below 0.12 nats:      {min(alone) < 0.12}")
print(f"in the end it is 0.1 nats worse than at the start:  {alone[-1] > alone[0] + 0.1}")

# %% [markdown]
# At first it gets better. Then it crowds on the peaks of $D$, where the best answer to a fixed $D$ puts every fake, and ends
# worse than it began. Nothing in the generator's loss asks for variety; only a $D$ that answers, and calls out the
# crowd, does.

# %% [markdown]
# ## Step 9. Count the modes
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# Has a generator found all of the data? The losses do not say. Where the data have known centers $c_1, \dots, c_M$ we
# can count. A point belongs to its nearest center (to one, if two are as near), and only if it is near enough:
#
# $$h_k = \#\big\{ i : k = \arg\min_j \lVert x_i - c_j \rVert \;\text{ and }\; \lVert x_i - c_k \rVert \le r \big\}.$$
#
# A mode with $h_k$ close to zero is **dropped**. The share $\sum_k h_k / n$ tells how many points lie near any mode at
# all.
#
# **Write** `hits(x, centers, radius)`, with points x (n, d) and centers (M, d). It returns the counts $h_k$, (M,).
#
# <details><summary>Hint</summary>
#
# For each point you need its nearest center and how far that is. Leave out the points that are too far from it, then
# count how often each center occurs. A mode that nothing hits has the count 0.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# distance, nearest = torch.cdist(x, centers).min(dim=1)
# counts = torch.bincount(some_of_the_nearest, minlength=len(centers))
# ```
# </details>

# %%
def hits(x, centers, radius):
    """Points x (n, d), centers (M, d) and a number -> how many points belong to each center, (M,)."""
    ### BEGIN SOLUTION
    distance, nearest = torch.cdist(x, centers).min(dim=1)
    return nearest[distance <= radius].bincount(minlength=len(centers))
    ### END SOLUTION


# %%
checks.gan.hits(hits)

# %% [markdown]
# Eight Gaussians on a ring, and two generators made by hand. One draws perfect points, but of three modes only. The
# other has found out that the data lie on a ring, and has not seen the modes. Each of them
# is good by one of your two numbers; you need both.

# %%
ring = EightGaussians()
angle = 2 * math.pi * torch.rand(4000)
circle = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
draws = {
    "data": ring.sample(4000),
    "three modes": ring.means[torch.randint(3, (4000,))] + ring.std * torch.randn(4000, 2),
    "whole ring": circle + ring.std * torch.randn(4000, 2),
}


def picture(points, cells=48):
    """How many points fall into each cell of the plane, as an image."""
    edges = torch.linspace(-3.2, 3.2, cells + 1)
    counts = torch.histogramdd(points.detach(), [edges, edges]).hist
    return (counts / counts.quantile(0.99).clamp(min=1)).clamp(max=1).T.flip(0)[None]


pictures = torch.stack([picture(points) for points in draws.values()])
plots.show_images(pictures, titles=list(draws), columns=3, size=2.2)

# %%
def report(points):
    """How many modes get a tenth of their due share or more; the share of points near a mode."""
    counts = hits(points, ring.means, 2 * ring.std)
    found, near = int((counts > 0.1 * len(points) / 8).sum()), counts.sum() / len(points)
    return found, near.item()


for name, points in draws.items():
    found, near = report(points)
    print(f"{name:<12} {found} of 8 modes, and more than 60 % of the points near one: {near > 0.6}")

# %% [markdown]
# ## All together: your GAN
#
# *15 minutes*
#
# Your pieces make a whole GAN: two alternating steps. Nothing here comes from `genlib.adversarial`. First on the
# line, where your `pushforward` and your `jsd` can say at any time how far the generator is from the data.

# %%
def play(discriminator, generator, draw, noise, steps, rates, watch=lambda step: None):
    """Alternate: one step of the discriminator, one of the generator, whose steps grow smaller."""
    of_d, of_g = adam(discriminator, rates[0]), adam(generator, rates[1])
    smaller_steps = torch.optim.lr_scheduler.LinearLR(of_g, 1.0, 0.05, total_iters=steps)
    losses = []
    for step in range(steps):
        watch(step)
        paid = discriminator_step(discriminator, generator, of_d, draw(128), noise(128))
        losses.append((paid.item(), generator_step(discriminator, generator, of_g, noise(128)).item()))
        smaller_steps.step()
    watch(steps)
    return losses


# %%
generator, at, together = copy.deepcopy(start), [], []


def watch(step):
    if step % 20 == 0:
        at.append(step)
        together.append(from_the_data(generator))


losses = play(
    discriminator, generator, lambda n: data.sample((n,)), torch.randn, 1000, (3e-3, 5e-3), watch
)

# %% [markdown]
# The baseline is the single Gaussian with the mean and the spread of the data. The JSD of your generator
# falls, though not at every step. Each step goes down the loss of one network, and the other network then changes that
# loss: a non-stationary objective.

# %%
line, cell = torch.linspace(-8, 8, 4001), torch.full((4001,), 0.004)
bell = Normal(data.mean, data.stddev).log_prob(line)
baseline = jsd(data.log_prob(line), bell, cell)
plots.show_curves(
    {"your generator": together}, x=at, xlabel="steps of both", ylabel="JSD from the data, nats",
    baselines={"one Gaussian": baseline},
)
print(f"JSD of one Gaussian:                          {baseline:.3f} nats")
print(f"your generator's was above 0.15 at the start: {together[0] > 0.15}")
print(f"and is below 0.03 at the end:                 {together[-1] < 0.03}")

# %% [markdown]
# Can the losses show it? They do not fall as losses should: that of $D$ rises. Both come to rest near $\log 4$
# and $\log 2$, the losses of a $D$ that says 1/2 everywhere. That may mean that the fakes are good, or that $D$ is weak. A
# fresh $D$, which has learned nothing, has nearly the same two losses.

# %%
smooth = torch.tensor(losses).unfold(0, 20, 20).mean(dim=2)  # means of twenty steps
plots.show_curves(
    {"discriminator": smooth[:, 0], "generator": smooth[:, 1]},
    x=torch.arange(len(smooth)) * 20 + 10, xlabel="steps of both", ylabel="loss, nats",
    baselines={"log 4": math.log(4), "log 2": math.log(2)},
)

# %% [markdown]
# Here it was both. The generator has learned three bumps, from points alone. And the best $D$ still sees what is wrong
# with them, where yours no longer does.

# %%
x, log_p_fake = pushforward(generator, codes)
log_p_data, dx = data.log_prob(x), torch.gradient(x)[0]
with torch.no_grad():
    logit = discriminator(x)
seen = (x > -3.5) & (x < 3.5)
best = best_logit(log_p_data, log_p_fake).sigmoid()
plots.show_curves(
    {"data": log_p_data.exp()[seen], "generator": log_p_fake.exp()[seen],
     "your D": logit.sigmoid()[seen], "best D": best[seen]},
    x=x[seen], xlabel="x", ylabel="density, and D", baselines={"cannot tell": 0.5},
)
paid = log_p_data.exp() * F.softplus(-logit) + log_p_fake.exp() * F.softplus(logit)
paid, least = (paid * dx).sum(), math.log(4) - 2 * jsd(log_p_data, log_p_fake, dx)
print(f"your D's loss is within 0.1 of log 4:  {(paid - math.log(4)).abs() < 0.1}")
print(f"the best D would still pay less:       {least < paid}")

# %% [markdown]
# ### In the plane
#
# Now the ring. The generator is an ordinary network, whose density is unknown. So we draw and count. Watch what
# it finds first.

# %%
discriminator = nn.Sequential(network(2, 64, 1), nn.Flatten(0))
generator, frames = network(2, 64, 2), {}


def noise(n):
    return torch.randn(n, 2)


def keep_frame(step):
    if step in (0, 50, 300, 1500):
        frames[f"{step} steps"] = picture(generator(noise(4000)))


losses = play(discriminator, generator, ring.sample, noise, 1500, (3e-3, 2e-3), keep_frame)
frames["data"] = picture(draws["data"])
plots.show_images(torch.stack(list(frames.values())), titles=list(frames), columns=5, size=1.8)

# %%
with torch.no_grad():
    found, near = report(generator(noise(4000)))
_, baseline = report(draws["whole ring"])
print(f"your GAN hits at least 7 of 8 modes:            {found >= 7}")
print(f"more than 65 % of its points lie near one:      {near > 0.65}")
print(f"by 20 % of all points more than the whole ring: {near - baseline > 0.2}")

# %% [markdown]
# Compare the last two pictures. All modes are there, but yours are thinner, and threads of points run from one to the
# next. Those cannot go away: the noise is one connected cloud, and a network, being continuous, cannot tear it apart.

# %% [markdown]
# ## What you have built
#
# Samples without a density, two networks trained against each other, and the means to judge it: the best discriminator, the
# divergence that it measures, and a count of modes. The settings above are mild ones, chosen so that training goes
# well. With others GANs often fail.
#
# Where to go on:
#
# - Give `adam` its usual momentum of 0.9 and train on the ring again, a few times. How many modes do you count now?
# - Move the generator on the line far away, `Rising(shift=-8.0)`, and give $D$ its 500 steps before $G$ takes its first.
#   Let $G$ take plain steps, `torch.optim.SGD(generator.parameters(), lr=0.03)`: Adam divides a gradient by its usual
#   size, and so hides how small it is. Train with the non-saturating loss, and then with the minimax loss in
#   `generator_step`. Which of the two reaches the data?
# - Let $D$ take five steps for each of the generator. Does the JSD on the line fall faster, in steps of $G$?
# - Read `genlib/adversarial/gan.py`. `GAN` has your loss of $D$ and your non-saturating loss, `MinimaxGAN` the other.
# - Back to the lesson, [{{gan}} GAN](../notebooks/{{gan}}_gan.ipynb). What made GANs work on images is the subject of lesson {{gan_architectures}}.
