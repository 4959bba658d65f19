"""Random checkpoints, for the scripts of `tests/parity`, which this one comes before.

A row is {"name", "config", "quantize"?, "stretch"?, "published"?}. What a script answers goes to `answers`.
"""

import copy
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
answers, sys.stdout = sys.stdout, sys.stderr

import mlx.core as mx  # noqa: E402
from mlx.utils import tree_flatten, tree_unflatten  # noqa: E402
from mlx_lm.utils import _get_classes, quantize_model  # noqa: E402

MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


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


def seen(weights, prefix):
    """The weights beside those of a model's eyes, which nobody asks for."""
    eyes = ["vision_tower.layers.0.q_proj.weight", "vision_tower.norm.weight", "multi_modal_projector.linear.weight"]
    return weights | {prefix + name: mx.ones((8, 8)) for name in eyes}


def published(architecture, weights):
    """The weights under the names and in the layout of the checkpoints that the models' makers publish."""
    if architecture.startswith("gemma3"):
        # The head is the embedding, of which there is one copy.
        weights = {name: array for name, array in weights.items() if "lm_head" not in name}
        return seen(weights, "") if architecture == "gemma3" else weights
    if architecture == "mistral3":
        inner = {name.removeprefix("language_model."): array for name, array in weights.items()}
        outer = {name.replace("model.", "model.language_model.", 1): array for name, array in inner.items()}
        return seen(outer, "model.")
    made = {}
    for name, array in weights.items():
        path, _, part = name.rpartition(".")
        path, _, matrix = path.rpartition(".")
        if path.endswith("switch_mlp"):
            path = path.removesuffix("switch_mlp") + "experts"
            matrix = MIXTRAL[matrix] if architecture == "mixtral" else matrix
            made |= {f"{path}.{place}.{matrix}.{part}": each for place, each in enumerate(array)}
        elif path.endswith("mlp.experts"):
            part = {"weight": "blocks"}.get(part, part)
            if matrix == "up_proj":
                continue
            if matrix == "gate_proj":
                # Rows of both take turns.
                array = mx.stack([array, weights[name.replace("gate_proj", "up_proj")]], axis=2)
                array = array.reshape(array.shape[0], -1, *array.shape[3:])
                matrix = "gate_up_proj"
            if part == "blocks":
                array = array.view(mx.uint8).reshape(*array.shape[:2], -1, 16)
            made[f"{path}.{matrix}_{part}"] = array
        elif matrix == "conv":
            made[name] = array.swapaxes(1, 2) if array.ndim == 3 else array
        else:
            made[name] = array
    return made


def made(row, seed):
    """The model of a row, the weights of its checkpoint, and its config."""
    mx.random.seed(seed)
    config = dict(row["config"])
    architecture, arguments = _get_classes(config)
    # Of a copy: some arguments write their defaults into what they are made from.
    model = architecture(arguments.from_dict(copy.deepcopy(config)))
    weights = [(name, drawn(name, array)) for name, array in tree_flatten(model.parameters())]
    for part, factor in (row.get("stretch") or {}).items():
        weights = [(name, array * factor if part in name else array) for name, array in weights]
    model.update(tree_unflatten(weights))
    mx.eval(model.parameters())
    settings = row.get("quantize")
    if settings:
        layers, only = settings.get("layers", {}), settings.get("only", "")

        def chosen(path, module):
            return layers.get(path, only in path and hasattr(module, "to_quantized"))

        predicate = chosen if layers or only else None
        mode = settings.get("mode", "affine")
        model, config = quantize_model(
            model, config, settings["group_size"], settings["bits"], mode=mode, quant_predicate=predicate
        )
    weights = dict(tree_flatten(model.parameters()))
    if row.get("published"):
        weights = published(config["model_type"], weights)
        if config["model_type"] == "gpt_oss":
            config = row["config"] | {"quantization_config": {"quant_method": "mxfp4"}}
    return model, weights, config
