# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 2. PixelRNN
#
# **How can an image have an exact likelihood?**
#
# To learn a distribution over images we want to ask a model: how probable is *this* image? For most models of this
# course the answer is a bound, an estimate, or silence. This lesson builds the first family that answers exactly.
#
# The idea is older than neural networks. Read an image as you read a page, pixel after pixel, and at every pixel ask
# only one small question: which value comes next, given all that came before? The answers multiply to the probability
# of the whole. A recurrent network remembers what came before (van den Oord et al., 2016).

# %% slideshow={"slide_type": "skip"}
import copy
import math

import torch
import torch.nn.functional as F

from genlib import plots, widgets
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM
from genlib.data import ImageSet, all_images, load
from genlib.evaluation import bars_kl, bits_per_dim, independent_pixels, log_probs
from genlib.nn import MaskedConv2d
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
# No assumption is made: this is the definition of conditional probability, used $n - 1$ times. Let us see it hold. Here
# is a distribution over the 16 binary images of 2 by 2 pixels, chosen at random. We compute each conditional from the
# table by counting what agrees, and multiply.

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
# images probable, that is, to minimise the **negative log-likelihood** $-\log q_\theta(x)$ averaged over the data. This
# is the right thing to minimise: on average it equals
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
# ## A value is a category
#
# PixelRNN predicts a pixel by a **softmax over its levels**: 17 of them here, 256 for ordinary images. Nobody tells the
# network that level 100 lies between 99 and 101. In return it may put its probability anywhere: on black *or* white
# but nothing between, which no bell curve can.
#
# Nothing is lost by ignoring the order, if there are enough data: the network finds it. We look at that further down.

# %%
train, test = load(DATASET), load(DATASET, "test")
plots.show_images(test.floats()[:20], columns=10)
print(f"{len(train)} training and {len(test)} test images, shape {train.shape}, {train.levels} levels")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Memory in two dimensions
#
# What has been read must be remembered. On a line of text a recurrent network carries one state from left to right. On
# a page the past lies to the left *and* above. So let the state of a pixel depend on the states of both neighbours:
#
# $$h_{x,y} = f(h_{x-1,y},\; h_{x,y-1},\; W).$$
#
# The same $f$ with the same weights $W$ at every pixel. Through its two neighbours a pixel hears of everything above
# and to the left. Computed as it is written, this takes $N^2$ steps for an image of $N \times N$ pixels, one after
# the other, and modern hardware idles.

# %%
def plain_scan(x, w_left, w_up):
    """h = tanh(x + w_left h_left + w_up h_up), a pixel at a time."""
    height, width = x.shape
    h = torch.zeros(height + 1, width + 1)  # with a border of zeros above and to the left
    for i in range(height):
        for j in range(width):
            h[i + 1, j + 1] = torch.tanh(x[i, j] + w_left * h[i + 1, j] + w_up * h[i, j + 1])
    return h[1:, 1:]

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The wavefront
#
# Look at which pixels need which. Those on one **diagonal** do not need each other: their neighbours to the left and
# above all lie on the diagonal before. So a whole diagonal can be one step. There are $2N - 1$ of them. White is being
# computed, grey is done, blue is waiting.

# %%
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
def skew(x):
    height = len(x)
    return torch.stack([F.pad(row, (i, height - 1 - i)) for i, row in enumerate(x)])


def diagonal_scan(x, w_left, w_up):
    height, width = x.shape
    h, columns = torch.zeros(height), []
    for column in skew(x).T:
        above = F.pad(h, (1, -1))  # the state of the row above, one column back
        h = torch.tanh(column + w_left * h + w_up * above)
        columns.append(h)
    states = torch.stack(columns, dim=1)
    return torch.stack([states[i, i : i + width] for i in range(height)]), len(columns)


