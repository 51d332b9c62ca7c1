"""One training step of a capsule network in PyTorch: the peer detent's own step is timed against.

The networks are the two of the Q-CapsNets code for 28x28x1, each with its decoder, in float:

    shallowcaps  9x9 convolution, ReLU; 9x9 convolution to 32 types of 8-dimensional capsules; 1152 of them vote for 10
    deepcaps     3x3 convolution, ReLU, batch norm; four residual blocks of convolutional capsules, the last with 3-D
                 routing; the capsules of the last two vote for 10

    routing: b = 0; then c = softmax(b), s = sum over inputs of c * votes + bias, v = squash(s), b += <votes, v>
    squash:  v = s * |s| / (1 + |s|^2)
    loss:    margin + 0.0005 * squared error of the image that the true class's capsule decodes to

--variant broadcast writes these as such code writes them: votes as a broadcast product (eight times their size) and a
sum, routing as the loop above with its last, unused agreement; autograd goes through all iterations. --variant einsum
has the same values as matrix products, without what is unused. The data is synthetic: the time of a step does not depend
on what the pixels show.

    python capsnet_torch.py --model shallowcaps --variant einsum --batch 100 --threads 2 --json
"""

import argparse
import math

import torch
from torch import nn
from torch.nn import functional as F

import step_timing

CLASSES, TYPES = 10, 32


def squash(s, axis):
    length = s.norm(dim=axis, keepdim=True)
    return s * length / (1 + length * length)


def route_broadcast(votes, bias, iterations, joint):
    """votes [N,I,J,D,H,W] -> [N,J,D,H,W]; the softmax is over J, or over J, H and W."""
    logits = torch.zeros_like(votes[:, :, :, 0])
    for _ in range(iterations):
        coupling = logits.flatten(2).softmax(2).view_as(logits) if joint else logits.softmax(2)
        s = (coupling.unsqueeze(3) * votes).sum(1) + bias
        v = squash(s, 2)
        logits = logits + (votes * v.unsqueeze(1)).sum(3)
    return v


def route_einsum(votes, bias, iterations, joint):
    outputs = votes[0, 0, :, 0].numel() if joint else votes.shape[2]
    v = squash(votes.sum(1) / outputs + bias, 2)  # the first softmax is of zeros
    logits = 0
    for _ in range(iterations - 1):
        logits = logits + torch.einsum("nijdhw,njdhw->nijhw", votes, v)
        coupling = logits.flatten(2).softmax(2).view_as(logits) if joint else logits.softmax(2)
        v = squash(torch.einsum("nijhw,nijdhw->njdhw", coupling, votes) + bias, 2)
    return v


def votes_broadcast(x, weight):
    """x [N,I,A], weight [I,A,J*D] -> [N,I,J*D]."""
    return (x.unsqueeze(3) * weight).sum(2)


def votes_einsum(x, weight):
    return torch.einsum("nia,iao->nio", x, weight)


VARIANTS = {"broadcast": (votes_broadcast, route_broadcast), "einsum": (votes_einsum, route_einsum)}


def as_list(v):
    """[N,J,D,H,W] -> [N,(J H W),D]"""
    return v.permute(0, 1, 3, 4, 2).reshape(v.shape[0], -1, v.shape[2])


class ClassCapsules(nn.Module):
    def __init__(self, inputs, dim, variant):
        super().__init__()
        self.dim = dim
        self.votes, self.route = VARIANTS[variant]
        bound = math.sqrt(6 / (8 * CLASSES * dim))
        self.weight = nn.Parameter(torch.empty(inputs, 8, CLASSES * dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.full((CLASSES, dim, 1, 1), 0.1))

    def forward(self, x):
        votes = self.votes(x, self.weight).reshape(x.shape[0], x.shape[1], CLASSES, self.dim, 1, 1)
        return self.route(votes, self.bias, 3, joint=False).flatten(2)


class ShallowCaps(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.route = VARIANTS[variant][1]
        self.conv = nn.Conv2d(1, 256, 9)
        self.primary = nn.Conv2d(256, TYPES * 8, 9, stride=2, bias=False)
        self.primary_bias = nn.Parameter(torch.zeros(TYPES, 8, 1, 1))
        self.digit = ClassCapsules(TYPES * 6 * 6, 16, variant)

    def forward(self, x):
        votes = self.primary(self.conv(x).relu()).unflatten(1, (1, TYPES, 8))
        return self.digit(as_list(self.route(votes, self.primary_bias, 1, joint=False)))


class ConvCapsules(nn.Module):
    """A convolution to 32 types of capsules of `dim` values, and squash; [N,32*dim,H,W] in and out."""

    def __init__(self, channels, dim, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, TYPES * dim, 3, stride, 1)
        self.dim = dim
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x):
        return squash(self.conv(x).unflatten(1, (TYPES, self.dim)), 2).flatten(1, 2)


class RoutedCapsules(nn.Module):
    """Each input type votes for all output types by the same convolution; the softmax is over the whole output map."""

    def __init__(self, dim, variant):
        super().__init__()
        self.conv = nn.Conv2d(dim, TYPES * dim, 3, padding=1)
        self.bias = nn.Parameter(torch.full((TYPES, dim, 1, 1), 0.1))
        self.dim, self.route = dim, VARIANTS[variant][1]
        nn.init.kaiming_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x):
        votes = self.conv(x.unflatten(1, (TYPES, self.dim)).flatten(0, 1))
        votes = votes.unflatten(1, (TYPES, self.dim)).unflatten(0, (-1, TYPES))
        return self.route(votes, self.bias, 3, joint=True).flatten(1, 2)


