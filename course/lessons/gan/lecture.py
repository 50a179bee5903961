# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Generative adversarial networks
#
# <!-- board -->
# **What if we give up $p(x)$?**
#
# Every model so far has a price for its probabilities. PixelRNN and PixelCNN draw one value at a time. The VAE of
# [lesson {{vae}}]({{vae}}_vae.ipynb) trains on a bound. Yet often all we want is new images. So drop the density, and train a
# network that turns noise into images in one pass.
#
# Without $p(x)$ there is no likelihood to maximise. What, then, is the loss? The answer of Goodfellow et al. (2014): a
# second network, trained to tell real images from made ones. This lesson trains the two on a line, where
# we can compute everything, then in the plane and on tiny images, where we can count. It ends with what a GAN cannot do.
#
# <!-- slide: Where this ends -->
# <!-- board
# Two GANs, eight modes, nearly the same losses: one covers most of the modes, the other none.
# -->
# <!-- figure: ring -->
#
# <!-- slide: Today -->
# <!-- agenda -->

# %% slideshow={"slide_type": "skip"}
import copy
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch.distributions import Categorical, MixtureSameFamily, Normal

from course import explorers, figures
from genlib import plots
from genlib.adversarial import GAN, InstanceNoise, MLPDiscriminator, MLPGenerator, MinimaxGAN
from genlib.autoregressive import PixelCNN
from genlib.data import EightGaussians, independent_pixels, load
from genlib.metrics import bars_counts, bars_kl, format_table, mode_counts, mode_coverage
from genlib.training import fit, fit_gan, gan_optimizers, train_gan_epoch
from genlib.variational import MLP

UPDATES = 700  # of each GAN in the plane; results scatter more with fewer
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Samples without a density
#
# <!-- minutes: 9 -->
# <!-- slide -->
# <!-- board
# Noise $z \sim N(0, I)$, image $x = G(z)$. The distribution of $x$ is the **pushforward** $p_g$ of the noise under the
# **generator** $G$.
# -->
# Draw noise $z \sim N(0, I)$ and compute $x = G(z)$. That is all of a GAN's sampling. The distribution of $x$ is called
# the **pushforward** of the noise under the **generator** $G$, and we write $p_g$ for it. Any function will do. Here is
# one on the line that rises, falls and rises again.

# %% board="figure code:fold" alt="The density of z, a bell around 0, and that of G(z): two tall spikes at plus and minus 1.6 and two smaller ones at 0.5, with almost nothing outside."
def fold(z):
    return z + torch.sin(3 * z)


edges = torch.linspace(-4, 4, 161)
middle = (edges[1:] + edges[:-1]) / 2
z = torch.special.ndtri((torch.arange(1_000_000) + 0.5) / 1_000_000)  # N(0, 1), spread evenly
density = {
    name: torch.histc(x, 160, -4, 4) / len(x) / 0.05 for name, x in {"z": z, "G(z)": fold(z)}.items()
}
plots.show_curves(density, x=middle, xlabel="value", ylabel="density, counted")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The peaks stand where $G$ turns. There its slope is zero, much noise lands in little space, and the density is
# infinite. To know $p_g$ at one place you need every $z$ that lands there:
#
# <!-- slide: Where is the density infinite? -->
# <!-- question: At which $x$ do the peaks of $p_g$ stand, and why? -->
# <!-- answer: Where $G$ turns: its slope is zero there, and much noise lands in little space. -->
#
# <!-- board -->
# $$p_g(x) = \sum_{z:\; G(z) = x} \frac{p(z)}{|G'(z)|}.$$
#
# <!-- board
# For a network with a hundred inputs nobody can find all those $z$.
# -->
#
# On the line we can count instead. For a network with a hundred inputs nobody can find all those $z$.
#
# ### What samples can compute
#
# Averages. Any mean $\mathbb{E}[f(x)]$ is estimated from samples, with a standard error. Take $f(x) = x^2$, whose mean
# for this $G$ is known: $1 + 6 e^{-9/2} + (1 - e^{-18}) / 2$.

