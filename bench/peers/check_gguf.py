"""Checks that the GGUF files this engine writes are, to llama.cpp, the same adapter.

    pip install xllamacpp gguf
    cargo run --example export_adapter -- MODEL.gguf OUT_DIR [ADAPTER_DIR]     # in engine/
    python bench/peers/check_gguf.py MODEL.gguf OUT_DIR

Compares the logits that the example recorded with llama.cpp's log-probabilities of every token, at every fourth
position: of `lora.gguf` on the model and on the model's weights in f32, and of the two merged files. Prints the
largest difference and the mean divergence of each, and fails if a divergence is above its share of what the adapter
changes, or if llama.cpp warns of anything that it does not say of the model itself.

xllamacpp's wheels hold a llama.cpp that is built already. With xllamacpp 2026.10.11549 the largest differences are:

| model | adapter | lora.gguf | in f32 | F16 | Q8_0 |
| --- | --- | --- | --- | --- | --- |
| tiny Llama, f32 | 3.9 | 3.5e-6 | 3.5e-6 | 4.9e-3 | 0.12 |
| tiny Qwen2, f32 | 3.5 | 2.1e-6 | 2.1e-6 | 5.0e-3 | 0.14 |
| SmolLM2-135M, Q4_1 | 5.4 | 0.76 | 5.6e-5 | 0.039 | 0.78 |

and with those of `engine/tests/fixtures/peft_variants` 1.1e-5 at most in f32. The eight-bit activations that llama.cpp
multiplies quantised weights with are most of what a quantised file differs by: the mean divergence of SmolLM2's Q8_0 is
9.8e-3, and 2.6e-3 with the same weights in f32. An adapter that turns the model to noise makes more of every rounding,
so take a mild one: of the example's random one on Qwen2.5-Coder-0.5B in Q4_K_M, `lora.gguf` is 2.4 nats off of 6.0, and
with an alpha of 2, 1.9e-3 of 0.13 (from llama.cpp in f32).

With `--transformers`, the files are read by gguf and transformers instead: a merged file as transformers loads it, and
`lora.gguf` added to the base's own tensors, row by row of the file, as llama.cpp does it. That checks everything but
llama.cpp's own loading.
"""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy
except ImportError as missing:
    sys.exit(f"{missing}: pip install xllamacpp gguf")

# Of the adapter's own divergence from the model. llama.cpp's activations are of eight bits where weights are
# quantised, and f16 in products with F16 weights.
TOLERANCES = {"lora.gguf": 0.1, "lora.gguf in f32": 1e-6, "merged-f16.gguf": 1e-3, "merged-q8_0.gguf": 0.1}
STEP, READ = 4, "--read"


class Transformers:
    name = "gguf and transformers"
    warnings = frozenset()

    def logits(self, model: str, tokens, lora=None):
        """Logits at every fourth position."""
        import torch
        from transformers import LlamaForCausalLM, Qwen2ForCausalLM

        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch) / "model.gguf"
            in_f32(model, path, lora) if lora else shutil.copy(model, path)
            arch = gguf.GGUFReader(path).fields["general.architecture"].contents()
            family = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM}[arch]
            loaded = family.from_pretrained(scratch, gguf_file="model.gguf", dtype=torch.float32).eval()
            with torch.no_grad():
                return loaded(torch.tensor([tokens])).logits[0, STEP - 1 :: STEP].numpy()


