# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Autoencoders: exercises
#
# **How much of an image fits into four numbers?**
#
# Eight steps answer that, from principal components to a network that repairs what it sees. They belong to lesson
# [{{autoencoder}} Autoencoders](../notebooks/{{autoencoder}}_autoencoder.ipynb), which explains the ideas; read it first, or beside this. You
# need one course in probability and one in PyTorch. The eight steps take about 115 minutes, and the autoencoder that you
# make of them at the end another 30; stop after any of them.
#
# **How it works.** Each step has a card, a short explanation, a cell with a gap, and a check. Write your code in the
# gap, run the cell, run the check. The check tries your function on inputs of its own. It prints one line when all is
# right, and otherwise names the likely mistake. Stuck? Open the hint, and inside it the code. The answers are in
# [solutions](../solutions/{{autoencoder}}_autoencoder_exercises.ipynb); later steps use your functions, so copy the answer of a
# step that you skip.

# %%
import torch
from sklearn.mixture import GaussianMixture
from torch import nn

from course import checks
from genlib import plots
from genlib.data import load

NotImplementedError = checks.Unanswered  # a step that is still open says so in one line
torch.set_num_threads(1)  # on images this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown]
# ## Step 1. What got lost?
#
# *Difficulty 1 of 5 · importance 5 of 5 · 10 minutes*
#
# An autoencoder is two functions. The **encoder** turns an image $x$ into a short code $z$. The **decoder** turns the
# code back into an image $\hat x$. What got lost on the way is the **reconstruction error**, the mean of the squared
# differences:
#
# $$\text{mse}(x, \hat x) = \frac{1}{D} \sum_{d=1}^{D} (x_d - \hat x_d)^2, \qquad D = CHW.$$
#
# **Write** `mse(x, y)`. Both have the shape (B, ...): images (B, C, H, W), or the same images as vectors (B, D). The
# result is (B,), one number an image, in the precision of x (float32), as all results here.
#
# <details><summary>Hint</summary>
#
# Bring images and vectors to one shape first. Then one mean is enough, over all that belongs to an image.
#
# <details><summary>Code</summary>
#
# `flatten(1)` turns images into vectors and leaves vectors as they are; then `.mean(dim=1)`.
#
# </details></details>

# %%
def mse(x, y):
    """Images or vectors x and y (B, ...) -> the mean squared error of each, (B,)."""
    ### BEGIN SOLUTION
    return (x - y).square().flatten(1).mean(dim=1)
    ### END SOLUTION


# %%
checks.autoencoder.mse(mse)

# %% [markdown]
# What does a code of no numbers at all cost? Without a code every image gets the same reconstruction. The best single
# one is the mean of the training images. All errors below are measured on test images, which no model has seen.

# %%
train, test = load("digits"), load("digits", "test")
x_train, x_test = train.floats(), test.floats()
nothing = mse(x_test, x_train.mean(dim=0).expand_as(x_test)).mean()
print(f"error with the mean image for every digit: {nothing:.3f}")

# %% [markdown]
# ## Step 2. The best directions
#
# *Difficulty 2 of 5 · importance 4 of 5 · 15 minutes*
#
# Start with codes that are linear. Each image is a point with $D$ coordinates. Which $k$ directions through the mean
# $\mu$ keep the points as far apart as possible? **Principal component analysis** (PCA) has the answer in one line.
# With the images as rows of $X$, the singular value decomposition is
#
# $$X - \mu = U S V^\top, \qquad \mu = \frac{1}{N} \sum_{n=1}^{N} x_n,$$
#
# and the first $k$ columns of $V$ are those directions, the largest variance first. The theorem of Eckart and Young
# (1936) adds that no other linear code of $k$ numbers has a smaller reconstruction error.
#
# **Write** `pca(x, k)`, with x (N, D). It returns the mean (D,) and the components (k, D), one direction of length 1 in
# each row.
#
# <details><summary>Hint</summary>
#
# Subtract the mean image, decompose, and take the first k directions. Of the three factors one has a row for each
# direction already.
#
# <details><summary>Code</summary>
#
# `torch.linalg.svd(..., full_matrices=False)` returns `U`, `S` and `Vh`. That last one is $V^\top$: take `Vh[:k]`.
#
# </details></details>

