"""Label selectors as ``kubectl -l`` takes them, for objects of the past: no server can be asked about those. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

import msgspec

from archiver.errors import Invalid

_HINT = "as kubectl -l takes it: app=web, app!=web, app in (web, db), app notin (web), app, !app; several with commas"
_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_VALUE = r"[A-Za-z0-9._-]*"
_FORMS = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<lacking>{_KEY})"
    rf"|(?P<key>{_KEY})\s*(?:(?P<sign>==|=|!=)\s*(?P<value>{_VALUE})|(?:\s(?P<word>in|notin)\s*\((?P<values>[^()]*)\))|))\s*(?:,|$)"
)


class Requirement(msgspec.Struct, frozen=True):
    """One part of a selector: ``notin`` is met by objects without the label too, as the API server has it."""

    key: str
    does: Literal["in", "notin", "exists", "lacks"]
    values: frozenset[str] = frozenset()

    def met(self, labels: Mapping[str, object]) -> bool:
        """Whether an object with these labels meets it."""
        if self.does in ("exists", "lacks"):
            return (self.key in labels) == (self.does == "exists")
        return (labels.get(self.key) in self.values) == (self.does == "in")


class LabelSelector(msgspec.Struct, frozen=True):
    """All of its requirements have to be met; without any, every object is meant."""

    text: str = ""
    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ``Invalid`` for what is none; an empty text selects everything."""
        found: list[Requirement] = []
        place = 0
        while place < len(text.rstrip()):
            form = _FORMS.match(text, place)
            if form is None or (form.end() == len(text.rstrip()) and text.rstrip().endswith(",")):
                raise Invalid(f"{text!r} is no label selector", hint=_HINT)
            found.append(_requirement(form, text))
            place = form.end()
        return cls(text, tuple(found))

    def matches(self, labels: object) -> bool:
        """``labels``: of an object as a source wrote it; what is no object of labels has none."""
        known = labels if isinstance(labels, dict) else {}
        return all(each.met(known) for each in self.requirements)


def _requirement(form: re.Match[str], text: str) -> Requirement:
    if form["absent"]:
        return Requirement(form["lacking"], "lacks")
    if form["sign"]:
        return Requirement(form["key"], "notin" if form["sign"] == "!=" else "in", frozenset({form["value"]}))
    if form["word"]:
        values = [value.strip() for value in form["values"].split(",")]
        if not all(re.fullmatch(_VALUE, value) for value in values):
            raise Invalid(f"{text!r} is no label selector", hint=_HINT)
        return Requirement(form["key"], "in" if form["word"] == "in" else "notin", frozenset(values))
    return Requirement(form["key"], "exists")
