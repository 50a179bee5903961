"""Theorems about the pixel models: what they read, that they sum to one, that samples follow them."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, PixelModel, RowLSTM
from genlib.autoregressive.heads import LogisticMixtureHead
from genlib.autoregressive.masks import MaskedConv2d
from genlib.data import all_images, load
from genlib.metrics import bars_kl
from genlib.training import fit
from genlib.validation import Shape

MIXTURE = pytest.param(partial(PixelCNN, n_logistics=2), id="mixture of logistics")
FAMILIES = pytest.mark.parametrize(
    "family", [PixelCNN, GatedPixelCNN, RowLSTM, DiagonalBiLSTM, MIXTURE]
)
SAMPLERS = pytest.mark.parametrize("sampler", ["sample", "sample_by_definition"])
SHAPES = pytest.mark.parametrize("shape", [(1, 7, 7), (1, 4, 9), (1, 9, 4), (3, 4, 6), (2, 5, 3)])


def away_from_uniform(model: PixelModel) -> PixelModel:
    """Random weights of a size that makes some images much likelier than others."""
    for p in model.parameters():
        # the same change of its weights moves a mixture's probabilities less than a softmax's
        mixture = isinstance(model.get_submodule("head"), LogisticMixtureHead)
        torch.nn.init.normal_(p, std=1.0 if mixture else 0.5)
    return model


def reads(model: PixelModel) -> Tensor:
    """Which value's logits depend on which value, in raster-then-channel order: (HWC, HWC)."""
    n = model.shape[0] * model.shape[1] * model.shape[2]
    model = model.double()
    pattern = torch.zeros(n, n, dtype=torch.bool)
    for _ in range(3):  # a ReLU may hide a path at one image; a zero at three is no accident
        x = torch.rand(1, *model.shape, dtype=torch.double)
        jacobian = torch.autograd.functional.jacobian(lambda x: model(x).sum(dim=1), x)
        jacobian = jacobian[0, :, :, :, 0].permute(1, 2, 0, 4, 5, 3)  # (H, W, C, H, W, C)
        pattern |= jacobian.reshape(n, n) != 0
    return pattern


def earlier(shape: Shape) -> Tensor:
    order = torch.arange(shape[0] * shape[1] * shape[2])
    return order[:, None] > order[None, :]


def visible_to_pixelcnn(shape: Shape) -> Tensor:
    """Everything earlier but the blind spot: r >= 1 rows up and more than r + 2 columns right."""
    channels, height, width = shape
    place = torch.arange(height * width).repeat_interleave(channels)
    row, column = place // width, place % width
    up, right = row[:, None] - row, column - column[:, None]
    return earlier(shape) & ((up == 0) | (right <= up + 2))


@SHAPES
def test_gated_pixelcnn_reads_all_earlier_values_and_no_others(shape: Shape):
    model = GatedPixelCNN(shape, levels=3, hidden_dim=24, depth=6)
    assert torch.equal(reads(model), earlier(shape))


@SHAPES
def test_pixelcnn_reads_all_earlier_values_but_those_in_its_blind_spot(shape: Shape):
    model = PixelCNN(shape, levels=3, hidden_dim=24, depth=6)
    assert torch.equal(reads(model), visible_to_pixelcnn(shape))


def test_the_blind_spot_of_a_4x9_image_hides_71_pairs_of_pixels():
    shape = (1, 4, 9)
    one_row_up, two, three = 5 + 4 + 3 + 2 + 1, 4 + 3 + 2 + 1, 3 + 2 + 1
    hidden = earlier(shape) & ~visible_to_pixelcnn(shape)
    assert hidden.sum() == 3 * one_row_up + 2 * two + 1 * three == 71


@FAMILIES
@pytest.mark.parametrize("shape", [(1, 5, 5), (3, 3, 3)])
def test_a_conditional_model_reads_no_later_value_either(family: type[PixelModel], shape: Shape):
    model = family(shape, levels=2, hidden_dim=6, depth=2, n_classes=4)
    y = torch.tensor([3])

    class GivenLabel(PixelModel):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return model.double()(x, y=y)

    assert not (reads(GivenLabel(shape, levels=2)) & ~earlier(shape)).any()


