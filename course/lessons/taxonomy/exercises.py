# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Learning p(x): exercises
#
# **Can you build a classifier that refuses images of no class, by counting?**
#
# Ten small steps give you one. It learns $p(x \mid y)$, turns it into $p(y \mid x)$ by Bayes' rule, draws digits, and
# refuses images that no class explains. No network and no training, so you see every number come about. The steps
# belong to lesson [{{taxonomy}} Learning p(x)](../notebooks/{{taxonomy}}_taxonomy.ipynb), which explains the ideas; read it first, or
# beside this. You need one course in probability and one in PyTorch. The ten steps take about 115 minutes, and the
# classifier that you make of them at the end another 20; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and inside it the code. The answers are in
# [solutions](../solutions/{{taxonomy}}_taxonomy_exercises.ipynb); later steps use your functions, so copy the answer of a step
# that you skip.
#
# These are the first exercises of the course, so try it out. Run the first check before you write anything, and see
# what it says.

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import bayes as of_genlib, plots, taxonomy
from genlib.data import binarise, load
from genlib.metrics import format_table

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on tables this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. How common is each class?
#
# *Difficulty 1 of 5 · importance 3 of 5 · 5 minutes*
#
# A label $y$ is one of $K$ classes, $0, \dots, K - 1$. Before it has seen the image, a classifier can know one thing:
# how common each class is. That is the **prior** $p(y)$. Maximum likelihood asks for the prior that makes the $N$
# labels most probable. The answer is what you would guess. If class $k$ occurs $n_k$ times,
#
# $$p(y = k) = \frac{n_k}{N}.$$
#
# **Write** `shares(y, n_classes)`, with labels y (N,), whole numbers, and `n_classes` = K. It returns $p(y)$, (K,). A
# class that does not occur gets a zero, and keeps its place.
#
# <details><summary>Hint</summary>
#
# Count how often each class occurs, with a place for those that do not, and divide by the number of labels.
#
# <details><summary>Code</summary>
#
# `y.bincount(minlength=n_classes)` counts all classes at once. A quotient of whole numbers, `a / b`, is a float.
#
# </details></details>

# %%
def shares(y, n_classes):
    """Labels y (N,), whole numbers -> the share of each class, (n_classes,)."""
    ### BEGIN SOLUTION
    return y.bincount(minlength=n_classes) / len(y)
    ### END SOLUTION


# %%
checks.taxonomy.shares(shares)

# %% [markdown]
# The data are scikit-learn's handwritten digits, 8 by 8 pixels. We make them black and white: a pixel is 1 where it is
# at least half white. You learn from 1137 of the training images; the other 300 are **held out** for step 8. Classes are
# about equally common, so the prior alone is a poor classifier. It is the baseline.

# %%
train, test = binarise(load("digits")), binarise(load("digits", "test"))
x_train, x_test = (data.floats().flatten(1) for data in (train, test))  # (N, 64)
x, y = x_train[:-300], train.labels[:-300]
x_held_out = x_train[-300:]
K, D = train.n_classes, x.shape[1]


def as_images(x):
    return x.reshape(-1, *train.shape)


prior = shares(y, K)
plots.show_images(as_images(x[:20]), columns=10)
print("p(y) in percent:", *(f"{100 * p:.1f}" for p in prior))
right = (test.labels == prior.argmax()).float().mean()
print(f"always the most common class: {100 * right:.0f} % of the test images right")

# %% [markdown]
# ## Step 2. How often is each pixel white?
#
# *Difficulty 2 of 5 · importance 5 of 5 · 10 minutes*
#
# Now the images of one class. There are $2^{64}$ that could be, so nobody can count them one by one. We must assume
# something, and begin with the boldest assumption of all: **given the class, pixels do not depend on each other**. Then
# one number for each pixel and class is enough. Of the $n_k$ images of class $k$, pixel $i$ is white in $n_{ki}$.
# Maximum likelihood is $n_{ki} / n_k$. But it calls impossible what has not happened yet. Laplace's remedy: in each
# class, imagine one more image with the pixel white, and one more with it black.
#
# $$p(x_i = 1 \mid y = k) = \frac{n_{ki} + 1}{n_k + 2}.$$
#
# **Write** `white(x, y, n_classes)`, with images x (N, D) of zeros and ones, and labels y (N,). It returns these
# probabilities, (K, D), floats as x is: one row a class, one column a pixel. A class without images has a row too.
#
# <details><summary>Hint</summary>
#
# Take the images of one class at a time. Adding them up gives a picture of counts. Raise the counts before you divide:
# then a class without images needs no case of its own.
#
# <details><summary>Code</summary>
#
# `x[y == k]` are the images of class k, and `.sum(dim=0)` adds them up. `torch.stack` makes one table of K rows. Without
# a loop: `F.one_hot(y, n_classes).to(x)` is a matrix (N, K) of zeros and ones, and its transpose times x counts.
#
# </details></details>

