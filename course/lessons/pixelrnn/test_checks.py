"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from course.checking.bank import Bank, ChecksOfALesson

bank = Bank(
    "pixelrnn",
    steps="histogram level_log_prob lstm plain_scan skew unskew diagonal_scan right_to_left draw",
    results={"lstm": 2},
    may_be_integers=("draw",),
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. histogram


def count(level, levels):
    return torch.stack([(level == k).sum(dim=0) for k in range(levels)])


@right("histogram")
def histogram(level, levels, extra):
    return (count(level, levels) + extra) / (len(level) + levels * extra)


@right("histogram")
def histogram_by_one_hot(level, levels, extra):
    counts = F.one_hot(level, levels).sum(dim=0).movedim(-1, 0).double() + extra
    return counts / counts.sum(dim=0, keepdim=True)


@right("histogram")
def histogram_by_loops(level, levels, extra):
    q = torch.full((levels, *level.shape[1:]), extra / (len(level) + extra * levels))
    for image in level:
        q.scatter_add_(0, image[None], torch.ones(1, *image.shape) / (len(level) + extra * levels))
    return q


@wrong("histogram", "these are counts")
def counts_only(level, levels, extra):
    return (count(level, levels) + extra).float()


@wrong("histogram", "the number of images alone")
def divides_by_n(level, levels, extra):
    return (count(level, levels) + extra) / len(level)


@wrong("histogram", "only once below the line")
def extra_once_below(level, levels, extra):
    return (count(level, levels) + extra) / (len(level) + extra)


@wrong("histogram", "`extra` has no effect")
def maximum_likelihood(level, levels, extra):
    return count(level, levels) / len(level)


@wrong("histogram", "you always add one")
def always_laplace(level, levels, extra):
    return (count(level, levels) + 1) / (len(level) + levels)


@wrong("histogram", "to the shares")
def extra_on_shares(level, levels, extra):
    q = count(level, levels) / len(level) + extra
    return q / q.sum(dim=0)


@wrong("histogram", "one histogram for all pixels")
def one_for_all(level, levels, extra):
    counts = torch.bincount(level.flatten(), minlength=levels) + extra
    return (counts / counts.sum())[:, None, None, None].expand(levels, *level.shape[1:])


@wrong("histogram", "a sum over the pixels")
def normalised_over_pixels(level, levels, extra):
    counts = count(level, levels) + extra
    return counts / counts.sum((1, 2, 3), keepdim=True)


@wrong("histogram", "the levels are your last axis")
def levels_last(level, levels, extra):
    counts = F.one_hot(level, levels).sum(dim=0) + extra
    return counts / counts.sum(dim=-1, keepdim=True)


@wrong("histogram", "only for the levels that occur")
def levels_seen(level, levels, extra):
    counts = F.one_hot(level).sum(dim=0).movedim(-1, 0) + extra
    return counts / counts.sum(dim=0)


@wrong("histogram", "a softmax of the counts")
def softmax_of_counts(level, levels, extra):
    return (count(level, levels) + extra).float().softmax(dim=0)


@wrong("histogram", "these are logarithms")
def log_histogram(level, levels, extra):
    return histogram(level, levels, extra).log()


@wrong("histogram", "do not sum to one")
def only_where_seen(level, levels, extra):
    counts = count(level, levels)
    return torch.where(counts > 0, histogram(level, levels, extra), 0.01)


# ---------------------------------------------------------------- 2. level_log_prob


def pick(scores, level):
    return scores.gather(1, level[:, None]).squeeze(1)


@right("level_log_prob")
def level_log_prob(logits, level):
    shifted = logits - logits.amax(dim=1, keepdim=True)
    return pick(shifted - shifted.exp().sum(dim=1, keepdim=True).log(), level)


@right("level_log_prob")
def level_log_prob_by_cross_entropy(logits, level):
    return -F.cross_entropy(logits, level, reduction="none")


@right("level_log_prob")
def level_log_prob_by_one_hot(logits, level):
    chosen = F.one_hot(level, logits.shape[1]).movedim(-1, 1)
    return ((logits.double() - logits.double().logsumexp(1, keepdim=True)) * chosen).sum(1)


@wrong("level_log_prob", "all K log-probabilities")
def all_levels(logits, level):
    return F.log_softmax(logits, dim=1)


@wrong("level_log_prob", "minus the log-probability")
def a_loss(logits, level):
    return F.cross_entropy(logits, level, reduction="none")


@wrong("level_log_prob", "these are probabilities")
def probability(logits, level):
    return pick(logits.softmax(dim=1), level)


@wrong("level_log_prob", "the logit itself")
def logit(logits, level):
    return pick(logits, level)


@wrong("level_log_prob", "without its logarithm")
def sum_without_log(logits, level):
    shifted = logits - logits.amax(dim=1, keepdim=True)
    return pick(shifted - shifted.exp().sum(dim=1, keepdim=True), level)


@wrong("level_log_prob", "both terms need the same shift")
def shifts_one_term(logits, level):
    m = logits.amax(dim=1, keepdim=True)
    return pick(logits - (logits - m).exp().sum(dim=1, keepdim=True).log(), level)


@wrong("level_log_prob", "over the last axis")
def over_the_last_axis(logits, level):
    return pick(logits.log_softmax(dim=-1), level)


@wrong("level_log_prob", "these are bits")
def in_bits(logits, level):
    return level_log_prob(logits, level) / math.log(2)


@wrong("level_log_prob", "one for each pixel")
def whole_image(logits, level):
    return level_log_prob(logits, level).reshape(len(level), -1).sum(dim=1)


@wrong("level_log_prob", "judges each level alone")
def sigmoid_of_each(logits, level):
    return pick(logits.sigmoid().log(), level)


@wrong("level_log_prob", "e^100 is infinite")
def as_in_the_book(logits, level):
    return pick(logits, level) - logits.exp().sum(dim=1).log()


@wrong("level_log_prob", "one maximum from all pixels")
def one_maximum(logits, level):
    shifted = logits - logits.max()
    return pick(shifted - shifted.exp().sum(dim=1, keepdim=True).log(), level)


@wrong("level_log_prob", "rounded to 0")
def log_of_softmax(logits, level):
    return pick(logits.softmax(dim=1).log(), level)


@wrong("level_log_prob", "no gradient reaches `logits`")
@torch.no_grad()
def without_gradient(logits, level):
    return level_log_prob(logits, level)


@wrong("level_log_prob", "something on its way detached")
def detached_sum(logits, level):
    return pick(logits, level) - logits.detach().logsumexp(dim=1)


# ---------------------------------------------------------------- 3. lstm


@right("lstm")
def lstm(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@right("lstm")
def lstm_with_one_sigmoid(gates, c):
    n = c.shape[1]
    scale = torch.ones(4 * n, dtype=gates.dtype)
    scale[3 * n :] = 2  # tanh(a) = 2 sigmoid(2 a) - 1
    scale = scale.reshape(-1, *[1] * (gates.ndim - 2))
    o, f, i, g = torch.sigmoid(gates * scale).split(n, dim=1)
    c = f * c + i * (2 * g - 1)
    return [o * torch.tanh(c), c]


@wrong("lstm", "the memory first")
def memory_first(gates, c):
    return lstm(gates, c)[::-1]


@wrong("lstm", "PyTorch's order")
def order_of_pytorch(gates, c):
    i, f, g, o = gates.chunk(4, dim=1)
    return lstm(torch.cat([o, f, i, g], dim=1), c)


@wrong("lstm", "f and i have changed places")
def order_o_i_f_g(gates, c):
    o, i, f, g = gates.chunk(4, dim=1)
    return lstm(torch.cat([o, f, i, g], dim=1), c)


@wrong("lstm", "here o comes first")
def order_f_i_o_g(gates, c):
    f, i, o, g = gates.chunk(4, dim=1)
    return lstm(torch.cat([o, f, i, g], dim=1), c)


@wrong("lstm", "can never be negative")
def sigmoid_everywhere(gates, c):
    o, f, i, g = gates.sigmoid().chunk(4, dim=1)
    c = f * c + i * g
    return o * c.tanh(), c


@wrong("lstm", "the content g is not squashed")
def plain_content(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g
    return o.sigmoid() * c.tanh(), c


@wrong("lstm", "a gate of its own")
def one_gate_for_both(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm", "the old memory is lost")
def forgets_everything(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm", "nothing is ever forgotten")
def forgets_nothing(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


@wrong("lstm", "the raw numbers")
def raw_gates(gates, c):
    o, f, i, g = gates.chunk(4, dim=1)
    c = f * c + i * g.tanh()
    return o * c.tanh(), c


@wrong("lstm", "o times the memory itself")
def state_without_tanh(gates, c):
    c = lstm(gates, c)[1]
    return gates.chunk(4, dim=1)[0].sigmoid() * c, c


@wrong("lstm", "the output gate is not used")
def no_output_gate(gates, c):
    c = lstm(gates, c)[1]
    return c.tanh(), c


@wrong("lstm", "from the old memory")
def state_of_the_old_memory(gates, c):
    return gates.chunk(4, dim=1)[0].sigmoid() * c.tanh(), lstm(gates, c)[1]


@wrong("lstm", "groups of four")
def interleaved(gates, c):
    o, f, i, g = gates.unflatten(1, (-1, 4)).unbind(dim=2)
    return lstm(torch.cat([o, f, i, g], dim=1), c)


@wrong("lstm", "something on its way detached")
def detached_memory(gates, c):
    return lstm(gates, c.detach())


@wrong("lstm", "returns one thing: return 2 tensors, the state h and the memory c")
def state_only(gates, c):
    return lstm(gates, c)[0]


# ---------------------------------------------------------------- 4. plain_scan


def walk(gates, w_left, w_up, step=lstm, *, order=None, memory_of=None, left_of=None, up_of=None):
    """A scan in dictionaries; each `*_of` says from which pixel (i, j) takes what."""
    height, width = gates.shape[2:]
    zero = gates.new_zeros(len(gates), w_left.shape[1])
    left_of = left_of or (lambda i, j: (i, j - 1))
    up_of = up_of or (lambda i, j: (i - 1, j))
    memory_of = memory_of or (lambda i, j: (i, j - 1))
    h, c = {}, {}
    for i, j in order or itertools.product(range(height), range(width)):
        own = gates[:, :, i, j]
        own = own + h.get(left_of(i, j), zero) @ w_left.T + h.get(up_of(i, j), zero) @ w_up.T
        h[i, j], c[i, j] = step(own, c.get(memory_of(i, j), zero))
    return to_map(h, height, width)


def to_map(h, height, width):
    return torch.stack([h[i, j] for i in range(height) for j in range(width)], dim=2).unflatten(
        2, (height, width)
    )


@right("plain_scan")
def plain_scan(gates, w_left, w_up):
    return walk(gates, w_left, w_up)


@right("plain_scan")
def plain_scan_with_a_border(gates, w_left, w_up):
    batch, _, height, width = gates.shape
    h = torch.zeros(batch, w_left.shape[1], height + 1, width + 1)
    for i in range(height):
        c = torch.zeros(batch, w_left.shape[1])
        for j in range(width):
            own = gates[..., i, j] + F.linear(h[..., i + 1, j], w_left) + h[..., i, j + 1] @ w_up.T
            h[..., i + 1, j + 1], c = lstm(own, c)
    return h[..., 1:, 1:]


@right("plain_scan")
def plain_scan_column_by_column(gates, w_left, w_up):
    """Another order of the pixels, in which the neighbours come first as well."""
    height, width = gates.shape[2:]
    return walk(
        gates, w_left, w_up, order=[(i, j) for j in range(width) for i in range(height)]
    ).double()


@right("plain_scan")
def plain_scan_round_the_corner(gates, w_left, w_up):
    """Index -1 is the end of a row that is still zero: right, if by luck."""
    h = gates.new_zeros(gates.shape[0], w_left.shape[1], *gates.shape[2:])
    c = torch.zeros_like(h)
    for i, j in itertools.product(range(h.shape[2]), range(h.shape[3])):
        own = gates[:, :, i, j] + h[:, :, i, j - 1] @ w_left.T + h[:, :, i - 1, j] @ w_up.T
        h[:, :, i, j], c[:, :, i, j] = lstm(own, c[:, :, i, j - 1])
    return h


def end_of_row_before(width):
    return lambda i, j: (i, j - 1) if j else (i - 1, width - 1)


@wrong("plain_scan", "rows know nothing of each other")
def rows_alone(gates, w_left, w_up):
    return walk(gates, w_left, 0 * w_up)


@wrong("plain_scan", "the state to the left is never read")
def columns_alone(gates, w_left, w_up):
    return walk(gates, 0 * w_left, w_up)


@wrong("plain_scan", "w_left meets the state above")
def weights_swapped(gates, w_left, w_up):
    return walk(gates, w_up, w_left)


@wrong("plain_scan", "not (i - 1, j - 1)")
def diagonal_neighbour(gates, w_left, w_up):
    return walk(gates, w_left, w_up, up_of=lambda i, j: (i - 1, j - 1))


@wrong("plain_scan", "your memory comes from above")
def memory_from_above(gates, w_left, w_up):
    return walk(gates, w_left, w_up, memory_of=lambda i, j: (i - 1, j))


@wrong("plain_scan", "from the left and from above, which may grow")
def memory_from_both(gates, w_left, w_up):
    height, width = gates.shape[2:]
    zero = gates.new_zeros(len(gates), w_left.shape[1])
    h, c = {}, {}
    for i, j in itertools.product(range(height), range(width)):
        left, up = (i, j - 1), (i - 1, j)
        own = gates[:, :, i, j] + h.get(left, zero) @ w_left.T + h.get(up, zero) @ w_up.T
        h[i, j], c[i, j] = lstm(own, c.get(left, zero) + c.get(up, zero))
    return to_map(h, height, width)


@wrong("plain_scan", "the memory is zero at every pixel")
def no_memory(gates, w_left, w_up):
    return walk(gates, w_left, w_up, lambda own, c: lstm(own, torch.zeros_like(c)))


@wrong("plain_scan", "state and memory run on")
def never_reset(gates, w_left, w_up):
    before = end_of_row_before(gates.shape[3])
    return walk(gates, w_left, w_up, left_of=before, memory_of=before)


@wrong("plain_scan", "set c back to zero")
def memory_never_reset(gates, w_left, w_up):
    return walk(gates, w_left, w_up, memory_of=end_of_row_before(gates.shape[3]))


@wrong("plain_scan", "set h_left back to zero")
def state_never_reset(gates, w_left, w_up):
    return walk(gates, w_left, w_up, left_of=end_of_row_before(gates.shape[3]))


@wrong("plain_scan", "you return the memories")
def returns_memories(gates, w_left, w_up):
    memories = {}

    def remember(own, c):
        h, c = lstm(own, c)
        memories[len(memories)] = c
        return h, c

    walk(gates, w_left, w_up, remember)
    return torch.stack(list(memories.values()), dim=2).unflatten(2, gates.shape[2:])


@wrong("plain_scan", "begin at the lower right")
def from_the_lower_right(gates, w_left, w_up):
    return walk(gates.flip(2, 3), w_left, w_up).flip(2, 3)


@wrong("plain_scan", "own gates are missing")
def no_gates(gates, w_left, w_up):
    return walk(0 * gates, w_left, w_up)


@wrong("plain_scan", "has the shape (2, 2, 5, 3)")
def transposed_map(gates, w_left, w_up):
    return walk(gates, w_left, w_up).mT


@wrong("plain_scan", "with KeyError")
def square_maps_only(gates, w_left, w_up):
    width = gates.shape[3]
    order = itertools.product(range(min(gates.shape[2], width)), range(width - 1))
    return walk(gates, w_left, w_up, order=order)


# ---------------------------------------------------------------- 5. skew


@right("skew")
def skew(x):
    height = x.shape[2]
    return torch.stack([F.pad(x[:, :, i], (i, height - 1 - i)) for i in range(height)], dim=2)


@right("skew")
def skew_by_slices(x):
    batch, features, height, width = x.shape
    out = torch.zeros(batch, features, height, width + height - 1, dtype=x.dtype)
    for i in range(height):
        out[:, :, i, i : i + width] = x[:, :, i]
    return out


@right("skew")
def skew_by_one_reshape(x):
    """H zeros after each row; cut again into rows that are a column shorter, each begins one later."""
    height, width = x.shape[2:]
    flat = F.pad(x, (0, height)).flatten(2)[..., : height * (width + height - 1)]
    return flat.unflatten(2, (height, width + height - 1))


@wrong("skew", "the other way round, row i moves by i")
def skewed_upwards(x):
    return skew(x.flip(2)).flip(2)


@wrong("skew", "the first row moves too")
def counted_from_one(x):
    height = x.shape[2]
    rows = [F.pad(x[:, :, i], (i + 1, height - 1 - i)) for i in range(height)]
    return torch.stack(rows, dim=2)


@wrong("skew", "a column too wide")
def a_column_too_wide(x):
    return F.pad(skew(x), (0, 1))


@wrong("skew", "the ends of the lower rows fall off")
def cut_to_the_old_width(x):
    return torch.stack([F.pad(x[:, :, i], (i, -i)) for i in range(x.shape[2])], dim=2)


@wrong("skew", "wrap around")
def rolled_rows(x):
    return torch.stack([x[:, :, i].roll(i, dims=-1) for i in range(x.shape[2])], dim=2)


@wrong("skew", "you move columns down")
def columns_moved(x):
    width = x.shape[3]
    return torch.stack([F.pad(x[..., j], (j, width - 1 - j)) for j in range(width)], dim=3)


@wrong("skew", "by the same amount")
def not_moved(x):
    return F.pad(x, (0, x.shape[2] - 1))


@wrong("skew", "with the values at the edge")
def edges_repeated(x):
    height = x.shape[2]
    rows = [F.pad(x[:, :, i], (i, height - 1 - i), mode="replicate") for i in range(height)]
    return torch.stack(rows, dim=2)


@wrong("skew", "gains W - 1 columns")
def width_for_height(x):
    width = x.shape[3]
    rows = [F.pad(x[:, :, i], (i, width - 1 - i)) for i in range(x.shape[2])]
    return torch.stack(rows, dim=2)


# ---------------------------------------------------------------- 6. unskew


def rows_of(x, starts, width):
    return torch.stack([x[:, :, i, s : s + width] for i, s in enumerate(starts)], dim=2)


def width_of(x):
    return x.shape[3] - x.shape[2] + 1


@right("unskew")
def unskew(x):
    return rows_of(x, range(x.shape[2]), width_of(x))


@right("unskew")
def unskew_by_rolling(x):
    rows = [row.roll(-i, dims=-1) for i, row in enumerate(x.unbind(dim=2))]
    return torch.stack(rows, dim=2)[..., : width_of(x)]


@right("unskew")
def unskew_by_gather(x):
    i, j = torch.arange(x.shape[2])[:, None], torch.arange(width_of(x))
    return x[:, :, i, i + j]


@wrong("unskew", "cut the map without moving")
def cut_only(x):
    return x[..., : width_of(x)]


@wrong("unskew", "the last W columns")
def last_columns(x):
    return x[..., -width_of(x) :]


@wrong("unskew", "with the top row furthest to the right")
def unskewed_upwards(x):
    return rows_of(x, reversed(range(x.shape[2])), width_of(x))


@wrong("unskew", "too far to the right")
def one_too_far(x):
    rows = [row.roll(-i, dims=-1) for i, row in enumerate(x.unbind(dim=2), start=1)]
    return torch.stack(rows, dim=2)[..., : width_of(x)]


@wrong("unskew", "a column is lost")
def width_minus_height(x):
    return rows_of(x, range(x.shape[2]), x.shape[3] - x.shape[2])


@wrong("unskew", "the map is still wide")
def never_cut(x):
    return torch.stack([row.roll(-i, dims=-1) for i, row in enumerate(x.unbind(2))], dim=2)


@wrong("unskew", "further to the right")
def skewed_again(x):
    rows = [row.roll(i, dims=-1) for i, row in enumerate(x.unbind(dim=2))]
    return torch.stack(rows, dim=2)[..., : width_of(x)]


@wrong("unskew", "as many columns as there are rows")
def always_square(x):
    twice = torch.cat([x, x], dim=3)
    return rows_of(twice, range(x.shape[2]), x.shape[2])


# ---------------------------------------------------------------- 7. diagonal_scan


def down(h):
    return F.pad(h, (1, -1))


def skewed_scan(gates, w_left, w_up, *, above=down, memory=lambda c: c):
    h = c = torch.zeros(len(gates), w_left.shape[1], gates.shape[2], dtype=gates.dtype)
    columns = []
    for own in skew(gates).unbind(dim=3):
        h, c = lstm(own + w_left @ h + w_up @ above(h), memory(c))
        columns.append(h)
    return torch.stack(columns, dim=3)


@right("diagonal_scan")
def diagonal_scan(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up))


@right("diagonal_scan")
def diagonal_scan_without_padding(gates, w_left, w_up):
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


@right("diagonal_scan")
def diagonal_scan_into_one_tensor(gates, w_left, w_up):
    own = skew(gates)
    h = torch.zeros(len(gates), w_left.shape[1], own.shape[2], own.shape[3] + 1)
    c = torch.zeros(h.shape[:3])
    for t in range(own.shape[3]):
        before = h[..., t].clone()
        h[..., t + 1], c = lstm(own[..., t] + w_left @ before + w_up @ down(before), c)
    return unskew(h[..., 1:])


@wrong("diagonal_scan", "your own row's")
def above_not_moved(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up, above=lambda h: h))


@wrong("diagonal_scan", "the state of the row below")
def above_moved_up(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up, above=lambda h: F.pad(h, (-1, 1))))


@wrong("diagonal_scan", "rolling the column wraps around")
def above_rolled(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up, above=lambda h: h.roll(1, dims=2)))


@wrong("diagonal_scan", "you move the memory down")
def memory_moved_too(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up, memory=down))


@wrong("diagonal_scan", "the memory is zero in every column")
def memory_lost(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up, memory=torch.zeros_like))


