# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Problem set 1. Probability, pixel by pixel
#
# This homework belongs to lessons {{taxonomy}} to {{pixelcnn}}: what it means to learn $p(x)$, PixelRNN, PixelCNN. It asks for what the
# lessons leave open: other worlds, other orders, other likelihoods.
#
# | task | | points |
# | --- | --- | --- |
# | 1 | Prior shift: Bayes' rule with other proportions | 4 |
# | 2 | Bits per dimension: from a density to levels | 4 |
# | 3 | A distribution on levels with two parameters | 6 |
# | 4 | Masks for another order | 5 |
# | 5 | Receptive field and blind spot of a stack | 5 |
# | 6 | Completing an image exactly, and what the sampler does instead | 5 |
# | 7 | Train a network of your own | 7 |
# | 8 | An experiment: two orders | 4 |
# | 9, 10 | Two written answers | 10 |
#
# **Time.** One to two weeks beside other work, 8 to 12 hours in all. Tasks 1 to 3 and 6 stand alone. Tasks 5, 7 and 8
# use the order of the pixels that task 4 introduces.
#
# **How it works.** Derive on paper, then write the function in the gap. A cell with a few examples follows most gaps;
# it catches the first slips, and passing it is no proof. When your notebook is graded, tests that you do not see call
# your functions with inputs of their own: random ones, other shapes, double precision, extreme values. Points are
# given in parts, which each task lists, and the feedback names the mistake where it can. Functions must not change
# their arguments.
#
# **Your variant.** One cell below sets constants: proportions, levels, the order of pixels and colours. They differ
# from year to year and from what the papers use. Read them where a task names them, by name, from your code.
#
# **What you may use.** Everything in `torch` and the standard library, your own solutions of the exercises, and
# `genlib.data`. Not the models and the likelihoods of `genlib`: they are what you are to write.
#
# **The budget.** The whole notebook must run in 60 seconds on one processor core; the model answer takes about 10.
#
# **Handing in.** Restart the kernel, run all cells, save, and hand in this one notebook. Keep its name. Do not
# delete, copy or retype the cells that are locked.

# %% nbgrader={"grade": false, "grade_id": "setup", "locked": true, "schema_version": 3, "solution": false, "task": false}
import math

import torch
import torch.nn.functional as F
from torch import nn

from course import checks
from genlib import plots
from genlib.data import all_images, load

NotImplementedError = checks.Unanswered  # a task that is still open says so in one line
torch.set_num_threads(1)
torch.manual_seed(0);

# %% tags=["variant"] nbgrader={"grade": false, "grade_id": "variant", "locked": true, "schema_version": 3, "solution": false, "task": false}
VARIANT = 0
NEW_PRIOR = (0.2, 0.5, 0.3)
LOW = -2.0
HIGH = 1.5
LEVELS = 11
SCAN = 'columns'
START = 'upper right'
COLOURS = 'BRG'
FIRST = 9
KL_FROM = 'exact'
UPDATES = 300
PIXEL = (0, 2)
WORLD = (0, 2, 5, 4)

# %% [markdown]
# ## Task 1. Prior shift (4 points)
#
# A classifier was trained where the three classes had the proportions $\pi_{\text{old}}(y)$. It gives logits, whose
# softmax is $p_{\text{old}}(y \mid x)$. Now it is used on other data. The classes look as they did, so $p(x \mid y)$
# is the same. But their proportions are new: $\pi_{\text{new}}$ = {{NEW_PRIOR}}.
#
# Training again is not possible, and $p(x \mid y)$ is unknown. Show with Bayes' rule that you need not know it: both
#
# $$p_{\text{new}}(y \mid x) \qquad \text{and} \qquad \frac{p_{\text{new}}(x)}{p_{\text{old}}(x)}$$
#
# follow from $p_{\text{old}}(y \mid x)$ and the proportions. The second is the more surprising: a classifier, which
# has no density, can tell by what factor the density of an image changes.
#
# **Write** `prior_shift(logits, old_prior)`, with logits (N, 3) and $\pi_{\text{old}}$ as old_prior (3,), positive.
# The new proportions stand in `NEW_PRIOR`. It returns two tensors in the dtype of the logits:
# $\log p_{\text{new}}(y \mid x)$, (N, 3), and $\log \frac{p_{\text{new}}(x)}{p_{\text{old}}(x)}$, (N,).
#
# *Points: 2 for the posterior, 1 for the ratio, 1 for both where logits are in the hundreds and thousands.*

