"""What no table of this lesson's checks knows: right answers in other styles, and wrong ones with their words."""

import math

import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("vae")
(
    bernoulli_log_prob, gaussian_log_prob, log_evidence, reparameterise, kl, elbo, gap, importance_bound, sample,
    grey_bits, weighted_loss,
) = (bank.solutions[step] for step in bank.steps)  # fmt: skip


class TestSteps(StepsOfALesson):
    bank = bank


def log_prior(z):
    return Independent(Normal(torch.zeros_like(z), 1), 1).log_prob(z)[:, None]


def posterior(log_likelihood, z, area):
    return log_likelihood + log_prior(z) - log_evidence(log_likelihood, z, area)


# ---------------------------------------------------------------- right answers


def bernoulli_by_cross_entropy(logits, x):
    logits, x = torch.broadcast_tensors(logits, x)
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(-3).sum(-1)


def gaussian_of_whole_codes(z, mean, log_std):
    square = ((z - mean).square() * torch.exp(-2 * log_std)).sum(-1)
    return -(square + 2 * log_std.sum(-1) + z.shape[-1] * math.log(2 * math.pi)) / 2


def log_evidence_by_the_largest(log_likelihood, z, area):
    joint = log_likelihood + log_prior(z)
    top = joint.max(dim=0).values
    return top + ((joint - top).exp().sum(0) * area).log()


def reparameterise_one_by_one(mean, log_std, k):
    return torch.stack([mean + torch.randn_like(mean) * torch.exp(log_std) for _ in range(k)])


def kl_by_distributions(mean, log_std):
    return kl_divergence(Normal(mean, log_std.exp()), Normal(torch.zeros_like(mean), 1.0)).sum(-1)


def elbo_with_the_axis_of_draws(encode, decode, x):
    mean, log_std = encode(x)
    logits = decode(reparameterise(mean, log_std, 1))
    return bernoulli_log_prob(logits, x).mean(dim=0) - kl(mean, log_std)


def elbo_of_ten_draws(encode, decode, x):
    mean, log_std = encode(x)
    q = Normal(mean.clone(), log_std.exp())
    draws = [bernoulli_log_prob(decode(q.rsample()), x) for _ in range(10)]
    return torch.stack(draws).mean(0) - kl_divergence(q, Normal(0.0, 1.0)).sum(1)


def evidence_minus_elbo(log_q, log_likelihood, z, area):
    elbo = (log_q.exp() * (log_likelihood + log_prior(z) - log_q)).sum(0) * area
    return log_evidence(log_likelihood, z, area) - elbo


def gap_of_masses(log_q, log_likelihood, z, area):
    log_posterior = (log_likelihood + log_prior(z)).log_softmax(dim=0)
    return (log_q.softmax(dim=0) * (log_q.log_softmax(dim=0) - log_posterior)).sum(dim=0)


def log_weights(encode, decode, x, k):
    mean, log_std = encode(x)
    z = reparameterise(mean, log_std, k)
    prior = gaussian_log_prob(z, torch.zeros_like(z), torch.zeros_like(z))
    return bernoulli_log_prob(decode(z), x) + prior - gaussian_log_prob(z, mean, log_std)


def importance_bound_draw_by_draw(encode, decode, x, k):
    weights = torch.cat([log_weights(encode, decode, x, 1) for _ in range(k)])
    top = weights.max(dim=0).values
    return top + (weights - top).exp().mean(dim=0).log()


def importance_bound_with_repeated_images(encode, decode, x, k):
    x = x.repeat_interleave(k, dim=0)
    mean, log_std = encode(x)
    q = Independent(Normal(mean, log_std.exp()), 1)
    z = q.sample()
    w = bernoulli_log_prob(decode(z), x) - q.log_prob(z) + log_prior(z)[:, 0]
    return w.unflatten(0, (-1, k)).logsumexp(dim=1) - math.log(k)


def sample_by_distributions(decode, n, latent_dim):
    return Bernoulli(logits=decode(torch.randn(n, latent_dim))).sample()


