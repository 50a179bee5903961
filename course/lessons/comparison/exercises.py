# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Comparison: exercises
#
# **Can you measure a generative model, and say how far your number can be trusted?**
#
# Eight steps give you an evaluator: likelihoods with an error bar and in a unit that papers use, exact divergences,
# measures of samples, honest timings, and a verdict over many columns. At the end it judges four models that you
# know. The steps belong to lesson [{{comparison}} Comparison](../notebooks/{{comparison}}_comparison.ipynb), which explains the ideas; read
# it first, or beside this. You need one course in probability and one in PyTorch. All eight steps take
# about 100 minutes, and the evaluator at the end 20 more; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and then the code below it. The answers are in
# [solutions](../solutions/{{comparison}}_comparison_exercises.ipynb); the end uses your functions, so copy the answer of a step
# that you skip.

# %%
import math
import time

import torch

from course import checks
from genlib import plots
from genlib.adversarial import GAN, InstanceNoise, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import PixelCNN
from genlib.data import EightGaussians, all_images, binarise, independent_pixels, load
from genlib.markov import PersistentRBM
from genlib.metrics import bars_kl, bits_per_dim, format_table, log_probs, train_classifier
from genlib.training import fit, fit_gan
from genlib.variational import VAE, importance_bound

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# The data are those of the lesson: handwritten digits in black and white, 1077 to train, 360 **fresh** ones that
# stand for a perfect generator, and 360 to test. Two models need no training, only counting. **One** has a histogram
# for every pixel. **Ten** has a histogram for every pixel *and digit*, and first draws a digit.

# %%
every, test = binarise(load("digits")), binarise(load("digits", "test"))
train, fresh = every[:1077], every[1077:]
x = test.floats()


def count_one(data):
    """A model that ignores the digit: its log p of images, in nats."""
    pixels = independent_pixels(data)
    return lambda x: pixels.log_prob(x.long()).flatten(1).sum(dim=1)


def count_ten(data):
    """A mixture of ten such models, one for each digit."""
    models = [count_one(data[data.labels == k]) for k in range(10)]
    return lambda x: torch.stack([model(x) for model in models]).logsumexp(dim=0) - math.log(10)


one, ten, ten_of_half = count_one(train), count_ten(train), count_ten(train[:538])

# %% [markdown]
# ## Step 1. A difference, and its error
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Model a has a mean log-likelihood of -20.1 nats on the test images, and model b of -20.6. Is a better? Other test
# images would have given other means. What we must know is by how much the *difference* would change.
#
# Both models saw the **same** n images. Some images are hard for everybody, and this scatters both means alike. So
# take the difference $d_i = \log p_a(x_i) - \log p_b(x_i)$ image by image, where it cancels. Then take the mean, and
# the **standard error** of that mean:
#
# $$\bar d = \frac1n \sum_i d_i, \qquad
# \text{error} = \frac{s}{\sqrt n}, \qquad s^2 = \frac{1}{n - 1} \sum_i (d_i - \bar d)^2.$$
#
# **Write** `difference(a, b)`, with the log-likelihoods of the same images, a (n,) and b (n,). It returns two
# numbers, $\bar d$ and its error.
#
# <details><summary>Hint</summary>
#
# One number for each image first, then their mean and their standard deviation. How much less does a mean over n of them
# scatter than a single one? Look up whether `.std()` divides by n or by n - 1.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# ahead = a - b  # (n,)
# ahead.std()  # divides by n - 1 already
# ```
# </details>

# %%
def difference(a, b):
    """Log-likelihoods a and b of the same images, (n,) each -> the mean lead of a, and its standard error."""
    ### BEGIN SOLUTION
    ahead = a - b
    return ahead.mean(), ahead.std() / math.sqrt(len(ahead))
    ### END SOLUTION


# %%
checks.comparison.difference(difference)

# %% [markdown]
# Ten against one. And ten, counted on all training images, against ten that were counted on half of them. Beside it
# stands the error that we would have if each model had been given images of its own.

# %%
def apart(a, b):
    """The error of a difference between means over different images."""
    return ((a.var() + b.var()) / len(a)).sqrt()


for name, rival in (("one", one), ("ten of half the data", ten_of_half)):
    a, b = ten(x), rival(x)
    lead, error = difference(a, b)
    print(f"ten leads {name + ':':<21} {lead:.2f} nats, error {error:.2f}; unpaired {apart(a, b):.2f}")

# %% [markdown]
# The second lead is small and beyond doubt. Unpaired, it would be hidden in the scatter. How many errors is it away
# from zero? And how many times as many test images would it take to get your error without pairs?

# %%
lead, error = difference(ten(x), ten_of_half(x))
more = (apart(ten(x), ten_of_half(x)) / error) ** 2
print(f"the second lead is {lead / error:.0f} errors away from zero")
print(f"without pairs: {more:.0f} times as many images")

