"""The explorers of lesson Taxonomy show what the models draw, and count what a threshold refuses."""

import re
import time

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from matplotlib.colors import to_rgb

from course import explorers
from course.explorers.core import CHOSEN, RED, own_random_numbers
from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
from genlib.autoregressive import PixelCNN, RowLSTM
from genlib.data import load
from genlib.diffusion import Diffusion, ProbabilityFlow
from genlib.markov import GSN, RBM
from genlib.metrics import format_table
from genlib.networks import TimeMLP
from genlib.taxonomy import leaves, path, place
from genlib.variational import VAE, Autoencoder

S = (1, 4, 4)
BARS = load("bars").floats()


def all_leaves():
    diffusion = Diffusion(S, levels=2, network=TimeMLP(S, hidden_dim=8))
    return {
        "PixelCNN": PixelCNN(S, hidden_dim=8, depth=1),
        "Row LSTM": RowLSTM(S, hidden_dim=8, depth=1),
        "VAE": VAE(S, latent_dim=2),
        "RBM": RBM(S, hidden_dim=4),
        "GSN": GSN(S, hidden_dim=8, noise=0.2),
        "GAN": GAN(MLPGenerator(S, latent_dim=2), MLPDiscriminator(S), latent_dim=2),
        "Diffusion": diffusion,
        "flow": ProbabilityFlow(diffusion),
    }


def some_table(models):
    return {name: {"kl": 0.1 * k, "valid": 1.0} for k, name in enumerate(models)}


@pytest.fixture
def taxonomy():
    models = all_leaves()
    return explorers.taxonomy_explorer(models, some_table(models), BARS, seed=4)


def middle_of(explorer, leaf):
    """Where a leaf stands in the picture, in pixels from its top left."""
    x, y = explorer._tree.transData.transform(explorer._place[id(leaf)])
    return x, explorer.picture.figure.bbox.height - y


def click(explorer, x, y):
    width, height = explorer.picture.figure.bbox.size
    explorer.picture._handle({
        "type": "click", "relativeX": x, "relativeY": y,
        "boundingRectWidth": width, "boundingRectHeight": height,
    })  # fmt: skip


def test_each_leaf_that_has_a_model_can_be_chosen_and_clicked(taxonomy):
    assert list(taxonomy.leaf.options) == [", ".join(path(leaf)) for leaf in leaves()]
    seen = set()
    for leaf in leaves():
        click(taxonomy, *middle_of(taxonomy, leaf))
        assert taxonomy.leaf.value == ", ".join(path(leaf))
        seen.add(bytes(taxonomy.picture.value))
    assert len(seen) == len(list(leaves()))
    x, y = middle_of(taxonomy, place(GAN))
    click(taxonomy, x - 300, y)  # a branch is no leaf
    assert taxonomy.leaf.value == ", ".join(path(place(GAN)))


def test_the_samples_shown_are_the_models_own_and_red_where_not_in_the_data(taxonomy):
    models = all_leaves()
    torch.manual_seed(0)
    models = all_leaves()
    explorer = explorers.taxonomy_explorer(models, some_table(models), BARS, seed=4)
    with own_random_numbers(4):
        drawn = {name: (model.sample(300) > 0.5).float() for name, model in models.items()}
    every = [image.tolist() for image in BARS]
    for leaf in leaves():
        explorer.leaf.value = ", ".join(path(leaf))
        images, wrong, names = explorer.shown()
        here = [name for name, model in models.items() if place(model) is leaf]
        assert names.split(", then ") == here
        each = 60 // len(here)
        assert torch.equal(images, torch.cat([drawn[name][:each] for name in here]))
        assert wrong.tolist() == [image.tolist() not in every for image in images]
        assert str(int(wrong.sum())) in explorer._title.get_text()
    assert 0 < int(wrong.sum())


def test_red_is_red_and_the_leaf_chosen_has_another_colour(taxonomy):
    images, wrong, _ = taxonomy.shown()
    assert wrong.any()
    drawn = np.asarray(taxonomy._images.get_array())
    high, wide = drawn.shape[0] // 4, drawn.shape[1] // 15
    corners = drawn[::high, ::wide].reshape(60, 3)
    red = np.abs(corners - np.array(to_rgb(RED))).max(axis=1) < 1e-6
    assert red.tolist() == wrong.tolist()
    assert "red: " in taxonomy._title.get_text()
    assert to_rgb(taxonomy._frame.get_edgecolor()[:3]) == to_rgb(CHOSEN) != to_rgb(RED)


