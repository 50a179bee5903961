"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course.checking.bank import Bank, ChecksOfALesson
from course.lessons.taxonomy import checks as checks
from genlib import bayes as of_genlib
from genlib import taxonomy
from genlib.metrics import bits_per_dim
from genlib.variational import Autoencoder

bank = Bank(
    "taxonomy",
    steps="shares white log_joint bayes bits draw decide auroc place",
    results={"bayes": 2, "draw": 2, "decide": 2},
    takes_no_tensors=("place",),
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. shares


@right("shares")
def shares(y, n_classes):
    return y.bincount(minlength=n_classes) / len(y)


@right("shares")
def shares_one_by_one(y, n_classes):
    return torch.stack([(y == k).float().mean() for k in range(n_classes)])


@right("shares")
def shares_by_one_hot(y, n_classes):
    return F.one_hot(y, n_classes).double().mean(dim=0)


@right("shares")
def shares_in_a_loop(y, n_classes):
    p = torch.zeros(n_classes)
    for label in y:
        p[label] += 1 / len(y)
    return p


def float_counts(y, n_classes):
    return torch.stack([(y == k).sum() for k in range(n_classes)]).float()


@wrong("shares", "these are counts")
def only_counts(y, n_classes):
    return float_counts(y, n_classes)


@wrong("shares", "return floating-point numbers")
def whole_counts(y, n_classes):
    return y.bincount(minlength=n_classes)


@wrong("shares", "you divide by the number of classes")
def over_classes(y, n_classes):
    return float_counts(y, n_classes) / n_classes


@wrong("shares", "you divide by the sum of the labels")
def over_sum_of_labels(y, n_classes):
    return float_counts(y, n_classes) / y.sum()


@wrong("shares", "you divide by the largest count")
def over_largest(y, n_classes):
    return float_counts(y, n_classes) / float_counts(y, n_classes).max()


@wrong("shares", "classes that do not occur are left out")
def only_present(y, n_classes):
    return y.unique(return_counts=True)[1] / len(y)


@wrong("shares", "your list ends with the largest label")
def without_minlength(y, n_classes):
    return y.bincount() / len(y)


@wrong("shares", "you add one to each count")
def laplace_already(y, n_classes):
    return (y.bincount(minlength=n_classes) + 1) / (len(y) + n_classes)


@wrong("shares", "you give every class the same share")
def uniform(y, n_classes):
    return torch.ones(n_classes) / n_classes


@wrong("shares", "you take a softmax of the counts")
def softmax_of_counts(y, n_classes):
    return float_counts(y, n_classes).softmax(dim=0)


@wrong("shares", "these are logarithms")
def log_shares(y, n_classes):
    return shares(y, n_classes).log()


@wrong("shares", "these are percentages")
def percentages(y, n_classes):
    return 100 * shares(y, n_classes)


@wrong("shares", "one number for each label")
def share_of_each_label(y, n_classes):
    return torch.stack([(y == label).float().mean() for label in y])


@wrong("shares", "added up from class to class")
def cumulative(y, n_classes):
    return shares(y, n_classes).cumsum(dim=0)


@wrong("shares", "sorted by size")
def sorted_shares(y, n_classes):
    return shares(y, n_classes).sort(descending=True).values


@wrong("shares", "Does a number of the example stand in your code?")
def ten_classes(y, n_classes):
    return y.bincount(minlength=4) / len(y)


# ---------------------------------------------------------------- 2. white


@right("white")
def white(x, y, n_classes):
    rows = [(x[y == k].sum(dim=0) + 1) / ((y == k).sum() + 2) for k in range(n_classes)]
    return torch.stack(rows)


@right("white")
def white_by_one_hot(x, y, n_classes):
    member = F.one_hot(y, n_classes).to(x)
    return (member.T @ x + 1) / (member.sum(dim=0)[:, None] + 2)


@right("white")
def white_by_two_more_images(x, y, n_classes):
    more = torch.cat([torch.zeros_like(x[:1]), torch.ones_like(x[:1])])
    return torch.stack([torch.cat([x[y == k], more]).mean(dim=0) for k in range(n_classes)])


@right("white")
def white_by_index_add(x, y, n_classes):
    counts = torch.zeros(n_classes, x.shape[1]).index_add(0, y, x)
    return (counts + 1) / (y.bincount(minlength=n_classes) + 2)[:, None]


def per_class(x, y, n_classes, f):
    """f of the images of each class."""
    return torch.stack([f(x[y == k]) for k in range(n_classes)])


@wrong("white", "the counts are not raised")
def plain_means(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: own.mean(dim=0))


@wrong("white", "you divide by the number of all images: divide")
def over_all_images(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 1) / (len(x) + 2))


@wrong("white", "the number of all images, and do not raise")
def over_all_images_plain(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: own.sum(dim=0) / len(x))


@wrong("white", "gets more than 1")
def one_above_nothing_below(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 1) / len(own))


@wrong("white", "you add 1 above and 1 below")
def one_above_one_below(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 1) / (len(own) + 1))


@wrong("white", "you add 2 below and nothing above")
def nothing_above_two_below(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: own.sum(dim=0) / (len(own) + 2))


@wrong("white", "you add the number of classes below")
def classes_below(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 1) / (len(own) + n_classes))


@wrong("white", "you add the number of pixels below")
def pixels_below(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 1) / (len(own) + x.shape[1]))


