"""What schemathesis cannot know of this server: how archives travel, which model is there, and what is too slow."""

import os
from pathlib import Path

import schemathesis
from hypothesis import strategies as st

# A real adapter, which the script has downloaded.
ARCHIVE = Path(os.environ["AUTODIDACT_ARCHIVE"]).read_bytes()
MODEL = os.environ["AUTODIDACT_MODEL"]


@schemathesis.serializer("application/x-tar")
def archive(context, value):
    return value if isinstance(value, bytes) else str(value).encode()


schemathesis.openapi.media_type("application/x-tar", st.just(ARCHIVE))


@schemathesis.deserializer("application/x-tar")
def unread(context, response):
    """An archive is only bytes to the description."""
    return response.content.decode("latin-1")
