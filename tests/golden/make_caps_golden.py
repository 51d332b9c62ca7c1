"""Writes caps_golden.txt: what capsule networks and their losses give in double precision, and Q-CapsNets' rounding.

    python make_caps_golden.py [--out DIR]        needs torch, CPU, f64; half a minute

Three networks with the decoders they train with: ShallowCapsNet (28 x 28 x 1) with the fully connected one, DeepCaps
(28 x 28 x 1 and 64 x 64 x 3) with the convolutional ones. The forward pass is written from the papers and the layer
tables of the published code, with its formulas; the gradients are autograd's. Nothing is trained: parameters and images
are an integer hash (caps_hash.h states it for C), so a test makes them anew instead of reading megabytes:

    u(count, seed)[k - 1], k = 1..count:  h = (k * 2654435761 + seed * 40503) mod 2^32;  h ^= h >> 15;
        h = (h * 2246822519) mod 2^32;  h ^= h >> 13;  the value is h / 2^32 - 1/2, rounded to f32

    parameter = offset + scale * u(count, seed), in f32, elements in PyTorch's order (K C R S; FC capsules: capsule,
        atom, class * dim + d; transposed convolutions: C K R S)
    images [2, C, H, W] = 1/2 + u(count, 9), in f32; labels 3 and 7

The quantized forward has the published formulas: a width counts fractional bits, nothing is clamped, round_to_nearest
adds step / 2 steps, where 1/2 was meant, before it cuts, and cuts weights without. Batch normalisation's gamma and beta
are weights. A value that f32 puts on the other side of a code changes what follows: among these cases, f32 arithmetic
leaves the lengths of ShallowCapsNet as they are, and moves DeepCaps' by up to 0.02; logarithmic ones could move by 0.6.

Format: words separated by single spaces, one set of values a line, so fscanf reads it. Real numbers have 12 digits.

    # one line of comment
    pair NETWORK DECODER
    param NAME SEED OFFSET SCALE RANK D1 D2 ..    in PyTorch's order; the decoder's follow, their seeds start at 500
    lengths0 V x 10                               evaluation: lengths of the classes' capsules, of image 0, of image 1
    lengths1 V x 10
    output V x 4                                  evaluation: image 0, class 0, the first four atoms
    train_lengths0 V x 10                         training: batch statistics in the normalisation
    train_lengths1 V x 10
    reconstruction V x 4 SUM                      training: image 0's first four pixels (of channel 0); sum of all
    normal TOTAL MARGIN RECONSTRUCTION            losses, means of the batch; TOTAL = MARGIN + 0.0005 RECONSTRUCTION
    hard TOTAL MARGIN RECONSTRUCTION
    grad NAME L2 SUM FIRST SECOND                 of normal TOTAL; norm, sum, two elements (0 where there is one)
    quantized ROUNDING WEIGHT ACT ROUTING V x 10  lengths of image 0 with these fractional bits, evaluation
    quantized_output ROUNDING WEIGHT ACT ROUTING V x 4
    end                                           after the last pair
"""

import argparse
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

ROUNDINGS = ("truncation", "round_to_nearest", "logarithmic")
WIDTHS = ((7, 8, 6), (5, 6, 4))
LABELS = (3, 7)
RECONSTRUCTION_SCALE = 0.0005


def hash_uniform(count, seed):
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & mask
    h ^= h >> np.uint64(13)
    return (h / 2.0**32 - 0.5).astype(np.float32)


class Parameters:
    """Named tensors in PyTorch's order; each is the hash of its place in it."""

    def __init__(self, seed):
        self.seed, self.rules, self.tensors = seed, [], {}

    def add(self, name, shape, offset, scale):
        seed = self.seed + len(self.rules)
        scale = np.float32(scale)
        values = np.float32(offset) + scale * hash_uniform(math.prod(shape), seed)
        self.rules.append((name, seed, offset, scale, shape))
        self.tensors[name] = torch.from_numpy(values.astype(np.float64)).reshape(shape).requires_grad_()

    def weight(self, name, shape, fan):
        self.add(name, shape, 0, 2 * math.sqrt(6 / fan))

    def bias(self, name, shape):
        self.add(name, shape, 0, 0.2)

    def layer(self, name, shape, fan=None):
        """A weight, its first dimension being the outputs, and a bias."""
        self.weight(f"{name}.weight", shape, fan or math.prod(shape[1:]))
        self.bias(f"{name}.bias", shape[:1])

    def transposed(self, name, c, k, size):
        self.weight(f"{name}.weight", (c, k, size, size), 9 * c)
        self.bias(f"{name}.bias", (k,))

    def batch_norm(self, name, channels):
        self.add(f"{name}.weight", (channels,), 1, 0.5)
        self.bias(f"{name}.bias", (channels,))


