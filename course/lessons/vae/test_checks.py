"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from course.checking.bank import Bank, ChecksOfALesson

bank = Bank(
    "vae",
    steps="bernoulli_log_prob gaussian_log_prob log_evidence reparameterise kl elbo gap "
    "importance_bound sample grey_bits",
    takes_no_tensors=("sample",),
)
wrong, right = bank.wrong, bank.right
PIXELS = (-3, -2, -1)


# ---------------------------------------------------------------- 1. bernoulli_log_prob


@right("bernoulli_log_prob")
def bernoulli_log_prob(logits, x):
    return (x * logits - F.softplus(logits)).sum(dim=PIXELS)


@right("bernoulli_log_prob")
def bernoulli_by_distribution(logits, x):
    return Independent(Bernoulli(logits=logits), 3).log_prob(x)


@right("bernoulli_log_prob")
def bernoulli_by_cross_entropy(logits, x):
    logits, x = torch.broadcast_tensors(logits, x)
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(-3).sum(-1)


@wrong("bernoulli_log_prob", "this is the cross-entropy")
def cross_entropy(logits, x):
    logits, x = torch.broadcast_tensors(logits, x)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(PIXELS)


@wrong("bernoulli_log_prob", "average over the pixels")
def mean_over_pixels(logits, x):
    return Bernoulli(logits=logits).log_prob(x).mean(PIXELS)


@wrong("bernoulli_log_prob", "one number for each pixel")
def number_a_pixel(logits, x):
    return Bernoulli(logits=logits).log_prob(x)


@wrong("bernoulli_log_prob", "not over the channels")
def rows_and_columns(logits, x):
    return Bernoulli(logits=logits).log_prob(x).sum((-2, -1))


@wrong("bernoulli_log_prob", "sum over the images too")
def sum_over_batch(logits, x):
    return Bernoulli(logits=logits).log_prob(x).sum()


@wrong("bernoulli_log_prob", "average over everything")
def minus_plain_loss(logits, x):
    logits, x = torch.broadcast_tensors(logits, x)
    return -F.binary_cross_entropy_with_logits(logits, x)


@wrong("bernoulli_log_prob", "all axes but the first")
def flattened_from_one(logits, x):
    return Bernoulli(logits=logits).log_prob(x).flatten(1).sum(1)


@wrong("bernoulli_log_prob", "not normalised")
def x_times_logits(logits, x):
    return (x * logits).sum(PIXELS)


@wrong("bernoulli_log_prob", "black pixels count nothing")
def white_pixels_only(logits, x):
    return (x * F.logsigmoid(logits)).sum(PIXELS)


@wrong("bernoulli_log_prob", "the wrong way round")
def colours_swapped(logits, x):
    return ((1 - x) * F.logsigmoid(logits) + x * F.logsigmoid(-logits)).sum(PIXELS)


@wrong("bernoulli_log_prob", "add up probabilities")
def sum_of_probabilities(logits, x):
    p = torch.sigmoid(logits)
    return (x * p + (1 - x) * (1 - p)).sum(PIXELS)


@wrong("bernoulli_log_prob", "makes your result infinite")
def log_of_sigmoid(logits, x):
    p = torch.sigmoid(logits)
    return (x * p + (1 - x) * (1 - p)).log().sum(PIXELS)


@wrong("bernoulli_log_prob", "cuts every logarithm at -100")
def cross_entropy_of_probabilities(logits, x):
    p, x = torch.broadcast_tensors(torch.sigmoid(logits), x)
    return -F.binary_cross_entropy(p, x, reduction="none").sum(PIXELS)


@wrong("bernoulli_log_prob", "no gradient reaches `logits`")
@torch.no_grad()
def bernoulli_without_gradient(logits, x):
    return bernoulli_log_prob(logits, x)


# ---------------------------------------------------------------- 2. gaussian_log_prob


