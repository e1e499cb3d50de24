#!/usr/bin/env python3
"""Figures from kept tables that `autodidact reproduce` does not print itself.

    bench/paired.py difference OLD_DIR OLD_ROW NEW_DIR NEW_ROW
    bench/paired.py counts QUESTIONS:OLD:NEW ...
    bench/paired.py reward DIR [--without CONTEXT ...]
    bench/paired.py --self-test

difference  How much better NEW_ROW answers the same questions, from the same seeds, than OLD_ROW. Each DIR is the
            `--out` of a `reproduce knowledge`; both may be the same. Rows are read from `knowledge.json`, or from
            `steps.jsonl` where one of the two rows is not in that file (an interrupted command, or more rows than
            the last command asked for).
counts      The same difference, where all that is left of each passage is its number of answered questions and how
            many of them were right: a passage an argument, such as 15:8:7.
reward      The table of `reproduce reward` again, from its `reward.json`, without some of the contexts. With all
            contexts it must agree with the program, and says so.

Intervals are those of `stats.rs`: the mean of all values, 2,000 resamples of whole clusters (passages or contexts),
and the 2.5th and 97.5th percentiles. The random numbers differ from the program's, so interval ends may differ by some
tenths of a point. Python's standard library is enough.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

RESAMPLES = 2000
# The order of the figures in a repeat, and the name of the reward that has one figure for all repeats.
MEASURED = ["accuracy", "likelihood", "combined", "expected"]
RUBRIC = "rubric"
# What a measurement by each reward takes.
COST = {
    "accuracy": ["training", "answering"],
    "likelihood": ["training", "scoring"],
    "combined": ["training", "answering", "scoring"],
    "expected": ["training", "sampling"],
    RUBRIC: ["marking"],
}
STEP = re.compile(r"(?P<row>.*):(?P<passage>sha256:[0-9a-f]+):seed:(?P<seed>\d+)")


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def estimate(clusters):
    """`clusters`: lists of values. Returns (mean, low, high, number of values)."""
    sums = [(sum(c), len(c)) for c in clusters if c]
    if not sums:
        return 0.0, 0.0, 0.0, 0

    def of(drawn):
        return sum(s for s, _ in drawn) / sum(n for _, n in drawn)

    rng = random.Random(0)
    means = sorted(of(rng.choices(sums, k=len(sums))) for _ in range(RESAMPLES))
    low, high = means[RESAMPLES * 25 // 1000], means[RESAMPLES * 975 // 1000]
    return of(sums), low, high, sum(n for _, n in sums)


def percent(of):
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * v for v in of[:3]))


# --- difference and counts ---


def from_table(directory, row):
    """{(title, question, gold, seed, occurrence): (passage, right)}, or None where the file or the row is missing."""
    path = Path(directory) / "knowledge.json"
    if not path.exists():
        return None
    rows = json.loads(path.read_text())["rows"]
    found = next((r for r in rows if r["arm"] == row), None)
    if found is None:
        return None
    answers, seen = {}, Counter()
    for a in found["answers"]:
        key = (a["title"], a["question"], a["gold"], a["seed"])
        answers[(*key, seen[key])] = (a["passage"], a["correct"])
        seen[key] += 1
    return answers


def steps(directory):
    path = Path(directory) / "steps.jsonl"
    if not path.exists():
        raise SystemExit(f"{directory} has no {path.name}: it is no --out of `reproduce`")
    for line in path.read_bytes().split(b"\n"):
        try:
            key, value = json.loads(line)
        except ValueError:
            continue  # An empty line, or one that a kill has cut off.
        yield key, value


def from_steps(directory, row):
    """{(passage, seed, nth question): (passage, right)}. Names of passages are digests."""
    answers, rows = {}, set()
    for key, value in steps(directory):
        step = STEP.fullmatch(key)
        if not step:
            continue
        rows.add(step["row"])
        if step["row"] == row:
            for nth, answer in enumerate(value["answers"]):
                key = (step["passage"], int(step["seed"]), nth)
                answers[key] = (step["passage"], answer["correct"])
    if not answers:
        raise SystemExit(f"{directory} has no row {row!r}; it has {', '.join(sorted(rows)) or 'none'}")
    return answers


def paired(old, new):
    """Clusters of new - old over the questions that both answered, and how many questions only one answered."""
    clusters = defaultdict(list)
    for key in sorted(old.keys() & new.keys(), key=str):
        passage, before = old[key]
        clusters[passage].append(int(new[key][1]) - int(before))
    return list(clusters.values()), len(old.keys() ^ new.keys())


def difference(options):
    sources = [(options.old_dir, options.old_row), (options.new_dir, options.new_row)]
    old, new = (from_table(*source) for source in sources)
    if old is None or new is None:
        old, new = (from_steps(*source) for source in sources)
    clusters, alone = paired(old, new)
    if not clusters:
        raise SystemExit("the two rows have no question of the same seed in common")
    tell(clusters)
    if alone:
        print(f"left out: {alone} answers that only one of the rows has")


def counts(options):
    tell([expanded(of) for of in options.passages])


def expanded(text):
    """Any values with the passage's sum and number: the interval depends on no more."""
    try:
        questions, old, new = (int(n) for n in text.split(":"))
    except ValueError:
        raise SystemExit(f"{text}: a passage is QUESTIONS:OLD:NEW, such as 15:8:7") from None
    if not (0 <= old <= questions and 0 <= new <= questions and questions > 0):
        raise SystemExit(f"{text}: no more can be right than were asked")
    sign = 1 if new >= old else -1
    return [sign] * abs(new - old) + [0] * (questions - abs(new - old))


