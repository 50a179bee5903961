# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Markov chains
#
# <!-- board -->
# **What came before VAEs and GANs?**
#
# Before 2013 there were no VAEs, and before 2014 no GANs. Most deep generative models drew by a **Markov chain**: start anywhere,
# change the image a little at random, and go on. After long enough, the images follow $p(x)$. Two leaves of our tree work
# like this. The restricted Boltzmann machine (RBM) has a density, known up to a constant. The generative stochastic
# network (GSN) has nothing but its chain.
#
# On tiny images we can write the whole chain down as a matrix. So this lesson measures exactly what could only be estimated on
# real images: how wrong the gradient is, how slowly the chain forgets, and which images get too much probability. Then you can
# judge why the field moved on, and which ideas it kept.
# <!-- slide: Where this ends -->
# <!-- board
# Three restricted Boltzmann machines learnt the images of the top row. Each sample took 1000 steps of a Markov chain.
# -->
# <!-- figure: samples -->
#
# <!-- slide: Today -->
# <!-- agenda -->

# %% slideshow={"slide_type": "skip"}
import copy
import math

import torch
import torch.nn.functional as F

from course import explorers
from genlib import plots
from genlib.autoregressive import PixelCNN
from genlib.data import all_images, binarise, image_index, independent_pixels, load
from genlib.markov import GSN, RBM, PersistentRBM, annealed_importance
from genlib.metrics import bars_counts, bars_kl, format_table, log_probs
from genlib.training import fit

EPOCHS = 1000  # of each RBM on `bars`, 30 images an epoch
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Energies
# <!-- minutes: 7 -->
# <!-- slide: Any function can be an energy -->
# <!-- board
# Low **energy** means probable:
# -->
#
# How do you write down a distribution over images? A PixelCNN multiplies conditionals, and so sums to one by design. The
# way of statistical physics is more flexible. Take *any* function $E(x)$, the **energy**, and let low energies be probable:
#
# <!-- board -->
# $$p(x) = \frac{e^{-E(x)}}{Z}, \qquad Z = \sum_x e^{-E(x)}.$$
#
# <!-- board
# Two pixels that like to be white together, $w = 2.5$:
#
# $$E(x_1, x_2) = -b_1 x_1 - b_2 x_2 - w\, x_1 x_2$$
# -->
# Two pixels will do for a start. Each has a bias, and a weight rewards them for being white together:
# $E(x_1, x_2) = -b_1 x_1 - b_2 x_2 - w\, x_1 x_2$.

