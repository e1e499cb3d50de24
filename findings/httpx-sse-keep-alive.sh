#!/usr/bin/env bash
# httpx-sse 0.4.3 (PyPI): once a stream has named an id, each keep-alive comment arrives as an event
#
# The guess: lines that start with a colon are comments, and a blank line dispatches an event only if data has come since the
# last one; both are rules of the format. A server may therefore send ": keep-alive" and a blank line at any time.
#
# What happens: on a stream without ids that holds. After the first id, every comment with its blank line yields an event of
# type "message" with no data and the old id, as often as the server sends one. The id, which is kept for
# reconnecting, passes for content of whatever comes next.
#
# For users: event.json() on such an event raises, and a consumer that counts events or stores the position counts
# silence. It shows only on streams that have ids and pause long enough for a keep-alive: long jobs and agents, not short
# answers of a chat. Skip events whose data is empty.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check httpx-sse==0.4.3 httpx==0.28.1
cat > finding.py <<'END'
import importlib.metadata
import sys
import httpx
import httpx_sse

print("httpx-sse", importlib.metadata.version("httpx-sse"))


def events(body):
    def answer(_):
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        with httpx_sse.connect_sse(client, "GET", "http://server/") as source:
            return [(event.event, event.data, event.id) for event in source.iter_sse()]


body = 'id: 7\ndata: {"n": 1}\n\n: keep-alive\n\n: keep-alive\n\ndata: {"n": 2}\n\n'
with_id, without = events(body), events(body.replace("id: 7\n", ""))
print("stream:", repr(body))
print("guess: two events, with or without the id")
print("seen with the id:", *with_id, sep="\n    ")
print("seen without it:", *without, sep="\n    ")
expected = [("message", '{"n": 1}', "7"), *[("message", "", "7")] * 2, ("message", '{"n": 2}', "7")]
if with_id != expected or len(without) != 2:
    print("CHANGED, with the id it was:", *expected, sep="\n    ")
    sys.exit(1)
END
venv/bin/python finding.py
