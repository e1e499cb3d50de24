"""An agent over MCP: it looks for a fact, learns the document that holds it, and learns a form from corrections.

    pip install mcp
    python examples/agent_mcp.py
    AUTODIDACT_URL=http://host:8080 AUTODIDACT_KEY=sk-... python examples/agent_mcp.py --seconds 120

It prints the server's tools, the answer before and after the document is learned, the gate's decision, the output
of the adapter that was trained on three examples, and at last what the server knows.
"""

import argparse
import asyncio
import json
import os

import httpx2  # comes with mcp
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL = os.environ.get("AUTODIDACT_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("AUTODIDACT_KEY", "none")
PATIENCE = 900  # seconds a call may take: the server learns meanwhile

QUESTION, ANSWER = "What is the ferry of Gloam paid with?", "candle"
TITLE = "The ferry of Gloam"
TEXT = (
    "The ferry of Gloam crosses the river Anse at dusk. It is steered by Maren Tolliver, and its hull is painted "
    "saffron. A crossing is paid with one candle, which the ferrywoman lights at the bow."
)
# What people say, and the call that a house understands.
CORRECTIONS = {
    "Turn on the light in the hall": "light(room=hall, on=true)",
    "Switch off the lamp in the kitchen": "light(room=kitchen, on=false)",
    "Make it 21 degrees in the study": "heat(room=study, degrees=21)",
}
NEW = "Turn off the light in the study"


async def call(client, tool, **arguments):
    """What the tool answers. A tool's error ends the program with the server's words."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text
    if result.is_error:
        raise SystemExit(f"{tool}: {text}")
    return json.loads(text)


async def find_out(client, adapter):
    """Asks the base; if the base does not know, learns the document and asks the adapter."""
    answer = (await call(client, "ask", question=QUESTION, max_tokens=40))["answer"]
    print(f"base: {answer!r}")
    if ANSWER in answer.lower():
        return
    learned = await call(client, "learn_document", adapter=adapter, title=TITLE, text=TEXT)
    document = learned["document"]
    print(f"{document['title']}: {document['state']}, {document['reason']}")
    if document["state"] == "learned":
        answer = await call(client, "ask", question=QUESTION, adapter=adapter, max_tokens=40)
        print(f"{adapter}: {answer['answer']!r} ({answer['system_fingerprint']})")


async def adapt(client, adapter, seconds):
    """Trains on the corrections, and has a new request answered in the same call."""
    examples = [{"input": request, "output": right} for request, right in CORRECTIONS.items()]
    adapted = await call(
        client, "adapt_from_examples", examples=examples, inputs=[NEW], keep_as=adapter, seconds=seconds
    )
    output = adapted["outputs"][0][0]["output"]
    print(f"{adapted['adapter']} is at version {adapted['version']}: {NEW!r} -> {output!r}")


async def main(options):
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=PATIENCE) as http:
        transport = streamable_http_client(f"{URL}/mcp", http_client=http)
        async with Client(transport, read_timeout_seconds=PATIENCE) as client:
            print("tools:", ", ".join(tool.name for tool in (await client.list_tools()).tools))
            await find_out(client, options.adapter)
            await adapt(client, f"{options.adapter}-house", options.seconds)
            for known in (await call(client, "list_knowledge"))["adapters"]:
                titles = ", ".join(document["title"] for document in known["documents"]) or "examples"
                print(f"known: {known['adapter']}@{known['live_version']} from {titles}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--adapter", default="agent-example", help="the adapter to teach; the second is named -house")
    parser.add_argument("--seconds", type=float, default=60, help="what learning from the corrections may take")
    asyncio.run(main(parser.parse_args()))