# %% [markdown]
# ## Step 2. Bits, also from a density
#
# *Difficulty 4 of 5 · importance 4 of 5 · 10 minutes*
#
# An image has $d$ values, each on one of $K$ levels. Some models give **probabilities** of levels. Others, as flows
# or a Gaussian VAE, give a **density** $f(v)$ of numbers $v$ in [0, 1]. Can the two be compared? A density of an
# image with levels makes no sense as it is. It may put a peak on each level, as sharp and high as it likes.
#
# The cure: add noise. With $u_i$ uniform on [0, 1] and level $k_i$, the number $v_i = (k_i + u_i) / K$ may lie
# anywhere in a cell of width $1 / K$. What the model says of the level is the integral over the cell, in $d$
# dimensions. The mean of the logarithm over the noise bounds it from below (Theis et al., 2016, arXiv:1511.01844,
# section 3.1):
#
# $$\log P(k) = \log \int_{\text{cell}} f(v)\, dv \;\ge\; \mathbb{E}_u\big[ \log f(v) \big] - d \log K,
# \qquad \text{bits per dimension} = \frac{-\log P(k)}{d\, \ln 2}.$$
#
# **Write** `bits(log_density, levels, dims)`, with log_density (n,), the mean of $\log f$ over the noise for n
# images, in nats; K and d are integers. It returns bits per dimension, (n,). A flat density, $f = 1$, must come to
# $\log_2 K$ bits.
#
# <details><summary>Hint</summary>
#
# Try the flat density on your formula: its logarithm is 0. The cell is narrow along each of d values. So how often does
# $\log K$ come? Divide at the end, once, for nats and for values.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# log_p = log_density - dims * math.log(levels)  # (n,), log P of the levels, in nats
# ```
# </details>

# %%
def bits(log_density, levels, dims):
    """log_density (n,) in nats, whole numbers levels and dims -> bits per dimension, (n,)."""
    ### BEGIN SOLUTION
    log_p = log_density - dims * math.log(levels)
    return -log_p / (dims * math.log(2))
    ### END SOLUTION


# %%
checks.comparison.bits(bits)

# %% [markdown]
# Try to cheat. The grey digits have 17 levels. Count how frequent each is, over all pixels, and put a Gaussian peak
# of that weight into the middle of every cell. Make the peaks narrower and narrower. First the density is asked at
# the levels themselves, and then, as it should be, at numbers with noise.

# %%
grey, K = load("digits", "test").images.long().flatten(1), 17  # (360, 64)
share = torch.bincount(load("digits").images.long().flatten(), minlength=K).double()
share = share / share.sum()
middles = (torch.arange(K) + 0.5) / K
noise = (torch.arange(100) + 0.5) / 100  # u, spread evenly
with_noise = (torch.arange(K)[:, None] + noise) / K  # v, (17, 100)


def log_peaks(v, width):
    """log f of numbers v, under peaks so many cells wide."""
    peaks = torch.distributions.Normal(middles.double(), width / K)
    return (share.log() + peaks.log_prob(v[..., None].double())).logsumexp(dim=-1)


def mean_bits(log_f):
    """Bits of the test images, given log f for each level, (17,)."""
    return bits(log_f[grey].sum(dim=1), K, 64).mean().item()


widths = [2.0**-k for k in range(9)]
naive = [mean_bits(log_peaks(middles, width)) for width in widths]
honest = [mean_bits(log_peaks(with_noise, width).mean(dim=1)) for width in widths]
by_levels = -share.log2()[grey].mean().item()  # probabilities of levels: no density at all
plots.show_curves(
    {"at the levels": naive, "with noise": [min(value, 8) for value in honest]}, x=range(9),
    xlabel="halvings of a peak's width, from one cell", ylabel="bits per dimension, up to 8",
    baselines={"by levels": by_levels},
)
print(f"counted levels: {by_levels:.2f} bits; peaks of 1/256 without noise: {naive[-1]:.2f} bits")
print(f"with noise none is below the counted levels: {min(honest) > by_levels}")

# %% [markdown]
# Without noise, sharp peaks would reach zero bits and less. That would be a program that packs images into nothing.
# With noise there is nothing to gain: the bound lies above what counting the levels costs.