def tell(clusters):
    of = estimate(clusters)
    print(f"difference: {percent(of)} points, {len(clusters)} passages, {of[3]} answers")
    by_passage = " ".join(f"{sum(c):+d}" for c in clusters)
    print(f"answers more right, by passage: {by_passage}")


# --- reward ---


def gains(measured, reward):
    """A figure a repeat. A rubric has no seed: measured again it says the same."""
    if reward == RUBRIC:
        return [measured["rubric"]] * len(measured["repeats"])
    nth = MEASURED.index(reward)
    return [r[nth] for r in measured["repeats"]]


def reliability(rewards):
    """`rewards[context][candidate][repeat]`: (ICC(3,1), ICC(3,k)), pooled over contexts. None where nothing varies."""
    repeats = min(len(c) for context in rewards for c in context)
    between = rest = 0.0
    free_between = free_rest = 0
    for context in rewards:
        means = [mean(c[:repeats]) for c in context]
        middle = mean(means)
        of_repeat = [mean(c[r] for c in context) for r in range(repeats)]
        for candidate, own in zip(context, means):
            between += repeats * (own - middle) ** 2
            rest += sum((candidate[r] - own - of_repeat[r] + middle) ** 2 for r in range(repeats))
        free_between += len(context) - 1
        free_rest += (len(context) - 1) * (repeats - 1)
    if not free_between or not free_rest:
        return None
    msb, mse = between / free_between, rest / free_rest
    total = msb + (repeats - 1) * mse
    if msb <= 0 or total <= 0:
        return None
    return (msb - mse) / total, (msb - mse) / msb


def worth_of_choosing(rewards, accuracies):
    """Of one context, both `[candidate][repeat]`: for each repeat, how much more accurate the candidate that it
    prefers is in the other repeats than all candidates are there. Candidates of equal reward share the choice."""
    repeats = min(len(c) for c in rewards)
    if repeats < 2:
        return []
    worth = []
    for by in range(repeats):
        others = [mean(c[r] for r in range(repeats) if r != by) for c in accuracies]
        best = max(c[by] for c in rewards)
        chosen = [o for c, o in zip(rewards, others) if c[by] == best]
        worth.append(mean(chosen) - mean(others))
    return worth


def correlation(contexts):
    """Pearson's, over pairs less the means of their context."""
    xx = yy = xy = 0.0
    for pairs in contexts:
        mx, my = mean(x for x, _ in pairs), mean(y for _, y in pairs)
        xx += sum((x - mx) ** 2 for x, _ in pairs)
        yy += sum((y - my) ** 2 for _, y in pairs)
        xy += sum((x - mx) * (y - my) for x, y in pairs)
    return xy / (xx * yy) ** 0.5 if xx > 0 and yy > 0 else None


