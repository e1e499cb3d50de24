"""LoRA training by torch + peft: tokens a second of a whole optimizer step.

    python bench/peers/train_speed.py MODEL.gguf|HF_DIR [--modes f32,bf16,autocast-bf16] > train.jsonl

The work: 8 sequences of 128 tokens, every token supervised; LoRA of rank 16 on all seven linear layers
of every block; forward, backward, gradients clipped to norm 1, AdamW. Three ways to compute it:

    f32             weights, adapters and arithmetic in float32
    bf16            weights and adapters in bfloat16
    autocast-bf16   weights and adapters in float32, matrix products in bfloat16 by torch.autocast

Eager mode, no gradient checkpointing. malloc keeps its memory (see harness.py; --default-malloc
shows what that is worth).
"""

import time

import harness

LENGTH, RANK = 128, 16
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MODES = ["f32", "bf16", "autocast-bf16"]


def trained_model(torch, path, mode: str):
    from peft import LoraConfig, get_peft_model

    model = harness.load(path, torch.bfloat16 if mode == "bf16" else torch.float32)
    config = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=LINEAR, task_type="CAUSAL_LM"
    )
    # Left alone, peft would keep the adapters of a bfloat16 model in float32 and cast at every layer.
    model = get_peft_model(model, config, autocast_adapter_dtype=mode != "bf16")
    # Trained, not fresh: where B is zero, so is the gradient of A.
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    return model.train()


def measure(torch, options, mode: str) -> list[float]:
    model = trained_model(torch, options.model, mode)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    tokens = torch.randint(0, model.config.vocab_size, (options.sequences, LENGTH))

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast-bf16"):
            loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - start
        harness.note(f"{mode}: {seconds:.2f} s, loss {loss.item():.3f}")
        return seconds

    seconds = harness.repeated(step, options.warm_up, options.steps, options.limit)
    return [tokens.numel() / s for s in seconds]


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--sequences", type=int, default=8, help="another batch, to try things out")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--steps", type=int, default=9)
    options = parser.parse_args()
    modes = options.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"--modes: {', '.join(sorted(unknown))} is none of {', '.join(MODES)}")
    torch = harness.start(options)
    for mode in modes:
        speeds = measure(torch, options, mode)
        harness.report(
            peer="torch+peft",
            name="train",
            mode=mode,
            model=harness.model_name(str(options.model)),
            shape=f"{options.sequences} × {LENGTH} tokens, r {RANK}, 1 adapter",
            **harness.spread(speeds),
            **harness.environment(options),
        )


if __name__ == "__main__":
    main()