@wrong("diagonal_scan", "your states are still skewed")
def still_skewed(gates, w_left, w_up):
    return skewed_scan(gates, w_left, w_up)


@wrong("diagonal_scan", "you cut the skewed states")
def cut_states(gates, w_left, w_up):
    return skewed_scan(gates, w_left, w_up)[..., : gates.shape[3]]


@wrong("diagonal_scan", "`skew` the gates first")
def columns_of_the_plain_map(gates, w_left, w_up):
    h = c = torch.zeros(len(gates), w_left.shape[1], gates.shape[2])
    columns = []
    for own in gates.unbind(dim=3):
        h, c = lstm(own + w_left @ h + w_up @ down(h), c)
        columns.append(h)
    return torch.stack(columns, dim=3)


@wrong("diagonal_scan", "the state of the row above never enters")
def no_above(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, 0 * w_up))


@wrong("diagonal_scan", "the state to the left never enters")
def no_left(gates, w_left, w_up):
    return unskew(skewed_scan(gates, 0 * w_left, w_up))


@wrong("diagonal_scan", "w_left meets the upper state")
def scan_with_weights_swapped(gates, w_left, w_up):
    return diagonal_scan(gates, w_up, w_left)


@wrong("diagonal_scan", "you return the memories")
def scan_returns_memories(gates, w_left, w_up):
    return returns_memories(gates, w_left, w_up)