def reward_row(reward, measured):
    contexts = defaultdict(list)
    for one in measured:
        contexts[one["context"]].append(one)
    contexts = list(contexts.values())
    rewards = [[gains(m, reward) for m in of] for of in contexts]
    accuracies = [[gains(m, "accuracy") for m in of] for of in contexts]
    both = list(zip(rewards, accuracies))
    return {
        "reward": reward,
        "reliability": reliability(rewards),
        "with_accuracy": correlation([[(mean(r), mean(a)) for r, a in zip(*of)] for of in both]),
        "chosen": estimate([worth_of_choosing(*of) for of in both]),
        "seconds": mean(sum(m["seconds"][part] for part in COST[reward]) for m in measured),
    }


def agrees(row, told):
    """Whether the program's own row says the same, but for the interval's ends."""
    theirs = told["reliability"] and (told["reliability"]["single"], told["reliability"]["mean"])
    ours = [*(row["reliability"] or (None, None)), row["with_accuracy"], row["chosen"][0], row["seconds"]]
    theirs = [*(theirs or (None, None)), told["with_accuracy"], told["chosen"]["mean"], told["seconds"]]
    near = lambda a, b: a == b if a is None or b is None else abs(a - b) <= 1e-3 * max(1.0, abs(b))
    return all(near(a, b) for a, b in zip(ours, theirs))


