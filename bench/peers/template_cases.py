"""The templates and messages of `record_templates.py`: families, awkward constructs, and single expressions."""

from template_expressions import EXPRESSIONS, V
from template_families import FAMILIES

U = {"role": "user", "content": "Hello"}
A = {"role": "assistant", "content": "Hi there."}
S = {"role": "system", "content": "Be brief."}
TALK = [S, U, A, {"role": "user", "content": "  Bye, é😀 \n"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place, e.g. <Zürich> & 'Basel'",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "enum": ["Zürich", "Basel"], "default": None},
                "items": {"type": "array", "items": {"type": "number", "minimum": 1e-05}},
                "days": {"type": "integer", "default": 3, "maximum": 1e16},
            },
            "required": ["place", "days"],
        },
        "strict": True,
    },
}
TOOL2 = {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}}}}
CALLS = [
    U,
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "a1", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2}}}]},
    {"role": "tool", "name": "get_weather", "tool_call_id": "a1", "content": "{\"sun\": true}"},
    {"role": "assistant", "content": "Sunny.", "tool_calls": []},
    {"role": "user", "content": "Thanks"},
]
THOUGHTS = [
    U,
    {"role": "assistant", "content": "4", "reasoning": "two and two"},
    U,
    {"role": "assistant", "thinking": "hm", "content": "5"},
    U,
    {"role": "assistant", "reasoning_content": "so", "thinking": "other", "content": "6"},
    U,
    {"role": "assistant", "reasoning_content": None, "reasoning": "", "content": "<think>\nold\n</think>\n\n7"},
]

GENERATION = {
    "generation": (
        "{% for m in messages %}{% if m.role == 'assistant' %}<a>{% generation %}{{ m.content }}<end>{% endgeneration %}"
        "{% else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}"
    ),
    "generation, trimmed": """{%- for m in messages %}
    {%- if m.role == 'assistant' %}
        {%- generation -%}
            {{ m.content }}
        {%- endgeneration -%}
    {%- else %}
    {% generation %}
    {{ loop.index }} {{ m.role }}
    {% endgeneration %}
    {%- endif %}
{%- endfor %}""",
    "generation keeps its names": (
        "{% set x = 1 %}{% for m in messages %}{% generation %}{% set x = x + loop.index %}{{ x }}{% endgeneration %}{{ x }}"
        "{% endfor %}{{ x }}"
    ),
    "generation and namespace": (
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% generation %}{% set ns.n = ns.n + 1 %}{{ m.role }}"
        "{% endgeneration %}{% endfor %}{{ ns.n }}"
    ),
    "generation in text": "{{ '{% generation %}' }}{# {% generation %} #}{% raw %}{% generation %}{% endraw %}{%generation%}x{%endgeneration%}",
    "generation tag over lines": "{%\n generation\n%}\nx\n{%-\n  endgeneration  +%}\ny",
}

