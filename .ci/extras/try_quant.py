"""The extra `quant`: weights are kept in 4 bits; that a QLoRA run works needs a GPU and is not shown here."""

import torch
from bitsandbytes import functional

weights = torch.linspace(-1, 1, 4096)
packed, state = functional.quantize_4bit(weights, quant_type="nf4")
assert packed.numel() == 2048
assert (functional.dequantize_4bit(packed, state) - weights).abs().max() < 0.2
