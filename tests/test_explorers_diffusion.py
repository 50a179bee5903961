"""The explorers of diffusion: what they show is what the models say, and what the densities are."""

import math
import re

import numpy as np
import pytest
import torch
from explorer_rules import each_control_redraws, is_stored_as_a_picture, leaves_nothing_behind
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import cosine_similarity

from course import explorers
from genlib.data import EightGaussians
from genlib.diffusion import CosineSchedule, Diffusion, LinearSchedule, draw, ideal_denoiser
from genlib.networks import UNet

SHAPE = (1, 8, 8)
RING = EightGaussians(std=0.7)
TIMES = (0.0, 0.25, 0.6, 1.0)


@pytest.fixture(scope="module")
def models():
    """Networks that say something, though nobody has trained them."""
    torch.manual_seed(0)
    models = Diffusion(SHAPE, network=UNet(SHAPE, hidden_dim=8)), Diffusion((2,))
    for model in models:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.eval()
    return models


@pytest.fixture(scope="module")
def images():
    return torch.rand(12, *SHAPE, generator=torch.Generator().manual_seed(1))


def denoising(models, images, **others):
    model, points = models
    known = {"points": points, "density": EightGaussians()} | others
    return explorers.denoising_explorer(model, images[:6], images[6:], **known)


@pytest.fixture(scope="module")
def explorer(models, images):
    """For those who look at it, and set first what they need."""
    return denoising(models, images)


@pytest.fixture(scope="module")
def guided():
    return explorers.guidance_explorer(RING)


def noisy_ring(t):
    """The exact distribution of x_t, and alpha and sigma, in double."""
    ring, schedule, t = EightGaussians(), CosineSchedule(), torch.tensor(t, dtype=torch.double)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    std = (sigma**2 + (alpha * ring.std) ** 2).sqrt().expand(8, 2)
    each = Independent(Normal(alpha * ring.means.double(), std), 1)
    return MixtureSameFamily(Categorical(torch.ones(8).double()), each), alpha, sigma


# ---------------------------------------------------------------- time


def test_the_field_drawn_is_the_gradient_of_the_exact_log_density(explorer):
    explorer.field.value = "exact"
    for t in TIMES:
        explorer.time.value = t
        arrows = explorer._arrows
        at = torch.as_tensor(arrows.get_offsets()).double().requires_grad_()
        (slope,) = torch.autograd.grad(noisy_ring(t)[0].log_prob(at).sum(), at)
        drawn = torch.as_tensor(np.stack([arrows.U, arrows.V], axis=1))
        torch.testing.assert_close(drawn, slope, rtol=1e-9, atol=1e-9)
        longest = slope.norm(dim=1).max().item()
        assert arrows.scale == pytest.approx(longest)  # so that this one is one unit long
        said = float(re.search(r"longest arrow ([\d.]+)", explorer._title.get_text())[1])
        assert said == pytest.approx(longest, rel=5e-3)
    assert len(at) > 150 and at.detach().norm(dim=1).max() < 3.4  # none in a corner


def test_the_learnt_field_is_the_models_and_off_by_is_its_distance(explorer, models):
    explorer.field.value = "learnt"
    for t in TIMES:
        explorer.time.value = t
        cloud = torch.as_tensor(explorer._cloud.get_xydata())
        where = torch.cat([explorer.places, cloud]).float()
        with torch.no_grad():
            learnt = models[1].score(where, torch.full((len(where),), t)).double()
        field, at_cloud = learnt.split([len(explorer.places), len(cloud)])
        drawn = torch.as_tensor(np.stack([explorer._arrows.U, explorer._arrows.V], axis=1))
        torch.testing.assert_close(drawn, field, rtol=1e-4, atol=1e-3)
        places = cloud.requires_grad_()
        (exact,) = torch.autograd.grad(noisy_ring(t)[0].log_prob(places).sum(), places)
        off = ((at_cloud - exact).square().mean() / exact.square().mean()).sqrt().item()
        assert explorer.off_by == pytest.approx(off, rel=1e-4)
        said = float(re.search(r"off by ([\d.]+) %", explorer._title.get_text())[1])
        assert said == pytest.approx(100 * off, rel=0.06)


