"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.distributions import MultivariateNormal

from course.checking.bank import Bank, ChecksOfALesson

bank = Bank(
    "autoencoder",
    steps="mse pca reconstruct pca_errors gradients denoising_loss nearest_centroid draw_codes",
    results={"pca": 2, "reconstruct": 2, "gradients": 2},
    may_be_integers=("nearest_centroid",),
    random=("denoising_loss", "draw_codes"),
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. mse


@right("mse")
def mse(x, y):
    return (x - y).square().flatten(1).mean(dim=1)


@right("mse")
def mse_by_mse_loss(x, y):
    squares = F.mse_loss(y, x, reduction="none")
    return squares.sum(dim=list(range(1, x.dim()))) / x[0].numel()


@right("mse")
def mse_by_lengths(x, y):
    return torch.linalg.vector_norm((x - y).flatten(1), dim=1) ** 2 / math.prod(x.shape[1:])


@wrong("mse", "the sum over the values of an image")
def summed(x, y):
    return ((x - y) ** 2).flatten(1).sum(1)


@wrong("mse", "average over the batch too")
def averaged_over_all(x, y):
    return ((x - y) ** 2).mean()


@wrong("mse", "one number for each value")
def not_averaged(x, y):
    return (x - y) ** 2


@wrong("mse", "average over the images, axis 0")
def averaged_over_images(x, y):
    return ((x - y) ** 2).mean(0)


@wrong("mse", "over the last axis only")
def averaged_over_columns(x, y):
    return ((x - y) ** 2).mean(-1)


@wrong("mse", "the root of the mean")
def root(x, y):
    return ((x - y) ** 2).flatten(1).mean(1) ** 0.5


@wrong("mse", "absolute differences")
def absolute(x, y):
    return abs(x - y).flatten(1).mean(1)


@wrong("mse", "opposite sign cancel: square each")
def signed(x, y):
    return (x - y).flatten(1).mean(1)


@wrong("mse", "you square the mean difference")
def squared_too_late(x, y):
    return (x - y).flatten(1).mean(1) ** 2


@wrong("mse", "stops for vectors")
def for_images_only(x, y):
    return ((x - y) ** 2).mean(dim=(1, 2, 3))


@wrong("mse", "no gradient reaches `y`")
def without_gradient(x, y):
    return mse(x, y.detach())


@wrong("mse", "by the number of images: divide")
def divided_by_the_batch(x, y):
    return ((x - y) ** 2).flatten(1).sum(1) / len(x)


# ---------------------------------------------------------------- 2. pca


@right("pca")
def pca(x, k):
    mean = x.mean(dim=0)
    return mean, torch.linalg.svd(x - mean, full_matrices=False).Vh[:k]


@right("pca")
def pca_by_eigenvectors(x, k):
    covariance = torch.cov(x.T.double())
    return x.mean(0), torch.linalg.eigh(covariance).eigenvectors[:, -k:].flip(1).T


@right("pca")
def pca_in_numpy(x, k):
    x = x.double().numpy()
    mean = x.mean(axis=0)
    components = np.linalg.svd(x - mean)[2][:k]
    return torch.from_numpy(mean), torch.from_numpy(-components)  # the other end of each axis


@right("pca")
def pca_one_by_one(x, k):
    mean = x.mean(0)
    left, found = (x - mean).double(), []
    for _ in range(k):
        v = torch.ones(x.shape[1], dtype=torch.float64)
        for _ in range(300):
            v = F.normalize(left.T @ (left @ v), dim=0)
        found.append(v)
        left = left - torch.outer(left @ v, v)
    return [mean, torch.stack(found)]


def with_components(change):
    def answer(x, k):
        mean, components = pca(x, k)
        return mean, change(x, k, components)

    return answer


@wrong("pca", "one number for everything")
def mean_of_everything(x, k):
    return x.mean(), pca(x, k)[1]


@wrong("pca", "one number an image")
def mean_of_each_image(x, k):
    return x.mean(1), pca(x, k)[1]


@wrong("pca", "has the shape (1, 5) where (5,) is wanted")
def mean_with_its_axis(x, k):
    return x.mean(0, keepdim=True), pca(x, k)[1]


@wrong("pca", "forget to subtract the mean")
def not_centred(x, k):
    return x.mean(0), torch.linalg.svd(x, full_matrices=False)[2][:k]


@wrong("pca", "its own brightness")
def centred_each_image(x, k):
    return x.mean(0), torch.linalg.svd(x - x.mean(1, keepdim=True)).Vh[:k]


@wrong("pca", "by its standard deviation")
def standardised(x, k):
    return x.mean(0), torch.linalg.svd((x - x.mean(0)) / x.std(0)).Vh[:k]


@wrong("pca", "smallest variance")
def first_of_eigh(x, k):
    return x.mean(0), torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, :k].T