@wrong("diagonal_scan", "a 3 x 5 map takes you 15 steps")
def pixel_by_pixel(gates, w_left, w_up):
    return plain_scan(gates, w_left, w_up)


@wrong("diagonal_scan", "you write into a tensor that it still needs")
def state_in_place(gates, w_left, w_up):
    h = c = torch.zeros(len(gates), w_left.shape[1], gates.shape[2])
    columns = []
    for own in skew(gates).unbind(dim=3):
        o, f, i, g = (own + w_left @ h + w_up @ down(h)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid()
        h *= c.tanh()
        columns.append(h)
    return unskew(torch.stack(columns, dim=3))


@wrong("diagonal_scan", "no gradient reaches `gates` and `w_left` and `w_up`")
def without_graph(gates, w_left, w_up):
    return diagonal_scan(gates, w_left, w_up).data


@wrong("diagonal_scan", "is not: is something on its way detached")
def truncated(gates, w_left, w_up):
    return unskew(skewed_scan(gates, w_left, w_up, memory=torch.Tensor.detach))


# ---------------------------------------------------------------- 8. right_to_left


def mirror(x):
    return x.flip(3)


def one_row_down(x):
    return F.pad(x, (0, 0, 1, -1))


@right("right_to_left")
def right_to_left(scan, gates):
    return one_row_down(mirror(scan(mirror(gates))))


@right("right_to_left")
def right_to_left_by_indices(scan, gates):
    back = list(range(gates.shape[3]))[::-1]
    states = scan(gates[..., back])
    out = torch.zeros_like(states)
    out[:, :, 1:] = states[:, :, :-1, back]
    return out


@right("right_to_left")
def moved_down_before_the_scan(scan, gates):
    """A row of zero gates leaves zero states, so the order does not matter."""
    return mirror(scan(one_row_down(mirror(gates)))).double()


@wrong("right_to_left", "neither mirror back nor move down")
def mirrored_only(scan, gates):
    return scan(mirror(gates))


@wrong("right_to_left", "never mirrored back")
def never_mirrored_back(scan, gates):
    return one_row_down(scan(mirror(gates)))


@wrong("right_to_left", "not moved down a row")
def not_moved_down(scan, gates):
    return mirror(scan(mirror(gates)))


@wrong("right_to_left", "you move the states up")
def moved_up(scan, gates):
    return F.pad(mirror(scan(mirror(gates))), (0, 0, -1, 1))


@wrong("right_to_left", "rolling wraps around")
def rolled_down(scan, gates):
    return mirror(scan(mirror(gates))).roll(1, dims=2)


@wrong("right_to_left", "by a column, not by a row")
def moved_right(scan, gates):
    return F.pad(mirror(scan(mirror(gates))), (1, -1))


@wrong("right_to_left", "by a column to the left")
def moved_left(scan, gates):
    return F.pad(mirror(scan(mirror(gates))), (-1, 1))


@wrong("right_to_left", "still starts at the upper left")
def never_mirrored(scan, gates):
    return one_row_down(scan(gates))


@wrong("right_to_left", "after the scan only")
def mirrored_afterwards(scan, gates):
    return one_row_down(mirror(scan(gates)))


@wrong("right_to_left", "upside down")
def rows_mirrored(scan, gates):
    return one_row_down(scan(gates.flip(2)).flip(2))


@wrong("right_to_left", "in both axes")
def turned_round(scan, gates):
    return one_row_down(scan(gates.flip((2, 3))).flip((2, 3)))


@wrong("right_to_left", "the first direction is added already")
def both_directions(scan, gates):
    return scan(gates) + right_to_left(scan, gates)


@wrong("right_to_left", "the map should keep its height")
def a_row_too_many(scan, gates):
    return F.pad(mirror(scan(mirror(gates))), (0, 0, 1, 0))


@wrong("right_to_left", "where the gates are 4 x 4: it should keep its size")
def padded_for_the_scan(scan, gates):
    return mirror(scan(F.pad(mirror(gates), (0, 0, 1, 0))))


@wrong("right_to_left", "`scan` wants gates of shape (B, 4 F, H, W)")
def an_image_at_a_time(scan, gates):
    states = [scan(image.flip(2)).flip(2) for image in gates]
    return torch.stack([F.pad(state, (0, 0, 1, -1)) for state in states])


# ---------------------------------------------------------------- 9. draw


@right("draw")
def draw(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=1) <= u[:, None]).sum(dim=1)