@right("gaussian_log_prob")
def gaussian_log_prob(z, mean, log_std):
    noise = (z - mean) / log_std.exp()
    return (-0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


@right("gaussian_log_prob")
def gaussian_by_distribution(z, mean, log_std):
    return Independent(Normal(mean, log_std.exp()), 1).log_prob(z)


@right("gaussian_log_prob")
def gaussian_of_whole_codes(z, mean, log_std):
    square = ((z - mean).square() * torch.exp(-2 * log_std)).sum(-1)
    return -(square + 2 * log_std.sum(-1) + z.shape[-1] * math.log(2 * math.pi)) / 2


def gaussian_terms(z, mean, log_std):
    square = -0.5 * ((z - mean) / log_std.exp()) ** 2
    return square, -log_std, -0.5 * math.log(2 * math.pi)


@wrong("gaussian_log_prob", "the constant is missing")
def no_constant(z, mean, log_std):
    square, scale, _ = gaussian_terms(z, mean, log_std)
    return (square + scale).sum(-1)


@wrong("gaussian_log_prob", "counted once for the whole code")
def one_constant(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (square + scale).sum(-1) + constant


@wrong("gaussian_log_prob", "counted again in each of them")
def d_constants_d_times(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (square + scale + z.shape[-1] * constant).sum(-1)


@wrong("gaussian_log_prob", "- log_std is missing")
def no_scale(z, mean, log_std):
    square, _, constant = gaussian_terms(z, mean, log_std)
    return (square + constant).sum(-1)


@wrong("gaussian_log_prob", "you add log_std")
def scale_added(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (square - scale + constant).sum(-1)


@wrong("gaussian_log_prob", "take exp(log_std) for the variance")
def log_std_for_log_variance(z, mean, log_std):
    return Independent(Normal(mean, (0.5 * log_std).exp()), 1).log_prob(z)


@wrong("gaussian_log_prob", "you halve log_std")
def half_the_scale(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (square + 0.5 * scale + constant).sum(-1)


@wrong("gaussian_log_prob", "not by its square")
def divides_after_the_square(z, mean, log_std):
    _, scale, constant = gaussian_terms(z, mean, log_std)
    return (-0.5 * (z - mean) ** 2 / log_std.exp() + scale + constant).sum(-1)


@wrong("gaussian_log_prob", "the factor 1/2")
def no_half(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (2 * square + scale + constant).sum(-1)


@wrong("gaussian_log_prob", "the square has the wrong sign")
def plus_the_square(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (-square + scale + constant).sum(-1)


@wrong("gaussian_log_prob", "average over the entries")
def mean_over_entries(z, mean, log_std):
    return Normal(mean, log_std.exp()).log_prob(z).mean(-1)


@wrong("gaussian_log_prob", "one number for each entry")
def number_an_entry(z, mean, log_std):
    return Normal(mean, log_std.exp()).log_prob(z)


@wrong("gaussian_log_prob", "sum over the codes too")
def sum_over_codes(z, mean, log_std):
    return Normal(mean, log_std.exp()).log_prob(z).sum()


@wrong("gaussian_log_prob", "all axes but the first")
def gaussian_flattened(z, mean, log_std):
    return Normal(mean, log_std.exp()).log_prob(z).flatten(1).sum(1)


@wrong("gaussian_log_prob", "this is the density")
def density(z, mean, log_std):
    return gaussian_by_distribution(z, mean, log_std).exp()


@wrong("gaussian_log_prob", "is infinite")
def log_of_density(z, mean, log_std):
    square, scale, constant = gaussian_terms(z, mean, log_std)
    return (square + scale + constant).exp().log().sum(-1)


@wrong("gaussian_log_prob", "the gradient of `z` and `mean` and `log_std` is not")
def spread_detached(z, mean, log_std):
    return gaussian_log_prob(z, mean, log_std.detach())


# ---------------------------------------------------------------- 3. log_evidence


def log_prior(z):
    return Independent(Normal(torch.zeros_like(z), 1), 1).log_prob(z)[:, None]


@right("log_evidence")
def log_evidence(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood + log_prior(z) + math.log(area), dim=0)


@right("log_evidence")
def log_evidence_by_the_largest(log_likelihood, z, area):
    joint = log_likelihood + log_prior(z)
    top = joint.max(dim=0).values
    return top + ((joint - top).exp().sum(0) * area).log()


@wrong("log_evidence", "a square of the grid weighs")
def evidence_without_prior(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood, 0) + math.log(area)


@wrong("log_evidence", "the area is missing")
def evidence_without_area(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood + log_prior(z), 0)


@wrong("log_evidence", "the likelihoods alone")
def plain_logsumexp(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood, 0)


@wrong("log_evidence", "add the area to a logarithm")
def area_added(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood + log_prior(z) + area, 0)


@wrong("log_evidence", "divide by the number of points")
def mean_over_the_grid(log_likelihood, z, area):
    return log_evidence(log_likelihood, z, area) - math.log(len(log_likelihood))


@wrong("log_evidence", "the mean over points drawn from the prior")
def as_monte_carlo(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood, 0) - math.log(len(log_likelihood))


@wrong("log_evidence", "not the sum of logarithms")
def sum_of_logarithms(log_likelihood, z, area):
    return (log_likelihood + log_prior(z)).sum(0) + math.log(area)


@wrong("log_evidence", "you sum over the images")
def wrong_axis(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood + log_prior(z), 1) + math.log(area)


@wrong("log_evidence", "the constant of the prior")
def prior_without_constant(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood - 0.5 * (z**2).sum(1, True), 0) + math.log(area)


@wrong("log_evidence", "to the power D")
def area_to_the_power(log_likelihood, z, area):
    return torch.logsumexp(log_likelihood + log_prior(z), 0) + z.shape[1] * math.log(area)


@wrong("log_evidence", "this is p(x) itself")
def the_probability(log_likelihood, z, area):
    return (log_likelihood + log_prior(z)).exp().sum(0) * area


@wrong("log_evidence", "is infinite")
def leaves_log_space(log_likelihood, z, area):
    return the_probability(log_likelihood, z, area).log()


# ---------------------------------------------------------------- 4. reparameterise


@right("reparameterise")
def reparameterise(mean, log_std, k):
    return mean + log_std.exp() * torch.randn(k, *mean.shape)


@right("reparameterise")
def reparameterise_by_rsample(mean, log_std, k):
    return Normal(mean, log_std.exp()).rsample((k,))


@right("reparameterise")
def reparameterise_one_by_one(mean, log_std, k):
    return torch.stack([mean + torch.randn_like(mean) * torch.exp(log_std) for _ in range(k)])


@wrong("reparameterise", "log_std itself")
def log_std_for_std(mean, log_std, k):
    return mean + log_std * torch.randn(k, *mean.shape)


@wrong("reparameterise", "the variance, exp(2 log_std)")
def variance_for_std(mean, log_std, k):
    return mean + log_std.exp() ** 2 * torch.randn(k, *mean.shape)


@wrong("reparameterise", "log of the variance and halve it")
def half_log_std(mean, log_std, k):
    return mean + (log_std / 2).exp() * torch.randn(k, *mean.shape)


@wrong("reparameterise", "the spread is 1")
def no_std(mean, log_std, k):
    return mean + torch.randn(k, *mean.shape)


@wrong("reparameterise", "from `rand`")
def uniform_noise(mean, log_std, k):
    return mean + log_std.exp() * torch.rand(k, *mean.shape)


@wrong("reparameterise", "is not exp(log_std)")
def positive_noise(mean, log_std, k):
    return mean + log_std.exp() * torch.randn(k, *mean.shape).abs()


@wrong("reparameterise", "all images share one noise")
def one_noise_for_all_images(mean, log_std, k):
    return mean + log_std.exp() * torch.randn(k, 1, mean.shape[1])


@wrong("reparameterise", "the entries of a code share")
def one_noise_for_all_entries(mean, log_std, k):
    return mean + log_std.exp() * torch.randn(k, len(mean), 1)


@wrong("reparameterise", "all k draws of an image are the same")
def one_noise_for_all_draws(mean, log_std, k):
    return (mean + log_std.exp() * torch.randn(mean.shape)).expand(k, -1, -1)


@wrong("reparameterise", "every draw is the mean")
def no_noise(mean, log_std, k):
    return mean.expand(k, -1, -1)


@wrong("reparameterise", "the mean is missing")
def no_mean(mean, log_std, k):
    return log_std.exp() * torch.randn(k, *mean.shape)


@wrong("reparameterise", "do not lie around the mean")
def mean_subtracted(mean, log_std, k):
    return log_std.exp() * torch.randn(k, *mean.shape) - mean


@wrong("reparameterise", "not normal")
def rescaled_uniform_noise(mean, log_std, k):
    return mean + log_std.exp() * (torch.rand(k, *mean.shape) - 0.5) * math.sqrt(12)


@wrong("reparameterise", "every call draws the same")
def seeds_itself(mean, log_std, k):
    torch.manual_seed(0)
    return reparameterise(mean, log_std, k)


@wrong("reparameterise", "no gradient reaches mean and log_std")
def drawn_by_torch(mean, log_std, k):
    return Normal(mean, log_std.exp()).sample((k,))


@wrong("reparameterise", "no gradient reaches log_std:")
def std_detached(mean, log_std, k):
    return mean + log_std.exp().detach() * torch.randn(k, *mean.shape)


@wrong("reparameterise", "no gradient reaches mean:")
def mean_detached(mean, log_std, k):
    return reparameterise(mean.detach(), log_std, k)


@wrong("reparameterise", "their gradient with respect to log_std")
def straight_through(mean, log_std, k):
    noise = log_std.exp() * torch.randn(k, *mean.shape)
    return mean + noise.detach() + log_std - log_std.detach()


@wrong("reparameterise", "returns the shape (3, 2) for k = 4000")
def one_draw_only(mean, log_std, k):
    return mean + log_std.exp() * torch.randn_like(mean)


# ---------------------------------------------------------------- 5. kl


@right("kl")
def kl(mean, log_std):
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(dim=1)


@right("kl")
def kl_by_distributions(mean, log_std):
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return kl_divergence(Normal(mean, log_std.exp()), prior).sum(-1)


def kl_terms(mean, log_std):
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std)


@wrong("kl", "averaged over the latent dimensions; it must be summed")
def kl_mean_over_latents(mean, log_std):
    return kl_terms(mean, log_std).mean(dim=1)


@wrong("kl", "one number for each latent")
def kl_unsummed(mean, log_std):
    return kl_terms(mean, log_std)


@wrong("kl", "summed over the images too")
def kl_of_the_batch(mean, log_std):
    return kl_terms(mean, log_std).sum()


@wrong("kl", "averaged over the images:")
def kl_mean_over_images(mean, log_std):
    return kl(mean, log_std).mean()


@wrong("kl", "over images and latent dimensions")
def kl_mean_over_everything(mean, log_std):
    return kl_terms(mean, log_std).mean()


@wrong("kl", "the sign is wrong")
def kl_negative(mean, log_std):
    return 0.5 * (1 + 2 * log_std - mean**2 - torch.exp(2 * log_std)).sum(dim=1)


@wrong("kl", "the factor 1/2")
def kl_doubled(mean, log_std):
    return (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(dim=1)


@wrong("kl", "take log_std for the log of the variance")
def kl_of_log_variance(mean, log_std):
    return 0.5 * (mean**2 + log_std.exp() - 1 - log_std).sum(1)


@wrong("kl", "missing its square")
def kl_std_for_variance(mean, log_std):
    return 0.5 * (mean**2 + log_std.exp() - 1 - 2 * log_std).sum(1)


@wrong("kl", "you subtract half of it")
def kl_half_the_logarithm(mean, log_std):
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - log_std).sum(1)


@wrong("kl", "you add 2 log_std")
def kl_plus_the_logarithm(mean, log_std):
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 + 2 * log_std).sum(1)


@wrong("kl", "the - 1 is missing")
def kl_without_one(mean, log_std):
    return 0.5 * (mean**2 + torch.exp(2 * log_std) - 2 * log_std).sum(1)


@wrong("kl", "the mean is not squared")
def kl_mean_not_squared(mean, log_std):
    return 0.5 * (mean + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1)


@wrong("kl", "the mean is missing")
def kl_without_mean(mean, log_std):
    return 0.5 * (torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1)


@wrong("kl", "the other way round")
def kl_reversed(mean, log_std):
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return kl_divergence(prior, Normal(mean, log_std.exp())).sum(-1)


@wrong("kl", "no gradient reaches `mean` and `log_std`")
def kl_of_data(mean, log_std):
    return kl(mean.data, log_std.data)


# ---------------------------------------------------------------- 6. elbo


@right("elbo")
def elbo(encode, decode, x):
    mean, log_std = encode(x)
    (z,) = reparameterise(mean, log_std, 1)
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)


@right("elbo")
def elbo_with_the_axis_of_draws(encode, decode, x):
    mean, log_std = encode(x)
    logits = decode(reparameterise(mean, log_std, 1))
    return bernoulli_log_prob(logits, x).mean(dim=0) - kl(mean, log_std)


@right("elbo")
def elbo_of_ten_draws(encode, decode, x):
    q = Normal(*[f(y) for f, y in zip((torch.Tensor.clone, torch.exp), encode(x), strict=True)])
    draws = [bernoulli_by_distribution(decode(q.rsample()), x) for _ in range(10)]
    return torch.stack(draws).mean(0) - kl_divergence(q, Normal(0.0, 1.0)).sum(1)


def elbo_terms(encode, decode, x):
    mean, log_std = encode(x)
    return bernoulli_log_prob(decode(reparameterise(mean, log_std, 1)[0]), x), kl(mean, log_std)


@wrong("elbo", "the KL has the wrong sign")
def kl_added(encode, decode, x):
    log_p, cost = elbo_terms(encode, decode, x)
    return log_p + cost


@wrong("elbo", "counted twice")
def kl_twice(encode, decode, x):
    mean, log_std = encode(x)
    cost = (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1)
    return elbo_terms(encode, decode, x)[0] - cost


@wrong("elbo", "counted half")
def kl_half(encode, decode, x):
    log_p, cost = elbo_terms(encode, decode, x)
    return log_p - 0.5 * cost


@wrong("elbo", "the KL is missing")
def no_kl(encode, decode, x):
    return elbo_terms(encode, decode, x)[0]


@wrong("elbo", "this is a loss")
def negative_elbo(encode, decode, x):
    log_p, cost = elbo_terms(encode, decode, x)
    return cost - log_p


@wrong("elbo", "averaged over pixels while the KL is summed")
def mean_pixels_sum_kl(encode, decode, x):
    log_p, cost = elbo_terms(encode, decode, x)
    return log_p / x[0].numel() - cost


@wrong("elbo", "over latent dimensions while")
def sum_pixels_mean_kl(encode, decode, x):
    log_p, _ = elbo_terms(encode, decode, x)
    return log_p - kl_terms(*encode(x)).mean(1)


@wrong("elbo", "over different numbers of elements")
def mean_pixels_mean_kl(encode, decode, x):
    log_p, _ = elbo_terms(encode, decode, x)
    return log_p / x[0].numel() - kl_terms(*encode(x)).mean(1)


@wrong("elbo", "each image pays the mean KL")
def mean_kl_of_the_batch(encode, decode, x):
    log_p, cost = elbo_terms(encode, decode, x)
    return log_p - cost.mean()


@wrong("elbo", "average over the images")
def mean_elbo(encode, decode, x):
    return elbo(encode, decode, x).mean()


@wrong("elbo", "the draw's axis is left over")
def axis_left(encode, decode, x):
    mean, log_std = encode(x)
    return bernoulli_log_prob(decode(reparameterise(mean, log_std, 1)), x) - kl(mean, log_std)


@wrong("elbo", "you estimate the KL from the draw")
def kl_by_the_draw(encode, decode, x):
    mean, log_std = encode(x)
    (z,) = reparameterise(mean, log_std, 1)
    cost = gaussian_log_prob(z, mean, log_std) - log_prior(z)[:, 0]
    return bernoulli_log_prob(decode(z), x) - cost


@wrong("elbo", "you decode the mean")
def decodes_the_mean(encode, decode, x):
    mean, log_std = encode(x)
    return bernoulli_log_prob(decode(mean), x) - kl(mean, log_std)


@wrong("elbo", "drawn from the prior")
def codes_from_the_prior(encode, decode, x):
    mean, log_std = encode(x)
    return bernoulli_log_prob(decode(torch.randn_like(mean)), x) - kl(mean, log_std)


@wrong("elbo", "the mean first")
def mean_and_spread_swapped(encode, decode, x):
    log_std, mean = encode(x)
    (z,) = reparameterise(mean, log_std, 1)
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)


@wrong("elbo", "with mean and exp(log_std)")
def elbo_with_half_log_std(encode, decode, x):
    mean, log_std = encode(x)
    z = mean + torch.exp(log_std / 2) * torch.randn_like(mean)
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)


@wrong("elbo", "all images share one noise")
def elbo_with_one_noise(encode, decode, x):
    mean, log_std = encode(x)
    z = mean + log_std.exp() * torch.randn(mean.shape[1])
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)


@wrong("elbo", "learns from the KL alone")
def draw_detached(encode, decode, x):
    mean, log_std = encode(x)
    z = Normal(mean, log_std.exp()).sample()
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)