# %%
def white(x, y, n_classes):
    """Images x (N, D) of zeros and ones, labels y (N,) -> p(x_i = 1 | y), (n_classes, D)."""
    ### BEGIN SOLUTION
    rows = []
    for k in range(n_classes):
        images = x[y == k]
        rows.append((images.sum(dim=0) + 1) / (len(images) + 2))
    return torch.stack(rows)
    ### END SOLUTION


# %%
checks.taxonomy.white(white)

# %% [markdown]
# Ten rows are ten pictures, the brighter the more often white. This is all that the model knows about digits. And this
# is what Laplace's two images are for. Without them, one pixel that was never white in its class forbids an image. The
# fewer images you learn from, the more often that happens.

# %%
p_white = white(x, y, K)
plots.show_images(as_images(p_white), columns=10, titles=[str(k) for k in range(K)])

for n in (100, len(x)):
    plain = torch.stack([x[:n][y[:n] == k].mean(dim=0) for k in range(K)])  # n_ki / n_k
    p = plain[test.labels]  # what the true class says about each pixel of each test image
    impossible = ((p == 0) & (x_test == 1)) | ((p == 1) & (x_test == 0))
    share = impossible.any(dim=1).float().mean()
    print(f"from {n:>4} images, without them: {100 * share:.0f} % of the test images are impossible")

# %% [markdown]
# ## Step 3. An image and a class
#
# *Difficulty 2 of 5 · importance 5 of 5 · 15 minutes*
#
# Pixels that do not depend on each other: their probabilities multiply. A product of 64 small numbers is tiny, and one
# of thousands is zero to a computer. So we add logarithms instead, and never leave them. Together with the prior that
# makes the **joint** distribution of image and class:
#
# $$\log p(x, y) =
# \underbrace{\sum_{i=1}^{D} \Big( x_i \log p_{yi} + (1 - x_i) \log (1 - p_{yi}) \Big)}_{\log p(x \mid y)}
# + \log p(y), \qquad p_{yi} = p(x_i = 1 \mid y).$$
#
# Of the two terms in the brackets one is always zero. A white pixel counts with $\log p$, a black one with
# $\log (1 - p)$. That a pixel stays black says as much as that one turns white.
#
# **Write** `log_joint(x, prior, white)`, with x (N, D), prior (K,), and white (K, D), the table from step 2. It returns
# $\log p(x, y)$ in nats for every image and every class, (N, K).
#
# <details><summary>Hint</summary>
#
# For all images and classes at once the sum over pixels is a product of matrices, (N, D) times (D, K). It takes two of
# them, one for the white pixels and one for the black.
#
# <details><summary>Code</summary>
#
# `x @ white.log().T` is (N, K). For the black pixels put `1 - x` and `1 - white` in the places of x and white.
#
# </details></details>

# %%
def log_joint(x, prior, white):
    """Images x (N, D), prior (K,), white (K, D) -> log p(x, y) in nats, (N, K)."""
    ### BEGIN SOLUTION
    log_likelihood = x @ white.log().T + (1 - x) @ (1 - white).log().T
    return log_likelihood + prior.log()
    ### END SOLUTION


# %%
checks.taxonomy.log_joint(log_joint)

# %% [markdown]
# That is a classifier already: answer with the class of the largest joint. It is called **naive Bayes**, for its naive
# assumption. What do the black pixels add? Leave them out, and see.

# %%
joint = log_joint(x_test, prior, p_white)
only_white = x_test @ p_white.log().T + prior.log()
for name, scores in {"all pixels": joint, "white pixels only": only_white}.items():
    right = (scores.argmax(dim=1) == test.labels).float().mean()
    print(f"{name:<18} {100 * right:.0f} % of the test images right")