def test_the_images_are_those_of_the_model_at_the_time_chosen(explorer, models, images):
    explorer.image.value = 3
    x, schedule = 2 * images[3:4] - 1, models[0].schedule
    for t in TIMES:
        explorer.time.value = t
        at = torch.tensor([t])
        alpha, sigma = schedule.alpha(at), schedule.sigma(at)
        said = explorer.denoised()
        assert torch.equal(said["x"], x)
        noise = (said["x_t"] - alpha * x) / sigma  # the same at all times
        torch.testing.assert_close(noise, explorer._noise, rtol=1e-3, atol=1e-3)
        with torch.no_grad():
            torch.testing.assert_close(said["network"], models[0].denoise(said["x_t"], at))
        others = 2 * images[6:] - 1  # Bayes' rule over the training set, one by one
        log_p = [-((said["x_t"] - alpha * other) ** 2).sum() / (2 * sigma**2) for other in others]
        mean = (torch.stack(log_p).softmax(0)[:, 0, None, None, None] * others).sum(0, keepdim=True)
        torch.testing.assert_close(said["ideal"], mean, rtol=1e-4, atol=1e-4)
        for shown, image in zip(explorer._shown, said.values(), strict=True):
            seen = torch.as_tensor(shown.get_array().data)[:, :, 0]
            torch.testing.assert_close(seen, ((image[0, 0] + 1) / 2).clamp(0, 1))


def test_the_numbers_of_the_time_are_the_schedules(explorer):
    for t in TIMES:
        explorer.time.value = t
        _, alpha, sigma = noisy_ring(t)
        said = explorer._numbers.get_text().replace("−", "-")
        numbers = [float(number) for number in re.findall(r"= (-?\d+\.\d+)", said)]
        exact = [t, math.log(alpha**2 / sigma**2), alpha.item(), sigma.item()]
        assert numbers == pytest.approx(exact, abs=5.1e-3)


def test_the_cloud_has_the_exact_distribution_of_its_time(explorer):
    for t in TIMES:
        explorer.time.value = t
        exact, alpha, sigma = noisy_ring(t)
        x = torch.as_tensor(explorer._cloud.get_xydata())
        drawn = exact.log_prob(x)
        expected = exact.log_prob(exact.sample((10_000,)))
        assert (drawn.mean() - expected.mean()).abs() < 4 * expected.std() / len(x) ** 0.5
        torch.testing.assert_close(x, alpha * explorer._dots + sigma * explorer._push)


def test_other_noise_leaves_image_and_points_as_they_are(models, images):
    explorer = denoising(models, images)
    before, cloud, dots = explorer.denoised(), explorer.cloud, explorer._dots
    explorer.again.click()
    after = explorer.denoised()
    assert torch.equal(before["x"], after["x"]) and torch.equal(dots, explorer._dots)
    assert cosine_similarity(before["x_t"].flatten(), after["x_t"].flatten(), dim=0) < 0.95
    assert not torch.equal(cloud, explorer.cloud)
    again = denoising(models, images, seed=1)  # the seed after the first
    assert torch.equal(again.denoised()["x_t"], after["x_t"])


def test_a_denoising_explorer_refuses_what_does_not_fit(models, images):
    model, points = models
    ring = EightGaussians()
    for two in ((points, points), (model, model), (model, Diffusion((3,)))):
        with pytest.raises(ValueError, match="the first model must be of images"):
            explorers.denoising_explorer(two[0], images, images, points=two[1], density=ring)
    with pytest.raises(ValueError, match="same schedule"):
        denoising(models, images, points=Diffusion((2,), schedule=LinearSchedule()))
    for bad in (images[:, :, :7], 2 * images):
        with pytest.raises(ValueError, match="images"):
            explorers.denoising_explorer(model, bad, images, points=points, density=ring)
        with pytest.raises(ValueError, match="images"):
            explorers.denoising_explorer(model, images, bad, points=points, density=ring)


def test_every_control_of_denoising_redraws(explorer):
    explorer.time.value, explorer.image.value, explorer.field.value = 0.4, 0, "exact"
    settings = {explorer.time: 0.7, explorer.image: 4, explorer.field: "learnt"}
    each_control_redraws(explorer, settings)
    before = explorer.picture.value
    explorer.again.click()
    assert explorer.picture.value != before


# ---------------------------------------------------------------- guidance


