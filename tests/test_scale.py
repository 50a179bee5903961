"""benchmarks/scale.py: exponents, what it counts against theory, and that it loses nothing. No clock is asserted."""

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import scale
from benchmarks.scale import LAWS, PIXELS, Size
from genlib.train.recipes import Images

CPU = torch.device("cpu")
SMALL = {
    "pixels": Size(side=6, batch=3, width=8, depth=2),
    "perceptrons": Size(side=6, batch=3, width=8, levels=4),
    "convolutions": Size(side=16, batch=3, width=16, levels=4),
    "chains": Size(side=6, batch=3, width=8, chain=2),
}


class Clock:
    """Time passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, *seconds: float):
        durations = iter(seconds)

        def way() -> None:
            self.now += next(durations)

        return way


# Clocks and exponents. ------------------------------------------------------------------------------


def test_the_fastest_run_counts_and_the_first_does_not():
    clock = Clock()
    slow, fast = clock.takes(1.0, 9.0, 7.0, 8.0), clock.takes(0.1, 2.0, 3.0, 4.0)
    assert scale.fastest(slow, fast, repeats=3, clock=clock) == pytest.approx([7.0, 2.0])


def test_there_are_no_more_runs_once_enough_time_is_spent():
    clock = Clock()
    way = clock.takes(5.0, 2.0, 2.0, 1.0, 1.0)
    assert scale.fastest(way, repeats=4, enough=3.0, clock=clock) == [2.0]
    assert scale.fastest(clock.takes(9.0, 0.0), repeats=4, enough=3.0, warm_ups=0, clock=clock) == [
        9
    ]


@pytest.mark.parametrize("power", [-1.0, 0.0, 1.0, 2.0, 2.5])
def test_the_exponent_of_a_power_law_is_found(power: float):
    sizes = [3, 8, 16, 50]
    assert scale.exponent(sizes, [0.7 * n**power for n in sizes]) == pytest.approx(power)


@pytest.mark.parametrize(("sizes", "costs"), [([4], [1.0]), ([2, 4], [1.0, 0.0]), ([2, 4], [1.0])])
def test_no_exponent_is_made_up(sizes: list, costs: list):
    with pytest.raises(ValueError, match="no power law"):
        scale.exponent(sizes, costs)


def test_a_row_has_the_exponents_of_its_costs(monkeypatch: pytest.MonkeyPatch):
    def training(name: str, size: Size, device: torch.device) -> dict:
        return {"bytes": 7 * size.side**2, "seconds": 1e-3 * size.side**1.5, "steps": 2 * size.side}

    def drawing(name: str, size: Size, device: torch.device, long_chain: bool) -> dict:
        return {"seconds": 1e-4 * size.side**2, "steps": size.side**2}

    monkeypatch.setattr(scale, "training_costs", training)
    monkeypatch.setattr(scale, "drawing_costs", drawing)
    (row,) = scale.growth("row_lstm", "side", CPU, {})
    assert scale.fitted(row, "training") == pytest.approx((1.5, 1.5))
    assert scale.fitted(row, "drawing") == pytest.approx((2, 2))
    assert scale.fitted(row, "memory") == pytest.approx((2, 2))
    assert scale.counted_steps(row)[0].endswith("exponent 1.00")
    assert "1.50 ( 1.50) 1 to 2" in scale.describe(row) and "2.00 ( 2.00) 2 " in scale.describe(row)


# What must follow one another. ----------------------------------------------------------------------


def forward_steps(name: str, **sizes: int) -> dict[str, int]:
    """Steps that are counted, in training a layer, and in drawing."""
    size = Size(**{"side": 5, "batch": 2, "width": 8, **sizes})
    bench = scale.at_size(name, size, CPU, long_chain=False)
    counted = {}
    for what, way in (("training", bench.train), ("drawing", bench.draw)):
        if what in scale.STEPS[name]:
            with scale.calls_of(scale.STEPS[name][what][0]) as calls:
                way()
            counted[what] = calls[0] / (size.depth if what == "training" else 1)
    return counted


@pytest.mark.parametrize("name", PIXELS)
@pytest.mark.parametrize(("side", "colours"), [(4, 1), (5, 3), (7, 1)])
def test_a_pixel_model_draws_one_value_after_another(name: str, side: int, colours: int):
    assert forward_steps(name, side=side, colours=colours)["drawing"] == side**2 * colours


@pytest.mark.parametrize("side", [4, 7, 12])
@pytest.mark.parametrize("depth", [1, 3])
def test_training_takes_a_step_a_diagonal_or_a_row(side: int, depth: int):
    diagonals = forward_steps("diagonal_bilstm", side=side, depth=depth)["training"]
    rows = forward_steps("row_lstm", side=side, depth=depth)["training"]
    assert (diagonals, rows) == (2 * side - 1, side)


@pytest.mark.parametrize("name", scale.BINARY)
@pytest.mark.parametrize("chain", [1, 6])
def test_a_chain_takes_its_steps(name: str, chain: int):
    assert forward_steps(name, chain=chain) == {"training": chain, "drawing": chain}


def test_a_counted_function_is_put_back():
    before = math.sqrt
    with pytest.raises(ZeroDivisionError), scale.calls_of("math:sqrt") as calls:
        math.sqrt(4)
        raise ZeroDivisionError
    assert calls == [1] and math.sqrt is before


# Memory and work, counted. --------------------------------------------------------------------------


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

    counted = [
        scale.bytes_to_hold(layer, (), way)
        for way in (twice_the_same, one_after_the_other, at_once)
    ]
    assert counted == [72 + 60, 72 + 60, 72 + 120]


def test_memory_counts_what_the_optimiser_remembers():
    layer = nn.Linear(3, 3, bias=False)
    adam = torch.optim.Adam(layer.parameters())

    def step() -> None:
        layer(torch.ones(5, 3)).sum().backward()
        adam.step()

    step()
    assert scale.bytes_to_hold(layer, (adam,), step) == 4 * 36 + 60


def benches(name: str, varied: str, values: list[int]) -> Iterator[scale.Bench]:
    """A model at some sizes, each after a training step."""
    for value in values:
        size = scale.replace(SMALL[scale.PLAN_OF[name]], **{varied: value})
        bench = scale.at_size(name, size, CPU)
        bench.train()
        yield bench


def memory(name: str, varied: str, values: list[int]) -> list[int]:
    return [
        scale.bytes_to_hold(bench.model, bench.optimizers, bench.train)
        for bench in benches(name, varied, values)
    ]


def work(name: str, varied: str, values: list[int]) -> tuple[list[int], list[int]]:
    """Launches and floating point operations."""
    counted = [scale.count_work(bench.train) for bench in benches(name, varied, values)]
    return [launches for launches, _ in counted], [flops for _, flops in counted]


def differences(values: list[int], times: int) -> list[int]:
    for _ in range(times):
        values = [b - a for a, b in zip(values, values[1:], strict=False)]
    return values


@pytest.mark.parametrize("name", [name for name in LAWS if name not in ("gan", "wgan_gp")])
def test_memory_is_a_polynomial_of_theorys_degree(name: str):
    for varied, laws in LAWS[name].items():
        degree = int(laws["memory"].high)
        start, stride = (4, 2) if varied != "depth" else (1, 4)  # dilations repeat every 4 layers
        values = [start + stride * i for i in range(degree + 2)]
        found = memory(name, varied, values)
        assert set(differences(found, degree + 1)) == {0}, (varied, found)
        assert degree == 0 or min(differences(found, degree)) > 0, (varied, found)


@pytest.mark.parametrize("name", ["gan", "wgan_gp"])
def test_memory_of_a_dcgan_grows_as_theory_says(name: str):
    found = memory(name, "batch", [4, 6, 8])
    assert differences(found, 2) == [0] and found[1] > found[0]
    # half the side has twice the width: maps and weights both N^2; the weights beside z only N
    assert 1.5 < scale.exponent([16, 32], memory(name, "side", [16, 32])) < 2
    # the maps grow by F, the weights by F^2
    assert 1 < scale.exponent([16, 32], memory(name, "width", [16, 32])) < 2


@pytest.mark.parametrize("name", PIXELS)
def test_launches_grow_with_rows_and_diagonals_and_not_with_pixels(name: str):
    launches, _ = work(name, "side", [6, 8, 10])
    assert differences(launches, 2) == [0]
    assert (launches[1] > launches[0]) == (LAWS[name]["side"]["training"].low == 1)


@pytest.mark.parametrize("name", PIXELS)
def test_work_grows_with_pixels_and_levels(name: str):
    for varied, degree in (("side", 2), ("levels", 1)):
        _, flops = work(name, varied, [4 + 4 * i for i in range(degree + 2)])
        assert set(differences(flops, degree + 1)) == {0}, varied
        assert min(differences(flops, degree)) > 0, varied


# All of it. -----------------------------------------------------------------------------------------


def test_every_model_has_a_law_for_whatever_is_varied():
    for kinds in scale.PLANS.values():
        for name, laws in LAWS.items():
            plan = kinds[scale.PLAN_OF[name]]
            assert set(laws) <= set(plan.varied)
            assert all(len(plan.varied[varied]) >= 4 for varied in laws)
            for by_quantity in laws.values():
                assert all(0 <= law.low <= law.high and law.why for law in by_quantity.values())


def test_what_fails_costs_no_other_row_and_is_said(tmp_path: Path, capsys: pytest.CaptureFixture):
    def breaks():
        yield {"kind": "growth", "n": 1}
        raise RuntimeError("no memory\nat all")

    jobs = [("first", breaks), ("second", lambda: [{"kind": "growth", "n": 1 / 3}])]
    options = SimpleNamespace(device="cpu", out=tmp_path / "new" / "rows.json")
    said: list[dict] = []
    assert scale.run(jobs, options, said.append) == 1
    assert "FAILED first: RuntimeError: no memory\n" in capsys.readouterr().err
    rows = json.loads(options.out.read_text())
    assert [row["kind"] for row in rows] == ["growth", "failed", "growth"]
    assert len(said) == 2 and rows[2]["n"] == 0.33333
    for row in rows:
        assert {"device", "name", "torch", "threads", "date"} <= set(row["machine"])


def test_parts_and_models_are_chosen():
    jobs = [what for what, _ in scale.all_jobs(("growth", "flags"), ("vae", "gan"), CPU)]
    assert jobs[:2] == ["vae, side", "vae, levels"] and jobs[-1] == "flags of gan, batch 32"
    assert len(jobs) == len(LAWS["vae"]) + len(LAWS["gan"]) + 2


@pytest.mark.parametrize("flags", [*scale.flag_sets(torch.device("cuda"), compiled=False)])
def test_a_training_step_trains_with_every_flag(flags: tuple, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scale, "MNIST", Images((1, 8, 8), levels=2))
    try:
        step = scale.with_flags("pixelcnn", 4, CPU, flags)
        bench = step.__closure__ and next(
            cell.cell_contents
            for cell in step.__closure__
            if isinstance(cell.cell_contents, scale.Bench)
        )
        before = bench.model.loss(bench.x).item()
        for _ in range(8):
            step()
        assert torch.backends.cudnn.allow_tf32 == ("tf32" in flags)
        assert bench.model.loss(bench.x).item() < before
    finally:
        scale.use_tf32(False)


def test_flags_are_compared_with_plain_float32(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scale, "MNIST", Images((1, 8, 8), levels=2))
    monkeypatch.setattr(scale, "SPEND", {"cpu": 0.0})
    rows = list(scale.flags_gain("vae", 2, CPU, compiled=False))
    assert [row["flags"] for row in rows] == [
        ["bf16-mixed"],
        ["channels-last"],
        ["bf16-mixed", "channels-last"],
    ]
    for row in rows:
        assert row["ratio"] == row["plain_seconds"] / row["seconds"]
        assert f"{row['ratio']:.2f} times" in scale.describe(row)


def test_a_whole_row_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(scale, "LONG_CHAIN", 3)
    small = scale.Plan(SMALL["chains"], {"batch": (1, 2, 3, 4)})
    monkeypatch.setitem(scale.PLANS, "cpu", {"chains": small})
    monkeypatch.setattr(scale, "SPEND", {"cpu": 0.0})
    monkeypatch.setattr(scale, "MNIST", Images((1, 8, 8), levels=2))
    job = partial(scale.growth, "gsn", "batch", CPU, {})
    table: list[str] = []
    rows, failed = scale.measure(
        [("gsn", job), ("gsn", partial(scale.throughput, "gsn", "mnist", CPU))],
        CPU,
        tmp_path / "rows.json",
        lambda row: table.append(scale.describe(row)),
    )
    assert not failed and rows[0]["training"]["sizes"] == [1, 2, 3, 4]
    assert all(seconds > 0 for seconds in rows[0]["drawing"]["seconds"])
    assert table[0].startswith("gsn              batch B") and "16 drawn in" in table[1]
