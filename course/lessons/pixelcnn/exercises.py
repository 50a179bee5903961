# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PixelCNN: exercises
#
# **Can you build a PixelCNN from nothing but tensors?**
#
# Eleven steps take you there, from the chain rule to a network that draws. They belong to lesson
# [{{pixelcnn}} PixelCNN](../notebooks/{{pixelcnn}}_pixelcnn.ipynb), which explains the ideas; read it first, or beside this. You need
# one course in probability and one in PyTorch. All eleven steps take about 155 minutes, and
# putting them together at the end 15 more; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and if that is not enough the code below it. The
# answers are in
# [solutions](../solutions/{{pixelcnn}}_pixelcnn_exercises.ipynb); later steps use your functions, so copy the answer of a step
# that you skip.

# %%
import itertools
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import plots
from genlib.data import load
from genlib.metrics import bars_kl

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on images this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. The chain rule by hand
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# An image of 2 x 2 black-and-white pixels is one of 16. Their probabilities fit in a table with one axis a pixel:
# `table[a, b, c, d]` is the probability of the image with the rows $(a, b)$ and $(c, d)$. In raster order the pixels
# are $x_1 = a$, $x_2 = b$, $x_3 = c$, $x_4 = d$. The chain rule splits the table into four factors:
#
# $$p(x) = p(x_1)\; p(x_2 \mid x_1)\; p(x_3 \mid x_1, x_2)\; p(x_4 \mid x_1, x_2, x_3), \qquad
# p(x_i \mid x_1, \dots, x_{i-1}) = \frac{p(x_1, \dots, x_i)}{p(x_1, \dots, x_{i-1})}.$$
#
# The probability of the first pixels alone is a sum over all the later ones.
#
# **Write** `conditionals(table)`. It returns the four factors as tensors of shape (2,), (2, 2), (2, 2, 2) and
# (2, 2, 2, 2). The earlier pixels are the first axes, the pixel that the factor is about is the last.
#
# <details><summary>Hint</summary>
#
# Sum out the later pixels to get $p(x_1, \dots, x_i)$. Divided by its own sum over the last axis it is
# $p(x_i \mid x_1, \dots, x_{i-1})$. Keep that axis, with length 1, so that the division lines up.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# pair = table.sum(dim=(2, 3))  # p(x1, x2)
# second = pair / pair.sum(dim=-1, keepdim=True)  # p(x2 | x1)
# ```
# </details>

# %%
def conditionals(table):
    """table (2, 2, 2, 2), probabilities -> four factors, (2,), (2, 2), (2, 2, 2) and (2, 2, 2, 2)."""
    ### BEGIN SOLUTION
    joint = [table.sum(dim=(1, 2, 3)), table.sum(dim=(2, 3)), table.sum(dim=3), table]
    return [p / p.sum(dim=-1, keepdim=True) for p in joint]
    ### END SOLUTION


# %%
checks.pixelcnn.conditionals(conditionals)

# %% [markdown]
# Now use them. In this distribution the lower row always repeats the upper one. A model that only knows how often each pixel is
# white cannot say so; the four factors can.

# %%
table = torch.zeros(2, 2, 2, 2)
table[0, 0, 0, 0], table[0, 1, 0, 1], table[1, 0, 1, 0], table[1, 1, 1, 1] = 0.4, 0.1, 0.2, 0.3
table = 0.99 * table + 0.01 / 16  # nothing is impossible, so nothing divides by zero
first, second, third, fourth = conditionals(table)
print(f"p(x3 = 1)                  = {table.sum(dim=(0, 1, 3))[1]:.2f}")
print(f"p(x3 = 1 | x1 = 1, x2 = 0) = {third[1, 0, 1]:.2f}")

