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
# For any distribution over images of $n$ pixels, in any fixed order,
#
# $$p(x) = p(x_1)\, p(x_2 \mid x_1)\, p(x_3 \mid x_1, x_2) \cdots p(x_n \mid x_1, \dots, x_{n-1}).$$
#
# No assumption is made: this is the definition of conditional probability, used $n - 1$ times. With words in place of
# pixels it is the chain rule of language models. Let us see it hold. Here
# is a distribution over the 16 binary images of 2 by 2 pixels, chosen at random. We compute each conditional from the
# table by summing the images that begin in this way, and multiply.

# %%
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
# So a network must give the conditionals, all with the same weights $\theta$. We choose $\theta$ to make the training
# images probable, that is, to minimise the **negative log-likelihood** $-\log q_\theta(x)$ averaged over the data. In
# training every conditional is given the true pixels before it, never the model's own draws (**teacher forcing**).
# The average is the **cross-entropy** of the data and the model, and equals
#
# $$\mathbb E_{p}[-\log q_\theta(x)] = \underbrace{H(p)}_{\text{entropy of the data}} + \underbrace{KL(p \,\|\, q_\theta)}_{\ge 0},$$
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
# On images of 3 by 3 pixels we check it by enumeration, with random weights. The probabilities of all 512 images must sum to one. And
# the Jacobian must show no dependence on a later pixel. We do it in raster order, and in an order drawn at random: the chain rule holds in
# any. In the figure a row is an output, a column a pixel, both in raster order, and white is what is read.

# %% alt="Two 9 by 9 matrices of which pixel each output reads. In raster order it is the triangle below the diagonal; in a random order the same number of entries is scattered."
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
# PixelRNN predicts a pixel by a **softmax over its levels**: 17 of them here, 256 for ordinary images. The
# network does not know that level 100 lies between 99 and 101. In return it may put its probability anywhere: on black *or* white
# but nothing between, which no bell curve can.
#
# The network can find the order by itself, as measured further down.

# %% alt="Twenty handwritten digits, each of 8 by 8 grey pixels."
train, test = load(DATASET), load(DATASET, "test")
plots.show_images(test.floats()[:20], columns=10)
print(f"{len(train)} training and {len(test)} test images, shape {train.shape}, {train.levels} levels")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Memory in two dimensions
#
# What has been read must be remembered. On a line of text a recurrent network carries one state from left to right. On
# a page the past lies to the left *and* above. So let the state in row $i$ and column $j$ depend on its own input
# $u_{i,j}$ and on the states of both neighbours:
#
# $$h_{i,j} = f(u_{i,j},\; h_{i,j-1},\; h_{i-1,j};\; W).$$
#
# The same $f$ with the same weights $W$ at every pixel. Through its two neighbours a state depends on everything above
# and to the left. The input $u_{i,j}$ must come from earlier pixels alone if the state is to predict the pixel
# $x_{i,j}$: a **causal** (masked) convolution makes it, as lesson {{pixelcnn}} explains. Computed as it is written, this takes
# $N^2$ steps for an image of $N \times N$ pixels, one after the other, and parallel hardware is not used.

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
# ### The wavefront
#
# Look at which pixels need which. Those on one **diagonal** do not need each other: their neighbours to the left and
# above all lie on the diagonal before. So a whole diagonal can be one step. There are $2N - 1$ of them. White is being
# computed, grey is done, blue is waiting.

# %% alt="Nine steps of a wave over 5 by 5 pixels: at each step one diagonal is computed, those before it are done, those after it wait."
i, j = torch.arange(5)[:, None], torch.arange(5)[None, :]
waves = [torch.where(i + j < t, 0.45, torch.where(i + j == t, 1.0, torch.nan)) for t in range(9)]
titles = [f"step {t + 1}" for t in range(9)]
plots.show_images(torch.stack(waves)[:, None], columns=9, titles=titles, size=1.0)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Skewing by hand
#
# The paper's way to do it: shift every row one place further to the right than the row above. Diagonals become
# columns, and a step is a column. Its left neighbour (the column before, same row) is the pixel to the left; the column
# before, one row up, is the pixel above.

# %%
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
# Both take an **LSTM** cell for $f$ (Hochreiter & Schmidhuber, 1997). Beside its state $h$ it carries a memory $c$. Four
# gates come from the input and the neighbours' states $h'$; they decide what to write, what to forget, what to show:
#
# $$o, f, i = \sigma(U u + V h'), \qquad g = \tanh(U u + V h'), \qquad
# c = f \odot c' + i \odot g, \qquad h = o \odot \tanh(c).$$
#
# Each gate has weights $U, V$ of its own. Layers of such cells are stacked with residual connections. The two networks
# differ in the neighbours that a state reads.
#
# **Row LSTM** reads three states of the row above, in one step for a whole row: $N$ steps. Its receptive field widens by
# a column a row, a *triangle* with its tip at the pixel. What lies beside the triangle is never read.
#
# **Diagonal BiLSTM** reads the states to the left and above, $2N - 1$ steps. That covers everything above and to the
# left. A second scan from the upper right corner covers the rest. It must not read too much: at its own place the
# second state has read pixels to the right, which are still to come. So it moves down one row before the two meet.
#
# One detail, found by the check below. As published, the second scan starts at the right edge from a map whose first
# mask hides each value from its own pixel. The last value of a row then reaches only the last few pixels of the next
# row. In `genlib` each layer reads the image beside the map, which closes that gap.

