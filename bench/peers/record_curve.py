"""Records the loss curve of torch + peft on a tiny model, for engine/tests/curve.rs.

    python record_curve.py engine/tests/fixtures/peft_tiny

Takes each family's model and adapter of record_peft.py, trains the adapter on by all examples at once
(so that their order is nothing to agree on) and writes `curve.json`: the examples, the settings and the
mean loss over the supervised tokens of every step. The examples share a beginning nobody learns from.
"""

import json
import pathlib
import random
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

STEPS, RATE, DECAY, CLIP = 40, 5e-3, 0.01, 1.0


def examples() -> list[dict]:
    draw = random.Random(7)
    prompt = [draw.randrange(64) for _ in range(10)]
    rows = []
    for own, answer in [(2, 5), (3, 1), (1, 8), (4, 4)]:
        tokens = prompt + [draw.randrange(64) for _ in range(own + answer)]
        rows.append({"tokens": tokens, "first_target": len(prompt) + own})
    text = [draw.randrange(64) for _ in range(15)]
    return rows + [{"tokens": text, "first_target": 1}]


def curve(root: pathlib.Path) -> list[float]:
    model = AutoModelForCausalLM.from_pretrained(root, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, root / "adapter", is_trainable=True).eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=DECAY)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    losses = []
    for _ in range(STEPS):
        nlls = []
        for row in examples():
            tokens, first = torch.tensor([row["tokens"]]), row["first_target"]
            logits = model(tokens).logits[0, first - 1 : -1]
            nlls.append(torch.nn.functional.cross_entropy(logits, tokens[0, first:], reduction="none"))
        loss = torch.cat(nlls).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def main() -> None:
    for family in ("llama", "qwen2"):
        root = pathlib.Path(sys.argv[1]) / family
        losses = curve(root)
        print(family, losses[0], "->", losses[-1])
        recorded = {
            "examples": examples(),
            "steps": STEPS,
            "learning_rate": RATE,
            "weight_decay": DECAY,
            "clip_norm": CLIP,
            "losses": losses,
        }
        (root / "curve.json").write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
