"""Checks that the GGUF files this engine writes are, to llama.cpp, the same adapter.

    cargo run --example export_adapter -- MODEL.gguf OUT_DIR [ADAPTER_DIR]     # in engine/
    python bench/peers/check_gguf.py MODEL.gguf OUT_DIR

Compares the logits that the example recorded with those of llama.cpp (through llama-cpp-python): of the
model with `lora.gguf` and of the two merged files. Prints the largest difference of each and fails if it is
above its tolerance, or if the adapter changes nothing.
"""

import ctypes
import json
import pathlib
import sys

import llama_cpp
import numpy

# llama.cpp's activations are of eight bits where weights are quantised, and f16 in products with F16 weights.
TOLERANCES = {"lora.gguf": 0.05, "merged-f16.gguf": 0.05, "merged-q8_0.gguf": 0.5}


def logits(model: str, tokens, lora=None):
    """Logits of every position, `[len(tokens), vocab]`."""
    llama_cpp.llama_backend_init()
    m = llama_cpp.llama_model_load_from_file(model.encode(), llama_cpp.llama_model_default_params())
    assert m, f"llama.cpp cannot load {model}"
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    context = llama_cpp.llama_init_from_model(m, params)
    if lora:
        adapter = llama_cpp.llama_adapter_lora_init(m, lora.encode())
        assert adapter, f"llama.cpp cannot load {lora}"
        set_lora(context, adapter)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, 1
    batch.n_tokens = len(tokens)
    assert llama_cpp.llama_decode(context, batch) == 0
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(m))
    rows = [
        numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (vocab,)).copy()
        for i in range(len(tokens))
    ]
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(m)
    return numpy.stack(rows)


def set_lora(context, adapter) -> None:
    """Later versions take a list of adapters, earlier ones one at a time."""
    if hasattr(llama_cpp, "llama_set_adapters_lora"):
        adapters = (ctypes.c_void_p * 1)(ctypes.cast(adapter, ctypes.c_void_p))
        scales = (ctypes.c_float * 1)(1.0)
        assert llama_cpp.llama_set_adapters_lora(context, adapters, 1, scales) == 0
    else:
        assert llama_cpp.llama_set_adapter_lora(context, adapter, 1.0) == 0


def main(model: str, directory: str) -> int:
    out = pathlib.Path(directory)
    recorded = json.loads((out / "logits.json").read_text())
    tokens = recorded["tokens"]
    ours = numpy.array(recorded["logits"]).reshape(len(tokens), -1)
    base = logits(model, tokens)
    effect = numpy.abs(ours - base).max()
    print(f"the adapter moves logits by up to {effect:.2e}")
    wrong = 0
    for name, tolerance in TOLERANCES.items():
        if not (out / name).exists():
            print(f"{name}: not there")
            continue
        path = str(out / name)
        theirs = logits(model, tokens, path) if name == "lora.gguf" else logits(path, tokens)
        difference = numpy.abs(ours - theirs).max()
        print(f"{name}: largest difference {difference:.2e}")
        wrong += not difference < tolerance < effect
    return wrong


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