class Exact:
    """Rounds nothing: the full-precision network."""

    def weight(self, x):
        return x

    act = routing = weight


class Published:
    """Q-CapsNets' rounding as first published; widths are fractional bits. Weights are rounded as stored, in f32."""

    def __init__(self, scheme, widths):
        self.scheme, (self.n_weight, self.n_act, self.n_routing) = scheme, widths

    def round(self, x, bits, is_weight):
        unit = 2.0**bits
        if self.scheme == "logarithmic":
            power = 2.0 ** torch.round(torch.log2((x.abs() + 1e-8).double()))
            return torch.sign(x) * torch.where(power < 1 / unit, torch.zeros_like(power), power.clamp(max=2.0**10))
        offset = 0.5 / unit if self.scheme == "round_to_nearest" and not is_weight else 0.0
        return torch.floor(x * unit + offset) / unit

    def weight(self, x):
        return self.round(x.float(), self.n_weight, True).double()

    def act(self, x):
        return self.round(x, self.n_act, False)

    def routing(self, x):
        return self.round(x, self.n_routing, False)


def squash(s, axis):
    n = torch.linalg.vector_norm(s, dim=axis, keepdim=True)
    return s * n / (1 + n * n)


def route(votes, bias, iterations, shared, q):
    """votes [N, in, out, dim, ...] to capsules [N, out, dim, ...]; the coupling sums to 1 over the axes `shared`."""
    votes = q.act(votes)
    logits = torch.zeros_like(votes[:, :, :, :1])
    for _ in range(iterations):
        power = torch.exp(logits - logits.amax(shared, keepdim=True))
        coupling = q.act(power / power.sum(shared, keepdim=True))
        s = q.routing((coupling * votes).sum(1) + bias)
        v = q.act(squash(s, 2))
        logits = q.routing(logits + (votes * v.unsqueeze(1)).sum(3, keepdim=True))
    return v


def flat_capsules(x, dim):
    """[N, types * dim, H, W] to [N, capsules, dim], numbered type, row, column."""
    n, channels, h, w = x.shape
    return x.reshape(n, channels // dim, dim, h, w).permute(0, 1, 3, 4, 2).reshape(n, -1, dim)


def class_capsules(x, weight, bias, q):
    """x [N, in, D], weight [in, D, classes * dim]."""
    votes = torch.einsum("nia,iao->nio", x, weight).unflatten(2, bias.shape)
    return route(votes, bias, 3, (2,), q)


def batch_norm(x, weight, bias, eps, training):
    """Evaluation has the running statistics of the start: mean 0, variance 1."""
    mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)) if training else (0 * bias, 0 * bias + 1)
    factor = weight / torch.sqrt(var + eps)
    return (x - mean[:, None, None]) * factor[:, None, None] + bias[:, None, None]


class Shallow:
    network, decoder, image = "shallowcaps", "fc", (1, 28, 28)

    def __init__(self):
        p = self.model = Parameters(100)
        p.layer("conv.conv", (256, 1, 9, 9))
        p.bias("primary.bias", (32, 8, 1, 1))
        p.weight("primary.conv3d.weight", (256, 256, 9, 9), 256 * 81)
        p.weight("digit.weight", (1152, 8, 160), 8)
        p.bias("digit.bias", (10, 16))
        p = self.decode_parameters = Parameters(500)
        p.layer("fc1", (512, 16))
        p.layer("fc2", (1024, 512))
        p.layer("fc3", (784, 1024))

    def forward(self, x, training, q):
        p = {name: q.weight(t) for name, t in self.model.tensors.items()}
        x = q.act(F.relu(F.conv2d(x, p["conv.conv.weight"], p["conv.conv.bias"])))
        votes = F.conv2d(x, p["primary.conv3d.weight"], stride=2).unflatten(1, (1, 32, 8))
        x = route(votes, p["primary.bias"], 1, (2,), q)
        return class_capsules(flat_capsules(x.flatten(1, 2), 8), p["digit.weight"], p["digit.bias"], q)

    def decode(self, x):
        p = self.decode_parameters.tensors
        x = F.relu(F.linear(x, p["fc1.weight"], p["fc1.bias"]))
        x = F.relu(F.linear(x, p["fc2.weight"], p["fc2.bias"]))
        return torch.sigmoid(F.linear(x, p["fc3.weight"], p["fc3.bias"])).reshape(-1, 1, 28, 28)


