"""What the description cannot tell schemathesis about this server. Only requests that are meant to be right are changed."""

import hashlib
import json
import os
from pathlib import Path

import schemathesis

# A real adapter, which the script has downloaded.
ARCHIVE = Path(os.environ["AUTODIDACT_ARCHIVE"]).read_bytes()
LINE = json.dumps({"title": "Vell", "text": "Vell is a river town."})


@schemathesis.serializer("application/x-tar")
def archive(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer("application/x-tar")
def unread(context, response):
    """An archive is only bytes to the description."""
    return response.content.decode("latin-1")


def whole(value):
    """JSON schema takes 1.0 for an integer; the server reads integers that are written as such."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {name: whole(item) for name, item in value.items()}
    return value


def rectangular(task):
    """The rows of a grid are equally long, which JSON schema cannot say."""
    if isinstance(task, dict) and task.get("kind") == "grid":
        for pair in [*task["train"], *task["test"]]:
            for side in ("input", "output"):
                if isinstance(pair.get(side), list) and all(isinstance(row, list) for row in pair[side]):
                    width = min(len(row) for row in pair[side])
                    pair[side] = [row[:width] for row in pair[side]]


@schemathesis.hook
def before_call(context, case, kwargs):
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    body = case.body = whole(case.body)
    # Ten minutes would be right, too.
    if case.query and "wait" in case.query:
        case.query["wait"] = "100ms"
    # A key that comes again with another request is refused.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = hashlib.sha256(repr((body, case.query, case.path)).encode()).hexdigest()
    if case.path == "/ingest":
        # Which of the two it is depends on the body's type.
        query = case.query = dict(case.query or {})
        if case.media_type == "application/json":
            query.pop("adapter", None)
            query.pop("title", None)
        else:
            query["adapter"] = "kb"
            query["title"] = "T"
            # White space is no document.
            case.body = f"{body}." if isinstance(body, str) else LINE
        if case.media_type == "application/x-ndjson":
            query.pop("title")
            case.body = LINE
    if case.media_type == "application/x-tar":
        case.body = ARCHIVE
    if case.path == "/adapters" and case.media_type == "multipart/form-data":
        case.body = {"file": [ARCHIVE]}
    if case.path == "/adapt" and isinstance(body, dict):
        rectangular(body.get("task"))
        body["budget"] = {"seconds": 1}
        # Either the one or the other.
        if isinstance(body.get("keep"), dict) and body["keep"].get("alias"):
            body["keep"].pop("ttl", None)
    if case.path == "/v1/chat/completions" and isinstance(body, dict):
        if not body.get("logprobs"):
            body.pop("top_logprobs", None)
