"""Writes quant_weight.txt and quant_act.txt: what the VGG16 QAT course notebook's quantizers, and LSQ, give in PyTorch.

    python make_quant_golden.py [--out DIR]        needs torch, CPU, f32; writes the same bytes each time

The arithmetic is that of quant/grid.h, in the notebook's order of operations: divide by the deviation, divide by the
clip, clamp, multiply by n, round half to even, divide by n, multiply by the clip. The gradients come out of autograd
through functions that state each rule. Activations have no lower clip under ece284, apot and scream (the notebook's
form); under pact and lsq it is 0. pact is a gradient rule here: its order of operations is the notebook's too.

Format: words separated by white space, read with fscanf. A float is its IEEE-754 bits, 8 hex digits: 3f800000 is 1.

    # one line of comment, with the torch version
    input NAME COUNT mean F std F            the tensor that the cases below it quantize
    value COUNT F F ...                      mean 0, std 1: not standardised (LSQ, activations)
    g COUNT F F ...                          dL/d real
    case RULE bits B alpha F scale F factor F d_alpha F exact F size F
    code COUNT I I ...                       integers; real is about code * scale
    real COUNT F F ...                       (k/n * sign) * alpha, the notebook's own order: see below
    d_value COUNT F F ...                    dL/d value
    end                                      after the last case

alpha is the clip (LSQ: the step); scale is alpha / n (LSQ: the step); factor is LSQ's 1/sqrt(COUNT * Qp), else 1.
d_alpha is autograd's dL/d alpha. exact is the sum of the same f32 terms without rounding, times factor, rounded once;
size is the sum of the terms' magnitudes, times factor. Under ece284 and pact the terms are few-bit numbers: d_alpha is
exact and any order of summation finds the same bits. Elsewhere a sum is as good as its order: compare with exact,
within 2^-22 * size.
real can differ from code * scale, which rounds alpha / n first, by one unit in the last place. Zeros are stored as +0.

The values: `exact` has integers times 2^-16 with a mean and a deviation that are exact in f32, chosen so that |x| n
falls on halves and |x| on the clip. `rounded` is an ordinary tensor: its std is the exact one rounded once, its mean
is torch's f32 sum, whose last bits depend on the order of summation (for long tensors on torch's thread count).
Read by tests/test_grid.c and the tests of the quantizers.
"""

import argparse
import math
import os
import struct

import torch

RULES = ["ece284", "apot", "scream"]
MEAN, DEVIATION, UNIT = 640, 4 * 3 * 7 * 127, 2.0**-16  # the deviation divides by 2n of 2, 3, 4 and 8 bits
MODULUS = 2**31 - 1


class WeightRule(torch.autograd.Function):
    """x = u / alpha to sign(x) * round(min(|x|, 1) n) / n * alpha, for standardised weights u."""

    @staticmethod
    def forward(ctx, u, alpha, levels, rule, seen):
        x = u / alpha
        clipped = x.clamp(-1, 1)
        q = clipped.abs().mul(levels).round().div(levels).mul(clipped.sign())
        ctx.save_for_backward(x, q)
        ctx.rule, ctx.seen = rule, seen
        return q * alpha

    @staticmethod
    def backward(ctx, g):
        x, q = ctx.saved_tensors
        outside = (x.abs() > 1.0).float()
        inside = torch.zeros_like(x) if ctx.rule == "ece284" else (q - x) * (1 - outside)
        grad_u = g if ctx.rule == "apot" else g * (1 - outside)
        return grad_u, total(g * (x.sign() * outside + inside), ctx.seen), None, None, None


class ActRule(torch.autograd.Function):
    """x = v / alpha to round(min(x, 1) m) / m * alpha."""

    @staticmethod
    def forward(ctx, v, alpha, levels, rule, seen):
        x = v / alpha
        clipped = x.clamp(0, 1) if rule == "pact" else x.clamp(max=1)
        q = clipped.mul(levels).round().div(levels)
        ctx.save_for_backward(v, x, q, alpha)
        ctx.rule, ctx.seen = rule, seen
        return q * alpha

    @staticmethod
    def backward(ctx, g):
        v, x, q, alpha = ctx.saved_tensors
        if ctx.rule == "pact":
            outside = (v >= alpha).float()
            grad_v = g * ((v >= 0) & (v < alpha)).float()
            return grad_v, total(g * outside, ctx.seen), None, None, None
        outside = (x > 1.0).float()
        inside = torch.zeros_like(x) if ctx.rule == "ece284" else (q - x) * (1 - outside)
        return g * (1 - outside), total(g * (outside + inside), ctx.seen), None, None, None


class LsqRule(torch.autograd.Function):
    """v to round(clamp(v / s, low, high)) * s; the step's gradient is multiplied by factor."""

    @staticmethod
    def forward(ctx, v, step, low, high, factor, seen):
        x = v / step
        code = x.clamp(low, high).round()
        ctx.save_for_backward(x, code)
        ctx.low, ctx.high, ctx.factor, ctx.seen = low, high, factor, seen
        return code * step

    @staticmethod
    def backward(ctx, g):
        x, code = ctx.saved_tensors
        outside = (x <= ctx.low) | (x >= ctx.high)
        slope = torch.where(outside, x.clamp(ctx.low, ctx.high), code - x)
        return g * (~outside).float(), total(g * slope, ctx.seen) * ctx.factor, None, None, None, None


