"""Generation by transformers: prefill, and greedy decoding of one and of sixteen streams.

    python bench/peers/generate_speed.py MODEL.gguf|HF_DIR [--modes f32,bf16] > generate.jsonl

Prefill: one forward pass over 512 tokens, logits of the last alone. Decoding: `generate` after prompts of
64 tokens, 16 tokens further, counted from the first new token to the last, so the prompt's share is
left out.
"""

import time

import harness

PREFILL, PROMPT, GENERATED = 512, 64, 16
MODES = ["f32", "bf16"]


def prefill(torch, model, options) -> list[float]:
    tokens = torch.randint(0, model.config.vocab_size, (1, PREFILL))

    def run() -> float:
        start = time.perf_counter()
        model(input_ids=tokens, use_cache=True, logits_to_keep=1)
        return PREFILL / (time.perf_counter() - start)

    return harness.repeated(run, 1, options.repeats, options.limit)


def decode(torch, model, options, streams: int) -> list[float]:
    tokens = torch.randint(0, model.config.vocab_size, (streams, PROMPT))

    def run() -> float:
        moments = []

        def clock(ids, _scores, **_) -> "torch.Tensor":
            """Asked after every new token whether to stop: never, but it is the moment to note."""
            moments.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            min_new_tokens=GENERATED + 1,
            max_new_tokens=GENERATED + 1,
            stopping_criteria=[clock],
            pad_token_id=0,
        )
        assert len(moments) == GENERATED + 1, moments
        return streams * GENERATED / (moments[-1] - moments[0])

    return harness.repeated(run, 1, options.repeats, options.limit)


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--streams", default="1,16")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    modes = options.modes.split(",")
    if unknown := set(modes) - set(MODES):
        parser.error(f"--modes: {', '.join(sorted(unknown))} is none of {', '.join(MODES)}")
    torch = harness.start(options)

    def report(mode: str, name: str, shape: str, speeds: list[float]) -> None:
        harness.report(
            peer="transformers",
            name=name,
            mode=mode,
            model=harness.model_name(str(options.model)),
            shape=shape,
            **harness.spread(speeds),
            **harness.environment(options),
        )

    with torch.inference_mode():
        for mode in modes:
            dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[mode]
            model = harness.load(options.model, dtype).eval()
            report(mode, "prefill", f"{PREFILL} tokens, base", prefill(torch, model, options))
            for streams in map(int, options.streams.split(",")):
                speeds = decode(torch, model, options, streams)
                report(mode, "decode", f"{streams} streams, base", speeds)


if __name__ == "__main__":
    main()
