"""The explorers of codes: what is shown is what the model says of the code that is chosen."""

import pytest
import torch
from explorer_rules import each_control_redraws, is_stored_as_a_picture, leaves_nothing_behind

from course import explorers
from genlib.adversarial import GAN, MLPDiscriminator, MLPGenerator
from genlib.variational import VAE

SHAPE = (1, 8, 8)


@pytest.fixture
def plane():
    model = VAE(SHAPE, latent_dim=2)
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # codes that differ look different
    return model


@pytest.fixture
def latent(plane):
    labels = torch.arange(40) % 10
    return explorers.latent_explorer(plane.decode, torch.randn(40, 2), labels)


@pytest.fixture
def hand():
    model = VAE(SHAPE, latent_dim=3, likelihood="gaussian", levels=17, scale=0.2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


TABLE = torch.tensor([[0.1, 0.8, 0.0], [0.3, 0.1, 0.02]])


@pytest.fixture
def factor(hand):
    images = torch.randint(17, (5, *SHAPE)) / 16
    return explorers.factor_explorer(hand, images, TABLE, ["slant", "size"])


@pytest.fixture
def path():
    gan = GAN(MLPGenerator(SHAPE, latent_dim=64), MLPDiscriminator(SHAPE), latent_dim=64)
    for parameter in gan.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return explorers.interpolation_explorer(gan.generate, torch.randn(6, 64)), gan


def drag(picture, axes, x, y, *kinds):
    """Events of the mouse at a place of the axes, as the browser tells them."""
    at_x, at_y = axes.transData.transform((x, y))
    width, height = picture.figure.bbox.width, picture.figure.bbox.height
    for kind in kinds or ("mousedown", "mouseup"):
        picture._handle(
            {
                "type": kind,
                "buttons": int(kind != "mouseup"),
                # the page shows the picture at half its size
                "relativeX": at_x / 2,
                "relativeY": (height - at_y) / 2,
                "boundingRectWidth": width / 2,
                "boundingRectHeight": height / 2,
            }
        )


# The map of codes. --------------------------------------------------------------------------------


def test_the_decoding_shown_is_the_mean_of_the_likelihood_at_the_code(latent, plane):
    latent.z1.value, latent.z2.value = 1.35, -0.7
    with torch.no_grad():
        mean = plane.likelihood(torch.tensor([[1.35, -0.7]])).mean[0, 0]
    shown = torch.from_numpy(latent._image.get_array().data)
    for channel in range(3):  # grey
        torch.testing.assert_close(shown[:, :, channel], mean)
    assert latent._point.get_xydata().tolist() == [[pytest.approx(1.35), pytest.approx(-0.7)]]
    assert "(1.35, −0.70)" in latent._title.get_text()


def test_a_drag_on_the_map_moves_the_code_there_and_not_beyond_the_map(latent):
    axes = latent._point.axes
    drag(latent.picture, axes, -1.19, 0.86)
    assert (latent.z1.value, latent.z2.value) == pytest.approx((-1.2, 0.85))
    drag(latent.picture, axes, 2.9, 0, "mousedown")
    drag(latent.picture, axes, 3.2, 1.0, "mousemove", "mouseup")
    assert (latent.z1.value, latent.z2.value) == pytest.approx((3, 1))


def test_each_cell_of_the_map_holds_the_decoding_of_its_middle(latent, plane):
    latent.map.value = "decodings"
    assert latent._decodings.get_visible() and not latent._codes[0].get_visible()
    mosaic = torch.from_numpy(latent._decodings.get_array().data)
    cells = mosaic.unflatten(0, (12, 9)).unflatten(2, (12, 9))  # (row, h, column, w, 3)
    assert latent._decodings.get_extent() == [-3, 3, -3, 3]
    for row, column in ((0, 0), (0, 11), (7, 2)):
        z = torch.tensor([-3 + 0.5 * (column + 0.5), 3 - 0.5 * (row + 0.5)])  # row 0 is on top
        with torch.no_grad():
            image = plane.decode(z[None])[0, 0]
        torch.testing.assert_close(cells[row, :8, column, :8, 0], image)


def test_codes_are_written_where_they_lie(plane):
    codes, labels = torch.tensor([[0.0, 1.0], [2.0, -1.0], [1.0, 1.0]]), torch.tensor([4, 7, 4])
    fours, sevens = explorers.latent_explorer(plane.decode, codes, labels)._codes
    assert fours.get_offsets().tolist() == [[0, 1], [1, 1]]
    assert sevens.get_offsets().tolist() == [[2, -1]]


def test_a_map_needs_two_numbers_a_code_and_a_label_for_each(plane):
    with pytest.raises(ValueError, match=r"shape \(N, 2\) to be a map, not \(4, 3\)"):
        explorers.latent_explorer(plane.decode, torch.zeros(4, 3), torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"labels must have shape \(4,\)"):
        explorers.latent_explorer(plane.decode, torch.zeros(4, 2), torch.zeros(5).long())


# Latents and factors. -----------------------------------------------------------------------------


def test_an_image_starts_at_its_own_code(factor, hand):
    for i in (0, 3):
        factor.image.value = i
        with torch.no_grad():
            code = hand.posterior(factor._images[i, None]).mean[0]
            mean = hand.decode(code[None])[0]
        torch.testing.assert_close(factor.z, code)
        torch.testing.assert_close(factor.decoded(), mean)
        assert factor._change.get_array().max() < 1e-6
    assert torch.equal(
        torch.from_numpy(factor._shown[0].get_array().data[:, :, 0]), factor._images[3, 0]
    )


def test_an_edit_moves_one_latent_and_shows_what_changed(factor, hand):
    factor.latents[1].value = 2.0
    z = factor.codes[:1].clone()
    z[0, 1] = 2.0
    with torch.no_grad():
        levels = torch.linspace(0, 1, 17)
        edited = (hand.likelihood(z).base_dist.probs[0] * levels).sum(dim=-1)
        copy = hand.decode(factor.codes[:1])[0]
    shown = torch.from_numpy(factor._shown[2].get_array().data[:, :, 0])
    torch.testing.assert_close(shown, edited[0].clamp(0, 1))
    change = torch.from_numpy(factor._change.get_array().data)
    torch.testing.assert_close(change, (hand.decode(z)[0] - copy).mean(dim=0).detach())
    factor.back.click()
    torch.testing.assert_close(factor.z, factor.codes[0])


def test_at_each_slider_stands_the_factor_that_its_latent_explains_best(factor):
    meanings = [label.value for label in factor.meanings]
    assert meanings == ["R² 0.30 size", "R² 0.80 slant", "R² 0.02 size"]
    assert [slider.description for slider in factor.latents] == ["z₁", "z₂", "z₃"]


def test_a_slider_reaches_codes_that_lie_far_out(hand):
    with torch.no_grad():
        *_, bias = hand.encoder.parameters()
        bias += 5.0
    far = explorers.factor_explorer(hand, torch.zeros(1, *SHAPE), TABLE, ["slant", "size"])
    assert far.codes.abs().max() > 3.5
    torch.testing.assert_close(far.z, far.codes[0])


def test_a_table_of_other_factors_is_refused(hand):
    with pytest.raises(ValueError, match=r"explained must have shape \(1, 3\).* not \(2, 3\)"):
        explorers.factor_explorer(hand, torch.zeros(1, *SHAPE), TABLE, ["slant"])
    with pytest.raises(ValueError, match="images"):
        explorers.factor_explorer(hand, torch.zeros(1, 1, 4, 4), TABLE, ["slant", "size"])


# Between two noises. ------------------------------------------------------------------------------


def lengths_between(a, b):
    explorer = explorers.interpolation_explorer(
        lambda z: z.reshape(-1, 1, 1, 2), torch.stack([a, b])
    )
    return explorer.lengths["straight"], explorer.lengths["on the sphere"]


def test_on_the_sphere_the_length_stays_between_those_of_the_ends():
    for angle in (0.1, 0.5, 1.0, 1.5):
        a, b = torch.tensor([2.0, 0.0]), 5 * torch.tensor([angle, angle]).cos()
        b[1] = 5 * torch.tensor(angle).sin()
        _, sphere = lengths_between(a, b)
        assert (sphere.diff() > 0).all() and sphere[0] == 2 and sphere[-1] == pytest.approx(5)


def test_slerp_of_equal_lengths_keeps_the_length_and_rotates_at_a_constant_rate():
    a, b = torch.tensor([3.0, 0.0]), 3 * torch.tensor([-0.6, 0.8])
    straight, sphere = lengths_between(a, b)
    torch.testing.assert_close(sphere, torch.full((21,), 3.0))
    torch.testing.assert_close(straight[10], (a + b).norm() / 2)
    assert straight[10] < 0.5 * sphere[10]
    explorer = explorers.interpolation_explorer(
        lambda z: z.reshape(-1, 1, 1, 2), torch.stack([a, b])
    )
    codes = explorer.images["on the sphere"][:, 0, 0]
    angles = torch.atan2(codes[:, 1], codes[:, 0])
    torch.testing.assert_close(angles.diff(), angles[-1:].expand(20) / 20, rtol=1e-3, atol=1e-5)


def test_two_ends_on_one_ray_or_opposite_are_joined_by_the_line():
    a = torch.tensor([3.0, 4.0])
    for b in (a, 2 * a, -a):
        straight, sphere = lengths_between(a, b)
        assert sphere.isfinite().all() and torch.equal(straight, sphere)


def test_images_on_the_way_are_those_of_the_generator(path):
    explorer, gan = path
    explorer.start.value, explorer.end.value, explorer.player.slider.value = 2, 5, 10
    a, b = explorer._noises[2], explorer._noises[5]
    cosine = torch.cosine_similarity(a, b, dim=0)
    # half-way on the sphere: the sum of both, which an angle of half as much makes longer
    half = {"straight": (a + b) / 2, "on the sphere": (a + b) / (2 + 2 * cosine).sqrt()}
    for n, z in enumerate(half.values()):
        image = gan.generate(z[None]).detach()[0, 0]
        shown = torch.from_numpy(explorer._large[n].get_array().data[:, :, 0])
        torch.testing.assert_close(shown, image, atol=1e-5, rtol=1e-4)
        assert explorer._dots[n].get_xydata()[0].tolist() == pytest.approx([0.5, z.norm().item()])
        curve = explorer._lengths[n].get_ydata()
        ends = [a.norm().item(), z.norm().item(), b.norm().item()]
        assert [curve[i].item() for i in (0, 10, 20)] == pytest.approx(ends)


def test_a_drag_along_a_strip_moves_the_slider(path):
    explorer, _ = path
    for strip in explorer._strips:
        drag(explorer.picture, strip.axes, 0.7, 0.03)
        assert explorer.player.slider.value == 14
        drag(explorer.picture, strip.axes, 0.0, 0.03)
        assert explorer.player.slider.value == 0
    assert explorer._frames[0].get_x() == pytest.approx(-0.05)  # around the first image


def test_an_interpolation_needs_two_ends():
    for noises in (torch.randn(1, 8), torch.randn(8)):
        with pytest.raises(ValueError, match="an interpolation needs two ends"):
            explorers.interpolation_explorer(lambda z: z, noises)


# All of them. -------------------------------------------------------------------------------------


def test_every_control_redraws(latent, factor, path):
    each_control_redraws(latent, {latent.z1: 1.0, latent.z2: -1.0, latent.map: "decodings"})
    each_control_redraws(factor, {factor.image: 2, **dict.fromkeys(factor.latents, 2.5)})
    path, _ = path
    each_control_redraws(path, {path.start: 3, path.end: 4, path.player.slider: 3})


def test_nothing_is_left_behind(plane, hand, path):
    codes, labels, images = torch.randn(40, 2), torch.arange(40) % 10, torch.rand(3, *SHAPE)
    leaves_nothing_behind(
        lambda: explorers.latent_explorer(plane.decode, codes, labels),
        [lambda e, i: e.move(i % 5 / 2, i % 3), lambda e, i: setattr(e.z1, "value", i % 7 / 3)],
    )
    images = (16 * images).round() / 16
    leaves_nothing_behind(
        lambda: explorers.factor_explorer(hand, images, TABLE, ["slant", "size"]),
        [
            lambda e, i: setattr(e.image, "value", i % 3),
            lambda e, i: setattr(e.latents[1], "value", i % 7 / 3),
            lambda e, i: e.back.click(),
        ],
    )
    noises, (_, gan) = torch.randn(4, 64), path
    leaves_nothing_behind(
        lambda: explorers.interpolation_explorer(gan.generate, noises),
        [
            lambda e, i: setattr(e.player.slider, "value", i % 21),
            lambda e, i: setattr(e.end, "value", i % 4),
        ],
    )


def test_stored_notebooks_show_a_picture(latent, factor, path):
    is_stored_as_a_picture(latent, "latent")
    is_stored_as_a_picture(factor, "factor")
    is_stored_as_a_picture(path[0], "interpolation")
