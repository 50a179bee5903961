"""Measures of samples: against closed forms, against brute force, and how far they depend on the number."""

import math

import pytest
import torch
from torch import Tensor

from genlib.data import EightGaussians, load
from genlib.metrics import (
    FeatureClassifier,
    frechet_distance,
    gaussian_frechet,
    mode_counts,
    mode_coverage,
    nearest_neighbours,
    precision_recall,
    train_classifier,
)
from genlib.metrics.precision_recall import _far


def random_covariance(d: int) -> Tensor:
    a = torch.randn(d, d, dtype=torch.double)
    return a @ a.T


# Fréchet distance.


def test_the_frechet_distance_of_gaussians_along_the_axes_has_a_closed_form():
    mean1, mean2 = torch.randn(2, 5, dtype=torch.double)
    std1, std2 = 2 * torch.rand(2, 5, dtype=torch.double)
    distance = gaussian_frechet(mean1, std1.square().diag(), mean2, std2.square().diag())
    expected = (mean1 - mean2).square().sum() + (std1 - std2).square().sum()
    assert distance == pytest.approx(expected.item())


def test_the_frechet_distance_of_any_gaussians_agrees_with_the_unsymmetric_formula():
    mean, cov1, cov2 = torch.zeros(6).double(), random_covariance(6), random_covariance(6)
    # cov1 cov2 has the eigenvalues of its symmetric form; they are positive
    root = torch.linalg.eigvals(cov1 @ cov2).real.sqrt().sum()
    expected = (cov1.trace() + cov2.trace() - 2 * root).item()
    assert gaussian_frechet(mean, cov1, mean, cov2) == pytest.approx(expected)
    assert gaussian_frechet(mean, cov2, mean, cov1) == pytest.approx(expected)


def test_rotating_both_gaussians_does_not_change_their_distance():
    mean, cov1, cov2 = torch.randn(4).double(), random_covariance(4), random_covariance(4)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.double)).Q
    turned = gaussian_frechet(
        turn @ mean, turn @ cov1 @ turn.T, torch.zeros(4).double(), turn @ cov2 @ turn.T
    )
    assert turned == pytest.approx(gaussian_frechet(mean, cov1, torch.zeros(4).double(), cov2))


def test_covariances_without_an_inverse_are_no_obstacle():
    # 20 features of 6 examples, two of them always zero, as features behind a ReLU may be
    x = torch.randn(6, 20).relu()
    x[:, :2] = 0
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 1) == pytest.approx(20, rel=1e-6)
    point = torch.zeros(1)
    assert gaussian_frechet(point, torch.zeros(1, 1), point, 4 * torch.ones(1, 1)) == 4


@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_frechet_distance_of_fewer_examples_than_features_is_that_of_their_gaussians(n: int):
    x, y = torch.randn(n, 12).double(), 1 + 2 * torch.randn(7, 12).double()
    whole = gaussian_frechet(x.mean(dim=0), x.T.cov(), y.mean(dim=0), y.T.cov())
    assert frechet_distance(x, y) == pytest.approx(whole, rel=1e-6)
    assert frechet_distance(y, x) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("n", [200, 800])
def test_the_frechet_distance_of_too_few_samples_is_too_large_by_what_the_text_says(n: int):
    d, repeats = 8, 40
    distances = torch.tensor(
        [frechet_distance(torch.randn(n, d), torch.randn(n, d)) for _ in range(repeats)]
    )
    bias = (2 * d + d * (d + 1) / 2) / n  # the truth is 0
    # 4 standard errors, and the next order in d / n
    assert abs(distances.mean() - bias) < 4 * distances.std() / math.sqrt(repeats) + bias * d / n


# Precision and recall.