@wrong("pca", "in reverse order")
def last_of_eigh(x, k):
    return x.mean(0), torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -k:].T


@wrong("pca", "scaled by their singular values")
def scaled(x, k):
    _, s, vh = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x.mean(0), (s[:, None] * vh)[:k]


@wrong("pca", "columns of Vh")
def columns_of_vh(x, k):
    return x.mean(0), torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:, :k].T


@wrong("pca", "return them as rows")
def as_columns(x, k):
    mean, components = pca(x, k)
    return mean, components.T


@wrong("pca", "these are codes")
def left_vectors(x, k):
    return x.mean(0), torch.linalg.svd(x - x.mean(0), full_matrices=False).U[:, :k]


@wrong("pca", "return the first k")
def all_directions(x, k):
    return pca(x, x.shape[1])


@wrong("pca", "where (k, D) = (2, 5) is wanted")
def one_too_many(x, k):
    return pca(x, k + 1)


@wrong("pca", "not of length 1")
def times_their_spread(x, k):
    mean, components = pca(x, k)
    return mean, components * ((x - mean) @ components.T).std(0)[:, None]


@wrong("pca", "not its axes")
def another_basis_of_the_plane(x, k):
    mean, components = pca(x, k)
    q = torch.linalg.qr((components @ torch.ones_like(components).T + torch.eye(k).to(x)).T).Q
    return mean, q.T @ components


@wrong("pca", "row 1 of your components")
def first_direction_found_twice(x, k):
    mean, components = pca(x, k)
    return mean, torch.cat([components[:1], components[: k - 1]])


@wrong("pca", "row 0 of your components")
def axes_of_the_pixels(x, k):
    return x.mean(0), torch.eye(x.shape[1])[x.var(0).argsort(descending=True)[:k]]


# ---------------------------------------------------------------- 3. reconstruct


@right("reconstruct")
def reconstruct(x, mean, components):
    z = (x - mean) @ components.T
    return z, mean + z @ components


@right("reconstruct")
def reconstruct_by_least_squares(x, mean, components):
    z = torch.linalg.lstsq(components.T.double(), (x - mean).T.double()).solution.T
    return [z, torch.einsum("nk,kd->nd", z, components.double()) + mean]


@right("reconstruct")
def reconstruct_image_by_image(x, mean, components):
    z = torch.stack([components @ (image - mean) for image in x])
    projector = components.T @ components
    return z, x @ projector + mean - mean @ projector


@wrong("reconstruct", "do not subtract the mean before")
def mean_left_in(x, mean, components):
    z = x @ components.T
    return z, z @ components


@wrong("reconstruct", "you add the mean before")
def mean_added(x, mean, components):
    z = (x + mean) @ components.T
    return z, z @ components - mean


@wrong("reconstruct", "the mean of these images")
def mean_of_the_batch(x, mean, components):
    return reconstruct(x, x.mean(0), components)


@wrong("reconstruct", "wrong sign")
def codes_negative(x, mean, components):
    z = (mean - x) @ components.T
    return z, mean - z @ components


@wrong("reconstruct", "your codes stand in columns")
def codes_in_columns(x, mean, components):
    z = components @ (x - mean).T
    return z, mean + (components.T @ z).T


@wrong("reconstruct", "not added back")
def mean_forgotten(x, mean, components):
    z = (x - mean) @ components.T
    return z, z @ components


@wrong("reconstruct", "once more when you decode")
def mean_subtracted_twice(x, mean, components):
    z = (x - mean) @ components.T
    return z, z @ components - mean