# %%
squares = fold(torch.randn(100_000)).square()
error = squares.std() / len(squares) ** 0.5
exact = 1 + 6 * math.exp(-4.5) + (1 - math.exp(-18)) / 2
close = abs(squares.mean() - exact) < 4 * error
print(f"from samples, within four standard errors of {exact:.3f}: {close}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: One number, sent into the plane -->
# <!-- board
# $G(z) = (z, \sin 2z)$: every sample lies on a curve. The share of samples in a disc of radius 0.1 around $G(0)$, divided by
# the disc's area, is 1.1.
# -->
# <!-- question: What is it at radius 0.01, and at 0.001? -->
# <!-- answer: Ten times as much each time, for ever: the share falls like the radius, the area like its square. No density. -->
#
# ### What they cannot
#
# A generator from few numbers to many has no density at all. Send one number into the plane: the samples lie on a
# curve. Count the share of them in a small disc, and divide by its area. For a density this would settle as the disc
# shrinks. Here it grows tenfold each time, for ever. The images of a generator with 64 inputs and 784 outputs lie on
# just such a thin sheet.

# %%
curve = torch.stack([z, torch.sin(2 * z)], dim=1)  # G: one number -> the plane
density = []
for radius in (0.1, 0.01, 0.001):
    share = (curve.norm(dim=1) < radius).float().mean().item()  # around G(0) = (0, 0)
    density.append(share / (math.pi * radius**2))
print(f"at radius 0.1, share / area is {density[0]:.1f}")
growth = [b / a for a, b in zip(density, density[1:])]
print(f"at each smaller radius, 9 to 11 times as much: {all(9 < g < 11 for g in growth)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The minimax objective
#
# <!-- minutes: 6 -->
# <!-- slide: A classifier for real and fake -->
# <!-- board
# **Discriminator** $D(x)$: how probable it is that $x$ is real. A classifier with two classes, trained by cross-entropy:
# -->
#
# The **discriminator** $D$ looks at an example and says how probable it is that it is real: a classifier with the two
# classes real and fake. It is trained like one, by cross-entropy:
#
# <!-- board -->
# $$L_D = -\,\mathbb{E}_x \log D(x) - \mathbb{E}_z \log\big(1 - D(G(z))\big).$$
#
# <!-- board
# A low loss: $D$ near 1 on real examples, near 0 on fakes.
# -->
#
# <!-- slide: Two networks, one value -->
# <!-- board
# $V = -L_D$ is the **value**. $D$ makes it large, $G$ makes it small:
#
# $$\min_G \max_D \;\; \mathbb{E}_x \log D(x) + \mathbb{E}_z \log\big(1 - D(G(z))\big).$$
# -->
#
# Minus this loss is the **value function** $V(D, G)$. The discriminator makes it large, the generator makes it
# small:
#
# $$\min_G \max_D \; V(D, G) = \min_G \max_D \; \mathbb{E}_x \log D(x) + \mathbb{E}_z \log\big(1 - D(G(z))\big).$$
#
# <!-- question: A discriminator says 1/2 everywhere. What is $V$? -->
# <!-- answer: $\log \frac12 + \log \frac12 = -\log 4 \approx -1.386$ -->
#
# Our data for a while: two bumps on the line. The generator is a small network from one number to one number.

# %%
bumps = MixtureSameFamily(
    Categorical(torch.tensor([0.4, 0.6])), Normal(torch.tensor([-2.0, 1.5]), torch.tensor([0.5, 0.7]))
)
model = GAN(MLP((1, 64, 64, 1)), MLPDiscriminator((1,), hidden_dim=64), latent_dim=1)
x, z_line = bumps.sample((256, 1)), z[::50, None]  # z_line: 20,000 noises, spread evenly
undecided = torch.zeros(256)  # the logits of a discriminator that always says 1/2
print(f"D = 1/2 everywhere: the value is {-model.discriminator_objective(undecided, undecided):.3f}")
print(f"minus log 4 is                   {-math.log(4):.3f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The best discriminator
#
# <!-- minutes: 11 -->
# <!-- slide: Best at every $x$ for itself -->
# <!-- board
# Fix the generator, and let $D$ be any function:
# -->
#
# Fix the generator, and let $D$ be any function. Write the value as an integral:
#
# <!-- board -->
# $$V(D, G) = \int p_\text{data}(x) \log D(x) + p_g(x) \log(1 - D(x)) \; dx.$$
#
# <!-- board
# With $a = p_\text{data}(x)$ and $b = p_g(x)$, each $x$ asks for the top of $a \log D + b \log(1 - D)$.
# -->
# <!-- question: For $a = 0.6$ and $b = 0.2$: which $D$ is best? -->
# <!-- answer: $D = a / (a + b) = 0.75$, where the derivative $a / D - b / (1 - D)$ is zero. -->
#
# We may choose $D(x)$ at every $x$ for itself. With $a = p_\text{data}(x)$ and $b = p_g(x)$ we want the top of
# $a \log D + b \log(1 - D)$. Its derivative $a / D - b / (1 - D)$ is zero at one place only:
#
# <!-- slide: The best discriminator is Bayes' rule -->
# <!-- board -->
# $$D^*(x) = \frac{p_\text{data}(x)}{p_\text{data}(x) + p_g(x)}.$$
#
# <!-- board
# Priors 1/2 for real and fake. The tops of three pairs $(a, b)$:
# -->
#
# It is Bayes' rule, where real and fake have the prior probability 1/2 each. Here are three choices of $a$ and $b$, and
# their tops.

# %% board="figure" alt="Three curves over D between 0 and 1, each with one top: the more the data outweighs the fakes, the further right it lies."
d = torch.linspace(0.01, 0.99, 99)
height = {(a, b): a * d.log() + b * (1 - d).log() for a, b in ((0.6, 0.2), (0.3, 0.3), (0.1, 0.5))}
for (a, b), values in height.items():
    print(f"a = {a}, b = {b}: top at D = {d[values.argmax()]:.2f}, and a / (a + b) = {a / (a + b):.2f}")
plots.show_curves(
    {f"a = {a}, b = {b}": values for (a, b), values in height.items()},
    x=d, xlabel="D", ylabel="to maximise",
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The value at the best D
#
# Put $D^*$ back into the value. Let $m = (p_\text{data} + p_g) / 2$ be the mixture of both. Then $D^* = p_\text{data} /
# 2m$ and $1 - D^* = p_g / 2m$, each factor 2 gives a $-\log 2$, and
#
# <!-- slide: At the best $D$, the value measures a divergence -->
# <!-- board
# $$\begin{aligned} V(D^*, G) &= KL(p_\text{data} \,\|\, m) + KL(p_g \,\|\, m) - \log 4 \\
# &= 2\, \text{JSD}(p_\text{data}, p_g) - \log 4, \qquad m = (p_\text{data} + p_g) / 2. \end{aligned}$$
# -->
#
# $$V(D^*, G) = KL(p_\text{data} \,\|\, m) + KL(p_g \,\|\, m) - \log 4
# = 2\, \text{JSD}(p_\text{data}, p_g) - \log 4.$$
#
# <!-- board
# **Jensen-Shannon divergence**: 0 where the two are equal, $\log 2$ where they share nothing.
# -->
# <!-- question: What is $V(D^*, G)$ when data and fakes share nothing? When they are equal? -->
# <!-- answer: Nothing in common: $2 \log 2 - \log 4 = 0$. Equal: $-\log 4 \approx -1.386$, the least there is. -->
#
# The **Jensen-Shannon divergence** lies between 0, where the two are equal, and $\log 2$, where they share nothing. So
# against the best $D$ a generator that lowers the value comes closer to the data, and the best generator is
# $p_g = p_\text{data}$. We never wrote down a distance, and yet the best classifier measures one.
#
# On the line we check that by quadrature: cut it into cells 0.1 wide and sum over them.

# %%
edges = torch.linspace(-6, 6, 121)
middle, width = (edges[1:] + edges[:-1]) / 2, 0.1
p_data = bumps.cdf(edges).diff()  # the probability of each cell, exact


def fake_cells(model):
    """Each cell's share of G(z), by counting; what lies beyond is put into the last cells."""
    x = model.generate(z_line).detach().clamp(-5.999, 5.999)
    return torch.histc(x, 120, -6, 6) / len(x)


def best_d(p, q):
    return (p / (p + q)).nan_to_num(0.5)  # where nothing ever lies, anything is best


def jsd(p, q):
    m = (p + q) / 2
    return sum(torch.xlogy(r, r / m).nan_to_num(0.0).sum() for r in (p, q)).item() / 2


# %%
p_g = fake_cells(model)
best = best_d(p_data, p_g)
value = (torch.xlogy(p_data, best) + torch.xlogy(p_g, 1 - best)).sum().item()
assert abs(value - (2 * jsd(p_data, p_g) - math.log(4))) < 1e-4
print("the value at the best D is 2 JSD - log 4")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Alternating steps
#
# <!-- minutes: 10 -->
# <!-- slide: Alternating steps -->
#
# We cannot maximise over all functions before each step of the generator. So the two alternate, a small step each:
#
# <!-- board -->
# 1. Draw real examples and noise. One step of $D$ down $L_D$. The fakes count as fixed points.
# 2. One step of $G$ down a loss of its own, through $D$, whose weights count as fixed.
#
# <!-- board
# $D$ is never maximised over all functions: a small step of each, over and over. For now $L_G = -\mathbb{E}_z \log D(G(z))$.
# -->
#
# <!-- slide: The two losses, from logits -->
# <!-- board
# The network $D$ computes a logit $\ell$, with $D = \sigma(\ell)$. Then $-\log D = \text{softplus}(-\ell)$ and
# $-\log(1 - D) = \text{softplus}(\ell)$, which never overflow.
# -->
#
# The generator's loss comes below. For now, take $L_G = -\mathbb{E}_z \log D(G(z))$. The network $D$ computes
# a logit $\ell$, and $D = \sigma(\ell)$. Then $-\log D = \text{softplus}(-\ell)$ and $-\log(1 - D) =
# \text{softplus}(\ell)$, which never overflow. A step of each by hand, and the same by `genlib`:

# %% board="code"
G, D = model.generator, model.discriminator
fake = G(torch.randn(256, 1))
for_d = F.softplus(-D(x)).mean() + F.softplus(D(fake.detach())).mean()
for_g = F.softplus(-D(fake)).mean()

assert torch.allclose(for_d, model.discriminator_loss(x, fake=fake))
assert torch.allclose(for_g, model.generator_loss(256, fake=fake))

# %%
def downhill(network, loss):
    weights = list(network.parameters())  # its own, and nobody else's
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights)):
        weight.data -= 0.01 * slope


by_hand, by_genlib = copy.deepcopy(model), copy.deepcopy(model)
with torch.random.fork_rng():  # afterwards genlib draws the same noise
    noise = by_hand.noise(256)
G, D = by_hand.generator, by_hand.discriminator
downhill(D, F.softplus(-D(x)).mean() + F.softplus(D(G(noise).detach())).mean())
downhill(G, F.softplus(-D(G(noise))).mean())

networks = by_genlib.generator, by_genlib.discriminator
train_gan_epoch(by_genlib, [(x, None)], *(torch.optim.SGD(p.parameters(), lr=0.01) for p in networks))
pairs = zip(by_hand.parameters(), by_genlib.parameters())
assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
print("a step of each by hand and by genlib agree")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The trained $D$ follows the best $D$ -->
# <!-- board
# Where no point ever lies, the output of $D$ has no effect on the loss.
# -->
#
# ### D against the best D
#
# Now both train, two steps of $D$ before each of the generator; we count the latter. On the line we know $D^*$ at every step, so we can see how closely $D$ follows it while the
# generator moves. When the two densities agree, $D^*$ is 1/2 everywhere: the best discriminator can only guess.

# %%
def batches(n, batch_size=256):
    return ((bumps.sample((batch_size, 1)), None) for _ in range(n))


for_g, for_d = gan_optimizers(model, 5e-4)[0], gan_optimizers(model, 3e-3)[1]  # D learns faster
panels, record = {}, []
for step in range(0, 401, 25):
    p_g = fake_cells(model)
    with torch.no_grad():
        logit = model.discriminator(middle[:, None])
    value = -(p_data * F.softplus(-logit) + p_g * F.softplus(logit)).sum().item()
    best, both = best_d(p_data, p_g), (p_data + p_g) / 2
    off = (both * (logit.sigmoid() - best).abs()).sum().item()
    record.append((step, jsd(p_data, p_g), value, off))
    if step in (25, 100, 200, 400):
        panels[f"after {step} steps"] = {
            "data": p_data / width, "generator": p_g / width,
            "D": logit.sigmoid(), "best D": best,
        }
    train_gan_epoch(model, batches(50), for_g, for_d, discriminator_steps=2)

# %% board="figure" alt="Densities of data and generator, D and the best D, after 25, 100, 200 and 400 steps: the generator spreads from a spike until it covers both bumps, and D follows the best D there."
figures.show_panels(
    panels, x=middle, xlabel="x", ylabel="density, and D", top=1.05, dashed=["best D"],
    labels={"data": (-3.4, 0.36), "generator": (1.8, 0.55), "D": (-0.8, 0.45), "best D": (-4.6, 0.6)},
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# The best $D$ changes with every step of the generator, and $D$ follows it. It learns the broad shape, and misses the
# narrow peaks of the generator's density. At the edges, where no point ever lies, its output has no effect on the loss.
# Most of the way to the data is done in the first two or three hundred steps. After that the generator moves about them without settling, for its
# objective changes with $D$: it is **non-stationary**.

# %%
steps, divergence, values, far = (torch.tensor(column) for column in zip(*record))
late = divergence[steps >= 200].max()
print(f"JSD at the start is above 0.6 nats:            {bool(divergence[0] > 0.6)}")
print(f"from step 200 on it stays below 0.35:          {bool(late < 0.35)}")
print(f"after 25 steps D is within 0.25 of the best D: {bool(far[1] < 0.25)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# (The distance between the two is a mean over $x$, half of them real, half fake.)
#
# <!-- slide: The value in training is a lower bound -->
# <!-- board
# $D$ is never the best, so its value is at most $2\, \text{JSD} - \log 4$. When the value falls, the generator got better
# or the discriminator got worse.
# -->
#
# $D$ is never the best, so the value it reaches is a **lower bound** on $2\,\text{JSD} - \log 4$. How far below it lies
# is unknown where the densities are. When the value falls, either the generator got better or the discriminator got worse.

# %% board="figure" alt="The value of the game over 400 steps, at the best D and at the D in training, which lies below; both come near to -log 4."
plots.show_curves(
    {"at the best D": 2 * divergence - math.log(4), "at the D in training": values},
    x=steps, xlabel="steps of the generator", ylabel="V(D, G), nats", baselines={"-log 4": -math.log(4)},
)
assert (values <= 2 * divergence - math.log(4) + 1e-4).all()
print("at every step D reaches no more than the best D would")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Does it converge?
#
# <!-- minutes: 12 -->
# <!-- slide: The smallest GAN has two numbers -->
# <!-- board
# **Dirac-GAN** (Mescheder et al., 2018)
#
# - data: all at the point 0
# - fakes: all at the point $\theta$, the generator's only parameter
# - discriminator: the logit $\psi x$
# -->
#
# The value swings. Is that our two networks, or the objective itself? Take the smallest one, the **Dirac-GAN** (Mescheder et al.,
# 2018, section 2). All data lie at the point 0. All fakes lie at one point $\theta$, the generator's only parameter. The
# discriminator has the logit $\psi x$. At the data this is 0, whatever $\psi$ is, and so
#
# <!-- board -->
# $$V(\theta, \psi) = \log \tfrac12 + \log\big(1 - \sigma(\psi \theta)\big).$$
#
# <!-- slide: Each network follows its own gradient -->
# <!-- board
# The generator goes down $V$, the discriminator up. With $s = \sigma(\psi \theta)$:
# -->
#
# Let $s = \sigma(\psi \theta)$: so probable does $D$ find it that the fake is real. The generator goes down $V$, the
# discriminator up:
#
# <!-- board -->
# $$-\frac{\partial V}{\partial \theta} = s\, \psi, \qquad \frac{\partial V}{\partial \psi} = -s\, \theta.$$
#
# <!-- question: From $(\theta, \psi)$ both take a small step. Do they come nearer to $(0, 0)$? -->
# <!-- answer: No: the direction $s\,(\psi, -\theta)$ stands at a right angle to $(\theta, \psi)$. Small steps go round $(0, 0)$, the **equilibrium**. -->
#
# Both are zero at $\theta = \psi = 0$ only. There the fakes lie on the data and $D$ says 1/2: the **equilibrium** that we
# want. But the vector $s\,(\psi, -\theta)$ stands at a right angle to $(\theta, \psi)$ everywhere. Small steps along it go
# round the equilibrium and never nearer.

# %%
def field(theta, psi, penalty=0.0):  # of the penalty below
    s = torch.sigmoid(psi * theta)
    return s * psi, -s * theta - penalty * psi


grid = torch.linspace(-3, 3, 31, dtype=torch.float64)
theta, psi = (axis.flatten().requires_grad_() for axis in torch.meshgrid(grid, grid, indexing="xy"))
value = -len(psi) * model.discriminator_objective(real=0 * psi, fake=psi * theta)  # genlib's, summed
to_theta, to_psi = field(theta, psi)
assert torch.allclose(-torch.autograd.grad(value, theta, retain_graph=True)[0], to_theta)
assert torch.allclose(torch.autograd.grad(value, psi)[0], to_psi)
assert torch.allclose(theta * to_theta + psi * to_psi, torch.zeros_like(theta))
print("the field is the gradient of genlib's value, at a right angle to (theta, psi)")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Steps of size $h$ -->
# <!-- question: Simultaneous steps of size $h$: for which $h > 0$ do they converge? -->
# <!-- answer: None. Each multiplies the distance from the equilibrium by $\sqrt{1 + h^2 s^2} > 1$ (Pythagoras). -->
#
# Now a step of size $h$, both at once. By Pythagoras the new distance from the equilibrium is
#
# $$\sqrt{\theta^2 + \psi^2} \;\cdot\; \sqrt{1 + h^2 s^2}.$$
#
# The factor is above 1 for every $h > 0$. No learning rate makes these steps converge.
#
# <!-- board
# Alternating, first $\psi$, then $\theta$; near the equilibrium $s = 1/2$:
# -->
#
# And alternating, first $\psi$, then $\theta$ with the new $\psi$? Near the equilibrium $s = 1/2$. The two steps are the matrices
#
# <!-- board -->
# $$\begin{pmatrix} 1 & h/2 \\ 0 & 1 \end{pmatrix} \begin{pmatrix} 1 & 0 \\ -h/2 & 1 \end{pmatrix},$$
#
# <!-- board
# Determinant 1, and for $h < 4$ complex eigenvalues of length 1: to first order, the distance neither grows nor shrinks.
# -->
#
# whose product has determinant 1 and trace $2 - h^2 / 4$. For $h < 4$ both eigenvalues are complex of length 1: to first
# order, the distance neither grows nor shrinks.
#
# <!-- slide: R1 penalises the slope of $D$ at the data -->
# <!-- board
# Add to the loss of $D$, over real examples only (Mescheder et al., 2018):
# -->
#
# ### A penalty at the data
#
# Fakes at $\theta$ stay in motion because $D$ still slopes when they reach the data. So fine that slope. **R1** adds to the loss
# of $D$ (Mescheder et al., 2018, section 4)
#
# <!-- board -->
# $$\frac{\gamma}{2}\, \mathbb{E}_x \lVert \nabla_x\, \text{logit}(x) \rVert^2,$$
#
# <!-- board
# In the Dirac-GAN, $\gamma \psi^2 / 2$. Both at once, near the equilibrium:
# -->
#
# the mean over real examples only. Here it is $\gamma \psi^2 / 2$, and the discriminator's part of the field gets a
# $-\gamma \psi$. For both at once the matrix is
#
# <!-- board -->
# $$\begin{pmatrix} 1 & h/2 \\ -h/2 & 1 - \gamma h \end{pmatrix}.$$
#
# <!-- board
# For $\gamma < 1$ the eigenvalues are complex, of length $\sqrt{1 - \gamma h + h^2 / 4}$: below 1 for $h < 4 \gamma$.
# -->
#
# <!-- slide: Outwards, round, inwards -->
# <!-- board
# Distance from the equilibrium: 1.414 at the start. After 400 steps: both at once 2.868, alternating 1.343, with R1 0.000056.
# -->
#
# For $\gamma < 1$ its eigenvalues are complex, their length is the root of the determinant,
# $\sqrt{1 - \gamma h + h^2 / 4}$, and below 1 as soon as $h < 4 \gamma$. So $(\theta, \psi)$ spirals in.

# %% board="figure" alt="Paths of two players in the plane: with both steps at once it spirals outwards, alternating it circles, with R1 it spirals into the middle."
def trajectory(h, steps=400, penalty=0.0, alternating=False):
    """(theta, psi) from (1, 1) on, (steps + 1, 2)."""
    theta, psi = at = torch.ones(2, dtype=torch.float64)
    visited = [at]
    for _ in range(steps):
        to_theta, to_psi = field(theta, psi, penalty)
        psi = psi + h * to_psi
        if alternating:
            to_theta, _ = field(theta, psi, penalty)
        theta = theta + h * to_theta
        visited.append(torch.stack([theta, psi]))
    return torch.stack(visited)


h, penalty = 0.2, 0.3
ways = {
    "both at once": trajectory(h), "alternating": trajectory(h, alternating=True),
    "both at once, R1": trajectory(h, penalty=penalty),
}
figures.show_paths(
    {name: (path, partial(field, penalty=penalty * ("R1" in name))) for name, path in ways.items()},
    xlabel=r"$\theta$, the fakes", ylabel=r"$\psi$, the slope of D",
)

# %%
for step_size in (0.01, 0.2, 1.0):
    path = trajectory(step_size)
    s = path[:-1].prod(dim=1).sigmoid()
    factors = path[1:].norm(dim=1) / path[:-1].norm(dim=1)
    exact = torch.allclose(factors, (1 + step_size**2 * s**2).sqrt(), rtol=1e-12)
    print(f"h = {step_size}: each of 400 steps lengthens by the root of 1 + h^2 s^2: {exact}")
distance = {name: path.norm(dim=1) for name, path in ways.items()}
for name, length in distance.items():
    print(f"{name:<17} distance from the equilibrium {length[0]:.3f}, after 400 steps {length[-1]:.6f}")
shrinks = (distance["both at once, R1"][-1] / distance["both at once, R1"][100]) ** (1 / 300)
print(f"R1, factor of a step: by the determinant {(1 - penalty * h + h**2 / 4) ** 0.5:.3f}, measured {shrinks:.3f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# This says what happens near an equilibrium that both networks can reach. It does not say that R1 brings every GAN there. For
# networks Mescheder et al. prove that R1 converges if the start is near enough, the steps are small enough, and the generator can
# make the data exactly. [Lesson {{gan_architectures}}]({{gan_architectures}}_gan_architectures.ipynb) puts it into a DCGAN.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Gradients that vanish
#
# <!-- minutes: 13 -->
# <!-- slide: Two losses for the generator -->
# <!-- board
# The generator minimises one of them; both want the fakes called real.
#
# | | |
# | --- | --- |
# | **minimax** | $\mathbb{E}_z \log(1 - D(G(z)))$ |
# | **non-saturating** | $-\mathbb{E}_z \log D(G(z))$ |
#
# For one fake with the logit $\ell$:
#
# $$\frac{d}{d\ell} \log(1 - \sigma(\ell)) = -D, \qquad \frac{d}{d\ell} \big({-\log \sigma(\ell)}\big) = -(1 - D).$$
# -->
#
# Which loss should the generator have? In the objective as written it minimises $\mathbb{E}_z \log(1 - D(G(z)))$, the **minimax**
# loss. Or it minimises $-\mathbb{E}_z \log D(G(z))$, the **non-saturating** loss. Both want the fakes called real. They
# differ in how large their gradient is. For one fake with the logit $\ell$:
#
# $$\frac{d}{d\ell} \log(1 - \sigma(\ell)) = -\sigma(\ell) = -D, \qquad
# \frac{d}{d\ell} \big({-\log \sigma(\ell)}\big) = -(1 - D).$$
#
# <!-- question: $D$ has found a fake out: its logit is $-8$. How large is each gradient? -->
# <!-- answer: Minimax 0.0003, non-saturating 0.9997. -->
#
# <!-- slide: Minimax saturates where fakes are found out -->
# <!-- board
# The worst fakes learn the least. The ratio of the two gradients is $D / (1 - D) = e^\ell$.
# -->
#
# Descent goes against the slope, so both push the logit up. Autograd says how large the two gradients are:

# %% board="figure" alt="Gradient against the logit of a fake: minimax is near 0 for fakes that D sees through and rises to 1; non-saturating is its mirror image."
networks = model.generator, model.discriminator
objectives = {"minimax": MinimaxGAN(*networks, latent_dim=1), "non-saturating": GAN(*networks, latent_dim=1)}
logits, size = torch.arange(-80, 81) / 10, {}
for name, gan in objectives.items():
    a = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(len(a) * gan.generator_objective(a), a)
    size[name] = -slope
plots.show_curves(size, x=logits, xlabel="logit of a fake", ylabel="gradient magnitude")

# %%
assert torch.allclose(size["minimax"], logits.sigmoid(), atol=1e-6)
assert torch.allclose(size["non-saturating"], (-logits).sigmoid(), atol=1e-6)
for logit in (0, -4, -8):
    weak, strong = (values[logits == logit].item() for values in size.values())
    print(f"logit {logit:>2}: gradient of minimax {weak:.4f}, of non-saturating {strong:.4f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# On the left stand the fakes that $D$ has found out. There the minimax loss **saturates**: it is nearly flat, and the
# worst fakes learn the least. The ratio of the two is $D / (1 - D) = e^\ell$. All that follows in the chain rule,
# from the logit back into the weights of $G$, is the same for both.
#
# <!-- slide: At the best $D$, two different divergences -->
# <!-- board
# | | the generator follows the gradient of |
# | --- | --- |
# | **minimax** | $2\, \text{JSD}(p_\text{data}, p_g)$ |
# | **non-saturating** | $KL(p_g \,\Vert\, p_\text{data}) - 2\, \text{JSD}(p_\text{data}, p_g)$ |
#
# Arjovsky and Bottou (2017), theorem 2.5
# -->
# <!-- question: Which mistake does $KL(p_g \,\Vert\, p_\text{data})$ punish: a fake where no data are, or a mode that gets no fakes? -->
# <!-- answer: A fake where no data are. A mode without fakes costs hardly anything. -->
#
# ### What the two losses minimise
#
# The factor $e^\ell$ differs from fake to fake, so the two losses also want different things. Hold $D$ at $D^*$. There
# minimax follows the gradient of $2\,\text{JSD}$. The non-saturating loss follows that of
#
# $$KL(p_g \,\|\, p_\text{data}) - 2\, \text{JSD}(p_\text{data}, p_g)$$
#
# (Arjovsky and Bottou, 2017, theorem 2.5). This KL punishes a fake where no data are, and hardly a mode that gets no fakes.
# For a generator $G(z) = m + z$ on the line, by quadrature:

# %%
line = torch.linspace(-9, 9, 3601, dtype=torch.float64)
m = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
log_p, log_q = bumps.log_prob(line), Normal(m, 1.0).log_prob(line)
p, q, log_both = log_p.exp(), log_q.exp(), torch.logaddexp(log_p, log_q)
log_best = (log_p - log_both).detach()  # log D*, which stands still while G moves
log_rest = (log_q - log_both).detach()  # log(1 - D*)
two_jsd = (p * (log_p - log_both) + q * (log_q - log_both)).sum() * 0.005  # and log 4
reverse_kl = (q * (log_q - log_p)).sum() * 0.005


def slope_at(value):
    return torch.autograd.grad(value, m, retain_graph=True)[0]


minimax, non_saturating = slope_at((q * log_rest).sum() * 0.005), slope_at(-(q * log_best).sum() * 0.005)
print("minimax follows 2 JSD:                  ", torch.allclose(minimax, slope_at(two_jsd)))
print("the other follows KL(p_g || p) - 2 JSD: ",
      torch.allclose(non_saturating, slope_at(reverse_kl - two_jsd)))
print("which is another gradient:              ", not torch.allclose(minimax, non_saturating, rtol=0.1))

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The better $D$, the smaller the minimax gradient -->
# <!-- board
# Fakes near 8, data between $-4$ and 4, and only $D$ learns. Both axes are logarithmic.
# -->
#
# ### In a whole GAN
#
# Put the generator far from the data, and let only $D$ learn. We measure the length of the generator's gradient under both
# losses, with the same networks and the same noise. Both axes are logarithmic.

# %%
away = GAN(MLP((1, 64, 64, 1)), MLPDiscriminator((1,), hidden_dim=64), latent_dim=1)
with torch.no_grad():
    *_, last_bias = away.generator.parameters()
    last_bias += 8.0  # fakes near 8, data between -4 and 4
learn = torch.optim.Adam(away.discriminator.parameters(), lr=1e-3)


def both_losses(model):
    networks, size = (model.generator, model.discriminator), model.latent_dim
    return {"minimax": MinimaxGAN(*networks, latent_dim=size), "non-saturating": GAN(*networks, latent_dim=size)}


def gradient_lengths(model):
    fake, weights = model.fakes(256), list(model.generator.parameters())
    for gan in both_losses(model).values():
        loss = gan.generator_loss(256, fake=fake)
        slopes = torch.autograd.grad(loss, weights, retain_graph=True)
        yield torch.nn.utils.get_total_norm(slopes).item()


# %% board="figure" alt="Length of the generator's gradient while D alone is trained, on logarithmic axes: non-saturating grows, minimax falls to less than a hundredth."
lengths, at = [], (1, 3, 10, 30, 100, 300)
for step in range(1, at[-1] + 1):
    loss = away.discriminator_loss(bumps.sample((256, 1)))
    learn.zero_grad()
    loss.backward()
    learn.step()
    if step in at:
        lengths.append(list(gradient_lengths(away)))

minimax, non_saturating = zip(*lengths)
plots.show_curves(
    {"minimax": minimax, "non-saturating": non_saturating},
    x=at, xlabel="steps of D alone", ylabel="length of G's gradient", log=True,
)
print(f"after 300 steps minimax has under 1/100 of the other: {100 * minimax[-1] < non_saturating[-1]}")
print(f"the non-saturating gradient has grown:                {non_saturating[-1] > non_saturating[0]}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The better $D$ gets, the smaller the gradient of the minimax generator. Arjovsky and Bottou (2017) prove it: near a perfect $D$
# it goes to zero. Yet only a well trained $D$ makes the value mean something.
#
#
# Now let both train on from here, with plain gradient steps of the same size for both losses. And once more minimax, with
# Adam in place of plain steps.

# %% alt="Mean of the fakes over 200 steps: minimax does not move from 8, non-saturating and minimax with Adam reach the mean of the data and swing around it."
path = {}
for name, gan in [*both_losses(away).items(), ("minimax, Adam", both_losses(away)["minimax"])]:
    gan = copy.deepcopy(gan)
    for_g = torch.optim.SGD(gan.generator.parameters(), lr=0.01)
    if name == "minimax, Adam":
        for_g, _ = gan_optimizers(gan)
    for_d = torch.optim.Adam(gan.discriminator.parameters(), lr=1e-3, fused=True)
    path[name] = [gan.generate(z_line).mean().item()]
    for _ in range(20):
        train_gan_epoch(gan, batches(10, 128), for_g, for_d)
        path[name].append(gan.generate(z_line).mean().item())
plots.show_curves(
    path, x=range(0, 201, 10), xlabel="steps", ylabel="mean of the fakes",
    baselines={"mean of the data": bumps.mean.item()},
)

# %%
moved = {name: values[0] - min(values) for name, values in path.items()}
print(f"the minimax generator has not moved by 0.5: {moved['minimax'] < 0.5}")
print(f"the non-saturating one has, by 4 and more:  {moved['non-saturating'] > 4}")
print(f"so has minimax with Adam:                   {moved['minimax, Adam'] > 4}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Adam divides each gradient by its usual size, so it takes long steps from any gradient, however small. With it minimax sets
# off as well, and Adam hides that the gradient has vanished. But to move is not to converge: a generator that moves fast overshoots,
# and oscillates about the data.
#
# <!-- slide: Fakes arrive, and run on -->
# <!-- board
# In the notebook: drag the slider under both losses. Stop when the fakes have arrived: the best $D$ falls there, $D$ follows
# late.
# -->
#
# ### Watch it yourself
#
# The same GAN, two steps from one snapshot to the next: play it, or drag the slider, under both losses. With minimax next to nothing moves, since $D$ is
# nearly the best $D$ where the fakes lie, and flat there. With the other loss, stop when the fakes have
# arrived: the best $D$ falls where they are, $D$ follows late, and the generator runs on to where $D$ is still high.

# %% board="figure" tags=["nbval-ignore-output"] alt="Still picture of the explorer of a GAN in one dimension: the density of data, generator, D and the best D at step 40, when the generator has begun to move left over the data."
explorer = explorers.gan_explorer(away, bumps)
explorer.loss.value, explorer.player.slider.value = "non-saturating", 20
explorer

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Which way is down?
#
# Some lecture notes say that the generator *maximises* $-\log D(G(z))$, or that it wants its fakes called fake. Both are
# slips. $-\log D$ is a loss, the generator **minimises** it, and so **raises** $D$ on its fakes. One small step each way
# settles it.

# %%
fake = model.fakes(2000).detach()
slope = torch.autograd.grad(model.generator_loss(2000, fake=fake.requires_grad_()), fake)[0]
with torch.no_grad():
    belief = {
        name: model(fake + step * slope / slope.norm()).sigmoid().mean()
        for name, step in {"down": -1e-1, "here": 0.0, "up": 1e-1}.items()
    }
print(f"a step down the loss makes D believe the fakes more: {bool(belief['down'] > belief['here'])}")
print(f"a step up makes it believe them less:                {bool(belief['up'] < belief['here'])}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Why loss curves do not measure progress
#
# <!-- minutes: 7 -->
# <!-- slide: Two runs, and only their losses -->
# <!-- board
# Eight narrow Gaussians on a ring (after Metz et al., 2017). Two GANs with the same generator.
# -->
#
# In every other lesson a falling loss meant a better model. Here is the usual test bench of GANs, after Metz et al. (2017):
# eight narrow Gaussians on a ring. We train two GANs on it, run A and run B, with the same generator. First the losses
# alone.

# %%
ring = EightGaussians(std=0.1)


def ring_gan(discriminator):
    return GAN(MLP((2, 128, 128, 2), activation=torch.nn.ReLU), discriminator, latent_dim=2).to(DEVICE)


runs = {
    "run A": ring_gan(MLPDiscriminator((2,), hidden_dim=128, depth=2)),
    "run B": ring_gan(MLPDiscriminator((2,), hidden_dim=4, depth=1)),
}
curves = {
    name: fit_gan(run, ring, updates=UPDATES, batch_size=128, learning_rate=2e-3)
    for name, run in runs.items()
}

# %% board="figure" alt="Losses of two runs over 700 steps: in both D stays near log 4 and G near log 2, with larger jumps in run B."
def smooth(values, n):
    return torch.tensor(values).unfold(0, n, n).mean(dim=1)  # means of n steps


smoothed = {
    f"{name}, {player[0].upper()}": smooth(curves[name][f"{player}_loss"], 20)
    for name in runs for player in ("discriminator", "generator")
}
plots.show_curves(
    smoothed,
    x=torch.arange(UPDATES // 20) * 20 + 10, xlabel="steps", ylabel="loss, nats",
    baselines={"log 4": math.log(4), "log 2": math.log(2)},
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Do the losses tell the two runs apart? -->
# <!-- question: Run A covers the ring, run B none of it. Do the losses show that? -->
# <!-- answer: No. Run A and run B come near $\log 4$ for $D$ and $\log 2$ for $G$, where a perfect generator would lead, and where a
# weak discriminator leads as well. -->
#
# Run A settles near $\log 4$ for $D$ and $\log 2$ for $G$, the losses of a discriminator that says 1/2 everywhere. That is where a
# perfect generator would lead. In most runs, not in all, B settles there too. Which one would you keep? Now the samples. A red ring has a radius of
# three standard deviations around a mode.
#
# <!-- slide: Only the samples tell -->
# <!-- board
# The discriminator of run B has four hidden units, and cannot represent eight modes.
# -->
# <!-- figure: ring -->

# %% name="ring" alt="Eight small Gaussians in a ring, and points of two runs: run A covers the ring, run B is one streak outside it."
drawn = {name: run.sample(4000).cpu() for name, run in runs.items()}
shown = {"data": ring.sample(2000)} | {name: points[:2000] for name, points in drawn.items()}
widest = drawn["run B"].abs().quantile(0.95).item()
plots.show_points(shown, modes=ring.means, radius=3 * ring.std, limit=max(3.0, min(1.2 * widest, 9.0)))

# %%
def near(points):
    """The share of points that lie near any mode."""
    return mode_counts(points, ring.means, radius=3 * ring.std).sum().item() / len(points)


final = {name: smooth(curves[name]["discriminator_loss"], 200)[-1].item() for name in runs}
off = {name: abs(loss - math.log(4)) for name, loss in final.items()}
print(f"run A: D's loss over the last 200 steps is within 0.3 of log 4: {off['run A'] < 0.3}")
a, b = near(drawn["run A"]), near(drawn["run B"])
print(f"run A: more than 40 % of its points lie near a mode: {a > 0.4}")
print(f"that is at least 20 points more than of run B:       {a > b + 0.2}")

# %% board="values" tags=["nbval-ignore-output"]
for name in runs:
    share = 100 * near(drawn[name])
    print(f"{name}: loss of D {final[name]:.3f}, {share:.0f} % of 4000 points near a mode")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The reason: the discriminator of run B has four hidden units. It cannot represent eight modes. A loss
# near $\log 4$ says that *this* discriminator cannot tell real from fake. It compares two networks that both change, and no fixed thing. So a GAN
# is judged by its samples, and by measures that need nothing else.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Modes dropped, and counted
#
# <!-- minutes: 6 -->
#
# A mode counts as covered when it gets a tenth of its fair share of the samples.

# %%
def modes(points):
    return mode_coverage(points, ring.means, radius=3 * ring.std)


print(f"run A covers at least 7 of 8 modes: {modes(drawn['run A']) >= 7}")
print(f"run B covers at most 4:             {modes(drawn['run B']) <= 4}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Ten steps of the generator for one of $D$ -->
# <!-- board
# All else is the same, and every generator takes 600 steps.
# -->
# <!-- question: Does the generator with ten steps to one cover more of the eight modes, or fewer? -->
# <!-- answer: Fewer. While $D$ stands still, the best a generator can do is to send all noise to the one place where $D$ is largest. -->
#
# Now change one thing: how many steps the generator takes for each of the discriminator, one or ten. All else is
# the same, and both generators take 600 steps in all. Ten should do better, should they not? It learns faster.
#
# But think of a generator that moves for long against a $D$ that stands still. Nothing in its loss asks for variety. The
# best it can do is to send *all* noise to the one place where $D$ is largest. Then $D$ learns that this place is fake, and
# the fakes move on to the next.
#
# <!-- slide: Mode collapse -->
# <!-- board
# Nearly all noise goes to a few modes, or to one place; the other modes are dropped.
# -->

# %%
def train_with(generator_steps, total=600):
    """Ten snapshots of the points, after every tenth of the generator's steps."""
    model, snapshots = ring_gan(MLPDiscriminator((2,))), {}
    for_g, for_d = gan_optimizers(model, 2e-3)
    for step in range(1, total + 1):
        if step % generator_steps == 0:
            for_d.zero_grad()
            model.discriminator_loss(ring.sample(128).to(DEVICE)).backward()
            for_d.step()
        for_g.zero_grad()
        model.generator_loss(128).backward()
        for_g.step()
        if step % (total // 10) == 0:
            snapshots[f"step {step}"] = model.sample(2000).cpu()
    return snapshots


one_step, ten_steps = train_with(1), train_with(10)
found = {name: [modes(x) for x in points.values()] for name, points in {"1": one_step, "10": ten_steps}.items()}

# %% board="figure" alt="Points of two GANs at two late steps: with one step of D for one of G they cover the ring of eight; with ten to one they are a single streak."
last = {f"{name}, {step}": x for name, points in {"1 : 1": one_step, "10 : 1": ten_steps}.items()
        for step, x in list(points.items())[-2:]}
plots.show_points(last, modes=ring.means, radius=3 * ring.std)
print(f"one step of each, the best of the last five snapshots: 5 modes or more: {max(found['1'][5:]) >= 5}")
print(f"ten steps to one, in all ten snapshots:         never more than 3 of 8: {max(found['10']) <= 3}")

# %% board="values" tags=["nbval-ignore-output"]
for name, counts in found.items():
    print(f"{name:>2} to 1: modes covered in ten snapshots {counts}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# In **mode collapse** a generator sends nearly all noise to a few modes of the data and drops the others, however real each sample
# looks. Here it shows that $\min_G \max_D$ and $\max_D \min_G$ are different problems: the order of
# the two makes the difference, and alternating steps solve neither. Metz et al. let the generator look ahead at how $D$ would answer. In
# [the exercises]({{gan}}_gan_exercises.ipynb) you train a generator alone and see all fakes gather in one place on the line.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Thirty images, counted
#
# <!-- minutes: 8 -->
# <!-- slide: Thirty images, drawn by each model -->
# <!-- board
# `bars`: 30 images of 4 by 4 pixels, all as likely. Two GANs learn them, one of them with **instance noise**: $D$ sees
# real and fake through noise.
# -->
# <!-- question: Which of the two GANs covers more of the thirty? -->
# <!-- answer: With noise, all 30. Without, 15. -->
#
# `bars` has 30 images of 4 by 4 pixels, each with probability $1/30$, out of 65,536 that could be. So we can count what a
# GAN draws. One difficulty: pixels of `bars` are 0 or 1, and those of a generator are in between. The best $D$ could tell
# them apart by that alone, and its slope would say nothing. A remedy is **instance noise**: $D$ sees everything, real and
# fake, through noise, which makes the two overlap (Sonderby et al., 2017; Arjovsky and Bottou, 2017). We train one GAN
# without and one with it. At the end we round the pixels.

# %%
def bars_gan(std):
    judge = InstanceNoise(MLPDiscriminator((1, 4, 4)), std=std)
    return GAN(MLPGenerator((1, 4, 4), latent_dim=16), judge, latent_dim=16).to(DEVICE)


bars = load("bars")
many = bars[torch.arange(30).repeat(20)]  # 20 of each, to fill batches of 128
gans = {f"GAN, noise {std}": bars_gan(std) for std in (0.0, 0.5)}
right = {
    name: fit_gan(gan, many, updates=1500, batch_size=128, learning_rate=2e-3)["accuracy"]
    for name, gan in gans.items()
}
plain = sum(right["GAN, noise 0.0"][-200:]) / 200
print(f"without noise, D is right on less than 95 % in the end: {plain < 0.95}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So *this* $D$ is far from the best one, and its slope still says something. Whether noise helps, the counts must show.
#
# The baselines have a likelihood: independent pixels, and a small PixelCNN. Their distance from the truth is exact, no
# sample needed.

# %%
pixels, pixelcnn = independent_pixels(bars), PixelCNN((1, 4, 4), hidden_dim=16, depth=2).to(DEVICE)
fit(pixelcnn, bars, epochs=200, batch_size=30, learning_rate=2e-2)

exact = bars_kl(lambda x: pixels.log_prob(x.long()).flatten(1).sum(dim=1))
learnt = bars_kl(lambda x: pixelcnn.log_prob(x.to(DEVICE)).cpu())
print(f"KL(truth, independent pixels): {exact:.2f} nats")
print(f"KL(truth, PixelCNN) below 0.1: {learnt < 0.1}")

# %% board="figure" alt="Fourteen bars each: the truth, independent pixels, PixelCNN and two GANs. Without noise the GAN repeats a few true bars, with noise it draws more kinds, some of them broken."
N = 6000
drawn = {
    "truth": bars.floats()[torch.randint(30, (N,))],
    "independent": pixels.sample((N,)).float(),
    "PixelCNN": pixelcnn.sample(N).cpu(),
    **{name: (gan.sample(N).cpu() > 0.5).float() for name, gan in gans.items()},
}
plots.show_rows({name: x[:14] for name, x in drawn.items()}, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Noise helps coverage, and costs validity -->
# <!-- board
# **Valid**: the share of 6000 samples that are one of the thirty. **Total variation**: 0 for the same distribution, 1 for
# nothing in common.
# -->
#
# ### Three numbers from counts
#
# Let $\hat q(x)$ be the share of the $N = 6000$ samples that are the image $x$.
#
# - **Valid**: the share that are one of the thirty.
# - **Total variation**, $\frac12 \sum_x |\hat q(x) - p(x)|$ over all images: 0 for the same, 1 for nothing in common. It
#   needs no logarithm, so images that never come do no harm.
# - **KL of the valid ones**, $KL(\hat r \,\|\, p) = \log 30 - H(\hat r)$, with $\hat r$ the shares among the valid
#   samples. The other direction is infinite as soon as one of the thirty is missing.
#
# These are **plug-in** estimates: shares in place of probabilities. Shares scatter, so both distances come out too large.
# Samples of the truth itself would get about $29 / 2N$ for the KL, and $\frac{30}{2} \sqrt{2/\pi} \sqrt{p (1 - p) / N}$ for
# the total variation, with $p = 1/30$. The row "truth" shows it. Differences of that size mean nothing.

# %%
def counted(x):
    counts = mode_counts(x, bars.floats(), radius=0.5)
    valid, r = counts.sum() / len(x), counts / counts.sum()
    total_variation = ((counts / len(x) - 1 / 30).abs().sum() + 1 - valid) / 2
    return {
        "covered": mode_coverage(x, bars.floats(), radius=0.5), "valid": valid.item(),
        "total_variation": total_variation.item(), "kl_of_valid": (math.log(30) + torch.xlogy(r, r).sum()).item(),
    }


# %%
table = {name: counted(x) for name, x in drawn.items()}
for name, x in drawn.items():  # genlib counts in the same way; where nothing is valid, both KLs are 0/0
    by_genlib = bars_counts(x)
    ours, theirs = (torch.tensor([float(row[key]) for key in by_genlib]) for row in (table[name], by_genlib))
    assert torch.allclose(ours, theirs, atol=1e-5, equal_nan=True)

print(f"bias, KL:              {29 / (2 * N):.4f}")
print(f"bias, total variation: {15 * math.sqrt(2 / math.pi * (1 / 30) * (29 / 30) / N):.4f}")

# %% board="values" tags=["nbval-ignore-output"]
print(format_table(table))

# %%
none, noisy, exact = (table[name] for name in ("GAN, noise 0.0", "GAN, noise 0.5", "PixelCNN"))
print(f"with noise a GAN covers at least 26 of 30:       {noisy['covered'] >= 26}")
print(f"that is at least 6 more than without:            {noisy['covered'] >= none['covered'] + 6}")
print(f"with noise at least 40 % of it is valid:         {noisy['valid'] > 0.4}")
print(f"without, more than that, by 10 points or more:   {none['valid'] > noisy['valid'] + 0.1}")
print(f"of independent pixels, less than 1 % is valid:   {table['independent']['valid'] < 0.01}")
print(f"the PixelCNN's total variation is below 0.1:     {exact['total_variation'] < 0.1}")
print(f"that of either GAN is at least 0.1 more:         "
      f"{min(none['total_variation'], noisy['total_variation']) > exact['total_variation'] + 0.1}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# How often does each of the thirty come? Sorted by how often, from the most common to the rarest:

# %% alt="Share of each of 30 images, most common first: truth and PixelCNN are flat near 1/30, the GAN without noise falls from 0.19 to nothing, with noise it is flat and lower."
shares = {
    name: (mode_counts(drawn[name], bars.floats(), radius=0.5) / N).sort(descending=True).values
    for name in ("truth", "PixelCNN", *gans)
}
plots.show_curves(
    shares, xlabel="image, most common first", ylabel="share of the samples", baselines={"1/30": 1 / 30}
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# The row "truth" is sampling error alone. The PixelCNN beats both GANs: giving up $p(x)$ does not pay on a task this small.
# -->
#
# A trade-off, and the losses do not show it. Noise improves coverage: all images come, or nearly all, and many samples are
# none of the thirty. Without noise most samples are right, and a good part of the thirty never comes. Both GANs beat
# independent pixels by far. The PixelCNN beats both. On a task this small and this exact, giving up $p(x)$ does not pay. It
# pays where images are large, and drawing them value by value is slow.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What a GAN cannot do
#
# <!-- minutes: 3 -->
# <!-- slide -->
# <!-- board
# - **No likelihood**: no comparison on test images, no outlier refused, no Bayes' rule. $D$ is no substitute.
# - **No encoder**: which $z$ made this image? There may be none, or many.
# - **No stopping rule**: no number in training falls as the model gets better.
# -->
#
# - **No likelihood.** It cannot say how probable an image is. So it cannot be compared on test images, nor refuse an
#   outlier, nor classify by Bayes' rule. $D$ is no substitute: at its best it knows the ratio of two densities, and neither
#   of them. After perfect training it says 1/2 everywhere.
# - **No encoder.** Which $z$ made this image? There may be none, or many, and finding one is a search.
# - **No stopping rule.** No number in training falls as the model gets better. People look at samples, or at measures from
#   samples. Good samples and a good likelihood are different things: either can be had without the other (Theis et al.,
#   2016).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What a GAN is good for, and what it is not
#
# <!-- minutes: 4 -->
# <!-- slide: Recap -->
# <!-- board
# 1. The best discriminator: $D^* = p_\text{data} / (p_\text{data} + p_g)$.
# 2. Against it, $V = 2\, \text{JSD} - \log 4$: least at $p_g = p_\text{data}$.
# 3. Dirac-GAN: simultaneous steps move away for every $h > 0$; with R1, small ones spiral in.
# 4. On a fake, the logit's gradient has the size $D$ with minimax, else $1 - D$.
# 5. Losses near $\log 4$ and $\log 2$ mean nothing by themselves: look at samples, count modes.
# -->
#
# | good for | |
# | --- | --- |
# | sampling | one pass from noise to an image, all pixels at once |
# | freedom | the generator may be any network that has a gradient; no masks, no bound |
# | a learned distance | at the best $D$ the objective is 2 JSD $-$ log 4 |
#
# | not for | |
# | --- | --- |
# | probability | no $p(x)$, and often there is none to know |
# | coverage | no term asks for variety; modes drop, and only counting tells |
# | stable training | a non-stationary objective for each network; losses near log 4 mean nothing by themselves |
# | small exact tasks | on `bars` the PixelCNN is far closer to the truth, and says how close |
#
# On images, the networks matter as much as the objective. Which ones made GANs work, and what other objectives do, is the
# subject of [lesson {{gan_architectures}}]({{gan_architectures}}_gan_architectures.ipynb).

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio (2014), *Generative adversarial nets*,
#   arXiv:1406.2661. The objective and both losses: section 3; the best discriminator and the value: section 4.
# - Arjovsky, Bottou (2017), *Towards principled methods for training generative adversarial networks*, arXiv:1701.04862.
# - Sonderby, Caballero, Theis, Shi, Huszar (2017), *Amortised MAP inference for image super-resolution*, arXiv:1610.04490,
#   for instance noise.
# - Mescheder, Geiger, Nowozin (2018), *Which training methods for GANs do actually converge?*, arXiv:1801.04406. The
#   Dirac-GAN: section 2; R1: section 4.
# - Metz, Poole, Pfau, Sohl-Dickstein (2017), *Unrolled generative adversarial networks*, arXiv:1611.02163.
# - Theis, van den Oord, Bethge (2016), *A note on the evaluation of generative models*, arXiv:1511.01844.

# %% [markdown] slideshow={"slide_type": "skip"}
# *How the claims were chosen.* Training a GAN is chaotic: another processor rounds otherwise, and the runs part. So cells
# here print claims with margins that held in every run we tried from other seeds, and the numbers of one run stand in cells that
# the tests do not compare.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build a GAN yourself, step by step and with each step checked: [the
# exercises]({{gan}}_gan_exercises.ipynb). {{after}}
