"""Writes a model's folder with random weights, for `cargo xtask bench --shape`: 4 bits in groups of 64, the rest bfloat16.

Arguments: the folder, and what its `config.json` is to say. The packed words themselves are drawn, so that a model of
seven billion weights takes seconds. Scales give every weight the spread 0.02.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes

folder, config = Path(sys.argv[1]), json.loads(sys.argv[2])
quantization = {"group_size": 64, "bits": 4}
architecture, arguments = _get_classes(config)
model = architecture(arguments.from_dict(config))
model.set_dtype(mx.bfloat16)
nn.quantize(model, **quantization)
mx.random.seed(0)

SCALE = 0.02 / 4.6  # 16 equally likely steps have a spread of 4.6 steps


def drawn(name, array):
    if array.dtype == mx.uint32:
        return mx.random.randint(-(2**31), 2**31 - 1, array.shape, dtype=mx.int32).view(mx.uint32)
    if name.endswith(".scales"):
        return mx.full(array.shape, SCALE, dtype=array.dtype)
    if name.endswith(".biases"):
        return mx.full(array.shape, -7.5 * SCALE, dtype=array.dtype)
    return mx.full(array.shape, 0.0 if name.endswith(".bias") else 1.0, dtype=array.dtype)


# Nothing of what the model and the quantization would have computed is ever computed.
weights = {name: drawn(name, array) for name, array in tree_flatten(model.parameters())}
folder.mkdir(parents=True)
mx.save_safetensors(str(folder / "model.safetensors"), weights)
(folder / "config.json").write_text(json.dumps({**config, "quantization": quantization}))
