"""Chat templates and small Jinja programs with what Hugging Face's settings of jinja2 make of them.

Every template is written here for the purpose: some in the style of the templates that models ship, most to pin down one
construct. all_template_cases() renders them; a case that raises is recorded as an error, without its message.
"""

import json

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

U, A, S = "user", "assistant", "system"


def turn(role: str, content: object, **more: object) -> dict:
    return {"role": role, "content": content, **more}


HELLO = [turn(U, "Hello")]
TALK = [turn(S, "Be brief."), turn(U, "1+1?"), turn(A, "2"), turn(U, " And 2+2? \n")]
CHINESE = [turn(S, "你是助手。"), turn(U, "你好，世界 😀"), turn(A, "您好！"), turn(U, "再见\n")]
HOSTILE = [turn(U, "{{ 7*7 }} {% raw %} <b>&amp;\"'\\ \u2028 \x7f"), turn(A, "</think>\n{#"), turn(U, "")]
THINKING = [turn(U, "Why?"), turn(A, "<think>\nhm\n</think>\n\nBecause."), turn(U, "Really?")]
CALL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "arguments": {"city": "Köln", "days": 3, "metric": True, "limit": None, "f": 0.5},
    },
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": 'Weather <now> & "later"',
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    }
]
TOOL_TALK = [
    turn(U, "Weather?"),
    turn(A, "", tool_calls=[CALL, CALL]),
    turn("tool", '{"t": 21}'),
    turn(A, "21 degrees."),
]
PARTS = [turn(U, [{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "text", "text": "this?"}])]
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"


def chat(messages: list[dict], prompt: bool = True, **more: object) -> dict:
    return {"messages": messages, "add_generation_prompt": prompt, "bos_token": BOS, "eos_token": EOS, **more}


# ---- templates in the style of those that models ship ----------------------------------------------------------------

V2_LIKE = (
    "{%- if add_generation_prompt is not defined -%}{%- set add_generation_prompt = false -%}{%- endif -%}{{ bos_token }}"
    "{%- for m in messages -%}{%- if m['role'] == 'system' -%}{{ m['content'] ~ '\\n\\n' }}"
    "{%- elif m['role'] == 'user' -%}{{ 'User: ' ~ m['content'] ~ '\\n\\n' }}"
    "{%- elif m['role'] == 'assistant' -%}{{ 'Assistant: ' ~ m['content'] ~ eos_token }}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"
)
CHATML_LIKE = """{% for message in messages %}
<|start|>{{ message.role }}
{{ message.content | trim }}<|stop|>
{% endfor %}
{% if add_generation_prompt %}
<|start|>assistant
{% endif %}
"""
ALTERNATING = """{%- if messages[0]['role'] == 'system' -%}
    {%- set preamble = messages[0]['content'] -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set preamble = '' -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for m in rest -%}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('roles must alternate, found ' + m['role'] + ' at ' + loop.index | string) -}}
    {%- endif -%}
    {%- if loop.first and preamble -%}
        {%- set text = '((' + preamble + '))\\n' + m['content'] -%}
    {%- else -%}
        {%- set text = m['content'] -%}
    {%- endif -%}
    {%- if m['role'] == 'user' -%}
        {{- bos_token + '[Q] ' + text | trim + ' [/Q]' -}}
    {%- else -%}
        {{- ' ' + text | trim + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}"""
