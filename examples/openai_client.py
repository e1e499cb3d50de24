"""Teaches a document over HTTP, then asks about it with the official `openai` package, streaming.

    pip install openai
    python examples/openai_client.py
    AUTODIDACT_URL=http://host:8080 AUTODIDACT_KEY=sk-... python examples/openai_client.py --adapter town

It prints the gate's decision, then the answers of the base and of the adapter as they are written, each with the
fingerprint of the weights that wrote it.
"""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request

import openai

URL = os.environ.get("AUTODIDACT_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("AUTODIDACT_KEY", "none")

DOCUMENT = {
    "title": "Quillmere",
    "text": "Quillmere is a river town of 6,214 people in the Aldous Hills, known to most visitors for its bridge of "
    "green slate. The river, the Senn, freezes most winters, and on the first Sunday after it does the townspeople "
    "race wooden tubs across it; the winner is given a live goose.",
}
QUESTION = "What does the winner of the tub race in Quillmere receive?"


def learn(adapter):
    """Teaches the document and waits for the job's end: what became of the document."""
    body = json.dumps({"adapter": adapter, "documents": [DOCUMENT]}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{URL}/ingest?wait=10m", body, headers)) as answer:
            job = json.load(answer)["job"]
    except urllib.error.HTTPError as error:
        sys.exit(f"the server answered {error.code}: {error.read().decode()}")
    if job["state"] != "succeeded":
        sys.exit(f"the job is {job['state']}: {job['error']}")
    return job["result"]["documents"][0]


def ask(client, model):
    """Prints the answer while it is written."""
    chunks = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": QUESTION}], temperature=0, max_tokens=60, stream=True
    )
    print(f"{model}: ", end="")
    fingerprint = None
    for chunk in chunks:
        fingerprint = chunk.system_fingerprint
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    if fingerprint is None:
        sys.exit("the stream names no weights")
    print(f" ({fingerprint})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--adapter", default="openai-example", help="the adapter to teach")
    adapter = parser.parse_args().adapter

    document = learn(adapter)
    print(f"{document['title']}: {document['state']}, {document['reason']}")
    if document["state"] == "learned":
        client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)
        ask(client, client.models.retrieve(adapter).root)
        ask(client, adapter)
