# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Autoencoders
#
# <!-- board -->
# **What do features without labels look like?**
#
# Lessons {{pixelrnn}} and {{pixelcnn}} gave us the probability of an image, and nothing else: no short description to compare, to classify
# or to edit with. A classifier has such a description in its last layers, its **features**, but it needs labels to
# learn them. Images are plentiful and labels are expensive. Can images alone teach features? The field calls this
# **representation learning**.
#
# An autoencoder must copy its input, and the copy has to pass through a few numbers. This lesson studies what these
# numbers hold and uses it. It ends with the question whether an autoencoder can make new images. Alone it cannot, since it
# has no distribution to draw its numbers from. We fit one afterwards, and see how far that goes.
#
# <!-- slide: Where this ends -->
# <!-- board
# One decoder makes all of these. First row: codes of test images. Below: codes drawn at random, in four ways.
# -->
# <!-- figure: decoded -->
#
# <!-- slide: Today -->
# <!-- agenda -->

# %% slideshow={"slide_type": "skip"}
import math

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsRegressor
from torch import nn

from genlib import plots
from genlib.data import load
from genlib.metrics import train_classifier
from genlib.training import fit
from genlib.variational import MLP, Autoencoder

DATASET, SIZE, EPOCHS = "strokes", 6000, 10  # or "mnist", "fashion_mnist"; "digits" with SIZE None
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The data
#
# `strokes` comes from a handwriting simulator. A pen writes digits of 28 by 28 pixels, with random slant, thickness,
# size and place. So here we know what data sets rarely include: the **factors** behind each image. The autoencoder will
# see neither factors nor labels. We keep them to see what it found.

