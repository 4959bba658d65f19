"""What mlx-lm makes of checkpoints.

Reads {"folder": path, "lengths": [...], "tokens": n, "rows": [...]} from standard input, with "lengths" and "kv_cache"
in some rows, writes a model's folder for each row (`folder/<place of the row>`), and answers with the prompts, the
likeliest tokens after them, and the logits before the first and after the last of those.
"""

from mlx_lm.models.cache import KVCache, make_prompt_cache  # noqa: E402
from mlx_lm.utils import load_model  # noqa: E402


def make(row, folder, seed):
    model, weights, config = made(row, seed)
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config))
    return load_model(folder)[0] if row.get("published") else model


def logits_after(model, ids, cache):
    return model(mx.array([ids]), cache=cache)[0, -1].astype(mx.float32)


def caches(model, settings):
    """A cache for each layer, with those that keep every token quantized from the first on: mlx-lm's own generation
    refuses models with windows, whose caches it cannot quantize."""
    made = make_prompt_cache(model)
    return [cache.to_quantized(**settings) if settings and type(cache) is KVCache else cache for cache in made]


def answer(model, vocabulary, length, tokens, kv_cache):
    prompt = [(place * 7919 + length * 31 + 5) % vocabulary for place in range(length)]
    cache = caches(model, kv_cache)
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
    kv_cache = row.get("kv_cache")
    results.append([answer(model, vocabulary, length, request["tokens"], kv_cache) for length in lengths])
json.dump(results, answers)
