# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # GAN architectures: exercises
#
# **Can you build the parts that made GANs work, and measure what comes out?**
#
# Ten steps give you a kit: networks for images and where their weights start, two losses beside the logarithm, a
# gradient penalty, labels, interpolation between two codes, a distance between sets of images, and a test for memorised ones. At
# the end it trains a WGAN-GP and a conditional DCGAN. The steps belong to lesson
# [{{gan_architectures}} GAN architectures](../notebooks/{{gan_architectures}}_gan_architectures.ipynb), which explains the ideas; read it first, or beside
# this. You need one course in probability and one in PyTorch. All ten steps take about 140 minutes, and the two
# GANs at the end another 20; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and then the code below it. The answers are in
# [solutions](../solutions/{{gan_architectures}}_gan_architectures_exercises.ipynb); later steps use your functions, so copy the answer of
# a step that you skip.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import plots
from genlib.data import EightGaussians, independent_pixels, load
from genlib.metrics import frechet_distance, mode_counts, train_classifier

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. The sides of a map
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# A DCGAN has no pooling. Its discriminator makes maps smaller by convolutions that stride, and its generator makes them
# larger by **transposed** convolutions. Before you build one, you must know what becomes of a side of $n$ pixels.
#
# A **convolution** with a kernel of $k$, a stride of $s$ and a padding of $p$ adds $p$ zeros on *both* ends. Then it
# puts the kernel at the start and moves it on by $s$, as long as it lies inside as a whole. Each place makes one
# pixel:
#
# $$n_{\text{down}} = \left\lfloor \frac{n + 2p - k}{s} \right\rfloor + 1.$$
#
# A **transposed convolution** works the other way round. Each of the $n$ pixels stamps a copy of the kernel, $k$
# wide, and each copy begins $s$ pixels after the one before. Where copies overlap they add up. At last, $p$ pixels
# are *cut off* both ends. How far do the copies reach?
#
# **Write** `sides(side, kernel, stride, padding)`. `side` is a tensor (m,) of integers, several sides at once; the
# others are integers. It returns two tensors (m,): the sides after a convolution, and those after a transposed one.
#
# <details><summary>Hint</summary>
#
# The first formula is printed: only the brackets that round down need a translation. For the second, where does the last of
# $n$ copies begin, and how wide is it?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# places = (side + 2 * padding - kernel) // stride  # for tensors of integers // rounds down
# begin_of_the_last_copy = (side - 1) * stride
# ```
# </details>

# %%
def sides(side, kernel, stride, padding):
    """Sides (m,), whole numbers, and three integers -> two tensors (m,): after a convolution, after a transposed one."""
    ### BEGIN SOLUTION
    down = (side + 2 * padding - kernel) // stride + 1
    up = (side - 1) * stride + kernel - 2 * padding
    return down, up
    ### END SOLUTION


# %%
checks.gan_architectures.sides(sides)

# %% [markdown]
# Halve a side, then double it: do we come back to where we were? Not with every kernel. The 4 of DCGANs is no accident.

# %%
start = torch.tensor([28, 14])
for kernel, padding in ((3, 1), (4, 1), (5, 2)):
    half, _ = sides(start, kernel, 2, padding)
    _, back = sides(half, kernel, 2, padding)
    way = " -> ".join(str(side.tolist()) for side in (start, half, back))
    print(f"kernel {kernel}, stride 2, padding {padding}: {way}")

# %%
x = torch.zeros(1, 1, 28, 28)
down = nn.Conv2d(1, 1, 5, stride=3, padding=2)
up = nn.ConvTranspose2d(1, 1, 5, stride=3, padding=2)
mine = [side.item() for side in sides(torch.tensor([28]), 5, 3, 2)]
print("torch's layers agree:", mine == [down(x).shape[-1], up(x).shape[-1]])

# %% [markdown]
# ## Step 2. Where the weights start
#
# *Difficulty 2 of 5 · importance 3 of 5 · 10 minutes*
#
# The paper on DCGAN (Radford et al., 2016, arXiv:1511.06434, section 4) lets every weight start small:
#
# $$w \sim N(0,\; 0.02^2), \qquad b = 0.$$
#
# This holds for convolutions, transposed convolutions and linear layers. Some have no bias. Batch norm has a weight
# and a bias too. They stay 1 and 0, as torch makes them: **the identity**, until training says otherwise. The paper
# does not mention them, and some programs draw them as well.
#
# **Write** `initialize(network)`. It changes the weights and biases of the network, at any depth of blocks in blocks,
# in place, and returns nothing. The network may also be one single layer.
#
# <details><summary>Hint</summary>
#
# You need a way to walk through blocks in blocks that does not leave out the network itself, and a question about the kind
# of a layer. Some layers have no bias.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# for layer in network.modules():  # the network itself, and all that is in it
#     if isinstance(layer, nn.Conv2d):  # which other kinds?
#         nn.init.normal_(layer.weight, std=0.02)  # a trailing underscore: in place
# ```
# </details>

