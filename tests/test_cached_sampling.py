"""The sampler that does only the new work draws what the definition draws, and does no more."""

import copy
import gc
import pickle
import weakref
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genlib.autoregressive import DiagonalBiLSTM, GatedPixelCNN, PixelCNN, PixelModel, RowLSTM
from genlib.autoregressive.caching import CachedLayer, DecodingState, cached
from genlib.autoregressive.diagonal_bilstm import CachedDiagonalBiLSTM
from genlib.autoregressive.gated_pixelcnn import CachedVerticalConv, VerticalConv
from genlib.autoregressive.masks import CachedMaskedConv, MaskedConv2d
from genlib.autoregressive.row_lstm import CachedRowRecurrence, RowRecurrence
from genlib.validation import Shape

MIXTURE = pytest.param(partial(GatedPixelCNN, n_logistics=2), id="mixture of logistics")
FAMILIES = pytest.mark.parametrize(
    "family", [PixelCNN, GatedPixelCNN, RowLSTM, DiagonalBiLSTM, MIXTURE]
)
SHAPES = pytest.mark.parametrize(
    "shape", [(1, 7, 7), (1, 3, 11), (1, 11, 3), (3, 4, 6), (2, 5, 3), (1, 2, 2), (3, 1, 1)]
)


def random_model(family: type[PixelModel], shape: Shape, levels: int = 3, **more) -> PixelModel:
    """In float64, where the samplers' uniforms never fall between two roundings of a boundary."""
    model = family(shape, levels=levels, **{"hidden_dim": 12, "depth": 5, **more}).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model


def random_images(model: PixelModel, n: int) -> Tensor:
    p = next(model.parameters())
    return torch.randint(model.levels, (n, *model.shape)).to(p) / (model.levels - 1)


@torch.inference_mode()
def logits_of_every_step(model: PixelModel, images: Tensor, y: Tensor | None = None) -> Tensor:
    """Logits of an image that is revealed value by value: (n, K, C, H, W)."""
    x = torch.zeros_like(images)
    logits = images.new_full((len(images), model.levels, *model.shape), torch.nan)
    for (c, i, j), step in model._cached_passes(x, y):
        logits[:, :, c, i, j] = step
        x[:, c, i, j] = images[:, c, i, j]
    return logits


