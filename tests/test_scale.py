"""benchmarks/scale.py: exponents, and counts against the laws in docs/book/scale.md. No clock is asserted."""

import json
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn

from benchmarks import scale
from benchmarks.scale import MODELS, RECIPES
from genlib.autoregressive import diagonal_bilstm, pixel_model, row_lstm
from genlib.markov import GSN, RBM
from genlib.train import Images

PAGE = Path(__file__).parents[1] / "docs" / "book" / "scale.md"
PIXELS = [name for name in MODELS if MODELS[name][0] == "pixels"]
SMALL = {
    "pixels": {"side": 6, "batch": 3, "width": 8, "depth": 2},
    "perceptrons": {"side": 6, "batch": 3, "width": 8, "levels": 4},
    "convolutions": {"side": 16, "batch": 3, "width": 16, "levels": 4},
    "chains": {"side": 6, "batch": 3, "width": 8, "chain": 2},
}


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 2.0, 2.5])
def test_the_exponent_of_a_power_law_is_found(power: float):
    sizes = [3, 8, 16, 50]
    assert scale.exponent(sizes, [0.7 * n**power for n in sizes]) == pytest.approx(power)


@pytest.mark.parametrize(("sizes", "costs"), [([4], [1.0]), ([2, 4], [1.0, 0.0]), ([2, 4], [1.0])])
def test_no_exponent_is_made_up(sizes: list, costs: list):
    with pytest.raises(ValueError, match="no power law"):
        scale.exponent(sizes, costs)


# What must follow one another. ----------------------------------------------------------------------


def calls(owner: object, function: str, way) -> int:
    """How often a function is called meanwhile."""
    real = getattr(owner, function)
    with mock.patch.object(owner, function, autospec=True, side_effect=real) as counted:
        way()
    return counted.call_count


@pytest.mark.parametrize("name", PIXELS)
@pytest.mark.parametrize(("side", "colours"), [(4, 1), (5, 3), (7, 1)])
def test_a_pixel_model_draws_one_value_after_another(name: str, side: int, colours: int):
    case = scale.at_size(name, "cpu", side=side, batch=2, width=8, colours=colours)
    assert calls(pixel_model, "draw_level", case.draw) == side**2 * colours


@pytest.mark.parametrize("side", [4, 7, 12])
def test_training_takes_a_step_a_diagonal_or_a_row(side: int):
    case = scale.at_size("diagonal_bilstm", "cpu", side=side, batch=2, width=8, depth=3)
    assert calls(diagonal_bilstm, "diagonal_step", case.train) == 3 * (2 * side - 1)
    case = scale.at_size("row_lstm", "cpu", side=side, batch=2, width=8, depth=3)
    assert calls(row_lstm, "lstm", case.train) == 3 * side


@pytest.mark.parametrize(
    ("name", "owner", "step"), [("rbm", RBM, "_visible"), ("gsn", GSN, "_corrupt")]
)
@pytest.mark.parametrize("chain", [1, 6])
def test_a_chain_takes_its_steps(name: str, owner: type, step: str, chain: int):
    case = scale.at_size(name, "cpu", side=5, batch=2, width=8, chain=chain)
    assert calls(owner, step, case.train) == calls(owner, step, case.draw) == chain


# Memory and work, counted. --------------------------------------------------------------------------


def test_work_is_what_theory_says_of_a_perceptron():
    size = {"side": 6, "batch": 3, "width": 8, "levels": 2}
    case = scale.at_size("vae", "cpu", **size)
    codes = case.model.latent_dim
    weights = [36 * 8, 8 * 2 * codes, codes * 8, 8 * 36]  # two layers each way
    # a product and a sum of every weight and image: forward, to the weights, and to what came before,
    # which nobody asks of the first layer
    assert scale.count_work(case.train)[1] == 2 * 3 * (3 * sum(weights) - weights[0])


def test_memory_counts_a_storage_once_and_what_is_free_no_more():
    layer = nn.Linear(3, 3, bias=False)
    x = torch.ones(5, 3)  # 60 bytes, and twice 36 for the weights and their gradient

    def twice_the_same() -> None:
        (layer(x) + layer(x)).sum().backward()

    def one_after_the_other() -> None:
        for _ in range(4):
            layer(x.clone()).sum().backward()

    def at_once() -> None:
        (layer(x.clone()) + layer(x.clone())).sum().backward()

    ways = (twice_the_same, one_after_the_other, at_once)
    assert [scale.bytes_to_hold(layer, (), way) for way in ways] == [132, 132, 192]


def test_memory_counts_what_the_optimiser_remembers():
    layer = nn.Linear(3, 3, bias=False)
    adam = torch.optim.Adam(layer.parameters())

    def step() -> None:
        layer(torch.ones(5, 3)).sum().backward()
        adam.step()

    step()
    assert scale.bytes_to_hold(layer, (adam,), step) == 4 * 36 + 60