# %%
def initialize(network):
    """Draw the weights of a network, of any depth, in place; return nothing."""
    ### BEGIN SOLUTION
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    ### END SOLUTION


# %%
checks.gan_architectures.initialize(initialize)

# %% [markdown]
# Such small weights make small signals, and each layer makes them smaller. Send noise through four transposed
# convolutions and see how much is left. With batch norm after each the signal is as large as ever. This is why a DCGAN
# has it, and cannot do without.

# %%
def stack_of_layers(batch_norm):
    layers = []
    for _ in range(4):
        layers += [nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1)]
        layers += [nn.BatchNorm2d(16) if batch_norm else nn.Identity(), nn.ReLU()]
    network = nn.Sequential(*layers)
    initialize(network)
    return network


curves = {}
for name, batch_norm in (("with batch norm", True), ("without", False)):
    x, sizes = torch.randn(32, 16, 2, 2), [0.0]
    for layer in stack_of_layers(batch_norm):
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            sizes.append(x.std().log10().item())
    curves[name] = sizes
plots.show_curves(curves, x=range(5), xlabel="layers", ylabel="size of the signal, power of ten")

# %% [markdown]
# ## Step 3. Least squares
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# The logarithms of lesson {{gan}} ask one thing of a fake: on which side of the boundary does it lie? Once $D$ calls it
# real with certainty, the generator has nothing more to learn from it, however far it lies from the data. **LSGAN**
# (Mao et al., 2017, arXiv:1611.04076, equation 9) gives $D$ a target to hit. It draws the raw output, without a
# sigmoid, to 1 for real examples and to 0 for fakes. The generator wants its fakes called real:
#
# $$L_D = \tfrac{1}{2}\, \mathbb{E}_x \big(D(x) - 1\big)^2 + \tfrac{1}{2}\, \mathbb{E}_z\, D(G(z))^2, \qquad
# L_G = \tfrac{1}{2}\, \mathbb{E}_z \big(D(G(z)) - 1\big)^2.$$
#
# **Write** `least_squares(real, fake)`, with raw outputs: real (n,) for real examples, fake (m,) for fakes. It
# returns two numbers, $L_D$ first. Both are minimised.
#
# <details><summary>Hint</summary>
#
# Three terms of one form: a difference from a target, squared, its mean, a half. What is the target of each?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# first_term = (real - 1).square().mean() / 2
# ```
# </details>

# %%
def least_squares(real, fake):
    """Raw outputs real (n,) and fake (m,) -> two numbers: the loss of D, the loss of G."""
    ### BEGIN SOLUTION
    loss_d = (real - 1).square().mean() / 2 + fake.square().mean() / 2
    loss_g = (fake - 1).square().mean() / 2
    return loss_d, loss_g
    ### END SOLUTION


# %%
checks.gan_architectures.least_squares(least_squares)

# %% [markdown]
# The two losses of a generator for one fake. At the far left, where $D$ is sure, the slope of the logarithm is constant and that of
# the square grows and grows. At the far right the logarithm's slope vanishes. The square's changes sign and moves the fake back: it is *too*
# real.

# %%
outputs = torch.linspace(-4, 6, 101)
square = torch.stack([least_squares(output[None], output[None])[1] for output in outputs])
plots.show_curves(
    {"least squares": square, "logarithm": F.softplus(-outputs)},
    x=outputs, xlabel="output of D for a fake", ylabel="loss of the generator",
)

# %% [markdown]
# ## Step 4. A critic
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# In lesson {{gan}} the best discriminator measured the Jensen-Shannon divergence. Once two distributions hardly overlap,
# it stays at $\log 2$, whether they lie near each other or far apart. The **Wasserstein-1 distance**, or earth
# mover's distance, does not. It is how far probability must be moved, on average, to turn one distribution into the other.
# A network can estimate it, by the largest gap between mean scores,
#
# $$W(p_{\text{data}}, p_g) = \max_{f} \; \mathbb{E}_x f(x) - \mathbb{E}_z f(G(z)),$$
#
# over all functions $f$ whose slope is nowhere above 1. Such an $f$ is no classifier: it gives a **score**, with no
# zero and no bounds, and is called a **critic** (Arjovsky et al., 2017, arXiv:1701.07875). The critic makes the gap
# large, and the generator makes it small. Steps 5 and 6 are about the slope.
#
# **Write** `wasserstein(real, fake)`, with scores real (n,) and fake (m,). It returns two losses to *minimise*, that
# of the critic first. Leave out of the generator's loss what it cannot change.
#
# <details><summary>Hint</summary>
#
# To make a gap large is to make minus the gap small. Only one of the two means depends on the generator.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# gap = real.mean() - fake.mean()  # the critic makes it large
# ```
# </details>