x = torch.rand(6, 6)
h, steps = diagonal_scan(x, 0.7, -0.4)
assert torch.allclose(h, plain_scan(x, 0.7, -0.4), atol=1e-6)
print(f"the same states in {steps} steps instead of {6 * 6}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Half of a skewed map is padding, and computing on padding costs as much as computing on pixels. `genlib` sorts the
# pixels by diagonal instead and works on nothing else. The formula stands in `diagonal_step`:
# `genlib/autoregressive/diagonal_bilstm.py`.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Two networks
#
# Both replace $f$ by an LSTM cell, whose gates decide what to keep and what to forget, and stack it in layers with
# residual connections. They differ in the neighbours that a state reads.
#
# **Row LSTM** reads three states of the row above, in one step for a whole row: $N$ steps. What it hears of widens by a
# column a row, a *triangle* with its tip at the pixel. What lies beside the triangle is never heard of.
#
# **Diagonal BiLSTM** reads the states to the left and above, $2N - 1$ steps. That hears of everything above and to the
# left. A second scan from the upper right corner hears the rest. It must not hear too much: at its own place the
# second state has read pixels to the right, which are still to come. So it moves down one row before the two meet.
#
# One detail, found by the check below. As published, the second scan starts at the right edge from a map whose first
# mask hides each value from its own pixel. The last value of a row then reaches only the last few pixels of the next
# row. In `genlib` each layer reads the image beside the map, which closes that gap.

# %%
fields = {
    "RowLSTM": RowLSTM((1, 12, 12), channels=16, depth=2),
    "DiagonalBiLSTM": DiagonalBiLSTM((1, 12, 12), channels=16, depth=1),
    "PixelCNN": PixelCNN((1, 12, 12), channels=16, depth=6),
    "GatedPixelCNN": GatedPixelCNN((1, 12, 12), channels=16, depth=6),
}
plots.show_receptive_fields(fields, pixel=(7, 4))

# %% [markdown] slideshow={"slide_type": "subslide"}
# The two on the right come in the next lesson: they trade the memory for convolutions. Here we count. A prediction may
# read everything earlier and must read nothing later.

# %%
place = torch.arange(144).reshape(12, 12)
earlier = place < 7 * 12 + 4
for name, model in fields.items():
    read = plots.receptive_field(model, pixel=(7, 4)) > 0
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
    "RowLSTM": RowLSTM((1, 4, 4), channels=16, depth=1),
    "DiagonalBiLSTM": DiagonalBiLSTM((1, 4, 4), channels=16, depth=1),
}
for model in small.values():
    fit(model, bars, epochs=120, batch_size=30, learning_rate=2e-2)

