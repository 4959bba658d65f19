# llama.cpp's logits after the first tokens of some texts: {"file": of GGUF, "texts": [[text, number of tokens], …]} in, one
# line of JSON out for each text.
import json
import sys

import llama_cpp
import numpy

# Caches of float32, as Candle's are. One thread: several wait for each other in loops, which takes long on a busy
# machine.
request = json.load(sys.stdin)
wide = llama_cpp.GGML_TYPE_F32
model = llama_cpp.Llama(
    request["file"], n_ctx=1024, n_batch=512, n_threads=1, n_threads_batch=1, type_k=wide, type_v=wide, verbose=False
)
for text, length in request["texts"]:
    ids = model.tokenize(text.encode())[:length]
    model.reset()
    model.eval(ids)
    logits = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
    logits = numpy.ctypeslib.as_array(logits, (model.n_vocab(),))
    print(json.dumps({"prompt": ids, "logits": logits.tolist()}))