# %%
def wasserstein(real, fake):
    """Scores real (n,) and fake (m,) -> two numbers: the loss of the critic, the loss of G."""
    ### BEGIN SOLUTION
    return fake.mean() - real.mean(), -fake.mean()
    ### END SOLUTION


# %%
checks.gan_architectures.wasserstein(wasserstein)

# %% [markdown]
# Data from $N(0, 1)$, fakes from $N(m, 1)$. To turn one into the other, all probability moves by $m$, so $W = m$. The critic
# $f(x) = -x$ finds that: its slope is 1 everywhere, and it scores data higher than fakes. Beside it the Jensen-Shannon
# divergence of the same two.

# %%
def jsd(m):
    """Of N(0, 1) and N(m, 1), by quadrature, in nats."""
    x = torch.linspace(-8, 16, 2401)
    p, q = torch.exp(-x.square() / 2), torch.exp(-(x - m).square() / 2)  # both over sqrt(2 pi)
    middle = (p + q) / 2
    terms = torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)
    return terms.nan_to_num().sum().item() * 0.01 / math.sqrt(2 * math.pi) / 2


z = torch.special.ndtri((torch.arange(2000) + 0.5) / 2000)  # N(0, 1), spread evenly
distances = torch.linspace(0, 8, 33)
gaps = [-wasserstein(real=-z, fake=-(m + z))[0] for m in distances]
plots.show_curves(
    {"gap of the critic": gaps, "JSD": [jsd(m) for m in distances]},
    x=distances, xlabel="distance m of the means", ylabel="W, or nats",
    baselines={"log 2": math.log(2)},
)

# %% [markdown]
# ## Step 5. Points between real and fake
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# How do we keep a network's slope at 1? Gulrajani et al. (2017, arXiv:1704.00028) look at it where it matters, on the
# way between real examples and fakes. For each pair they draw a place on the straight line that joins the two:
#
# $$\hat{x}_i = u_i\, x_i + (1 - u_i)\, G(z_i), \qquad u_i \sim U[0, 1].$$
#
# There is **one** number $u_i$ for each example $i$. All pixels of an image share it, or the place would not be on the
# line; and no two examples share it, or a batch would look at one place only.
#
# **Write** `between(real, fake)`. Both have the shape (n, ...): images (n, C, H, W), or points (n, d). It returns
# places of the same shape.
#
# <details><summary>Hint</summary>
#
# One number an example must spread over all of its axes: give it the shape (n, 1, 1, 1) for images, (n, 1) for points.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# ones = [1] * (real.ndim - 1)
# u = torch.rand(len(real), *ones)
# ```
# </details>

# %%
def between(real, fake):
    """real and fake (n, ...) -> places of the same shape, one share an example."""
    ### BEGIN SOLUTION
    u = torch.rand(len(real), *[1] * (real.ndim - 1)).to(real)
    return u * real + (1 - u) * fake
    ### END SOLUTION


# %%
checks.gan_architectures.between(between)

# %% [markdown]
# Data on a ring, a generator that has learned nothing, and the places in between. A critic with slope 1 at
# these gives the fakes a gradient towards the data.

# %%
ring = EightGaussians()
real, fake = ring.sample(1500), 0.3 * torch.randn(1500, 2)
plots.show_points(
    {"real": real, "fake": fake, "in between": between(real, fake)},
    modes=ring.means, radius=2 * ring.std,
)

# %% [markdown]
# ## Step 6. The gradient penalty
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# At the places $\hat{x}$, the critic's slope should be 1. In more than one dimension the slope is the length of the
# gradient, over all pixels of *one* example. What it is off by, squared, becomes a part of the critic's loss:
#
# $$P = \mathbb{E}_{\hat{x}} \Big( \big\lVert \nabla_{\hat{x}} f(\hat{x}) \big\rVert_2 - 1 \Big)^2, \qquad
# L_{\text{critic}} = \mathbb{E}_z f(G(z)) - \mathbb{E}_x f(x) + 10\, P.$$
#
# To lower $P$, we need the gradient of $P$ by the critic's weights. So we differentiate a gradient. Autograd does
# that, if the first gradient stays on the graph: `create_graph=True`.
#
# **Write** `gradient_penalty(critic, x)`. `x` (n, ...) are the places, and `critic` maps them to scores (n,), each
# example by itself. Return $P$, one number, that the critic can learn from, even if it is flat at some of the places.
# Leave the caller's x as it was, and leave no gradients behind in the critic.
#
# <details><summary>Hint</summary>
#
# Each score depends on its own example, so the gradient of the sum of all scores holds all n gradients. Differentiate by
# a copy of x, and keep the graph of what you get. Then one norm an example, over all of its axes.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x = x.detach().clone().requires_grad_()
# (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
# norm = slope.flatten(1).norm(dim=1)
# ```
# </details>

# %%
def gradient_penalty(critic, x):
    """critic, a function (n, ...) -> (n,), and x (n, ...) -> one number to train the critic on."""
    ### BEGIN SOLUTION
    x = x.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
    ### END SOLUTION


