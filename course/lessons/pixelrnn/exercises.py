# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # PixelRNN: exercises
#
# **Can you build a recurrent network for images from nothing but tensors?**
#
# Eight steps take you there, from counting levels to a network that reads an image from two corners and draws its own.
# They belong to lesson [{{pixelrnn}} PixelRNN](../notebooks/{{pixelrnn}}_pixelrnn.ipynb), which explains the ideas; read it first, or
# beside this. You need one course in probability and one in PyTorch. All eight steps take about 120 minutes, and putting
# them together at the end 15 more; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and if that is not enough the code below it. The
# answers are in
# [solutions](../solutions/{{pixelrnn}}_pixelrnn_exercises.ipynb); later steps use your functions, so copy the answer of a step
# that you skip.

# %%
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import plots
from genlib.autoregressive import receptive_field
from genlib.data import load
from genlib.metrics import bars_kl

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on images this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. Learning by counting
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# Begin with the simplest model that has a likelihood: every pixel follows its own histogram and ignores all the
# others. It is the baseline that your network must beat. Maximum likelihood asks for the $q$ that makes the data most
# probable. For one pixel, whose level $k$ occurs $n_k$ times in $N$ images, the mean negative log-likelihood is
#
# $$-\sum_k \frac{n_k}{N} \log q_k = H(\hat p) + KL(\hat p \,\|\, q), \qquad \hat p_k = \frac{n_k}{N}.$$
#
# The KL divergence is never negative and vanishes only at $q = \hat p$. So **counting is maximum likelihood**. One
# thing is wrong with it: a level that has not occurred yet becomes impossible. Laplace's remedy is to count every
# level a few times more than it occurred, say $a$ times:
#
# $$q_k = \frac{n_k + a}{N + K a}.$$
#
# **Write** `histogram(level, levels, extra)`, with level (N, C, H, W), whole numbers from 0 to K - 1, `levels` = K and
# `extra` = $a$. It returns the probabilities, (K, C, H, W): one histogram for each place in the image.
#
# <details><summary>Hint</summary>
#
# Where does level $k$ stand? A comparison tells, for all images and places at once. How often is a sum over the images,
# axis 0. Do so for every one of the K levels, whether it occurs or not.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# counts = torch.stack([(level == k).sum(dim=0) for k in range(levels)])  # (K, C, H, W)
# ```
# </details>

# %%
def histogram(level, levels, extra):
    """level (N, C, H, W), whole numbers from 0 to levels - 1 -> probabilities (levels, C, H, W)."""
    ### BEGIN SOLUTION
    counts = torch.stack([(level == k).sum(dim=0) for k in range(levels)])  # (K, C, H, W)
    return (counts + extra) / (len(level) + levels * extra)
    ### END SOLUTION


# %%
checks.pixelrnn.histogram(histogram)

# %% [markdown]
# Here are handwritten digits with 17 grey levels, and 20 images from their histograms. Every pixel is drawn as often
# in each level as it should be. What is missing?

# %%
train, test = load("digits"), load("digits", "test")
q = histogram(train.images.long(), train.levels, extra=1)
drawn = torch.distributions.Categorical(probs=q.movedim(0, -1)).sample((10,)) / (train.levels - 1)
plots.show_rows({"real": test.floats()[:10], "pixel by pixel": drawn})

# %% [markdown]
# And here is why we count a little more than we saw. One level that never occurred at its pixel, and the whole image
# is impossible.

# %%
for extra in (0, 1):
    q = histogram(train.images.long(), train.levels, extra)
    p = q.expand(len(test), *q.shape).gather(1, test.images[:, None].long())  # of the level that came
    impossible = int((p == 0).flatten(1).any(dim=1).sum())
    print(f"{extra} extra counts: {impossible} of {len(test)} test images have probability zero")