# %%
def pca(x, k):
    """Vectors x (N, D) -> their mean (D,) and k directions of length 1, (k, D)."""
    ### BEGIN SOLUTION
    mean = x.mean(dim=0)
    return mean, torch.linalg.svd(x - mean, full_matrices=False).Vh[:k]
    ### END SOLUTION


# %%
checks.autoencoder.pca(pca)

# %% [markdown]
# Components are images too. Grey is zero; a code adds more or less of the white and takes away as much of the black. A
# component and its negative do the same work, so a picture with black and white swapped is just as right.

# %%
vectors, test_vectors = x_train.flatten(1), x_test.flatten(1)
mean, components = pca(vectors, 4)
as_images = torch.stack([mean, *(0.5 + 1.2 * components)]).reshape(-1, 1, 8, 8)
names = ["mean", *(f"component {i}" for i in (1, 2, 3, 4))]
plots.show_images(as_images, columns=5, titles=names, size=1.2)

# %% [markdown]
# ## Step 3. To a code and back
#
# *Difficulty 2 of 5 · importance 4 of 5 · 10 minutes*
#
# Let the rows of $W$ be the components. The code holds the coordinates of the image along them; the decoder goes the
# same way back:
#
# $$z = W (x - \mu), \qquad \hat x = \mu + W^\top z.$$
#
# **Write** `reconstruct(x, mean, components)`, with x (N, D), mean (D,) and components (k, D). It returns the codes
# (N, k) and the reconstructions (N, D).
#
# <details><summary>Hint</summary>
#
# Here images are rows and not columns, so both products are turned round. Decode the code that you return.
#
# <details><summary>Code</summary>
#
# $W x$ becomes `x @ components.T`, for all images at once, and $W^\top z$ becomes `z @ components`.
#
# </details></details>

# %%
def reconstruct(x, mean, components):
    """x (N, D), mean (D,), components (k, D) -> codes (N, k) and reconstructions (N, D)."""
    ### BEGIN SOLUTION
    z = (x - mean) @ components.T
    return z, mean + z @ components
    ### END SOLUTION


# %%
checks.autoencoder.reconstruct(reconstruct)

# %% [markdown]
# Ten test images, rebuilt from 4 and from 16 numbers instead of 64. Cover the first row: which digits could you still
# read from 4?

# %%
by_pca = {k: reconstruct(test_vectors, *pca(vectors, k))[1].reshape_as(x_test) for k in (4, 16)}
plots.show_rows({"images": x_test[:10]} | {f"{k} numbers": y[:10] for k, y in by_pca.items()})
for k, y in by_pca.items():
    print(f"{k:2} numbers: error {mse(x_test, y).mean():.3f}")

# %% [markdown]
# ## Step 4. The error, before you encode
#
# *Difficulty 3 of 5 · importance 3 of 5 · 15 minutes*
#
# You can know PCA's error without a single reconstruction. Along direction $j$ the images vary by $\lambda_j$. What
# $k$ numbers leave out is the variance along all later directions:
#
# $$\frac{1}{N} \sum_{n=1}^{N} \text{mse}(x_n, \hat x_n) = \frac{1}{D} \sum_{j = k + 1}^{D} \lambda_j, \qquad
# \lambda_j = \frac{s_j^2}{N},$$
#
# with the singular values $s_1 \ge s_2 \ge \dots$ of $X - \mu$. This holds exactly for the images that PCA was made
# from.
#
# **Write** `pca_errors(x)`, with x (N, D) and $N \ge D$. It returns the right-hand side for $k = 0, 1, \dots, D$, as
# one tensor (D + 1,).
#
# <details><summary>Hint</summary>
#
# What is left out is all there is minus what is kept. For $k = 0$ nothing is kept.
#
# <details><summary>Code</summary>
#
# `torch.linalg.svdvals` gives the singular values, largest first. `cumsum` says what the first 1, 2, ..., D directions
# keep; `torch.cat` puts a zero before it, `variance.new_zeros(1)`.
#
# </details></details>