# %%
checks.gan_architectures.gradient_penalty(gradient_penalty)

# %% [markdown]
# Now train a critic alone, in the plane: $N(0, I)$ against the same cloud moved by 2 to the right. So the true
# distance is 2. We do it once with the penalty and once without. **Predict before you run the cell:** what becomes of
# each gap? Does it settle at 2, below, or above, or not at all?

# %%
def network(inputs, width, outputs):
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LeakyReLU(0.2),
        nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


def adam(player, rate, momentum=0.5):
    return torch.optim.Adam(player.parameters(), lr=rate, betas=(momentum, 0.9), fused=True)


def critic_step(critic, optimizer, real, fake, weight=10.0):
    """One step of the critic on your two losses; the gap before it."""
    loss, _ = wasserstein(critic(real), critic(fake))
    penalty = gradient_penalty(critic, between(real, fake)) if weight else 0.0
    optimizer.zero_grad()
    (loss + weight * penalty).backward()
    optimizer.step()
    return -loss.item()


def two_clouds(n):
    return torch.randn(n, 2), torch.randn(n, 2) + torch.tensor([2.0, 0.0])


curves = {}
for name, weight in (("without", 0.0), ("with the penalty", 10.0)):
    critic = nn.Sequential(network(2, 32, 1), nn.Flatten(0))
    optimizer = adam(critic, 2e-3)
    curves[name] = [critic_step(critic, optimizer, *two_clouds(256), weight) for _ in range(400)]
shown = {name: [min(gap, 6.0) for gap in gaps] for name, gaps in curves.items()}
plots.show_curves(
    shown, xlabel="steps of the critic", ylabel="gap, up to 6", baselines={"true distance": 2.0}
)
print(f"without the penalty the gap passes 20:  {curves['without'][-1] > 20}")

# %% [markdown]
# Without a bound on the slope the gap says nothing: twice the scores, twice the gap. With the penalty it stays near 2, and a
# little above. That is no accident. A slope a little above 1 costs only
# the square of that little, and widens the gap in proportion. The two balance at a mean slope of about
# $1 + W / (2 \lambda)$, where $\lambda$ is the weight of the penalty: 1.1 for $\lambda = 10$. Measure it:

# %%
places = between(*two_clouds(20_000)).requires_grad_()
(slopes,) = torch.autograd.grad(critic(places).sum(), places)
slope, gap = slopes.norm(dim=1).mean().item(), sum(curves["with the penalty"][-50:]) / 50
print(f"the mean slope is 1.1, within 0.05:  {abs(slope - 1.1) < 0.05}")
print(f"the gap is 2 to 2.5 at the end:      {2 < gap < 2.5}")

# %% [markdown]
# Why in the plane? On the line a critic that happens to start with the wrong slope may never get rid of it. To turn
# round, its slope would have to pass through 0, and there the penalty is high. In the plane a gradient can turn without
# becoming short.

# %% [markdown]
# ## Step 7. Labels
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# A **conditional** GAN draws what you ask for (Mirza & Osindero, 2014, arXiv:1411.1784): both networks get the
# label $y$. It is joined to their input as a **one-hot** vector $e_y$, with a 1 at place $y$ and 0 elsewhere. The
# first layer then computes
#
# $$h = W \begin{pmatrix} z \\ e_y \end{pmatrix} = W_z\, z + W_y\, e_y = W_z\, z + (\text{column } y \text{ of } W_y),$$
#
# where $W_z$ are the first $d$ columns of $W$, and $W_y$ the other $K$. So a label is one more bias, learned, for each
# class. No one needs to build the zeros.
#
# **Write** `joined(z, y, weight)`, with z (n, d), labels y (n,) from 0 to K - 1, and the weight (F, d + K). It
# returns $h$ for each example, (n, F).
#
# <details><summary>Hint</summary>
#
# Split the weight into its first $d$ columns and the rest. Of the rest, each example picks the column of its label.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# of_labels = weight[:, d:].T[y]  # a row for each label, (n, F)
# ```
# </details>

# %%
def joined(z, y, weight):
    """z (n, d), labels y (n,) from 0 to K - 1 and weight (F, d + K) -> (n, F)."""
    ### BEGIN SOLUTION
    d = z.shape[1]
    return z @ weight[:, :d].T + weight[:, d:].T[y]
    ### END SOLUTION


# %%
checks.gan_architectures.joined(joined)

# %% [markdown]
# The same by the long way, with all its zeros, and your function as a layer for later.