# %% board="values"
b1, b2, w = -1.0, -0.5, 2.5
x1, x2 = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0, 1.0]])
energy = -b1 * x1 - b2 * x2 - w * x1 * x2  # (2, 2): a row for x1, a column for x2
Z = (-energy).exp().sum()
two_pixels = (-energy).exp() / Z
print(f"Z = {Z:.2f}, and white-white has the probability {two_pixels[1, 1]:.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: $Z$ has a term for every image there is -->
# <!-- board
# **Partition function** $Z$: four terms for two pixels.
# -->
# <!-- question: How many for `bars`, 4 by 4 pixels? For MNIST, 784 pixels, black or white? -->
# <!-- answer: $2^{16} = 65{,}536$, and $2^{784} \approx 10^{236}$. No likelihood to maximise, no table to draw from. -->
# <!-- board
# The ratio of two images needs no $Z$: $p(x) / p(x') = e^{E(x') - E(x)}$.
# -->
# ### Why Z is the trouble
#
# $Z$, the **partition function**, has a term for every image there is. Four here. How many elsewhere?

# %%
for name, pixels in {"two pixels": 2, "bars": 16, "digits, black and white": 64, "MNIST": 784}.items():
    terms = f"{2**pixels:,}" if pixels < 20 else f"10^{pixels * math.log10(2):.0f}"
    print(f"{name:<24} 2^{pixels:<3} = {terms} terms")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The last two sums are out of reach. So we can tell which of two images is more probable, for in the ratio
# $p(x) / p(x') = e^{E(x') - E(x)}$ the $Z$ cancels. But we cannot tell how probable either is. We cannot compute the
# likelihood that we want to maximise. And we cannot draw from a table that is too large to write.
#
# All difficulties of this lesson follow from this one sum.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Gibbs sampling
# <!-- minutes: 11 -->
# <!-- slide: One pixel at a time needs no $Z$ -->
# <!-- board
# **Gibbs sampling** draws each pixel in turn, given the current values of the others (Geman and Geman, 1984).
# -->
#
# The ratio is enough to draw samples. Keep all pixels but one. Given the others, this one has only two states, and its
# probability needs no $Z$:
#
# <!-- board -->
# $$P(x_1 = 1 \mid x_2) = \frac{e^{-E(1, x_2)}}{e^{-E(0, x_2)} + e^{-E(1, x_2)}} = \sigma(b_1 + w\, x_2).$$
#
# <!-- question: $b_1 = -1$ and $w = 2.5$. What happens to $P(x_1 = 1)$ as $x_2$ turns white? -->
# <!-- answer: From $\sigma(-1)$, below one half, to $\sigma(1.5)$, above one half. -->
# <!-- slide: The visits tend to the table -->
# <!-- board
# 50,000 steps, which each draw both pixels. Rows: $x_1$. Columns: $x_2$.
# -->
# **Gibbs sampling** draws each pixel in turn, given the current values of the others (Geman and Geman, 1984). That is all.

# %%
def sigmoid(a):
    return 1 / (1 + math.exp(-a))


a, b, visits = 0, 0, torch.zeros(2, 2)
for u1, u2 in torch.rand(50_000, 2).tolist():
    a = int(u1 < sigmoid(b1 + w * b))
    b = int(u2 < sigmoid(b2 + w * a))
    visits[a, b] += 1

# %% board="figure" alt="Two tables of two pixels, the exact probabilities and the shares of visits: 0.21, 0.13, 0.08 and 0.58 in both."
shares = visits / visits.sum()
plots.show_tables(
    {"exact": two_pixels, "visits": shares}, rows=["$x_1$ = 0", "$x_1$ = 1"], columns=["0", "1"]
)
print(f"largest difference below 0.02: {bool((shares - two_pixels).abs().max() < 0.02)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# (Columns: $x_2$.) The histogram of the visits tends to the table, and the chain never knew $Z$.
#
# <!-- slide: Why the chain draws from $p$ -->
# <!-- board
# One step, which draws both pixels, is a matrix $T$.
#
# - $p\,T = p$: $p$ is **stationary**. A draw from $p(x_1 \mid x_2)$ keeps the pair distributed as $p$.
# - $T$ has no zeros: the chain tends to $p$ from anywhere.
# -->
# <!-- question: A step draws $x_1$, then $x_2$. Which starts are alike after one? -->
# <!-- answer: Starts with the same $x_2$: the step never reads the old $x_1$. -->
# ### Why it works
#
# A step of the chain, which draws both pixels, is a matrix $T$: row = the state before, column = the state after. It works for two reasons.
#
# **$p$ is stationary.** Let $x$ follow $p$, and replace $x_1$ by a draw from $p(x_1 \mid x_2)$. Then $x_2$ is distributed as before, and $x_1$ as it
# should be given $x_2$. So the pair still follows $p$: in matrices, $p\, T = p$. We call $p$ **stationary**.
#
# **The chain converges.** From any state, the chain may reach any other in one step: $T$ has no zeros. Then only one distribution is
# stationary, and the chain tends to it from anywhere.

# %%
given_x2 = two_pixels / two_pixels.sum(dim=0)  # p(x1 | x2)
given_x1 = two_pixels / two_pixels.sum(dim=1, keepdim=True)  # p(x2 | x1)
same = torch.eye(2)  # from (a, b) to (c, d): the first draws x1 and keeps x2, the second the reverse
first = torch.einsum("cb,bd->bcd", given_x2, same).expand(2, 2, 2, 2).reshape(4, 4)
second = torch.einsum("cd,ac->acd", given_x1, same)[:, None].expand(2, 2, 2, 2).reshape(4, 4)
T, p = first @ second, two_pixels.flatten()

assert torch.allclose(p @ T, p)
assert torch.allclose(T.matrix_power(50), p.expand(4, 4), atol=1e-6)  # every row: from everywhere
print("p T = p, and after 50 steps every row of the matrix is p")

# %% name="arrives" alt="Probability of white-white against steps, from four starts: all four curves meet at the exact value, 0.58, after about five steps."
arrives = {
    f"from {name}": [T.matrix_power(n)[start, 3].item() for n in range(9)]
    for start, name in enumerate(("black-black", "black-white", "white-black", "white-white"))
}
plots.show_curves(
    arrives, x=range(9), xlabel="steps", ylabel="probability of white-white",
    baselines={"exact": two_pixels[1, 1].item()},
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The second eigenvalue sets the pace -->
# <!-- figure: arrives -->
# Starts with the same $x_2$ share a curve: the step draws $x_1$ first, so only $x_2$ counts. All four forget where they began within a few steps. How fast is written in the matrix: the distance to
# $p$ shrinks by its **second eigenvalue** a step. The first is 1, and belongs to $p$. If the second is close to 1 as well,
# the chain converges slowly.

# %% board="values"
second = torch.linalg.eigvals(T).abs().sort().values[-2].item()
print(f"second eigenvalue {second:.2f}: after five steps {second**5:.4f} of the distance is left")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Metropolis-Hastings
# <!-- minutes: 11 -->
# <!-- slide: Propose a move, accept or stay -->
# <!-- board
# A target up to its constant, $\pi_i = r_i / Z$, and a **proposal** $Q$, any transition matrix with $Q_{ji} > 0$ wherever $Q_{ij} > 0$.
#
# 1. From state $i$ draw $j$ from row $i$ of $Q$.
# 2. With the **acceptance probability** $A_{ij}$ go there. Otherwise stay, and count $i$ once more.
# -->
#
# Gibbs sampling needs the conditionals. Where these are hard, too, propose a move and accept it or not (Metropolis et
# al., 1953; Hastings, 1970). Given are a target up to its constant, $\pi_i = r_i / Z$, and a **proposal**: any
# transition matrix $Q$ with $Q_{ji} > 0$ wherever $Q_{ij} > 0$. From state $i$ draw $j$ from row $i$ of $Q$. With the
# **acceptance probability** $A_{ij}$ go there. Otherwise stay, and count $i$ once more.
#
# <!-- slide: Ask for detailed balance -->
# <!-- board
# As much probability flows from $i$ to $j$ as back:
#
# $$\pi_i T_{ij} = \pi_j T_{ji}$$
#
# Summed over $i$, $\pi$ is stationary:
# -->
# Which $A$? Ask for **detailed balance**: as much probability flows from $i$ to $j$ as back, $\pi_i T_{ij} = \pi_j T_{ji}$.
# Then $\pi$ is stationary, since
#
# <!-- board -->
# $$\sum_i \pi_i T_{ij} = \sum_i \pi_j T_{ji} = \pi_j.$$
#
# <!-- question: $T_{ij} = Q_{ij} A_{ij}$. The flows $\pi_i Q_{ij}$ and $\pi_j Q_{ji}$ differ. Which one do you cut? -->
# <!-- answer: The larger one, to the size of the smaller. The smaller one is accepted whole. -->
# <!-- slide: The acceptance probability needs no $Z$ -->
# For $i \ne j$ we have $T_{ij} = Q_{ij} A_{ij}$. So $\pi_i Q_{ij} A_{ij} = \pi_j Q_{ji} A_{ji}$: the larger of the two proposed flows must be
# cut to the smaller one, and the smaller one can be accepted whole. That is
#
# <!-- board -->
# $$A_{ij} = \min\Big(1,\; \frac{r_j\, Q_{ji}}{r_i\, Q_{ij}}\Big),$$
#
# <!-- board
# where $Z$ has cancelled. For a symmetric $Q$ the ratio is $r_j / r_i$ (Metropolis et al., 1953).
# -->
# <!-- question: $Q$ is not symmetric, and we take $r_j / r_i$ all the same. What does the chain do? -->
# <!-- answer: The chain runs just as well, and tends to another distribution. -->
# and $Z$ has cancelled. Three states, so that we can write the whole matrix:

# %%
r = torch.tensor([1.0, 2.0, 2.0], dtype=torch.double)  # the target, but for its constant
Q = torch.tensor([[0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.7, 0.1, 0.2]], dtype=torch.double)


def transition_matrix(acceptance):
    moves = Q * acceptance
    return moves + torch.diag(1 - moves.sum(dim=1))  # a refused move stays


acceptance = (r * Q.T / (r[:, None] * Q)).clamp(max=1)
target, step = r / r.sum(), transition_matrix(acceptance)
flow = target[:, None] * step
assert torch.allclose(flow, flow.T, rtol=0, atol=1e-15)  # detailed balance
print(f"target times T is the target, to rounding: {bool((target @ step - target).abs().max() < 1e-15)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Without $Q$ in the ratio, another distribution -->
# <!-- board
# Three states, $r = (1, 2, 2)$, and a $Q$ that is not symmetric.
#
# - **visits**: 50,000 steps with the right ratio
# - **ratio without Q**: the stationary distribution, exact
# -->
# Now the algorithm itself, which sees only `r` and `Q`. And a mistake that is easily made: the ratio without $Q$, which is right when $Q$ is
# symmetric (the rule of Metropolis). Here $Q$ is not. That chain runs just as well, and arrives somewhere else.

# %% board="figure" alt="Three rows of three probabilities: target and visits are both 0.2, 0.4 and 0.4; with the ratio without Q they are 0.23, 0.28 and 0.49."
proposed, accept = torch.multinomial(Q, 50_000, replacement=True).tolist(), acceptance.tolist()
state, visits = 0, torch.zeros(3)
for t, u in enumerate(torch.rand(50_000).tolist()):
    candidate = proposed[state][t]
    if u < accept[state][candidate]:
        state = candidate
    visits[state] += 1

wrong = transition_matrix((r / r[:, None]).clamp(max=1)).matrix_power(1000)[0]  # its stationary law
shares = visits / visits.sum()
plots.show_tables(
    {"": torch.stack([target, shares, wrong])}, columns=["1", "2", "3"],
    rows=["target", "visits", "ratio without Q"],
)

# %%
print("target:         ", " ".join(f"{value:.3f}" for value in target))
print("ratio without Q:", " ".join(f"{value:.3f}" for value in wrong))
print(f"visits within 0.03 of the target: {bool((shares - target).abs().max() < 0.03)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# Gibbs sampling is the case in which nothing is refused.
# -->
# Gibbs sampling is the case in which nothing is refused. It proposes $x_1'$ from $p(x_1' \mid x_2)$, and the ratio
# $p(x_1', x_2)\, p(x_1 \mid x_2) \,/\, p(x_1, x_2)\, p(x_1' \mid x_2)$ is 1. So the draw of one pixel has detailed balance. A step that draws both
# need not have it, and $p$ is stationary all the same: detailed balance is sufficient, not necessary.

# %%
for name, matrix in {"one pixel": first, "both": T}.items():
    flow = p[:, None] * matrix
    print(f"{name:<9} detailed balance: {torch.allclose(flow, flow.T)!s:<5}  "
          f"stationary: {torch.allclose(p @ matrix, p)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The restricted Boltzmann machine
# <!-- minutes: 10 -->
# <!-- slide: Hidden units say more than pairs of pixels -->
# <!-- board
# Every pixel is joined with every **hidden unit** $h_j \in \{0, 1\}$ (Smolensky, 1986):
# -->
#
# An energy with weights between all pairs of pixels knows only pairs. To say "a whole column is white" needs more.
# Smolensky (1986) adds **hidden units** $h$, zeros and ones that we never observe, and joins every pixel with every hidden unit:
#
# <!-- board -->
# $$E(x, h) = -b^T x - c^T h - x^T W h.$$
#
# <!-- board
# *Restricted*: no weight joins two pixels, none joins two hidden units.
# -->
# <!-- question: Given the pixels, do the hidden units depend on each other? -->
# <!-- answer: No: given $x$, the energy is a sum of terms with one $h_j$ each, so they are independent. -->
# *Restricted* means what is missing: no weight joins two pixels, and none joins two hidden units. The graph has two layers.
# That has three advantages.
#
# <!-- slide: The hidden units can be summed out -->
# **One: the hidden units can be summed out.** For the $2^{n}$ states of $h$,
#
# <!-- board
# $$\begin{aligned} \sum_h e^{-E(x, h)} &= e^{b^T x} \sum_h \prod_j e^{h_j (c_j + x^T W_{:j})} \\
# &= e^{b^T x} \prod_j \big(1 + e^{c_j + x^T W_{:j}}\big) \end{aligned}$$
#
# Minus the logarithm: the **free energy**, with $p(x) = e^{-F(x)} / Z$,
# -->
# $$\sum_h e^{-E(x, h)} = e^{b^T x} \sum_h \prod_j e^{h_j (c_j + x^T W_{:j})}
# = e^{b^T x} \prod_j \big(1 + e^{c_j + x^T W_{:j}}\big),$$
#
# for a sum of products over independent units is a product of sums, each with two terms: $h_j = 0$ and $h_j = 1$. Minus its
# logarithm is the **free energy** $F(x)$, and $p(x) = e^{-F(x)} / Z$:
#
# <!-- board -->
# $$F(x) = -b^T x - \sum_j \text{softplus}(c_j + x^T W_{:j}).$$

# %%
shape = (1, 3, 3)
images = all_images(2, shape).double()  # (512, 1, 3, 3): all there are
x, h = images.flatten(1), all_images(2, (1, 1, 8)).flatten(1).double()  # and all 256 states of h


def energies(model):
    """E(x, h) of all pairs, (512, 256), straight from the definition."""
    alone = (x @ model.visible_bias)[:, None] + h @ model.hidden_bias
    return -(alone + x @ model.weight @ h.T).detach()


rbm = RBM(shape, hidden_dim=8).double()
for parameter in rbm.parameters():
    torch.nn.init.normal_(parameter)
E = energies(rbm)
free = -x @ rbm.visible_bias - F.softplus(rbm.hidden_bias + x @ rbm.weight).sum(dim=1)

# %%
assert torch.allclose(free, -(-E).logsumexp(dim=1))  # the sum over all 256 states of h
assert torch.allclose(free, rbm.free_energy(images))
assert torch.allclose((-E).flatten().logsumexp(dim=0), rbm.log_partition())
print("by formula, by brute force and by genlib: the same free energy, and the same Z")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Block Gibbs: a whole layer at once -->
# **Two: given one layer, the units of the other are independent.** Given $x$ the energy is a sum of terms with one $h_j$ each, so
#
# $$P(h_j = 1 \mid x) = \sigma(c_j + x^T W_{:j}), \qquad P(x_i = 1 \mid h) = \sigma(b_i + W_{i:}\, h).$$
#
# <!-- board
# Given one layer, the units of the other are independent:
#
# $$P(h_j = 1 \mid x) = \sigma(c_j + x^T W_{:j})$$
#
# $$P(x_i = 1 \mid h) = \sigma(b_i + W_{i:}\, h)$$
#
# Draw all hidden units, then all pixels: a step of **block Gibbs** takes two matrix products.
# -->
# We check that against the joint table of all 512 images and 256 hidden states. A softmax of $-E$ along a row is
# $p(h \mid x)$, and along a column $p(x \mid h)$.

# %%
up, down = (-E).softmax(dim=1), (-E).softmax(dim=0).T  # p(h | x) and p(x | h), whole tables
assert torch.allclose(up @ h, (rbm.hidden_bias + x @ rbm.weight).sigmoid())
assert torch.allclose(up @ h, rbm.hidden(images))
assert torch.allclose(down @ x, rbm.visible(h).flatten(1))
print("both conditionals are sigmoids, as the joint table says")

# %% [markdown] slideshow={"slide_type": "subslide"}
# **Three: a step of Gibbs sampling takes two matrix products.** Draw all hidden units at once, then all pixels at once:
# **block Gibbs**. By hand, and by `genlib` with the same random numbers:

# %%
some = images[:100]
with torch.random.fork_rng():  # afterwards genlib draws the same
    hidden_units = torch.bernoulli((rbm.hidden_bias + some.flatten(1) @ rbm.weight).sigmoid())
    by_hand = torch.bernoulli((rbm.visible_bias + hidden_units @ rbm.weight.T).sigmoid())
assert torch.equal(by_hand, rbm.gibbs(some, steps=1).flatten(1))

p, step = rbm.log_prob(images).exp().detach(), up @ down  # the chain from image to image, (512, 512)
assert torch.allclose(p @ step, p)
print("a step by hand is genlib's, and leaves the model's p(x) as it is")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Learning
# <!-- minutes: 13 -->
# <!-- slide: The gradient has two phases -->
# <!-- board
# Raise $\log p(x) = -F(x) - \log Z$. Differentiate the sum in $Z$: $\nabla \log Z = -\mathbb{E}_{x' \sim p}[\nabla F(x')]$.
# -->
#
# Raise $\log p(x) = -F(x) - \log Z$ of the data. The first term is easy. For the second, differentiate the sum:
#
# $$\nabla \log Z = \frac1Z \sum_{x'} e^{-F(x')}\, \big({-\nabla F(x')}\big) = -\,\mathbb{E}_{x' \sim p}\big[\nabla F(x')\big].$$
#
# So the gradient has two **phases**:
#
# <!-- board -->
# $$\nabla \log p(x) = \underbrace{-\nabla F(x)}_{\text{data: lower its energy}} \; + \;
# \underbrace{\mathbb{E}_{x' \sim p}\big[\nabla F(x')\big]}_{\text{model: raise the energy of its own images}}.$$
#
# <!-- board
# Learning stops when data and model agree, for every weight, on the mean of $x_i\, P(h_j = 1 \mid x)$.
# -->
# For a weight $-\partial F / \partial W_{ij} = x_i\, P(h_j = 1 \mid x)$. How often are pixel $i$ and unit $j$ on together
# with data, and how often in the model's own samples? Learning stops when the two agree.
#
# Our data from here on: the 14 bars and stripes of 3 by 3 pixels. On so few images both phases are exact sums, and so is $\log p$.

# %% name="small" alt="The 14 images of bars of 3 by 3 pixels: all columns or all rows are black or white as a whole."
pictures = images[:, 0]
is_bar = (pictures == pictures[:, :1]).flatten(1).all(dim=1)  # every row like the first
is_stripe = (pictures == pictures[:, :, :1]).flatten(1).all(dim=1)
is_data = is_bar | is_stripe
data = is_data.double() / is_data.sum()  # a table of 512 probabilities

together = x.T @ (data[:, None] * rbm.hidden(images)) - x.T @ (p[:, None] * rbm.hidden(images))
(slope,) = torch.autograd.grad(data @ rbm.log_prob(images), rbm.weight)
assert torch.allclose(slope, together)
print(f"{is_data.sum()} images; data phase minus model phase is the gradient that autograd finds")
plots.show_images(images[is_data], columns=14, size=0.55)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Contrastive divergence starts at the data -->
# <!-- board
# **CD-$k$** (Hinton, 2002): the model phase starts *at the data* and takes $k$ steps. With these 14 images all is an exact sum:
# -->
# <!-- figure: small -->
# <!-- question: After 25 updates CD-1 points 36 degrees away from the gradient. And after 200? -->
# <!-- answer: 48 degrees: with large weights the chain stays near the data, and CD compares the data with its own neighbourhood. -->
# ### Contrastive divergence
#
# On real images the model phase needs samples of the model, so a long chain *for each update*. Hinton (2002) cuts it short:
# start the chain **at the data**, and take $k$ steps only. This is **contrastive divergence**, CD-$k$. With $k = 1$ learning
# became fast enough to use.
#
# If the model were the data, the chain would stay there, and the two phases would cancel as they should. If it is not, the chain
# leaves the data, and CD raises the energy where it goes first. But it does not get far. So CD is **biased**: it
# follows another direction than the likelihood, however many chains we average.
#
# How biased? Here the distribution after $k$ steps is exact: `data` times the matrix, $k$ times.

# %%
def after_steps(model, k):
    """Where chains are that started at the data, as a table of probabilities."""
    E, where = energies(model), data
    up, down = (-E).softmax(dim=1), (-E).softmax(dim=0).T
    for _ in range(k):
        where = where @ up @ down
    return where


def gradient(model, ends):
    """Data phase minus another phase, all parameters in one vector."""
    difference = (ends - data) @ model.free_energy(images)
    return torch.cat([g.flatten() for g in torch.autograd.grad(difference, list(model.parameters()))])


def model_table(model):
    return model.log_prob(images).exp().detach()

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: In the end even 100 steps miss by half the gradient -->
# <!-- board
# Error of CD-$k$ over the length of the gradient: after 25 updates 0.602 for CD-1; after 200, 0.878 for CD-1 and 0.488 for
# CD-100. (The figure does not divide.)
# -->
# We train one RBM by its exact gradient, stop now and then, and ask what CD-$k$ would have done there. The figure shows
# the length of its error. The table divides by the length of the exact gradient: 1 means as wrong as doing nothing.

# %%
def train_exactly(ends_of, updates=200):
    """An RBM for the 14 images before each update. No chain is drawn: all phases are expectations."""
    torch.manual_seed(1)  # the same first weights in each call
    model = RBM(shape, hidden_dim=8).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.06)
    for update in range(updates + 1):
        yield update, model
        gradients = gradient(model, ends_of(model))
        for parameter, g in zip(model.parameters(), gradients.split([72, 8, 9])):
            parameter.grad = -g.view_as(parameter)  # uphill
        optimizer.step()


exactly = {
    update: copy.deepcopy(model)
    for update, model in train_exactly(model_table) if update % 5 == 0
}
stops = {update: exactly[update] for update in (25, 50, 100, 200)}

# %% board="figure" alt="Error of CD-k against k, on logarithmic axes, at four stages of training: early it falls fast with k; after 200 updates it hardly falls."
ks, error, share, angle = (1, 2, 5, 10, 25, 100), {}, {}, {}
for update, model in stops.items():
    best = gradient(model, model_table(model))
    by_cd = [gradient(model, after_steps(model, k)) for k in ks]
    off = torch.stack([(g - best).norm() for g in by_cd])
    error[f"after {update} updates"] = off.clamp_min(1e-5).tolist()  # drawn no lower
    share[f"after {update} updates"] = (off / best.norm()).tolist()
    cosine = [torch.cosine_similarity(g, best, dim=0).clamp(-1, 1) for g in by_cd]
    angle[f"after {update} updates"] = [f"{math.degrees(math.acos(c)):.0f}" for c in cosine]
plots.show_curves(error, x=ks, xlabel="k", ylabel="length of the error of CD-k", log=True)

# %% tags=["nbval-ignore-output"]
for name, values in {"error over exact gradient, lengths": share, "angle, degrees": angle}.items():
    print(name)
    print(format_table({stop: dict(zip((f"k={k}" for k in ks), row)) for stop, row in values.items()}))

# %%
early, late = share["after 25 updates"], share["after 200 updates"]
print(f"after 25 updates CD-1 is off by less than 80 %:       {early[0] < 0.8}")
print(f"and CD-25 by less than 1 %:                           {early[4] < 0.01}")
print(f"after 200 updates CD-1 is off by more than 40 %:      {late[0] > 0.4}")
print(f"and even 100 steps leave an error of more than 20 %:  {late[5] > 0.2}")
shorter = error["after 200 updates"][0] < error["after 50 updates"][0]
print(f"yet CD-1's error is shorter than after 50 updates:    {shorter}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Early on the weights are small, the chain forgets fast, and CD-1 points nearly the right way. That is why it worked at all.
# Later the weights are large. The chain stays near the data for long, and CD compares the data with its own
# neighbourhood. Its error has not grown. But the exact gradient shrinks faster, so most of what CD follows in the end is
# error, and even a hundred steps leave half of it.
#
# <!-- slide: What the bias costs -->
# <!-- board
# Three RBMs from the same first weights. All gradients are expectations: no noise, and what differs is bias.
# -->
# ### Training with the biased gradient
#
# Now we follow the CD gradient. We train three RBMs from the same first weights: by the expectation of CD-1, of CD-10, and by the exact
# gradient. No noise enters, so what differs is bias.

# %% board="figure" alt="KL from data to model over 200 updates: CD-10 and the exact gradient fall together to 0.1, CD-1 stops at 0.6."
def kl(model):
    return -math.log(is_data.sum()) - model.log_prob(images[is_data]).mean().item()


curves, trained = {}, {}
for name, k in {"CD-1": 1, "CD-10": 10}.items():
    curves[name] = []
    for update, model in train_exactly(lambda m, k=k: after_steps(m, k)):
        if update % 5 == 0:
            curves[name].append(kl(model))
    trained[name] = model
curves["exact"], trained["exact"] = [kl(m) for m in exactly.values()], exactly[200]
plots.show_curves(curves, x=tuple(exactly), xlabel="updates", ylabel="KL(data, model), nats")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: What reconstructions do not show -->
# <!-- board
# Two parts of the KL, with $r$ the model's distribution among the valid images:
# -->
# ### What reconstructions do not show
#
# Training with CD was monitored by **reconstructions**: take one step of the chain from the data, and see whether the images are still good. For us, what
# share is still one of the 14? But the KL has two parts. Let $q(\text{valid})$ be the model's probability of all 14, and $r$ its
# distribution among them. Then
#
# <!-- board -->
# $$KL(p \,\|\, q) = \underbrace{-\log q(\text{valid})}_{\text{probability of invalid images}} \; + \;
# \underbrace{KL(p \,\|\, r)}_{\text{unevenness among the valid}}.$$

# %%
seen = {}
for name, model in trained.items():
    q = model_table(model)[is_data]
    seen[name] = {
        "one step from data, valid": after_steps(model, 1)[is_data].sum().item(),
        "valid in the long run": q.sum().item(), "invalid": -q.sum().log().item(),
        "uneven": kl(model) + q.sum().log().item(), "rarest": 14 * q.min().item(),
    }

# %% tags=["nbval-ignore-output"]
print(format_table(seen))

# %%
cd1, cd10, best = seen.values()
reconstructed = [row["one step from data, valid"] for row in seen.values()]
print(f"one step from the data, the share valid is above 0.9:     {min(reconstructed) > 0.9}")
print(f"none loses more than 0.15 nats by invalid images:         "
      f"{max(row['invalid'] for row in seen.values()) < 0.15}")
print(f"CD-1 loses more than 0.2 by unevenness:                   {cd1['uneven'] > 0.2}")
print(f"CD-10 less than half as much:                             {2 * cd10['uneven'] < cd1['uneven']}")
print(f"the exact gradient less than 0.05:                        {best['uneven'] < 0.05}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: One step from the data, valid: CD-1 0.941, CD-10 0.921, exact 0.919. Why does CD-1, the worst of the three, look best? -->
# <!-- answer: One step from the data starts near the data, every time. The fault is unevenness: 0.506 nats, the others 0.026 and 0.002. -->
# ("Rarest": the smallest of the 14 probabilities, over the fair one, $1/14$.) The chain stays with the image where it began. So CD
# shapes each valley of the energy well, and hardly learns how much probability one valley has against the next. Reconstructions do not show it, because
# one step from the data starts in the right valley, every time.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Persistent chains
# <!-- minutes: 4 -->
# <!-- slide: Persistent chains never go back to the data -->
# <!-- board
# **PCD** (Tieleman, 2008): chains go on from update to update, and find images that are probable under the model and not in the data.
#
# RBMs for `bars`, 30 images of 4 by 4:
# -->
#
# Tieleman (2008) keeps the cost of CD and changes its start. **Persistent contrastive divergence** (PCD) has chains of its own, which go
# on from update to update and never go back to the data. If the model changes slowly, chains that followed the old $p(x)$
# nearly follow the new one. They find images that are probable under the model and not in the data. Younes (1989) had
# the idea for general chains.
#
# Now `bars`, 4 by 4, with real chains. $Z$ is a sum over the $2^{16}$ states of the hidden units, so KL is still exact.

# %%
bars = load("bars")
rbms = {
    "CD-1": RBM(bars.shape, hidden_dim=16), "CD-10": RBM(bars.shape, hidden_dim=16, cd_steps=10),
    "PCD": PersistentRBM(bars.shape, hidden_dim=16, cd_steps=10),
}
for model in rbms.values():
    fit(model.to(DEVICE), bars, epochs=EPOCHS, batch_size=30, learning_rate=0.05)
    model.cpu()

pixels = independent_pixels(bars)
baseline = bars_kl(lambda x: pixels.log_prob(x.long()).flatten(1).sum(dim=1))
print(f"KL(truth, independent pixels): {baseline:.2f} nats")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The same two parts of the KL, exact again. What is not `valid` is spread over the other 65,506 images.

# %%
everything, at = all_images(2, bars.shape), image_index(bars.floats())


def judged(table):
    """Exact figures of a table of 65,536 probabilities."""
    kl, valid = bars_kl(lambda x: table[image_index(x)].log()), table[at].sum().item()
    rarest = 30 * table[at].min().item()
    return {"KL": kl, "valid": valid, "uneven": kl + math.log(valid), "rarest": rarest}


tables = {name: model.log_prob(everything).exp().detach() for name, model in rbms.items()}
figures = {name: judged(table) for name, table in tables.items()}
for name, model in rbms.items():
    once = model.gibbs(bars.floats().repeat(100, 1, 1, 1), steps=1)
    figures[name]["one step from data, valid"] = bars_counts(once)["valid"]

# %% board="values" tags=["nbval-ignore-output"]
print(format_table(figures))

# %%
values = {name: row["KL"] for name, row in figures.items()}
print(f"all are below 2.5 nats, far better than independent pixels: {max(values.values()) < 2.5}")
print(f"CD-10 is better than CD-1 by more than 0.2 nats:            "
      f"{values['CD-10'] + 0.2 < values['CD-1']}")
print(f"PCD is, too:                                                "
      f"{values['PCD'] + 0.2 < values['CD-1']}")
uneven = {name: row["uneven"] for name, row in figures.items()}
print(f"most of CD-1's KL is unevenness:                            "
      f"{2 * uneven['CD-1'] > values['CD-1']}")
print(f"PCD is the most even of the three:                          "
      f"{min(uneven, key=uneven.get) == 'PCD'}")
reconstructed = {name: row["one step from data, valid"] for name, row in figures.items()}
print(f"one step from the data, CD-1 looks better than PCD:         {reconstructed['CD-1'] > reconstructed['PCD']}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# One step from the data, CD-1 looks best. PCD is the most even. (`rarest`: the least probable of the thirty, times 30.)
# -->
# The same fault as on 3 by 3 pixels. And judged by its reconstructions CD-1 would win over PCD. What did the hidden units learn? Here are the weights of CD-10, one picture for each unit. Grey is zero, a
# unit switches on where white is white.

# %% alt="The weights of sixteen hidden units as 4 by 4 images: many have a dark or bright row or column."
weight = rbms["CD-10"].weight.detach().T.reshape(-1, 1, 4, 4)
plots.show_images(0.5 + 0.5 * weight / weight.abs().max(), columns=8, title="weights of CD-10")

# %% [markdown] slideshow={"slide_type": "subslide"}
# In most units whole rows or columns show, dark against light. Samples, after 1000 steps from random
# pixels:

# %% name="samples" alt="Fourteen true bars, and samples of three RBMs: CD-1 and CD-10 draw mostly bars, PCD also broken ones."
drawn = {name: model.sample(14, steps=1000) for name, model in rbms.items()}
plots.show_rows({"bars": bars.floats()[torch.randint(30, (14,))], **drawn}, size=0.6)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A chain that forgets slowly
# <!-- minutes: 11 -->
# <!-- slide: Neighbours in a chain are alike -->
# <!-- board
# One chain, that of PCD: after every step, every tenth, every hundredth.
# -->
# <!-- figure: chain -->
#
# Samples came from 14 chains, and each took 1000 steps. Why so many? Look at one chain, that of PCD: first after every step, then
# after every tenth, then after every hundredth.

# %% name="chain" alt="A chain shown every 1, every 10 and every 100 steps: neighbours are almost equal in the first row, related in the second, unrelated in the third."
chain, image = {}, bars.floats()[:1]
for every in (1, 10, 100):
    chain[f"every {every}"] = torch.cat([image := rbms["PCD"].gibbs(image, steps=every) for _ in range(14)])
plots.show_rows(chain, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Run it yourself
#
# Play the chain step by step, then with 10 and 100 steps a frame. Each jump to another image has to cross a hill of free
# energy. How many of the thirty images has it met after 100 steps, after 1,000, after 10,000? Then start from noise: it
# falls into a valley within a few steps, and stays there for a while.

# %% tags=["nbval-ignore-output"] alt="Still picture of the explorer of Gibbs sampling: the image at step 50, the free energy so far with jumps of up to ten nats, and the last twelve images."
explorer = explorers.gibbs_explorer(rbms["PCD"], bars.floats())
explorer.player.slider.value = 50
explorer

# %% [markdown] slideshow={"slide_type": "subslide"}
# It stays, flickers, stays again, and at some time jumps. Only far apart the images look like separate draws. To **mix** means to forget the start. We measure it: draw starts from the exact
# $p(x)$, run a chain from each, and correlate each pixel with what it was. For samples that
# are independent, the correlation is zero.

# %% alt="Correlation of a chain with its start over 1000 steps: PCD reaches zero after about 300, CD-10 after 900, CD-1 stays a little above it."
def memory(model, table, steps, n=1000, until=-1.0):
    """Correlation of pixels with those of the start, after 0, 1, ... steps, at most `steps`."""
    x = start = everything[torch.multinomial(table, n, replacement=True)]
    mean = start.mean(dim=0)
    variance, remembered = (start - mean).square().mean(), [1.0]
    while len(remembered) <= steps and remembered[-1] > until:
        x = model.gibbs(x, steps=1) if hasattr(model, "gibbs") else model.chain(x, steps=1)[0]
        remembered.append((((x - mean) * (start - mean)).mean() / variance).item())
    return remembered


memories = {name: memory(model, tables[name], steps=1000) for name, model in rbms.items()}
plots.show_curves(
    memories, x=range(1001), xlabel="steps of Gibbs sampling", ylabel="correlation with the start",
    baselines={"independent": 0.0},
)

# %%
least, most = (f(m[t] for m in memories.values()) for f, t in ((min, 10), (max, 1000)))
print(f"after 10 steps each chain remembers more than 0.5: {least > 0.5}")
print(f"after 1000 steps each remembers less than 0.35:    {most < 0.35}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Mixing slows down as the model learns -->
# <!-- board
# To **mix** is to forget the start. With $\lambda$ the second eigenvalue, the slowest memory shrinks to $1/e$ in $-1 / \log \lambda$ steps.
# -->
# ### Mixing slows down as the model learns
#
# In the small RBM we can say exactly how long forgetting takes. If $\lambda$ is the second eigenvalue of the chain's matrix,
# the slowest memory shrinks to $1/e$ in $-1 / \log \lambda$ steps. Here it is along the exact training.

# %% board="figure" alt="Steps until a chain forgets, and the largest weight, against updates, on logarithmic axes: both grow, the steps from 1 to more than 500."
forgetting, largest = [], []
for model in stops.values():
    E = energies(model)
    step = (-E).softmax(dim=1) @ (-E).softmax(dim=0).T
    eigenvalue = torch.linalg.eigvals(step).abs().sort().values[-2].item()
    forgetting.append(-1 / math.log(eigenvalue))
    largest.append(model.weight.abs().max().item())
plots.show_curves(
    {"steps to 1/e": forgetting, "largest weight": largest}, x=tuple(stops), xlabel="updates",
    ylabel="steps, or size of a weight", log=True,
)
print(f"after 25 updates the chain forgets in fewer than 10 steps:  {forgetting[0] < 10}")
print(f"after 200 it needs more than 200:                           {forgetting[-1] > 200}")
print(f"it grew at every stop, and so did the weights:              "
      f"{forgetting == sorted(forgetting) and largest == sorted(largest)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: What is a step worth? -->
# <!-- board
# Mean over $n$ steps of a stationary chain, with **autocorrelation** $\rho_k$ at lag $k$:
#
# $$\text{Var}(\bar f) \approx \frac{\sigma^2}{n} \Big(1 + 2 \sum_{k=1}^{\infty} \rho_k\Big) = \frac{\sigma^2}{n_\text{eff}}$$
#
# **Effective sample size**: $n$ steps are worth $n_\text{eff}$ independent draws.
# -->
# <!-- question: After 25 updates 1000 steps are worth 798 images. After 200? -->
# <!-- answer: Two. A good model makes the hills high, and its own chain cannot cross them. -->
# ### Effective sample size
#
# Average a number $f$ over $n$ steps of one chain. How far off is the mean? Let the chain start from its stationary
# distribution, let $\sigma^2$ be the variance of $f$ there, and $\rho_k$ its **autocorrelation**, the correlation of $f$ with itself $k$
# steps later. Of all pairs of steps, $n - k$ lie $k$ apart, and each counts twice:
#
# $$\text{Var}(\bar f) = \frac{1}{n^2} \sum_{s, t} \text{Cov}(f_s, f_t)
# = \frac{\sigma^2}{n} \Big(1 + 2 \sum_{k=1}^{n-1} \big(1 - \tfrac kn\big) \rho_k\Big)
# \approx \frac{\sigma^2}{n} \Big(1 + 2 \sum_{k=1}^{\infty} \rho_k\Big).$$
#
# For $n$ independent draws it is $\sigma^2 / n$. So $n$ steps are worth $n_\text{eff} = n \,/\, (1 + 2 \sum_k \rho_k)$ of these, their
# **effective sample size**. (The last step wants $n$ much larger than the lags at which $\rho_k$ is not yet zero.)
#
# Check it where all is known. A chain on 0 and 1 goes up with probability $a$ and down with $b$. One step multiplies the expected
# distance to the mean by $\lambda = 1 - a - b$. So $\rho_k = \lambda^k$, and the geometric series gives $1 + 2 \sum_k \rho_k = (1 + \lambda) / (1 - \lambda)$.

# %%
a, b, n = 0.02, 0.08, 1000
mean, lam = a / (a + b), 1 - a - b
state, total = torch.bernoulli(torch.full((10_000,), mean)), torch.zeros(10_000)
for u in torch.rand(n, 10_000):  # ten thousand chains at once
    state = (u < torch.where(state == 1, 1 - b, a)).float()
    total += state
n_eff = n * (1 - lam) / (1 + lam)
measured = mean * (1 - mean) / (total / n).var().item()  # sigma^2 over the variance of the means
print(f"{n} steps are worth {n_eff:.1f} independent draws")
print(f"the variance of the means confirms it, within 7 %: {abs(measured / n_eff - 1) < 0.07}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The small RBM's matrix $T$ gives all its $\rho_k$. With the stationary $p$ and $f$ less its mean, the covariance at lag $k$ is $\sum_x p(x) f(x)\, (T^k f)(x)$. A geometric
# series sums these over $k \ge 0$: solve $(I - T + \mathbf 1 p)\, s = f$, where the term $\mathbf 1 p$, all rows equal to $p$, takes away the eigenvalue 1. We do this
# for each of the nine pixels and add up. So this is the effective sample size for the mean image.

# %%
worth = {}
for update, model in stops.items():
    E, p = energies(model), model_table(model)
    step = (-E).softmax(dim=1) @ (-E).softmax(dim=0).T
    f = x - p @ x
    lags = torch.linalg.solve(torch.eye(512, dtype=torch.double) - step + p, f)  # all T^k f, summed
    variance = (p @ f.square()).sum()
    covariances = (p @ (f * lags)).sum()  # of lag 0, 1, 2, ...
    worth[update] = (1000 * variance / (2 * covariances - variance)).item()

model, steps_each = stops[100], 2000
chains = images[torch.multinomial(model_table(model), 1000, replacement=True)]
means = torch.zeros_like(chains)
for _ in range(steps_each):
    chains = model.gibbs(chains, steps=1)
    means += chains / steps_each
pixel_variance = (model_table(model) @ (x - model_table(model) @ x).square()).sum()
ratio = (pixel_variance / means.flatten(1).var(dim=0).sum()).item() / (2 * worth[100])

# %% tags=["nbval-ignore-output"]
for update, value in worth.items():
    print(f"after {update:3} updates 1000 steps are worth {value:.0f} independent images")

# %%
print(f"after 25 updates 1000 steps are worth more than 500:      {worth[25] > 500}")
print(f"after 200 fewer than 5:                                   {worth[200] < 5}")
print(f"after 100 a thousand chains confirm it, within 20 %:    {abs(ratio - 1) < 0.2}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Here $\rho_k$ is exact. Estimated from one chain it may flatter: a chain that has not left its valley has never seen the others, and finds
# the autocorrelation within that valley, which soon dies away.
#
# Here lies a dilemma. The data lie in separate valleys. A good model makes the hills between them high, and then its own chain cannot cross
# them. But learning needs that chain. So learning makes its own next step harder. PCD suffers too: its chains must keep up with the model,
# which asks for a small learning rate at the end.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Estimating Z
# <!-- minutes: 10 -->
# <!-- slide: From a distribution whose $Z_0$ is known -->
# <!-- board
# Draw independent pixels, $p_0 = e^{-F_0} / Z_0$, and average the ratios:
# -->
#
# Is there no way to a likelihood where $Z$ cannot be summed? There is a way to *estimate* it. Take a distribution whose $Z_0$ you know: an RBM without
# weights, all pixels independent. Draw from it, and average the ratios:
#
# <!-- board -->
# $$\mathbb{E}_{x \sim p_0}\left[\frac{e^{-F(x)}}{e^{-F_0(x)}}\right]
# = \sum_x \frac{e^{-F_0(x)}}{Z_0} \frac{e^{-F(x)}}{e^{-F_0(x)}} = \frac{Z}{Z_0}.$$
#
# <!-- question: Unbiased. What goes wrong? -->
# <!-- answer: Independent pixels hardly ever draw an image that is probable under the model: nearly all ratios are tiny, and a rare one is huge. -->
# <!-- slide: Anneal: many small ratios in place of one -->
# <!-- board
# **AIS** (Neal, 2001): scale the RBM's weights up, $\beta = 0, \frac1K, \dots, 1$. At each **temperature**, multiply by a ratio and take a Gibbs step.
# -->
# That is unbiased, and useless: independent pixels hardly ever draw an image that is probable under the model. **Annealed importance sampling**
# (AIS; Neal, 2001; for RBMs Salakhutdinov and Murray, 2008) goes in small steps. It scales the weights up in small steps,
# $\beta = 0, \frac1K, \frac2K, \dots, 1$. At each **temperature** it multiplies a chain's weight by the small ratio, and takes one step of
# Gibbs sampling to follow. The estimate stays unbiased for every $K$; what falls is its scatter.

# %% board="figure" alt="Error of the estimate of log Z and its claimed standard error against the number of temperatures, on logarithmic axes: both fall, from above 1 nat to about 0.01, close together."
model = rbms["CD-10"]
log_z, temperatures = model.log_partition().item(), (1, 3, 10, 30, 100, 300, 1000)
estimates = {
    k: torch.tensor([annealed_importance(model, n_chains=100, n_temperatures=k) for _ in range(4)]) for k in temperatures
}
off = [(e[:, 0] - log_z).square().mean().sqrt().item() for e in estimates.values()]
claimed = [e[:, 1].mean().item() for e in estimates.values()]
plots.show_curves(
    {"off by": off, "standard error claimed": claimed},
    x=temperatures, xlabel="temperatures", ylabel="nats of log Z", log=True,
)

# %%
value, std_error = estimates[1000].T
print(f"one temperature is off by more than 1 nat:              {off[0] > 1}")
print(f"and the error that it claims is smaller than that:      {claimed[0] < off[0]}")
print(f"1000 are off by less than 0.25 nats:                    {off[-1] < 0.25}")
within = ((value - log_z).abs() < 5 * std_error).all()
print(f"each of the four runs is within 5 standard errors:      {bool(within)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# With few temperatures the standard error is too small as well: chains that never reached a mode do not count it. And as $\log$ is concave, an unbiased
# $\hat Z$ gives a $\log \hat Z$ that is too *small* on average. Then $-F(x) - \log \hat Z$ is too large: a bad estimate **flatters** the
# model. So whoever reports a likelihood by AIS should also show that it no longer moves as $K$ grows.
#
# <!-- slide: On a thousand small digits the RBM keeps up -->
# <!-- board
# With 100 hidden units only AIS is left. A bad estimate **flatters** the model: $\log \hat Z$ is too small on average.
# -->
# ### Real digits
#
# Handwritten digits, 8 by 8, black and white. With 16 hidden units $Z$ is a sum of $2^{16}$ terms over the hidden layer, and exact. With
# 100, only AIS is left. The baselines: independent pixels, and a small PixelCNN, whose likelihood is exact at any size. Test images,
# nats an image, higher is better.

# %%
digits, test = binarise(load("digits")), binarise(load("digits", "test"))
mean = digits.floats().mean(dim=0)
small = PersistentRBM(digits.shape, hidden_dim=16, pixel_mean=mean)
large = PersistentRBM(digits.shape, hidden_dim=100, pixel_mean=mean)
pixelcnn = PixelCNN(digits.shape, hidden_dim=16, depth=3)
for model, rate, epochs in ((small, 0.01, 60), (large, 0.01, 60), (pixelcnn, 1e-2, 20)):
    fit(model.to(DEVICE), digits, epochs=epochs, batch_size=50, learning_rate=rate)
    model.cpu()

# %%
alone = independent_pixels(digits).log_prob(test.images.long())
nats = {"independent pixels": alone.flatten(1).sum(dim=1).mean()}
nats["RBM, 16 hidden, exact"] = small.log_prob(test.floats()).mean()
for name, model, k in (("RBM, 16 hidden, AIS", small, 1000), ("RBM, 100 hidden, AIS", large, 1000),
                       ("RBM, 100 hidden, AIS, more", large, 3000)):
    log_z, std_error = annealed_importance(model, n_chains=100, n_temperatures=k, data=digits)
    nats[name] = (-model.free_energy(test.floats()).mean() - log_z).detach()
nats["PixelCNN, exact"] = log_probs(pixelcnn, test).mean()
nats = {name: value.item() for name, value in nats.items()}

# %% board="values" tags=["nbval-ignore-output"]
for name, value in nats.items():
    print(f"{name:<27} {value:.2f} nats a test image")

# %%
pixels, exact, by_ais, big, again, cnn = nats.values()
print(f"independent pixels: {pixels:.1f}")
print(f"16 hidden units are better by more than 4 nats:            {exact > pixels + 4}")
print(f"AIS is within 0.15 nats of the exact figure:               {abs(by_ais - exact) < 0.15}")
print(f"with three times the temperatures 100 units move by < 0.2: {abs(big - again) < 0.2}")
print(f"100 units are better than 16 by more than 0.5:             {again > exact + 0.5}")
print(f"the PixelCNN is better than the pixels by more than 4:     {cnn > pixels + 4}")
print(f"it does not beat the RBM of 100 units by as much as 0.5:   {cnn < again + 0.5}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# The likelihood is not why the RBM fell out of use.
# -->
# On a thousand small images the older model is as good as this small PixelCNN. So the likelihood is not why
# the RBM fell out of use. Look at what each needed: for the PixelCNN's figure one pass over the test images, for the RBM's a hundred chains of 3000 steps,
# and some trust. And its samples come after a thousand steps.

# %% alt="Fourteen digits in black and white, and samples of two RBMs and a PixelCNN: strokes in all rows, the most like digits in the last."
plots.show_rows({
    "digits": test.floats()[:14],
    "RBM, 16": small.sample(14, steps=1000), "RBM, 100": large.sample(14, steps=1000),
    "PixelCNN": pixelcnn.sample(14),
}, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: A chain has no order: clamp what is known -->
# <!-- board
# Hold the lower half, draw the rest. Of the missing pixels 0.747 are right when each is drawn alone, 0.819 after 100 steps.
# -->
# ### Completion by clamping
#
# A chain has one advantage over a pixel model: it has no order. Hold the known pixels fixed (**clamp** them), draw the rest by Gibbs sampling, and the
# chain tends to $p(x_\text{missing} \mid x_\text{known})$, wherever the known ones lie. Here they are the lower half, which a PixelCNN
# reads last. This is **inpainting**. The baseline draws each missing pixel as often white as it is in the training images, and the chain
# starts from there. The true distribution is not known here. So we count which share of the missing pixels is right, in five redraws.

# %% board="figure" alt="Fourteen digits, their known lower halves, the upper halves filled in by the RBM, mostly to digits, and by pixels alone, with gaps."
known = torch.zeros(digits.shape, dtype=torch.bool)
known[:, 4:] = True
truth = test.floats()


def fill():
    """A redraw: the images after so many steps, pixels drawn alone at 0."""
    x, filled = torch.where(known, truth, torch.bernoulli(mean.expand_as(truth))), {}
    for t in range(101):
        if t in (0, 1, 10, 100):
            filled[t] = x
        x = torch.where(known, truth, large.gibbs(x, steps=1))
    return filled


redraws = [fill() for _ in range(5)]
plots.show_rows({"digits": truth[:14], "known": truth[:14] * known, "RBM, 100": redraws[0][100][:14],
                 "pixels alone": redraws[0][0][:14]}, size=0.6)
hits = {t: torch.stack([(x[t] == truth)[:, ~known].float().mean() for x in redraws]) for t in redraws[0]}

# %% tags=["nbval-ignore-output"]
for t, of in hits.items():
    print(f"after {t:3} steps {of.mean():.3f} of the missing pixels are right, spread {of.std():.3f}")

# %%
alone, once, ten, hundred = (of.mean() for of in hits.values())
print(f"after 100 steps 5 points more are right than alone:  {bool(hundred > alone + 0.05)}")
print(f"one step falls short of that by 1.5 points or more:  {bool(once < hundred - 0.015)}")
print(f"ten come within 1.5 points:                          {bool(ten > hundred - 0.015)}")
print(f"the spread of five redraws is below one point:       {bool(max(of.std() for of in hits.values()) < 0.01)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Generative stochastic networks
# <!-- minutes: 7 -->
# <!-- slide: No energy: learn the step of the chain -->
# <!-- board
# **GSN** (Bengio et al., 2013):
#
# 1. **Corrupt** the image: each pixel, with a small probability, is replaced by a draw from Bernoulli(1/2).
# 2. **Guess** the clean one: draw $x$ from $P(x \mid \tilde x)$, by a network.
# -->
#
# If all we use is the chain, we need no energy. Learn the **step of the chain**. Bengio et
# al. (2013) take a simple step, in two halves:
#
# 1. **Corrupt** the image: $\tilde x \sim C(\tilde x \mid x)$. Each pixel is replaced, with a small probability, by a draw from Bernoulli(1/2).
# 2. **Guess** the clean one: draw $x$ from $P(x \mid \tilde x)$, by a network that has learnt to remove the noise.
#
# Training is ordinary prediction: corrupt data, predict what it was. No $Z$, no chain in the gradient, no second network.
#
# <!-- question: Suppose the guess is the true $P(x \mid \tilde x)$. What does the chain draw? -->
# <!-- answer: The data's distribution: a step is Gibbs sampling of the pair $(x, \tilde x)$. -->
# ### Why the chain draws the data
#
# Corruption makes *pairs* $(x, \tilde x)$ with the probability $p(x)\, C(\tilde x \mid x)$. The first half draws $\tilde x$
# given $x$. The second draws $x$ given $\tilde x$. That is Gibbs sampling of the pair! So if the guess is the true $P(x \mid \tilde x)$, the
# data's distribution is stationary. And as noise can turn any image into any other, the chain gets there from anywhere.
#
# On the 3 by 3 images we know the true guess by Bayes' rule.

# %%
noise = 0.2
flips = (x[:, None] - x[None]).abs().sum(dim=2)  # in how many of 9 pixels two images differ
corrupt = (noise / 2) ** flips * (1 - noise / 2) ** (9 - flips)  # a replaced pixel differs half the time
guess = (data[:, None] * corrupt).T
guess = guess / guess.sum(dim=1, keepdim=True)  # P(x | corrupted)
step = corrupt @ guess

assert torch.allclose(data @ step, data)
assert torch.allclose(step.matrix_power(1000), data.expand(512, 512), atol=1e-6)
print("the data's distribution is stationary, and reached from each of the 512 images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The network's guess cannot be the true one. It gives each pixel a probability, and draws them **independently**, while the true pixels
# depend on each other. Where the corrupted image could come from either of two, the network mixes them pixel by pixel. So use little noise, which leaves little doubt. But then
# the chain moves slowly. That is the dilemma of mixing again.
#
# A network for `bars`, and its chain, every fifth step:

# %% alt="A GSN's chain, shown every five steps: one image of bars stays for a while, then changes through a broken one to the next."
gsns = {
    f"walkback {steps}": GSN(bars.shape, hidden_dim=128, noise=0.08, walkback=steps) for steps in (1, 3, 6)
}
for gsn in gsns.values():
    fit(gsn.to(DEVICE), bars, epochs=EPOCHS // 2, batch_size=30, learning_rate=1e-2)
    gsn.cpu()
trajectory = gsns["walkback 1"].chain(bars.floats()[:1], steps=210)[4::5, 0]
plots.show_images(trajectory, columns=14, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Walkback removes traps, at a price -->
# <!-- board
# **Walkback**: take steps of the chain from the data, ask at each for its start.
#
# **Trap**: an image outside the data that the network tells to stay.
# -->
# ### Walkback
#
# Training shows the network data, slightly corrupted, and nothing else. The chain also gets to images that are no data. There the network
# was never trained. It may reproduce its input. Such an image is a **spurious mode**: a trap that no training image ever enters.
#
# **Walkback** takes a few steps of the chain from the data, and asks at each of them for the image where the chain began. So the network learns
# to return to the data from the places where its own chain goes. Above we trained with 1, 3 and 6 steps.
#
# All 65,536 images can be asked: given this one without noise, is the guess the same image, with a probability above one half? It should be so for
# the thirty, and for no other image.

# %%
def traps(gsn):
    """How many images that are no data does the network tell to stay as they are?"""
    with torch.no_grad():
        log_stay = -F.binary_cross_entropy_with_logits(gsn(everything), everything, reduction="none")
    stays = log_stay.flatten(1).sum(dim=1).exp() > 0.5
    return stays.sum().item() - stays[at].sum().item()


tables |= {name: gsn.stationary_distribution(tolerance=1e-4) for name, gsn in gsns.items()}
figures = {name: {"traps": traps(gsn), **judged(tables[name])} for name, gsn in gsns.items()}

# %% board="values" tags=["nbval-ignore-output"]
print(format_table(figures))

# %%
one, three, six = figures.values()
print(f"without walkback more than 100 images are traps:  {one['traps'] > 100}")
print(f"with 3 steps fewer than a third of that:          {3 * three['traps'] < one['traps']}")
print(f"the thirty come more evenly with 6 steps:         {six['uneven'] < one['uneven']}")
print(f"but less of the probability is valid:             {three['valid'] < one['valid'] - 0.02}")
print(f"with 6 steps less than 0.75 of it is:             {six['valid'] < 0.75}")
print(f"and in KL 6 steps are worse than 3 by 0.2:        {six['KL'] > three['KL'] + 0.2}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: With 6 steps no trap is left. Why is the KL so large? -->
# <!-- answer: More doubt about where the chain began: independent pixels mix the candidates, and fewer images are valid. -->
# (These are exact: `stationary_distribution` finds the table that the chain leaves as it is, by enumeration.) So walkback works as
# intended. The traps go, and the chain moves more freely; with 6 steps the thirty come more evenly, too. It has a price, which is the other
# dilemma: after more steps there is more doubt about where the chain began, and independent pixels answer doubt by a mixture. With 6 steps
# the KL is worse than with 3. Draw some:

# %% alt="Fourteen samples of GSNs with 1, 3 and 6 steps of walkback: mostly whole bars in the first two rows, mostly broken ones in the third."
plots.show_rows({name: gsn.sample(14, steps=200) for name, gsn in gsns.items()}, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### How good after how many steps?
#
# These samples came after 200 steps, those of the RBMs after 1000 steps. Was it enough? On `bars` we can say, for the truth is known. We start
# 2000 chains of each model from random pixels and look after 1, 3, 10, ... 1000 steps. With $\hat q(x)$ the share of the image $x$ among samples, and
# $p(x)$ its true probability, $1/30$ or 0, the **total variation** is
#
# $$\tfrac12 \sum_x |\hat q(x) - p(x)|.$$
#
# It is 1 if no sample is valid. It is not 0 for perfect samples, since shares scatter. So the baseline is as many draws of `bars`, and a second
# one as many draws from the exact table of each model's own stationary distribution, to which its chain converges. A line is the mean of five redraws of 400 samples,
# and the band is one standard deviation wide on either side.

# %% alt="Total variation from bars against steps of the chain, for three RBMs and three GSNs: it falls until about 10 steps and then rises a little for most; walkback 6 stays highest, none reaches what 400 true draws have."
lengths, n = (1, 3, 10, 30, 100, 300, 1000), 2000


def variations(x):
    """Total variation from `bars`, of each fifth of the samples."""
    return torch.tensor([bars_counts(part)["total_variation"] for part in x.chunk(5)])


def along(model):
    """The same of chains from random pixels, after each of `lengths` steps: (7, 5)."""
    x, done, found = torch.bernoulli(torch.full((n, *bars.shape), 0.5)), 0, []
    for length in lengths:
        more = length - done
        x = model.gibbs(x, steps=more) if hasattr(model, "gibbs") else model.chain(x, steps=more)[-1]
        found.append(variations(x))
        done = length
    return torch.stack(found)


after = {name: along(model) for name, model in (rbms | gsns).items()}
own = {name: variations(everything[torch.multinomial(tables[name], n, replacement=True)]) for name in after}
fresh = variations(bars.floats()[torch.randint(30, (n,))])
plots.show_curves(
    {name: found.mean(dim=1).tolist() for name, found in after.items()},
    spread={name: found.std(dim=1).tolist() for name, found in after.items()},
    x=lengths, xlabel="steps from random pixels", ylabel="total variation from bars",
    baselines={"400 draws of bars": fresh.mean().item()}, log=True,
)

# %% tags=["nbval-ignore-output"]
def with_spread(found):
    return f"{found.mean():.3f} ± {found.std():.3f}"


rows = {
    name: {f"after {k}": with_spread(found[lengths.index(k)]) for k in (1, 10, 100, 1000)}
    | {"stationary": with_spread(own[name])}
    for name, found in after.items()
}
print(format_table(rows))
print(f"as many draws of bars: {with_spread(fresh)}")

# %%
mean = {name: dict(zip(lengths, found.mean(dim=1).tolist())) for name, found in after.items()}
nearest = min(min(at_steps.values()) for at_steps in mean.values())
print(f"ten steps bring each chain nearer than one, by 0.2 or more:  "
      f"{all(m[10] < m[1] - 0.2 for m in mean.values())}")
print(f"after 1000 each is within 0.08 of its stationary law:        "
      f"{all(abs(m[1000] - own[name].mean()) < 0.08 for name, m in mean.items())}")
print(f"CD-1 is farther from the truth after 1000 than after 10:     "
      f"{mean['CD-1'][1000] > mean['CD-1'][10] + 0.08}")
print(f"no chain, at any number of steps, comes as near as draws do: {nearest > fresh.mean() + 0.05}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So two things are measured at once. In the first steps a chain falls from noise into the valleys, and samples become valid. It falls into all valleys
# about as often as it should, since random pixels favour none of them. Afterwards it slowly moves on to its *own* stationary distribution, and if that is wrong,
# longer is worse: CD-1 gives some valleys far too much. A short chain looks better than the model is, because its start adds an evenness that
# the model has not learnt. Nor can it be the model's likelihood that we see in such samples. Lesson {{comparison}} chooses its numbers of steps with a curve like this one.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Why the field moved on
# <!-- minutes: 4 -->
# <!-- slide: Three faults: $Z$, the gradient, mixing -->
# <!-- board
# Steps until the correlation with the start falls below 0.1, on `bars`; for the PixelCNN, one for each of 16 pixels:
# -->
#
# Now everything side by side, on the same thirty images. How many steps until a chain has forgotten its start, to a correlation of 0.1? The PixelCNN draws each
# image anew, pixel by pixel, which takes 16 runs of the network (**ancestral sampling**). Then it is done, and the next image is independent of the last.

# %%
memories |= {name: memory(gsn, tables[name], steps=1000, until=0.1) for name, gsn in gsns.items()}


def steps_to_forget(remembered):
    below = [t for t, value in enumerate(remembered) if value < 0.1]
    return below[0] if below else math.inf


forget = {name: steps_to_forget(remembered) for name, remembered in memories.items()}
cnn = PixelCNN(bars.shape, hidden_dim=16, depth=2)
fit(cnn, bars, epochs=200, batch_size=30, learning_rate=2e-2);

# %%
kls = {name: judged(table)["KL"] for name, table in tables.items()}
kls["PixelCNN"] = bars_kl(cnn.log_prob)
notes = {
    **dict.fromkeys(rbms, ("biased", "needs Z")), **dict.fromkeys(gsns, ("of another loss", "unknown")),
    "PixelCNN": ("exact", "direct"),
}
costs = {
    name: {"steps a sample": str(forget.get(name, 16)).replace("inf", "over 1000"), "KL": value,
           "gradient of log p(x)": notes[name][0], "log p(x)": notes[name][1]}
    for name, value in kls.items()
}

# %% board="values" tags=["nbval-ignore-output"]
print(format_table(costs))

# %%
fastest = min(forget[name] for name in rbms)
print(f"each RBM needs more than 50 steps to forget:              {fastest > 50}")
worst = max(rbms, key=kls.get)
print(f"the chain of the worst RBM, {worst}, is not the quickest:    {forget[worst] > fastest}")
print(f"the GSN without walkback more than 100:                   {forget['walkback 1'] > 100}")
print(f"with 6 steps, which draws badly, fewer than 100:          {forget['walkback 6'] < 100}")
print(f"the PixelCNN's KL is below 0.1, and below every chain's:  "
      f"{kls['PixelCNN'] < min(0.1, *(kls[name] for name in tables))}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ("Unknown": no formula gives a GSN's $p(x)$, and only on images this small can its chain be enumerated. A step of a small
# chain is cheaper than a run of the PixelCNN, so compare the steps only roughly. What counts is that the number is not known in
# advance.) Three faults come together:
#
# | fault | measured above |
# | --- | --- |
# | $Z$ | no likelihood without a sum over all images, or an estimate that may flatter |
# | gradient | at the end of training, CD is off by more than 40 % of the gradient's length |
# | mixing | along one training the chain gets slower and slower; no test on the chain itself tells when it is done |
#
# (Slower along *one* training: see the eigenvalues above. Between different models it need not hold. CD-1 has the largest KL of
# our RBMs, and its chain is not the quickest.)
#
# VAEs, GANs and autoregressive models have no chain to wait for. They draw a sample in a fixed number of steps, and
# back-propagation gives the gradient of their loss. Only the autoregressive ones have an exact likelihood: a VAE has a bound, a GAN has
# nothing. So they have troubles of their own. But no chain, and a gradient without bias, is why the field moved on.
#
# <!-- slide: Markov chains returned without these faults -->
# <!-- board
# - **Diffusion models** (Sohl-Dickstein et al., 2015; Ho et al., 2020): a chain of fixed length, which starts from noise by design and never has to forget its start.
# - **Score-based models** (Song and Ermon, 2019) learn $\nabla_x \log p(x) = -\nabla_x E(x)$. The gradient is by $x$, so $Z$ is gone.
# -->
# ### Markov chains in diffusion models
#
# Markov chains returned, in a form without these faults. A **diffusion model** (Sohl-Dickstein et al., 2015; Ho et al., 2020) corrupts
# the data in many small steps until nothing but noise is left, and learns each step back. Compare the GSN: it too corrupts and guesses. But here the chain
# has a fixed length, and the network gets the number of the step as an input; it starts from noise by design, so it never has to forget its
# start. And as each step is small, there is little doubt in it, so independent pixels are a good guess.
#
# **Score-based models** (Song and Ermon, 2019) learn $\nabla_x \log p(x) = -\nabla_x E(x)$. The gradient is by $x$, so $Z$, a constant, is gone. Samples follow
# it, through a series of noise levels from coarse to fine, which carries the chain over the hills. AIS scales up its weights for the
# same reason.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What a Markov chain model cannot do
#
# - **Say when it is done.** Samples are draws from $p(x)$ after infinitely many steps. A chain that is stuck looks just like one that has
#   arrived.
# - **Give a likelihood at size.** The RBM can on tiny images or few hidden units. The GSN cannot. AIS gives an estimate, whose error cannot be checked
#   from its own samples.
# - **Be judged by its training loss.** CD's loss is a difference of energies, the GSN's is an error of denoising. Neither is a bound on anything we want.

# %%
for method in ("free_energy", "log_prob", "gibbs", "chain", "sample"):
    print(f"{method:<11} RBM: {str(hasattr(RBM, method)):<6} GSN: {hasattr(GSN, method)}")
try:
    large.log_prob(test.floats())
except ValueError as refusal:
    print("RBM with 100 hidden units:", str(refusal).split(",")[0])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What they are good for, and what they are not
# <!-- minutes: 2 -->
# <!-- slide: Recap -->
# <!-- board
# 1. Gibbs and Metropolis-Hastings leave $p$ stationary, without $Z$.
# 2. $\nabla \log p(x)$ has a data phase and a model phase, which needs samples.
# 3. CD starts at the data: good valleys, wrong weights between them.
# 4. $n$ steps are worth $n / (1 + 2 \sum_k \rho_k)$ draws.
# 5. AIS is unbiased for $Z$, too small on average for $\log Z$.
# -->
#
# | good for | |
# | --- | --- |
# | freedom | any energy, no order of pixels, no encoder |
# | comparing | which of two images is more probable needs no $Z$ |
# | conditioning | clamp the known pixels, wherever they lie, and draw the rest |
# | features | $P(h_j = 1 \mid x)$ describes an image; stacks of RBMs began deep learning (Hinton et al., 2006) |
#
# | not for | |
# | --- | --- |
# | exact learning | the gradient needs samples of the model, and a short chain gives the wrong ones |
# | fast sampling | neighbours in a chain are alike |
# | many modes | short chains do not learn how much probability each mode has |

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - Metropolis, Rosenbluth, Rosenbluth, Teller, Teller (1953), *Equation of state calculations by fast computing machines*,
#   Journal of Chemical Physics 21.
# - Hastings (1970), *Monte Carlo sampling methods using Markov chains and their applications*, Biometrika 57.
# - Geman, Geman (1984), *Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of images*, IEEE PAMI 6.
# - Smolensky (1986), *Information processing in dynamical systems: foundations of harmony theory*, in Parallel Distributed
#   Processing, volume 1.
# - Younes (1989), *Parametric inference for imperfectly observed Gibbsian fields*, Probability Theory and Related Fields 82.
# - Hinton (2002), *Training products of experts by minimizing contrastive divergence*, Neural Computation 14.
# - Hinton, Osindero, Teh (2006), *A fast learning algorithm for deep belief nets*, Neural Computation 18.
# - Tieleman (2008), *Training restricted Boltzmann machines using approximations to the likelihood gradient*, ICML.
# - Neal (2001), *Annealed importance sampling*, arXiv:physics/9803008.
# - Salakhutdinov, Murray (2008), *On the quantitative analysis of deep belief networks*, ICML.
# - Bengio, Yao, Alain, Vincent (2013), *Generalized denoising auto-encoders as generative models*, arXiv:1305.6663. The
#   chain and walkback.
# - Bengio, Thibodeau-Laufer, Alain, Yosinski (2014), *Deep generative stochastic networks trainable by backprop*,
#   arXiv:1306.1091.
# - Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli (2015), *Deep unsupervised learning using nonequilibrium
#   thermodynamics*, arXiv:1503.03585.
# - Song, Ermon (2019), *Generative modeling by estimating gradients of the data distribution*, arXiv:1907.05600.
# - Ho, Jain, Abbeel (2020), *Denoising diffusion probabilistic models*, arXiv:2006.11239.

# %% [markdown] slideshow={"slide_type": "skip"}
# *How the claims were chosen.* Chains and training by chains depend on every random bit. So cells print claims with margins that
# held in every run we tried from other seeds, and the numbers of one run stand in cells that the tests do not compare.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build a chain, an RBM and a GSN yourself, with each step checked: [the
# exercises]({{markov_chains}}_markov_chains_exercises.ipynb). {{after}}