def test_guidance_one_draws_the_conditional_law(guided):
    x = guided.samples(1.0).double()
    law = Normal(RING.means[0].double(), RING.std)
    standard = ((x - RING.means[0]) / RING.std).sort(dim=0).values
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(2).double(), rtol=0, atol=0.11)
    gaps = law.cdf(x).sort(dim=0).values - (torch.arange(len(x)).double()[:, None] + 0.5) / len(x)
    assert gaps.abs().max() < 1.95 / len(x) ** 0.5  # Kolmogorov and Smirnov, at one in a thousand
    # a Gaussian goes to a Gaussian along straight lines: each sample is the noise, moved and scaled
    torch.testing.assert_close(
        x.float(), RING.means[0] + RING.std * guided._noise, rtol=0, atol=0.1
    )


def test_the_samples_are_those_of_ideal_denoisers_with_guidance(guided):
    schedule = CosineSchedule(9.0, -9.0)
    for w in (0.0, 2.5):

        def denoise(x_t, t, w=w):
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            told, untold = (
                ideal_denoiser(x_t, alpha=alpha, sigma=sigma, data=data, std=0.7)
                for data in (RING.means[:1], RING.means)
            )
            return (1 - w) * untold + w * told

        x = draw(denoise, schedule, guided._noise, steps=60, sampler="heun")
        torch.testing.assert_close(guided.samples(w), x, rtol=1e-3, atol=1e-3)


def test_steps_are_as_many_as_the_numbers_shown_need(guided):
    fine = explorers.guidance_explorer(RING, steps=150)
    for w in (1.0, 6.0):
        few, many = guided.numbers(w), fine.numbers(w)
        assert all(few[name] == pytest.approx(many[name], abs=0.015) for name in many)


def test_the_law_in_grey_is_the_one_it_is_called(guided):
    generator = torch.Generator().manual_seed(0)
    x = RING.sample(200_000, generator=generator).double()  # from p(x), weighed by p(y | x)^w
    squares = (x[:, None] - RING.means).square().sum(dim=2) / (2 * RING.std**2)
    for w in (0.0, 1.0, 2.0, 6.0):
        weights = (w * (-squares).log_softmax(dim=1)[:, 0]).softmax(dim=0)
        mean = weights @ x
        spread = (weights @ (x - mean).square()).mean().sqrt().item()
        obeyed = (weights * (squares.argmin(dim=1) == 0)).sum().item()
        shown = guided.numbers(w)
        assert shown["spread in grey"] == pytest.approx(spread, abs=0.01)
        assert shown["obeyed in grey"] == pytest.approx(obeyed, abs=0.01)
        apart = (guided.samples(w).mean(dim=0) - mean).norm().item()
        assert shown["apart"] == pytest.approx(apart, abs=0.02)
        assert guided.law(w).sum().item() == pytest.approx(1)


def test_numbers_and_dots_shown_are_those_of_the_samples(guided):
    for w in (0.5, 1.0, 3.0):
        guided.guidance.value = w
        x = guided.samples(w)
        panel = guided._guided
        inside = (x[:, None] - RING.means).norm(dim=2).min(dim=1).indices == 0
        for dots, which in ((panel.yes, inside), (panel.no, ~inside)):
            assert torch.equal(torch.as_tensor(dots.get_xydata()).float(), x[which])
        first, second, third = panel.title.get_text().split("\n")
        numbers = [float(it) for it in re.findall(r"\d+(?:\.\d+)?", first)]
        spread = x.var(dim=0, correction=0).mean().sqrt().item()
        assert numbers == pytest.approx([w, 100 * inside.float().mean().item(), spread], abs=0.05)
        exact = guided.numbers(w)
        assert exact["spread"] == pytest.approx(spread, rel=1e-5)
        grey = [float(it) for it in re.findall(r"\d+(?:\.\d+)?", second)]
        shown = [100 * exact["obeyed in grey"], exact["spread in grey"]]
        assert grey == pytest.approx(shown, abs=0.05)
        assert float(re.search(r"[\d.]+", third)[0]) == pytest.approx(exact["apart"], abs=5.1e-3)


