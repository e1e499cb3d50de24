"""Records what chat templates render to: engine/tests/fixtures/templates.json.

    python bench/peers/record_templates.py [OUT.json]      (needs transformers 5.24.0, jinja2, tokenizers)

Every case is a template with its messages and what `apply_chat_template(…, tokenize=False)` of transformers makes of
them: a text, or the kind of its error. The clock is stopped at NOW. The templates are written for this file, in the
manner of those that people publish: `template_cases.py` beside it holds them.
"""

import datetime
import json
import pathlib
import sys

import jinja2
import tokenizers
import transformers
from transformers.utils import chat_template_utils

import template_cases

NOW = datetime.datetime(2024, 2, 9, 7, 5, 3, 42)


class StoppedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def tokenizer(special: dict):
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel({"x": 0}, unk_token="x"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **special)


def render(case: dict) -> dict:
    """The case with its outcome. `special`, `messages` and the like may be names of `template_cases.SHARED`."""

    def shared(what: str):
        given = case.get(what)
        return template_cases.SHARED[what][given] if isinstance(given, str) else given

    template = template_cases.SHARED["template"].get(case["template"], case["template"])
    try:
        text = tokenizer(shared("special")).apply_chat_template(
            shared("messages"),
            chat_template=template,
            tools=shared("tools"),
            documents=case.get("documents"),
            add_generation_prompt=case.get("prompt", False),
            continue_final_message=case.get("continue", False),
            tokenize=False,
            **(shared("kwargs") or {}),
        )
        return case | {"text": text}
    except Exception as error:
        return case | {"error": f"{type(error).__name__}: {error}"[:120]}


def main() -> None:
    chat_template_utils.datetime = StoppedClock
    root = pathlib.Path(__file__).resolve().parents[2]
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "engine/tests/fixtures/templates.json"
    cases = [render({"special": "both"} | case) for case in template_cases.all_cases()]
    names = [case["name"] for case in cases]
    assert len(set(names)) == len(names), "names must differ"
    head = {
        "transformers": transformers.__version__,
        "jinja2": jinja2.__version__,
        "now": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp()),
        "microseconds": NOW.microsecond,
    } | template_cases.SHARED
    # One case a line.
    line = lambda value: json.dumps(value, ensure_ascii=False)
    parts = [f"{line(key)}: {line(value)}" for key, value in head.items()]
    parts.append('"cases": [\n' + ",\n".join(line(case) for case in cases) + "\n]")
    out.write_text("{" + ",\n".join(parts) + "}\n")
    print(f"{len(cases)} cases, {sum('error' in case for case in cases)} of them errors, to {out}")


if __name__ == "__main__":
    main()
