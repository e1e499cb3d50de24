"""Makes adapters of every kind that this engine reads on the tiny models of record_peft.py, and records
the logits that peft computes with them, for engine/tests/peft_variants.rs.

    python record_peft_variants.py engine/tests/fixtures/peft_tiny engine/tests/fixtures/peft_variants

Every adapter is saved by peft, loaded again by peft onto a fresh base (which is when patterns are
matched in the order of the file), and recorded from there. A directory a case: the two files, and
`expected.json` with the base, the tokens and the logits of the last rows.
"""

import json
import pathlib
import shutil
import sys
import tempfile
import warnings

import torch
from peft import LoKrConfig, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.conversion import save_as_lora
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

TOKENS = [3, 41, 7, 60, 22, 13, 55, 1, 34, 9, 27, 48]
ROWS = 4
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name: (base, the arguments of LoraConfig)
CASES = {
    "patterns": (
        "llama",
        dict(
            r=2,
            lora_alpha=3,
            target_modules=LINEAR,
            rank_pattern={"layers.0.self_attn.q_proj": 4, "down_proj": 1, ".*up_proj": 3},
            # Given, q_proj comes first; sorted by the file, the longer key does.
            alpha_pattern={"q_proj": 5, "layers.1.self_attn.q_proj": 9, "^model.layers.0.mlp.up_proj": 7},
        ),
    ),
    "rslora_patterns": (
        "qwen2",
        dict(
            r=3,
            lora_alpha=4,
            use_rslora=True,
            target_modules=["q_proj", "v_proj", "down_proj"],
            rank_pattern={"v_proj": 5, r"layers\.[1-9]\.mlp\.down_proj": 2},
            alpha_pattern={"down_proj": 2.5},
        ),
    ),
    "dora": ("qwen2", dict(r=2, lora_alpha=4, use_dora=True, target_modules=["q_proj", "o_proj", "up_proj"])),
    "dora_patterns": (
        "llama",
        dict(
            r=2,
            lora_alpha=4,
            use_dora=True,
            use_rslora=True,
            target_modules=LINEAR,
            rank_pattern={"layers.0.*": 1},
            alpha_pattern={"layers.0.mlp.gate_proj": 6},
        ),
    ),
    "lora_bias": ("llama", dict(r=2, lora_alpha=6, lora_bias=True, target_modules=["k_proj", "o_proj", "down_proj"])),
    "tables": ("llama", dict(r=2, lora_alpha=4, target_modules=["v_proj", "embed_tokens", "lm_head"])),
    "tables_rslora": (
        "llama",
        dict(
            r=2,
            lora_alpha=4,
            use_rslora=True,
            target_modules=["lm_head", "embed_tokens"],
            rank_pattern={"embed_tokens": 3},
            alpha_pattern={"lm_head": 9},
        ),
    ),
    "tied_embedding": ("qwen2", dict(r=2, lora_alpha=4, target_modules=["q_proj", "embed_tokens"])),
    "tied_both": (
        "qwen2",
        dict(r=2, lora_alpha=4, target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True),
    ),
    "tied_head": ("qwen2", dict(r=2, lora_alpha=4, target_modules=["q_proj", "lm_head"])),
    "whole": ("llama", dict(r=2, lora_alpha=4, target_modules=["q_proj"], modules_to_save=["lm_head", "embed_tokens"])),
    "tied_whole": ("qwen2", dict(r=2, lora_alpha=4, target_modules=["q_proj"], modules_to_save=["embed_tokens"])),
    "tied_whole_both": (
        "qwen2",
        dict(
            r=2,
            lora_alpha=4,
            target_modules=["q_proj"],
            modules_to_save=["embed_tokens"],
            ensure_weight_tying=True,
        ),
    ),
    "excluded": (
        "llama",
        dict(
            r=2,
            lora_alpha=4,
            target_modules=r".*\.(self_attn|mlp)\.(q|v|up)_proj",
            exclude_modules=["layers.0.self_attn.v_proj"],
        ),
    ),
    "one_layer": (
        "llama",
        dict(
            r=2,
            lora_alpha=4,
            target_modules=["q_proj", "model.layers.0.mlp.up_proj"],
            layers_to_transform=[1],
            layers_pattern="layers",
        ),
    ),
    "all_linear": ("llama", dict(r=1, lora_alpha=2, target_modules="all-linear", exclude_modules=r".*layers\.0\..*")),
}