# %% name="digits" alt="Twenty simulated handwritten digits of 28 by 28 pixels."
train, test = load(DATASET, size=SIZE), load(DATASET, "test")
x_train, x_test = train.floats().to(DEVICE), test.floats().to(DEVICE)
plots.show_images(x_test[:20], columns=10)
print(f"{len(train)} training and {len(test)} test images of shape {train.shape}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Two networks and a bottleneck
#
# <!-- minutes: 9 -->
# <!-- slide: Digits whose factors are known -->
# <!-- board
# A simulator writes them, with random slant, thickness, size and place. The autoencoder sees neither these **factors** nor labels.
# -->
# <!-- figure: digits -->
#
# <!-- slide: Encoder, code, decoder -->
# <!-- board
# **Encoder**: an image of $D = 784$ values to a **code** $z$ of $k = 16$ numbers. **Decoder**: the code back to an image.
# -->
#
# The **encoder** maps an image $x$ of $D = 784$ values to a **code** $z$ of $k$ numbers, here $k = 16$. (Papers also
# say *latent vector*, and *latent space* for where codes lie.) The **decoder** maps the code back to an image. Both are
# networks, trained together to make the squared error small:
#
# <!-- board
# $$z = f_\phi(x), \qquad \hat x = g_\theta(z)$$
#
# $$L(\phi, \theta) = \frac{1}{ND} \sum_{n=1}^{N} \lVert x_n - g_\theta(f_\phi(x_n)) \rVert^2$$
# -->
#
# $$z = f_\phi(x), \qquad \hat x = g_\theta(z), \qquad
# L(\phi, \theta) = \frac{1}{ND} \sum_{n=1}^{N} \lVert x_n - g_\theta(f_\phi(x_n)) \rVert^2.$$
#
# <!-- question: With $k \ge D$, what could the two networks learn to do? -->
# <!-- answer: Pass every pixel on unchanged. The **bottleneck**, $k \ll D$, prevents that. -->
#
# No label appears. With $k \ge D$ the two could pass every pixel on unchanged, and nothing would be learnt. The
# **bottleneck**, $k \ll D$, prevents that (Hinton and Salakhutdinov, 2006).
#
# By hand, with one hidden layer each and the weights of a fresh `genlib` model, it takes a few lines.

# %%
model = Autoencoder(train.shape, latent_dim=16).to(DEVICE)
w1, b1, w2, b2, w3, b3, w4, b4 = model.parameters()


def encode(x):
    return F.gelu((2 * x.flatten(1) - 1) @ w1.T + b1) @ w2.T + b2  # (B, 784) -> (B, 16)


def decode(z):
    return (F.gelu(z @ w3.T + b3) @ w4.T + b4).sigmoid().reshape(-1, *train.shape)


x = x_test[:100]
assert torch.allclose(encode(x), model.encode(x), atol=1e-4)
assert torch.allclose((x - decode(encode(x))).square().mean(), model.loss(x), atol=1e-5)
print("the autoencoder by hand and the one of genlib agree")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Two baselines
#
# <!-- minutes: 9 -->
# <!-- slide: Two codes that need no training by descent -->
# <!-- board
# **Mean image** $m$: a code of no numbers. The error is the variance of a pixel.
#
# **PCA**: coordinates along the leading eigenvectors $v_1, \dots, v_k$ of the covariance,
#
# $$z_j = v_j^\top (x - m), \qquad \hat x = m + \sum_{j=1}^k z_j v_j.$$
# -->
#
# *The mean image*: a code of no numbers. Every image gets the same reconstruction, so the error is the variance of a
# pixel.
#
# *PCA*: a linear code. Sixteen numbers are the coordinates along the 16 directions in which the images vary most, the
# leading eigenvectors of their covariance. No linear encoder and decoder of this size have a smaller error on the
# training images. All errors below are mean squared errors per pixel, on test images.

# %%
mean = x_train.mean(dim=0).flatten()
directions = torch.linalg.eigh(torch.cov(x_train.flatten(1).T)).eigenvectors.flip(1)  # largest first


def pca_codes(x, k):
    return (x.flatten(1) - mean) @ directions[:, :k]


def pca_reconstruct(x, k):
    return (mean + pca_codes(x, k) @ directions[:, :k].T).reshape(x.shape)


error = {
    "mean image": F.mse_loss(mean.reshape(train.shape).expand_as(x_test), x_test).item(),
    "PCA, 16 numbers": F.mse_loss(pca_reconstruct(x_test, 16), x_test).item(),
}

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: PCA is an autoencoder -->
# <!-- board
# Make encoder and decoder linear, with 16 numbers between them, and train both by descent.
# -->
# <!-- question: Is the training error below, at, or above that of PCA with 16 numbers? -->
# <!-- answer: Never below, and after a short training within 5 % of it: no linear code has a smaller one (Baldi and Hornik, 1989). -->
#
# ### PCA is an autoencoder
#
# Make both networks linear, and descent finds what the eigenvectors give: an error as small, and never smaller (Baldi
# and Hornik, 1989). So whatever an autoencoder gains over PCA, it gains by being non-linear. In
# [the exercises]({{autoencoder}}_autoencoder_exercises.ipynb) you write both and compare the planes that they span.

# %%
size = math.prod(train.shape)
linear = Autoencoder(
    train.shape, latent_dim=16,
    encoder=nn.Sequential(nn.Flatten(), nn.Linear(size, 16)), decoder=nn.Linear(16, size),
).to(DEVICE)
fit(linear, train, epochs=8, learning_rate=1e-2)

with torch.no_grad():
    ratio = linear.loss(x_train) / F.mse_loss(pca_reconstruct(x_train, 16), x_train)
assert ratio > 0.9999
if DATASET == "strokes":
    print(f"training error within 5 % of PCA's, and not below it: {bool(ratio < 1.05)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Reconstruction
#
# <!-- minutes: 8 -->
# <!-- slide: Now non-linear -->
# <!-- board
# What an autoencoder gains over PCA, it gains by being non-linear. Both have 16 numbers, both are judged on test images.
# -->
# <!-- question: How large is the error of the autoencoder, as a share of PCA's? -->
# <!-- answer: Less than 55 %. -->
#
# Now the non-linear one. The curve is the training loss, averaged over each epoch; the two baselines are errors on test
# images.
#
# <!-- slide: PCA leaves traces, the autoencoder draws a line -->

# %% alt="Squared error over ten epochs: the autoencoder falls below the mean image and below PCA by the third epoch and keeps falling."
losses = fit(model, train, epochs=EPOCHS, learning_rate=3e-3)
with torch.no_grad():
    error["autoencoder, 16 numbers"] = model.loss(x_test).item()
plots.show_curves(
    {"autoencoder": losses}, xlabel="epoch", ylabel="squared error per pixel",
    baselines={name: error[name] for name in ("mean image", "PCA, 16 numbers")},
)

# %%
share = error["autoencoder, 16 numbers"] / error["PCA, 16 numbers"]
if DATASET == "strokes":
    print(f"less than 55 % of the error of PCA with as many numbers: {share < 0.55}")

# %% board="values" tags=["nbval-ignore-output"]
for name, value in error.items():
    print(f"{name:<25} {value:.4f} per pixel, test images")
goal, enough = error["autoencoder, 16 numbers"], 16
while F.mse_loss(pca_reconstruct(x_test, enough), x_test) > goal:
    enough += 1
print(f"PCA needs {enough} numbers to do as well")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# PCA adds and subtracts 16 pictures; traces of them stay around the digit. The autoencoder draws a line, sometimes blurred.
# -->
#
# Look at the strokes. PCA adds and subtracts 16 fixed pictures, and traces of them stay visible around the digit. The
# autoencoder draws a pen's line. Some lines are blurred.

# %% board="figure" alt="Twelve digits, copied by PCA and by the autoencoder, 16 numbers each: PCA's copies are blurred, the autoencoder's are nearly the images."
with torch.no_grad():
    shown = x_test[:12]
    rebuilt = {"PCA, 16": pca_reconstruct(shown, 16), "autoencoder, 16": model(shown)}
plots.show_rows({"images": shown} | rebuilt)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A code of two numbers
#
# <!-- minutes: 10 -->
# <!-- slide: Two numbers: every image is a point -->
# <!-- board
# Each mark is a test image. Axes: the **percentile** of each number.
#
# Digits that look alike lie together, though training saw no label. Labels only choose the marks.
# -->
#
# With $k = 2$ a code is a point in the plane, so we can draw them all. Two numbers are few. We give the networks a
# second hidden layer and more epochs.

# %%
flat = Autoencoder(
    train.shape, latent_dim=2,
    encoder=MLP((size, 128, 128, 2)),
    decoder=nn.Sequential(MLP((2, 128, 128, size)), nn.Sigmoid()),
).to(DEVICE)
fit(flat, train, epochs=2 * EPOCHS, learning_rate=5e-3)
with torch.no_grad():
    map_train, map_test = flat.encode(x_train), flat.encode(x_test)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Most codes crowd in the middle and a few lie far out, so we do not draw the numbers themselves. Each axis shows the
# **percentile** of a number: the share of test images whose number is smaller. Percentiles keep the order along each
# axis. Each mark is a test image.

# %% board="figure" alt="The codes of 400 digits in the plane, each drawn as its digit: zeros, ones, sixes and twos have places of their own, threes, fives and eights overlap."
percentile = 100 * map_test.argsort(dim=0).argsort(dim=0) / len(map_test)
axes = ("percentile of $z_1$", "percentile of $z_2$")
plots.show_codes(percentile[:400], {"digit": test.labels[:400]}, labels=axes, size=7)

# %%
quarters = torch.tensor([0.25, 0.75], device=DEVICE)
middle = (map_test.quantile(quarters, dim=0).diff(dim=0) / (map_test.amax(dim=0) - map_test.amin(dim=0))).amax()
if DATASET == "strokes":
    print(f"the middle half of the codes takes up less than a fifth of either axis: {bool(middle < 1 / 5)}")

# %% [markdown]
# <!-- slide: Slant changes gradually, thickness is scattered -->

# %% board="figure" slideshow={"slide_type": "subslide"} alt="The same plane coloured by slant and by thickness: slant changes in bands across the plane, thickness is mixed everywhere."
if shown_factors := {f: test.factors[f][:1000] for f in ("slant", "thickness") if f in test.factors}:
    plots.show_codes(percentile[:1000], shown_factors, labels=axes, size=5)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Digits that look alike lie together, though no label was ever shown. Slant (in degrees) changes gradually across the
# map. Thickness (in pixels) is scattered: two numbers cannot hold everything.
#
# <!-- slide: Which factors can be read from a code? -->
# <!-- board
# Guess a factor $f$ from the ten training images with the nearest codes:
#
# $$R^2 = 1 - \frac{\sum_n (f_n - \hat f_n)^2}{\sum_n (f_n - \bar f)^2}.$$
#
# 1 is perfect, 0 no better than always saying the mean.
# -->
# <!-- question: PCA's error is much larger. Does its code hold less of slant and thickness? -->
# <!-- answer: No: as much of slant, and more of thickness. -->
#
# ### Which factors are in a code?
#
# A figure can mislead, so we measure. Guess a factor of a test image from the ten training images whose codes are
# nearest. $R^2$ is the share of the factor's variance that the guess explains: 1 is perfect, 0 is no better than
# always saying the mean, and a guess from noise falls below 0.
#
# <!-- slide: The autoencoder: less error, yet less of thickness -->
# <!-- board
# | code | slant | thickness | curvature |
# | --- | --- | --- | --- |
# | autoencoder, 2 | above 0.4 | below 0.15 | below 0.1 |
# | autoencoder, 16 | above 0.8 | above 0.5 | below 0.1 |
# | PCA, 16 | the same ± 0.05 | more | below 0.1 |
#
# $R^2$ on test images. Curvature cannot be read from neighbours, not even from those in the pixels.
# -->

# %%
with torch.no_grad():
    z_train, z_test = model.encode(x_train), model.encode(x_test)
codes = {
    "784 pixels": (x_train.flatten(1), x_test.flatten(1)),
    "PCA, 16": (pca_codes(x_train, 16), pca_codes(x_test, 16)),
    "autoencoder, 16": (z_train, z_test),
    "autoencoder, 2": (map_train, map_test),
}


factors = [f for f in ("slant", "thickness", "size", "x", "y", "curvature") if f in test.factors]


def explained(name):
    (a, b), (known, wanted) = codes[name], ([data.factors[f] for f in factors] for data in (train, test))
    guess = KNeighborsRegressor(10).fit(a.cpu(), torch.stack(known, dim=1)).predict(b.cpu())
    scores = r2_score(torch.stack(wanted, dim=1), guess, multioutput="raw_values")
    return dict(zip(factors, scores, strict=True))


# %% tags=["nbval-ignore-output"]
r2 = {name: explained(name) if factors else {} for name in codes}
print(f"{'R2 on test images':<18}" + "".join(f"{factor:>11}" for factor in factors))
for name, row in r2.items():
    print(f"{name:<18}" + "".join(f"{value:>11.2f}" for value in row.values()))

# %%
if factors:
    two, sixteen, pca = (r2[name] for name in ("autoencoder, 2", "autoencoder, 16", "PCA, 16"))
    same = abs(pca["slant"] - sixteen["slant"]) < 0.05
    lost = max(row["curvature"] for row in r2.values()) < 0.1
    print(f"two numbers hold slant (R2 above 0.4):       {two['slant'] > 0.4}")
    print(f"and almost no thickness (R2 below 0.15):     {two['thickness'] < 0.15}")
    print(f"sixteen hold slant (R2 above 0.8):           {sixteen['slant'] > 0.8}")
    print(f"and much of thickness (R2 above 0.5):        {sixteen['thickness'] > 0.5}")
    print(f"PCA holds as much of slant, within 0.05:     {same}")
    print(f"and more of thickness:                       {pca['thickness'] > sixteen['thickness']}")
    print(f"curvature is in none of them (R2 below 0.1): {lost}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So most factors can be read from a code's neighbours, though training never saw them. Be fair to PCA: it holds
# slant as well, and thickness better. A smaller error does not mean that all factors are easier to read. And curvature
# cannot be read from neighbours, not even from those in the pixels.
#
# Do not expect that each number of a code holds one factor. Nothing in the loss asks for it, as the end of this lesson
# shows.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Features for a classifier
#
# <!-- minutes: 11 -->
# <!-- slide: Many images, few labels -->
# <!-- board
# 1. Learn features from many images without labels.
# 2. Keep the encoder.
# 3. A simple classifier learns from few labels.
#
# **Linear probe**: the classifier is linear. Here: logistic regression.
# -->
# <!-- question: Which features are best with 10 labels, and with 200: pixels, PCA, the code? -->
# <!-- answer: With 10 the code beats the pixels, PCA close behind. With 200 the pixels. -->
#
# The idea: learn features from many images without labels, keep the encoder, and let a simple classifier learn from
# a few labels. This is **semi-supervised learning**; with a linear classifier the test is called a **linear probe**. We
# take logistic regression, with 10, 50 and 200 labels, the same number for each digit.
#
# The baselines get the same classifier: raw pixels, and PCA, which has seen the same unlabelled images. All are scaled
# to the same total variance, so that the classifier's penalty on weights means the same to each.

# %%
def labelled(per_class):
    order = torch.randperm(len(train))
    return torch.cat([order[train.labels[order] == c][:per_class] for c in range(train.n_classes)])


draws = {n: [labelled(n // train.n_classes) for _ in range(10)] for n in (10, 50, 200)}


def accuracies(a, b, n):
    """In percent of the test images, for each of ten draws of n labelled images."""
    a, b = ((z / a.var(dim=0).sum().sqrt()).cpu() for z in (a, b))
    classifier = LogisticRegression(C=10, max_iter=1000)
    scores = [classifier.fit(a[i], train.labels[i]).score(b, test.labels) for i in draws[n]]
    return 100 * torch.tensor(scores)


accuracy = {name: {n: accuracies(*codes[name], n) for n in draws} for name in codes}

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: With more labels, the pixels overtake the code -->
# <!-- board
# Right answers on test images: averages over ten draws of labels, and their standard error.
# -->
#
# Which images get labels is chance, so the table averages ten draws. In brackets stands the standard error of the
# average. All features get the same draws.

# %% board="values" tags=["nbval-ignore-output"]
def show_accuracies(table):
    print(f"{'labels':<22}" + "".join(f"{n:>15}" for n in table["784 pixels"]))
    for name, scores in table.items():
        errors = (f" (±{s.std() / len(s) ** 0.5:.1f})" if len(s) > 1 else "" for s in scores.values())
        cells = [f"{s.mean():.1f} %{error}" for s, error in zip(scores.values(), errors, strict=True)]
        print(f"{name:<22}" + "".join(f"{cell:>15}" for cell in cells))


show_accuracies(accuracy)

# %%
def lead(name, other, n, table=accuracy):
    return (table[name][n] - table[other][n]).mean().item()


code, pixels, pca = "autoencoder, 16", "784 pixels", "PCA, 16"
behind = min(lead(name, "autoencoder, 2", 200) for name in (code, pixels, pca))
if DATASET == "strokes":
    print(f"with 10 labels the code beats the pixels:           {lead(code, pixels, 10) > 0}")
    print(f"with 50 labels they are less than 4 points apart:   {abs(lead(code, pixels, 50)) < 4}")
    print(f"with 200 labels the pixels beat the code:           {lead(pixels, code, 200) > 0}")
    print(f"with 50 and with 200 labels the code beats PCA's:   {min(lead(code, pca, n) for n in (50, 200)) > 0}")
    print(f"with 200 two numbers are over 15 points behind all: {behind > 15}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# A linear boundary can do more with 784 numbers than with 16.
# -->
#
# <!-- slide: Change the classifier alone -->
# <!-- board
# **Nearest neighbour**: a test image gets the label of the nearest labelled image. The same draws of labels.
# -->
# <!-- question: With 200 labels, do the pixels still beat the code? -->
# <!-- answer: No. With 10, 50 and 200 labels the code beats the pixels; with all 6000 the pixels lead by less than 3 points. -->
#
# Which features are best? With 10 labels the code does, with 50 the two come close, with 200 the pixels win. But is that the code, or
# the classifier? Change the classifier alone. The **nearest neighbour** rule has nothing to tune: a test image gets the
# label of the nearest labelled image. We keep the draws of labels, and add the case that all training images have one.

# %%
def by_neighbour(a, b, n):
    """As `accuracies`, with the nearest labelled image for a classifier."""
    apart = torch.cdist(b, a).cpu()
    chosen = draws.get(n, [torch.arange(len(train))])
    nearest = [train.labels[i[apart[:, i].argmin(dim=1)]] for i in chosen]
    return 100 * (torch.stack(nearest) == test.labels).float().mean(dim=1)


neighbour = {name: {n: by_neighbour(*codes[name], n) for n in (*draws, len(train))} for name in codes}

# %% tags=["nbval-ignore-output"]
show_accuracies(neighbour)

# %%
every = lead(code, pixels, len(train), neighbour)
least = min(lead(code, pixels, n, neighbour) for n in draws)
two_numbers = neighbour["autoencoder, 2"][len(train)].item()
if DATASET == "strokes":
    print(f"nearest neighbours: with 10, 50 and 200 labels the code beats the pixels: {least > 0}")
    print(f"with all labels the pixels are ahead, by less than 3 points:              {-3 < every < 0}")
    print(f"two numbers and all labels, where chance is 10 %: more than 40 %:         {two_numbers > 40}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So with few labels the code is the better place to look for neighbours, and the pixels win with 200 only where a
# linear boundary decides. A linear boundary can do more with 784 numbers than with 16. A test of features is always a
# test of features *and* a classifier. With all labels the pixels are a little ahead: the bottleneck has lost little of
# what tells digits apart.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Denoising
#
# <!-- minutes: 9 -->
# <!-- slide: From a corrupted image to the clean one -->
# <!-- board
# **Denoising autoencoder** (Vincent et al., 2008), with $\tilde x$ for the corrupted $x$:
# -->
#
# A **denoising autoencoder** (Vincent et al., 2008) gets a harder task: it reads a corrupted image $\tilde x$ and must
# give back the clean one,
#
# <!-- board -->
# $$L = \frac{1}{ND} \sum_{n=1}^{N} \lVert x_n - g(f(\tilde x_n)) \rVert^2.$$
#
# <!-- question: Suppose the code is as large as the image. Is a copy of the input a good answer now? -->
# <!-- answer: No, whatever the size of the code: $\tilde x$ is not $x$. -->
#
# A copy of the input is a bad answer here, whatever the size of the code. The network has to know what clean images
# look like. We add noise to every pixel, with standard deviation 0.5 where black to white is 1, and clip. In code only
# the loss changes. We train two: with 16 numbers, to compare with the plain autoencoder, and with 64.
#
# <!-- slide: In code, only the loss changes -->

# %% board="code:corrupt code:DenoisingAutoencoder"
def corrupt(x):
    return (x + 0.5 * torch.randn_like(x)).clamp(0, 1)


class DenoisingAutoencoder(Autoencoder):
    def loss(self, x):
        return F.mse_loss(self(corrupt(x)), x)


denoiser, wide = (DenoisingAutoencoder(train.shape, latent_dim=k).to(DEVICE) for k in (16, 64))
for network in (denoiser, wide):
    fit(network, train, epochs=EPOCHS, learning_rate=3e-3)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: A strong baseline: the best linear filter -->
# <!-- board
# 784 numbers to 784 numbers, by least squares on noisy and clean training images. No bottleneck, as many draws of the noise.
# -->
# <!-- question: Does a denoising autoencoder with 16 numbers beat it? With 64? -->
# <!-- answer: With 16 a tie, within 10 %. With 64 yes: less than 90 % of the filter's error. -->
#
# Four baselines: leave the noise; project the noisy image onto PCA's 16 directions; send it through the autoencoder
# that never saw noise; and the best **linear filter**, 784 numbers to 784 numbers, by least squares on pairs of noisy
# and clean training images. The last one is strong: it has no bottleneck, and sees as many draws of the noise as the
# networks do.
#
# <!-- slide: Noise removed, in five ways -->

# %% board="figure" alt="Twelve digits, with noise, and repaired in five ways. The denoising autoencoders give clean digits; PCA and the linear filter leave blurs, the plain autoencoder makes some into other digits."
def with_one(x):
    return F.pad(x.flatten(1), (0, 1), value=1.0)  # for the constant term


noisy = corrupt(x_test)
gram = cross = 0
for _ in range(EPOCHS):  # the normal equations of least squares, summed over draws of the noise
    read = with_one(corrupt(x_train))
    gram, cross = gram + read.T @ read, cross + read.T @ x_train.flatten(1)
linear_filter = torch.linalg.solve(gram, cross)
with torch.no_grad():
    repaired = {
        "noisy": noisy,
        "PCA, 16": pca_reconstruct(noisy, 16),
        "autoencoder, 16": model(noisy),
        "linear filter": (with_one(noisy) @ linear_filter).reshape(noisy.shape),
        "denoising, 16": denoiser(noisy),
        "denoising, 64": wide(noisy),
    }
plots.show_rows({"images": x_test[:12]} | {name: images[:12] for name, images in repaired.items()})

# %% [markdown]
# <!-- slide: Squared error that is left -->

# %% board="values" tags=["nbval-ignore-output"]
left = {name: F.mse_loss(images, x_test).item() for name, images in repaired.items()}
for name, value in left.items():
    print(f"{name:<16} {value:.4f} per pixel, test images")

# %%
narrow, more, linear_error = left["denoising, 16"], left["denoising, 64"], left["linear filter"]
if DATASET == "strokes":
    print(f"16 numbers: less than a fifth of the error of leaving the noise: {narrow < left['noisy'] / 5}")
    print(f"16 numbers: less than 60 % of PCA's error:                       {narrow < 0.6 * left['PCA, 16']}")
    print(f"16 numbers: within 10 % of the linear filter's:                  {abs(narrow / linear_error - 1) < 0.1}")
    print(f"64 numbers: less than 90 % of the linear filter's:               {more < 0.9 * linear_error}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# The bottleneck costs as much as the non-linear network gains. With 64 numbers the network is better.
# -->
#
# Sixteen numbers are only as good as the linear filter: the bottleneck costs as much as the non-linear network gains.
# With 64 the network is better.
#
# Does the harder task also make better features? In the paper, with deep networks and other data, it did. Here is one
# more row for the table, with 16 numbers as the plain code has.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    codes["denoising, 16"] = denoiser.encode(x_train), denoiser.encode(x_test)
accuracy["denoising, 16"] = {n: accuracies(*codes["denoising, 16"], n) for n in draws}
show_accuracies(accuracy)

# %%
apart = max(abs(lead("denoising, 16", code, n)) for n in draws)
print(f"it is nowhere more than 4 points from the plain code: {apart < 4}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Not here. On this small task the denoising code classifies about as well as the plain one.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Between two images
#
# <!-- minutes: 4 -->
# <!-- slide: Halfway in pixels, halfway in codes -->
# <!-- board
# In pixels: two faint images, one on top of the other. In codes: one image, a plausible shape or no digit at all.
# -->
#
# Halfway between the *pixels* of two images lie two faint images, one on top of the other. Halfway between their
# *codes* lies one code, and the decoder makes one image of it. That may be a plausible shape, or no digit at all.

# %% board="figure" alt="Two pairs of digits blended in nine steps. In pixels both digits show through each other; in codes one stroke bends into the other."
steps = torch.linspace(0, 1, 9, device=DEVICE)[:, None, None, None]
rows = {}
with torch.no_grad():
    for a, b in ((0, 1), (2, 3)):
        rows[f"pixels, pair {a // 2 + 1}"] = (1 - steps) * x_test[a] + steps * x_test[b]
        z = (1 - steps[..., 0, 0]) * z_test[a] + steps[..., 0, 0] * z_test[b]
        rows[f"codes, pair {a // 2 + 1}"] = model.decode(z)
plots.show_rows(rows)


# %%
def half_grey(images):
    return ((images > 0.3) & (images < 0.7)).float().mean()


other = torch.randperm(len(x_test))
with torch.no_grad():
    blend, between = (x_test + x_test[other]) / 2, model.decode((z_test + z_test[other]) / 2)
ratio = half_grey(blend) / half_grey(between)
if DATASET == "strokes":
    print(f"halfway in pixels, more than 1.5 times as much is half grey: {bool(ratio > 1.5)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Can it make new images?
#
# <!-- minutes: 14 -->
# <!-- slide: The decoder turns any code into an image -->
# <!-- board
# An autoencoder has no **prior**, no distribution of codes. Three to bring along:
# -->
#
# The decoder turns any code into an image. So draw random codes and decode them, and we have a generative model? Which
# codes, though? The autoencoder has no distribution of codes, a **prior**. We bring one, in three ways.
#
# <!-- board -->
# - $N(0, I)$, fixed before any training.
# - $N(m, \Sigma)$, with the mean and covariance of the training codes: the baseline among fitted densities.
# - A **mixture of Gaussians**, $p(z) = \sum_j \pi_j \, N(z;\, m_j, \Sigma_j)$, fitted to the training codes by maximum
#   likelihood. `GaussianMixture` of scikit-learn does so by expectation-maximisation (EM).
#
# <!-- slide: How many Gaussians? -->
# <!-- board
# **Ex-post density estimation** (Ghosh et al., 2020): fit a density to the codes of a trained autoencoder,
#
# $$p(z) = \sum_{j=1}^{J} \pi_j \, N(z;\, m_j, \Sigma_j).$$
# -->
#
# To fit a density to the codes of a trained autoencoder is called **ex-post density estimation** (Ghosh et al., 2020).
# It is the task of lesson {{taxonomy}} again, in 16 dimensions instead of 784. How many Gaussians? To choose, we print the
# mean log density of the codes of *test* images.

# %%
known, unseen = (z.cpu().double().numpy() for z in (z_train, z_test))
mixtures = {k: GaussianMixture(k, random_state=0).fit(known) for k in (1, 10, 50)}
density = {k: mixture.score(unseen) for k, mixture in mixtures.items()}
print(f"new codes get more density from 10 Gaussians than from 1:  {density[1] < density[10]}")
if DATASET == "strokes":
    print(f"and from 50 more than from 10:                             {density[10] < density[50]}")

# %% board="values" tags=["nbval-ignore-output"]
for k, value in density.items():
    print(f"{k:>2} Gaussians: log density {value:.1f} nats, mean over the codes of test images")

# %% [markdown]
# <!-- slide: Four ways to draw codes, one decoder -->

# %% board="figure" name="decoded" slideshow={"slide_type": "subslide"} alt="Twelve images decoded from each of five kinds of codes: those of images are digits, those of mixtures mostly are, those of one Gaussian less, and those of N(0, I) are grey blurs."
def draw_codes(mixture, n):
    z = torch.tensor(mixture.sample(n)[0], dtype=torch.float32, device=DEVICE)
    return z[torch.randperm(n)]  # scikit-learn returns them one Gaussian after the other


m, root = z_train.mean(dim=0), torch.linalg.cholesky(torch.cov(z_train.T))
noise = torch.randn(2000, 16, device=DEVICE)
drawn = {
    "codes of images": z_test[:2000],
    "50 Gaussians": draw_codes(mixtures[50], 2000),
    "10 Gaussians": draw_codes(mixtures[10], 2000),
    "N(m, Sigma)": m + noise @ root.T,
    "N(0, I)": noise,
}
with torch.no_grad():
    decoded = {name: model.decode(z) for name, z in drawn.items()}
plots.show_rows({name: images[:12] for name, images in decoded.items()})

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: A judge looks at new images -->
# <!-- board
# The judge: a convolutional classifier, trained on the labels. *Sure*: more than 90 % for one class, as on more than 90 % of the
# test images.
# -->
# <!-- question: Of how many decoded codes of test images is the judge sure? And of codes from $N(0, I)$? -->
# <!-- answer: Of more than 80 % of them; from $N(0, I)$ at least 50 points less. -->
#
# ### Measured
#
# The first row is the decoder at its best: reconstructions of test images. To compare, we ask a judge that has nothing
# to do with the autoencoder: a small convolutional classifier, trained on the labels. How often is it sure of a digit,
# with more than 90 % for one class? A sure judge is no proof of a good image. But a judge in doubt is evidence of a bad one,
# since it is sure of nearly every real image. And a recipe that draws one clear digit again and again would score
# well, so we count the digits too.
#
# <!-- slide: The better the density of codes, the surer the judge -->
# <!-- board
# A sure judge is no proof of a good image; a judge in doubt is evidence of a bad one.
# -->

# %%
judge = train_classifier(train, updates=250)


def sure(images):
    top = judge(images.cpu()).softmax(dim=1).amax(dim=1)
    return 100 * (top > 0.9).float().mean().item()


trust = {"test images": sure(x_test)} | {name: sure(images) for name, images in decoded.items()}
usual, mixed, single = trust["codes of images"], trust["50 Gaussians"], trust["N(m, Sigma)"]
digits = judge.predict(decoded["50 Gaussians"].cpu()).bincount(minlength=10) / 2000
if DATASET == "strokes":
    print(f"sure of more than 90 % of the test images:       {trust['test images'] > 90}")
    print(f"sure of more than 80 % of the reconstructions:   {usual > 80}")
    print(f"N(0, I): at least 50 points less:                {trust['N(0, I)'] < usual - 50}")
    print(f"N(m, Sigma): at least 25 points less:            {single < usual - 25}")
    print(f"50 Gaussians: at least 25 points more than that: {mixed > single + 25}")
    print(f"but still 5 points behind the reconstructions:   {mixed < usual - 5}")
    print(f"and each digit is 5 to 15 % of their draws:      {bool((digits > 0.05).all() and (digits < 0.15).all())}")

# %% board="values" tags=["nbval-ignore-output"]
for name, value in trust.items():
    print(f"{name:<16} the judge is sure of {value:.0f} %")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Are the draws copies of training images? -->
# <!-- board
# Fifty Gaussians could sit on fifty groups of training codes.
# -->
# <!-- question: Measure the distance to the nearest training image. What would tell copies from new images? -->
# <!-- answer: Two references: decoded codes of training images, which are copies, and of test images, which cannot be. -->
#
# ### Are they copies?
#
# Fifty Gaussians could sit on fifty groups of training codes and give us the training images again. So measure how far
# a decoded image is from the nearest training image, over all pixels. Two references: decoded codes of *training*
# images, which are copies, and decoded codes of *test* images, which cannot be.
#
# <!-- slide: As far from training images as new images are -->
# <!-- board
# Distances over all pixels. Draws of the fitted density are no nearer than images of new codes.
# -->

# %%
@torch.no_grad()
def to_training(z):
    return torch.cdist(model.decode(z).flatten(1), x_train.flatten(1)).amin(dim=1)


copies, new, made = (to_training(z) for z in (z_train[:2000], z_test[:2000], drawn["50 Gaussians"]))
ends = [made.quantile(q) > 0.95 * new.quantile(q) for q in (0.05, 0.5)]
if DATASET == "strokes":
    print(f"in the median over 1.5 times as far as copies:                {bool(made.median() > 1.5 * copies.median())}")
print(f"no nearer than new images, in the median and the nearest 5 %: {all(ends)}")

# %% board="values" tags=["nbval-ignore-output"]
for name, far in (("training codes", copies), ("test codes", new), ("50 Gaussians", made)):
    print(f"{name:<15} to a training image: median {far.median():.2f}, nearest 5 % below {far.quantile(0.05):.2f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Why a prior must be fitted
#
# <!-- minutes: 9 -->
# <!-- slide: The loss does not see where the codes lie -->
# <!-- board
# Take any rotation $R$ and shift $s$. A new encoder gives $z'$, a new decoder undoes that first:
#
# $$z' = 10 R z + s, \qquad z = R^\top (z' - s) / 10.$$
# -->
# <!-- question: What becomes of the loss? Of images from $N(0, I)$? Of images from a fitted $N(m, \Sigma)$? -->
# <!-- answer: The loss stays. From $N(0, I)$: other images, with $s = 100$ varying less than a tenth as much. From the fitted one: the same distribution. -->
#
# The loss sees codes only through the decoder. Take any rotation $R$ and any shift $s$, and let a new encoder give
# $z' = 10 R z + s$, and a new decoder undo that first. Both are networks of the same form, since the last layer of one
# and the first of the other absorb the change. The loss stays the same, and the codes lie somewhere else altogether.
#
# <!-- slide: A fitted prior moves with the codes -->
# <!-- board
# Codes $z' = 10 R z + s$ turn the fit $N(m, \Sigma)$ into
#
# $$N(10 R m + s,\; 100\, R \Sigma R^\top).$$
#
# **Equivariant**: such a fit moves with the codes. A mixture fitted by maximum likelihood is equivariant, too.
#
# No *fixed* prior can be right for all of these equal models.
# -->
#
# So this loss cannot prefer codes near zero, or spread like a Gaussian, or with slant in one number. And no *fixed*
# prior can be right for all of these equal models. A fitted one moves with the codes: the Gaussian becomes
# $N(10 R m + s,\ 100\, R \Sigma R^\top)$, the new decoder undoes that, and the images have the same distribution as
# before. A fit with this property is **equivariant**. A mixture fitted by maximum likelihood has it too.

# %%
rotation, shift = torch.linalg.qr(torch.randn(16, 16)).Q.to(DEVICE), 100.0


def encode_elsewhere(x):
    return 10 * model.encode(x) @ rotation.T + shift


def decode_elsewhere(z):
    return model.decode((z - shift) @ rotation / 10)


with torch.no_grad():
    again, elsewhere = F.mse_loss(decode_elsewhere(encode_elsewhere(x_test)), x_test), encode_elsewhere(x_train)
    assert torch.allclose(again, model.loss(x_test), atol=1e-5)
    moved_m, moved_root = elsewhere.mean(dim=0), torch.linalg.cholesky(torch.cov(elsewhere.T))
    fixed_there, fitted_there = decode_elsewhere(noise), decode_elsewhere(moved_m + noise @ moved_root.T)
variety = fixed_there.std(dim=0).mean() / decoded["N(0, I)"].std(dim=0).mean()
print("the codes are 10 times as wide and lie elsewhere, the loss is the same")
print(f"N(m, Sigma) fitted there: the judge is as sure, within 6 points:  {abs(sure(fitted_there) - single) < 6}")
print(f"N(0, I): its images vary less than a tenth as much as before:     {bool(variety < 0.1)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Gaps where a Gaussian expects codes -->
# <!-- board
# A Gaussian fitted to the codes of two numbers; the plane in its standard deviations.
#
# **Orange**: no code of any training image, in more than 4 % of the cells. As many draws of $N(0, I)$ miss less than 3 %.
# -->
#
# ### Gaps
#
# Why does a single Gaussian do so much worse than fifty? The codes are not Gaussian: where it expects many, there may
# be none. Our two-number code shows this in a picture. Fit a Gaussian to it and measure the plane in that Gaussian's
# standard deviations, $w = L^{-1}(z - m)$ with $\Sigma = L L^\top$. Were the codes Gaussian, $w$ would follow $N(0,
# I)$.
#
# Cut the square from -2 to 2 into 256 cells and decode the middle of each. Cells in **orange** hold no code of any
# training image. The control is as many draws of $N(0, I)$ on the same cells.

# %% board="figure" alt="A grid of images decoded from the plane: digits change smoothly from place to place; those in orange lie where no code of an image is near."
center, spread = map_train.mean(dim=0), torch.linalg.cholesky(torch.cov(map_train.T))
white = torch.linalg.solve_triangular(spread, (map_train - center).T, upper=False).T
low, high = torch.full((2,), -2.0, device=DEVICE), torch.full((2,), 2.0, device=DEVICE)
plots.show_code_grid(lambda w: flat.decode(center + w @ spread.T), low, high, codes=white, symbol="w")

# %%
empty, control = (
    plots.empty_cells(w, low, high, side=16).float().mean() for w in (white, torch.randn_like(white))
)
print(f"more than 4 % of the cells hold no code:      {bool(empty > 0.04)}")
if DATASET == "strokes":
    print(f"and less than 3 % no draw of N(0, I) itself:  {bool(control < 0.03)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# In orange cells the decoder works **out of distribution**: it was not trained there. That is no proof of a
# bad image; some orange cells show clear digits. In 16 dimensions cells are too many to count, so we measure distances
# to the nearest code of a training image. A draw of the single Gaussian is farther from it than the code of a new image
# is. Were the codes Gaussian, both would be as far. Fifty Gaussians come closer.

# %%
def to_nearest(z):
    return torch.cdist(z, z_train).amin(dim=1).median()


distance = {name: to_nearest(z) / to_nearest(z_test) for name, z in drawn.items()}
print(f"N(m, Sigma):  more than 1.5 times as far as new images:  {bool(distance['N(m, Sigma)'] > 1.5)}")
print(f"50 Gaussians: less than 1.25 times as far as new images: {bool(distance['50 Gaussians'] < 1.25)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## With a fitted prior, what is still missing?
#
# <!-- minutes: 3 -->
# <!-- slide: What is still missing? -->
# <!-- board
# - **A likelihood of images**: the squared error is no bound on $\log p(x)$.
# - **Training in one go**: the encoder placed its codes without regard to the density.
#
# First an autoencoder, then a strong model of its codes: VQ-VAE (van den Oord et al., 2017), latent diffusion (Rombach et al., 2022).
# -->
#
# First an autoencoder, then a strong generative model of its codes: this is how VQ-VAE (van den Oord et al., 2017) and
# latent diffusion (Rombach et al., 2022) draw their images. The first fits a PixelCNN to the codes, the second a
# diffusion model. Our mixture is the small form of it. Two things are still missing.
#
# *A likelihood of images.* The mixture gives a density of codes. The decoder makes one image of each, and the squared
# error is no bound on $\log p(x)$. So two such models cannot be compared as lessons {{pixelrnn}} and {{pixelcnn}} compared theirs.
#
# *Training in one go.* The encoder placed its codes without regard to the density that has to fit them. For 16
# numbers fifty Gaussians did well; larger codes ask for stronger models.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What an autoencoder is good for, and what it is not
#
# <!-- minutes: 4 -->
# <!-- slide: Recap -->
# <!-- board
# 1. A linear autoencoder has no smaller training error than PCA with as many numbers.
# 2. A test of features tests a classifier, too.
# 3. For a denoiser a copy is a bad answer.
# 4. The loss is blind to $z' = 10 R z + s$: a prior must be fitted.
# 5. A density of codes gives no $p(x)$ of images.
# -->
#
# | good for | |
# | --- | --- |
# | a short code | less than 55 % of PCA's error with as many numbers |
# | a map | images that look alike lie together; by two numbers over 40 % of labels are found |
# | few labels | nearest neighbours are right more often than by pixels, with 10, 50 and 200 labels |
# | denoising | trained on noise, with 64 numbers, it beats the best linear filter |
# | new images | with a density fitted to its codes afterwards: the last table |
#
# | not for | |
# | --- | --- |
# | a linear classifier with 200 labels | raw pixels do better |
# | finding factors | slant is in the code, but nothing puts it into one number |
# | probability | a squared error is no $p(x)$; it says nothing of how likely an image is |
#
# | prior of the codes | fitted | share of new images of which the judge is sure |
# | --- | --- | --- |
# | $N(0, I)$ | no | at least 50 points below the reconstructions |
# | $N(m, \Sigma)$ | mean and covariance | at least 25 points below the reconstructions |
# | 50 Gaussians | by EM | at least 25 points above $N(m, \Sigma)$, at least 5 below the reconstructions |
#
# [Lesson {{vae}}]({{vae}}_vae.ipynb) trains encoder, decoder and the fit to a prior together, on a bound of the likelihood.

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - Hinton, Salakhutdinov (2006), *Reducing the dimensionality of data with neural networks*, Science 313, 504-507.
# - Baldi, Hornik (1989), *Neural networks and principal component analysis: learning from examples without local
#   minima*, Neural Networks 2(1), 53-58.
# - Vincent, Larochelle, Bengio, Manzagol (2008), *Extracting and composing robust features with denoising
#   autoencoders*, ICML, doi:10.1145/1390156.1390294.
# - Ghosh, Sajjadi, Vergari, Black, Schölkopf (2020), *From variational to deterministic autoencoders*, ICLR,
#   arXiv:1903.12436: ex-post density estimation.
# - van den Oord, Vinyals, Kavukcuoglu (2017), *Neural discrete representation learning*, arXiv:1711.00937: VQ-VAE.
# - Rombach, Blattmann, Lorenz, Esser, Ommer (2022), *High-resolution image synthesis with latent diffusion models*,
#   CVPR, arXiv:2112.10752.
# - Bengio, Courville, Vincent (2013), *Representation learning: a review and new perspectives*, arXiv:1206.5538.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build an autoencoder yourself, step by step and with each step checked: [the
# exercises]({{autoencoder}}_autoencoder_exercises.ipynb). {{after}}