def laws(of: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Theory as the page has it: by model and by what varies, the lowest and the highest exponent."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"| theory of {of} |")
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for line in rest.partition("\n\n")[0].splitlines()[2:]:
        models, *cells = (
            cell.strip() for cell in line.strip("| ").replace("|  |", "| |").split("|")
        )
        sizes = ("side", "levels", "width", "depth", "batch", "chain")
        for model in models.split(", "):
            found[model] = {
                size: (int(cell[0]), int(cell.split(" to ")[-1][0]))
                for size, cell in zip(sizes, cells, strict=False)
                if cell
            }
    return found


def counted(name: str, varied: str, values: list[int]) -> dict[str, list[int]]:
    rows = []
    for value in values:
        case = scale.at_size(name, "cpu", **SMALL[MODELS[name][0]] | {varied: value})
        case.train()  # the optimiser begins to remember
        held = scale.bytes_to_hold(case.model, case.optimizers, case.train)
        rows.append((held, *scale.count_work(case.train)))
    return dict(
        zip(("bytes", "launches", "flops"), map(list, zip(*rows, strict=True)), strict=True)
    )


def degree(values: list[int]) -> int | None:
    """Of the polynomial through these values at even steps; None if they are too few for it."""
    for found in range(-1, len(values) - 1):
        if not any(values):
            return max(found, 0)
        values = [b - a for a, b in zip(values, values[1:], strict=False)]
    return None


def test_the_page_has_a_law_for_whatever_is_varied():
    for of in ("training", "drawing", "memory"):
        for name, (_, _, sizes) in MODELS.items():
            model = RECIPES[name].what.split(":")[0]
            if of != "drawing" or name != "autoencoder":
                assert list(laws(of)[model]) == sizes.split(), (of, model)


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name][0] != "convolutions"])
def test_counts_are_polynomials_of_the_degrees_on_the_page(name: str):
    model = RECIPES[name].what.split(":")[0]
    for varied in MODELS[name][2].split():
        start, stride = (1, 4) if varied == "depth" else (4, 4)  # dilations repeat every 4 layers
        low, high = laws("training")[model][varied]
        found = counted(name, varied, [start + stride * i for i in range(high + 2)])
        affine = varied in ("depth", "chain")  # every layer, every step of a chain has its launches
        assert degree(found["launches"]) == (1 if affine else low), (varied, found)
        assert degree(found["flops"]) == high, (varied, found)
        assert degree(found["bytes"]) == laws("memory")[model][varied][1], (varied, found)


@pytest.mark.parametrize("name", ["gan", "wgan_gp"])
def test_memory_of_a_dcgan_grows_as_the_page_says(name: str):
    assert degree(counted(name, "batch", [4, 6, 8])["bytes"]) == 1
    # half the side has twice the width: maps and weights both N^2; the weights beside z only N
    assert 1.5 < scale.exponent([16, 32], counted(name, "side", [16, 32])["bytes"]) < 2
    # the maps grow by F, the weights by F^2
    assert 1 < scale.exponent([16, 32], counted(name, "width", [16, 32])["bytes"]) < 2


# All of it. -----------------------------------------------------------------------------------------


def breaks():
    yield {"kind": "lesson", "seconds": 1 / 3}
    raise RuntimeError("no memory\nat all")


def interrupted():
    yield {"kind": "lesson", "seconds": 2.0}
    raise KeyboardInterrupt


def test_what_fails_or_is_interrupted_costs_no_other_row(tmp_path: Path):
    out = tmp_path / "new" / "rows.json"
    assert scale.run([(breaks,), (lambda: [{"kind": "lesson"}],)], "cpu", out) == 1
    stored = json.loads(out.read_text())
    assert [row["kind"] for row in stored["rows"]] == ["lesson", "failed", "lesson"]
    assert stored["rows"][0]["seconds"] == 0.33333
    assert stored["rows"][1]["error"] == "RuntimeError: no memory"
    assert {"device", "name", "torch", "threads", "date"} <= set(stored["machine"])
    with pytest.raises(KeyboardInterrupt):
        scale.run([(interrupted,)], "cpu", out)
    assert json.loads(out.read_text())["rows"] == [{"kind": "lesson", "seconds": 2.0}]


@pytest.mark.parametrize("flags", [["bf16-mixed"], ["channels-last"], ["tf32"]])
def test_a_training_step_trains_with_every_flag(flags: list, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(scale.IMAGES, "mnist", Images((1, 8, 8), levels=2))
    try:
        case = scale.with_flags("pixelcnn", 4, "cpu", flags)
        before = case.model.loss(case.x).item()
        for _ in range(8):
            case.train()
        assert torch.backends.cudnn.allow_tf32 == ("tf32" in flags)
        assert case.model.loss(case.x).item() < before
    finally:
        scale.use_tf32(False)


def test_every_part_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(scale, "seconds", lambda way, *at, **least: (way(), 1.0)[1])
    monkeypatch.setattr(scale, "SIZES", [(*row[:3], (2, 1), (2, 1)) for row in scale.SIZES])
    monkeypatch.setitem(scale.IMAGES, "mnist", Images((1, 8, 8), levels=2))
    monkeypatch.setattr(scale, "FLAGGED", ("gsn",))
    scale.costs.cache_clear()
    out = tmp_path / "rows.json"
    assert scale.main(["--models", "gsn", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["kind"] for row in rows] == 8 * ["growth"] + ["throughput"] + 3 * ["flags"]
    assert rows[0]["sizes"] == [1, 2, 4, 8] and len(rows[0]["flops"]) == 4
    scale.costs.cache_clear()