# %% [markdown]
# ## Step 2. The price of a level
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# A network does not count. It gives K numbers for a pixel, the **logits** $a_0, \dots, a_{K-1}$, and a softmax makes
# them probabilities. Training needs the logarithm of one of them. Written as in the book,
# $\log (e^{a_k} / \sum_j e^{a_j})$ overflows for $a_j = 1000$, and becomes $\log 0$ for a level that is very
# unlikely. Both troubles go away if we subtract the largest logit $m = \max_j a_j$ and never leave log-space:
#
# $$\log p_k = (a_k - m) - \log \sum_{j=0}^{K-1} e^{a_j - m}.$$
#
# The shift cancels, the largest exponential is $e^0 = 1$, and the sum is at least 1.
#
# **Write** `level_log_prob(logits, level)`, with logits (B, K, ...) and level (B, ...). The dots stand for any number
# of further axes, for instance C, H, W. It returns $\log p$ of the level that came, (B, ...). `F.log_softmax` does
# this too; write it yourself once.
#
# <details><summary>Hint</summary>
#
# Every pixel has a largest logit of its own: take the maximum over axis 1 alone, and keep that axis at length 1, so that
# it can be subtracted. At the end choose one of the K numbers at each pixel; `gather` does, and wants as many axes as
# they have.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# m = logits.amax(dim=1, keepdim=True)  # (B, 1, ...)
# chosen = log_p.gather(1, level[:, None])[:, 0]  # of log_p (B, K, ...)
# ```
# </details>

# %%
def level_log_prob(logits, level):
    """logits (B, K, ...), level (B, ...) -> log-probabilities of the level (B, ...), in nats."""
    ### BEGIN SOLUTION
    shifted = logits - logits.amax(dim=1, keepdim=True)
    log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()  # (B, K, ...)
    return log_p.gather(1, level[:, None])[:, 0]
    ### END SOLUTION


# %%
checks.pixelrnn.level_log_prob(level_log_prob)

# %% [markdown]
# Logarithms of probabilities are logits too: their sum of exponentials is 1, so nothing changes. So your two functions
# give the likelihood of the histograms. On digits this is the cost of the pixels' histograms, without their neighbours; one bit
# is $\ln 2$ nats.

# %%
logits = q.log().expand(len(test), *q.shape)  # (N, K, C, H, W)
bits = -level_log_prob(logits, test.images.long()).mean() / math.log(2)
print(f"knowing nothing:    {math.log2(train.levels):.2f} bits a pixel")
print(f"independent pixels: {bits:.2f} bits a pixel, on the test images")

# %% [markdown]
# On `bars` it is worthless. These are 30 images of 4 x 4 pixels, whole columns or whole rows, all equally likely.
# Every pixel is white in half of them. So its histogram is Bernoulli(1/2).

# %%
bars = load("bars")
q = histogram(bars.images.long(), bars.levels, extra=0)


def independent(x):
    return level_log_prob(q.log().expand(len(x), *q.shape), x.long()).sum(dim=(1, 2, 3))


plots.show_images(bars.floats(), columns=15, size=0.5, title="all of bars")
print(f"every pixel is Bernoulli(1/2): {bool((q == 0.5).all())}")
print(f"KL from the truth to independent pixels: {bars_kl(independent):.2f} nats")

# %% [markdown]
# ## Step 3. A memory
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# To do better a pixel must know what came before. A recurrent network carries a **state** $h$ along. The long
# short-term memory (LSTM) adds a **memory** $c$, and three gates that decide what happens to it: $f$ what to keep, $i$
# what to write, $o$ what to show. With $\sigma(a) = 1 / (1 + e^{-a})$, which opens a gate between 0 and 1, and the new
# content $g$,
#
# $$c_{\text{new}} = \sigma(f) \odot c + \sigma(i) \odot \tanh(g), \qquad h = \sigma(o) \odot \tanh(c_{\text{new}}).$$
#
# All four parts come from one linear map, so they arrive in one tensor. PixelRNN orders them $o, f, i, g$; PyTorch's
# own LSTM takes $i, f, g, o$.
#
# **Write** `lstm(gates, c)`, with gates (B, 4F, ...), where axis 1 holds the F features of $o$, then those of $f$, $i$
# and $g$, and c (B, F, ...). It returns `h, c`: the new state and the new memory.
#
# <details><summary>Hint</summary>
#
# Cut axis 1 into its four parts. Make the new memory first; the state reads it.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# o, f, i, g = gates.chunk(4, dim=1)
# ```
# </details>