@FAMILIES
@SHAPES
@pytest.mark.parametrize("n_classes", [0, 3])
def test_the_logits_of_every_step_are_those_of_the_whole_pass(
    family: type[PixelModel], shape: Shape, n_classes: int
):
    model = random_model(family, shape, n_classes=n_classes)
    x, y = random_images(model, 4), torch.tensor([0, 2, 1, 2]) if n_classes else None
    with torch.no_grad():
        torch.testing.assert_close(
            logits_of_every_step(model, x, y), model(x, y=y), rtol=0, atol=1e-10
        )
        model, x = model.float(), x.float()
        torch.testing.assert_close(
            logits_of_every_step(model, x, y), model(x, y=y), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("kernel_size", [(1, 1), (1, 3), (2, 3), (4, 7), (3, 1), (9, 15)])
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("left_only", [False, True])
def test_a_cached_masked_convolution_equals_the_whole_one_for_any_kernel(
    kernel_size: tuple[int, int], dilation: int, left_only: bool
):
    group, out_group = torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1, 1, 1])
    conv = MaskedConv2d(
        group, out_group, kernel_size, "B", dilation=dilation, left_only=left_only
    ).double()
    x = torch.randn(2, 3, 6, 5, dtype=torch.double)
    out = torch.zeros(2, 5, 6, 5, dtype=torch.double)
    decoding = DecodingState(n=2, width=5)
    layer = conv.cached(decoding)
    with torch.no_grad():
        for i in range(6):
            layer.start_row()
            for j in range(5):
                decoding.column = j
                out[:, :, i, j] = layer(x[:, :, i, j])
        torch.testing.assert_close(out, conv(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("radius, strict", [(1, False), (3, False), (1, True), (3, True)])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_cached_vertical_convolution_equals_the_whole_one_for_any_kernel(
    radius: int, strict: bool, dilation: int
):
    conv = VerticalConv(3, 4, radius, strict=strict, dilation=dilation).double()
    x = torch.randn(2, 3, 7, 5, dtype=torch.double)
    with torch.no_grad():
        layer = conv.cached(DecodingState(n=2, width=5))
        rows = [layer(x[:, :, i : i + 1]) for i in range(7)]
        torch.testing.assert_close(torch.cat(rows, dim=2), conv(x), rtol=0, atol=1e-12)


# The same images from the same random numbers.


def draw_both_ways(model: PixelModel, n: int, **more) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    cached, cached_state = model.sample(n, **more), torch.get_rng_state()
    torch.manual_seed(5)
    plain, plain_state = model.sample_by_definition(n, **more), torch.get_rng_state()
    assert torch.equal(cached_state, plain_state)
    return cached, plain


@FAMILIES
@SHAPES
def test_the_same_seed_draws_the_images_of_the_definition(family: type[PixelModel], shape: Shape):
    cached, plain = draw_both_ways(random_model(family, shape), 6)
    assert torch.equal(cached, plain)
    assert not torch.equal(cached[0], cached[1]) or cached[0].numel() < 10


@FAMILIES
def test_the_same_seed_draws_the_same_images_for_labels(family: type[PixelModel]):
    model = random_model(family, (3, 3, 4), n_classes=4)
    cached, plain = draw_both_ways(model, 5, y=torch.tensor([3, 0, 1, 2, 3]))
    assert torch.equal(cached, plain)


@FAMILIES
@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 4, 3)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_completion_of_scattered_values_draws_the_images_of_the_definition(
    family: type[PixelModel], shape: Shape, share: float
):
    model = random_model(family, shape)
    known = torch.rand(5, *shape, dtype=torch.double)  # known values need not lie on the grid
    mask = torch.rand(5, *shape) < share
    cached, plain = draw_both_ways(model, 5, known=known, mask=mask)
    assert torch.equal(cached, plain)
    assert torch.equal(cached[mask], known[mask])


@FAMILIES
def test_autocast_changes_neither_sampler(family: type[PixelModel]):
    model = random_model(family, (1, 4, 4)).float()
    torch.manual_seed(1)
    expected = model.sample(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cached, _ = draw_both_ways(model, 4)
        torch.manual_seed(1)
        assert torch.equal(model.sample(4), expected)
    assert cached.dtype == torch.float32


def test_a_model_without_a_cache_is_sampled_by_definition():
    class Fair(PixelModel):
        def __init__(self):
            super().__init__((1, 2, 2), levels=2)
            self.bias = nn.Parameter(torch.zeros(2, 1, 2, 2))

        def network(self, x: Tensor, y: Tensor | None) -> Tensor:
            return self.bias.expand(len(x), -1, -1, -1, -1)

    cached, plain = draw_both_ways(Fair(), 4)
    assert torch.equal(cached, plain)


# Only the new work: counted, not timed.


@FAMILIES
@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 3)])
def test_a_cached_layer_is_called_once_a_value_and_once_a_row(
    family: type[PixelModel], shape: Shape, monkeypatch: pytest.MonkeyPatch
):
    values: dict[int, int] = {}
    rows: dict[int, int] = {}
    vertical: dict[int, int] = {}

    def counted(cls: type, name: str, counts: dict[int, int]) -> None:
        original = getattr(cls, name)

        def call(self, *arguments):
            counts[id(self)] = counts.get(id(self), 0) + 1
            return original(self, *arguments)

        monkeypatch.setattr(cls, name, call)

    for cached_layer in (CachedMaskedConv, CachedRowRecurrence, CachedDiagonalBiLSTM):
        counted(cached_layer, "__call__", values)
        counted(cached_layer, "start_row", rows)
    counted(CachedVerticalConv, "forward", vertical)
    model = random_model(family, shape)
    model.sample(2)

    layers = list(model.modules())
    channels, height, width = shape
    # a DiagonalBiLSTMLayer has a cached layer in the place of its input_to_state
    n_cached = sum(isinstance(layer, MaskedConv2d | RowRecurrence) for layer in layers)
    n_vertical = sum(isinstance(layer, VerticalConv) for layer in layers)
    assert list(values.values()) == [height * width * channels] * n_cached
    assert list(rows.values()) == [height] * n_cached
    assert list(vertical.values()) == [height] * n_vertical