# %% [markdown]
# ## Step 4. Bayes' rule
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# How probable is the image, whatever its class? Add up its row. And how probable is each class, given the image? Divide
# the row by its sum. That is Bayes' rule:
#
# $$p(x) = \sum_y p(x, y), \qquad p(y \mid x) = \frac{p(x, y)}{p(x)}.$$
#
# You have logarithms, and a large image has $\log p(x, y) = -2000$, where $e^{-2000}$ is zero to a computer. Take out
# the largest one of the row, $m = \max_y \log p(x, y)$. In
#
# $$\log p(x) = m + \log \sum_y e^{\log p(x, y) - m}$$
#
# the largest exponential is $e^0 = 1$, so the sum is at least 1 and its logarithm is safe. This is called
# **log-sum-exp**. A class of probability 0 has $\log p(x, y) = -\infty$, which does no harm here.
#
# **Write** `bayes(joint)`, with $\log p(x, y)$ as joint (N, K). It returns two tensors: $\log p(x)$, (N,), and
# $p(y \mid x)$, (N, K), which is no logarithm.
#
# <details><summary>Hint</summary>
#
# Each image needs a largest number of its own: keep its axis, so that it spreads over the classes. And a quotient is a
# difference of logarithms, so the posterior needs no division.
#
# <details><summary>Code</summary>
#
# `m = joint.amax(dim=1, keepdim=True)` is (N, 1). The posterior is e to the power of `joint - log_p[:, None]`.
# `torch.logsumexp` does the first half too; write it yourself once.
#
# </details></details>

# %%
def bayes(joint):
    """log p(x, y) as joint (N, K) -> log p(x) (N,) and p(y | x) (N, K)."""
    ### BEGIN SOLUTION
    m = joint.amax(dim=1, keepdim=True)
    log_p = m[:, 0] + (joint - m).exp().sum(dim=1).log()
    return log_p, (joint - log_p[:, None]).exp()
    ### END SOLUTION


# %%
checks.taxonomy.bayes(bayes)

# %% [markdown]
# Below are the six test images about which the model is least sure, and what it says: a row for each image, with its
# true label. Would you have known them all?

# %%
log_p, posterior = bayes(joint)
unsure = posterior.amax(dim=1).argsort()[:6]
truth = [str(k) for k in test.labels[unsure].tolist()]
plots.show_images(as_images(x_test[unsure]), columns=6, titles=truth)
plots.show_tables({"p(y | x)": posterior[unsure]}, rows=truth, columns=[str(k) for k in range(K)])

# %% [markdown]
# Most of the time it is very sure. *Too* sure: neighbouring pixels say the same thing, and naive Bayes counts them as
# independent witnesses.

# %%
right = (posterior.argmax(dim=1) == test.labels).float().mean()
print(f"probability of its answer, on average: {100 * posterior.amax(dim=1).mean():.0f} %")
print(f"its answer is right:                   {100 * right:.0f} %")

# %% [markdown]
# ## Step 5. Bits
#
# *Difficulty 1 of 5 · importance 4 of 5 · 5 minutes*
#
# Is $\log p(x) = -20$ nats good? For an image of four pixels it is terrible, for one of a thousand superb. So we share
# it among the $D$ pixels. And we count in **bits**, because an image of probability $p(x)$ can be stored in about
# $-\log_2 p(x)$ bits. One bit is $\ln 2 \approx 0.69$ nats:
#
# $$\text{bits per pixel} = -\frac{1}{D \ln 2} \cdot \frac{1}{N} \sum_{n=1}^{N} \log p(x_n).$$
#
# Lower is better. Most lessons report this number; where an image has colours, each channel counts as a pixel of its
# own.
#
# **Write** `bits(log_p, n_pixels)`, with log_p (N,) in nats and `n_pixels` = D. It returns one number.
#
# <details><summary>Hint</summary>
#
# A mean, a sign, and two divisions.
#
# <details><summary>Code</summary>
#
# `math.log(2)` is $\ln 2$, and `log_p.mean()` the mean.
#
# </details></details>

# %%
def bits(log_p, n_pixels):
    """log p(x) in nats, (N,), of images of n_pixels pixels -> bits per pixel, one number."""
    ### BEGIN SOLUTION
    return -log_p.mean() / (n_pixels * math.log(2))
    ### END SOLUTION


# %%
checks.taxonomy.bits(bits)

# %% [markdown]
# Three models of the same images. The first takes every pixel as Bernoulli(1/2). The second has one class for all
# digits, so its pixels are independent without any condition. The third is yours. All are judged on test images.

# %%
everything = torch.zeros_like(y)  # all images in one class
one_class, _ = bayes(log_joint(x_test, shares(everything, 1), white(x, everything, 1)))
bernoulli = torch.full((len(x_test),), -D * math.log(2))
for name, log_q in {"Bernoulli": bernoulli, "one class": one_class, "ten classes": log_p}.items():
    print(f"{name:<12} {bits(log_q, D):.2f} bits a pixel")