@wrong("elbo", "no gradient comes through the KL")
def kl_detached(encode, decode, x):
    log_p, cost = elbo_terms(encode, decode, x)
    return log_p - cost.detach()


@wrong("elbo", "no gradient comes through the ELBO")
@torch.no_grad()
def elbo_without_gradient(encode, decode, x):
    return elbo(encode, decode, x)


@wrong("elbo", "that reaches the encoder is not")
def spread_of_the_draw_detached(encode, decode, x):
    mean, log_std = encode(x)
    z = mean + log_std.exp().detach() * torch.randn_like(mean)
    return bernoulli_log_prob(decode(z), x) - kl(mean, log_std)


@wrong("elbo", "never calls `decode`")
def never_decodes(encode, decode, x):
    return -kl(*encode(x))


@wrong("elbo", "with the latent dimensions last")
def decodes_the_image(encode, decode, x):
    return bernoulli_log_prob(decode(x), x) - kl(*encode(x))


# ---------------------------------------------------------------- 7. gap


def posterior(log_likelihood, z, area):
    joint = log_likelihood + log_prior(z)
    return joint - log_evidence(log_likelihood, z, area)


@right("gap")
def gap(log_q, log_likelihood, z, area):
    ratio = log_q - posterior(log_likelihood, z, area)
    return (log_q.exp() * ratio * area).sum(dim=0)