def total(terms, seen):
    """The sum, in f32; the terms are left in the list `seen`."""
    seen.extend(terms.tolist())
    return terms.sum()


def lcg(seed):
    """Yields integers in [0, 2^31 - 1): the files must not depend on torch's generator."""
    while True:
        seed = seed * 48271 % MODULUS
        yield seed


def gradient(count, seed):
    """Signed powers of two and a few zeros: their products with any f32 are exact."""
    choices = [0.0] + [sign * 2.0**-e for e in range(4) for sign in (1, -1)]
    numbers = lcg(seed)
    return torch.tensor([choices[next(numbers) % len(choices)] for _ in range(count)])


def last_four(total, squares, numbers):
    """Four integers with the given sum and sum of squares."""
    bound = math.isqrt(squares // 3)
    while True:
        a, b = (next(numbers) % (2 * bound + 1) - bound for _ in range(2))
        pair, pair_squares = total - a - b, squares - a * a - b * b
        root_squared = 2 * pair_squares - pair * pair
        if root_squared >= 0 and math.isqrt(root_squared) ** 2 == root_squared:
            root = math.isqrt(root_squared)
            return [a, b, (pair + root) // 2, (pair - root) // 2]


def exact_weights(count=45):
    """Deviations from the mean, in UNIT: clip edges, ties of every width and clip, their neighbours, fill-in."""
    s = DEVIATION
    edges = [3 * s, -3 * s - 1, 3 * s + 2, s, -s, s + 1, -s - 1, s // 2, -s // 2, s // 2 + 1, 0, 1, -1]
    ties = [-3 * s // 2, -s // 4, s // 6, -5 * s // 6, s // 12, s // 14, -3 * s // 14, 5 * s // 14, -9 * s // 14,
            s // 28, -3 * s // 28, s // 254, -3 * s // 254, 9 * s // 254, 15 * s // 254, 33 * s // 254, s // 508]
    near = [-s // 2 - 1, s // 14 + 1, 3 * s // 14 - 1]
    fixed = edges + ties + near
    numbers = lcg(1)
    fixed += [next(numbers) % s - s // 2 for _ in range(count - 4 - len(fixed))]
    squares = (count - 1) * s * s - sum(d * d for d in fixed)
    deviations = fixed + last_four(-sum(fixed), squares, numbers)
    weights = torch.tensor([(MEAN + d) * UNIT for d in deviations])
    assert weights.mean().item() == MEAN * UNIT and weights.std().item() == DEVIATION * UNIT
    return weights


def rounded_weights(count=4 * 3 * 3 * 4):
    """Sums of four uniform numbers, about normal, deviation near 0.06."""
    numbers = lcg(2)
    return torch.tensor([0.1 * sum(next(numbers) / MODULUS - 0.5 for _ in range(4)) for _ in range(count)])


def neighbour(value, direction):
    value = torch.tensor(value)
    return torch.nextafter(value, value + direction).item()


def act_values(alpha):
    """33 values: negatives, zeros, the clip and its neighbours, ties of 2, 4 and 8 bits and their neighbours."""

    def tie(levels, j):
        return (2 * j + 1) * alpha / (2 * levels)

    ties = [tie(3, 0), tie(3, 1), tie(3, 2), tie(15, 0), tie(15, 1), tie(15, 6), tie(15, 13),
            tie(255, 0), tie(255, 1), tie(255, 126), tie(255, 200), tie(255, 253)]
    values = [0.0, -0.0, alpha, neighbour(alpha, 1), neighbour(alpha, -1), 2 * alpha, 100 * alpha, 0.375 * alpha]
    values += ties + [neighbour(t, way) for t in (ties[0], ties[3], ties[9]) for way in (1, -1)]
    values += [-x for x in (ties[0], ties[4], ties[8], 0.7 * alpha, alpha, 3 * alpha, 1e-20)]
    return torch.tensor(values)


def lsq_values(step, edges):
    """33 values: the edges and beside them, halves, and the space between."""
    values = [e * step for e in edges] + [(e + way / 4) * step for e in edges for way in (1, -1)]
    values += [j * step / 2 for j in (0, 1, -1, 3, -3, 5, 7, 25, -9, 101)]
    numbers = lcg(3)
    values += [(next(numbers) % 2048 / 64 - 8) * step for _ in range(33 - len(values))]
    return torch.tensor(values)


def bits_of(number):
    number = float(number) + 0.0  # +0.0: no negative zero
    return struct.pack(">f", number).hex()


def array(name, values, form=bits_of):
    words = [name, str(len(values))] + [form(v) for v in values]
    return "\n".join(" ".join(words[i : i + 13]) for i in range(0, len(words), 13)) + "\n"


def write_input(out, name, value, g, mean=0.0, std=1.0):
    out.write(f"input {name} {len(value)} mean {bits_of(mean)} std {bits_of(std)}\n")
    out.write(array("value", value.tolist()) + array("g", g.tolist()))


def write_case(out, rule, bits, alpha, high, factor, value, g, quantize):
    """quantize(value, alpha, terms) gives the real values; its backward leaves the terms of dL/d alpha in terms."""
    terms = []
    value = value.clone().requires_grad_()
    alpha = torch.tensor(alpha, requires_grad=True)
    real = quantize(value, alpha, terms)
    real.backward(g)
    clip = alpha.detach()
    scale = clip if rule == "lsq" else clip / high
    code = (real.detach() / scale).round()
    assert (code * scale - real).abs().max() <= 2.0**-20 * clip * high
    exact = math.fsum(terms) * factor
    size = math.fsum(map(abs, terms)) * factor
    d_alpha = alpha.grad.item()
    assert abs(d_alpha - exact) <= (0 if rule in ("ece284", "pact") else 2.0**-22 * size)
    out.write(f"case {rule} bits {bits} alpha {bits_of(clip)} scale {bits_of(scale)} factor {bits_of(factor)} "
              f"d_alpha {bits_of(d_alpha)} exact {bits_of(exact)} size {bits_of(size)}\n")
    out.write(array("code", code.tolist(), lambda c: str(int(c))) + array("real", real.tolist()))
    out.write(array("d_value", value.grad.tolist()))


def write_weight_clip(out, rule, bits, alpha, weight, g):
    levels = 2 ** (bits - 1) - 1

    def quantize(w, clip, seen):
        mean, std = w.detach().mean(), w.detach().std()
        return WeightRule.apply(w.add(-mean).div(std), clip, levels, rule, seen)

    write_case(out, rule, bits, alpha, levels, 1.0, weight, g, quantize)


def write_act_clip(out, rule, bits, alpha, value, g):
    levels = 2**bits - 1
    write_case(out, rule, bits, alpha, levels, 1.0, value, g,
               lambda v, clip, seen: ActRule.apply(v, clip, levels, rule, seen))


def write_lsq(out, bits, step, low, high, value, g):
    factor = torch.tensor(1 / math.sqrt(len(value) * high)).item()
    write_case(out, "lsq", bits, step, high, factor, value, g,
               lambda v, s, seen: LsqRule.apply(v, s, low, high, factor, seen))


def check_ties(weight):
    """Each width and clip must see a half; without one the rounding rule is not tested."""
    for bits in (2, 3, 4, 8):
        for alpha in (0.5, 1.0, 3.0):
            levels = 2 ** (bits - 1) - 1
            scaled = ((weight - weight.mean()) / weight.std() / alpha).clamp(-1, 1).abs() * levels
            assert (scaled % 1 == 0.5).any(), f"no tie at {bits} bits, alpha {alpha}"


def write_weights(out):
    exact, rounded = exact_weights(), rounded_weights()
    check_ties(exact)
    g = gradient(len(exact), 11)
    write_input(out, "exact", exact, g, exact.mean(), exact.std())
    for rule in RULES:
        for bits in (2, 3, 4, 8):
            for alpha in (0.5, 1.0, 3.0):
                write_weight_clip(out, rule, bits, alpha, exact, g)
    g = gradient(len(rounded), 12)
    write_input(out, "rounded", rounded, g, rounded.mean(), rounded.std())
    write_weight_clip(out, "ece284", 4, 1.0, rounded, g)
    write_weight_clip(out, "scream", 8, 3.0, rounded, g)
    for step in (0.25, 0.1):
        value = lsq_values(step, (-128, 127, -8, 7, -2, 1))
        g = gradient(len(value), 13)
        write_input(out, f"lsq_{step}", value, g)
        for bits in (2, 3, 4, 8):
            write_lsq(out, bits, step, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, value, g)


def write_acts(out):
    for alpha in (0.5, 1.0, 3.0):
        value = act_values(alpha)
        g = gradient(len(value), 14)
        write_input(out, f"clip_{alpha}", value, g)
        for rule in RULES + ["pact"]:
            for bits in (2, 4, 8):
                write_act_clip(out, rule, bits, alpha, value, g)
    for step in (0.25, 0.1):
        value = lsq_values(step, (0, 3, 15, 255))
        g = gradient(len(value), 15)
        write_input(out, f"lsq_{step}", value, g)
        for bits in (2, 4, 8):
            write_lsq(out, bits, step, 0, 2**bits - 1, value, g)


def main():
    parser = argparse.ArgumentParser(description="Writes the golden values of the quantizers.")
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    folder = parser.parse_args().out
    torch.set_num_threads(1)
    version = torch.__version__.split("+")[0]
    for name, write in (("quant_weight.txt", write_weights), ("quant_act.txt", write_acts)):
        with open(os.path.join(folder, name), "w", newline="\n") as out:
            out.write(f"# made by make_quant_golden.py with torch {version}; floats are IEEE-754 bits\n")
            write(out)
            out.write("end\n")


if __name__ == "__main__":
    main()
