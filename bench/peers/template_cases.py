"""The templates and messages of `record_templates.py`: families, awkward constructs, and single expressions."""

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

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# Each has the constructs of the family's published template, shortened.
FAMILIES = {
    "chatml": CHATML,
    "smollm2": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
        "You are a helper<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
        "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "qwen2.5": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helper.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n{\\"name\\": <function-name>, \\"arguments\\": <args-json-object>}\\n<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helper.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "qwen3": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "llama3": """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
{%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "alternating": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + "
        "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "parts-or-text": """{%- for message in messages -%}
{%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
{{ '<start_of_turn>' + role + '\\n' }}
{%- if message['content'] is string -%}
    {{ message['content'] | trim }}
{%- elif message['content'] is iterable -%}
    {%- for item in message['content'] -%}
        {%- if item['type'] == 'image' -%}{{ '<image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
    {%- endfor -%}
{%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
{{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\\n'}}{%- endif -%}
""",
    "channels": """{%- macro render_typescript_type(spec, required, is_nullable=false) -%}
    {%- if spec.type == "array" -%}
        {%- if spec['items'] -%}{{- render_typescript_type(spec['items'], required) + "[]" -}}{%- else -%}{{- "any[]" -}}{%- endif -%}
    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string and spec.type is not mapping and spec.type[0] is defined -%}
        {{- spec.type | join(" | ") -}}
    {%- elif spec.enum -%}
        {{- '"' + spec.enum|join('" | "') + '"' -}}
    {%- else -%}
        {{- {"integer": "number"}.get(spec.type, spec.type) -}}
    {%- endif -%}
    {%- if is_nullable %} | null{% endif -%}
{%- endmacro -%}
{%- macro tool_namespace(name, tools) -%}
    {{- "## " + name + "\\n\\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- "// " + (tool.description or "none") + "\\n" }}
        {%- if tool.parameters and tool.parameters.properties %}
            {{- "type " + tool.name + " = (_: {\\n" }}
            {%- for param_name, param_spec in tool.parameters.properties.items() %}
                {{- param_name }}
                {%- if param_name not in (tool.parameters.required or []) %}{{- "?" }}{%- endif -%}
                {{- ": " }}
                {{- render_typescript_type(param_spec, tool.parameters.required or []) }}
                {%- if param_spec.default is defined -%}
                    {%- if param_spec.enum %}{{- ", // default: " + (param_spec.default or "") }}
                    {%- elif param_spec.oneOf %}{{- "// default: " + param_spec.default }}
                    {%- else %}{{- ", // default: " + param_spec.default|tojson }}{%- endif -%}
                {%- endif -%}
                {%- if not loop.last %}{{- ",\\n" }}{%- else %}{{- ",\\n" }}{%- endif -%}
            {%- endfor %}
            {{- "}) => any;\\n\\n" }}
        {%- else -%}
            {{- "type " + tool.name + " = () => any;\\n\\n" }}
        {%- endif -%}
    {%- endfor %}
    {{- "} // namespace " + name }}
{%- endmacro -%}
{{- "Current date: " + strftime_now("%Y-%m-%d") + "\\n" }}
{%- if tools %}{{- tool_namespace("functions", tools) }}{%- endif -%}
{%- for message in loop_messages | default(messages) -%}
    {%- if "thinking" in message and loop.last and not add_generation_prompt %}
        {{- "<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}
    {%- endif %}
    {{- "<|start|>" ~ message.role ~ "<|message|>" ~ (message.content or '') ~ "<|end|>" }}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}""",
    "deepseek": (
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
        "{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}"
        "{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}"
        "{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}"
        "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}"
        "{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}"
        "{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}"
        "{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{% set content = message['content'] %}"
        "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
        "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}"
        "{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- for tool in message['tool_calls'] %}"
        "{%- if not ns.is_first %}{{'<｜tool▁calls▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + "
        "'\\n' + '```json' + '\\n' + tool['function']['arguments'] | tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}"
        "{%- endif %}{%- endfor %}{%- endif %}{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}"
        "{{'<｜Assistant｜><think>\\n'}}{% endif %}"
    ),
    "mistral": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.role == "assistant" %}
        {{- " " + (message["content"] or "")|trim + eos_token}}
    {%- endif %}
{%- endfor %}""",
    "hermes": """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {
    "string": "str",
    "number": "float",
    "integer": "int",
    "boolean": "bool"
} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "list[" +  json_to_python_type(json_spec|items) + "]"}}
{%- elif json_spec.type == "object" %}
    {{- "dict" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
    {%- set tool = tool.function %}
    {{- tool.name + "(" }}
    {%- for param_name, param_fields in tool.parameters.properties|items %}
        {{- param_name + ": " + json_to_python_type(param_fields) }}
        {%- if not loop.last %}
            {{- ", " }}
        {%- endif %}
    {%- endfor %}
    {{- ")" }}
    {%- if tool.description is defined %}{{- " - " + tool.description + "\\n\\n" }}{%- endif %}
    {{- tool.parameters.properties | dictsort | map('first') | join(',') }}
    {{- tool.parameters | tojson(indent=2) }}
{%- endfor %}
{%- for message in messages %}
{{ message.role }}: {{ message.content or 'nothing' }}
{% endfor %}""",
    "command": (
        "{{ bos_token }}{% if documents %}{% for doc in documents %}Document: {{ loop.index0 }}\n{% for key, value in "
        "doc.items() %}{{ key | title }}: {{ value | string | replace('\\n', ' ') }}\n{% endfor %}{% endfor %}{% endif %}"
        "{% for message in messages %}{% set role = message['role'] | upper %}<|{{ role }}_TOKEN|>{{ message['content'] | "
        "indent(2, first=True) }}{% endfor %}"
    ),
}

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

# Single expressions over `v`.
V = {
    "f": 1e-05, "big": 1e16, "half": 0.5, "one": 1.0, "neg": -0.0, "huge": 1.5e300, "int": 12345678901234567,
    "t": True, "no": False, "n": None, "s": "it's \"so\"", "text": "  Hello, World of É \n", "u": "é😀\u2028<&>\x7f\u00a0",
    "list": [3, 1, 2], "words": ["b", "A", "c"], "d": {"z": 1, "a": {"y": 2, "b": None}, "m": [1.0, 1e-07]}, "e": {}, "l": [],
}
EXPRESSIONS = """
v | tojson
v | tojson(indent=2)
v | tojson(indent=0)
v | tojson(indent='\\t')
v | tojson(sort_keys=true)
v | tojson(separators=(',', ':'))
v | tojson(separators=[',', ':'], indent=1)
v | tojson(ensure_ascii=true)
v.u | tojson(true)
v.d | tojson(false, 2)
'a\\u2028"\\\\/\\n\\t\\x01\\x7f😀' | tojson
'a\\u2028"\\\\/\\n\\t\\x01\\x7f😀' | tojson(ensure_ascii=True)
[1, 1.0, 1.5, 1e-05, 1e16, 1e22, 123456789.125, -0.0, true, none] | tojson
[(1, 2), {}, [], ''] | tojson(indent=2)
{'a': 1, 1: 2, none: 3, true: 4, 1.5: 5} | tojson
(1e308 * 10) | tojson
v.e | tojson(indent=4)
nothing | tojson
messages | tojson
messages | tojson(indent=2)
v
v.d
v.s
[v.s]
[v.u, v.text]
['\\\\', '\\'', '"', '\\n\\t\\r\\x00\\x1b\\u200b\\u0301\\ue000']
v.f
v.big
v.huge
v.neg
v.one
v.int
v.t
v.n
[v.f, v.big, v.t, v.n]
v.f * 2
v.f + 1
v.big > 1
v.f < v.one
v.f == 1e-05
v.big | int
v.f | string
v.f | float
v.f | round(6)
v.big | string | length
'x' | int
'x' | int(7)
'x' | int(default=9)
'1_000' | int
' 12 ' | int
'3.7' | int
'-3.7' | int
'1e3' | int
'0x1f' | int(base=16)
'ff' | int(0, 16)
'0b11' | int(0, 2)
'077' | int(0, 8)
3.99 | int
-3.99 | int
true | int
none | int
[] | int
'١٢' | int
'inf' | int
'x' | float
'1.5' | float
'1_0.5' | float
' 2 ' | float
'nan' | float
none | float
3 | float
'x' | float(2.5)
2.5 | round
3.5 | round
2.567 | round(2)
2.567 | round(2, 'ceil')
2.567 | round(1, 'floor')
25 | round(-1)
5 | round
-5 | abs
5 | string
none | string
true | string
[1, 'a'] | string
v.text | trim
v.text | upper
v.text | lower
v.text | capitalize
v.text | title
"they're bill's friends-from the UK" | title
"they're bill's friends-from the UK 3rd".title()
'ß ǆ ŉ'.title()
'ß'.upper()
'ΑΣ'.lower()
'hELLO wORLD'.capitalize()
'Hello World'.swapcase()
'ß'.casefold()
v.text.strip()
v.text.lstrip()
v.text.rstrip()
'xxaxx'.strip('x')
'xyaxy'.lstrip('yx')
'xyaxy'.rstrip('yx')
'\\x1c a \\x1f\\u3000'.strip()
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
'a,b,,c'.rsplit(',', 1)
'a,b,,c'.rsplit(',')
' a  b c '.split()
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
' a  b c '.rsplit()
''.split()
''.split(',')
'a b'.split(sep=' ')
'a-b-c'.split('-', maxsplit=1)
'a-b-c'.rsplit('-', maxsplit=1)
'a-b-c'.rsplit(sep='-', maxsplit=1)[0]
'a\\nb\\r\\nc\\x0bd\\u2028e\\n'.splitlines()
'a\\nb\\r\\nc'.splitlines(true)
'a\\nb'.splitlines(keepends=True)
'k=v=w'.partition('=')
'k=v=w'.rpartition('=')
'kv'.partition('=')
'kv'.rpartition('=')
'prefix-body'.removeprefix('prefix-')
'prefix-body'.removeprefix('x')
'body-suffix'.removesuffix('-suffix')
'ab'.rjust(5)
'ab'.rjust(5, '*')
'ab'.ljust(5, '.') + '|'
'ab'.center(7, '*')
'ab'.center(6, '*')
'abc'.center(6, '*')
'abc'.center(4)
'42'.zfill(5)
'-42'.zfill(5)
'+4'.zfill(4)
'abc'.zfill(2)
'banana'.count('an')
'banana'.count('a', 2)
'banana'.count('')
'banana'.find('an')
'banana'.find('an', 2)
'banana'.find('x')
'banana'.rfind('an')
'banana'.index('n')
'banana'.rindex('n')
'banana'.index('x')
'éa'.find('a')
'banana'.replace('a', 'o')
'banana'.replace('a', 'o', 2)
'banana'.replace('', '-')
'banana'.startswith('ban')
'banana'.startswith(('x', 'b'))
'banana'.startswith('an', 1)
'banana'.endswith(('x', 'na'))
'banana'.endswith('n', 0, 3)
', '.join(['a', 'b'])
', '.join('abc')
','.join([1, 2])
'{} and {}'.format('a', 1)
'{0}{1}{0}'.format('a', 'b')
'{x:>5}|{y:.2f}'.format(x='a', y=1.234)
'{:05d}|{:,}|{:x}|{:e}|{:%}'.format(42, 1234567, 255, 12345.678, 0.25)
'{!r}'.format('a')
'{a[b]}{{}}'.format(a={'b': 1})
'{}'.format(1e-05)
'{}'.format(true)
'{}'.format(none)
'%s %r %d %5.2f' | format('a', 'b', 3, 1.5)
'abc'.isalpha()
'ab1'.isalnum()
'12'.isdigit()
'²'.isdigit()
'½'.isnumeric()
'½'.isdigit()
'1.5'.isdecimal()
'12'.isdecimal()
' \\t'.isspace()
''.isspace()
'Abc Def'.istitle()
'ABC1'.isupper()
'abc1'.islower()
'a1_'.isidentifier()
'1a'.isidentifier()
'é'.isascii()
'a b'.isprintable()
'a\\tb'.expandtabs(4)
'a{b}'.format_map({'b': 2})
'abc'.encode()
'abc'.translate({97: 'x'})
'abc'[1]
'abc'[-1]
'abc'[::-1]
'abcdef'[1:-1:2]
'abcdef'[-2:]
'éàü'[1:]
'abc'[10:]
v.list[::-1]
v.list[-2:]
v.list[:-1]
v.list[10:]
v.list[::2]
v.list[5] is defined
v.list.index(1)
v.list.count(3)
v.list.copy()
v.list | sort
v.list | sort(reverse=true)
v.words | sort
v.words | sort(case_sensitive=true)
v.list | reverse | list
v.list | first
v.list | last
v.l | first
v.list | max
v.list | min
v.list | sum
v.list | join('-')
v.list | join
v.words | join(', ')
[1.0, 1e-05, true, none] | join(',')
v.list | length
v.list | count
v.list + [4]
v.list * 2
v.list | list
'abc' | list
v.d | list
v.d.keys() | list
v.d.values() | list
v.d.items() | list
v.d.items()
v.d.keys()
v.d.values()
v.d | items | list
v.d.copy()
v.d | dictsort
v.d | length
v.d.get('a').get('q', 'none')
v.d.z
v.d['a']['y']
v.d.missing is defined
v.list | batch(2) | list
v.list | batch(2, 'x') | list
v.list | slice(2) | list
v.list | map('string') | list
v.words | map('upper') | join
v.list | select('odd') | list
v.list | reject('odd') | list
v.list | select | list
v.list | unique | list
[1, true, 'a', 'A'] | unique | list
v.words | map('length') | sum
'a\\nb\\n\\nc' | indent
'a\\nb\\n\\nc' | indent(2)
'a\\nb\\n\\nc' | indent(2, true)
'a\\nb\\n\\nc' | indent(width=2, first=True, blank=True)
'a\\nb' | indent('> ')
'a\\nb' | indent(width='> ', first=true)
'hello world foo' | truncate(9)
'hello world foo' | truncate(9, true)
'hello world foo' | truncate(9, true, '')
'hello world foo' | truncate(255)
'hello world foo' | wordcount
'abc' | center(9)
'a b&c/é' | urlencode
{'a': 1, 'b': 'x y'} | urlencode
'<a href="x">' | forceescape
'<a>' | e
v.n | default('d')
v.n | default('d', true)
'' | default('d', boolean=true)
v.missing | default('d')
v.missing | d('e')
v.missing | default
v.s | length
v.u | length
'a' if v.t else 'b'
v.t and v.no
not v.t
v.n is none
v.t ~ v.n ~ v.one ~ v.f
1 ~ 2
'a' ~ 1.50
'a' in v.d
1 in v.list
'x' not in v.list
v.n in [none]
'' in 'abc'
v.d == {'z': 1, 'a': {'y': 2, 'b': none}, 'm': [1.0, 1e-07]}
v.list == [3, 1, 2]
dict(v.e, a=1)
dict([('a', 1)])
(1).bit_length()
(2.0).is_integer()
(255).__class__
''.__class__
v['d']['z']
v.list.0
'a' | replace('a', 'b') | upper
'aaa' | replace('a', 'b', 2)
'a b c' | replace(' ', '')
'x' | string is string
[1, 2] | tojson ~ 'x'
-v.half
-v.list[0]
- 5 | abs
1 + 2 * 3
(1 + 2) * 3
10 // 3 * 3 + 10 % 3
'a' < 'B'
v.half | int
1 == '1'
v.words | first | upper
v.d.m[1]
'%s' | format(v.f)
'%d items' | format(3)
'%.3g' | format(0.00001234)
raise_exception is defined
strftime_now is callable
'a,b' | list | length
('a', 'b') | join('/')
[['a', 1], ['b', 2]] | map('first') | list
[['a', 1], ['b', 2]] | map(attribute=0) | list
[{'n': {'m': 1}}] | map(attribute='n.m') | list
messages | map(attribute='content') | map('trim') | list
messages | selectattr('content') | list | length
[{'x': 1}, {'x': 2}] | sum(attribute='x')
[{'x': 2}, {'x': 1}] | sort(attribute='x')
'a.b'.split('.')[-1]
v.text.strip().split(' ')[0].rstrip(',')
v.words[0] ~ v.words[-1] | lower
(v.words | join ~ 'x') | upper
v.list[0] ~ '/' ~ (v.list | length)
{'x': v.f, 'y': [v.big, v.n]} ~ ''
(v.f, v.t) | string
[v.f] | join('') ~ v.one
v.d.items() | map('first') | join(',')
v.d.items() | selectattr(1, 'number') | list
v.d | map('upper') | list
(v.d.keys() | list)[0]
(v.d.values() | list)[-1][0]
'z' in v.d.keys()
v.d.keys() | length
v.d.items() | first
dict(v.d.items()) == v.d
dict(v.d, z=2).z
v.list | sum / 2
(v.list | sort)[-1]
v.list | sort | first ~ v.list | max
v.words | sort(reverse=true) | join
v.text | replace('\\n', '\\\\n') | trim
v.text | trim | length
v.text.split()[0][:3]
v.text.strip().lower().replace(',', '').split(' ') | join('_')
'a\\n\\nb'.split('\\n')
'a=1;b=2'.split(';') | map('upper') | list
'%s: %s' % (v.t, v.n)
'%s' % [1, 'a']
'%s' % ((1, 2),)
'%d%%' % 50
'%5.1f|%+d|%-4d|%04d|%e' % (1.25, 3, 4, 5, 12345.0)
'%c%o%X' % ('a', 8, 255)
'%s' % v.d
'{:>6}|{:<6}|{:^6}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:.3}|{:6.2f}|{:+d}|{:08.3f}|{:b}|{:o}|{:X}'.format('abcdef', 1.5, 3, 1.5, 5, 8, 255)
'{:,.2f}|{:_}|{:g}|{:.1%}'.format(12345.678, 1234567, 0.00001, 0.123)
'{}{}'.format(*['a', 'b'])
'{0[0]}{0[1]}'.format(['x', 'y'])
'{!s:>5}|{!r:<6}|'.format('a', 'b')
'{:{}}|'.format('a', 4)
'{}'.format([1, 'a', none, 1e-05])
-7 // 2
7 % -3
-7.5 % 2
2 ** 3 ** 2
1 / 3
10 / 4 * 2
0.1 + 0.2
none is iterable
123456789.0 * 10
1e16 - 1
5 // 0.3
3.0 == 3
'3' == 3
1 < 2 == true
not 1 == 2
1 if v.n is none else 2
v.missing.x is defined
v.missing or 'or'
(v.missing or v.n or 'or') | upper
v.s[0] == "i"
'abc'[3:] == ''
'abc'[:-5]
v.list[-1:]
v.list[1:1]
v.list[-5:5]
[1, 2, 3, 4, 5][4:0:-2]
'abcdef'[::-2]
(1, 2, 3)[:2]
[[1, 2], [3]] | map('length') | list
[[1, 2], [3]] | sum(start=[])
['a', none, 'b'] | select | join
[1, 2, 3] | map('string') | join('+')
['a', 'b'] | map('replace', 'a', 'x') | list
['b', 'a'] | map('upper') | sort | join
['  a', 'b  '] | map('trim') | list
[{'a': 1}, {'b': 2}] | map(attribute='a', default=0) | list
[{'a': 1}, {'b': 2}] | selectattr('a', 'defined') | list
[{'a': 1}, {'a': none}] | rejectattr('a', 'none') | list
[{'a': 'x'}] | selectattr('a', 'in', ['x', 'y']) | list
[3, 1] | tojson | string | length
{} | length
[] | sum
[] | join(',')
[] | max is defined
'' | first is defined
'abc' | first
'abc' | last
'abc' | reverse
'abc' | sort
'cab' | unique | join
'a,b' | replace(',', ' ') | title
'Ünï cödé'.title()
'ÀÉ'.lower()
'ŉ'.upper()
'ſ'.upper()
'İ'.lower() | length
'i̇'.isalpha()
'x'.isalpha() and not '1'.isalpha()
'Straße' | upper
'o\\'clock' | title
"x" "y" ~ "z"
'tab\\there' | tojson
'\\u00e9' == 'é'
'a\\\\b' | length
'Tool: %s' % 'x'
'x' * 3 ~ 1e-05
""".strip().split("\n")


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
