"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence

from course.checking.bank import Bank, ChecksOfALesson
from genlib import metrics
from genlib.data import load
from genlib.metrics import bars_counts, bars_kl, bits_per_dim

bank = Bank(
    "comparison",
    steps="difference bits divergences mixture entropy precision_recall speed_up unbeaten",
    results={"difference": 2, "divergences": 2, "entropy": 2, "precision_recall": 2},
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. difference


def lead(a, b):
    return (a - b).mean()


def its_error(a, b):
    return (a - b).std() / len(a) ** 0.5


@right("difference")
def difference(a, b):
    ahead = a - b
    return ahead.mean(), ahead.std() / math.sqrt(len(ahead))


@right("difference")
def difference_by_hand(a, b):
    n, ahead = len(a), a - b
    mean = ahead.sum() / n
    return mean, (((ahead - mean) ** 2).sum() / (n * (n - 1))).sqrt()


@right("difference")
def difference_by_covariances(a, b):
    c = torch.cov(torch.stack([a, b]).double())
    return a.mean() - b.mean(), ((c[0, 0] + c[1, 1] - 2 * c[0, 1]) / len(a)).sqrt()


@right("difference")
def difference_by_population_over_n_minus_1(a, b):
    return lead(a, b), (a - b).std(correction=0) / math.sqrt(len(a) - 1)


@wrong("difference", "the sign of the lead")
def b_minus_a(a, b):
    return lead(b, a), its_error(a, b)


@wrong("difference", "your lead is a sum")
def summed(a, b):
    return (a - b).sum(), its_error(a, b)


@wrong("difference", "the absolute value of the lead")
def absolute_lead(a, b):
    return lead(a, b).abs(), its_error(a, b)


@wrong("difference", "you average absolute differences")
def absolute_differences(a, b):
    return F.l1_loss(a, b), its_error(a, b)


@wrong("difference", "the mean of a alone: subtract")
def mean_of_a(a, b):
    return a.mean(), its_error(a, b)


@wrong("difference", "you divide the two means")
def ratio_of_means(a, b):
    return a.mean() / b.mean(), its_error(a, b)


@wrong("difference", "the median of the differences")
def median_lead(a, b):
    return (a - b).quantile(0.5), its_error(a, b)


@wrong("difference", "you count the images on which a is ahead")
def images_won(a, b):
    return (a > b).float().mean(), its_error(a, b)


@wrong("difference", "the error comes first")
def error_first(a, b):
    return difference(a, b)[::-1]


@wrong("difference", "how much single images scatter")
def std_of_images(a, b):
    return lead(a, b), (a - b).std()


@wrong("difference", "measured on different images")
def unpaired(a, b):
    n = len(a)
    return lead(a, b), (a.var() / n + b.var() / n) ** 0.5


@wrong("difference", "you add the errors of the two means")
def errors_added(a, b):
    n = math.sqrt(len(a))
    return lead(a, b), a.std() / n + b.std() / n


@wrong("difference", "you subtract one error from the other")
def errors_subtracted(a, b):
    n = math.sqrt(len(a))
    return lead(a, b), (a.std() / n - b.std() / n).abs()


@wrong("difference", "you divide the standard deviation by n: divide by its root")
def over_n(a, b):
    return lead(a, b), (a - b).std() / len(a)


@wrong("difference", "your standard deviation divides by n")
def population(a, b):
    return lead(a, b), (a - b).var(correction=0).div(len(a)).sqrt()


@wrong("difference", "you divide by the root of n - 1")
def corrected_twice(a, b):
    return lead(a, b), (a - b).std() / (len(a) - 1) ** 0.5


@wrong("difference", "the square of the error")
def variance_of_the_mean(a, b):
    return lead(a, b), its_error(a, b) ** 2


@wrong("difference", "the error of the mean of a alone")
def error_of_a(a, b):
    return lead(a, b), a.std() / len(a) ** 0.5


@wrong("difference", "that of the sums a + b")
def plus_the_covariance(a, b):
    return lead(a, b), its_error(a, -b)


@wrong("difference", "1.96 standard errors")
def half_an_interval(a, b):
    return lead(a, b), 1.96 * its_error(a, b)


@wrong("difference", "the root of 2 n")
def two_n(a, b):
    return lead(a, b), (a - b).std() / (2 * len(a)) ** 0.5


@wrong("difference", "both your results are the lead")
def lead_twice(a, b):
    return lead(a, b), lead(a, b)


@wrong("difference", "contains NaN")
def error_of_the_mean_itself(a, b):
    return lead(a, b), its_error(a, b) * (lead(a, b) - lead(a, b)) / 0


@wrong("difference", "has the shape")
def no_mean(a, b):
    return a - b, its_error(a, b)


# ---------------------------------------------------------------- 2. bits


@right("bits")
def bits(log_density, levels, dims):
    log_p = log_density - dims * math.log(levels)
    return -log_p / (dims * math.log(2))


@right("bits")
def bits_in_two_parts(log_density, levels, dims):
    return math.log2(levels) - log_density / math.log(2) / dims


@right("bits")
def bits_with_genlib(log_density, levels, dims):
    width = torch.tensor(1 / levels, dtype=torch.float64)
    return bits_per_dim(log_density + dims * width.log(), (1, 1, dims))


@wrong("bits", "the density, not yet a probability")
def no_correction(log_density, levels, dims):
    return bits_per_dim(log_density, (1, 1, dims))


@wrong("bits", "your correction has the wrong sign")
def correction_added(log_density, levels, dims):
    return bits_per_dim(log_density + dims * math.log(levels), (1, 1, dims))


@wrong("bits", "you correct once an image")
def correction_once(log_density, levels, dims):
    return bits_per_dim(log_density - math.log(levels), (1, 1, dims))


@wrong("bits", "these are nats")
def in_nats(log_density, levels, dims):
    return -(log_density - dims * math.log(levels)) / dims


@wrong("bits", "these are bits for the whole image")
def of_the_image(log_density, levels, dims):
    return -(log_density - dims * math.log(levels)) / math.log(2)


@wrong("bits", "your correction is in nats and the rest in bits")
def correction_in_nats(log_density, levels, dims):
    return bits_per_dim(log_density, (1, 1, dims)) + math.log(levels)


@wrong("bits", "your correction is in bits and the density in nats")
def density_in_nats(log_density, levels, dims):
    return -log_density / dims + math.log2(levels)


@wrong("bits", "1/(K - 1) wide")
def too_wide(log_density, levels, dims):
    return bits(log_density, levels - 1, dims)


@wrong("bits", "the sign is wrong")
def negative_bits(log_density, levels, dims):
    return -bits(log_density, levels, dims)


@wrong("bits", "a high density costs you many bits")
def likely_is_dear(log_density, levels, dims):
    return bits(-log_density, levels, dims)


@wrong("bits", "your correction is 8 bits")
def always_256(log_density, levels, dims):
    return bits(log_density, 256, dims)


@wrong("bits", "you multiply by ln 2")
def times_ln_2(log_density, levels, dims):
    return bits(log_density, levels, dims) * math.log(2) ** 2


@wrong("bits", "you divide by the levels")
def over_levels(log_density, levels, dims):
    return math.log2(levels) - log_density / math.log(2) / levels


@wrong("bits", "your correction is the number of levels")
def no_logarithm(log_density, levels, dims):
    return levels + bits_per_dim(log_density, (1, 1, dims))


@wrong("bits", "has the shape () where")
def mean_of_bits(log_density, levels, dims):
    return bits(log_density, levels, dims).mean()


@wrong("bits", "right for 16 levels and 64 values, but for 3 levels")
def always_16(log_density, levels, dims):
    return bits(log_density, 16, dims)


# ---------------------------------------------------------------- 3. divergences


def kl(p, q):
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum()


@right("divergences")
def divergences(p, q):
    def one(p, q):
        return torch.xlogy(p, p).sum() - torch.xlogy(p, q).sum()

    return one(p, q), one(q, p)


@right("divergences")
def divergences_where_there_is_something(p, q):
    result = []
    for a, b in ((p, q), (q, p)):
        seen = a > 0
        result.append((a[seen] * (a[seen].log() - b[seen].log())).sum())
    return result


@right("divergences")
def divergences_by_a_loop(p, q):
    def one(p, q):
        total = 0.0
        for a, b in zip(p.tolist(), q.tolist(), strict=True):
            if a > 0:
                total += a * math.log(a / b) if b > 0 else math.inf
        return torch.tensor(total)

    return one(p, q), one(q, p)


@right("divergences")
def divergences_of_torch(p, q):
    p, q = Categorical(probs=p.double()), Categorical(probs=q.double())
    return kl_divergence(p, q), kl_divergence(q, p)


@wrong("divergences", "the two are swapped")
def divergences_swapped(p, q):
    return kl(q, p), kl(p, q)


@wrong("divergences", "the sign of your KL")
def negative_kl(p, q):
    return -kl(p, q), -kl(q, p)


@wrong("divergences", "this is in bits: take the natural logarithm")
def kl_in_bits(p, q):
    return kl(p, q) / math.log(2), kl(q, p) / math.log(2)


@wrong("divergences", "you average over the table")
def kl_averaged(p, q):
    return (p * (p / q).log()).mean(), (q * (q / p).log()).mean()


@wrong("divergences", "this is the cross-entropy")
def cross_entropies(p, q):
    return -torch.xlogy(p, q).sum(), -torch.xlogy(q, p).sum()


@wrong("divergences", "minus the entropy of p")
def minus_entropies(p, q):
    return -Categorical(probs=p).entropy(), -Categorical(probs=q).entropy()


@wrong("divergences", "the weights are missing")
def without_weights(p, q):
    return (p / q).log().sum(), (q / p).log().sum()


@wrong("divergences", "you average the two directions")
def symmetric(p, q):
    mean = (kl(p, q) + kl(q, p)) / 2
    return mean, mean


@wrong("divergences", "you take absolute values inside the sum")
def absolute_terms(p, q):
    return (p * (p / q).log().abs()).sum(), (q * (q / p).log().abs()).sum()


@wrong("divergences", "this is the total variation")
def total_variation(p, q):
    half = (p - q).abs().sum() / 2
    return half, half


@wrong("divergences", "the Jensen-Shannon divergence")
def jensen_shannon(p, q):
    m = (p + q) / 2
    return (kl(p, m) + kl(q, m)) / 2, (kl(p, m) + kl(q, m)) / 2


@wrong("divergences", "you leave out entries where one of the two is 0")
def only_where_both(p, q):
    terms = torch.where((p > 0) & (q > 0), (p / q).log(), 0.0)
    return (p * terms).sum(), -(q * terms).sum()


@wrong("divergences", "your two results are the same")
def first_twice(p, q):
    return kl(p, q), kl(p, q)


@wrong("divergences", "turned the fraction and kept the weights")
def weights_of_p(p, q):
    return kl(p, q), -kl(p, q)


@wrong("divergences", "you weigh by q and kept the fraction")
def fraction_kept(p, q):
    return kl(p, q), -kl(q, p)


@wrong("divergences", "in the second you leave out")
def second_only_where_both(p, q):
    return kl(p, q), only_where_both(p, q)[1]


@wrong("divergences", "a zero makes a NaN")
def zero_times_infinity(p, q):
    return (p * (p / q).log()).sum(), (q * (q / p).log()).sum()


@wrong("divergences", "a small number in the place of a zero")
def with_an_epsilon(p, q):
    p, q = p + 1e-8, q + 1e-8
    return kl(p, q), kl(q, p)


@wrong("divergences", "right for tables without zeros, but for a p with zeros")
def any_zero_is_infinite(p, q):
    if (p == 0).any() or (q == 0).any():
        return torch.tensor(math.inf), torch.tensor(math.inf)
    return kl(p, q), kl(q, p)


# ---------------------------------------------------------------- 4. mixture


@right("mixture")
def mixture(log_p, log_noise, weight):
    return torch.logaddexp(log_p + math.log(weight), log_noise + math.log(1 - weight))


@right("mixture")
def mixture_by_logsumexp(log_p, log_noise, weight):
    parts = torch.stack([log_p, log_noise], dim=1)
    return (parts + torch.tensor([weight, 1 - weight]).to(parts).log()).logsumexp(dim=1)


@right("mixture")
def mixture_by_hand(log_p, log_noise, weight):
    largest = torch.maximum(log_p, log_noise)
    p, noise = (log_p - largest).exp(), (log_noise - largest).exp()
    return largest + (weight * p + (1 - weight) * noise).log()


@wrong("mixture", "you average logarithms")
def lerped(log_p, log_noise, weight):
    return torch.lerp(log_noise, log_p, weight)


@wrong("mixture", "the weights are swapped")
def weights_swapped(log_p, log_noise, weight):
    return mixture(log_p, log_noise, 1 - weight)


@wrong("mixture", "there are no weights")
def no_weights(log_p, log_noise, weight):
    return torch.logaddexp(log_p, log_noise)


@wrong("mixture", "the noise has no weight")
def all_of_the_noise(log_p, log_noise, weight):
    return torch.logaddexp(log_p + math.log(weight), log_noise)


@wrong("mixture", "p has no weight")
def all_of_p(log_p, log_noise, weight):
    return torch.logaddexp(log_p, log_noise + math.log(1 - weight))


@wrong("mixture", "you multiply logarithms by the weights")
def weights_on_logarithms(log_p, log_noise, weight):
    return torch.logaddexp(weight * log_p, (1 - weight) * log_noise)


@wrong("mixture", "you take the larger of the two parts")
def larger(log_p, log_noise, weight):
    parts = [log_p + math.log(weight), log_noise + math.log(1 - weight)]
    return torch.stack(parts).amax(dim=0)


@wrong("mixture", "this is the part of p alone")
def part_of_p(log_p, log_noise, weight):
    return math.log(weight) + log_p


@wrong("mixture", "this is the part of the noise alone")
def part_of_noise(log_p, log_noise, weight):
    return math.log(1 - weight) + log_noise


@wrong("mixture", "your mixture is half and half")
def half_and_half(log_p, log_noise, weight):
    return mixture(log_p, log_noise, 0.5)


@wrong("mixture", "the noise has the weight 1 + w")
def log1p_of_w(log_p, log_noise, weight):
    return torch.logaddexp(log_p + math.log(weight), log_noise + math.log1p(weight))


@wrong("mixture", "both parts have the weight w")
def twice_w(log_p, log_noise, weight):
    return torch.logaddexp(log_p + math.log(weight), log_noise + math.log(weight))


@wrong("mixture", "the logarithm at the end is missing")
def no_last_logarithm(log_p, log_noise, weight):
    return weight * log_p.exp() + (1 - weight) * log_noise.exp()


@wrong("mixture", "you add logarithms, which multiplies")
def multiplied(log_p, log_noise, weight):
    return log_p + math.log(weight) + log_noise + math.log(1 - weight)


@wrong("mixture", "this is minus the log-likelihood")
def a_loss(log_p, log_noise, weight):
    return -mixture(log_p, log_noise, weight)


@wrong("mixture", "stay in log-space")
def underflow(log_p, log_noise, weight):
    return (weight * log_p.exp() + (1 - weight) * log_noise.exp()).log()


@wrong("mixture", "has the shape () where")
def mean_of_mixture(log_p, log_noise, weight):
    return mixture(log_p, log_noise, weight).mean()


# ---------------------------------------------------------------- 5. entropy


def plain(counts):
    return Categorical(probs=counts.double() / counts.sum()).entropy()


def miller(counts):
    return (counts.count_nonzero() - 1) / counts.sum() / 2


@right("entropy")
def entropy(counts):
    shares = counts / counts.sum()
    plugged = -torch.xlogy(shares, shares).sum()
    seen = (counts > 0).sum()
    return plugged, plugged + (seen - 1) / (2 * counts.sum())


@right("entropy")
def entropy_of_the_seen(counts):
    counts = counts[counts > 0].double()
    n = counts.sum()
    plugged = n.log() - (counts * counts.log()).sum() / n
    return [plugged, plugged + 0.5 * (len(counts) - 1) / n]


@right("entropy")
def entropy_with_entr(counts):
    plugged = torch.special.entr(counts / counts.sum()).sum()
    return plugged, plugged + (torch.count_nonzero(counts) - 1) / counts.sum() / 2


@wrong("entropy", "this is in bits")
def entropy_in_bits(counts):
    return plain(counts) / math.log(2), plain(counts) / math.log(2) + miller(counts)


@wrong("entropy", "put a minus in front")
def negative_entropy(counts):
    return -plain(counts), -plain(counts) + miller(counts)


@wrong("entropy", "you work with the counts as they are")
def of_counts(counts):
    h = torch.special.entr(counts.double()).sum()
    return h, h + miller(counts)


@wrong("entropy", "you average over the table")
def entropy_averaged(counts):
    h = plain(counts) / len(counts)
    return h, h + miller(counts)


@wrong("entropy", "the logarithm of how many kinds were seen")
def log_seen(counts):
    h = (counts > 0).sum().float().log()
    return h, h + miller(counts)


@wrong("entropy", "you add 1 to every count")
def laplace(counts):
    return plain(counts + 1), plain(counts + 1) + miller(counts)


@wrong("entropy", "the exponential of the entropy")
def perplexity(counts):
    return plain(counts).exp(), (plain(counts) + miller(counts)).exp()


@wrong("entropy", "the shares are missing in front")
def logs_alone(counts):
    shares = counts[counts > 0] / counts.sum()
    return -shares.log().sum(), -shares.log().sum() + miller(counts)


@wrong("entropy", "which is N times the entropy")
def weighed_by_counts(counts):
    h = counts.sum() * plain(counts)
    return h, h + miller(counts)


@wrong("entropy", "you sum squares of shares")
def collisions(counts):
    h = -(counts / counts.sum()).square().sum().log()
    return h, h + miller(counts)


@wrong("entropy", "the corrected entropy comes first")
def corrected_first(counts):
    return entropy(counts)[::-1]


@wrong("entropy", "you subtract the correction")
def correction_subtracted(counts):
    return plain(counts), plain(counts) - miller(counts)


@wrong("entropy", "your correction counts all kinds of the table")
def all_of_the_table(counts):
    return plain(counts), plain(counts) + (len(counts) - 1) / (2 * counts.sum())


@wrong("entropy", "has m where it should have m - 1")
def m_itself(counts):
    return plain(counts), plain(counts) + counts.count_nonzero() / (2 * counts.sum())


@wrong("entropy", "the 2 below your correction is missing")
def no_two(counts):
    return plain(counts), plain(counts) + (counts.count_nonzero() - 1) / counts.sum()


@wrong("entropy", "this is the correction alone")
def the_correction(counts):
    return plain(counts), miller(counts)


@wrong("entropy", "your two results are the same")
def plain_twice(counts):
    return plain(counts), plain(counts)


@wrong("entropy", "you multiply by N / 2")
def brackets_forgotten(counts):
    return plain(counts), plain(counts) + (counts.count_nonzero() - 1) / 2 * counts.sum()


@wrong("entropy", "divides by the length of the table")
def over_the_length(counts):
    return plain(counts), plain(counts) + (counts.count_nonzero() - 1) / (2 * len(counts))


@wrong("entropy", "your correction is in bits")
def correction_in_bits(counts):
    return plain(counts), plain(counts) + miller(counts) / math.log(2)


@wrong("entropy", "a count of 0 makes a NaN")
def nan_where_nothing_came(counts):
    shares = counts / counts.sum()
    h = -(shares * shares.log()).sum()
    return h, h + miller(counts)


@wrong("entropy", "right for 5 kinds, all seen, but for 9 kinds")
def a_small_number_in_the_logarithm(counts):
    shares = (counts + 0.01 * (counts == 0)) / counts.sum()
    h = -(shares * shares.log()).sum()
    return h, h + miller(counts)


# ---------------------------------------------------------------- 6. precision and recall


def apart(a, b):
    return (a[:, None] - b[None]).square().sum(dim=2).sqrt()


def reach(balls, k):
    return apart(balls, balls).sort(dim=1).values[:, k]


def share(x, balls, k):
    return (apart(x, balls) <= reach(balls, k)).any(dim=1).double().mean()


@right("precision_recall")
def precision_recall(real, fake, k):
    def inside(x, balls):
        radius = torch.cdist(balls, balls).kthvalue(k + 1, dim=1).values
        return (torch.cdist(x, balls) <= radius).any(dim=1).float().mean()

    return inside(fake, real), inside(real, fake)


@right("precision_recall")
def precision_recall_of_genlib(real, fake, k):
    return tuple(torch.tensor(s) for s in metrics.precision_recall(real, fake, k=k))


@right("precision_recall")
def precision_recall_without_the_point_itself(real, fake, k):
    def inside(x, balls):
        among = apart(balls, balls)
        among.fill_diagonal_(math.inf)
        radius = among.topk(k, dim=1, largest=False).values[:, -1]
        return (apart(x, balls) < radius).sum(dim=1).clamp(max=1).float().mean()

    return [inside(fake, real), inside(real, fake)]


@right("precision_recall")
def precision_recall_by_a_loop(real, fake, k):
    def inside(x, balls):
        radius = reach(balls, k)
        hit = [bool(((balls - point).norm(dim=1) <= radius).any()) for point in x]
        return torch.tensor(hit).double().mean()

    return inside(fake, real), inside(real, fake)


@wrong("precision_recall", "the two are swapped")
def recall_first(real, fake, k):
    return share(real, fake, k), share(fake, real, k)


@wrong("precision_recall", "you count a point as its own nearest neighbour")
def own_neighbour(real, fake, k):
    def inside(x, balls):
        return (apart(x, balls) <= reach(balls, k - 1)).any(dim=1).double().mean()

    return inside(fake, real), inside(real, fake)


@wrong("precision_recall", "your balls reach one neighbour too far")
def one_too_far(real, fake, k):
    return share(fake, real, k + 1), share(real, fake, k + 1)


@wrong("precision_recall", "all your balls have one size, the mean")
def mean_radius(real, fake, k):
    def inside(x, balls):
        return (apart(x, balls) <= reach(balls, k).mean()).any(dim=1).double().mean()

    return inside(fake, real), inside(real, fake)


@wrong("precision_recall", "as large as the largest")
def largest_radius(real, fake, k):
    def inside(x, balls):
        return (apart(x, balls) <= reach(balls, k).max()).any(dim=1).double().mean()

    return inside(fake, real), inside(real, fake)


@wrong("precision_recall", "the mean distance to the k nearest")
def mean_of_k(real, fake, k):
    def inside(x, balls):
        radius = apart(balls, balls).sort(dim=1).values[:, 1 : k + 1].mean(dim=1)
        return (apart(x, balls) <= radius).any(dim=1).double().mean()

    return inside(fake, real), inside(real, fake)


@wrong("precision_recall", "you count balls that have a fake inside")
def balls_hit(real, fake, k):
    hit = apart(real, fake) <= reach(real, k)[:, None]
    return hit.any(dim=1).double().mean(), share(real, fake, k)


@wrong("precision_recall", "you average over the balls too")
def mean_over_balls(real, fake, k):
    hit = apart(fake, real) <= reach(real, k)
    return hit.double().mean(), share(real, fake, k)


@wrong("precision_recall", "you ask for fakes that lie in every ball")
def in_every_ball(real, fake, k):
    hit = apart(fake, real) <= reach(real, k)
    return hit.all(dim=1).double().mean(), share(real, fake, k)


@wrong("precision_recall", "you ask the nearest real example only")
def nearest_only(real, fake, k):
    distance, place = apart(fake, real).min(dim=1)
    return (distance <= reach(real, k)[place]).double().mean(), share(real, fake, k)


@wrong("precision_recall", "this is a number of fakes")
def number_of_fakes(real, fake, k):
    return share(fake, real, k) * len(fake), share(real, fake, k) * len(real)


@wrong("precision_recall", "the fakes outside of all balls")
def outside(real, fake, k):
    hit = (apart(fake, real) > reach(real, k)).all(dim=1)
    return hit.double().mean(), share(real, fake, k)


@wrong("precision_recall", "both results are the precision")
def precision_twice(real, fake, k):
    return share(fake, real, k), share(fake, real, k)


@wrong("precision_recall", "the coverage of Naeem")
def coverage(real, fake, k):
    hit = apart(real, fake) <= reach(real, k)[:, None]
    return share(fake, real, k), hit.any(dim=1).double().mean()


@wrong("precision_recall", "the fakes whose balls have a real example inside")
def fakes_hit(real, fake, k):
    hit = apart(fake, real) <= reach(fake, k)[:, None]
    return share(fake, real, k), hit.any(dim=1).double().mean()


@wrong("precision_recall", "each lies in its own")
def own_balls(real, fake, k):
    return share(fake, real, k), share(real, real, k)


@wrong("precision_recall", "your recall is 1 minus the precision")
def one_minus(real, fake, k):
    return share(fake, real, k), 1 - share(fake, real, k)


@wrong("precision_recall", "in recall a fake counts as its own")
def own_neighbour_in_recall(real, fake, k):
    hit = apart(real, fake) <= reach(fake, k - 1)
    return share(fake, real, k), hit.any(dim=1).double().mean()


@wrong("precision_recall", "right for points in the plane, but for k = 1")
def always_three(real, fake, k):
    return share(fake, real, 3), share(real, fake, 3)


@wrong("precision_recall", "you compare squares of distances")
def squares_and_distances(real, fake, k):
    def inside(x, balls):
        return (apart(x, balls).square() <= reach(balls, k)).any(dim=1).double().mean()

    return inside(fake, real), inside(real, fake)


# ---------------------------------------------------------------- 7. a speed-up


def middle(x):
    return torch.quantile(x, 0.5)


@right("speed_up")
def speed_up(slow, fast):
    return slow.quantile(0.5) / fast.quantile(0.5)


@right("speed_up")
def speed_up_by_sorting(slow, fast):
    def median(x):
        x, n = x.sort().values, len(x)
        return (x[(n - 1) // 2] + x[n // 2]) / 2

    return median(slow) / median(fast)


@right("speed_up")
def speed_up_of_the_standard_library(slow, fast):
    import statistics

    return torch.tensor(statistics.median(slow.tolist()) / statistics.median(fast.tolist()))


@right("speed_up")
def speed_up_by_two_medians_of_torch(slow, fast):
    upper = -torch.median(-slow), -torch.median(-fast)
    return (slow.median() + upper[0]) / (fast.median() + upper[1])


@wrong("speed_up", "you compare means")
def means(slow, fast):
    return slow.mean() / fast.mean()


@wrong("speed_up", "your ratio is upside down")
def upside_down(slow, fast):
    return middle(fast) / middle(slow)


@wrong("speed_up", "the lower of the two in the middle")
def torch_median(slow, fast):
    return slow.median() / fast.median()


@wrong("speed_up", "the upper of the two in the middle")
def upper_median(slow, fast):
    return slow.sort().values[len(slow) // 2] / fast.sort().values[len(fast) // 2]


@wrong("speed_up", "you average ratios")
def mean_of_ratios(slow, fast):
    return (slow / fast).mean()


@wrong("speed_up", "you take the median of ratios")
def median_of_ratios(slow, fast):
    return middle(slow / fast)


@wrong("speed_up", "this is the difference in seconds")
def seconds_saved(slow, fast):
    return middle(slow) - middle(fast)


@wrong("speed_up", "the share of time that is saved")
def share_saved(slow, fast):
    return (middle(slow) - middle(fast)) / middle(slow)


@wrong("speed_up", "you subtract 1")
def times_faster(slow, fast):
    return (middle(slow) - middle(fast)) / middle(fast)


@wrong("speed_up", "this is in percent")
def percent(slow, fast):
    return 100 * middle(slow) / middle(fast)


@wrong("speed_up", "you compare the best runs")
def best_runs(slow, fast):
    return slow.min() / fast.min()


@wrong("speed_up", "you compare the worst runs")
def worst_runs(slow, fast):
    return slow.max() / fast.max()


@wrong("speed_up", "you compare the first runs alone")
def first_runs(slow, fast):
    return slow[0] / fast[0]


@wrong("speed_up", "you throw the first run away")
def without_the_first(slow, fast):
    return middle(slow[1:]) / middle(fast[1:])


@wrong("speed_up", "this is a logarithm")
def orders_of_magnitude(slow, fast):
    return middle(slow).log() - middle(fast).log()


@wrong("speed_up", "without sorting")
def middle_run(slow, fast):
    return slow[len(slow) // 2] / fast[len(fast) // 2]


# ---------------------------------------------------------------- 8. unbeaten


def beats(table):
    """[i, j]: does row j beat row i?"""
    as_good = (table[None] >= table[:, None]).all(dim=2)
    better = (table[None] > table[:, None]).any(dim=2)
    return as_good & better


@right("unbeaten")
def unbeaten(table):
    a, b = table[:, None], table[None]
    return ~((b >= a).all(dim=2) & (b > a).any(dim=2)).any(dim=1)


@right("unbeaten")
def unbeaten_by_a_loop(table):
    keep = []
    for row in table:
        rivals = [r for r in table if (r >= row).all() and (r > row).any()]
        keep.append(not rivals)
    return torch.tensor(keep)


@right("unbeaten")
def unbeaten_row_by_row(table):
    keep = torch.ones(len(table), dtype=torch.bool)
    for i, row in enumerate(table):
        nowhere_worse = (table >= row).all(dim=1)
        same = (table == row).all(dim=1)
        keep[i] = not bool((nowhere_worse & ~same).any())
    return keep


@wrong("unbeaten", "you return the rows that *are* beaten")
def beaten(table):
    return beats(table).any(dim=1)


@wrong("unbeaten", "for you smaller is better")
def smaller(table):
    return unbeaten(-table)


@wrong("unbeaten", "only by one that is better in every column")
def better_everywhere(table):
    return ~(table[None] > table[:, None]).all(dim=2).any(dim=1)


@wrong("unbeaten", "every row is beaten, by itself")
def by_itself(table):
    return ~(table[None] >= table[:, None]).all(dim=2).any(dim=1)


@wrong("unbeaten", "two rows that are equal beat each other")
def equals_fight(table):
    as_good = (table[None] >= table[:, None]).all(dim=2)
    as_good.fill_diagonal_(False)
    return ~as_good.any(dim=1)


@wrong("unbeaten", "you keep the best of each column")
def best_of_a_column(table):
    return (table == table.max(dim=0).values).any(dim=1)


@wrong("unbeaten", "a row that loses one column is out")
def lost_once(table):
    return ~(table[None] > table[:, None]).any(dim=2).any(dim=1)


@wrong("unbeaten", "you add up the columns")
def best_sum(table):
    return table.mean(dim=1) >= table.mean(dim=1).max()


@wrong("unbeaten", "you let columns vote")
def vote(table):
    wins = (table[None] > table[:, None]).sum(dim=2)
    losses = (table[None] < table[:, None]).sum(dim=2)
    return ~(wins > losses).any(dim=1)


@wrong("unbeaten", "you look at the first column alone")
def first_column(table):
    return table[:, 0] >= table[:, 0].max()


@wrong("unbeaten", "you return the rows that beat another")
def winners(table):
    return beats(table).any(dim=0)


@wrong("unbeaten", "you rank by places")
def by_places(table):
    places = sum((column[None] > column[:, None]).sum(dim=1) for column in table.T)
    return places == places.min()


@wrong("unbeaten", "you keep every row")
def everybody(table):
    return torch.ones(len(table), dtype=torch.bool)


@wrong("unbeaten", "-inf loses its column, and no more")
def finite_only(table):
    return unbeaten(table) & table.isfinite().all(dim=1)


@wrong("unbeaten", "return True or False for each row")
def ones_and_zeros(table):
    return unbeaten(table).float()


@wrong("unbeaten", "has the shape")
def row_numbers(table):
    return unbeaten(table).nonzero()[:, 0] >= 0


@wrong("unbeaten", "beats it, (")
def with_a_margin(table):
    a, b = table[:, None], table[None] - 1e-3
    return ~((b >= a).all(dim=2) & (b > a).any(dim=2)).any(dim=1)


@wrong("unbeaten", "and you call it beaten")
def equals_fight_and_the_first_wins(table):
    keep = unbeaten(table)
    for i in range(len(table)):
        for j in range(i):
            if (table[i] == table[j]).all():
                keep[i] = False
    return keep


# ---------------------------------------------------------------- the bank, applied


class TestChecks(ChecksOfALesson):
    bank = bank


def test_half_of_the_runs_take_longer_than_the_median():
    times = torch.tensor([1.0, 2.0, 4.0, 100.0])
    assert speed_up(times, torch.ones(4)).item() == pytest.approx(3)


def test_a_uniform_density_costs_log2_of_the_levels():
    assert bits(torch.zeros(3), 16, 64).tolist() == pytest.approx([4, 4, 4])


def test_bits_of_a_histogram_are_those_of_its_density():
    """Inside a cell of width 1/K the density of a histogram is K times the probability."""
    log_p = torch.randn(5, 12, 17).log_softmax(dim=2)[..., 3]  # 12 values, all of level 3
    log_density = (log_p + math.log(17)).sum(dim=1)
    assert torch.allclose(bits(log_density, 17, 12), bits_per_dim(log_p.sum(dim=1), (1, 3, 4)))


def test_the_divergence_is_that_of_genlib_on_bars():
    bars = load("bars")
    white = torch.rand(16, generator=torch.Generator().manual_seed(0))

    def log_q(x):
        x = x.flatten(1)
        return (x * white.log() + (1 - x) * (1 - white).log()).sum(dim=1)

    q = log_q(bars.floats()).exp()
    p = torch.full_like(q, 1 / 30)
    table_p, table_q = torch.cat([p, p.new_zeros(1)]), torch.cat([q, 1 - q.sum()[None]])
    forward, back = divergences(table_p, table_q)
    assert forward.item() == pytest.approx(bars_kl(log_q), rel=1e-5)
    assert back.item() == math.inf


def test_the_entropy_is_that_of_genlibs_counts():
    x = load("bars").floats()[torch.randint(30, (200,))]
    counts = (x[:, None] == load("bars").floats()).flatten(2).all(dim=2).sum(dim=0)
    assert math.log(30) - entropy(counts)[0].item() == pytest.approx(
        bars_counts(x)["kl_of_valid"], abs=1e-5
    )


def test_millers_correction_removes_most_of_the_bias():
    n, m = 100, 10
    draws = torch.randint(m, (4000, n), generator=torch.Generator().manual_seed(0))
    both = torch.stack([torch.stack(entropy(torch.bincount(row, minlength=m))) for row in draws])
    missing = math.log(m) - both.mean(dim=0)
    assert abs(missing[1]) < missing[0] / 5


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for name in ("cdist", "xlogy", "quantile", "isnan", "isinf", "logaddexp"):
        monkeypatch.setattr(torch, name, lambda *args, **kwargs: True)
    assert "you average ratios" in bank.verdict("speed_up", mean_of_ratios)
    assert "you average absolute" in bank.verdict("difference", absolute_differences)
