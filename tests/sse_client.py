"""Follows a job with httpx-sse, through keep-alives: the server's URL and the job on the command line.

Once the stream has had three of them after an event, the job is cancelled, so that the stream ends.
"""

import json
import sys

import httpx
from httpx_sse import connect_sse

url, job = sys.argv[1:]
comments = 0


class Watched(httpx.SyncByteStream):
    """A body that counts the comments in it, and cancels the job after the third that follows an event."""

    def __init__(self, body):
        self.body = body

    def __iter__(self):
        global comments
        seen = b""
        for chunk in self.body:
            seen += chunk
            before, comments = comments, sum(line.startswith(b":") for line in seen[seen.find(b"data:"):].split(b"\n"))
            yield chunk
            if before < 3 <= comments:
                httpx.post(f"{url}/jobs/{job}/cancel").raise_for_status()

    def close(self):
        self.body.close()


class Transport(httpx.HTTPTransport):
    def handle_request(self, request):
        response = super().handle_request(request)
        return httpx.Response(response.status_code, headers=response.headers, stream=Watched(response.stream))


with httpx.Client(transport=Transport(), timeout=60) as client:
    with connect_sse(client, "GET", f"{url}/jobs/{job}/events") as source:
        events = list(source.iter_sse())

if comments < 3:
    sys.exit(f"only {comments} keep-alives came")
for event in events:
    if not event.data or not event.id or event.event == "message":
        sys.exit(f"an empty event came: {event!r}")
numbers = [int(event.id) for event in events]
if numbers != sorted(set(numbers)):
    sys.exit(f"the events are not in order: {numbers}")
if json.loads(events[-1].data)["state"] != "cancelled":
    sys.exit(f"the last event tells no end: {events[-1]!r}")
