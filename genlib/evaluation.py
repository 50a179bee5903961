"""How good is a model? Measures that mean the same for every family."""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.nn.functional import softplus

from genlib.data import ImageSet, image_index, load
from genlib.markov import RBM
from genlib.markov.rbm import LARGEST
from genlib.nn import Shape, check_images, check_labels
from genlib.sample_quality import frechet_distance, mode_counts, mode_coverage, precision_recall
from genlib.taxonomy import place


def bits_per_dim(nats: Tensor | float, shape: Shape) -> Tensor | float:
    r"""From nats per image to bits per dimension: $-\log p(x) / (CHW \ln 2)$.

    A dimension is one channel of one pixel, so images of different sizes can be compared. A model
    that knows nothing needs $\log_2 K$ bits a dimension; smaller is better.

    Args:
        nats: log-likelihood in nats per image, usually negative.
        shape: image shape (C, H, W).

    Example:
        >>> bits_per_dim(-64 * math.log(16), shape=(1, 8, 8))
        4.0
    """
    return -nats / (math.prod(shape) * math.log(2))


@torch.no_grad()
def log_probs(model: nn.Module, data: ImageSet, batch_size: int = 500) -> Tensor:
    """The model's log-likelihood of every image of a set, in nats and in the set's order.

    Args:
        model: has `log_prob(x)` or, if conditional, `log_prob(x, y)`.
        data: the images.
        batch_size: images a forward pass; changes the memory needed, not the result.

    Shapes:
        -> (N,) on the CPU

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> log_probs(PixelCNN((1, 4, 4), channels=8, depth=1), load("bars")).shape
        torch.Size([30])
    """
    device = next(model.parameters()).device
    conditional = getattr(model, "n_classes", 0) > 0
    log_prob: Callable[..., Tensor] = model.log_prob  # type: ignore[assignment]
    chunks = [
        (log_prob(x, y) if conditional else log_prob(x)).cpu()
        for x, y in data.batches(batch_size, shuffle=False, device=device)
    ]
    return torch.cat(chunks)


def independent_pixels(data: ImageSet) -> Categorical:
    r"""The baseline to beat: every value follows its own histogram and ignores all the others.

    Counted on the data, plus one for each level, so that none is impossible (Laplace's rule).

    Args:
        data: the images to count, usually those to train on.

    Returns:
        A distribution over levels for each value, batch shape (C, H, W): `log_prob(images.long())`
        gives nats a value, (N, C, H, W), and `sample((n,))` levels.

    Example:
        >>> baseline = independent_pixels(load("bars"))
        >>> baseline.probs[0, 0, 0]  # 15 of 30 images are white here
        tensor([0.5000, 0.5000])
        >>> baseline.sample((8,)).shape
        torch.Size([8, 1, 4, 4])
    """
    counts = [1 + (data.images == k).sum(dim=0) for k in range(data.levels)]
    return Categorical(probs=torch.stack(counts, dim=-1).float())


@torch.no_grad()
def bars_kl(log_prob: Callable[[Tensor], Tensor]) -> float:
    r"""Exact $KL(p \| q) = \sum_x p(x) \log \frac{p(x)}{q(x)}$ in nats, p being `bars`.

    p puts 1/30 on each of 30 images and nothing elsewhere, so the sum has thirty terms and no
    estimate enters. Zero means that q is p; `math.inf` that q rules out one of the thirty.

    Args:
        log_prob: log q(x) in nats of images (B, 1, 4, 4), normalised over all 2^16 of them; for a
            model on a GPU, move the images there first.

    Raises:
        ValueError: it claims more than the whole probability for the 30 images alone, so it is
            not a normalised log-probability.

    Example:
        >>> uniform = lambda x: torch.full((len(x),), -16 * math.log(2))
        >>> round(bars_kl(uniform), 4) == round(16 * math.log(2) - math.log(30), 4)
        True
    """
    log_q = log_prob(load("bars").floats()).double()
    mass = log_q.exp().sum().item()
    if mass > 1 + 1e-3:
        raise ValueError(
            f"log_prob gives the 30 images of bars a probability of {mass:.3g}, more than 1: "
            "is it normalised, and in nats per image?"
        )
    return -math.log(len(log_q)) - log_q.mean().item()