def reward(options):
    path = Path(options.directory) / "reward.json"
    if not path.exists():
        raise SystemExit(f"{options.directory} has no {path.name}: it is no --out of a finished `reproduce reward`")
    kept = json.loads(path.read_text())
    there = {m["context"] for m in kept["measured"]}
    unknown = set(options.without) - there
    if unknown:
        raise SystemExit(f"--without: there is no context {min(unknown)}; there are {sorted(there)}")
    measured = [m for m in kept["measured"] if m["context"] not in options.without]
    if not measured:
        raise SystemExit("--without: nothing is left")
    rows = [reward_row(name, measured) for name in [*MEASURED, RUBRIC]]
    number = lambda v: "–" if v is None else f"{v:.2f}"
    print("| reward | one measurement | mean of all | with accuracy | chosen by one, points | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        single, all_ = row["reliability"] or (None, None)
        cells = [row["reward"], number(single), number(all_), number(row["with_accuracy"])]
        print("| " + " | ".join([*cells, percent(row["chosen"]), f"{row['seconds']:.1f}"]) + " |")
    if not options.without:
        told = {r["reward"]: r for r in kept["rows"]}
        wrong = [r["reward"] for r in rows if r["reward"] in told and not agrees(r, told[r["reward"]])]
        if wrong:
            raise SystemExit(f"the program's own table differs in {', '.join(wrong)}")
        print("\nas the program's own table, but for the ends of the intervals")


# --- self-test ---


def self_test():
    import contextlib
    import io
    import tempfile

    def near(a, b, by=1e-9):
        assert abs(a - b) <= by, (a, b)

    # The interval: 600 coins of standard error 0.02, and a cluster without values.
    coins = estimate([[i % 2] * 4 for i in range(600)] + [[]])
    assert coins[0] == 0.5 and coins[3] == 2400
    near(coins[2] - coins[1], 0.08, 0.01)
    assert estimate([]) == (0.0, 0.0, 0.0, 0)
    # What the program printed of the answers that these counts are left of (dev/log/2026-11.md, 2026-11-28).
    diary = "9:1:8 15:8:7 15:1:7 12:12:6 15:0:12 3:3:0 9:5:7 15:13:11 15:10:8 15:7:11".split()
    of = estimate([expanded(p) for p in diary])
    near(100 * of[0], 13.8, 0.05)
    near(100 * of[1], -11.9, 1.0)
    near(100 * of[2], 41.1, 1.0)

    def answers(rights, passage=0, seed=0):
        asked = lambda n, right: {"passage": passage, "title": "T", "question": f"Q{n}", "gold": "g",
                                  "answer": "a", "correct": right, "seed": seed}
        return [asked(n, right) for n, right in enumerate(rights)]

    def said(of, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main([of, *map(str, arguments)])
        return out.getvalue()

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        digest = lambda n: "sha256:" + str(n) * 64
        # Two passages that each gain one of two, and a question that only the new row has.
        table = {"rows": [{"arm": "old", "answers": answers([0, 1]) + answers([0, 0], 2, 1)},
                          {"arm": "new", "answers": answers([1, 1, 1]) + answers([1, 0], 2, 1)}]}
        (scratch / "knowledge.json").write_text(json.dumps(table))
        step = lambda row, passage, rights: json.dumps(
            [f"{row}:{digest(passage)}:seed:0", {"answers": [{"correct": bool(r)} for r in rights]}])
        lines = [step("implications, round 1", 1, [1, 1]), step("implications", 1, [0, 1]),
                 step("implications, round 1", 2, [1, 0]), step("implications", 2, [1, 1]), '["cut", {']
        (scratch / "steps.jsonl").write_text("\n".join(lines))
        text = said("difference", scratch, "old", scratch, "new")
        assert "50.0 [50.0, 50.0] points, 2 passages, 4 answers" in text, text
        assert "left out: 1 answers" in text, text
        # Not in the table, so from the steps: one gained, one lost.
        text = said("difference", scratch, "implications", scratch, "implications, round 1")
        assert "0.0 [-50.0, 50.0] points, 2 passages, 4 answers" in text and "+1 -1" in text, text

        # As the tests of reliability.rs: a repeat that adds to both alike is no noise between them.
        seconds = {"training": 10, "answering": 4, "scoring": 2, "sampling": 3, "marking": 1}
        one = lambda context, repeats, rubric: {"context": context, "candidate": 0, "repeats": repeats,
                                                "rubric": rubric, "seconds": seconds}
        measured = [one(0, [[0.0, 1.0, 0.1, 0.5], [0.4, 1.0, 0.5, 0.5]], 0.9),
                    one(0, [[0.2, 2.0, 0.3, 0.1], [0.6, 2.0, 0.7, 0.1]], 0.1)]
        rows = [reward_row(name, measured) for name in [*MEASURED, RUBRIC]]
        assert [r["seconds"] for r in rows] == [14, 12, 16, 13, 1]
        near(rows[0]["reliability"][0], 1.0)
        near(rows[1]["with_accuracy"], 1.0)
        near(rows[3]["with_accuracy"], -1.0)
        assert [round(100 * r["chosen"][0]) for r in rows] == [10, 10, 10, -10, -10]
        told = lambda row: {"reward": row["reward"], "with_accuracy": row["with_accuracy"],
                            "reliability": dict(zip(["single", "mean"], row["reliability"])),
                            "chosen": {"mean": row["chosen"][0]}, "seconds": row["seconds"]}
        more = measured + [one(7, [[0.5] * 4, [0.1] * 4], 0.5), one(7, [[0.1] * 4, [0.5] * 4], 0.5)]
        kept = {"rows": [told(r) for r in rows], "measured": more}
        (scratch / "reward.json").write_text(json.dumps(kept))
        assert "| accuracy | 1.00 | 1.00 | 1.00 | 10.0 [10.0, 10.0] | 14.0 |" in said(
            "reward", scratch, "--without", 7)
        try:
            said("reward", scratch)
        except SystemExit as e:
            assert "differs in accuracy" in str(e), e
        else:
            raise AssertionError("a table of other contexts must not agree")
        kept["measured"] = measured
        (scratch / "reward.json").write_text(json.dumps(kept))
        assert "as the program's own table" in said("reward", scratch)
    # Chosen by luck, and a choice between equals.
    by_luck = [[0.0, 1.0], [1.0, 0.0]]
    assert worth_of_choosing(by_luck, by_luck) == [-0.5, -0.5]
    assert worth_of_choosing([[1.0, 1.0]] * 2, by_luck) == [0.0, 0.0]
    assert worth_of_choosing([[1.0]], [[1.0]]) == []
    assert reliability([[[1.0, 1.0], [1.0, 1.0]]]) is None and correlation([[(1.0, 2.0)]]) is None
    print("the self-test passed")


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    commands = parser.add_subparsers()
    command = commands.add_parser("difference")
    for name in ["old_dir", "old_row", "new_dir", "new_row"]:
        command.add_argument(name)
    command.set_defaults(run=difference)
    command = commands.add_parser("counts")
    command.add_argument("passages", nargs="+", metavar="QUESTIONS:OLD:NEW")
    command.set_defaults(run=counts)
    command = commands.add_parser("reward")
    command.add_argument("directory")
    command.add_argument("--without", type=int, nargs="+", default=[], metavar="CONTEXT")
    command.set_defaults(run=reward)
    options = parser.parse_args(arguments)
    if options.self_test:
        self_test()
    elif "run" in options:
        options.run(options)
    else:
        parser.print_help()
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
