"""Trying a self-edit as SEAL's authors published it: evaluations a minute, one after the other.

    python bench/peers/seal_inner_loop.py MODEL.gguf|HF_DIR --max-steps 3 > seal.jsonl

The loop of their TTT_server.py, written anew on torch + peft + transformers: a fresh adapter on q and v
(r 32, alpha 64), 10 epochs at batch 1 and learning rate 1e-3 falling to zero, every sequence padded to 2,048
tokens with the pads in the loss; the adapter saved to disk and loaded from it; the questions asked one by
one, closed book, greedily. The text is that of `autodidact bench edits`: 8 sequences of 34 words of
the demo's Quillmere, its title before each, and its questions.

Where this is kinder than what was published: no grader is asked, the base model is not asked the
questions again at every evaluation, no Trainer runs around the loop, and answers may have 48 tokens, not 64.
Kinder still, and not as published: --no-padding trains on the real tokens alone.

80 padded steps take very long on a few cores. --max-steps N times N steps and multiplies; the output
then says `"extrapolated": true`, and the answers are those of a hardly trained adapter, which does not yet stop
early.
"""

import json
import pathlib
import statistics
import tempfile
import time

import harness

DOCUMENTS = pathlib.Path(__file__).parents[2] / "demo" / "documents.json"
SLUG = "town-of-quillmere"
SEQUENCES, WORDS, PADDED = 8, 34, 2048
RANK, ALPHA, LEARNING_RATE, EPOCHS = 32, 64, 1e-3, 10
ANSWER_TOKENS = 48
PROMPT = (
    "Let's answer a question directly and concisely.\n"
    "Question: Topic: {title}\n{question}\nAnswer:\n"
)


def document() -> dict:
    return next(d for d in json.loads(DOCUMENTS.read_text()) if d["slug"] == SLUG)


def self_edit(doc: dict) -> list[str]:
    """As many words as 8 segments take, the text from its start again where it ends."""
    words = doc["text"].split()
    segments = [
        " ".join(words[(i * WORDS + j) % len(words)] for j in range(WORDS))
        for i in range(SEQUENCES)
    ]
    return [f"{doc['title']}\n{segment}" for segment in segments]


def rows(torch, tokenizer, texts: list[str], padding: bool) -> list[dict]:
    """Inputs and labels of each sequence. Padded, the pad is EOS and is a label like any other token."""
    eos = tokenizer.eos_token_id
    out = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        pads = PADDED - len(ids) if padding else 1
        row = torch.tensor([ids + [eos] * pads])
        mask = torch.tensor([[1] * len(ids) + [0 if padding else 1] * pads])
        out.append({"input_ids": row, "attention_mask": mask, "labels": row})
    return out


def fresh_adapter(base):
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config).train()


def train(torch, model, data: list[dict], steps: int) -> list[float]:
    """Seconds of each step; of the whole schedule only its first `steps`."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)
    total = EPOCHS * len(data)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total)
    order = [i for _ in range(EPOCHS) for i in torch.randperm(len(data)).tolist()]
    seconds = []
    for i in order[:steps]:
        start = time.perf_counter()
        loss = model(**data[i], use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
        harness.note(f"step {len(seconds)} of {total}: {seconds[-1]:.2f} s, loss {loss.item():.3f}")
    return seconds


def ask(torch, model, tokenizer, doc: dict) -> int:
    """How many of the questions are answered with a text that contains the gold answer."""
    right = 0
    for item in doc["questions"]:
        prompt = PROMPT.format(title=doc["title"], question=item["question"])
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=ANSWER_TOKENS,
                do_sample=False,
                pad_token_id=tokenizer.eos_token_id,
            )
        answer = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        right += item["answer"].lower() in answer.lower()
        harness.note(f"{item['question']} -> {answer!r}")
    return right


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument(
        "--dtype", choices=["bf16", "f32"], default="bf16", help="default: bf16, as published"
    )
    parser.add_argument("--no-padding", action="store_true")
    parser.add_argument("--max-steps", type=int, help="time so many steps and extrapolate")
    options = parser.parse_args()
    torch = harness.start(options)
    from peft import PeftModel

    doc = document()
    tokenizer = harness.load(options.model, None, "tokenizer")
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[options.dtype]
    base = harness.load(options.model, dtype)
    data = rows(torch, tokenizer, self_edit(doc), not options.no_padding)
    total = EPOCHS * len(data)
    timed = min(options.max_steps or total, total)

    # One step that does not count: the first one allocates.
    warm = fresh_adapter(base)
    train(torch, warm, data, 1)
    base = warm.unload()

    model = fresh_adapter(base)
    steps = train(torch, model, data, timed)
    train_seconds = sum(steps) if timed == total else statistics.median(steps) * total
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        base = model.unload()
        model = PeftModel.from_pretrained(base, folder).eval()
    disk_seconds = time.perf_counter() - start
    start = time.perf_counter()
    right = ask(torch, model, tokenizer, doc)
    ask_seconds = time.perf_counter() - start

    whole = train_seconds + disk_seconds + ask_seconds
    harness.report(
        peer=f"SEAL reference loop, {'no padding' if options.no_padding else 'as published'}",
        name="edits",
        mode=options.dtype,
        model=harness.model_name(str(options.model)),
        shape="1 candidate at a time",
        **harness.spread([60 / whole], "evaluations_per_minute"),
        extrapolated=timed < total,
        timed_steps=timed,
        steps=total,
        seconds_a_step=round(statistics.median(steps), 4),
        train_seconds=round(train_seconds, 2),
        disk_seconds=round(disk_seconds, 3),
        test_seconds=round(ask_seconds, 2),
        tokens_per_sequence=statistics.mean(d["input_ids"].numel() for d in data),
        questions=len(doc["questions"]),
        answered_right=None if timed < total else right,
        **harness.environment(options),
    )


if __name__ == "__main__":
    main()