@wrong("reconstruct", "what gets lost")
def what_is_lost(x, mean, components):
    z, back = reconstruct(x, mean, components)
    return z, x - back


@wrong("reconstruct", "you decode another code")
def another_code(x, mean, components):
    return (x - mean) @ components.T, x @ components.T @ components + mean


@wrong("reconstruct", "returns one thing: return 2 tensors")
def images_only(x, mean, components):
    return reconstruct(x, mean, components)[1]


# ---------------------------------------------------------------- 4. pca_errors


@right("pca_errors")
def pca_errors(x):
    variance = torch.linalg.svdvals(x - x.mean(dim=0)) ** 2 / len(x)
    kept = torch.cat([torch.zeros(1), variance.cumsum(dim=0)])
    return (variance.sum() - kept) / x.shape[1]


@right("pca_errors")
def pca_errors_by_eigenvalues(x):
    variance = torch.linalg.eigvalsh(torch.cov(x.T.double(), correction=0)).tolist()
    return torch.tensor([sum(variance[:j]) for j in range(x.shape[1], -1, -1)]) / x.shape[1]


@right("pca_errors")
def pca_errors_by_doing_it(x):
    codes = [reconstruct(x, *pca(x, k))[1] for k in range(x.shape[1] + 1)]
    return torch.stack([mse(x, back).mean() for back in codes])


@wrong("pca_errors", "do not subtract the mean")
def errors_not_centred(x):
    variance = torch.linalg.svdvals(x) ** 2 / len(x)
    return torch.stack([variance[k:].sum() for k in range(x.shape[1] + 1)]) / x.shape[1]


@wrong("pca_errors", "add up singular values")
def errors_without_square(x):
    s = torch.linalg.svdvals(x - x.mean(0)) / len(x)
    return torch.stack([s[k:].sum() for k in range(x.shape[1] + 1)]) / x.shape[1]


@wrong("pca_errors", "divide by N - 1")
def errors_by_cov(x):
    variance = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    return torch.stack([variance[k:].sum() for k in range(x.shape[1] + 1)]) / x.shape[1]


@wrong("pca_errors", "do not divide by N:")
def errors_summed_over_images(x):
    return pca_errors(x) * len(x)


@wrong("pca_errors", "error of a whole image")
def errors_summed_over_pixels(x):
    return pca_errors(x) * x.shape[1]


@wrong("pca_errors", "what k numbers keep")
def kept_instead(x):
    variance = torch.linalg.svdvals(x - x.mean(0)) ** 2 / x.numel()
    return torch.cat([torch.zeros(1), variance.cumsum(0)])


@wrong("pca_errors", "largest variances first")
def from_the_wrong_end(x):
    variance = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
    return torch.stack([variance[k:].sum() for k in range(x.shape[1] + 1)]) / x.shape[1]


@wrong("pca_errors", "fraction of the variance")
def fractions(x):
    errors = pca_errors(x)
    return errors / errors[0]


@wrong("pca_errors", "starts at k = 1")
def from_one_on(x):
    return pca_errors(x)[1:]


@wrong("pca_errors", "ends before k = D")
def without_the_zero(x):
    variance = torch.linalg.svdvals(x - x.mean(0)) ** 2 / x.numel()
    return variance.flip(0).cumsum(0).flip(0)


@wrong("pca_errors", "variances one by one")
def never_added(x):
    return torch.linalg.svdvals(x - x.mean(0)) ** 2 / x.numel()


# ---------------------------------------------------------------- 5. gradients


@right("gradients")
def gradients(x, encoder, decoder):
    z = x @ encoder.T
    error = z @ decoder.T - x
    return 2 / x.numel() * (error @ decoder).T @ x, 2 / x.numel() * error.T @ z


@right("gradients")
def gradients_by_autograd(x, encoder, decoder):
    encoder, decoder = encoder.clone().requires_grad_(), decoder.clone().requires_grad_()
    return torch.autograd.grad(mse(x, x @ encoder.T @ decoder.T).mean(), [encoder, decoder])


@right("gradients")
def gradients_image_by_image(x, encoder, decoder):
    for_encoder, for_decoder = torch.zeros_like(encoder), torch.zeros_like(decoder)
    for image in x:
        error = decoder @ (encoder @ image) - image
        for_decoder += torch.outer(error, encoder @ image)
        for_encoder += torch.outer(decoder.T @ error, image)
    return [2 * for_encoder / x.numel(), 2 * for_decoder / x.numel()]