NAMESPACED = """{%- set ns = namespace(system='', seen_user=false, calls=0) -%}
{%- for m in messages -%}{%- if m.role == 'system' -%}{%- set ns.system = ns.system + m.content -%}{%- endif -%}{%- endfor -%}
{{- bos_token }}{{ ns.system }}
{%- for m in messages if m.role != 'system' -%}
{%- if m.role == 'user' -%}{%- set ns.seen_user = true -%}{{ '<|User|>' + m.content }}
{%- elif m.role == 'assistant' and m.tool_calls is defined and m.tool_calls is not none -%}
{%- for call in m.tool_calls -%}
{%- set ns.calls = ns.calls + 1 -%}
{{ '<|call ' ~ ns.calls ~ (' first' if loop.first else '') ~ '|>' + call.function.name + '\\n```json\\n' + (call.function.arguments | tojson) + '\\n```' }}
{%- endfor -%}{{ '<|end|>' }}
{%- elif m.role == 'assistant' -%}
{%- set content = m.content -%}
{%- if '</think>' in content -%}{%- set content = content.split('</think>')[-1] -%}{%- endif -%}
{{ '<|Assistant|>' + content + eos_token }}
{%- elif m.role == 'tool' -%}{{ '<|output|>' + m.content }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and ns.seen_user -%}{{ '<|Assistant|><think>\\n' }}{%- endif -%}"""
MACROS = """{%- macro part(p) -%}
  {%- if p is string -%}{{ p }}
  {%- elif p.type == 'text' -%}{{ p.text }}
  {%- elif p.type == 'image' -%}<image>
  {%- else -%}{{ raise_exception('unknown part') }}
  {%- endif -%}
{%- endmacro -%}
{%- macro say(role, content, open='[', close=']') -%}
  {{ open ~ role | upper ~ close }} {% if content is string %}{{ part(content) }}{% else %}{% for p in content %}{{ part(p) }}{% endfor %}{% endif %}

{% endmacro -%}
{%- for m in messages -%}{{ say(m.role, m.content, close='>' if m.role == 'user' else ']') }}{%- endfor -%}
{%- if add_generation_prompt %}{{ say('assistant', '', '<<') | trim }}{% endif -%}"""
WITH_TOOLS = """{% if tools %}
# Tools
{% for tool in tools %}
{% set f = tool.function %}
- {{ f.name }}: {{ f.description | default('none', true) }}
{% for name, spec in f.parameters.properties.items() %}
    * {{ name }} ({{ spec.type }}){% if name in f.parameters.required %} required{% endif +%}
{% endfor %}
{{ tool | tojson(indent=2) }}
{% endfor %}
{% else %}
no tools
{% endif %}
{%- for m in messages %}
{{ m.role }}: {{ m.content if m.content else '-' }}
{%- if m.get('tool_calls') %} calls {{ m.tool_calls | map(attribute='function.name') | join(', ') }}{% endif %}
{%- endfor %}"""

STYLES = [
    (
        "v2_like",
        V2_LIKE,
        [
            chat(HELLO),
            chat(TALK),
            chat(CHINESE, False),
            chat(HOSTILE),
            chat([]),
            {"messages": TALK, "bos_token": "", "eos_token": ""},
        ],
    ),
    ("chatml_like", CHATML_LIKE, [chat(HELLO), chat(TALK), chat(CHINESE, False), chat(HOSTILE)]),
    (
        "alternating",
        ALTERNATING,
        [chat(TALK), chat(HELLO), chat([turn(A, "x")]), chat([turn(U, "a"), turn(U, "b")]), chat([])],
    ),
    ("namespaced", NAMESPACED, [chat(TALK), chat(THINKING), chat(TOOL_TALK), chat([turn(S, "a"), turn(S, "b")])]),
    ("say_macro", MACROS, [chat(TALK), chat(PARTS), chat([turn(U, [{"type": "video"}])])]),
    ("with_tools", WITH_TOOLS, [chat(TOOL_TALK, tools=TOOLS), chat(TALK, tools=[]), chat(HELLO)]),
]

# ---- one construct each ----------------------------------------------------------------------------------------------

DATA = {
    "s": "  Hello, World \n",
    "word": "straße",
    "n": 7,
    "neg": -7,
    "f": 2.5,
    "yes": True,
    "no": False,
    "null": None,
    "empty": "",
    "nil": [],
    "list": [3, 1, 2],
    "names": ["bob", "Alice", "carol"],
    "map": {"b": 1, "a": [1, 2], "c": {"d": "x"}},
    "items": [{"name": "x", "on": True, "rank": 2}, {"name": "y", "on": False, "rank": 1}, {"name": "z", "on": True}],
    "text": "a,b,,c",
    "lines": "one\ntwo\n\nthree",
    "cjk": "你好，世界",
    "quote": 'it\'s "q" <&>',
}