# %% [markdown]
# ## Step 2. Two masks
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# A table grows too fast: 8 x 8 pixels would need $2^{64}$ entries. A network computes the factors instead. It may read
# the rows above a pixel and, in its own row, what is left of it. A convolution reads a whole square, so a **mask** of
# zeros and ones says which entries of the kernel count:
#
# $$\text{mask}_{ab} = \begin{cases}1 & \text{row } a \text{ above the centre, or in its row and left of it} \\
# 1 & \text{at the centre, for mask B only} \\ 0 & \text{elsewhere.}\end{cases}$$
#
# Mask A belongs in the first layer, where the centre is the very pixel to predict. Later layers take mask B: there the
# centre is a feature, made from earlier pixels.
#
# **Write** `mask(kind, size)`. It returns a (size, size) tensor for kind `"A"` or `"B"` and any odd size.
#
# <details><summary>Hint</summary>
#
# Start with ones. The centre is at `size // 2` in both directions. Two slices set to zero what comes later; mask A needs
# one entry more.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# allowed[centre, centre + 1 :] = 0  # right of the centre
# allowed[centre + 1 :] = 0  # the rows below
# ```
# </details>

# %%
def mask(kind, size):
    """kind "A" or "B", size odd -> zeros and ones, (size, size)."""
    ### BEGIN SOLUTION
    centre = size // 2
    allowed = torch.ones(size, size)
    allowed[centre, centre + 1 :] = 0  # right of the centre
    allowed[centre + 1 :] = 0  # the rows below
    if kind == "A":
        allowed[centre, centre] = 0
    return allowed
    ### END SOLUTION


# %%
checks.pixelcnn.mask(mask)
both = torch.stack([mask("A", 5), mask("B", 5)])[:, None].float()
plots.show_images(both, titles=["mask A", "mask B"], size=1.3)

# %% [markdown]
# ## Step 3. A masked convolution
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# The mask $m$ multiplies the kernel $w$ in the call:
#
# $$\text{out} = x * (w \odot m) + b.$$
#
# The weight itself is never changed. It belongs to the optimiser, which keeps its own account of it. Masked entries
# get a gradient of zero by themselves.
#
# **Write** `masked_conv(x, weight, mask, bias)`, with x (B, C, H, W), weight (F, C, k, k), mask (k, k) and bias (F,).
# The result (B, F, H, W) is as large as the image: beyond its edge stand zeros.
#
# <details><summary>Hint</summary>
#
# How many pixels beyond the edge does a kernel of size $k$ reach? `F.conv2d` takes a `padding`. The mask (k, k)
# broadcasts over the first two axes of the weight; make a new tensor of the two.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# F.conv2d(x, weight * mask, bias, padding=weight.shape[-1] // 2)
# ```
# </details>

