import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("pixelrnn", whole="draw")
histogram, level_log_prob, lstm, plain_scan, skew, diagonal_scan, right_to_left, draw = (
    bank.solutions[step] for step in bank.steps
)
unskew = bank.solutions["unskew"]  # given


# ---------------------------------------------------------------- 1. histogram


def by_one_hot(level, levels, extra):
    counts = F.one_hot(level, levels).sum(dim=0).movedim(-1, 0).double() + extra
    return counts / counts.sum(dim=0, keepdim=True)


def by_loops(level, levels, extra):
    q = torch.full((levels, *level.shape[1:]), extra / (len(level) + extra * levels))
    for image in level:
        q.scatter_add_(0, image[None], torch.ones(1, *image.shape) / (len(level) + extra * levels))
    return q


def only_where_seen(level, levels, extra):
    counts = torch.stack([(level == k).sum(dim=0) for k in range(levels)])
    return torch.where(counts > 0, histogram(level, levels, extra), 0.01)


bank.right("histogram", by_one_hot, by_loops)
bank.wrong("histogram", {"do not sum to one": only_where_seen})


# ---------------------------------------------------------------- 2. level_log_prob


def pick(scores, level):
    return scores.gather(1, level[:, None]).squeeze(1)


def by_cross_entropy(logits, level):
    return -F.cross_entropy(logits, level, reduction="none")


def by_one_hot_in_double(logits, level):
    chosen = F.one_hot(level, logits.shape[1]).movedim(-1, 1)
    return ((logits.double() - logits.double().logsumexp(1, keepdim=True)) * chosen).sum(1)


bank.right(
    "level_log_prob",
    by_cross_entropy,
    by_one_hot_in_double,
    lambda logits, level: pick(logits, level) - logits.logsumexp(dim=1),
)
bank.wrong(
    "level_log_prob",
    {
        "these are bits": lambda logits, level: level_log_prob(logits, level) / 0.6931472,
        "no gradient reaches `logits`": torch.no_grad()(lambda *arguments: level_log_prob(*arguments)),
        "is something on its way detached": lambda logits, level: (
            pick(logits, level) - logits.detach().logsumexp(dim=1)
        ),
        "a small number": lambda logits, level: (pick(logits.softmax(1), level) + 1e-10).log(),
        "stops for one pixel an image": lambda logits, level: (
            logits.log_softmax(1) * F.one_hot(level).movedim(-1, 1)
        ).sum(1),
        "contains NaN": lambda logits, level: (
            pick(logits.exp() / logits.exp().sum(1, keepdim=True), level).log()
        ),
    },
)  # fmt: skip


# ---------------------------------------------------------------- 3. lstm


def with_one_sigmoid(gates, c):
    n = c.shape[1]
    scale = torch.ones(4 * n, dtype=gates.dtype)
    scale[3 * n :] = 2  # tanh(a) = 2 sigmoid(2 a) - 1
    scale = scale.reshape(-1, *[1] * (gates.ndim - 2))
    o, f, i, g = torch.sigmoid(gates * scale).split(n, dim=1)
    c = f * c + i * (2 * g - 1)
    return [o * torch.tanh(c), c]


