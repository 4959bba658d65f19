"""llama.cpp behind a pipe, for `cargo xtask bench --candle`: a JSON request a line in, a JSON answer a line out.

Arguments: `quantize`, a GGUF file, the name of a type and the file to write; or `run`, a GGUF file and a number of
threads. Requests: {"prompt": token numbers, "tokens": count}. The likeliest token is chosen without llama.cpp's
samplers, and no token is made into text.
"""

import json
import sys
import time

import llama_cpp
import numpy

# Nothing but answers may reach the pipe.
answers, sys.stdout = sys.stdout, sys.stderr


def quantize(source, name, target):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.allow_requantize = True
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{name}")
    sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), parameters))


def likeliest(model):
    logits = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
    return int(numpy.ctypeslib.as_array(logits, (model.n_vocab(),)).argmax())


def generate(model, prompt, tokens):
    # Forgets all, keys and values too.
    model.reset()
    start = time.perf_counter()
    model.eval(prompt)
    answer, times = [likeliest(model)], [time.perf_counter()]
    while len(answer) < tokens:
        model.eval(answer[-1:])
        answer.append(likeliest(model))
        times.append(time.perf_counter())
    return {
        "prompt_tokens": len(prompt),
        "tokens": len(answer),
        "answer": answer,
        "first_token_ms": (times[0] - start) * 1e3,
        "prefill_tokens_per_s": len(prompt) / (times[0] - start),
        "decode_tokens_per_s": (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0,
    }


if sys.argv[1] == "quantize":
    quantize(*sys.argv[2:])
file, threads = sys.argv[2], int(sys.argv[3])
model = llama_cpp.Llama(
    file, n_ctx=2048, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False
)
print("{}", file=answers, flush=True)
for line in sys.stdin:
    print(json.dumps(generate(model, **json.loads(line))), file=answers, flush=True)