@FAMILIES
@pytest.mark.parametrize(
    "levels, shape",
    [
        (2, (1, 3, 3)),
        (3, (1, 2, 2)),
        (2, (3, 2, 2)),
        (4, (3, 1, 1)),
        (2, (1, 1, 5)),
        (12, (1, 1, 1)),  # 7 / 11 lies below its level in floating point: round, never cut
    ],
)
def test_probabilities_of_all_images_sum_to_one(
    family: type[PixelModel], levels: int, shape: Shape
):
    model = away_from_uniform(family(shape, levels=levels, hidden_dim=8, depth=2)).double()
    total = model.log_prob(all_images(levels, shape).double()).exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.double))


@FAMILIES
def test_probabilities_sum_to_one_for_every_label(family: type[PixelModel]):
    shape, n_classes = (1, 2, 3), 3
    model = away_from_uniform(
        family(shape, levels=2, hidden_dim=8, depth=2, n_classes=n_classes)
    ).double()
    images = all_images(2, shape).double()
    for label in range(n_classes):
        y = torch.full((len(images),), label)
        total = model.log_prob(images, y=y).exp().sum()
        torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.double))


def frequencies(samples: Tensor, images: Tensor) -> Tensor:
    return (samples[:, None] == images[None]).flatten(2).all(dim=2).double().mean(dim=0)


def assert_within_four_standard_errors(frequency: Tensor, p: Tensor, n: int) -> None:
    assert ((frequency - p).abs() < 4 * (p * (1 - p) / n).sqrt() + 1e-9).all()


@FAMILIES
@SAMPLERS
@pytest.mark.parametrize("levels, shape", [(2, (1, 2, 2)), (2, (3, 1, 2)), (4, (1, 1, 3))])
def test_samples_follow_log_prob(family: type[PixelModel], sampler: str, levels: int, shape: Shape):
    n = 20_000
    model = away_from_uniform(family(shape, levels=levels, hidden_dim=8, depth=2))
    images = all_images(levels, shape)
    p = model.log_prob(images).exp().double()
    assert p.max() > 4 * p.min()
    assert_within_four_standard_errors(frequencies(getattr(model, sampler)(n), images), p, n)


@FAMILIES
@SAMPLERS
def test_samples_given_a_label_follow_log_prob_given_that_label(
    family: type[PixelModel], sampler: str
):
    n = 20_000
    torch.manual_seed(1)  # labels that matter in every family
    model = away_from_uniform(family((1, 2, 2), levels=2, hidden_dim=8, depth=2, n_classes=3))
    images = all_images(2, (1, 2, 2))
    y = torch.arange(n) % 2
    samples = getattr(model, sampler)(n, y=y)
    p0, p1 = (
        model.log_prob(images, y=torch.full((len(images),), k)).exp().double() for k in range(2)
    )
    assert (p0 - p1).abs().sum() > 0.05
    assert_within_four_standard_errors(frequencies(samples[y == 0], images), p0, n // 2)
    assert_within_four_standard_errors(frequencies(samples[y == 1], images), p1, n // 2)


@FAMILIES
@SAMPLERS
def test_completion_follows_the_conditional_distribution(family: type[PixelModel], sampler: str):
    n = 20_000
    model = away_from_uniform(family((2, 2, 2), levels=2, hidden_dim=8, depth=2))
    known = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])  # (C, H, W)
    mask = torch.tensor([[True, True], [False, False]])  # the upper row is known
    samples = getattr(model, sampler)(n, known=known, mask=mask)
    assert torch.equal(samples[:, :, 0], known[:, 0].expand(n, 2, 2))

    images = all_images(2, (2, 2, 2))
    images = images[(images[:, :, 0] == known[:, 0]).flatten(1).all(dim=1)]
    p = model.log_prob(images).double().softmax(dim=0)  # p(x) / p(upper row)
    assert p.max() > 2 * p.min()
    assert_within_four_standard_errors(frequencies(samples, images), p, n)


@FAMILIES
@SAMPLERS
def test_a_known_channel_guides_the_later_channels_of_its_pixel(
    family: type[PixelModel], sampler: str
):
    n = 20_000
    model = away_from_uniform(family((3, 1, 1), levels=2, hidden_dim=9, depth=2))
    red_known = torch.tensor([True, False, False]).reshape(3, 1, 1)
    samples = getattr(model, sampler)(n, known=torch.ones(3, 1, 1), mask=red_known)
    images = all_images(2, (3, 1, 1))
    images = images[images[:, 0, 0, 0] == 1]
    p = model.log_prob(images).double().softmax(dim=0)
    assert_within_four_standard_errors(frequencies(samples, images), p, n)