def test_the_mouse_points_where_a_leaf_can_be_clicked(taxonomy):
    """In thousandths of the picture; live.js makes a pointing hand of it."""
    taxonomy.picture.draw()
    width, height = taxonomy.picture.size
    places = [
        [int(part) for part in name.split("-")[3:]]
        for name in taxonomy.picture._dom_classes
        if name.startswith("genlib-at-pointer-")
    ]
    assert len(places) == len(list(leaves()))
    for leaf in leaves():
        x, y = middle_of(taxonomy, leaf)
        x, y = 1000 * x / width, 1000 * y / height
        inside = [at for at in places if at[0] < x < at[2] and at[1] < y < at[3]]
        assert len(inside) == 1
        assert not any(at[0] < x - 250 < at[2] for at in places)  # a branch


def test_other_samples_are_others_until_they_come_round(taxonomy):
    pages = []
    for _ in range(6):
        pages.append(taxonomy.shown()[0])
        taxonomy.more.click()
    assert all(not torch.equal(pages[0], page) for page in pages[1:5])
    assert torch.equal(pages[0], pages[5])


def test_the_words_and_numbers_are_those_of_the_leaf(taxonomy):
    for leaf in leaves():
        taxonomy.leaf.value = ", ".join(path(leaf))
        able, lacks = taxonomy._words.get_text().split("computes: ")[1].split("\ndoes not: ")
        assert set(able.replace("\n", " ").replace(",", " ").split()) == leaf.methods
        assert set(lacks.replace("\n", " ").replace(",", " ").split()).isdisjoint(leaf.methods)
    assert taxonomy._numbers.get_text() == format_table({"GAN": {"kl": 0.5, "valid": 1.0}})


def test_a_model_that_has_no_place_or_no_row_is_refused():
    models = {"AE": Autoencoder(S, latent_dim=2)}
    with pytest.raises(ValueError, match="'AE' is on no leaf"):
        explorers.taxonomy_explorer(models, {"AE": {}}, BARS)
    with pytest.raises(ValueError, match="no row 'VAE'"):
        explorers.taxonomy_explorer({"VAE": VAE(S, latent_dim=2)}, {"GAN": {}}, BARS)
    with pytest.raises(ValueError, match="without a model"):
        explorers.taxonomy_explorer({}, {}, BARS)


@pytest.fixture
def outlier():
    images = {"digits": torch.rand(50, 1, 8, 8), "noise": torch.rand(40, 1, 8, 8)}
    images["blank"] = torch.zeros(1, 1, 8, 8)
    scores = {
        name: {"log p(x)": 40 * torch.randn(len(x)) - 200, "sure": torch.rand(len(x))}
        for name, x in images.items()
    }
    return explorers.outlier_explorer(images, scores, {"log p(x)": -230.0, "sure": 0.4}), scores


def test_error_rates_are_a_direct_count(outlier):
    explorer, scores = outlier
    for by, low, high in (("log p(x)", -260.3, -170.2), ("sure", 0.35, 0.8)):
        explorer.by.value = by
        explorer.low.value, explorer.high.value = low, high
        for kind in ("noise", "blank"):
            explorer.kind.value = kind
            of = {name: scores[name][by].tolist() for name in ("digits", kind)}
            kept = {name: [low <= value <= high for value in of[name]] for name in of}
            expected = {
                "data refused": kept["digits"].count(False) / 50,
                "outliers let pass": kept[kind].count(True) / len(of[kind]),
            }
            assert explorer.errors == pytest.approx(expected)
            titles = [title.get_text() for _, title in explorer._cells.values()]
            shares = [int(re.search(r", (\d+) %$", title)[1]) for title in titles]
            assert shares[0] + shares[1] == shares[2] + shares[3] == 100
            assert f"{kept['digits'].count(True)} of 50" in titles[0]
            assert f"{kept['digits'].count(False)} of 50" in titles[1]
            assert f"{kept[kind].count(True)} of {len(of[kind])}" in titles[2]
            assert f"{kept[kind].count(False)} of {len(of[kind])}" in titles[3]


def test_at_the_ends_of_the_scale_nothing_is_refused(outlier):
    explorer, _ = outlier
    for by in ("sure", "log p(x)"):
        explorer.by.value = by
        explorer.low.value = -torch.inf  # the slider stops at the lowest score
        assert explorer.errors == {"data refused": 0.0, "outliers let pass": 1.0}
        explorer.low.value = torch.inf
        assert explorer.errors["data refused"] > 0.9