# %% [markdown]
# ## Step 3. Two divergences
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Where all images can be listed, a model is a table of probabilities, and we can say exactly how far it is from the
# truth. But there are two ways to ask:
#
# $$KL(p \,\|\, q) = \sum_x p(x) \log \frac{p(x)}{q(x)}, \qquad KL(q \,\|\, p) = \sum_x q(x) \log \frac{q(x)}{p(x)}.$$
#
# With $p$ the truth and $q$ the model, the first asks, of *real* images, how improbable they are to the model.
# Maximum likelihood makes it small. The second asks, of *samples*, how impossible they are in truth.
#
# Zeros decide. What the first table never draws adds nothing, $0 \log 0 = 0$, whatever the other says. But what it
# does draw and the other never would makes the divergence infinite.
#
# **Write** `divergences(p, q)`, with tables p (m,) and q (m,) that each sum to 1. It returns both numbers in nats,
# $KL(p \,\|\, q)$ first, and infinity where it is infinite.
#
# <details><summary>Hint</summary>
#
# $p \log (p / q) = p \log p - p \log q$, and torch has a function for $p \log q$ that is 0 wherever p is 0, whatever q is. A
# small number in the place of a zero would decide the result by itself: do without.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# terms = torch.xlogy(p, p) - torch.xlogy(p, q)  # (m,), of the first
# ```
# </details>

# %%
def divergences(p, q):
    """Tables p and q, (m,) each -> KL(p || q) and KL(q || p), two numbers in nats, perhaps infinite."""
    ### BEGIN SOLUTION
    forward = (torch.xlogy(p, p) - torch.xlogy(p, q)).sum()
    backward = (torch.xlogy(q, q) - torch.xlogy(q, p)).sum()
    return forward, backward
    ### END SOLUTION


# %%
checks.comparison.divergences(divergences)

# %% [markdown]
# All $2^{16}$ images of 4 by 4 pixels, thirty of which are `bars`. Four generators that are wrong in different ways.
# One knows half of the bars only. One knows them all, and flips a pixel in a hundred. One does both, and one tosses
# coins.
#
# **Predict before you run.** Eight numbers will come, two for each generator. Which of them are infinite?

# %%
bars, images = load("bars").floats().flatten(1), all_images(2, (1, 4, 4)).flatten(1)
differ = torch.cdist(images, bars, p=1).double()  # in how many pixels, (65536, 30)


def flipped(rate, n=30):
    """Draw one of the first n bars and flip each pixel at this rate: a table of all images."""
    return (rate**differ * (1 - rate) ** (16 - differ))[:, :n].mean(dim=1)


truth = flipped(0.0)
rows = {}
for name, model in (
    ("half of the bars", flipped(0.0, n=15)), ("1 % flipped", flipped(0.01)),
    ("half, 1 % flipped", flipped(0.01, n=15)), ("Bernoulli(1/2)", flipped(0.5)),
):
    first, second = divergences(truth, model)
    rows[name] = {"KL(truth || model)": float(first), "KL(model || truth)": float(second)}
print(format_table(rows, digits=2))

# %% [markdown]
# A model that leaves out is punished by the first, a model that adds something by the second. Neither column is
# wrong. So what does a model look like that *minimises* one of them, and cannot make both small? The truth has two
# humps, the model is a single Gaussian, and we try all means and widths on a grid.

# %%
line = torch.linspace(-6, 6, 241)


def gaussian(mean, std):
    p = torch.distributions.Normal(mean, std).log_prob(line).double().exp()
    return p / p.sum()


humps = 0.6 * gaussian(-2.0, 0.6) + 0.4 * gaussian(2.0, 0.6)
grid = torch.cartesian_prod(torch.linspace(-3, 3, 31), torch.linspace(0.4, 3, 27)).tolist()
both = torch.tensor([divergences(humps, gaussian(*place)) for place in grid])  # (837, 2)
covers, picks = (grid[int(column.argmin())] for column in both.T)
density = {name: p / 0.05 for name, p in (
    ("truth", humps),
    ("smallest KL(p || q)", gaussian(*covers)),
    ("smallest KL(q || p)", gaussian(*picks)),
)}
plots.show_curves(density, x=line, xlabel="x", ylabel="density")
for name, (mean, std) in (("KL(p || q)", covers), ("KL(q || p)", picks)):
    print(f"smallest {name}: mean {mean:.1f}, standard deviation {std:.1f}")

# %% [markdown]
# One covers both humps and what lies between. The other picks a hump and forgets the rest. Think of the blur of a
# VAE, and of the lost modes of a GAN.

# %% [markdown]
# ## Step 4. A mixture with noise
#
# *Difficulty 3 of 5 · importance 4 of 5 · 10 minutes*
#
# Theis et al. (section 3.2) corrupt a good model on purpose. With probability $w$ draw from the good $p$, else from
# noise $q$:
#
# $$\log m(x) = \log \big( w\, p(x) + (1 - w)\, q(x) \big) \;\ge\; \log p(x) - \log \frac{1}{w}.$$
#
# For $w = 0.01$, ninety-nine samples of a hundred are noise, and the likelihood falls by 4.6 nats at most. In numbers
# one trap lies here: $p(x) = e^{-3000}$ is zero in any floating-point format.
#
# **Write** `mixture(log_p, log_noise, weight)`, with $\log p$ and $\log q$ of n images, (n,) each, and $w$ a number
# between 0 and 1. It returns $\log m$, (n,), for images of any size. What one of the two never draws has $-\infty$ there.
#
# <details><summary>Hint</summary>
#
# A weight on a probability is a number *added* to its logarithm. Then two probabilities are to be added, whose logarithms
# you have: which function of torch does that without leaving log-space?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# part_of_p = log_p + math.log(weight)  # log(w p), (n,)
# torch.logaddexp(a, b)  # log(e^a + e^b), for any a and b
# ```
# </details>