# %%
def lstm(gates, c):
    """gates (B, 4F, ...), the parts o, f, i, g; c (B, F, ...) -> state h and memory c, (B, F, ...) each."""
    ### BEGIN SOLUTION
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c
    ### END SOLUTION


# %%
checks.pixelrnn.lstm(lstm)

# %% [markdown]
# Why a memory at all? We write a one at step 5, then shut the input gate and watch. With the forget gate nearly open
# the memory lasts; half open, it is gone in a few steps. The gates come from a network, so it can learn what is worth
# keeping.

# %%
kept = {}
for forget in (5.0, 2.0, 0.0):
    c, curve = torch.zeros(1, 1), []
    for step in range(1, 31):
        write = 8.0 if step == 5 else -8.0
        _, c = lstm(torch.tensor([[0.0, forget, write, 3.0]]), c)
        curve.append(c.item())
    kept[f"forget gate {torch.tensor(forget).sigmoid():.2f}"] = curve
plots.show_curves(kept, xlabel="step", ylabel="memory")

# %% [markdown]
# ## Step 4. Memory in two dimensions
#
# *Difficulty 3 of 5 · importance 5 of 5 · 20 minutes*
#
# On a page the past lies to the left and above. So a pixel's gates read three things: its own input, the state of the
# pixel to the left, and the state of the pixel above. In row $i$, column $j$,
#
# $$h_{ij},\, c_{ij} = \text{lstm}\big(\text{gates}_{ij} + W_{\text{left}}\, h_{i,j-1} + W_{\text{up}}\, h_{i-1,j},\;
# c_{i,j-1}\big),$$
#
# with zeros beyond the edge. The memory comes from the left, as in the paper.
#
# **Write** `plain_scan(gates, w_left, w_up)`, with gates (B, 4F, H, W) and both weights (4F, F). It returns the
# states, (B, F, H, W). Do it as it is written, a pixel at a time; fast comes later.
#
# <details><summary>Hint</summary>
#
# States of one pixel have the shape (B, F), so $W h$ is `h @ w.T`. Keep states and memories in dictionaries, by row
# and column: a dictionary can say "zero" where there is no such pixel. Write into no tensor that a later pixel reads, or
# no gradient can be computed.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# left, up = h.get((i, j - 1), zero), h.get((i - 1, j), zero)  # zero is (B, F)
# rows = [torch.stack([h[i, j] for j in range(width)], dim=-1) for i in range(height)]
# states = torch.stack(rows, dim=-2)
# ```
# </details>

# %%
def plain_scan(gates, w_left, w_up):
    """gates (B, 4F, H, W), w_left and w_up (4F, F) -> states (B, F, H, W)."""
    ### BEGIN SOLUTION
    batch, _, height, width = gates.shape
    zero = gates.new_zeros(batch, w_left.shape[1])
    h, c = {}, {}
    for i in range(height):
        for j in range(width):
            left, up = h.get((i, j - 1), zero), h.get((i - 1, j), zero)
            own = gates[:, :, i, j] + left @ w_left.T + up @ w_up.T
            h[i, j], c[i, j] = lstm(own, c.get((i, j - 1), zero))
    rows = [torch.stack([h[i, j] for j in range(width)], dim=-1) for i in range(height)]
    return torch.stack(rows, dim=-2)  # (B, F, H, W)
    ### END SOLUTION


# %%
checks.pixelrnn.plain_scan(plain_scan)

# %% [markdown]
# Which pixels does a state depend on? We ask for the gradient of one state with respect to all gates; white is what the
# state in row 3, column 4 reads. Before you run the cell: which pixels will be white, and how many layers would a
# convolution need to read as many?

# %%
def reads(scan, pixel, size=(6, 9)):
    """Which pixels the states at `pixel` depend on, (H, W)."""
    gates = torch.randn(4, 12, *size, requires_grad=True)
    states = scan(gates)[:, :, pixel[0], pixel[1]]
    (gradient,) = torch.autograd.grad(states.square().sum(), gates)
    return gradient.abs().sum(dim=(0, 1)) > 0