# %%
def pca_errors(x):
    """Vectors x (N, D) -> the error of PCA with k = 0, 1, ..., D numbers, (D + 1,)."""
    ### BEGIN SOLUTION
    variance = torch.linalg.svdvals(x - x.mean(dim=0)) ** 2 / len(x)
    kept = torch.cat([variance.new_zeros(1), variance.cumsum(dim=0)])
    return (variance.sum() - kept) / x.shape[1]
    ### END SOLUTION


# %%
checks.autoencoder.pca_errors(pca_errors)

# %% [markdown]
# A theorem can be checked by number: rebuild the training images and compare. The test images lie close to the curve as
# well. So there are images enough for PCA to find directions that hold for new ones too.

# %%
predicted = pca_errors(vectors)
sizes = range(0, 33, 2)
measured, on_test = (
    [mse(x, reconstruct(x, *pca(vectors, k))[1]).mean() for k in sizes] for x in (vectors, test_vectors)
)
agree = torch.allclose(predicted[:33:2], torch.stack(measured), atol=1e-5)
print(f"predicted and measured agree on the training images: {agree}")
plots.show_curves(
    {"predicted": predicted[:33:2], "test images": on_test}, x=sizes,
    xlabel="numbers in the code", ylabel="mean squared error", baselines={"the mean image": nothing},
)

# %% [markdown]
# ## Step 5. Learn the same by descent
#
# *Difficulty 4 of 5 · importance 4 of 5 · 20 minutes*
#
# Now the same thing without any SVD. Take a **linear autoencoder**, two random matrices: an encoder
# $W$ (k, D) and a decoder $V$ (D, k). The images, with the mean subtracted, are the rows of $X$. Then
#
# $$Z = X W^\top, \qquad R = Z V^\top - X, \qquad L = \frac{1}{ND} \sum_{n,d} R_{nd}^2,$$
#
# and the chain rule gives both gradients:
#
# $$\frac{\partial L}{\partial V} = \frac{2}{ND} R^\top Z, \qquad
# \frac{\partial L}{\partial W} = \frac{2}{ND} (R V)^\top X.$$
#
# In words: the error at the output, times what came in. For the encoder the error must first travel back through
# the decoder. That is all of backpropagation.
#
# **Write** `gradients(x, encoder, decoder)` by hand, without autograd; `x` is $X$, its mean is subtracted already. It
# returns the gradient of the encoder (k, D), then that of the decoder (D, k).
#
# <details><summary>Hint</summary>
#
# Four lines, in the order of the formulas: the codes $Z$, the error $R$, the factor, and the two products. Let the shapes
# guide you: each gradient has the shape of its matrix.
#
# <details><summary>Code</summary>
#
# The codes are `x @ encoder.T`, `x.numel()` is $ND$, and the error that has come back to the codes is
# `error @ decoder`, (N, k).
#
# </details></details>

# %%
def gradients(x, encoder, decoder):
    """x (N, D), encoder (k, D), decoder (D, k) -> gradients of the encoder (k, D) and the decoder (D, k)."""
    ### BEGIN SOLUTION
    z = x @ encoder.T
    error = z @ decoder.T - x
    scale = 2 / x.numel()
    return scale * (error @ decoder).T @ x, scale * error.T @ z
    ### END SOLUTION


# %%
checks.autoencoder.gradients(gradients)

# %% [markdown]
# Small random matrices, then a thousand steps downhill with your gradients.

# %%
centred = vectors - mean
encoder, decoder = 0.1 * torch.randn(4, 64), 0.1 * torch.randn(64, 4)
losses = []
for _ in range(1000):
    for_encoder, for_decoder = gradients(centred, encoder, decoder)
    encoder, decoder = encoder - 8 * for_encoder, decoder - 8 * for_decoder
    losses.append(mse(centred, centred @ encoder.T @ decoder.T).mean())

plots.show_curves(
    {"linear autoencoder": losses[:300]}, xlabel="step", ylabel="mean squared error",
    baselines={"PCA": predicted[4]},
)
print(f"within 1 % of PCA's error: {abs(losses[-1] / predicted[4] - 1) < 0.01}")

