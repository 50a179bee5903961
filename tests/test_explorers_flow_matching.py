"""The explorers of flow matching: what they show is what the models say."""

import re

import pytest
import torch
from explorer_rules import each_control_redraws, is_stored_as_a_picture, leaves_nothing_behind
from torch import nn

from course import explorers
from course.explorers.flow_matching import KNOTS
from genlib.data import EightGaussians
from genlib.flow_matching import (
    FlowMatching,
    MeanFlow,
    VariancePreservingPath,
    ideal_velocity,
    straightness,
)
from genlib.networks import UNet

SHAPE = (1, 8, 8)
RING = EightGaussians()
NAMES = ["independent", "optimal transport"]


class ToOnePoint(nn.Module):
    """The ideal velocity where all data are one point: straight lines."""

    def forward(self, x, t):
        return ideal_velocity(x, t, data=torch.tensor([[2.0, 0.0]]))


def bold(model, std):
    """A network that says something, though nobody has trained it."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {name: bold(FlowMatching((2,)), 0.15) for name in NAMES}


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(1)
    network = UNet(SHAPE, hidden_dim=8, n_classes=10)
    return bold(FlowMatching(SHAPE, network=network, n_classes=10), 0.15)


@pytest.fixture(scope="module")
def paths(models):
    """For those who look at it, and set first what they need."""
    return explorers.paths_explorer(models, density=RING, points=80)


@pytest.fixture(scope="module")
def flow(images):
    return explorers.flow_explorer(images, images=3)


def numbers(text):
    return [float(it) for it in re.findall(r"\d+(?:\.\d+)?", text)]


def drawn_paths(explorer):
    """The paths in the picture, (paths, steps + 1, 2): each ends with a gap."""
    points = torch.as_tensor(explorer._paths.get_xydata()).float()
    paths = points.unflatten(0, (-1, explorer.steps.value + 2))
    assert paths[:, -1].isnan().all() and not paths[:, :-1].isnan().any()
    return paths[:, :-1]


# ---------------------------------------------------------------- paths


def test_paths_start_at_the_noise_and_end_where_euler_steps_do(paths, models):
    for name in NAMES:
        for steps in (1, 5, 50):
            paths.model.value, paths.steps.value = name, steps
            drawn, start = drawn_paths(paths), paths.noise[:60]
            assert drawn.shape == (60, steps + 1, 2)
            torch.testing.assert_close(drawn[:, 0], start)
            ends = models[name].carry(start, steps=steps, solver="euler")
            torch.testing.assert_close(drawn[:, -1], ends)
            for dots, where in ((paths._starts, start), (paths._ends, ends)):
                torch.testing.assert_close(torch.as_tensor(dots.get_xydata()).float(), where)


def test_a_step_goes_where_the_velocity_at_its_start_points(paths, models):
    paths.model.value, paths.steps.value = NAMES[1], 4
    drawn = drawn_paths(paths)
    for i in range(4):
        with torch.no_grad():
            velocity = models[NAMES[1]].velocity(drawn[:, i], torch.full((60,), i / 4))
        step = 4 * (drawn[:, i + 1] - drawn[:, i])
        torch.testing.assert_close(step, velocity, rtol=1e-4, atol=1e-4)


def test_the_numbers_above_are_those_of_all_points(paths, models):
    means, radius = RING.means, 3 * RING.std
    for name in NAMES:
        for steps in (2, 30):
            paths.model.value, paths.steps.value = name, steps
            few, many = (
                models[name].carry(paths.noise, steps=n, solver="euler") for n in (steps, 200)
            )
            error = (few - many).norm(dim=1).mean().item()
            near = ((few[:, None] - means).norm(dim=2) <= radius).any(dim=1).float().mean().item()
            straight = straightness(models[name].velocity, paths.noise)
            assert paths.straightness(name) == pytest.approx(straight, rel=1e-5)
            assert paths.error(name, steps) == pytest.approx(error, rel=1e-3)
            assert paths.share(name, steps) == pytest.approx(near)
            first, second = paths._title.get_text().split("\n")
            assert first.startswith(f"{name}, {steps} steps: ")
            assert numbers(first)[1] == pytest.approx(error, rel=5e-3)
            said = numbers(second)
            assert said[0] == pytest.approx(straight, rel=5e-3)
            assert said[2] == pytest.approx(100 * near, abs=0.51)


def test_curves_and_marker_are_the_distances_from_two_hundred_steps(paths, models):
    for steps in (3, 10):
        paths.model.value, paths.steps.value = NAMES[0], steps
        ends = {
            (name, n): models[name].carry(paths.noise, steps=n, solver="euler")
            for name in NAMES
            for n in {*KNOTS, steps, 200}
        }

        def error(name, n, ends=ends):
            return (ends[name, n] - ends[name, 200]).norm(dim=1).mean().item()

        for name in NAMES:
            at, errors = paths._curves[name].get_data()
            assert tuple(at) == KNOTS
            assert list(errors) == pytest.approx([error(name, n) for n in KNOTS], rel=1e-3)
        (at,), (shown,) = paths._marker.get_data()
        assert (at, shown) == (steps, pytest.approx(error(NAMES[0], steps), rel=1e-3))
        assert paths._at.get_xdata()[0] == steps


def test_to_one_point_all_paths_are_straight_and_one_step_is_exact():
    model = FlowMatching((2,), network=ToOnePoint())
    explorer = explorers.paths_explorer({"one point": model}, density=RING, points=70)
    explorer.steps.value = 1
    target = torch.tensor([2.0, 0.0])
    torch.testing.assert_close(drawn_paths(explorer)[:, -1], target.expand(60, 2))
    assert explorer.error("one point", 1) < 1e-4
    assert explorer.straightness("one point") < 1e-8
    assert explorer.share("one point", 1) == 1.0
    # an error of zero has no place on a logarithmic axis: it is drawn at the border
    least = explorer._curves["one point"].axes.get_ylim()[0]
    assert min(explorer._curves["one point"].get_ydata()) >= least > 0
    explorer.steps.value = 8
    paths = drawn_paths(explorer)
    along = torch.linspace(0, 1, 9)[:, None]
    straight = torch.lerp(paths[:, :1], target, along)
    torch.testing.assert_close(paths, straight, rtol=1e-4, atol=1e-5)


def test_all_models_start_from_the_same_noise_and_other_noise_changes_it(models):
    explorer = explorers.paths_explorer(models, density=RING, points=60)
    starts = [explorer.path(name, 2)[0] for name in NAMES]
    assert torch.equal(*starts)
    before, picture = explorer.path(NAMES[0], 4), explorer.picture.value
    straight = explorer.straightness(NAMES[0])
    explorer.again.click()
    after = explorer.path(NAMES[0], 4)
    assert not torch.isclose(before, after).all(dim=2).any()
    assert explorer.picture.value != picture and explorer.straightness(NAMES[0]) != straight
    again = explorers.paths_explorer(models, density=RING, points=60, seed=1)
    assert torch.equal(again.path(NAMES[0], 4), after) and torch.equal(again.noise, explorer.noise)
    first = explorers.paths_explorer(models, density=RING, points=60)
    assert torch.equal(first.path(NAMES[0], 4), before) and first.picture.value == picture


def test_what_was_drawn_once_is_not_computed_again(models, monkeypatch):
    explorer = explorers.paths_explorer(models, density=RING, points=5)
    settings = [(name, steps) for name in NAMES for steps in (2, 7)]
    for name, steps in settings:
        explorer.model.value, explorer.steps.value = name, steps
    for model in models.values():
        monkeypatch.setattr(model, "velocity", None)  # whoever calls it fails
    for name, steps in settings:
        explorer.model.value, explorer.steps.value = name, steps


def test_a_mean_flow_is_followed_by_its_velocity():
    model = bold(MeanFlow((2,)), 0.15)
    explorer = explorers.paths_explorer({"mean flow": model}, density=RING, points=4)
    with torch.no_grad():
        velocity = model.velocity(explorer.noise, torch.zeros(4))
    end = explorer.path("mean flow", 1)[-1]
    torch.testing.assert_close(end, explorer.noise + velocity)


def test_a_paths_explorer_refuses_what_does_not_fit(models):
    with pytest.raises(ValueError, match="at least one model"):
        explorers.paths_explorer({}, density=RING)
    seven = {f"{i}": models[NAMES[0]] for i in range(7)}
    with pytest.raises(ValueError, match="6 models, not for 7"):
        explorers.paths_explorer(seven, density=RING)
    for other in (FlowMatching((3,)), FlowMatching((2,), n_classes=8), FlowMatching(SHAPE)):
        with pytest.raises(ValueError, match="unconditional one of points in the plane.*'odd'"):
            explorers.paths_explorer({**models, "odd": other}, density=RING)
    with pytest.raises(ValueError, match="points must be at least 1"):
        explorers.paths_explorer(models, density=RING, points=0)


def test_every_control_of_paths_redraws(paths):
    paths.model.value, paths.steps.value = NAMES[0], 4
    each_control_redraws(paths, {paths.model: NAMES[1], paths.steps: 9})


# ---------------------------------------------------------------- images


def settings(explorer, **values):
    for name, value in values.items():
        getattr(explorer, name).value = value


def shown(explorer):
    """Both rows of the picture as grey images, (2, images, 8, 8): of each 4 x 4 block one pixel."""
    rows = [torch.as_tensor(row.get_array().data)[:, :, 0] for row in explorer._rows]
    return torch.stack([row.view(38, 3, 38).transpose(0, 1)[:, 3:-3:4, 3:-3:4] for row in rows])


def test_time_zero_shows_the_noise_and_one_the_samples(flow, images):
    for label, steps, w in ((3, 16, 1.0), (7, 5, 2.5), (7, 1, 0.0)):
        settings(flow, label=label, steps=steps, guidance=w, time=0.0)
        torch.testing.assert_close(shown(flow)[0], ((flow.noise[:, 0] + 1) / 2).clamp(0, 1))
        flow.time.value = 1.0
        y = torch.full((3,), label)
        end = images.carry(flow.noise, y=y, steps=steps, solver="euler", guidance=w)
        torch.testing.assert_close(flow.seen()["x_t"], end, rtol=1e-4, atol=1e-4)
        rows = shown(flow)
        torch.testing.assert_close(rows[0], images.outside(end)[:, 0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rows[1], rows[0], rtol=1e-4, atol=1e-4)  # nothing is left


def test_guidance_one_is_the_conditional_model(flow, images):
    settings(flow, label=2, steps=1, guidance=1.0, time=1.0)
    with torch.no_grad():
        conditional = images.velocity(flow.noise, torch.zeros(3), y=torch.full((3,), 2))
    torch.testing.assert_close(flow.seen()["x_t"], flow.noise + conditional)
    ends = {}
    for w in (0.0, 1.0, 3.0):
        flow.guidance.value = w
        ends[w] = flow.seen()["x_t"]
    # one step is linear in the velocity, and this one in w
    torch.testing.assert_close(
        ends[3.0] - ends[0.0], 3 * (ends[1.0] - ends[0.0]), rtol=1e-3, atol=1e-4
    )
    flow.guidance.value = 0.0
    flow.label.value = 5
    assert torch.equal(flow.seen()["x_t"], ends[0.0])  # no label is asked for


def test_between_two_stops_the_images_go_straight_on(flow):
    settings(flow, label=1, steps=4, guidance=2.0)
    stops = flow.trajectory()
    assert stops.shape == (5, 3, *SHAPE)
    for t, before, weight in ((0.25, 1, 0.0), (0.4, 1, 0.6), (0.99, 3, 0.96)):
        flow.time.value = t
        x_t = (1 - weight) * stops[before] + weight * stops[before + 1]
        torch.testing.assert_close(flow.seen()["x_t"], x_t, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", [None, VariancePreservingPath()])
def test_the_second_row_is_the_end_that_the_guided_velocity_expects(images, path):
    model = FlowMatching(SHAPE, network=images.network, path=path, n_classes=10).eval()
    explorer = explorers.flow_explorer(model, images=3)
    settings(explorer, label=4, steps=6, guidance=1.5)
    for t in (0.0, 0.3, 0.83, 1.0):
        explorer.time.value = t
        seen, at = explorer.seen(), torch.full((3,), t)
        with torch.no_grad():
            told = model.velocity(seen["x_t"], at, y=torch.full((3,), 4))
            untold = model.velocity(seen["x_t"], at)
        velocity = 1.5 * told - 0.5 * untold
        expected, noise = model.path.ends(seen["x_t"], velocity, at)
        torch.testing.assert_close(seen["expected"], expected, rtol=1e-3, atol=1e-3)
        # both ends lead to this point at this velocity
        x_t, again = model.path.at(seen["expected"], noise, at)
        torch.testing.assert_close(x_t, seen["x_t"], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(again, velocity, rtol=1e-3, atol=1e-3)
        row = ((expected[:, 0] + 1) / 2).clamp(0, 1)
        torch.testing.assert_close(shown(explorer)[1], row, rtol=1e-3, atol=1e-3)


def test_all_settings_start_from_one_noise_which_is_the_seeds(flow, images):
    for label, steps, w in ((0, 3, 1.0), (9, 8, 4.0)):
        settings(flow, label=label, steps=steps, guidance=w, time=0.0)
        assert torch.equal(flow.seen()["x_t"], flow.noise)
    same, other = (explorers.flow_explorer(images, images=3, seed=seed) for seed in (0, 1))
    assert torch.equal(same.noise, flow.noise) and not torch.isclose(other.noise, flow.noise).any()


def test_the_title_says_settings_and_passes_of_the_network(flow, images, monkeypatch):
    calls, velocity = [], images.velocity
    monkeypatch.setattr(images, "velocity", lambda *a, **k: calls.append(1) or velocity(*a, **k))
    for w, steps in ((0.0, 11), (1.0, 12), (2.25, 13)):
        settings(flow, label=8, guidance=w, steps=steps, time=0.45)
        flow._known.clear(), calls.clear()
        flow.trajectory()
        said = numbers(flow._title.get_text())
        assert said == [8.0, w, 0.45, len(calls)]


def test_trajectories_are_kept_but_not_without_end(images, monkeypatch):
    monkeypatch.setattr("course.explorers.flow_matching.KEPT", 5)
    explorer = explorers.flow_explorer(images, images=1)
    explorer.steps.value = 1
    for label in range(10):
        explorer.label.value = label
    assert [label for label, _, _ in explorer._known] == [5, 6, 7, 8, 9]
    kept = explorer.trajectory()
    explorer.time.value = 0.2
    assert explorer.trajectory() is kept


def test_a_flow_explorer_refuses_what_does_not_fit(images):
    for other in (FlowMatching(SHAPE), FlowMatching((2,), n_classes=8)):
        with pytest.raises(ValueError, match="conditional one of images: build it with n_classes"):
            explorers.flow_explorer(other)
    with pytest.raises(ValueError, match="images must be at least 1"):
        explorers.flow_explorer(images, images=0)


def test_every_control_of_flow_redraws(flow):
    settings(flow, label=0, steps=8, guidance=1.0, time=0.5)
    others = {flow.label: 4, flow.steps: 3, flow.guidance: 4.0, flow.time: 0.9}
    each_control_redraws(flow, others)


# ---------------------------------------------------------------- both


def test_no_title_is_cut(paths, flow):
    paths.model.value, paths.steps.value = NAMES[1], 50
    settings(flow, label=9, steps=32, guidance=4.75, time=0.55)
    for explorer in (paths, flow):
        renderer = explorer.picture._canvas.get_renderer()
        width, height = explorer.picture.size
        titles = [explorer._title, *(axes.title for axes in explorer.picture.figure.axes)]
        boxes = [title.get_window_extent(renderer) for title in titles if title.get_text()]
        assert all(0 <= box.x0 and box.x1 <= width and box.y1 <= height for box in boxes)
        assert all(boxes[0].y0 >= box.y1 for box in boxes[1:])  # nor do they overlap


def test_nothing_is_left_behind(models, images):
    leaves_nothing_behind(
        lambda: explorers.paths_explorer(models, density=RING, points=10),
        [
            lambda e, i: setattr(e.model, "value", NAMES[i // 3 % 2]),
            lambda e, i: setattr(e.steps, "value", 1 + i % 7),
            lambda e, i: e.again.click(),
        ],
        times=12,
    )
    leaves_nothing_behind(
        lambda: explorers.flow_explorer(images, images=2),
        [
            lambda e, i: setattr(e.label, "value", i % 10),
            lambda e, i: setattr(e.steps, "value", 1 + i % 5),
            lambda e, i: setattr(e.guidance, "value", i % 4),
            lambda e, i: setattr(e.time, "value", i % 11 / 10),
        ],
        times=12,
    )


def test_stored_notebooks_show_a_picture(paths, flow):
    is_stored_as_a_picture(paths, "paths")
    is_stored_as_a_picture(flow, "flow")