w_left, w_up = torch.randn(2, 12, 3)
field = reads(lambda gates: plain_scan(gates, w_left, w_up), (3, 4))
plots.show_images(field[None, None].float(), titles=["read by the state at (3, 4)"], size=2.4)

# %% [markdown]
# Its own pixel and everything above and to the left, in one layer, however large the image. A 3 x 3 convolution reaches
# one pixel further with each layer.
#
# Two things are wrong with this field, if each pixel is to be predicted from all before it. The state reads its own pixel, and
# it does not read what is above and to the right. And one pixel after the other is slow. First the speed.

# %% [markdown]
# ## Step 5. Skew the map
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# Which pixels could be computed together? Those that do not need each other: a **diagonal**, where row plus column is
# the same. Tensors like columns better than diagonals. So move row $i$ by $i$ places to the right, and diagonals
# become columns:
#
# $$\text{skewed}_{i,\, i + j} = x_{ij}, \qquad \text{zero elsewhere}.$$
#
# **Write** `skew(x)`, with x (B, F, H, W). Rows are counted from 0. The result is (B, F, H, W + H - 1).
#
# <details><summary>Hint</summary>
#
# Take one row at a time. It needs H - 1 zeros in all: how many of them on its left? `F.pad(row, (left, right))` adds
# zeros at the two ends of the last axis.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# row = F.pad(x[:, :, i], (i, height - 1 - i))  # and torch.stack(rows, dim=2)
# ```
# </details>

# %%
def skew(x):
    """x (B, F, H, W) -> (B, F, H, W + H - 1)."""
    ### BEGIN SOLUTION
    height = x.shape[2]
    rows = [F.pad(x[:, :, i], (i, height - 1 - i)) for i in range(height)]
    return torch.stack(rows, dim=2)
    ### END SOLUTION


# %%
checks.pixelrnn.skew(skew)

# %% [markdown]
# A map whose brightness is row plus column, and the same map skewed; grey-blue is padding. Every column has one
# brightness.

# %%
i, j = torch.arange(6)[:, None], torch.arange(6)[None, :]
diagonals = ((1 + i + j) / 11)[None, None]  # never zero
skewed = skew(diagonals)
skewed = torch.where(skewed == 0, torch.nan, skewed)
plots.show_rows({"map": F.pad(diagonals, (0, 5), value=torch.nan), "skewed": skewed}, size=2.2)

# %% [markdown]
# The states will come out as columns of a skewed map. So you need the way back, too: row $i$ is the slice of $W$ columns that
# begins at column $i$, and the padding is dropped, whatever stands in it. It is written for you.

# %%
def unskew(x):
    """x (B, F, H, W + H - 1) -> (B, F, H, W)."""
    height = x.shape[2]
    width = x.shape[3] - height + 1
    return torch.stack([x[:, :, i, i : i + width] for i in range(height)], dim=2)


x = torch.randn(2, 3, 4, 5)
print(f"skewed and moved back, a map is as it was: {torch.equal(unskew(skew(x)), x)}")

# %% [markdown]
# ## Step 6. A diagonal at a time
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# In the skewed map the left neighbour of a pixel stands in the column before, in the same row. Its upper neighbour
# stands in the column before too, **one row higher**. So one column holds all that the next one needs. For column $t$
# of the skewed gates,
#
# $$h_t,\, c_t = \text{lstm}\big(\text{gates}_t + W_{\text{left}}\, h_{t-1} + W_{\text{up}}\, \text{down}(h_{t-1}),\;
# c_{t-1}\big),$$
#
# where down moves a column by one row, with a zero at the top. The padding does no harm. Before a row begins, gates,
# state and memory are zero, $\tanh(0) = 0$ is written, and they stay zero. After its end only padding reads it.
#
# **Write** `diagonal_scan(gates, w_left, w_up)`. Arguments and result are those of `plain_scan`, but it takes
# $H + W - 1$ steps. The check counts them.
#
# <details><summary>Hint</summary>
#
# Go through the columns of the skewed gates with one state and one memory for a whole column, (B, F, H); for these
# `w_left @ h` works as it is written. Collect the states in a list. At the end they form a skewed map.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# for own in skew(gates).unbind(dim=3):  # (B, 4F, H)
#     above = F.pad(h, (1, -1))  # a zero at the top, and one entry less at the bottom
# ```
# </details>

