"""Asks a running Autodidact with the official `openai` package: URL, key and model on the command line."""

import sys

import openai

url, key, model = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=60)
question = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Who runs the lighthouse?"}]},
]


def check(condition, what):
    if not condition:
        sys.exit(f"not so: {what}")


def refused(kind, what, **more):
    try:
        client.chat.completions.create(**{"model": model, "messages": question, "max_tokens": 4, **more})
    except kind as error:
        return error
    sys.exit(f"not refused: {what}")


check([m.id for m in client.models.list()] == [model], "the list of models holds the base alone")
check(client.models.retrieve(model).owned_by == "autodidact", "a model can be retrieved")

settings = {"model": model, "messages": question, "max_tokens": 16, "seed": 5, "temperature": 0.7}
whole = client.chat.completions.create(**settings, n=2, logprobs=True, top_logprobs=3)
check(len(whole.choices) == 2, "n samples come back")
check(whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens, "usage adds up")
check(whole.system_fingerprint.startswith("base-"), "the fingerprint names the base")
check(all(len(t.top_logprobs) == 3 for t in whole.choices[0].logprobs.content), "alternatives come back")

chunks = list(client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
check(streamed == whole.choices[0].message.content, "a stream adds up to the whole answer")
check(chunks[-1].usage.completion_tokens > 0, "the last chunk carries the usage")

plain = client.completions.create(model=model, prompt=["The lamp", "The sea"], max_tokens=4, logprobs=1, temperature=0)
check(len(plain.choices) == 2 and plain.choices[0].logprobs.token_logprobs, "plain completions answer")
text = "".join(c.choices[0].text for c in client.completions.create(
    model=model, prompt="The lamp", max_tokens=4, temperature=0, stream=True))
check(text == plain.choices[0].text, "plain completions stream")

LABELS = {
    "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "safety_identifier", "service_tier", "store", "user",
}
from openai.types import completion_create_params as plain_fields
from openai.types.chat import completion_create_params as chat_fields

for path, fields, own in [
    ("/chat/completions", chat_fields, {"messages": question}), ("/completions", plain_fields, {"prompt": "The lamp"}),
]:
    for name in sorted(fields.CompletionCreateParamsStreaming.__annotations__):
        strange = {"model": model, "max_tokens": 2, **own, name: {"no such": "value"}}
        try:
            client.post(path, body=strange, cast_to=object)
            check(name in LABELS, f"{name} of {path} is not dropped in silence")
        except openai.BadRequestError as error:
            check((error.param or "").split(".")[0] == name, f"the refusal names {name}: {error}")

error = refused(openai.NotFoundError, "an unknown model", model="nobody")
check(error.code == "model_not_found" and error.param == "model", "the error names code and parameter")
error = refused(openai.BadRequestError, "tools", tools=[{"type": "function", "function": {"name": "f"}}])
check(error.param == "tools", "the error names the tools")
refused(openai.BadRequestError, "a temperature of 3", temperature=3)
client.api_key = "wrong"
refused(openai.AuthenticationError, "a wrong key")
print("ok")
