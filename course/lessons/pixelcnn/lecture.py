# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # PixelCNN
#
# <!-- board -->
# **Can training see all pixels at once?**
#
# The chain rule writes the probability of an image as a product over its pixels, read row by row:
#
# $$p(x) = \prod_{i=1}^{n} p(x_i \mid x_1, \dots, x_{i-1}).$$
#
# A model of this form is called **autoregressive**: each value is predicted from those before it. A recurrent network
# fits the product naturally, but it goes through the image one state after the other. PixelCNN (van den Oord et al.,
# 2016a) uses convolutions instead. In training every pixel is known, so each prediction is given the true pixels before
# it (**teacher forcing**), and all $n$ conditionals come from a single pass, provided that none reads the value it predicts.
#
# This lesson builds the **causal** (masked) convolution that cannot read ahead, finds the blind spot that it leaves,
# closes it, and shows what remains: drawing an image takes one step per pixel.
#
# <!-- slide: Where this ends -->
# <!-- board
# A Gated PixelCNN drew these digits, one pixel after the other. Each image has an exact probability.
# -->
# <!-- figure: mnist -->
#
# <!-- slide: Today -->
# <!-- agenda -->

# %% slideshow={"slide_type": "skip"}
import bisect
import copy
import itertools
import lzma
import math
import time
import zlib
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import nn

from course import explorers, figures
from genlib import plots
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, receptive_field
from genlib.autoregressive.masks import MaskedConv2d
from genlib.data import ImageSet, all_images, binarise, independent_pixels, load, strokes
from genlib.metrics import bars_kl, bits_per_dim, log_probs
from genlib.training import fit

DATASET, EPOCHS = "digits", 4  # on a GPU try "strokes", "mnist", "fashion_mnist" or "cifar10"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on images this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The data
#
# Handwritten digits, 8 by 8 pixels, 17 grey levels from 0 to 16. They are small enough to train on a laptop while a
# class waits, and real enough to be worth drawing.

# %% alt="Twenty handwritten digits, each of 8 by 8 grey pixels."
train, test = load(DATASET), load(DATASET, "test")
plots.show_images(test.floats()[:20], columns=10)
print(f"{len(train)} training and {len(test)} test images, shape {train.shape}, {train.levels} levels")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Two baselines
#
# A likelihood means nothing alone. We compare every model with two simple ones.
#
# *Uniform*: every level is equally likely everywhere. That costs $\log_2 17$ bits per dimension, whatever the image.
#
# *Independent pixels*: each pixel has its own histogram, counted on the training images (plus one, so that nothing is
# impossible), and ignores all the others. It knows where ink tends to be, but not what a stroke is.

# %%
baseline = independent_pixels(train)
nats = baseline.log_prob(test.images.long()).flatten(1).sum(dim=1)
bits = {
    "uniform": math.log2(train.levels),
    "independent pixels": bits_per_dim(nats.mean(), test.shape).item(),
}
for name, value in bits.items():
    print(f"{name:<20} {value:.2f} bits/dim on the test images")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A convolution that cannot read ahead
#
# <!-- minutes: 9 -->
# <!-- slide: All conditionals in one pass -->
# <!-- board
# $$p(x) = \prod_{i=1}^{n} p(x_i \mid x_1, \dots, x_{i-1})$$
#
# Pixels come row by row. In training all are known (**teacher forcing**): a convolution gives all $n$ conditionals at once,
# provided none reads what it predicts.
# -->
# <!-- question: Which weights of a 7 by 7 kernel must then be zero in the first layer? -->
# <!-- answer: The centre, the rest of its row to the right, and the rows below: 25 of 49. -->
#
# Predicting pixel $i$ may use what comes before it in raster order: the rows above, and the own row to the left. A
# convolution reads a square around each pixel. So we multiply its kernel by a **mask** that is zero for everything at
# or after the centre.
#
# <!-- slide: Mask A hides the centre, mask B keeps it -->
# <!-- board -->
# - **Mask A** hides the centre too. It belongs in the first layer, where the centre *is* the answer.
# - **Mask B** keeps the centre. It belongs in all later layers, where the centre is a feature made from earlier pixels.

# %% board="figure" alt="Two masks of ones and zeros: mask A, 7 by 7, is one above the middle and left of it and zero at it; mask B, 3 by 3, is one also at the middle."
one = torch.zeros(1, dtype=torch.long)  # one grey channel: a single colour group
figures.show_masks({
    "mask A, 7 x 7": MaskedConv2d(one, one, kernel_size=(4, 7), mask="A"),
    "mask B, 3 x 3": MaskedConv2d(one, one, kernel_size=(2, 3), mask="B"),
})

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### By hand
#
# Three lines make a mask of type A. The convolution then uses `kernel * mask`; the kernel itself is never changed, so
# the optimiser sees an ordinary parameter whose hidden entries simply get no gradient.
#
# `genlib` stores only the four upper rows, since the lower ones would be multiplied by zero for ever. We copy them from
# our kernel and ask whether both layers are the same function.

