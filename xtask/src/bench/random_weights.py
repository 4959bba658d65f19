"""Writes a model's folder with random weights, for `cargo xtask bench --shape`: 4 bits in groups of 64, the rest bfloat16.

Arguments: the folder, what its `config.json` is to say, and perhaps a text. The packed words themselves are drawn, so
that a model of seven billion weights takes seconds. Scales give every weight the spread 0.02.

With a text the folder gets a tokenizer too, and is one that a server takes: the words of the text are a token each, digits
are one each, and all tokens beyond have a word of their own, so that each token of an answer shows at once; but for one that
ends each message, as those of published models have it. The token that ends an answer lies behind the vocabulary, where it is never drawn. On a processor the rest is float32 then,
since mlx-lm's server takes weights as they come, and would be forty times slower.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes

folder, config, texts = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
quantization = {"group_size": 64, "bits": 4}
architecture, arguments = _get_classes(config)
model = architecture(arguments.from_dict(config))
model.set_dtype(mx.float32 if texts and mx.default_device() == mx.cpu else mx.bfloat16)
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


END, TURN = "<|end|>", "<|turn|>"
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}<|turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def write_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    by_byte = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), by_byte])
    tokenizer.decoder = decoders.ByteLevel()
    # No byte that is less than a character: no token waits for the next to be shown.
    alphabet = [chr(code) for code in range(ord("!"), ord("~") + 1)] + ["\u0120", "\u010a"]
    size = config["vocab_size"]
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=1, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([*texts, "system: user: assistant:"], trainer)
    written = json.loads(tokenizer.to_str())
    vocabulary = written["model"]["vocab"]
    vocabulary.update({f"\u0120word{number}": number for number in range(len(vocabulary), size - 1)})
    vocabulary[TURN] = size - 1
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    special = {"special": True, **flags}
    written["added_tokens"] = [{"id": size - 1, "content": TURN, **special}, {"id": size, "content": END, **special}]
    (folder / "tokenizer.json").write_text(json.dumps(written))
    says = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(says))


# Nothing of what the model and the quantization would have computed is ever computed.
weights = {name: drawn(name, array) for name, array in tree_flatten(model.parameters())}
folder.mkdir(parents=True)
mx.save_safetensors(str(folder / "model.safetensors"), weights)
if texts:
    write_tokenizer()
(folder / "config.json").write_text(json.dumps({**config, "quantization": quantization}))