def tanh_by_hand(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * (g.exp() - (-g).exp()) / (g.exp() + (-g).exp())
    return o.sigmoid() * c.tanh(), c


bank.right("lstm", with_one_sigmoid)
bank.wrong(
    "lstm",
    {
        "in another order: return the state h": lambda gates, c: lstm(gates, c)[::-1],
        "no gradient reaches `c`": lambda gates, c: lstm(gates, c.detach()),
        "return 2 tensors, the state h and the memory c": lambda gates, c: lstm(gates, c)[0],
        "the next cell needs torch.float": lambda gates, c: [
            x.to({torch.float32: torch.float64}.get(x.dtype, torch.float32)) for x in lstm(gates, c)
        ],
        "contains NaN": tanh_by_hand,
    },
)  # fmt: skip


# ---------------------------------------------------------------- 4. plain_scan


def walk(gates, w_left, w_up, step=lstm, order=None):
    height, width = gates.shape[2:]
    zero = gates.new_zeros(len(gates), w_left.shape[1])
    h, c = {}, {}
    for i, j in order or itertools.product(range(height), range(width)):
        left, up = h.get((i, j - 1), zero), h.get((i - 1, j), zero)
        own = gates[:, :, i, j] + left @ w_left.T + up @ w_up.T
        h[i, j], c[i, j] = step(own, c.get((i, j - 1), zero))
    return to_map(h, height, width)


def to_map(h, height, width):
    pixels = [h[i, j] for i in range(height) for j in range(width)]
    return torch.stack(pixels, dim=2).unflatten(2, (height, width))


def with_a_border(gates, w_left, w_up):
    batch, _, height, width = gates.shape
    h = torch.zeros(batch, w_left.shape[1], height + 1, width + 1)
    for i in range(height):
        c = torch.zeros(batch, w_left.shape[1])
        for j in range(width):
            own = gates[..., i, j] + F.linear(h[..., i + 1, j], w_left) + h[..., i, j + 1] @ w_up.T
            h[..., i + 1, j + 1], c = lstm(own, c)
    return h[..., 1:, 1:]


def column_by_column(gates, w_left, w_up):
    """Another order of the pixels, in which the neighbours come first as well."""
    height, width = gates.shape[2:]
    return walk(gates, w_left, w_up, order=[(i, j) for j in range(width) for i in range(height)])


def round_the_corner(gates, w_left, w_up, kept=torch.clone):
    """Index -1 is the end of a row that is still zero: right, if by luck."""
    h = gates.new_zeros(gates.shape[0], w_left.shape[1], *gates.shape[2:])
    c = torch.zeros_like(h)
    for i, j in itertools.product(range(h.shape[2]), range(h.shape[3])):
        own = gates[:, :, i, j] + h[:, :, i, j - 1] @ w_left.T + h[:, :, i - 1, j] @ w_up.T
        h[:, :, i, j], c[:, :, i, j] = lstm(own, kept(c[:, :, i, j - 1]))
    return h


def square_maps_only(gates, w_left, w_up):
    height, width = gates.shape[2:]
    return walk(gates, w_left, w_up, order=itertools.product(range(min(height, width)), range(width - 1)))  # fmt: skip


bank.right("plain_scan", with_a_border, column_by_column, round_the_corner)
bank.wrong(
    "plain_scan",
    {
        "the axes are in another order": lambda *arguments: plain_scan(*arguments).mT,
        "with KeyError": square_maps_only,
        "no gradient reaches `gates`": lambda *arguments: plain_scan(*arguments).detach(),
        "write into a tensor that it still needs": lambda *arguments: round_the_corner(
            *arguments, kept=lambda c: c
        ),
        "returns 0 everywhere": lambda gates, w_left, w_up: plain_scan(0 * gates, w_left, w_up),
    },
)


# ---------------------------------------------------------------- 5. skewing


def skew_by_slices(x):
    batch, features, height, width = x.shape
    out = torch.zeros(batch, features, height, width + height - 1, dtype=x.dtype)
    for i in range(height):
        out[:, :, i, i : i + width] = x[:, :, i]
    return out


def skew_by_one_reshape(x):
    """H zeros after each row; cut again into rows that are a column shorter, each begins one later."""
    height, width = x.shape[2:]
    flat = F.pad(x, (0, height)).flatten(2)[..., : height * (width + height - 1)]
    return flat.unflatten(2, (height, width + height - 1))


bank.right("skew", skew_by_slices, skew_by_one_reshape)
bank.wrong("skew", {"no gradient reaches `x`": bank.changed("skew", torch.Tensor.detach)})


# ---------------------------------------------------------------- 6. diagonal_scan


def without_padding(gates, w_left, w_up):
    """The pixels of a diagonal gathered by their places; nothing is skewed."""
    batch, _, height, width = gates.shape
    zero = gates.new_zeros(batch, w_left.shape[1])
    h, c = {}, {}
    for d in range(height + width - 1):
        pixels = [(i, d - i) for i in range(height) if 0 <= d - i < width]
        own = torch.stack([gates[:, :, i, j] for i, j in pixels], dim=2)
        left = torch.stack([h.get((i, j - 1), zero) for i, j in pixels], dim=2)
        up = torch.stack([h.get((i - 1, j), zero) for i, j in pixels], dim=2)
        before = torch.stack([c.get((i, j - 1), zero) for i, j in pixels], dim=2)
        new_h, new_c = lstm(own + w_left @ left + w_up @ up, before)
        for n, pixel in enumerate(pixels):
            h[pixel], c[pixel] = new_h[:, :, n], new_c[:, :, n]
    return to_map(h, height, width)


def into_one_tensor(gates, w_left, w_up):
    own = skew(gates)
    h = torch.zeros(len(gates), w_left.shape[1], own.shape[2], own.shape[3] + 1)
    c = torch.zeros(h.shape[:3])
    for t in range(own.shape[3]):
        before = h[..., t].clone()
        h[..., t + 1], c = lstm(own[..., t] + w_left @ before + w_up @ F.pad(before, (1, -1)), c)
    return unskew(h[..., 1:])


def scan_with(step):
    """The solution with another step."""

    def scan(gates, w_left, w_up):
        h = c = torch.zeros(len(gates), w_left.shape[1], gates.shape[2])
        columns = []
        for own in skew(gates).unbind(dim=3):
            h, c = step(own + w_left @ h + w_up @ F.pad(h, (1, -1)), c)
            columns.append(h)
        return unskew(torch.stack(columns, dim=3))

    return scan


def in_place(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid()
    h *= c.tanh()
    return h, c


def by_exp(gates, c):
    o, f, i, g = (1 / (1 + (-a).exp()) for a in (gates * torch.ones(1)).chunk(4, dim=1))
    c = f * c + i * gates.chunk(4, dim=1)[3].sinh() / gates.chunk(4, dim=1)[3].cosh()
    return o * c.sinh() / c.cosh(), c


bank.right("diagonal_scan", without_padding, into_one_tensor, scan_with(by_exp))
bank.wrong(
    "diagonal_scan",
    {
        "a 3 x 5 map takes you 15 steps": walk,
        "takes you 15 steps": lambda *arguments: walk(*arguments, with_one_sigmoid),
        "takes you 15 steps: a whole": lambda *arguments: walk(*arguments, by_exp),
        "you write into a tensor that it still needs": scan_with(in_place),
        "no gradient reaches `gates` and `w_left` and `w_up`": lambda *arguments: diagonal_scan(*arguments).data,
        "is something on its way detached": scan_with(lambda gates, c: lstm(gates, c.detach())),
    },
)  # fmt: skip


# ---------------------------------------------------------------- 7. right_to_left


def by_indices(scan, gates):
    back = list(range(gates.shape[3]))[::-1]
    states = scan(gates[..., back])
    out = torch.zeros_like(states)
    out[:, :, 1:] = states[:, :, :-1, back]
    return out


def moved_down_before_the_scan(scan, gates):
    """A row of zero gates leaves zero states, so the order does not matter."""
    return scan(F.pad(gates.flip(3), (0, 0, 1, -1))).flip(3)


def an_image_at_a_time(scan, gates):
    states = [scan(image.flip(2)).flip(2) for image in gates]
    return torch.stack([F.pad(state, (0, 0, 1, -1)) for state in states])


bank.right("right_to_left", by_indices, moved_down_before_the_scan)
bank.wrong(
    "right_to_left",
    {
        "where the gates are 4 x 4: it should keep its size": lambda scan, gates: scan(
            F.pad(gates.flip(3), (0, 0, 1, 0))
        ).flip(3),
        r"`scan` wants gates of shape \(B, 4 F, H, W\)": an_image_at_a_time,
        "no gradient reaches `gates`": lambda scan, gates: right_to_left(scan, gates.detach()),
    },
)


# ---------------------------------------------------------------- 8. draw


def by_scalars(logits, temperature, u):
    levels = []
    for a, threshold in zip(logits.double() / temperature, u, strict=True):
        p = (a - a.max()).exp()
        total, level = 0.0, 0
        while level < len(p) - 1 and total + p[level] / p.sum() <= threshold:
            total, level = total + p[level] / p.sum(), level + 1
        levels.append(level)
    return torch.tensor(levels)


def by_searching(logits, temperature, u):
    sums = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    level = torch.searchsorted(sums, u[:, None].contiguous(), right=True)[:, 0]
    return level.clamp(max=logits.shape[1] - 1).to(torch.int32)


def softmax_by_hand(logits, temperature, u):
    p = (logits / temperature).exp()
    return (p.cumsum(dim=1) <= p.sum(dim=1, keepdim=True) * u[:, None])[:, :-1].sum(dim=1)


def with_the_last_sum(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=1) <= u[:, None]).sum(dim=1)


bank.right("draw", by_scalars, by_searching)
bank.wrong(
    "draw",
    {
        "draws random numbers of its own":
            lambda logits, temperature, u: Categorical(logits=logits / temperature).sample(),
        "your probabilities are lost": softmax_by_hand,
        "has the shape": lambda logits, temperature, u: draw(logits[:1], temperature, u[:1]),
        "your level may be K": with_the_last_sum,
        "may come": lambda logits, temperature, u: (
            (logits / temperature).softmax(1).cumsum(1)[:, :-1] < u[:, None]
        ).sum(1),
        r"the next cell counts them": lambda *arguments: draw(*arguments).float(),
    },
)  # fmt: skip


# ---------------------------------------------------------------- the bank, applied


class TestSteps(StepsOfALesson):
    bank = bank


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 6), (6, 2)])
def test_skewing_by_a_reshape_is_skewing(size):
    """One of the right answers is a trick; here it is against the definition, cell by cell."""
    height, width = size
    x = torch.randn(2, 1, height, width)
    skewed = skew_by_one_reshape(x)
    for i, t in itertools.product(range(height), range(height + width - 1)):
        expected = x[:, :, i, t - i] if 0 <= t - i < width else torch.zeros(2, 1)
        assert torch.equal(skewed[:, :, i, t], expected)


def test_the_step_of_the_exercise_is_the_step_of_genlib():
    """genlib's weights absorb a factor of two in g, which makes one sigmoid do for all."""
    from genlib.autoregressive.pixelrnn import lstm as ours

    gates, c = torch.randn(3, 8), torch.randn(3, 2)
    inner = torch.tensor([1.0, 1, 1, 1, 1, 1, 2, 2])
    for a, b in zip(lstm(gates, c), ours(gates * inner, c, dim=1), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_draws_follow_the_probabilities():
    logits = torch.tensor([[0.3, -1.0, 1.2]])
    u = (torch.arange(30_000) + 0.5) / 30_000
    share = draw(logits.expand(len(u), -1), 0.7, u).bincount(minlength=3) / len(u)
    assert torch.allclose(share, (logits[0] / 0.7).softmax(0), atol=1e-4)


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (F, "log_softmax"), (F, "pad")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert "returns torch.bool" in bank.verdict("skew", lambda x: F.pad(x, (0, x.shape[2] - 1)))
    assert "the logit itself" in bank.verdict("level_log_prob", pick)