class Deep:
    network = "deepcaps"

    def __init__(self, wh, channels):
        self.decoder, self.image = f"conv{wh}", (channels, wh, wh)
        p = self.model = Parameters(100)
        p.layer("conv1.conv", (128, channels, 3, 3))
        p.batch_norm("conv1.batchnorm", 128)
        for b, (c, k) in enumerate(((128, 128), (128, 256), (256, 256), (256, 256)), 1):
            p.layer(f"block{b}.l1.conv", (k, c, 3, 3))
            p.layer(f"block{b}.l2.conv", (k, k, 3, 3))
            p.layer(f"block{b}.l3.conv", (k, k, 3, 3))
            if b < 4:
                p.layer(f"block{b}.l_skip.conv", (k, k, 3, 3))
        p.bias("block4.l_skip.bias", (32, 8, 1, 1))
        p.layer("block4.l_skip.conv", (256, 1, 8, 3, 3))
        h3, h4 = ((4, 2), (8, 4))[wh == 64]
        p.weight("capsLayer.weight", (32 * (h3 * h3 + h4 * h4), 8, 320), 8)
        p.bias("capsLayer.bias", (10, 32))
        self.decode_parameters = Parameters(500)
        self.transposed = self.transposed_28(channels) if wh == 28 else self.transposed_64(channels)
        p = self.decode_parameters
        p.layer("lin", (16 * self.start**2, 32))
        p.batch_norm("bn", 16)
        for i, (c, k, size, _) in enumerate(self.transposed, 1):
            p.transposed(f"dc{i}", c, k, size)

    def transposed_28(self, channels):
        self.start = 7
        grow = {"stride": 2, "output_padding": 1}
        return ((16, 64, 3, {}), (64, 32, 3, grow), (32, 16, 3, grow), (16, channels, 3, {}))

    def transposed_64(self, channels):
        self.start = 8
        grow = {"stride": 2}
        return ((16, 64, 3, {}), (64, 32, 4, grow), (32, 16, 4, grow), (16, 8, 4, grow), (8, channels, 3, {}))

    def forward(self, x, training, q):
        p = {name: q.weight(t) for name, t in self.model.tensors.items()}

        def conv_capsules(x, name, dim, stride=1):
            x = q.act(F.conv2d(x, p[f"{name}.conv.weight"], p[f"{name}.conv.bias"], stride, padding=1))
            return q.act(squash(x.unflatten(1, (32, dim)), 2)).flatten(1, 2)

        def routed_skip(x, name):
            n, _, h, w = x.shape
            weight, bias = p[f"{name}.conv.weight"].squeeze(1), p[f"{name}.conv.bias"]
            votes = F.conv2d(x.reshape(n * 32, 8, h, w), weight, bias, padding=1).reshape(n, 32, 32, 8, h, w)
            return route(votes, p[f"{name}.bias"], 3, (2, 4, 5), q).flatten(1, 2)

        def cell(x, name, dim, skip):
            x = conv_capsules(x, f"{name}.l1", dim, 2)
            y = conv_capsules(conv_capsules(x, f"{name}.l2", dim), f"{name}.l3", dim)
            return y + skip(x, f"{name}.l_skip")

        x = F.relu(F.conv2d(x, p["conv1.conv.weight"], p["conv1.conv.bias"], padding=1))
        x = q.act(batch_norm(x, p["conv1.batchnorm.weight"], p["conv1.batchnorm.bias"], 1e-3, training))
        for name, dim in (("block1", 4), ("block2", 8), ("block3", 8)):
            x = cell(x, name, dim, lambda x, skip, dim=dim: conv_capsules(x, skip, dim))
        capsules = [flat_capsules(x, 8), flat_capsules(cell(x, "block4", 8, routed_skip), 8)]
        return class_capsules(torch.cat(capsules, 1), p["capsLayer.weight"], p["capsLayer.bias"], q)

    def decode(self, x):
        p = self.decode_parameters.tensors
        x = F.relu(F.linear(x, p["lin.weight"], p["lin.bias"])).reshape(-1, 16, self.start, self.start)
        x = batch_norm(x, p["bn.weight"], p["bn.bias"], 1e-5, True)
        for i, (_, _, _, how) in enumerate(self.transposed, 1):
            x = F.conv_transpose2d(x, p[f"dc{i}.weight"], p[f"dc{i}.bias"], padding=1, **how)
        return F.relu(x)