@right("gap")
def evidence_minus_elbo(log_q, log_likelihood, z, area):
    elbo = (log_q.exp() * (log_likelihood + log_prior(z) - log_q)).sum(0) * area
    return log_evidence(log_likelihood, z, area) - elbo


@right("gap")
def gap_of_masses(log_q, log_likelihood, z, area):
    q = log_q.softmax(dim=0)
    log_posterior = (log_likelihood + log_prior(z)).log_softmax(dim=0)
    return (q * (log_q.log_softmax(dim=0) - log_posterior)).sum(dim=0)


@wrong("gap", "this is minus the ELBO")
def gap_to_the_joint(log_q, log_likelihood, z, area):
    return (log_q.exp() * (log_q - log_likelihood - log_prior(z))).sum(0) * area


@wrong("gap", "this is the ELBO: the gap")
def elbo_on_the_grid(log_q, log_likelihood, z, area):
    return -gap_to_the_joint(log_q, log_likelihood, z, area)


@wrong("gap", "the sign is wrong")
def gap_negative(log_q, log_likelihood, z, area):
    return (log_q.exp() * (posterior(log_likelihood, z, area) - log_q)).sum(0) * area


@wrong("gap", "KL(p(z|x) || q)")
def gap_reversed(log_q, log_likelihood, z, area):
    log_p = posterior(log_likelihood, z, area)
    return (log_p.exp() * (log_p - log_q)).sum(0) * area