# %% nbgrader={"grade": false, "grade_id": "prior_shift-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prior_shift(logits, old_prior):
    ### BEGIN SOLUTION
    # p_new(y|x) = p(x|y) new(y) / p_new(x), and p(x|y) = p_old(y|x) p_old(x) / old(y). So
    # p_new(y|x) p_new(x) / p_old(x) = p_old(y|x) new(y) / old(y). Over all y the left side adds up to
    # the ratio.
    change = torch.tensor(NEW_PRIOR, dtype=logits.dtype).log() - old_prior.log()
    weighed = logits.log_softmax(dim=1) + change
    log_ratio = weighed.logsumexp(dim=1)
    return weighed - log_ratio[:, None], log_ratio
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "prior_shift-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
# An image that says nothing about its class: only the proportions speak, and its density stays as it was.
old = torch.tensor([0.5, 0.3, 0.2])
log_posterior, log_ratio = prior_shift(old.log()[None], old)
assert torch.allclose(log_posterior.exp(), torch.tensor([NEW_PRIOR]), atol=1e-5)
assert torch.allclose(log_ratio, torch.zeros(1), atol=1e-5)

# %% nbgrader={"grade": true, "grade_id": "prior_shift", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "prior_shift", prior_shift, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 2. Bits per dimension (4 points)
#
# Two papers report bits per dimension. One models levels, with probabilities; the other a continuous $y$, with a
# density. Densities have units: write the same images in a range twice as wide, and every density halves, once for
# each of the $D$ values. To compare at all, the density must be turned into a probability of the levels.
#
# Take an image of levels $k \in \{0, \dots, K - 1\}^D$ with $K$ = {{LEVELS}}, as `LEVELS`. It was made continuous by
# **dequantisation**: uniform noise $u \in [0, 1)^D$ fills the gap to the next level, and the result is scaled to the
# range from `LOW` = {{LOW}} to `HIGH` = {{HIGH}},
#
# $$y = \text{LOW} + (\text{HIGH} - \text{LOW})\, \frac{k + u}{K}.$$
#
# The density $p(y)$ defines a model of the levels: the probability of $k$ is what $p$ has in the cell of $k$,
#
# $$P(k) = \int_{\text{cell}(k)} p(y)\, dy.$$
#
# Write this as an integral over $u$. Which factor comes in? Then estimate the integral by the **mean over S draws**
# of $u$ (not by a bound), and report $-\frac{1}{D} \log_2 P(k)$.
#
# **Write** `level_bits(log_density, n_values)`. log_density (S, N) holds $\log p(y)$, in nats an image, for S draws
# of noise on each of N images. n_values is $D$, an int. It returns bits per dimension, (N,).
#
# *Points: 3 for the bits, 1 for images of 784 values, whose densities no float can hold.*

# %% nbgrader={"grade": false, "grade_id": "level_bits-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def level_bits(log_density, n_values):
    ### BEGIN SOLUTION
    # dy = width^D du, so P(k) = width^D E_u p(y)
    log_width = math.log((HIGH - LOW) / LEVELS)
    log_p = log_density.logsumexp(dim=0) - math.log(len(log_density)) + n_values * log_width
    return -log_p / (n_values * math.log(2))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "level_bits-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
# The uniform density on the whole range makes all levels equally probable, whatever the range.
uniform = torch.full((3, 2), -10 * math.log(HIGH - LOW))
assert torch.allclose(level_bits(uniform, 10), torch.full((2,), math.log2(LEVELS)), atol=1e-4)