@wrong("white", "you add a half of an image")
def jeffreys(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 0.5) / (len(own) + 1))


@wrong("white", "this is the probability of black")
def black(x, y, n_classes):
    return white(1 - x, y, n_classes)


@wrong("white", "all classes get the same row")
def without_condition(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (x.sum(dim=0) + 1) / (len(x) + 2))


@wrong("white", "that is p(y | x_i)")
def over_the_classes(x, y, n_classes):
    ones = per_class(x, y, n_classes, lambda own: own.sum(dim=0) + 1)
    return ones / ones.sum(dim=0)


@wrong("white", "your pixels share one class")
def over_the_pixels(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: (own.sum(dim=0) + 1) / (own.sum() + own.shape[1]))


@wrong("white", "your table lies on its side")
def transposed_table(x, y, n_classes):
    return white(x, y, n_classes).T


@wrong("white", "these are counts")
def raised_counts(x, y, n_classes):
    return per_class(x, y, n_classes, lambda own: own.sum(dim=0) + 1)


@wrong("white", "these are logarithms")
def log_white(x, y, n_classes):
    return white(x, y, n_classes).log()


@wrong("white", "for a class without images you divide 0 by 0")
def raised_too_late(x, y, n_classes):
    n = y.bincount(minlength=n_classes)[:, None]
    means = per_class(x, y, n_classes, lambda own: own.mean(dim=0))
    return (means + 1 / n) / (1 + 2 / n)


@wrong("white", "the shape (3, 4) where (5, 4) is wanted")
def rows_of_those_that_occur(x, y, n_classes):
    return torch.stack([white(x, y, n_classes)[k] for k in y.unique()])


# ---------------------------------------------------------------- 3. log joint


@right("log_joint")
def log_joint(x, prior, white):
    return x @ white.log().T + (1 - x) @ (1 - white).log().T + prior.log()


@right("log_joint")
def log_joint_by_where(x, prior, white):
    p = torch.where(x[:, None] == 1, white, 1 - white)  # (N, K, D)
    return p.log().sum(dim=-1) + prior.log()[None]


@right("log_joint")
def log_joint_by_bce(x, prior, white):
    columns = []
    for k in range(len(prior)):
        loss = F.binary_cross_entropy(white[k].expand_as(x), x, reduction="none")
        columns.append(prior[k].log() - loss.sum(dim=1))
    return torch.stack(columns, dim=1)


@right("log_joint")
def log_joint_in_loops(x, prior, white):
    pixels = torch.distributions.Bernoulli(probs=white)
    return torch.stack([pixels.log_prob(image).sum(dim=1) + prior.log() for image in x])


def of_pixels(x, white):
    """The probability of each pixel, (N, K, D)."""
    return white * x[:, None] + (1 - white) * (1 - x[:, None])


@wrong("log_joint", "only the white pixels count in yours")
def only_white_pixels(x, prior, white):
    return x @ white.log().T + prior.log()


@wrong("log_joint", "only the black pixels count in yours")
def only_black_pixels(x, prior, white):
    return (1 - x) @ (1 - white).log().T + prior.log()


@wrong("log_joint", "you average over the pixels")
def mean_over_pixels(x, prior, white):
    return of_pixels(x, white).log().mean(dim=2) + prior.log()


@wrong("log_joint", "the prior is missing")
def no_prior(x, prior, white):
    return of_pixels(x, white).log().sum(dim=2)


@wrong("log_joint", "you add p(y) to a logarithm")
def plain_prior(x, prior, white):
    return of_pixels(x, white).log().sum(dim=2) + prior


@wrong("log_joint", "you multiply by p(y)")
def times_prior(x, prior, white):
    return of_pixels(x, white).log().sum(dim=2) * prior


@wrong("log_joint", "you subtract log p(y)")
def prior_subtracted(x, prior, white):
    return of_pixels(x, white).log().sum(dim=2) - prior.log()


@wrong("log_joint", "you take all classes for equally common")
def uniform_prior(x, prior, white):
    return of_pixels(x, white).log().sum(dim=2) + math.log(1 / len(prior))


@wrong("log_joint", "counts once for every pixel")
def prior_in_the_sum(x, prior, white):
    return (of_pixels(x, white).log() + prior.log()[:, None]).sum(dim=2)


@wrong("log_joint", "white and black are swapped")
def swapped(x, prior, white):
    return x @ (1 - white).log().T + (1 - x) @ white.log().T + prior.log()


@wrong("log_joint", "underflows to 0")
def product_first(x, prior, white):
    return of_pixels(x, white).prod(dim=2).log() + prior.log()


@wrong("log_joint", "these are probabilities")
def joint_itself(x, prior, white):
    return of_pixels(x, white).prod(dim=2) * prior


@wrong("log_joint", "you add up the probabilities of the pixels")
def log_of_the_sum(x, prior, white):
    return of_pixels(x, white).sum(dim=2).log() + prior.log()


@wrong("log_joint", "you normalise over the classes")
def already_posterior(x, prior, white):
    return log_joint(x, prior, white).log_softmax(dim=1)


@wrong("log_joint", "the sign is wrong")
def negative(x, prior, white):
    return -log_joint(x, prior, white)


@wrong("log_joint", "these are bits")
def in_bits(x, prior, white):
    return of_pixels(x, white).log2().sum(dim=2) + prior.log2()