@wrong("gap", "from the prior: the gap")
def gap_to_the_prior(log_q, log_likelihood, z, area):
    return (log_q.exp() * (log_q - log_prior(z))).sum(0) * area


@wrong("gap", "the prior is missing in the posterior")
def posterior_without_prior(log_q, log_likelihood, z, area):
    log_p = log_likelihood - log_evidence(log_likelihood, z, area)
    return (log_q.exp() * (log_q - log_p)).sum(0) * area


@wrong("gap", "the area is missing")
def gap_without_area(log_q, log_likelihood, z, area):
    return (log_q.exp() * (log_q - posterior(log_likelihood, z, area))).sum(0)


@wrong("gap", "you weigh by log q")
def weighs_by_log_q(log_q, log_likelihood, z, area):
    return (log_q * (log_q - posterior(log_likelihood, z, area))).sum(0) * area


@wrong("gap", "weigh the same")
def gap_without_weights(log_q, log_likelihood, z, area):
    return (log_q - posterior(log_likelihood, z, area)).sum(0) * area


@wrong("gap", "average over the grid without weights")
def gap_by_mean(log_q, log_likelihood, z, area):
    return (log_q - posterior(log_likelihood, z, area)).mean(0)


@wrong("gap", "sum over the images too")
def gap_of_the_batch(log_q, log_likelihood, z, area):
    return gap(log_q, log_likelihood, z, area).sum()