# %% nbgrader={"grade": true, "grade_id": "level_bits", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "level_bits", level_bits, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 3. A distribution on levels with two parameters (6 points)
#
# A softmax spends K numbers on a pixel, and does not know that level 7 is near level 8. Salimans et al. (2017,
# PixelCNN++, arXiv:1701.05517, section 2.1) let the network give two: a mean $\mu$ and the logarithm of a scale,
# $\log s$. Behind the level they imagine a continuous brightness with the **logistic distribution**, whose
# distribution function is
#
# $$P(\text{brightness} \le t) = \sigma\!\left(\frac{t - \mu}{s}\right), \qquad \sigma(a) = \frac{1}{1 + e^{-a}}.$$
#
# Level $k$ of $K$ = {{LEVELS}} (`LEVELS`) stands at $t_k = \frac{2k}{K - 1} - 1$, so levels go from -1 to 1. What is
# seen is the level nearest to the brightness: the cell of $k$ ends half way to its neighbours. All brightness below
# the lowest level is seen as the lowest, and all above the highest as the highest. So each level has a probability,
# and they sum to one.
#
# **Derive** it, and then a numerically stable form. Far from the mean both sigmoids are 0 or both are 1, and the logarithm
# of their difference is $-\infty$; where $s$ is large they are nearly equal, and the difference has no digits left.
# Show that
#
# $$\sigma(b) - \sigma(a) = \sigma(b)\; \sigma(-a)\; (1 - e^{a - b})$$
#
# and take its logarithm with functions that are made for each factor: `torch` has one for $\log \sigma(x)$, and one
# for $e^x - 1$. A clamp is no solution: far away from the mean it has no gradient.
#
# **Write** `logistic_log_prob(mean, log_scale, level)`, three tensors of one shape (any), level in whole numbers
# (int64). It returns $\log P(\text{level})$, of that shape and in the dtype of the mean. Gradients must flow to mean
# and log_scale.
#
# *Points: 3 for the values, 1 for the gradient, 1 for means up to 150 scales away, 1 for scales of millions.*

# %% nbgrader={"grade": false, "grade_id": "logistic_log_prob-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def logistic_log_prob(mean, log_scale, level):
    ### BEGIN SOLUTION
    top = LEVELS - 1
    middle, half = 2 * level / top - 1, 1 / top
    a = (middle - half - mean) * torch.exp(-log_scale)
    b = (middle + half - mean) * torch.exp(-log_scale)
    # sigma(b) = e^b / (1 + e^b) and sigma(-a) = 1 / (1 + e^a): their product times (1 - e^(a - b)) is
    # (e^b - e^a) / ((1 + e^b) (1 + e^a)), which is the difference of the sigmoids.
    inside = F.logsigmoid(b) + F.logsigmoid(-a) + torch.log(-torch.expm1(a - b))
    lowest, highest = F.logsigmoid(b), F.logsigmoid(-a)
    return torch.where(level == 0, lowest, torch.where(level == top, highest, inside))
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "logistic_log_prob-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
# All levels together have probability one, and the levels nearest to the mean are the most probable.
every = torch.arange(LEVELS)
log_p = logistic_log_prob(torch.full((LEVELS,), 0.3), torch.full((LEVELS,), -1.5), every)
assert abs(log_p.exp().sum() - 1) < 1e-4
assert abs(2 * log_p.argmax() / (LEVELS - 1) - 1 - 0.3) <= 1 / (LEVELS - 1) + 1e-6

# %% nbgrader={"grade": true, "grade_id": "logistic_log_prob", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "logistic_log_prob", logistic_log_prob, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 4. Masks for another order (5 points)
#
# The chain rule holds for every order of the pixels; raster order is a habit. Here is yours.
#
# - The first pixel is the **{{START}}** corner, as `START`.
# - `SCAN` = "{{SCAN}}" is what gets finished before the next begins, **{{SCAN}}**. "rows" means that all pixels of a
#   row come before the next row; "columns" likewise. From `START` you always move away towards the other side, and
#   every row (or column) begins at the same side: this is no serpentine.
# - Within a pixel the colours come in the order **{{COLOURS}}**, as `COLOURS`: R is red, G green, B blue.
#
# A helper for this and later tasks, which is not graded itself: `numbers(height, width)`, the number of each pixel in
# your order, (H, W), int64. The first pixel has number 0 and the last $HW - 1$.