def multiplications(function, *arguments) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*arguments)
    return counter.get_total_flops()


@FAMILIES
def test_drawing_grey_images_multiplies_no_more_than_one_whole_pass(family: type[PixelModel]):
    model = random_model(family, (1, 9, 7))
    x = random_images(model, 3)
    assert 0 < multiplications(model.sample, 3) <= multiplications(model, x)


@FAMILIES
@pytest.mark.parametrize("channels", [1, 3])
def test_the_work_grows_with_the_number_of_pixels(family: type[PixelModel], channels: int):
    """As many multiplications for four more rows, or columns, whatever there is already."""
    tall = [random_model(family, (channels, height, 5)) for height in (4, 8, 12)]
    wide = [random_model(family, (channels, 5, width)) for width in (4, 8, 12)]
    for models in (tall, wide):
        small, middle, large = (multiplications(model.sample, 2) for model in models)
        assert 0 < middle - small == large - middle


# Cached sampling leaves nothing behind.


@FAMILIES
def test_sampling_leaves_the_model_as_it_was_and_trainable(family: type[PixelModel]):
    model = random_model(family, (3, 4, 4), n_classes=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    classes = [type(layer) for layer in model.modules()]
    x = model.sample(3, y=torch.tensor([0, 1, 1]))

    assert model.training and [type(layer) for layer in model.modules()] == classes
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.loss(x, y=torch.tensor([0, 1, 1])).backward()  # the images may be trained on, too
    assert all(p.grad is not None and not p.is_inference() for p in model.parameters())

    y = torch.tensor([1, 0, 1])
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin.log_prob(x, y=y), model.log_prob(x, y=y))


@FAMILIES
def test_a_change_of_the_weights_shows_in_the_next_sample(family: type[PixelModel]):
    model = random_model(family, (1, 4, 4))
    model.sample(2)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    cached, plain = draw_both_ways(model, 6)
    assert torch.equal(cached, plain)


@FAMILIES
def test_an_exception_half_way_leaves_no_cached_layers_behind(
    family: type[PixelModel], monkeypatch: pytest.MonkeyPatch
):
    model = random_model(family, (1, 5, 5))
    x = random_images(model, 2)
    expected = model(x)
    start_row, calls = CachedMaskedConv.start_row, iter(range(10**6))

    def interrupted(self):
        if next(calls) == 30:
            raise KeyboardInterrupt
        start_row(self)

    monkeypatch.setattr(CachedMaskedConv, "start_row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.sample(2)
    monkeypatch.undo()
    assert torch.equal(model(x), expected)
    assert not any(isinstance(layer, CachedLayer) for layer in model.modules())
    assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
    cached, plain = draw_both_ways(model, 3)
    assert torch.equal(cached, plain)


@FAMILIES
def test_the_memory_of_cached_sampling_is_freed(
    family: type[PixelModel], monkeypatch: pytest.MonkeyPatch
):
    made: list[weakref.ref] = []
    create = CachedMaskedConv.__init__

    def remembered(self, *arguments):
        create(self, *arguments)
        made.append(weakref.ref(self))

    monkeypatch.setattr(CachedMaskedConv, "__init__", remembered)
    model = random_model(family, (1, 4, 4))
    model.sample(2)
    gc.collect()  # the model lives on, its cached copy does not
    assert made and all(layer() is None for layer in made)


@FAMILIES
def test_the_cached_copy_shares_the_parameters(family: type[PixelModel]):
    model = random_model(family, (1, 4, 4), n_classes=2)
    own = {id(p) for p in model.parameters()}
    assert {id(p) for p in cached(model, DecodingState(n=2, width=4)).parameters()} <= own
