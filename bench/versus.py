#!/usr/bin/env python3
"""The work of `bench/versus.sh`: two builds learn the same documents through HTTP, in turns.

Each build serves the same model from a data directory of its own. Every document is posted to an alias of its own,
without its questions; then its questions are asked of that alias, one a request, with nothing else in the prompt. An
answer is right if it holds at least 0.8 of the words of the right answer. Intervals are those of `paired.py`: documents
are resampled. Python's standard library is enough.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from paired import estimate

DEMO = Path(__file__).resolve().parent.parent / "demo" / "documents.json"
STAGES = ["self_edit", "probes", "before", "training", "after", "publishing"]
READY_SECONDS = 900
LEARNED_SECONDS = 3600


def documents(spec):
    """FILE[:SKIP[:LIMIT]] as a list of {name, title, text, questions}."""
    file, *numbers = spec.split(":")
    skip, limit = [int(n) for n in numbers] + [0, 1_000_000][len(numbers) :]
    stem = Path(file).stem
    entries = json.loads(Path(file).read_text())[skip : skip + limit]
    return [
        {
            "name": f"{stem}-{skip + nth:03}",
            "title": e["title"],
            "text": e.get("text") or e["context"],
            "questions": [(q["question"], q["answer"]) for q in e["questions"]],
        }
        for nth, e in enumerate(entries)
    ]


def words(text):
    text = "".join(" " if c in string.punctuation and c not in ".," else c for c in text.lower())
    return [w for w in (w.strip(".,") for w in text.split()) if w and w not in ("a", "an", "the")]


def right(gold, answer):
    wanted, said = words(gold), words(answer)
    held = 0
    for word in wanted:
        if word in said:
            said.remove(word)
            held += 1
    return held >= 0.8 * len(wanted)


class Server:
    def __init__(self, binary, model, data):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [binary, "serve", "--listen", f"127.0.0.1:{port}", "--data", str(data), "--model", model]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        begun = time.monotonic()
        while True:
            try:
                self.get("/readyz")
                break
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None:
                    raise SystemExit(f"{binary} ended: {self.process.stderr.read()[-2000:]}")
                if time.monotonic() - begun > READY_SECONDS:
                    raise SystemExit(f"{binary} is not ready after {READY_SECONDS} s")
                time.sleep(0.2)
        self.base = self.get("/v1/models")["data"][0]["id"]

    def get(self, path):
        return self.send(urllib.request.Request(self.url + path))

    def post(self, path, body):
        body = json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        return self.send(urllib.request.Request(self.url + path, body, headers))

    def send(self, request):
        with urllib.request.urlopen(request, timeout=LEARNED_SECONDS) as answer:
            text = answer.read().decode()
            return json.loads(text) if text[:1] in "{[" else text

    def learn(self, document):
        alias = re.sub("[^a-z0-9-]", "-", document["name"].lower())
        begun = time.monotonic()
        posted = {"adapter": alias, "documents": [{"title": document["title"], "text": document["text"]}]}
        job = self.post("/ingest", posted)
        job = job.get("job", job)
        path = f"/jobs/{job['id']}"
        while job["state"] not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.05)
            job = self.get(path)
        seconds = time.monotonic() - begun
        learned = job["result"]["documents"][0] if job.get("result") else {}
        report = self.get(f"/documents/{learned['id']}").get("report") or {} if learned else {}
        stages = dict(report.get("seconds", {}))
        stages["publishing"] = seconds - sum(stages.values())
        attempts = report.get("attempts", [])
        tokens = report.get("tokens", {})
        accepted = bool((report.get("decision") or {}).get("accepted"))
        # A refused document has no adapter, so the base answers its questions.
        model = alias if accepted else self.base
        answers = [self.ask(model, question) for question, _ in document["questions"]]
        return {
            "accepted": accepted,
            "seconds": seconds,
            "stages": stages,
            "trainings": len([a for a in attempts if a.get("scale") is None]),
            "trained": sum(a["tokens"] for a in attempts),
            "generated": sum(t["generated"] for t in tokens.values()) if tokens else None,
            "probes": len(report.get("probes", [])),
            "answers": answers,
            "right": [right(gold, answer) for (_, gold), answer in zip(document["questions"], answers)],
        }

    def ask(self, model, question):
        body = {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 48,
        }
        return self.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def peak_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def percent(values):
    mean, low, high, count = values
    return f"{100 * mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {count}"


def median(values):
    values = sorted(values)
    return values[len(values) // 2] if values else float("nan")


def table(old, new):
    """Prints what both builds have done. `old` and `new`: a row for each document, in one order."""
    mean = lambda values: sum(values) / max(1, len(values))
    print("| | old | new | new ÷ old |\n| --- | --- | --- | --- |")
    row = lambda name, a, b: print(f"| {name} | {a:.1f} | {b:.1f} | {b / a if a else float('nan'):.2f} |")
    row("s a document, median", median([r["seconds"] for r in old]), median([r["seconds"] for r in new]))
    row("s a document, mean", mean([r["seconds"] for r in old]), mean([r["seconds"] for r in new]))
    for stage in STAGES:
        of = lambda rows: mean([r["stages"].get(stage, 0.0) for r in rows])
        row(f"s of {stage}, mean", of(old), of(new))
    row("trainings, mean", mean([r["trainings"] for r in old]), mean([r["trainings"] for r in new]))
    row("tokens trained, mean", mean([r["trained"] for r in old]), mean([r["trained"] for r in new]))
    generated = [[r["generated"] for r in rows if r["generated"] is not None] for rows in (old, new)]
    told = lambda values: f"{mean(values):.1f}" if values else "not told"
    print(f"| tokens generated, mean | {told(generated[0])} | {told(generated[1])} | |")
    print(f"| accepted | {sum(r['accepted'] for r in old)} | {sum(r['accepted'] for r in new)} | |")
    if old and "peak_mib" in old[-1] and "peak_mib" in new[-1]:
        row("peak memory, MiB", max(r["peak_mib"] for r in old), max(r["peak_mib"] for r in new))
    ratio = median([n["seconds"] / o["seconds"] for o, n in zip(old, new)])
    print(f"\nratio of seconds, median of {len(old)} documents: {ratio:.3f}")
    share = lambda rows: percent(estimate([[float(x) for x in r["right"]] for r in rows]))
    print(f"closed book: old {share(old)}, new {share(new)}")
    paired = [[float(n) - float(o) for o, n in zip(a["right"], b["right"])] for a, b in zip(old, new)]
    print(f"paired difference, new - old: {percent(estimate(paired))}")


def main():
    parser = argparse.ArgumentParser(prog="bench/versus.sh")
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--documents", action="append", metavar="FILE[:SKIP[:LIMIT]]")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b-instruct")
    parser.add_argument("--out", help="a directory that keeps every document's row; rows there are not made again")
    parser.add_argument("--only-print", action="store_true", help="print the table of what is kept, and run nothing")
    args = parser.parse_args()
    wanted = [d for spec in args.documents or [f"{DEMO}:10"] for d in documents(spec)]
    out = Path(args.out or tempfile.mkdtemp(prefix="versus-"))
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "rows.jsonl"
    rows = {}
    for line in kept.read_text().splitlines() if kept.exists() else []:
        row = json.loads(line)
        rows[row["build"], row["model"], row["document"]] = row
    digest = lambda path: hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    builds = {"old": digest(args.old), "new": digest(args.new)}
    key = lambda build, document: (builds[build], args.model, document["name"])
    missing = [d for d in wanted if any(key(b, d) not in rows for b in builds)]
    if missing and not args.only_print:
        data = {build: Path(tempfile.mkdtemp(prefix=f"versus-{build}-", dir=out)) for build in builds}
        servers = {}
        try:
            for build in builds:
                if any(key(build, d) not in rows for d in missing):
                    servers[build] = Server(getattr(args, build), args.model, data[build])
            for nth, document in enumerate(missing):
                # The builds begin by turns, so that neither always follows the other.
                for build in sorted(builds, reverse=nth % 2 == 0):
                    if key(build, document) in rows:
                        continue
                    row = servers[build].learn(document)
                    row |= dict(zip(("build", "model", "document"), key(build, document)))
                    row["peak_mib"] = servers[build].peak_mib()
                    rows[key(build, document)] = row
                    with kept.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    right = f"{sum(row['right'])} of {len(row['right'])}"
                    print(f"{document['name']}: {build} {row['seconds']:.1f} s, {right}", file=sys.stderr, flush=True)
        finally:
            for server in servers.values():
                server.stop()
            for directory in data.values():
                shutil.rmtree(directory, ignore_errors=True)
    done = [d for d in wanted if all(key(b, d) in rows for b in builds)]
    print(f"{args.model}, {len(done)} of {len(wanted)} documents, {os.cpu_count()} cores")
    if done:
        table(*([rows[key(build, d)] for d in done] for build in ("old", "new")))


if __name__ == "__main__":
    main()