# %% nbgrader={"grade": false, "grade_id": "numbers-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def numbers(height, width):
    ### BEGIN SOLUTION
    row, column = torch.arange(height)[:, None], torch.arange(width)[None, :]
    if START.startswith("lower"):
        row = row.flip(0)
    if START.endswith("right"):
        column = column.flip(1)
    return row * width + column if SCAN == "rows" else column * height + row
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "numbers-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
print(numbers(2, 3))
assert numbers(2, 3).flatten().sort().values.tolist() == [0, 1, 2, 3, 4, 5]
assert numbers(2, 3)[0 if "upper" in START else -1, 0 if "left" in START else -1] == 0

# %% [markdown]
# The weight of a masked convolution is (F, C, k, k). Away from the centre of the kernel a weight stays if its pixel
# comes **before** the centre in your order, for all channels alike. At the centre the colours decide. Each channel
# belongs to a group: 0 for red, 1 for green, 2 for blue, whatever the order of colours. An output may read, at its
# own pixel, an input whose colour comes *earlier* in `COLOURS` (mask A), or *earlier or is the same* (mask B).
#
# **Write** `order_mask(kind, size, in_group, out_group)`, with kind `"A"` or `"B"`, an odd size k, and groups
# in_group (C,) and out_group (F,), int64. It returns zeros and ones, (F, C, k, k). A grey image is one group alone:
# all channels are in group 0.
#
# *Points: 3 for the pixels around the centre, 2 for the colours at the centre.*

# %% nbgrader={"grade": false, "grade_id": "order_mask-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def order_mask(kind, size, in_group, out_group):
    ### BEGIN SOLUTION
    number, centre = numbers(size, size), size // 2
    earlier = (number < number[centre, centre]).float()
    mask = earlier.repeat(len(out_group), len(in_group), 1, 1)
    place = torch.tensor([COLOURS.index(colour) for colour in "RGB"])  # of red, of green, of blue
    reader, read = place[out_group][:, None], place[in_group][None, :]
    mask[:, :, centre, centre] = (read < reader if kind == "A" else read <= reader).float()
    return mask
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "order_mask-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
grey = torch.tensor([0])
mask_a, mask_b = (order_mask(kind, 5, grey, grey) for kind in "AB")
assert mask_a.shape == mask_b.shape == (1, 1, 5, 5)
assert mask_a.sum() == 12 and mask_b.sum() == 13  # half of the other pixels come first, in any order
plots.show_images(torch.cat([mask_a, mask_b]).float(), titles=["mask A", "mask B"], size=1.3)

# %% nbgrader={"grade": true, "grade_id": "order_mask", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "order_mask", order_mask, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 5. Receptive field and blind spot of a stack (5 points)
#
# Lesson {{pixelcnn}} found receptive fields by differentiating a network. Here is none to differentiate: work it out. The
# images are grey. The stack has one layer with mask A and a kernel of `FIRST` x `FIRST` = {{FIRST}} x {{FIRST}}, and
# after it `depth` layers with mask B and 3 x 3 kernels, all in your order and as large as the image. Beyond the edge
# stand zeros.
#
# The output at a pixel reads an input pixel if a **path** leads from one to the other, with one step in each layer,
# and every step where that layer's mask is one. The **blind spot** of a pixel is what comes earlier in your order and
# is not read *at any depth*, however large.
#
# **Write** `reads(height, width, depth, pixel)`, with pixel as (row, column) from the upper left, counted from 0, and
# depth at least 0. It returns two boolean tensors (H, W): what the output at `pixel` reads at this depth, and its
# blind spot.
#
# *Points: 3 for what is read, 2 for the blind spot.*

