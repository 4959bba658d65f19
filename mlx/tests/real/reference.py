"""What mlx-lm in float32 makes of a model folder, and whether the folder holds what its GGUF file holds.

Reads {"folder", "gguf", "conversations", "tokens"} as JSON on standard input. Writes for each conversation the
rendered prompt's token numbers, the greedy tokens, their text up to the end of the answer, and the logits after the
prompt and after the last token; and the names of weights that differ from the file's.
"""

import json
import os
import re
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
out, sys.stdout = sys.stdout, sys.stderr

import mlx.core as mx  # noqa: E402
import mlx_lm  # noqa: E402
from mlx_lm.models.cache import make_prompt_cache  # noqa: E402

LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def weights_of(gguf):
    """MLX's own reading of the file, under the names of the folder."""
    arrays, metadata = mx.load(gguf, return_metadata=True)
    heads = {
        "attn_q": metadata["llama.attention.head_count"].item(),
        "attn_k": metadata["llama.attention.head_count_kv"].item(),
    }
    weights = {}
    for name, array in arrays.items():
        path, part = name.rsplit(".", 1)
        if block := re.fullmatch(r"blk\.(\d+)\.(\w+)", path):
            layer, kind = block.groups()
            if kind in heads:
                # llama.cpp lays the two halves of a rotated head row by row; here they follow one another.
                split = array.reshape(heads[kind], array.shape[0] // heads[kind] // 2, 2, -1)
                array = split.swapaxes(1, 2).reshape(array.shape)
            path = f"model.layers.{layer}.{LAYER[kind]}"
        else:
            path = TOP[path]
        weights[f"{path}.{part}"] = array
    return weights


def differing(folder, gguf):
    ours = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            ours |= mx.load(os.path.join(folder, file))
    theirs = weights_of(gguf)
    names = sorted(ours.keys() | theirs.keys())
    return [name for name in names if not same(ours.get(name), theirs.get(name))]


def same(ours, theirs):
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return False
    if ours.dtype != theirs.dtype:
        # The same numbers in another type.
        ours, theirs = ours.astype(mx.float32), theirs.astype(mx.float32)
    return mx.array_equal(ours, theirs).item()


def answer(model, tokenizer, conversation, count):
    prompt = tokenizer.apply_chat_template(conversation, add_generation_prompt=True)
    cache = make_prompt_cache(model)
    # As generate_step does it: the prompt but for its last token, then one token at a time.
    model(mx.array([prompt[:-1]]), cache=cache)
    mx.eval([layer.state for layer in cache])
    first = logits = model(mx.array([prompt[-1:]]), cache=cache)[0, -1]
    tokens = []
    while len(tokens) < count:
        tokens.append(mx.argmax(logits).item())
        logits = model(mx.array([tokens[-1:]]), cache=cache)[0, -1]
    ends = [place for place, token in enumerate(tokens) if token in tokenizer.eos_token_ids]
    spoken = tokens[: ends[0]] if ends else tokens
    return {
        "prompt": prompt,
        "tokens": tokens,
        "text": tokenizer.decode(spoken, skip_special_tokens=True, clean_up_tokenization_spaces=False),
        "ended": bool(ends),
        "logits": first.tolist(),
        "last_logits": logits.tolist(),
    }


request = json.load(sys.stdin)
model, tokenizer = mlx_lm.load(request["folder"])
model.set_dtype(mx.float32)
mx.eval(model.parameters())
answers = [answer(model, tokenizer, each, request["tokens"]) for each in request["conversations"]]
json.dump({"answers": answers, "differing": differing(request["folder"], request["gguf"])}, out)
