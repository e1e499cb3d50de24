"""Checks that an adapter this engine exported is, to peft, the same adapter.

    cargo run --example export_adapter -- MODEL_DIR ADAPTER_DIR     # in engine/
    python bench/peers/check_peft.py MODEL_DIR ADAPTER_DIR ADAPTER_DIR/logits.json

Prints the largest difference between the recorded logits and those of transformers + peft; fails if
it is above the tolerance, or if the adapter changes nothing. Needs torch, transformers and peft.
"""

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-3


def main(model_dir, adapter_dir, record):
    with open(record) as file:
        recorded = json.load(file)
    tokens = torch.tensor([recorded["tokens"]])
    ours = torch.tensor(recorded["logits"]).view(len(recorded["tokens"]), -1)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    with torch.no_grad():
        base = model(tokens).logits[0]
        theirs = PeftModel.from_pretrained(model, adapter_dir).eval()(tokens).logits[0]
    difference = (ours - theirs).abs().max().item()
    effect = (base - theirs).abs().max().item()
    print(f"largest difference {difference:.2e}; the adapter moves logits by up to {effect:.2e}")
    return 0 if difference < TOLERANCE < effect else 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
