# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Comparison
#
# <!-- board -->
# **Which one should I use?**
#
# Eight lessons built a dozen models, each on the data that suited it. Now they all get the same images and the same few
# seconds, and every one is asked the same questions. How probable are images that it never saw? Do its samples look real, and is
# anything missing among them? How long does it draw?
#
# There will be no winner. There will be columns, and a model that is first in one and last in another. By the end you know
# which column your own problem is about, and you have seen two much trusted numbers mislead.
# <!-- slide: Where this ends -->
# <!-- board
# Seven models, the same images, the same few seconds: up is a better likelihood, left are better samples.
# -->
# <!-- figure: both -->
#
# <!-- slide: Today -->
# <!-- agenda -->

# %% slideshow={"slide_type": "skip"}
import math
import time

import torch

from course import figures
from genlib import plots
from genlib.adversarial import GAN, LSGAN, WGANGP, InstanceNoise, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, RowLSTM
from genlib.data import binarise, independent_pixels, load
from genlib.markov import GSN, PersistentRBM, annealed_importance
from genlib.metrics import (
    bars_report, bits_per_dim, format_table, frechet_distance, log_likelihood, log_probs,
    precision_recall, train_classifier,
)
from genlib.taxonomy import path, place
from genlib.training import fit, fit_gan
from genlib.variational import VAE, importance_bound

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
torch.set_num_threads(1)  # on networks this small a second thread waits more than it works
torch.manual_seed(0);

# %% [markdown] slideshow={"slide_type": "slide"}
# ## One set of images for all
# <!-- minutes: 8 -->
# <!-- slide: Digits, 8 by 8, black or white -->
# <!-- board
# A likelihood means the same for all models: nats for one image out of $2^{64}$.
#
# - **train**: 1077 images
# - **test**: 360, which judge the models
# - **fresh**: 360, which stand for a generator that makes no mistake
# -->
#
# The handwritten digits, 8 by 8. Two leaves of the tree, the RBM and our GSN, know black and white only. So all pixels
# become black or white, and a likelihood means the same for everybody: nats for one image out of $2^{64}$.
#
# We keep three parts apart. Models train on 1077 images. 360 **test** images judge them. And 360 **fresh** ones, which no
# model sees either, stand for a generator that makes no mistake.