# %%
def mixture(log_p, log_noise, weight):
    """log_p and log_noise, (n,) each, weight between 0 and 1 -> log of the mixture, (n,)."""
    ### BEGIN SOLUTION
    return torch.logaddexp(log_p + math.log(weight), log_noise + math.log(1 - weight))
    ### END SOLUTION


# %%
checks.comparison.mixture(mixture)

# %% [markdown]
# Corrupt the model `ten`, once with Bernoulli(1/2) noise and once with samples of `one`, whose likelihood is the dashed line. The
# bound holds for any noise, and the worse the noise, the closer it is.

# %%
good = ten(x)
log_bernoulli = torch.full_like(good, -64 * math.log(2))
powers = [-k / 4 for k in range(1, 25)]
plots.show_curves(
    {
        "with Bernoulli(1/2)": [mixture(good, log_bernoulli, 10**power).mean() for power in powers],
        "with samples of one": [mixture(good, one(x), 10**power).mean() for power in powers],
        "the bound": [good.mean() - math.log(10 ** -power) for power in powers],
    },
    x=powers, xlabel="weight of the good model, power of ten", ylabel="nats an image",
    baselines={"one": one(x).mean().item()},
)
some = mixture(good, log_bernoulli, 0.25)
lead, error = difference(some, one(x))
print(f"three samples of four are noise, and it leads one by {lead:.1f} nats, error {error:.1f}")

# %% [markdown]
# How much is that on larger images? The price stays, and the likelihood grows with the number of values. In bits per
# dimension of a photograph no one will ever notice.

# %%
for side, colours in ((8, 1), (32, 3), (256, 3)):
    price = bits_per_dim(-math.log(100), (colours, side, side))
    print(f"w = 0.01 on {side:>3} by {side:>3}, {colours} colours: at most {price:.5f} bits a value")

# %% [markdown]
# ## Step 5. Entropy, by counting
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# Some models have samples, and nothing else. How varied are they? Sort $N$ samples into kinds, for instance the ten
# digits as a classifier reads them. Kind $i$ comes $c_i$ times. Put the shares in the place of probabilities:
#
# $$\hat H = -\sum_i \frac{c_i}{N} \log \frac{c_i}{N}.$$
#
# This **plug-in** estimate comes out too small on average. By chance some kinds come too often and others too rarely,
# so the shares look less even than the truth. Miller (1955) computed by how much, to first order. With $m$ kinds that
# were *seen at least once*,
#
# $$\hat H_{\text{Miller}} = \hat H + \frac{m - 1}{2N}.$$
#
# **Write** `entropy(counts)`, with counts (k,), integers, some of them 0. It returns both estimates in nats, the
# plain one first.
#
# <details><summary>Hint</summary>
#
# Make shares of the counts, floating-point numbers that sum to one. A share of 0 adds nothing, as in step 3. Then count the
# kinds that were seen, not those of the table.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# shares = counts / counts.sum()
# torch.xlogy(shares, shares)  # 0 where a share is 0
# ```
# </details>

# %%
def entropy(counts):
    """counts (k,), integers -> the plain entropy and Miller's, two numbers in nats."""
    ### BEGIN SOLUTION
    shares = counts / counts.sum()
    plain = -torch.xlogy(shares, shares).sum()
    seen = (counts > 0).sum()
    return plain, plain + (seen - 1) / (2 * counts.sum())
    ### END SOLUTION


# %%
checks.comparison.entropy(entropy)

# %% [markdown]
# A perfect sampler of `bars`: thirty images, all as likely, so the truth is $\log 30$. We let it draw N images, and
# repeat that 100 times to see the average.

# %%
sizes, runs = (30, 45, 60, 90, 120, 180, 300, 450, 600), 100
drawn = [[torch.bincount(torch.randint(30, (n,)), minlength=30) for _ in range(runs)] for n in sizes]
means = torch.tensor([[entropy(counts) for counts in of_size] for of_size in drawn]).mean(dim=1)
plots.show_curves(
    {"plain": means[:, 0], "with Miller's correction": means[:, 1]},
    x=sizes, xlabel="samples", ylabel="entropy, nats", baselines={"log 30": math.log(30)},
)
missing = math.log(30) - means[sizes.index(120)]
print(f"120 samples: the correction takes away four fifths of the gap or more: "
      f"{missing[1].abs() < missing[0] / 5}")

# %% [markdown]
# Do not compare the plain entropy of 100 samples of one model with that of 1000 of another. And 30 samples of 30
# images are too few for any correction.