@FAMILIES
@SAMPLERS
def test_the_same_seed_draws_the_same_images(family: type[PixelModel], sampler: str):
    model = away_from_uniform(family((1, 4, 4), levels=4, hidden_dim=8, depth=2))
    torch.manual_seed(3)
    first = getattr(model, sampler)(5)
    torch.manual_seed(3)
    assert torch.equal(getattr(model, sampler)(5), first)
    assert not torch.equal(getattr(model, sampler)(5), first)


@FAMILIES
def test_loss_is_the_mean_negative_log_likelihood(family: type[PixelModel]):
    model = family((1, 3, 3), levels=4, hidden_dim=8, depth=2)
    x = torch.randint(4, (6, 1, 3, 3)) / 3
    torch.testing.assert_close(model.loss(x), -model.log_prob(x).mean())


@FAMILIES
def test_a_label_changes_the_likelihood_of_its_own_image_only(family: type[PixelModel]):
    model = family((1, 4, 4), hidden_dim=8, depth=2, n_classes=3)
    x = torch.zeros(2, 1, 4, 4)
    before = model.log_prob(x, y=torch.tensor([0, 1]))
    after = model.log_prob(x, y=torch.tensor([2, 1]))
    assert before[0] != after[0]
    torch.testing.assert_close(before[1], after[1])


@FAMILIES
def test_the_masks_multiply_in_the_call_and_leave_the_weights_alone(family: type[PixelModel]):
    model = family((3, 4, 4), hidden_dim=8, depth=2)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    model.loss(torch.zeros(1, 3, 4, 4)).backward()
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    for conv in (m for m in model.modules() if isinstance(m, MaskedConv2d)):
        assert conv.weight.grad is not None
        assert (conv.weight.grad[conv.mask == 0] == 0).all()