@wrong("log_joint", "your table lies on its side")
def classes_first(x, prior, white):
    return log_joint(x, prior, white).T


# ---------------------------------------------------------------- 4. Bayes' rule


@right("bayes")
def bayes(joint):
    m = joint.amax(dim=1, keepdim=True)
    log_p = m[:, 0] + (joint - m).exp().sum(dim=1).log()
    return log_p, (joint - log_p[:, None]).exp()


@right("bayes")
def bayes_by_torch(joint):
    return joint.logsumexp(dim=1), joint.softmax(dim=1)


@right("bayes")
def bayes_by_quotient(joint):
    m = joint.max(dim=1).values
    p = torch.exp(joint - m.unsqueeze(1))
    return torch.log(p.sum(1)) + m, p / p.sum(1, keepdim=True)


@right("bayes")
def bayes_one_image_at_a_time(joint):
    log_p = []
    for row in joint:
        log_p.append(row.max() + sum((one - row.max()).exp() for one in row).log())
    return [torch.stack(log_p), torch.exp(joint.T - torch.stack(log_p)).T]


def log_p(joint):
    return joint.logsumexp(dim=1)


def posterior(joint):
    return joint.softmax(dim=1)


@wrong("bayes", "that of the best class alone")
def best_class(joint):
    return joint.amax(dim=1), posterior(joint)


@wrong("bayes", "your log p(x) is a mean over the classes")
def mean_of_classes(joint):
    m = joint.amax(dim=1, keepdim=True)
    return m[:, 0] + (joint - m).exp().mean(dim=1).log(), posterior(joint)


@wrong("bayes", "you add up logarithms")
def sum_of_logs(joint):
    return joint.sum(dim=1), posterior(joint)


@wrong("bayes", "you average logarithms")
def mean_of_logs(joint):
    return joint.mean(dim=1), posterior(joint)


@wrong("bayes", "your first sum runs over the images")
def over_the_images(joint):
    return joint.logsumexp(dim=0), posterior(joint)


@wrong("bayes", "into one number")
def over_everything(joint):
    return joint.exp().sum().log(), posterior(joint)


@wrong("bayes", "your first result is p(x) itself")
def p_itself(joint):
    return log_p(joint).exp(), posterior(joint)


@wrong("bayes", "the shift m does not come back")
def shift_forgotten(joint):
    m = joint.amax(dim=1, keepdim=True)
    return (joint - m).exp().sum(dim=1).log(), posterior(joint)


@wrong("bayes", "you subtract the shift m at the end")
def shift_subtracted(joint):
    m = joint.amax(dim=1, keepdim=True)
    return (joint - m).exp().sum(dim=1).log() - m[:, 0], posterior(joint)


@wrong("bayes", "your log p(x) has the wrong sign")
def minus_log_p(joint):
    return -log_p(joint), posterior(joint)


@wrong("bayes", "keeps the axis of the classes")
def axis_kept(joint):
    m = joint.amax(dim=1, keepdim=True)
    return m + (joint - m).exp().sum(dim=1, keepdim=True).log(), posterior(joint)


@wrong("bayes", "p(y | x) comes first in yours")
def results_swapped(joint):
    return posterior(joint), log_p(joint)


@wrong("bayes", "your posterior is normalised over the images:")
def posterior_over_images(joint):
    return log_p(joint), joint.softmax(dim=0)


@wrong("bayes", "over images and classes together")
def posterior_over_all(joint):
    p = (joint - joint.max()).exp()
    return log_p(joint), p / p.sum()


@wrong("bayes", "your posterior is still a logarithm")
def log_posterior(joint):
    return log_p(joint), joint - log_p(joint)[:, None]


@wrong("bayes", "you divide logarithms")
def logs_divided(joint):
    return log_p(joint), joint / joint.sum(dim=1, keepdim=True)


@wrong("bayes", "you divide by log p(x)")
def joint_over_log_p(joint):
    return log_p(joint), joint / log_p(joint)[:, None]


@wrong("bayes", "not divided by p(x)")
def not_divided(joint):
    return log_p(joint), joint.exp()


@wrong("bayes", "your second result is the joint as it came")
def joint_again(joint):
    return log_p(joint), joint.clone()


@wrong("bayes", "the largest probability of each image is 1")
def not_divided_by_the_sum(joint):
    return log_p(joint), (joint - joint.amax(dim=1, keepdim=True)).exp()


@wrong("bayes", "as zeros and a one")
def one_hot_posterior(joint):
    return log_p(joint), F.one_hot(joint.argmax(dim=1), joint.shape[1]).float()


@wrong("bayes", "the number of the best class")
def label_for_posterior(joint):
    return log_p(joint), joint.argmax(dim=1).float()


@wrong("bayes", "the sign in your posterior is wrong")
def posterior_of_minus(joint):
    return log_p(joint), (-joint).softmax(dim=1)


@wrong("bayes", "you take the softmax twice")
def softmax_twice(joint):
    return log_p(joint), posterior(joint).softmax(dim=1)


@wrong("bayes", "your log p(x) is infinite or NaN")
def straight_from_the_book(joint):
    p = joint.exp()
    return p.sum(dim=1).log(), p / p.sum(dim=1, keepdim=True)


@wrong("bayes", "your posterior is 0/0")
def posterior_from_the_book(joint):
    return log_p(joint), joint.exp() / joint.exp().sum(dim=1, keepdim=True)