# %% [markdown]
# ## Step 6. Precision and recall
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# One number cannot tell bad samples from missing ones. Two can (Kynkäänniemi et al., 2019, arXiv:1904.06991). Around
# every example $a_j$ of a set $A$ lies a ball that reaches to its $k$-th nearest neighbour *in the set*, at the
# distance $r_k(a_j)$. The balls together stand for where the set lives. A point $b$ of another set is inside if it
# lies in at least one ball:
#
# $$\text{inside}_A(b) = \begin{cases} 1 & \text{if } \lVert b - a_j \rVert \le r_k(a_j) \text{ for some } j, \\
# 0 & \text{otherwise.} \end{cases}$$
#
# **Precision** is the share of fakes inside the balls of the real examples: do samples look real? **Recall** is the
# share of real examples inside the balls of the fakes: is all that is real among the samples?
#
# **Write** `precision_recall(real, fake, k)`, with features (n, d) and (m, d). It returns two numbers, precision
# first. A point is not its own neighbour: the first neighbour is the nearest *other* one.
#
# <details><summary>Hint</summary>
#
# Write one function for both questions: which points lie in a ball around one of a set? `torch.cdist(a, b)` has all
# distances, (n, m). In row j of the distances among the balls the smallest one is that of point j to itself, 0 but for
# rounding. So which place has the k-th *other* one, once a row is sorted?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# among = torch.cdist(balls, balls)  # (n, n)
# among.kthvalue(i, dim=1).values  # the i-th smallest of each row; i counts from 1
# ```
# </details>

# %%
def precision_recall(real, fake, k):
    """Features real (n, d) and fake (m, d), k a whole number -> precision and recall, two numbers."""
    ### BEGIN SOLUTION
    def inside(points, balls):
        radius = torch.cdist(balls, balls).kthvalue(k + 1, dim=1).values  # 1 is the point
        return (torch.cdist(points, balls) <= radius).any(dim=1).float().mean()

    return inside(fake, real), inside(real, fake)
    ### END SOLUTION


# %%
checks.comparison.precision_recall(precision_recall)

# %% [markdown]
# In the plane you can see it. The data are a ring of eight clouds. One generator draws three of them only, one smears
# everything, and one draws nothing but the centre of one cloud.

# %%
ring = EightGaussians()
real, whole = ring.sample(800), ring.sample(4000)
near = torch.cdist(whole, ring.means).argmin(dim=1)
panels = {
    "perfect": whole[:800],
    "three clouds": whole[near < 3][:800],
    "smeared": 2.2 * torch.randn(800, 2),
    "one spot": ring.means[0] + 0.01 * torch.randn(800, 2),
}
plots.show_points(panels, modes=ring.means, radius=2 * ring.std)
seen = {name: precision_recall(real, fake, 3) for name, fake in panels.items()}
for name, (precision, recall) in seen.items():
    print(f"{name + ':':<14} precision {'above' if precision > 0.7 else 'below'} 0.7, "
          f"recall {'above' if recall > 0.7 else 'below'} 0.7")

# %% [markdown]
# Look at "smeared" again. It is spread so thinly that its balls are large, and cover most of what is real. Recall
# forgives noise. And "perfect" is not at 1: compare with fresh real examples, never with 1.

# %% [markdown]
# ## Step 7. How many times as fast?
#
# *Difficulty 2 of 5 · importance 3 of 5 · 10 minutes*
#
# Take the time of the same call twice, and you get two numbers. The first call is often slow, for memory has to be
# found. Now and then another program gets in between. Such runs are *late* by a lot and never early by a lot, so a
# mean says more about your other programs than about your model. The **median** does not mind them. And seconds
# belong to your machine, while a ratio travels better:
#
# $$\text{speed-up} = \frac{\text{median of the slow}}{\text{median of the fast}}.$$
#
# The median of an odd number of timings is the one in the middle, once they are sorted. Of an even number it is the
# mean of the *two* in the middle.
#
# **Write** `speed_up(slow, fast)`, with timings in seconds, (n,) each. The runs are no pairs. It returns one number.
#
# <details><summary>Hint</summary>
#
# Sort four numbers in your head: which one does `torch.median` take of the two in the middle? Another function of torch has
# the median as we want it.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# torch.quantile(x, 0.5)  # the mean of the two in the middle
# ```
# </details>

# %%
def speed_up(slow, fast):
    """Seconds slow (n,) and fast (n,) -> how many times as fast, one number."""
    ### BEGIN SOLUTION
    return slow.quantile(0.5) / fast.quantile(0.5)
    ### END SOLUTION


# %%
checks.comparison.speed_up(speed_up)

# %% [markdown]
# Draw ten images of 64 independent pixels: in one call, and one pixel after the other, as a pixel model must.

# %%
white = independent_pixels(train).probs[..., 1].flatten()  # of each pixel, (64,)