class Block(nn.Module):
    def __init__(self, channels, dim, skip):
        super().__init__()
        self.l1 = ConvCapsules(channels, dim, stride=2)
        self.l2 = ConvCapsules(TYPES * dim, dim)
        self.l3 = ConvCapsules(TYPES * dim, dim)
        self.skip = skip

    def forward(self, x):
        x = self.l1(x)
        return self.l3(self.l2(x)) + self.skip(x)


class DeepCaps(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.conv = nn.Conv2d(1, 128, 3, padding=1)
        self.norm = nn.BatchNorm2d(128, eps=1e-3, momentum=0.99)
        self.block1 = Block(128, 4, ConvCapsules(TYPES * 4, 4))
        self.block2 = Block(TYPES * 4, 8, ConvCapsules(TYPES * 8, 8))
        self.block3 = Block(TYPES * 8, 8, ConvCapsules(TYPES * 8, 8))
        self.block4 = Block(TYPES * 8, 8, RoutedCapsules(8, variant))
        self.classes = ClassCapsules(TYPES * (4 * 4 + 2 * 2), 32, variant)

    def forward(self, x):
        third = self.block3(self.block2(self.block1(self.norm(self.conv(x).relu()))))
        fourth = self.block4(third)
        return self.classes(torch.cat([as_list(y.unflatten(1, (TYPES, 8))) for y in (third, fourth)], 1))


def fc_decoder():
    return nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 784),
                         nn.Sigmoid())


def conv_decoder():
    return nn.Sequential(nn.Linear(32, 784), nn.ReLU(), nn.Unflatten(1, (16, 7, 7)), nn.BatchNorm2d(16, momentum=0.8),
                         nn.ConvTranspose2d(16, 64, 3, 1, 1), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1),
                         nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.ConvTranspose2d(16, 1, 3, 1, 1), nn.ReLU())


class WithDecoder(nn.Module):
    """Lengths of the class capsules, and the image that the true one decodes to."""

    def __init__(self, network, decoder):
        super().__init__()
        self.network, self.decoder = network, decoder

    def forward(self, x, labels):
        v = self.network(x)
        true = v[torch.arange(v.shape[0], device=v.device), labels]
        return v.norm(dim=2), self.decoder(true)


def loss_of(lengths, decoded, images, labels):
    target = F.one_hot(labels, CLASSES).to(lengths.dtype)
    margin = target * (0.9 - lengths).relu() ** 2 + 0.5 * (1 - target) * (lengths - 0.1).relu() ** 2
    error = (images.flatten(1) - decoded.flatten(1)) ** 2
    return (margin.sum(1) + 0.0005 * error.sum(1)).mean()


def build(args):
    torch.manual_seed(args.seed)
    shallow = args.model == "shallowcaps"
    network = ShallowCaps(args.variant) if shallow else DeepCaps(args.variant)
    model = WithDecoder(network, fc_decoder() if shallow else conv_decoder()).to(args.device)
    images = torch.rand(args.batch, 1, 28, 28, device=args.device)
    labels = torch.randint(0, CLASSES, (args.batch,), device=args.device)
    return model, images, labels


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times one training step of a capsule network in PyTorch.")
    parser.add_argument("--model", choices=["shallowcaps", "deepcaps"], default="shallowcaps")
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="broadcast")
    step_timing.add_arguments(parser, batch=100)
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    model, images, labels = build(args)
    n_parameters = sum(p.numel() for p in model.network.parameters())
    model, images = step_timing.prepare(model.train(), images, args)
    fused = {"fused": True} if args.mode != "eager" else {}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **fused)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.96 ** (1 / 2000))
    train = step_timing.make_step(lambda: loss_of(*model(images, labels), images, labels), optimizer, args)

    def step():
        loss = train()
        schedule.step()
        return loss

    step_timing.run(step, args, {"model": args.model, "variant": args.variant, "batch": args.batch,
                                 "parameters": n_parameters})


if __name__ == "__main__":
    main()
