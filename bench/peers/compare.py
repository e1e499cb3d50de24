"""Our figures beside the best peer's, pair by pair, as Markdown.

    python bench/peers/compare.py OURS.json [OURS2.json …] PEERS.jsonl [PEERS2.jsonl …]

OURS: what `autodidact bench engine --json` and `bench edits --json` print. PEERS: the lines of the scripts
beside this one. A pair has the same figure, model and shape; of the peers' modes the fastest is taken.
Several files are several rounds: the median of their medians, the least and the most of all repeats, and
a second table with every round's figure, in the order of the files, so that drift shows.
"""

import json
import pathlib
import statistics
import sys

import harness

UNITS = {"tokens_per_second": "tok/s", "evaluations_per_minute": "evaluations/min"}


class Series:
    """One figure of one program in one mode, a value a round."""

    def __init__(self, lines: list[dict], unit: str):
        self.unit = unit
        self.who = lines[0].get("peer", "")
        self.mode = lines[0].get("mode", "")
        self.rounds = [line[unit] for line in lines]
        self.median = statistics.median(self.rounds)
        self.least = min(line.get("min", line[unit]) for line in lines)
        self.most = max(line.get("max", line[unit]) for line in lines)
        if any(line.get("extrapolated") for line in lines):
            self.mode += ", extrapolated"

    def cell(self) -> str:
        return f"{short(self.median)} ({short(self.least)}–{short(self.most)})"


def short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def pair_key(line: dict) -> tuple:
    # Peers try one self-edit at a time; each of our ways to try several is held against that.
    shape = "" if line["name"] == "edits" and "peer" in line else line.get("shape", "")
    return (harness.model_name(line.get("model", "")), line["name"], shape)


def series(lines: list[dict]) -> dict[tuple, list[Series]]:
    """By pair, then a series a peer and mode; figures in other units are none of ours."""
    grouped: dict[tuple, dict[tuple, list[dict]]] = {}
    for line in lines:
        unit = next((u for u in UNITS if u in line), None)
        if unit:
            mode = (line.get("peer"), line.get("mode"), unit)
            grouped.setdefault(pair_key(line), {}).setdefault(mode, []).append(line)
    return {
        key: [Series(rounds, mode[2]) for mode, rounds in modes.items()]
        for key, modes in grouped.items()
    }


def read(path: str) -> list[dict]:
    text = pathlib.Path(path).read_text()
    if path.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)


def pairs(ours: dict, peers: dict):
    """Each of our figures with the best series of every peer that has the same one, fastest first."""
    for (model, name, shape), (mine, *_) in ours.items():
        rivals = peers.get((model, name, "" if name == "edits" else shape), [])
        best: dict[str, Series] = {}
        for rival in rivals:
            if rival.who not in best or rival.median > best[rival.who].median:
                best[rival.who] = rival
        ranked = sorted(best.values(), key=lambda s: -s.median)
        if ranked:
            yield model, f"{name}, {shape}", mine, ranked


def main(paths: list[str]) -> int:
    ours = series([line for p in paths if p.endswith(".json") for line in read(p)])
    peers = series([line for p in paths if p.endswith(".jsonl") for line in read(p)])
    found = list(pairs(ours, peers))
    if not found:
        print("no figure of ours has a peer's with the same model and shape", file=sys.stderr)
        return 1
    print("| model | figure | ours (least–most) | peer (least–most) | which | ours / peer |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model, figure, mine, ranked in found:
        for nth, rival in enumerate(ranked):
            ratio = f"{mine.median / rival.median:.2f}"
            print(
                f"| {model} | {figure}, {UNITS[mine.unit]} | {mine.cell()} | {rival.cell()} "
                f"| {rival.who}, {rival.mode} | {f'**{ratio}**' if nth == 0 else ratio} |"
            )
    if any(len(mine.rounds) > 1 for _, _, mine, _ in found):
        print("\n| model | figure | ours, round by round | best peer, round by round | ratios |")
        print("| --- | --- | --- | --- | --- |")
        for model, figure, mine, (best, *_) in found:
            ratios = (f"{a / b:.2f}" for a, b in zip(mine.rounds, best.rounds))
            told = [" ".join(map(short, s.rounds)) for s in (mine, best)]
            print(f"| {model} | {figure} | {told[0]} | {told[1]} | {' '.join(ratios)} |")
    return 0


if __name__ == "__main__":
    if not any(p.endswith(".json") for p in sys.argv) or not any(
        p.endswith(".jsonl") for p in sys.argv
    ):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