AWKWARD = {
    "messages as Python writes them": "{{ messages }}|{{ messages[0] }}|{{ messages | string }}",
    "blocks and blank lines": "A\n  {% if true %}\n  B\n  {% endif %}\n  {# c #}\n  C {% if true %} D {% endif %} \n\n{%+ if true %}E{%+ endif %}\n",
    "dashes": "  a  {%- if true -%}  b  {%- endif +%}\n c {{- ' d ' -}} e\n\n",
    "line endings": "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "raw": "{% raw %}\n  {{ x }} {% y %}\n{% endraw %}\nz{%- raw -%} q {%- endraw -%} r",
    "previtem and nextitem": "{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ m.role }}>{{ loop.nextitem.role if not loop.last }};{% endfor %}",
    "loop figures": "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }} {% endfor %}",
    "loop with filter and else": "{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{% else %}none{% endfor %}{% for x in [] %}{% else %}empty{% endfor %}",
    "nested loops": "{% for m in messages %}{% set outer = loop %}{% for c in m.content[:2] %}{{ outer.index }}.{{ loop.index }}{{ c }} {% endfor %}{% endfor %}",
    "recursive loop": "{% for x in [1, [2, [3, 4]], 5] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
    "break and continue": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.role }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}",
    "names of a loop stay inside": "{% set x = 'out' %}{% for m in messages %}{% set x = m.role %}{% endfor %}{{ x }}{% if true %}{% set x = 'if' %}{% endif %}{{ x }}",
    "set block": "{% set x %}\n  a {{ messages[0].role }}\n{% endset %}[{{ x }}]{% set y | upper %}abc{% endset %}{{ y }}",
    "set several": "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (d, e) = (3, 4) %}{{ d + e }}",
    "with": "{% with a = 1, b = 2 %}{{ a + b }}{% set c = 3 %}{% endwith %}{{ c is defined }}{{ a is defined }}",
    "filter block": "{% filter upper | trim %} a {{ messages[0].role }} {% endfilter %}",
    "macro": "{% macro f(a, b='B', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ f('x') }}{{ f(a='y', c=1) }}{{ f(1, 2, 3) }}{{ f('m') | length }}",
    "call": "{% macro f(x) %}<{{ caller(x) }}>{% endmacro %}{% call(y) f(3) %}{{ y * 2 }}{% endcall %}",
    "undefined is empty": "{{ nothing }}[{{ nothing is defined }}]{{ nothing | default('d') }}{{ messages[0].nothing }}{{ (messages[0].nothing or 'e') }}{% for x in nothing %}{% endfor %}{% if nothing %}{% endif %}{{ nothing | length }}{{ nothing ~ 'x' }}",
    "undefined has no attribute": "{{ nothing.attribute }}",
    "undefined is not added": "{{ 'a' + nothing }}",
    "undefined is not indexed": "{{ nothing['a'] }}",
    "none is not added": "{{ 'a' + none }}",
    "number is not added": "{{ 'a' + 1 }}",
    "unknown method": "{{ 'a'.nonsense() }}",
    "unknown filter": "{{ 'a' | nonsense }}",
    "unknown test": "{{ 'a' is nonsense }}",
    "broken": "{% if %}",
    "unknown tag": "{% nonsense %}",
    "raise": "{{ raise_exception('no ' + messages[0].role) }}",
    "raise in a branch not taken": "{% if false %}{{ raise_exception('x') }}{% endif %}ok",
    "append is forbidden": "{% set x = [] %}{{ x.append(1) }}",
    "update is forbidden": "{% set x = {} %}{{ x.update({'a': 1}) }}",
    "whole list with do": "{% set ns = namespace(l=[]) %}{% for m in messages %}{% set ns.l = ns.l + [m.role] %}{% endfor %}{{ ns.l }}{{ ns.l | length }}{{ ns.l[-1] }}{{ ns.l[1:] }}{{ ns.l is sequence }}{{ ns.l is iterable }}{{ ns.l == ['system', 'user', 'assistant', 'user'] }}{{ ns.l | tojson }}{{ 'user' in ns.l }}",
    "namespace": "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{% set ns.c = [1] %}{{ ns.c }}{{ ns['a'] }}",
    "namespace refuses underscores": "{% set ns = namespace(_a=1) %}{{ ns._a }}",
    "generator functions": "{{ range(3) | list }}{{ range(1, 10, 3) | list }}{{ range(3) }}{{ range(5, 0, -2) | list }}{{ dict(a=1, b='x') }}{% set j = joiner(', ') %}{{ j() }}a{{ j() }}b{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}",
    "clock": "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%-d %A %e %j %p %I %-I %-m %-H %H:%M:%S %y %a %B %h %u %w %U %W %V %G %C %D %F %T %R %r %c %x %X %n%t%%') }}|{{ strftime_now('%f %s')[:6] }}|{{ strftime_now('%-j %-y %-M %-S %_d %^a %#b %03d %k %l %P') }}|[{{ strftime_now('%z%Z') }}]|{{ strftime_now('é %Y年%m月%d日') }}|{{ strftime_now('%Q %') }}",
    "clock in a macro": "{% macro today(format='%d.%m.%Y') %}{{ strftime_now(format) }}{{ v | tojson | length }}{% endmacro %}{{ today() }}{% set x %}{{ today('%H') }}{% endset %}{{ x }}",
    "call with generation": "{% macro turn(role) %}<{{ role }}>{{ caller() }}{% endmacro %}{% for m in messages %}{% call turn(m.role) %}{% generation %}{{ m.content | trim }}{% endgeneration %}{% endcall %}{% endfor %}",
    "system first, merged": "{% set system = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | join('\\n') %}{% set rest = messages | rejectattr('role', 'eq', 'system') | list %}{{ system }}|{{ rest | length }}|{{ rest[0].content }}|{{ (rest | last).content | trim | length }}|{{ rest | map(attribute='role') | join('>') }}",
    "counted by namespace": "{% set ns = namespace(count=0, last='') %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.count = ns.count + 1 %}{% set ns.last = m.content | trim %}{% endif %}{% endfor %}{{ ns.count }} of {{ messages | length }}: {{ ns.last }}{{ ' (even)' if ns.count is even }}",
    "schema of tools walked": "{% macro walk(schema, depth=0) %}{% for key, value in schema.items() %}{{ '  ' * depth }}{{ key }}{% if value is mapping %}:\n{{ walk(value, depth + 1) }}{% elif value is iterable and value is not string %}: [{{ value | join(', ') }}]\n{% else %}: {{ value }}\n{% endif %}{% endfor %}{% endmacro %}{{ walk(tools[0].function.parameters) }}",
    "arguments as text or object": "{% for args in [{'a': 1, 'b': [true, none]}, '{\"a\": 1}'] %}{% if args is string %}{{ args }}{% else %}{{ args | tojson }}{% endif %}{% for k, v in (args.items() if args is mapping else []) %}<{{ k }}>{{ v if v is string else v | tojson(ensure_ascii=False) }}</{{ k }}>{% endfor %}{% endfor %}",
    "blank control": "{%- if true -%}\n\n  x\n\n{%- endif %}\n  {%- if true %}\n  y\n  {%- endif -%}\n\n  z\n{% if false %}{% else +%}\n w{% endif %}\n",
    "date on several lines": "{% set today = strftime_now('%B %-d, %Y') %}{{ 'Today is ' ~ today }}",
    "special tokens": "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ unk_token is defined }}{{ pad_token }}",
    "content of roles": "{% for role, group in messages | groupby('role') %}{{ role }}={{ group | length }} {% endfor %}",
    "selections": "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | list }}{{ messages | rejectattr('role', 'in', ['user', 'system']) | list | length }}{{ messages | map(attribute='role') | unique | join(',') }}{{ messages | map('length') | list }}{{ messages | map(attribute='nothing', default='?') | join }}",
    "keys in order": "{% for m in messages %}{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}{{ m.keys() | list }}{{ m.values() | list }}{{ m | length }}{% for k in m %}{{ k }},{% endfor %}{% endfor %}",
    "settings in order": "{{ settings }}{{ settings | tojson }}{% for k in settings %}{{ k }}{% endfor %}{{ settings.items() | list }}{{ settings | items | list }}{{ settings | dictsort }}{{ {'a': 2, 'B': 1} | dictsort(by='value', reverse=true) }}{{ {'b': 2, 'A': 1} | dictsort }}",
    "tools in order": "{{ tools }}\n{{ tools | tojson }}\n{{ tools | tojson(indent=2) }}\n{{ tools | tojson(sort_keys=true) }}\n{{ tools | tojson(separators=(',', ':')) }}\n{{ tools | tojson(ensure_ascii=true) }}\n{{ tools | tojson(indent=4, sort_keys=True, separators=(',', ': ')) }}",
    "autoescape": "{% autoescape true %}{{ '<a>' }}{% endautoescape %}{{ '<a>' | e }}{{ '<a>' | escape }}{{ '<a>' | safe }}{{ '<p>a <b>c</b></p>' | striptags }}",
    "extends": "{% extends 'x' %}",
    "comments": "a{# one #}b{#- two -#} c {##}d",
    "long if": "{% if messages[0].role == 'a' %}1{% elif messages[0].role == 'b' %}2{% elif messages[0].role == 'system' %}3{% else %}4{% endif %}",
    "inline if without else": "[{{ 'x' if false }}][{{ ('a' if true else 'b') ~ 'c' }}][{{ 1 if 0 else 2 if 0 else 3 }}]",
    "dict of lists": "{% set d = {'a': [1, 2], 'b': {'c': none}} %}{{ d }}{{ d.a[1] }}{{ d['b'].c }}{{ d.b.c is none }}{{ d.get('z', 'no') }}{{ d.get('z') }}{{ 'a' in d }}{{ d | length }}",
    "methods shadowed by keys": "{{ shadow.items() | list }}{{ shadow.get('get') }}{{ shadow['items'] }}{{ shadow.keys() | list }}{{ shadow.values() | list }}",
    "tilde": "{{ 1 ~ true ~ none ~ 1.0 ~ 'x' ~ [1, 'a', none] ~ {'k': 1e-05} ~ 1e16 ~ (1,) }}|{{ v.f ~ '' }}|{{ v.big ~ v.t ~ v.n }}|{{ (0.1 + 0.2) ~ 'x' if true }}|{{ 'a' ~ 1 / 100000 }}|{{ 'a' + 'b' ~ 1 + 'c' }}|{{ -1 ~ -v.f }}|{{ v.list | first ~ v.words | last }}",
    "percent": "{{ '%s and %d' % ('a', 3) }}{{ '%s' % 1e-05 }}{{ '%.2f%%' % 1.5 }}{{ '%r' % 'x' }}{{ '%(a)s' % {'a': 1} }}{{ 7 % 3 }}{{ -7 % 3 }}{{ 7.5 % 2 }}{{ '%05d|%-5s|%5s|%x' % (42, 'a', 'b', 255) }}{% if loop_index | default(4) % 2 == 0 %}even{% endif %}",
    "reasoning fields": "{% for m in messages %}{{ m }}\n{{ m.reasoning_content }}/{{ m.thinking }}/{{ m.reasoning }}\n{% endfor %}",
    "null fields": "{% for m in messages %}{{ m }}{{ 'content' in m }}{{ m.tool_calls is defined }}{{ m.name is none }}{% endfor %}",
    "parts": "{{ messages[0].content }}{{ messages[0].content | map(attribute='text') | join('\\n') }}{{ messages[0].content is string }}{{ messages[0].content is sequence }}",
    "trailing newline": "x\n",
    "two trailing newlines": "x\n\n",
    "only a comment": "{# nothing #}",
    "tuples": "{{ (1, 'a') }}{{ (1,) }}{{ () }}{{ (1, 2) + (3,) }}{{ (1, 2, 3)[::-1] }}{{ (1, 2) == (1, 2) }}{{ (1, 2) == [1, 2] }}{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}{{ 1 in (1, 2) }}{{ (1, 2) is sequence }}{{ (1, 2) | tojson }}{{ 1, 2 }}",
    "calls with stars": "{% macro f(a, b, c=0) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(*[1, 2], **{'c': 3}) }}",
    "self and blocks": "{% block title %}T{% endblock %}{{ self.title() }}",
    "import": "{% import 'x' as y %}",
    "escapes": "{{ 'a\\nb\\tc\\\\d\\'e\\\"f\\x41\\u00e9\\101\\d' }}{{ 'é' }}{{ \"a\" 'b' }}{{ '\\/' }}{{ '\\U0001F600' }}{{ '\\a\\v\\0' }}",
    "numbers": "{{ 1_000 }}{{ 0x1f }} {{ 0b11 }} {{ 0o17 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 1E2 }} {{ 10000000000000000000000 }} {{ 1.0 }} {{ 100000.0 }} {{ 1e22 }} {{ -0.0 }} {{ 123456789012345678.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1.7976931348623157e308 * 10 }} {{ 3.14159 }} {{ +5 }}",
    "compare chain": "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 1 == 1.0 }}{{ true == 1 }}{{ 'a' < 'b' }}{{ [1, 2] < [1, 3] }}{{ not true or true and false }}{{ 1 if 'a' in 'abc' and 'z' not in 'abc' else 0 }}{{ none == false }}{{ [] == none }}{{ '' or none }}{{ 0 and 1 }}{{ [] or 'e' }}",
    "integer arithmetic": "{{ 7 // 2 }}{{ -7 // 2 }}{{ 7 / 2 }}{{ 6 / 2 }}{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 2 ** 0.5 }}{{ 10 * 3 }}{{ 1.5 * 2 }}{{ true + true }}{{ 7.0 // 2 }}{{ -2 ** 2 }}{{ 3 - -2 }}",
    "division by zero": "{{ 1 / 0 }}",
    "strings times": "{{ '-' * 5 }}{{ 3 * 'ab' }}{{ 'x' * -1 }}|{{ [1] * 2 }}{{ 'a' 'b' * 2 }}",
    "tests": "{{ 1 is number }}{{ true is number }}{{ true is integer }}{{ 1.0 is float }}{{ 1 is integer }}{{ 'a' is string }}{{ {} is mapping }}{{ [] is mapping }}{{ 'a' is sequence }}{{ {} is sequence }}{{ 'a' is iterable }}{{ 1 is iterable }}{{ none is none }}{{ 1 is odd }}{{ 2 is even }}{{ 4 is divisibleby 2 }}{{ 1 is sameas 1 }}{{ true is true }}{{ 1 is true }}{{ false is false }}{{ true is boolean }}{{ 'a' is in 'abc' }}{{ 1 is in [1] }}{{ 'A' is upper }}{{ 'a' is lower }}{{ 1 is eq 1 }}{{ 1 is lt 2 }}{{ 1 is not ne 1 }}{{ 1 is gt(0) }}{{ range is callable }}{{ 'upper' is filter }}{{ 'odd' is test }}{{ 1 is undefined }}{{ v.f is number }}{{ v.f is float }}{{ v.f is mapping }}{{ v.f is string }}{{ v.f is iterable }}{{ none is sequence }}",
}