# %% nbgrader={"grade": false, "grade_id": "reads-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def reads(height, width, depth, pixel):
    ### BEGIN SOLUTION
    def one_layer_back(reached, kind, size):
        """Where a layer reads in order to make what is reached."""
        grey = torch.zeros(1, dtype=torch.long)
        before = torch.zeros_like(reached)
        for a, b in (order_mask(kind, size, grey, grey)[0, 0] != 0).nonzero().tolist():
            down, right = a - size // 2, b - size // 2
            for i, j in reached.nonzero().tolist():
                if 0 <= i + down < height and 0 <= j + right < width:
                    before[i + down, j + right] = True
        return before

    def read_at(depth):
        reached = torch.zeros(height, width, dtype=torch.bool)
        reached[pixel] = True
        for _ in range(depth):
            wider = one_layer_back(reached, "B", 3)
            if torch.equal(wider, reached):
                break  # mask B keeps what is there, so nothing more will come
            reached = wider
        return one_layer_back(reached, "A", FIRST)

    number = numbers(height, width)
    return read_at(depth), (number < number[pixel]) & ~read_at(height * width)
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "reads-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Without later layers the output reads the footprint of the first mask. White: read, grey-blue: the blind spot.
read, blind = reads(11, 11, 0, (5, 5))
assert read.sum() == (FIRST**2 - 1) // 2 and not (read & blind).any()
fields = {f"depth {depth}": reads(11, 11, depth, (5, 5)) for depth in (0, 1, 3)}
pictures = [torch.where(blind, torch.nan, read.float())[None] for read, blind in fields.values()]
plots.show_images(torch.stack(pictures), titles=list(fields), columns=3, size=1.8)

# %% nbgrader={"grade": true, "grade_id": "reads", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "reads", reads, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 6. Completing an image, exactly (5 points)
#
# Some pixels of an image are known. Your sampler of lesson {{pixelcnn}} kept them and drew the others, each given all pixels
# **before** it. Is that a draw from $p(\text{unknown} \mid \text{known})$? Not if known pixels come later. On a small
# image we can list all completions and see.
#
# Let $M$ be the number of completions: all images that have the known pixels. A model has given their factors,
# in the order in which it predicts the pixels. Row $m$ of `log_factors` (M, D) belongs to one completion, column $i$
# to the $i$-th pixel predicted: $\log p(x_i \mid x_1, \dots, x_{i-1})$ of the values that this completion has.
# `known` (D,) is true for the pixels that are known; at least one is not. Derive
#
# - the **exact** probability of each completion, $p(\text{unknown} \mid \text{known})$;
# - the probability with which the sampler draws it, call it **clamped**: known pixels are not drawn, but put there;
# - the Kullback-Leibler divergence between the two in nats. The expectation is taken over `KL_FROM` = "{{KL_FROM}}",
#   which stands first: for "exact" it is $\sum_m \text{exact}_m \log \frac{\text{exact}_m}{\text{clamped}_m}$, for
#   "clamped" the other way round.
#
# **Write** `completions(log_factors, known)`. It returns three tensors: the logarithms of the exact (M,) and the
# clamped (M,) probabilities, and the divergence, one number (). An unknown pixel may have a value that never happens,
# with a factor of minus infinity. Such a completion has log-probability minus infinity, and no part in the
# divergence: $0 \log 0 = 0$.
#
# *Points: 1 for exact, 2 for clamped, 1 for the divergence, 1 for all three where probabilities underflow or are
# zero.*

# %% nbgrader={"grade": false, "grade_id": "completions-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def completions(log_factors, known):
    ### BEGIN SOLUTION
    joint = log_factors.sum(dim=1)
    exact = joint - joint.logsumexp(dim=0)  # p(known) is the sum of the joint over all completions
    clamped = log_factors[:, ~known].sum(dim=1)  # only unknown pixels are drawn
    p, q = (exact, clamped) if KL_FROM == "exact" else (clamped, exact)
    terms = torch.where(p > -torch.inf, p.exp() * (p - q), 0)
    return exact, clamped, terms.sum()
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "completions-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
# Two pixels that are always alike, the first drawn from Bernoulli(1/2). The second is known to be white.
# Completions: black-white, white-white. The sampler draws the first from Bernoulli(1/2) all the same.
log_factors = torch.tensor([[0.5, 0.01], [0.5, 0.99]]).log()
exact, clamped, _ = completions(log_factors, torch.tensor([False, True]))
assert torch.allclose(exact.exp(), torch.tensor([0.01, 0.99]), atol=1e-4)
assert torch.allclose(clamped.exp(), torch.tensor([0.5, 0.5]), atol=1e-4)

