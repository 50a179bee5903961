# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # PixelRNN
#
# <!-- board -->
# **How can an image have an exact likelihood?**
#
# To learn a distribution over images we want to ask a model: how probable is *this* image? For most models of this
# course the answer is a bound, an estimate, or none. This lesson builds the first family that answers exactly:
# **autoregressive** models.
#
# Read an image as you read a page, pixel after pixel, and at every pixel ask only one small question: which value comes
# next, given all that came before? The answers multiply to the probability of the whole. Language models do the same
# with words: they predict the next one from those before it. Here a recurrent network keeps what came before in its
# state (van den Oord et al., 2016).
#
# <!-- slide: Where this ends -->
# <!-- board
# Two recurrent networks draw digits, one pixel after the other. Each also says how probable any image is, exactly. Last row:
# real digits.
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
from torch import nn

from course import explorers, figures
from genlib import plots
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM, receptive_field
from genlib.autoregressive.masks import MaskedConv2d
from genlib.data import ImageSet, all_images, binarise, independent_pixels, load
from genlib.metrics import bars_kl, bits_per_dim, log_probs
from genlib.training import fit

DATASET, EPOCHS = "digits", 5  # on a GPU try "strokes", "mnist", "fashion_mnist" or "cifar10"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on images this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The chain rule
#
# <!-- minutes: 9 -->
# <!-- slide: A product of small questions -->
# <!-- board
# Which value comes next, given all that came before? For any distribution over images of $n$ pixels, in any fixed order:
# -->
#
# For any distribution over images of $n$ pixels, in any fixed order,
#
# <!-- board -->
# $$p(x) = p(x_1)\, p(x_2 \mid x_1)\, p(x_3 \mid x_1, x_2) \cdots p(x_n \mid x_1, \dots, x_{n-1}).$$
#
# <!-- board
# No assumption: the definition of conditional probability, used $n - 1$ times. Language models do the same with words.
# -->
#
# No assumption is made: this is the definition of conditional probability, used $n - 1$ times. With words in place of
# pixels it is the chain rule of language models. Let us see it hold. Here
# is a distribution over the 16 binary images of 2 by 2 pixels, chosen at random. We compute each conditional from the
# table by summing the images that begin in this way, and multiply.
#
# <!-- slide: Four conditionals make the joint -->
# <!-- board
# The 16 binary images of 2 by 2 pixels, with random probabilities. Sums give each conditional, for example
#
# $$p(x_3 \mid x_1, x_2) = \frac{\sum_{x_4} p(x_1, x_2, x_3, x_4)}{\sum_{x_3, x_4} p(x_1, x_2, x_3, x_4)}.$$
# -->

# %% board="values"
images = all_images(2, (1, 2, 2)).flatten(1)  # (16, 4), each in raster order
joint = (2 * torch.randn(16, dtype=torch.double)).softmax(dim=0)


def conditional(value, before):
    """p(next pixel = value | the pixels before it), from the table of the joint."""
    agree = (images[:, : len(before)] == before).all(dim=1)
    next_too = agree & (images[:, len(before)] == value)
    return joint[next_too].sum() / joint[agree].sum()


product = torch.stack([math.prod(conditional(x[i], x[:i]) for i in range(4)) for x in images])
assert torch.allclose(product, joint)
print("for all 16 images the four conditionals multiply to the joint probability")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: How many free numbers has the table of the joint? How many have the four conditionals together? -->
# <!-- answer: 15 each: $16 - 1$, and $1 + 2 + 4 + 8$. -->
#
# <!-- slide: The last table has $2^{n-1}$ rows -->
# <!-- board
# Binary pixels: the last conditional needs one number for each way in which the image can begin.
# -->
# <!-- question: How many for 4 by 4 pixels? For 28 by 28? -->
# <!-- answer: $2^{15}$, and $2^{783}$. A network must give the conditionals, all with the same weights $\theta$. -->
#
# ### Why a table will not do
#
# The last conditional of an image of $n$ binary pixels needs one number for each of the $2^{n-1}$ ways in which the
# image can begin.

# %%
for side in (2, 4, 8, 28):
    n = side * side
    print(f"{side:2} x {side:2} pixels: the table for the last one has 2^{n - 1} rows")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ## Maximum likelihood
#
# <!-- minutes: 7 -->
# <!-- slide: Make the training images probable -->
# <!-- board
# **Maximum likelihood**: minimise, on average over the training images,
#
# $$-\log q_\theta(x) = -\sum_{i=1}^n \log q_\theta(x_i \mid x_1, \dots, x_{i-1}).$$
#
# **Teacher forcing**: in training every conditional is given the true pixels before it, never the model's own draws.
# -->
#
# So a network must give the conditionals, all with the same weights $\theta$. We choose $\theta$ to make the training
# images probable, that is, to minimise the **negative log-likelihood** $-\log q_\theta(x)$ averaged over the data. In
# training every conditional is given the true pixels before it, never the model's own draws (**teacher forcing**).
# <!-- slide: No mean loss over $p$ below its entropy -->
# The average is the **cross-entropy** of the data and the model, and equals
#
# <!-- board -->
# $$\mathbb E_{p}[-\log q_\theta(x)] = \underbrace{H(p)}_{\text{entropy of the data}} + \underbrace{KL(p \,\|\, q_\theta)}_{\ge 0},$$
#
# <!-- board
# Only the second term depends on $\theta$. A model of the 16 images with sixteen free logits: KL 1.413 nats before training, below
# 0.001 after 150 steps.
# -->
# <!-- question: Another model has a mean loss of 5 nats over $p$, and $H(p)$ is 4. What can training still gain? -->
# <!-- answer: At most 1 nat, the KL. -->
#
# and only the second term depends on $\theta$. It is zero exactly when $q_\theta = p$. We watch this on the table
# above, with sixteen free logits for a model.

