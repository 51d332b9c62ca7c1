"""The quantized convolution of vgg16_torch.py as Brevitas offers it: QuantConv2d with its own quantizers.

    weights:      signed, narrow range, one scale a layer, the largest magnitude (Int8WeightPerTensorFloat)
    activations:  unsigned, a learned scale that starts at 8 / levels, as the notebook's clip; the image: signed, 8 bits

Its default for a learned scale collects percentiles over the first 300 steps; starting from a given maximum leaves that
out, which is faster.
"""

from importlib import metadata

from brevitas.nn import QuantConv2d
from brevitas.quant import Int8ActPerTensorFloatMinMaxInit, Int8WeightPerTensorFloat, Uint8ActPerTensorFloatMaxInit

VERSION = metadata.version("brevitas")


def conv3x3(in_channels, out_channels, wbits, abits):
    if in_channels == 3:
        image = {"input_quant": Int8ActPerTensorFloatMinMaxInit, "input_bit_width": 8,
                 "input_min_val": -3.2, "input_max_val": 3.2}
    else:
        image = {"input_quant": Uint8ActPerTensorFloatMaxInit, "input_bit_width": abits,
                 "input_min_val": 0.0, "input_max_val": 8.0}
    return QuantConv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False,
                       weight_quant=Int8WeightPerTensorFloat, weight_bit_width=wbits, **image)