# %%
def masked_conv(x, weight, mask, bias):
    """x (B, C, H, W), weight (F, C, k, k), mask (k, k), bias (F,) -> (B, F, H, W)."""
    ### BEGIN SOLUTION
    return F.conv2d(x, weight * mask, bias, padding=weight.shape[-1] // 2)
    ### END SOLUTION


# %%
checks.pixelcnn.masked_conv(masked_conv)

# %% [markdown]
# ## Step 4. What does it read?
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# Does a network read ahead? Do not argue, differentiate. The output $f_k(i, j)$ depends on the input pixel $(u, v)$ where
#
# $$\frac{\partial f_k(i, j)}{\partial x_c(u, v)} \neq 0 \quad \text{for some output } k, \text{ input channel } c
# \text{ and image } x.$$
#
# One backward pass from one output pixel gives these derivatives for all input pixels at once. Several images are needed:
# a unit that is shut for one of them may be open for another.
#
# **Write** `receptive_field(net, x, pixel)`. `net` maps x (B, C, H, W) to (B, K, H, W), and `pixel` is (row, column).
# It returns booleans (H, W): true where the output at `pixel` reads the input. Leave the images of the caller as they
# are.
#
# <details><summary>Hint</summary>
#
# Work on a copy of the images that wants a gradient. Add up all outputs at the pixel and differentiate that number. Take
# absolute values before you add up images and channels, or they may cancel.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x = x.clone().requires_grad_()
# (gradient,) = torch.autograd.grad(net(x)[:, :, row, column].sum(), x)  # (B, C, H, W)
# ```
# </details>

# %%
def receptive_field(net, x, pixel):
    """net: (B, C, H, W) -> (B, K, H, W); x (B, C, H, W), pixel (row, column) -> booleans (H, W)."""
    ### BEGIN SOLUTION
    x = x.clone().requires_grad_()
    row, column = pixel
    (gradient,) = torch.autograd.grad(net(x)[:, :, row, column].sum(), x)
    return gradient.abs().sum(dim=(0, 1)) != 0  # (H, W)
    ### END SOLUTION


# %%
checks.pixelcnn.receptive_field(receptive_field)

# %% [markdown]
# ## Step 5. The blind spot
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# A good network reads nothing at or after its pixel. But does it read everything before? The **blind spot** is what it
# misses: the pixels that come earlier in raster order and are not read. For the pixel $(i, j)$ of an image of width
# $W$ that is
#
# $$\{(u, v) : uW + v < iW + j\} \setminus \{(u, v) : \text{read}\}.$$
#
# **Write** `blind_spot(read, pixel)`. `read` (H, W) is what `receptive_field` returns. The result is true for the
# pixels that are earlier than `pixel` = (row, column) and not read.
#
# <details><summary>Hint</summary>
#
# Number all pixels in raster order: $(u, v)$ has the number $uW + v$. Then "earlier and not read" is one line with `&`
# and `~`.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# number = torch.arange(height * width).reshape(height, width)
# ```
# </details>

# %%
def blind_spot(read, pixel):
    """read (H, W) booleans, pixel (row, column) -> booleans (H, W)."""
    ### BEGIN SOLUTION
    height, width = read.shape
    number = torch.arange(height * width).reshape(height, width)
    return (number < number[pixel]) & ~read
    ### END SOLUTION


# %%
checks.pixelcnn.blind_spot(blind_spot)

# %% [markdown]
# Here is a network with six of your masked convolutions, 3 x 3, with random weights. White is what it reads for the pixel
# in row 6, column 4; grey-blue is the blind spot. Before you run the cell: what shape do you expect?

# %%
first_weight, *weights = [torch.randn(8, c, 3, 3) / (3 * c) ** 0.5 for c in (1, 8, 8, 8, 8, 8)]


def one_stack(x):
    h = masked_conv(x, first_weight, mask("A", 3), torch.zeros(8))
    for weight in weights:
        h = masked_conv(h.tanh(), weight, mask("B", 3), torch.zeros(8))
    return h


def picture(read, hidden):
    return torch.where(hidden, torch.nan, read.float())[None]


x, pixel = torch.randn(8, 1, 10, 11), (6, 4)
read = receptive_field(one_stack, x, pixel)
hidden = blind_spot(read, pixel)
plots.show_images(torch.stack([picture(read, hidden)]), titles=["one stack"], size=2.4)

# %% [markdown]
# The wedge at the right is no accident. A 3 x 3 layer moves to the right only when it climbs a row, so $r$ rows up it
# gets at most $r$ columns to the right. More layers do not change the angle.

# %%
up, right = 6 - torch.arange(10)[:, None], torch.arange(11) - 4
wedge = (up > 0) & (right > up)
print(f"{int(hidden.sum())} earlier pixels are never read")
print(f"all of them lie more than r columns to the right, r rows up: {torch.equal(hidden, wedge)}")

# %% [markdown]
# ## Step 6. The vertical stack
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# Gated PixelCNN closes the wedge with a **vertical stack**: convolutions that read upwards, as far to both sides as
# they like. They need no mask. With a kernel $w$ of $R$ rows and $2r + 1$ columns,
#
# $$\text{out}_{ij} = \sum_{a=1}^{R} \sum_{b=-r}^{r} w_{ab}\; x_{\,i - s - (R - a),\; j + b},$$
#
# so the kernel's last row ($a = R$) lies on the pixel's own row for $s = 0$, and on the row above for $s = 1$. The
# first layer needs $s = 1$: its own row holds the answer. Later layers take $s = 0$, since there row $i$ already
# stands for the rows above $i$.
#
# **Write** `look_up(x, weight, strict)`, with x (B, C, H, W), weight (F, C, R, 2r + 1), and $s = 1$ where `strict` is
# true. The result is (B, F, H, W); beyond the edge stand zeros.
#
# <details><summary>Hint</summary>
#
# Pad by hand, then convolve without padding. How many rows of zeros does a kernel of R rows need above, if its last row
# lies on the pixel's own? And with $s = 1$ the image moves down by a row: one row more at the top, one less at the bottom.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# F.pad(x, (side, side, rows - 1, 0))  # left, right, top, bottom
# F.pad(x, (side, side, rows, -1))  # a negative number cuts
# ```
# </details>

# %%
def look_up(x, weight, strict):
    """x (B, C, H, W), weight (F, C, R, 2r + 1), strict a boolean -> (B, F, H, W)."""
    ### BEGIN SOLUTION
    rows, side = weight.shape[2], weight.shape[3] // 2
    down = 1 if strict else 0
    return F.conv2d(F.pad(x, (side, side, rows - 1 + down, -down)), weight)
    ### END SOLUTION


# %%
checks.pixelcnn.look_up(look_up)

# %% [markdown]
# Now both stacks together. The vertical stack `v` sees the rows above. The horizontal stack `h` sees its own row to the
# left, by a mask whose upper rows are zero too, and in each layer it reads `v`. The reverse never happens: `v` reads to
# the right, and would pass later pixels on.

# %%
up_weights = [torch.randn(8, c, 2, 3) / (3 * c) ** 0.5 for c in (1, 8, 8, 8, 8, 8)]
own_row = torch.tensor([0.0, 1.0, 0.0])[:, None]  # keeps the middle row of a mask


def two_stacks(x):
    v = look_up(x, up_weights[0], strict=True)
    h = v + masked_conv(x, first_weight, mask("A", 3) * own_row, torch.zeros(8))
    for up_weight, weight in zip(up_weights[1:], weights):
        v = look_up(v.tanh(), up_weight, strict=False)
        h = v + masked_conv(h.tanh(), weight, mask("B", 3) * own_row, torch.zeros(8))
    return h


# %% [markdown]
# Six layers reach six columns to each side, as far as this image goes. The wedge is gone.

# %%
read_by_two = receptive_field(two_stacks, x, pixel)
hidden_from_two = blind_spot(read_by_two, pixel)
plots.show_images(
    torch.stack([picture(read, hidden), picture(read_by_two, hidden_from_two)]),
    titles=["one stack", "two stacks"], columns=2, size=2.4,
)
print(f"blind spot: {int(hidden.sum())} pixels with one stack, {int(hidden_from_two.sum())} with two")

# %% [markdown]
# ## Step 7. The gate and the label
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# A ReLU is a gate, $\max(a, 0) = a \cdot [a > 0]$, but one number is both the feature and what opens it. Gated PixelCNN takes two
# (van den Oord et al., 2016, arXiv:1606.05328, equation 2). A layer makes $2F$ channels: the first $F$ of them, $f$, propose
# features, and the others, $g$, say how far each may pass, from 0 to 1. A gate that is shut lets no gradient pass either.
#
# A network that should draw *what you ask for* gets a **label** $y$. With $h$ the one-hot vector of the label, 1 at place $y$
# and 0 elsewhere, equation 4 of the paper is
#
# $$\text{out} = \tanh(f + V_f^{\top} h) \odot \sigma(g + V_g^{\top} h), \qquad V_f^{\top} h = \text{row } y \text{ of } V_f.$$
#
# So a label is one more bias, learned, for each class and channel. It is the same at every pixel: it says what to draw, not
# where.
#
# **Write** `gate(features, bias, y)`, with features (B, 2F, H, W), whose axis 1 holds $f$ and then $g$, bias (K, 2F), the rows of
# $V_f$ and $V_g$ side by side, and labels y (B,), whole numbers from 0 to K - 1. The result is (B, F, H, W).
#
# <details><summary>Hint</summary>
#
# No one-hot vector is needed: pick a row for each image. It wants two more axes before it can be added to an image. Add it
# first, then cut axis 1 into halves.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# of_label = bias[y][:, :, None, None]  # (B, 2F, 1, 1)
# f, g = (features + of_label).chunk(2, dim=1)  # (B, F, H, W) each
# ```
# </details>

# %%
def gate(features, bias, y):
    """features (B, 2F, H, W), the halves f and g; bias (K, 2F); labels y (B,) -> (B, F, H, W)."""
    ### BEGIN SOLUTION
    f, g = (features + bias[y][:, :, None, None]).chunk(2, dim=1)
    return f.tanh() * g.sigmoid()
    ### END SOLUTION


# %%
checks.pixelcnn.gate(gate)

# %% [markdown]
# What is a label worth? The 30 images of `bars` are columns, rows, and two that are both, all black and all white. These are
# their labels. An image determines its label, so $p(x) = p(y)\, p(x \mid y)$, and on average the label saves just what it would
# cost to send, its entropy,
#
# $$\mathbb E[-\log p(x)] - \mathbb E[-\log p(x \mid y)] = \mathbb E[-\log p(y)] = H(y).$$
#
# Two networks with gates, trained alike; for one of them all labels are 0. **Predict before you run the cell:** there are two large
# classes, as likely as each other. Will the label save a bit, which is $\ln 2 = 0.69$ nats, or more, or less?

# %%
class Gated(nn.Module):
    def __init__(self, classes, channels=24):
        super().__init__()
        self.first = nn.Conv2d(1, 2 * channels, 7)
        self.middle = nn.Conv2d(channels, 2 * channels, 3)
        self.bias = nn.Parameter(torch.zeros(2, classes, 2 * channels))  # a label starts by saying nothing
        self.last = nn.Conv2d(channels, 2, 1)

    def forward(self, x, y):
        h = masked_conv(2 * x - 1, self.first.weight, mask("A", 7), self.first.bias)
        h = gate(h, self.bias[0], y)
        more = masked_conv(h, self.middle.weight, mask("B", 3), self.middle.bias)
        return self.last(h + gate(more, self.bias[1], y))


def nats_of(labels, steps=150):
    """Train on bars with these labels; -log p(x | y) at the end, averaged over the images."""
    model, images = Gated(classes=3), bars.floats()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
    for _ in range(steps):
        loss = F.cross_entropy(model(images, labels), images[:, 0].long(), reduction="sum") / len(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return loss.item()


bars = load("bars")
without, with_label = nats_of(torch.zeros_like(bars.labels)), nats_of(bars.labels)
share = bars.labels.bincount() / len(bars)
entropy = -(share * share.log()).sum().item()
print(f"entropy of the label: {entropy:.2f} nats; of an image: ln 30 = {math.log(30):.2f} nats")
print(f"without labels the network comes within 0.1 nats of ln 30: {without - math.log(30) < 0.1}")
print(f"the label saves its entropy, within 0.05 nats:             {abs(without - with_label - entropy) < 0.05}")
print(f"on an image of a large class {-share[0].log():.2f} nats, on each of the two rare ones {-share[2].log():.2f}")

# %% [markdown]
# More than a bit, for the label also names the third class. It is rare, and so to be told of it is worth much.

# %% [markdown]
# ## Step 8. The likelihood
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# The network ends in $K$ logits for every value, one for each level. A softmax over them is the factor
# $p(x_i \mid x_1, \dots, x_{i-1})$. The chain rule becomes a sum:
#
# $$\text{nats}(x) = -\log p(x) = -\sum_{i=1}^{CHW} \log p(x_i \mid x_1, \dots, x_{i-1}), \qquad
# \text{bits/dim}(x) = \frac{\text{nats}(x)}{CHW \ln 2}.$$
#
# Nats are what we minimise. Bits per dimension are what we report: they let us compare images of different sizes.
#
# **Write** `nll(logits, level)`, with logits (B, K, C, H, W) and level (B, C, H, W), whole numbers from 0 to K - 1. It
# returns two tensors (B,): the nats and the bits/dim of each image.
#
# <details><summary>Hint</summary>
#
# `F.cross_entropy` wants the levels at axis 1, which is where they are. It averages over everything unless told
# otherwise. Then sum over all axes but the first. How many dimensions has an image?
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# F.cross_entropy(logits, level, reduction="none")  # (B, C, H, W)
# dimensions = level[0].numel()
# ```
# </details>

# %%
def nll(logits, level):
    """logits (B, K, C, H, W), level (B, C, H, W) -> nats (B,) and bits/dim (B,)."""
    ### BEGIN SOLUTION
    nats = F.cross_entropy(logits, level, reduction="none").flatten(1).sum(dim=1)  # (B,)
    dimensions = level[0].numel()
    return nats, nats / (dimensions * math.log(2))
    ### END SOLUTION


# %%
checks.pixelcnn.nll(nll)

# %% [markdown]
# A uniform model has equal logits everywhere. On digits, with 17 levels, it needs $\log_2 17$ bits for each
# pixel. Remember the number: it is the one to beat.

# %%
digits = load("digits", size=5)
nats, bits = nll(torch.zeros(5, 17, 1, 8, 8), digits.images.long())
print(f"knowing nothing costs {nats[0]:.1f} nats an image, {bits[0]:.2f} bits/dim; log2(17) = {math.log2(17):.2f}")

# %% [markdown]
# ## Step 9. Draw an image
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# Sampling follows the chain rule to the letter. Draw $x_1$, write it into the image, ask the network again, draw $x_2$,
# and so on: row by row, from left to right, and within a pixel one channel after the other.
#
# $$x_i \sim p(x_i \mid x_1, \dots, x_{i-1}), \qquad i = 1, \dots, CHW.$$
#
# **Write** `sample(logits_of, n, shape, levels)`. `logits_of` maps images (n, C, H, W) to logits (n, K, C, H, W), and
# `shape` is (C, H, W). It returns n images, where level $k$ stands as $k / (K - 1)$, so that black is 0 and white is 1.
#
# <details><summary>Hint</summary>
#
# Start with any images of this shape, for instance zeros: what is not drawn yet must not matter. Three loops, rows,
# columns and channels inside, and in them three steps: the logits of this one value, a draw, and the value into x.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# logits = logits_of(x)[:, :, c, i, j]  # (n, K)
# level = torch.distributions.Categorical(logits=logits).sample()  # (n,)
# ```
# </details>

# %%
@torch.no_grad()
def sample(logits_of, n, shape, levels):
    """logits_of: (n, C, H, W) -> (n, K, C, H, W); shape (C, H, W) -> images (n, C, H, W) in [0, 1]."""
    ### BEGIN SOLUTION
    x = torch.zeros(n, *shape)
    channels, height, width = shape
    for i, j, c in itertools.product(range(height), range(width), range(channels)):
        logits = logits_of(x)[:, :, c, i, j]  # (n, K)
        x[:, c, i, j] = torch.distributions.Categorical(logits=logits).sample() / (levels - 1)
    return x
    ### END SOLUTION


# %%
checks.pixelcnn.sample(sample)

# %% [markdown]
# ## Step 10. Complete an image
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# Part of the image is known. Keep it, and draw the rest:
#
# $$x_i = \begin{cases} \text{known}_i & \text{where mask}_i \text{ is true} \\
# \text{a draw from } p(x_i \mid x_1, \dots, x_{i-1}) & \text{elsewhere.} \end{cases}$$
#
# **Write** `complete(logits_of, known, mask, levels)`, with known (n, C, H, W) in [0, 1] and mask (n, C, H, W) booleans.
# The mask may have holes, and other ones in each image. Leave the images of the caller as they are.
#
# <details><summary>Hint</summary>
#
# Take your sampler. Put the known values in first, in a new tensor. At each value of each image the mask decides
# whether the known or the drawn one is written.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x[:, c, i, j] = torch.where(mask[:, c, i, j], known[:, c, i, j], drawn)
# ```
# </details>

# %%
@torch.no_grad()
def complete(logits_of, known, mask, levels):
    """logits_of as in sample; known and mask (n, C, H, W) -> images (n, C, H, W) in [0, 1]."""
    ### BEGIN SOLUTION
    x = torch.where(mask, known, 0)
    channels, height, width = known.shape[1:]
    for i, j, c in itertools.product(range(height), range(width), range(channels)):
        logits = logits_of(x)[:, :, c, i, j]  # (n, K)
        drawn = torch.distributions.Categorical(logits=logits).sample() / (levels - 1)
        x[:, c, i, j] = torch.where(mask[:, c, i, j], known[:, c, i, j], drawn)
    return x
    ### END SOLUTION


# %%
checks.pixelcnn.complete(complete)

# %% [markdown]
# ## Step 11. Red, then green, then blue
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# A colour pixel holds three values, and the chain rule orders them too: red first, then green given red, then blue given
# both. So at the centre of the kernel the answer is no longer yes or no. Each channel belongs to a **group**: 0 for
# red, 1 for green, 2 for blue. An output of group $g$ may read, at its own pixel, an input of group $g'$ if
#
# $$g' < g \;\; \text{(mask A)}, \qquad g' \le g \;\; \text{(mask B)}.$$
#
# **Write** `colour_mask(kind, in_group, out_group)`. The groups are whole numbers, (C,) for the inputs and (F,) for the
# outputs. The result is (F, C), as the first two axes of a weight.
#
# <details><summary>Hint</summary>
#
# Compare every output's group with every input's. With an axis of length 1 in the right place they broadcast to
# (F, C).
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# in_group < out_group[:, None]  # (C,) and (F, 1) -> (F, C)
# ```
# </details>

# %%
def colour_mask(kind, in_group, out_group):
    """kind "A" or "B", in_group (C,), out_group (F,) -> zeros and ones, (F, C)."""
    ### BEGIN SOLUTION
    if kind == "A":
        return (in_group < out_group[:, None]).float()
    return (in_group <= out_group[:, None]).float()
    ### END SOLUTION


# %%
checks.pixelcnn.colour_mask(colour_mask)

# %% [markdown]
# Two layers, six features between them, two of each colour. Follow the ones from left to right: does blue's prediction
# see its own answer?

# %%
colours, features = torch.arange(3), torch.tensor([0, 0, 1, 1, 2, 2])
paths = colour_mask("B", features, colours).float() @ colour_mask("A", colours, features).float()
for name, row in zip(("red", "green", "blue"), paths > 0):
    seen = [colour for colour, yes in zip(("red", "green", "blue"), row) if yes]
    print(f"{name:<5} reads {' and '.join(seen) or 'nothing of its own pixel'}")

# %% [markdown]
# ## All together: your PixelCNN
#
# *15 minutes*
#
# Your pieces make a whole model. One 7 x 7 layer with mask A, two residual layers with mask B, and a 1 x 1 layer that
# gives the logits. Nothing here comes from `genlib.autoregressive`.
#
# The data are `bars`: 30 images of 4 x 4 pixels, each with probability 1/30, so that the truth is known.

# %%
class MyPixelCNN(nn.Module):
    def __init__(self, levels, channels=24):
        super().__init__()
        self.first = nn.Conv2d(1, channels, 7)  # these hold weights and biases; you do the convolving
        self.middle = nn.ModuleList(nn.Conv2d(channels, channels, 3) for _ in range(2))
        self.last = nn.Conv2d(channels, levels, 1)

    def forward(self, x):
        h = masked_conv(2 * x - 1, self.first.weight, mask("A", 7), self.first.bias)
        for layer in self.middle:
            h = h + masked_conv(h.relu(), layer.weight, mask("B", 3), layer.bias)
        return self.last(h.relu())[:, :, None]  # (B, K, 1, H, W)


# %%
x = bars.floats()
model = MyPixelCNN(bars.levels)
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=150)  # ever smaller steps


def log_prob(x):
    return -nll(model(x), x.long())[0]


# %%
with torch.no_grad():
    before = bars_kl(log_prob)

for _ in range(150):
    loss = -log_prob(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()

# %% [markdown]
# How far is your model from the truth? On `bars` the Kullback-Leibler divergence is a sum of 30 terms, so this is no
# estimate. And it still must not read ahead: your own receptive field says so.

# %%
with torch.no_grad():
    after = bars_kl(log_prob)
ahead = receptive_field(lambda x: model(x)[:, :, 0], torch.rand(16, 1, 4, 4), (2, 1)).flatten()[2 * 4 + 1 :]
print(f"KL to the truth was more than 5 nats before training:      {before > 5}")
print(f"KL to the truth is less than 0.05 nats after training:     {after < 0.05}")
print(f"the prediction at row 2, column 1 reads nothing from there on: {not ahead.any()}")

# %% [markdown]
# Draw 30 images with your sampler. Then give it the upper half of six images and let it draw the lower half, twice.
# Where the given half shows columns, only one lower half is right. Where it shows rows, any stripes will do.

# %%
drawn = sample(model, 30, bars.shape, bars.levels)
is_bars = (drawn[:, None] == x).flatten(2).all(dim=2).any(dim=1)
plots.show_images(drawn, columns=15, size=0.5, title="drawn by your PixelCNN")
print(f"at least 27 of 30 drawn images are bars or stripes: {int(is_bars.sum()) >= 27}")

# %%
known = x[[3, 9, 12, 16, 20, 25]]
upper = torch.zeros_like(known, dtype=torch.bool)
upper[:, :, :2] = True
plots.show_rows({
    "given": torch.where(upper, known, torch.nan),
    "draw 1": complete(model, known, upper, bars.levels),
    "draw 2": complete(model, known, upper, bars.levels),
})

# %% [markdown]
# ## What you have built
#
# A generative model with an exact likelihood: masks that keep it causal, a test that proves it, a loss in nats, a
# sampler, and completion. It is small, and 30 images are soon memorised; what counts is that the KL was measured and
# not guessed.
#
# Where to go on:
#
# - Read `genlib/autoregressive/pixelcnn.py`. You will know every line: it is your model, with residual blocks that
#   carry colours and labels.
# - `genlib/autoregressive/gated_pixelcnn.py` has your two stacks, with gates and labels. `VerticalConv` there is your `look_up`.
# - Put `two_stacks` in the place of the layers of `MyPixelCNN`. Does it learn `bars` in fewer steps?
# - Let `sample` draw from a `Gated` network of step 7 that keeps its label. Are rows drawn when rows are asked for?
# - Back to the lesson, [{{pixelcnn}} PixelCNN](../notebooks/{{pixelcnn}}_pixelcnn.ipynb), for digits, for what the blind spot costs, and
#   for sampling that does only the new work.