def at_once():
    return torch.bernoulli(white.expand(10, 64))


def by_pixel():
    return torch.stack([torch.bernoulli(p.expand(10)) for p in white], dim=1)


def timings(call, runs=9):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return torch.tensor(seconds)


slow, fast = timings(by_pixel, 30), timings(at_once, 30)

# %% tags=["nbval-ignore-output"]
print(f"speed-up by medians {speed_up(slow, fast):.1f}, by means {slow.mean() / fast.mean():.1f}")

# %% [markdown]
# ## Step 8. The Pareto front
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# At the end there is a table: a row for every model, a column for every measure. Nats, shares and images per second
# cannot be added up. But one thing can be said without any weights. Row $j$ **beats** row $i$ if it is nowhere worse
# and somewhere better:
#
# $$t_{jc} \ge t_{ic} \text{ for all columns } c, \qquad t_{jc} > t_{ic} \text{ for at least one}.$$
#
# A beaten row can be dropped: another is at least as good in everything. The rows that no other row beats are the **Pareto front**. Among
# these you must decide yourself, and say what you care about.
#
# **Write** `unbeaten(table)`, with a table (m, c) in which larger is better. It returns True or False for each row,
# (m,). Rows may be equal, and then neither beats the other. A number that does not exist is written as `-math.inf`.
#
# <details><summary>Hint</summary>
#
# Compare every row with every row: two new axes of length 1 make it (m, m, c). "For all columns" is an `.all` over the last
# axis, "for at least one" an `.any`. At last: does *any* rival beat the row? And `~` turns True and False round.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# row, rival = table[:, None], table[None]  # (m, 1, c) and (1, m, c)
# nowhere_worse = (rival >= row).all(dim=2)  # (m, m): [i, j] is true where j is nowhere worse than i
# ```
# </details>

# %%
def unbeaten(table):
    """table (m, c), larger is better -> True where no other row beats this one, (m,)."""
    ### BEGIN SOLUTION
    row, rival = table[:, None], table[None]
    beaten = (rival >= row).all(dim=2) & (rival > row).any(dim=2)  # (m, m)
    return ~beaten.any(dim=1)
    ### END SOLUTION


# %%
checks.comparison.unbeaten(unbeaten)

# %% [markdown]
# A warning before you use it. Thirty models with nothing but random numbers in their rows: how many of them are
# unbeaten, if we measure them in one column, in two, in ten?

# %%
columns = range(1, 11)
kept = [
    torch.stack([unbeaten(torch.rand(30, c)).sum() for _ in range(100)]).float().mean()
    for c in columns
]
plots.show_curves(
    {"unbeaten, of 30": kept}, x=columns, xlabel="columns", ylabel="models, mean of 100 tables",
)
print(f"one column: {kept[0]:.0f} model, ten columns: more than 25 of 30: {kept[-1] > 25}")

# %% [markdown]
# With enough columns almost every model is best at something, by chance alone. Choose your columns *before* you look at
# the table.

# %% [markdown]
# ## All together: your evaluator
#
# Four models that you know, one from each part of the tree, with the settings of the lesson, and `one` and `ten`
# beside them. We choose the columns now: nats on the test images, precision, recall, variety (the entropy of the
# digits that a classifier reads in the samples), and images per second.
#
# Before anything is trained, the bar: what does counting alone reach?

# %%
lead, error = difference(ten(x), one(x))
print(f"to beat: ten leads one by {lead:.1f} nats, error {error:.1f}")
S = train.shape
doubting = InstanceNoise(MLPDiscriminator(S), std=0.3)
models = {
    "PixelCNN": PixelCNN(S, hidden_dim=32, depth=2),
    "VAE": VAE(S, latent_dim=16),
    "RBM": PersistentRBM(S, hidden_dim=16, cd_steps=3, pixel_mean=train.floats().mean(dim=0)),
    "GAN": GAN(MLPGenerator(S, latent_dim=32), doubting, latent_dim=32),
}

# %%
fit(models["PixelCNN"], train, epochs=12, batch_size=64, learning_rate=1.2e-2)
fit(models["VAE"], train, epochs=60, batch_size=128, learning_rate=5e-3)
fit(models["RBM"], train, epochs=120, batch_size=128, learning_rate=2e-2)
fit_gan(models["GAN"], train, updates=500, learning_rate=2e-3)
judge = train_classifier(train, updates=200)  # the lesson's: it will look at samples

# %% [markdown]
# Samples first. Look at them before you measure, and note down your order.

# %%
def sample_one(data, n=360):
    return independent_pixels(data).sample((n,)).float()


