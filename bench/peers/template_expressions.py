"""Single expressions of Jinja, a line each."""

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
