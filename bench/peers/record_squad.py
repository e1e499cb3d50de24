"""SQuAD's scores of answers, by torchmetrics (the official script, evaluate-v1.1.py), for tests of our graders.

    python bench/peers/record_squad.py [PAIRS.jsonl] > tests/fixtures/squad_scores.json

Without a file: the demo's answers against variations of themselves. A line of a file is {"gold", "answer"}.
"""

import json
import pathlib
import sys

from torchmetrics.functional.text import squad


def demo():
    documents = json.loads(pathlib.Path("demo/documents.json").read_text())
    golds = [q["answer"] for d in documents for q in d["questions"]]
    for i, gold in enumerate(golds):
        words = gold.split()
        yield gold, gold.upper() + "."
        yield gold, f"It is the {gold}, I think."
        yield gold, " ".join(words[:-1]) or gold
        yield gold, " ".join(reversed(words)) + "'s"
        yield gold, golds[(i + 1) % len(golds)]
        yield gold, gold.replace(" ", "-")


def pairs():
    if len(sys.argv) == 1:
        yield from demo()
        return
    for line in open(sys.argv[1]):
        pair = json.loads(line)
        yield pair["gold"], pair["answer"]


def scored(gold, answer):
    of = {"id": "0", "answers": {"text": [gold], "answer_start": [0]}}
    scores = squad({"prediction_text": answer, "id": "0"}, of)
    exact, f1 = float(scores["exact_match"]), float(scores["f1"])
    return {"gold": gold, "answer": answer, "exact": exact == 100, "f1": round(f1 / 100, 4)}


rows = [json.dumps(scored(g, a), ensure_ascii=False) for g, a in pairs()]
print("[\n" + ",\n".join(rows) + "\n]")
