# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Variational autoencoders
#
# <!-- board -->
# **How do we sample from an autoencoder?**
#
# The autoencoder of [lesson {{autoencoder}}]({{autoencoder}}_autoencoder.ipynb) turned images into codes. It brought no distribution to draw new
# codes from. A density fitted to its codes afterwards helped, but images got no likelihood that way.
#
# Here the order is reversed. *First* say how codes are distributed, then train a decoder for all of that
# distribution. This gives a proper model $p(x)$, and a problem: its likelihood is an integral that cannot be
# computed. The variational autoencoder, or VAE (Kingma and Welling, 2014; Rezende et al., 2014), trains on a bound
# instead. This lesson derives the bound, measures how far it lies from the truth, samples, edits, and shows what goes
# wrong.
#
# <!-- slide: Where this ends -->
# <!-- board
# Encode an image, move its code, decode.
# -->
# <!-- figure: edits -->
#
# <!-- slide: Two weeks -->
# <!-- agenda -->
#
# <!-- slide: Digits of 8 by 8 pixels, black or white -->
# <!-- board
# A pixel is a Bernoulli variable, and the mathematics stays short. Grey levels return later.
# -->
# <!-- figure: data -->

# %% slideshow={"slide_type": "skip"}
import math
import time

import torch
import torch.nn.functional as F
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from course import explorers
from genlib import plots
from genlib.autoregressive import PixelCNN
from genlib.data import binarise, independent_pixels, load, strokes
from genlib.metrics import bits_per_dim, log_probs, train_classifier
from genlib.training import fit
from genlib.variational import (
    MLP, VAE, Autoencoder, importance_bound, kl_to_standard_normal, split_kl,
)

DATASET, EPOCHS = "digits", 30  # on a GPU try "mnist" or "fashion_mnist"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The data
#
# Handwritten digits of 8 by 8 pixels. To begin with we make them black and white, so that a pixel is a Bernoulli variable
# and the mathematics stays short. Grey levels return later. Numbers below come from test images.

# %% name="data" alt="Fourteen digits in 16 greys, and the same with every pixel black or white."
grey, grey_test = load(DATASET), load(DATASET, "test")
train, test = binarise(grey), binarise(grey_test)
plots.show_rows({"grey": grey_test.floats()[:14], "binary": test.floats()[:14]})
x = test.floats()[:300].to(DEVICE)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Two steps make an image
#
# <!-- minutes: 8 -->
# <!-- slide -->
# <!-- board
# **Latent-variable model**: draw a code, then an image that fits the code.
# -->
#
# A **latent-variable model** draws an image in two steps: a code, and an image that fits the code.
#
# <!-- board -->
# $$z \sim p(z) = \mathcal N(0, I), \qquad x \sim p_\theta(x \mid z).$$
#
# <!-- board
# The prior $p(z)$ is fixed. All that is learnt sits in the **decoder** $p_\theta(x \mid z)$.
# -->
#
# <!-- slide: The decoder gives a distribution -->
# <!-- board
# - black and white: the probabilities of white, $p(x \mid z) = \prod_i \text{Bernoulli}(x_i; \pi_i(z))$
# - real numbers: a mean and a variance for every pixel, $p(x \mid z) = \mathcal N(\mu_{x|z}, \Sigma_{x|z})$
# -->
# <!-- question: The decoder has computed $\pi(z)$. Is it an image drawn from the model? -->
# <!-- answer: No: it is the mean of $p(x \mid z)$. A draw also draws each pixel, black or white. -->
#
# The prior $p(z)$ is fixed. All that is learnt sits in the **decoder**, a network that maps a code to the
# *parameters* of a distribution over images. For binary images these are the probabilities of white,
# $p(x \mid z) = \prod_i \text{Bernoulli}(x_i; \pi_i(z))$. For real numbers they are a mean and a variance for every
# pixel, $p(x \mid z) = \mathcal N(\mu_{x|z}, \Sigma_{x|z})$. The index says that both describe the image *given
# the code*. The encoder, which we meet below, has $\mu_{z|x}$ and $\Sigma_{z|x}$.
#
# <!-- slide: One latent number: all codes lie on a line -->
# <!-- board
# Codes equally spaced in probability, and the decoder's mean for each:
# -->
#
# Here is such a model with one latent number. Trust its training for now. All its codes lie on a line. The codes
# shown are equally spaced in probability: each stands for as much of the prior as its neighbour.

# %% board="figure" alt="Fourteen images along one latent, from -2.1 to 2.1: a narrow 4 at one end turns through soft mixtures into a 1 or 2 at the other."
line = VAE(train.shape, latent_dim=1).to(DEVICE)
fit(line, train, epochs=EPOCHS, batch_size=128, learning_rate=1e-2)

codes = line.prior().base_dist.icdf(torch.linspace(0.02, 0.98, 14, device=DEVICE)[:, None])
plots.show_images(line.decode(codes), columns=14, titles=[f"{c:.1f}" for c in codes[:, 0]])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The evidence is an integral
#
# <!-- minutes: 13 -->
# <!-- slide -->
# <!-- board
# How likely is an image, whatever its code?
# -->
#
# How likely is an image, whatever its code? Add up over all codes:
#
# <!-- board -->
# $$p(x) = \int p(x \mid z)\, p(z)\, dz.$$
#
# <!-- question: One latent, an image of a digit. Which codes contribute to the integral? -->
# <!-- answer: Codes for which the product $p(x \mid z)\, p(z)$ is large: a small part of the line. -->
#
# This number is the **evidence**, the likelihood of the whole model. With one latent we can compute it, as a sum over
# a fine grid.

# %%
step = 0.02
z = torch.arange(-6, 6, step, device=DEVICE)[:, None]  # (n, 1)
with torch.no_grad():
    log_prior = line.prior().log_prob(z)[:, None]  # (n, 1)
    log_likelihood = line.log_likelihood(x, z[:, None])  # (n, B): each image at each point
log_joint = log_likelihood + log_prior
log_evidence = log_joint.logsumexp(dim=0) + math.log(step)  # (B,)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Nearly all of the evidence comes from few codes -->
# <!-- board
# The integrand, scaled to area one, is the **posterior** $p(z \mid x)$ (Bayes' rule).
# -->
#
# What is being added up? Below is the integrand $p(x \mid z)\, p(z)$ for two images, each scaled to area one, which
# by Bayes' rule makes it the **posterior** $p(z \mid x)$. The first image is a typical one. The second is the hardest
# to hit: of all images its posterior lies farthest from the prior. Nearly all of the evidence comes from a small part
# of the line.

# %% board="figure" alt="The prior p(z), wide around 0, and two posteriors, both narrow: that of a typical image lies within the prior, that of the hardest far out at -3."
def integral(f):
    return f.sum(dim=0) * step