# %% [markdown]
# Descent found PCA's error. Did it find PCA? The decoder's four columns span a plane, and $P = V (V^\top V)^{-1}
# V^\top$ projects onto it. Two planes are the same exactly when their projectors are. The columns themselves are
# another matter: any four directions that span the plane will do, so descent has no reason to find the components
# (Baldi and Hornik, 1989).

# %%
plane = decoder @ torch.linalg.pinv(decoder)  # pinv(V) is the inverse of V'V, times V'
print(f"same plane as PCA:      {torch.allclose(plane, components.T @ components, atol=0.01)}")
cosines = components @ decoder / decoder.norm(dim=0)
print(f"same directions as PCA: {bool((cosines.abs().amax(dim=0) > 0.99).all())}")
plots.show_rows({
    "PCA": (0.5 + 1.2 * components).reshape(4, 1, 8, 8),
    "learnt": (0.5 + 1.2 * decoder.T / decoder.norm(dim=0)[:, None]).reshape(4, 1, 8, 8),
}, size=1.2)

# %% [markdown]
# ## Step 6. Denoising
#
# *Difficulty 3 of 5 · importance 5 of 5 · 15 minutes*
#
# A large network could copy its input and learn nothing. A **denoising autoencoder** (Vincent et al., 2008,
# doi:10.1145/1390156.1390294) cannot. It sees a corrupted image and must give back the clean one. Drop each value with
# probability $p$, on its own:
#
# $$\tilde x_d = \begin{cases} 0 & \text{with probability } p \\ x_d & \text{otherwise,} \end{cases} \qquad
# L(x) = \text{mse}(x, f(\tilde x)).$$
#
# Note the two images in $L$: the model $f$ reads the one with holes, and is compared with the one without.
#
# **Write** `denoising_loss(model, x, drop)`. `model` maps images (B, C, H, W) to images, and `drop` is $p$. Each call
# draws new holes. The result is (B,), one number an image; with `drop=0` it is the plain reconstruction error.
#
# <details><summary>Hint</summary>
#
# Draw a mask as large as x, one number for each value. Multiplied with x it makes the holes. Then call your `mse`: which
# two images does it compare?
#
# <details><summary>Code</summary>
#
# `torch.rand_like(x) >= drop` is true with probability $1 - p$ for each value on its own.
#
# </details></details>

# %%
def denoising_loss(model, x, drop):
    """A model of images, images x (B, C, H, W), a probability -> the error of each image, (B,)."""
    ### BEGIN SOLUTION
    keep = torch.rand_like(x) >= drop
    return mse(x, model(x * keep))
    ### END SOLUTION


# %%
checks.autoencoder.denoising_loss(denoising_loss)

# %% [markdown]
# Let a model that does nothing show what it is shown. To leave the holes costs $p$ times the mean of $x^2$. A model
# that learns should do better. Watch the background: a hole in black cannot be seen, so only ink is lost.

# %%
shown = []


def do_nothing(x):
    shown.append(x)
    return x


cost = denoising_loss(do_nothing, x_test, 0.25).mean()
expected = 0.25 * x_test.square().mean()
print(f"doing nothing costs p times the mean square, within 10 %: {abs(cost / expected - 1) < 0.1}")
plots.show_rows({"target": x_test[:10], "input": shown[0][:10]})

# %% [markdown]
# ## Step 7. A few labels
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# An encoder needs no labels. Suppose we have just a few: can the code use them well? The simplest classifier averages
# the codes of each class to its **centroid**, and gives a new code the class of the nearest one:
#
# $$m_c = \frac{1}{|\{n : y_n = c\}|} \sum_{n : y_n = c} z_n, \qquad \hat y(z) = \arg\min_c \lVert z - m_c \rVert.$$
#
# It has nothing to tune. So its accuracy speaks of the codes, not of our patience.
#
# **Write** `nearest_centroid(codes, labels, queries)`, with codes (N, k), labels (N,) and queries (M, k). It returns
# the classes of the queries, (M,). Labels are any whole numbers: some digits may be missing.
#
# <details><summary>Hint</summary>
#
# Go through the classes that occur, and no others. The nearest centroid has a place in your list; the answer is the class
# that stands there.
#
# <details><summary>Code</summary>
#
# `classes = labels.unique()` lists the classes. Stack one mean for each, `codes[labels == c].mean(dim=0)`.
# `torch.cdist(queries, centroids)` holds all distances, and `classes[...]` turns places into classes.
#
# </details></details>