# Named here once, so that a case need only name them.
SHARED = {
    "special": {"both": {"bos_token": "<s>", "eos_token": "</s>"}, "none": {}},
    "messages": {"talk": TALK, "calls": CALLS, "thoughts": THOUGHTS, "user": [U], "parts": PARTS},
    "tools": {"two": [TOOL, TOOL2]},
    "kwargs": {
        "v": {"v": V},
        "settings": {"settings": {"zeta": 1, "alpha": {"y": 1, "b": 2}, "mid": 3}, "v": V,
                     "shadow": {"items": 1, "get": 2, "keys": 3, "values": 4}},
    },
    "template": FAMILIES,
}


def family_cases():
    for name in FAMILIES:
        for kind in SHARED["messages"]:
            for prompt in [False, True]:
                yield {"name": f"{name}: {kind}{', prompt' if prompt else ''}", "template": name, "messages": kind, "prompt": prompt}
        yield {"name": f"{name}: tools", "template": name, "messages": "calls", "tools": "two", "prompt": True}
        yield {"name": f"{name}: tools and talk", "template": name, "messages": "talk", "tools": "two"}
        yield {"name": f"{name}: no thinking", "template": name, "messages": "talk", "prompt": True,
               "kwargs": {"enable_thinking": False, "date_string": "1 May 2025"}}
        yield {"name": f"{name}: no special tokens", "template": name, "messages": "user", "special": "none"}
        yield {"name": f"{name}: continued", "template": name, "messages": TALK[:3], "continue": "content"}
    yield {"name": "command: documents", "template": "command", "messages": "user",
           "documents": [{"title": "T", "text": "a\nb", "n": 1.0}, {"text": "c"}]}