# %% alt="What four models read of 16 by 16 pixels before they predict one. RowLSTM and PixelCNN leave out earlier pixels, in orange; DiagonalBiLSTM and GatedPixelCNN read all of them."
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

# %% tags=["nbval-ignore-output"]
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
# A likelihood is many predictions. Here are four of them, from the Diagonal BiLSTM reading one test image: at each
# marked pixel, its distribution over the 17 levels given everything before, and in red the level that came.

# %% alt="A digit with four marked pixels, and the distribution that the model gives over the 17 levels of each; the true level is the orange bar."
picture = test.floats()[21].to(DEVICE)
rows, columns = test.shape[1:]
top, middle, bottom = rows // 8, rows // 2, rows - 2
spots = [(top, columns // 2), (2 * top, columns // 4), (middle, columns // 2), (bottom, columns // 8)]
figures.show_predictions(models["DiagonalBiLSTM"], picture, spots)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Beside the digit, where pixels are nearly always empty, the prediction is narrow. On a stroke the probability spreads over
# many levels. The surprise at each pixel, $-\log_2 p(x_i \mid x_{<i})$, shows where the bits of an image are spent.

# %% alt="Ten digits, and below each the bits of surprise at every pixel: bright spots lie on and near the strokes."
some = test.floats()[20:30].to(DEVICE)
with torch.no_grad():
    logits = models["DiagonalBiLSTM"](some)
level = (some * (test.levels - 1)).round().long()
surprise = F.cross_entropy(logits, level, reduction="none") / math.log(2)
plots.show_rows({"image": some, "surprise": surprise / surprise.max()})

# %% [markdown] slideshow={"slide_type": "subslide"}
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
# Run the cell and click any pixel. Below each network's receptive field stands what it expects there, the level that came
# in red. Go along a row with the slider of the columns, and watch the prediction widen at the edge of a
# stroke. Near the left and right edges the Row LSTM reads less than the Diagonal BiLSTM. Do the two predictions differ there?

# %% tags=["nbval-ignore-output"] alt="Still picture of the explorer of receptive fields: a digit with one pixel chosen, what RowLSTM and DiagonalBiLSTM read before they predict it, and the distribution of each over the levels."
explorers.pixel_explorer(models, test.floats()[20:32], pixel=(3, 1))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Red, then green, then blue
#
# A colour pixel has three values, and they are not independent. So the chain rule goes on within the pixel:
#
# $$p(x_{i}) = p(x_{i,R} \mid x_{<i})\; p(x_{i,G} \mid x_{<i}, x_{i,R})\; p(x_{i,B} \mid x_{<i}, x_{i,R}, x_{i,G}).$$
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

# %% tags=["nbval-ignore-output"]
print(f"in order {with_order:.3f}, independent colours {without:.3f} bits/dim on the test images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Neither network draws digits after so few updates. But a real image has two colours and shades between them: its pixels
# lie on a line in the cube of red, green and blue. Do those of the samples? We ask for the share of their variance along the
# best line (the first principal component).

# %% alt="Ten coloured samples of two models below each other, and ten real images. Colours drawn in order keep to a few shades an image; independent ones are a mix of all."
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
# The wavefront speeds up **training**, where the whole image is known. To sample (**ancestral sampling**), a pixel must be drawn before the next
# can be predicted: $N^2$ steps one after the other, three times as many in colour. At least a step need not be a pass
# over the whole image. The states of finished pixels stay what they are, so `sample` keeps them. Lesson {{pixelcnn}} looks at what
# that saves.

# %% alt="Twelve samples each of RowLSTM and DiagonalBiLSTM, and twelve real digits; some of the samples can be read as digits."
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
# Dividing the logits by a temperature $T < 1$ before drawing makes probable values more probable.
# Samples look cleaner and vary less. As $T$ goes to 0, one image remains. Scaling the last layer does it.

# %% alt="Twelve samples at each of four temperatures: clean and alike at 0.5, noisy and varied at 1.3."
def at_temperature(model, temperature):
    bolder = copy.deepcopy(model)
    with torch.no_grad():
        for p in bolder.head[-1].parameters():
            p /= temperature
    return bolder


model = models["DiagonalBiLSTM"]
plots.show_rows({f"T = {t}": at_temperature(model, t).sample(12) for t in (0.5, 0.8, 1.0, 1.3)})

# %% [markdown] slideshow={"slide_type": "subslide"}
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


# %% alt="Mean cosine between the weights of two levels against their distance: around zero before training; after it, falling steadily from about 0.7 to below zero."
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
# | | |
# | --- | --- |
# | exact likelihood | adds up to one, compares across models |
# | sees everything | the Diagonal BiLSTM reads all that came before, in one layer |
# | slow to train | $2N - 1$ steps in a row (Row LSTM: $N$), where convolutions need none |
# | slow to sample | one step a value |
# | no features | no code to edit or to classify with |
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
