"""The checks of this lesson under test: a bank of wrong answers, each with the words that should come back."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical

from course.checking import core
from course.checking.bank import Bank, ChecksOfALesson
from course.checks import Unanswered, Wrong

bank = Bank(
    "pixelcnn",
    steps="conditionals mask masked_conv receptive_field blind_spot look_up nll sample complete "
    "colour_mask",
    results={"conditionals": 4, "nll": 2},
    may_be_integers=("mask", "colour_mask"),
    takes_no_tensors=("mask", "sample"),
    random=("sample", "complete"),
)
wrong, right = bank.wrong, bank.right


# ---------------------------------------------------------------- 1. conditionals


@right("conditionals")
def conditionals(table):
    joint = [table.sum(dim=(1, 2, 3)), table.sum(dim=(2, 3)), table.sum(dim=3), table]
    return [p / p.sum(dim=-1, keepdim=True) for p in joint]


@right("conditionals")
def conditionals_by_loops(table):
    factors = []
    for i in range(4):
        factor = torch.zeros([2] * (i + 1), dtype=torch.float64)
        for pixels in itertools.product((0, 1), repeat=i + 1):
            factor[pixels] = table[pixels].sum() / table[pixels[:-1]].sum()
        factors.append(factor)
    return tuple(factors)


@wrong("conditionals", "joint probabilities")
def never_divides(table):
    return table.sum((1, 2, 3)), table.sum((2, 3)), table.sum(3), table


@wrong("conditionals", "a sum over the first axis")
def divides_along_the_first_axis(table):
    return [p / p.sum(0) for p in never_divides(table)]


@wrong("conditionals", "broadcasting pairs the wrong pixels")
def divides_without_lining_up(table):
    a, b, c, d = never_divides(table)
    return a, b / a, c / b, d / c


@wrong("conditionals", "marginals")
def marginals(table):
    return table.sum((1, 2, 3)), table.sum((0, 2, 3)), table.sum((0, 1, 3)), table.sum((0, 1, 2))


@wrong("conditionals", "condition on the later pixels")
def from_the_last_pixel(table):
    return conditionals(table.permute(3, 2, 1, 0))


@wrong("conditionals", "only on the pixel just before")
def markov(table):
    pairs = [table.sum((2, 3)), table.sum((0, 3)), table.sum((0, 1))]
    return [table.sum((1, 2, 3))] + [p / p.sum(1, keepdim=True) for p in pairs]


@wrong("conditionals", "logarithms")
def log_conditionals(table):
    return [p.log() for p in conditionals(table)]


@wrong("conditionals", "does not sum to one")
def forgets_the_last_division(table):
    return [*conditionals(table)[:3], table]


@wrong("conditionals", "returns 3: return 4 tensors")
def forgets_the_last_factor(table):
    return conditionals(table)[:3]


# ---------------------------------------------------------------- 2. mask


@right("mask")
def mask(kind, size):
    allowed = torch.ones(size, size)
    allowed[size // 2, size // 2 + (kind == "B") :] = 0
    allowed[size // 2 + 1 :] = 0
    return allowed


@right("mask")
def mask_of_booleans(kind, size):
    number = torch.arange(size * size).reshape(size, size)
    centre = size * size // 2
    return number < centre if kind == "A" else number <= centre


@right("mask")
def mask_in_double(kind, size):
    return mask(kind, size).double()


@wrong("mask", "keeps the centre: that is mask B")
def always_b(kind, size):
    return mask("B", size)


@wrong("mask", "hides the centre: that is mask A")
def always_a(kind, size):
    return mask("A", size)


@wrong("mask", "wrong way round")
def swapped(kind, size):
    return mask("B" if kind == "A" else "A", size)


@wrong("mask", "column by column")
def by_columns(kind, size):
    return mask(kind, size).T


@wrong("mask", "keeps what comes later")
def the_future(kind, size):
    return mask(kind, size).flip(0, 1)


@wrong("mask", "below the centre row")
def keeps_the_rows_below(kind, size):
    allowed = torch.ones(size, size)
    allowed[size // 2, size // 2 + (kind == "B") :] = 0
    return allowed


@wrong("mask", "to the right of the centre")
def keeps_the_whole_row(kind, size):
    allowed = torch.ones(size, size)
    allowed[size // 2 + 1 :] = 0
    return allowed


@wrong("mask", "part of the rows above")
def upper_left_quarter(kind, size):
    allowed = torch.zeros(size, size)
    allowed[: size // 2 + 1, : size // 2 + 1] = 1
    allowed[size // 2, size // 2] = float(kind == "B")
    return allowed


@wrong("mask", "to the left of the centre")
def rows_above_only(kind, size):
    allowed = torch.zeros(size, size)
    allowed[: size // 2] = 1
    allowed[size // 2, size // 2] = float(kind == "B")
    return allowed


@wrong("mask", 'right for mask("A", 3), but for mask("A", 5)')
def three_by_three_only(kind, size):
    return mask(kind, 3)


@wrong("mask", "at this size")
def centre_of_three_by_three(kind, size):
    allowed = mask("B", size)
    if kind == "A":
        allowed[1, 1] = 0 if size == 3 else 1
    return allowed


@wrong("mask", "only zeros and ones")
def half_a_centre(kind, size):
    return (mask("A", size) + mask("B", size)) / 2


# ---------------------------------------------------------------- 3. masked_conv


@right("masked_conv")
def masked_conv(x, weight, mask, bias):
    return F.conv2d(x, weight * mask, bias, padding=weight.shape[-1] // 2)


@right("masked_conv")
def masked_conv_by_shifts(x, weight, mask, bias):
    size, (height, width) = len(mask), x.shape[2:]
    x = F.pad(x, [size // 2] * 4)
    out = bias[:, None, None]
    for a, b in itertools.product(range(size), repeat=2):
        shifted = x[:, :, a : a + height, b : b + width]
        out = out + mask[a, b] * torch.einsum("fc,bchw->bfhw", weight[:, :, a, b], shifted)
    return out


@wrong("masked_conv", "the mask has no effect")
def no_mask(x, weight, mask, bias):
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


@wrong("masked_conv", "the image shrinks")
def no_padding(x, weight, mask, bias):
    return F.conv2d(x, weight * mask, bias)


@wrong("masked_conv", "fits a 3 x 3 kernel only")
def padding_of_one(x, weight, mask, bias):
    return F.conv2d(x, weight * mask, bias, padding=1)


@wrong("masked_conv", "the bias is missing")
def no_bias(x, weight, mask, bias):
    return F.conv2d(x, weight * mask, padding="same")


@wrong("masked_conv", "upside down")
def flipped_kernel(x, weight, mask, bias):
    return masked_conv(x, weight.flip((2, 3)), mask.flip((0, 1)), bias)


@wrong("masked_conv", "a mask of your own")
def own_mask(x, weight, mask, bias):
    mask = torch.ones(weight.shape[2:])
    mask[len(mask) // 2, len(mask) // 2 :] = 0
    mask[len(mask) // 2 + 1 :] = 0
    return masked_conv(x, weight, mask, bias)


@wrong("masked_conv", "the border repeats")
def replicated_border(x, weight, mask, bias):
    side = weight.shape[-1] // 2
    return F.conv2d(F.pad(x, (side,) * 4, "replicate"), weight * mask, bias)


@wrong("masked_conv", "keep where it is 0")
def mask_inverted(x, weight, mask, bias):
    return masked_conv(x, weight, 1 - mask, bias)


@wrong("masked_conv", "the optimiser owns the weight")
def overwrites_the_weight(x, weight, mask, bias):
    weight.data *= mask
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


@wrong("masked_conv", "no gradient reaches `weight`")
@torch.no_grad()
def without_gradient(x, weight, mask, bias):
    return masked_conv(x, weight, mask, bias)


@wrong("masked_conv", "the gradient of `weight` is not")
def gradient_through_the_mask(x, weight, mask, bias):
    masked = (
        weight + (weight * mask - weight).detach()
    )  # right values, the gradient of a whole kernel
    return F.conv2d(x, masked, bias, padding=weight.shape[-1] // 2)


# ---------------------------------------------------------------- 4. receptive_field


def gradient_at(net, x, pixel):
    x = x.clone().requires_grad_()
    net(x)[:, :, pixel[0], pixel[1]].sum().backward()
    return x.grad


@right("receptive_field")
def receptive_field(net, x, pixel):
    return gradient_at(net, x, pixel).abs().sum(dim=(0, 1)) > 0


@right("receptive_field")
def receptive_field_by_jacobian(net, x, pixel):
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x)[..., pixel[0], pixel[1]], x)
    return (jacobian != 0).flatten(0, -3).any(dim=0)


@right("receptive_field")
def receptive_field_by_poking(net, x, pixel):
    read = torch.zeros(x.shape[2:], dtype=torch.bool)
    for u, v, c in itertools.product(range(x.shape[2]), range(x.shape[3]), range(x.shape[1])):
        poked = x.clone()
        poked[:, c, u, v] += 3
        read[u, v] |= bool((net(poked) != net(x))[:, :, pixel[0], pixel[1]].any())
    return read


@wrong("receptive_field", "`pixel` is (row, column)")
def column_first(net, x, pixel):
    return receptive_field(net, x, (pixel[1], pixel[0]))


@wrong("receptive_field", "the whole output")
def of_all_outputs(net, x, pixel):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(net(x).sum(), x)[0].abs().sum((0, 1)) != 0


@wrong("receptive_field", "the reverse")
def what_it_reaches(net, x, pixel):
    poked = x.clone()
    poked[:, :, pixel[0], pixel[1]] += 3
    return (net(poked) != net(x)).any(0).any(0)


@wrong("receptive_field", "opposite sign cancel")
def adds_before_abs(net, x, pixel):
    return gradient_at(net, x, pixel).sum((0, 1)).abs() != 0


@wrong("receptive_field", "signed gradients")
def adds_and_asks_for_positive(net, x, pixel):
    return gradient_at(net, x, pixel).sum((0, 1)) > 0


@wrong("receptive_field", "a negative gradient is a dependence")
def positive_gradients_only(net, x, pixel):
    return (gradient_at(net, x, pixel) > 0).any(dim=0).any(dim=0)


@wrong("receptive_field", "the first of the K outputs")
def first_output_only(net, x, pixel):
    return receptive_field(lambda x: net(x)[:, :1], x, pixel)


@wrong("receptive_field", "the first input channel")
def first_channel_only(net, x, pixel):
    return gradient_at(net, x, pixel).abs().sum(0)[0] != 0


@wrong("receptive_field", "the first image")
def first_image_only(net, x, pixel):
    return receptive_field(net, x[:1], pixel)


@wrong("receptive_field", "turn it round")
def not_read(net, x, pixel):
    return gradient_at(net, x, pixel).abs().sum((0, 1)) == 0


@wrong("receptive_field", "leave marks on the caller's images")
def uses_the_callers_images(net, x, pixel):
    x.requires_grad_()
    net(x)[:, :, pixel[0], pixel[1]].sum().backward()
    return x.grad.abs().sum(dim=(0, 1)) != 0


@wrong("receptive_field", "return True or False for each pixel")
def returns_gradients(net, x, pixel):
    return gradient_at(net, x, pixel).abs().sum((0, 1))


# ---------------------------------------------------------------- 5. blind_spot


@right("blind_spot")
def blind_spot(read, pixel):
    number = torch.arange(read.numel()).reshape(read.shape)
    return (number < number[pixel]) & ~read


@right("blind_spot")
def blind_spot_by_slices(read, pixel):
    hidden = torch.zeros_like(read)
    hidden[: pixel[0]] = ~read[: pixel[0]]
    hidden[pixel[0], : pixel[1]] = ~read[pixel[0], : pixel[1]]
    return hidden


@wrong("blind_spot", "count later pixels as blind")
def all_unread(read, pixel):
    return ~read


@wrong("blind_spot", "count the pixel itself")
def with_the_pixel(read, pixel):
    number = torch.arange(read.numel()).reshape(read.shape)
    return (number <= number[pixel]) & ~read


@wrong("blind_spot", "the rows above only")
def rows_above(read, pixel):
    hidden = ~read
    hidden[pixel[0] :] = False
    return hidden


@wrong("blind_spot", "the whole of the pixel's own row")
def rows_above_and_own(read, pixel):
    hidden = ~read
    hidden[pixel[0] + 1 :] = False
    return hidden


@wrong("blind_spot", "what is seen among the earlier")
def seen(read, pixel):
    return blind_spot(~read, pixel)


@wrong("blind_spot", "column by column")
def columns_first(read, pixel):
    return blind_spot(read.T, (pixel[1], pixel[0])).T


@wrong("blind_spot", "all of the earlier pixels")
def all_earlier(read, pixel):
    return blind_spot(torch.zeros_like(read), pixel)


# ---------------------------------------------------------------- 6. look_up


@right("look_up")
def look_up(x, weight, strict):
    rows, side = weight.shape[2], weight.shape[3] // 2
    return F.conv2d(F.pad(x, (side, side, rows - 1 + strict, -int(strict))), weight)


@right("look_up")
def look_up_then_shift(x, weight, strict):
    rows, columns = weight.shape[2:]
    out = F.conv2d(x, weight, padding=(rows - 1, columns // 2))[:, :, : x.shape[2]]
    if strict:
        out = torch.cat([torch.zeros_like(out[:, :, :1]), out[:, :, :-1]], dim=2)
    return out


@wrong("look_up", "`strict` has no effect")
def never_strict(x, weight, strict):
    return look_up(x, weight, False)


@wrong("look_up", "even when `strict` is False")
def always_strict(x, weight, strict):
    return look_up(x, weight, True)


@wrong("look_up", "centred and reads rows below")
def centred(x, weight, strict):
    rows, columns = weight.shape[2:]
    return F.conv2d(x, weight, padding=(rows // 2, columns // 2))[:, :, : x.shape[2]]


@wrong("look_up", "centred before you move it down")
def centred_then_moved(x, weight, strict):
    out = centred(x, weight, strict)
    return F.pad(out, (0, 0, 1, -1)) if strict else out


@wrong("look_up", "rolling wraps around")
def rolled(x, weight, strict):
    out = look_up(x, weight, False)
    return out.roll(1, dims=2) if strict else out


@wrong("look_up", "move the image up")
def moved_up(x, weight, strict):
    rows, side = weight.shape[2], weight.shape[3] // 2
    return F.conv2d(F.pad(x, (side, side, rows - 1 - strict, int(strict))), weight)


@wrong("look_up", "the columns on the left only")
def left_only(x, weight, strict):
    rows, columns = weight.shape[2:]
    return F.conv2d(F.pad(x, (columns - 1, 0, rows - 1 + strict, -int(strict))), weight)


@wrong("look_up", "blank the kernel's last row")
def blanked(x, weight, strict):
    weight = weight.clone()
    if strict:
        weight[:, :, -1] = 0
    return look_up(x, weight, False)


@wrong("look_up", "upside down")
def kernel_flipped(x, weight, strict):
    return look_up(x, weight.flip(2), strict)


@wrong("look_up", "wrong way round")
def strict_inverted(x, weight, strict):
    return look_up(x, weight, not strict)


@wrong("look_up", "reads rows below the pixel")
def pads_below(x, weight, strict):
    rows, side = weight.shape[2], weight.shape[3] // 2
    return F.conv2d(F.pad(x, (side, side, 0, rows - 1)), weight)


@wrong("look_up", "has the shape (2, 3, 6, 5)")
def no_columns_padded(x, weight, strict):
    return F.conv2d(F.pad(x, (0, 0, weight.shape[2] - 1 + strict, -int(strict))), weight)


# ---------------------------------------------------------------- 7. nll


def dims(level):
    return level[0].numel() * math.log(2)


@right("nll")
def nll(logits, level):
    nats = F.cross_entropy(logits, level, reduction="none").flatten(1).sum(1)
    return nats, nats / dims(level)


@right("nll")
def nll_by_categorical(logits, level):
    log_p = Categorical(logits=logits.double().movedim(1, -1)).log_prob(level)
    return [-log_p.sum((1, 2, 3)), -log_p.mean((1, 2, 3)) / math.log(2)]


def with_bits(nats, level):
    return nats, nats / dims(level)


@wrong("nll", "this is the log-likelihood")
def log_likelihood(logits, level):
    return with_bits(-nll(logits, level)[0], level)


@wrong("nll", "average over the pixels")
def mean_over_pixels(logits, level):
    return with_bits(F.cross_entropy(logits, level, reduction="none").flatten(1).mean(1), level)


@wrong("nll", "sum over the batch too")
def sum_over_batch(logits, level):
    return with_bits(F.cross_entropy(logits, level, reduction="sum"), level)


@wrong("nll", "average over the batch too")
def mean_over_batch(logits, level):
    return with_bits(nll(logits, level)[0].mean(), level)


@wrong("nll", "average over everything")
def plain_cross_entropy(logits, level):
    return with_bits(F.cross_entropy(logits, level), level)


@wrong("nll", "one number for each pixel")
def number_a_pixel(logits, level):
    return with_bits(F.cross_entropy(logits, level, reduction="none"), level)


@wrong("nll", "raw logits")
def raw_logits(logits, level):
    return with_bits(-logits.gather(1, level[:, None]).flatten(1).sum(1), level)


@wrong("nll", "wrong axis")
def softmax_over_the_width(logits, level):
    log_p = logits.log_softmax(dim=-1)
    return with_bits(-log_p.gather(1, level[:, None]).flatten(1).sum(1), level)


@wrong("nll", "bits already")
def nats_in_bits(logits, level):
    return with_bits(nll(logits, level)[0] / math.log(2), level)


@wrong("nll", "add up probabilities")
def sum_of_probabilities(logits, level):
    return with_bits(-logits.softmax(1).gather(1, level[:, None]).flatten(1).sum(1), level)


@wrong("nll", "never leaves log-space")
def log_of_softmax(logits, level):
    p = logits.softmax(1).gather(1, level[:, None]).flatten(1)
    return with_bits(-p.log().sum(1), level)


@wrong("nll", "these are nats per dimension")
def nats_a_dimension(logits, level):
    nats = nll(logits, level)[0]
    return nats, nats / level[0].numel()


@wrong("nll", "these are bits per image")
def bits_an_image(logits, level):
    nats = nll(logits, level)[0]
    return nats, nats / math.log(2)


@wrong("nll", "you multiply by ln 2")
def times_ln_2(logits, level):
    nats = nll(logits, level)[0]
    return nats, nats * math.log(2) / level[0].numel()


@wrong("nll", "each colour channel is a dimension")
def bits_a_pixel(logits, level):
    nats = nll(logits, level)[0]
    return nats, nats / level[0, 0].numel() / math.log(2)


@wrong("nll", "count the K levels")
def levels_as_dimensions(logits, level):
    nats = nll(logits, level)[0]
    return nats, nats / logits[0].numel() / math.log(2)


@wrong("nll", "your bits are negative")
def negative_bits(logits, level):
    nats, bits = nll(logits, level)
    return nats, -bits


@wrong("nll", "the number of images")
def bits_over_the_batch(logits, level):
    nats = nll(logits, level)[0]
    return nats, nats / level.numel() / math.log(2)


@wrong("nll", "returns one thing: return 2 tensors, the nats and the bits")
def nats_only(logits, level):
    return nll(logits, level)[0]


# ---------------------------------------------------------------- 8. sample


def raster(shape):
    channels, height, width = shape
    return itertools.product(range(height), range(width), range(channels))


def draw_in(order, logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i, j, c in order:
        level = Categorical(logits=logits_of(x)[:, :, c, i, j]).sample()
        x[:, c, i, j] = level / (levels - 1)
    return x


@right("sample")
def sample(logits_of, n, shape, levels):
    return draw_in(raster(shape), logits_of, n, shape, levels)


@right("sample")
def sample_with_multinomial(logits_of, n, shape, levels):
    x = torch.rand(n, *shape).double().round()  # what is not drawn yet must not matter
    for place in range(math.prod(shape)):
        pixel, c = divmod(place, shape[0])
        i, j = divmod(pixel, shape[2])
        p = logits_of(x)[:, :, c, i, j].softmax(dim=1)
        x[:, c, i, j] = torch.multinomial(p, 1)[:, 0].double() / (levels - 1)
    return x


@wrong("sample", "draw all pixels from one call")
def all_at_once(logits_of, n, shape, levels):
    logits = logits_of(torch.zeros(n, *shape))
    return Categorical(logits=logits.movedim(1, -1)).sample() / (levels - 1)


@wrong("sample", "every call sees an empty image")
def never_fed_back(logits_of, n, shape, levels):
    x, out = torch.zeros(n, *shape), torch.zeros(n, *shape)
    for i, j, c in raster(shape):
        out[:, c, i, j] = Categorical(logits=logits_of(x)[:, :, c, i, j]).sample() / (levels - 1)
    return out


@wrong("sample", "a value is left undrawn")
def last_column_missing(logits_of, n, shape, levels):
    order = [(i, j, c) for i, j, c in raster(shape) if j < shape[2] - 1]
    return draw_in(order, logits_of, n, shape, levels)


@wrong("sample", "the channels of a pixel together")
def channels_together(logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i, j in itertools.product(range(shape[1]), range(shape[2])):
        logits = logits_of(x)[..., i, j].movedim(1, -1)
        x[..., i, j] = Categorical(logits=logits).sample() / (levels - 1)
    return x


@wrong("sample", "from the last value to the first")
def backwards(logits_of, n, shape, levels):
    return draw_in(reversed(list(raster(shape))), logits_of, n, shape, levels)


@wrong("sample", "column by column")
def column_by_column(logits_of, n, shape, levels):
    order = sorted(raster(shape), key=lambda place: (place[1], place[0], place[2]))
    return draw_in(order, logits_of, n, shape, levels)


@wrong("sample", "all of red before green")
def colour_by_colour(logits_of, n, shape, levels):
    order = sorted(raster(shape), key=lambda place: place[2])
    return draw_in(order, logits_of, n, shape, levels)


@wrong("sample", "values do not follow their logits")
def logits_of_the_first_pixel(logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i, j, c in raster(shape):
        x[:, c, i, j] = Categorical(logits=logits_of(x)[:, :, 0, 0, 0]).sample() / (levels - 1)
    return x


@wrong("sample", "you take the most likely level")
def argmax(logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i, j, c in raster(shape):
        x[:, c, i, j] = logits_of(x)[:, :, c, i, j].argmax(dim=1) / (levels - 1)
    return x


@wrong("sample", "draw once for each image")
def one_image_repeated(logits_of, n, shape, levels):
    return sample(logits_of, 1, shape, levels).repeat(n, 1, 1, 1)


@wrong("sample", "as if they were probabilities")
def logits_for_probabilities(logits_of, n, shape, levels):
    x = torch.zeros(n, *shape)
    for i, j, c in raster(shape):
        x[:, c, i, j] = Categorical(probs=logits_of(x)[:, :, c, i, j]).sample() / (levels - 1)
    return x


@wrong("sample", "the levels are not drawn with")
def too_cold(logits_of, n, shape, levels):
    return sample(lambda x: 2 * logits_of(x), n, shape, levels)


@wrong("sample", "divide by levels - 1.")
def raw_levels(logits_of, n, shape, levels):
    return sample(logits_of, n, shape, 2)


@wrong("sample", "you divide by levels: divide by")
def divided_by_levels(logits_of, n, shape, levels):
    return sample(logits_of, n, shape, levels + 1)


@wrong("sample", "never calls `logits_of`")
def noise(logits_of, n, shape, levels):
    return torch.randint(levels, (n, *shape)) / (levels - 1)


@wrong("sample", "returns the shape (1, 2, 2) for n=40")
def one_image_without_its_axis(logits_of, n, shape, levels):
    return sample(logits_of, 1, shape, levels)[0]


# ---------------------------------------------------------------- 9. complete


def fill_in(logits_of, x, levels, keep, known, order=None):
    for i, j, c in order or raster(x.shape[1:]):
        drawn = Categorical(logits=logits_of(x)[:, :, c, i, j]).sample() / (levels - 1)
        x[:, c, i, j] = torch.where(keep[:, c, i, j], known[:, c, i, j], drawn)
    return x


@right("complete")
def complete(logits_of, known, mask, levels):
    return fill_in(logits_of, torch.zeros_like(known), levels, mask, known)


@right("complete")
def complete_in_place_of_the_unknown(logits_of, known, mask, levels):
    x = known.clone()
    for i, j, c in raster(known.shape[1:]):
        unknown = ~mask[:, c, i, j]
        if unknown.any():
            p = logits_of(x)[unknown, :, c, i, j].softmax(1)
            x[unknown, c, i, j] = torch.multinomial(p, 1)[:, 0].to(x) / (levels - 1)
    return x


@wrong("complete", "nothing is drawn")
def returns_the_known(logits_of, known, mask, levels):
    return known.clone()


@wrong("complete", "keep where the mask is False")
def the_other_way_round(logits_of, known, mask, levels):
    return complete(logits_of, known, ~mask, levels)


@wrong("complete", "all missing values from one call")
def completed_at_once(logits_of, known, mask, levels):
    logits = logits_of(torch.where(mask, known, 0))
    drawn = Categorical(logits=logits.movedim(1, -1)).sample() / (levels - 1)
    return torch.where(mask, known, drawn)


@wrong("complete", "draw every value anew")
def forgets_the_known(logits_of, known, mask, levels):
    return sample(logits_of, len(known), known.shape[1:], levels)


@wrong("complete", "lost where the mask has holes")
def asks_the_first_image(logits_of, known, mask, levels):
    return complete(logits_of, known, mask[:1].expand_as(mask), levels)


@wrong("complete", "come back at the end")
def pastes_at_the_end(logits_of, known, mask, levels):
    return torch.where(mask, known, forgets_the_known(logits_of, known, mask, levels))


@wrong("complete", "does not follow from them")
def draws_backwards(logits_of, known, mask, levels):
    order = list(raster(known.shape[1:]))[::-1]
    return fill_in(logits_of, torch.where(mask, known, 0), levels, mask, known, order)


@wrong("complete", "you take the most likely level")
def completes_by_argmax(logits_of, known, mask, levels):
    x = torch.where(mask, known, 0)
    for i, j, c in raster(known.shape[1:]):
        best = logits_of(x)[:, :, c, i, j].argmax(1) / (levels - 1)
        x[:, c, i, j] = torch.where(mask[:, c, i, j], known[:, c, i, j], best)
    return x


@wrong("complete", "changes its argument `known`")
def draws_into_the_known(logits_of, known, mask, levels):
    return fill_in(logits_of, known, levels, mask, known.clone())


# ---------------------------------------------------------------- 10. colour_mask


@right("colour_mask")
def colour_mask(kind, in_group, out_group):
    read = in_group < out_group[:, None] if kind == "A" else in_group <= out_group[:, None]
    return read.float()


@right("colour_mask")
def colour_mask_by_loops(kind, in_group, out_group):
    rows = [[int(i < o or (kind == "B" and i == o)) for i in in_group] for o in out_group]
    return torch.tensor(rows)


@wrong("colour_mask", "a weight is (out, in)")
def rows_are_inputs(kind, in_group, out_group):
    return colour_mask(kind, in_group, out_group).T


@wrong("colour_mask", "lets a colour read itself")
def never_mask_a(kind, in_group, out_group):
    return colour_mask("B", in_group, out_group)


@wrong("colour_mask", "hides a colour from itself")
def never_mask_b(kind, in_group, out_group):
    return colour_mask("A", in_group, out_group)


@wrong("colour_mask", "A and B are the wrong way round")
def a_for_b(kind, in_group, out_group):
    return colour_mask("A" if kind == "B" else "B", in_group, out_group)


@wrong("colour_mask", "the order is reversed")
def blue_first(kind, in_group, out_group):
    return colour_mask(kind, 2 - in_group, 2 - out_group)


@wrong("colour_mask", "hides only the own colour")
def all_but_itself(kind, in_group, out_group):
    if kind == "A":
        return (in_group != out_group[:, None]).float()
    return colour_mask(kind, in_group, out_group)


@wrong("colour_mask", "reads only itself or nothing")
def each_for_itself(kind, in_group, out_group):
    return (in_group == out_group[:, None]).float() * (kind == "B")


@wrong("colour_mask", "the places of the channels")
def triangle(kind, in_group, out_group):
    return torch.ones(len(out_group), len(in_group)).tril(-1 if kind == "A" else 0)


@wrong("colour_mask", "where (6, 3) is wanted")
def always_three_by_three(kind, in_group, out_group):
    return torch.ones(3, 3).tril(-1 if kind == "A" else 0)


# ---------------------------------------------------------------- the bank, applied


class TestChecks(ChecksOfALesson):
    bank = bank


def test_an_answer_for_one_size_is_told_that_the_example_is_right():
    diagnosis = bank.verdict("mask", three_by_three_only)
    assert "Does a number of the example stand in your code?" in diagnosis


def test_functions_of_torch_rebound_by_the_student_do_not_help(monkeypatch):
    for module, name in ((torch, "allclose"), (torch, "equal"), (F, "conv2d"), (F, "log_softmax")):
        monkeypatch.setattr(module, name, lambda *args, **kwargs: True)
    assert "returns a bool" in bank.verdict("masked_conv", masked_conv)
    assert "the mask has no effect" in bank.verdict(
        "masked_conv", lambda x, w, m, b: torch.conv2d(x, w, b, padding="same")
    )
    assert bank.verdict("mask", always_b) is not None


def test_jupyter_shows_a_diagnosis_in_one_line():
    assert Wrong("too bright")._render_traceback_() == [f"{core.NOT_YET} too bright"]

    def sharpen():
        raise Unanswered()

    with pytest.raises(Unanswered) as caught:
        sharpen()
    (line,) = caught.value._render_traceback_()
    assert "`sharpen` is still to be written" in line
    assert issubclass(Wrong, AssertionError) and issubclass(Unanswered, NotImplementedError)
