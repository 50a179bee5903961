"""A row of the table says what the functions it calls say, and asks no more than a leaf can honour."""

import math
from types import MethodType

import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor, nn

from course import figures
from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import PixelCNN
from genlib.data import ImageSet, load
from genlib.markov import GSN, RBM
from genlib.metrics import frechet_distance, log_probs, precision_recall, report
from genlib.variational import VAE, Autoencoder, importance_bound

SHAPE = (1, 4, 4)
COLUMNS = ["known", "nats", "gap", "error", "frechet", "precision", "recall", "seconds"]


def flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def gan() -> GAN:
    return GAN(MLPGenerator(SHAPE, latent_dim=4), MLPDiscriminator(SHAPE), latent_dim=4)


def every_leaf() -> dict[str, nn.Module]:
    return {
        "tractable": PixelCNN(SHAPE, hidden_dim=8, depth=1),
        "variational": VAE(SHAPE, latent_dim=3),
        "energy": RBM(SHAPE, hidden_dim=4),
        "chain": GSN(SHAPE, hidden_dim=8, noise=0.3),
        "direct": gan(),
    }


def draws(model: nn.Module, x: Tensor) -> nn.Module:
    """The same model, whose samples are these images again and again."""
    model.sample = MethodType(  # type: ignore[assignment]
        lambda self, n: x.repeat(-(-n // len(x)), 1, 1, 1)[:n], model
    )
    return model


@pytest.mark.parametrize("leaf", list(every_leaf()))
def test_every_leaf_has_the_same_columns(leaf):
    row = report(every_leaf()[leaf], load("bars"), flat, n_samples=40, k=5)
    assert list(row) == COLUMNS
    assert row["frechet"] >= 0 and 0 <= row["precision"] <= 1 and 0 <= row["recall"] <= 1
    assert row["seconds"] > 0


@pytest.mark.parametrize(
    ("leaf", "known"),
    [
        ("tractable", "exact"),
        ("variational", "bound"),
        ("energy", "exact"),
        ("chain", None),
        ("direct", None),
    ],
)
def test_what_a_leaf_cannot_know_is_none(leaf, known):
    row = report(every_leaf()[leaf], load("bars"), flat, n_samples=30, k=5)
    assert row["known"] == known
    assert (row["nats"] is None) == (known is None)
    assert (row["gap"] is None) == (known != "bound")
    assert row["error"] is None


def test_a_tractable_models_nats_are_its_mean_log_prob():
    model, bars = PixelCNN(SHAPE, hidden_dim=8, depth=1), load("bars")
    row = report(model, bars, flat, n_samples=30)
    assert row["nats"] == pytest.approx(log_probs(model, bars).mean().item(), abs=1e-5)


def test_a_small_rbms_nats_are_exact():
    model, bars = RBM(SHAPE, hidden_dim=5), load("bars")
    nn.init.normal_(model.weight)
    row = report(model, bars, flat, n_samples=30)
    assert row["nats"] == pytest.approx(model.log_prob(bars.floats()).mean().item(), abs=1e-4)


def test_a_large_rbm_is_estimated_and_the_estimate_is_right():
    # 25 pixels and 21 hidden units; without weights the exact log Z is a product over units
    x = (torch.rand(30, 1, 5, 5) < 0.5).to(torch.uint8)
    data = ImageSet(x, torch.zeros(30, dtype=torch.int64), levels=2, n_classes=1)
    model = RBM((1, 5, 5), hidden_dim=21)
    nn.init.zeros_(model.weight)
    row = report(model, data, flat, n_samples=30, train=data)
    assert row["known"] == "AIS" and row["gap"] is None
    assert row["nats"] == pytest.approx(-25 * math.log(2), abs=4 * row["error"] + 1e-3)


def test_a_vaes_nats_are_the_importance_bound_and_its_gap_leads_to_the_elbo():
    model, bars = VAE(SHAPE, latent_dim=3), load("bars")
    torch.manual_seed(5)
    row = report(model, bars, flat, n_samples=30, k=20)
    torch.manual_seed(5)
    with torch.no_grad():
        bound = importance_bound(model, bars.floats(), k=20).mean().item()
        elbo = model.elbo(bars.floats()).mean().item()
    assert row["nats"] == pytest.approx(bound, abs=1e-5)
    assert row["nats"] - row["gap"] == pytest.approx(elbo, abs=1e-5)


def test_more_codes_raise_a_bound():
    model = VAE(SHAPE, latent_dim=3)
    for parameter in model.decoder.parameters():  # so that one code is not like another
        nn.init.normal_(parameter, std=0.3)
    row = {k: report(model, load("bars"), flat, n_samples=30, k=k) for k in (1, 500)}
    assert row[500]["nats"] > row[1]["nats"] + 0.1


def test_samples_are_judged_by_the_functions_of_metrics():
    bars, x = load("bars"), torch.bernoulli(torch.full((30, *SHAPE), 0.5))
    row = report(draws(gan(), x), bars, flat, n_samples=30)
    real = flat(bars.floats())
    assert row["frechet"] == pytest.approx(frechet_distance(real, flat(x)))
    assert (row["precision"], row["recall"]) == precision_recall(real, flat(x))


def test_as_many_samples_are_judged_as_there_are_images():
    bars = load("bars")
    seen: list[int] = []

    def features(x: Tensor) -> Tensor:
        seen.append(len(x))
        return flat(x)

    report(gan(), bars, features, n_samples=77)
    assert seen == [30, 30]


def test_grey_samples_are_rounded_to_the_levels_of_the_data():
    bars = load("bars").floats()
    grey = (bars * 0.5 + 0.2).clamp(0, 1)  # 0.2 and 0.7 are black and white
    row = report(draws(gan(), grey), load("bars"), flat, n_samples=30)
    assert row["frechet"] == pytest.approx(0, abs=1e-6) and row["precision"] == 1

    digits = load("digits", "test", size=50)
    shifted = (digits.floats() + 0.4 / 16).clamp(0, 1)  # less than half a level
    digit_gan = GAN(
        MLPGenerator(digits.shape, latent_dim=4), MLPDiscriminator(digits.shape), latent_dim=4
    )
    row = report(draws(digit_gan, shifted), digits, flat, n_samples=50)
    assert row["frechet"] == pytest.approx(0, abs=1e-6)


def test_copies_of_the_data_score_in_everything_but_noise_does_not():
    bars = load("bars")
    copies = report(draws(gan(), bars.floats()), bars, flat, n_samples=30)
    assert copies["precision"] == copies["recall"] == 1
    checkers = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(2, 2).expand(30, 1, 4, 4)
    assert report(draws(gan(), checkers), bars, flat, n_samples=30)["recall"] == 0


def test_seconds_are_those_of_drawing_all_samples(monkeypatch):
    asked: list[int] = []
    model = draws(gan(), load("bars").floats())
    inner = model.sample
    model.sample = lambda n: asked.append(n) or inner(n)  # type: ignore[assignment]
    clock = iter([10.0, 12.5])
    monkeypatch.setattr("genlib.metrics.comparison.time.perf_counter", lambda: next(clock))
    assert report(model, load("bars"), flat, n_samples=123)["seconds"] == 2.5
    assert asked == [123]


def test_what_cannot_draw_is_refused_and_nothing_else():
    with pytest.raises(TypeError, match="Autoencoder has no method `sample`"):
        report(Autoencoder(SHAPE, latent_dim=2), load("bars"), flat)
    with pytest.raises(TypeError, match="Linear has no method `sample`"):
        report(nn.Linear(2, 2), load("bars"), flat)

    class Helped(PixelCNN):
        """A method that is a GSN's by name puts it on no leaf, and measures as well."""

        def chain(self) -> None: ...

    model = Helped(SHAPE, hidden_dim=8, depth=1)
    assert report(model, load("bars"), flat, n_samples=50)["known"] == "exact"


def test_a_conditional_model_and_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="without n_classes"):
        report(PixelCNN(SHAPE, hidden_dim=8, depth=1, n_classes=2), load("bars"), flat)
    with pytest.raises(ValueError, match="at least 30"):
        report(PixelCNN(SHAPE, hidden_dim=8, depth=1), load("bars"), flat, n_samples=29)


def test_the_model_is_left_as_it_was():
    model = every_leaf()["direct"].train()
    before = [p.clone() for p in model.parameters()]
    report(model, load("bars"), flat, n_samples=30)
    assert model.training and all(map(torch.equal, before, model.parameters()))


# The figure. ----------------------------------------------------------------------------------------


def test_names_in_a_scatter_do_not_cover_each_other():
    points = {f"model {i}": (1 + 0.001 * i, 2.0) for i in range(6)} | {"far": (3.0, 2.0)}
    groups = dict.fromkeys(points, "all of them") | {"somebody else": "another group"}
    figures.show_scatter(points, groups=groups, xlabel="x", ylabel="y")
    figure, axes = plt.gcf(), plt.gca()
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == sorted(points)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    for spot in axes.transData.transform(list(points.values())):
        assert not any(box.contains(*spot) for box in boxes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["all of them"]
    moved = [text for text in axes.texts if text.xyann[1] > 0]
    starts = [line.get_xydata()[0].tolist() for line in axes.lines]
    assert moved and starts == [list(points[text.get_text()]) for text in moved]
    plt.close(figure)


def test_a_scatter_has_a_colour_for_each_group_and_a_logarithmic_axis_if_asked():
    groups = {"A": "one", "B": "two", "C": "one"}
    points = {"A": (0.01, 1.0), "B": (1.0, 2.0), "C": (100.0, 3.0)}
    figures.show_scatter(points, groups=groups, xlabel="x", ylabel="y", log=True)
    axes = plt.gca()
    colours = [tuple(dots.get_facecolor()[0]) for dots in axes.collections]
    assert colours[0] == colours[2] != colours[1]
    assert axes.get_xscale() == "log"
    plt.close()
