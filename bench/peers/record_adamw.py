"""Records what torch's AdamW does, for the test of the engine's own.

Two parameter groups stand for a LoRA pair's A and B (LoRA+ gives B its own rate); gradients are
clipped by their common norm as in training. Needs torch:

    python bench/peers/record_adamw.py > engine/tests/fixtures/adamw.json
"""

import json

import torch

SETTINGS = {
    "learning_rate_a": 1e-2,
    "learning_rate_b": 4e-2,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
}


def main():
    torch.manual_seed(0)
    a, b = (torch.nn.Parameter(torch.randn(n)) for n in (19, 7))
    start = [a.tolist(), b.tolist()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [a], "lr": SETTINGS["learning_rate_a"]},
            {"params": [b], "lr": SETTINGS["learning_rate_b"]},
        ],
        betas=(SETTINGS["beta1"], SETTINGS["beta2"]),
        eps=SETTINGS["eps"],
        weight_decay=SETTINGS["weight_decay"],
    )
    steps = []
    for size in (2.0, 0.05, 0.7, 1e-4, 3.0, 0.2):
        a.grad, b.grad = (torch.randn_like(p) * size for p in (a, b))
        grads = [a.grad.tolist(), b.grad.tolist()]
        norm = torch.nn.utils.clip_grad_norm_([a, b], SETTINGS["clip_norm"])
        optimizer.step()
        parameters = [a.tolist(), b.tolist()]
        steps.append({"grads": grads, "norm": norm.item(), "parameters": parameters})
    print(json.dumps({**SETTINGS, "start": start, "steps": steps}))


if __name__ == "__main__":
    main()