# %% nbgrader={"grade": true, "grade_id": "completions", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "completions", completions, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 7. Train a network of your own (7 points)
#
# The data are `bars`: 14 images of columns (label 0), 14 of rows (label 1), and 2 that are both (label 2). But the
# prior has changed, as in task 1: the labels have the proportions `NEW_PRIOR` = {{NEW_PRIOR}}, and within a label all
# images are equally probable. So the truth $p$ is known: 30 probabilities.
#
# Write and train a network for $q(x) = \prod_i q(x_i \mid \text{pixels earlier in your order})$, from nothing but
# torch. Masked convolutions with your `order_mask` will do, and so will any other network whose predictions read
# earlier pixels alone. Maximum likelihood means to minimise the cross-entropy $-\sum_x p(x) \log q(x)$; with 30
# images you can compute it in full. If you use convolutions, look at the edge: they see zeros beyond it. Can yours
# tell them from black pixels? If not, no prediction knows where in the image it stands.
#
# **The budget:** `UPDATES` = {{UPDATES}} steps of an optimiser, and 5 seconds on one core. The model answer needs 2
# seconds.
#
# **Write** `bars_log_prob(updates, images)`. It builds a new network, makes this many updates (none if `updates` is
# 0), and returns two tensors for images (N, 1, 4, 4) of zeros and ones: $\log q(x)$, (N,), in nats, and one summand
# of it, (N,): the logarithm of $q(x_i \mid \text{earlier pixels})$ for the pixel $i$ in row and column `PIXEL` =
# {{PIXEL}}, counted from 0. The grader asks for all $2^{16}$ images. The first cell below is for the parts of your
# network, classes and helpers; empty it if you need none.
#
# *Points: 2 if the probabilities of all images sum to one, before training and after. 2 if the second result is what
# follows from the first for your order. 1 if $KL(p \,\|\, q)$ is less than 1.5 nats after training, 2 more if it is
# less than 0.15.*

# %% nbgrader={"grade": false, "grade_id": "bars_network-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
### BEGIN SOLUTION
class MaskedConv(nn.Conv2d):
    def __init__(self, kind, n_in, n_out, size):
        super().__init__(n_in, n_out, size, padding=size // 2)
        groups = [torch.zeros(n, dtype=torch.long) for n in (n_in, n_out)]
        self.register_buffer("mask", order_mask(kind, size, *groups))

    def forward(self, x):
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class OrderedPixelCNN(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.first = MaskedConv("A", 1, width, 7)  # as far as a 4 x 4 image goes, so nothing is blind
        self.later = nn.ModuleList(MaskedConv("B", width, width, 3) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 1)

    def log_factors(self, x):
        """log q(x_i | earlier) of the value that each pixel has, (N, 4, 4)."""
        h = self.first(2 * x - 1)
        for layer in self.later:
            h = h + layer(h.relu())
        return -F.binary_cross_entropy_with_logits(self.last(h.relu()), x, reduction="none")[:, 0]


def true_probabilities():
    bars = load("bars")
    return bars.floats(), (torch.tensor(NEW_PRIOR) / bars.labels.bincount())[bars.labels]
### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "bars_log_prob-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bars_log_prob(updates, images):
    ### BEGIN SOLUTION
    model = OrderedPixelCNN()
    x, p = true_probabilities()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=max(updates, 1))
    for _ in range(updates):
        cross_entropy = -(p * model.log_factors(x).sum(dim=(1, 2))).sum()
        optimizer.zero_grad()
        cross_entropy.backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():  # 4096 images at a time stay in the processor's cache
        factors = torch.cat([model.log_factors(some) for some in images.split(4096)])
    return factors.sum(dim=(1, 2)), factors[:, PIXEL[0], PIXEL[1]]
    ### END SOLUTION


# %% nbgrader={"grade": false, "grade_id": "bars_log_prob-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
log_q, summand = bars_log_prob(20, all_images(2, (1, 4, 4)))
print(f"sum over all images, after 20 updates: {log_q.double().exp().sum():.2f}")
assert log_q.shape == summand.shape == (2**16,) and (summand >= log_q - 1e-4).all()

# %% nbgrader={"grade": true, "grade_id": "bars_log_prob", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "bars_log_prob", bars_log_prob, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 8. An experiment: two orders (4 points)
#
# If the chain rule holds for every order, does the order matter? Let every conditional be a **logistic regression**
# on the earlier pixels, with weights and a bias of its own for each pixel and nothing shared:
#
# $$q(x_i = 1 \mid \text{earlier}) = \sigma\Big(b_i + \sum_{j \text{ earlier}} w_{ij}\, x_j\Big).$$
#
# The truth is a table $p$ of all black-and-white images of a small size, each with a positive probability. For a
# given order, the best such model has the smallest $KL(p \,\|\, q)$. The problem is convex: there is one minimum, and
# any good optimiser that runs to its end finds it. So this experiment has a right answer.
#
# **Write** `two_orders(p, height, width)`. p ($2^{HW}$,) has the probabilities in the order of
# `all_images(2, (1, height, width))`, and $HW \le 6$. It returns one tensor (2,): the smallest divergence in raster
# order (rows from the upper left), and the smallest in your order, in nats. Both must be right to 0.004 nats. Use
# double precision.
#
# *Points: 2 for each order.*

# %% nbgrader={"grade": false, "grade_id": "two_orders-answer", "locked": false, "schema_version": 3, "solution": true, "task": false}
def two_orders(p, height, width):
    ### BEGIN SOLUTION
    p, n = p.double(), height * width
    images = all_images(2, (1, height, width)).flatten(1).double()

    def smallest_divergence(order):
        x = images[:, order]
        weight = torch.zeros(n, n, dtype=p.dtype, requires_grad=True)
        bias = torch.zeros(n, dtype=p.dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=500, tolerance_grad=1e-7, tolerance_change=1e-12,
            line_search_fn="strong_wolfe",
        )

        def divergence():
            logits = x @ weight.tril(-1).T + bias  # row i reads the pixels before the i-th
            log_q = -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1)
            return (p * (p.log() - log_q)).sum()

        def closure():
            optimizer.zero_grad()
            loss = divergence()
            loss.backward()
            return loss

        optimizer.step(closure)
        return divergence().detach()

    raster = torch.arange(n)
    mine = numbers(height, width).flatten().argsort()
    return torch.stack([smallest_divergence(raster), smallest_divergence(mine)])
    ### END SOLUTION