def sample_in_batches(decode, n, latent_dim):
    return torch.cat([sample(decode, 50, latent_dim) for _ in range(n // 50)])


def grey_bits_by_base_two(log_density, level, u, levels):
    x = level / levels + u / levels
    return math.log2(levels) - log_density(x) / math.log(2) / level.flatten(1).shape[1]


def weighted_loss_by_your_kl(log_likelihood, mean, log_std, weight):
    with torch.no_grad():  # only reported
        parts = torch.stack(
            [kl(mean[:, [d]], log_std[:, [d]]).mean() for d in range(mean.shape[1])]
        )
    return (weight * kl(mean, log_std) - log_likelihood).mean(), parts


def weighted_loss_by_distributions(log_likelihood, mean, log_std, weight):
    each = kl_divergence(Normal(mean, log_std.exp()), Normal(torch.zeros_like(mean), 1.0)).mean(0)
    return weight * each.sum() - log_likelihood.sum() / len(log_likelihood), each


bank.right(
    "bernoulli_log_prob",
    bernoulli_by_cross_entropy,
    lambda logits, x: Independent(Bernoulli(logits=logits), 3).log_prob(x),
)
bank.right(
    "gaussian_log_prob",
    gaussian_of_whole_codes,
    lambda z, mean, log_std: Independent(Normal(mean, log_std.exp()), 1).log_prob(z),
)
bank.right("log_evidence", log_evidence_by_the_largest)
bank.right(
    "reparameterise",
    reparameterise_one_by_one,
    lambda mean, log_std, k: Normal(mean, log_std.exp()).rsample((k,)),
)
bank.right("kl", kl_by_distributions)
bank.right("elbo", elbo_with_the_axis_of_draws, elbo_of_ten_draws)
bank.right("gap", evidence_minus_elbo, gap_of_masses)
bank.right("importance_bound", importance_bound_draw_by_draw, importance_bound_with_repeated_images)
bank.right("sample", sample_by_distributions, sample_in_batches)
bank.right("grey_bits", grey_bits_by_base_two)
bank.right("weighted_loss", weighted_loss_by_your_kl, weighted_loss_by_distributions)


# ---------------------------------------------------------------- wrong answers


def seeds_itself(mean, log_std, k):
    torch.manual_seed(0)
    return reparameterise(mean, log_std, k)


def straight_through(mean, log_std, k):
    noise = log_std.exp() * torch.randn(k, *mean.shape)
    return mean + noise.detach() + (log_std - log_std.detach())


def log_evidence_out_of_log_space(log_likelihood, z, area):
    return ((log_likelihood + log_prior(z)).exp().sum(0) * area).log()


def log_evidence_around_the_mean(log_likelihood, z, area):
    mean = log_likelihood.mean(0)
    return log_evidence_out_of_log_space(log_likelihood - mean, z, area) + mean


def gap_out_of_log_space(log_q, log_likelihood, z, area):
    evidence = log_evidence_out_of_log_space(log_likelihood, z, area)
    return (log_q.exp() * (log_q - log_likelihood - log_prior(z))).sum(0) * area + evidence


def bound(codes):
    """An ELBO whose codes are drawn in some other way, from mean and log_std."""

    def answer(encode, decode, x):
        mean, log_std = encode(x)
        return bernoulli_log_prob(decode(codes(mean, log_std)), x) - kl(mean, log_std)

    return answer


def kl_detached(encode, decode, x):
    mean, log_std = encode(x)
    return bernoulli_log_prob(decode(reparameterise(mean, log_std, 1)[0]), x) - kl(mean, log_std).detach()  # fmt: skip


def one_draw_repeated(encode, decode, x, k):
    mean, log_std = encode(x)
    z = reparameterise(mean, log_std, 1).expand(k, -1, -1)
    w = (
        bernoulli_log_prob(decode(z), x)
        + log_prior(z[0])[:, 0]
        - gaussian_log_prob(z, mean, log_std)
    )
    return torch.logsumexp(w, 0) - math.log(k)  # fmt: skip


def bound_from_the_prior(encode, decode, x, k):
    z = torch.randn(k, *encode(x)[0].shape)
    return torch.logsumexp(bernoulli_log_prob(decode(z), x), 0) - math.log(k)


def noisy_mean_images(decode, n, latent_dim):
    p = torch.sigmoid(decode(torch.randn(n, latent_dim)))
    return (p + 0.1 * torch.randn_like(p)).clamp(0, 1)


def drawn_from(codes):
    return lambda decode, n, latent_dim: Bernoulli(logits=decode(codes(n, latent_dim))).sample()


def below(numbers):
    """White where a random number is below the probability; `numbers` makes those for all pixels."""

    def answer(decode, n, latent_dim):
        p = torch.sigmoid(decode(torch.randn(n, latent_dim)))
        return (numbers(p) < p).float()

    return answer


bank.wrong("bernoulli_log_prob", {
    "no gradient reaches `logits`": torch.no_grad()(bernoulli_log_prob),
    "small number .* or a clamp":
        lambda logits, x: -F.softplus((1 - 2 * x) * logits.clamp(-30, 30)).sum((-3, -2, -1)),
})  # fmt: skip
bank.wrong("gaussian_log_prob", {
    "is infinite": lambda z, mean, log_std: Normal(mean, log_std.exp()).log_prob(z).exp().log().sum(-1),
    "no gradient reaches `log_std`": lambda z, mean, log_std: gaussian_log_prob(z, mean, log_std.detach()),
    "half precision": lambda z, mean, log_std: gaussian_log_prob(z, mean, log_std).bfloat16(),
})  # fmt: skip
bank.wrong("log_evidence", {
    "very unlikely images .* is infinite": log_evidence_out_of_log_space,
    "much better .* is infinite": log_evidence_around_the_mean,
})  # fmt: skip
bank.wrong("reparameterise", {
    "log_std itself": lambda mean, log_std, k: mean + log_std * torch.randn(k, *mean.shape),
    r"the variance, exp\(2 log_std": lambda mean, log_std, k: reparameterise(mean, 2 * log_std, k),
    "log of the variance and halve it": lambda mean, log_std, k: reparameterise(mean, log_std / 2, k),
    "the spread is 1": lambda mean, log_std, k: mean + torch.randn(k, *mean.shape),
    "from `rand`": lambda mean, log_std, k: mean + log_std.exp() * torch.rand(k, *mean.shape),
    "is not exp": lambda mean, log_std, k: mean + log_std.exp() * torch.randn(k, *mean.shape).abs(),
    "all images share one noise": lambda mean, log_std, k: mean + log_std.exp() * torch.randn(k, 1, mean.shape[1]),
    "the entries of a code share": lambda mean, log_std, k: mean + log_std.exp() * torch.randn(k, len(mean), 1),
    "all k draws of an image are the same":
        lambda mean, log_std, k: reparameterise(mean, log_std, 1).expand(k, -1, -1),
    "the mean is missing": lambda mean, log_std, k: log_std.exp() * torch.randn(k, *mean.shape),
    "do not lie around the mean": lambda mean, log_std, k: reparameterise(-mean, log_std, k),
    "not normal":
        lambda mean, log_std, k: mean + log_std.exp() * (torch.rand(k, *mean.shape) - 0.5) * math.sqrt(12),
    "every call draws the same": seeds_itself,
    "no gradient reaches mean and log_std": lambda mean, log_std, k: Normal(mean, log_std.exp()).sample((k,)),
    "no gradient reaches log_std:": lambda mean, log_std, k: reparameterise(mean, log_std.detach(), k),
    "no gradient reaches mean:": lambda mean, log_std, k: reparameterise(mean.detach(), log_std, k),
    "their gradient with respect to log_std": straight_through,
    r"the shape \(3, 2\)": lambda mean, log_std, k: reparameterise(mean, log_std, 1)[0],
})  # fmt: skip
bank.wrong("kl", {
    "no gradient reaches `mean` and `log_std`": lambda mean, log_std: kl(mean.data, log_std.data),
    "bits where nats": lambda mean, log_std: kl(mean, log_std) / math.log(2),
    "1/2 too large": lambda mean, log_std: kl(mean, log_std) + 0.5,
})  # fmt: skip
bank.wrong("elbo", {
    "you decode the mean": bound(lambda mean, log_std: mean),
    "drawn from the prior": bound(lambda mean, log_std: torch.randn_like(mean)),
    "the mean first": lambda encode, decode, x: elbo(lambda x: encode(x)[::-1], decode, x),
    r"with mean and exp\(log_std\)": bound(lambda mean, log_std: reparameterise(mean, log_std / 2, 1)[0]),
    "all images share one noise":
        bound(lambda mean, log_std: mean + log_std.exp() * torch.randn(mean.shape[1])),
    "learns from the KL alone": bound(lambda mean, log_std: Normal(mean, log_std.exp()).sample()),
    "no gradient comes through the KL": kl_detached,
    "no gradient comes through the ELBO": torch.no_grad()(elbo),
    "that reaches the encoder is not": bound(lambda mean, log_std: reparameterise(mean, log_std.detach(), 1)[0]),
    "never calls `decode`": lambda encode, decode, x: -kl(*encode(x)),
    "with the latent dimensions last": lambda encode, decode, x: bernoulli_log_prob(decode(x), x),
    "every call draws the same": lambda encode, decode, x: (torch.manual_seed(0), elbo(encode, decode, x))[1],
})  # fmt: skip
bank.wrong("gap", {"is infinite": gap_out_of_log_space})
bank.wrong("importance_bound", {
    "is infinite": lambda encode, decode, x, k: log_weights(encode, decode, x, k).exp().mean(0).log(),
    "all draws of an image are the same": one_draw_repeated,
    "codes in all for 6 images: draw k = 7":
        lambda encode, decode, x, k: importance_bound(encode, decode, x, 1),
    "drawn from the prior": bound_from_the_prior,
})  # fmt: skip
bank.wrong("sample", {
    "neither 0 nor 1": noisy_mean_images,
    "every code is zero": drawn_from(lambda n, latent_dim: torch.zeros(n, latent_dim)),
    "all images have the same code": drawn_from(lambda n, latent_dim: torch.randn(1, latent_dim).expand(n, -1)),
    "the entries of a code are all the same":
        drawn_from(lambda n, latent_dim: torch.randn(n, 1).expand(-1, latent_dim)),
    "uniform, from `rand`": drawn_from(torch.rand),
    "the mean 0 and the standard deviation 1": drawn_from(lambda n, latent_dim: 2 * torch.randn(n, latent_dim)),
    "of the prior, but are not normal":
        drawn_from(lambda n, latent_dim: (torch.rand(n, latent_dim) - 0.5) * math.sqrt(12)),
    "share their random numbers": below(lambda p: torch.rand(p.shape[1:])),
    "all pixels of an image share": below(lambda p: torch.rand(len(p), 1, 1, 1)),
    "the pixels of a row": below(lambda p: torch.rand(*p.shape[:3], 1)),
    r"with the probabilities sigmoid\(logits\)": below(lambda p: 0.2 + 0.8 * torch.rand_like(p)),
    "never calls `decode`": lambda decode, n, latent_dim: torch.rand(n, 1, 3, 2).round(),
    "given 4000 codes for n = 2000": lambda decode, n, latent_dim: sample(decode, 2 * n, latent_dim)[:n],
    "with the latent dimensions last": drawn_from(lambda n, latent_dim: torch.randn(latent_dim, n)),
    r"the shape \(1, 3, 2\)": lambda decode, n, latent_dim: sample(decode, 1, latent_dim)[0],
})  # fmt: skip
bank.wrong("weighted_loss", {
    "no gradient comes through the loss": torch.no_grad()(weighted_loss),
    "with respect to log_std": lambda ll, mean, log_std, w: weighted_loss(ll, mean, log_std.detach(), w),
    "with respect to log_likelihood": lambda ll, mean, log_std, w: weighted_loss(ll.detach(), mean, log_std, w),
    "results .* other way round|swapped|order": lambda *arguments: weighted_loss(*arguments)[::-1],
    "bits where nats": lambda *arguments: [x / math.log(2) for x in weighted_loss(*arguments)],
    "small number|clamp": lambda ll, mean, log_std, w: weighted_loss(ll, mean, log_std.clamp(min=-20), w),
})  # fmt: skip


def test_no_code_is_found_in_the_wrong_image_when_draws_come_image_by_image():
    """Both orders of k x B rows are understood."""
    for seed in range(20):
        answer = importance_bound_with_repeated_images
        assert bank.verdict("importance_bound", answer, seed=seed) is None