@torch.no_grad()
def log_prob_by_quadrature(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    reach: float = 6.0,
    points: int = 161,
) -> Tensor:
    r"""A VAE's $\log p(x) = \log \int p(x \mid z)\, p(z)\, dz$, by a sum over a grid of codes, in nats.

    With one or two latents the integral that nobody can compute in general can be computed: the
    mean of a smooth function over ever finer cells converges fast. It is as good as exact where it no
    longer changes with `points`; a decoder that turns sharply between two codes needs more of them.

    Args:
        model: has `prior`, `log_likelihood` and `latent_dim` 1 or 2, as `VAE`; on the device of `x`.
        x: images.
        y: labels of a conditional model.
        reach: how far the grid goes from the origin, in standard deviations of the prior, beyond
            which lies a probability of $2 \times 10^{-9}$ for each latent.
        points: codes along each latent, at least 2.

    Shapes:
        x (N, C, H, W) in [0, 1], y (N,) -> (N,)

    Raises:
        ValueError: more than two latents, fewer than 2 points, a reach that is not positive.

    Example:
        >>> from genlib.data import all_images
        >>> from genlib.variational import VAE
        >>> log_p = log_prob_by_quadrature(VAE((1, 2, 2), latent_dim=2), all_images(2, (1, 2, 2)))
        >>> round(log_p.exp().sum().item(), 4)  # a distribution over all 16 images
        1.0
    """
    latent_dim: int = model.latent_dim  # type: ignore[assignment]
    if latent_dim > 2:
        raise ValueError(
            f"a grid over {latent_dim} latents would have {points}^{latent_dim} codes: use "
            "importance_bound, or build the model with latent_dim=2"
        )
    if points < 2 or not reach > 0:
        raise ValueError(f"points must be at least 2 and reach positive, not {points} and {reach}")
    axis = torch.linspace(-reach, reach, points, dtype=torch.double)
    z = torch.cartesian_prod(*[axis] * latent_dim).view(-1, 1, latent_dim)  # (codes, 1, latents)
    log_cell = latent_dim * math.log(2 * reach / (points - 1))
    log_likelihood: Callable[..., Tensor] = model.log_likelihood  # type: ignore[assignment]
    prior: Distribution = model.prior()  # type: ignore[operator]
    log_sums = []  # a chunk of codes at a time, of which one number an image is kept
    for codes in z.to(x).split(max(1, 2**22 // x.numel())):
        codes = codes if y is None else codes.expand(-1, len(x), -1)
        log_joint = log_likelihood(x, codes, y) + prior.log_prob(codes)
        log_sums.append(log_joint.logsumexp(dim=0))
    return torch.stack(log_sums).logsumexp(dim=0) + log_cell


def bars_counts(x: Tensor) -> dict[str, float]:
    r"""How samples compare with `bars`, by counting: for models that have nothing but samples.

    With $\hat q(x)$ the share of the N samples that are the image x, and p = 1/30 on thirty images:

    - `covered`: how many of the thirty come, each at least a tenth as often as it should;
    - `valid`: the share of samples that are one of the thirty;
    - `variation`: the total variation $\frac12 \sum_x |\hat q(x) - p(x)|$ over all images;
    - `kl_of_valid`: $KL(\hat r \,\|\, p) = \log 30 - H(\hat r)$ nats, $\hat r$ being the shares among
      the valid ones. The other direction is infinite as soon as one of the thirty is missing.

    These are plug-in estimates, shares in place of probabilities. Shares scatter, so the last two
    come out too large: for samples of `bars` itself by about $15 \sqrt{2 / \pi} \sqrt{p (1 - p) / N}$
    (0.028 with N = 6000) and $29 / 2N$ (0.0024; Miller, 1955). Differences of that size mean nothing.

    Args:
        x: samples; a pixel above one half counts as white.

    Shapes:
        x (N, 1, 4, 4) in [0, 1] -> four numbers

    Raises:
        ValueError: images of another shape, or none.

    Example:
        >>> bars = load("bars").floats()
        >>> counts = bars_counts(bars[:15])  # half of them, each once
        >>> counts["covered"], counts["valid"], round(counts["variation"], 3)
        (15, 1.0, 0.5)
    """
    check_images(x, (1, 4, 4))
    if not len(x):
        raise ValueError("there are no samples to count")
    bars = load("bars").floats().to(x.device)
    white = (x > 0.5).to(bars.dtype)
    counts = mode_counts(white, bars, radius=0.5)
    p, valid = 1 / len(bars), counts.sum().item() / len(x)
    variation = ((counts / len(x) - p).abs().sum().item() + 1 - valid) / 2
    r = counts.double() / counts.sum()  # without a valid sample 0 / 0, and no divergence either
    return {
        "covered": mode_coverage(white, bars, radius=0.5),
        "valid": valid,
        "variation": variation,
        "kl_of_valid": math.log(len(bars)) + torch.xlogy(r, r).sum().item(),
    }


@torch.no_grad()
def bars_report(model: nn.Module, n_samples: int = 6000) -> dict[str, str | float | None]:
    """What is known of a model that was trained on `bars`, by the best way its leaf allows.

    - `known`: how its probabilities are known: "exact" (it has `log_prob`), "by quadrature" (a VAE of
      at most two latents), "by enumerating its chain" (it has `stationary_distribution`), or "by
      counting samples";
    - `kl`: exact KL(bars || model) in nats, None where there are samples only;
    - `covered`, `valid`, `variation`: counted from samples, see `bars_counts` for their bias.

    Args:
        model: unconditional, for images (1, 4, 4); on any device.
        n_samples: how many to draw and count.

    Raises:
        ValueError: the model is conditional.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> report = bars_report(PixelCNN((1, 4, 4), channels=8, depth=1), n_samples=100)
        >>> report["known"], report["kl"] > 0
        ('exact', True)
    """
    if getattr(model, "n_classes", 0):
        raise ValueError("this compares p(x): build the model without n_classes")
    device = next(model.parameters()).device
    known, log_prob = _log_prob_on_bars(model)
    kl = None if log_prob is None else bars_kl(lambda x: log_prob(x.to(device)).cpu())
    counts = bars_counts(model.sample(n_samples).cpu())  # type: ignore[operator]
    del counts["kl_of_valid"]
    return {"known": known, "kl": kl, **counts}


def _log_prob_on_bars(model: nn.Module) -> tuple[str, Callable[[Tensor], Tensor] | None]:
    if hasattr(model, "log_prob"):
        return "exact", model.log_prob  # type: ignore[return-value]
    if hasattr(model, "elbo") and model.latent_dim <= 2:  # type: ignore[operator]
        return "by quadrature", lambda x: log_prob_by_quadrature(model, x)
    if hasattr(model, "stationary_distribution"):
        table: Tensor = model.stationary_distribution()  # type: ignore[operator]
        return "by enumerating its chain", lambda x: table[image_index(x.cpu())].log()
    return "by counting samples", None


@torch.no_grad()
def report(
    model: nn.Module,
    data: ImageSet,
    features: Callable[[Tensor], Tensor],
    *,
    train: ImageSet | None = None,
    n_samples: int = 1000,
    k: int = 500,
) -> dict[str, str | float | None]:
    r"""What can be said of a model of any leaf: its row in a table of all of them.

    - `known`: how $\log p(x)$ is known: "exact"; "bound", a VAE's `importance_bound`; "AIS", an RBM
      too large to enumerate, with `annealed_importance`; None for an implicit model;
    - `nats`: the mean of that over the images of `data`, nats an image; None without a density. A
      bound is too low by what nobody knows, and an estimate by AIS tends to be too high;
    - `gap`: how far the ELBO lies below the bound reported, nats; None for other models;
    - `error`: standard error of the AIS estimate, nats; None for other models;
    - `frechet`, `precision`, `recall`: of as many samples as there are images in `data`, against
      these; see `frechet_distance` for why the number counts;
    - `seconds`: to draw `n_samples` at once, by the clock, with the model's default settings.

    Samples are rounded to the levels of `data` before anyone looks at them. Generators of GANs return
    grey images also where the data are black and white, and a judge would see that first.

    Args:
        model: unconditional, of one of the leaves of `genlib.taxonomy`, on any device.
        data: images that the model was not trained on.
        features: what the judge sees in images on the CPU, (N, C, H, W) -> (N, D), usually
            `FeatureClassifier.features`.
        train: what the model was trained on, from which AIS starts, see `annealed_importance`.
        n_samples: how many to draw, at least as many as there are images in `data`.
        k: codes an image for a VAE's bound.

    Raises:
        TypeError: the model is on no leaf.
        ValueError: it is conditional, or n_samples is below the number of images.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> model = PixelCNN((1, 4, 4), channels=8, depth=1)
        >>> row = report(model, load("bars"), lambda x: x.flatten(1), n_samples=50)
        >>> row["known"], row["gap"], 0 <= row["precision"] <= 1
        ('exact', None, True)
    """
    if place(model) is None:
        raise TypeError(
            f"{type(model).__name__} is on no leaf of the tree: it lacks what its leaf promises, or "
            "promises more (genlib.taxonomy.place says which methods count)"
        )
    if getattr(model, "n_classes", 0):
        raise ValueError("this compares p(x): build the model without n_classes")
    if n_samples < len(data):
        raise ValueError(
            f"n_samples must be at least {len(data)}, the number of images to compare with, "
            f"not {n_samples}"
        )
    row = _density(model, data, train, k)
    start = time.perf_counter()
    x: Tensor = model.sample(n_samples).cpu()  # type: ignore[operator]
    seconds = time.perf_counter() - start
    top = data.levels - 1
    real, fake = features(data.floats()), features((x[: len(data)] * top).round() / top)
    precision, recall = precision_recall(real, fake)
    return {
        **row,
        "frechet": frechet_distance(real, fake),
        "precision": precision,
        "recall": recall,
        "seconds": seconds,
    }


class LogLikelihood(NamedTuple):
    """What is known of log p(x), see `log_likelihood`.

    Args:
        known: "exact", "bound" (from below) or "AIS" (an estimate).
        scores: nats of each image before normalisation, (N,) on the CPU.
        log_z: what normalises them: nats are `scores - log_z`. Zero where scores are normalised.
        error: standard error of `log_z` in nats, if it is an estimate.
    """

    known: str
    scores: Tensor
    log_z: Tensor | float = 0.0
    error: float | None = None

    @property
    def nats(self) -> Tensor:
        """log p(x), or what stands for it, in nats of each image, (N,)."""
        return self.scores - self.log_z


@torch.no_grad()
def log_likelihood(
    model: nn.Module, data: ImageSet, *, train: ImageSet | None = None, k: int = 500
) -> LogLikelihood | None:
    """The best that can be said of log p(x) of every image of a set; None for an implicit model.

    Args:
        model: of one of the leaves of `genlib.taxonomy`, on any device; a conditional one is given
            the labels.
        data: the images.
        train: what the model was trained on, from which AIS starts, see `annealed_importance`.
        k: codes an image for a VAE's bound.

    Example:
        >>> from genlib.autoregressive import PixelCNN
        >>> known = log_likelihood(PixelCNN((1, 4, 4), channels=8, depth=1), load("bars"))
        >>> known.known, known.nats.shape
        ('exact', torch.Size([30]))
    """
    device = next(model.parameters()).device
    if isinstance(model, RBM):  # p(x) is exp(-F(x)) / Z, and Z the same for all images
        error = None
        if min(model.n_hidden, math.prod(model.shape)) <= LARGEST:
            known, log_z = "exact", model.log_partition()
        else:
            known, (log_z, std) = "AIS", annealed_importance(model, data=train)
            error = std.item()
        scores = -model.free_energy(data.floats().to(device))
        return LogLikelihood(known, scores.cpu(), log_z.cpu(), error)
    if hasattr(model, "log_prob"):
        return LogLikelihood("exact", log_probs(model, data))
    if hasattr(model, "elbo"):
        y = data.labels.to(device) if getattr(model, "n_classes", 0) else None
        bound = importance_bound(model, data.floats().to(device), k, y)
        return LogLikelihood("bound", bound.cpu())
    return None


def _density(
    model: nn.Module, data: ImageSet, train: ImageSet | None, k: int
) -> dict[str, str | float | None]:
    row: dict[str, str | float | None] = dict.fromkeys(("known", "nats", "gap", "error"))
    likelihood = log_likelihood(model, data, train=train, k=k)
    if likelihood is not None:
        row["known"], row["error"] = likelihood.known, likelihood.error
        row["nats"] = nats = (likelihood.scores.mean() - likelihood.log_z).item()
        if hasattr(model, "elbo"):
            x = data.floats().to(next(model.parameters()).device)
            row["gap"] = nats - model.elbo(x).mean().item()  # type: ignore[operator]
    return row


def format_table(rows: Mapping[str, Mapping[str, object]], digits: int = 3) -> str:
    """Rows of figures as text in columns: to print, and to compare line by line.

    Args:
        rows: name of a row -> name of a column -> what stands there: numbers are aligned at the
            right, floats rounded, None is "-", and so is a column that a row does not have.
        digits: of floats, after the point.

    Example:
        >>> print(format_table({"PixelCNN": {"KL": 0.0123, "valid": 1}, "GAN": {"KL": None}}))
                    KL  valid
        PixelCNN  0.012      1
        GAN          -      -
    """

    def text(value: object) -> str:
        if value is None:
            return "-"
        return f"{value:.{digits}f}" if isinstance(value, float) else str(value)

    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [["", *names]]
    cells += [[row, *(text(of.get(name)) for name in names)] for row, of in rows.items()]
    words = [
        k == 0 or any(isinstance(of.get(names[k - 1]), str) for of in rows.values())
        for k in range(len(names) + 1)
    ]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names) + 1)]
    lines = (
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in cells
    )
    return "\n".join(lines)