def other_cases():
    for name, template in GENERATION.items():
        yield {"name": name, "template": template, "messages": "talk"}
    for name, template in AWKWARD.items():
        messages = {"reasoning fields": "thoughts", "null fields": "calls", "parts": "parts", "keys in order": [
            {"content": "c", "role": "user", "a": {"z": 1, "b": None}}, {"zz": 1, "role": "assistant", "content": "", "b": None}]}
        case = {"name": name, "template": template, "messages": messages.get(name, "talk"), "kwargs": "settings"}
        if "tools" in name:
            case["tools"] = "two"
        if name == "special tokens":
            case["special"] = {"eos_token": "</s>", "pad_token": "<pad>"}
        yield case
    for n, expression in enumerate(EXPRESSIONS):
        yield {"name": f"{n}: {expression}", "template": "[{{ " + expression + " }}]", "messages": "user", "kwargs": "v"}


def continued_cases():
    last = [U, {"role": "assistant", "content": "So far  "}]
    templates = {
        "plain": "chatml",
        "trimmed": "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</{{ m.role }}>{% endfor %}",
        "dropped": "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
        "twice": "{{ messages[-1].content }}|{{ messages[-1].content }}!",
        "no content": "{{ messages | length }}",
    }
    for name, template in templates.items():
        yield {"name": f"continued, {name}", "template": template, "messages": last, "continue": "content"}
    yield {"name": "continued, user", "template": "chatml", "messages": "user", "continue": "content"}
    yield {"name": "continued, null", "template": "chatml", "messages": CALLS[:2], "continue": "content"}
    yield {"name": "continued, empty", "template": "chatml", "messages": [U, {"role": "assistant", "content": ""}],
           "continue": "content"}
    parts = [U, {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b "}]}]
    yield {"name": "continued, parts", "template": "parts-or-text", "messages": parts, "continue": "content"}
    thought = [U, {"role": "assistant", "content": "x", "reasoning": "Let me"}]
    yield {"name": "continued, thought", "template": "qwen3", "messages": thought, "continue": "reasoning_content"}
    yield {"name": "kwargs over special tokens", "template": "{{ bos_token }}{{ x }}", "messages": "user",
           "kwargs": {"bos_token": "<mine>", "x": None}}


def all_cases():
    return [*family_cases(), *other_cases(), *continued_cases()]