@FAMILIES
def test_one_image_can_be_memorised(family: type[PixelModel]):
    model = family((1, 6, 6), hidden_dim=16, depth=3)
    x = torch.bernoulli(torch.full((1, 1, 6, 6), 0.5)).expand(8, -1, -1, -1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        loss = model.loss(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert model.loss(x) < 0.5  # Bernoulli(1/2) costs 36 ln 2 = 24.95 nats
    assert torch.equal(model.sample(2), x[:2])


@FAMILIES
@pytest.mark.parametrize("n_classes", [0, 10])
def test_no_tensor_stays_behind_on_the_cpu(family: type[PixelModel], n_classes: int):
    with FakeTensorMode():  # raises FakeTensorDeviceMismatchError if one does
        with torch.device("cuda"):  # not around the calls: there it would help a forgetful factory
            model = family((3, 2, 3), levels=8, hidden_dim=12, depth=2, n_classes=n_classes)
            x = torch.rand(2, 3, 2, 3)
            y = torch.zeros(2, dtype=torch.long) if n_classes else None
            known, mask = torch.rand(2, 3, 2, 3), torch.rand(2, 3, 2, 3) > 0.5
        results = [model(x, y=y), model.log_prob(x, y=y), model.loss(x, y=y), model.sample(2, y=y)]
        results.append(model.sample(2, y=y, known=known, mask=mask))
        results.append(model.sample_by_definition(2, y=y))
        assert all(result.device.type == "cuda" for result in results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@FAMILIES
def test_a_gpu_gives_the_likelihood_the_cpu_gives(family: type[PixelModel]):
    model = family((3, 5, 5), levels=4, hidden_dim=12, depth=3, n_classes=2)
    x, y = torch.randint(4, (4, 3, 5, 5)) / 3, torch.tensor([0, 1, 1, 0])
    on_cpu = model.log_prob(x, y=y)
    on_gpu = model.cuda().log_prob(x.cuda(), y=y.cuda())
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-4, atol=1e-3)
    assert model.sample(4, y=y.cuda()).is_cuda


# Input validation: what is refused, each by name.

IMAGE = torch.zeros(2, 1, 4, 4)


@FAMILIES
@pytest.mark.parametrize(
    "x, error, message",
    [
        (IMAGE.long(), TypeError, "float tensor"),
        (IMAGE.numpy(), TypeError, "not ndarray"),
        (IMAGE[0], ValueError, r"shape \(B, 1, 4, 4\), not \(1, 4, 4\)"),
        (torch.zeros(2, 1, 4, 5), ValueError, r"not \(2, 1, 4, 5\)"),
        (torch.zeros(2, 3, 4, 4), ValueError, r"not \(2, 3, 4, 4\)"),
        (IMAGE + 2, ValueError, r"must lie in \[0, 1\], not in \[2, 2\]"),
        (IMAGE - 0.1, ValueError, r"must lie in \[0, 1\]"),
        (IMAGE * float("nan"), ValueError, "NaN"),
        (IMAGE + 0.3, ValueError, "grid of 2 levels.*binarise"),
    ],
)
def test_bad_images_are_refused(family: type[PixelModel], x: Tensor, error: type, message: str):
    model = family((1, 4, 4), hidden_dim=8, depth=2)
    with pytest.raises(error, match=message):
        model.log_prob(x)


@FAMILIES
@pytest.mark.parametrize(
    "y, error, message",
    [
        (None, ValueError, r"conditional \(n_classes=3\): pass labels"),
        (torch.tensor([0]), ValueError, r"shape \(2,\)"),
        (torch.tensor([0.0, 1.0]), TypeError, "int64"),
        (torch.tensor([0, 3]), ValueError, r"0\.\.2, not in 0\.\.3"),
        (torch.tensor([-1, 0]), ValueError, r"0\.\.2"),
    ],
)
def test_bad_labels_are_refused(
    family: type[PixelModel], y: Tensor | None, error: type, message: str
):
    model = family((1, 4, 4), hidden_dim=8, depth=2, n_classes=3)
    with pytest.raises(error, match=message):
        model.log_prob(IMAGE, y=y)
    with pytest.raises(error, match=message):
        model.sample(2, y=y)
    with pytest.raises(error, match=message):
        model.sample_by_definition(2, y=y)


@FAMILIES
def test_labels_for_an_unconditional_model_are_refused(family: type[PixelModel]):
    with pytest.raises(ValueError, match="unconditional"):
        family((1, 4, 4), hidden_dim=8, depth=2).log_prob(IMAGE, y=torch.tensor([0, 1]))


@FAMILIES
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"shape": (4, 4)}, "shape"),
        ({"shape": (1, 0, 4)}, "shape"),
        ({"levels": 1}, "levels"),
        ({"n_classes": -1}, "n_classes"),
        ({"shape": (3, 4, 4), "hidden_dim": 2}, "hidden_dim"),
    ],
)
def test_impossible_models_are_refused(family: type[PixelModel], arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        family(**{"shape": (1, 4, 4), "hidden_dim": 8, "depth": 2, **arguments})


@FAMILIES
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n": 0}, "n must be at least 1"),
        ({"known": IMAGE}, "both known and mask"),
        ({"mask": IMAGE > 0}, "both known and mask"),
        ({"known": IMAGE, "mask": IMAGE}, "boolean"),
        ({"known": torch.zeros(3, 1, 4, 4), "mask": IMAGE == 0}, "known must broadcast"),
        ({"known": IMAGE, "mask": torch.zeros(5, dtype=torch.bool)}, "mask must broadcast"),
        ({"known": IMAGE + 2, "mask": IMAGE == 0}, r"\[0, 1\]"),
    ],
)
def test_impossible_requests_to_sample_are_refused(
    family: type[PixelModel], arguments: dict, message: str
):
    model = family((1, 4, 4), hidden_dim=8, depth=2)
    with pytest.raises(ValueError, match=message):
        model.sample(**{"n": 2, **arguments})
    with pytest.raises(ValueError, match=message):
        model.sample_by_definition(**{"n": 2, **arguments})


def test_a_mask_is_a_or_b():
    group = torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match='"A" or "B"'):
        MaskedConv2d(group, group, (2, 3), mask="C")


# What they learn.


@FAMILIES
def test_bars_are_learnt_to_a_twentieth_of_a_nat(family: type[PixelModel]):
    """A second or so; of 20 seeds a family the worst stood at 0.024."""
    model = family((1, 4, 4), levels=2, hidden_dim=16, depth=1)
    assert bars_kl(model.log_prob) > 5  # uniform noise stands at 7.69
    fit(model, load("bars"), epochs=200, batch_size=30, learning_rate=2e-2)
    assert bars_kl(model.log_prob) < 0.05