def times(factor):
    def scale(x, encoder, decoder):
        return [factor(x) * g for g in gradients(x, encoder, decoder)]

    return scale


@wrong("gradients", "wrong sign")
def uphill(x, encoder, decoder):
    z = x @ encoder.T
    error = x - z @ decoder.T
    return 2 / x.numel() * decoder.T @ error.T @ x, 2 / x.numel() * error.T @ z


@wrong("gradients", "the factor 2")
def without_the_two(x, encoder, decoder):
    return times(lambda x: 0.5)(x, encoder, decoder)


@wrong("gradients", "all squared errors")
def of_the_sum(x, encoder, decoder):
    return times(lambda x: x.numel())(x, encoder, decoder)


@wrong("gradients", "you add up the images")
def summed_over_images(x, encoder, decoder):
    return times(len)(x, encoder, decoder)


@wrong("gradients", "you add up the values of an image")
def summed_over_values(x, encoder, decoder):
    return times(lambda x: x.shape[1])(x, encoder, decoder)


@wrong("gradients", "back through the encoder")
def through_the_encoder(x, encoder, decoder):
    error = x @ encoder.T @ decoder.T - x
    return 2 / x.numel() * encoder @ error.T @ x, gradients(x, encoder, decoder)[1]


@wrong("gradients", "encoder's gradient uses the reconstruction")
def encoder_without_error(x, encoder, decoder):
    back = x @ encoder.T @ decoder.T
    return 2 / x.numel() * decoder.T @ back.T @ x, gradients(x, encoder, decoder)[1]


@wrong("gradients", "decoder's gradient uses the reconstruction")
def decoder_without_error(x, encoder, decoder):
    z = x @ encoder.T
    return gradients(x, encoder, decoder)[0], 2 / x.numel() * decoder @ z.T @ z


@wrong("gradients", "the order is reversed")
def decoder_first(x, encoder, decoder):
    return gradients(x, encoder, decoder)[::-1]


@wrong("gradients", "must be that of the encoder")
def encoder_transposed(x, encoder, decoder):
    for_encoder, for_decoder = gradients(x, encoder, decoder)
    return for_encoder.T, for_decoder


@wrong("gradients", "must be that of the decoder")
def decoder_times_x(x, encoder, decoder):
    error = x @ encoder.T @ decoder.T - x
    return gradients(x, encoder, decoder)[0], 2 / x.numel() * error.T @ x


@wrong("gradients", "the encoder's gradient is wrong")
def encoder_alone_is_negative(x, encoder, decoder):
    for_encoder, for_decoder = gradients(x, encoder, decoder)
    return -for_encoder, for_decoder


@wrong("gradients", "the decoder's is not")
def decoder_with_its_own_step(x, encoder, decoder):
    stepped = encoder - gradients(x, encoder, decoder)[0]
    return gradients(x, encoder, decoder)[0], gradients(x, stepped, decoder)[1]


# ---------------------------------------------------------------- 6. denoising_loss


@right("denoising_loss")
def denoising_loss(model, x, drop):
    keep = torch.rand_like(x) >= drop
    return mse(x, model(x * keep))


@right("denoising_loss")
def denoising_loss_by_bernoulli(model, x, drop):
    dropped = torch.bernoulli(torch.full(x.shape, float(drop))).bool()
    out = model(x.masked_fill(dropped, 0))
    return F.mse_loss(out, x, reduction="none").mean((1, 2, 3))


@right("denoising_loss")
def denoising_loss_by_dropout(model, x, drop):
    holes = F.dropout(torch.ones_like(x), drop).sign() * x
    return (model(holes) - x).pow(2).sum((1, 2, 3)) / x[0].numel()


def corrupted(x, drop):
    return x * (torch.rand_like(x) >= drop)


@wrong("denoising_loss", "your target is the corrupted image")
def noisy_target(model, x, drop):
    x = corrupted(x, drop)
    return mse(model(x), x)


@wrong("denoising_loss", "compare what the model makes of it")
def model_ignored(model, x, drop):
    holes = corrupted(x, drop)
    model(holes)
    return mse(holes, x)