# %%
def mask_a(size: int) -> torch.Tensor:
    mask = torch.ones(size, size)
    mask[size // 2, size // 2 :] = 0  # the centre and what is right of it
    mask[size // 2 + 1 :] = 0  # the rows below
    return mask


kernel, x = torch.randn(1, 1, 7, 7), torch.rand(5, 1, 8, 8)
by_hand = F.conv2d(x, kernel * mask_a(7), padding=3)

layer = MaskedConv2d(one, one, kernel_size=(4, 7), mask="A")
layer.load_state_dict({"weight": kernel[:, :, :4], "bias": torch.zeros(1)})
assert torch.allclose(by_hand, layer(x), atol=1e-5)
print("the layer by hand and the layer of genlib agree")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Is it really causal?
#
# <!-- slide: Is it really causal? Ask the Jacobian -->
# <!-- board
# The derivative of the output at $i$ with respect to the input at $j$ must vanish for every $j \ge i$.
# -->
# <!-- question: 4 by 4 pixels: how many of the 256 entries may be other than zero? -->
# <!-- answer: All below the diagonal, $16 \cdot 15 / 2 = 120$. Measured on PixelCNN: just these 120. -->
#
# Derivatives give the answer. The Jacobian of the output at $i$ with respect to the input at
# $j$ must vanish for every $j \ge i$: a triangle of zeros, with the diagonal in it.

# %%
small = PixelCNN((1, 4, 4), hidden_dim=16, depth=2)
jacobian = torch.autograd.functional.jacobian(lambda x: small(x).sum(dim=1), torch.rand(1, 1, 4, 4))
depends = jacobian.reshape(16, 16) != 0
assert not depends.triu().any()
print("no prediction depends on its own pixel or on a later one")
print(f"{int(depends.sum())} of the {16 * 15 // 2} earlier pixels that could be read are read")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What a leak would look like
#
# <!-- minutes: 7 -->
# <!-- slide: Mask B in the first layer by mistake -->
# <!-- board
# Nothing crashes. The loss falls further than ever: the network may copy the value from its input.
# -->
#
# Suppose we forget mask A and put mask B into the first layer. Nothing crashes. The loss falls further than ever, because
# the network may copy the value from its input.
#
# The check is one sum. A probability adds up to one over **all** images. `bars` is made for such checks: 30
# binary images of 4 by 4 pixels, so that all $2^{16} = 65{,}536$ possible images can be listed.

# %% board="figure" alt="The 30 images of bars, 4 by 4 pixels: all columns or all rows are black or white as a whole."
bars, every_image = load("bars"), all_images(2, (1, 4, 4))
plots.show_images(bars.floats(), columns=15, size=0.5, title="all 30 images of bars")

# %%
honest, leaky = (PixelCNN((1, 4, 4), hidden_dim=16, depth=1) for _ in range(2))
leaky.first = MaskedConv2d(one, torch.zeros(16, dtype=torch.long), kernel_size=(4, 7), mask="B")

for model in (honest, leaky):
    fit(model, bars, epochs=100, batch_size=30, learning_rate=2e-2)


# %%
@torch.no_grad()
def total_probability(model):
    return sum(model.log_prob(part).exp().sum().item() for part in every_image.split(2048))


total = {"mask A": total_probability(honest), "mask B by mistake": total_probability(leaky)}
print(f"mask A:            probabilities of all images sum to {total['mask A']:.3f}")
print(f"mask B by mistake: they sum to more than 100: {total['mask B by mistake'] > 100}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: Trained on `bars`: what do the probabilities of all 65,536 images sum to, with mask A and with the mistake? -->
# <!-- answer: Mask A: 1.000. With the mistake: more than 100. -->
#
# Such a leak is easy to write and hard to notice: the loss only looks better. The sum and the Jacobian do notice.
# Every pixel model in `genlib` is tested with both.
#
# ### How close is the causal model to the truth?
#
# <!-- slide: On `bars` the KL is a sum of 30 terms -->
# <!-- board
# $$KL(p \,\|\, q) = \sum_x \frac{1}{30} \log \frac{1/30}{q(x)}$$
#
# No estimate: the true distribution gives each of 30 images the probability $1/30$.
# -->
# <!-- question: How large is the KL for a uniform $q$ over all 65,536 images? -->
# <!-- answer: $\log(65{,}536 / 30) \approx 7.69$ nats. PixelCNN after training: below 0.1. -->
#
# On `bars` the true distribution is known: each of the 30 images has probability $1/30$. So the Kullback-Leibler
# divergence from the truth to the model is no estimate but a sum of 30 terms,
# $KL(p \,\|\, q) = \sum_x \frac{1}{30} \log \frac{1/30}{q(x)}$.

# %%
kl = bars_kl(honest.log_prob)
uniform_kl = bars_kl(lambda x: torch.full((len(x),), -16 * math.log(2)))
print(f"uniform over all 65,536 images: KL = {uniform_kl:.2f} nats")
print(f"PixelCNN after training:        KL below 0.1 nats: {kl < 0.1}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Training on digits
#
# <!-- minutes: 4 -->
# <!-- slide: A classifier at every pixel -->
# <!-- board
# Digits, 8 by 8 pixels, 17 levels:
#
# - one 7 by 7 layer with mask A
# - residual blocks: 3 by 3 kernels with mask B
# - a **softmax over the 17 levels** at every pixel
#
# **Cross-entropy**, summed over the pixels, is $-\log q(x)$. One pass gives all 64 conditionals: no step waits for another.
# -->
#
# PixelCNN stacks one 7 x 7 layer with mask A and several residual blocks with 3 x 3 kernels and mask B. At every pixel
# it ends in a softmax over the 17 levels. The loss is the negative log-likelihood, exactly the number we report: the
# **cross-entropy** of a classifier, summed over the pixels.
#
# One pass gives all 64 conditionals of all images of a batch. No step waits for another.

# %%
pixelcnn = PixelCNN(train.shape, levels=train.levels, hidden_dim=48, depth=2).to(DEVICE)
pixelcnn_losses = fit(pixelcnn, train, epochs=EPOCHS, batch_size=16, learning_rate=8e-3)

# %%
bits["PixelCNN"] = bits_per_dim(log_probs(pixelcnn, test).mean(), test.shape).item()
gain = bits["independent pixels"] - bits["PixelCNN"]
print(f"at least 0.4 bits/dim better than independent pixels: {gain > 0.4}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The blind spot
#
# <!-- minutes: 9 -->
# <!-- slide: Can more layers read everything? -->
# <!-- board
# A path backwards through the layers: a 3 by 3 kernel with mask B moves at most one column to the right, and only by climbing a row.
# -->
# <!-- question: Does a PixelCNN of ten blocks read every earlier pixel? -->
# <!-- answer: No. The 7 by 7 layer reaches three to the right: $r$ rows up, columns beyond $r + 2$ are never read. -->
#
# Ask again by gradient what the network reads, now on a larger image. Most of what comes earlier is blue, the darker the
# larger the gradient (on a logarithmic scale, over four powers of ten). But to the right of the pixel, in the rows
# above, a wedge stays orange: earlier, allowed, and never read.
#
# <!-- slide: A wedge is never read -->
# <!-- board
# 28 of 165 earlier pixels. More layers climb further, but never at a flatter angle.
# -->

# %% board="figure" alt="What a PixelCNN of ten layers reads before it predicts a pixel: what is above and to the left, in blue, but not a wedge to the upper right, in orange, the blind spot."
large = {"PixelCNN": PixelCNN((1, 16, 16), hidden_dim=16, depth=10)}
figures.show_receptive_fields(large, pixel=(10, 5))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Why a wedge? Follow one path backwards through the layers. A 3 x 3 layer with mask B moves at most one column to the
# right, and only by climbing one row; in its own row it moves left or stays. The 7 x 7 layer comes last on the way
# back and reaches three columns to the right, from one row up on. So a pixel $r$ rows up can be read only if it lies
# at most $r + 2$ columns to the right.
#
# More layers do not help: they climb further, but never at a flatter angle.

# %%
field = receptive_field(large["PixelCNN"], pixel=(10, 5))
up, right = 10 - torch.arange(16)[:, None], torch.arange(16) - 5
earlier = (up > 0) | ((up == 0) & (right < 0))
assert torch.equal(earlier & (field == 0), (up > 0) & (right > up + 2))
print(f"{int((earlier & (field == 0)).sum())} of {int(earlier.sum())} earlier pixels are never read")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### What it costs
#
# <!-- slide: What a blind spot costs -->
# <!-- board
# Each pixel is Bernoulli(1/2), but the left half of the second row repeats the right half of the first (orange).
# -->
#
# That depends on the data: neighbouring pixels that are read may hold the same information. So we make data for which
# the blind spot is the whole difference, and for which the best possible score is known. Images are 2 by 8 binary
# pixels. All are independent Bernoulli(1/2), except that the left half of the second row repeats the right half of the
# first: the orange pixels below.
#
# Twelve free pixels make an entropy of exactly 12 bits per image. But each repeated pixel sits one row below and four
# columns left of its source, and $4 > 1 + 2$. PixelCNN does not read the source, so it must pay a full bit for each of
# the four repeats: at least 16 bits, however long it trains.

# %% board="figure" name="echo" alt="Four images of 2 by 8 pixels: the left half of the second row repeats the right half of the first; both are tinted orange."
free = all_images(2, (1, 1, 12))
first_row, rest = free[..., :8], free[..., 8:]
echo = torch.cat([first_row, torch.cat([first_row[..., 4:], rest], dim=3)], dim=2)  # (4096, 1, 2, 8)
echo = ImageSet(echo.to(torch.uint8), torch.zeros(len(echo), dtype=torch.long), levels=2, n_classes=1)
tint = torch.ones(3, 2, 8)
tint[:, 0, 4:] = tint[:, 1, :4] = torch.tensor([1.0, 0.6, 0.2])[:, None]  # the source and its copy
plots.show_images((0.2 + 0.8 * echo.floats()[[77, 1234, 2900, 4000]]) * tint, columns=2, size=4)


# %%
def bits_per_image(model):
    return -log_probs(model, echo).mean().item() / math.log(2)


blind = PixelCNN(echo.shape, hidden_dim=16, depth=2).to(DEVICE)
fit(blind, echo, epochs=2, learning_rate=1e-2)
print(f"16 to 16.5 bits per image, where the truth is 12: {15.99 < bits_per_image(blind) < 16.5}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Two stacks close the blind spot
#
# <!-- question: What is the entropy of an image? How many bits does PixelCNN need at least? -->
# <!-- answer: 12 free pixels: 12 bits. Each source lies four columns to the right, $4 > 1 + 2$: a full bit for each repeat, 16. -->
#
# <!-- minutes: 8 -->
# <!-- slide: Two stacks -->
# <!-- board
# Gated PixelCNN (van den Oord et al., 2016b):
#
# - **Vertical stack**: the rows above. Moved down by one row before it informs a pixel.
# - **Horizontal stack**: the own row to the left. It reads the vertical stack.
# -->
# <!-- question: Why does the vertical stack need no mask? -->
# <!-- answer: Kernels read their own row and those above. Moved down by one, all is earlier. -->
#
# Gated PixelCNN (van den Oord et al., 2016b) splits the view in two.
#
# - The **vertical stack** summarises the rows above. It needs no mask at all: a kernel that only reaches upwards may
#   read to both sides as far as it likes. Before it informs a pixel it is moved down by one row.
# - The **horizontal stack** summarises the own row to the left, with a one-row masked kernel. It reads the vertical
#   stack; the vertical stack never reads it.
#
# The rows above and the own row to the left are all there is. Nothing remains hidden.
#
# <!-- slide: Nothing earlier remains hidden -->
# <!-- board
# All 165 earlier pixels are read, and no other.
# -->

# %% board="figure" alt="What two models read before they predict a pixel: PixelCNN leaves out a wedge to the upper right, GatedPixelCNN reads every earlier pixel."
large["GatedPixelCNN"] = GatedPixelCNN((1, 16, 16), hidden_dim=16, depth=10)
figures.show_receptive_fields(large, pixel=(10, 5))

# %%
field = receptive_field(large["GatedPixelCNN"], pixel=(10, 5))
assert torch.equal(field > 0, earlier)
print(f"all {int(earlier.sum())} earlier pixels are read, and no other")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The gate
#
# <!-- slide: A gate multiplies two halves of the channels -->
#
# Each layer also multiplies two halves of its channels, as the cells of a recurrent network do (equation 2 of the
# paper):
#
# <!-- board -->
# $$h = \tanh(f) \odot \sigma(g).$$
#
# <!-- board
# The first half $f$ proposes a feature, the second, $g$, opens or closes the way for it, as in the cells of a recurrent network.
# -->
# <!-- question: The repeated pixels cost PixelCNN 16 bits. What should two stacks with gates need? -->
# <!-- answer: 12, the entropy. Measured: 12 to within a half, where PixelCNN cannot do with less than 16. -->
#
# The first half proposes a feature, the second opens or closes the way for it. `genlib` uses that
# $\tanh(f) = 2\sigma(2f) - 1$, which asks for one function instead of two; the weights absorb the inner factor 2.

# %%
from genlib.autoregressive.gated_pixelcnn import gate

f, g = torch.randn(2, 1, 6, 8, 8)
assert torch.allclose(gate(torch.cat([f, g], dim=1)), (f / 2).tanh() * g.sigmoid(), atol=1e-6)
print("the gate by hand and the gate of genlib agree")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Now the repeated pixels are learnt. The model that reads everything gets down to the entropy, which no model can beat.

# %%
seeing = GatedPixelCNN(echo.shape, hidden_dim=16, depth=2).to(DEVICE)
fit(seeing, echo, epochs=2, learning_rate=2e-2)
fewer = bits_per_image(blind) - bits_per_image(seeing)
print(f"4 bits fewer than PixelCNN, give or take a half: {abs(fewer - 4) < 0.5}")
print(f"12 bits per image, to within a half:             {bits_per_image(seeing) < 12.5}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Digits again
#
# <!-- minutes: 6 -->

# %%
gated = GatedPixelCNN(train.shape, levels=train.levels, hidden_dim=24, depth=2).to(DEVICE)
gated_losses = fit(gated, train, epochs=EPOCHS, batch_size=16, learning_rate=1e-2)

# %%
bits["GatedPixelCNN"] = bits_per_dim(log_probs(gated, test).mean(), test.shape).item()
gain = bits["independent pixels"] - bits["GatedPixelCNN"]
print(f"at least 0.4 bits/dim better than independent pixels: {gain > 0.4}")
if DATASET == "digits":
    print(f"and better than PixelCNN: {bits['GatedPixelCNN'] < bits['PixelCNN']}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Is it the blind spot?
#
# <!-- slide: Is it the blind spot? -->
# <!-- board
# On digits GatedPixelCNN beats PixelCNN. The two differ in more than the blind spot: gates, dilated kernels, and a **bias for each
# pixel**, which tells the network where in the image it is.
# -->
# <!-- question: How do we find out what made the difference? -->
# <!-- answer: Change one thing: PixelCNN again, with a bias for each pixel. The blind spot stays. -->
#
# We cannot tell yet: the two networks differ in more than that. This one has gates, dilated kernels (Yu & Koltun, 2016),
# and a learned **bias for each pixel**, which tells it where in the image it is. Digits are centred, so position alone
# says much. A fair test changes one thing. We train PixelCNN again and add such a bias after its first layer. The blind
# spot stays.
#
# <!-- slide: Position alone makes most of the lead -->
# <!-- board
# Digits are centred: on them the lead is no evidence about the blind spot. The repeated pixels are.
# -->

# %%
class PositionBias(nn.Module):
    """The same for every image, its own at every pixel: where, not what."""

    def __init__(self, *shape):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, h):
        return h + self.bias


placed = PixelCNN(train.shape, levels=train.levels, hidden_dim=48, depth=2)
placed.first = nn.Sequential(placed.first, PositionBias(48, *train.shape[1:]))
fit(placed.to(DEVICE), train, epochs=EPOCHS, batch_size=16, learning_rate=8e-3)
bits["PixelCNN + position"] = bits_per_dim(log_probs(placed, test).mean(), test.shape).item()
saved = bits["PixelCNN"] - bits["PixelCNN + position"]
if DATASET == "digits":
    print(f"position alone saves PixelCNN at least 0.02 bits/dim: {saved > 0.02}")
    print(f"that is more than half of the lead of GatedPixelCNN: {2 * saved > bits['PixelCNN'] - bits['GatedPixelCNN']}")

# %% board="values" tags=["nbval-ignore-output"]
for name, value in bits.items():
    print(f"{name:<20} {value:.3f} bits/dim on the test images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So on these digits the lead of GatedPixelCNN is no evidence about the blind spot: position alone makes most of it.
# The repeated pixels above are the evidence. Larger images have more to lose: in the paper, on CIFAR-10, closing the
# blind spot went with a gain of 0.11 bits/dim, and there, too, gates came with it.

# %% [markdown] slideshow={"slide_type": "subslide"}
# The curves show training, averaged over each epoch, in bits per dimension. This is a rare luxury. The loss *is* the
# negative log-likelihood: it can be compared between models, between papers, and with the two baselines.

# %% alt="Bits per dimension over four epochs: both models fall from about 3 to below 2, the gated one a little lower, and pass independent pixels after the first epoch."
plots.show_curves(
    {
        "PixelCNN": [-bits_per_dim(nats, train.shape) for nats in pixelcnn_losses],
        "GatedPixelCNN": [-bits_per_dim(nats, train.shape) for nats in gated_losses],
    },
    xlabel="epoch",
    ylabel="bits/dim, training images",
    baselines={name: bits[name] for name in ("uniform", "independent pixels")},
)

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The two side by side
#
# Run the cell and click pixels, those near the left edge above all: there PixelCNN's blind spot is largest. Orange at
# the far right of the gated network, if you find any, is no blind spot: two layers reach only so far, and a third would
# read it. Do the two predictions differ where one network sees less?

# %% tags=["nbval-ignore-output"] alt="Still picture of the explorer of receptive fields: a digit with one pixel chosen, what PixelCNN and GatedPixelCNN read before they predict it, and the distribution of each over the levels."
explorers.pixel_explorer({"PixelCNN": pixelcnn, "GatedPixelCNN": gated}, test.floats()[20:32], pixel=(3, 1))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A head that knows the order of the levels
#
# <!-- minutes: 6 -->
# <!-- slide: A head that knows the order of the levels -->
# <!-- board
# PixelCNN++: a value from a **mixture of logistics**, rounded to the nearest level $v_k$ (half a step: $h$).
# -->
#
# A softmax takes its 17 levels for 17 unordered categories. That level 8 lies between 7 and 9 it must learn from the data. PixelCNN++
# (Salimans et al., 2017) draws a continuous value and rounds it to the nearest level $v_k$. The value follows a
# **mixture of logistics**: components with weights $\pi_m$, means $\mu_m$ and scales $s_m$ that the network gives for each pixel.
# With $\sigma((v - \mu) / s)$ for the distribution function of a component and $h$ for half a step between levels,
#
# <!-- board -->
# $$q(k) = \sum_m \pi_m \left[\sigma\!\left(\tfrac{v_k + h - \mu_m}{s_m}\right)
# - \sigma\!\left(\tfrac{v_k - h - \mu_m}{s_m}\right)\right],$$
#
# <!-- board
# The first and the last level get what lies beyond them, too.
# -->
# <!-- question: Why do the 17 probabilities sum to one? -->
# <!-- answer: $v_k + h = v_{k+1} - h$: the sum telescopes, from 0 to 1 for each component. -->
#
# <!-- slide: With 17 levels, a tie -->
# <!-- board
# Only the head was changed. With 17 levels there is little order to know.
# -->
#
# and the first and the last level get what lies beyond them too. So the 17 probabilities sum to one, and the likelihood is
# exact as before. We change the head and nothing else.

# %%
mixed = GatedPixelCNN(train.shape, levels=train.levels, hidden_dim=24, depth=2, n_logistics=5).to(DEVICE)
fit(mixed, train, epochs=EPOCHS, batch_size=16, learning_rate=1e-2)

image = test.floats()[:1].to(DEVICE)
with torch.no_grad():
    total = mixed(image).exp().sum(dim=1)  # over the levels, at every pixel; it gives log-probabilities
bits["with logistics"] = bits_per_dim(log_probs(mixed, test).mean(), test.shape).item()
saved = bits["GatedPixelCNN"] - bits["with logistics"]
print(f"the levels' probabilities sum to one at every pixel: {torch.allclose(total, torch.ones_like(total), atol=1e-4)}")
if DATASET == "digits":
    print(f"within 0.05 bits/dim of the softmax:                 {abs(saved) < 0.05}")

# %% board="values figure" tags=["nbval-ignore-output"] alt="Two distributions over the levels of one pixel: softmax and five logistics agree in shape, low and slowly rising, with most at the brightest level; the softmax is more jagged."
with torch.no_grad():
    heads = {"softmax": gated(image).softmax(dim=1), "five logistics": mixed(image).exp()}
plots.show_curves(
    {name: p[0, :, 0, 4, 3].tolist() for name, p in heads.items()},
    x=range(train.levels), xlabel="level of pixel (4, 3)", ylabel="probability, given the pixels before",
)
print(f"softmax {bits['GatedPixelCNN']:.3f}, five logistics {bits['with logistics']:.3f} bits/dim on the test images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# A tie: from some seeds the one is ahead, from others the other. With 17 levels, half of the pixels black, there is little order to know.
# With 256 levels there is more: neighbours share what is learnt of them, and a colour needs fifteen numbers instead of 256. In
# the paper the head came with other changes, so its share of the gain cannot be read off there. On black and white images the
# two heads can say the same.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Drawing an image takes one step per pixel
#
# <!-- minutes: 5 -->
# <!-- slide: 64 pixels, 64 passes -->
#
# Training could see all pixels because they were there. When we sample they are not. The first pixel is drawn from
# its softmax, then the network runs again to predict the second, and so on (**ancestral sampling**). An image of 64 pixels takes 64 passes; a
# colour image of $N \times N$ pixels takes $3N^2$.

# %% board="figure" alt="Ten images as they are drawn, after 0, 12, 24, 36, 48 and all 64 pixels, row by row from the top."
samples = gated.sample(10)
height, width = test.shape[1:]
plots.show_rows({
    f"{done} of {height * width}": torch.stack([plots.drawn_so_far(image, done) for image in samples])
    for done in (0, 12, 24, 36, 48, height * width)
})

# %% [markdown] slideshow={"slide_type": "subslide"}
# The same as an animation: run the cell and press play, or go step by step; stop goes back to the start. The bars are the
# softmax of the framed pixel, and red is the level that is drawn from it. Choose another image with the slider: all
# begin in black, and part where the first ink falls.

# %% tags=["nbval-ignore-output"] alt="Still picture of the explorer of drawing: a digit of which 32 of 64 pixels are drawn, the distribution for the next one, and seven others at the same stage."
explorers.drawing_explorer(gated)

# %% [markdown] slideshow={"slide_type": "subslide"}
#
# Samples beside real images, and beside the baseline that ignores its neighbours. Look for what is right: strokes of the
# right width, soft edges, closed loops. Look for what is not: some samples drift from one digit into no digit at all.
# Each pixel follows from those before it; no part of the model holds *which* digit it is drawing.

# %% alt="Twelve samples each of independent pixels, PixelCNN and GatedPixelCNN, and twelve real digits: noise in the first row, strokes in the next two."
plots.show_rows({
    "independent": baseline.sample((12,)) / (train.levels - 1),
    "PixelCNN": pixelcnn.sample(12),
    "GatedPixelCNN": gated.sample(12),
    "real": test.floats()[20:32],
})

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Caching: draw a pixel, compute a pixel
#
# <!-- minutes: 7 -->
# <!-- slide: 63 of 64 results are thrown away -->
# <!-- board
# By definition, sampling runs the whole network for every pixel and uses the logits of one position.
# -->
# <!-- question: Pixel $i$ is drawn. Which features at positions up to $i$ change? -->
# <!-- answer: None: a feature at position $i$ depends on earlier pixels only. Keep them all, compute only the new position. -->
#
# By definition, sampling runs the whole network for every pixel and uses the logits of one position. On 8 x 8
# images 63 of 64 results are thrown away.
#
# But features never change once they are made: a feature at position $i$ depends on earlier pixels only, and those
# are drawn. So keep what each layer has computed, and at every step compute just the new position. The work for an
# image falls by a factor of the number of pixels.
#
# A few lines do it for PixelCNN. `remember` makes room for a layer's input, with its border of zeros; `at` evaluates a
# masked convolution at one position; `write` stores a new value there.

# %%
def remember(conv, n, height, width):
    return F.pad(torch.zeros(n, conv.in_channels, height, width, device=DEVICE), conv.pad)


def at(conv, memory, i, j):
    rows, columns = conv.kernel_size
    window = memory[:, :, i : i + rows, j : j + columns]
    return F.conv2d(window, conv.weight * conv.mask, conv.bias)[:, :, 0, 0]  # (n, F)


def write(conv, memory, i, j, value):
    left, _, top, _ = conv.pad
    memory[:, :, i + top, j + left] = value


# %% [markdown] slideshow={"slide_type": "subslide"}
# One step of the cached sampler: the logits of pixel $(i, j)$, given that everything before it has been drawn. Only the
# 7 x 7 layer and the 3 x 3 layers read neighbours, so only their inputs are kept.

# %%
@torch.no_grad()
def logits_at(model, x, memories, i, j):
    h = at(model.first, x, i, j)
    for block, memory in zip(model.blocks, memories):
        write(block.conv3x3, memory, i, j, one_by_one(block.reduce, h.relu()).relu())
        h = h + one_by_one(block.expand, at(block.conv3x3, memory, i, j).relu())
    return one_by_one(model.head, h).unflatten(1, (model.levels, -1))  # (n, K, C)


def one_by_one(layer, features):
    return layer(features[:, :, None, None])[:, :, 0, 0]


def memories_of(model, n):
    layers = [model.first] + [block.conv3x3 for block in model.blocks]
    return [remember(conv, n, *model.shape[1:]) for conv in layers]


# %% [markdown] slideshow={"slide_type": "subslide"}
# The sampler goes over the pixels and, within a pixel, over its colours (here there is one, grey).

# %%
def sample_cached(model, n):
    channels, height, width = model.shape
    x, *memories = memories_of(model, n)
    images = torch.zeros(n, channels, height, width, device=DEVICE)
    used = torch.zeros(n, model.levels, channels, height, width, device=DEVICE)  # logits, to check
    for i, j, c in itertools.product(range(height), range(width), range(channels)):
        logits = logits_at(model, x, memories, i, j)[:, :, c]
        level = torch.distributions.Categorical(logits=logits).sample()
        images[:, c, i, j] = level / (model.levels - 1)
        write(model.first, x, i, j, 2 * images[:, :, i, j] - 1)  # the network's scale, -1 to 1
        used[:, :, c, i, j] = logits
    return images, used


# %% [markdown] slideshow={"slide_type": "subslide"}
# Is it exact? Give the finished images to the ordinary forward pass, which computes everything at once, and compare
# all the logits.

# %%
images, logits = sample_cached(pixelcnn, 16)
with torch.no_grad():
    difference = (logits - pixelcnn(images)).abs().max()
print(f"logits differ by less than 0.001: {bool(difference < 1e-3)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# `sample` in `genlib` does this for any network of such layers, in colour, with labels, and when completing: see
# `cached` in `genlib/autoregressive/caching.py`. The slow definition, `sample_by_definition`, draws the same images
# from the same random numbers.

# %%
precise = copy.deepcopy(pixelcnn).double()  # so that no draw hangs on the last digit of a logit
with torch.random.fork_rng():  # afterwards the second sampler draws the same
    fast = precise.sample(4)
slow = precise.sample_by_definition(4)
print(f"both draw the same images: {torch.equal(fast, slow)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Time of order $N^4$ falls to $N^2$ -->
# <!-- board
# $N^2$ pixels to draw, $N^2$ positions in a pass. A power is a straight line here, its exponent the slope.
# -->
#
# The gain grows with the image. A pass over an image costs $N^2$ positions and there are $N^2$ of them to draw, so plain
# sampling takes time of order $N^4$, cached sampling of order $N^2$. On logarithmic axes a power is a straight line and
# its exponent the slope. The recurrent network of lesson {{pixelrnn}} gains in the same way: `cached` knows its layers too.

# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def seconds(function, argument):
    function(argument)  # the first call is slower
    start = time.perf_counter()
    function(argument)
    return time.perf_counter() - start


sides = (8, 16, 32)
families = {"DiagonalBiLSTM": DiagonalBiLSTM, "PixelCNN": PixelCNN}
taken = {f"{name}, {how}": [] for name in families for how in ("a pass a pixel", "cached")}
for (name, family), side in itertools.product(families.items(), sides):
    net = family((1, side, side), levels=train.levels, hidden_dim=64, depth=2).to(DEVICE)
    one_pass = seconds(net, torch.zeros(16, 1, side, side, device=DEVICE))
    taken[f"{name}, a pass a pixel"].append(side**2 * one_pass)  # computed: one pass, times the pixels
    taken[f"{name}, cached"].append(seconds(net.sample, 16))

# %% board="figure values:PixelCNN:" tags=["nbval-ignore-output"] alt="Seconds for 16 images against the side of an image, both on logarithmic axes: a pass a pixel climbs steeply for both models, the cached forms lie far below and climb less."
plots.show_curves(taken, x=sides, xlabel="side N of the image", ylabel="seconds for 16 images", log=True)
for name in families:
    gains = [a / b for a, b in zip(taken[f"{name}, a pass a pixel"], taken[f"{name}, cached"])]
    faster = ", ".join(f"{gain:.0f} times at {side}" for gain, side in zip(gains, sides))
    print(f"{name}: caching is faster by {faster}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Completing an image
#
# <!-- minutes: 8 -->
# <!-- slide: Given the upper half: exact draws of the lower -->
# <!-- board
# Keep the known pixels, draw the others: $p(\text{lower half} \mid \text{upper half})$. In the notebook, erase another part.
# -->
# <!-- figure: erase -->
#
# The chain rule gives completion (**inpainting**) for free. Keep the known pixels, draw the others. When the known part comes first,
# here the upper half, the result is an exact draw from $p(\text{lower half} \mid \text{upper half})$. Different draws
# show what the model thinks possible.

# %% alt="Twelve digits, their upper halves, and three completions of each that differ in the lower half."
whole = test.floats()[20:32].to(DEVICE)
known = torch.zeros(train.shape, dtype=torch.bool, device=DEVICE)
known[:, : height // 2] = True
draws = {f"draw {k}": gated.sample(12, known=whole, mask=known) for k in (1, 2, 3)}
plots.show_rows({"real": whole, "given": torch.where(known, whole, torch.nan), **draws})

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### The other half cannot be completed this way
#
# <!-- slide: Given the lower half: no exact draws -->
# <!-- board
# The upper half is drawn *before* the model reads what it should fit.
#
# `bars`, the lowest row fixed to black-white-white-black: one of the 30 images ends like that.
# -->
# <!-- question: How often does the model complete the right picture? -->
# <!-- answer: Less than 10 % of the time. The sum over all completions gives it more than 90 %. -->
#
# Give the lower half instead, and the upper half is drawn *before* the model reads what it should fit. To draw it
# correctly one would need $p(x_{\text{upper}} \mid x_{\text{lower}})$, a sum over all upper halves. On `bars` we can do
# that sum and see. Fix the lowest row to black-white-white-black. It must be a picture of columns, and only one of the
# 30 images ends like that.

# %%
lowest = torch.zeros(1, 4, 4, dtype=torch.bool)
lowest[:, 3] = True
row = torch.tensor([0.0, 1.0, 1.0, 0.0]).expand(1, 4, 4)

drawn = honest.sample(500, known=row, mask=lowest)
right = (drawn == row).flatten(1).all(dim=1).float().mean().item()
fits = (every_image[:, :, 3] == row[:, 3]).flatten(1).all(dim=1)
with torch.no_grad():
    share = honest.log_prob(every_image[fits]).softmax(dim=0).max().item()
print(f"the sum over all completions: the right picture has more than 90 %: {share > 0.9}")
print(f"completing in raster order finds it less than 10 % of the time: {right < 0.1}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Erase it yourself
#
# Run the cell and drag over the digit to erase; when you let go, the model completes it eight times. Erase the lower half
# with the sliders and press *complete*, then the upper half. The title counts the known pixels that come after the
# first hole, which it cannot heed. With many of them, look at the seam.

# %% name="erase" tags=["nbval-ignore-output"] alt="Still picture of the explorer of completion: a digit whose lower half is erased, and eight completions."
explorers.completion_explorer(gated, test.floats()[20:32])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A likelihood is the length of a code
#
# <!-- minutes: 11 -->
# <!-- slide: A likelihood is the length of a code -->
# <!-- board
# Bits for a draw from $p$ by a lossless code, on average:
#
# | | |
# | --- | --- |
# | any code | at least $H(p)$ (Shannon, 1948) |
# | designed for a model $q$ | $H(p) + KL(p \,\Vert\, q)$: our loss |
# | arithmetic coding with $q$ | less than two bits above that |
# -->
#
# No lossless code for draws from $p$ takes fewer bits on average than the entropy $H(p)$: Shannon's source coding theorem
# (1948; Cover & Thomas, 2006, chapter 5). A code designed for a model $q$ needs $H(p) + KL(p \,\|\, q)$. That is our
# loss, in bits. **Arithmetic coding** (Witten, Neal & Cleary, 1987) gets there, up to two bits an image.
#
# <!-- slide: Arithmetic coding narrows an interval -->
# <!-- board
# 1. Start with the interval $[0, 1)$.
# 2. At each pixel, divide it among the 17 levels in proportion to their conditional probabilities. Keep the part of the actual level.
# 3. Send $n$ bits: the first multiple of $2^{-n}$ in the interval, where $2^{-n} \le q(x) / 2$.
# -->
# <!-- question: How wide is the interval after the last pixel? -->
# <!-- answer: The product of all conditionals: $q(x)$. -->
#
# Start with the interval $[0, 1)$. At each pixel, divide it among the 17 levels in proportion to their conditional probabilities,
# and keep the part of the actual level. After the last pixel the width is the product of all conditionals, $q(x)$.
# Different images have disjoint intervals. So any number in the interval identifies the image.
#
# How many bits does such a number need? Take $n$ with $2^{-n} \le q(x) / 2$, and the first multiple of $2^{-n}$ in the
# interval. It and the next multiple both lie inside, so whatever bits may follow, the number stays in the interval. The
# smallest such $n$ is $\lceil -\log_2 q(x) \rceil + 1$, less than two bits above $-\log_2 q(x)$.
#
# <!-- slide: Less than two bits above $-\log_2 q(x)$ -->
# <!-- board
# The smallest $n$ with $2^{-n} \le q(x) / 2$ is
#
# $$\lceil -\log_2 q(x) \rceil + 1 < -\log_2 q(x) + 2.$$
#
# One test image:
# -->

# %%
def boundaries(logits):
    """Where the levels' parts of [0, 1] begin and end, as exact fractions."""
    ends = [0, *itertools.accumulate(Fraction(p) for p in logits.softmax(dim=0).tolist())]
    return [Fraction(end) / ends[-1] for end in ends]


def narrow(low, size, ends, level):
    return low + size * ends[level], size * (ends[level + 1] - ends[level])


@torch.no_grad()
def encode(model, image):
    """The bits of an image of levels (C, H, W), as a string. All conditionals come from one pass."""
    logits = model(image[None] / (model.levels - 1))[0]  # (K, C, H, W)
    low, size = Fraction(0), Fraction(1)
    for i, j, c in itertools.product(range(height), range(width), range(len(image))):
        low, size = narrow(low, size, boundaries(logits[:, c, i, j]), int(image[c, i, j]))
    n = next(n for n in itertools.count() if 2**n * size >= 2)
    return format(math.ceil(low * 2**n), f"0{n}b")


# %% [markdown] slideshow={"slide_type": "subslide"}
# The decoder has the model and the bits. It goes through the image as a sampler does, a pass for each pixel. Only, the level is
# not drawn: it is the one whose part holds the number.

# %%
@torch.no_grad()
def decode(model, code):
    number = Fraction(int(code, 2), 2 ** len(code))
    image = torch.zeros(model.shape, dtype=next(model.parameters()).dtype)
    low, size = Fraction(0), Fraction(1)
    for i, j, c in itertools.product(range(height), range(width), range(len(image))):
        ends = boundaries(model(image[None] / (model.levels - 1))[0, :, c, i, j])
        level = bisect.bisect_right(ends, (number - low) / size) - 1
        low, size = narrow(low, size, ends, level)
        image[c, i, j] = level
    return image


coder = copy.deepcopy(gated).double().cpu()
n_codes = 6400 // (height * width)  # 100; fewer of larger images, since the fractions grow with each pixel
originals = test.images[20 : 20 + n_codes].double()
codes = [encode(coder, x) for x in originals]
promised = -coder.log_prob(originals / (test.levels - 1)).detach() / math.log(2)
lengths = torch.tensor([len(code) for code in codes])
decoded = torch.stack([decode(coder, code) for code in codes[:6]])

# %% board="values:promises" tags=["nbval-ignore-output"]
print(codes[0])
print(f"{lengths[0]} bits, where the likelihood promises {promised[0]:.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- question: What does the decoder need besides the bits, and how many passes does it take? -->
# <!-- answer: The same network, and one pass for each pixel: 64. -->
#
# <!-- slide: Encoder and decoder need the same probabilities -->
# <!-- board
# Coded in double precision. Decoded in single precision, none of six is right: a difference of $10^{-7}$ at one pixel moves all later
# boundaries.
# -->
#
# What can go wrong? Both sides must compute *the same* probabilities, to the last digit. A difference of $10^{-7}$ at one pixel moves all later
# boundaries, and each pixel after it magnifies the error. So we give the code, which was made in double precision, to the same network in single precision.
# (In practice a coder rounds the probabilities to integers, which is faster, and runs the network on both sides with the same
# operations in the same order.)

# %% board="figure" alt="Six digits, the same six decoded without any difference, and six decoded in single precision, which come out as other images."
other = copy.deepcopy(gated).cpu()
astray = torch.stack([decode(other, code) for code in codes[:6]])
plots.show_rows({
    name: x / (test.levels - 1)
    for name, x in {"image": originals[:6], "decoded": decoded, "single precision": astray}.items()
})
print(f"decoded, all six equal the images, bit for bit:       {torch.equal(decoded, originals[:6])}")
wrong_image = (astray != originals[:6]).flatten(1).any(dim=1)
print(f"decoded in single precision, none does:               {bool(wrong_image.all())}")
excess = lengths - promised
print(f"{n_codes} codes, each 1 to 2 bits longer than -log2 q(x):   {bool((excess >= 1).all() and (excess < 2).all())}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Lost for good: after a few rows the code is random bits to this decoder, and a decoder that is fed random bits is a sampler. So the
# lower parts of the last row are samples of the network.
#
# <!-- slide: Shorter than general compressors -->
# <!-- board
# The network itself is not counted. Sender and receiver both need its weights, as both need `zlib`.
# -->
#
# For comparison, general compressors. A single small image is mostly overhead to them, so they get all the test images as one stream. The strongest
# simple baseline is our own: the histograms of the single pixels, in the same coder (two bits counted for its end).

# %%
stream, each = test.images.numpy().tobytes(), math.ceil(math.log2(test.levels))
per_image = {
    f"{each} bits a pixel": each * height * width,
    "zlib, all in one stream": 8 * len(zlib.compress(stream, 9)) / len(test),
    "lzma, all in one stream": 8 * len(lzma.compress(stream, preset=9)) / len(test),
    "independent pixels": 2 - baseline.log_prob(originals.long()).sum().item() / n_codes / math.log(2),
    "GatedPixelCNN": lengths.double().mean().item(),
}
ours, others = per_image["GatedPixelCNN"], [value for name, value in per_image.items() if name != "GatedPixelCNN"]
if DATASET == "digits":
    print(f"at least 20 bits an image fewer than any other: {ours + 20 < min(others)}")

# %% board="values" tags=["nbval-ignore-output"]
for name, value in per_image.items():
    print(f"{name:<24} {value:.1f} bits an image")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The network itself is not counted. Sender and receiver both need its weights, as both need `zlib`. And it is slow: the decoder
# runs the network once for every pixel.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Class-conditional PixelCNN
#
# <!-- minutes: 2 -->
# <!-- slide: A label says what, not where -->
# <!-- board
# $p(x \mid y)$: in every layer the label $y$ adds the same bias at every pixel. Each digit, four times:
# -->
#
# A class label $y$ turns the model into $p(x \mid y)$. In every layer the label adds the same bias at every pixel: it
# says *what*, not *where* (equation 4 of the paper). We train a smaller network and ask for each digit four times.

# %% board="figure" alt="Four samples for each of the ten labels, in columns 0 to 9; most can be read as their digit."
conditional = GatedPixelCNN(train.shape, levels=train.levels, hidden_dim=16, depth=2, n_classes=train.n_classes)
fit(conditional.to(DEVICE), train, epochs=EPOCHS, batch_size=16, learning_rate=1.5e-2)
y = torch.arange(train.n_classes, device=DEVICE).repeat(4)
plots.show_images(conditional.sample(len(y), y=y), columns=train.n_classes)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Does the label matter? Give every test image its true label, then a wrong one.

# %%
wrong = ImageSet(test.images, (test.labels + 1) % test.n_classes, test.levels, test.n_classes)
true_label, wrong_label = log_probs(conditional, test), log_probs(conditional, wrong)
better = (true_label > wrong_label).float().mean().item()
if DATASET == "digits":
    print(f"the true label explains more than 90 % of the images better: {better > 0.9}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What more training gives
#
# <!-- minutes: 6 -->
#
# Everything above was trained within this notebook. Among the pretrained models of the course is a larger GatedPixelCNN that had
# minutes of a fast GPU. It learnt MNIST: 28 by 28 pixels, each black or white. Loading it needs no network. Its card says
# what it cost, and `about.command` how to train it again.

# %%
from genlib import pretrained

mnist_model = pretrained.load("gated_pixelcnn-mnist").to(DEVICE)
about = pretrained.card("gated_pixelcnn-mnist")
print(about.training)
print(f"{about.parameters:,} parameters in {about.size / 1e6:.1f} MB")

# %% name="mnist" alt="Sixteen samples of the model trained on MNIST: black-and-white digits of 28 by 28 pixels, most of them readable."
plots.show_images(mnist_model.sample(16), columns=8, size=1.2)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Most of these you can read. Are they new? That the file holds no image of MNIST does not say so: weights can memorise
# images, and lesson {{gan_architectures}} catches a model that copies. The check is the distance to the nearest training image, beside that of
# images which cannot be copies. It needs MNIST, which the lessons do not download (`nearest_neighbours` of
# `genlib.metrics` does it). Where MNIST is at hand, `tests/test_pretrained.py` runs it: half of 100 samples differ from their
# nearest training image in 43 pixels or more, half of 100 test images in 44 or more, give or take 5. That is no sign of copies.
#
# <!-- slide: MNIST, beside published likelihoods -->
# <!-- board
# 28 by 28 pixels, each black or white. The two in the middle are from the PixelRNN paper, scored on another draw of black and white: a few
# tenths of a nat mean little.
# -->
#
# Now the likelihood, from the card, over all test images. Beside it stand two models of the PixelRNN paper. They were scored on another draw of black and white from the
# same grey images, so a few tenths of a nat mean little.

# %% board="values"
nats, alone = about.metrics["nats"], about.metrics["independent_pixels"]
paper = {"PixelCNN": 81.30, "Diagonal BiLSTM, 7 layers": 79.20}  # van den Oord et al. (2016a), table 4
for name, value in {"independent pixels": alone.value, **paper}.items():
    print(f"{name:<25} {value:6.2f} nats an image")
in_bits = about.metrics["bits_per_dim"].value
print(f"{'GatedPixelCNN, pretrained':<25} {nats.value:6.2f} ± {nats.error:.2f}, {in_bits:.3f} bits/dim")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The bits per dimension of our small digits cannot be compared with these: other images, other levels. What can be compared,
# with care, is the share of the bits of independent pixels that a model saves.

# %%
small_saves, saves = 1 - bits["GatedPixelCNN"] / bits["independent pixels"], 1 - nats.value / alone.value
if DATASET == "digits":
    print(f"the small network above saves 15 to 30 % of it: {0.15 < small_saves < 0.3}")
print(f"this one saves {100 * saves:.0f} %")

# %% [markdown] slideshow={"slide_type": "subslide"}
# With care, for only a part of this is training. On 28 by 28 pixels a stroke is several pixels wide, so that most pixels look
# like their neighbours, and black or white is easier to guess than one of 17 levels.
#
# ### Upper halves from another data set
#
# <!-- slide: Upper halves that the model has never seen -->
# <!-- board
# Trained on MNIST, given simulated handwriting.
# -->
#
# Now give it the upper halves of images from another source. `strokes` simulates handwriting: no person wrote these digits,
# and the model has seen none of them.

# %% board="figure" alt="Ten drawn digits, their upper halves, and three completions of each; some are completed to another digit, a 0 to a 9 for instance."
drawn = binarise(strokes(10, seed=1, labels=torch.arange(10))).floats().to(DEVICE)
upper = torch.zeros(1, 28, 28, dtype=torch.bool, device=DEVICE)
upper[:, :14] = True
draws = mnist_model.sample(30, known=drawn.repeat(3, 1, 1, 1), mask=upper).chunk(3)
plots.show_rows({
    "drawn": drawn, "given": torch.where(upper, drawn, torch.nan),
    **{f"draw {k}": x for k, x in enumerate(draws, start=1)},
})

# %% [markdown] slideshow={"slide_type": "subslide"}
# Strokes go on over the seam as if nothing were there. Where the upper half leaves a choice, the draws differ: look at the
# last column. And some end in no digit at all. Do its own samples, too? The card has numbers for that, as a small classifier
# sees images: the Fréchet distance, **precision**, the share of samples that lie among real images, and **recall**, the share
# of real images that lie among samples (lesson {{gan_architectures}} has more on them). Beside them, what as many training images get.

# %%
for name in ("frechet", "precision", "recall"):
    ours, real = about.metrics[name].value, about.metrics[f"real_{name}"].value
    print(f"{name:<9} of 1000 samples {ours:.2f}, of as many training images {real:.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Nearly as good as real images, says this judge. It is a small one, and accepts digits that no person would write.
#
# What more training did not change: an image takes 784 steps, there is no code to edit, and only what comes later can be completed.
# The explorers of this lesson take the large model too. Give the last one `mnist_model` and `drawn` in place of its two arguments:
# it needs some seconds for each completion, and shows the seam better.

# %% [markdown] slideshow={"slide_type": "subslide"}
# ### Photographs
#
# <!-- slide: A small network on photographs -->
# <!-- board
# CIFAR-10, 2,500 photographs: 4.62 bits/dim. Independent pixels: 7.96. A guess from three neighbours, with a histogram of its
# errors: 4.49. Most of what is gained comes from neighbouring pixels.
# -->
#
# And natural images? CIFAR-10 (Krizhevsky, 2009) has colour photographs of 32 by 32 pixels, 256 levels for each colour. A small
# GatedPixelCNN had 2,500 of them, and 11 minutes of one processor core. It needs 4.62 bits/dim on 500 test images. Independent
# pixels need 7.96, close to the 8 of a uniform distribution. A stronger baseline predicts each value from three neighbours
# and from the error in the colour before, and keeps one histogram of errors a colour (the predictor is that of LOCO-I; Weinberger et al.,
# 2000): 4.49. `make results ARGS="colour_small --cpu-minutes 11 --samples FILE.png"` trains
# it and draws this picture of the first ten test images:

# %% board="figure" alt="Ten photographs, their upper halves, three completions of each whose lower halves are patches of fitting colour without objects, and ten new images of such patches."
from IPython.display import Image

Image("pictures/cifar10.png", alt="Ten photographs, their upper halves, three completions of each, ten new images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The result is poor, and in bits three neighbours and a histogram beat it. Colours go on over the seam for a few rows, then dissolve into blotches, and among the new
# images is no object. Most of the likelihood comes from neighbouring pixels, which a small network learns first. This one reads at most seven rows
# upwards, has few weights, and saw each photograph about 8 times. A larger network that trained longer on the same photographs beats both
# baselines: it stands among the results on real data (`make results`).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What PixelCNN is good for, and what it is not
#
# <!-- minutes: 2 -->
# <!-- slide: Recap -->
# <!-- board
# 1. Mask A first, mask B after it: all conditionals in one pass.
# 2. $r$ rows up, PixelCNN reads at most $r + 2$ columns to the right. Two stacks close the blind spot.
# 3. Caching: drawing in order $N^2$ instead of $N^4$, still one step per pixel.
# 4. Exact completion: known pixels first.
# 5. Arithmetic coding: less than $-\log_2 q(x) + 2$ bits.
# -->
#
# | | |
# | --- | --- |
# | exact likelihood | compared between models, checked by sums, used for compression |
# | parallel training | one pass for all pixels |
# | stable training | the loss falls, and says how good the model is |
# | slow sampling | one pass per value; caching removes the waste, not the order |
# | no features | nothing like a latent code to edit or to classify with |
# | a chosen order | completes what comes later, not what comes earlier |
# | local | samples have good texture before they have good shape |
#
# The digits of this lesson are tiny and most of its networks small. `docs/results.md` has all pixel models of the course on real MNIST,
# beside the papers' figures, and the commands that trained them.

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - van den Oord, Kalchbrenner, Kavukcuoglu (2016a), *Pixel Recurrent Neural Networks*, arXiv:1601.06759. Masks:
#   section 3.4; PixelCNN: section 3.5.
# - van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu (2016b), *Conditional Image Generation with
#   PixelCNN Decoders*, arXiv:1606.05328. Blind spot: figure 1; gates: equation 2; labels: equation 4.
# - Salimans, Karpathy, Chen, Kingma (2017), *PixelCNN++*, arXiv:1701.05517: a smoother distribution over levels.
# - Shannon (1948), *A Mathematical Theory of Communication*, Bell System Technical Journal 27: the source coding theorem.
# - Witten, Neal, Cleary (1987), *Arithmetic coding for data compression*, Communications of the ACM 30.
# - Cover, Thomas (2006), *Elements of Information Theory*, second edition, chapter 5.
# - Krizhevsky (2009), *Learning multiple layers of features from tiny images*: CIFAR-10.
# - Weinberger, Seroussi, Sapiro (2000), *The LOCO-I lossless image compression algorithm: principles and standardization into
#   JPEG-LS*, IEEE Transactions on Image Processing 9.
# - Ramachandran et al. (2017), *Fast Generation for Convolutional Autoregressive Models*, arXiv:1704.06001: caching.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build a PixelCNN yourself, step by step and with each step checked: [the
# exercises]({{pixelcnn}}_pixelcnn_exercises.ipynb). {{after}}
