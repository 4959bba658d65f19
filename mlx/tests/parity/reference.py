"""Random checkpoints and what mlx-lm makes of them, for `tests/parity`.

Reads {"folder": path, "lengths": [...], "tokens": n, "rows": [{"name", "config", "quantize", "lengths"?}, ...]} from
standard input, writes a model's folder for each row (`folder/<place of the row>`), and answers with the prompts, the
likeliest tokens after them, and the logits before the first and after the last of those.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
answers, sys.stdout = sys.stdout, sys.stderr

import mlx.core as mx  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402
from mlx_lm.models.cache import make_prompt_cache  # noqa: E402
from mlx_lm.utils import _get_classes, quantize_model  # noqa: E402


def drawn(name, array):
    """Spread so that every part matters: norms near 1, matrices that keep the size of a vector."""
    if not mx.issubdtype(array.dtype, mx.floating):
        return array
    noise = mx.random.normal(array.shape)
    if name.endswith("norm.weight") or "norm" in name.split(".")[-2:][0]:
        return 1.0 + 0.2 * noise
    if array.ndim < 2:
        return 0.2 * noise
    return noise * array.shape[-1] ** -0.5 * 1.5


def make(row, folder, seed):
    mx.random.seed(seed)
    config = dict(row["config"])
    architecture, arguments = _get_classes(config)
    model = architecture(arguments.from_dict(config))
    weights = [(name, drawn(name, array)) for name, array in tree_flatten(model.parameters())]
    model.update(tree_unflatten(weights))
    mx.eval(model.parameters())
    settings = row.get("quantize")
    if settings:
        layers = settings.get("layers", {})
        predicate = (lambda path, module: layers.get(path, hasattr(module, "to_quantized"))) if layers else None
        mode = settings.get("mode", "affine")
        model, config = quantize_model(
            model, config, settings["group_size"], settings["bits"], mode=mode, quant_predicate=predicate
        )
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())))
    (folder / "config.json").write_text(json.dumps(config))
    return model


def logits_after(model, ids, cache):
    return model(mx.array([ids]), cache=cache)[0, -1].astype(mx.float32)


def answer(model, vocabulary, length, tokens):
    prompt = [(place * 7919 + length * 31 + 5) % vocabulary for place in range(length)]
    cache = make_prompt_cache(model)
    # Like mlx-lm's own generation: the last token apart, so that the first logits are those of a step.
    if length > 1:
        model(mx.array([prompt[:-1]]), cache=cache)
    logits = first = logits_after(model, prompt[-1:], cache)
    likeliest = []
    for _ in range(tokens):
        likeliest.append(int(mx.argmax(logits)))
        logits = logits_after(model, likeliest[-1:], cache)
    return {"prompt": prompt, "tokens": likeliest, "first": first.tolist(), "last": logits.tolist()}


request = json.load(sys.stdin)
results = []
for place, row in enumerate(request["rows"]):
    model = make(row, Path(request["folder"]) / str(place), place)
    vocabulary = row["config"].get("vocab_size") or row["config"]["text_config"]["vocab_size"]
    lengths = row.get("lengths") or request["lengths"]
    results.append([answer(model, vocabulary, length, request["tokens"]) for length in lengths])
json.dump(results, answers)
