"""What no table of the checks knows: right answers in other styles, and wrong ones that are no entry."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import MultivariateNormal

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("autoencoder", whole="nearest_centroid")
mse, pca, reconstruct, pca_errors, gradients, denoising_loss, nearest_centroid, draw_codes = (
    bank.solutions[step] for step in bank.steps
)


def in_another_precision(x):
    return x.float() if x.dtype == torch.float64 else x.double()


# ---------------------------------------------------------------- 1. mse

bank.right(
    "mse",
    lambda x, y: F.mse_loss(y, x, reduction="none").sum(list(range(1, x.dim()))) / x[0].numel(),
    lambda x, y: torch.linalg.vector_norm((x - y).flatten(1), dim=1) ** 2 / math.prod(x.shape[1:]),
)
bank.wrong("mse", {
    "rounded on its way": lambda x, y: (x.float() ** 2 - (2 * x * y - y**2).float()).flatten(1).mean(1),
    "stops for vectors": lambda x, y: ((x - y) ** 2).mean(dim=(1, 2, 3)),
    "no gradient reaches `y`": lambda x, y: mse(x, y.detach()),
    "the right one is|half the right one": lambda x, y: mse(x, y) / 2,
    "and the next cell needs": lambda x, y: in_another_precision(mse(x, y)),
})  # fmt: skip


# ---------------------------------------------------------------- 2. pca


def pca_by_eigenvectors(x, k):
    covariance = torch.cov(x.T.double())
    return x.mean(0), torch.linalg.eigh(covariance).eigenvectors[:, -k:].flip(1).T.to(x)


def pca_in_numpy(x, k):
    mean = x.double().numpy().mean(axis=0)
    components = np.linalg.svd(x.double().numpy() - mean)[2][:k]
    return torch.from_numpy(mean).to(x), torch.from_numpy(-components).to(
        x
    )  # the other end of each axis


def pca_one_by_one(x, k):
    mean = x.mean(0)
    left, found = (x - mean).double(), []
    for _ in range(k):
        v = torch.ones(x.shape[1], dtype=torch.float64)
        for _ in range(300):
            v = F.normalize(left.T @ (left @ v), dim=0)
        found.append(v)
        left = left - torch.outer(left @ v, v)
    return [mean, torch.stack(found).to(x)]


def with_components(change):
    def answer(x, k):
        mean, components = pca(x, k)
        return mean, change(x, k, components)

    return answer


def another_basis(x, k, components):
    if k == 1:
        return components
    q = torch.linalg.qr((components @ torch.ones_like(components).T + torch.eye(k).to(x)).T).Q
    return q.T @ components


def most_varying_pixels(x, k, components):
    return torch.eye(x.shape[1]).to(x)[x.var(0).argsort(descending=True)[:k]]


bank.right("pca", pca_by_eigenvectors, pca_in_numpy, pca_one_by_one)
bank.wrong("pca", {
    r"has the shape \(1, 5\) where \(5,\) is wanted": lambda x, k: (pca(x, k)[0][None], pca(x, k)[1]),
    r"has the shape \(3, 5\) where \(2, 5\) is wanted": lambda x, k: pca(x, k + 1),
    "the mean: your result is the right one multiplied by the length of axis 0":
        lambda x, k: (x.sum(0), torch.linalg.svd(x - x.sum(0), full_matrices=False).Vh[:k]),
    "come in another order": lambda *given: pca(*given)[::-1],
    "not of length 1": lambda x, k: (pca(x, k)[0], pca(x, k)[1] * ((x - x.mean(0)) @ pca(x, k)[1].T).std(0)[:, None]),
    "not its axes": with_components(another_basis),
    "row 1 of your components": with_components(lambda x, k, v: torch.cat([v[:1], v[: k - 1]])),
    "row 0 of your components": with_components(most_varying_pixels),
    "right, but the matrix of components.*the next cell": with_components(lambda x, k, v: in_another_precision(v)),
})  # fmt: skip


# ---------------------------------------------------------------- 3. reconstruct


def reconstruct_by_least_squares(x, mean, components):
    z = torch.linalg.lstsq(components.T.double(), (x - mean).T.double()).solution.T.to(x)
    return [z, torch.einsum("nk,kd->nd", z, components) + mean]


def reconstruct_image_by_image(x, mean, components):
    z = torch.stack([components @ (image - mean) for image in x])
    projector = components.T @ components
    return z, x @ projector + mean - mean @ projector


bank.right("reconstruct", reconstruct_by_least_squares, reconstruct_image_by_image)
bank.wrong("reconstruct", {
    "returns one thing: return 2 tensors": lambda *given: reconstruct(*given)[1],
    "come in another order": lambda *given: reconstruct(*given)[::-1],
})  # fmt: skip


# ---------------------------------------------------------------- 4. pca_errors


def pca_errors_by_eigenvalues(x):
    variance = torch.linalg.eigvalsh(torch.cov(x.T.double(), correction=0)).tolist()
    return torch.tensor([sum(variance[:j]) for j in range(x.shape[1], -1, -1)]) / x.shape[1]


def pca_errors_by_doing_it(x):
    codes = [reconstruct(x, *pca(x, k))[1] for k in range(x.shape[1] + 1)]
    return torch.stack([mse(x, back).mean() for back in codes])


bank.right("pca_errors", pca_errors_by_eigenvalues, pca_errors_by_doing_it)
bank.wrong("pca_errors", {
    "reverse order": lambda x: pca_errors(x).flip(0),
    "twice the right one": lambda x: 2 * pca_errors(x),
})  # fmt: skip


# ---------------------------------------------------------------- 5. gradients


def gradients_by_autograd(x, encoder, decoder):
    encoder, decoder = encoder.clone().requires_grad_(), decoder.clone().requires_grad_()
    return torch.autograd.grad(mse(x, x @ encoder.T @ decoder.T).mean(), [encoder, decoder])


def gradients_image_by_image(x, encoder, decoder):
    for_encoder, for_decoder = torch.zeros_like(encoder), torch.zeros_like(decoder)
    for image in x:
        error = decoder @ (encoder @ image) - image
        for_decoder += torch.outer(error, encoder @ image)
        for_encoder += torch.outer(decoder.T @ error, image)
    return [2 * for_encoder / x.numel(), 2 * for_decoder / x.numel()]


def decoder_after_its_own_step(x, encoder, decoder):
    first = gradients(x, encoder, decoder)[0]
    return first, gradients(x, encoder - first, decoder)[1]


bank.right("gradients", gradients_by_autograd, gradients_image_by_image)
bank.wrong("gradients", {
    "come in another order": lambda *given: gradients(*given)[::-1],
    "the decoder's gradient of `gradients` is wrong": decoder_after_its_own_step,
    "the encoder's gradient: your result is 3 times":
        lambda *given: (3 * gradients(*given)[0], gradients(*given)[1]),
})  # fmt: skip


# ---------------------------------------------------------------- 6. denoising_loss


def denoising_loss_by_bernoulli(model, x, drop):
    dropped = torch.bernoulli(torch.full(x.shape, float(drop))).bool()
    return F.mse_loss(model(x.masked_fill(dropped, 0)), x, reduction="none").mean((1, 2, 3))


def denoising_loss_by_dropout(model, x, drop):
    holes = F.dropout(torch.ones_like(x), drop).sign() * x
    return (model(holes) - x).pow(2).sum((1, 2, 3)) / x[0].numel()


def by_mask(mask):
    """A loss that keeps where mask(x, drop) says so."""
    return lambda model, x, drop: mse(x, model(x * mask(x, drop)))


def at_rate(x, drop, *shape):
    return torch.rand(shape) >= drop


def as_many_in_each(x, drop):
    rank = torch.rand_like(x).flatten(1).argsort(dim=1).argsort(dim=1)
    return (rank >= drop * x[0].numel()).reshape(x.shape)


def in_blocks(x, drop):
    h, w = x.shape[2:]
    keep = torch.rand(*x.shape[:2], h // 2 + 1, w // 2 + 1) >= drop
    return keep.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :h, :w]


def the_darkest(x, drop):
    rank = x.flatten().argsort().argsort().reshape(x.shape).to(x)
    noise = 0.3 * x.numel() * torch.rand_like(x)
    return (rank + noise).flatten().argsort().argsort().reshape(x.shape) >= drop * x.numel()


def always_the_same_mask(model, x, drop):
    torch.manual_seed(0)
    return denoising_loss(model, x, drop)


@torch.no_grad()
def nothing_to_learn(model, x, drop):
    return denoising_loss(model, x, drop)


def two_calls(model, x, drop):
    model(x)
    return denoising_loss(model, x, drop)


bank.right("denoising_loss", denoising_loss_by_bernoulli, denoising_loss_by_dropout)
bank.wrong("denoising_loss", {
    "the model sees the clean images": lambda model, x, drop: mse(x, model(x) * at_rate(x, drop, *x.shape)),
    "never calls the model": lambda model, x, drop: mse(x, x * at_rate(x, drop, *x.shape)),
    "calls the model 2 times": two_calls,
    "as in `F.dropout`": lambda model, x, drop: mse(model(F.dropout(x, drop)), x),
    "dropped values become 1": lambda model, x, drop: mse(model(torch.where(torch.rand_like(x) < drop, 1.0, x)), x),
    "no other noise": lambda model, x, drop: mse(model(x + drop * torch.randn_like(x)), x),
    "whole images": by_mask(lambda x, drop: at_rate(x, drop, len(x), 1, 1, 1)),
    "lose the same values": by_mask(lambda x, drop: at_rate(x, drop, *x.shape[1:])),
    "all colours of a pixel": by_mask(lambda x, drop: at_rate(x, drop, len(x), 1, *x.shape[2:])),
    "all values of a column": by_mask(lambda x, drop: at_rate(x, drop, *x.shape[:2], 1, x.shape[3])),
    "all values of a row": by_mask(lambda x, drop: at_rate(x, drop, *x.shape[:3], 1)),
    "neighbours along axis 2": by_mask(in_blocks),
    "depends on the image": by_mask(the_darkest),
    "you keep with probability": by_mask(lambda x, drop: torch.rand_like(x) < drop),
    "of the values": by_mask(lambda x, drop: at_rate(x, drop, *x.shape) & at_rate(x, drop, *x.shape)),
    "exactly as many values": by_mask(as_many_in_each),
    "with drop=0.0 you drop": lambda model, x, drop: denoising_loss(model, x, drop or 0.5),
    "draws the same numbers": always_the_same_mask,
    "no gradient reaches `model`": nothing_to_learn,
    r"wants images of the shape \(120, 1, 6, 6\)":
        lambda model, x, drop: mse(model((x * at_rate(x, drop, *x.shape)).flatten(1)), x.flatten(1)),
})  # fmt: skip


# ---------------------------------------------------------------- 7. nearest_centroid


def nearest_centroid_by_one_hot(codes, labels, queries):
    classes, place = labels.unique(return_inverse=True)
    one_hot = F.one_hot(place).T.to(codes)
    centroids = one_hot @ codes / one_hot.sum(1, keepdim=True)
    return classes[(queries[:, None] - centroids).square().sum(-1).min(-1).indices]


def nearest_centroid_query_by_query(codes, labels, queries):
    centroids = {int(c): codes[labels == c].mean(0) for c in labels}
    guesses = [min(centroids, key=lambda c: (centroids[c] - q).norm()) for q in queries]
    return torch.tensor(guesses)


bank.right("nearest_centroid", nearest_centroid_by_one_hot, nearest_centroid_query_by_query)
bank.wrong("nearest_centroid", {
    "whose centroid is .* nearer": lambda codes, labels, queries: nearest_centroid(codes, labels, queries / 2),
    "a class that has no labelled code": lambda codes, labels, queries: torch.cdist(queries, codes).argmin(dim=1) % 10,
})  # fmt: skip


# ---------------------------------------------------------------- 8. draw_codes


def root_of(codes):
    return torch.linalg.cholesky(torch.cov(codes.T))


def noise_for(codes, n):
    return torch.randn(n, codes.shape[1]).to(codes)


def draw_codes_as_mixtures_of_codes(codes, n):
    centred = (codes - codes.mean(0)) / len(codes) ** 0.5
    return codes.mean(0) + torch.randn(n, len(codes)).to(codes) @ centred


def draw_codes_in_numpy(codes, n):
    drawn = np.random.multivariate_normal(codes.mean(0).numpy(), np.cov(codes.T.numpy()), size=n)
    return torch.from_numpy(drawn).to(codes)


bank.right(
    "draw_codes",
    lambda codes, n: MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0)).sample((n,)),
    draw_codes_as_mixtures_of_codes,
    draw_codes_in_numpy,
)  # fmt: skip
bank.wrong("draw_codes", {
    "standard normal numbers": lambda codes, n: noise_for(codes, n),
    "a covariance of 1": lambda codes, n: codes.mean(0) + noise_for(codes, n),
    "lie around zero": lambda codes, n: draw_codes(codes, n) - codes.mean(0),
    "correlations are lost": lambda codes, n: codes.mean(0) + codes.std(0) * noise_for(codes, n),
    "share one noise": lambda codes, n: codes.mean(0) + noise_for(codes, n)[:, :1] @ root_of(codes).sum(1)[None],
    "by the covariance itself": lambda codes, n: codes.mean(0) + noise_for(codes, n) @ torch.cov(codes.T),
    "transposed": lambda codes, n: codes.mean(0) + noise_for(codes, n) @ root_of(codes),
    "by variances": lambda codes, n: codes.mean(0) + codes.var(0) * noise_for(codes, n),
    "`torch.rand` is not":
        lambda codes, n: codes.mean(0) + torch.rand(n, codes.shape[1]).to(codes) @ root_of(codes).T,
    "they are not normal":
        lambda codes, n: codes.mean(0) + (2 * torch.rand(n, codes.shape[1]).to(codes) - 1) * 3**0.5 @ root_of(codes).T,
    "the given codes again": lambda codes, n: codes[torch.randint(len(codes), (n,))],
    "all draws are the same": lambda codes, n: draw_codes(codes, 1).repeat(n, 1),
    "many of your draws are the same": lambda codes, n: draw_codes(codes, n // 2 + 1).repeat(2, 1)[:n],
    r"has the shape \(400, 3\) where \(7, 3\)": lambda codes, n: draw_codes(codes, len(codes)),
    "right, their mean is not": lambda codes, n: draw_codes(codes, n) + codes.mean(0),
    "times that of the codes": lambda codes, n: 2 * draw_codes(codes, n) - codes.mean(0),
    "right, their covariance is not": lambda codes, n: draw_codes(codes, n) + noise_for(codes, n),
    "subtract the mean before": lambda codes, n: draw_codes(codes, n) + noise_for(codes, n)[:, :1] * codes.mean(0),
    "root of the correlations": lambda codes, n: codes.mean(0) + (draw_codes(codes, n) - codes.mean(0)) / codes.std(0),
    "neither the mean nor the covariance": lambda codes, n: 2 * draw_codes(codes, n),
    "draws the same numbers": lambda codes, n: (torch.manual_seed(0), draw_codes(codes, n))[1],
})  # fmt: skip


# ---------------------------------------------------------------- the bank, applied


class TestSteps(StepsOfALesson):
    bank = bank


def test_an_axis_and_its_opposite_are_the_same_component():
    """Signs of an SVD are free, and another library chooses others."""
    for signs in ([1, 1, 1], [-1, 1, -1], [-1, -1, -1]):
        answer = with_components(lambda x, k, v, s=signs: v * torch.tensor(s[:k])[:, None])
        assert bank.verdict("pca", answer) is None


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (torch, "cdist"), (torch, "cov")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    monkeypatch.setattr(torch.linalg, "svd", lambda *args, **kwargs: True)
    monkeypatch.setattr(torch.linalg, "svdvals", lambda *args, **kwargs: True)
    assert bank.verdict("pca", pca_in_numpy) is None
    assert bank.verdict("nearest_centroid", lambda c, y, q: torch.cdist(q, c)) is not None
    assert "the sum over the values" in bank.verdict("mse", lambda x, y: mse(x, y) * x[0].numel())
    assert "lie around zero" in bank.verdict(
        "draw_codes", lambda codes, n: draw_codes_in_numpy(codes, n) - codes.mean(0)
    )


@pytest.mark.parametrize("step", ["denoising_loss", "draw_codes"])
def test_right_answers_that_draw_are_accepted_for_many_seeds(step):
    for answer in bank.rights[step][1:]:
        for seed in range(60, 70):
            assert bank.verdict(step, answer, seed=seed) is None