# %%
for name, model in small.items():
    with torch.no_grad():
        total = sum(model.log_prob(part).exp().sum().item() for part in every_image.split(2048))
    close = bars_kl(model.log_prob) < 0.05
    print(f"{name:<15} all images sum to {total:.3f}; KL below 0.05 nats: {close}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Training on digits
#
# Two opponents first, as always: guessing every level alike, and a histogram for every pixel that ignores its
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
    "RowLSTM": RowLSTM(train.shape, train.levels, channels=32, depth=2).to(DEVICE),
    "DiagonalBiLSTM": DiagonalBiLSTM(train.shape, train.levels, channels=32, depth=1).to(DEVICE),
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

# %%
plots.show_curves(
    {name: [-bits_per_dim(nats, train.shape) for nats in curve] for name, curve in losses.items()},
    xlabel="epoch",
    ylabel="bits/dim, training images",
    baselines={name: bits[name] for name in ("uniform", "independent pixels")},
)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What does it expect?
#
# A likelihood is many predictions. Here are four of them, from the Diagonal BiLSTM reading one test image: at each
# marked pixel, its distribution over the 17 levels given everything before, and in red the level that came.

# %%
picture = test.floats()[21].to(DEVICE)
rows, columns = test.shape[1:]
top, middle, bottom = rows // 8, rows // 2, rows - 2
spots = [(top, columns // 2), (2 * top, columns // 4), (middle, columns // 2), (bottom, columns // 8)]
plots.show_predictions(models["DiagonalBiLSTM"], picture, spots)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Beside the digit, where pixels are nearly always empty, the model is sure. On a stroke the probability spreads over many
# levels, the more the less has been seen yet. The surprise at each pixel, $-\log_2 p(x_i \mid x_{<i})$, shows where the
# bits of an image are spent.

# %%
some = test.floats()[20:30].to(DEVICE)
with torch.no_grad():
    logits = models["DiagonalBiLSTM"](some)
level = (some * (test.levels - 1)).round().long()
surprise = F.cross_entropy(logits, level, reduction="none") / math.log(2)
plots.show_rows({"image": some, "surprise": surprise / surprise.max()})

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Ask it yourself
#
# Run the cell and click any pixel. Below each network's receptive field stands what it expects there, the level that came
# in red. Walk along a row with the slider of the columns, and watch the prediction widen at the edge of a
# stroke. Near the left and right edges the Row LSTM reads less than the Diagonal BiLSTM. Does it pay for that?

# %% tags=["nbval-ignore-output"]
widgets.pixel_explorer(models, test.floats()[20:32], pixel=(3, 1))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Red, then green, then blue
#
# A colour pixel has three values, and they are not independent. So the chain rule goes on within the pixel:
#
# $$p(x_{i}) = p(x_{i,R} \mid x_{<i})\; p(x_{i,G} \mid x_{<i}, x_{i,R})\; p(x_{i,B} \mid x_{<i}, x_{i,R}, x_{i,G}).$$
#
# The masks see to it. Features are shared out among the colours; green may read the red of its own pixel, and no
# colour reads itself or a later one. What is that worth? `colour_digits` are the digits in two random colours each. We
# train the same network twice, once with the first layer's own-pixel weights masked for all colours, so that the three
# values of a pixel are independent given the pixels before.

# %%
colours = load("colour_digits"), load("colour_digits", "test")
plots.show_images(colours[1].floats()[:10], columns=10)

# %%
ordered = PixelCNN(colours[0].shape, colours[0].levels, channels=48, depth=1).to(DEVICE)
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

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Drawing takes one step a value
#
# The wavefront speeds up **training**, where the whole image is known. To sample, a pixel must be drawn before the next
# can be predicted: $N^2$ steps one after the other, three times as many in colour. At least a step need not be a pass
# over the whole image. The states of finished pixels stay what they are, so `sample` keeps them. Lesson 03 looks at what
# that saves.

# %%
samples = {name: model.sample(12) for name, model in models.items()}
plots.show_rows({**samples, "real": test.floats()[20:32]})

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Watch it draw
#
# Run the cell, then press play, or go pixel by pixel; stop goes back to the start. The frame marks the pixel that comes
# next, the bars are $p(x_i \mid x_{<i})$, and red is the level that will be drawn. Many draws are dull: find the few
# pixels at which it is decided which digit this will be.

# %% tags=["nbval-ignore-output"]
widgets.drawing_explorer(models["DiagonalBiLSTM"])

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Temperature
#
# Dividing the logits by a temperature $T < 1$ before drawing makes the model bolder: it prefers what it holds likely.
# Samples look cleaner and vary less. They no longer follow the model's distribution, so no likelihood belongs to them.
# At $T = 0$ there would be one image. Scaling the last layer does it.

# %%
def at_temperature(model, temperature):
    bolder = copy.deepcopy(model)
    with torch.no_grad():
        for p in bolder.head[-1].parameters():
            p /= temperature
    return bolder


model = models["DiagonalBiLSTM"]
plots.show_rows({f"T = {t}": at_temperature(model, t).sample(12) for t in (0.5, 0.8, 1.0, 1.3)})

# %% [markdown] slideshow={"slide_type": "slide"}
# ## 256 levels, and what they learn of each other
#
# `strokes` are digits from a handwriting simulator, 28 by 28 pixels with 256 levels, like MNIST. We train a small
# PixelCNN on them for a few seconds. To this network the levels are 256 unrelated categories. Each has its own row of
# weights in the last layer. Do rows of neighbouring levels end up alike?

# %%
strokes = load("strokes", size=2000)
middle = ImageSet(strokes.images[:, :, 7:21, 7:21], strokes.labels, strokes.levels, strokes.n_classes)
grey = PixelCNN(middle.shape, middle.levels, channels=16, depth=1).to(DEVICE)
start = grey.head[-1].weight.detach().clone()
fit(grey, middle, epochs=2, batch_size=16, learning_rate=2e-2);


# %%
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
# The next lesson asks whether training can do without the walk altogether: [03 PixelCNN](03_pixelcnn.ipynb).

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, arXiv:1601.06759. Chain rule and
#   softmax: section 2; Row LSTM: 3.1; Diagonal BiLSTM: 3.2; masks and colours: 3.4.
# - Theis, Bethge (2015), *Generative Image Modeling Using Spatial LSTMs*, arXiv:1506.03478: two-dimensional LSTMs with
#   an exact likelihood, before the softmax.
# - Hochreiter, Schmidhuber (1997), *Long Short-Term Memory*, Neural Computation 9(8).

# %% [markdown] slideshow={"slide_type": "skip"}
# To build a PixelRNN yourself, step by step and with each step checked: [the exercises](02_pixelrnn_exercises.ipynb).