# %%
def nearest_centroid(codes, labels, queries):
    """codes (N, k), labels (N,), queries (M, k) -> the class of each query, (M,)."""
    ### BEGIN SOLUTION
    classes = labels.unique()
    centroids = torch.stack([codes[labels == c].mean(dim=0) for c in classes])  # (classes, k)
    return classes[torch.cdist(queries, centroids).argmin(dim=1)]
    ### END SOLUTION


# %%
checks.autoencoder.nearest_centroid(nearest_centroid)

# %% [markdown]
# Which images happen to have labels is luck, so we draw them 30 times and average. The spread of the 30 accuracies,
# divided by $\sqrt{30}$, is the **standard error** of their mean, in brackets below. A difference smaller than two of
# those is no difference.

# %%
def accuracies(codes, queries, per_class, draws=30):
    """In percent, one for each draw of `per_class` labelled training images a class."""
    scores = []
    for seed in range(draws):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        chosen = torch.cat([order[train.labels[order] == c][:per_class] for c in range(10)])
        guess = nearest_centroid(codes[chosen], train.labels[chosen], queries)
        scores.append(100 * (guess == test.labels).float().mean())
    return torch.stack(scores)


def report(name, codes, queries):
    scores = [accuracies(codes, queries, per_class) for per_class in (1, 5, 20)]
    cells = [f"{s.mean():.0f} % (±{s.std() / len(s) ** 0.5:.1f})" for s in scores]
    print(f"{name:<20}" + "".join(f"{cell:>14}" for cell in cells))


# %%
pca_codes, pca_test_codes = (reconstruct(x, mean, components)[0] for x in (vectors, test_vectors))
print(f"{'labels':<20}{10:>14}{50:>14}{200:>14}")
report("64 pixels", vectors, test_vectors)
report("4 numbers of PCA", pca_codes, pca_test_codes)

# %% [markdown]
# Four numbers of PCA keep a good part of what a label needs, and lose some. Can a network's four numbers keep more?
# That is for the end.

# %% [markdown]
# ## Step 8. Make up a code
#
# *Difficulty 3 of 5 · importance 4 of 5 · 15 minutes*
#
# A decoder turns any code into an image. So draw a code at random, decode it, and we have a generative model? The codes
# need a distribution. The simplest that fits is a Gaussian: fit one to the codes and draw from it. With the mean $m$
# and the covariance $\Sigma = L L^\top$ of the codes,
#
# $$z = m + L \varepsilon, \qquad \varepsilon \sim N(0, I),$$
#
# has just that mean and covariance. The lower triangle $L$ is the Cholesky factor of $\Sigma$, a square root of a
# matrix.
#
# **Write** `draw_codes(codes, n)`, with codes (N, k). It returns n new codes, (n, k), drawn anew in each call.
#
# <details><summary>Hint</summary>
#
# Each of the n draws has a noise of k numbers. With one draw in each row, the product $L \varepsilon$ is turned round.
#
# <details><summary>Code</summary>
#
# `torch.cov` wants one *row* a variable, so give it `codes.T`. `torch.linalg.cholesky` gives $L$, and
# $L \varepsilon$ becomes `noise @ L.T`.
#
# </details></details>

# %%
def draw_codes(codes, n):
    """codes (N, k) -> n draws from a Gaussian with their mean and covariance, (n, k)."""
    ### BEGIN SOLUTION
    root = torch.linalg.cholesky(torch.cov(codes.T))
    return codes.mean(dim=0) + torch.randn(n, codes.shape[1]) @ root.T
    ### END SOLUTION