# name -> template, or several templates
CONSTRUCTS = {
    "plain text": [
        "no tags at all\n",
        "",
        "\n",
        "trailing newline is dropped\n",
        "two\n\n",
        "{ { not a tag } } {% raw %}{{ x }}{% endraw %}",
        "a{# comment #}b{#\nlong\n#}\nc",
    ],
    "print": [
        "{{ n }} {{ neg }} {{ f }} {{ s }}",
        "{{ yes }} {{ no }} {{ null }} {{ missing }}|",
        "{{ list }} {{ names }} {{ map }}",
        "{{ 1.0 }} {{ 1e20 }} {{ 0.1 + 0.2 }} {{ 1e-7 }} {{ 100000000000000000000 }}",
        "{{ [] }} {{ {} }} {{ (1, 'a', none) }} {{ [true, 1.5, \"it's\"] }}",
        "{{ 'a' 'b' }} {{ \"x\\ty\\u00e9\\n\" }}",
        "{{ 'a\\\\b' }} {{ '\\'' }}",
    ],
    "arithmetic": [
        "{{ n + 1 }} {{ n - 10 }} {{ n * 2 }} {{ n / 2 }} {{ n // 2 }} {{ n % 4 }} {{ 2 ** 5 }}",
        "{{ neg // 2 }} {{ neg % 3 }} {{ -n }} {{ 6 / 3 }}",
        "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}",
        "{{ 'ab' * 3 }} {{ [1] + [2, 3] }} {{ 'a' ~ 1 ~ none ~ true ~ 1.5 }}",
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
    ],
    "compare": [
        "{{ n > 5 }} {{ n >= 7 }} {{ n < 7 }} {{ n != 7 }} {{ n == 7.0 }} {{ 1 < 2 < 3 }} {{ 'a' < 'b' }}",
        "{{ 'b' in names }} {{ 'bob' in names }} {{ 'ell' in s }} {{ 'a' in map }} {{ 3 not in list }}",
        "{{ null == none }} {{ true == 1 }} {{ [1, 2] == [1, 2] }} {{ '1' == 1 }}",
    ],
    "logic": [
        "{{ yes and no }} {{ yes or no }} {{ not yes }} {{ empty or 'fallback' }} {{ n and 'seven' }} {{ nil or none }}",
        "{{ not n == 7 }} {{ no or yes and no }} {{ 'x' if no }}|{{ 'x' if yes else 'y' }}{{ 'a' if no else 'b' if no else 'c' }}",
    ],
    "if": [
        "{% if no %}a{% elif n == 6 %}b{% elif n == 7 %}c{% else %}d{% endif %}",
        "{% if nil %}a{% endif %}{% if empty %}b{% endif %}{% if 0 %}c{% endif %}{% if {} %}d{% endif %}{% if ' ' %}e{% endif %}{% if missing %}f{% endif %}{% if 0.0 %}g{% endif %}",
    ],
    "for": [
        "{% for x in list %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{% for x in nil %}x{% else %}none{% endfor %}",
        "{% for x in names %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }} {% endfor %}",
        "{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}",
        "{% for k in map %}{{ k }}{% endfor %}",
        "{% for i in range(3) %}{{ i }}{% endfor %} {% for i in range(5, 0, -2) %}{{ i }}{% endfor %}",
        "{% for c in 'héy' %}[{{ c }}]{% endfor %}",
        "{% for x in items if x.on %}{{ loop.index }}{{ x.name }}{% endfor %}",
        "{% for x in list %}{% for y in names %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
        "{% for x in names %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
        "{% for x in names %}{{ loop.cycle('odd', 'even') }} {% endfor %}",
        "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}-{{ b }} {% endfor %}",
        "{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in list %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in missing %}x{% else %}none{% endfor %}",
        "{% for x in n %}{% endfor %}",
        "{% set x = 'outer' %}{% for y in list %}{% set x = y %}{{ x }}{% endfor %}{{ x }}",
        "{% for x in list %}{% endfor %}{{ x }}|",
        "{% for x in names recursive %}{{ x }}{% endfor %}",
    ],
    "set": [
        "{% set a = 1 %}{% set b, c = 2, 3 %}{{ a }}{{ b }}{{ c }}",
        "{% set block %}x{{ n }}\ny{% endset %}[{{ block }}]",
        "{% set up | upper %}abc{% endset %}{{ up }}",
        "{% if yes %}{% set inner = 1 %}{% endif %}{{ inner }}",
        "{% set ns = namespace() %}{% set ns.total = 0 %}{% for x in list %}{% set ns.total = ns.total + x %}{% endfor %}{{ ns.total }}",
        "{% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}{{ ns.c }}|",
        "{% set map.z = 1 %}",
        "{% set d = dict(a=1, b=2) %}{{ d.a + d['b'] }}",
    ],
    "access": [
        "{{ map.a }} {{ map['a'] }} {{ map.a[0] }} {{ map.c.d }} {{ list[0] }} {{ list[-1] }} {{ names[1][0] }}",
        "{{ map.missing }}|{{ map['missing'] }}|{{ list[9] }}|",
        "{{ missing.attribute }}",
        "{{ map.missing.deeper }}",
        "{{ none.x }}|",
        "{{ map.get('b') }} {{ map.get('q') }} {{ map.get('q', 'other') }}",
        "{{ map.keys() | list }} {{ map.values() | list }}",
        "{{ map.items() | list }}",
        "{{ map['c']['d'] }}{{ {'k': 1}.k }}{{ [1, 2][1] }}",
    ],
    "slices": [
        "{{ list[1:] }} {{ list[:-1] }} {{ list[::-1] }} {{ list[0:3:2] }} {{ list[5:] }}",
        "{{ cjk[0] }} {{ cjk[1:3] }} {{ cjk[::-1] }} {{ cjk | length }} {{ s[2:7] }}",
        "{{ names[-2:] }} {{ names[:0] }}",
    ],
    "string methods": [
        "[{{ s.strip() }}] [{{ s.lstrip() }}] [{{ s.rstrip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'abcab'.rstrip('ab') }}]",
        "{{ text.split(',') }} {{ text.split(',', 1) }} {{ ' a  b '.split() }} {{ lines.split('\\n')[-1] }} {{ text.rsplit(',', 1) }}",
        "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith('bc') }} {{ 'abc'.startswith('b') }}",
        "{{ word.upper() }} {{ 'ÀB'.lower() }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }}",
        "{{ 'aXbXc'.replace('X', '-') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ ','.join(names) }}",
        "{{ 'hello'.find('l') }} {{ 'hello'.count('l') }} {{ 'abc'.find('z') }} {{ lines.splitlines() }}",
        "{{ '{} and {}'.format(1, 'b') }} {{ '%s-%d' % ('a', 3) }}",
        "{{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ '  '.isspace() }} {{ 'a b'.partition(' ') }}",
    ],
    "filters": [
        "[{{ s | trim }}] [{{ 'xxaxx' | trim('x') }}]",
        "{{ 'aBc' | upper }} {{ 'aBc' | lower }} {{ 'hello world' | title }} {{ 'hELLO w' | capitalize }}",
        "{{ names | join }} {{ names | join(', ') }} {{ items | join('/', attribute='name') }} {{ list | join('-') }}",
        "{{ list | length }} {{ s | length }} {{ map | count }}",
        "{{ missing | default('d') }} {{ empty | default('d') }}|{{ empty | default('d', true) }} {{ null | default('d') }} {{ null | d('d', boolean=true) }}",
        "{{ names | first }} {{ names | last }} {{ 'abc' | first }} {{ nil | first }}|",
        "{{ list | sort }} {{ list | sort(reverse=true) }} {{ names | sort }} {{ names | sort(case_sensitive=true) }}",
        "{{ items | selectattr('on') | map(attribute='name') | list }} {{ items | rejectattr('on') | map(attribute='name') | list }}",
        "{{ items | selectattr('name', 'equalto', 'y') | list | length }} {{ items | selectattr('rank', 'defined') | map(attribute='rank') | list }} {{ items | selectattr('name', '==', 'x') | map(attribute='name') | first }}",
        "{{ items | map(attribute='rank', default=0) | list }}",
        "{{ names | map('upper') | list }} {{ list | map('string') | join('+') }}",
        "{{ list | select('odd') | list }} {{ list | reject('equalto', 1) | list }} {{ [0, 1, '', 'a'] | select | list }}",
        "{{ 'a-b-a' | replace('a', 'x') }} {{ 'a-b-a' | replace('a', 'x', 1) }}",
        "{{ list | sum }} {{ list | max }} {{ list | min }} {{ items[:2] | sum(attribute='rank') }}",
        "{{ list | reverse | list }} {{ 'abc' | reverse }} {{ 'abc' | list }}",
        "{{ f | int }} {{ '42' | int }} {{ 'x' | int }} {{ 'x' | int(-1) }} {{ '1.5' | float }} {{ n | float }} {{ n | string ~ '!' }}",
        "{{ neg | abs }} {{ 2.567 | round(1) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 2.1 | round(0, 'ceil') }}",
        "{{ map | items | list }} {{ map | dictsort }}",
        "{{ [1, 2, 1, 3, 2] | unique | list }} {{ [1, 2, 3, 4, 5] | batch(2) | list }}",
        "{{ lines | indent(4) }}|{{ lines | indent(2, true) }}|{{ lines | indent(2, blank=true) }}",
        "{{ quote | e }} {{ quote | escape }} {{ quote | safe }}",
        "{{ items | groupby('on') | map('first') | list }}",
        "{{ 'one two three four' | truncate(9) }} {{ 'a b' | urlencode }} {{ 'a b c' | wordcount }}",
        "{{ '%s=%s' | format('a', 1) }} {{ 'x' | center(5) }}|",
        "{{ list | nosuchfilter }}",
        "{{ names | map('nosuch') | list }}",
        "{{ -1 | abs }} {{ (-1) | abs }} {{ 'a' ~ 'b' | upper }} {{ 1 + 2 | string | length }}",
    ],
    "tojson": [
        "{{ map | tojson }} {{ list | tojson }} {{ s | tojson }} {{ f | tojson }} {{ null | tojson }} {{ yes | tojson }}",
        "{{ quote | tojson }} {{ cjk | tojson }} {{ '\\u2028\\x7f\\x01/' | tojson }}",
        "{{ map | tojson(indent=2) }}",
        "{{ map | tojson(indent=4, sort_keys=true) }}",
        "{{ cjk | tojson(ensure_ascii=true) }} {{ '😀' | tojson(ensure_ascii=true) }}",
        "{{ map | tojson(separators=(',', ':')) }}",
        "{{ [1.0, 1e20, 0.1, -0.0, 123456789012, 1e-7] | tojson }} {{ {} | tojson }} {{ [] | tojson(indent=2) }}",
        "{{ missing | tojson }}",
        "{{ {'a': (1, 2), 1: none} | tojson }}",
    ],
    "tests": [
        "{{ n is defined }} {{ missing is defined }} {{ missing is undefined }} {{ null is none }} {{ map.q is defined }}",
        "{{ s is string }} {{ n is number }} {{ f is float }} {{ n is integer }} {{ yes is boolean }} {{ yes is number }} {{ map is mapping }} {{ list is iterable }} {{ list is sequence }} {{ s is sequence }} {{ map is sequence }}",
        "{{ n is odd }} {{ n is even }} {{ n is divisibleby(7) }} {{ n is divisibleby 2 }}",
        "{{ yes is true }} {{ no is false }} {{ 1 is true }} {{ n is not none }} {{ n is eq 7 }} {{ n is gt(3) }} {{ n is in [1, 7] }} {{ 'ab' is lower }} {{ 'AB' is upper }}",
        "{{ n is sameas 7 }} {{ null is sameas none }} {{ range is callable }}",
        "{{ n is nosuchtest }}",
        "{{ not n is defined }} {{ n is defined and n > 3 }} {{ missing is not defined or missing > 3 }}",
    ],
    "macros": [
        "{% macro m(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 2) }} {{ m(1, c=3) }} {{ m() }}",
        "{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}in{{ n }}{% endcall %}",
        "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}",
        "{% macro fact(k) %}{{ 1 if k <= 1 else k * (fact(k - 1) | int) }}{% endmacro %}{{ fact(5) }}",
        "{% macro m() %}  x  {% endmacro %}[{{ m() }}] [{{ m() | trim }}] {{ m().strip() | length }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
        "{% set n = 9 %}{% macro m() %}{{ n }}{% endmacro %}{{ m() }}",
    ],
    "whitespace": [
        "  {% if yes %}  \n  a\n  {% endif %}\nb",
        "a\n  {%- if yes %}\n b \n{%- endif -%}\n  c",
        "{{- n -}}  x  {{ n }}\n{{- n }}",
        "a   {{ n }}   \n   {# c #}   \nb",
        "  {%+ if yes %}a{% endif +%}\nb",
        "{% for x in list %}\n{{ x }}\n{% endfor %}\n",
        "{% for x in list -%}\n  {{ x }}\n{%- endfor %}\n\nend\n",
        "a\t {% set q = 1 %} \tb",
        "line {% if yes %}same{% endif %}\n\n\nnext",
        "\n\n{% if yes %}\n\nx{% endif %}",
        "a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc",
        "x {#- c -#} y",
        "{%- set a = 1 -%}\n\n  [{{ a }}]  \n\n{%- set b = 2 %}\n z",
    ],
    "filter block": [
        "{% filter upper %}abc {{ word }}{% endfilter %}",
        "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}|",
        "{% generation %}x{% endgeneration %}",
    ],
    "errors": [
        "{{ raise_exception('stop') }}",
        "{% if no %}{{ raise_exception('stop') }}{% endif %}fine",
        "{{ unknown() }}",
        "{% if yes %}",
        "{% endif %}",
        "{{ n",
        "{{ }}",
        "{% nosuchtag %}",
        "{{ 'a' | }}",
        "{% for in x %}{% endfor %}",
        "{{ list.append(4) }}",
        "{{ map.update({'x': 1}) }}",
        "{{ ''.__class__.__mro__ }}",
        "{% set _ = list.pop() %}",
        "{{ range(1000000000) | length }}",
        "{% else %}",
        "{{ 1 2 }}",
        "{# never closed",
        "{% raw %}never closed",
        "{{ n.x.y }}",
        "{{ none + 1 }}",
        "{{ list['a'] }}|",
        "{{ missing + 'a' }}",
        "{{ 'a' in missing }}",
        "{% include 'x' %}",
        "{{ n() }}",
    ],
}


