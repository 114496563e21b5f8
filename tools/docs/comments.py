"""Extension of griffe: the comment behind a field or parameter becomes its description.

Fields of dataclasses and parameters are documented by a comment on their line. The API reference
shows these comments as a table, and Sphinx roles such as ``:class:`Task` `` as plain code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`")


class Comments(griffe.Extension):
    """Adds a section of fields or parameters to docstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace roles in a docstring."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Describe the fields of a class, with their defaults."""
        fields = {name: field.value for name, field in cls.attributes.items()}
        _describe(cls, "Attributes", fields)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Describe the parameters of a function."""
        _describe(func, "Args", dict.fromkeys(parameter.name for parameter in func.parameters))


def _describe(owner: griffe.Class | griffe.Function, title: str, names: Mapping[str, Any]) -> None:
    """Append the commented names to a docstring, as a section in Google's style."""
    code, indent = owner.source, "    "
    if isinstance(owner, griffe.Function):
        code, indent = code.partition('"""')[0], " +"  # The body is no part of the signature.
    found = re.findall(rf"^{indent}(\w+) ?[:=][^#\n]*  # (.+)$", code, re.MULTILINE)
    comments = {name: text for name, text in found if name in names}
    if owner.docstring and comments:
        lines = [f"\n\n{title}:"]
        for name, default in names.items():
            if name in comments:
                ending = f" Default: `{default}`." if default is not None else ""
                lines.append(f"    {name}: {comments[name]}.{ending}")
        owner.docstring.value += "\n".join(lines)
