# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Diffusion models
#
# <!-- board -->
# **What if every step is easy?**
#
# A GAN maps noise to an image in one pass, and in training no noise has an image that it should become. A diffusion model takes
# many small steps instead. First we destroy an image, a little noise at a time, in a way that we know exactly. Then a network
# learns to take each step back. To undo one small step is a regression, a well-understood problem.
#
# The idea is of Sohl-Dickstein et al. (2015), the recipe that works of Ho et al. (2020). This lesson asks of each part what
# most pictures hide: what is the best that *any* network could do? On data that we know, Bayes' rule gives the answer, and
# the trained network stands beside it.
#
# <!-- slide: Where this ends -->
# <!-- board
# Noise becomes points on a ring. Each small step draws from a Gaussian whose mean comes from a network.
# -->
# <!-- figure: on_the_way -->
# <!-- slide: Today -->
# <!-- agenda -->

# %% slideshow={"slide_type": "skip"}
import math

import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from course import explorers, figures
from genlib import plots
from genlib.autoregressive import PixelCNN
from genlib.data import EightGaussians, independent_pixels, load
from genlib.diffusion import (
    CosineSchedule, Diffusion, LinearSchedule, ProbabilityFlow, draw, ideal_denoiser, posterior_of_a_step,
)
from genlib.metrics import format_table, frechet_distance, train_classifier
from genlib.networks import TimeMLP, UNet
from genlib.training import fit
from genlib.variational import VAE

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Noise in closed form
#
# <!-- minutes: 8 -->
# <!-- slide: An image, and ever more noise -->
# <!-- board
# $$x_t = \alpha_t\, x + \sigma_t\, \epsilon, \qquad \epsilon \sim N(0, I), \qquad \alpha_t^2 + \sigma_t^2 = 1$$
#
# **Log signal-to-noise ratio** $\lambda_t = \log(\alpha_t^2 / \sigma_t^2)$: from 6.5 down to $-6$.
# -->
# Let $x$ be an image, in $[-1, 1]$. At time $t$ between 0 and 1 a part of it is left, and the rest is Gaussian noise:
#
# $$x_t = \alpha_t\, x + \sigma_t\, \epsilon, \qquad \epsilon \sim N(0, I), \qquad \alpha_t^2 + \sigma_t^2 = 1.$$
#
# At $t = 0$ hardly any noise has come, at $t = 1$ hardly any image is left. All that matters is their ratio. Its logarithm
# $\lambda_t = \log(\alpha_t^2 / \sigma_t^2)$, the **log signal-to-noise ratio**, falls from 6.5 to $-6$ here. How it falls is the
# **schedule**; ours is a cosine (Nichol & Dhariwal, 2021).

# %% board="figure" alt="Three digits at nine times from 0 to 1: clear at the left, noise alone at the right."
train, test = load("digits"), load("digits", "test")
x = 2 * train.floats() - 1
schedule = CosineSchedule()
t = torch.linspace(0, 1, 9)
noise = torch.randn(3, 1, *train.shape)
alpha, sigma = (f(t)[:, None, None, None] for f in (schedule.alpha, schedule.sigma))
plots.show_rows({f"image {i}": (alpha * x[i] + sigma * noise[i] + 1) / 2 for i in range(3)}, size=0.9)
print("t        ", *(f"{value:6.2f}" for value in t.tolist()))
print("alpha    ", *(f"{value:6.2f}" for value in alpha.flatten().tolist()))
print("log SNR  ", *(f"{value:6.2f}" for value in schedule.log_snr(t).tolist()))

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: From one time to a later one -->
# <!-- board
# From $s$ to a later $t$: shrink by $\alpha_{t|s} = \alpha_t / \alpha_s$, add noise of variance
# $\sigma_{t|s}^2 = \sigma_t^2 - \alpha_{t|s}^2 \sigma_s^2$.
# -->
# <!-- question: Ten such steps, or one from 0 to 1: which mean and variance do they end with? -->
# <!-- answer: The same: the factors $\alpha_t / \alpha_s$ multiply up, and each step adds the variance that is missing. -->
#
# Why is this a chain of steps? Because small steps add up to a large one. Go from time $s$ to a later time $t$: shrink by
# $\alpha_{t|s} = \alpha_t / \alpha_s$, add noise of variance $\sigma_{t|s}^2 = \sigma_t^2 - \alpha_{t|s}^2 \sigma_s^2$. Over ten such
# steps the factors multiply up to that of one, each step adds exactly the variance that is missing, and a sum of Gaussians is Gaussian. So
# ten steps give the same distribution as one, and training computes $x_t$ for any $t$ directly.

# %%
times = torch.linspace(0, 1, 11)
mean, variance = schedule.alpha(times[0]), schedule.sigma(times[0]) ** 2  # of x_0 given x = 1
for s, t in zip(times[:-1], times[1:]):
    ratio = schedule.alpha(t) / schedule.alpha(s)
    mean, variance = ratio * mean, ratio**2 * variance + schedule.sigma(t) ** 2 - ratio**2 * schedule.sigma(s) ** 2