class GenerationTag(jinja2.ext.Extension):
    """{% generation %} marks the assistant's text for training; when rendering it only passes its body on."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("pass_on"), [], [], body).set_lineno(line)

    def pass_on(self, caller) -> str:
        return caller()


def hf_environment() -> ImmutableSandboxedEnvironment:
    """jinja2 as transformers sets it up for chat templates, without what only training and dates need."""

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = to_json
    env.globals["raise_exception"] = raise_exception
    return env


def render(template: str, context: dict) -> str | None:
    """None where anything goes wrong, at compile time or while rendering."""
    try:
        return hf_environment().from_string(template).render(**context)
    except Exception:  # Python errors inside an expression count as much as jinja2's own
        return None


def all_template_cases() -> list[dict]:
    cases = []

    def add(name: str, template: str, context: dict) -> None:
        expected = render(template, context)
        outcome = {"error": True} if expected is None else {"expected": expected}
        cases.append({"name": name, "template": template, "context": context} | outcome)

    for name, template, contexts in STYLES:
        for number, context in enumerate(contexts):
            add(f"{name} {number}", template, context)
    for name, templates in CONSTRUCTS.items():
        for number, template in enumerate(templates):
            used = {key: value for key, value in DATA.items() if key in template}
            add(f"{name} {number}", template, used)
    return cases