@wrong("denoising_loss", "the dropped values only")
def holes_only(model, x, drop):
    keep = torch.rand_like(x) >= drop
    return ((model(x * keep) - x) ** 2 * ~keep).mean((1, 2, 3))


@wrong("denoising_loss", "only what was not dropped")
def seen_only(model, x, drop):
    keep = torch.rand_like(x) >= drop
    return ((model(x * keep) - x) ** 2 * keep).mean((1, 2, 3))


@wrong("denoising_loss", "average over the batch too")
def scalar_loss(model, x, drop):
    return F.mse_loss(model(corrupted(x, drop)), x)


@wrong("denoising_loss", "the sum over the values of an image")
def summed_loss(model, x, drop):
    return (model(corrupted(x, drop)) - x).square().sum((1, 2, 3))


@wrong("denoising_loss", "the model sees the clean images")
def corrupts_the_output(model, x, drop):
    return mse(corrupted(model(x), drop), x)


@wrong("denoising_loss", "never calls the model")
def no_model(model, x, drop):
    return mse(corrupted(x, drop), x)


@wrong("denoising_loss", "calls the model 2 times")
def two_calls(model, x, drop):
    model(x)
    return mse(model(corrupted(x, drop)), x)


@wrong("denoising_loss", "as in `F.dropout`")
def dropout(model, x, drop):
    return mse(model(F.dropout(x, drop)), x)


@wrong("denoising_loss", "dropped values become 1")
def white_holes(model, x, drop):
    return mse(model(torch.where(torch.rand_like(x) < drop, 1.0, x)), x)


@wrong("denoising_loss", "no other noise")
def gaussian_noise(model, x, drop):
    return mse(model(x + drop * torch.randn_like(x)), x)


@wrong("denoising_loss", "whole images")
def whole_images(model, x, drop):
    keep = torch.rand(len(x), 1, 1, 1) >= drop
    return mse(model(x * keep), x)


@wrong("denoising_loss", "lose the same values")
def one_mask_for_all(model, x, drop):
    return mse(model(x * (torch.rand(x.shape[1:]) >= drop)), x)


@wrong("denoising_loss", "all colours of a pixel")
def one_mask_for_all_colours(model, x, drop):
    return mse(model(x * (torch.rand_like(x[:, :1]) >= drop)), x)


@wrong("denoising_loss", "you keep with probability")
def keeps_instead(model, x, drop):
    return mse(model(x * (torch.rand_like(x) < drop)), x)


@wrong("denoising_loss", "of the values")
def drop_squared(model, x, drop):
    return mse(model(corrupted(corrupted(x, drop), drop)), x)


@wrong("denoising_loss", "exactly as many values")
def as_many_in_each(model, x, drop):
    rank = torch.rand_like(x).flatten(1).argsort(dim=1).argsort(dim=1)
    keep = (rank >= drop * x[0].numel()).reshape(x.shape)
    return mse(model(x * keep), x)


@wrong("denoising_loss", "two calls drop the same values")
def always_the_same_mask(model, x, drop):
    torch.manual_seed(0)
    return denoising_loss(model, x, drop)


@wrong("denoising_loss", "no gradient reaches `model`")
@torch.no_grad()
def nothing_to_learn(model, x, drop):
    return denoising_loss(model, x, drop)


@wrong("denoising_loss", "wants images of the shape (120, 1, 6, 6)")
def flattens_first(model, x, drop):
    return mse(model(corrupted(x, drop).flatten(1)), x.flatten(1))


# ---------------------------------------------------------------- 7. nearest_centroid


def means(codes, labels):
    classes = labels.unique()
    return classes, torch.stack([codes[labels == c].mean(dim=0) for c in classes])


@right("nearest_centroid")
def nearest_centroid(codes, labels, queries):
    classes, centroids = means(codes, labels)
    return classes[torch.cdist(queries, centroids).argmin(dim=1)]


@right("nearest_centroid")
def nearest_centroid_by_one_hot(codes, labels, queries):
    classes, place = labels.unique(return_inverse=True)
    one_hot = F.one_hot(place).T.to(codes)
    centroids = one_hot @ codes / one_hot.sum(1, keepdim=True)
    return classes[(queries[:, None] - centroids).square().sum(-1).min(-1).indices]