# %%
def diagonal_scan(gates, w_left, w_up):
    """gates (B, 4F, H, W), w_left and w_up (4F, F) -> states (B, F, H, W)."""
    ### BEGIN SOLUTION
    h = c = gates.new_zeros(len(gates), w_left.shape[1], gates.shape[2])  # (B, F, H)
    columns = []
    for own in skew(gates).unbind(dim=3):
        above = F.pad(h, (1, -1))
        h, c = lstm(own + w_left @ h + w_up @ above, c)
        columns.append(h)
    return unskew(torch.stack(columns, dim=3))
    ### END SOLUTION


# %%
checks.pixelrnn.diagonal_scan(diagonal_scan)

# %% [markdown]
# The same numbers, in fewer and larger steps, which run faster.

# %% tags=["nbval-ignore-output"]
gates = torch.randn(8, 12, 28, 28)
seconds = []
for scan in (plain_scan, diagonal_scan):
    start = time.process_time()
    states = scan(gates, w_left, w_up)
    seconds.append(time.process_time() - start)
assert torch.allclose(states, plain_scan(gates, w_left, w_up), atol=1e-5)
print(f"28 x 28 pixels in {28 + 28 - 1} steps instead of {28 * 28}")
print(f"faster by {seconds[0] / seconds[1]:.0f} times, in processor time")

# %% [markdown]
# ## Step 7. From the other corner
#
# *Difficulty 4 of 5 · importance 5 of 5 · 20 minutes*
#
# What is above and to the right is still unread. A second scan, from the upper right corner, takes care of it. There
# is no need to write one: **mirror** the map, scan it as before, and mirror the states back. But look what such a
# state has read: its own pixel, and those to its right. They are still to come. Only seen from **one row below** are
# all of them past. So the states move down by a row, with zeros on top:
#
# $$\text{right}_{0j} = 0, \qquad
# \text{right}_{ij} = \text{mirror}\big(\text{scan}(\text{mirror}(\text{gates}))\big)_{i-1,\,j}.$$
#
# Public programs have got both halves wrong: one never mirrors back, another lets states see what is to come.
#
# **Write** `right_to_left(scan, gates)`. `scan` maps gates (B, 4F, H, W) to states (B, F, H, W), from the upper left
# corner. The result is (B, F, H, W).
#
# <details><summary>Hint</summary>
#
# Mirror columns, the last axis, before and after. To move down by a row: one row more at the top, one less at the
# bottom.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# x.flip(3)
# F.pad(x, (0, 0, 1, -1))  # left, right, top, bottom; a negative number cuts
# ```
# </details>

# %%
def right_to_left(scan, gates):
    """scan: (B, 4F, H, W) -> (B, F, H, W); gates (B, 4F, H, W) -> states (B, F, H, W)."""
    ### BEGIN SOLUTION
    states = scan(gates.flip(3)).flip(3)
    return F.pad(states, (0, 0, 1, -1))
    ### END SOLUTION


# %%
checks.pixelrnn.right_to_left(right_to_left)

# %% [markdown]
# Now both directions. The first one must not read its own pixel either. That is easily done: move its gates one place
# to the right, so that a pixel is given its left neighbour. White is what each direction, and both together, read for
# the pixel in row 3, column 4. Together they read everything before it. It and everything after it stay black.

# %%
def scan(gates):
    return diagonal_scan(gates, w_left, w_up)


ways = {
    "left to right": lambda gates: scan(F.pad(gates, (1, -1))),
    "right to left": lambda gates: right_to_left(scan, gates),
    "both": lambda gates: scan(F.pad(gates, (1, -1))) + right_to_left(scan, gates),
}
fields = torch.stack([reads(way, (3, 4)) for way in ways.values()])
plots.show_images(fields[:, None].float(), titles=list(ways), columns=3, size=2.2)

# %% [markdown]
# One pixel proves little. So here is every pixel of a 4 x 4 map. Row $n$ of a picture belongs to the $n$-th pixel in
# raster order, and white shows which pixels it reads. In the first, all is white below the diagonal and black on it
# and above: every pixel reads all before it, and nothing else. Beside it stand the two mistakes. What is black below
# the diagonal is missed. What is white on the diagonal or above it is read too early.