# %% [markdown]
# Try it on a world of 2 x 3 pixels. Four of them make a half adder, a circuit that adds two bits: pixels $a$ and $b$
# are Bernoulli(1/2), *both* is white when both are white, *differ* is white when they differ. The other two pixels are
# Bernoulli(1/2) too. One image in twenty is noise. `WORLD` = {{WORLD}} says where $a$, $b$, *both* and *differ* lie, numbered in
# raster order from 0.

# %% nbgrader={"grade": false, "grade_id": "two_orders-example", "locked": true, "schema_version": 3, "solution": false, "task": false}
images = all_images(2, (1, 2, 3))
a, b, both, differ = images.flatten(1)[:, WORLD].T
allowed = ((both == a * b) & (differ == (a - b).abs())).double()
world = 0.95 * allowed / allowed.sum() + 0.05 / len(images)
plots.show_images(images[allowed > 0], columns=8, size=0.7, title="this world, but for noise")
raster, mine = two_orders(world, 2, 3)
print(f"raster order: {raster:.2f} nats from the truth, {SCAN} from the {START}: {mine:.2f}")
uniform = torch.full((64,), 1 / 64)
assert (two_orders(uniform, 2, 3).abs() < 0.004).all()  # no order costs anything

# %% nbgrader={"grade": true, "grade_id": "two_orders", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
# Graded with inputs of the grader's own.
### BEGIN HIDDEN TESTS
from course.checking.hand_in import hand_in
hand_in("ps1_autoregressive", "two_orders", two_orders, VARIANT)
### END HIDDEN TESTS

# %% [markdown]
# ## Task 9. Why do orders differ? (5 points, written)
#
# The chain rule is exact for every order, and both models of task 8 have the same number of weights. Still one order
# is nearer to the truth in the world of the half adder.
#
# Explain in 100 to 200 words. Where in the argument from the chain rule to the model does the order come in? Which
# pixel is it, in raster order, whose conditional a logistic regression cannot express, and what does your order do
# about it? What change of the model would make the gap vanish, and at what price?