def margin_loss(lengths, high, low, scale):
    true = F.one_hot(torch.tensor(LABELS), 10)
    missed, wrong = F.relu(high - lengths) ** 2, F.relu(lengths - low) ** 2
    return (true * missed + scale * (1 - true) * wrong).sum(1).mean()


def numbers(values):
    return " ".join(f"{torch.as_tensor(v).item():.12g}" for v in values)


def write_gradient(out, name, gradient):
    flat = gradient.flatten()
    second = flat[1] if len(flat) > 1 else 0
    out.write(f"grad {name} {numbers((flat.norm(), flat.sum(), flat[0], second))}\n")


def write_training(out, pair, images):
    capsules = pair.forward(images, True, Exact())
    lengths = capsules.norm(dim=2)
    pixels = pair.decode(capsules[torch.arange(2), list(LABELS)])
    reconstruction = ((images - pixels) ** 2).sum((1, 2, 3)).mean()
    out.write(f"train_lengths0 {numbers(lengths[0])}\ntrain_lengths1 {numbers(lengths[1])}\n")
    out.write(f"reconstruction {numbers(pixels[0].flatten()[:4])} {numbers([pixels.sum()])}\n")
    losses = {}
    for name, constants in (("normal", (0.9, 0.1, 0.5)), ("hard", (0.95, 0.05, 0.8))):
        margin = margin_loss(lengths, *constants)
        losses[name] = margin + RECONSTRUCTION_SCALE * reconstruction
        out.write(f"{name} {numbers((losses[name], margin, reconstruction))}\n")
    losses["normal"].backward()
    for parameters in (pair.model, pair.decode_parameters):
        for name, tensor in parameters.tensors.items():
            write_gradient(out, name, tensor.grad)


def write_pair(out, pair):
    out.write(f"pair {pair.network} {pair.decoder}\n")
    for parameters in (pair.model, pair.decode_parameters):
        for name, seed, offset, scale, shape in parameters.rules:
            dims = " ".join(map(str, (len(shape), *shape)))
            out.write(f"param {name} {seed} {offset} {scale:.9g} {dims}\n")
    shape = (2, *pair.image)
    pixels = np.float32(0.5) + hash_uniform(math.prod(shape), 9)
    images = torch.from_numpy(pixels.astype(np.float64)).reshape(shape)
    with torch.no_grad():
        capsules = pair.forward(images, False, Exact())
        lengths = capsules.norm(dim=2)
        out.write(f"lengths0 {numbers(lengths[0])}\nlengths1 {numbers(lengths[1])}\n")
        out.write(f"output {numbers(capsules[0, 0, :4])}\n")
    write_training(out, pair, images)
    with torch.no_grad():
        for rounding in ROUNDINGS:
            for widths in WIDTHS:
                capsules = pair.forward(images, False, Published(rounding, widths))
                name = f"{rounding} " + " ".join(map(str, widths))
                out.write(f"quantized {name} {numbers(capsules[0].norm(dim=1))}\n")
                out.write(f"quantized_output {name} {numbers(capsules[0, 0, :4])}\n")


def main():
    parser = argparse.ArgumentParser(description="Writes the golden values of the capsule networks.")
    parser.add_argument("--out", default=os.path.dirname(os.path.abspath(__file__)))
    folder = parser.parse_args().out
    torch.set_num_threads(1)
    version = torch.__version__.split("+")[0]
    with open(os.path.join(folder, "caps_golden.txt"), "w", newline="\n") as out:
        out.write(f"# made by make_caps_golden.py with torch {version}, double precision\n")
        for pair in (Shallow(), Deep(28, 1), Deep(64, 3)):
            write_pair(out, pair)
        out.write("end\n")


if __name__ == "__main__":
    main()