# %%
def who_reads_whom(second):
    def both(gates):
        return scan(F.pad(gates, (1, -1))) + second(gates)

    return torch.stack([reads(both, divmod(n, 4), size=(4, 4)).flatten() for n in range(16)])


others = {
    "yours": lambda gates: right_to_left(scan, gates),
    "never mirrored back": lambda gates: F.pad(scan(gates.flip(3)), (0, 0, 1, -1)),
    "not moved down": lambda gates: scan(gates.flip(3)).flip(3),
}
matrices = torch.stack([who_reads_whom(second) for second in others.values()])
plots.show_images(matrices[:, None].float(), titles=list(others), columns=3, size=2.2)
before = torch.ones(16, 16, dtype=torch.bool).tril(-1)  # [n, m]: pixel m comes before pixel n
for name, matrix in zip(others, matrices):
    missed, ahead = int((before & ~matrix).sum()), int((matrix & ~before).sum())
    print(f"{name:<20} reads {ahead} values too early, and misses {missed} of {int(before.sum())}")

# %% [markdown]
# ## Step 8. Draw a level
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# The network will give probabilities, and we want a level drawn with them. All a computer has is a number $u$, uniform
# between 0 and 1. Lay the probabilities end to end on the line from 0 to 1, level 0 first, and see into whose stretch
# $u$ falls. A **temperature** $T$ divides the logits before: a low one favours what is likely already, a high one
# evens out.
#
# $$p = \text{softmax}(a / T), \qquad \text{level} = \min\,\{k : p_0 + p_1 + \dots + p_k > u\}.$$
#
# **Write** `draw(logits, temperature, u)`, with logits (N, K) and u (N,), one number for each draw. It returns the N
# levels, as whole numbers.
#
# <details><summary>Hint</summary>
#
# The sums from level 0 on are a `cumsum`. The level is the number of sums that $u$ has reached, those that are at most
# $u$. Leave out the last sum: it should be 1, and rounding may put it a little below the largest $u$.
#
# </details>
#
# <details><summary>Code</summary>
#
# ```python
# sums = (logits / temperature).softmax(dim=1).cumsum(dim=1)[:, :-1]  # (N, K - 1)
# ```
# </details>

# %%
def draw(logits, temperature, u):
    """logits (N, K), temperature a number, u (N,) in [0, 1) -> levels (N,), whole numbers."""
    ### BEGIN SOLUTION
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=1)[:, :-1] <= u[:, None]).sum(dim=1)
    ### END SOLUTION


# %%
checks.pixelrnn.draw(draw)

# %% [markdown]
# One pixel of the digits and its histogram, drawn 10,000 times at three temperatures. In place of chance, the $u$ are
# spread evenly, so that the shares are exact.

# %%
one = histogram(train.images.long(), train.levels, extra=1)[:, 0, 4, 3].log()
u = (torch.arange(10_000) + 0.5) / 10_000
shares = {}
for t in (0.3, 1.0, 3.0):
    shares[f"T = {t}"] = draw(one.expand(len(u), -1), t, u).bincount(minlength=17) / len(u)
plots.show_curves(shares, x=range(17), xlabel="level", ylabel="share of the draws")

# %% [markdown]
# ## All together: your PixelRNN
#
# *15 minutes*
#
# Your pieces make a whole model. The image enters the gates of both directions by a 1 x 1 convolution, one place to
# the right for the first of them. Then come your scans, with weights of their own, and a small network that turns the
# two states of a pixel into logits. Nothing here comes from `genlib.autoregressive`.

# %%
class MyPixelRNN(nn.Module):
    def __init__(self, shape, levels, channels=16):
        super().__init__()
        self.shape = shape
        self.gates = nn.ModuleList(nn.Conv2d(1, 4 * channels, 1) for _ in range(2))
        start = torch.randn(2, 2, 4 * channels, channels) / (2 * channels) ** 0.5
        self.w = nn.Parameter(start)  # for each direction w_left and w_up
        self.head = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1), nn.ReLU(), nn.Conv2d(2 * channels, levels, 1)
        )

    def forward(self, x):
        x = 2 * x - 1
        left = diagonal_scan(self.gates[0](F.pad(x, (1, -1))), *self.w[0])
        right = right_to_left(lambda gates: diagonal_scan(gates, *self.w[1]), self.gates[1](x))
        return self.head(torch.cat([left, right], dim=1))[:, :, None]  # (B, K, 1, H, W)