@right("draw")
def draw_by_loops(logits, temperature, u):
    levels = []
    for a, threshold in zip(logits.double() / temperature, u, strict=True):
        p = (a - a.max()).exp()
        total, level = 0.0, 0
        while level < len(p) - 1 and total + p[level] / p.sum() <= threshold:
            total, level = total + p[level] / p.sum(), level + 1
        levels.append(level)
    return torch.tensor(levels)


@right("draw")
def draw_by_searching(logits, temperature, u):
    sums = torch.softmax(logits / temperature, dim=-1).cumsum(-1)
    return torch.searchsorted(sums, u[:, None].contiguous(), right=True)[:, 0].to(torch.int32)


@wrong("draw", "you always take the most likely")
def most_likely(logits, temperature, u):
    return logits.argmax(dim=1)


@wrong("draw", "the temperature has no effect")
def no_temperature(logits, temperature, u):
    return draw(logits, 1.0, u)


@wrong("draw", "you multiply by the temperature")
def times_temperature(logits, temperature, u):
    return draw(logits, 1 / temperature, u)


@wrong("draw", "you divide probabilities by the temperature")
def divided_after_softmax(logits, temperature, u):
    p = logits.softmax(dim=1) / temperature
    return (p.cumsum(dim=1) <= u[:, None]).sum(dim=1)


