"""An agent that learns from its own corrected mistakes.

A house understands calls such as `light(room=hall, on=true)`; the base model has never seen them, so its first
calls are wrong. Each is corrected once, the corrections become examples for `adapt_from_examples`, and the same
requests, and new ones, are asked again of the adapter that came of it.

    pip install mcp
    autodidact &
    python demo/agent.py                       # about a minute and a half on two cores
    python demo/agent.py --keep house-agent    # keeps the adapter under that name; run again, it goes on learning
"""

import argparse
import asyncio
import json

from mcp import Client

# What people ask of the house, and the call that would have been right.
CORRECTIONS = {
    "Turn on the light in the hall": "light(room=hall, on=true)",
    "Switch off the lamp in the kitchen": "light(room=kitchen, on=false)",
    "Make it 21 degrees in the study": "heat(room=study, degrees=21)",
    "Set the bedroom to 18 degrees": "heat(room=bedroom, degrees=18)",
}
# Never shown to anybody before it is asked.
NEW = {
    "Turn off the light in the study": "light(room=study, on=false)",
    "Make it 19 degrees in the kitchen": "heat(room=kitchen, degrees=19)",
}


async def call(client, tool, **arguments):
    result = await client.call_tool(tool, {k: v for k, v in arguments.items() if v is not None})
    text = result.content[0].text
    if result.is_error:
        raise SystemExit(f"{tool}: {text}")
    return json.loads(text)


async def act(client, request, adapter=None):
    """The agent's whole thinking: it asks the model for a call."""
    answer = await call(client, "ask", question=request, adapter=adapter, max_tokens=32)
    return answer["answer"].strip()


async def main(url, keep, seconds):
    async with Client(url, read_timeout_seconds=900) as client:
        corrected = []
        for request, right in CORRECTIONS.items():
            said = await act(client, request)
            if said != right:
                print(f"wrong tool call  {request!r} -> {said[:60]!r}")
                print(f"      corrected  {right!r}")
                corrected.append({"input": request, "output": right})
        if not corrected:
            print("nothing was wrong")
            return
        learned = await call(client, "adapt_from_examples", examples=corrected, keep_as=keep, seconds=seconds)
        adapter = learned["adapter"]
        print(f"learned from {len(corrected)} corrections: {adapter}")
        for name, requests in {"corrected before": CORRECTIONS, "new": NEW}.items():
            right = 0
            for request, wanted in requests.items():
                said = await act(client, request, adapter)
                right += said == wanted
                print(f"   after /adapt  {request!r} -> {said[:60]!r}{'' if said == wanted else '   (wrong)'}")
            print(f"{name}: {right} of {len(requests)} right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080/mcp")
    parser.add_argument("--keep", help="keep the adapter under this name")
    parser.add_argument("--seconds", type=float, default=60, help="what learning may take")
    options = parser.parse_args()
    asyncio.run(main(options.url, options.keep, options.seconds))