@wrong("gap", "sum over the images: sum over the points")
def gap_over_the_wrong_axis(log_q, log_likelihood, z, area):
    ratio = log_q - posterior(log_likelihood, z, area)
    return (log_q.exp() * ratio).sum(dim=1) * area


@wrong("gap", "is infinite")
def gap_leaves_log_space(log_q, log_likelihood, z, area):
    evidence = ((log_likelihood + log_prior(z)).exp().sum(0) * area).log()
    return (log_q.exp() * (log_q - log_likelihood - log_prior(z))).sum(0) * area + evidence


# ---------------------------------------------------------------- 8. importance_bound


def log_weights(encode, decode, x, k):
    mean, log_std = encode(x)
    z = reparameterise(mean, log_std, k)
    log_p = bernoulli_log_prob(decode(z), x)
    prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))
    return log_p, prior, gaussian_log_prob(z, mean, log_std)


@right("importance_bound")
def importance_bound(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return torch.logsumexp(log_p + prior - log_q, dim=0) - math.log(k)


@right("importance_bound")
def importance_bound_draw_by_draw(encode, decode, x, k):
    parts = [log_weights(encode, decode, x, 1) for _ in range(k)]
    weights = torch.cat([log_p + prior - log_q for log_p, prior, log_q in parts])
    top = weights.max(dim=0).values
    return top + (weights - top).exp().mean(dim=0).log()


@right("importance_bound")
def importance_bound_with_repeated_images(encode, decode, x, k):
    mean, log_std = encode(x.repeat_interleave(k, dim=0))
    q = Independent(Normal(mean, log_std.exp()), 1)
    z = q.sample()
    w = bernoulli_log_prob(decode(z), x.repeat_interleave(k, dim=0)) - q.log_prob(z)
    w = (w + log_prior(z)[:, 0]).unflatten(0, (len(x), k))
    return w.logsumexp(dim=1) - math.log(k)


@wrong("importance_bound", "the mean of the logarithms")
def mean_of_logarithms(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return (log_p + prior - log_q).mean(0)


@wrong("importance_bound", "the logarithm of the sum")
def log_of_sum(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return torch.logsumexp(log_p + prior - log_q, 0)


@wrong("importance_bound", "you subtract k:")
def minus_k(encode, decode, x, k):
    return log_of_sum(encode, decode, x, k) - k


@wrong("importance_bound", "the prior is missing")
def weights_without_prior(encode, decode, x, k):
    log_p, _, log_q = log_weights(encode, decode, x, k)
    return torch.logsumexp(log_p - log_q, 0) - math.log(k)


@wrong("importance_bound", "q is missing")
def weights_without_q(encode, decode, x, k):
    log_p, prior, _ = log_weights(encode, decode, x, k)
    return torch.logsumexp(log_p + prior, 0) - math.log(k)


@wrong("importance_bound", "p(x|z) alone")
def likelihoods_alone(encode, decode, x, k):
    return torch.logsumexp(log_weights(encode, decode, x, k)[0], 0) - math.log(k)


@wrong("importance_bound", "multiply by q and divide by the prior")
def weights_upside_down(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return torch.logsumexp(log_p - prior + log_q, 0) - math.log(k)


@wrong("importance_bound", "the KL has no place")
def minus_kl(encode, decode, x, k):
    return likelihoods_alone(encode, decode, x, k) - kl(*encode(x))


@wrong("importance_bound", "the draws are axis 0")
def over_the_images(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return torch.logsumexp(log_p + prior - log_q, 1) - math.log(len(x))


@wrong("importance_bound", "average over the images too")
def mean_bound(encode, decode, x, k):
    return importance_bound(encode, decode, x, k).mean()


@wrong("importance_bound", "this is a loss")
def negative_bound(encode, decode, x, k):
    return -importance_bound(encode, decode, x, k)


@wrong("importance_bound", "the log weights of the draws")
def weights_themselves(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return log_p + prior - log_q


@wrong("importance_bound", "is infinite")
def bound_leaves_log_space(encode, decode, x, k):
    log_p, prior, log_q = log_weights(encode, decode, x, k)
    return (log_p + prior - log_q).exp().mean(0).log()


@wrong("importance_bound", "all draws of an image are the same")
def one_draw_repeated(encode, decode, x, k):
    mean, log_std = encode(x)
    z = reparameterise(mean, log_std, 1).expand(k, -1, -1)
    w = bernoulli_log_prob(decode(z), x) - gaussian_log_prob(z, mean, log_std)
    prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))
    return torch.logsumexp(w + prior, 0) - math.log(k)


@wrong("importance_bound", "codes in all for 6 images: draw k = 7")
def one_draw_of_the_bound(encode, decode, x, k):
    return importance_bound(encode, decode, x, 1)


@wrong("importance_bound", "drawn from the prior")
def bound_from_the_prior(encode, decode, x, k):
    z = torch.randn(k, *encode(x)[0].shape)
    return torch.logsumexp(bernoulli_log_prob(decode(z), x), 0) - math.log(k)


# ---------------------------------------------------------------- 9. sample


@right("sample")
@torch.no_grad()
def sample(decode, n, latent_dim):
    p = torch.sigmoid(decode(torch.randn(n, latent_dim)))
    return (torch.rand_like(p) < p).float()


@right("sample")
def sample_by_distributions(decode, n, latent_dim):
    z = Normal(torch.zeros(n, latent_dim), 1.0).sample()
    return Bernoulli(logits=decode(z)).sample()


@right("sample")
@torch.no_grad()
def sample_one_by_one(decode, n, latent_dim):
    return torch.cat([sample(decode, 1, latent_dim) for _ in range(n)])


@wrong("sample", "these are the probabilities")
def mean_images(decode, n, latent_dim):
    return torch.sigmoid(decode(torch.randn(n, latent_dim)))


@wrong("sample", "these are logits")
def logits_for_images(decode, n, latent_dim):
    return decode(torch.randn(n, latent_dim))


@wrong("sample", "takes its likelier value")
def rounds(decode, n, latent_dim):
    return torch.sigmoid(decode(torch.randn(n, latent_dim))).round()


@wrong("sample", "neither 0 nor 1")
def noisy_mean_images(decode, n, latent_dim):
    p = torch.sigmoid(decode(torch.randn(n, latent_dim)))
    return (p + 0.1 * torch.randn_like(p)).clamp(0, 1)


@wrong("sample", "every code is zero")
def from_the_mean_of_the_prior(decode, n, latent_dim):
    return Bernoulli(logits=decode(torch.zeros(n, latent_dim))).sample()


@wrong("sample", "all images have the same code")
def one_code(decode, n, latent_dim):
    z = torch.randn(1, latent_dim).expand(n, -1)
    return Bernoulli(logits=decode(z)).sample()


@wrong("sample", "the entries of a code are all the same")
def one_number_a_code(decode, n, latent_dim):
    z = torch.randn(n, 1).expand(-1, latent_dim)
    return Bernoulli(logits=decode(z)).sample()


@wrong("sample", "uniform, from `rand`")
def uniform_codes(decode, n, latent_dim):
    return Bernoulli(logits=decode(torch.rand(n, latent_dim))).sample()


@wrong("sample", "the mean 0 and the standard deviation 1")
def codes_too_wide(decode, n, latent_dim):
    return Bernoulli(logits=decode(2 * torch.randn(n, latent_dim))).sample()


@wrong("sample", "of the prior, but are not normal")
def wide_uniform_codes(decode, n, latent_dim):
    z = (torch.rand(n, latent_dim) - 0.5) * math.sqrt(12)
    return Bernoulli(logits=decode(z)).sample()


@wrong("sample", "share their random numbers")
def same_numbers_for_all_images(decode, n, latent_dim):
    p = torch.sigmoid(decode(torch.randn(n, latent_dim)))
    return (torch.rand(p.shape[1:]) < p).float()


@wrong("sample", "one random number")
def same_number_for_all_pixels(decode, n, latent_dim):
    p = torch.sigmoid(decode(torch.randn(n, latent_dim)))
    return (torch.rand(n, 1, 1, 1) < p).float()


@wrong("sample", "with the probabilities sigmoid(logits)")
def probabilities_for_logits(decode, n, latent_dim):
    return Bernoulli(logits=decode(torch.randn(n, latent_dim)).sigmoid()).sample()


@wrong("sample", "never calls `decode`")
def pure_noise(decode, n, latent_dim):
    return torch.rand(n, 1, 3, 2).round()


@wrong("sample", "given 4000 codes for n = 2000")
def too_many_codes(decode, n, latent_dim):
    return sample(decode, 2 * n, latent_dim)[:n]


@wrong("sample", "with the latent dimensions last")
def codes_transposed(decode, n, latent_dim):
    return Bernoulli(logits=decode(torch.randn(latent_dim, n))).sample()


@wrong("sample", "returns the shape (1, 3, 2) for n = 2000")
def single_image(decode, n, latent_dim):
    return sample(decode, 1, latent_dim)[0]


# ---------------------------------------------------------------- 10. grey_bits


@right("grey_bits")
def grey_bits(log_density, level, u, levels):
    size = level[0].numel()
    log_p = log_density((level + u) / levels) - size * math.log(levels)
    return -log_p / (size * math.log(2))


@right("grey_bits")
def grey_bits_by_base_two(log_density, level, u, levels):
    x = level / levels + u / levels
    return math.log2(levels) - log_density(x) / math.log(2) / level.flatten(1).shape[1]


def bits_of(nats, level):
    return -nats / (level[0].numel() * math.log(2))


@wrong("grey_bits", "the width of a cell is missing")
def no_width(log_density, level, u, levels):
    return bits_of(log_density((level + u) / levels), level)


@wrong("grey_bits", "the width of a cell has the wrong sign")
def width_added(log_density, level, u, levels):
    size = level[0].numel()
    return bits_of(log_density((level + u) / levels) + size * math.log(levels), level)


@wrong("grey_bits", "counted once for the whole image")
def width_once(log_density, level, u, levels):
    return bits_of(log_density((level + u) / levels) - math.log(levels), level)


@wrong("grey_bits", "C H W of them, not H W")
def bits_a_pixel(log_density, level, u, levels):
    nats = log_density((level + u) / levels) - level[0].numel() * math.log(levels)
    return -nats / (level.shape[2] * level.shape[3] * math.log(2))


@wrong("grey_bits", "the noise is missing")
def no_dequantisation(log_density, level, u, levels):
    return grey_bits(log_density, level, torch.zeros_like(u), levels)


@wrong("grey_bits", "added after you divide")
def noise_after(log_density, level, u, levels):
    return grey_bits(log_density, level, levels * u, levels)


@wrong("grey_bits", "you divide by K - 1")
def by_k_minus_one(log_density, level, u, levels):
    size = level[0].numel()
    return bits_of(log_density((level + u) / (levels - 1)) - size * math.log(levels), level)


@wrong("grey_bits", "1/K wide, not 1/(K - 1)")
def width_of_k_minus_one(log_density, level, u, levels):
    size = level[0].numel()
    return bits_of(log_density((level + u) / levels) - size * math.log(levels - 1), level)


@wrong("grey_bits", "levels from 0 to K")
def never_divides(log_density, level, u, levels):
    return bits_of(log_density(level + u) - level[0].numel() * math.log(levels), level)


@wrong("grey_bits", "nats per dimension")
def nats_a_dimension(log_density, level, u, levels):
    return grey_bits(log_density, level, u, levels) * math.log(2)


@wrong("grey_bits", "bits per image")
def bits_an_image(log_density, level, u, levels):
    return grey_bits(log_density, level, u, levels) * level[0].numel()


@wrong("grey_bits", "nats per image")
def nats_an_image(log_density, level, u, levels):
    return level[0].numel() * math.log(levels) - log_density((level + u) / levels)


@wrong("grey_bits", "the sign is wrong")
def bits_negative(log_density, level, u, levels):
    return -grey_bits(log_density, level, u, levels)


@wrong("grey_bits", "average over the images")
def bits_of_the_batch(log_density, level, u, levels):
    return grey_bits(log_density, level, u, levels).mean()


# ---------------------------------------------------------------- the bank, applied


class TestChecks(ChecksOfALesson):
    bank = bank


def test_no_code_is_found_in_the_wrong_image_when_draws_come_image_by_image():
    """Both orders of k x B rows are understood: the bank's third importance bound repeats images."""
    for seed in range(20):
        answer = importance_bound_with_repeated_images
        assert bank.verdict("importance_bound", answer, seed=seed) is None


@pytest.mark.parametrize("step", ["reparameterise", "elbo", "importance_bound", "sample"])
def test_a_right_sampler_is_not_refused_by_chance(step):
    for seed in range(4, 60):
        assert bank.verdict(step, bank.first_right(step), seed=seed) is None