print(f"ten steps: mean {mean:.4f}, variance {variance:.4f}")
print(f"one step:  mean {schedule.alpha(times[-1]):.4f}, variance {schedule.sigma(times[-1]) ** 2:.4f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## One step back, by Bayes' rule
#
# <!-- minutes: 9 -->
# <!-- slide: One step back, if the image were known -->
# <!-- board
# $$q(x_s \mid x_t, x) \propto q(x_t \mid x_s)\; q(x_s \mid x)$$
#
# Two Gaussians in $x_s$, so the product is Gaussian:
# -->
#
# If we knew the image $x$, we could undo a step exactly. Both factors of
#
# $$q(x_s \mid x_t, x) \propto q(x_t \mid x_s)\; q(x_s \mid x)$$
#
# are Gaussians in $x_s$, so the product is one too:
#
# <!-- board -->
# $$\text{mean} = \frac{\alpha_{t|s}\, \sigma_s^2}{\sigma_t^2}\, x_t + \frac{\alpha_s\, \sigma_{t|s}^2}{\sigma_t^2}\, x,
# \qquad \text{variance} = \frac{\sigma_{t|s}^2\, \sigma_s^2}{\sigma_t^2}.$$
#
# We check it against Bayes' rule on a fine grid.

# %%
s, t = torch.tensor([0.4]).double(), torch.tensor([0.5]).double()
clean, seen = torch.tensor([[1.0]]).double(), torch.tensor([[0.1]]).double()
grid = torch.linspace(-6, 6, 120_001).double()
ratio = schedule.alpha(t) / schedule.alpha(s)
step = Normal(ratio * grid, (schedule.sigma(t) ** 2 - ratio**2 * schedule.sigma(s) ** 2).sqrt())
log_p = step.log_prob(seen[0]) + Normal(schedule.alpha(s) * clean[0], schedule.sigma(s)).log_prob(grid)
weights = log_p.softmax(dim=0)
by_grid = (weights * grid).sum(), ((weights * grid**2).sum() - (weights * grid).sum() ** 2).sqrt()
mean, std = posterior_of_a_step(schedule, seen, clean, t=t, s=s)
print(f"by the grid:    mean {by_grid[0]:.5f}, standard deviation {by_grid[1]:.5f}")
print(f"by the formula: mean {mean.item():.5f}, standard deviation {std.item():.5f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Without the image -->
# <!-- board
# The smallest world: two images, $-1$ and $1$. What is $q(x_s \mid x_t)$, averaged over both?
# -->
# <!-- question: How many peaks after a long step back, how many after a short one? -->
# <!-- answer: Two after a long one. After a short one it is nearly Gaussian. -->
# <!-- slide: Short enough steps are nearly Gaussian -->
# ### Without the image
#
# We do not know $x$; to draw it is the task. What we may use is $q(x_s \mid x_t)$, an average over all images that could have led to
# $x_t$. Take the smallest world, two images: the numbers $-1$ and $1$, equally probable. Here we can compute the average.
# After a long step it has two peaks, and no Gaussian fits. After a short step it has one, and a Gaussian fits well. The reason
# holds for other data too. In $q(x_s \mid x_t) \propto q(x_t \mid x_s)\, p(x_s)$ the first factor of a short step is so narrow that the
# logarithm of the second is nearly a straight line within it. So a chain of many **short steps** can get by with Gaussians.

# %% board="figure values" alt="Two panels. Left, a long step back: the exact density has two peaks, the Gaussian one wide one. Right, a short step: both curves agree."
two = torch.tensor([[-1.0], [1.0]]).double()
line = torch.linspace(-5, 5, 2001).double()


def step_back(s, t, seen):
    """The density of q(x_s | x_t) on the line, and the Gaussian of the same mean and variance."""
    s, t, seen = (torch.tensor([value]).double() for value in (s, t, seen))
    believed = Normal(schedule.alpha(t) * two[:, 0], schedule.sigma(t)).log_prob(seen).softmax(dim=0)
    mean, std = posterior_of_a_step(schedule, seen.expand(2)[:, None], two, t=t.expand(2), s=s.expand(2))
    exact = (believed[:, None] * Normal(mean, std).log_prob(line).exp()).sum(dim=0)
    middle = (believed * mean[:, 0]).sum()
    spread = ((believed * (mean[:, 0] ** 2 + std[:, 0] ** 2)).sum() - middle**2).sqrt()
    return exact, Normal(middle, spread).log_prob(line).exp()


long, short = step_back(0.1, 0.6, 0.1), step_back(0.58, 0.6, 0.1)
figures.show_panels(
    {"from t = 0.6 to 0.1": dict(zip(("exact", "Gaussian"), long)),
     "from t = 0.6 to 0.58": dict(zip(("exact", "Gaussian"), short))},
    x=line, xlabel="$x_s$", ylabel="density", dashed=["Gaussian"],
    labels={"exact": (1.1, 0.5), "Gaussian": (-1.9, 0.3)},
)
apart = [(a - b).abs().sum() / 2 * (line[1] - line[0]) for a, b in (long, short)]
print(f"total variation between the two: long step {apart[0]:.2f}, short step {apart[1]:.3f}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The mean is a denoiser
#
# <!-- minutes: 10 -->
# <!-- slide: The mean is a denoiser -->
# <!-- board
# The mean of $q(x_s \mid x_t)$ needs one unknown thing:
# -->
#
# The mean of $q(x_s \mid x_t)$ is the formula above, for steps of any length, with
#
# <!-- board -->
# $$\hat x(x_t) = \mathbb{E}[x \mid x_t]$$
#
# in place of $x$. Its variance is larger than the formula's by $(\alpha_s \sigma_{t|s}^2 / \sigma_t^2)^2\, \text{Var}(x \mid x_t)$, which in
# a short step is negligible. So all that is missing is this mean, the **denoiser**: given a noisy image, the average of all clean ones that it may be. Averages are what
# least squares finds. Of all functions $f$, the mean $\mathbb{E}[x \mid x_t]$ makes $\mathbb{E}\,\|x - f(x_t)\|^2$ the smallest. So
# we draw an image and a time, add noise, and let a network guess the image: a regression.
#
# <!-- board
# **Denoiser**: the average of all clean images that $x_t$ may be.
# -->
# <!-- question: Which loss finds an average? -->
# <!-- answer: Least squares: $\mathbb{E}\,\|x - f(x_t)\|^2$ is smallest at $f(x_t) = \mathbb{E}[x \mid x_t]$. -->
# <!-- slide: The denoiser gives the score -->
# ### The score
#
# **Tweedie's formula** (Robbins, 1956; for networks that remove noise Vincent, 2011) says that the denoiser knows where the density
# rises:
#
# <!-- board -->
# $$\nabla \log p_t(x_t) = \frac{\alpha_t\, \mathbb{E}[x \mid x_t] - x_t}{\sigma_t^2}.$$
#
# The left side, the **score**, is the gradient of the log-density of noisy data. To see why, differentiate $p_t(x_t) =
# \sum_i p(x_i)\, N(x_t; \alpha_t x_i, \sigma_t^2)$: each term brings down $(\alpha_t x_i - x_t) / \sigma_t^2$, and dividing by
# $p_t$ turns the weights into $p(x_i \mid x_t)$. For our two numbers we let autograd differentiate the density, and
# compare.

# %%
places = torch.linspace(-3, 3, 7).double().requires_grad_()
largest = 0.0
for value in (0.05, 0.3, 0.6, 0.95):
    t = torch.tensor([value]).double()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    noisy = MixtureSameFamily(Categorical(torch.ones(2).double()), Normal(alpha * two[:, 0], sigma.expand(2)))
    (by_autograd,) = torch.autograd.grad(noisy.log_prob(places).sum(), places)
    x_t = places.detach()[:, None]
    clean = ideal_denoiser(x_t, alpha=alpha.expand(7), sigma=sigma.expand(7), data=two)
    largest = max(largest, (by_autograd - ((alpha * clean - x_t) / sigma**2)[:, 0]).abs().max().item())
print(f"largest difference at 28 places and times: below 1e-9: {largest < 1e-9}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# **Tweedie's formula**; the left side is the **score** of noisy data.
# -->
# <!-- question: At $x_t$ the denoiser says $x_t / \alpha_t$. What is the score there? -->
# <!-- answer: Zero: a place where the density neither rises nor falls. -->
# <!-- slide: Predict $x$, $\epsilon$ or $v$ -->
# <!-- board
# - the image $x$
# - the noise $\epsilon = (x_t - \alpha_t x) / \sigma_t$
# - $v = \alpha_t \epsilon - \sigma_t x$ (Salimans & Ho, 2022), as in `genlib`
#
# Near $t = 1$ the way from $\epsilon$ to $x$ divides by a small $\alpha_t$, near $t = 0$ that from $x$ to $\epsilon$ by a small $\sigma_t$.
# -->
# ### What the network predicts
#
# A network may return the image $x$, the noise $\epsilon$, or $v = \alpha_t \epsilon - \sigma_t x$ (Salimans & Ho, 2022). As $x_t$ is
# known, each gives the others: $x = \alpha_t x_t - \sigma_t v$, and $x = (x_t - \sigma_t \epsilon) / \alpha_t$. The difference is in the
# errors. Near $t = 1$ the last formula divides by a small $\alpha_t$, and makes a small error of the noise a large one of the image. Near
# $t = 0$ the noise $(x_t - \alpha_t x) / \sigma_t$, and the score with it, does the same to an error of $x$. With $v$ neither happens, so `genlib` predicts $v$, and `denoise` returns $\mathbb{E}[x \mid x_t]$ whatever the
# network predicts.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How good could any network be?
#
# <!-- minutes: 9 -->
# <!-- slide: How good could any network be? -->
# <!-- board
# Eight Gaussians on a ring. The data are known, and so is $\mathbb{E}[x \mid x_t]$: no network has a smaller error.
# -->
# <!-- question: At which times does a network have the most to learn beyond the size of the ring? -->
# <!-- answer: Near $t = 0.2$: the noise hides the place within a mode, but seldom which mode it is. -->
# <!-- slide: Trained, ideal, and the best linear denoiser -->
# Where the data are known, so is $\mathbb{E}[x \mid x_t]$, and its error is the smallest that any network can reach. Eight
# Gaussians on a ring are such data. We train a small perceptron, and ask at each noise level for the loss of three
# denoisers on the same noisy points: the network, the ideal one, and the best *linear* one, which knows only the mean and the
# covariance of the data.

# %% board="figure" alt="Squared error of v against time for three denoisers: the network lies on the ideal one, the linear one above both, most near time 0.2."
ring = EightGaussians()
points = Diffusion((2,), network=TimeMLP((2,), depth=4)).to(DEVICE)


def train_on(model, batch, updates, learning_rate):
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    falls = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, updates)
    for _ in range(updates):
        loss = model.loss(*batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falls.step()
    return model.eval()


train_on(points, lambda: (ring.sample(256).to(DEVICE),), 1200, 1e-2)


def errors(model, x, best, times, fit_on, size=4000):
    """Of v, at each time: the network's, the ideal denoiser's and the best linear one's; equal noise for all."""
    rows, mean, cov = [], fit_on.flatten(1).mean(dim=0), fit_on.flatten(1).T.cov()
    for value in times.tolist():
        x_t_of = x[torch.randint(len(x), (size,))]
        t = torch.full((size,), value, device=x.device)
        alpha, sigma = model.schedule.alpha(t[:1]), model.schedule.sigma(t[:1])
        x_t = model.noisy(x_t_of, t)
        with torch.no_grad():
            guesses = [model.denoise(x_t, t), best(x_t, alpha.expand(size), sigma.expand(size))]
        gain = alpha * cov @ torch.linalg.inv(alpha**2 * cov + sigma**2 * torch.eye(len(cov), device=x.device))
        guesses.append((mean + (x_t.flatten(1) - alpha * mean) @ gain.T).view_as(x_t))
        rows.append([((x_t_of - g).square().mean() / sigma**2).item() for g in guesses])
    return torch.tensor(rows).T


times = torch.linspace(0.02, 0.98, 13)
x_ring = ring.sample(20_000).to(DEVICE)
network, ideal, linear = errors(
    points, x_ring, lambda x_t, a, s: ideal_denoiser(x_t, alpha=a, sigma=s, data=ring.means, std=ring.std),
    times, fit_on=x_ring,
)
plots.show_curves({"linear": linear, "network": network, "ideal": ideal}, x=times, xlabel="time t",
                  ylabel="squared error of v")
print(f"at no time is the network below the ideal one by 2 %:  {bool((network > 0.98 * ideal).all())}")
print(f"over all times it is within 10 % of it:                {bool(network.mean() < 1.1 * ideal.mean())}")
print(f"the best linear denoiser is above it by at least 15 %: {bool(linear.mean() > 1.15 * ideal.mean())}")
widest = times[(linear - ideal).argmax()]
print(f"their gap is widest at a time between 0.12 and 0.3:    {bool(0.12 < widest < 0.3)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The gap between the linear denoiser and the other two is what the network has learnt about the ring beyond its
# size. With hardly any noise, and with hardly anything but noise, all three nearly agree. The gap is widest near $t = 0.2$, where the
# noise has a standard deviation of about 0.3. That hides where in its mode a point lay, for a mode has a standard deviation of 0.2. It seldom
# hides which mode it was, for two modes are 1.5 apart.
#
# To draw, each step moves toward the denoised point, and adds a little noise. Here are 2000 points on their way.

# %% name="on_the_way" alt="Four panels at times 1, 0.6, 0.3 and 0: a cloud of points becomes eight groups on a ring."
at, places = torch.randn(2000, 2, device=DEVICE), (1.0, 0.6, 0.3, 0.0)
moments = {"t = 1.0": at.cpu()}
with torch.no_grad():
    for first, last in zip(places, places[1:]):
        steps = torch.linspace(first, last, 21, device=DEVICE)[:, None].expand(-1, 2000)
        for t, s in zip(steps, steps[1:]):
            mean, std = posterior_of_a_step(points.schedule, at, points.denoise(at, t), t=t, s=s)
            at = mean + std * torch.randn_like(at)
        moments[f"t = {last:.1f}"] = at.cpu()
plots.show_points(moments, modes=ring.means, radius=3 * ring.std, limit=4)

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Digits, and what the ideal denoiser would do
#
# <!-- minutes: 10 -->
# <!-- slide: Digits, by a small U-Net -->
# <!-- board
# Full, half and a quarter of the size; every block receives the time.
# -->
# Now images. The network is a small **U-Net** (Ronneberger et al., 2015): it looks at the image at full, half and a quarter of
# the size, and every block receives the time. Schedule, $v$ and loss are as on the plane.

# %% board="figure" alt="Twenty-eight drawn digits, most of them legible."
shares = train.images.flatten().long().bincount(minlength=train.levels) / train.images.numel()
model = Diffusion(train.shape, levels=train.levels, shares=shares, network=UNet(train.shape, hidden_dim=16)).to(DEVICE)
pictures = train.floats().to(DEVICE)
train_on(model, lambda: (pictures[torch.randint(len(pictures), (64,))],), 900, 1e-2)
plots.show_images(model.sample(28, steps=50).cpu(), columns=14)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: What would a perfect network draw? -->
# <!-- board
# Data: 1437 training images, nothing else. Then the best denoiser is known in closed form.
# -->
# <!-- question: How many of 200 of its samples are copies of training images? -->
# <!-- answer: All 200. Of the network's samples: none. -->
# <!-- slide: The ideal denoiser draws nothing new -->
# ### The ideal denoiser of the training set
#
# What would a perfect network do? The loss is an average over the training images, so the best denoiser is that of
# a world in which these 1437 images are all there is. We have a formula for it. Let us draw from it, and from our network with the same
# start and the same steps, and ask of each sample how many of its 64 pixels differ from the nearest training image. Test images,
# which are new without doubt, stand beside them.

# %% board="figure" alt="Two rows of fourteen digits: of the ideal denoiser, and of the network."
everything = 2 * pictures - 1


def perfect(x_t, t):
    alpha, sigma = model.schedule.alpha(t), model.schedule.sigma(t)
    return ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=everything)


def to_levels(x):
    return (8 * x + 8).clamp(0, 16).round() / 16


def pixels_off(samples):
    """Of each sample, how many pixels differ from those of the training image that is most like it."""
    return torch.stack([(x != pictures).flatten(1).sum(dim=1).min() for x in samples])


@torch.no_grad()
def drawn_by(denoise, noise, **how):
    x_0 = draw(denoise, model.schedule, noise, **how)
    return to_levels(denoise(x_0, torch.zeros(len(x_0), device=DEVICE)))


noise = torch.randn(200, *train.shape, device=DEVICE)
copies, drawn = (drawn_by(f, noise, steps=30, sampler="ddim") for f in (perfect, model.denoise))
new = test.floats()[:200].to(DEVICE)
off = {"ideal": pixels_off(copies), "network": pixels_off(drawn), "test images": pixels_off(new)}
plots.show_rows({"ideal": copies[:14].cpu(), "network": drawn[:14].cpu()}, size=0.6)
print(f"of 200 samples of the ideal denoiser, copies of a training image: {(off['ideal'] == 0).sum()}")
print(f"of 200 samples of the network:                                    {(off['network'] == 0).sum()}")
far = off["network"].double().mean() / off["test images"].double().mean()
print(f"pixels off: the network's samples at least 0.8 times the test images': {bool(far > 0.8)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Move through time -->
# <!-- board
# In the notebook: move the time up. When does each denoiser stop knowing the image? Where do all arrows point at the end?
# -->
# ### Move through time
#
# A test image, and what the network and the ideal denoiser of the training set make of it. Without noise the ideal one answers
# with the nearest training image, not with this one. With more noise both become an average of ever more digits. At the right the
# same time on the ring: switch from the exact score to the learnt one, and see at which times they differ.

# %% board="figure" tags=["nbval-ignore-output"] alt="Still picture of the explorer of denoising at time 0.4: a test image, the noisy image, the network's and the ideal denoiser's answers, and points on the ring with arrows of the exact score."
explorers.denoising_explorer(model, test.floats()[:40], pictures, points=points, density=ring)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: On test images memory does not help -->
# <!-- board
# What is new in samples comes from what the network cannot fit.
# -->
# A network that reached the optimum would draw nothing but its training set. All that is new in the samples of a diffusion model
# comes from what the network **cannot** fit: its shape, its size, the time it had. That is not a flaw of this training set. It holds
# for every finite one. So we judge the network on test images, at times from 0.1 on: with less noise the ideal denoiser's error is too
# large for the figure.

# %% board="figure" alt="Squared error of v against time. The ideal denoiser of the training set has next to no error on training images with little noise, and the largest on test images; the network's two curves agree."
x_test = (2 * test.floats() - 1).to(DEVICE)
times = torch.linspace(0.1, 0.98, 9)


def remembers(x_t, alpha, sigma):
    return ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=everything)


curves = {}
for name, x in {"training": everything, "test": x_test}.items():
    network, ideal, linear = errors(model, x, remembers, times, fit_on=everything, size=1000)
    curves |= {f"network, {name} images": network, f"ideal of training set, {name} images": ideal}
plots.show_curves(curves | {"linear, test images": linear}, x=times, xlabel="time t", ylabel="squared error of v")
on_train, on_test = (curves[f"network, {x} images"].mean() for x in ("training", "test"))
memory = curves["ideal of training set, test images"].mean()
print(f"network: the error on test images is within 20 % of that on training images: {bool(on_test < 1.2 * on_train)}")
print(f"on test images the ideal denoiser of the training set is worse by half:      {bool(memory > 1.5 * on_test)}")
print(f"and the best linear one, fitted to the training images, by 10 %:             {bool(linear.mean() > 1.1 * on_test)}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A bound, term by term
#
# <!-- minutes: 10 -->
# <!-- slide: A VAE whose encoder is fixed -->
# A chain of Gaussian steps is a VAE with fixed encoders. Its latents are $x_1, \dots, x_0$, and the bound of
# [lesson {{vae}}]({{vae}}_vae.ipynb) splits into terms that we can compute (Kingma et al., 2021). With $T$ steps,
#
# <!-- board -->
# $$-\log p(x) \le L_1 + L_0 + \sum_{i=1}^{T} KL_i.$$
#
# $L_1 = KL(q(x_1 \mid x)\, \|\, N(0, I))$ is the **prior** term, $L_0 = \mathbb{E}[-\log p(x \mid x_0)]$ that of the **decoder**, and with $s = (i - 1) / T$ and $t = i / T$
#
# <!-- board -->
# $$KL_i = \tfrac12 \big(e^{\lambda_s} - e^{\lambda_t}\big)\, \mathbb{E}\,\|x - \hat x(x_t)\|^2.$$
#
# <!-- board
# **Prior** $L_1 = KL(q(x_1 \mid x)\, \|\, N(0, I))$, **decoder** $L_0 = \mathbb{E}[-\log p(x \mid x_0)]$.
# -->
#
# $KL_i$ is the KL between two Gaussians of equal variance: $q(x_s \mid x_t, x)$, and the model's, which has
# $\hat x$ in place of $x$. So a term of the bound **is** a denoising error with a weight. The decoder learns nothing: a pixel takes
# level $v$ with a probability proportional to $N(x_0; \alpha_0 v, \sigma_0^2)$ times the share of $v$ among all training pixels, which is Bayes'
# rule for one pixel alone.
#
# <!-- question: Which of the three terms can training lower? -->
# <!-- answer: The sum over the steps. Prior and decoder depend on the schedule and the levels alone. -->
#
# First the formula of a step, against the KL itself.

# %%
s, t = torch.tensor([0.3]), torch.tensor([0.35])
x, guess, x_t = torch.randn(3, 1, 5)
(mean, std), (mean_hat, _) = (posterior_of_a_step(schedule, x_t, z, t=t, s=s) for z in (x, guess))
kl = torch.distributions.kl_divergence(Normal(mean, std), Normal(mean_hat, std)).sum()
weight = (schedule.log_snr(s).exp() - schedule.log_snr(t).exp()) / 2
print(f"KL of a step: {kl:.4f} nats, by the formula {(weight * (x - guess).square().sum()).item():.4f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: In bits a pixel, beside a PixelCNN -->
# <!-- board
# The PixelCNN's likelihood is exact. For the diffusion a bound, with its standard error:
# -->
# Now the digits. We add up 200 steps by hand, and check that `bound` does the same. Then we set the sum, in bits for each pixel,
# beside independent pixels, a VAE with its bound and a small PixelCNN, whose likelihood is exact. All means are over the first 120 test images,
# with their standard error; that of the diffusion also contains its drawn noise.

# %%
per_bit = math.log(2) * math.prod(test.shape)
images = test.floats()[:120].to(DEVICE)


@torch.no_grad()
def costs_of_steps(model, x, steps):
    """The KL of each step, in nats, (steps, B), and the log SNR at which each step ends, (steps,)."""
    times, costs = torch.linspace(0, 1, steps + 1, device=x.device), []
    log_snr = model.schedule.log_snr(times)
    for i, t in enumerate(times[1:].unsqueeze(1).expand(-1, len(x))):
        error = (x - model.denoise(model.noisy(x, t), t)).square().flatten(1).sum(dim=1)
        costs.append((log_snr[i].exp() - log_snr[i + 1].exp()) / 2 * error)
    return torch.stack(costs), log_snr[:-1]


torch.manual_seed(1)
ends_known = model.bound(images, steps=20)
torch.manual_seed(1)
by_hand, _ = costs_of_steps(model, 2 * images - 1, 20)
print(f"by hand and by genlib the same: {torch.allclose(by_hand.sum(dim=0), ends_known['steps'], rtol=1e-4)}")
costs, log_snr = costs_of_steps(model, 2 * images - 1, 200)
terms = {name: term.cpu() / per_bit for name, term in (ends_known | {"steps": costs.sum(dim=0)}).items()}
bound = sum(terms.values())

# %%
pixelcnn = PixelCNN(train.shape, levels=train.levels, hidden_dim=16, depth=3).to(DEVICE)
fit(pixelcnn, train, epochs=20, batch_size=128, learning_rate=1e-2)
vae = VAE(train.shape, latent_dim=16, likelihood="categorical", levels=train.levels).to(DEVICE)
fit(vae, train, epochs=25, batch_size=128, learning_rate=5e-3)
with torch.no_grad():
    exact, by_vae = (-value.cpu() / per_bit for value in (pixelcnn.log_prob(images), vae.elbo(images)))
apart = -independent_pixels(train).log_prob(test.images[:120].long()).flatten(1).sum(dim=1) / per_bit

# %% board="values" tags=["nbval-ignore-output"]
others = {"VAE, bound": by_vae, "PixelCNN, exact": exact, "independent pixels": apart}
for name, term in (terms | {"diffusion, bound": bound} | others).items():
    print(f"{name:<20} {term.mean():.3f} +- {term.std() / len(term) ** 0.5:.3f} bits a pixel")

# %%
print(f"independent pixels cost at least 0.2 bits more than the bound: {bool(apart.mean() > bound.mean() + 0.2)}")
print(f"the PixelCNN costs less than independent pixels by 0.3 bits:   {bool(apart.mean() > exact.mean() + 0.3)}")
three = [value.mean() for value in (bound, by_vae, exact)]
print(f"diffusion, VAE and PixelCNN within 0.15 bits of each other:    {bool(max(three) - min(three) < 0.15)}")

# %% [markdown]
# The three models are near each other, and the diffusion has trained for several times as long as the other two. On images this
# small the likelihood is no reason to prefer it. How much of a bound is the model's loss, and how much the bound's, a bound cannot say.

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Where should the chain end? -->
# <!-- question: Stop earlier, with more noise left. Which term grows, which falls? -->
# <!-- answer: The decoder's grows: levels are guessed from a noisier image. The steps' falls. -->
# <!-- slide: Decoder and steps share the cost -->
# ### Where the chain ends
#
# At $t = 1$ an image should be forgotten, or the prior term grows. At $t = 0$ there is a choice. Stop earlier, with more noise left,
# and the decoder must guess the levels from a noisier image. Stop later, and more steps are to pay. We cut our chain at
# several ends: the steps beyond the cut fall away, and the decoder takes over from there.

# %% board="figure" alt="Bits a pixel against the log signal-to-noise ratio at time 0: the decoder falls, the steps rise, and their sum is flat from about 5 on."
cuts, parts = [0, 2, 5, 10, 18, 30, 40], {"decoder": [], "steps": []}  # so many steps fall away
for i in cuts:
    sooner = CosineSchedule(log_snr[i].item(), -6.0)
    shorter = Diffusion(train.shape, levels=17, shares=shares, network=model.network, schedule=sooner).to(DEVICE)
    parts["decoder"].append((shorter.bound(images, steps=1)["decoder"].mean() / per_bit).item())
    parts["steps"].append((costs[i:].sum(dim=0).mean() / per_bit).item())
both = [a + b for a, b in zip(*parts.values())]
plots.show_curves(parts | {"both": both}, x=log_snr[cuts].cpu(), xlabel="log SNR at time 0", ylabel="bits a pixel")
print(f"an end at log SNR 2.1 costs at least 0.2 bits more than one at 6.5: {both[-1] > both[0] + 0.2}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What schedule and weights change
#
# <!-- minutes: 6 -->
# <!-- slide: What schedule and weights change -->
# <!-- board
# `bars`: 30 images of two levels, entropy $\ln 30 = 3.40$ nats. Equal networks, equal training; one thing changes.
# -->
# <!-- question: Two levels only. At which log SNR can the chain stop? -->
# <!-- answer: As soon as the noise is too small to confuse them: 3 is enough. -->
# <!-- slide: One thing at a time -->
# Three choices have been ours so far: the shape of the schedule, its end, and the weight of the error at each time. The `bars` of
# [lesson {{taxonomy}}]({{taxonomy}}_taxonomy.ipynb) show what each of them does, since their entropy is known: no bound can be
# below $\ln 30 = 3.40$ nats. Each row changes one argument, and trains the same network for the same 400 updates. (A schedule also
# decides where the sampler and the bound take their steps, which are equally long in $t$.) After so short a training most rows cost more than uniform
# noise, $16 \ln 2 = 11.09$ nats. Read the table for what moves the bound, not for good bounds.

# %%
bars = load("bars").floats().to(DEVICE)
basic = {"schedule": CosineSchedule(6.5, -6), "weighting": "v"}
changes = {
    "cosine, 6.5, v": {}, "error of eps": {"weighting": "eps"}, "error of x": {"weighting": "x"},
    "weights of the bound": {"weighting": "elbo"}, "straight log SNR": {"schedule": LinearSchedule(6.5, -6)},
    "log SNR from 9": {"schedule": CosineSchedule(9, -6)}, "log SNR from 3": {"schedule": CosineSchedule(3, -6)},
}
nats, correct = {}, {}
for name, change in changes.items():
    torch.manual_seed(0)
    small = Diffusion((1, 4, 4), levels=2, network=TimeMLP((1, 4, 4)), **(basic | change)).to(DEVICE)
    train_on(small, lambda: (bars[torch.randint(30, (128,))],), 400, 1e-2)
    nats[name] = -small.elbo(bars.repeat(10, 1, 1, 1), steps=100).mean().item()
    drawn_bars = small.sample(1000, steps=25)
    correct[name] = (drawn_bars[:, None] == bars).flatten(2).all(dim=2).any(dim=1).double().mean().item()

# %% board="values" tags=["nbval-ignore-output"]
print(format_table({name: {"bound, nats": nats[name], "share of bars": correct[name]} for name in changes}, digits=2))
print(f"entropy of the data {math.log(30):.2f} nats, of uniform noise {16 * math.log(2):.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The **end** matters most for the bound. Two levels lie so far apart that at a log SNR of 3 the decoder reads them almost
# without error. Every step beyond can only lose: the network must know to a thousandth what a threshold would tell, and pays for each error
# with the weight $e^{\lambda}$. With 17 levels the gaps are narrower, so the chain of the digits ends later. The **shape** hardly moves the
# bound, and the samples a lot: a straight log SNR leaves less of the time to the middle.
#
# The **weights** do not change the best denoiser, which is the same for all of them. They say where a network that cannot be perfect
# tries harder. The error of $x$ weighs much noise most, the bound's weights little noise most. The weights of $v$ are best here, for the
# samples and even for the bound, in this short training.

# %%
print(f"no bound is below the entropy:                       {min(nats.values()) > math.log(30)}")
print(f"from 9 costs at least 10 nats more than from 6.5:    {nats['log SNR from 9'] > nats['cosine, 6.5, v'] + 10}")
print(f"from 3 costs at least 5 nats less:                   {nats['log SNR from 3'] < nats['cosine, 6.5, v'] - 5}")
print(f"and only that one is below uniform noise:            "
      f"{[name for name in nats if nats[name] < 16 * math.log(2)] == ['log SNR from 3']}")
basis = correct["cosine, 6.5, v"]
print(f"a straight log SNR draws fewer bars by 0.1:          {basis > correct['straight log SNR'] + 0.1}")
print(f"the weights of the bound too:                        {basis > correct['weights of the bound'] + 0.1}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Drawing: how many steps?
#
# <!-- minutes: 8 -->
# <!-- slide: Three samplers, one network -->
# Three samplers, one network.
#
# <!-- board
# 1. **DDPM**: draw $x_s$ from $q(x_s \mid x_t, \hat x)$.
# 2. **DDIM**: $x_s = \alpha_s \hat x + \sigma_s \hat\epsilon$; no new noise.
# 3. **Heun**: DDIM's step as a first guess, then the mean of both slopes; two passes.
# -->
# <!-- question: Five passes only. Which sampler comes nearest to the data? -->
# <!-- answer: DDIM. Heun's two steps are too long, and DDPM's noise needs many steps. -->
#
# 1. **DDPM** draws each $x_s$ from $q(x_s \mid x_t, \hat x)$: it removes noise and adds a little new one (Ho et al., 2020).
# 2. **DDIM** puts the noise that it has found back in, less of it, $x_s = \alpha_s \hat x + \sigma_s \hat\epsilon$, and draws nothing on
#    the way (Song, Meng & Ermon, 2021). The same start gives the same image.
# 3. **Heun** takes DDIM's step as a first guess, asks the network again where it leads, and goes by the mean of both slopes
#    (Karras et al., 2022). A step costs two passes.
#
# <!-- slide: Passes against quality -->
# We compare by passes through the network, so Heun gets half as many steps; one pass more denoises the end, and all three are
# rounded alike. The measure is the Fréchet distance to 360 test
# images in a classifier's features ([lesson {{gan_architectures}}]({{gan_architectures}}_gan_architectures.ipynb)). That of 360
# training images, from the same source, is the value to compare with. A draw of 360 scatters, so we draw twice, and once
# where fifty passes take too long.

# %% board="figure" alt="Fréchet distance against passes through the network, for three samplers: with 5 passes DDIM is lowest, with 51 all are within four times the training images' value."
judge = train_classifier(train, updates=200)
seen = judge.features(test.floats())
real = frechet_distance(seen, judge.features(train.floats()[:360]))
passes, quality = [5, 11, 21, 51], {}
for sampler in ("ddpm", "ddim", "heun"):
    quality[sampler] = []
    for n in passes:
        steps = (n - 1) // 2 if sampler == "heun" else n - 1
        starts = torch.randn(2 if n < 50 else 1, 360, *train.shape, device=DEVICE)
        draws = [drawn_by(model.denoise, start, steps=steps, sampler=sampler).cpu() for start in starts]
        quality[sampler].append([frechet_distance(seen, judge.features(x)) for x in draws])
mean = {name: [sum(row) / len(row) for row in rows] for name, rows in quality.items()}
plots.show_curves(mean, x=passes, xlabel="passes through the network", ylabel="Fréchet distance",
                  baselines={"training images": real}, log=True)

# %% tags=["nbval-ignore-output"]
print(f"360 training images: {real:.1f}")
for name, rows in quality.items():
    shown = "  ".join(f"{n:3} passes {min(row):6.1f} to {max(row):6.1f}" for n, row in zip(passes, rows))
    print(f"{name:<5} {shown}")

# %%
few, many = mean["ddpm"][0], mean["ddpm"][-1]
print(f"DDPM: 51 passes come at least twice as near as 5:             {2 * many < few}")
print(f"with 5 passes DDIM is nearer than both others:                {mean['ddim'][0] < min(few, mean['heun'][0])}")
last = [rows[-1] for rows in mean.values()]
print(f"with 51, the best is within twice the training images' value: {min(last) < 2 * real}")
print(f"and each is within four times that value:                     {max(last) < 4 * real}")

# %% [markdown]
# With five passes DDIM is ahead, and Heun's two steps are far too long. With fifty, which of them is ahead changes from run to
# run.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Guidance
#
# <!-- minutes: 8 -->
# <!-- slide: Guidance exaggerates the label -->
# A conditional model knows $\mathbb{E}[x \mid x_t, y]$. If training forgets the label now and then, the same network also knows
# $\mathbb{E}[x \mid x_t]$. **Guidance** (Ho & Salimans, 2022) goes from the second to the first and further:
#
# <!-- board -->
# $$\hat x = \mathbb{E}[x \mid x_t] + w\, \big(\mathbb{E}[x \mid x_t, y] - \mathbb{E}[x \mid x_t]\big).$$
#
# <!-- question: Which model is $w = 0$, which $w = 1$? -->
# <!-- answer: $w = 0$ forgets the label; $w = 1$ is the conditional model. -->
#
# With $w = 1$ this is the conditional model, with $w > 1$ it exaggerates what the label changes. Models that draw from a text are
# commonly used so. (The weight in the paper is ours minus 1.) The usual reason given is that its score belongs to $p(x)\, p(y \mid x)^w$. At
# $t = 0$ it does. At $t > 0$ it is the score of $p_t(x_t)\, p_t(y \mid x_t)^w$, built from noisy densities, and that is not
# $p(x)\, p(y \mid x)^w$ with noise added (Chidambaram et al., 2024). We take two classes whose every density is known, $N(-1, 0.8^2)$ and $N(1, 0.8^2)$, and draw with the ideal denoisers.
#
# <!-- slide: Guided samples do not follow $p(x)\, p(y \mid x)^w$ -->
# <!-- board
# Two classes, $N(-1, 0.8^2)$ and $N(1, 0.8^2)$, ideal denoisers. At $w = 4$ samples lie further out than
# $p(x)\, p(y \mid x)^w$, and closer together.
# -->

# %% board="values"
classes, spread = torch.tensor([[-1.0], [1.0]]).double(), 0.8
fine = CosineSchedule(9.0, -9.0)


def guided(w):
    def denoise(x_t, t):
        told, untold = (
            ideal_denoiser(x_t, alpha=fine.alpha(t), sigma=fine.sigma(t), data=data, std=spread)
            for data in (classes[1:], classes)
        )
        return untold + w * (told - untold)

    start = torch.randn(20_000, 1).double()
    return draw(denoise, fine, start, steps=50, sampler="heun")[:, 0]


line = torch.linspace(-6, 6, 2401).double()
joint = Normal(classes, spread).log_prob(line) - math.log(2)  # log p(x, y), (2, places)
table = {}
for w in (0.0, 1.0, 2.0, 4.0):
    x = guided(w)
    tilted = (joint.logsumexp(dim=0) + w * joint.log_softmax(dim=0)[1]).softmax(dim=0)
    believed = Normal(classes, spread).log_prob(x).softmax(dim=0)[1]
    mean = (tilted * line).sum()
    table[f"w = {w:.0f}"] = {
        "label obeyed": (believed > 0.5).double().mean().item(), "mean": x.mean().item(), "spread": x.std().item(),
        "mean of p(x) p(y|x)^w": mean.item(), "its spread": (tilted * (line - mean) ** 2).sum().sqrt().item(),
    }
print(format_table(table))

# %% [markdown] slideshow={"slide_type": "subslide"}
# With $w = 0$ and $w = 1$ the samples have the mean and the spread that they should. Beyond, more of them obey the label and they
# vary less. But they lie further out than $p(x)\, p(y \mid x)^w$, and closer together. So guided samples do not follow that
# distribution.

# %%
free, plain, strong = table["w = 0"], table["w = 1"], table["w = 4"]
print(f"w = 0 draws p(x), mean and spread within 0.05:                "
      f"{abs(free['mean']) < 0.05 and abs(free['spread'] - free['its spread']) < 0.05}")
print(f"w = 1 draws the conditional law, mean and spread within 0.03: "
      f"{abs(plain['mean'] - 1) < 0.03 and abs(plain['spread'] - spread) < 0.03}")
print(f"w = 4 obeys the label more, and varies less:                  "
      f"{strong['label obeyed'] > plain['label obeyed'] + 0.05 and strong['spread'] < plain['spread'] - 0.1}")
print(f"its mean is beyond that of p(x) p(y|x)^w by more than 0.3:    "
      f"{strong['mean'] > strong['mean of p(x) p(y|x)^w'] + 0.3}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: More guidance, less variety -->
# <!-- board
# In the notebook: move $w$ from 0 to 6. When do all samples obey? When do they leave the grey?
# -->
# ### Guide it yourself
#
# Eight classes in the plane that overlap, each a Gaussian, with the ideal denoisers. At the left is the conditional model, at the
# right guidance from the same noise, on $p(x)\, p(y \mid x)^w$ in grey. At $w = 2$ nearly all samples obey; beyond, they only
# move further out and closer together.

# %% board="figure" tags=["nbval-ignore-output"] alt="Still picture of the explorer of guidance: samples of one of eight overlapping classes at w = 1 and at w = 3, where nearly all obey the label but lie further out than the grey density beneath."
explorers.guidance_explorer(EightGaussians(std=0.7))

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Filling in what is missing
#
# <!-- minutes: 5 -->
# <!-- slide: A known half, put back after each step -->
# <!-- board
# A point on the ring, its first coordinate known: 0.9.
# -->
# <!-- question: Put the known half back, with the noise of that time. Is the other half drawn from $p(\text{second} \mid \text{first})$? -->
# <!-- answer: Not exactly. A denoiser that knows the first coordinate is exact. -->
# <!-- slide: Put back, or conditioned -->
# A PixelCNN completes the rest of an image exactly, if what is known comes first. A diffusion model has no order. The common trick keeps
# it on the known half: after each step, put the known half back, with as much noise as belongs to that time (Song et al.,
# 2021). The ring tells whether that is right. A point has its first coordinate known, 0.9. What is the second?

# %% board="figure" alt="Share against the second coordinate: the conditional denoiser lies on the exact curve with two peaks; putting back has wider peaks and a third, small one between them."
known, ways = 0.9, {}
up = torch.linspace(-3, 3, 601)
truth = ring.log_prob(torch.stack([torch.full_like(up, known), up], dim=1)).softmax(dim=0)
fine_ring = CosineSchedule(9.0, -6.0)


def ring_denoiser(x_t, t, first=None):
    """E[x | x_t], and where the first coordinate is given: E[x | first, second coordinate of x_t]."""
    alpha, sigma = fine_ring.alpha(t)[:, None], fine_ring.sigma(t)[:, None]
    if first is None:
        return ideal_denoiser(x_t, alpha=alpha[:, 0], sigma=sigma[:, 0], data=ring.means, std=ring.std)
    variance = sigma**2 + (alpha * ring.std) ** 2
    off_first, off_second = first - ring.means[:, 0], x_t[:, 1:] - alpha * ring.means[:, 1]
    which = (-(off_first**2) / (2 * ring.std**2) - off_second**2 / (2 * variance)).softmax(dim=1)
    second = which @ ring.means[:, 1:] + alpha * ring.std**2 / variance * (which * off_second).sum(dim=1, keepdim=True)
    return torch.cat([torch.full_like(second, first), second], dim=1)


for name in ("put back", "conditional"):
    x, steps = torch.randn(10_000, 2), torch.linspace(1, 0, 201)
    for t, s in zip(steps[:-1].expand(10_000, -1).T, steps[1:].expand(10_000, -1).T):
        if name == "put back":
            x[:, 0] = fine_ring.alpha(t) * known + fine_ring.sigma(t) * torch.randn(10_000)
        clean = ring_denoiser(x, t, None if name == "put back" else known)
        mean, std = posterior_of_a_step(fine_ring, x, clean, t=t, s=s)
        x = mean + std * torch.randn_like(x)
    ways[name] = torch.histc(x[:, 1], 60, -3, 3) / 10_000
cells = truth[:600].view(60, 10).sum(dim=1)
plots.show_curves({"exact p(second | first)": cells, **ways}, x=torch.linspace(-2.95, 2.95, 60),
                  xlabel="second coordinate", ylabel="share of a cell")
off = {name: (share - cells).abs().sum().item() / 2 for name, share in ways.items()}
print(f"total variation from the truth is below 0.05 for the conditional denoiser: {off['conditional'] < 0.05}")
print(f"for putting the known half back it is above 0.1:                           {off['put back'] > 0.1}")

# %% [markdown]
# The conditional denoiser is right. Putting back is not: at each time the denoiser sees a noisy first coordinate, where it should know the
# clean one.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## A likelihood after all
#
# <!-- minutes: 5 -->
# <!-- slide: The same weights, without chance -->
# The bound belongs to the random chain. There is a way without chance. If every point moves with
#
# <!-- board -->
# $$\frac{dx}{dt} = \dot\alpha_t\, \mathbb{E}[x \mid x_t] + \dot\sigma_t\, \mathbb{E}[\epsilon \mid x_t],$$
#
# the cloud of points has at each time the density of $x_t$ (Song et al., 2021). DDIM and Heun follow this **probability flow**. It can be
# followed backwards too, and along the way the log-density changes by minus the divergence of the velocity (Chen et al., 2018).
# So the same weights are a second model, with a likelihood: exact but for the steps, where there are few dimensions. On the ring
# we can hold it against the truth.

# %%
flow = ProbabilityFlow(points)
x = ring.sample(400).to(DEVICE)
with torch.no_grad():
    by_flow, twice = (flow.log_prob(x, steps=n).cpu() for n in (20, 40))
gap = ring.log_prob(x.cpu()) - twice
print(f"its mean by 20 and by 40 steps differs by less than 0.02: {bool((by_flow - twice).mean().abs() < 0.02)}")
gaussian = MultivariateNormal(x_ring.mean(dim=0).cpu(), x_ring.T.cov().cpu())
by_gaussian = (ring.log_prob(x.cpu()) - gaussian.log_prob(x.cpu())).mean()
print(f"a Gaussian of the same mean and covariance: KL {by_gaussian:.1f} nats")
print(f"KL(truth, flow) is at most a fourth, and not below zero:   {bool(-0.05 < gap.mean() < by_gaussian / 4)}")

# %% tags=["nbval-ignore-output"]
print(f"KL(truth, flow): {gap.mean():.2f} +- {gap.std() / len(gap) ** 0.5:.2f} nats")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What a diffusion model cannot do
#
# <!-- minutes: 2 -->
# <!-- slide: What a diffusion model cannot do -->
# <!-- board
# - draw well in one pass, unless it is trained further
# - give the exact likelihood of a large image
# - find a small code: latents are as large as the image
# - explain why it generalises, where its loss is smallest for memorising
# -->
# - **One pass.** It draws in tens of passes where a GAN takes one. With five our images were far off. Fewer need further training
#   (distillation: Salimans & Ho, 2022).
# - **An exact likelihood of large images.** It has a bound, or an ODE whose exact trace takes one derivative for each value.
# - **A small code.** Its latents are as large as the image, and at $t = 1$ nothing of it is left.
# - **A clear objective.** The best value of its loss memorises the training set. That it does better is the network's
#   doing, and how is an open question.
#
# | good for | |
# | --- | --- |
# | training | a regression, stable from start to end; no second network |
# | coverage | the loss counts every training image, so a dropped mode costs |
# | control | labels, guidance, missing parts: a denoiser can be steered |
#
# <!-- slide: Recap -->
# <!-- board
# 1. Noise has a closed form; a short step back is nearly Gaussian.
# 2. A step needs $\mathbb{E}[x \mid x_t]$, which least squares finds, and which gives the score.
# 3. The bound sums weighted denoising errors, and two ends.
# 4. The ideal denoiser of a training set draws that set.
# 5. Guided samples obey more and vary less.
# -->
#
# Why go to the data along curved paths, when a straight line is shorter? That is the question of flow matching, which trains the same
# network for another velocity.

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli (2015), *Deep unsupervised learning using nonequilibrium
#   thermodynamics*, arXiv:1503.03585.
# - Ho, Jain, Abbeel (2020), *Denoising diffusion probabilistic models*, arXiv:2006.11239.
# - Song, Meng, Ermon (2021), *Denoising diffusion implicit models*, arXiv:2010.02502.
# - Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole (2021), *Score-based generative modeling through stochastic
#   differential equations*, arXiv:2011.13456. The probability flow: section 4.3; missing parts: section 5 and appendix I.
# - Kingma, Salimans, Poole, Ho (2021), *Variational diffusion models*, arXiv:2107.00630. The bound: section 3.
# - Nichol, Dhariwal (2021), *Improved denoising diffusion probabilistic models*, arXiv:2102.09672.
# - Salimans, Ho (2022), *Progressive distillation for fast sampling of diffusion models*, arXiv:2202.00512, for v.
# - Ho, Salimans (2022), *Classifier-free diffusion guidance*, arXiv:2207.12598.
# - Karras, Aittala, Aila, Laine (2022), *Elucidating the design space of diffusion-based generative models*,
#   arXiv:2206.00364.
# - Chidambaram, Gatmiry, Chen, Lee, Lu (2024), *What does guidance do? A fine-grained analysis in a simple setting*,
#   arXiv:2409.13074.
# - Robbins (1956), *An empirical Bayes approach to statistics*, Third Berkeley Symposium 1, 157-163.
# - Vincent (2011), *A connection between score matching and denoising autoencoders*, Neural Computation 23.
# - Ronneberger, Fischer, Brox (2015), *U-Net: convolutional networks for biomedical image segmentation*, arXiv:1505.04597.
# - Chen, Rubanova, Bettencourt, Duvenaud (2018), *Neural ordinary differential equations*, arXiv:1806.07366.

# %% [markdown] slideshow={"slide_type": "skip"}
# *How the claims were chosen.* Training depends on the processor's rounding. So cells print claims with margins that held in ten
# runs, each from another seed, and the numbers of one run stand in cells that the tests do not compare.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build a diffusion model yourself, with each step checked: [the
# exercises]({{diffusion}}_diffusion_exercises.ipynb). {{after}}
