"""Writes docs/space-file.md, the reference of space files: their JSON Schema and the samplers.

    python docs/space_file.py

The schema is xortune/space.schema.json, which is itself made of the models that read space files. A
test tells when the page is not what this makes of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from xortune.spaces.samplers import SAMPLERS

HERE = Path(__file__).resolve().parent
SCHEMA = HERE.parent / "xortune" / "space.schema.json"
PAGE = HERE / "space-file.md"

Node: TypeAlias = Mapping[str, Any]

HEAD = """\
# The space file, key by key

<!-- Written by docs/space_file.py from xortune/space.schema.json: change the models, not this. -->

A space file is YAML, without tags, anchors and aliases, of at most 1 MB. xortune refuses an unknown
key, with its line and the nearest known key. `xortune space FILE` checks a file, and says what
searching it may cost. [`search_spaces/xor.yaml`](../search_spaces/xor.yaml) has comments on nearly
every key. For completion in an editor, begin a file with a line that names the schema; the package
contains it:

```yaml
# yaml-language-server: $schema=space.schema.json
```

![A search of that file: every configuration as a line over its parameters, the better the bluer; \
the best twenty have lr from 0.0015 to 0.028 and wide hidden layers.]\
(../reports/xor/figures/parallel-coordinate.svg)

A *value* below is a number, a text, true, false or null; *any value* is one of these, or a list or
a mapping of them, such as `net_arch: {choice: [[64, 64], [256]]}`.
"""

PLUGINS = """\
Learns: its proposals depend on results. Several: it takes several objectives. Resumes exactly: a
search that is interrupted and resumed proposes what it would have proposed; a search with another
sampler keeps its counts, and a line on stderr says that its proposals may differ.

An installed package adds a sampler as an entry point of its `pyproject.toml`. `xortune plugins`
lists what is installed, and what of it cannot be used:

```toml
[project.entry-points."xortune.samplers"]
nsgaiii = "my_package:NSGAIII"
```

```python
import xortune as xt


def make(seed):
    from optuna.samplers import NSGAIIISampler

    return NSGAIIISampler(seed=seed)


NSGAIII = xt.Sampler(
    name="nsgaiii",
    about="evolution towards reference points",
    make=make,
    keeps_state=True,
)
```

[`xt.Sampler`](api.md) says what each argument means. Whoever reads a run needs no package of its
sampler; whoever continues it does.
"""

VALUE = {"number", "string", "boolean", "null"}

SCALARS = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
    "array": "list",
}

BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "below {}"),
    ("minItems", "at least {} of them"),
    ("minProperties", "at least {}"),
    ("maxProperties", "at most {}"),
    ("maxLength", "at most {} signs"),
)


def page() -> str:
    """The whole page."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    forms = schema["$defs"]
    parts = [HEAD, "## The file\n", _table(schema, forms)]
    for name in dict.fromkeys([*_named(schema["properties"], forms), *forms]):
        parts += [
            f"## {_title(name)}\n",
            f"{forms[name]['description']}\n",
            _table(forms[name], forms),
        ]
    return "\n".join([*parts, "## Samplers\n", _samplers(), PLUGINS])


def _samplers() -> str:
    rows = ["| sampler | | learns | several | resumes exactly |", "| :-- | :-- | :-- | :-- | :-- |"]
    for one in SAMPLERS:
        traits = (one.learns, one.several, one.exact_resume)
        said = " | ".join("yes" if trait else "no" for trait in traits)
        rows.append(f"| `{one.name}` | {_cell(one.about)} | {said} |")
    return "\n".join(rows) + "\n"


def _named(node: Any, forms: Node) -> Iterator[str]:
    """The forms that a part of the schema refers to, each followed by those that it refers to."""
    if isinstance(node, Mapping):
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            yield name
            yield from _named(forms[name], forms)
        for value in node.values():
            yield from _named(value, forms)
    elif isinstance(node, list):
        for value in node:
            yield from _named(value, forms)


def _table(form: Node, forms: Node) -> str:
    required = form.get("required", [])
    rows = ["| key | value | if not given | |", "| :-- | :-- | :-- | :-- |"]
    for key, node in form["properties"].items():
        otherwise = "required" if key in required else _default(node)
        said = node.get("description") or _said(node, forms)
        rows.append(f"| `{key}` | {_value(node)} | {otherwise} | {_cell(said)} |")
    return "\n".join(rows) + "\n"


def _said(node: Node, forms: Node) -> str:
    """What a key without a description is: what its form says."""
    for name in _named(node, forms):
        return str(forms[name]["description"])
    return ""


def _default(node: Node) -> str:
    if "default" not in node or node["default"] is None:
        return ""
    if isinstance(node["default"], Mapping):
        return "its defaults" if node["default"] else ""
    return f"`{json.dumps(node['default'])}`" if node["default"] != [] else ""


def _value(node: Node) -> str:
    """What may be written: types, bounds, links to forms. No "or null": it is what is not given."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"[{_title(name).lower()}](#{_title(name).lower().replace(' ', '-')})"
    for several in ("anyOf", "oneOf"):
        if several in node:
            found = [_value(one) for one in node[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(found))
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"] if value is not None)
    if "type" not in node:
        return "anything"
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    words = " or ".join(SCALARS[kind] for kind in kinds)
    if set(kinds) >= VALUE:
        words = "any value" if "array" in kinds else "value"
    if "items" in node:
        words += f" ({_value(node['items'])})"
    if "prefixItems" in node:  # of so many
        words += f" ({', '.join(map(_value, node['prefixItems']))})"
        node = {}
    if isinstance(node.get("additionalProperties"), Mapping):
        words += f" (names to {_value(node['additionalProperties'])})"
    bounds = [said.format(f"{node[key]:,}") for key, said in BOUNDS if key in node]
    return _cell(", ".join([words, *bounds]))


def _title(name: str) -> str:
    """The class that holds a part of the file as the title of a section."""
    return (
        "Seeds" if name == "SeedSettings" else name.removesuffix("Settings").removesuffix("Metric")
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
