"""Makes tiny models with a PEFT adapter and records what torch and peft compute with them, for
engine/tests/peft.rs.

    python record_peft.py engine/tests/fixtures/peft_tiny

A directory a family (llama, qwen2), each with the model as Hugging Face saves it, the adapter as PEFT
saves it (rank 4, alpha 8, all seven linear layers, A and B random; llama's targets are written as
module names, qwen2's as full paths, which is how PEFT resolves "all-linear") and `expected.json`: logits of
every position without and with the adapter, the mean loss of the supervised positions, and torch's
gradient of a few entries of every A and B.
"""

import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

TOKENS = [3, 41, 7, 60, 22, 13, 55, 1, 34, 9, 27, 48]
# Rows whose next token is supervised.
FIRST_TARGET_ROW = 4
SHAPE = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    initializer_range=0.2,
)
ENTRIES = 3
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def randomise(parameters, low: float, high: float) -> None:
    for parameter in parameters:
        torch.nn.init.uniform_(parameter, low, high)


def write_tokenizer(out: pathlib.Path) -> None:
    """A model directory is not complete without one: a character a token."""
    characters = [chr(c) for c in range(ord("!"), ord("!") + SHAPE["vocab_size"])]
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(out / "tokenizer.json"))


def record(out: pathlib.Path, model, targets) -> None:
    named = dict(model.named_parameters())
    # What a fresh model leaves at one or zero would hide mistakes.
    randomise([p for n, p in named.items() if "norm" in n], 0.5, 1.5)
    randomise([p for n, p in named.items() if n.endswith("bias")], -0.3, 0.3)
    model.save_pretrained(out)
    write_tokenizer(out)
    tokens = torch.tensor([TOKENS])
    with torch.no_grad():
        base = model(tokens).logits[0]

    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM")
    tuned = get_peft_model(model, config).eval()
    pairs = {n: p for n, p in tuned.named_parameters() if "lora_" in n}
    assert len(pairs) == 2 * 7 * SHAPE["num_hidden_layers"], sorted(pairs)
    randomise(pairs.values(), -0.3, 0.3)
    tuned.save_pretrained(out / "adapter")
    (out / "adapter" / "README.md").unlink()

    logits = tuned(tokens).logits[0]
    rows = range(FIRST_TARGET_ROW, len(TOKENS) - 1)
    nll = torch.nn.functional.cross_entropy(
        logits[list(rows)], tokens[0, [r + 1 for r in rows]], reduction="none"
    )
    nll.mean().backward()
    gradients = []
    for name, parameter in pairs.items():
        flat = parameter.grad.flatten()
        # The largest entry and some others: a sample that is not all noise.
        picks = {int(flat.abs().argmax())} | {
            int(i) for i in torch.randint(flat.numel(), (ENTRIES,))
        }
        gradients += [
            {
                "layer": int(name.split(".layers.")[1].split(".")[0]),
                "projection": name.split(".lora_")[0].split(".")[-1],
                "matrix": name.split(".lora_")[1][0].lower(),
                "index": i,
                "gradient": float(flat[i]),
            }
            for i in sorted(picks)
        ]
    expected = {
        "tokens": TOKENS,
        "first_target_row": FIRST_TARGET_ROW,
        "base_logits": base.flatten().tolist(),
        "adapter_logits": logits.detach().flatten().tolist(),
        "nll": nll.tolist(),
        "gradients": gradients,
    }
    (out / "expected.json").write_text(json.dumps(expected) + "\n")
    print(out, "loss", nll.mean().item(), "gradients", len(gradients))


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    torch.manual_seed(20250612)
    tied = dict(SHAPE, tie_word_embeddings=True)
    untied = dict(SHAPE, tie_word_embeddings=False)
    record(root / "llama", LlamaForCausalLM(LlamaConfig(**untied)).eval(), LINEAR)
    record(root / "qwen2", Qwen2ForCausalLM(Qwen2Config(**tied)).eval(), "all-linear")


if __name__ == "__main__":
    main()