def test_precision_and_recall_are_what_a_loop_over_all_balls_finds():
    real, fake, k = torch.randn(40, 3), 1.5 * torch.randn(50, 3), 2

    def share_within(x: Tensor, manifold: Tensor) -> float:
        inside = 0
        for point in x:
            found = False
            for i in range(len(manifold)):
                others = torch.cat([manifold[:i], manifold[i + 1 :]])
                radius = (others - manifold[i]).norm(dim=1).sort().values[k - 1]
                found = found or bool((point - manifold[i]).norm() <= radius)
            inside += found
        return inside / len(x)

    precision, recall = precision_recall(real, fake, k=k)
    assert precision == pytest.approx(share_within(fake, real))
    assert recall == pytest.approx(share_within(real, fake))
    assert 0.1 < precision < recall < 1  # the wider set reaches over the narrow one


@pytest.mark.parametrize("d", [3, 200])
def test_copies_lie_within_the_balls_of_what_they_copy_whatever_the_number_of_features(d: int):
    real = 50 + torch.randn(40, d)
    assert precision_recall(real, real[torch.randperm(40)]) == (1, 1)
    thrice = real[:10].repeat(4, 1)  # the third neighbour is the point itself: balls of radius 0
    assert precision_recall(thrice, real[:20]) == (0.5, 1)
    far = torch.cdist(real.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.testing.assert_close(_far(real, real), far.float())


def test_one_mode_of_two_is_precise_and_lacks_half():
    middle = torch.tensor([[10.0, 0.0]])
    real = torch.cat([torch.randn(300, 2) - middle, torch.randn(300, 2) + middle])
    precision, recall = precision_recall(real, torch.randn(600, 2) + middle)
    assert precision > 0.9
    assert recall == pytest.approx(0.5, abs=0.05)
    precision, recall = precision_recall(real, 30 * torch.randn(600, 2))  # all over the place
    assert precision < 0.1


def test_precision_of_the_truth_depends_on_k_and_little_on_the_number_of_examples():
    def precision(n: int, k: int) -> Tensor:
        shares = [precision_recall(torch.randn(n, 8), torch.randn(n, 8), k=k)[0] for _ in range(20)]
        return torch.tensor(shares).mean()

    few, many = precision(25, k=3), precision(400, k=3)
    # a share of 25 has a standard error of 0.016 in 20 repeats; balls of one set fall and rise together
    assert abs(few - 0.86) < 0.08 and abs(many - 0.87) < 0.03
    assert precision(400, k=1) < many - 0.1 and precision(400, k=10) > many + 0.05


# The classifier whose features these look at.


def test_the_classifier_is_the_same_every_time_and_leaves_random_numbers_alone():
    digits, test = load("digits"), load("digits", "test")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train_classifier(digits)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    second = train_classifier(digits)
    x = test.floats()
    assert torch.equal(first.features(x), second.features(x))
    assert (first.predict(x) == test.labels).float().mean() > 0.95  # guessing: 0.1
    assert not torch.equal(
        train_classifier(digits, updates=1, seed=1).features(x), first.features(x)
    )
    torch.testing.assert_close(first.features(x, batch_size=7), first.features(x))
    torch.testing.assert_close(first.to_logits(first.features(x)), first(x))


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_the_classifier_takes_every_image_of_the_course(shape):
    assert FeatureClassifier(shape, n_classes=10).features(torch.rand(2, *shape)).shape == (2, 32)


def test_damage_shows_in_every_measure():
    digits, test = load("digits"), load("digits", "test").floats()
    classifier = train_classifier(digits)
    real = classifier.features(digits.floats()[:360])
    noisy = classifier.features((test + 0.3 * torch.randn_like(test)).clamp(0, 1))
    zeros = digits.floats()[digits.labels == 0][:120].repeat(3, 1, 1, 1)
    one_class, good = classifier.features(zeros), classifier.features(test)
    distance = {name: frechet_distance(real, f) for name, f in
                {"good": good, "noisy": noisy, "zeros": one_class}.items()}  # fmt: skip
    assert distance["good"] < distance["noisy"] / 2 < distance["zeros"]
    precision, recall = precision_recall(real, good)
    assert precision > 0.8 and recall > 0.8
    assert precision_recall(real, one_class)[1] < 0.2 < 0.8 < precision_recall(real, one_class)[0]


# Modes and neighbours.


def test_samples_of_the_truth_cover_all_modes_evenly():
    n, ring = 8000, EightGaussians()
    counts = mode_counts(ring.sample(n), ring.means, radius=3 * ring.std)
    within = 1 - math.exp(-9 / 2)  # of a round Gaussian, by its radius
    error = math.sqrt(n * (1 / 8) * (7 / 8))
    assert ((counts - n / 8 * within).abs() < 4 * error).all()
    assert mode_coverage(ring.sample(n), ring.means, radius=3 * ring.std) == 8
    half = ring.sample(n)
    half = half[half[:, 0] > 0.5]  # three of the eight lie there
    assert mode_coverage(half, ring.means, radius=3 * ring.std) == 3


def test_the_thirty_bars_count_when_every_pixel_is_right():
    bars = load("bars").floats()
    assert mode_counts(bars, bars, radius=0.5).tolist() == [1] * 30
    wrong = bars.clone()
    wrong[:, 0, 0, 0] = 1 - wrong[:, 0, 0, 0]  # one pixel
    assert mode_counts(wrong, bars, radius=0.5).sum() == 0
    assert mode_coverage(torch.cat([bars[:7], wrong]), bars, radius=0.5) == 7


def test_a_stray_sample_covers_no_mode():
    modes = torch.tensor([[0.0], [1.0]])
    samples = torch.cat([torch.zeros(99, 1), torch.ones(1, 1)])
    assert mode_counts(samples, modes, radius=0.1).tolist() == [99, 1]
    assert mode_coverage(samples, modes, radius=0.1) == 1  # 1 of 100 where 50 would be fair
    assert mode_coverage(samples, modes, radius=0.1, share=0.02) == 2
    assert mode_coverage(samples[:1], modes, radius=0.1, share=0) == 1  # none is never enough


def test_nearest_neighbours_are_found_and_copies_lie_at_zero():
    digits = load("digits").floats()
    samples = torch.cat([digits[[5, 900]], torch.rand(700, 1, 8, 8)])
    distance, row = nearest_neighbours(samples, digits, k=3)
    assert row[:2, 0].tolist() == [5, 900]
    assert not distance[:2, 0].any()
    for i in (2, 500, 701):  # on both sides of where the work is cut
        all_of_them = (digits - samples[i]).flatten(1).norm(dim=1).sort()
        torch.testing.assert_close(distance[i], all_of_them.values[:3])
        assert torch.equal(row[i], all_of_them.indices[:3])


# Input validation: what is refused, each by name.

X = torch.zeros(5, 2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: frechet_distance(X, torch.zeros(5, 3)), r"\(5, 2\) and \(5, 3\)"),
        (lambda: frechet_distance(X, torch.zeros(5, 1, 4, 4)), "flatten the images"),
        (lambda: frechet_distance(X, X[:1]), "at least 2 examples"),
        (lambda: frechet_distance(X, X * math.nan), "NaN"),
        (lambda: precision_recall(X, X[:3]), "at least 4 examples"),
        (lambda: precision_recall(X, X, k=0), "k must be at least 1"),
        (lambda: mode_counts(X, torch.zeros(5, 3), radius=1.0), "cannot be compared"),
        (lambda: mode_counts(X, X, radius=-1.0), "radius"),
        (lambda: nearest_neighbours(X, torch.zeros(5, 3)), "cannot be compared"),
        (lambda: nearest_neighbours(X, X, k=6), "1 to 5"),
        (lambda: train_classifier(load("bars"), updates=0), "updates"),
        (
            lambda: FeatureClassifier((1, 8, 8), n_classes=10)(torch.full((2, 1, 8, 8), 2.0)),
            r"\[0, 1\]",
        ),
        (lambda: FeatureClassifier((1, 8, 8), n_classes=10).features(X), "shape"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