# %%
checks.autoencoder.draw_codes(draw_codes)

# %% [markdown]
# Decoded by PCA, the new codes give blurred shapes. That may be the fault of the decoder, which can only add four
# pictures. A better decoder will tell.

# %%
decoded = mean + draw_codes(pca_codes, 20) @ components
plots.show_images(decoded.reshape(-1, 1, 8, 8), columns=10, title="PCA decodes made-up codes")

# %% [markdown]
# ## All together: your autoencoder
#
# Your pieces make a whole model. The encoder and the decoder get a hidden layer each, so the code is no longer a linear
# function of the image, as PCA's is. Training minimises your denoising loss; a quarter of the values is missing each
# time. Nothing here comes from `genlib.variational`.

# %%
class MyAutoencoder(nn.Module):
    def __init__(self, latent_dim, width=128):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, latent_dim)
        )
        self.decode = nn.Sequential(
            nn.Linear(latent_dim, width), nn.ReLU(), nn.Linear(width, 64), nn.Unflatten(1, (1, 8, 8))
        )

    def forward(self, x):
        return self.decode(self.encode(x))


# %%
torch.manual_seed(0)
model = MyAutoencoder(latent_dim=4)
epochs = 100
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=epochs)

for _ in range(epochs):
    for x, _labels in train.batches(128):  # the labels stay unused
        loss = denoising_loss(model, x, 0.25).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()  # ever smaller steps

# %% [markdown]
# **Does it keep more than PCA?** Both have four numbers, and both are measured on test images.
#
# **Predict before you run.** PCA's error is the smallest of all linear codes. Which share of it will yours be, 95 %, 75 %
# or 50 %? And where will you see the difference: in the strokes, or in the background?

# %%
with torch.no_grad():
    rebuilt, error = model(x_test), mse(x_test, model(x_test)).mean()
pca_error = mse(x_test, by_pca[4]).mean()
print(f"your autoencoder's error is less than 80 % of PCA's: {error < 0.8 * pca_error}")
plots.show_rows({"images": x_test[:10], "PCA, 4": by_pca[4][:10], "yours, 4": rebuilt[:10]})

# %% [markdown]
# **Can it repair?** It never saw these images, nor these holes. Two baselines: leave the holes, or let PCA rebuild the
# image with holes.

# %%
def pca_model(x):
    return reconstruct(x.flatten(1), mean, components)[1].reshape_as(x)


with torch.no_grad():
    repaired, pca_repaired, untouched = (
        denoising_loss(f, x_test, 0.25).mean() for f in (model, pca_model, do_nothing)
    )
    damaged = shown[-1][:10]  # what `do_nothing` was shown
    rows = {"damaged": damaged, "PCA, 4": pca_model(damaged), "yours, 4": model(damaged)}
print(f"its error is less than 80 % of PCA's:              {repaired < 0.8 * pca_repaired}")
print(f"its error is less than 65 % of doing nothing's:    {repaired < 0.65 * untouched}")
plots.show_rows({"images": x_test[:10]} | rows)

# %% [markdown]
# **Is the code good for labels?** Throw the decoder away and keep the encoder. The last line of the table changes a
# little with each training, so the claims below it leave a margin.

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    codes, test_codes = model.encode(x_train), model.encode(x_test)
print(f"{'labels':<20}{10:>14}{50:>14}{200:>14}")
report("64 pixels", vectors, test_vectors)
report("4 numbers of PCA", pca_codes, pca_test_codes)
report("4 numbers of yours", codes, test_codes)

# %%
mine, linear, pixels = (
    accuracies(a, b, per_class=20).mean()
    for a, b in ((codes, test_codes), (pca_codes, pca_test_codes), (vectors, test_vectors))
)
print(f"200 labels: at least 3 points better than PCA with as many numbers: {mine - linear > 3}")
print(f"200 labels: all 64 pixels are still better, by at least 1 point:    {pixels - mine > 1}")