# %% [markdown] nbgrader={"grade": true, "grade_id": "why_orders_differ", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# The chain rule is exact for the true conditionals, in any order. The order comes in when we replace them by a family
# of functions, here logistic regressions: another order asks for other conditionals, and some of these lie in the
# family while others do not. The divergence is the sum of what each conditional misses, in expectation.
#
# In raster order *both* comes after $a$, $b$ and *differ*. So the last pixel of the three $a$, $b$, *differ* must be
# predicted from the other two alone. It is their exclusive or, and no linear function separates that: the pixel costs
# about a whole bit where nearly none is left. In my order *both* comes before the last of the three. With it the
# exclusive or is linear, for instance *differ* = $a + b - 2 \cdot$ *both*, and a logistic regression comes close.
#
# Conditionals that can be any function, such as a table of all earlier pixels, or a network with enough hidden units,
# make every order exact. The price is the number of parameters (a table has $2^{i-1}$ rows for pixel $i$), and data
# and time to fit them.
#
# ### BEGIN MARK SCHEME
# - 1: the chain rule is exact for true conditionals; the loss comes from the restricted family.
# - 1: another order means other conditionals, of which some are in the family; the divergence adds up pixel by pixel.
# - 1: names the pixel: the last of a, b, differ in raster order, an exclusive or of the other two.
# - 1: in the student's order *both* is known before that pixel, which makes it linear.
# - 1: a richer family (a table, hidden units, a product of two pixels as an input) closes the gap, and one price:
#   parameters, data, time.
#
# No point for "raster order is bad" without the conditional. An answer that speaks of optimisation that is not
# finished misses that the problem is convex: at most 2.
# ### END MARK SCHEME
# ### END SOLUTION

# %% [markdown]
# ## Task 10. What does a sum over all images say? (5 points, written)
#
# In task 7 the probabilities of all $2^{16}$ images summed to one before the first update, when the model was about 8
# nats from the truth.
#
# (a) What does this sum test, then, and what does it not test? Name one mistake in the code that it finds, and one
# that it cannot find. (3 points)
#
# (b) Three colleagues each give you a function $f(x)$ of black-and-white 4 x 4 images and say that it is $\log p(x)$.
# The sum of $e^{f(x)}$ over all images is 1.000 for the first, 0.62 for the second, 48.1 for the third. For each,
# name a leaf of the tree of lesson {{taxonomy}} and a quantity on it that would explain the number, or a mistake that would. (2
# points)

# %% [markdown] nbgrader={"grade": true, "grade_id": "sum_over_images", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}
# ### BEGIN SOLUTION
# (a) The sum tests that the numbers are a distribution: every conditional is normalised, and reads earlier pixels
# alone. It says nothing about *which* distribution. Any weights give a sum of one, since each factor is a probability
# whatever its logit. So it finds a mask that lets a prediction read its own pixel, or a mean over pixels where a sum
# is needed. It cannot find training that does not work, wrong proportions of the data, or pixels in the wrong order:
# all of these are still distributions. For quality one needs a comparison with data, the likelihood of images not
# seen in training, or here the divergence from the truth.
#
# (b) 1.000: explicit and tractable, `log_prob` of a PixelCNN (or an RBM small enough to sum its partition function).
# 0.62: explicit and approximate, variational: an `elbo` is below $\log p(x)$ everywhere, so the sum is below one.
# 48.1: no distribution; perhaps an RBM's negative free energy, whose partition function is 48.1 and was not divided
# out, or an autoregressive network that reads ahead.
#
# ### BEGIN MARK SCHEME
# (a) 3 points
# - 1: it tests normalisation and the masks (that conditionals read earlier pixels alone); it holds for any weights.
# - 1: a mistake that it finds: reading ahead, mean for sum, a missing normaliser, counting a pixel twice.
# - 1: a mistake that it cannot find: no training, wrong data or proportions, another order, overfitting. Or says
#   plainly that a uniform model passes.
#
# (b) 2 points; half a point off for each wrong or missing explanation.
# - 1.000: exact log_prob, explicit and tractable. A GAN, which has no f, is wrong.
# - 0.62: a lower bound, as an ELBO. Also right: a true log_prob that leaves out some value, with the reason.
# - 48.1: unnormalised (free energy or energy of an RBM, a density taken for a probability), or a network that reads ahead.
# ### END MARK SCHEME
# ### END SOLUTION
