"""The ``fields`` parameter: ``items(added_at,item(id,!album)),total`` keeps parts of an answer."""

from __future__ import annotations

import re
from typing import Any

Tree = dict[str, "Tree"]


def project(value: Any, fields: str) -> Any:
    """Return the parts of a JSON value that ``fields`` names; all but those it names with ``!``.

    A dot is short for brackets, and lists are transparent, as the Web API has it.

    Raises
    ------
    ValueError
        If ``fields`` cannot be read.
    """
    tokens = re.findall(r"[!\w*]+|[(),.]|\S", fields)
    tree, rest = _list(tokens)
    if rest:
        raise ValueError(f"unexpected '{rest[0]}' in fields")
    return _keep(value, tree)


def _list(tokens: list[str]) -> tuple[Tree, list[str]]:
    tree: Tree = {}
    while True:
        name, tokens = _name(tokens)
        branch = tree
        while tokens[:1] == ["."]:
            branch = branch.setdefault(name, {})
            name, tokens = _name(tokens[1:])
        inner = branch.setdefault(name, {})
        if tokens[:1] == ["("]:
            parts, tokens = _list(tokens[1:])
            if tokens[:1] != [")"]:
                raise ValueError("a bracket of fields is not closed")
            inner.update(parts)
            tokens = tokens[1:]
        if tokens[:1] != [","]:
            return tree, tokens
        tokens = tokens[1:]


def _name(tokens: list[str]) -> tuple[str, list[str]]:
    if not tokens or not re.fullmatch(r"!?\w+|\*", tokens[0]):
        raise ValueError("a name is missing in fields")
    return tokens[0], tokens[1:]


def _keep(value: Any, tree: Tree) -> Any:
    if not tree or value is None:
        return value
    if isinstance(value, list):
        return [_keep(entry, tree) for entry in value]
    if not isinstance(value, dict):
        return value
    without = {name[1:] for name in tree if name.startswith("!")}
    everything = "*" in tree or len(without) == len(tree)
    return {
        name: _keep(inner, tree.get(name, {}))
        for name, inner in value.items()
        if name not in without and (everything or name in tree)
    }
