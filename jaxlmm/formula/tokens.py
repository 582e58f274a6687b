"""Words of a formula, and how they are put together again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from jaxlmm.errors import FormulaError

_PATTERN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`[^`]*`)
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>(?:[^\W\d]|\.(?=[^\W\d]))[\w.]*)
      | (?P<operator>%in%|%%|%/%|\|\||\*\*|==|!=|<=|>=|[-+*/:|()\[\]{},~=<>^%@&!.])
    )""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A word: ``kind`` is string, quoted, number, name or operator."""

    kind: str
    text: str


def tokenize(text: str) -> list[Token]:
    """Split a formula into words.

    >>> [token.text for token in tokenize("log(y) ~ x.1 + (1|g)")]
    ['log', '(', 'y', ')', '~', 'x.1', '+', '(', '1', '|', 'g', ')']
    """
    tokens, place = [], 0
    stripped = text.rstrip()
    while place < len(stripped):
        match = _PATTERN.match(stripped, place)
        if match is None or match.lastgroup is None:
            raise FormulaError(f"formula {text!r}: cannot read {stripped[place:].strip()[:20]!r}.")
        tokens.append(Token(match.lastgroup, match.group(match.lastgroup)))
        place = match.end()
    _check_brackets(text, tokens)
    return tokens


def _check_brackets(text: str, tokens: Iterable[Token]) -> None:
    closing, open_brackets = {"(": ")", "[": "]", "{": "}"}, []
    for token in tokens:
        if token.kind != "operator":
            continue
        if token.text in closing:
            open_brackets.append(token.text)
        elif token.text in closing.values() and (not open_brackets or closing[open_brackets.pop()] != token.text):
            raise FormulaError(f"formula {text!r}: {token.text!r} closes nothing; remove it or open it before.")
    if open_brackets:
        bracket = open_brackets[-1]
        raise FormulaError(
            f"formula {text!r}: expected as many {closing[bracket]!r} as {bracket!r}, got {len(open_brackets)} too "
            f"few; close the parenthesis."
        )


def split(tokens: Sequence[Token], operators: Collection[str]) -> list[tuple[str, list[Token]]]:
    """Split at operators outside brackets; each part comes with the operator before it ('' for the first)."""
    parts: list[tuple[str, list[Token]]] = [("", [])]
    depth = 0
    for token in tokens:
        if token.kind == "operator":
            depth += token.text in "([{" and len(token.text) == 1
            depth -= token.text in ")]}" and len(token.text) == 1
            if depth == 0 and token.text in operators:
                parts.append((token.text, []))
                continue
        parts[-1][1].append(token)
    return parts


def join(tokens: Sequence[Token]) -> str:
    """Write words as a formula again, with one spelling of the spaces.

    >>> join(tokenize("a*b+poly( x,2 )-1"))
    'a * b + poly(x, 2) - 1'
    """
    text = ""
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else None
        unary = token.text == "!" or (token.text in "+-" and (before is None or before.text in "(,=+-*/~|"))
        if token.kind == "operator" and token.text == ",":
            text += ", "
        elif token.kind == "operator" and token.text not in "()[]{}:=." and not unary:
            text += f" {token.text} "
        else:
            text += token.text
    return text.strip()