# %% [markdown]
# ## Step 6. Draw
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# A generative model can draw. The joint was built in the order $p(y)\, p(x \mid y)$, and we draw in the same order:
# first a class from the prior, then an image from that class. This is **ancestral sampling**, and most models of this
# course draw so.
#
# All randomness in a computer begins with uniform numbers $u \in [0, 1)$. To draw a class, lay the probabilities end to
# end: class 0 takes the part from 0 to $p(0)$, class 1 the next $p(1)$, and so on. Where $u$ falls, that is $y$. For a
# pixel, which is white with probability $p_{yi}$, there are two parts only:
#
# $$y = \text{the smallest } k \text{ with } u < p(0) + \dots + p(k), \qquad
# x_i = \begin{cases} 1 & \text{if } v_i < p_{yi} \\ 0 & \text{otherwise.} \end{cases}$$
#
# **Write** `draw(prior, white, u, v)`, with prior (K,), white (K, D), and uniform numbers u (N,), one a class, and
# v (N, D), one a pixel. It returns y (N,), whole numbers, then x (N, D), 0 and 1 as floats like v. Mind the rounding: the
# sum of all of the prior should be 1 and may be a little less, so whatever u lies above the other sums is the last class.
#
# <details><summary>Hint</summary>
#
# Class y is the number of ends that u has passed. Without the last end nothing lies above the last class. For the pixels
# look up the row of each image's class.
#
# <details><summary>Code</summary>
#
# `prior.cumsum(dim=0)[:-1]` are the ends of all parts but the last. `u[:, None] >= ends` compares each u with each end,
# (N, K - 1). `white[y]` is (N, D).
#
# </details></details>

# %%
def draw(prior, white, u, v):
    """prior (K,), white (K, D), uniform numbers u (N,) and v (N, D) -> y (N,) and x (N, D)."""
    ### BEGIN SOLUTION
    ends = prior.cumsum(dim=0)[:-1]
    y = (u[:, None] >= ends).sum(dim=1)
    return y, (v < white[y]).float()
    ### END SOLUTION


# %%
checks.taxonomy.draw(draw)

# %% [markdown]
# A prior that is sure of one class draws this class alone. Two rows of each digit: real ones, and yours.

# %%
def ten_of_each(k):
    return draw(torch.eye(K)[k], p_white, torch.rand(10), torch.rand(10, D))[1]


rows = {}
for k in (0, 3, 4, 8):
    rows[f"{k}, real"] = as_images(x[y == k][:10])
    rows[f"{k}, yours"] = as_images(ten_of_each(k))
plots.show_rows(rows, size=0.6)

# %% [markdown]
# They are poor. Strokes break off, and stray pixels light up. Each pixel is white as often as it should be. But it
# does not depend on its neighbours, so the upper half of an 8 may lean left and the lower half right. Lessons {{pixelrnn}} to {{markov_chains}} are
# about just this: how to make pixels depend on each other.
#
# Real images of so few pixels are not easy to read either. So measure: in how many of its 64 pixels does an image differ
# from the training image that is nearest to it?

# %%
def to_nearest(images):
    return torch.cdist(images, x, p=1).amin(dim=1).mean()


_, drawn = draw(prior, p_white, torch.rand(360), torch.rand(360, D))
real, yours = to_nearest(x_test), to_nearest(drawn)
of_noise = to_nearest(torch.randint(2, (360, D)).float())
print(f"a test image differs in {real:.1f} pixels, on average")
print(f"what you draw, in more than half as many again: {yours > 1.5 * real}")
print(f"noise, in more than three times as many as that: {of_noise > 3 * yours}")

# %% [markdown]
# ## Step 7. Probable is not typical
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# Which image of a class is the most probable? Each pixel takes its more frequent value. But you will hardly ever draw
# that image, nor one as probable. What is $\log p(x)$ of an image that you *do* draw? Take one class, with
# $p_i = p(x_i = 1)$. Pixel $i$ adds $\log p_i$ with probability $p_i$, and $\log (1 - p_i)$ otherwise. So $\log p(x)$ is a
# sum of $D$ independent terms. Means of such terms add up, and so do variances. A variable that takes the value $a$ with
# probability $p$ and else the value $b$ has the variance $p (1 - p) (a - b)^2$. Hence
#
# $$\mathbb{E}[\log p(x)] = \sum_{i=1}^{D} \Big( p_i \log p_i + (1 - p_i) \log (1 - p_i) \Big), \qquad
# \text{std}[\log p(x)] = \sqrt{\sum_{i=1}^{D} p_i (1 - p_i) \Big( \log \frac{p_i}{1 - p_i} \Big)^2}.$$
#
# The mean is minus the **entropy**. Draws lie around it, nearly all within a few standard deviations: this is the
# **typical set**. With more pixels the mean grows like $D$ and the standard deviation like $\sqrt{D}$ only.
#
# **Write** `typical(white)`, with white (K, D), the table from step 2, all entries above 0 and below 1. It returns two
# tensors, the mean and the standard deviation of $\log p(x \mid y)$, in nats, (K,) each.
#
# <details><summary>Hint</summary>
#
# Work out what each pixel adds, a table (K, D), and sum over the pixels. The root comes after the sum.
#
# <details><summary>Code</summary>
#
# `a, b = white.log(), (1 - white).log()` are the two values of each pixel. What each adds to the variance is
# `white * (1 - white) * (a - b) ** 2`.
#
# </details></details>

