"""Records how transformers reads odd weight files: engine/tests/fixtures/weights.json.

    python bench/peers/record_weights.py      (needs torch, transformers 5.24.0)

A variant says what its file holds and how its tensors are named; the outcome says which of the two tables of the file
became the embedding and which the output projection, or that tensors were missing (transformers then draws them at
random, which is no model). The engine's test writes the same variants of its own tiny model and opens them.
"""

import json
import pathlib
import tempfile

import torch
import transformers
from safetensors.torch import save_file

FAMILIES = ["llama", "qwen2", "qwen3"]
# `tie`: as in config.json; `head`: other (than the embedding), same or none; `prefix`: in place of "model.".
VARIANTS = [
    {"name": "tied, a different head", "tie": True, "head": "other"},
    {"name": "tied, the same head", "tie": True, "head": "same"},
    {"name": "tied, only the embedding", "tie": True, "head": "none"},
    {"name": "tied, only the head", "tie": True, "head": "other", "embedding": False},
    {"name": "untied", "tie": False, "head": "other"},
    {"name": "untied, only the embedding", "tie": False, "head": "none"},
    {"name": "untied, only the head", "tie": False, "head": "other", "embedding": False},
    {"name": "unsaid, both", "head": "other"},
    {"name": "no prefix", "tie": False, "head": "other", "prefix": ""},
    {"name": "no prefix, tied", "tie": True, "head": "none", "prefix": ""},
    {"name": "no prefix, tied, only the head", "tie": True, "head": "other", "embedding": False, "prefix": ""},
    {"name": "doubled prefix", "tie": False, "head": "other", "prefix": "model.model."},
    {"name": "doubled prefix, tied, a different head", "tie": True, "head": "other", "prefix": "model.model."},
    {"name": "prefix on the head too", "tie": False, "head": "other", "prefix": "model.model.", "head_prefix": "model."},
    {"name": "prefix of a wrapper", "tie": True, "head": "none", "prefix": "module.model."},
    {"name": "prefix of an adapter", "tie": True, "head": "none", "prefix": "base_model.model.model."},
    {"name": "doubles", "tie": False, "head": "other", "dtype": "F64"},
    {"name": "extra tensors", "tie": True, "head": "none", "extra": ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.0.mlp.up_proj.scale"]},
    {"name": "a layer too many", "tie": True, "head": "none", "extra": ["model.layers.2.mlp.up_proj.weight"]},
    {"name": "a tensor missing", "tie": True, "head": "none", "without": "model.layers.1.mlp.up_proj.weight"},
]


def model(family: str):
    kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config}
    config = kind[family](vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, head_dim=8, max_position_embeddings=64, tie_word_embeddings=False)
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def outcome(family: str, variant: dict):
    made = model(family)
    config, state = made.config.to_dict(), dict(made.state_dict())
    embedding, head = state["model.embed_tokens.weight"].clone(), state["lm_head.weight"].clone()
    config.pop("tie_word_embeddings")
    if "tie" in variant:
        config["tie_word_embeddings"] = variant["tie"]
    if variant["head"] == "same":
        state["lm_head.weight"] = embedding
    if variant["head"] == "none":
        del state["lm_head.weight"]
    if not variant.get("embedding", True):
        del state["model.embed_tokens.weight"]
    state.pop(variant.get("without"), None)
    prefix = variant.get("prefix", "model.")
    named = lambda name: prefix + name.removeprefix("model.") if name.startswith("model.") else variant.get("head_prefix", "") + name
    dtype = {"F32": torch.float32, "F64": torch.float64}[variant.get("dtype", "F32")]
    state = {named(name): tensor.clone().to(dtype) for name, tensor in state.items()}
    state |= {name: torch.ones(4) for name in variant.get("extra", [])}
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        save_file(state, directory / "model.safetensors", {"format": "pt"})
        (directory / "config.json").write_text(json.dumps(config))
        read, info = transformers.AutoModelForCausalLM.from_pretrained(
            directory, output_loading_info=True, dtype=torch.float32)
    if info["missing_keys"]:
        return "missing"
    table = lambda weight: "embedding" if torch.equal(weight, embedding) else "head" if torch.equal(weight, head) else "neither"
    return {"embedding": table(read.model.embed_tokens.weight), "head": table(read.lm_head.weight)}


def main() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = [variant | {"family": family, "outcome": outcome(family, variant)} for family in FAMILIES for variant in VARIANTS]
    out = pathlib.Path(__file__).resolve().parents[2] / "engine/tests/fixtures/weights.json"
    lines = ",\n".join(json.dumps(case) for case in cases)
    out.write_text(f'{{"transformers": "{transformers.__version__}", "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases to {out}")


if __name__ == "__main__":
    main()
