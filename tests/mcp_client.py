"""Uses a running Autodidact over MCP with the official `mcp` package: URL and base model on the command line."""

import asyncio
import json
import sys

from mcp import Client

url, base = sys.argv[1:]


def check(condition, what):
    if not condition:
        sys.exit(f"not so: {what}")


async def call(client, tool, **arguments):
    """What a tool answers; what it refuses is a string."""
    result = await client.call_tool(tool, arguments)
    text = result.content[0].text
    return text if result.is_error else json.loads(text)


async def main():
    async with Client(url) as client:
        check(client.server_info.name == "autodidact", "the server names itself")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        wanted = {"learn_document", "adapt_from_examples", "ask", "list_knowledge", "rollback"}
        check(set(tools) == wanted, f"five tools, not {set(tools)}")
        check(tools["ask"].input_schema["required"] == ["question"], "schemas name what is required")

        told = []

        async def hear(progress, total, message):
            told.append((progress, total, message))

        document = {"adapter": "kb", "title": "Vell", "text": "Orr runs the light."}
        answer = await client.call_tool("learn_document", document, progress_callback=hear)
        learned = json.loads(answer.content[0].text)
        check(learned["document"]["state"] == "learned", f"a document is learned: {learned}")
        check(told and told[-1][:2] == (1.0, 1.0), f"the caller is told how far it is: {told}")

        examples = [{"input": f"say {word}", "output": word} for word in ("one", "two", "three")]
        adapted = await call(
            client, "adapt_from_examples", examples=examples, inputs=["say four"], keep_as="speaker", seconds=5
        )
        check(adapted["adapter"] == "speaker" and adapted["version"] == 1, f"an adapter is kept: {adapted}")
        check(adapted["expires_at"] is None, "what is kept does not expire")
        check(len(adapted["outputs"]) == 1 and len(adapted["outputs"][0]) >= 1, "the input is answered")
        again = await call(client, "adapt_from_examples", examples=examples, keep_as="speaker", seconds=5)
        check(again["version"] == 2 and again["outputs"] == [], f"it is trained further: {again}")

        grids = [{"input": [[1, 2]], "output": [[2, 1]]}, {"input": [[3, 4]], "output": [[4, 3]]}]
        thrown = await call(
            client, "adapt_from_examples", kind="grid", examples=grids, inputs=[[[5, 6]]], seconds=5
        )
        check(thrown["adapter"].startswith("adapt-") and thrown["expires_at"], f"a throw-away: {thrown}")

        asked = await call(client, "ask", question="say five", adapter="speaker", max_tokens=8)
        check(asked["system_fingerprint"].startswith("lora-"), f"the adapter answers: {asked}")
        asked = await call(client, "ask", question="say five", system="Be brief.", max_tokens=8)
        check(asked["system_fingerprint"].startswith("base-"), f"the base answers: {asked}")

        known = await call(client, "list_knowledge")
        check(known["base"] == base, "the base is named")
        adapters = {a["adapter"]: a for a in known["adapters"]}
        check(adapters["speaker"]["live_version"] == 2, f"what is known is listed: {known}")
        check(adapters["speaker"]["versions"] == 2, "with its versions")
        check(known["jobs"] == [], "no job is left")
        known = await call(client, "list_knowledge", adapter="speaker")
        check([a["adapter"] for a in known["adapters"]] == ["speaker"], f"one adapter is listed: {known}")

        back = await call(client, "rollback", adapter="speaker", version=1)
        check(back == {"adapter": "speaker", "live_version": 1}, f"a version comes back: {back}")

        refusals = {
            "examples[1].input": ("adapt_from_examples", {"examples": [examples[0], {"output": "x"}]}),
            "1 to 32 demonstrations, not 0": ("adapt_from_examples", {"examples": []}),
            "kind: unknown variant `song`": (
                "adapt_from_examples", {"examples": examples, "kind": "song"}
            ),
            "questions[0].answer: missing field": (
                "learn_document", {"adapter": "kb", "title": "T", "text": "x", "questions": [{"question": "?"}]}
            ),
            "'question'": ("ask", {}),
            "'colour'": ("ask", {"question": "?", "colour": "red"}),
            "of type": ("rollback", {"adapter": "speaker", "version": "one"}),
            "no version 9": ("rollback", {"adapter": "speaker", "version": 9}),
            "nobody": ("list_knowledge", {"adapter": "nobody"}),
            "`nobody`": ("ask", {"question": "?", "adapter": "nobody"}),
            "title is empty": ("learn_document", {"adapter": "kb", "title": " ", "text": "x"}),
        }
        for words, (tool, arguments) in refusals.items():
            refused = await call(client, tool, **arguments)
            check(isinstance(refused, str) and words in refused, f"{tool} {arguments} tells of {words}: {refused}")


asyncio.run(main())