def base_model(root: pathlib.Path, base: str):
    return AutoModelForCausalLM.from_pretrained(root / base, dtype=torch.float32).eval()


def randomise(tuned) -> None:
    """No part may be what a fresh adapter has: zeros would hide mistakes."""
    with torch.no_grad():
        for name, p in tuned.named_parameters():
            if "lora_magnitude_vector" in name:
                p.mul_(torch.empty_like(p).uniform_(0.5, 1.5))
            elif "lora_" in name or "modules_to_save" in name:
                p.uniform_(-0.4, 0.4)


def record(root: pathlib.Path, out: pathlib.Path, base: str) -> None:
    """Loads the adapter in `out` onto a fresh base and writes what it computes."""
    plain = base_model(root, base)
    tokens = torch.tensor([TOKENS])
    with torch.no_grad():
        before = plain(tokens).logits[0, -ROWS:]
        tuned = PeftModel.from_pretrained(plain, out).eval()
        logits = tuned(tokens).logits[0, -ROWS:]
    assert (logits - before).abs().max() > 0.05, out
    expected = {"base": base, "tokens": TOKENS, "rows": ROWS, "logits": [round(x, 7) for x in logits.flatten().tolist()]}
    (out / "expected.json").write_text(json.dumps(expected) + "\n")
    (out / "README.md").unlink(missing_ok=True)
    print(out.name, f"moves logits by up to {(logits - before).abs().max():.2f}")


def renamed(out: pathlib.Path, source: pathlib.Path, rename) -> None:
    """A copy of an adapter with other names, or other numbers."""
    out.mkdir(parents=True)
    shutil.copy(source / "adapter_config.json", out)
    tensors = dict(rename(k, v) for k, v in load_file(source / "adapter_model.safetensors").items())
    save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})


def main() -> None:
    warnings.filterwarnings("ignore")
    root, fixtures = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(fixtures, ignore_errors=True)
    for number, (name, (base, arguments)) in enumerate(CASES.items()):
        torch.manual_seed(number)
        tuned = get_peft_model(base_model(root, base), LoraConfig(task_type="CAUSAL_LM", **arguments))
        randomise(tuned)
        tuned.save_pretrained(fixtures / name)
        record(root, fixtures / name, base)

    # Another tuner, converted: ranks by layer, and an r that no layer has.
    torch.manual_seed(100)
    config = LoKrConfig(r=2, alpha=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    tuned = get_peft_model(base_model(root, "llama"), config)
    with torch.no_grad():
        for p in (p for n, p in tuned.named_parameters() if "lokr" in n):
            p.uniform_(-0.4, 0.4)
    save_as_lora(fixtures / "converted_lokr", tuned, rank=0.9)
    record(root, fixtures / "converted_lokr", "llama")

    # PiSSA, trained a little (here: moved at random) and saved as plain LoRA of twice the rank.
    torch.manual_seed(101)
    with tempfile.TemporaryDirectory() as scratch:
        config = LoraConfig(
            r=2, lora_alpha=3, target_modules=["q_proj", "up_proj"], init_lora_weights="pissa", task_type="CAUSAL_LM"
        )
        tuned = get_peft_model(base_model(root, "llama"), config)
        initial = pathlib.Path(scratch) / "initial"
        tuned.peft_config["default"].init_lora_weights = True
        tuned.save_pretrained(initial)
        tuned.peft_config["default"].init_lora_weights = "pissa"
        with torch.no_grad():
            for p in (p for n, p in tuned.named_parameters() if "lora_" in n):
                p.add_(torch.empty_like(p).uniform_(-0.3, 0.3))
        out = fixtures / "converted_pissa"
        tuned.save_pretrained(out, path_initial_model_for_weight_conversion=str(initial))
    record(root, out, "llama")

    with_name = lambda k, v: (k.removeprefix("base_model.model.").replace(".weight", ".default.weight"), v)
    renamed(fixtures / "named_default", fixtures / "one_layer", with_name)
    expected = json.loads((fixtures / "one_layer" / "expected.json").read_text())
    (fixtures / "named_default" / "expected.json").write_text(json.dumps(expected) + "\n")
    renamed(fixtures / "bf16", fixtures / "excluded", lambda k, v: (k, v.to(torch.bfloat16)))
    record(root, fixtures / "bf16", "llama")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