# %%
def typical(white):
    """white (K, D), inside (0, 1) -> mean and standard deviation of log p(x | y) of draws, (K,) each."""
    ### BEGIN SOLUTION
    a, b = white.log(), (1 - white).log()
    mean = (white * a + (1 - white) * b).sum(dim=1)
    variance = (white * (1 - white) * (a - b) ** 2).sum(dim=1)
    return mean, variance.sqrt()
    ### END SOLUTION


# %%
checks.taxonomy.typical(typical)

# %% [markdown]
# Draw 1000 images of each class, and count. Then find the most probable image of each. How far above the mean does it
# lie, in standard deviations?
#
# **Predict before you run.** Every pixel of it is as it should be. How many of the 10,000 draws are as probable as it is?

# %%
mean, std = typical(p_white)  # (K,)
most_probable = (p_white > 0.5).float()
log_most = log_joint(most_probable, torch.ones(K), p_white).diagonal()  # a prior of 1 leaves log p(x | y)

classes = torch.arange(K).repeat_interleave(1000)
drawn = (torch.rand(len(classes), D) < p_white[classes]).float()


def log_own(x, y):
    """log p(x | y) of each image in its own class, (N,)."""
    return log_joint(x, torch.ones(K), p_white)[torch.arange(len(x)), y]


def within_two(x, y):
    return ((log_own(x, y) - mean[y]).abs() < 2 * std[y]).float().mean()


bins = torch.arange(-40, 0.0)
counts = torch.histc(log_own(drawn, classes)[classes == 8], 40, -40, 0) / 1000
plots.show_curves(
    {"drawn from class 8": counts}, x=bins + 0.5,
    xlabel="log p(x | y = 8), nats", ylabel="share of the images",
    marks={"mean": mean[8].item(), "most probable": log_most[8].item()},
)
plots.show_rows(
    {"most probable": as_images(most_probable), "drawn": as_images(drawn[::1000])}, size=0.6
)

# %%
above = (log_most - mean) / std
as_probable = (log_own(drawn, classes) > log_most[classes] - 1e-3).sum()
print(f"of the draws, 94 to 98 % lie within two standard deviations: {0.94 < within_two(drawn, classes) < 0.98}")
print(f"the most probable lie {above.min():.1f} to {above.max():.1f} standard deviations above the mean")
print(f"of 10,000 draws, fewer than 10 are as probable: {as_probable < 10}")
finer = p_white.repeat(1, 16)  # 1024 pixels: each one 16 times, drawn independently
mean_finer, std_finer = typical(finer)
above = (torch.maximum(finer, 1 - finer).log().sum(dim=1) - mean_finer) / std_finer
print(f"with 16 times as many pixels, {above.min():.1f} to {above.max():.1f} standard deviations")

# %% [markdown]
# There is one most probable image, and there are very many of the others. Each has less, and together they have nearly
# all. The more pixels, the farther out lies the most probable one.
#
# And real digits? Their pixels depend on each other, so the terms of the sum rise and fall together, and variances no
# longer just add up. To see that this is the reason, **exchange** pixels: each pixel of a test image is taken from another
# test image of the same class. All pixels stay as frequent as they were, and nothing ties them together any more.

# %%
def exchanged(x, y):
    mixed = x.clone()
    for k in range(K):
        own = x[y == k]
        order = torch.rand(own.shape).argsort(dim=0)  # an order of its own for each pixel
        mixed[y == k] = own.gather(0, order)
    return mixed


print(f"test images within two standard deviations: {100 * within_two(x_test, test.labels):.0f} %")
mixed = within_two(exchanged(x_test, test.labels), test.labels)
print(f"with their pixels exchanged, at least 3 % more: {mixed > within_two(x_test, test.labels) + 0.03}")