@right("nearest_centroid")
def nearest_centroid_query_by_query(codes, labels, queries):
    centroids = {int(c): codes[labels == c].mean(0) for c in labels}
    guesses = [min(centroids, key=lambda c: (centroids[c] - q).norm()) for q in queries]
    return torch.tensor(guesses)


@wrong("nearest_centroid", "the place of the centroid")
def place_in_the_list(codes, labels, queries):
    return torch.cdist(queries, means(codes, labels)[1]).argmin(dim=1)


@wrong("nearest_centroid", "the class of the nearest code")
def nearest_neighbour(codes, labels, queries):
    return labels[torch.cdist(queries, codes).argmin(dim=1)]


@wrong("nearest_centroid", "you add up the codes")
def summed_codes(codes, labels, queries):
    classes, place = labels.unique(return_inverse=True)
    sums = torch.zeros(len(classes), codes.shape[1]).to(codes).index_add(0, place, codes)
    return classes[torch.cdist(queries, sums).argmin(dim=1)]


@wrong("nearest_centroid", "the farthest centroid")
def farthest(codes, labels, queries):
    classes, centroids = means(codes, labels)
    return classes[torch.cdist(queries, centroids).argmax(dim=1)]


@wrong("nearest_centroid", "the largest dot product")
def dot_product(codes, labels, queries):
    classes, centroids = means(codes, labels)
    return classes[(queries @ centroids.T).argmax(dim=1)]


@wrong("nearest_centroid", "you add up absolute differences")
def city_block(codes, labels, queries):
    classes, centroids = means(codes, labels)
    return classes[(queries[:, None] - centroids).abs().sum(2).argmin(dim=1)]


@wrong("nearest_centroid", "the distances to all centroids")
def distances(codes, labels, queries):
    return torch.cdist(queries, means(codes, labels)[1])


@wrong("nearest_centroid", "you classify the labelled codes")
def classifies_the_codes(codes, labels, queries):
    return nearest_centroid(codes, labels, codes)


@wrong("nearest_centroid", "a centroid of NaN")
def every_class_up_to_the_largest(codes, labels, queries):
    centroids = torch.stack([codes[labels == c].mean(0) for c in range(int(labels.max()) + 1)])
    return torch.cdist(queries, centroids).argmin(dim=1)


@wrong("nearest_centroid", "its centroid at 0")
def empty_classes_at_zero(codes, labels, queries):
    one_hot = F.one_hot(labels).T.to(codes)
    centroids = one_hot @ codes / one_hot.sum(1, keepdim=True).clamp(min=1)
    return torch.cdist(queries, centroids).argmin(dim=1)


@wrong("nearest_centroid", "a class that has no labelled code")
def ten_digits(codes, labels, queries):
    return torch.cdist(queries, codes).argmin(dim=1) % 10


@wrong("nearest_centroid", "for the labels [0, 1, 2, 3] the result")
def one_sided(codes, labels, queries):
    classes, centroids = means(codes, labels)
    return classes[(queries[:, None] - centroids).sum(2).argmin(dim=1)]


# ---------------------------------------------------------------- 8. draw_codes


@right("draw_codes")
def draw_codes(codes, n):
    root = torch.linalg.cholesky(torch.cov(codes.T))
    return codes.mean(dim=0) + torch.randn(n, codes.shape[1]).to(codes) @ root.T


@right("draw_codes")
def draw_codes_by_distribution(codes, n):
    return MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0)).sample((n,))


@right("draw_codes")
def draw_codes_as_mixtures_of_codes(codes, n):
    centred = (codes - codes.mean(0)).double() / len(codes) ** 0.5
    return codes.mean(0) + torch.randn(n, len(codes), dtype=torch.float64) @ centred


@right("draw_codes")
def draw_codes_in_numpy(codes, n):
    drawn = np.random.multivariate_normal(codes.mean(0).numpy(), np.cov(codes.T.numpy()), size=n)
    return torch.from_numpy(drawn)


@wrong("draw_codes", "standard normal numbers")
def standard_normal(codes, n):
    return torch.randn(n, codes.shape[1])