def sample_ten(data, n=360):
    return torch.cat([sample_one(data[data.labels == k], n // 10) for k in range(10)])


samplers = {name: lambda model=model: model.sample(360).round() for name, model in models.items()}
samplers["RBM"] = lambda: models["RBM"].sample(360, steps=30)  # the lesson: more do not help
samplers |= {"ten": lambda: sample_ten(train), "one": lambda: sample_one(train)}
samples = {name: draw() for name, draw in samplers.items()}
plots.show_rows({"test": x[::26]} | {name: images[::26] for name, images in samples.items()}, size=0.6)

# %% [markdown]
# Now the likelihoods, with their errors. Everyone is held against `one`, image by image. The GAN has none.

# %%
nats = {
    "PixelCNN": log_probs(models["PixelCNN"], test),
    "VAE": importance_bound(models["VAE"], x, k=500),
    "RBM": log_probs(models["RBM"], test),
    "ten": ten(x),
    "one": one(x),
}
leads = {name: difference(log_p, nats["one"]) for name, log_p in nats.items() if name != "one"}
print(f"all lead by more than 3 nats and 5 errors: "
      f"{all(lead > 3 and lead > 5 * error for lead, error in leads.values())}")
a, b = nats["PixelCNN"], nats["VAE"]
print(f"pairs make the error of PixelCNN against the VAE smaller: {difference(a, b)[1] < apart(a, b)}")
corrupted = mixture(a, log_bernoulli, 0.05)
lead, error = difference(corrupted, nats["one"])
print(f"PixelCNN with 95 % noise still leads one, by 3 errors:    {lead > 3 * error}")
lead, error = difference(b, a)
print(f"the VAE leads PixelCNN by half a nat and 3 errors:        {lead > 0.5 and lead > 3 * error}")
lead, error = difference(a, nats["ten"])
print(f"PixelCNN leads ten by 3 errors:                           {lead > 3 * error}")

# %% tags=["nbval-ignore-output"]
for name, (lead, error) in leads.items():
    print(f"{name:<9} leads one by {lead:5.2f} nats, error {error:.2f}")

# %% [markdown]
# The samples, through the eyes of the lesson's judge: the maps of a small classifier. Fresh images say what can be
# reached.

# %%
def features(images):
    return judge.to_features[:-1](2 * images - 1)


def row(name, images):
    """All that we say of a model by its samples, and its nats if it has any."""
    precision, recall = precision_recall(features(x), features(images), 3)
    _, variety = entropy(torch.bincount(judge.predict(images), minlength=10))
    return {
        "nats": nats[name].mean().item() if name in nats else -math.inf,
        "precision": float(precision), "recall": float(recall), "variety": float(variety),
    }


# %%
table = {name: row(name, images) for name, images in (samples | {"fresh": fresh.floats()}).items()}
best = table.pop("fresh")
precise = {name: seen["precision"] for name, seen in table.items()}
covered = {name: seen["recall"] for name, seen in table.items()}
well = min(precise[name] for name in ("VAE", "RBM", "GAN"))
most = max(precise.values())
print(f"fresh images are more precise than all models:       {best['precision'] > most}")
print(f"VAE, RBM and GAN are more precise than one, by 0.05: {well > precise['one'] + 0.05}")
more = covered["PixelCNN"] - covered["GAN"]
print(f"PixelCNN covers more than the GAN, by 0.1:           {more > 0.1}")
print(f"ten, which only counted, is as precise as PixelCNN:  {precise['ten'] > precise['PixelCNN']}")
gap = abs(best["variety"] - math.log(10))
print(f"variety of fresh images, within 0.1 of log 10:       {gap < 0.1}")

# %% [markdown]
# A baseline that only counts keeps up with a network. Had it not been in the table, we would not know. Yet PixelCNN
# leads it in likelihood, as you saw above: likelihood and samples weigh different mistakes.

# %% [markdown]
# And the speed, for 360 images. Times are no claims: other machines, and other programs on yours, give others.

# %% tags=["nbval-ignore-output"]
seconds_of = {name: timings(draw, runs=3) for name, draw in samplers.items()}
for name, seconds in seconds_of.items():
    table[name]["images/s"] = round(360 / seconds.quantile(0.5).item())
for name, seconds in seconds_of.items():
    print(f"{name:<9} draws {speed_up(seconds_of['PixelCNN'], seconds):7.1f} times as fast as PixelCNN")

# %% tags=["nbval-ignore-output"]
print(format_table(table | {"fresh images": best}, digits=2))

# %% [markdown]
# ### The verdict
#
# Who is unbeaten? First with the numbers as they are. Then with each column **rounded** to what we would trust or
# care about: half a nat, five images in a hundred, 0.05 of variety, a factor of ten in speed. To lead by less is a
# tie.

# %%
trust = {"nats": 0.5, "precision": 0.05, "recall": 0.05, "variety": 0.05, "images/s": 1.0}


def front(*columns, rounded=True):
    """The unbeaten models, by these columns alone."""
    values = torch.tensor([[seen[name] for name in columns] for seen in table.values()])
    for c, name in enumerate(columns):
        if name == "images/s":
            values[:, c] = values[:, c].log10()
        if rounded:
            values[:, c] = (values[:, c] / trust[name]).round()
    return [name for name, keep in zip(table, unbeaten(values)) if keep]


everything = front(*trust, rounded=False)
quality = front("nats", "precision", "recall", "variety")
likely, samples_alone = front("nats"), front("precision", "recall")
print(f"all columns, as they are: at least 3 of 6 are unbeaten: {len(everything) >= 3}")
print(f"all but the speed:        one is out:                   {'one' not in quality}")
print(f"likelihood alone:         only the VAE is left:         {likely == ['VAE']}")
print(f"precision and recall:     one is out:                   {'one' not in samples_alone}")

# %% tags=["nbval-ignore-output"]
for question, names in {
    "all columns, as they are": everything,
    "all columns, rounded": front(*trust),
    "all but the speed": quality,
    "likelihood": likely,
    "precision and recall": samples_alone,
    "precision, recall and speed": front("precision", "recall", "images/s"),
    "likelihood and speed": front("nats", "images/s"),
}.items():
    print(f"{question + ':':<28} {', '.join(names)}")

# %% [markdown]
# Which model is best depends on the use. With every column in the table hardly a model is beaten, and the
# front is no verdict, but a list to choose from. Write your verdict down in one sentence: *I want ..., so I take ...,
# and I give up ...*
#
# ### On `bars`, where the true p(x) is known
#
# Last, the one place where nothing is estimated. A small PixelCNN learns `bars`. Its probabilities of all 65,536
# images are a table, and your divergences are exact. Then corrupt it: every second image is Bernoulli(1/2) noise.

# %%
noise, _ = divergences(truth, torch.full_like(truth, 2.0**-16))
print(f"Bernoulli(1/2): KL(truth || model) is {noise:.2f} nats")
tiny = PixelCNN((1, 4, 4), hidden_dim=16, depth=2)
fit(tiny, load("bars")[torch.arange(30).repeat(20)], epochs=12, batch_size=60, learning_rate=2e-2);

# %%
with torch.no_grad():
    log_q = torch.cat([tiny.log_prob(part) for part in all_images(2, (1, 4, 4)).split(8192)]).double()
corrupted = mixture(log_q, torch.full_like(log_q, -16 * math.log(2)), 0.5)
exact, other = divergences(truth, log_q.exp())
worse, _ = divergences(truth, corrupted.exp())
print(f"its probabilities sum to {log_q.exp().sum():.4f}, the corrupted ones to {corrupted.exp().sum():.4f}")
agrees = math.isclose(bars_kl(tiny.log_prob), exact, abs_tol=1e-4)
print(f"genlib's divergence agrees:                        {agrees}")
print(f"KL(truth || model) is below 0.3 nats:              {exact < 0.3}")
print(f"KL(model || truth) is infinite:                    {other == math.inf}")
cost = (worse - exact) / math.log(2)
print(f"half of the samples noise costs log 2, within 1 %: {abs(cost - 1) < 0.01}")

# %% [markdown]
# An infinite distance and a good model: it puts a crumb of probability on images that are no bars. That is why nobody
# trains by the second divergence with a model that has a likelihood. And if half of the samples are noise, it costs one bit. You
# have it exactly now, on a table that leaves nothing out.

# %% [markdown]
# ## What you have built
#
# An evaluator: leads with an error, bits that densities cannot cheat, two divergences, a likelihood that praises
# noise, varieties without their bias, precision and recall, speeds, and a verdict that says what it left open. Each
# of these can be fooled alone. You know by now how, for you fooled most of them yourself.
#
# Where to go on:
#
# - Train each model from five seeds. Is the spread between seeds larger than the error of step 1? That error speaks
#   of test images and knows nothing of training.
# - Put a **copier** into the table, that draws training images. Which columns catch it? Which column would you add?
# - Change k in precision and recall, or judge by plain pixels. Does the order of the models stay?
# - Give the corrupted PixelCNN a row of its own. Which of your questions does it survive?
# - Draw your error bars without a formula: draw the test images anew, with replacement, a thousand times (Efron,
#   1979, the bootstrap). It works for the recall too, which has no root of n.
# - Read the files in `genlib/metrics`: your steps 3 to 6 are in there.
# - Back to the lesson, [{{comparison}} Comparison](../notebooks/{{comparison}}_comparison.ipynb), and to where all began, [{{taxonomy}}
#   Taxonomy](../notebooks/{{taxonomy}}_taxonomy.ipynb). Can you fill the tree from memory now?
#
# This was the last exercise of the course. You have built models of every branch of the tree, with your own hands, and
# now you can also say how good they are, and how sure you are. That is more than many papers do. What comes next in the
# field, flows for instance, and what nobody has named yet, will claim to be better than what you know. You know what to
# ask. Thank you for coming all this way, and enjoy what you will build.