# %% [markdown]
# ## Step 8. Refuse
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# A classifier must answer, whatever you show it: its probabilities add up to one for every image. Your model also knows
# $p(x)$. So it may say nothing where $\log p(x)$ lies below a threshold $t$:
#
# $$\text{label}(x) = \begin{cases} \arg\max_y p(y \mid x) & \text{if } \log p(x) \ge t \\ -1 & \text{otherwise.}
# \end{cases}$$
#
# Which threshold? Some good images will be refused by mistake, and we decide how many: a share $s$, say 5 %. Then $t$ is
# a **quantile**: of the log-probabilities of good images, the share $s$ lies below $t$. These must be images that the
# model has not learned from, or it would think too well of them. That is what the 300 held-out ones are for.
#
# **Write** `decide(held_out, log_p, posterior, share)`. held_out (M,) is $\log p(x)$ of the images held out, and
# log_p (N,) and posterior (N, K) are those of new images, from step 4. It returns two things: the threshold, one
# number, so that `share` of held_out lies below (one image more or less does not matter, and `share` may be 0); and the
# labels (N,), -1 where refused.
#
# <details><summary>Hint</summary>
#
# The threshold comes from `held_out` alone: sort it and count off the share, or let torch find the quantile. Then answer
# with the best class, except where log_p lies below.
#
# <details><summary>Code</summary>
#
# `held_out.quantile(share)`. `torch.where(condition, a, b)` takes a where the condition holds, and b elsewhere; both may
# be a number.
#
# </details></details>

# %%
def decide(held_out, log_p, posterior, share):
    """held_out (M,), log_p (N,), posterior (N, K) -> threshold, one number, and labels (N,)."""
    ### BEGIN SOLUTION
    threshold = held_out.quantile(share)
    return threshold, torch.where(log_p < threshold, -1, posterior.argmax(dim=1))
    ### END SOLUTION


# %%
checks.taxonomy.decide(decide)

# %% [markdown]
# We ask for 5 % and try it on the test images, on **noise** (each pixel a fair coin), and on test images with black and
# white **inverted**.
#
# **Predict before you run.** Of each of the three kinds, which share will be refused? And is the posterior less sure on
# noise than on digits? Write down three percentages and a yes or no.

# %%
log_p_held_out, _ = bayes(log_joint(x_held_out, prior, p_white))


def answers(x, share=0.05):
    """Labels, -1 where refused, and log p(x) and the largest posterior of each image."""
    log_p, posterior = bayes(log_joint(x, prior, p_white))
    _, labels = decide(log_p_held_out, log_p, posterior, share)
    return labels, log_p, posterior.amax(dim=1)


noise = (torch.rand(360, D) < 0.5).float()
for name, images in {"test": x_test, "noise": noise, "inverted": 1 - x_test}.items():
    labels, _, sure = answers(images)
    print(f"{name:<9} refused: {100 * (labels == -1).float().mean():3.0f} %, "
          f"mean of the largest p(y | x) above 75 %: {sure.mean() > 0.75}")

# %% [markdown]
# The posterior alone would not have helped: on nonsense, too, it is sure. On the test images, are those refused the hard
# ones?

# %%
labels, _, _ = answers(x_test)
best = posterior.argmax(dim=1)
for name, chosen in {"answered": labels >= 0, "refused": labels == -1}.items():
    right = (best == test.labels)[chosen].float().mean()
    print(f"{name:<9} {chosen.sum():>3} images, {100 * right:.0f} % would be right")

# %% [markdown]
# ## Step 9. All thresholds at once
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# Another threshold, another share refused. To judge the *score* without choosing one, take one in-distribution
# image, a digit, and one out-of-distribution. Does the digit score higher? The share of all pairs for which it does is called the
# **AUROC**, the area under a curve that you need not draw:
#
# $$\text{AUROC} = \frac{1}{N M} \sum_{n=1}^{N} \sum_{m=1}^{M} \Big( [a_n > b_m] + \tfrac{1}{2}\, [a_n = b_m] \Big),$$
#
# where $[\,\cdot\,]$ is 1 if true and 0 if not. So 1 is perfect, 1/2 is guessing, and below 1/2 the score has it the
# wrong way round.
#
# **Write** `auroc(in_scores, out_scores)`, with scores $a$ as in_scores (N,) and $b$ as out_scores (M,). It returns one number.
#
# <details><summary>Hint</summary>
#
# Compare every score in-distribution with every other one: a table (N, M) of won pairs, and one of ties.
#
# <details><summary>Code</summary>
#
# `in_scores[:, None] > out_scores` compares all pairs at once, (N, M). `.float()` makes ones and zeros of it.
#
# </details></details>

# %%
def auroc(in_scores, out_scores):
    """in_scores (N,), out_scores (M,) -> the share of pairs in the right order, one number."""
    ### BEGIN SOLUTION
    a, b = in_scores[:, None], out_scores[None, :]
    return ((a > b).float() + (a == b).float() / 2).mean()
    ### END SOLUTION