# %%
x = bars.floats()
model = MyPixelRNN(bars.shape, bars.levels)
optimizer = torch.optim.Adam(model.parameters(), lr=4e-2)
smaller_steps = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=125)


def log_prob(x):
    return level_log_prob(model(x), x.long()).sum(dim=(1, 2, 3))


# %%
with torch.no_grad():
    before_training = bars_kl(log_prob)

for _ in range(125):
    loss = -log_prob(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    smaller_steps.step()

# %% [markdown]
# How far is your model from the truth? On `bars` the Kullback-Leibler divergence is a sum of 30 terms, so this is no
# estimate. And does it read only earlier pixels? The gradient of the logits answers, for all 16 pixels.

# %%
with torch.no_grad():
    after_training = bars_kl(log_prob)
print(f"KL to the truth of independent pixels, as above:        {bars_kl(independent):.2f} nats")
print(f"KL to the truth is more than 5 nats before training:    {before_training > 5}")
print(f"KL to the truth is less than 0.02 nats after training:  {after_training < 0.02}")

matrix = torch.stack([receptive_field(model, divmod(n, 4)).flatten() > 0 for n in range(16)])
print(f"each pixel reads all earlier ones and nothing else:     {torch.equal(matrix, before)}")

# %% [markdown]
# Now let it draw, a pixel at a time: sixteen steps, for sampling has no wavefront. At $T = 1$ the images follow the
# model. A lower temperature prefers what is likelier. A higher one raises the probability of unlikely levels, and
# stripes break.

# %%
@torch.no_grad()
def sample(n, temperature):
    x = torch.zeros(n, *model.shape)
    for i in range(4):
        for j in range(4):
            x[:, 0, i, j] = draw(model(x)[:, :, 0, i, j], temperature, torch.rand(n)).float()
    return x


drawn = {f"T = {t}": sample(300, t) for t in (0.5, 1.0, 4.0)}
plots.show_rows({name: images[:16] for name, images in drawn.items()}, size=0.5)

# %%
def share_of_bars(images):
    return (images[:, None] == x).flatten(2).all(dim=2).any(dim=1).float().mean().item()


likely, wild = share_of_bars(drawn["T = 1.0"]), share_of_bars(drawn["T = 4.0"])
print(f"at T = 1 at least 96 of 100 images are bars or stripes: {likely >= 0.96}")
print(f"at T = 4 at least 10 of 100 are broken:                 {wild <= 0.9}")

# %% [markdown]
# ## What you have built
#
# A recurrent network over two dimensions: a memory, scans from two corners that take a diagonal at a time, a proof
# that nothing reads ahead, an exact likelihood, and a sampler. It is small, and 30 images are soon memorised; what counts
# is that the KL was measured and not guessed.
#
# Where to go on:
#
# - Read `genlib/autoregressive/diagonal_bilstm.py`. `diagonal_step` there is the line you wrote in step 6. It sorts the
#   pixels by diagonal instead of skewing them, which saves the padding.
# - `genlib/autoregressive/row_lstm.py` reads three states of the row above, a whole row at a time. Write its scan: it
#   needs $H$ steps, no skew and no mirror. Which pixels does it never read? Your `reads` can tell.
# - Take the row shift out of `right_to_left` and train again. What becomes of the loss, and of the samples?
# - Give `MyPixelRNN` a second layer, and 17 levels, and train it on digits. How many bits a pixel does it save over
#   your histograms?
# - Back to the lesson, [{{pixelrnn}} PixelRNN](../notebooks/{{pixelrnn}}_pixelrnn.ipynb), for colour and for what all this costs. The
#   exercises of [{{pixelcnn}} PixelCNN](../notebooks/{{pixelcnn}}_pixelcnn_exercises.ipynb) do without recurrence.