@wrong("bayes", "not the largest of all")
def one_shift_for_all(joint):
    m = joint.max()
    p = (joint - m).exp()
    return m + p.sum(dim=1).log(), p / p.sum(dim=1, keepdim=True)


@wrong("bayes", "a small number inside the logarithm")
def small_number_inside(joint):
    return (joint.exp().sum(dim=1) + 1e-12).log(), posterior(joint)


@wrong("bayes", "your posterior does not add up to one")
def small_number_below(joint):
    return log_p(joint), joint.exp() / (joint.exp().sum(dim=1, keepdim=True) + 1e-12)


# ---------------------------------------------------------------- 5. bits


@right("bits")
def bits(log_p, n_pixels):
    return -log_p.mean() / (n_pixels * math.log(2))


@right("bits")
def bits_by_log2(log_p, n_pixels):
    return (-log_p * math.log2(math.e) / n_pixels).sum() / len(log_p)


@right("bits")
def bits_by_tensors(log_p, n_pixels):
    return (log_p / torch.tensor(0.5).log()).mean() / n_pixels


@wrong("bits", "these are nats a pixel")
def nats(log_p, n_pixels):
    return -log_p.mean() / n_pixels


@wrong("bits", "you multiply by log 2")
def times_log_2(log_p, n_pixels):
    return -log_p.mean() / n_pixels * math.log(2)


@wrong("bits", "these are bits an image")
def bits_an_image(log_p, n_pixels):
    return -log_p.mean() / math.log(2)


@wrong("bits", "these are nats an image")
def only_the_sign(log_p, n_pixels):
    return -log_p.mean()


@wrong("bits", "the sign is wrong")
def negative_bits(log_p, n_pixels):
    return log_p.mean() / (n_pixels * math.log(2))


@wrong("bits", "this is the sum over the images")
def sum_over_images(log_p, n_pixels):
    return -log_p.sum() / (n_pixels * math.log(2))


@wrong("bits", "you return a number for each image")
def bits_of_each(log_p, n_pixels):
    return -log_p / (n_pixels * math.log(2))


@wrong("bits", "you divide by 2")
def over_two(log_p, n_pixels):
    return -log_p.mean() / n_pixels / 2


@wrong("bits", "these are decimal digits")
def over_log_10(log_p, n_pixels):
    return -log_p.mean() / n_pixels / math.log(10)


@wrong("bits", "you divide by the logarithm of the number of pixels")
def over_log_of_pixels(log_p, n_pixels):
    return -log_p.mean() / math.log(n_pixels)


@wrong("bits", "you average the probabilities")
def log_of_the_mean(log_p, n_pixels):
    return -log_p.double().exp().mean().log() / (n_pixels * math.log(2))


@wrong("bits", "of what is a logarithm already")
def log_of_log(log_p, n_pixels):
    return torch.log2(-log_p).mean() / n_pixels


@wrong("bits", "this is a median")
def median_bits(log_p, n_pixels):
    return -log_p.median() / (n_pixels * math.log(2))


@wrong("bits", "Does a number of the example stand in your code?")
def always_64_pixels(log_p, n_pixels):
    return -log_p.mean() / (64 * math.log(2))


@wrong("bits", "returns a float")
def a_plain_number(log_p, n_pixels):
    return bits(log_p, n_pixels).item()


# ---------------------------------------------------------------- 6. draw


@right("draw")
def draw(prior, white, u, v):
    ends = prior.cumsum(dim=0)[:-1]
    y = (u[:, None] >= ends).sum(dim=1)
    return y, (v < white[y]).to(v)


@right("draw")
def draw_by_search(prior, white, u, v):
    y = torch.searchsorted(prior.cumsum(dim=0), u, right=True).clamp_max(len(prior) - 1)
    return y, torch.where(v < white[y], 1.0, 0.0)


@right("draw")
def draw_in_loops(prior, white, u, v):
    labels, rows = [], []
    for n in range(len(u)):
        k, end = 0, prior[0].item()
        while u[n] >= end and k < len(prior) - 1:
            k += 1
            end += prior[k].item()
        labels.append(k)
        rows.append((white[k] - v[n] > 0).double())
    return torch.tensor(labels), torch.stack(rows)


@right("draw")
def draw_by_argmax(prior, white, u, v):
    y = (u[:, None] < prior.cumsum(dim=0)).int().argmax(dim=1)
    return [y, v.lt(white.index_select(0, y)).float()]


def classes(prior, u):
    return (u[:, None] >= prior.cumsum(dim=0)[:-1]).sum(dim=1)


def with_labels(y, white, u, v, prior):
    """Other labels, and the right images."""
    return y, (v < white[classes(prior, u)]).float()


@wrong("draw", "your classes are all equally common")
def uniform_classes(prior, white, u, v):
    y = (u * len(prior)).floor().long()
    return y, (v < white[y]).float()


@wrong("draw", "you compare u with the probabilities themselves")
def not_cumulative(prior, white, u, v):
    return with_labels((u[:, None] >= prior).sum(dim=1), white, u, v, prior)


@wrong("draw", "you always take the most common class")
def most_common(prior, white, u, v):
    y = torch.full((len(u),), int(prior.argmax()))
    return y, (v < white[y]).float()