# %%
checks.taxonomy.auroc(auroc)
few = torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.0])
print("genlib agrees:", math.isclose(float(auroc(*few)), of_genlib.auroc(*few), rel_tol=1e-6))

# %% [markdown]
# Noise is easy. Now make it harder: test images mirrored, left for right, and upside down.

# %%
out_of_distribution = {
    "noise": noise,
    "inverted": 1 - x_test,
    "mirrored": as_images(x_test).flip(3).flatten(1),
    "upside down": as_images(x_test).flip(2).flatten(1),
}
for name, images in out_of_distribution.items():
    labels, log_p_out, _ = answers(images)
    print(f"{name:<12} AUROC {auroc(log_p, log_p_out):.2f}, "
          f"refused {100 * (labels == -1).float().mean():3.0f} %")

# %% [markdown]
# ## Step 10. A place on the tree
#
# *Difficulty 2 of 5 · importance 3 of 5 · 10 minutes*
#
# The lesson ends with a tree of all ways to learn $p(x)$. A model's place on it follows from what it can do, and in
# this course **a name promises**: `log_prob` is exact, `elbo` is a bound, `sample` draws. Let $L$ be the set of methods
# that a leaf promises, and $T$ all methods that some leaf of the tree promises. A model with methods $M$ belongs to the
# leaf with
#
# $$M \cap T = L.$$
#
# Equal, no less: a model that lacks one breaks a promise. And no more: a model with `log_prob` *and* `elbo` would claim
# to be two things. Methods that the tree does not speak of, as `forward`, do not matter.
#
# **Write** `place(methods, leaves)`. `methods` is a set of names. `leaves` is a dictionary, from the name of a leaf to
# the set of methods that it promises. It returns the name of the leaf, or "nowhere".
#
# <details><summary>Hint</summary>
#
# For sets, `a & b` is what both have, `a | b` what either has, and `a == b` compares. Collect T first, then walk through
# the leaves, and return as soon as one fits.
#
# <details><summary>Code</summary>
#
# `set().union(*leaves.values())` is what all leaves have together. `for leaf, promised in leaves.items():` walks through
# them, and the last line returns `"nowhere"`.
#
# </details></details>

# %%
def place(methods, leaves):
    """A set of names, and leaf -> the set of names that it promises -> the name of a leaf."""
    ### BEGIN SOLUTION
    spoken_of = set().union(*leaves.values())
    for leaf, promised in leaves.items():
        if methods & spoken_of == promised:
            return leaf
    return "nowhere"
    ### END SOLUTION


# %%
checks.taxonomy.place(place)

# %% [markdown]
# Now place real ones. `dir` lists what a class has: hundreds of names, most of them PyTorch's.

# %%
from genlib.adversarial import GAN
from genlib.autoregressive import PixelCNN
from genlib.markov import GSN, RBM
from genlib.variational import VAE, Autoencoder

leaves = {", ".join(taxonomy.path(leaf)): set(leaf.methods) for leaf in taxonomy.leaves()}
for kind in (PixelCNN, VAE, RBM, GSN, GAN, Autoencoder):
    print(f"{kind.__name__:<12} -> {place(set(dir(kind)), leaves)}")

# %% [markdown]
# ## All together: your generative classifier
#
# Your functions make a model. It learns in one pass over the data, by counting. It has an exact `log_prob`, it draws, it
# classifies, it refuses. Where on the tree does it stand? (The table is called `p_y` and not `prior`. Names promise: on
# this tree `prior` is a method of a VAE, and would cost the model its place.)

# %%
class NaiveBayes:
    def __init__(self, x, y, held_out, n_classes=10):
        self.p_y, self.p_white = shares(y, n_classes), white(x, y, n_classes)
        self.held_out = self.log_prob(held_out)

    def log_prob(self, x):
        return bayes(log_joint(x, self.p_y, self.p_white))[0]

    def loss(self, x):
        return -self.log_prob(x).mean()

    def sample(self, n):
        return draw(self.p_y, self.p_white, torch.rand(n), torch.rand(n, self.p_white.shape[1]))[1]

    def predict(self, x, share=0.0):
        return decide(self.held_out, *bayes(log_joint(x, self.p_y, self.p_white)), share)[1]


model = NaiveBayes(x, y, x_held_out)
print("its place:", place(set(dir(model)), leaves))
print(f"{model.p_y.numel() + model.p_white.numel()} numbers, {bits(model.log_prob(x_test), D):.2f} "
      "bits a pixel on the test images")

