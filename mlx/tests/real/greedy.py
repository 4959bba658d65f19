# llama.cpp's likeliest tokens after some prompts of a GGUF file: one line of JSON for each.
import json
import sys

import llama_cpp

PROMPTS = [
    "The capital of France is",
    "Once upon a time there was a small boat that",
    "def fibonacci(n):\n",
    "Water boils at a temperature of",
    "The three primary colours are",
]

# Caches of float32, as Candle's are.
wide = llama_cpp.GGML_TYPE_F32
model = llama_cpp.Llama(sys.argv[1], n_ctx=512, n_threads=2, type_k=wide, type_v=wide, verbose=False)
for prompt in PROMPTS:
    ids = model.tokenize(prompt.encode())
    model.reset()
    model.eval(ids)
    tokens = []
    for _ in range(32):
        tokens.append(int(model.sample(temp=0.0)))
        model.eval(tokens[-1:])
    print(json.dumps({"prompt": ids, "tokens": tokens}))