log_posterior = log_joint - log_evidence
learnt = integral(log_posterior.exp() * (log_posterior - log_prior))  # KL(p(z | x) || p(z))
order = learnt.argsort().tolist()
images = {"a typical image": order[len(order) // 2], "the hardest": order[-1]}
curves = {f"p(z | x), {name}": log_posterior[:, i].exp().cpu() for name, i in images.items()}
plots.show_curves({"p(z)": log_prior[:, 0].exp().cpu(), **curves}, x=z[:, 0].cpu(),
                  xlabel="z", ylabel="density")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Why not just draw codes? -->
# <!-- board
# $$p(x) = \mathbb E_{p(z)}[p(x \mid z)] \approx \frac1n \sum_{i=1}^n p(x \mid z_i), \qquad z_i \sim p(z)$$
# -->
# <!-- question: For which images does the logarithm of this estimate, from 10 draws, fall far short of $\log p(x)$? -->
# <!-- answer: Images whose posterior lies far from the prior. A typical image: 0.11 nats short on average; the hardest: 10.52. -->
#
# ### Why not just draw codes?
#
# An integral over $p(z)$ is an average, $p(x) = \mathbb E_{p(z)}[p(x \mid z)]$. So draw codes from the prior and
# average $p(x \mid z)$. That is right on average, and wasteful: draws that miss the peak count for nothing. Each line
# compares 1,000 estimates, from n codes each, with the integral.
#
# <!-- slide: Draws that miss the peak count for nothing -->

# %%
chosen = list(images.values())
with torch.no_grad():
    draws = line.prior().sample((100_000,))
    at_draws = line.log_likelihood(x[chosen], draws[:, None])  # (100000, 2)
short = {}
for n in (1, 10, 100):
    estimate = at_draws[: 1000 * n].reshape(1000, n, 2).logsumexp(dim=1) - math.log(n)
    short[n] = log_evidence[chosen] - estimate.mean(dim=0)

# %% board="values" tags=["nbval-ignore-output"]
for n, (typical, hardest) in short.items():
    print(f"{n:3} draws: short by {typical:5.2f} nats (typical image), {hardest:5.2f} (hardest)")

# %%
print(f"10 draws fall short by more than 1 nat for the hardest: {short[10][1] > 1}")
print(f"100 draws come within 0.3 nats for the typical image:   {short[100][0] < 0.3}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# The draws needed grow like $e^{KL}$, with the KL from the posterior to the prior.
#
# A grid of 600 points on a line has $600^{16}$ points with 16 latents.
# -->
#
# With one latent that still works. But the draws needed grow like $e^{KL}$, where the KL from the posterior to the prior says
# how much information an image gives about its code. With 2 or 16 latents it is more, as we measure below. And a grid, of 600
# points here, would have $600^{16}$.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A bound, in four steps
#
# <!-- minutes: 18 -->
# <!-- slide: Draw only where the posterior is -->
# <!-- board
# **Encoder**: guesses the posterior, for each image a Gaussian with a diagonal $\Sigma$,
#
# $$q(z \mid x) = \mathcal N(\mu_{z|x}, \Sigma_{z|x}).$$
#
# With a good guess, few draws miss the peak. How to train it, without knowing the posterior?
# -->
#
# The remedy: draw only where the posterior is. Let an **encoder** guess it, for each image a Gaussian
# $q(z \mid x) = \mathcal N(\mu_{z|x}, \Sigma_{z|x})$ with a diagonal $\Sigma$. Now watch the evidence.
#
# <!-- slide: Steps 1 and 2: the logarithm moves inside -->
# <!-- board
# Multiply and divide by $q$:
#
# $$\log p(x) = \log \mathbb E_{q} \left[ \frac{p(x, z)}{q(z \mid x)} \right]$$
# -->
# <!-- question: Move the logarithm inside the mean. Does the right side rise or fall? -->
# <!-- answer: Fall: the logarithm is concave (Jensen). What is left is the **ELBO**,
# $\mathbb E_{q} \left[ \log \dfrac{p(x, z)}{q(z \mid x)} \right] \le \log p(x)$. -->
# 1. Multiply and divide by $q$: $\quad \log p(x) = \log \mathbb E_{q} \left[ \dfrac{p(x, z)}{q(z \mid x)} \right]$.
# 2. The logarithm is concave, so the log of a mean is at least the mean of the log (Jensen):
#    $\quad \log p(x) \ge \mathbb E_{q} \left[ \log \dfrac{p(x, z)}{q(z \mid x)} \right]$. The right side is the
#    **ELBO**, the evidence lower bound.
# <!-- slide: Step 3: reconstruction minus KL -->
# <!-- board
# $$\text{ELBO} = \mathbb E_{q}[\log p(x \mid z)] - KL(q(z \mid x) \,\|\, p(z))$$
#
# - **reconstruction**: how likely the image is, under codes that the encoder draws
# - **KL**: how far these codes are from the prior
# -->
# 3. Sort its terms: $\quad \text{ELBO} = \mathbb E_{q}[\log p(x \mid z)] - KL(q(z \mid x) \,\|\, p(z))$.
# <!-- slide: Step 4: what Jensen costs -->
# <!-- board
# Put $p(x, z) = p(z \mid x)\, p(x)$ into the ELBO. For any $q$:
#
# $$\log p(x) - \text{ELBO} = KL(q(z \mid x) \,\|\, p(z \mid x))$$
# -->
# <!-- question: In training the ELBO rises. What got better? -->
# <!-- answer: The evidence rose, or $q$ came nearer to the posterior. Neither has to be computed. -->
# 4. What did Jensen cost? Put $p(x, z) = p(z \mid x)\, p(x)$ into step 2:
#    $\quad \log p(x) - \text{ELBO} = KL(q(z \mid x) \,\|\, p(z \mid x))$.
#
# Step 4 is an equation and holds for any $q$. On the line we can check all four for every image.

# %%
with torch.no_grad():
    log_q = line.posterior(x).log_prob(z[:, None])  # (n, B)
q = log_q.exp()

elbo = integral(q * (log_joint - log_q))
gap = integral(q * (log_q - log_posterior))
price = integral(q * (log_q - log_prior))
step_1 = (log_q + (log_joint - log_q)).logsumexp(dim=0) + math.log(step)

# %%
assert torch.allclose(step_1, log_evidence, atol=1e-3)
assert (elbo < log_evidence + 1e-3).all()
assert torch.allclose(elbo, integral(q * log_likelihood) - price, atol=1e-3)
assert torch.allclose(log_evidence - elbo, gap, atol=1e-3)
print(f"all four steps hold within 0.001 nats for all {len(x)} images")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Two reasons for a gap -->
# <!-- board
# - **approximation gap**: the posterior may be no diagonal Gaussian
# - **amortisation gap**: the encoder, one network for all images, does not find the best Gaussian for this one
#
# (Cremer et al., 2018)
# -->
#
# If the ELBO rises, then the evidence rises or $q$ comes nearer to the posterior, and neither has to be computed. A gap
# remains, for two reasons (Cremer et al., 2018). The posterior may be no diagonal Gaussian: the **approximation gap**.
# Or the encoder, *one* network for all images, does not find the best Gaussian for this one: the **amortisation gap**.
# <!-- slide: The image with the largest gap -->
# <!-- board
# The encoder's $q$ lies too near the prior, and is too wide.
# -->
# Here is the image with the largest gap.

# %% board="figure" alt="The prior, the posterior of one image and q(z | x): q stands between the two, left of the posterior and a little wider."
worst = gap.argmax()
shown = {"p(z)": log_prior[:, 0], "p(z | x)": log_posterior[:, worst], "q(z | x)": log_q[:, worst]}
plots.show_curves({name: value.exp().cpu() for name, value in shown.items()}, x=z[:, 0].cpu(),
                  xlabel="z", ylabel="density")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Which gap is larger? -->
# <!-- board
# Give every image a Gaussian of its own, with the mean and the variance of its posterior.
# -->
# <!-- question: Which gap does that close, and is it the larger one on our line? -->
# <!-- answer: The amortisation gap. Here it is the larger one: over half of the mean gap closes. -->
#
# Which of the two is larger? Give every image a Gaussian of its own, with the mean and the variance of its posterior.
# What that closes of the gap was due to amortisation.

# %%
true = log_posterior.exp()
centre = integral(true * z)  # (B,)
width = integral(true * (z - centre) ** 2).sqrt()
log_own = Normal(centre, width).log_prob(z)  # (n, B)
own = integral(log_own.exp() * (log_own - log_posterior))
print(f"the largest gap is more than 5 times the mean gap:           {gap.max() > 5 * gap.mean()}")
print(f"Gaussians of their own would close over half the mean gap:   {own.mean() < 0.5 * gap.mean()}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# On this line the amortisation gap is the larger one. In [the exercises]({{vae}}_vae_exercises.ipynb) you meet the other
# case, a posterior in the shape of a ring.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A gradient through a draw
#
# <!-- minutes: 14 -->
# <!-- slide: The draw depends on what we train -->
# <!-- board
# To train the encoder we need $\nabla_\mu\, \mathbb E_{q}[f(z)]$ with $z \sim q = \mathcal N(\mu, \sigma^2)$.
# -->
# <!-- question: Why is that not the mean of $\nabla_\mu f(z)$ over draws $z$? -->
# <!-- answer: The distribution itself contains $\mu$: when $\mu$ moves, the draws move. -->
#
# To train the encoder we need $\nabla_\mu \mathbb E_{q}[f(z)]$, with $\mu$ inside the distribution that we draw from.
# There are two ways.
#
# <!-- slide: Score function: try codes, reward the good ones -->
# <!-- board
# $$\nabla_\mu \mathbb E_{q}[f(z)] = \mathbb E_{q}[f(z)\, \nabla_\mu \log q(z)]$$
#
# - no derivative of $f$, so codes may be discrete
# - **baseline**: subtract the average of $f$, which changes nothing on average
# -->
#
# **Score function**: $\nabla_\mu \mathbb E_{q}[f(z)] = \mathbb E_{q}[f(z)\, \nabla_\mu \log q(z)]$. It tries codes
# and rewards those that did well. It needs no derivative of $f$. Subtracting the average of $f$, a *baseline*,
# changes nothing on average and removes much of the noise.
#
# <!-- slide: Reparameterise: move the gradient inside -->
# <!-- board
# Write $z = \mu + \sigma \varepsilon$ with $\varepsilon \sim \mathcal N(0, I)$. The randomness no longer depends on $\mu$:
# -->
#
# **Reparameterisation**: write $z = \mu + \sigma \varepsilon$ with $\varepsilon \sim \mathcal N(0, I)$. The
# randomness no longer depends on $\mu$, so the gradient may move inside the average. The decoder itself says in which
# direction the code should move:
#
# <!-- board -->
# $$\nabla_\mu \mathbb E_{q}[f(z)] = \mathbb E_{\varepsilon}[\nabla_\mu f(\mu + \sigma \varepsilon)].$$
#
# <!-- board
# The decoder itself says in which direction the code should move.
# -->
#
# <!-- slide: How noisy is one draw? -->
# <!-- board
# One image, a fresh VAE of 16 latents, the variance of one draw's gradient. Both estimates have the same mean.
# -->
# <!-- question: Reparameterised, it is 18.6. How large is it for the score function, without and with a baseline? -->
# <!-- answer: 32159.5 without, 36.8 with a baseline, which rescues most of it. -->
#
# We compare both on one image and a fresh VAE of 16 latents, where $f = \log p(x, z) - \log q(z \mid x)$.

# %%
wide = VAE(train.shape, latent_dim=16).to(DEVICE)
one, n = x[:1], 4000
with torch.no_grad():
    q = wide.posterior(one).base_dist
noise = torch.randn(n, 16, device=DEVICE)
mean = q.mean.expand(n, 16).clone().requires_grad_()
z = mean + q.stddev * noise
log_q = Normal(mean, q.stddev).log_prob(z).sum(dim=1)
f = wide.log_likelihood(one, z[:, None])[:, 0] + wide.prior().log_prob(z) - log_q

# %%
estimates = {"reparameterised": torch.autograd.grad(f.sum(), mean)[0]}  # (n, 16), one a draw
f, score = f.detach()[:, None], noise / q.stddev  # the score is the gradient of log q
estimates["score, baseline"] = (f - f.mean()) * score
estimates["score function"] = f * score
noisiness = {name: gradients.var(dim=0).sum().item() for name, gradients in estimates.items()}
mine, other = estimates["reparameterised"], estimates["score, baseline"]
errors = (mine.mean(dim=0) - other.mean(dim=0)) / ((mine.var(dim=0) + other.var(dim=0)) / n).sqrt()
assert errors.abs().max() < 5
print("both have the same mean, within 5 standard errors")

# %% tags=["nbval-ignore-output"]
for name, value in noisiness.items():
    print(f"{name:<17} variance of one draw's gradient {value:9.1f}")

# %%
ratio = {name: value / noisiness["reparameterised"] for name, value in noisiness.items()}
print(f"the score function's variance is more than 500 times as large: {ratio['score function'] > 500}")
print(f"with a baseline it is still larger:                            {ratio['score, baseline'] > 1}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: With one draw per step, the noise counts -->
# <!-- board
# Distance of the average of $n$ draws from the gradient. Training takes one draw per image and step.
# -->
#
# Be fair to the score function: a baseline rescues most of it, and it also works where codes are discrete and nothing
# can be differentiated. For Gaussian codes reparameterisation is simpler and less noisy.
#
# Below is the typical distance between the average of n draws and the gradient itself. In training we take a single
# draw per image and step, so what counts is the left end of this figure.

# %% board="figure" alt="Error of three gradient estimates against the draws averaged, on logarithmic axes: three parallel falling lines, the score function highest by far, reparameterisation lowest."
sizes = (1, 2, 5, 10, 20, 50, 100)
errors = {
    name: [g.reshape(-1, k, 16).mean(dim=1).std(dim=0).norm().item() for k in sizes]
    for name, g in reversed(estimates.items())
}
plots.show_curves(errors, x=sizes, xlabel="n, draws averaged", ylabel="distance, nats", log=True)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Training, in six steps
#
# <!-- minutes: 11 -->
# <!-- slide: One step of training, for a batch -->
#
# Everything is in place. One step of training, for a batch:
#
# <!-- board -->
# 1. **Encode** the images: $\mu_{z|x}$ and $\sigma_{z|x}$.
# 2. **Match the prior**: $KL(q(z \mid x) \,\|\, p(z))$, known in closed form for two Gaussians.
# 3. **Sample** a code, reparameterised.
# 4. **Decode** it: the parameters of $p(x \mid z)$.
# 5. **Reconstruct**: how likely is the image under them, $\log p(x \mid z)$?
# 6. **Likelihood**: on average the difference bounds $\log p(x)$ from below. Climb it.

# %%
def six_steps(model, x):
    mean, log_std = model.encoder(2 * x - 1).chunk(2, dim=1)  # 1: the network sees -1 to 1
    prior = Normal(torch.zeros_like(mean), 1)
    kl = kl_divergence(Normal(mean, log_std.exp()), prior).sum(dim=1)  # 2: summed over latents
    z = mean + log_std.exp() * torch.randn_like(mean)  # 3
    logits = model.decoder(z).reshape(x.shape)  # 4
    cost = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    reconstruction = -cost.flatten(1).sum(dim=1)  # 5: summed over pixels
    return reconstruction - kl  # 6


with torch.random.fork_rng():  # what is drawn in here is drawn once more after it: the same noise for both
    by_hand = six_steps(wide, x)
assert torch.allclose(by_hand, wide.elbo(x), atol=1e-3)
print("the ELBO by hand and the one of genlib agree, image by image")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Sums, in nats for one image -->
# <!-- board
# $$\text{ELBO} = \sum_{\text{pixels}} \log p(x_i \mid z) - \sum_{\text{latents}} KL_j$$
# -->
# <!-- question: Someone averages the first sum over the 64 pixels, and leaves the second as it is. What is trained? -->
# <!-- answer: A VAE whose KL weighs 64 times as much. -->
#
# Both terms are **sums**, in nats for one image. Average one of them over pixels, and the balance is off by the number
# of pixels. For binary images the cross-entropy *is* the log-likelihood. For grey images it is not, and `genlib`
# refuses them.
#
# <!-- slide: Better than pixels on their own -->
# <!-- board
# The baseline: a histogram for every pixel. On test images the ELBO is at least 4 nats better.
# -->
#
# Now train. The baseline ignores all neighbours: a histogram for every pixel.

# %%
optimizer = torch.optim.Adam(wide.parameters(), lr=3e-3)
history = []
for _ in range(EPOCHS):
    bounds = []
    for batch, _labels in train.batches(64, device=DEVICE):
        bound = six_steps(wide, batch)
        optimizer.zero_grad()
        (-bound.mean()).backward()
        optimizer.step()
        bounds.append(bound.detach())
    history.append(torch.cat(bounds).mean().item())

# %% board="figure" alt="The ELBO over 30 epochs: it climbs fast to -20, then slowly to about -18, and passes independent pixels, at -25, after the first epoch."
alone = independent_pixels(train).log_prob(x.long().cpu()).flatten(1).sum(dim=1).mean().item()
plots.show_curves({"ELBO, 16 latents": history}, xlabel="epoch", ylabel="nats per training image",
                  baselines={"independent pixels": alone})
with torch.no_grad():
    elbo = torch.stack([wide.elbo(x) for _ in range(20)]).mean().item()
print(f"on test images the ELBO is at least 4 nats better than independent pixels: {elbo - alone > 4}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How far below the truth?
#
# <!-- minutes: 14 -->
# <!-- slide: A bound from $k$ codes -->
# <!-- board
# **Importance-weighted bound** from $k$ codes (Burda et al., 2016):
# -->
#
# With two latents a grid still gives the evidence. So the gap $\log p(x) - \text{ELBO}$ can be measured, and what
# closes it: the **importance-weighted bound** (Burda et al., 2016) from $k$ codes,
#
# <!-- board -->
# $$L_k(x) = \mathbb E \Big[ \log \frac1k \sum_{i=1}^k \frac{p(x \mid z_i)\, p(z_i)}{q(z_i \mid x)} \Big],
# \qquad z_i \sim q(z \mid x).$$
#
# <!-- question: $L_1$ is the ELBO. What does $L_k$ do as $k$ grows, and why? -->
# <!-- answer: $L_k$ rises towards $\log p(x)$. The mean inside has the evidence as its mean; Jensen takes less of a steadier mean. -->
#
# $L_1$ is the ELBO. The mean inside the logarithm is the evidence for every $k$, and Jensen takes less of a steadier
# mean. So $L_k$ rises towards $\log p(x)$.

# %%
plane = VAE(train.shape, latent_dim=2).to(DEVICE)
fit(plane, train, epochs=2 * EPOCHS, batch_size=128, learning_rate=1e-2)

few, edge = x[:100], torch.linspace(-5, 5, 101, device=DEVICE)
grid = torch.cartesian_prod(edge, edge)  # (10201, 2)
with torch.no_grad():
    log_prior = plane.prior().log_prob(grid)[:, None]
    log_joint = torch.cat([plane.log_likelihood(part, grid[:, None]) for part in few.split(10)], dim=1)
evidence = ((log_joint + log_prior).logsumexp(dim=0) + 2 * math.log(0.1)).mean().item()

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The gap, and what closes it -->
# <!-- board
# Two latents, so a grid still gives $\log p(x)$. Both axes are logarithmic.
# -->
#
# Each point averages 1,000 codes for each of 100 test images: one bound of $k = 1000$, or a thousand of $k = 1$.

# %% board="figure" alt="The gap between evidence and bound against the number of codes, on logarithmic axes: an almost straight fall, from 0.3 nats at one code to 0.002 at 1000."
def bounds(model, ks=(1, 10, 100, 1000)):
    return {k: importance_bound(model, few.repeat(1000 // k, 1, 1, 1), k=k).mean().item() for k in ks}


gaps = {k: evidence - bound for k, bound in bounds(plane).items()}
plots.show_curves({"gap": list(gaps.values())}, x=list(gaps), xlabel="k, codes an image",
                  ylabel="log p(x) - bound, nats", log=True)

# %%
print(f"the ELBO lies more than 0.1 nats below the evidence: {gaps[1] > 0.1}")
if DATASET == "digits":
    print(f"10 codes close more than half of the gap:            {gaps[10] < 0.5 * gaps[1]}")
    print(f"with 1000 codes less than 0.2 nats are left:         {gaps[1000] < 0.2}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: 100 codes from the encoder, or from the prior? -->
# <!-- board
# With 16 latents no grid exists, but $L_{1000}$ does: compare with that.
# -->
# <!-- question: One of them falls short by 0.06 nats, the other by 3.84. Which is which? -->
# <!-- answer: The encoder's codes 0.06, the prior's 3.84. An image says 7.6 nats about its code. -->
#
# With 16 latents no grid exists, but the bound is there. Now we can also settle the question of the prior. From 100
# codes an image: how far do the encoder's codes come, how far the prior's? The measure is $L_{1000}$, which errs on
# the low side.
#
# <!-- slide: The prior falls behind with every latent -->
# <!-- board
# | latents | $KL(q \,\Vert\, p)$, nats | short by, encoder's codes | short by, prior's codes |
# | --- | --- | --- | --- |
# | 1 | 1.1 | 0.00 | 0.02 |
# | 2 | 2.9 | 0.02 | 0.26 |
# | 16 | 7.6 | 0.06 | 3.84 |
#
# 100 codes an image, compared with $L_{1000}$
# -->

# %%
def short_of(model):
    with torch.no_grad():
        q = model.posterior(few)
        prior = model.prior().sample((100, len(few)))  # 100 codes an image
        naive = model.log_likelihood(few, prior).logsumexp(dim=0).mean().item() - math.log(100)
        information = kl_divergence(q.base_dist, Normal(torch.zeros_like(q.mean), 1)).sum(dim=1).mean().item()
    bound = bounds(model, (100, 1000))
    return information, bound[1000] - bound[100], bound[1000] - naive


missing = {model.latent_dim: short_of(model) for model in (line, plane, wide)}

# %% tags=["nbval-ignore-output"]
for latents, (information, encoder, naive) in missing.items():
    print(f"{latents:2} latents, KL(q || prior) {information:.1f} nats: "
          f"short by {encoder:.2f} with the encoder's codes, {naive:.2f} with the prior's")

# %%
print(f"16 latents, prior: short by more than 1.5 nats:  {missing[16][2] > 1.5}")
if DATASET == "digits":
    print(f"16 latents, encoder: short by less than 0.5:     {missing[16][1] < 0.5}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Sampling
#
# <!-- minutes: 19 -->
# <!-- slide: Last week, in three lines -->
# <!-- board
# $$p(x) = \int p(x \mid z)\, p(z)\, dz$$
#
# $$\text{ELBO} = \mathbb E_{q}[\log p(x \mid z)] - KL(q(z \mid x) \,\|\, p(z))$$
#
# $$\log p(x) - \text{ELBO} = KL(q(z \mid x) \,\|\, p(z \mid x))$$
# -->
# <!-- question: Which networks does a draw from the model need: encoder, decoder, both? -->
# <!-- answer: The decoder alone. A code comes from the prior. -->
#
# <!-- slide: One code, one pass of the decoder -->
# <!-- board
# **Ancestral sampling**: then each pixel is drawn on its own. The mean looks better, and is not a draw.
# -->
#
# A draw takes no encoder and no loop over pixels: one code from the prior, one pass of the decoder (**ancestral
# sampling**). Then each pixel is drawn on its own. Many papers leave this out and show the decoder's mean. It looks
# better, and is not a draw.

# %% board="figure" alt="Fourteen samples as the decoder's mean, in greys, as a draw of every pixel, with stray pixels, and fourteen real digits."
with torch.random.fork_rng():  # the same codes for both
    drawn = wide.sample(14)
plots.show_rows({"mean": wide.sample(14, mean=True), "draw": drawn, "real": few[:14]})

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: A judge looks at the decoder's means -->
# <!-- board
# A classifier is *sure* of an image with more than 90 % for one class: of 86 % of test images. Now it judges the decoder's means.
# -->
# <!-- question: Of how many is it sure with codes of test images? With codes from the prior? -->
# <!-- answer: 85 % and 57 %: means for codes from the prior are worse than reconstructions. -->
#
# ### Against an autoencoder with a fitted prior
#
# We ask a judge as in lesson {{autoencoder}}, a classifier trained on the labels: how often is it sure of a digit, with more than
# 90 % for one class? A sure judge is no proof of a good image, but a judge in doubt is evidence of a bad one. An autoencoder
# of the same size takes part with the recipes of lesson {{autoencoder}}: $\mathcal N(0, I)$, one Gaussian fitted to its codes, and a
# mixture of 10 Gaussians fitted to them (**ex-post density estimation**, Ghosh et al., 2020).
#
# <!-- slide: By this judge, the autoencoder's mixture wins -->
# <!-- board
# **Ex-post density estimation** (Ghosh et al., 2020): fit a mixture to the codes after training.
# -->
#
# The same can be done to the VAE: fit a mixture to its training codes, and draw from that in place of $p(z)$.

# %%
plain = Autoencoder(train.shape, latent_dim=16).to(DEVICE)
fit(plain, train, epochs=EPOCHS, batch_size=128, learning_rate=1e-2)
judge = train_classifier(train)


def sure(images):
    return 100 * (judge(images.cpu()).softmax(dim=1).amax(dim=1) > 0.9).float().mean().item()


def fitted(codes, k):
    return GaussianMixture(k, random_state=0).fit(codes.cpu().double().numpy())


def draw(mixture):
    return torch.tensor(mixture.sample(1000)[0], dtype=torch.float32, device=DEVICE)


# %%
x_train = train.floats().to(DEVICE)
with torch.no_grad():
    plain_codes, q = plain.encode(x_train), wide.posterior(x_train)
    wide_mixture = fitted(q.sample((5,)).flatten(0, 1), 10)  # five codes of each image
    trust = {
        "test images": sure(x),
        "VAE, reconstructions": sure(wide.reconstruct(x)),
        "VAE, N(0, I)": sure(wide.sample(1000, mean=True)),
        "VAE, 10 Gaussians": sure(wide.decode(draw(wide_mixture))),
        "autoencoder, N(0, I)": sure(plain.decode(torch.randn(1000, 16, device=DEVICE))),
        "autoencoder, N(m, S)": sure(plain.decode(draw(fitted(plain_codes, 1)))),
        "autoencoder, 10 Gaussians": sure(plain.decode(draw(fitted(plain_codes, 10)))),
    }

# %% board="values" tags=["nbval-ignore-output"]
for name, value in trust.items():
    print(f"{name:<25} the judge is sure of {value:.0f} %")

# %%
_, copies, prior, mixed, naive, single, mixture = trust.values()
if DATASET == "digits":
    print(f"the VAE is over 8 points ahead of the autoencoder with N(0, I):  {prior > naive + 8}")
    print(f"level with its fitted Gaussian, within 15 points:                {abs(prior - single) < 15}")
    print(f"over 10 points behind its mixture:                               {mixture > prior + 10}")
    print(f"over 15 points behind the VAE's own reconstructions:             {copies > prior + 15}")
    print(f"with a mixture of its own it gains over 6 points:                {mixed > prior + 6}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# Only the VAE has a bound on the likelihood, and a prior known before training.
# -->
#
# By this judge the autoencoder with a mixture draws the better images. What the VAE has all the same: the prior is known
# before training, encoder and decoder are trained for it in one go, and there is a bound on the likelihood of images.
# The bound also shows why the prior's draws are worse.
#
# <!-- slide: The KL of a whole set has two parts -->
# <!-- board
# **Aggregated posterior** $q(z) = \frac1N \sum_n q(z \mid x_n)$: the codes of all $N$ training images.
# -->
#
# ### The ELBO of a whole set
#
# Together the codes of $N$ training images follow the **aggregated posterior**
# $q(z) = \frac1N \sum_n q(z \mid x_n)$. The decoder was trained on its draws, and samples come from $p(z)$. Put $q(z)$ into
# the KL term and average over the images (Hoffman and Johnson, 2016):
#
# <!-- board -->
# $$\frac1N \sum_n KL(q(z \mid x_n) \,\|\, p(z)) = \underbrace{I(n; z)}_{\text{information}}
# + \underbrace{KL(q(z) \,\|\, p(z))}_{\text{marginal KL}}.$$
#
# <!-- question: Which of the two could another prior lower? -->
# <!-- answer: The marginal KL. The information, at most $\log N$, says how well a code tells its image. -->
#
# <!-- slide: Samples come from $p(z)$, codes from $q(z)$ -->
# <!-- board
# The decoder was trained on draws of $q(z)$. Two latents, from $-3$ to 3.
# -->
#
# The information says how well a code tells which image it came from, at most $\log N$. A good decoder needs it. Only
# the marginal KL depends on the prior. It is zero if samples and codes have the same distribution. For the model with two latents we can look at both densities,
# here from -3 to 3, the brighter the denser.

# %% board="figure" alt="Two densities in the plane: p(z) is round and smooth, q(z) is a star of bright ridges with gaps between them."
with torch.no_grad():
    log_all = plane.posterior(x_train).log_prob(grid[:, None]).logsumexp(dim=1) - math.log(len(train))
    log_prior = plane.prior().log_prob(grid)
density = torch.stack([log_prior, log_all]).exp().reshape(2, 101, 101)[:, 20:81, 20:81]  # -3 to 3
upright = density.transpose(1, 2).flip(1)[:, None].cpu()
plots.show_images(upright / upright.max(), columns=2, titles=["p(z)", "q(z)"], size=2.6)

# %%
by_grid = (log_all.exp() * (log_all - log_prior)).sum().item() * 0.1**2
information, marginal = split_kl(plane.posterior(x_train), plane.prior(), draws=10)
assert abs(marginal - by_grid) < 0.05
print("the marginal KL by a grid and by draws (genlib's split_kl) agree within 0.05 nats")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: What a better prior saves -->
#
# With 16 latents we need the draws. The mixture's gain shows here, too. Put it in the place of $p(z)$ and leave encoder
# and decoder as they are: the bound is still a bound, for a model with another prior, now on test images.

# %%
with torch.no_grad():
    information, marginal = split_kl(q, wide.prior())
    z = wide.posterior(x).sample((20,))  # codes of test images
    log_mixture = torch.tensor(wide_mixture.score_samples(z.flatten(0, 1).cpu().double().numpy()))
    gain = (log_mixture.mean() - wide.prior().log_prob(z).mean().cpu()).item()

# %% board="values" tags=["nbval-ignore-output"]
reconstruction = wide.log_likelihood(x_train, q.sample()).mean().item()
print(f"ELBO, training images: reconstruction {reconstruction:.1f}, information {information:.1f}, marginal KL {marginal:.1f}")
print(f"log N = {math.log(len(train)):.1f}, and test images gain {gain:.2f} nats from the mixture as prior")

# %%
print(f"the information is over 60 % of log N:          {information > 0.6 * math.log(len(train))}")
print(f"the marginal KL is over 1 nat:                  {marginal > 1}")
print(f"the mixture raises the ELBO by over 0.4 nats:   {gain > 0.4}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# Part of the KL buys nothing. A better prior saves some of it, not all: $q(z)$ has a peak for each training image, and a prior
# with the same peaks would know these images and no others.
# -->
#
# So part of the KL buys nothing, and a better prior saves some of it. Not all: $q(z)$ has a peak for each training image,
# and a prior with the same peaks would know these images and no others. A prior can also be trained along with the rest,
# as a mixture of posteriors for instance (the VampPrior of Tomczak and Welling, 2018).

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The codes lie where the prior is -->
# <!-- board
# Two latents, codes of test images, each written as its label. No Gaussian had to be fitted.
# -->
# <!-- question: How much of $\mathcal N(0, I)$ lies farther than 2 from the middle? -->
# <!-- answer: In the plane $e^{-2}$, 14 %. Of the codes it is over 15 %. -->
#
# ### Latent maps
#
# The two-latent model fits on a page. First come the codes of test images, each written as its label. Then what the
# decoder makes of the middle of this plane. Compare with lesson {{autoencoder}}: no Gaussian had to be fitted, the codes lie where
# the prior is.

# %% board="figure" alt="The codes of the test digits in the plane, each drawn as its digit: zeros, sixes, sevens and fours lie apart around the middle, where ones, eights and fives meet."
with torch.no_grad():
    codes = plane.posterior(test.floats().to(DEVICE)).sample().cpu()
plots.show_codes(codes, {"digit": test.labels})

# %% [markdown]
# <!-- slide: What the decoder makes of the plane -->
# <!-- board
# The decoder's mean for codes on a grid, from $-2$ to 2. Between two digits stands a blend of both.
# -->

# %% board="figure" alt="A grid of images decoded from the plane, -2 to 2 both ways: digits change smoothly from place to place, from 7 and 4 at the left to 0 and 6 at the right."
low, high = torch.full((2,), -2.0, device=DEVICE), torch.full((2,), 2.0, device=DEVICE)
plots.show_code_grid(lambda z: F.pad(plane.decode(z), (1, 1, 1, 1), value=0.5), low, high, side=12)

# %%
with torch.no_grad():
    codes = plane.posterior(x_train).sample()
empty, control = (plots.empty_cells(z, low, high, side=8).float().mean() for z in (codes, torch.randn_like(codes)))
spread = codes.std(dim=0)
if DATASET == "digits":
    print(f"less than 10 % of 8 x 8 cells hold no code:          {bool(empty < 0.1)}")
    print(f"and less than 5 % no draw of N(0, I):                {bool(control < 0.05)}")
    print(f"the codes' standard deviations are within 0.25 of 1: {bool(((spread - 1).abs() < 0.25).all())}")
beyond = (codes.norm(dim=1) > 2).float().mean()
print(f"farther than 2 from the middle lie 14 % of N(0, I), and of the codes over 15 %: {bool(beyond > 0.15)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The decoder answers everywhere -->
# <!-- board
# In the notebook: drag the point into a corner, outside both rings. Hardly any code was trained there.
# -->
#
# ### Move on the map
#
# Click on the map, or drag the point; the sliders do the same. At the right stands the decoder's mean for that code. Move
# slowly from the codes of one digit to those of another: there is something at every step, and on the border it is a blend of
# the two. Then leave the outer ring, of radius 2. A share of $e^{-2}$ of the prior lies beyond it, 14 %, and somewhat more
# of the codes, as just printed. Go on to the corners: hardly any code was trained there, and the decoder answers all
# the same.

# %% board="figure" tags=["nbval-ignore-output"] alt="Still picture of the explorer of the latent plane: codes drawn as digits with rings at one and two deviations of the prior, and the image decoded at the chosen point."
explorers.latent_explorer(plane.decode, codes[:400], train.labels[:400])

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The weight of the KL
#
# <!-- minutes: 15 -->
# <!-- slide: The KL gets a weight -->
# <!-- board
# $$\text{loss} = -\mathbb E_{q}[\log p(x \mid z)] + \beta\, KL(q(z \mid x) \,\|\, p(z))$$
#
# A small $\beta$: sharp reconstructions, codes far from the prior. A large one: the reverse (Higgins et al., 2017).
# -->
# <!-- question: 16 latents, trained with $\beta = 6$. How many are in use? -->
# <!-- answer: None. Each costs more than it saves, and independent pixels are left. -->
#
# Put a weight $\beta$ on the KL term of the loss (Higgins et al., 2017). A small one gives sharp reconstructions and
# codes far from the prior; a large one does the reverse. In `genlib` it is `kl_weight`, and acts in `loss` only.
# The ELBO reported is always the true one.

# %%
weighted = {}
for beta in (0.1, 1, 3, 6):
    weighted[beta] = VAE(train.shape, latent_dim=16, kl_weight=beta).to(DEVICE)
    fit(weighted[beta], train, epochs=EPOCHS, batch_size=128, learning_rate=1e-2)


# %%
@torch.no_grad()
def terms(model):
    q = model.posterior(x)
    kl = kl_divergence(q.base_dist, Normal(torch.zeros_like(q.mean), 1)).mean(dim=0)  # (latents,)
    reconstruction = model.log_likelihood(x, q.sample((20,))).mean().item()
    return reconstruction, kl.sort(descending=True).values.cpu()


table = {beta: terms(model) for beta, model in weighted.items()}

# %% tags=["nbval-ignore-output"]
print("weight   reconstruction      KL    ELBO   latents in use (KL above 0.1)   judge is sure of")
for beta, (reconstruction, kl) in table.items():
    trusted = sure(weighted[beta].sample(1000, mean=True))
    print(f"{beta:6} {reconstruction:16.1f} {kl.sum():7.1f} {reconstruction - kl.sum():7.1f}"
          f" {int((kl > 0.1).sum()):10} of 16 {trusted:26.0f} %")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The true ELBO is best at weight 1 -->
# <!-- board
# | weight | reconstruction | KL | ELBO | latents in use | judge is sure of |
# | --- | --- | --- | --- | --- | --- |
# | 0.1 | $-3.4$ | 27.2 | $-30.6$ | 16 of 16 | 50 % |
# | 1 | $-11.7$ | 6.8 | $-18.5$ | 11 of 16 | 54 % |
# | 3 | $-22.1$ | 0.9 | $-23.0$ | 3 of 16 | 18 % |
# | 6 | $-25.3$ | 0.0 | $-25.3$ | 0 of 16 | 0 % |
#
# Nats per test image. In use: a KL above 0.1.
# -->
#
# ### Posterior collapse
#
# Some latents are **dead**: their KL is zero, so $q(z_j \mid x)$ is the prior whatever the image, and the decoder
# ignores them. Even at weight 1 a few are. The optimiser need not have failed. A latent costs its KL and saves some
# reconstruction; one that would save less than it costs is best switched off. A larger weight raises the price.
#
# <!-- slide: Posterior collapse -->
# <!-- board
# **Dead** latents: $q(z_j \mid x)$ is the prior whatever the image. One that saves less than it costs is best switched off.
# -->
#
# At weight 6 no latent saves what it costs, and every latent dies. Then the decoder says the same for every code, and what
# is left is our baseline, independent pixels. (The figure leaves weight 6 out: all its values are zero.)

# %% board="figure" alt="KL of each of 16 latents, the busiest first, for three weights: with 0.1 all are used, with 1 they fall to zero by the fourteenth, with 3 only three are used."
plots.show_curves({f"weight {beta}": kl for beta, (_, kl) in table.items() if beta < 6},
                  xlabel="latent, the busiest first", ylabel="KL, nats per image")

# %%
elbos = {beta: (reconstruction - kl.sum()).item() for beta, (reconstruction, kl) in table.items()}
dead = {beta: int((kl < 0.1).sum()) for beta, (_, kl) in table.items()}
print(f"weight 1 has the best ELBO:                            {max(elbos, key=elbos.get) == 1}")
print(f"dead latents at weight 0.1:                            {dead[0.1]} of 16")
if DATASET == "digits":
    print(f"at weight 3 more than at weight 1, at weight 6 all 16: {dead[1] < dead[3] < dead[6] == 16}")
    print(f"then the ELBO is that of independent pixels, within 1: {abs(elbos[6] - alone) < 1}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: A decoder that needs no code -->
# <!-- board
# The code's logits $m_i(z)$, added to those of a PixelCNN (after Bowman et al., 2016):
# -->
#
# ### A decoder that needs no code
#
# The decoder can make codes worthless, too. If $p(x \mid z)$ is autoregressive and strong enough to be $p(x)$ without
# $z$, a code costs its KL and saves nothing (Bowman et al., 2016, found this with language models as decoders). We add
# the code's logits to those of a PixelCNN,
#
# <!-- board -->
# $$p(x \mid z) = \prod_i \text{Bernoulli}\big(x_i;\ \sigma(\ell_i(x_{<i}) + m_i(z))\big),$$
#
# <!-- question: Which is the better density model, with or without the PixelCNN? Whose codes carry the image? -->
# <!-- answer: The ELBO is better with it; the codes carry the image without. A PixelCNN that can be $p(x)$ alone needs no code. -->
#
# and train with and without $\ell$, the rest the same. The data are the `bars` of lesson {{taxonomy}}, 30 images, all as likely,
# so no model can have more than $-\log 30$ nats on average.

# %%
class CodeAndPixels(nn.Module):
    def __init__(self, pixels=None):
        super().__init__()
        self.encoder, self.decoder, self.pixels = MLP((16, 100, 2 * 4)), MLP((4, 100, 16)), pixels

    def terms(self, x):
        mean, log_std = self.encoder(2 * x - 1).chunk(2, dim=1)
        logits = self.decoder(mean + log_std.exp() * torch.randn_like(mean)).reshape(x.shape)
        if self.pixels is not None:
            black, white = self.pixels(x).unbind(dim=1)  # PixelCNN's logits of both levels
            logits = logits + white - black
        cost = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return -cost.flatten(1).sum(dim=1), kl_to_standard_normal(mean, log_std)

    def loss(self, x):
        reconstruction, kl = self.terms(x)
        return (kl - reconstruction).mean()


# %%
bars = load("bars")
decoders = {"code alone": None, "code and PixelCNN": PixelCNN(bars.shape, hidden_dim=16, depth=2)}
strong = {}
for name, pixels in decoders.items():
    model = CodeAndPixels(pixels).to(DEVICE)
    fit(model, bars, epochs=400, batch_size=30, learning_rate=1e-2)
    with torch.no_grad():
        terms = model.terms(bars.floats().to(DEVICE).repeat(200, 1, 1, 1))
    strong[name] = [term.mean().item() for term in terms]

# %% tags=["nbval-ignore-output"]
for name, (reconstruction, kl) in strong.items():
    print(f"{name:<17} reconstruction {reconstruction:5.2f}, KL {kl:4.2f}, ELBO {reconstruction - kl:5.2f} nats, "
          f"{bits_per_dim(reconstruction - kl, bars.shape):.3f} bits/dim")
print(f"the best possible: {-math.log(30):5.2f} nats, {bits_per_dim(-math.log(30), bars.shape):.3f} bits/dim")

# %%
(r1, kl1), (r2, kl2) = strong.values()
print(f"the code alone has to carry the image, KL above 3.5 nats:   {kl1 > 3.5}")
print(f"beside a PixelCNN it carries less than 0.4 nats:            {kl2 < 0.4}")
print(f"and the ELBO is better by over 1 nat:                       {r2 - kl2 > r1 - kl1 + 1}")
print(f"within 0.3 nats of the best possible:                       {r2 - kl2 > -math.log(30) - 0.3}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The better density model has the useless codes -->
# <!-- board
# | `bars`, nats | reconstruction | KL | ELBO |
# | --- | --- | --- | --- |
# | code alone | $-2.78$ | 3.99 | $-6.77$ |
# | code and PixelCNN | $-3.20$ | 0.20 | $-3.40$ |
# | the best possible | | | $-3.40$ |
#
# To have both, hide something from the decoder: a narrower receptive field, or less of the image to read.
# -->
#
# The better density model has the useless codes. To have codes *and* a strong decoder, give the code
# something that the decoder cannot read: a narrower receptive field, or less of the image to read.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Which distribution for a pixel?
#
# <!-- minutes: 12 -->
# <!-- slide: Seventeen grey levels, three choices -->
# <!-- board
# - **Categorical**: a probability for every level, 17 numbers a pixel
# - **Discretised Gaussian**: mean and scale; a level has the mass of its cell, the end cells are *open*: what lies beyond black is black
# - **Dequantised Gaussian**: the same, trained on the density at $x$ plus noise; a bound on the mass of *closed* cells
# -->
#
# Back to grey digits with 17 levels, $0, \frac{1}{16}, \dots, 1$. Choices for $p(x_i \mid z)$:
#
# - **Categorical**: a probability for every level, 17 numbers a pixel, as in PixelCNN.
# - **Discretised Gaussian**: a mean and a scale, 2 numbers a pixel. A normal number $v$ is drawn and rounded to the
#   nearest level, so a level has the mass of its cell. The cells of black and white are *open*: what lies beyond black
#   is black.
# - **Dequantised Gaussian**: the same model, but trained on the density at $x$ plus uniform noise. That gives a lower
#   bound on the mass of a cell, if all cells are *closed*. Step 10 of [the exercises]({{vae}}_vae_exercises.ipynb) builds it.
#
# A density at the levels themselves is no choice. It could grow without limit, by narrow peaks at each of them.
#
# <!-- slide: Do open cells matter? -->
# <!-- board
# A pixel that is surely black: $v \sim \mathcal N(-0.3,\, 0.15^2)$, rounded to the nearest of 17 levels from 0 to 1.
# -->
# <!-- question: How much of the probability do 17 closed cells hold? -->
# <!-- answer: 0.037. Open cells hold 1.000. Of test images, 49 % of the pixels are black. -->
#
# Do open cells matter? Take a pixel that is surely black, with its mean beyond black.

# %%
level, half, v = torch.linspace(0, 1, grey.levels), 0.5 / (grey.levels - 1), Normal(-0.3, 0.15)
closed = v.cdf(level + half) - v.cdf(level - half)
ends = torch.cat([torch.tensor([-math.inf]), level[:-1] + half, torch.tensor([math.inf])])
opened = v.cdf(ends).diff()
print(f"{grey.levels} closed cells hold {closed.sum():.3f} of the probability, open ones {opened.sum():.3f}")
print(f"{100 * (grey_test.floats() == 0).float().mean():.0f} % of the pixels of test images are black")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Is it the weights, or the bound? -->
# <!-- board
# Trained and measured on the bound with closed cells: 2.576 bits per dimension. Independent pixels: 2.430.
# -->
# <!-- question: The same weights, now with open cells. Are they better than independent pixels? -->
# <!-- answer: Yes: at most 2.178 bits. Much of the bad value came from the bound, not from the weights. -->
#
# The closed cells throw 96 % away, for the surest pixel of all, and nearly half of the pixels are black. We train all
# three with the same budget, and ask a fourth question: what are the *weights* worth that were trained on the bound, if
# we give them open cells afterwards?
#
# The baselines: independent pixels, and a small PixelCNN, whose likelihood is exact. For the VAEs we report $L_{100}$,
# so they may be a little better than the table says.

# %%
decoders = {"categorical": "categorical", "Gaussian": "gaussian", "trained on the bound": "dequantised_gaussian"}
greys = {name: VAE(grey.shape, latent_dim=16, likelihood=kind, levels=grey.levels).to(DEVICE) for name, kind in decoders.items()}
for model in greys.values():
    fit(model, grey, epochs=EPOCHS * 2 // 3, learning_rate=6e-3)
greys["same weights, open"] = VAE(grey.shape, latent_dim=16, likelihood="gaussian", levels=grey.levels).to(DEVICE)
greys["same weights, open"].load_state_dict(greys["trained on the bound"].state_dict())

parameters = torch.tensor([-0.3, math.log(0.15)], device=DEVICE).reshape(2, 1, 1, 1)
assert torch.allclose(greys["Gaussian"].pixels.distribution(parameters).probs.cpu().flatten(), opened, atol=1e-6)

# %%
pixelcnns = {}
for name, data in {"grey": grey, "binary": train}.items():
    pixelcnns[name] = PixelCNN(data.shape, levels=data.levels, hidden_dim=32, depth=2).to(DEVICE)
    fit(pixelcnns[name], data, epochs=8, batch_size=32, learning_rate=6e-3)


# %%
def bits(model, data):
    images = data.floats().to(DEVICE)
    nats = importance_bound(model, images, k=100) if isinstance(model, VAE) else log_probs(model, data)
    return bits_per_dim(nats.mean().item(), data.shape)


def alone_bits(data, unseen):
    nats = independent_pixels(data).log_prob(unseen.images.long()).flatten(1).sum(dim=1)
    return bits_per_dim(nats.mean().item(), data.shape)


baseline = "independent pixels"
on_grey = {baseline: alone_bits(grey, grey_test), "PixelCNN": bits(pixelcnns["grey"], grey_test)}
on_grey |= {f"VAE, {name}": bits(model, grey_test) for name, model in greys.items()}
on_binary = {baseline: alone_bits(train, test), "PixelCNN": bits(pixelcnns["binary"], test)}
on_binary |= {"VAE, Bernoulli": bits(wide, test)}

# %% [markdown]
# <!-- slide: Gaussian: about as good as 17 numbers a pixel -->

# %% board="values" tags=["nbval-ignore-output"]
for name, result in {"17 grey levels": on_grey, "black and white": on_binary}.items():
    print(f"{name}, bits/dim on test images")
    for model, value in result.items():
        print(f"  {model:<28} {value:.3f}")

# %%
if DATASET == "digits":
    blind, pixelcnn, categorical, gaussian, bound, reopened = on_grey.values()
    print(f"grey: categorical beats independent pixels by over 0.3:      {blind - categorical > 0.3}")
    print(f"grey: it is within 0.2 of this PixelCNN:                     {abs(categorical - pixelcnn) < 0.2}")
    print(f"grey: the bound with closed cells is worse than independent: {bound > blind}")
    print(f"grey: the same weights, opened, gain over 0.3:               {bound - reopened > 0.3}")
    print(f"grey: trained with open cells, another 0.15:                 {reopened - gaussian > 0.15}")
    print(f"grey: and level with categorical, within 0.05:               {abs(gaussian - categorical) < 0.05}")
    blind, pixelcnn, bernoulli = on_binary.values()
    print(f"binary: Bernoulli beats independent pixels by over 0.1:      {blind - bernoulli > 0.1}")
    print(f"binary: and this PixelCNN:                                   {bernoulli < pixelcnn}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# On these small digits the differences are small: a VAE with the right decoder is level with a PixelCNN that trained about as
# long, or a little ahead, and the larger networks of lesson {{pixelcnn}} are a little ahead of both.
#
# The Gaussian is as good as 17 free probabilities. What looked like a bad decoder was a bad *bound* on it. The images
# that the two Gaussian models draw follow the law with open cells in any case, since drawing rounds, and nothing can be
# darker than black. So a low value may come from the bound, not from the distribution, and not from latent
# variables. PixelCNN++ (Salimans et al., 2017) cuts a mixture of logistic distributions into cells, open at both ends,
# for the same reason: few numbers a pixel, and levels that know their neighbours. Lesson {{comparison}} compares all families.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Why samples blur
#
# <!-- minutes: 10 -->
# <!-- slide: Two images share a code -->
# <!-- board
# A digit in two slants, and one code for both. The decoder must say something about both.
# -->
# <!-- question: Which mean is the best, for a Gaussian of fixed scale? -->
# <!-- answer: The average of the two, $\mathbb E[x \mid z]$, which is neither. -->
#
# Where two images share a code, the decoder must say something about both. For a Gaussian of fixed scale the best
# mean is their average, $\mathbb E[x \mid z]$. For the other decoders too the mean that we look at is an average.
# Here are a digit in two slants, and their average.
#
# <!-- slide: Averages lose fine detail -->

# %% board="figure" alt="A 4 slanted to the left, a 4 slanted to the right, and their mean, in which both are seen at half strength."
pair = strokes(2, labels=4, same_hand=True, slant=torch.tensor([-10.0, 30.0])).floats()
mixed = pair.mean(dim=0, keepdim=True)
plots.show_images(torch.cat([pair, mixed]), columns=3, titles=["x", "x'", "mean"], size=1.3)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# **High-frequency energy**: each pixel minus the mean of its four neighbours, squared and averaged. The mean has less than 60 %
# of the energy of one digit.
# -->
#
# Averages lose fine detail. To measure it, compare each pixel with the mean of its four neighbours. The average
# square of the difference is the **high-frequency energy**: small for a blurred image, large for noise.

# %%
cross = torch.tensor([[0, -0.25, 0], [-0.25, 1, -0.25], [0, -0.25, 0]])[None, None]


def detail(images):
    return F.conv2d(images.cpu(), cross).square().mean().item()


kept = detail(mixed) / detail(pair)
print(f"the mean of two digits has less than 60 % of the detail of one: {kept < 0.6}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The mean is too smooth, the draw too rough -->
#
# Now the categorical VAE of above: its means, its true draws, and for comparison draws from PixelCNN.

# %% board="figure" alt="Twelve samples of the VAE as means and as draws, of the PixelCNN, and twelve real digits: the means are soft, the draws speckled, the PixelCNN's have clear strokes."
model = greys["categorical"]
with torch.random.fork_rng():  # the same codes
    drawn = model.sample(300)
kinds = {"VAE, mean": model.sample(300, mean=True), "VAE, draw": drawn,
         "PixelCNN, draw": pixelcnns["grey"].sample(300), "real": grey_test.floats()}
plots.show_rows({name: images[:12] for name, images in kinds.items()})

# %% board="values" tags=["nbval-ignore-output"]
share = {name: 100 * detail(images) / detail(kinds["real"]) for name, images in kinds.items()}
for name, value in share.items():
    print(f"{name:<15} {value:4.0f} % of the detail of real images")

# %%
print(f"means have at least 25 % less detail than real images:  {share['VAE, mean'] < 75}")
print(f"draws have more than real images:                       {share['VAE, draw'] > 103}")
if DATASET == "digits":
    print(f"PixelCNN's draws are between 80 % and 120 %:            {80 < share['PixelCNN, draw'] < 120}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Why is the draw too rough? -->
# <!-- question: PixelCNN's draws have 93 % of the detail of real images, the VAE's 111 %. What does the VAE's decoder leave out? -->
# <!-- answer: Given the code, pixels are drawn independently. What the code does not say is blur in the mean, noise in the draw. -->
#
# The mean is far too smooth and the draw too rough. Given the code, pixels are drawn **independently**: what the code
# does not say turns into blur in one picture and into noise in the other. PixelCNN can do better, since each pixel sees
# those before it.
#
# <!-- slide: PixelCNN pays with time -->
# <!-- board
# A step for each pixel, where the VAE takes one for all. Fresh networks: training does not change speed.
# -->
#
# It pays with time: a step for each pixel, even with the cache of lesson {{pixelcnn}}, where the VAE takes one for all. Training
# does not change speed, so these networks are fresh.

# %% board="values" tags=["nbval-ignore-output"]
seconds = {}
for side in (8, 28):
    for family in (lambda shape: VAE(shape, latent_dim=16), lambda shape: PixelCNN(shape, hidden_dim=32, depth=2)):
        model = family((1, side, side)).to(DEVICE)
        model.sample(30)  # the first call is slower
        start = time.perf_counter()
        model.sample(30)
        seconds[type(model).__name__, side] = time.perf_counter() - start
for (name, side), value in seconds.items():
    print(f"{name:<9} {side:2} x {side:2}: {1000 * value:6.1f} ms for 30 draws")
faster = seconds["PixelCNN", 28] / seconds["VAE", 28]
print(f"on 28 x 28 pixels the VAE is {faster:.0f} times as fast")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What do latents mean?
#
# <!-- minutes: 9 -->
# <!-- slide: Digits whose causes are known -->
# <!-- board
# A simulator draws zeros and threes, which differ in slant, thickness, size and class. A VAE with six latents sees neither
# factors nor labels.
# -->
# <!-- question: Will each factor get a latent of its own? -->
# <!-- answer: No: a factor is spread over latents, and a latent holds several factors. -->
#
# `strokes` comes from a simulator, so the true causes of each image are known. We take zeros and threes that differ
# in slant, thickness, size and class, besides small movements of the hand, and train a VAE with six latents. It sees
# neither factors nor labels. Its Gaussian has the fixed scale $0.2 \sqrt{10}$. A KL weight of 10 at the scale 0.2 would be
# the same: multiply the loss by 10, and up to a constant you have that of a beta-VAE. (The Gaussian is the dequantised
# one, since its loss is the plain squared error.)

# %%
def two_digits(n, seed):
    labels = 3 * torch.randint(2, (n,), generator=torch.Generator().manual_seed(seed))
    fixed = {"style": 0, "curvature": 1.0, "width": 1.0, "x": 0.0, "y": 0.0}
    return strokes(n, seed=seed, labels=labels, **fixed)


hands, hands_test = two_digits(2500, seed=0), two_digits(1000, seed=1)
kind = {"likelihood": "dequantised_gaussian", "levels": hands.levels, "scale": 0.2 * 10**0.5}
hand = VAE(hands.shape, latent_dim=6, **kind).to(DEVICE)
fit(hand, hands, epochs=8, learning_rate=3e-3);

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: No factor has a latent of its own -->
# <!-- board
# $R^2$ between a factor and the mean of $q(z_j \mid x)$, on test images
# -->
#
# Now the table: which share of a factor's variance does each latent explain? That is the squared correlation, $R^2$,
# between the factor and the mean of $q(z_j \mid x)$, on test images.

# %%
def factors_of(data):
    return torch.stack([data.factors[f] for f in names[:3]] + [(data.labels == 3).float()], dim=1)


def explained(codes, factors):
    codes, factors = ((v - v.mean(dim=0)) / v.std(dim=0) for v in (codes, factors))
    return (factors.T @ codes / len(codes)) ** 2  # (factors, latents)


names = ["slant", "thickness", "size", "class"]
faces = hands_test.floats().to(DEVICE)
with torch.no_grad():
    codes_train = hand.posterior(hands.floats().to(DEVICE)).mean.cpu()
    codes = hand.posterior(faces).mean.cpu()
r2 = {"learnt": explained(codes, factors_of(hands_test))}

# %% board="figure" tags=["nbval-ignore-output"] alt="R squared of four factors by six latents: slant is read best from one, class from another, and most latents tell a little of several factors."
latents = [f"$z_{j}$" for j in range(1, 7)]
plots.show_tables(r2, rows=names, columns=latents)

# %% [markdown] slideshow={"slide_type": "subslide"}
# The assignment is not one to one: a factor is spread over latents, and a latent holds several factors. Yet together the
# latents determine the factors well: see a linear regression from all six, fitted on training images.

# %%
design = F.pad(codes_train, (0, 1), value=1.0)
weights = torch.linalg.lstsq(design, factors_of(hands)).solution  # (7, 4)
truth = factors_of(hands_test)
residual = truth - F.pad(codes, (0, 1), value=1.0) @ weights
together = 1 - residual.var(dim=0) / truth.var(dim=0)

# %% board="values" tags=["nbval-ignore-output"]
for name, value, row in zip(names, together, r2["learnt"]):
    print(f"{name:<10} best single latent {row.max():.2f}, all six together {value:.2f}")

# %%
print(f"together they explain over 80 % of slant and class: {bool(together[[0, 3]].min() > 0.8)}")
print(f"and over 55 % of thickness and size:                {bool(together[[1, 2]].min() > 0.55)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: One slider, several changes -->
# <!-- board
# In the notebook: move one latent at a time. Look for one that changes two things at once, and for one that turns a 3 into a 0.
# -->
#
# ### Move them yourself
#
# Each slider moves one latent of an image. Beside it stands the factor that it explains best, from the table. In the last
# picture red is what became brighter, blue what became darker. Does only this factor change? Look for a slider that changes two things
# at once, and for one that turns a 3 into a 0.

# %% board="figure" tags=["nbval-ignore-output"] alt="Still picture of the explorer of factors: a 3, its code decoded, the edited code decoded, and the change in orange and blue."
explorer = explorers.factor_explorer(hand, faces[:40], r2["learnt"], names)
explorer.latents[0].value += 2.0  # a first edit; controls can be set from code, too
explorer

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A diagonal prior does not disentangle
#
# <!-- minutes: 10 -->
# <!-- slide: Rename the codes: $z' = Rz$ -->
# <!-- board
# A prior with independent entries, it is said, makes latents independent causes. Take any rotation $R$.
# -->
# <!-- question: Codes $z' = Rz$, decoder $p(x \mid R^{\top} z')$. Can the likelihood tell this model from the old one? -->
# <!-- answer: No. $\mathcal N(0, I)$ is round, so $z'$ has the same prior; the decoder makes the same images; $p(x)$ is the same. -->
#
# It is often said that a prior with independent entries makes latents independent *causes*. It cannot, and the proof
# is short. Take any rotation $R$, and rename codes $z' = Rz$.
#
# - $\mathcal N(0, I)$ is round: $z'$ has the same prior as $z$.
# - The decoder $p(x \mid R^{\top} z')$ makes the same images. So $p(x)$ is the same function, and prior and likelihood
#   cannot prefer one of the two models.
# <!-- slide: Only the family of $q$ has a preference -->
# <!-- board
# The rotated $q$ gives the same ELBO, but is no longer diagonal. With the nearest diagonal one, the ELBO falls by
#
# | | nats |
# | --- | --- |
# | 16 latents, random rotations | 1.63, 1.61, 1.53 |
# | 6 latents, random rotations | 0.02, 0.01, $-0.02$, $-0.08$ |
# | 6 latents, rotated with labels | $-0.06$ |
# -->
# - Rotate $q$ as well, and KL, reconstruction and ELBO are the same for every image. But the rotated $q$ is no longer
#   *diagonal*, and our encoder only makes diagonal ones. The ELBO of the best diagonal $q$ may differ.
#
# We measure both, for random rotations and for one that uses the labels: its first axes follow the regression
# weights of slant, thickness, size and class, in this order, each made orthogonal to those before.

# %%
def rotation(columns, size=6):
    """An orthogonal matrix whose rows follow the columns, each made orthogonal to those before."""
    return torch.linalg.qr(torch.cat([columns, torch.randn(size, size)], dim=1)).Q[:, :size].T.to(DEVICE)


@torch.no_grad()
def rotated_elbo(model, images, turn, noise, diagonal):
    """(B,): of the model with codes R z, with the rotated q or with the nearest diagonal one."""
    q = model.posterior(images).base_dist
    mean, root = q.mean @ turn.T, turn * q.stddev[:, None]  # (B, D), (B, D, D)
    if diagonal:  # the smallest KL(diagonal || rotated q) has the precisions of q, and no correlations
        root = torch.diag_embed(torch.linalg.inv(root @ root.mT).diagonal(dim1=1, dim2=2).rsqrt())
    z = mean + (root @ noise[..., None])[..., 0]
    prior = MultivariateNormal(torch.zeros_like(mean), torch.eye(len(turn), device=DEVICE))
    with torch.random.fork_rng():  # the same noise on grey levels in each call
        reconstruction = model.log_likelihood(images, z @ turn).mean(dim=0)  # the decoder turns back first
    return reconstruction - kl_divergence(MultivariateNormal(mean, root @ root.mT), prior)


def cost(model, images, turns):
    """What each rotation costs of the mean ELBO, in nats, if q has to be diagonal."""
    noise, no_turn = torch.randn(20, len(images), model.latent_dim, device=DEVICE), torch.eye(model.latent_dim).to(DEVICE)
    plain_elbo = rotated_elbo(model, images, no_turn, noise, diagonal=True)
    turned = rotated_elbo(model, images, turns[0], noise, diagonal=False)
    assert torch.allclose(turned, plain_elbo, rtol=1e-4, atol=0.05)  # with the rotated q, the same for each image
    return [(plain_elbo - rotated_elbo(model, images, turn, noise, True)).mean().item() for turn in turns]


# %%
turns_16 = [rotation(torch.randn(16, 0), 16) for _ in range(3)]
turns = [rotation(weights[:6])] + [rotation(torch.randn(6, 0)) for _ in range(4)]
costs_16, costs = cost(wide, x, turns_16), cost(hand, faces[:300], turns)
print("with the rotated q, both models have the same ELBO as before for each of 300 images")

# %% tags=["nbval-ignore-output"]
print("with a diagonal q, 300 black-and-white digits, 16 latents: the ELBO falls by "
      + " ".join(f"{value:.2f}" for value in costs_16) + " nats")
print("zeros and threes, 6 latents: by " + " ".join(f"{value:.2f}" for value in costs[1:])
      + f" nats, rotated with labels by {costs[0]:.2f}")

# %%
if DATASET == "digits":
    print(f"16 latents: each random rotation costs over 0.8 nats:  {min(costs_16) > 0.8}")
print(f"6 latents: the one with labels costs less than 0.3:    {costs[0] < 0.3}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# So the family of $q$ can prefer an orientation where prior and likelihood cannot. This is the bias that makes a VAE's
# latents look like principal components locally (Rolinek et al., 2019). How large it is follows from $q$ alone. Were the
# rotated $q$ the exact posterior, the ELBO would fall by its KL to the nearest diagonal one,
# $\frac12 \sum_j \log \Lambda_{jj} \sigma_j^2$, with $\Lambda$ the precision after the rotation and $\sigma_j$ the standard
# deviations before it. It is zero if all $\sigma_j$ are the same: then the ELBO has no preference. In the model of 16
# latents some are dead, with $\sigma_j = 1$, and the others are not. In the one of 6 all are in use, and it is smaller.

# %%
def by_formula(model, images, turn):
    with torch.no_grad():
        variance = model.posterior(images).base_dist.variance
    precision = ((turn**2) @ (1 / variance)[..., None])[..., 0]  # the diagonal of Lambda, (B, D)
    return 0.5 * (precision.log() + variance.log()).sum(dim=1).mean().item()


ratio = [by_formula(wide, x, turn) / paid for turn, paid in zip(turns_16, costs_16)]
if DATASET == "digits":
    print(f"16 latents: within 50 % of what was measured:  {all(2 / 3 < value < 1.5 for value in ratio)}")
apart = [by_formula(hand, faces[:300], turn) - paid for turn, paid in zip(turns[1:], costs[1:])]
print(f"6 latents: within 0.25 nats of it:             {all(abs(value) < 0.25 for value in apart)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: The ELBO does not lead to the factors -->
# <!-- board
# Rotated with labels, the latents hold the factors far better, for next to no loss of the ELBO.
# -->
#
# Are the preferred axes the factors? Here are the tables of three models.

# %%
for name, turn in (("random rotation", turns[1]), ("rotated with labels", turns[0])):
    r2[name] = explained(codes @ turn.cpu().T, factors_of(hands_test))

# %% board="figure values" tags=["nbval-ignore-output"] alt="R squared of four factors by six latents, learnt, after a random rotation, and rotated with labels. Only in the last does each factor have one latent of its own."
plots.show_tables(r2, rows=names, columns=latents)
tidy = {name: table.amax(dim=1).mean().item() for name, table in r2.items()}
for name, table in r2.items():
    print(f"{name:<20} best for slant {table[0].max():.2f}, average over factors {tidy[name]:.2f}")

# %%
best = r2["rotated with labels"][0, 0].item()
lift = tidy["rotated with labels"] - max(tidy["learnt"], tidy["random rotation"])
print(f"rotated with labels, one latent holds over 80 % of slant:    {best > 0.8}")
print(f"and the best latents hold more than in the others, by 0.1:   {lift > 0.1}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# No. To rotate with labels costs little of the ELBO, and the latents hold the factors far better. So the ELBO does not
# lead to the factors. That takes labels, or a bias of the networks that happens to fit (Locatello et al., 2019).

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Editing
#
# <!-- minutes: 7 -->
# <!-- slide: Encode, move the code, decode -->
# <!-- board
# Moved from $-2$ to 2, the one latent for slant turns 200 digits by 18.4 degrees, the direction of the regression by 25.1.
# -->
#
# Encode an image, move its code, decode. The first row moves the single latent that explains most of slant. The
# second moves along the direction that the regression found for slant, the first axis of the model rotated with labels. The
# others do the same for thickness and class.

# %% board="figure" name="edits" alt="One image edited along four axes: one latent changes slant with other things, three directions change slant, thickness, and the digit from 0 to 3."
moves = torch.linspace(-2.5, 2.5, 11, device=DEVICE)
axes = {"one latent: slant": torch.eye(6)[r2["learnt"][0].argmax()]}
directions = F.normalize(weights[:6], dim=0).T  # (factors, latents)
axes |= {f"direction: {names[i]}": directions[i] for i in (0, 1, 3)}


@torch.no_grad()
def edit(code, axis, move):
    axis = axis.to(DEVICE)
    return hand.decode(code + (move - code @ axis)[:, None] * axis)  # its coordinate becomes `move`


with torch.no_grad():
    start = hand.posterior(faces[hands_test.labels == 3][:1]).mean
plots.show_rows({name: edit(start, axis, moves) for name, axis in axes.items()}, size=0.75)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Does the slant really change? It can be measured without any network: treat ink as mass. The slant is the
# angle whose tangent is minus the covariance of row and column, divided by the variance of the row.

# %%
def slant_of(images):
    mass = images[:, 0].cpu() / images[:, 0].cpu().sum(dim=(1, 2), keepdim=True)
    place = torch.arange(28.0) - 13.5
    row = place[:, None] - (mass.sum(dim=2) @ place)[:, None, None]  # from the centre of mass
    column = place - (mass.sum(dim=1) @ place)[:, None, None]
    shear = (mass * row * column).sum(dim=(1, 2)) / (mass * row**2).sum(dim=(1, 2))
    return -torch.rad2deg(shear.atan())


agreement = torch.corrcoef(torch.stack([slant_of(faces), truth[:, 0]]))[0, 1].item()
print(f"the instrument agrees with the true slant, correlation above 0.9: {agreement > 0.9}")

# %%
with torch.no_grad():
    codes_200 = hand.posterior(faces[:200]).mean
turned = {}
for name in ("one latent: slant", "direction: slant"):
    at = [slant_of(edit(codes_200, axes[name], moves[j].expand(200))).mean().item() for j in (1, 9)]
    turned[name] = abs(at[1] - at[0])

# %% tags=["nbval-ignore-output"]
for name, degrees in turned.items():
    print(f"{name:<17} moved from -2 to 2, turns 200 digits by {degrees:.1f} degrees on average")

# %%
print(f"one latent turns them by more than 12 degrees: {turned['one latent: slant'] > 12}")
print(f"the direction by more than 20 degrees:         {turned['direction: slant'] > 20}")

# %% [markdown]
# <!-- slide: Given the label, the code is left with style -->
# <!-- board
# **Class-conditional VAE**: encoder and decoder see the label $y$, and all holds for $p(x \mid y)$ (Kingma et al., 2014b).
# -->

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Class-conditional VAE
#
# Give the label $y$ to encoder and decoder, and everything above holds for $p(x \mid y)$ (Kingma et al., 2014b). The
# code no longer has to carry the class, and is left with style. Each row below is one code, each column one label.

# %% board="figure" alt="Four codes, each decoded with the ten labels: along a row the digit changes and the style stays."
labelled = VAE(train.shape, latent_dim=8, n_classes=train.n_classes).to(DEVICE)
fit(labelled, train, epochs=EPOCHS, batch_size=128, learning_rate=1e-2)
n = train.n_classes
y = torch.arange(n, device=DEVICE)
styles = labelled.prior().sample((4, 1)).expand(4, n, 8)
plots.show_rows({f"code {i}": labelled.decode(z, y=y) for i, z in enumerate(styles, start=1)})

# %%
y = test.labels[: len(x)].to(DEVICE)
right, wrong = (importance_bound(labelled, x, k=100, y=labels) for labels in (y, (y + 1) % n))
better = (right > wrong).float().mean().item()
print(f"the true label explains more than 90 % of images better than a wrong one: {better > 0.9}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What more training gives
#
# <!-- minutes: 12 -->
#
# The VAEs above trained for seconds, on 64 pixels. The course comes with a pretrained one that had minutes of a fast
# GPU. It learnt MNIST: 28 by 28 pixels, each black or white. Loading it needs no network. Its card says what it cost, and
# `about.command` how to train it again.

# %%
from genlib import pretrained

mnist_vae, about = pretrained.load("vae-mnist").to(DEVICE), pretrained.card("vae-mnist")
print(about.training)
print(f"{mnist_vae.latent_dim} latents, {about.parameters:,} parameters in {about.size / 1e6:.1f} MB")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: MNIST, trained for 2.9 minutes on a fast GPU -->
# <!-- board
# 50 latents, 425,284 parameters. More training does not remove the blur.
# -->
#
# Its means and its draws, and below them draws of the GatedPixelCNN of lesson {{pixelcnn}}, which is pretrained too, on the same
# images. (MNIST itself does not come with the course.)

# %% board="figure" alt="Ten MNIST samples each: VAE means are smooth, VAE draws have broken edges, PixelCNN draws have clean strokes."
with torch.random.fork_rng():  # the same codes
    drawn = mnist_vae.sample(300)
means, by_pixel = mnist_vae.sample(300, mean=True), pretrained.load("gated_pixelcnn-mnist").to(DEVICE).sample(40)
plots.show_rows({"VAE, mean": means[:10], "VAE, draw": drawn[:10], "PixelCNN, draw": by_pixel[:10]})

# %%
print(f"means have at least 25 % less detail than PixelCNN's draws: {detail(means) < 0.75 * detail(by_pixel)}")
print(f"draws have at least 10 % more:                              {detail(drawn) > 1.1 * detail(by_pixel)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Still a bound, and still behind the PixelCNN -->
# <!-- board
# $-\log p(x)$ over all test images. A bound from more codes is tighter:
# -->
# <!-- question: Which of the lines below is the VAE's likelihood? -->
# <!-- answer: None: each is a bound, and the one from most codes is the closest. -->
#
# The blur is still there, and more training does not remove it. Codes that are near each other share their decoder's answer, and
# given the code the pixels are still drawn one by one. What more codes improve is the bound. From the card, over all test
# images:

# %% board="values"
alone, exact = about.metrics["independent_pixels"], pretrained.card("gated_pixelcnn-mnist").metrics["nats"]
for name, k in (("elbo", 1), ("bound_50", 50), ("bound_5000", 5000)):
    print(f"VAE, k = {k:<11} at most {about.metrics[name]} nats an image")
print("VAE of Burda et al.  at most 86.76 (their table 1, k = 5000)")
print(f"GatedPixelCNN        exactly {exact}")
print(f"independent pixels   exactly {alone}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Digits from another source, and their copies -->
# <!-- board
# Simulated handwriting, never seen in training.
# -->
# <!-- question: The 7 has a bar. What does the decoder make of that code? -->
# <!-- answer: Something like a 2: the codes have no place for a bar. -->
#
# ### Reconstruction and interpolation
#
# Now digits from another source. `strokes` simulates handwriting: no person wrote these, and the model has seen none of them.
# Below each stands its copy, the mean for its likeliest code.

# %% board="figure" alt="Ten drawn digits and their copies by the VAE: smoother, and the 7 comes back as a kind of 2."
pictures = binarise(strokes(10, seed=1, labels=torch.arange(10))).floats().to(DEVICE)
copies = mnist_vae.reconstruct(pictures)
plots.show_rows({"drawn": pictures, "copy": copies})
print(f"the copies have less than 80 % of the detail: {detail(copies) < 0.8 * detail(pictures)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Straight lines between codes -->
# <!-- question: On the straight line from the code of a 1 to that of a 4: what stands half-way? -->
# <!-- answer: A blend, and not always a digit. -->
# <!-- board
# The decoder answers for every code, whether an image lies there or not.
# -->
#
# Smoother, and for the most part right. The 7 has a bar, and comes back as something like a 2: the codes have no place for it.
# Next, straight lines between codes, from one digit to the third after it:

# %% board="figure" alt="Three walks of eleven steps between two digits: 1 to 4, 4 to 7 and 6 to 9, the stroke bending on the way."
with torch.no_grad():
    codes, t = mnist_vae.posterior(pictures).mean, torch.linspace(0, 1, 11, device=DEVICE)[:, None]
    paths = {f"{i} to {i + 3}": mnist_vae.decode(torch.lerp(codes[i], codes[i + 3], t)) for i in (1, 4, 6)}
plots.show_rows(paths)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Half-way stands a blend, and not always a digit. The decoder answers for every code, whether an image lies there or not.

# %% [markdown]
# <!-- slide: Recap -->
# <!-- board
# 1. $\log p(x) - \text{ELBO} = KL(q(z \mid x) \,\|\, p(z \mid x))$, for any $q$.
# 2. $z = \mu + \sigma \varepsilon$ lets the gradient move inside the average.
# 3. $L_k$ rises from the ELBO towards $\log p(x)$.
# 4. A latent that saves less than its KL costs is best dead.
# 5. $z' = Rz$ leaves the prior and $p(x)$ as they were: the likelihood prefers no axes.
# -->

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What a VAE is good for, and what it is not
#
# | good for | shown under |
# | --- | --- |
# | a principled model: one objective, a bound on the likelihood | *A bound, in four steps* |
# | a bound whose gap can be measured, and closed with more codes | *How far below the truth?* |
# | fast draws: one pass, whatever the number of pixels | *Why samples blur* |
# | inference: $q(z \mid x)$ says which codes fit an image | *A bound, in four steps*, *Latent maps* |
# | an ordered latent space, editable along directions | *Latent maps*, *Editing* |
#
# | not for | shown under |
# | --- | --- |
# | an exact likelihood: only a bound, where PixelCNN has the number | *How far below the truth?* |
# | sharp images: means blur, draws are noisy | *Why samples blur* |
# | codes that follow the prior exactly: draws are worse than reconstructions | *Sampling* |
# | the best draws for the effort: an autoencoder with a fitted mixture is ahead, with no likelihood | *Sampling* |
# | latents with a meaning of their own | *A diagonal prior does not disentangle* |
# | decoders that can do without codes, or a heavy KL: latents die | *Posterior collapse*, *A decoder that needs no code* |
#
# Limits of this page: images are tiny and the networks have one hidden layer. Better decoders and richer posteriors
# move every number here. They do not change the bound, the rotation, or the averages.

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - Kingma, Welling (2014), *Auto-Encoding Variational Bayes*, arXiv:1312.6114.
# - Rezende, Mohamed, Wierstra (2014), *Stochastic Backpropagation and Approximate Inference in Deep Generative
#   Models*, arXiv:1401.4082.
# - Kingma, Rezende, Mohamed, Welling (2014b), *Semi-supervised Learning with Deep Generative Models*,
#   arXiv:1406.5298: labels.
# - Burda, Grosse, Salakhutdinov (2016), *Importance Weighted Autoencoders*, arXiv:1509.00519.
# - Salimans, Karpathy, Chen, Kingma (2017), *PixelCNN++*, arXiv:1701.05517: the discretised logistic.
# - Cremer, Li, Duvenaud (2018), *Inference Suboptimality in Variational Autoencoders*, arXiv:1801.03558: amortisation.
# - Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio (2016), *Generating Sentences from a Continuous Space*,
#   arXiv:1511.06349: posterior collapse under a strong decoder.
# - Hoffman, Johnson (2016), *ELBO surgery: yet another way to carve up the variational evidence lower bound*, NIPS
#   workshop on advances in approximate Bayesian inference.
# - Tomczak, Welling (2018), *VAE with a VampPrior*, arXiv:1705.07120.
# - Ghosh, Sajjadi, Vergari, Black, Schölkopf (2020), *From Variational to Deterministic Autoencoders*, ICLR,
#   arXiv:1903.12436: ex-post density estimation.
# - Rolinek, Zietlow, Martius (2019), *Variational Autoencoders Pursue PCA Directions (by Accident)*, arXiv:1812.06775.
# - Higgins et al. (2017), *beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework*, ICLR.
# - Locatello et al. (2019), *Challenging Common Assumptions in the Unsupervised Learning of Disentangled
#   Representations*, arXiv:1811.12359.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build a VAE yourself, step by step and with each step checked: [the
# exercises]({{vae}}_vae_exercises.ipynb). {{after}}
