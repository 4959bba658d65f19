"""mlx-lm behind a pipe, for `cargo xtask bench`: a JSON request a line in, a JSON answer a line out.

Arguments: a model's folder, and the type its floating-point weights are cast to: `float32`, or `half`, the type of
the scales, which is what a published folder has.
Requests: {"do": "load"} and {"do": "generate", "prompt": text or token numbers, "tokens": count}. The end of the
input ends it.

Time is counted generously: a text is rendered by the model's chat template, the prompt is decoded greedily by mlx-lm's
own `generate_step`, and no token is made into text.
"""

import gc
import json
import os
import sys
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# Before the imports: nothing but answers may reach the pipe.
answers, sys.stdout = sys.stdout, sys.stderr

import mlx.core as mx  # noqa: E402
import mlx_lm  # noqa: E402
from mlx.utils import tree_flatten  # noqa: E402
from mlx_lm.generate import generate_step, generation_stream  # noqa: E402
from mlx_lm.utils import load_model  # noqa: E402

FOLDER, CAST = sys.argv[1:]


def milliseconds(start, end):
    return (end - start) * 1000


def floats(model):
    parameters = tree_flatten(model.parameters())
    return {name: array for name, array in parameters if mx.issubdtype(array.dtype, mx.floating)}


def cast(model):
    dtype = mx.float32
    if CAST == "half":
        dtype = next(array.dtype for name, array in floats(model).items() if name.endswith(".scales"))
    model.set_dtype(dtype)
    mx.eval(model.parameters())
    # Scales and biases of quantized layers above all: with float32 ones the CPU is forty times faster.
    wrong = [name for name, array in floats(model).items() if array.dtype != dtype]
    assert not wrong, f"not cast: {wrong}"
    return str(dtype).removeprefix("mlx.core.")


def load():
    """A folder of random weights has no tokenizer."""
    if (Path(FOLDER) / "tokenizer.json").exists():
        return mlx_lm.load(FOLDER)
    return load_model(Path(FOLDER))[0], None


class Candidate:
    def __init__(self):
        self.model = self.tokenizer = None

    def load(self):
        self.model = self.tokenizer = None
        gc.collect()
        mx.clear_cache()
        start = time.perf_counter()
        self.model, self.tokenizer = load()
        dtype = cast(self.model)
        return {"load_ms": milliseconds(start, time.perf_counter()), "dtype": dtype}

    def render(self, text):
        messages = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)

    def generate(self, prompt, tokens):
        start = time.perf_counter()
        ids = prompt if isinstance(prompt, list) else self.render(prompt)
        begun = time.perf_counter()
        times, answer = [], []
        for token, _ in generate_step(mx.array(ids), self.model, max_tokens=tokens):
            times.append(time.perf_counter())
            answer.append(int(token))
        # One step more than was asked for is under way; whatever is measured next must not pay for it.
        mx.synchronize(generation_stream)
        return {
            "prompt_tokens": len(ids),
            "tokens": len(times),
            "answer": answer,
            "first_token_ms": milliseconds(start, times[0]),
            "prefill_tokens_per_s": len(ids) / (times[0] - begun),
            "decode_tokens_per_s": (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0,
        }


candidate = Candidate()
tasks = {"load": candidate.load, "generate": candidate.generate}
hello = {"mlx_lm": mlx_lm.__version__, "mlx": mx.__version__, "device": str(mx.default_device())}
print(json.dumps(hello), file=answers, flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(tasks[request.pop("do")](**request)), file=answers, flush=True)
