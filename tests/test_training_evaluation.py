"""The loop averages and steps as it says; the measures agree with sums done by hand."""

import math
import time

import pytest
import torch
from torch import Tensor, nn

from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import PixelCNN
from genlib.data import EightGaussians, ImageSet, all_images, independent_pixels, load
from genlib.data.imageset import batch_sizes
from genlib.execution import bf16_is_fast, fast_autocast
from genlib.markov import GSN, RBM
from genlib.metrics import bars_counts, bars_kl, bars_report, bits_per_dim, format_table, log_probs
from genlib.train import RECIPES, build_model, images_of
from genlib.training import fit, fit_gan, train_epoch
from genlib.variational import VAE, log_prob_by_quadrature


class MeanSquare(nn.Module):
    """Pulls one number towards the images' mean."""

    def __init__(self, n_classes: int = 0):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))
        self.n_classes = n_classes
        self.labels_seen: list[Tensor] = []

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if y is not None:
            self.labels_seen.append(y)
        return ((x - self.value) ** 2).mean()


def three_images() -> ImageSet:
    pixels = torch.tensor([0, 0, 1], dtype=torch.uint8).reshape(3, 1, 1, 1)
    return ImageSet(pixels, torch.tensor([0, 1, 1]), levels=2, n_classes=2)


def uneven_batches() -> list[tuple[Tensor, Tensor]]:
    x, y = three_images().floats(), three_images().labels
    return [(x[:2], y[:2]), (x[2:], y[2:])]


def test_the_loss_is_averaged_over_examples_not_batches():
    model = MeanSquare()
    frozen = torch.optim.SGD(model.parameters(), lr=0.0)
    loss = train_epoch(model, uneven_batches(), frozen)
    assert loss == pytest.approx(1 / 3)  # over batches it would be (0 + 1) / 2


def test_each_batch_is_one_step_downhill():
    model = MeanSquare()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    x = torch.ones(4, 1, 1, 1)
    train_epoch(model, [(x, torch.zeros(4))], optimizer)
    assert model.value.item() == pytest.approx(0.5)  # 0 - 0.25 * 2 (0 - 1)
    train_epoch(model, [(x, torch.zeros(4))], optimizer)
    assert model.value.item() == pytest.approx(0.75)  # old gradients are not added up


def test_only_a_conditional_model_is_given_the_labels():
    plain, conditional = MeanSquare(), MeanSquare(n_classes=2)
    for model in (plain, conditional):
        train_epoch(model, three_images().batches(3, shuffle=False), torch.optim.SGD([model.value]))
    assert plain.labels_seen == []
    assert conditional.labels_seen[0].tolist() == [0, 1, 1]


def test_no_batches_is_an_error():
    model = MeanSquare()
    with pytest.raises(ValueError, match="no batches"):
        train_epoch(model, [], torch.optim.SGD(model.parameters()))


def test_fit_needs_an_epoch_and_ends_with_a_small_step():
    with pytest.raises(ValueError, match="epochs"):
        fit(MeanSquare(), three_images(), epochs=0)
    losses = fit(MeanSquare(), three_images(), epochs=60, batch_size=2, learning_rate=0.1)
    assert len(losses) == 60
    assert losses[-1] == pytest.approx(2 / 9, abs=0.02)  # the variance of 0, 0, 1


def test_a_bar_is_drawn_twice_a_second_and_ends_with_the_last_loss(capsys: pytest.CaptureFixture):
    """A notebook is sent messages for each time: thousands would drown it."""
    start = time.monotonic()
    losses = fit(MeanSquare(), three_images(), epochs=200, batch_size=3)
    seconds, drawn = time.monotonic() - start, capsys.readouterr().err
    assert 1 <= drawn.count("\r") <= 4 + 2 * seconds
    assert "200/200 " in drawn and f"loss={losses[-1]:.3f}" in drawn


