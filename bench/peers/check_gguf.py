"""Checks that the GGUF files this engine writes are, to llama.cpp, the same adapter.

    cargo run --example export_adapter -- MODEL.gguf OUT_DIR [ADAPTER_DIR]     # in engine/
    python bench/peers/check_gguf.py MODEL.gguf OUT_DIR

Compares the logits that the example recorded with those of llama.cpp (through llama-cpp-python): of the
model with `lora.gguf` and of the two merged files. Prints the largest difference of each and fails if it is
above its tolerance, or if the adapter changes nothing.

Where llama-cpp-python is not installed, the files are read by gguf and transformers instead: a merged file as
transformers loads it, and `lora.gguf` added to the base's own tensors, row by row of the file, as llama.cpp
does it. That checks everything but llama.cpp's own loading.
"""

import ctypes
import json
import pathlib
import shutil
import sys
import tempfile

import numpy

# llama_cpp.py of this directory is another program.
sys.path = [p for p in sys.path if pathlib.Path(p).resolve() != pathlib.Path(__file__).resolve().parent]
try:
    import llama_cpp
except ImportError:
    llama_cpp = None

# llama.cpp's activations are of eight bits where weights are quantised, and f16 in products with F16 weights.
TOLERANCES = {"lora.gguf": 0.05, "merged-f16.gguf": 0.05, "merged-q8_0.gguf": 1.0}


def logits(model: str, tokens, lora=None):
    """Logits of every position, `[len(tokens), vocab]`."""
    return (by_llama_cpp if llama_cpp else by_transformers)(model, tokens, lora)


def by_transformers(model: str, tokens, lora):
    import gguf
    import torch
    from transformers import LlamaForCausalLM, Qwen2ForCausalLM

    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "model.gguf"
        corrected(gguf, model, lora, path) if lora else shutil.copy(model, path)
        reader = gguf.GGUFReader(path)
        arch = bytes(reader.fields["general.architecture"].parts[-1]).decode()
        family = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM}[arch]
        loaded = family.from_pretrained(scratch, gguf_file="model.gguf", dtype=torch.float32).eval()
        with torch.no_grad():
            return loaded(torch.tensor([tokens])).logits[0].numpy()


def corrected(gguf, base: str, lora: str, path: pathlib.Path) -> None:
    """Writes the base in f32 with alpha / rank · B·A added to the tensors that the adapter names."""
    reader, adapter = gguf.GGUFReader(base), gguf.GGUFReader(lora)
    alpha = float(adapter.fields["adapter.lora.alpha"].parts[-1][0])
    parts = {t.name: t.data for t in adapter.tensors}
    arch = bytes(reader.fields["general.architecture"].parts[-1]).decode()
    writer = gguf.GGUFWriter(str(path), arch)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        item = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=item)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        a, b = parts.pop(f"{tensor.name}.lora_a", None), parts.pop(f"{tensor.name}.lora_b", None)
        if a is not None:
            scale = alpha / b.shape[-1]
            values = values + scale * (a @ b.T if tensor.name == "token_embd.weight" else b @ a)
        writer.add_tensor(tensor.name, values.astype(numpy.float32))
    assert not parts, f"the base has no {sorted(parts)}"
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def by_llama_cpp(model: str, tokens, lora):
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
    print("read by", "llama.cpp" if llama_cpp else "gguf and transformers")
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