@wrong("draw", "your classes count one too high")
def one_too_high(prior, white, u, v):
    ends = torch.cat([torch.zeros(1), prior.cumsum(dim=0)[:-1]])
    return with_labels((u[:, None] >= ends).sum(dim=1), white, u, v, prior)


@wrong("draw", "your classes count one too low")
def one_too_low(prior, white, u, v):
    y = classes(prior, u) - 1
    return y, (v < white[y]).float()


@wrong("draw", "you count the bounds above u")
def bounds_above(prior, white, u, v):
    return with_labels((u[:, None] < prior.cumsum(dim=0)).sum(dim=1), white, u, v, prior)


@wrong("draw", "in the wrong order on [0, 1]")
def from_the_other_end(prior, white, u, v):
    y = classes(prior, 1 - u)
    return y, (v < white[y]).float()


@wrong("draw", "the class of the first")
def one_class_for_all(prior, white, u, v):
    y = classes(prior, u)[0].repeat(len(u))
    return y, (v < white[y]).float()


@wrong("draw", "x comes first in yours")
def x_first(prior, white, u, v):
    y, x = draw(prior, white, u, v)
    return x, y


@wrong("draw", "you return y as zeros and a one")
def y_one_hot(prior, white, u, v):
    y, x = draw(prior, white, u, v)
    return F.one_hot(y, len(prior)), x


@wrong("draw", "draws random numbers of its own")
def own_numbers(prior, white, u, v):
    y = torch.multinomial(prior, len(u), replacement=True)
    return y, torch.bernoulli(white[y])


@wrong("draw", "`v < p` is white")
def white_above(prior, white, u, v):
    y = classes(prior, u)
    return y, (v >= white[y]).float()


@wrong("draw", "you return the probabilities")
def probabilities(prior, white, u, v):
    y = classes(prior, u)
    return y, white[y]


@wrong("draw", "you round the probabilities")
def rounded(prior, white, u, v):
    y = classes(prior, u)
    return y, white[y].round()


@wrong("draw", "you round v and forget the table")
def coins(prior, white, u, v):
    return classes(prior, u), (v < 0.5).float()


@wrong("draw", "all images come from the first class")
def first_class(prior, white, u, v):
    return classes(prior, u), (v < white[0]).float()


@wrong("draw", "you average the table over the classes")
def marginal(prior, white, u, v):
    return classes(prior, u), (v < prior @ white).float()


@wrong("draw", "the class is forgotten: you average the rows")
def mean_row(prior, white, u, v):
    return classes(prior, u), (v < white.mean(dim=0)).float()


@wrong("draw", "one after the other")
def rows_in_turn(prior, white, u, v):
    rows = white.repeat(len(u), 1)[: len(u)]
    return classes(prior, u), (v < rows).float()


@wrong("draw", "all use u, which chose the class")
def u_for_pixels(prior, white, u, v):
    y = classes(prior, u)
    return y, (u[:, None] < white[y]).float()


@wrong("draw", "all images use the first row of v")
def one_row_of_v(prior, white, u, v):
    y = classes(prior, u)
    return y, (v[:1] < white[y]).float()


@wrong("draw", "the pixels of an image all use one number of v")
def one_column_of_v(prior, white, u, v):
    y = classes(prior, u)
    return y, (v[:, 0, None] < white[y]).float()


@wrong("draw", "return floating-point numbers")
def true_or_false(prior, white, u, v):
    y = classes(prior, u)
    return y, v < white[y]


@wrong("draw", "x of `draw` has the shape")
def an_image_of_every_class(prior, white, u, v):
    return classes(prior, u), (v[:, None] < white).float()


# ---------------------------------------------------------------- 7. decide


def labels_at(threshold, log_p, posterior):
    return torch.where(log_p < threshold, -1, posterior.argmax(dim=1))