# %%
class Joined(nn.Linear):
    """A linear layer with a label of ten as a second input."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs + 10, outputs, bias=False)

    def forward(self, z, y):
        return joined(z, y, self.weight)


layer, z, y = Joined(5, 3), torch.randn(4, 5), torch.tensor([3, 0, 9, 3])
long_way = F.linear(torch.cat([z, F.one_hot(y, 10).float()], dim=1), layer.weight)
print("the long way gives the same:", torch.allclose(layer(z, y), long_way, atol=1e-6))

# %% [markdown]
# ## Step 8. On the sphere
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# What lies between two codes? The first idea is the straight line. But codes from $N(0, I)$ in $d$ dimensions have
# nearly one length, $\sqrt{d}$, and in 64 dimensions the middle of a straight line is shorter than almost any code
# that the generator was trained on. So rotate instead (White, 2016, arXiv:1609.04468). With the angle $\omega$ between
# $a$ and $b$,
#
# $$\text{slerp}(a, b, t) = \frac{\sin\big((1 - t)\, \omega\big)}{\sin \omega}\, a
# + \frac{\sin(t\, \omega)}{\sin \omega}\, b, \qquad
# \cos \omega = \frac{a \cdot b}{\lVert a \rVert\, \lVert b \rVert}.$$
#
# It rotates at a constant rate where both have one length. Where they point the same way, $\omega$ is 0 and so is
# $\sin \omega$. There the formula tends to the straight line $(1 - t)\, a + t\, b$.
#
# **Write** `slerp(a, b, t)`, with a and b (d,), and t (m,) in [0, 1]. It returns all m places, (m, d). For a and b that
# point the same way, return the straight line.
#
# <details><summary>Hint</summary>
#
# Rounding can push a cosine a little above 1, where it has no angle. Ask for a tiny angle before you divide. A number for
# each place, of shape (m, 1), times a code (d,) is (m, d).
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# omega = cosine.clamp(-1, 1).acos()
# t = t[:, None]
# if omega < 1e-3:
#     ...  # the straight line
# ```
# </details>

# %%
def slerp(a, b, t):
    """Codes a and b (d,), shares t (m,) -> m places on the way from a to b, (m, d)."""
    ### BEGIN SOLUTION
    omega = (a @ b / (a.norm() * b.norm())).clamp(-1, 1).acos()
    t = t[:, None]
    if omega < 1e-3:
        return (1 - t) * a + t * b
    return (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / omega.sin()
    ### END SOLUTION


# %%
checks.gan_architectures.slerp(slerp)

# %% [markdown]
# Two codes of 64 numbers. How long are the codes on the two ways? And how many codes are as short as the middle of a
# straight one?

# %%
a, b, t = *torch.randn(2, 64), torch.linspace(0, 1, 51)
straight = torch.lerp(a, b, t[:, None])
plots.show_curves(
    {"straight": straight.norm(dim=1), "on the sphere": slerp(a, b, t).norm(dim=1)},
    x=t, xlabel="t", ylabel="length of the code", baselines={"square root of 64": 8.0},
)
middle = torch.randn(2, 1000, 64).mean(dim=0).norm(dim=1).mean()  # of a thousand straight lines
shorter = (torch.randn(100_000, 64).norm(dim=1) <= middle).float().mean().item()
print(f"the middle of a straight line has the length {middle:.1f} on average")
print(f"fewer than 1 code in 1000 is as short: {shorter < 0.001}")

# %% [markdown]
# ## Step 9. A distance between sets of images
#
# *Difficulty 4 of 5 · importance 4 of 5 · 25 minutes*
#
# A GAN has no likelihood, so we compare samples. Look at images through the **features** of a trained classifier, $d$
# numbers each. Take the features of real images for one Gaussian and those of fakes for another, with means $\mu$ and
# covariances $\Sigma$. The squared **Fréchet distance** of the two is (Heusel et al., 2017, arXiv:1706.08500)
#
# $$d^2 = \lVert \mu_1 - \mu_2 \rVert^2
# + \text{tr}\Big( \Sigma_1 + \Sigma_2 - 2 \big( \Sigma_1^{1/2}\, \Sigma_2\, \Sigma_1^{1/2} \big)^{1/2} \Big).$$
#
# It is also a Wasserstein distance, with squares: for Gaussians one can work it out. The root of a matrix $A$ is the
# matrix $A^{1/2}$ with $A^{1/2} A^{1/2} = A$: it has the same eigenvectors, and the roots of the eigenvalues. And the
# trace of a root is the sum of the roots of the eigenvalues.
#
# **Write** `frechet(real, fake)`, with features (n, d) and (m, d). It returns $d^2$, one number. Divide
# covariances by n - 1, as `torch.cov` does, which wants features as rows: `torch.cov(real.T)`. There may be fewer
# examples than features.
#
# <details><summary>Hint</summary>
#
# A root of a symmetric matrix: take the roots of its eigenvalues and put it together again. For the last term the
# eigenvalues are enough. With few examples some of them are 0, which rounding may push below.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# values, vectors = torch.linalg.eigh(matrix.double())
# root = vectors * values.clamp_min(0).sqrt() @ vectors.T
# trace_of_a_root = torch.linalg.eigvalsh(another).clamp_min(0).sqrt().sum()
# ```
# </details>

# %%
def frechet(real, fake):
    """Features real (n, d) and fake (m, d) -> the squared distance, one number."""
    ### BEGIN SOLUTION
    real, fake = real.double(), fake.double()
    cov1, cov2 = torch.cov(real.T), torch.cov(fake.T)
    values, vectors = torch.linalg.eigh(cov1)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov2 @ root).clamp_min(0).sqrt().sum()
    means = (real.mean(dim=0) - fake.mean(dim=0)).square().sum()
    return means + cov1.trace() + cov2.trace() - 2 * cross
    ### END SOLUTION


# %%
checks.gan_architectures.frechet(frechet)

# %% [markdown]
# Try it on scikit-learn's handwritten digits. The judge is a small classifier, trained on their labels. All is compared
# with the 1437 training images. The 360 test images are **fresh**: the best that we can hope for. **Independent
# pixels**, each drawn from its own histogram, are the baseline. And what if all is perfect but half of the
# digits are missing?

# %%
train, test = load("digits"), load("digits", "test")
judge = train_classifier(train)
features = judge.features(train.floats())


def distance(x):
    return float(frechet(features, judge.features(x)))


fresh, low_digits = test.floats(), test.floats()[test.labels < 5]
as_many = distance(fresh[: len(low_digits)])
pixels = independent_pixels(train).sample((360,)).float() / (train.levels - 1)
best, baseline = distance(fresh), distance(pixels)
agrees = math.isclose(frechet_distance(features, judge.features(pixels)), baseline, rel_tol=1e-4)
print(f"genlib's distance agrees:                             {agrees}")
print(f"independent pixels are 20 times as far as fresh ones: {baseline > 20 * best}")
print(f"0 to 4 alone are 5 times as far as as many of all:    {distance(low_digits) > 5 * as_many}")
few = sum(distance(part) for part in fresh.split(40)) / 9
print(f"40 fresh images look twice as bad as 360:             {few > 2 * best}")

# %% [markdown]
# The last line is a warning. The distance needs many images, and fewer look worse. Compare at one number of them.

# %% [markdown]
# ## Step 10. Memorised?
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# A generator that hands out its training images would score best of all in step 9. To find it out, look at how far a sample $s$ is
# from the **nearest training image**, $d(s) = \min_k \lVert s - t_k \rVert$. Is that near? Something always is. The yardstick are
# **held-out** images $h_1, \dots, h_m$, which no generator can have memorised. For each sample count how many of them lie farther
# from the training images, and ties by half:
#
# $$r(s) = \frac{1}{m} \sum_{j=1}^{m} [\, d(h_j) > d(s) \,] + \tfrac{1}{2} [\, d(h_j) = d(s) \,].$$
#
# If samples and held-out images follow one distribution, either of $d(s)$ and $d(h_j)$ is as likely to be the smaller one, whatever
# the distances look like. So $r$ is $\frac{1}{2}$ on average. Copies have $d = 0$ and $r = 1$. The mean of $r$ over all samples
# is the statistic of Mann and Whitney, which Meehan et al. (2020, arXiv:2004.05675) take for this test.
#
# **Write** `nearness(samples, train, fresh)`, with pixels or features (n, d), (N, d) and (m, d). It returns $r$ of each sample, (n,).
#
# <details><summary>Hint</summary>
#
# The distance to the nearest training image is needed for samples and for held-out images, in the same way. Then compare all n of
# the first with all m of the second: an axis of length 1 in the right place makes that (n, m).
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# of_samples = torch.cdist(samples, train).amin(dim=1)[:, None]  # (n, 1)
# share = (of_fresh > of_samples).float().mean(dim=1)  # (n,); ties are still to come
# ```
# </details>

# %%
def nearness(samples, train, fresh):
    """samples (n, d), training images (N, d), held-out ones (m, d) -> share of those farther than each sample, (n,)."""
    ### BEGIN SOLUTION
    of_samples = torch.cdist(samples, train).amin(dim=1)[:, None]  # (n, 1)
    of_fresh = torch.cdist(fresh, train).amin(dim=1)  # (m,)
    farther, as_far = of_fresh > of_samples, of_fresh == of_samples
    return farther.float().mean(dim=1) + as_far.float().mean(dim=1) / 2
    ### END SOLUTION


# %%
checks.gan_architectures.nearness(nearness)

# %% [markdown]
# Three generators that need no training: one copies training images and adds a little noise, one draws independent pixels, and
# the third draws half of its images from each of these two. For comparison, half of the fresh images is measured against the other half. **Predict
# before you run the cell:** what is the mean of $r$ for each of the four?

# %%
one_half, other_half = fresh[::2], fresh[1::2]
copies = (train.floats()[:180] + 0.02 * torch.randn(180, 1, 8, 8)).clamp(0, 1)
generators = {
    "fresh images": one_half, "copies": copies, "independent pixels": pixels[:180],
    "half copies, half pixels": torch.cat([copies[:90], pixels[:90]]),
}
near = {
    name: nearness(judge.features(x), features, judge.features(other_half))
    for name, x in generators.items()
}
plots.show_curves(
    {name: r.sort().values for name, r in near.items()}, x=torch.linspace(0, 1, 180),
    xlabel="share of the images, the farthest first", ylabel="nearness r",
)
means = {name: r.mean().item() for name, r in near.items()}
print(f"fresh images have a mean of 1/2, within 0.05:         {abs(means['fresh images'] - 0.5) < 0.05}")
print(f"copies have more than 0.95:                           {means['copies'] > 0.95}")
print(f"independent pixels less than 0.15:                    {means['independent pixels'] < 0.15}")
print(f"and the third generator is within 0.1 of 1/2 as well: {abs(means['half copies, half pixels'] - 0.5) < 0.1}")

# %% [markdown]
# The mean alone takes a copier for a perfect generator, if the rest of its images is bad enough. The curve does not: for
# fresh images it is a straight line, since every $r$ is as likely. So look at all of $r$. And below a half is no praise, as
# independent pixels show.

# %% [markdown]
# ## All together: your WGAN-GP
#
# *10 minutes*
#
# The ring, and a generator that has learned nothing. Your critic takes three steps for each of the generator's, to stay
# near its best; the paper took five. The penalty gets the weight 1, which is quicker here. Nothing in this comes from
# `genlib.adversarial`.

# %%
def fakes(n):
    return generator(torch.randn(n, 2))


def play(steps=700):
    """Critic and generator alternate, in ever smaller steps; the gaps, and points on the way."""
    of_critic, of_g = adam(critic, 5e-3), adam(generator, 5e-3)
    smaller_steps = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=steps)
        for optimizer in (of_critic, of_g)
    ]
    gaps, panels = [], {}
    for step in range(steps):
        if step in (0, 50, 200):
            panels[f"{step} steps"] = fakes(2000).detach()
        for _ in range(3):
            gap = critic_step(critic, of_critic, ring.sample(128), fakes(128).detach(), weight=1.0)
        gaps.append(gap)
        _, loss = wasserstein(real=torch.zeros(1), fake=critic(fakes(128)))
        of_g.zero_grad()
        loss.backward()
        of_g.step()
        for schedule in smaller_steps:
            schedule.step()
    return gaps, panels | {f"{steps} steps": fakes(2000).detach()}


# %%
critic, generator = nn.Sequential(network(2, 64, 1), nn.Flatten(0)), network(2, 64, 2)
gaps, panels = play()
plots.show_points(panels | {"data": ring.sample(2000)}, modes=ring.means, radius=2 * ring.std)

# %% [markdown]
# Threads of points still run from mode to mode, as in lesson {{gan}}: a network cannot tear the cloud of noise apart. So
# count. The baseline has found out that the data lie on a ring, and has not seen the modes.

# %%
def near(points):
    """How many points lie near each mode."""
    return mode_counts(points, ring.means, radius=2 * ring.std)


angle = 2 * math.pi * torch.rand(4000)
whole_ring = 2 * torch.stack([angle.cos(), angle.sin()], dim=1) + ring.std * torch.randn(4000, 2)
yours, theirs = near(fakes(4000).detach()), near(whole_ring)
more = (yours - theirs).sum().item() / 4000
print(f"modes that get at least a tenth of their due:           {(yours > 50).sum().item()} of 8")
print(f"by 15 % of all points more lie near one than for it:    {more > 0.15}")

# %% [markdown]
# And the gap? In lesson {{gan}} there was no curve to watch. Here there is one. As long as the critic keeps up, its gap
# follows the distance, and falls while the fakes come closer.

# %%
smooth = torch.tensor(gaps).unfold(0, 20, 20).mean(dim=1)
plots.show_curves(
    {"gap": smooth}, x=torch.arange(len(smooth)) * 20 + 10,
    xlabel="steps of the generator", ylabel="gap of the scores",
)
print(f"the gap ends below a fifth of where it was highest: {smooth[-5:].mean() < smooth.max() / 5}")

# %% [markdown]
# ## And your conditional DCGAN
#
# *10 minutes*
#
# Now images, 8 by 8 pixels, on order: draw me a 3. The plan of the sides comes from step 1, the first weights from
# step 2, the loss from step 3, the labels from step 7. The discriminator hears the label after its convolutions, and
# one layer follows to weigh the two together: a label that is only added to the last output could not say that *this*
# picture is no 3.

# %%
_, up = sides(torch.tensor([2, 4]), kernel=4, stride=2, padding=1)
print("sides: 2 ->", " -> ".join(str(side.item()) for side in up))


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Joined(32, 64 * 4)
        self.rest = nn.Sequential(
            nn.Unflatten(1, (64, 2, 2)), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Sigmoid(),
        )

    def forward(self, z, y):
        return self.rest(self.first(z, y))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64),
            nn.LeakyReLU(0.2), nn.Flatten(),
        )
        self.join = Joined(64 * 4, 64)
        self.last = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Flatten(0))

    def forward(self, x, y):
        return self.last(self.join(self.convolutions(2 * x - 1), y))


# %%
generator, discriminator = Generator(), Discriminator()
initialize(generator)
initialize(discriminator)
of_g, of_d = adam(generator, 2e-3), adam(discriminator, 2e-3)
z, y = torch.randn(10, 32), torch.arange(10)


@torch.no_grad()
def draw(z, y):
    """Images for these codes and labels; batch norm uses its running averages."""
    generator.eval()
    images = generator(z, y)
    generator.train()
    return images


rows, asked = {}, torch.arange(360) % 10
scores = [distance(draw(torch.randn(360, 32), asked))]
batches = train.endless_batches(32)
for step in range(1, 1201):
    x, labels = next(batches)
    fake = generator(torch.randn(len(x), 32), labels)
    loss, _ = least_squares(discriminator(x, labels), discriminator(fake.detach(), labels))
    of_d.zero_grad()
    loss.backward()
    of_d.step()
    _, loss = least_squares(real=torch.zeros(1), fake=discriminator(fake, labels))
    of_g.zero_grad()
    loss.backward()
    of_g.step()
    if step % 200 == 0:
        scores.append(distance(draw(torch.randn(360, 32), asked)))
    if step in (50, 200, 1200):
        rows[f"{step} steps"] = draw(z, y)

# %%
real = torch.stack([fresh[test.labels == k][0] for k in range(10)])
plots.show_rows(rows | {"real": real})

# %%
plots.show_curves(
    {"your DCGAN": [min(score, 400) for score in scores]}, x=range(0, 1201, 200),
    xlabel="steps of both", ylabel="Fréchet distance, up to 400",
    baselines={"independent pixels": baseline, "fresh images": best},
)
drawn = draw(torch.randn(360, 32), asked)
obeyed = (judge.predict(drawn) == asked).float().mean().item()
print(f"the distance is a third of that of independent pixels:   {scores[-1] < baseline / 3}")
print(f"and larger than that of as many fresh images:            {scores[-1] > best}")
print(f"the judge reads the digit asked for 8 times in 10:       {obeyed > 0.8}")

# %% [markdown]
# Has it memorised anything? Here are the ten of its images that come nearest to a training image, with the original below.

# %%
at_hand = judge.features(drawn)
r = nearness(at_hand, features, judge.features(fresh))
nearest = torch.cdist(at_hand, features)
ten = nearest.amin(dim=1).argsort()[:10]
plots.show_rows({"drawn": drawn[ten], "nearest original": train.floats()[nearest[ten].argmin(dim=1)]})
print(f"on average its images are no nearer than fresh ones, r below 0.5: {r.mean() < 0.5}")
print(f"at most 1 in 10 is nearer than 95 of 100 fresh ones:              {(r > 0.95).float().mean() <= 0.1}")

# %% [markdown]
# Last, interpolate from one code to another: along the straight line, and on the sphere. The label stays. Then let the code
# stay and change the label.

# %%
t = torch.linspace(0, 1, 10)
same_label = torch.full((10,), 3)
plots.show_rows(
    {
        "straight": draw(torch.lerp(z[0], z[1], t[:, None]), same_label),
        "on the sphere": draw(slerp(z[0], z[1], t), same_label),
        "labels": draw(z[:1].expand(10, -1), y),
    }
)

# %% [markdown]
# The two paths look much alike: for this generator a shorter code matters little. The lesson measures what it costs a
# larger one. The last row shows what the label does, and that not every picture is good.

# %% [markdown]
# ## What you have built
#
# A kit for GANs: maps whose sides fit, first weights, three objectives with that of lesson {{gan}}, a penalty that keeps a
# slope at 1, labels, interpolation between codes, a distance between sets of images, and a test for memorised ones. The pictures
# are small, and so are the networks; the parts are those of the papers.
#
# Where to go on:
#
# - Put your WGAN-GP and your conditional DCGAN together. The penalty speaks of each example alone, so replace batch
#   norm in the critic by `nn.GroupNorm(1, 64)`, and give the critic the labels when you compute its slope.
# - Take the penalty's weight down to 0.1, and up to 1000. What happens to the gap, and to the ring?
# - Leave one label out of the training, and ask for it.
# - Bound the slope another way: divide each weight matrix by its largest singular value (Miyato et al., 2018,
#   spectral normalisation, arXiv:1802.05957). `torch.nn.utils.parametrizations.spectral_norm` does it for a layer.
# - Read `genlib/adversarial/gan.py`: `LSGAN` and `WGANGP` are your steps 3 to 6, and `networks.py` has your step 2.
# - Back to the lesson, [{{gan_architectures}} GAN architectures](../notebooks/{{gan_architectures}}_gan_architectures.ipynb). What came before, models that draw
#   by Markov chains, is the subject of lesson {{markov_chains}}.