class LlamaCpp:
    """Each reading is a process of its own, so that none leaves anything to the next."""

    def __init__(self):
        if not importlib.util.find_spec("xllamacpp"):
            sys.exit("there is no llama.cpp: pip install xllamacpp, or pass --transformers")
        self.name = f"the llama.cpp of xllamacpp {importlib.metadata.version('xllamacpp')}"
        self.warnings = set()

    def logits(self, model: str, tokens, lora=None):
        """Log-probabilities at every fourth position."""
        with tempfile.TemporaryDirectory() as scratch:
            rows = str(pathlib.Path(scratch) / "rows.npy")
            command = [sys.executable, __file__, READ, json.dumps([model, tokens, lora, rows])]
            done = subprocess.run(
                command,
                env={**os.environ, "GGML_NO_BACKTRACE": "1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
            if done.returncode:
                sys.exit(f"{done.stderr}llama.cpp fails ({done.returncode}) on {lora or model}")
            said = (re.match(r"[\d.]+ ([WE] .*)", line) for line in done.stderr.splitlines())
            self.warnings.update(line[1] for line in said if line)
            return numpy.load(rows)


def read(model: str, tokens, lora, out: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.n_parallel = params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = params.fit_params = False
    params.no_extra_bufts = True  # It warns that it cannot put pairs beside weights that it laid out anew.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    if lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(lora, 1.0)]
    server = xllamacpp.Server(params)
    rows = []
    for end in range(STEP, len(tokens) + 1, STEP):
        request = {"prompt": tokens[:end], "n_predict": 1, "n_probs": 1 << 30, "temperature": 0.0}
        answer = server.handle_completions(request)
        top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        row = numpy.full(len(top), numpy.nan)
        row[[t["id"] for t in top]] = [t["logprob"] for t in top]
        rows.append(row)
    numpy.save(out, numpy.stack(rows))


def in_f32(base: str, path: pathlib.Path, lora=None) -> None:
    """Writes the base in f32, with alpha / rank · B·A added to the tensors that the adapter names."""
    reader = gguf.GGUFReader(base)
    parts, alpha = {}, 0.0
    if lora:
        adapter = gguf.GGUFReader(lora)
        alpha = adapter.fields["adapter.lora.alpha"].contents()
        parts = {t.name: t.data for t in adapter.tensors}
    writer = gguf.GGUFWriter(str(path), reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
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


def divergence(ours, theirs) -> float:
    """Mean Kullback-Leibler divergence, in nats, of the next token's distribution."""
    return float((numpy.exp(ours) * (ours - theirs)).sum(axis=-1).mean())


def log_softmax(logits):
    logits = numpy.asarray(logits, numpy.float64)
    return logits - numpy.logaddexp.reduce(logits, axis=-1, keepdims=True)


def main(model: str, directory: str, peer) -> int:
    out = pathlib.Path(directory)
    recorded = json.loads((out / "logits.json").read_text())
    tokens = recorded["tokens"]
    ours = log_softmax(numpy.array(recorded["logits"]).reshape(len(tokens), -1)[STEP - 1 :: STEP])
    print("read by", peer.name)
    base = log_softmax(peer.logits(model, tokens))
    effect = divergence(ours, base)
    print(f"the adapter moves log-probabilities by up to {numpy.abs(ours - base).max():.2e}, divergence {effect:.1e}")
    known, wrong = set(peer.warnings), 0
    for name, tolerance in TOLERANCES.items():
        path = out / name.removesuffix(" in f32")
        if not path.exists():
            print(f"{name}: not there")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            of = model
            if name.endswith(" in f32"):
                of = str(pathlib.Path(scratch) / "f32.gguf")
                in_f32(model, of)
            theirs = peer.logits(of, tokens, str(path)) if path.name == "lora.gguf" else peer.logits(str(path), tokens)
        theirs = log_softmax(theirs)
        off = divergence(ours, theirs)
        print(f"{name}: largest difference {numpy.abs(ours - theirs).max():.2e}, divergence {off:.1e}")
        wrong += not off < tolerance * effect
    for text in sorted(peer.warnings):
        print("of the model too:" if text in known else "NEW:", text)
    return wrong + len(peer.warnings - known)


if __name__ == "__main__":
    if sys.argv[1:2] == [READ]:
        sys.exit(read(*json.loads(sys.argv[2])))
    arguments = [a for a in sys.argv[1:] if a != "--transformers"]
    if len(arguments) != 2:
        sys.exit(__doc__)
    sys.exit(main(*arguments, Transformers() if "--transformers" in sys.argv else LlamaCpp()))