def test_at_the_left_is_the_conditional_model_whatever_the_slider_says(guided):
    guided.guidance.value = 5.0
    left = guided._plain
    shown = np.concatenate([left.yes.get_xydata(), left.no.get_xydata()])
    assert np.array_equal(np.sort(shown, axis=0), guided.samples(1.0).sort(dim=0).values.numpy())
    law = guided.law(1.0).view(200, 200)
    torch.testing.assert_close(torch.as_tensor(left.cells.get_array().data), law / law.max())
    assert left.title.get_text().startswith("w = 1: ")


def test_grey_cells_lie_where_their_density_is():
    explorer = explorers.guidance_explorer(RING, label=1, steps=2, samples=5)
    for panel in (explorer._plain, explorer._guided):
        cells = torch.as_tensor(panel.cells.get_array().data)
        left, right, bottom, top = panel.cells.get_extent()
        x = left + (torch.arange(200) + 0.5) / 200 * (right - left)
        y = top + (torch.arange(200) + 0.5) / 200 * (bottom - top)  # the first row is the top one
        mean = torch.stack([cells.sum(dim=0) @ x.double(), cells.sum(dim=1) @ y.double()])
        mean = mean / cells.sum()
        assert mean.min() > 1.3 and mean[0].item() == pytest.approx(mean[1].item(), abs=1e-3)
        if panel is explorer._plain:
            torch.testing.assert_close(mean.float(), RING.means[1], rtol=0, atol=1e-3)


def test_another_label_is_the_first_one_turned():
    first, third = (
        explorers.guidance_explorer(RING, label=label, steps=10, samples=50) for label in (0, 2)
    )
    quarter = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])  # the ring's third mean is a quarter on
    third._noise, third._drawn = first._noise @ quarter, {}
    torch.testing.assert_close(first.samples(3.0) @ quarter, third.samples(3.0), rtol=0, atol=1e-3)
    assert third.label == 2 and third.obeyed(RING.means).tolist() == [i == 2 for i in range(8)]


def test_more_guidance_obeys_more_and_leaves_the_law_it_is_named_after(guided):
    numbers = {w: guided.numbers(w) for w in (0.0, 1.0, 2.0, 6.0)}
    obeyed = [it["obeyed"] for it in numbers.values()]
    assert obeyed == sorted(obeyed) and obeyed[0] < 0.15 and obeyed[2] > 0.98
    spread = [it["spread"] for it in numbers.values()]
    assert spread == sorted(spread, reverse=True) and spread[1] == pytest.approx(0.7, abs=0.03)
    assert [it["apart"] > 0.3 for it in numbers.values()] == [False, False, True, True]


def test_a_guidance_explorer_refuses_what_does_not_fit():
    for label in (-1, 8):
        with pytest.raises(ValueError, match="label must be one of 0 to 7"):
            explorers.guidance_explorer(RING, label=label)
    with pytest.raises(ValueError, match="samples"):
        explorers.guidance_explorer(RING, samples=0)
    with pytest.raises(ValueError, match="steps"):
        explorers.guidance_explorer(RING, steps=0)


def test_every_control_of_guidance_redraws(guided):
    guided.guidance.value = 1.0
    each_control_redraws(guided, {guided.guidance: 4.0})


# ---------------------------------------------------------------- both


def test_no_title_is_cut(explorer, guided):
    explorer.field.value = "learnt"
    for shown in (explorer, guided):
        renderer = shown.picture._canvas.get_renderer()
        width, height = shown.picture.size
        for axes in shown.picture.figure.axes:
            box = axes.title.get_window_extent(renderer)
            assert 0 <= box.x0 and box.x1 <= width and box.y1 <= height


def test_nothing_is_left_behind(models, images):
    leaves_nothing_behind(
        lambda: denoising(models, images),
        [
            lambda e, i: setattr(e.time, "value", i % 11 / 10),
            lambda e, i: setattr(e.image, "value", i % 6),
            lambda e, i: setattr(e.field, "value", ("exact", "learnt")[i // 4 % 2]),
            lambda e, i: e.again.click(),
        ],
        times=12,
    )
    leaves_nothing_behind(
        lambda: explorers.guidance_explorer(RING, samples=20, steps=2),
        [lambda e, i: setattr(e.guidance, "value", i % 7)],
        times=7,
    )


def test_stored_notebooks_show_a_picture(explorer, guided):
    is_stored_as_a_picture(explorer, "denoising")
    is_stored_as_a_picture(guided, "guidance")
