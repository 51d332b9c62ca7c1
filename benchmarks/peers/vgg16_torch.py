"""One training step of the quantized CIFAR-10 VGG16 in PyTorch: the peer detent's own step is timed against.

The network, the quantizers and their gradients follow the VGG16 QAT course notebook, written the way such a notebook
writes them: one tensor operation per arithmetic step, each materialised.

    weights:      c = clamp((W - mean W) / std W / alpha, -1, 1)
                  Wq = sign(c) * round(|c| n) / n * alpha,  n = 2^(b-1) - 1
    activations:  c = min(X / A, 1)
                  Xq = round(c m) / m * A,  m = 2^b - 1

round is half to even. The gradients pass straight through inside the clip range; a clip value learns from the clipped
elements alone. The data is synthetic, one batch that stays on the device: no image is gathered, cropped or mirrored.
The time of a step does not depend on what the pixels show.

--quantizer brevitas takes that library's quantized convolution instead (brevitas_conv.py), none an ordinary one.

    python vgg16_torch.py --batch 128 --choke 16 --wbits 4 --abits 2 --threads 2 --mode compile --amp bf16
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

import step_timing

PLAN = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


class WeightRound(torch.autograd.Function):
    """Signed uniform rounding of standardised weights to 2n + 1 levels within [-alpha, alpha]."""

    @staticmethod
    def forward(ctx, weight, alpha, levels):
        scaled = weight / alpha
        clipped = scaled.clone().clamp(min=-1, max=1)
        sign = clipped.sign()
        magnitude = clipped.abs()
        rounded = magnitude.mul(levels).round().div(levels)
        ctx.save_for_backward(scaled)
        return rounded.mul(sign) * alpha

    @staticmethod
    def backward(ctx, grad):
        (scaled,) = ctx.saved_tensors
        outside = (scaled.abs() > 1.0).float()
        grad_alpha = (grad * scaled.sign() * outside).sum()
        grad_weight = grad * (1 - outside)
        return grad_weight, grad_alpha, None


class ActivationRound(torch.autograd.Function):
    """Unsigned uniform rounding of activations to m steps of A / m; clipped above, not below."""

    @staticmethod
    def forward(ctx, x, alpha, levels):
        scaled = x / alpha
        clipped = scaled.clone().clamp(max=1)
        rounded = clipped.mul(levels).round().div(levels)
        ctx.save_for_backward(scaled)
        return rounded * alpha

    @staticmethod
    def backward(ctx, grad):
        (scaled,) = ctx.saved_tensors
        outside = (scaled > 1.0).float()
        grad_alpha = (grad * outside).sum()
        grad_x = grad * (1 - outside)
        return grad_x, grad_alpha, None


class WeightQuantizer(nn.Module):
    def __init__(self, bits):
        super().__init__()
        self.levels = 2 ** (bits - 1) - 1
        self.wgt_alpha = nn.Parameter(torch.tensor(3.0))

    def forward(self, weight):
        mean = weight.detach().mean()
        std = weight.detach().std()
        return WeightRound.apply(weight.add(-mean).div(std), self.wgt_alpha, self.levels)


class QuantConv2d(nn.Conv2d):
    def __init__(self, in_channels, out_channels, wbits, abits):
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.act_levels = 2 ** abits - 1
        self.act_alpha = nn.Parameter(torch.tensor(8.0))
        self.weight_q = nn.Parameter(torch.zeros_like(self.weight))
        self.weight_quant = WeightQuantizer(wbits)

    def forward(self, x):
        weight_q = self.weight_quant(self.weight)
        if not torch.compiler.is_compiling():  # a checkpoint carries the deployed weights; the compiler cannot rebind
            self.weight_q = nn.Parameter(weight_q)
        x = ActivationRound.apply(x, self.act_alpha, self.act_levels)
        return F.conv2d(x, weight_q, None, self.stride, self.padding)


class VGG16(nn.Module):
    """features[0..44] as the notebook numbers them; features[24..32] squeezed to `choke` channels unless it is 0."""

    def __init__(self, conv, choke):
        super().__init__()
        layers, channels = [], 3
        for width in PLAN:
            if width == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [conv(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
        self.features = nn.Sequential(*layers, nn.AvgPool2d(1, 1))
        self.classifier = nn.Linear(512, 10)
        if choke:
            self.features[24], self.features[25] = conv(256, choke), nn.BatchNorm2d(choke)
            self.features[27], self.features[28] = conv(choke, choke), nn.Identity()
            self.features[30] = conv(choke, 512)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


def float_conv(in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


def conv_of(args):
    """The function that makes a 3x3 convolution of so many channels, and what is to be said about it."""
    if args.quantizer == "none":
        return float_conv, {}
    if args.quantizer == "brevitas":
        import brevitas_conv
        return (lambda i, o: brevitas_conv.conv3x3(i, o, args.wbits, args.abits)), {"brevitas": brevitas_conv.VERSION}
    return (lambda i, o: QuantConv2d(i, o, args.wbits, args.abits)), {}


def build(args):
    torch.manual_seed(args.seed)
    conv, facts = conv_of(args)
    model = VGG16(conv, args.choke).to(args.device)
    images = torch.randn(args.batch, 3, 32, 32, device=args.device)
    labels = torch.randint(0, 10, (args.batch,), device=args.device)
    model, images = step_timing.prepare(model.train(), images, args)
    return model, images, labels, facts


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times one training step of the quantized VGG16 in PyTorch.")
    parser.add_argument("--choke", type=int, default=16, help="channels of the squeezed block, 0 for the plain VGG16")
    parser.add_argument("--wbits", type=int, default=4)
    parser.add_argument("--abits", type=int, default=2)
    parser.add_argument("--quantizer", choices=["notebook", "brevitas", "none"], default="notebook")
    step_timing.add_arguments(parser, batch=128)
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    model, images, labels, facts = build(args)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    fused = {"fused": True} if args.mode != "eager" else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-5, **fused)
    step = step_timing.make_step(lambda: criterion(model(images), labels), optimizer, args)
    facts = {"model": "vgg16", "quantizer": args.quantizer, "choke": args.choke, "wbits": args.wbits,
             "abits": args.abits, "batch": args.batch} | facts
    step_timing.run(step, args, facts)


if __name__ == "__main__":
    main()