@wrong("draw", "you take logits for probabilities")
def no_softmax(logits, temperature, u):
    return ((logits / temperature).cumsum(dim=1) <= u[:, None]).sum(dim=1)


@wrong("draw", "one level too high")
def counted_levels_from_one(logits, temperature, u):
    return draw(logits, temperature, u) + 1


@wrong("draw", "one level too low")
def one_too_low(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=1) <= u[:, None]).sum(dim=1) - 1


@wrong("draw", "with single probabilities")
def first_probability_above(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p > u[:, None]).int().argmax(dim=1)


@wrong("draw", "whose single probability is at most u")
def no_cumsum(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p <= u[:, None]).sum(dim=1)


@wrong("draw", "from the last level downwards")
def from_the_top(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1).flip(1)
    return logits.shape[1] - 1 - (p.cumsum(dim=1) <= u[:, None]).sum(dim=1)


@wrong("draw", "you count the sums above u")
def counts_the_rest(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=1) > u[:, None]).sum(dim=1)


@wrong("draw", "the first number of u")
def one_u_for_all(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=1) <= u[0]).sum(dim=1)


@wrong("draw", "over the draws, axis 0")
def sums_over_draws(logits, temperature, u):
    p = (logits / temperature).softmax(dim=1)
    return (p.cumsum(dim=0) <= u[:, None]).sum(dim=1)