@wrong("draw_codes", "a covariance of 1")
def moved_only(codes, n):
    return codes.mean(0) + torch.randn(n, codes.shape[1])


@wrong("draw_codes", "lie around zero")
def not_moved(codes, n):
    return draw_codes(codes, n) - codes.mean(0)


@wrong("draw_codes", "correlations are lost")
def each_number_on_its_own(codes, n):
    return codes.mean(0) + codes.std(0) * torch.randn(n, codes.shape[1])


@wrong("draw_codes", "by the covariance itself")
def times_the_covariance(codes, n):
    return codes.mean(0) + torch.randn(n, codes.shape[1]).to(codes) @ torch.cov(codes.T)


@wrong("draw_codes", "transposed")
def not_transposed(codes, n):
    root = torch.linalg.cholesky(torch.cov(codes.T))
    return codes.mean(0) + torch.randn(n, codes.shape[1]).to(codes) @ root


@wrong("draw_codes", "by variances")
def times_variances(codes, n):
    return codes.mean(0) + codes.var(0) * torch.randn(n, codes.shape[1])


@wrong("draw_codes", "`torch.rand` is not")
def uniform_noise(codes, n):
    root = torch.linalg.cholesky(torch.cov(codes.T))
    return codes.mean(0) + torch.rand(n, codes.shape[1]).to(codes) @ root.T


@wrong("draw_codes", "they are not normal")
def uniform_of_variance_one(codes, n):
    root = torch.linalg.cholesky(torch.cov(codes.T))
    noise = (2 * torch.rand(n, codes.shape[1]).to(codes) - 1) * 3**0.5
    return codes.mean(0) + noise @ root.T


@wrong("draw_codes", "the given codes again")
def picks_codes(codes, n):
    return codes[torch.randint(len(codes), (n,))]


@wrong("draw_codes", "all draws are the same")
def one_draw_repeated(codes, n):
    return draw_codes(codes, 1).repeat(n, 1)


@wrong("draw_codes", "for n=7 and codes")
def as_many_as_codes(codes, n):
    return draw_codes(codes, len(codes))


@wrong("draw_codes", "right, their mean is not")
def mean_added_twice(codes, n):
    return draw_codes(codes, n) + codes.mean(0)


@wrong("draw_codes", "right, their covariance is not")
def wider(codes, n):
    return 2 * draw_codes(codes, n) - codes.mean(0)


@wrong("draw_codes", "neither the mean nor the covariance")
def doubled(codes, n):
    return 2 * draw_codes(codes, n)


# ---------------------------------------------------------------- the bank, applied


class TestChecks(ChecksOfALesson):
    bank = bank


def test_an_axis_and_its_opposite_are_the_same_component():
    """Signs of an SVD are free, and another library chooses others."""
    for signs in ([1, 1, 1], [-1, 1, -1], [-1, -1, -1]):
        answer = with_components(lambda x, k, c, s=signs: c * torch.tensor(s[:k])[:, None])
        assert bank.verdict("pca", answer) is None


def test_a_loss_that_drops_nothing_at_drop_zero_only_is_found():
    """drop=0 is the plain autoencoder, and must change no value at all."""

    def half_for_zero(model, x, drop):
        return denoising_loss(model, x, drop or 0.5)

    assert "with drop=0.0 you drop" in bank.verdict("denoising_loss", half_for_zero)


@pytest.mark.parametrize("step", ["denoising_loss", "draw_codes"])
def test_a_right_answer_that_draws_is_accepted_for_many_seeds(step):
    for seed in range(60):
        assert bank.verdict(step, bank.first_right(step), seed=seed) is None


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (torch, "cdist"), (torch, "cov")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    monkeypatch.setattr(torch.linalg, "svd", lambda *args, **kwargs: True)
    monkeypatch.setattr(torch.linalg, "svdvals", lambda *args, **kwargs: True)
    assert bank.verdict("pca", pca_in_numpy) is None
    assert "returns a bool" in bank.verdict("nearest_centroid", lambda c, y, q: torch.cdist(q, c))
    assert "the sum over the values" in bank.verdict("mse", summed)
    assert "lie around zero" in bank.verdict(
        "draw_codes", lambda codes, n: draw_codes_in_numpy(codes, n) - codes.mean(0)
    )