# %% [markdown]
# ### Against softmax regression
#
# Is it a good classifier? Look at step 3 again: $\log p(x, y)$ is a sum of the pixels, each with a weight, and a
# constant. So it is **linear** in $x$. The discriminative model of the same form is softmax regression, one linear layer
# with 650 numbers, as many as yours. It learns $p(y \mid x)$ and nothing else, in many small steps. Which of the two
# is right more often? (Ng & Jordan, 2001.)

# %%
linear = nn.Linear(D, K)
optimizer = torch.optim.Adam(linear.parameters(), lr=0.05, weight_decay=1e-4)
for _ in range(200):
    loss = F.cross_entropy(linear(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

of_linear = (linear(x_test).argmax(dim=1) == test.labels).float().mean()
of_yours = (model.predict(x_test) == test.labels).float().mean()
print(f"numbers to learn, in both: {sum(p.numel() for p in linear.parameters())}")
print(f"yours: {100 * of_yours:.0f} % of the test images right")
print(f"softmax regression is right as often, within 4 %: {abs(of_linear - of_yours) < 0.04}")

# %% [markdown]
# About as often. And what does softmax regression say about noise? It must answer, and it is sure.

# %%
with torch.no_grad():
    sure = linear(noise).softmax(dim=1).amax(dim=1).mean()
print(f"softmax regression gives its answers to noise more than 60 %, on average: {sure > 0.6}")
print(f"yours refuses {100 * (model.predict(noise, share=0.05) == -1).float().mean():.0f} % of it")

# %% [markdown]
# ### Where refusing fails
#
# A low $p(x)$ gives noise away. Is every image with a high $p(x)$ a digit? Here are three kinds that are none:
#
# - the **blank** image, all black;
# - what your model **draws** itself. You saw that these are poor;
# - **exchanged** pixels, from step 7, which fit the class and not each other.
#
# And a fourth, the **most probable** image of each class, from step 7.

# %%
strange = {
    "blank": torch.zeros(1, D),
    "drawn": model.sample(360),
    "exchanged": exchanged(x_test, test.labels),
    "most probable": most_probable,
}
shown = {"digits": x_test[:10]} | strange
plots.show_rows({name: as_images(images[:10]) for name, images in shown.items()}, size=0.6)

# %%
in_scores = model.log_prob(x_test)
score = {name: float(auroc(in_scores, model.log_prob(images))) for name, images in strange.items()}
passed = {
    name: (model.predict(images, share=0.05) >= 0).float().mean().item()
    for name, images in strange.items()
}
print(f"blank: refused:                               {passed['blank'] == 0}")
for name in ("drawn", "exchanged"):
    print(f"{name + ': more than 85 % pass:':<45} {passed[name] > 0.85}")
print(f"most probable: all ten pass:                  {passed['most probable'] == 1}")
print(f"most probable: AUROC below 0.1:               {score['most probable'] < 0.1}")

# %% tags=["nbval-ignore-output"]
rows = {name: {"AUROC": score[name], "passed": passed[name]} for name in strange}
print(format_table(rows, digits=2))

# %% [markdown]
# Your model refuses the blank image, which the network of the lesson accepted. That is chance more than merit: each
# digit has some pixels that are nearly always white, and for every one of these a blank image pays. What passes is what
# is probable under the model: its own broken digits, and real pixels that do not fit together. It knows nothing but single
# pixels, so it hardly tells them from digits.
#
# And with the ten most probable images the score has it the wrong way round: nearly every real digit has a lower $p(x)$
# than they have. You know why from step 7. A high $p(x)$ is no proof of a good image.
#
# Where to go on:
#
# - Read `genlib/bayes.py`. `GenerativeClassifier` is your steps 3, 4 and 8 for any model with `log_prob(x, y)`.
# - Learn from 50 images, then from 200. Which of the two needs fewer? Try it with ten choices of the images: one
#   choice is chance.
# - Take another number for Laplace's 1, say 0.1 or 10. Which has the fewest bits on the held-out images?
# - Refuse from both sides: the lowest 2.5 % and the highest. What becomes of the four strange kinds?
# - Let a pixel depend on its left neighbour as well, $p(x_i \mid x_{i-1}, y)$: two numbers for each pixel and class, and
#   still only counting. How many bits does it save? How do samples look? You are on your way to
#   [{{pixelrnn}} PixelRNN](../notebooks/{{pixelrnn}}_pixelrnn.ipynb).
# - Back to the lesson, [{{taxonomy}} Learning p(x)](../notebooks/{{taxonomy}}_taxonomy.ipynb), or on to the exercises of
#   [{{pixelrnn}}](../notebooks/{{pixelrnn}}_pixelrnn_exercises.ipynb).