@wrong("draw", "you need no other")
def own_random_number(logits, temperature, u):
    return Categorical(logits=logits / temperature).sample()


@wrong("draw", "your probabilities are lost")
def naive_softmax(logits, temperature, u):
    p = (logits / temperature).exp()
    p = p / p.sum(dim=1, keepdim=True)
    return (p.cumsum(dim=1) <= u[:, None]).sum(dim=1)


@wrong("draw", "has the shape")
def one_draw(logits, temperature, u):
    return draw(logits[:1], temperature, u[:1])


# ---------------------------------------------------------------- the bank, applied


class TestChecks(ChecksOfALesson):
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


def test_the_two_public_mistakes_are_told_by_name():
    back = bank.verdict("right_to_left", never_mirrored_back)
    row = bank.verdict("right_to_left", not_moved_down)
    assert "never mirrored back" in back and "left edge" in back
    assert "not moved down" in row and "still to come" in row


def test_steps_are_counted_however_they_are_written():
    def one_sigmoid(gates, w_left, w_up):
        return walk(gates, w_left, w_up, lstm_with_one_sigmoid)

    assert "takes you 15 steps" in bank.verdict("diagonal_scan", one_sigmoid)


def test_draws_follow_the_probabilities():
    logits = torch.tensor([[0.3, -1.0, 1.2]])
    u = (torch.arange(30_000) + 0.5) / 30_000
    share = draw(logits.expand(len(u), -1), 0.7, u).bincount(minlength=3) / len(u)
    assert torch.allclose(share, (logits[0] / 0.7).softmax(0), atol=1e-4)


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (F, "log_softmax"), (F, "pad")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert "returns a bool" in bank.verdict("skew", lambda x: F.pad(x, (0, x.shape[2] - 1)))
    assert "the logit itself" in bank.verdict("level_log_prob", logit)
    assert "cut the map without moving" in bank.verdict("unskew", cut_only)