@right("decide")
def decide(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, labels_at(threshold, log_p, posterior)


@right("decide")
def decide_by_sorting(held_out, log_p, posterior, share):
    threshold = held_out.sort().values[int(share * len(held_out))]
    labels = posterior.argmax(dim=1)
    labels[log_p < threshold] = -1
    return threshold, labels


@right("decide")
def decide_by_kth_value(held_out, log_p, posterior, share):
    threshold = held_out.kthvalue(max(1, round(share * len(held_out)))).values
    kept = (log_p >= threshold).long()
    return threshold, kept * (posterior.argmax(dim=1) + 1) - 1


@right("decide")
def decide_in_double(held_out, log_p, posterior, share):
    lowest = held_out.double().topk(int(share * len(held_out)) + 1, largest=False).values
    answers = [p.argmax().item() if q >= lowest[-1] else -1 for p, q in zip(posterior, log_p)]  # noqa: B905
    return lowest[-1], torch.tensor(answers)


def decide_at(threshold, log_p, posterior):
    return threshold, labels_at(threshold, log_p, posterior)


@wrong("decide", "your threshold is the mean")
def at_the_mean(held_out, log_p, posterior, share):
    return decide_at(held_out.mean(), log_p, posterior)


@wrong("decide", "your threshold is the share itself")
def at_the_share(held_out, log_p, posterior, share):
    return decide_at(torch.tensor(share), log_p, posterior)


@wrong("decide", "your threshold is the logarithm of the share")
def at_the_log_of_the_share(held_out, log_p, posterior, share):
    return decide_at(torch.tensor(share).log(), log_p, posterior)


@wrong("decide", "from the smallest to the largest")
def part_of_the_way(held_out, log_p, posterior, share):
    return decide_at(held_out.min().lerp(held_out.max(), share), log_p, posterior)


@wrong("decide", "you multiply the smallest by the share")
def part_of_the_smallest(held_out, log_p, posterior, share):
    return decide_at(held_out.min() * share, log_p, posterior)


@wrong("decide", "in the order in which the images came")
def not_sorted(held_out, log_p, posterior, share):
    return decide_at(held_out[int(share * len(held_out))], log_p, posterior)


@wrong("decide", "two standard deviations below the mean")
def two_sigma(held_out, log_p, posterior, share):
    return decide_at(held_out.mean() - 2 * held_out.std(), log_p, posterior)


@wrong("decide", "and keeps the share: take the lower end")
def upper_end(held_out, log_p, posterior, share):
    return decide_at(held_out.quantile(1 - share), log_p, posterior)


@wrong("decide", "you take the share of the new images")
def share_of_the_new(held_out, log_p, posterior, share):
    return decide_at(log_p.quantile(share), log_p, posterior)


@wrong("decide", "you refuse half the share")
def half_the_share(held_out, log_p, posterior, share):
    return decide_at(held_out.quantile(share / 2), log_p, posterior)


@wrong("decide", "0.05 means 5 %")
def percent(held_out, log_p, posterior, share):
    return decide_at(held_out.quantile(share / 100), log_p, posterior)


@wrong("decide", "your threshold is in the middle")
def at_the_median(held_out, log_p, posterior, share):
    return decide_at(held_out.median(), log_p, posterior)


@wrong("decide", "returns a float as the threshold")
def threshold_as_a_number(held_out, log_p, posterior, share):
    threshold, labels = decide(held_out, log_p, posterior, share)
    return threshold.item(), labels


@wrong("decide", "you refuse nothing")
def always_answers(held_out, log_p, posterior, share):
    return held_out.quantile(share), posterior.argmax(dim=1)


@wrong("decide", "you refuse what lies above the threshold")
def refuses_above(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, torch.where(log_p >= threshold, -1, posterior.argmax(dim=1))


@wrong("decide", "you refuse by the posterior")
def by_the_posterior(held_out, log_p, posterior, share):
    sure, labels = posterior.max(dim=1)
    return held_out.quantile(share), torch.where(sure < share, -1, labels)


@wrong("decide", "noise may have a posterior near 1")
def by_a_sure_posterior(held_out, log_p, posterior, share):
    sure, labels = posterior.max(dim=1)
    return held_out.quantile(share), labels.where(sure >= 1 - share, -1)


@wrong("decide", "you compare log_p with the share")
def log_p_against_share(held_out, log_p, posterior, share):
    return held_out.quantile(share), labels_at(share, log_p, posterior)


@wrong("decide", "you refuse a share of the new images")
def the_worst_of_the_new(held_out, log_p, posterior, share):
    labels = posterior.argmax(dim=1)
    labels[log_p.argsort()[: int(share * len(log_p))]] = -1
    return held_out.quantile(share), labels


@wrong("decide", "refused images get the label 0")
def refused_are_zero(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, posterior.argmax(dim=1) * (log_p >= threshold)


@wrong("decide", "a label after the last class")
def one_more_class(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, posterior.argmax(dim=1).where(log_p >= threshold, posterior.shape[1])


@wrong("decide", "the least probable class")
def least_probable(held_out, log_p, posterior, share):
    return decide_at(held_out.quantile(share), log_p, -posterior)


@wrong("decide", "the probability of the best class")
def best_probability(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, torch.where(log_p < threshold, -1.0, posterior.amax(dim=1))


@wrong("decide", "your labels begin at 1")
def labels_from_one(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, torch.where(log_p < threshold, -1, 1 + posterior.argmax(dim=1))


@wrong("decide", "you say which images are refused")
def which_are_refused(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, log_p < threshold


@wrong("decide", "you leave the refused images out")
def refused_left_out(held_out, log_p, posterior, share):
    threshold = held_out.quantile(share)
    return threshold, posterior.argmax(dim=1)[log_p >= threshold]


# ---------------------------------------------------------------- 8. AUROC


@right("auroc")
def auroc(inside, outside):
    a, b = inside[:, None], outside[None, :]
    return ((a > b).float() + (a == b).float() / 2).mean()


@right("auroc")
def auroc_by_ranks(inside, outside):
    both = torch.cat([inside, outside]).sort().values
    first = torch.searchsorted(both, inside) + 1
    last = torch.searchsorted(both, inside, right=True)
    ranks = (first + last).double() / 2
    n, m = len(inside), len(outside)
    return (ranks.sum() - n * (n + 1) / 2) / (n * m)


@right("auroc")
def auroc_in_loops(inside, outside):
    won = 0.0
    for a in inside:
        for b in outside:
            won += 1.0 if a > b else 0.5 if a == b else 0.0
    return torch.tensor(won / (len(inside) * len(outside)))


@right("auroc")
def auroc_as_an_area(inside, outside):
    bounds = torch.cat([inside, outside]).unique().flip(0)
    hits = torch.stack([(inside >= t).double().mean() for t in bounds])
    alarms = torch.stack([(outside >= t).double().mean() for t in bounds])
    zero = torch.zeros(1).double()
    return torch.trapezoid(torch.cat([zero, hits]), torch.cat([zero, alarms]))


def pairs(inside, outside):
    a, b = inside[:, None], outside[None]
    return (a > b).float() + 0.5 * (a == b)


@wrong("auroc", "ties count for nothing")
def ties_lost(inside, outside):
    return (inside[:, None] > outside).float().mean()


@wrong("auroc", "ties count as won")
def ties_won(inside, outside):
    return (inside[:, None] >= outside).float().mean()


@wrong("auroc", "the wrong way round: those count")
def wrong_way(inside, outside):
    return pairs(outside, inside).mean()


@wrong("auroc", "these are counts")
def number_of_pairs(inside, outside):
    return pairs(inside, outside).sum()


@wrong("auroc", "you divide by N alone")
def over_n(inside, outside):
    return pairs(inside, outside).sum() / len(inside)


@wrong("auroc", "you divide by M alone")
def over_m(inside, outside):
    return pairs(inside, outside).sum() / len(outside)


@wrong("auroc", "you divide by N + M")
def over_n_plus_m(inside, outside):
    return pairs(inside, outside).sum() / len(torch.cat([inside, outside]))


@wrong("auroc", "a number for each score inside")
def for_each_inside(inside, outside):
    return pairs(inside, outside).mean(dim=1)


@wrong("auroc", "you compare with the mean of those outside")
def above_the_mean(inside, outside):
    return (inside > outside.mean()).float().mean()


@wrong("auroc", "you compare the two means")
def means_compared(inside, outside):
    return (inside.mean() > outside.mean()).float()


@wrong("auroc", "this is the gap between the means")
def gap_of_means(inside, outside):
    return (inside[:, None] - outside).mean()


@wrong("auroc", "you average the gaps' signs")
def signs(inside, outside):
    return (inside[:, None] - outside).sign().mean()


@wrong("auroc", "you turn the result round")
def turned_round(inside, outside):
    area = pairs(inside, outside).mean()
    return area if area > 0.5 else 1 - area


@wrong("auroc", "you compare the first with the first")
def zipped(inside, outside):
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(inside, outside)]  # noqa: B905
    return torch.tensor(won).mean()


@wrong("auroc", "beats all outside")
def beats_all(inside, outside):
    return (inside[:, None] > outside).all(dim=1).float().mean()


# ---------------------------------------------------------------- 9. place


@right("place")
def place(methods, leaves):
    spoken_of = set().union(*leaves.values())
    for leaf, promised in leaves.items():
        if methods & spoken_of == promised:
            return leaf
    return "nowhere"


@right("place")
def place_with_a_default(methods, leaves):
    spoken_of = {name for promised in leaves.values() for name in promised}
    able = sorted(name for name in methods if name in spoken_of)
    return next((leaf for leaf, names in leaves.items() if sorted(names) == able), "nowhere")


@right("place")
def place_by_exclusion(methods, leaves):
    found = "nowhere"
    for leaf, promised in leaves.items():
        lacks = promised - methods
        others = set().union(*leaves.values()) - promised
        if not lacks and not others & methods:
            found = leaf
    return found


def first_leaf(leaves, belongs, default="nowhere"):
    for leaf, promised in leaves.items():
        if belongs(promised):
            return leaf
    return default


def all_names(leaves):
    return set().union(*leaves.values())


@wrong("place", "claims to be two things")
def all_promised_are_there(methods, leaves):
    return first_leaf(leaves, lambda promised: all(name in methods for name in promised))


@wrong("place", "such as `forward`: leave them out")
def exactly_equal(methods, leaves):
    return first_leaf(leaves, lambda promised: promised == methods)


@wrong("place", "a model that lacks a method of the leaf")
def no_other_promise(methods, leaves):
    return first_leaf(leaves, lambda promised: (methods & all_names(leaves)).issubset(promised))


@wrong("place", "compare for equality")
def all_methods_promised(methods, leaves):
    return first_leaf(leaves, lambda promised: all(name in promised for name in methods))


@wrong("place", "one method in common is enough")
def any_in_common(methods, leaves):
    return first_leaf(leaves, lambda promised: any(name in methods for name in promised))


@wrong("place", "you take the leaf with most methods in common")
def most_in_common(methods, leaves):
    return sorted(leaves, key=lambda leaf: len(leaves[leaf] & methods), reverse=True)[0]


@wrong("place", "you compare how many methods there are")
def as_many(methods, leaves):
    able = methods & all_names(leaves)
    return first_leaf(leaves, lambda promised: len(promised) == len(able))


@wrong("place", "lands on the first")
def first_by_default(methods, leaves):
    able = methods & all_names(leaves)
    return first_leaf(leaves, lambda promised: promised == able, next(iter(leaves)))


@wrong("place", "lands on the last")
def last_by_default(methods, leaves):
    able = methods & all_names(leaves)
    for leaf in leaves:
        if leaves[leaf] == able:
            break
    return leaf


@wrong("place", "everything is nowhere in yours")
def a_list_is_no_set(methods, leaves):
    able = [name for name in methods if name in all_names(leaves)]
    return first_leaf(leaves, lambda promised: promised == able)


@wrong("place", "returns None for")
def nothing_for_nowhere(methods, leaves):
    able = methods & all_names(leaves)
    return first_leaf(leaves, lambda promised: promised == able, None)


@wrong("place", "returns a set for")
def the_methods_of_the_leaf(methods, leaves):
    return leaves.get(place(methods, leaves), set())


@wrong("place", "which is not the name of a leaf")
def another_word(methods, leaves):
    able = methods & all_names(leaves)
    return first_leaf(leaves, lambda promised: promised == able, "none")


@wrong("place", "changes its argument")
def in_place(methods, leaves):
    methods &= all_names(leaves)
    return first_leaf(leaves, lambda promised: promised == methods)


@wrong("place", "and you say")
def by_log_prob_alone(methods, leaves):
    if "log_prob" in methods and "tractable" in leaves:
        return "tractable"
    return place(methods, leaves)


# ---------------------------------------------------------------- the bank, applied

RETURNS_A_NAME = "this step returns a name, not a tensor"


class TestChecks(ChecksOfALesson):
    bank = bank

    def test_a_wrong_shape_is_named(self, step):
        if step == "place":
            pytest.skip(RETURNS_A_NAME)
        super().test_a_wrong_shape_is_named(step)

    def test_a_nan_is_found(self, step):
        if step == "place":
            pytest.skip(RETURNS_A_NAME)
        super().test_a_nan_is_found(step)

    def test_integers_are_refused_where_they_lose_the_answer(self, step):
        if step == "place":
            pytest.skip(RETURNS_A_NAME)
        super().test_integers_are_refused_where_they_lose_the_answer(step)


class Independent(nn.Module):
    """Pixels that are independent given the class, as a model of genlib's kind."""

    n_classes = 3

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def log_prob(self, x, y):
        p = self.table[y]
        return torch.where(x.flatten(1) == 1, p, 1 - p).log().sum(dim=1)


def test_the_classifier_is_that_of_genlib():
    prior, table = torch.tensor([0.5, 0.3, 0.2]), 0.1 + 0.8 * torch.rand(3, 6)
    x = (torch.rand(40, 1, 2, 3) < 0.5).float()
    theirs = of_genlib.GenerativeClassifier(Independent(table), prior)
    joint = log_joint(x.flatten(1), prior, table)
    mine, p = bayes(joint)
    assert torch.allclose(joint, theirs.log_joint(x), atol=1e-5)
    assert torch.allclose(mine, theirs.log_prob(x), atol=1e-5)
    assert torch.allclose(p, theirs.posterior(x), atol=1e-5)
    threshold, labels = decide(mine, mine + 1e-4, p, 0.25)
    assert torch.equal(labels, theirs.predict(x, reject_below=threshold.item() - 1e-4))


def test_the_probabilities_of_all_images_add_up_to_one():
    table = 0.1 + 0.8 * torch.rand(3, 8)
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8)
    log_p, _ = bayes(log_joint(every, torch.tensor([0.5, 0.3, 0.2]), table))
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_samples_follow_the_joint():
    prior, table = torch.tensor([0.5, 0.3, 0.2]), 0.1 + 0.8 * torch.rand(3, 2)
    n = 100_000
    y, x = draw(prior, table, torch.rand(n), torch.rand(n, 2))
    for k in range(3):
        for image in ([0.0, 1.0], [1.0, 1.0]):
            expected = log_joint(torch.tensor([image]), prior, table)[0, k].exp()
            found = ((y == k) & (x == torch.tensor(image)).all(dim=1)).float().mean()
            assert abs(found - expected) < 4 * (expected / n).sqrt()


def test_laplaces_rule_is_the_mean_of_a_uniform_prior():
    p = torch.linspace(0, 1, 10_001).double()
    likelihood = p.pow(3) * (1 - p).pow(5)  # 3 of 8 images white
    x, y = torch.tensor([[1.0]] * 3 + [[0.0]] * 5), torch.zeros(8).long()
    mean = (p * likelihood).sum() / likelihood.sum()
    assert white(x, y, 1).item() == pytest.approx(mean.item(), abs=1e-6)


def test_numbers_are_those_of_genlib():
    inside, outside = torch.randint(9, (50,)).float(), torch.randint(7, (30,)).float()
    assert auroc(inside, outside).item() == pytest.approx(of_genlib.auroc(inside, outside))
    log_p = -40 * torch.rand(20)
    assert bits(log_p, 64).item() == pytest.approx(bits_per_dim(log_p.mean().item(), (1, 8, 8)))


def test_models_stand_where_genlib_puts_them():
    leaves = {", ".join(taxonomy.path(leaf)): set(leaf.methods) for leaf in taxonomy.leaves()}
    assert place(set(dir(Autoencoder)), leaves) == "nowhere"
    for leaf in taxonomy.leaves():
        for kind in leaf.classes:
            assert place(set(dir(kind)), leaves) == ", ".join(taxonomy.path(leaf))


def test_the_check_knows_the_tree_of_genlib():
    assert sorted(map(sorted, checks.COURSE.values())) == sorted(
        sorted(leaf.methods) for leaf in taxonomy.leaves()
    )


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for name in ("allclose", "equal", "isfinite", "where", "logsumexp", "softmax"):
        monkeypatch.setattr(torch, name, lambda *args, **kwargs: True)
    assert "these are percentages" in bank.verdict("shares", percentages)
    assert "the shift m does not come back" in bank.verdict("bayes", shift_forgotten)
    assert "ties count as won" in bank.verdict("auroc", ties_won)