def test_a_threshold_starts_where_it_was_set_and_each_score_keeps_its_own(outlier):
    explorer, _ = outlier
    assert explorer.low.value == pytest.approx(-230)
    explorer.low.value = -210.0
    explorer.by.value = "sure"
    assert explorer.low.value == pytest.approx(0.4)
    assert explorer._bottom.children == (explorer.low, explorer.high)
    explorer.by.value = "log p(x)"
    assert explorer.low.value == pytest.approx(-210)


def test_each_control_changes_the_picture(outlier):
    explorer, _ = outlier
    seen = [bytes(explorer.picture.value)]
    for control, value in (
        (explorer.low, -200.0), (explorer.high, -150.0), (explorer.kind, "blank"), (explorer.by, "sure"),
    ):  # fmt: skip
        control.value = value
        seen.append(bytes(explorer.picture.value))
    assert len(set(seen)) == len(seen)


def test_each_threshold_has_a_handle_and_shares_that_round_alone_to_101(outlier):
    explorer, _ = outlier
    explorer.low.value = -210.0
    for dots in (explorer._handles[:2], explorer._handles[2:]):
        assert [dot.get_xdata()[0] for dot in dots] == [explorer.low.value, explorer.high.value]
    shown = torch.arange(200.0)
    images, scores = torch.rand(200, 1, 8, 8), {"s": shown}
    explorer = explorers.outlier_explorer(
        {"a": images, "b": images}, {"a": scores, "b": scores}, {"s": 43.0}
    )
    assert explorer._cells[0, 0][1].get_text().endswith("let pass: 157 of 200, 79 %")
    assert explorer._cells[0, 1][1].get_text().endswith("by mistake: 43 of 200, 21 %")


def test_dragging_moves_the_nearer_threshold(outlier):
    explorer, _ = outlier
    explorer.high.value = -120.0
    explorer._drag(-135.0, 0.0)
    explorer._drag(-250.0, 0.0)  # it stays with the line it took up
    explorer._drop()
    assert (explorer.low.value, explorer.high.value) == pytest.approx((-230, -250))
    explorer._drag(-1e9, 0.0)
    assert explorer.low.value == explorer.low.min or explorer.high.value == explorer.high.min


def test_the_images_shown_are_those_nearest_to_a_threshold(outlier):
    explorer, scores = outlier
    digits = scores["digits"]["log p(x)"]
    passed = ~explorer.refused("digits")
    nearest = torch.minimum(digits + 230, explorer.high.value - digits).abs()[passed].argmin()
    shown = explorer._cells[0, 0][0].get_array()
    assert np.allclose(shown[3:35:4, 3:35:4, 0], explorer._images["digits"][passed][nearest, 0])


def test_scores_that_do_not_fit_are_refused():
    x, s = torch.rand(3, 1, 4, 4), {"s": torch.rand(3)}
    bad = {"s": torch.tensor([1.0, 2.0, torch.nan])}
    with pytest.raises(ValueError, match="at least one kind of outliers"):
        explorers.outlier_explorer({"a": x}, {"a": s}, {"s": 0.5})
    for scores in ({"a": s}, {"a": s, "b": {"s": torch.rand(2)}}, {"a": s, "b": bad}):
        with pytest.raises(ValueError, match="finite score 's' for each of the 3 images 'b'"):
            explorers.outlier_explorer({"a": x, "b": x}, scores, {"s": 0.5})


def test_nothing_is_left_behind_by_two_hundred_moves(taxonomy, outlier):
    torch.manual_seed(3)
    expected, figures, known = torch.rand(4), plt.get_fignums(), len(_instances)
    torch.manual_seed(3)
    explorer, seconds = outlier[0], []
    for i in range(100):
        start = time.perf_counter()
        taxonomy.leaf.value = taxonomy.leaf.options[i % 5]
        explorer.low.value = -260.0 + i
        seconds.append((time.perf_counter() - start) / 2)
    print(f"median redraw {1000 * sorted(seconds)[50]:.0f} ms")
    assert plt.get_fignums() == figures and len(_instances) == known
    assert torch.equal(torch.rand(4), expected)


def test_making_explorers_leaves_the_random_numbers_alone():
    models = all_leaves()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    explorers.taxonomy_explorer(models, some_table(models), BARS)
    assert torch.equal(torch.rand(4), expected)
