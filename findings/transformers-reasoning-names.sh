#!/usr/bin/env bash
# transformers 5.24.0 (PyPI): the three names of a message's reasoning are not the same thing to a chat template
#
# The guess: apply_chat_template takes `reasoning`, `thinking` and `reasoning_content` for one field, since it fills one from
# another: whichever the message has, the template sees it under each name, and a name that holds no text does not
# count.
#
# What happens, by what the message holds:
# - `reasoning` alone reaches all three, but neither of the others ever becomes `reasoning`: the copying goes one way.
# - an empty reasoning_content wins over a full `reasoning`: the reasoning is gone from both names that templates read. null
#   does not win. So "" and null, which servers use alike for "nothing there", render different prompts.
# - with two or three given, `thinking` keeps its own text while reasoning_content may hold another, so two templates
#   that differ only in the name they read show different thoughts.
#
# For users: a server that imitates this rendering, or a dataset that is rendered by it, must copy the order
# (reasoning_content, thinking, reasoning; first that is not null) and the one-way rule to get the same prompt, and
# must delete empty strings before it calls.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0 jinja2==3.1.6
cat > finding.py <<'END'
import sys
import transformers
from tokenizers import Tokenizer, models

print("transformers", transformers.__version__)
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
)
names = ("reasoning_content", "thinking", "reasoning")
template = " ".join("{{ messages[0]['%s'] | default('-') | tojson }}" % name for name in names)
cases = [
    ({"reasoning": "R"}, '"R" "R" "R"', '"R" "R" "R"'),
    ({"thinking": "T"}, '"T" "T" "T"', '"T" "T" "-"'),
    ({"reasoning_content": "C"}, '"C" "C" "C"', '"C" "C" "-"'),
    ({"reasoning": "R", "reasoning_content": ""}, '"R" "R" "R"', '"" "" "R"'),
    ({"reasoning": "R", "reasoning_content": None}, '"R" "R" "R"', '"R" "R" "R"'),
    ({"reasoning": "R", "thinking": "T", "reasoning_content": "C"}, "one text, three times", '"C" "T" "R"'),
]
print("what a template sees as", ", ".join(names))
changed = False
for given, guess, expected in cases:
    message = {"role": "assistant", "content": "x", **given}
    seen = tokenizer.apply_chat_template([message], chat_template=template, tokenize=False)
    print(f"given {given}\n    guess: {guess}\n    seen:  {seen}")
    if seen != expected:
        print(f"    CHANGED, it was {expected}")
        changed = True
sys.exit(changed)
END
venv/bin/python finding.py
