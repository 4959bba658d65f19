# Writes a GGUF file anew with its numbers in another type, by llama.cpp's name for it: Q6_K, ALL_F32.
import ctypes
import sys

import llama_cpp

source, target, kind = sys.argv[1:4]
prefix = "LLAMA_FTYPE_" if kind.startswith("ALL") else "LLAMA_FTYPE_MOSTLY_"
options = llama_cpp.llama_model_quantize_default_params()
options.ftype = getattr(llama_cpp, prefix + kind)
options.allow_requantize = True
sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(options)))