# %% [markdown]
# Your four numbers beat PCA's four. Whether they beat the pixels depends on how many labels there are:
# with 10, look at the table and at its standard errors; with 200, the pixels win. Images this small make good features
# as they are. And a code of four numbers must serve every stroke, whether it tells digits apart or not.
#
# **Can it make new digits?** Draw codes with your Gaussian and decode them. Beside it stand a baseline without any fit,
# plain $N(0, I)$, and a density that fits better, a mixture of ten Gaussians.

# %%
torch.manual_seed(1)
with torch.no_grad():
    new_codes, blind_codes = draw_codes(codes, 2000), torch.randn(2000, 4)
    mixture = GaussianMixture(10, random_state=0).fit(codes.double().numpy())
    # scikit-learn returns the draws one Gaussian after the other
    mixed_codes = torch.tensor(mixture.sample(2000)[0], dtype=torch.float32)[torch.randperm(2000)]
    plots.show_rows({
        "test images": model.decode(test_codes[:12]),
        "ten Gaussians": model.decode(mixed_codes[:12]),
        "your Gaussian": model.decode(new_codes[:12]),
        "N(0, I)": model.decode(blind_codes[:12]),
    }, title="the same decoder, four sources of codes")

# %% [markdown]
# Some look like digits, others are between two or like none. Measure it: how far is a code from the nearest training
# code, and the decoded image from the nearest training image? The codes of test images say what is usual.

# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def typical_distances(z):
    in_code = torch.cdist(z, codes).amin(dim=1)
    in_pixels = torch.cdist(model.decode(z).flatten(1), vectors).amin(dim=1) ** 2 / 64  # an mse
    return in_code.median(), in_pixels.median()


usual, mixed, fitted, blind = (
    typical_distances(z) for z in (test_codes, mixed_codes, new_codes, blind_codes)
)
print(f"{'codes from':<15}{'to a code':>12}{'to an image':>14}")
rows = {"test images": usual, "ten Gaussians": mixed, "your Gaussian": fitted, "N(0, I)": blind}
for name, far in rows.items():
    print(f"{name:<15}{far[0]:>12.2f}{far[1]:>14.3f}")

# %%
print(f"your Gaussian, codes more than 1.5 times as far as usual:   {fitted[0] > 1.5 * usual[0]}")
print(f"your Gaussian, images more than 1.3 times as far as usual:  {fitted[1] > 1.3 * usual[1]}")
print(f"N(0, I) is farther still in both: {bool(blind[0] > fitted[0] and blind[1] > fitted[1])}")
print(f"ten Gaussians, codes 0.9 to 1.4 times as far as usual:      {0.9 < mixed[0] / usual[0] < 1.4}")
print(f"ten Gaussians, images less than 1.2 times as far as usual:  {mixed[1] < 1.2 * usual[1]}")

# %% [markdown]
# The mean and the covariance are right, and still one Gaussian misses: it puts codes where no training image has one,
# and there the decoder was never trained. **An autoencoder has no distribution of codes**, since nothing in its loss
# says where they should lie. Fit a better one afterwards, as with ten Gaussians, and the draws come close to what is
# usual. That is *ex-post density estimation* (Ghosh et al., 2020, arXiv:1903.12436). It gives samples; a bound on the
# likelihood of an image it does not give.

# %% [markdown]
# ## What you have built
#
# An autoencoder in both its forms: the linear one, whose best solution you found by SVD and again by descent, and the
# non-linear one, which keeps more in as few numbers and repairs what is missing. You have also measured its limits:
# with labels enough the pixels classify better, and new codes need a density that fits the old ones.
#
# Where to go on:
#
# - Read `genlib/variational/autoencoder.py`: it is your model, for images of any shape.
# - Set `drop` to 0 and train again. What happens to the errors, and what to the labels?
# - Give the code 2 numbers, or 16. Where does the lead over PCA end?
# - Fit 1 to 40 Gaussians. At how many is `mixture.score(test_codes)`, the log density of new codes, largest?
# - Lesson {{vae}} trains encoder, decoder and prior in one go, on a bound of the likelihood: the variational autoencoder.
# - Back to the lesson, [{{autoencoder}} Autoencoders](../notebooks/{{autoencoder}}_autoencoder.ipynb), for codes you can look at and for larger
#   images.
