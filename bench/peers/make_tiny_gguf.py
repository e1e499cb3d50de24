"""Writes the tiny models of record_peft.py as GGUF files, as llama.cpp's converter would: q and k of llama
permuted, matrices in f32.

    python make_tiny_gguf.py engine/tests/fixtures/peft_tiny engine/tests/fixtures/gguf_tiny

Needs gguf, numpy and safetensors.
"""

import json
import pathlib
import sys

import gguf
from safetensors.numpy import load_file

LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def own_name(name: str) -> str:
    if name in OUTER:
        return OUTER[name]
    layer, rest = name.removeprefix("model.layers.").split(".", 1)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{LAYER[module]}.{kind}"


def permuted(weight, heads: int):
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        .swapaxes(1, 2)
        .reshape(weight.shape)
    )


def write(source: pathlib.Path, out: pathlib.Path) -> None:
    config = json.loads((source / "config.json").read_text())
    arch = config["model_type"]
    writer = gguf.GGUFWriter(str(out), arch)
    writer.add_name(f"tiny {arch}")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    # A character a token, one merge, and an end.
    tokens = [chr(ord("!") + i) for i in range(config["vocab_size"] - 2)] + ["!!", "<|endoftext|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["! !"])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(False)
    for name, values in load_file(source / "model.safetensors").items():
        if arch == "llama" and ".q_proj." in name:
            values = permuted(values, config["num_attention_heads"])
        if arch == "llama" and ".k_proj." in name:
            values = permuted(values, config["num_key_value_heads"])
        writer.add_tensor(own_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(out, out.stat().st_size)


def main(source: str, out: str) -> None:
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    for family in ["llama", "qwen2"]:
        write(pathlib.Path(source) / family, pathlib.Path(out) / f"{family}.gguf")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
