"""Practises writing study notes (ReST-EM, the outer loop of SEAL), then learns a document with notes so written.

    python examples/rest_em.py
    python examples/rest_em.py --rounds 3 --contexts 9 --candidates 5
    AUTODIDACT_URL=http://host:8080 AUTODIDACT_KEY=sk-... python examples/rest_em.py

It prints each candidate's reward as it is measured, each round's mean reward with the version that the policy got,
and the gate's decision on a document whose notes the policy wrote. A candidate is a training, so the default
settings take some minutes. Standard library only; the documents are those of demo/documents.json.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

URL = os.environ.get("AUTODIDACT_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("AUTODIDACT_KEY", "none")
DOCUMENTS = Path(__file__).resolve().parents[1] / "demo" / "documents.json"
KIND, TEMPERATURE = "implications", 0.7  # what is practised is what is asked for afterwards


def send(path, body=None):
    """The server's response. An HTTP error ends the program with the server's words."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    data = None if body is None else json.dumps(body).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(URL + path, data, headers))
    except urllib.error.HTTPError as error:
        sys.exit(f"{path} was answered with {error.code}: {error.read().decode()}")


def call(path, body=None):
    with send(path, body) as response:
        return json.load(response)


def events(job):
    """The job's server-sent events, up to its end."""
    with send(f"/jobs/{job}/events") as stream:
        kind = None
        for line in stream:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                yield kind, json.loads(value)


def practise(options, contexts):
    """Runs the practice and tells it: the newest version of the policy, None if there is none."""
    job = call("/train", {
        "domain": "knowledge", "policy": options.policy, "contexts": contexts, "rounds": options.rounds,
        "contexts_per_round": len(contexts) // options.rounds, "candidates": options.candidates, "held_out": 1,
        "reward": "combined", "self_edit": {"kind": KIND, "temperature": TEMPERATURE},
    })["job"]["id"]
    for kind, data in events(job):
        if kind == "candidate":
            print(f"  round {data['round']}, {data['title']}: reward {data['reward']:+.3f}", flush=True)
        elif kind == "round":
            policy = f"{options.policy}@{data['version']}" if data["version"] else "none"
            print(f"round {data['round']}: reward {data['reward']:+.3f} on average, {data['best_reward']:+.3f} at best; "
                  f"{len(data['kept'])} of {data['candidates']} kept; new policy: {policy}")
    ended = call(f"/jobs/{job}")
    if ended["state"] != "succeeded":
        sys.exit(f"the job is {ended['state']}: {ended['error']}")
    for note in ended["result"]["notes"]:
        print(note)
    return max((v for v in ended["result"]["versions"] if v), default=None)


def ingest(options, document):
    """Learns the document with notes that the policy writes."""
    answer = call("/ingest?wait=10m", {"adapter": options.adapter, "documents": [document],
        "self_edit": {"kind": KIND, "policy": options.policy, "temperature": TEMPERATURE}})
    found = call(f"/documents/{answer['documents'][0]['id']}")
    if found["state"] not in ("learned", "refused"):
        sys.exit(f"the document is {found['state']}: {answer['job']['error']}")
    writer = found["report"]["self_edits"][0]["policy"]
    print(f"{found['title']}, notes by {writer}: {found['state']}, {found['report']['decision']['reason']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policy", default="writer-example", help="the adapter that practises")
    parser.add_argument("--adapter", default="rest-em-example", help="the adapter that learns a document afterwards")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--contexts", type=int, default=5, help="documents, one of which is held out")
    parser.add_argument("--candidates", type=int, default=2, help="self-edits of each document")
    options = parser.parse_args()

    documents = [{key: d[key] for key in ("title", "text", "questions")} for d in json.loads(DOCUMENTS.read_text())]
    if practise(options, documents[: options.contexts]):
        ingest(options, documents[options.contexts])
