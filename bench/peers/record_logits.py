"""Records what transformers computes from a GGUF model, for engine/tests/logits.rs.

transformers reads the same quantised file, widens it to float32 and runs its own decoder: an
independent source for our weights reading, our decoder and our rotary convention.

    python record_logits.py MODEL.gguf OUT.json

For two prompts (their token ids are stored: tokenizers are tested elsewhere) it writes the logits of
a middle and the last position (the top 20, and 200 at a fixed stride over the vocabulary) and the
greedy continuation of 20 tokens, with the lead each had over the second best.
"""

import argparse
import json
import pathlib
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = [
    "The capital of France is Paris. The capital of Italy is",
    "<|im_start|>user\nWrite one short sentence about the sea.<|im_end|>\n<|im_start|>assistant\n",
]
CONTINUATION = 20
TOP = 20
STRIDED = 200


def position(logits: torch.Tensor, row: int) -> dict:
    row_logits = logits[row]
    top = torch.topk(row_logits, TOP)
    stride = row_logits.numel() // STRIDED
    return {
        "row": row,
        "top_ids": top.indices.tolist(),
        "top_logits": [round(v, 5) for v in top.values.tolist()],
        "stride": stride,
        "strided_logits": [round(v, 5) for v in row_logits[::stride][:STRIDED].tolist()],
    }


@torch.no_grad()
def record(model, tokenizer, prompt: str) -> dict:
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    logits = model(torch.tensor([ids])).logits[0]
    positions = [position(logits, len(ids) // 2), position(logits, len(ids) - 1)]
    greedy, leads = [], []
    sequence = list(ids)
    for _ in range(CONTINUATION):
        last = model(torch.tensor([sequence])).logits[0, -1]
        best = torch.topk(last, 2)
        leads.append(round(float(best.values[0] - best.values[1]), 5))
        greedy.append(int(best.indices[0]))
        sequence.append(greedy[-1])
    print(repr(prompt), "->", repr(tokenizer.decode(greedy)), f"smallest lead {min(leads):.4f}")
    return {
        "prompt": prompt,
        "tokens": ids,
        "positions": positions,
        "greedy": greedy,
        "greedy_leads": leads,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("gguf", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    options = arguments.parse_args()

    start = time.time()
    where = dict(pretrained_model_name_or_path=options.gguf.parent, gguf_file=options.gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    print(f"{type(model).__name__} read in {time.time() - start:.0f} s")
    print(model.config)

    out = {
        "model": options.gguf.name,
        "source": "transformers, float32, eager decoder on dequantised weights",
        "prompts": [record(model, tokenizer, p) for p in PROMPTS],
    }
    options.out.write_text(json.dumps(out) + "\n")
    print("wrote", options.out, options.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