# %% board="figure" alt="Fourteen training and fourteen test digits, 8 by 8 pixels in black and white."
every, test = binarise(load("digits")), binarise(load("digits", "test"))
train, fresh = every[:1077], every[1077:]
real = test.floats()
plots.show_rows({"train": train.floats()[:14], "test": real[:14]}, size=0.6)
known = (test.images.flatten(1)[:, None] == train.images.flatten(1)).all(dim=2).any(dim=1)
print(f"train {len(train)}, test {len(test)}, fresh {len(fresh)}")
print(f"test images that are also, pixel for pixel, training images: {known.sum()}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Judge the judge -->
# <!-- board
# Fréchet distance, precision and recall compare **features** of a classifier. The usual choice: the last ones before the decision.
# -->
# <!-- question: The classifier reads more than 90 % of the test images right. What share of Bernoulli(1/2) noise do its last features take for digits? -->
# <!-- answer: 0.77. The layer was never trained to see whether something is a digit at all. -->
# ### The classifier whose features we compare, and its check
#
# Fréchet distance, precision and recall compare **features**: what a small classifier, trained on the training images, sees
# in an image ([lesson {{gan_architectures}}]({{gan_architectures}}_gan_architectures.ipynb)).
# Which features do we take? The usual choice is the last ones before the decision, 32 numbers here. But that layer was made
# to tell a 3 from a 5, on in-distribution images only. It was never trained to see whether something is a digit at all. So before we
# trust it, we show it an out-of-distribution input: noise, each pixel Bernoulli(1/2).

# %%
judge = train_classifier(train, updates=200)
layers = {"last, 32": judge.to_features, "maps before, 512": judge.to_features[:-1]}
bernoulli = torch.bernoulli(torch.full((360, *train.shape), 0.5))
truth = {}
for name, layer in layers.items():
    views = (layer(2 * x - 1) for x in (fresh.floats(), bernoulli))
    truth[name] = [precision_recall(layer(2 * real - 1), view)[0] for view in views]
right = (judge.predict(real) == test.labels).float().mean().item()
last, before = (worst for _, worst in truth.values())
print(f"the judge reads more than 90 % of the test images right:       {right > 0.9}")
print(f"its last features take more than half of the noise for digits: {last > 0.5}")
print(f"the maps before, fewer than one in ten:                        {before < 0.1}")

# %% tags=["nbval-ignore-output"]
for name, (best, worst) in truth.items():
    print(f"{name:<17} precision of fresh images {best:.2f}, of Bernoulli(1/2) {worst:.2f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: One layer earlier, noise and digits are far apart -->
# <!-- board
# Precision, from the last 32 features and from the 512 of the maps before:
#
# | | last, 32 | maps before, 512 |
# | --- | --- | --- |
# | fresh images | 0.93 | 0.91 |
# | Bernoulli(1/2) noise | 0.77 | 0.02 |
#
# An accurate classifier can be a poor judge. All measures below take the 512.
# -->
# An accurate classifier can be a poor judge. One layer earlier, in the 512 numbers of its convolutional maps, noise and digits
# are far apart. We take these. Without this check every precision in this lesson would have looked fine and meant
# little.
#
# The three measures, as functions of samples. Samples scatter, and so do their scores: we draw 360 images five times, and report
# the mean and the standard deviation from one draw to the next.

# %%
def features(x):
    return judge.to_features[:-1](2 * x - 1)


seen = features(real)


def distances(x):
    """Fréchet distance from the test images, of each 360 of these samples."""
    return torch.tensor([frechet_distance(seen, features(part)) for part in x.split(360)])


def judged(x):
    """Means over parts of 360 samples; `spread`, the standard deviation from part to part."""
    apart = distances(x)
    shares = torch.tensor([precision_recall(seen, features(part)) for part in x.split(360)])
    row = {"frechet": apart.mean().item(), "spread": apart.std().item() if len(apart) > 1 else None}
    return row | dict(zip(("precision", "recall"), shares.mean(dim=0).tolist()))


# %% [markdown] slideshow={"slide_type": "slide"}
# ## Baselines first
# <!-- minutes: 9 -->
# <!-- slide: Four baselines -->
# <!-- board
# - **Fresh images**: the best that samples can do
# - **Copies** of training images: a generator that has memorised its data
# - **Independent pixels**: each follows its own histogram
# - **Bernoulli(1/2)** for every pixel: 64 bits for 64 pixels
# -->
#
# - **Fresh images**: the best that samples can do. Their Fréchet distance is not zero, for 360 images differ from 360 others.
# - **Copies** of training images: a generator that has memorised its data.
# - **Independent pixels**: each follows its own histogram. They have a likelihood too.
# - **Bernoulli(1/2)**: every pixel black or white with probability 1/2, 64 bits for 64 pixels.
# <!-- question: 360 fresh images against the 360 test images: is their Fréchet distance 0? -->
# <!-- answer: No, for 360 images differ from 360 others. -->

# %%
pixels = independent_pixels(train)


def log_pixels(x):
    return pixels.log_prob(x.long()).flatten(1).sum(dim=1)


table = {
    "fresh images": judged(fresh.floats()),
    "copies": judged(train.floats()[torch.randint(1077, (1800,))]),
    "independent pixels": judged(pixels.sample((1800,)).float()),
    "Bernoulli(1/2)": judged(bernoulli),
}
table["independent pixels"]["nats"] = log_pixels(real).mean().item()
table["Bernoulli(1/2)"]["nats"] = -64 * math.log(2)
print(f"independent pixels: {table['independent pixels']['nats']:.1f} nats an image, Bernoulli(1/2): "
      f"{table['Bernoulli(1/2)']['nats']:.1f}")
fd = {name: row["frechet"] for name, row in table.items()}
ideal, noise = fd["fresh images"], fd["independent pixels"]
print(f"Fréchet: fresh images 3 times as near as independent pixels: {3 * ideal < noise}")
print(f"copies are within 5 of fresh images:                         {abs(fd['copies'] - ideal) < 5}")

# %% [markdown] slideshow={"slide_type": "slide"}
# <!-- slide: What the baselines score -->
# <!-- board
# | | Fréchet | precision | recall | nats |
# | --- | --- | --- | --- | --- |
# | fresh images | 11.24 | 0.91 | 0.92 | |
# | copies | 12.76 | 0.91 | 0.87 | |
# | independent pixels | 47.62 | 0.48 | 0.59 | -25.11 |
# | Bernoulli(1/2) | 150.15 | 0.02 | 0.44 | -44.36 |
#
# A generator that memorised its data scores nearly like fresh images.
# -->
#
# <!-- slide: Eleven models, one budget -->
# <!-- board
# - **tractable**: PixelCNN, gated PixelCNN, Row LSTM, Diagonal BiLSTM
# - **variational**: VAE
# - **Markov chain**: two RBMs, with 16 and 100 hidden units, and a GSN
# - **direct**: GAN, LSGAN, WGAN-GP
#
# Each trains for about two seconds of processor time. Learning rates and sizes: two or three tried for each.
# -->
# ## Eleven models, one budget
#
# Every leaf of the tree but those of lessons [{{diffusion}}]({{diffusion}}_diffusion.ipynb) and
# [{{flow_matching}}]({{flow_matching}}_flow_matching.ipynb), and on most of them more than one model. Each has about two seconds of processor time to train, on the machine where this was written: the table below shows
# them. The number of epochs or updates is fixed, so that a run can be repeated. Learning rates and sizes we tried, two or three each, no more. Whoever tries longer gets other numbers.
#
# There are two RBMs. With 16 hidden units the partition function is a sum that we can do. With 100 it is not, and
# [AIS]({{markov_chains}}_markov_chains.ipynb) must estimate it.

# %%
S, mean = train.shape, train.floats().mean(dim=0)


def seen_through_noise():
    return InstanceNoise(MLPDiscriminator(S), std=0.3)  # lesson on GANs: real pixels are black or white


models = {
    "PixelCNN": PixelCNN(S, hidden_dim=32, depth=2),
    "Gated PixelCNN": GatedPixelCNN(S, hidden_dim=16, depth=1),
    "Row LSTM": RowLSTM(S, hidden_dim=32, depth=1),
    "Diagonal BiLSTM": DiagonalBiLSTM(S, hidden_dim=32, depth=1),
    "VAE": VAE(S, latent_dim=16),
    "RBM, 16 hidden": PersistentRBM(S, hidden_dim=16, cd_steps=3, pixel_mean=mean),
    "RBM, 100 hidden": PersistentRBM(S, hidden_dim=100, cd_steps=2, pixel_mean=mean),
    "GSN": GSN(S, hidden_dim=256, noise=0.2, walkback=1),
    "GAN": GAN(MLPGenerator(S, latent_dim=32), seen_through_noise(), latent_dim=32),
    "LSGAN": LSGAN(MLPGenerator(S, latent_dim=32), seen_through_noise(), latent_dim=32),
    "WGAN-GP": WGANGP(MLPGenerator(S, latent_dim=32), MLPDiscriminator(S), latent_dim=32),
}

# %%
recipes = {
    "PixelCNN": {"epochs": 12, "batch_size": 64, "learning_rate": 1.2e-2},
    "Gated PixelCNN": {"epochs": 12, "batch_size": 64, "learning_rate": 2e-2},
    "Row LSTM": {"epochs": 8, "batch_size": 64, "learning_rate": 1.5e-2},
    "Diagonal BiLSTM": {"epochs": 7, "batch_size": 64, "learning_rate": 1.5e-2},
    "VAE": {"epochs": 60, "batch_size": 128, "learning_rate": 5e-3},
    "RBM, 16 hidden": {"epochs": 120, "batch_size": 128, "learning_rate": 2e-2},
    "RBM, 100 hidden": {"epochs": 200, "batch_size": 256, "learning_rate": 3e-2},
    "GSN": {"epochs": 70, "batch_size": 128, "learning_rate": 3e-3},
    "GAN": {"updates": 500, "learning_rate": 2e-3},
    "LSGAN": {"updates": 500, "learning_rate": 2e-3},
    "WGAN-GP": {"updates": 200, "learning_rate": 2e-3, "discriminator_steps": 3},
}

# %%
cpu_seconds = {}
for name, model in models.items():
    start = time.process_time()
    (fit_gan if isinstance(model, GAN) else fit)(model.to(DEVICE), train, **recipes[name])
    cpu_seconds[name] = time.process_time() - start

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How long must a chain run?
# <!-- minutes: 7 -->
# <!-- slide -->
# <!-- board
# Two RBMs and the GSN draw by a Markov chain. Chains start from Bernoulli(1/2) pixels.
# -->
# <!-- question: After how many steps do the samples stop getting better? -->
# <!-- answer: After 10 to 30. We take 10 for the small RBM and the GSN, 30 for the large RBM. -->
#
# Three of the eleven draw by a Markov chain, and how well depends on the number of steps. So before we call them good or slow, let
# us look. Chains start from Bernoulli(1/2) pixels, and we measure the Fréchet distance after 1, 3, 10, 30 and 100 steps. A line is the mean
# of five redraws of 360 images, and the band is one standard deviation wide on either side.
# <!-- slide: Ten to thirty steps come as near as 100 -->
# <!-- board
# By default `sample` takes 1000 for an RBM, 100 for a GSN: a timing would measure that default, not the model.
# -->

# %% board="figure" alt="Fréchet distance against the steps of the chain, for two RBMs and the GSN: all fall, and are level from about 30 steps on, above fresh images."
lengths, chains = (1, 3, 10, 30, 100), ("RBM, 16 hidden", "RBM, 100 hidden", "GSN")
after = {
    name: [distances(models[name].sample(1800, steps=steps).cpu()) for steps in lengths]
    for name in chains
}
plots.show_curves(
    {name: [apart.mean().item() for apart in of] for name, of in after.items()},
    spread={name: [apart.std().item() for apart in of] for name, of in after.items()},
    x=lengths, xlabel="steps of the chain", ylabel="Fréchet distance of 360 samples",
    baselines={"fresh images": ideal}, log=True,
)

# %%
enough = {"RBM, 16 hidden": 10, "RBM, 100 hidden": 30, "GSN": 10}
ends = {name: [apart.mean().item() for apart in after[name]] for name in chains}
late = {name: ends[name][lengths.index(steps)] - ends[name][-1] for name, steps in enough.items()}
print(f"after one step each chain is farther than after 100, by 10 or more:     "
      f"{all(of[0] > of[-1] + 10 for of in ends.values())}")
print(f"10, 30 and 10 steps come as near as 100 do, within 5:                   {max(late.values()) < 5}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Ten to thirty steps are enough on these images. `sample` takes 1000 for an RBM and 100 for a GSN unless we say otherwise, and
# then a timing measures that default, not the model. We take 10 steps for the small RBM and the GSN, and 30 for the large RBM.

# %%
def draw(name, n):
    """Samples of a model, rounded to black and white: the GANs return grey."""
    steps = {"steps": enough[name]} if name in enough else {}
    return models[name].sample(n, **steps).cpu().round()


# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Order the rows by quality -->
# Now look at samples of all. Grey pixels of the GANs are rounded, for all others draw black and white.

# %% board="figure" alt="Fourteen samples of each of eleven models and of independent pixels, below fourteen test digits: all models draw strokes, most of them like digits; independent pixels are specks."
shown = {"test": real[:14]} | {name: draw(name, 14) for name in models}
shown["independent pixels"] = pixels.sample((14,)).float()
plots.show_rows(shown, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# Can you order the rows by quality? Try, and write your order down. With 64 pixels in black and white even the test images take some
# squinting, and fourteen images decide nothing. That is why we count.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## The table
# <!-- minutes: 8 -->
# <!-- slide: What is measured -->
# <!-- board
# - $\log p(x)$ of test images, and **how it is known**
# - **Fréchet distance** from the test images
# - **precision**: share of samples near real images
# - **recall**: share of real images near samples
# - **milliseconds** to draw a thousand images
# -->
# <!-- question: Eleven models. How many have a likelihood, or a bound or an estimate of it? -->
# <!-- answer: Seven. The GSN and the three GANs have none. -->
#
# A row holds what a model's leaf makes possible, and no more. (`genlib.metrics.report` makes one in a single call, from a
# single draw.)
#
# | column | what it is |
# | --- | --- |
# | `known` | how $\log p(x)$ is known: *exact*; a *bound*, by importance sampling with 500 codes; an estimate by *AIS*; or not |
# | `nats` | its mean over the 360 test images; higher is better |
# | `error` | the standard error of AIS |
# | `frechet`, `spread` | Fréchet distance of 360 samples from the 360 test images, lower is better: mean and standard deviation of five draws |
# | `precision`, `recall` | share of samples near real images, share of real images near samples: means of the five |
# | `ms to draw` | milliseconds of processor time for a thousand images |
# <!-- slide: How is $p(x)$ known? -->

# %% board="values"
rows, likelihood = {}, {}
for name, model in models.items():
    start = time.process_time()
    x = draw(name, 1800)
    seconds = (time.process_time() - start) / 1.8  # for a thousand
    known = likelihood[name] = log_likelihood(model, test, train=train)
    words = (None, None, None) if known is None else (known.known, known.nats.mean().item(), known.error)
    rows[name] = dict(zip(("known", "nats", "error"), words)) | judged(x) | {"seconds": seconds}
    print(f"{name:<16} {', '.join(path(place(model))):<44} p(x): {rows[name]['known']}")

# %% tags=["nbval-ignore-output"]
for name, row in rows.items():
    times = {"ms to draw": round(1000 * row["seconds"]), "s to train": round(cpu_seconds[name], 1)}
    table[name] = {key: value for key, value in row.items() if key != "seconds"} | times
print(format_table(table, digits=2))

# %% [markdown] slideshow={"slide_type": "subslide"}
# Nothing is hidden in the row. Here are the likelihoods of the VAE and of PixelCNN by hand, and how far the VAE's ELBO, on which it
# was trained, lies below its bound: the gap.

# %%
vae, pixelcnn = models["VAE"], models["PixelCNN"]
bound = importance_bound(vae, real.to(DEVICE), k=500).mean().item()
gap = bound - torch.stack([vae.elbo(real.to(DEVICE)) for _ in range(10)]).mean().item()
by_chain_rule = log_probs(pixelcnn, test)
assert abs(bound - rows["VAE"]["nats"]) < 0.3  # new draws
assert abs(by_chain_rule.mean().item() - rows["PixelCNN"]["nats"]) < 1e-4
error = (by_chain_rule.std() / 360**0.5).item()
print(f"the mean over 360 test images has a standard error of 0.2 to 0.6 nats: {0.2 < error < 0.6}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Likelihoods
# <!-- minutes: 9 -->
# <!-- slide: Exact is not the same as high -->
# <!-- board
# | | nats an image | known |
# | --- | --- | --- |
# | VAE | -17.43 | bound |
# | RBM, 100 hidden | -17.77 | AIS |
# | gated PixelCNN | -18.27 | exact |
# | RBM, 16 hidden | -18.69 | exact |
# | PixelCNN | -18.99 | exact |
# | Row LSTM | -19.11 | exact |
# | Diagonal BiLSTM | -19.26 | exact |
# -->
#
# All of this held from ten other seeds as well:

# %%
dense = {name: row["nats"] for name, row in rows.items() if row["nats"] is not None}
four = ("PixelCNN", "Gated PixelCNN", "Row LSTM", "Diagonal BiLSTM")
alone = table["independent pixels"]["nats"]
print(f"models with a likelihood: {len(dense)} of {len(rows)}")
print(f"all beat independent pixels by 5 nats or more:     {min(dense.values()) > alone + 5}")
spread = max(dense.values()) - min(dense.values())
ahead = dense["VAE"] - max(dense[name] for name in four)
print(f"from the best to the worst it is less than 3:      {spread < 3}")
print(f"the VAE leads the four tractable by 0.3:           {ahead > 0.3}")
lead = dense["Gated PixelCNN"] - max(dense[name] for name in four if name != "Gated PixelCNN")
print(f"of these four, the gated PixelCNN leads by 0.4:    {lead > 0.4}")
print(f"the VAE's ELBO lies 0.5 to 2 nats below its bound: {0.5 < gap < 2}")
lead = dense["VAE"] - gap - dense["Gated PixelCNN"]
print(f"by its ELBO it leads the gated PixelCNN by < 0.2:  {lead < 0.2}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Bound or ELBO? Always say which -->
# <!-- board
# The VAE's row is a bound by importance sampling. Its ELBO lies 0.5 to 2 nats lower.
# -->
# <!-- question: Put the ELBO into its row. What is left of the VAE's lead over the gated PixelCNN? -->
# <!-- answer: Less than 0.2 nats, if anything. -->
# <!-- board
# AIS tends to flatter. On the small RBM it lies within 0.2 nats of the exact $\log Z$.
# -->
# An exact likelihood is not the same as a high one. The VAE, of which we know a bound only, comes first here, and the four that
# are exact come after. And look at the VAE's gap. Had we written the ELBO into its row, its lead would be gone. Always say which
# of the two you report.
#
# Be careful the other way as well. The AIS estimate tends to flatter. So we ask twice: does it agree with the sum where the sum
# can be done, on the small RBM? And does it stay as it is for the large one, with a fifth of the temperatures?

# %%
by_ais, _ = annealed_importance(models["RBM, 16 hidden"], data=train)
off = abs((by_ais - likelihood["RBM, 16 hidden"].log_z).item())
print(f"16 hidden: AIS and the exact log Z differ by less than 0.2 nats: {off < 0.2}")
rough, _ = annealed_importance(models["RBM, 100 hidden"], n_temperatures=200, data=train)
off = abs((rough - likelihood["RBM, 100 hidden"].log_z).item())
print(f"100 hidden: 200 or 1000 temperatures differ by less than 0.4:    {off < 0.4}")

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Likelihood and sample quality
# <!-- minutes: 9 -->
# <!-- slide: Do likelihood and samples agree? -->
# <!-- board
# On the whole, better is better in both.
# -->
# <!-- question: Two models less than a nat apart. How far apart may their samples be? -->
# <!-- answer: The Row LSTM lies 0.4 nats below the small RBM, and 16 farther from the data in Fréchet distance. -->
#
# Now put both into one picture. Up is a better likelihood, left are better samples.
# <!-- slide: Alike in likelihood, unlike in samples -->

# %% board="figure" name="both" alt="Likelihood against the Fréchet distance of seven models: VAE and the large RBM are best in both, the four models that read pixel by pixel are worse in both."
leaf_of = {name: ", ".join(path(place(model))[-2:]) for name, model in models.items()}
figures.show_scatter(
    {name: (rows[name]["frechet"], nats) for name, nats in dense.items()},
    groups=leaf_of, xlabel="Fréchet distance of samples", ylabel="nats an image",
)

# %%
fd = {name: row["frechet"] for name, row in rows.items()}
between = all(ideal + 1 < value < noise - 5 for name, value in fd.items() if name != "GAN")
print(f"all but the GAN lie between fresh images and independent pixels:    {between}")
turned = [(a, b) for a in dense for b in dense if abs(dense[a] - dense[b]) < 0.8 and fd[a] > fd[b] + 6]
print(f"two within 0.8 nats of each other, more than 6 apart in distance:   {len(turned) > 0}")

# %% tags=["nbval-ignore-output"]
for a, b in turned:
    nats, farther = dense[a] - dense[b], fd[a] - fd[b]
    both = math.hypot(rows[a]["spread"], rows[b]["spread"])  # of a difference of two draws
    print(f"{a}: {nats:+.1f} nats from {b}, and {farther:.0f} farther from the data, spread {both:.1f}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Which mistake does a model make? -->
# <!-- board
# A model trained by likelihood pays for each image that it forgot.
# -->
# <!-- question: Four pixel models, trained by likelihood. Which is larger, precision or recall? And for a GAN? -->
# <!-- answer: Recall, for all four: better something wrong than something left out. Precision for the GAN, whose loss does not ask for variety. -->
# On the whole, better is better in both. But models less than a nat apart may draw very differently. Nor does the
# distance say which mistake a model makes. Precision and recall do:

# %%
precision, recall = ({name: row[key] for name, row in rows.items()} for key in ("precision", "recall"))
top = max(precision, key=precision.get)
print(f"VAE and GSN are nearer than any pixel model, by 1:        "
      f"{max(fd['VAE'], fd['GSN']) + 1 < min(fd[name] for name in four)}")
best = table["fresh images"]["precision"]
print(f"no model is as precise as fresh images, within 0.03:      {precision[top] < best - 0.03}")
others = min(value for name, value in recall.items() if name not in ("GAN", "LSGAN"))
print(f"GAN and LSGAN have the lowest recall, by 0.05 or more:    "
      f"{max(recall['GAN'], recall['LSGAN']) < others - 0.05}")
print(f"and both are more precise than the best pixel model:      "
      f"{min(precision['GAN'], precision['LSGAN']) > max(precision[name] for name in four)}")
print(f"the four tractable have more recall than precision:       "
      f"{all(recall[name] > precision[name] + 0.1 for name in four)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: GAN and LSGAN are precise, and miss much -->
# <!-- board
# | | precision | recall |
# | --- | --- | --- |
# | fresh images | 0.91 | 0.92 |
# | gated PixelCNN | 0.62 | 0.91 |
# | VAE | 0.67 | 0.92 |
# | GSN | 0.79 | 0.90 |
# | GAN | 0.82 | 0.38 |
# | LSGAN | 0.80 | 0.58 |
# | WGAN-GP | 0.74 | 0.79 |
# -->
# A model trained by likelihood pays for each image that it forgot. So it would rather draw something wrong than leave something
# out. Nothing in a GAN's loss asks for that ([lesson {{gan}}]({{gan}}_gan.ipynb)). And the GSN, an old model that draws by a chain, is on images
# this small hard to beat. It and the VAE are close: from ten other seeds the GSN was nearest of all eight times, the VAE once, the
# large RBM once.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How long does drawing take?
# <!-- minutes: 7 -->
# <!-- slide: Training took as long for each; drawing does not -->
# <!-- board
# Steps, one after the other:
#
# - **one pass**: VAE, GANs
# - **pixel by pixel**: one for each value
# - **chain**: as many as it needs to mix, which must be measured
# -->
# <!-- question: A colour picture of 32 by 32, pixel by pixel: how many steps? -->
# <!-- answer: 3072, one for each value: 48 times as many as for a digit. -->
#
# Training took about as long for each. Drawing does not. Now right is slow, and the axis is logarithmic: each tick is ten times the one
# before. The chains run as long as they must, and no longer.
# <!-- slide: Time to draw, on a logarithmic axis -->

# %% board="figure" tags=["nbval-ignore-output"] alt="Fréchet distance against the seconds for 1000 images, on a logarithmic axis: GANs and VAE are the fastest, some of them among the best; the pixel models are the slowest."
figures.show_scatter(
    {name: (row["seconds"], row["frechet"]) for name, row in rows.items()}, groups=leaf_of,
    xlabel="seconds for 1000 images", ylabel="Fréchet distance of samples", log=True,
)

# %% tags=["nbval-ignore-output"]
def quickest(*names):
    return min(rows[name]["seconds"] for name in names)


one_pass, by_pixel = quickest("VAE", "GAN", "LSGAN", "WGAN-GP"), quickest(*four)
chain = max(rows[name]["seconds"] for name in chains)
print(f"one pass is more than 10 times as fast as pixel by pixel:       {10 * one_pass < by_pixel}")
print(f"the slowest chain takes less than 3 times the fastest by pixel: {chain < 3 * by_pixel}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# Why is plain counting: who draws in how many steps, one after the other?

# %%
for side, colours in ((8, 1), (28, 1), (32, 3), (256, 3)):
    steps = side * side * colours
    print(f"{side:>3} by {side:<3}  channels {colours}  one pass 1, pixel by pixel {steps:>6}")
print(f"the chains here: {', '.join(f'{name} {steps}' for name, steps in enough.items())}")
print(f"fewer steps than pixels, each of them: {max(enough.values()) < math.prod(S)}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# The steps of a pixel model are given by the image. Those of a chain are not given: it takes as many as it needs to mix, and that
# must be measured, as above. With 1000 steps instead of 30 the same RBM would be the slowest of all.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Where the truth is known: `bars`
# <!-- minutes: 7 -->
# <!-- slide: Thirty images, and their exact probabilities -->
# <!-- board
# Nothing is estimated, for all but the GANs: $KL(p \,\|\, q)$ is the exact distance from the truth. About a second of training each.
# -->
# <!-- question: On the digits the VAE led in likelihood. On `bars`, who leads? -->
# <!-- answer: The four pixel models. Most pixels follow from those before without any doubt. -->
#
# The same again on the thirty images of [lesson {{taxonomy}}]({{taxonomy}}_taxonomy.ipynb), with about a second each. Nothing is estimated here:
# for all but the GANs we know $KL(p \,\|\, q)$, the exact distance from the truth. (For this the VAE has two latents, over
# which quadrature can integrate, and the GSN's chain is enumerated.)

# %%
bars = load("bars")
many, B = bars[torch.arange(30).repeat(20)], bars.shape  # 20 of each: an epoch is 600 images


def doubting():
    return InstanceNoise(MLPDiscriminator(B), std=0.5)


tiny = {
    "PixelCNN": PixelCNN(B, hidden_dim=16, depth=2),
    "Gated PixelCNN": GatedPixelCNN(B, hidden_dim=16, depth=1),
    "Row LSTM": RowLSTM(B, hidden_dim=16, depth=1),
    "Diagonal BiLSTM": DiagonalBiLSTM(B, hidden_dim=16, depth=1),
    "VAE": VAE(B, latent_dim=2),
    "RBM": PersistentRBM(B, hidden_dim=16, cd_steps=5),
    "GSN": GSN(B, hidden_dim=128, noise=0.25, walkback=1),
    "GAN": GAN(MLPGenerator(B, latent_dim=16), doubting(), latent_dim=16),
    "LSGAN": LSGAN(MLPGenerator(B, latent_dim=16), doubting(), latent_dim=16),
    "WGAN-GP": WGANGP(MLPGenerator(B, latent_dim=16), MLPDiscriminator(B), latent_dim=16),
}

# %%
slow = {"epochs": 12, "batch_size": 60, "learning_rate": 2e-2}
fast = {"updates": 250, "batch_size": 128, "learning_rate": 3e-3}
recipes = {
    "PixelCNN": slow, "Gated PixelCNN": slow, "Row LSTM": slow, "Diagonal BiLSTM": slow,
    "VAE": {"epochs": 70, "batch_size": 100, "learning_rate": 2e-2},
    "RBM": {"epochs": 100, "batch_size": 100, "learning_rate": 4e-2},
    "GSN": {"epochs": 80, "batch_size": 100, "learning_rate": 1e-2},
    "GAN": fast, "LSGAN": fast, "WGAN-GP": {**fast, "updates": 80, "discriminator_steps": 3},
}
exact = {}
for name, model in tiny.items():
    start = time.process_time()
    (fit_gan if isinstance(model, GAN) else fit)(model.to(DEVICE), many, **recipes[name])
    exact[name] = {"training": time.process_time() - start}
    exact[name] = bars_report(model, n_samples=2000) | exact[name]

# %% tags=["nbval-ignore-output"]
print(format_table(exact))

# %%
kl = {name: row["kl"] for name, row in exact.items()}
covered = {name: row["covered"] for name, row in exact.items()}
tractable = max(kl[name] for name in four)
print(f"Bernoulli(1/2): KL {16 * math.log(2) - math.log(30):.2f} nats")
print(f"all four tractable models: KL below 0.25:       {tractable < 0.25}")
others = min(kl[name] for name in ("VAE", "RBM", "GSN"))
print(f"VAE, RBM and GSN: above 0.5, each of them:      {others > 0.5}")
print(f"the four cover all 30 images:                   {min(covered[name] for name in four) == 30}")
few = max(covered[name] for name in ("VAE", "GAN", "LSGAN", "WGAN-GP"))
print(f"VAE and GANs cover 25 of 30 or fewer, each:     {few <= 25}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: On `bars` the pixel models lead -->
# <!-- board
# | | KL, nats | covered, of 30 |
# | --- | --- | --- |
# | gated PixelCNN | 0.021 | 30 |
# | Diagonal BiLSTM | 0.035 | 30 |
# | PixelCNN | 0.038 | 30 |
# | Row LSTM | 0.047 | 30 |
# | RBM | 0.756 | 30 |
# | GSN | 0.904 | 30 |
# | VAE, two latents | 3.171 | 11 |
# | GAN | unknown | 15 |
# | LSGAN | unknown | 14 |
# | WGAN-GP | unknown | 11 |
# -->
# **The ranking is another.** On the digits the VAE led in likelihood; on `bars` the four tractable models
# leave all others behind. In `bars` most pixels follow from those before without any doubt, and a model that goes pixel by pixel
# says so easily. (The small sizes play a part as well: two latents, 16 hidden units.)
#
# Nor do we need recall here: `covered` counts which of the thirty images a model draws at least a tenth as often as it should.
#
# A ranking belongs to the data, the sizes and the budget. It does not belong to the family.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## How likelihood and sample quality mislead
# <!-- minutes: 12 -->
#
# Likelihood and samples disagree in our table a little. Theis et al. (2016, section 3) showed that they may disagree as much
# as you like. Both of their examples we can compute exactly, with what we have.
#
# <!-- slide: Good likelihood, bad samples -->
# <!-- board
# A good model $p$, and noise $q$ (Theis et al., 2016). With probability 0.01 draw from $p$:
#
# $$m(x) = 0.01\, p(x) + 0.99\, q(x)$$
# -->
# <!-- question: Ninety-nine samples in a hundred are noise. How many nats does that cost at most? -->
# <!-- answer: $\log 100 = 4.6$, for an image of any size: $\log m(x) \ge \log p(x) - \log 100$. -->
# ### Good likelihood, bad samples
#
# Take a good model $p$, and noise $q$. With probability 0.01 draw from $p$, otherwise each pixel from Bernoulli(1/2):
#
# $$m(x) = 0.01\, p(x) + 0.99\, q(x) \quad\Rightarrow\quad \log m(x) \ge \log p(x) - \log 100.$$
#
# Ninety-nine samples in a hundred are noise. The price is at most $\log 100 = 4.6$ nats, *for an image of any size*.

# %%
good = log_probs(models["Gated PixelCNN"], test)
log_noise = torch.full_like(good, -64 * math.log(2))
mixed = torch.logaddexp(good + math.log(0.01), log_noise + math.log(0.99))
lost = good.mean().item() - mixed.mean().item()
print(f"the mixture loses {lost:.1f} nats, and log 100 is {math.log(100):.2f}")
print(f"it still beats independent pixels, by a nat or more: {mixed.mean().item() > alone + 1}")

# %%
picked = torch.rand(360, 1, 1, 1) < 0.01
awful = torch.where(picked, models["Gated PixelCNN"].sample(360).cpu(), bernoulli)
table["99 % Bernoulli(1/2)"] = {"nats": mixed.mean().item()} | judged(awful)
row = table["99 % Bernoulli(1/2)"]
print(f"precision of its samples is below 0.1: {row['precision'] < 0.1}")
worse = row["frechet"] > 1.5 * table["independent pixels"]["frechet"]
print(f"Fréchet distance is more than 1.5 times that of independent pixels: {worse}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# On 64 pixels 4.6 nats are a good deal. On larger images they vanish. Here is the same loss in bits per dimension, the unit in
# which papers report likelihoods:

# %%
for side, colours in ((8, 1), (32, 3), (256, 3)):
    bits = -bits_per_dim(math.log(100), (colours, side, side))
    print(f"{side:>3} by {side:<3}  channels {colours}  {bits:.5f} bits per dimension")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Good samples, bad likelihood -->
# ### Good samples, bad likelihood
#
# <!-- board
# **Copier**: draw a training image, and flip each pixel with probability $\epsilon$. With $d_i$ the number of pixels in which $x$ differs from the $i$-th training image,
# -->
# Now the copier: draw a training image. Its Fréchet distance and precision stand in our table, next to those of fresh images. It
# has a density too, $1/1077$ for each training image. A test image that is not one of them has probability zero, so the mean
# of $\log p$ over the test images is $-\infty$.
#
# Let the copier be a little careless: each pixel of the copy is flipped with probability $\epsilon$. Now everything has a
# probability. With $d_i$ the number of pixels in which $x$ differs from the $i$-th training image,
#
# <!-- board -->
# $$p(x) = \frac{1}{1077} \sum_i \epsilon^{d_i} (1 - \epsilon)^{64 - d_i}.$$
# <!-- question: $\epsilon = 0$. What is the mean of $\log p$ over the test images? -->
# <!-- answer: $-\infty$: a test image that is no training image has probability zero. -->
#
# <!-- slide: The likelihood is best at $\epsilon = 0.06$; the Fréchet distance wants less -->

# %%
differ = (test.images.flatten(1)[:, None] != train.images.flatten(1)).sum(dim=2).double()


def copier(flip):
    """The mean of log p(x) over the test images, exact."""
    log_p = differ * math.log(flip) + (64 - differ) * math.log(1 - flip)
    return (log_p.logsumexp(dim=1) - math.log(len(train))).mean().item()


def copied(flip, n=1800):
    x = train.floats()[torch.randint(len(train), (n,))]
    return (x - torch.bernoulli(torch.full_like(x, flip))).abs()


flips = (1e-4, 1e-3, 0.01, 0.03, 0.06, 0.1, 0.2)
careless = {flip: {"nats": copier(flip)} | judged(copied(flip)) for flip in flips}
for flip in (1e-4, 1e-3, 0.01, 0.1):
    print(f"flips {flip:<6}: {careless[flip]['nats']:.1f} nats an image")

# %% board="figure" alt="Likelihood against Fréchet distance of copies with pixels flipped: more flips first raise the likelihood with samples almost as good, then lower both."
best = max(flips, key=copier)
figures.show_scatter(
    {f"{flip:g}": (careless[flip]["frechet"], careless[flip]["nats"]) for flip in flips},
    groups=dict.fromkeys((f"{flip:g}" for flip in flips), "copies with pixels flipped"),
    xlabel="Fréchet distance of samples", ylabel="nats an image",
)
cost = careless[best]["frechet"] - careless[1e-4]["frechet"]
careful = careless[1e-4]
off = abs(careful["frechet"] - table["copies"]["frechet"])
print(f"flips 0.0001: samples as good as copies, within 5:      {off < 5}")
print(f"10 nats or more below independent pixels:               {careful['nats'] < alone - 10}")
print(f"flips {best}: the best likelihood here, {copier(best):.1f} nats")
print(f"the Fréchet distance is then larger, by 3 or more:      {cost > 3}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: At the best likelihood, flipped pixels show -->
# <!-- board
# Mixture: 99 % of the samples are noise, at a price of 4.6 nats.
# -->
# Likelihood and Fréchet distance prefer different $\epsilon$. Where it is small the samples score like real images and the
# likelihood is worse than that of independent pixels. Where the likelihood is best, you see the flipped pixels.

# %% board="figure" alt="Fourteen samples each: copies with hardly a pixel flipped are digits, with 6 % flipped they have stray pixels, the mixture is mostly noise."
shown = {f"flips {flip}": copied(flip, 14) for flip in (1e-4, best)}
plots.show_rows(shown | {"mixture": awful[:14]}, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# The copier with flips is also a baseline for the table. It has learnt nothing but a single number. How far ahead of it
# are the models?

# %%
print(f"every likelihood is higher than that of the best copier:           "
      f"{min(dense.values()) > copier(best)}")
print(f"the best is ahead by less than 5:                                  "
      f"{max(dense.values()) < copier(best) + 5}")
print(f"with flips 0.1 its recall is higher than that of fresh images:     "
      f"{careless[0.1]['recall'] > table['fresh images']['recall']}")

# %% [markdown] slideshow={"slide_type": "subslide"}
# A few nats: that is what learning was worth here, on little data and in little time. And corrupted copies beat fresh images in
# recall, for recall forgives noise. (It asks only whether some sample is near, and scattered samples reach far.)
#
# So neither number may stand for the other. A likelihood averages over *test images*: it asks whether you thought of each of
# them. Precision looks at *samples*: does each belong? They weigh different mistakes. Recall and the copier's
# [nearest neighbours]({{gan_architectures}}_gan_architectures.ipynb) fill some of the rest. If you know what the model is for, measure that.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Half an image is given
# <!-- minutes: 6 -->
# <!-- slide: Who makes use of a given half? -->
# <!-- board
# Keep the known pixels, and draw the others given them.
#
# - **pixel model**: in its order
# - **RBM**: Gibbs steps, and the known pixels put back after each
# -->
# <!-- question: The lower half is given. Does the gated PixelCNN make use of it? -->
# <!-- answer: No: it draws the upper half before it sees any of the lower. -->
#
# Completion, or inpainting: keep the known pixels and draw the others given them. A pixel model does it when the known pixels come
# *first* in its order ([lesson {{pixelcnn}}]({{pixelcnn}}_pixelcnn.ipynb)). In an RBM any pixels can be known: take Gibbs steps, and after each put the
# known pixels back. (That is a Gibbs chain of $p(\text{unknown} \mid \text{known})$, for given the hidden units all pixels are
# independent.)
# <!-- slide: The RBM makes use of either half -->

# %% board="figure" alt="Fourteen digits with the upper or the lower half given, each completed by the gated PixelCNN and by the RBM; most completions are digits."
upper = torch.zeros(1, 8, 8, dtype=torch.bool)
upper[:, :4] = True


def clamped(model, known, mask, steps=100):
    x = torch.where(mask, known, torch.full_like(known, 0.5).bernoulli())
    for _ in range(steps):
        x = torch.where(mask, known, model.gibbs(x, steps=1))
    return x


gated, rbm = models["Gated PixelCNN"], models["RBM, 100 hidden"]
thrice, labels = real.repeat(3, 1, 1, 1), test.labels.repeat(3)
filled, completed = {}, {}
for given, mask in (("upper", upper), ("lower", ~upper)):
    known, where = thrice.to(DEVICE), mask.to(DEVICE)
    filled[f"{given} half given"] = torch.where(mask, real, math.nan)
    for name, blind, x in (
        ("Gated PixelCNN", gated.sample(1080), gated.sample(1080, known=known, mask=where)),
        ("RBM", rbm.sample(1080, steps=30), clamped(rbm, known, where)),
    ):
        filled[f"{name}, {given}"] = x.cpu()
        right, baseline = ((y.cpu() == thrice)[:, ~mask].float().mean().item() for y in (x, blind))
        digits = (judge.predict(x.cpu()) == labels).float().mean().item()
        completed[given, name] = {"pixels": right, "nothing given": baseline, "digits": digits}
plots.show_rows({"test": real[:14]} | {name: x[:14] for name, x in filled.items()}, size=0.6)

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: Unknown pixels that come out right -->
# How many of the unknown pixels come out right? Each model has a baseline of its own: its samples when *nothing* is given.

# %%
gain = {key: row["pixels"] - row["nothing given"] for key, row in completed.items()}
print(f"upper half given: the gated PixelCNN gains 2 pixels in a hundred or more: "
      f"{gain['upper', 'Gated PixelCNN'] > 0.02}")
print(f"lower half given: it gains as many:                                       "
      f"{gain['lower', 'Gated PixelCNN'] > 0.02}")
print(f"whichever half is given, the RBM gains 4 or more:                         "
      f"{min(gain['upper', 'RBM'], gain['lower', 'RBM']) > 0.04}")

# %% board="values" tags=["nbval-ignore-output"]
print(format_table({f"{given} half, {name}": row for (given, name), row in completed.items()}, digits=2))

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- board
# **nothing given**: samples of the same model. **digits**: share in which the judge reads the label of the test image.
# -->
# Where the known half comes first, the pixel model makes use of it. Where it comes last, it gains nothing: the upper half is drawn
# before the model sees any of the lower. The RBM has no order, and it makes use of either.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## Which one should I use?
# <!-- minutes: 4 -->
# <!-- slide -->
# <!-- board
# | you want | take |
# | --- | --- |
# | an exact $p(x)$ | a pixel model |
# | samples near the data, by Fréchet distance | a VAE or a GSN |
# | samples in which little is missing | a pixel model |
# | thousands of images, now | a VAE or a GAN |
# | a code for every image | a VAE |
# | to complete an image | an RBM |
# -->
#
# | you want | take | because |
# | --- | --- | --- |
# | an exact $p(x)$, to compare or to compress | a pixel model; here the gated PixelCNN | `known`: no gap and no error to discuss |
# | the best likelihood on few, simple images | try a VAE as well | `nats`: it led on the digits, and trailed on `bars` |
# | samples near the data, by Fréchet distance | a VAE or a GSN; measure how many steps the chain needs | `frechet`: nearer to the digits than any pixel model |
# | samples in which little is missing | a pixel model | the likelihood charges for each forgotten image; `covered` on `bars` is 30 of 30. Not by recall alone, which forgives noise |
# | thousands of images, now | a VAE or a GAN | `ms to draw`: one pass. Look at `recall` *and* `precision` before you trust a GAN |
# | a code for every image | a VAE | the only leaf with `posterior`, below |
# | to complete an image (inpainting) | an RBM; a pixel model only where the known part comes first | the halves above |
# | to draw images near a given one | an RBM or a GSN | `gibbs` and `chain` start at an image, below |
#
# What a model can do, its methods say:

# %%
names = ("log_prob", "elbo", "posterior", "sample", "gibbs", "chain", "generate")
able = {
    name: {method: "yes" if method in place(models[name]).methods else None for method in names}
    for name in ("PixelCNN", "VAE", "RBM, 16 hidden", "GSN", "GAN")
}
print(format_table(able))

# %% [markdown] slideshow={"slide_type": "subslide"}
# <!-- slide: What this comparison cannot tell -->
# <!-- board
# - **Scale**: 1077 images of 64 pixels, a few seconds.
# - **One network a family**, small, with settings tried a few times.
# - **One training each**; the spread is that of new samples.
# - **Black and white**, without grey values.
# - **One judge**, and 360 test images.
# -->
# ### What this comparison cannot tell
#
# - **Scale.** 1077 images of 64 pixels and a few seconds. A model that needs much data or a long training looks bad here.
# - **One network a family.** Small ones, with settings we tried a few times. The spread between settings of one family can be as
#   large as that between families: look at the two RBMs.
# - **One training each.** `spread` is that of new samples from one trained model, not of new trainings. The claims printed here held in
#   ten others.
# - **Diffusion and flow matching.** Two seconds are too few for them: lessons [{{diffusion}}]({{diffusion}}_diffusion.ipynb) and
#   [{{flow_matching}}]({{flow_matching}}_flow_matching.ipynb) give them more, and measure them by themselves.
# - **Black and white.** Thresholds threw the grey values away, since two leaves need it. On grey or colour images likelihoods
#   also depend on how pixels are modelled ([lesson {{vae}}]({{vae}}_vae.ipynb)).
# - **One judge.** You saw two layers of one classifier disagree about Bernoulli(1/2) noise.
# - **360 test images.** The standard error above is a few tenths of a nat. Take no smaller difference seriously, unless it is
#   a difference image by image.
#
# What would change on real images? Three things follow from what you saw. Pixel by pixel takes as many steps as there are
# values: 48 times as many for a colour picture of 32 by 32 as for a digit. A fixed number of nats counts for less and less in bits
# per dimension, so the same likelihood allows ever worse samples. And tables of all images end: 16 pixels have 65,536. Which
# family is then ahead, no cell here can say.

# %% [markdown] slideshow={"slide_type": "slide"}
# ## What each lesson showed
# <!-- minutes: 2 -->
# <!-- slide: Recap -->
# <!-- board
# 1. Ask first what $p(x)$ is: exact, a bound, an estimate, or nothing.
# 2. Put baselines beside each number, and test the judge on noise.
# 3. A mixture with 99 % noise loses at most $\log 100$ nats.
# 4. A copier that hardly flips pixels: good samples, bad likelihood.
# 5. A ranking belongs to data, sizes and budget, not to the family.
# -->
#
# | lesson | what to keep |
# | --- | --- |
# | [{{taxonomy}} Taxonomy]({{taxonomy}}_taxonomy.ipynb) | a family is what it can promise about $p(x)$ |
# | [{{pixelrnn}} PixelRNN]({{pixelrnn}}_pixelrnn.ipynb), [{{pixelcnn}} PixelCNN]({{pixelcnn}}_pixelcnn.ipynb) | the chain rule gives an exact likelihood; masks train it in one pass; drawing goes pixel by pixel |
# | [{{autoencoder}} Autoencoders]({{autoencoder}}_autoencoder.ipynb) | features without labels; to sample, a model of the codes must be fitted afterwards |
# | [{{vae}} VAE]({{vae}}_vae.ipynb) | a prior and a bound turn the code into a model |
# | [{{gan}} GAN]({{gan}}_gan.ipynb), [{{gan_architectures}} GAN architectures]({{gan_architectures}}_gan_architectures.ipynb) | give up $p(x)$, gain one pass; judge by samples, and judge the judge |
# | [{{markov_chains}} Markov chains]({{markov_chains}}_markov_chains.ipynb) | energies are easy, their constant is not; a chain draws, if it mixes |
# | [{{diffusion}} Diffusion]({{diffusion}}_diffusion.ipynb) | many easy steps in place of one that is hard; a bound, and by an ODE a density |
# | [{{flow_matching}} Flow matching]({{flow_matching}}_flow_matching.ipynb) | a velocity learnt from straight lines; with Gaussian noise it and a diffusion's denoiser give each other |
#
# ### What this course left out
#
# - **Normalising flows**: an invertible network and the change of variables. Exact likelihood, *and* one pass to draw. Dinh et al.
#   (2017).
# - **Score matching**: learn the slope of $\log p$, for which the constant does not matter. Song and Ermon (2019).
#
# You can read both with what you have: a density, a bound, a chain. Ask of each what this course asked. What does it promise
# about $p(x)$? What does a sample cost? And which baseline stands beside its number?

# %% [markdown] slideshow={"slide_type": "skip"}
# ## References
#
# - Theis, van den Oord, Bethge (2016), *A note on the evaluation of generative models*, arXiv:1511.01844. The mixture and the
#   lookup table: section 3.
# - Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter (2017), *GANs trained by a two time-scale update rule converge to a local
#   Nash equilibrium*, arXiv:1706.08500. The Fréchet distance of Inception features.
# - Kynkäänniemi, Karras, Laine, Lehtinen, Aila (2019), *Improved precision and recall metric for assessing generative models*,
#   arXiv:1904.06991.
# - Burda, Grosse, Salakhutdinov (2016), *Importance weighted autoencoders*, arXiv:1509.00519.
# - Salakhutdinov, Murray (2008), *On the quantitative analysis of deep belief networks*, ICML. AIS for RBMs.
# - Lucic, Kurach, Michalski, Gelly, Bousquet (2018), *Are GANs created equal? A large-scale study*, arXiv:1711.10337. How much
#   budget and seeds matter.
# - Dinh, Sohl-Dickstein, Bengio (2017), *Density estimation using Real NVP*, arXiv:1605.08803.
# - Song, Ermon (2019), *Generative modeling by estimating gradients of the data distribution*, arXiv:1907.05600.

# %% [markdown] slideshow={"slide_type": "skip"}
# *How the claims were chosen.* Training rounds otherwise on another processor, and the runs part. So cells here print
# claims with margins that held from ten other seeds, and the numbers of one run stand in cells that the
# tests do not compare.

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} To build these measures yourself, step by step and with each step checked: [the
# exercises]({{comparison}}_comparison_exercises.ipynb). {{after}}