# %%
theta = torch.zeros(16, dtype=torch.double, requires_grad=True)
optimizer = torch.optim.Adam([theta], lr=0.2)
entropy = -(joint * joint.log()).sum()
gap = []
for _ in range(150):
    nll = -(joint * theta.log_softmax(dim=0)).sum()
    optimizer.zero_grad()
    nll.backward()
    optimizer.step()
    gap.append((nll - entropy).item())
print(f"KL before training: {gap[0]:.3f} nats")
print(f"after 150 steps it is below 0.001: {gap[-1] < 1e-3}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A first network: masked weights
#
# <!-- minutes: 12 -->
# <!-- slide: MADE: masks leave only earlier pixels -->
# <!-- board
# In black and white a conditional is one logit; one network gives all $n$ (Germain et al., 2015). Pixels and hidden units have places $m \ge 1$:
#
# - Unit $k$ reads pixel $j$ if $m_j \le m_k$.
# - Output $i$ reads unit $k$ if $m_k < m_i$.
# -->
# <!-- question: Which units does the output with $m_i = 1$ read? -->
# <!-- answer: None: no place is below 1. Its logit is a bias. -->
#
# In black and white a conditional is one number, the logit of white. A network with $n$ inputs and $n$ outputs could give all
# of them at once, if the output for pixel $i$ read only the pixels before it. **MADE** (Germain et al., 2015) sees to that by masks on the weights of an
# ordinary two-layer network.
#
# Give each pixel its place in the order, $1$ to $n$, and each hidden unit a place, too, $1$ to $n - 1$. A hidden unit reads the
# pixels whose place is *at most* its own. An output reads the hidden units whose place is *less* than its own. Along a path from pixel $j$ through
# unit $k$ to output $i$ the places then satisfy $m_j \le m_k < m_i$: output $i$ depends on earlier pixels alone, whatever the weights.

# %%
class MADE(nn.Module):
    """place (n,): each pixel's place in the order, from 1. With (R, n), R networks side by side."""

    def __init__(self, place, hidden):
        super().__init__()
        *runs, n = place.shape
        unit = 1 + torch.arange(hidden) * (n - 1) // hidden  # the places of the hidden units, spread evenly
        self.first = nn.Parameter(torch.randn(*runs, n, hidden) / n**0.5)
        self.second = nn.Parameter(torch.randn(*runs, hidden, n) / hidden**0.5)
        self.first_bias = nn.Parameter(torch.zeros(*runs, 1, hidden))
        self.second_bias = nn.Parameter(torch.zeros(*runs, 1, n))
        self.first_mask = place[..., :, None] <= unit
        self.second_mask = unit[:, None] < place[..., None, :]

    def forward(self, x):  # (B, n) -> logits (B, n), or (R, B, n)
        h = (x @ (self.first * self.first_mask) + self.first_bias).relu()
        return h @ (self.second * self.second_mask) + self.second_bias

    def log_prob(self, x):
        logits = self(x)
        return (x * logits - F.softplus(logits)).sum(dim=-1)  # log sigmoid(a), or log sigmoid(-a)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: No output reads a later pixel -->
# <!-- board
# Random weights, 3 by 3 pixels. Row: an output; column: a pixel, both in raster order. White: read.
# -->
#
# On images of 3 by 3 pixels we check it by enumeration, with random weights. The probabilities of all 512 images must sum to one. And
# the Jacobian must show no dependence on a later pixel. We do it in raster order, and in an order drawn at random: the chain rule holds in
# any. In the figure a row is an output, a column a pixel, both in raster order, and white is what is read.

# %% board="figure" alt="Two 9 by 9 matrices of which pixel each output reads. In raster order it is the triangle below the diagonal; in a random order the same number of entries is scattered."
def dependence(made):
    """Which of nine pixels each output reads somewhere, (9, 9)."""
    jacobian = torch.autograd.functional.jacobian(lambda x: made(x).sum(dim=0), torch.rand(50, 9))
    return (jacobian != 0).any(dim=1)


nine = all_images(2, (1, 3, 3)).flatten(1)  # (512, 9)
who_reads = {}
for name, place in {"raster order": torch.arange(1, 10), "random order": 1 + torch.randperm(9)}.items():
    made = MADE(place, hidden=80)
    with torch.no_grad():
        total = made.log_prob(nine).exp().sum()
    reads, earlier = dependence(made), place < place[:, None]
    assert not (reads & ~earlier).any()
    print(f"{name}: all images sum to {total:.4f}; {reads.sum()} of {earlier.sum()} earlier pixels are read, no later one")
    who_reads[name] = reads.float()
plots.show_images(torch.stack(list(who_reads.values()))[:, None], titles=list(who_reads), size=2.2)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# In either order all 36 pairs with an earlier pixel are read, and all 512 images sum to 1.0000.
# -->
#
# <!-- slide: Does the order matter? -->
# <!-- board
# To the chain rule, no. MADE on digits in black and white: ten networks in raster order, ten in random orders, nothing else
# differs. Independent pixels: $-25.10$ nats a test image.
# -->
# <!-- question: After the same few updates, which ten are better on average? -->
# <!-- answer: Random orders, a little: $-17.62$ nats against $-17.99$. A finding about this network, no law. -->
#
# ### Does the order matter?
#
# Not to the chain rule. A network that is trained for a while may still find one order easier. We train twenty on digits in black
# and white: ten in raster order, ten in an order drawn at random for each, all with weights of their own. Nothing else differs.

# %%
some, held_out = binarise(load("digits")), binarise(load("digits", "test"))
n = some.floats()[0].numel()
raster = torch.arange(1, n + 1).expand(10, n)
made = MADE(torch.cat([raster, torch.stack([1 + torch.randperm(n) for _ in range(10)])]), hidden=100)
optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
for _ in range(20):
    for batch in some.floats().flatten(1)[torch.randperm(len(some))].split(64):
        loss = -made.log_prob(batch).mean(dim=1).sum()  # twenty losses, each of its own weights
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.no_grad():
    nats = made.log_prob(held_out.floats().flatten(1)).mean(dim=1)  # (20,)
alone = independent_pixels(some).log_prob(held_out.images.long()).flatten(1).sum(dim=1).mean()

# %% tags=["nbval-ignore-output"]
print(f"independent pixels: {alone:.2f} nats a test image")
for name, runs in {"raster order": nats[:10], "random orders": nats[10:]}.items():
    print(f"{name:<18}  {runs.mean():.2f} on average, from {runs.min():.2f} to {runs.max():.2f}")

# %%
gain = (nats[10:].mean() - nats[:10].mean()).item()
print(f"each of the twenty is better than independent pixels by more than 5 nats: {bool(nats.min() > alone + 5)}")
print(f"random orders are better on average, by 0.1 to 0.7 nats:                  {0.1 < gain < 0.7}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So here the order matters a little, and raster order is not the best. This is a finding about this network after these
# few updates, no law. The choice has other consequences, which are large: what has been read decides which pixels can be completed (lesson {{pixelcnn}}). And raster order lets the
# networks below share their weights among all pixels, which MADE cannot: it has a weight of its own for each pair.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A value is a category
#
# <!-- minutes: 3 -->
# <!-- slide: A softmax over the levels -->
# <!-- board
# 17 levels here, 256 for ordinary images. The network is not told that level 100 lies between 99 and 101.
# -->
#
# PixelRNN predicts a pixel by a **softmax over its levels**: 17 of them here, 256 for ordinary images. The
# network does not know that level 100 lies between 99 and 101. In return it may put its probability anywhere: on black *or* white
# but nothing between, which no bell curve can.
#
# The network can find the order by itself, as measured further down.

# %% board="figure" alt="Twenty handwritten digits, each of 8 by 8 grey pixels."
train, test = load(DATASET), load(DATASET, "test")
plots.show_images(test.floats()[:20], columns=10)
print(f"{len(train)} training and {len(test)} test images, shape {train.shape}, {train.levels} levels")

# %% [markdown] slideshow={"slide_type": "slide"}
# <!-- question: What can a softmax say that no bell curve can? -->
# <!-- answer: Black *or* white, but nothing between. -->
#
# ## Memory in two dimensions
#
# <!-- minutes: 12 -->
# <!-- slide: The past lies to the left *and* above -->
# <!-- board
# Row $i$, column $j$: a state from its own input and the states of two neighbours, with the same weights everywhere:
# -->
#
# What has been read must be remembered. On a line of text a recurrent network carries one state from left to right. On
# a page the past lies to the left *and* above. So let the state in row $i$ and column $j$ depend on its own input
# $u_{i,j}$ and on the states of both neighbours:
#
# <!-- board -->
# $$h_{i,j} = f(u_{i,j},\; h_{i,j-1},\; h_{i-1,j};\; W).$$
#
# <!-- board
# The input $u_{i,j}$ is made from the pixels before $(i, j)$ alone.
# -->
# <!-- question: Which inputs does $h_{i,j}$ depend on? -->
# <!-- answer: All in rows up to $i$ and columns up to $j$. None further to the right, not even above. -->
#
# The same $f$ with the same weights $W$ at every pixel. Through its two neighbours a state depends on everything above
# and to the left. The input $u_{i,j}$ must come from earlier pixels alone if the state is to predict the pixel
# $x_{i,j}$: a **causal** (masked) convolution makes it, as lesson {{pixelcnn}} explains. Computed as it is written, this takes
# $N^2$ steps for an image of $N \times N$ pixels, one after the other, and parallel hardware is not used.
#
# <!-- slide: As written: $N^2$ steps, one after the other -->
# <!-- board
# For each row $i$, and in it for each column $j$, for example
#
# $$h_{i,j} = \tanh\big(u_{i,j} + w_\text{left}\, h_{i,j-1} + w_\text{up}\, h_{i-1,j}\big).$$
# -->

# %%
def plain_scan(u, w_left, w_up):
    """h = tanh(u + w_left h_left + w_up h_up), a pixel at a time."""
    height, width = u.shape
    h = torch.zeros(height + 1, width + 1)  # with a border of zeros above and to the left
    for i in range(height):
        for j in range(width):
            h[i + 1, j + 1] = torch.tanh(u[i, j] + w_left * h[i + 1, j] + w_up * h[i, j + 1])
    return h[1:, 1:]

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: Which pixels could be computed at the same time? -->
# <!-- answer: All pixels of one diagonal: their neighbours to the left and above lie on the diagonal before. -->
#
# ### The wavefront
#
# <!-- slide: A whole diagonal is one step -->
# <!-- board
# White is being computed, grey is done, blue is waiting.
# -->
#
# Look at which pixels need which. Those on one **diagonal** do not need each other: their neighbours to the left and
# above all lie on the diagonal before. So a whole diagonal can be one step. There are $2N - 1$ of them. White is being
# computed, grey is done, blue is waiting.

# %% board="figure" alt="Nine steps of a wave over 5 by 5 pixels: at each step one diagonal is computed, those before it are done, those after it wait."
i, j = torch.arange(5)[:, None], torch.arange(5)[None, :]
waves = [torch.where(i + j < t, 0.45, torch.where(i + j == t, 1.0, torch.nan)) for t in range(9)]
titles = [f"step {t + 1}" for t in range(9)]
plots.show_images(torch.stack(waves)[:, None], columns=9, titles=titles, size=1.0)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: How many steps for $N$ by $N$ pixels? -->
# <!-- answer: One a diagonal: $2N - 1$. -->
#
# ### Skewing by hand
#
# <!-- slide: Skewing makes columns of diagonals -->
# <!-- board
# Each row stands one place further to the right than the row above. Nine pixels, in raster order:
#
# | step | 1 | 2 | 3 | 4 | 5 |
# | --- | --- | --- | --- | --- | --- |
# | row 1 | 1 | 2 | 3 | | |
# | row 2 | | 4 | 5 | 6 | |
# | row 3 | | | 7 | 8 | 9 |
#
# The pixels to the left and above both stand in the column before. For 6 by 6 pixels:
# -->
#
# The paper's way to do it: shift every row one place further to the right than the row above. Diagonals become
# columns, and a step is a column. Its left neighbour (the column before, same row) is the pixel to the left; the column
# before, one row up, is the pixel above.

# %% board="values"
def skew(u):
    height = len(u)
    return torch.stack([F.pad(row, (i, height - 1 - i)) for i, row in enumerate(u)])


def diagonal_scan(u, w_left, w_up):
    height, width = u.shape
    h, columns = torch.zeros(height), []
    for column in skew(u).T:
        above = F.pad(h, (1, -1))  # the state of the row above, one column back
        h = torch.tanh(column + w_left * h + w_up * above)
        columns.append(h)
    states = torch.stack(columns, dim=1)
    return torch.stack([states[i, i : i + width] for i in range(height)]), len(columns)


u = torch.rand(6, 6)
h, steps = diagonal_scan(u, 0.7, -0.4)
assert torch.allclose(h, plain_scan(u, 0.7, -0.4), atol=1e-6)
print(f"the same states in {steps} steps instead of {6 * 6}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Half of a skewed map is padding, and computing on padding costs as much as computing on pixels. `genlib` sorts the
# pixels by diagonal instead and works on nothing else. The formula stands in `diagonal_step`:
# `genlib/autoregressive/diagonal_bilstm.py`.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Two networks
#
# <!-- minutes: 11 -->
# <!-- slide: An LSTM cell for $f$ -->
# <!-- board
# Beside its state $h$ the cell carries a memory $c$. From the input $u$ and the neighbours' $h'$ and $c'$:
# -->
#
# Both take an **LSTM** cell for $f$ (Hochreiter & Schmidhuber, 1997). Beside its state $h$ it carries a memory $c$. Four
# gates come from the input and the neighbours' states $h'$; they decide what to write, what to forget, what to show:
#
# $$o, f, i = \sigma(U u + V h'), \qquad g = \tanh(U u + V h'), \qquad
# c = f \odot c' + i \odot g, \qquad h = o \odot \tanh(c).$$
#
# <!-- board
# $$\begin{aligned} o, f, i &= \sigma(U u + V h'), & g &= \tanh(U u + V h'), \\
# c &= f \odot c' + i \odot g, & h &= o \odot \tanh(c). \end{aligned}$$
#
# The **input gate** $i$ decides what to write, the **forget gate** $f$ what to forget, the **output gate** $o$ what to show.
# Each has weights $U, V$ of its own.
# -->
#
# <!-- slide: Row or diagonal -->
# <!-- board
# | | Row LSTM | Diagonal BiLSTM |
# | --- | --- | --- |
# | a state reads | three states of the row above | the states to the left and above |
# | steps | $N$ | $2N - 1$ |
# -->
# <!-- question: Are there earlier pixels that the Row LSTM never reads? -->
# <!-- answer: Yes. What the Row LSTM reads widens by a column a row: a triangle with its tip at the pixel. -->
#
# Each gate has weights $U, V$ of its own. Layers of such cells are stacked with residual connections. The two networks
# differ in the neighbours that a state reads.
#
# **Row LSTM** reads three states of the row above, in one step for a whole row: $N$ steps. Its receptive field widens by
# a column a row, a *triangle* with its tip at the pixel. What lies beside the triangle is never read.
#
# <!-- slide: A second scan, from the upper right -->
# <!-- board
# One scan covers everything above and to the left. A second, from the other corner above, covers the rest.
# -->
# <!-- question: What has the second state read at its own place that a prediction must not? -->
# <!-- answer: Pixels to the right in the same row, still to come. So the state moves down one row before the two meet. -->
#
# **Diagonal BiLSTM** reads the states to the left and above, $2N - 1$ steps. That covers everything above and to the
# left. A second scan from the upper right corner covers the rest. It must not read too much: at its own place the
# second state has read pixels to the right, which are still to come. So it moves down one row before the two meet.
#
# One detail, found by the check below. As published, the second scan starts at the right edge from a map whose first
# mask hides each value from its own pixel. The last value of a row then reaches only the last few pixels of the next
# row. In `genlib` each layer reads the image beside the map, which closes that gap.
#
# <!-- slide: What a prediction reads -->
# <!-- board
# Of 168 earlier pixels the Row LSTM reads 148, the Diagonal BiLSTM all. Darker blue: a larger gradient. Right half: next lesson.
# -->

# %% board="figure" alt="What four models read of 16 by 16 pixels before they predict one. RowLSTM and PixelCNN leave out earlier pixels, in orange; DiagonalBiLSTM and GatedPixelCNN read all of them."
fields = {
    "RowLSTM": RowLSTM((1, 16, 16), hidden_dim=16, depth=1),
    "DiagonalBiLSTM": DiagonalBiLSTM((1, 16, 16), hidden_dim=16, depth=1),
    "PixelCNN": PixelCNN((1, 16, 16), hidden_dim=16, depth=8),
    "GatedPixelCNN": GatedPixelCNN((1, 16, 16), hidden_dim=16, depth=6),
}
figures.show_receptive_fields(fields, pixel=(10, 8))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Darker blue is a larger gradient, on a logarithmic scale over four powers of ten. The two on the right come in the next
# lesson: they use convolutions in place of the recurrence. Here we count. A prediction may read everything earlier and
# must read nothing later.

# %%
place = torch.arange(256).reshape(16, 16)
earlier = place < 10 * 16 + 8
for name, model in fields.items():
    read = receptive_field(model, pixel=(10, 8)) > 0
    assert not (read & ~earlier).any()
    n_read, n_earlier = int(read.sum()), int(earlier.sum())
    print(f"{name:<15} reads {n_read} of {n_earlier} earlier pixels and no later one")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Is it really a distribution?
#
# <!-- minutes: 4 -->
# <!-- slide: Do all 65,536 images add up to one? -->
# <!-- board
# `bars`: 30 of the $2^{16}$ binary images of 4 by 4 pixels, each with probability $1/30$. Trained on it, both networks come within a KL of
# 0.05 nats, summed exactly.
# -->
# <!-- question: What do a network's probabilities of all images sum to after training? And before? -->
# <!-- answer: To one, both times: each conditional is normalised, whatever the weights. Printed after training: 1.000. -->
#
# `bars` has 30 images of 4 by 4 pixels, each with probability $1/30$, out of $2^{16} = 65{,}536$ that could be. So we
# can add up the probabilities that a model gives to **all** images, and compute the Kullback-Leibler divergence from
# the truth exactly. Nothing is estimated here.

# %%
bars, every_image = load("bars"), all_images(2, (1, 4, 4))
small = {
    "RowLSTM": RowLSTM((1, 4, 4), hidden_dim=16, depth=1),
    "DiagonalBiLSTM": DiagonalBiLSTM((1, 4, 4), hidden_dim=16, depth=1),
}
for model in small.values():
    fit(model, bars, epochs=120, batch_size=30, learning_rate=2e-2)


# %%
@torch.no_grad()
def log_prob_of_all(model):
    return torch.cat([model.log_prob(part) for part in every_image.split(2048)])


log_p = {name: log_prob_of_all(model) for name, model in small.items()}
for name, model in small.items():
    total = log_p[name].exp().sum().item()
    close = bars_kl(model.log_prob) < 0.05
    print(f"{name:<15} all images sum to {total:.3f}; KL below 0.05 nats: {close}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Training on digits
#
# <!-- minutes: 5 -->
# <!-- slide: Bits per dimension: the nats of one value, in bits -->
# <!-- board
# $$\text{bits/dim} = \frac{\text{nats}}{n \ln 2}$$
#
# Two baselines: every level guessed alike, and a histogram for every pixel that ignores its neighbours.
# -->
# <!-- question: 17 levels, all guessed alike: how many bits per dimension? -->
# <!-- answer: $\log_2 17 \approx 4.09$. The histograms need 2.43. -->
#
# Two baselines first, as always: guessing every level alike, and a histogram for every pixel that ignores its
# neighbours. Bits per dimension are nats divided by $n \ln 2$, so that images of all sizes compare.

# %%
counts = [1 + (train.images == k).sum(dim=0) for k in range(train.levels)]  # plus one: none is impossible
histogram = (torch.stack(counts, dim=-1) / (len(train) + train.levels)).log()  # (C, H, W, K)
picked = histogram.expand(len(test), *histogram.shape).gather(-1, test.images[..., None].long())[..., 0]
assert torch.allclose(picked, independent_pixels(train).log_prob(test.images.long()), atol=1e-5)
bits = {
    "uniform": math.log2(train.levels),
    "independent pixels": bits_per_dim(picked.flatten(1).sum(dim=1).mean(), test.shape).item(),
}
for name, value in bits.items():
    print(f"{name:<20} {value:.2f} bits/dim on the test images")

# %% [markdown]
# <!-- slide: Two networks beat the baselines -->
# <!-- board
# A tie between two layers of Row LSTM and one of Diagonal BiLSTM. The triangle misses little of 8 by 8 pixels.
# -->

# %%
models = {
    "RowLSTM": RowLSTM(train.shape, levels=train.levels, hidden_dim=32, depth=2).to(DEVICE),
    "DiagonalBiLSTM": DiagonalBiLSTM(train.shape, levels=train.levels, hidden_dim=32, depth=1).to(DEVICE),
}
losses = {
    name: fit(model, train, epochs=EPOCHS, batch_size=32, learning_rate=2e-2)
    for name, model in models.items()
}

# %%
for name, model in models.items():
    bits[name] = bits_per_dim(log_probs(model, test).mean(), test.shape).item()
    gain = bits["independent pixels"] - bits[name]
    print(f"{name:<15} at least 0.4 bits/dim better than independent pixels: {gain > 0.4}")

# %% board="values" tags=["nbval-ignore-output"]
for name, value in bits.items():
    print(f"{name:<20} {value:.3f} bits/dim on the test images")

# %% alt="Bits per dimension over five epochs: RowLSTM and DiagonalBiLSTM fall together, from about 3.2 to below 2, and pass independent pixels after the first epoch."
plots.show_curves(
    {name: [-bits_per_dim(nats, train.shape) for nats in curve] for name, curve in losses.items()},
    xlabel="epoch",
    ylabel="bits/dim, training images",
    baselines={name: bits[name] for name in ("uniform", "independent pixels")},
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Is the Diagonal BiLSTM better, since it reads everything? Not on these digits, at this budget. The triangle of the Row LSTM
# misses little of 8 by 8 pixels. And it has two layers here and the Diagonal BiLSTM one, so the tie says only that each does
# its work.

# %%
tie = abs(bits["RowLSTM"] - bits["DiagonalBiLSTM"])
if DATASET == "digits":
    print(f"the two networks lie within 0.1 bits/dim of each other: {tie < 0.1}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What does it expect?
#
# <!-- minutes: 9 -->
# <!-- slide: A likelihood is many predictions -->
# <!-- board
# Diagonal BiLSTM, at four pixels of a test image: the distribution over the 17 levels, given everything before. Red: the level
# that came.
# -->
#
# A likelihood is many predictions. Here are four of them, from the Diagonal BiLSTM reading one test image: at each
# marked pixel, its distribution over the 17 levels given everything before, and in red the level that came.

# %% board="figure" alt="A digit with four marked pixels, and the distribution that the model gives over the 17 levels of each; the true level is the orange bar."
picture = test.floats()[21].to(DEVICE)
rows, columns = test.shape[1:]
top, middle, bottom = rows // 8, rows // 2, rows - 2
spots = [(top, columns // 2), (2 * top, columns // 4), (middle, columns // 2), (bottom, columns // 8)]
figures.show_predictions(models["DiagonalBiLSTM"], picture, spots)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Where the bits of an image are spent -->
# <!-- board
# Surprise at a pixel: $-\log_2 p(x_i \mid x_{<i})$. Little beside the digit, more on a stroke.
# -->
#
# Beside the digit, where pixels are nearly always empty, the prediction is narrow. On a stroke the probability spreads over
# many levels. The surprise at each pixel, $-\log_2 p(x_i \mid x_{<i})$, shows where the bits of an image are spent.

# %% board="figure" alt="Ten digits, and below each the bits of surprise at every pixel: bright spots lie on and near the strokes."
some = test.floats()[20:30].to(DEVICE)
with torch.no_grad():
    logits = models["DiagonalBiLSTM"](some)
level = (some * (test.levels - 1)).round().long()
surprise = F.cross_entropy(logits, level, reduction="none") / math.log(2)
plots.show_rows({"image": some, "surprise": surprise / surprise.max()})

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: Do predictions on ink get narrower, the more of the image has been read? -->
# <!-- answer: Hardly: most of a digit says where the stroke goes on, not how dark a pixel at its edge is. -->
#
#
# Does a prediction get narrower the more of the image has been read? Take the entropy of the predictions on all test
# images, at the pixels with ink and at those without, and follow it down the rows.

# %% alt="Mean entropy of a prediction by row: above 3 bits where there is ink, below 1 bit where there is none, nearly the same in all rows."
with torch.no_grad():
    log_q = models["DiagonalBiLSTM"](test.floats().to(DEVICE)).log_softmax(dim=1).cpu()
width = -(log_q.exp() * log_q).sum(dim=1) / math.log(2)  # entropy in bits, (N, C, H, W)
ink = test.images > 0
by_row = {
    "ink": [width[:, :, i][ink[:, :, i]].mean().item() for i in range(rows)],
    "no ink": [width[:, :, i][~ink[:, :, i]].mean().item() for i in range(rows)],
}
plots.show_curves(by_row, x=range(rows), xlabel="row", ylabel="entropy of a prediction, bits")
print(f"on ink at least 1 bit wider than elsewhere: {bool(width[ink].mean() > width[~ink].mean() + 1)}")
upper, lower = (sum(part) / len(part) for part in (by_row["ink"][: rows // 2], by_row["ink"][rows // 2 :]))
if DATASET == "digits":
    print(f"on ink the lower half is narrower by less than 0.5 bits: {upper - lower < 0.5}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# On ink it hardly does: having read most of a digit says where the stroke goes on, but not how dark a pixel at its edge is.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### See its predictions yourself
#
# <!-- slide: Each pixel: what is read, what is expected -->
# <!-- board
# Go along a row: where does the prediction widen?
# -->
#
# Run the cell and click any pixel. Below each network's receptive field stands what it expects there, the level that came
# in red. Go along a row with the slider of the columns, and watch the prediction widen at the edge of a
# stroke. Near the left and right edges the Row LSTM reads less than the Diagonal BiLSTM. Do the two predictions differ there?

# %% board="figure" tags=["nbval-ignore-output"] alt="Still picture of the explorer of receptive fields: a digit with one pixel chosen, what RowLSTM and DiagonalBiLSTM read before they predict it, and the distribution of each over the levels."
explorers.pixel_explorer(models, test.floats()[20:32], pixel=(3, 1))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Red, then green, then blue
#
# <!-- minutes: 6 -->
# <!-- slide: Red, then green, then blue -->
# <!-- board
# A colour pixel has three values, and they are not independent. The chain rule goes on within the pixel:
# -->
#
# A colour pixel has three values, and they are not independent. So the chain rule goes on within the pixel:
#
# <!-- board -->
# $$p(x_{i}) = p(x_{i,R} \mid x_{<i})\; p(x_{i,G} \mid x_{<i}, x_{i,R})\; p(x_{i,B} \mid x_{<i}, x_{i,R}, x_{i,G}).$$
#
# <!-- question: Would blue, then green, then red do as well? -->
# <!-- answer: To the chain rule any fixed order will do. No colour may read itself or a later one. -->
#
# <!-- slide: What it is worth that colours read each other -->
# <!-- board
# The same network from the same weights, once with the three values of a pixel independent given the pixels before.
# -->
#
# The masks see to it. Features are shared out among the colours; green may read the red of its own pixel, and no
# colour reads itself or a later one. What is that worth? `colour_digits` are the digits in two random colours each. We
# train the same network twice from the same weights, once with the first layer's own-pixel weights masked for all colours, so that the three
# values of a pixel are independent given the pixels before.

# %% alt="Ten digits of 8 by 8 pixels, each in one colour on a background of another."
colours = load("colour_digits"), load("colour_digits", "test")
plots.show_images(colours[1].floats()[:10], columns=10)

# %%
ordered = PixelCNN(colours[0].shape, levels=colours[0].levels, hidden_dim=48, depth=1).to(DEVICE)
unordered = copy.deepcopy(ordered)
one, features = torch.zeros(3, dtype=torch.long), torch.zeros(48, dtype=torch.long)
unordered.first = MaskedConv2d(one, features, (4, 7), mask="A").to(DEVICE)  # one group: no colour is first
for model in (ordered, unordered):
    fit(model, colours[0], epochs=4, batch_size=32, learning_rate=1e-2)

# %%
with_order, without = (
    bits_per_dim(log_probs(model, colours[1]).mean(), colours[1].shape).item()
    for model in (ordered, unordered)
)
print(f"the order R, G, B saves at least 0.1 bits/dim: {without - with_order > 0.1}")

# %% board="values" tags=["nbval-ignore-output"]
print(f"in order {with_order:.3f}, independent colours {without:.3f} bits/dim on the test images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Neither network draws digits after so few updates. But a real image has two colours and shades between them: its pixels
# lie on a line in the cube of red, green and blue. Do those of the samples? We ask for the share of their variance along the
# best line (the first principal component).

# %% board="figure" alt="Ten coloured samples of two models below each other, and ten real images. Colours drawn in order keep to a few shades an image; independent ones are a mix of all."
drawn = {
    "in order": ordered.sample(100).cpu(), "independent colours": unordered.sample(100).cpu(),
    "real": colours[1].floats()[:100],
}
plots.show_rows({name: x[:10] for name, x in drawn.items()})


def on_a_line(x):
    pixels = x.flatten(2) - x.flatten(2).mean(dim=2, keepdim=True)  # (N, 3, HW)
    variances = torch.linalg.eigvalsh(pixels @ pixels.mT)  # ascending
    return (variances[:, -1] / variances.sum(dim=1)).mean().item()


share = {name: on_a_line(x) for name, x in drawn.items()}
print(f"real images, more than 0.98: {share['real'] > 0.98}")
print(f"in order, at least 0.05 more than independent: {share['in order'] > share['independent colours'] + 0.05}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Drawing takes one step a value
#
# <!-- minutes: 7 -->
# <!-- slide: Drawing takes one step a value -->
# <!-- board
# The wavefront speeds up **training**, where the whole image is known. In **ancestral sampling** a value is drawn before the next can be
# predicted. The states of finished pixels stay what they are, and are kept.
# -->
# <!-- question: How many steps, one after the other, for a colour image of 32 by 32 pixels? -->
# <!-- answer: $3 \cdot 32^2 = 3072$. -->
#
# The wavefront speeds up **training**, where the whole image is known. To sample (**ancestral sampling**), a pixel must be drawn before the next
# can be predicted: $N^2$ steps one after the other, three times as many in colour. At least a step need not be a pass
# over the whole image. The states of finished pixels stay what they are, so `sample` keeps them. Lesson {{pixelcnn}} looks at what
# that saves.

# %% name="samples" alt="Twelve samples each of RowLSTM and DiagonalBiLSTM, and twelve real digits; some of the samples can be read as digits."
samples = {name: model.sample(12) for name, model in models.items()}
plots.show_rows({**samples, "real": test.floats()[20:32]})

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Watch it draw
#
# Run the cell, then press play, or go pixel by pixel; stop goes back to the start. The frame marks the pixel that comes
# next, the bars are $p(x_i \mid x_{<i})$, and red is the level that will be drawn. Most draws change little: find the few
# pixels that decide which digit this will be.

# %% tags=["nbval-ignore-output"] alt="Still picture of the explorer of drawing: a digit of which 32 of 64 pixels are drawn, the distribution for the next one, and seven others at the same stage."
explorers.drawing_explorer(models["DiagonalBiLSTM"])

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Temperature
#
# <!-- slide: Below $T = 1$, samples look cleaner and vary less -->
# <!-- board
# **Temperature**: divide the logits by $T$ before drawing. As $T$ goes to 0, one image remains.
# -->
#
# Dividing the logits by a temperature $T < 1$ before drawing makes probable values more probable.
# Samples look cleaner and vary less. As $T$ goes to 0, one image remains. Scaling the last layer does it.

# %% board="figure" alt="Twelve samples at each of four temperatures: clean and alike at 0.5, noisy and varied at 1.3."
def at_temperature(model, temperature):
    bolder = copy.deepcopy(model)
    with torch.no_grad():
        for p in bolder.head[-1].parameters():
            p /= temperature
    return bolder


model = models["DiagonalBiLSTM"]
plots.show_rows({f"T = {t}": at_temperature(model, t).sample(12) for t in (0.5, 0.8, 1.0, 1.3)})

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: $T$ in each conditional: what becomes of the product? -->
# <!-- board
# Each conditional is sharpened by itself:
#
# $$q_T(x) = \prod_i \frac{p(x_i \mid x_{<i})^{1/T}}{Z_i(x_{<i})} \;\ne\; \frac{p(x)^{1/T}}{Z}.$$
# -->
# <!-- question: On `bars` at $T = 0.5$: do the probabilities of all images still sum to one? -->
# <!-- answer: Yes: 1.000. The total variation distance to $p(x)^2 / Z$ is above 0.1. -->
#
# The samples follow another distribution, and it is as exact as the first: each conditional is still normalised, so the
# product sums to one, and `log_prob` of the scaled model is the likelihood of its samples. But it is not
# $p(x)^{1/T} / Z$. That would sharpen whole images, with one $Z$ for all. Here each conditional is sharpened by itself, and
# its $Z_i$ depends on the pixels before it. On `bars` we can compute both.

# %%
log_cold = log_prob_of_all(at_temperature(small["DiagonalBiLSTM"], 0.5))
whole = (2 * log_p["DiagonalBiLSTM"]).softmax(dim=0)  # p(x)^2 / Z, as 1 / T = 2
variation = (log_cold.exp() - whole).abs().sum().item() / 2
print(f"at T = 0.5 the probabilities of all images sum to {log_cold.exp().sum():.3f}")
print(f"their total variation distance to p(x)^2 / Z is above 0.1: {variation > 0.1}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Similarity of 256 levels
#
# <!-- minutes: 2 -->
# <!-- slide: Neighbouring levels end up alike -->
# <!-- board
# A small PixelCNN on simulated handwriting: 256 categories, each with its own row of weights in the last layer. Mean cosine between two rows, before and after 250 updates:
# -->
#
# `strokes` are digits from a handwriting simulator, 28 by 28 pixels with 256 levels, like MNIST. We train a small
# PixelCNN on their middle, 14 by 14 pixels, for 250 updates. To this network the levels are 256 unrelated categories.
# Each has its own row of weights in the last layer. Do rows of neighbouring levels end up alike? We take the cosine
# between two rows, and average over all pairs that lie equally far apart.

# %%
strokes = load("strokes", size=2000)
middle = ImageSet(strokes.images[:, :, 7:21, 7:21], strokes.labels, strokes.levels, strokes.n_classes)
grey = PixelCNN(middle.shape, levels=middle.levels, hidden_dim=16, depth=1).to(DEVICE)
start = grey.head[-1].weight.detach().clone()
fit(grey, middle, epochs=2, batch_size=16, learning_rate=2e-2);


# %% board="figure" alt="Mean cosine between the weights of two levels against their distance: around zero before training; after it, falling steadily from about 0.7 to below zero."
def likeness(weight):
    """Mean cosine between the rows of levels that lie 1, 2, ... 200 apart; black and white left out."""
    rows = F.normalize(weight.detach().flatten(1), dim=1)[1:-1]
    return torch.stack([(rows[:-d] * rows[d:]).sum(dim=1).mean() for d in range(1, 201)])


before, after = likeness(start), likeness(grey.head[-1].weight)
plots.show_curves(
    {"before training": before, "after": after},
    x=range(1, 201), xlabel="levels between the two rows", ylabel="mean cosine",
)
print(f"before training distance means nothing, within 0.15: {bool(before.abs().max() < 0.15)}")
print(f"after: 1 apart more alike than 50 apart, 50 than 100, 100 than 200: "
      f"{bool(after[0] > after[49] + 0.05 and after[49] > after[99] + 0.05 and after[99] > after[199] + 0.05)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What PixelRNN is good for, and what it is not
#
# <!-- minutes: 3 -->
# <!-- slide: Exact, but slow to train and to sample -->
# <!-- board -->
# | | |
# | --- | --- |
# | exact likelihood | adds up to one, compares across models |
# | sees everything | the Diagonal BiLSTM reads all that came before, in one layer |
# | slow to train | $2N - 1$ steps in a row (Row LSTM: $N$), where convolutions need none |
# | slow to sample | one step a value |
# | no features | no code to edit or to classify with |
#
# <!-- slide: Recap -->
# <!-- board
# 1. $p(x) = \prod_i p(x_i \mid x_{<i})$, in any order, without an assumption.
# 2. Cross-entropy is $H(p) + KL(p \,\|\, q_\theta)$: training can lower only the KL.
# 3. Places $m_j \le m_k < m_i$: output $i$ depends on earlier pixels alone.
# 4. Pixels on one diagonal do not need each other: $2N - 1$ steps instead of $N^2$.
# 5. Drawing needs one step a value, whatever the network.
# -->
#
# [Lesson {{pixelcnn}}]({{pixelcnn}}_pixelcnn.ipynb) asks whether training can do without recurrence altogether.

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, arXiv:1601.06759. Chain rule and
#   softmax: section 2; Row LSTM: 3.1; Diagonal BiLSTM: 3.2; masks and colours: 3.4.
# - Theis, Bethge (2015), *Generative Image Modeling Using Spatial LSTMs*, arXiv:1506.03478: two-dimensional LSTMs with
#   an exact likelihood, before the softmax.
# - Germain, Gregor, Murray, Larochelle (2015), *MADE: Masked Autoencoder for Distribution Estimation*, arXiv:1502.03509.
# - Hochreiter, Schmidhuber (1997), *Long Short-Term Memory*, Neural Computation 9(8).

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build a PixelRNN yourself, step by step and with each step checked: [the
# exercises]({{pixelrnn}}_pixelrnn_exercises.ipynb). {{after}}