def test_bfloat16_is_used_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch):
    cpu = torch.device("cpu")
    assert bf16_is_fast(cpu) in (True, False)
    assert bf16_is_fast(torch.device("meta")) is False
    for fast, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("genlib.execution.bf16_is_fast", lambda device, fast=fast: fast)
        with fast_autocast(cpu):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_fast_autocast_may_stay_on_while_the_weights_move(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("genlib.execution.bf16_is_fast", lambda device: True)
    line = torch.nn.Linear(1, 1)
    with fast_autocast(torch.device("cpu")):
        before = line(torch.ones(1, 1)).item()
        with torch.no_grad():
            line.weight += 10
        assert line(torch.ones(1, 1)).item() > before + 5


@pytest.mark.parametrize("batch_size", [1000, 30, 15, 10, 8, 6])  # 1, 1, 2, 3, 4 and 5 updates
def test_a_training_may_be_of_very_few_updates(batch_size: int):
    model = PixelCNN((1, 4, 4), hidden_dim=8, depth=1)
    before = model.loss(load("bars").floats()).item()
    (loss,) = fit(model, load("bars"), epochs=1, batch_size=batch_size)
    assert math.isfinite(loss) and model.loss(load("bars").floats()).item() != before


@pytest.mark.parametrize("batch_size", [2, 4, 7, 64])
def test_no_batch_holds_one_image_alone(batch_size: int):
    for n in range(2, 70):
        sizes = batch_sizes(n, batch_size)
        assert sum(sizes) == n and min(sizes) >= 2 and max(sizes) <= batch_size + 1
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    data = load("digits", size=65)
    seen = [len(x) for x, _ in data.batches(batch_size)]
    assert seen == batch_sizes(65, batch_size)


@pytest.mark.parametrize("size, batch_size", [(65, 64), (9, 4), (3, 2)])
def test_a_gan_with_batch_norm_survives_the_image_that_is_left_over(size: int, batch_size: int):
    data = load("digits", size=size)
    model = GAN(
        MLPGenerator(data.shape, latent_dim=4, hidden_dim=8),
        MLPDiscriminator(data.shape, hidden_dim=8),
        latent_dim=4,
    )
    passes = fit_gan(model, data, updates=6, batch_size=batch_size)
    assert all(math.isfinite(loss) for loss in passes["generator_loss"])


def test_batch_norm_refuses_a_batch_of_one_before_the_first_update():
    data = load("digits", size=5)
    model = GAN(
        MLPGenerator(data.shape, latent_dim=4, hidden_dim=8),
        MLPDiscriminator(data.shape, hidden_dim=8),
        latent_dim=4,
    )
    for images, batch_size in ((data, 1), (data[:1], 64), (EightGaussians(), 1)):
        with pytest.raises(ValueError, match="compares the examples of a batch"):
            fit_gan(model, images, updates=1, batch_size=batch_size)
    assert fit(PixelCNN((1, 8, 8), levels=17, hidden_dim=8, depth=1), data, epochs=1, batch_size=1)


@pytest.mark.parametrize("name", RECIPES)
def test_a_model_of_doubles_trains_where_doubles_are_the_default(name: str):
    try:
        torch.set_default_dtype(torch.float64)
        data = load("bars")
        model = build_model(name, images_of(data), {"hidden_dim": 8})
        if isinstance(model, GAN):
            (loss,) = fit_gan(model, data, updates=1)["generator_loss"]
        else:
            (loss,) = fit(model, data, epochs=1)
        assert math.isfinite(loss)
        assert all(p.dtype == torch.float64 for p in model.parameters())
    finally:
        torch.set_default_dtype(torch.float32)


def test_uniform_guessing_costs_log2_k_bits_a_dimension():
    for levels in (2, 17, 256):
        nats = torch.full((3,), -3 * 8 * 8 * math.log(levels))
        expected = torch.full((3,), math.log2(levels))
        torch.testing.assert_close(bits_per_dim(nats, (3, 8, 8)), expected)


def test_independent_pixels_are_the_best_that_histograms_can_do():
    data = load("digits")
    baseline = independent_pixels(data)
    torch.testing.assert_close(baseline.probs.sum(dim=-1), torch.ones(data.shape))
    nats = baseline.log_prob(data.images.long()).flatten(1).sum(dim=1).mean()
    frequency = torch.stack([(data.images == k).double().mean(dim=0) for k in range(data.levels)])
    entropy = torch.special.entr(frequency).sum()  # of the independent histograms, no plus one
    assert entropy < -nats < entropy + 1


def test_log_probs_keeps_the_order_whatever_the_batch_size():
    model = PixelCNN((1, 4, 4), hidden_dim=8, depth=1, n_classes=3)
    data = load("bars")
    all_at_once = model.log_prob(data.floats(), y=data.labels)
    torch.testing.assert_close(log_probs(model, data, batch_size=7), all_at_once)


def test_the_kl_of_the_truth_is_zero_and_of_a_mixture_what_it_must_be():
    def truth(x: Tensor) -> Tensor:
        return torch.full((len(x),), -math.log(30))

    def half_wasted(x: Tensor) -> Tensor:  # half of the probability lies on other images
        return truth(x) - math.log(2)

    assert bars_kl(truth) == pytest.approx(0, abs=1e-6)  # float32 sums
    assert bars_kl(half_wasted) == pytest.approx(math.log(2))


def test_the_kl_of_a_model_that_rules_out_a_bar_is_infinite():
    def misses_the_empty_image(x: Tensor) -> Tensor:
        seen = x.flatten(1).any(dim=1)
        return torch.where(seen, -math.log(29), -math.inf)

    assert bars_kl(misses_the_empty_image) == math.inf


def test_a_score_that_is_not_normalised_is_refused():
    with pytest.raises(ValueError, match="more than 1"):
        bars_kl(lambda x: torch.zeros(len(x)))


# Measures on bars, whose truth is known. ------------------------------------------------------------


def test_counts_of_the_truth_are_biased_as_the_docstring_says():
    bars, n, runs = load("bars").floats(), 6000, 40
    seen = [bars_counts(bars[torch.randint(30, (n,))]) for _ in range(runs)]
    assert all(counts["covered"] == 30 and counts["valid"] == 1 for counts in seen)
    for name, bias in (
        ("total_variation", 15 * math.sqrt(2 / math.pi * (1 / 30) * (29 / 30) / n)),
        ("kl_of_valid", 29 / (2 * n)),
    ):
        values = torch.tensor([counts[name] for counts in seen])
        error = values.std() / runs**0.5
        assert values.mean().item() == pytest.approx(bias, abs=4 * error.item())


def test_counts_of_what_is_known_by_hand():
    bars = load("bars").floats()
    one = bars_counts(bars[:1].repeat(100, 1, 1, 1))
    assert (one["covered"], one["valid"]) == (1, 1.0)
    assert one["total_variation"] == pytest.approx(29 / 30)
    assert one["kl_of_valid"] == pytest.approx(math.log(30))
    none = all_images(2, (1, 4, 4))[[1, 2]]
    nothing = bars_counts(none)
    assert (nothing["covered"], nothing["valid"]) == (0, 0.0)
    assert nothing["total_variation"] == pytest.approx(1.0)
    assert math.isnan(nothing["kl_of_valid"])
    half = bars_counts(torch.cat([bars, none.repeat(15, 1, 1, 1)]))
    assert half["valid"] == 0.5 and half["total_variation"] == pytest.approx(0.5)


def test_grey_pixels_are_rounded_before_they_are_counted():
    bars = load("bars").floats()
    assert bars_counts(0.2 + 0.6 * bars) == bars_counts(bars)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        bars_counts(torch.zeros(0, 1, 4, 4))
    with pytest.raises(ValueError, match="shape"):
        bars_counts(torch.zeros(3, 1, 8, 8))


def test_each_leaf_is_reported_by_the_best_way_it_allows():
    torch.manual_seed(0)
    shape = (1, 4, 4)
    reports = {
        "PixelCNN": bars_report(PixelCNN(shape, hidden_dim=8, depth=1), n_samples=500),
        "VAE": bars_report(VAE(shape, latent_dim=2), n_samples=500),
        "VAE, 3 latents": bars_report(VAE(shape, latent_dim=3), n_samples=500),
        "RBM": bars_report(RBM(shape, hidden_dim=4), n_samples=500),
        "GSN": bars_report(GSN(shape, hidden_dim=8, noise=0.8), n_samples=500),
        "GAN": bars_report(
            GAN(MLPGenerator(shape, latent_dim=4), MLPDiscriminator(shape), latent_dim=4),
            n_samples=500,
        ),
    }
    assert [report["known"] for report in reports.values()] == [
        "exact", "by quadrature", "by counting samples", "exact", "by enumerating its chain",
        "by counting samples",
    ]  # fmt: skip
    by_chance = 16 * math.log(2) - math.log(30)  # a model that knows nothing
    for name in ("PixelCNN", "VAE", "RBM", "GSN"):
        assert reports[name]["kl"] == pytest.approx(by_chance, rel=0.3)
    assert reports["GAN"]["kl"] is None
    with pytest.raises(ValueError, match="without n_classes"):
        bars_report(PixelCNN(shape, hidden_dim=8, depth=1, n_classes=2))


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_quadrature_is_a_distribution_and_has_converged(latent_dim: int):
    torch.manual_seed(1)
    model, x = VAE((1, 3, 3), latent_dim=latent_dim).double(), all_images(2, (1, 3, 3)).double()
    log_p = log_prob_by_quadrature(model, x)
    assert log_p.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(log_p, log_prob_by_quadrature(model, x, reach=7.0, points=301))


def test_quadrature_says_where_it_cannot_be_done():
    x = torch.zeros(2, 1, 3, 3)
    with pytest.raises(ValueError, match="importance_bound"):
        log_prob_by_quadrature(VAE((1, 3, 3), latent_dim=3), x)
    with pytest.raises(ValueError, match="points must be at least 2"):
        log_prob_by_quadrature(VAE((1, 3, 3), latent_dim=2), x, points=1)


def test_a_table_keeps_its_columns_and_marks_what_is_missing():
    rows = {"a": {"KL": 0.5, "how": "exact"}, "longer": {"n": 12, "KL": None}}
    lines = format_table(rows, digits=1).splitlines()
    assert lines == ["         KL  how     n", "a       0.5  exact   -", "longer    -  -      12"]
