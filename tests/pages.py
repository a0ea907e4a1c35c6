"""What tests of pages share: a page as a browser would read its structure, and large runs."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
from hand_made import CONFIG, done, solved

from xortune.runs.run import Run

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "rect", "wbr"}


class Parsed(HTMLParser):
    """What is in a page: its elements in order, its ids, what its scripts and styles say.

    Attributes:
        elements: (name, attributes) of each start tag.
        text: all text outside scripts and styles.
        raw: [tag, attributes, text] of scripts and styles.
    """

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.inside, self.text, self.raw = [], [], "", []
        self.feed(page)
        self.close()
        assert self.inside == [], f"not closed: {self.inside}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.inside.append(tag)
        if tag in {"script", "style"}:
            self.raw.append([tag, dict(attributes), ""])

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.inside, f"</{tag}> closes nothing"
        assert self.inside.pop() == tag

    def handle_data(self, data):
        if self.inside and self.inside[-1] in {"script", "style"}:
            self.raw[-1][2] += data
        else:
            self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def data(self):
        """The JSON in it, in order."""
        scripts = (one for one in self.raw if one[1].get("type") == "application/json")
        return [json.loads(text) for _, _, text in scripts]


def runs_only_its_own(parsed, policy):
    """The rules of a policy that allows only what is in the page; nothing else is in it."""
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag, attributes, text in parsed.raw:
        if attributes.get("type") != "application/json":
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in rules[f"{tag}-src"]
    assert "unsafe" not in rules["script-src"] + rules["style-src"]
    for _, attributes in parsed.elements:
        assert not {"src", "srcset", "style", "action", "formaction", "data"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    return rules


def many(path, configs):
    """A run of so many configs, in memory, with all figures that a search has."""
    draw = np.random.default_rng(0)
    outcomes = [solved(0, k, 8) for k in range(9)]
    lines = []
    for at in range(configs):
        hidden = int(draw.integers(2, 20))
        point = CONFIG | {
            "lr": float(10 ** draw.uniform(-4, 0)),
            "optimizer": ("SGD", "Adam", "RMSprop")[at % 3],
            "activation": ("ReLU", "Tanh", None, "Sigmoid")[at % 4],
            "hidden_dim": hidden,
        }
        if at % 3 == 0:
            point["momentum"] = float(draw.uniform(0, 1))
        lines.append(done(at, point, outcomes[min(8, int(draw.integers(9)) * hidden // 8)]))
    importance = {"hidden_dim": 0.5, "lr": 0.3, "optimizer": 0.1, "activation": 0.1}
    manifest = {"name": "many", "trainer": "network", "task": "xor", "importance": importance}
    return Run(path, manifest, tuple(lines))
