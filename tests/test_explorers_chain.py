"""The explorer of a chain: its steps are the RBM's own, and what it counts is what came."""

import threading
import time

import numpy as np
import pytest
import torch
from explorer_rules import each_control_redraws, is_stored_as_a_picture, leaves_nothing_behind

from course import explorers
from genlib.data import image_index, load
from genlib.markov import RBM


@pytest.fixture
def rbm():
    model = RBM((1, 4, 4), hidden_dim=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def bars():
    return load("bars").floats()


@pytest.fixture
def explorer(rbm, bars):
    return explorers.gibbs_explorer(rbm, bars, frames=20, seed=3)


def test_the_chain_is_the_rbms_own_with_the_same_seed(explorer, rbm, bars):
    explorer.image.value = 7
    torch.manual_seed(3)
    x = bars[7:8]
    for step in range(21):
        assert torch.equal(explorer.chain[step, None], x)
        x = rbm.gibbs(x, steps=1)
    explorer.start.value = "noise"
    torch.manual_seed(3)
    assert torch.equal(explorer.chain[20, None], rbm.sample(1, steps=20))


def test_more_steps_a_frame_thin_the_same_chain(explorer):
    alone = explorer.chain
    explorer.every.value = 10
    assert torch.equal(explorer.chain[:3], alone[::10])
    assert not torch.equal(explorer.chain, alone)


def test_what_is_shown_is_the_step_of_the_chain(explorer):
    for step in (0, 3, 20):
        explorer.player.slider.value = step
        large, strip = (x.get_array().data for x in (explorer._large, explorer._strip))
        side = len(large)  # a frame, and in it 4 x 4 blocks of 8 x 8
        first, last = (side - 32) // 2 + 4, (side + 32) // 2
        middles = slice(first, last, 8)
        assert np.array_equal(large[middles, middles, 0], explorer.chain[step, 0].numpy())
        cells = strip.reshape(side, 12, side, 3)[middles, :, middles]  # (4, step, 4, colours)
        seen = min(step + 1, 12)
        for i in range(seen):
            shown = cells[:, 11 - i, :, 0]
            assert np.array_equal(shown, explorer.chain[step - i, 0].numpy())
        for i in range(seen, 12):  # not there yet: neither grey nor black nor white
            assert np.ptp(cells[0, 11 - i, 0]) > 0.1


def test_the_curve_is_the_free_energy_up_to_the_step(explorer, rbm, bars):
    explorer.every.value, explorer.player.slider.value = 10, 6
    rounds, energy = explorer._curve.get_data()
    assert list(rounds) == [0, 10, 20, 30, 40, 50, 60]
    with torch.no_grad():
        torch.testing.assert_close(torch.as_tensor(energy), rbm.free_energy(explorer.chain[:7]))
        assert explorer._level == pytest.approx(rbm.free_energy(bars).mean().item())
    low, high = explorer._curve.axes.get_ylim()
    assert low < explorer.energy.min() and explorer.energy.max() < high
    assert low < explorer._level < high


def test_images_that_were_met_are_counted(bars):
    rows = RBM((1, 4, 4), hidden_dim=4)  # a hidden unit for each row, which it makes white
    with torch.no_grad():
        rows.weight.copy_(4 * torch.eye(4).repeat_interleave(4, dim=0))
        rows.visible_bias.fill_(-2)
        rows.hidden_bias.fill_(-8)
    explorer = explorers.gibbs_explorer(rows, bars, frames=20)
    data = set(image_index(bars).tolist())
    counts = []
    for step in range(21):
        explorer.player.slider.value = step
        came = set(image_index(explorer.chain[: step + 1]).tolist())
        assert explorer.met == len(came & data)
        counts.append(explorer.met)
    assert counts[0] == 1 and counts[-1] > 2  # it starts at one of them
    assert explorer._met.get_text() == f"{counts[-1]} of the 30 images met so far"


def test_a_frozen_chain_meets_one_image_and_a_free_one_any(bars):
    frozen = RBM((1, 4, 4), hidden_dim=1)
    with torch.no_grad():
        frozen.visible_bias.copy_(200 * (bars[5].flatten() - 0.5))
    explorer = explorers.gibbs_explorer(frozen, bars, frames=30)
    explorer.image.value, explorer.player.slider.value = 5, 30
    assert explorer.met == 1 and (explorer.where == 5).all()


def test_starting_again_goes_back_to_the_start_with_other_random_numbers(explorer):
    explorer.player.slider.value, before = 9, explorer.chain
    explorer.again.click()
    assert explorer.player.slider.value == 0
    assert torch.equal(explorer.chain[0], before[0])
    assert not torch.equal(explorer.chain, before)
    explorer.player.slider.value = 9
    explorer.start.value = "noise"
    assert explorer.player.slider.value == 0 and explorer.image.disabled
    first = explorer.chain[0]
    explorer.again.click()
    assert not torch.equal(explorer.chain[0], first)  # other noise, too


def test_two_threads_never_draw_at_once(explorer, monkeypatch):
    """JupyterLab hands events to two threads of the kernel, and a figure can only be drawn by one."""
    drawing, overlaps = [], []

    def slowly(everything=False):
        overlaps.extend(drawing)
        drawing.append(1)
        time.sleep(0.005)
        drawing.pop()

    monkeypatch.setattr(explorer.picture, "draw", slowly)

    def play():
        for i in range(1, 21):
            explorer.player.slider.value = i
            if i % 5 == 0:
                explorer.again.click()

    threads = [threading.Thread(target=play) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not overlaps


def test_bad_arguments_are_refused(rbm, bars):
    with pytest.raises(ValueError, match="frames"):
        explorers.gibbs_explorer(rbm, bars, frames=0)
    with pytest.raises(ValueError, match="images"):
        explorers.gibbs_explorer(rbm, bars / 2)
    with pytest.raises(ValueError, match="images"):
        explorers.gibbs_explorer(rbm, torch.zeros(3, 1, 5, 5))


def test_every_control_redraws(explorer):
    settings = {explorer.image: 4, explorer.start: "noise", explorer.player.slider: 12}
    each_control_redraws(explorer, settings)
    each_control_redraws(explorer, {explorer.every: 100})


def test_nothing_is_left_behind(rbm, bars):
    leaves_nothing_behind(
        lambda: explorers.gibbs_explorer(rbm, bars, frames=20),
        [
            lambda e, i: e.player.forward.click(),
            lambda e, i: setattr(e.image, "value", i % 30),
            lambda e, i: setattr(e.start, "value", ("noise", "an image")[i // 4 % 2]),
            lambda e, i: e.again.click(),
        ],
    )


def test_stored_notebooks_show_a_picture(explorer):
    is_stored_as_a_picture(explorer, "gibbs")
