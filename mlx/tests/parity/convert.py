"""What mlx-lm converts checkpoints into.

Reads {"folder": path, "conversions": [{"row", "stored", "torch_dtype"?, "text_dtype"?, "dtype"?, "bits"?,
"group_size"?, "extra"?}, ...]} from standard input and writes, for each, `folder/<place>/from` and what
`mlx_lm.convert` makes of it, `folder/<place>/theirs`.
"""

from mlx_lm.convert import convert  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402


def write_source(conversion, folder, place):
    _, weights, config = made(conversion["row"], place)
    stored = getattr(mx, conversion["stored"])
    weights |= {name: mx.ones((160, 64)) for name in conversion.get("extra", [])}
    for name, array in weights.items():
        if mx.issubdtype(array.dtype, mx.floating):
            weights[name] = array.astype(stored)
    if conversion.get("torch_dtype"):
        config["torch_dtype"] = conversion["torch_dtype"]
    if conversion.get("text_dtype"):
        config["text_config"] |= {"dtype": conversion["text_dtype"]}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config | {"_name_or_path": "somewhere", "vision_config": {}}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    names = sorted(weights)
    # Every other one in two files.
    parts = [names] if place % 2 == 0 else [names[::2], names[1::2]]
    files = [f"model-{part:05}-of-{len(parts):05}.safetensors" for part, _ in enumerate(parts, 1)]
    for file, part in zip(files, parts):
        mx.save_safetensors(str(folder / file), {name: weights[name] for name in part})
    index = {name: file for file, part in zip(files, parts) for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


request = json.load(sys.stdin)
for place, conversion in enumerate(request["conversions"]):
    folder = Path(request["folder"]) / str(place)
    write_source(conversion, folder / "from", place)
    convert(
        str(folder / "from"),
        str(folder / "theirs"),
        quantize="bits" in conversion,
        q_bits=conversion.get("bits"),
        q_group_size=conversion.get("group_size"),
        dtype=conversion.get("dtype"),
    )