@torch.no_grad()
def importance_bound(
    model: nn.Module, x: Tensor, k: int, y: Tensor | None = None, at_once: int = 1000
) -> Tensor:
    r"""A lower bound on a VAE's $\log p(x)$ from `k` codes an image, in nats.

    $$\log p(x) \ge E\Big[\log \frac1k \sum_{i=1}^k \frac{p(x \mid z_i)\,p(z_i)}{q(z_i \mid x)}\Big],
    \qquad z_i \sim q(z \mid x)$$

    With k = 1 this is the ELBO. The bound rises with k and tends to $\log p(x)$: Burda et al. (2016),
    Importance Weighted Autoencoders, arXiv:1509.00519, theorem 1. What is returned is one draw of
    the right-hand side for each image; it may lie above $\log p(x)$ by chance, its mean does not.

    An image is encoded once. Codes are decoded in chunks, and of a chunk only one number an image is
    kept, so the memory needed hardly grows with k or with the number of images.

    Args:
        model: has `posterior`, `prior` and `log_likelihood`, as `VAE`; on the device of `x`.
        x: images.
        k: codes an image, at least 1.
        y: labels of a conditional model.
        at_once: codes decoded together. The memory needed grows with it and with the size of the
            decoder's output: 1000 codes of 784 numbers are 3 MB a tensor.

    Shapes:
        x (N, C, H, W) in [0, 1], y (N,) -> (N,)

    Raises:
        ValueError: k or at_once below 1; otherwise as the model.

    Example:
        >>> from genlib.variational import VAE
        >>> model = VAE((1, 4, 4), latent_dim=2)
        >>> importance_bound(model, load("bars").floats(), k=50).shape
        torch.Size([30])
    """
    if k < 1 or at_once < 1:
        raise ValueError(f"k and at_once must be at least 1, not {k} and {at_once}")
    check_labels(y, len(x), getattr(model, "n_classes", 0))
    log_likelihood: Callable[..., Tensor] = model.log_likelihood  # type: ignore[assignment]
    prior: Distribution = model.prior()  # type: ignore[operator]
    draws = min(k, at_once)
    bounds = []
    for rows in torch.arange(len(x), device=x.device).split(at_once // draws):
        images, labels = x[rows], None if y is None else y[rows]
        posterior: Distribution = model.posterior(images, labels)  # type: ignore[operator]
        log_sums = []  # of the weights p(x | z) p(z) / q(z | x), one for each chunk of codes
        for start in range(0, k, draws):
            z = posterior.sample((min(draws, k - start),))  # (draws, rows, latent_dim)
            log_joint = log_likelihood(images, z, labels) + prior.log_prob(z)
            log_sums.append((log_joint - posterior.log_prob(z)).logsumexp(dim=0))
        bounds.append(torch.stack(log_sums).logsumexp(dim=0) - math.log(k))
    return torch.cat(bounds)


@torch.no_grad()
def annealed_importance(
    model: RBM, n_chains: int = 100, n_temperatures: int = 1000, data: ImageSet | None = None
) -> tuple[Tensor, Tensor]:
    r"""Estimate an RBM's $\log Z$ by annealed importance sampling (AIS), with a standard error.

    Chains start as draws from a model whose Z is known, the base-rate RBM: no weights, so all pixels
    are independent. On the way to the model there are K = `n_temperatures` steps, $\beta_k = k / K$,
    each of them an RBM again: weights $\beta W$, hidden biases $\beta c$, and visible biases that go
    from those of the base to the model's. Before a chain follows to the next RBM by one round of
    Gibbs sampling, its weight is multiplied by the ratio of the two unnormalised probabilities:

    $$w = \prod_{k=1}^K e^{F_{k-1}(x_{k-1}) - F_k(x_{k-1})}, \qquad
    E[w] = \frac{Z}{Z_0}, \qquad Z_0 = 2^{n_{hidden}} \prod_i (1 + e^{a_i})$$

    for base biases a. K = 1 is plain importance sampling from independent pixels.

    Two warnings. The estimate of Z is unbiased, so that of $\log Z$ is too low on average (Jensen),
    and likelihoods computed with it flatter the model. And the standard error is taken from the
    weights that were seen: if no chain found a large mode, it is missing in the estimate and in the
    error as well. A small error tells that the chains agree, not that they are right; ask whether
    the estimate stays when `n_temperatures` grows.

    Paper: Salakhutdinov & Murray (2008), On the quantitative analysis of deep belief networks,
    section 4, after Neal (2001), arXiv:physics/9803008.

    Args:
        model: an `RBM` of any size.
        n_chains: independent chains, at least 2. The error falls as one over their square root.
        n_temperatures: RBMs on the way, counting the model.
        data: images whose mean gives the base-rate RBM its biases, as in the paper, usually those
            trained on; None takes a base of coin tosses, $a = 0$.

    Returns:
        The estimate of $\log Z$ in nats and its standard error, two scalars on the model's device.
        The error is that of the mean weight over the mean weight (the delta method).

    Raises:
        ValueError: fewer than 2 chains, no temperature, data of another shape or of grey values.

    Example:
        >>> from genlib.markov import RBM
        >>> model = RBM((1, 4, 4), n_hidden=8)
        >>> log_z, error = annealed_importance(model, n_chains=50, n_temperatures=20)
        >>> bool((log_z - model.log_partition()).abs() < 0.1)
        True
    """
    if n_chains < 2 or n_temperatures < 1:
        raise ValueError(
            "n_chains must be at least 2 and n_temperatures at least 1, "
            f"not {n_chains} and {n_temperatures}"
        )
    bias, weight, hidden_bias = model.visible_bias, model.weight, model.hidden_bias
    base = torch.zeros_like(bias)
    if data is not None:
        if data.levels != 2 or data.shape != model.shape:
            raise ValueError(
                f"data must be binary images of shape {model.shape}, as the model's, not {data}"
            )
        base = independent_pixels(data).logits.diff(dim=-1).flatten().to(bias)  # log-odds of white
    between = RBM(model.shape, model.n_hidden)

    def free_energy(x: Tensor, beta: float) -> Tensor:
        between.visible_bias = nn.Parameter(torch.lerp(base, bias, beta))
        between.weight = nn.Parameter(beta * weight)
        between.hidden_bias = nn.Parameter(beta * hidden_bias)
        return between._free_energy(x)  # drawn here, so black and white: nothing to check

    x = torch.bernoulli(base.sigmoid().expand(n_chains, -1))
    log_w = bias.new_zeros(n_chains)
    for k in range(1, n_temperatures + 1):
        log_w += free_energy(x, (k - 1) / n_temperatures) - free_energy(x, k / n_temperatures)
        x = between._gibbs(x, steps=1)
    log_z_base = model.n_hidden * math.log(2) + softplus(base).sum()
    w = (log_w - log_w.max()).exp()  # in units of the largest, which cancel in the error
    error = w.std() / (w.mean() * math.sqrt(n_chains))
    return log_z_base + log_w.logsumexp(dim=0) - math.log(n_chains), error
