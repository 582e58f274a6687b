"""The tokens of a formula, and its text from them."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from jaxlmm.errors import FormulaError
from jaxlmm.formula.tokens.characters import ASCII_SIGN_OF, unicode_name

CONSTANTS = {"TRUE", "FALSE", "True", "False", "None"}
"""Words for values in R and Python: a column of such a name needs backquotes."""

_NON_ASCII = rf"[^\x00-\x7f\s{re.escape(''.join(ASCII_SIGN_OF))}]"
"""A character beyond ASCII that a name may hold: a letter, accent or symbol, but no look-alike of a sign."""

_TOKEN_PATTERN = re.compile(
    rf"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<quoted>`(?:[^`]|``)*`)
      | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>(?:[a-zA-Z_]|{_NON_ASCII}|\.(?=[a-zA-Z_]|{_NON_ASCII}))(?:[a-zA-Z0-9_.]|{_NON_ASCII})*)
      | (?P<operator>%in%|%%|%/%|\|\||\*\*|==|!=|<=|>=|[-+*/:|()\[\]{{}},~=<>^%@&!.])
    )""",
    re.VERBOSE | re.DOTALL,
)

_HINTS_FOR_UNREADABLE = {
    "$": "write the column's name alone, as in 'x' for 'data$x'",
    "#": "a formula has no comments",
    "\\": "a name with a backslash stands in backquotes",
    "`": "it opens a name that no second one closes; a backquote within a name is written twice",
    '"': "it opens a text that no second one closes; a name with a quote stands in backquotes",
    "'": "it opens a text that no second one closes; a name with a quote stands in backquotes",
}


class Token(NamedTuple):
    """A word of a formula: ``kind`` is string, quoted, number, name or operator."""

    kind: str
    text: str

    @property
    def name(self) -> str:
        """The name of the column that the word spells: without backquotes."""
        return self.text[1:-1].replace("``", "`") if self.kind == "quoted" else self.text

    @property
    def value(self) -> str:
        """The text that a string holds."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes that mean nothing
            return str(ast.literal_eval(self.text.replace("\n", "\\n").replace("\r", "\\r")))


def quoted(name: str) -> Token:
    """Return a column's name as a word in backquotes.

    >>> quoted("my `days`").text
    '`my ``days```'
    """
    return Token("quoted", f"`{name.replace('`', '``')}`")


def word(name: str) -> str:
    """Return the spelling of a column's name in a formula: in backquotes unless it is a plain word.

    >>> word("Days"), word("my days")
    ('Days', '`my days`')
    """
    match = _TOKEN_PATTERN.fullmatch(name)
    plain = match is not None and match.lastgroup == "name" and not name[0].isspace() and name not in CONSTANTS
    return name if plain else quoted(name).text


def tokenize(text: str) -> list[Token]:
    """Split a formula into words; ``Q("x")`` is patsy's spelling of a name in backquotes.

    >>> [token.text for token in tokenize("log(y) ~ x.1 + (1|g)")]
    ['log', '(', 'y', ')', '~', 'x.1', '+', '(', '1', '|', 'g', ')']
    """
    tokens: list[Token] = []
    index = 0
    stripped = text.rstrip()
    while index < len(stripped):
        match = _TOKEN_PATTERN.match(stripped, index)
        if match is None or match.lastgroup is None:
            raise _unreadable(text, stripped[index:].strip())
        tokens.append(Token(match.lastgroup, match.group(match.lastgroup)))
        index = match.end()
        kinds, last = [token.kind for token in tokens[-4:]], [token.text for token in tokens[-4:]]
        if kinds == ["name", "operator", "string", "operator"] and (last[0], last[1], last[3]) == ("Q", "(", ")"):
            tokens[-4:] = [quoted(tokens[-2].value)]
    _check_brackets(text, tokens)
    return tokens


def _unreadable(text: str, unread: str) -> FormulaError:
    """Return the error about the first character of ``unread``, at which reading stopped."""
    first = unread[0]
    if first in ASCII_SIGN_OF:
        typed = ASCII_SIGN_OF[first]
        return FormulaError(
            f"formula {text!r}: {first!r} is {unicode_name(first)}, which no formula has; write {typed!r}"
            f"{' around text' if typed in _QUOTES else ''}, or a name that holds it in backquotes."
        )
    hint = f": {_HINTS_FOR_UNREADABLE[first]}" if first in _HINTS_FOR_UNREADABLE else ""
    return FormulaError(f"formula {text!r}: cannot read {unread[:20]!r}{hint}.")


_QUOTES = ("'", '"')


def _check_brackets(text: str, tokens: Iterable[Token]) -> None:
    """Raise unless each bracket is closed by one of its kind."""
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
    """Split words at operators outside brackets; each part comes with the operator before it ('' for the first)."""
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
    """Return the text of words, with one spelling of the spaces.

    >>> join(tokenize("a*b+poly( x,2 )-1"))
    'a * b + poly(x, 2) - 1'
    """
    text = ""
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        words = before is not None and before.kind != "operator" and token.kind != "operator"
        unary = token.text == "!" or (token.text in "+-" and (before is None or before.text in ("**", *"(,=+-*/~|^")))
        if token.kind == "operator" and token.text == ",":
            text += ", "
        elif token.kind == "operator" and token.text not in "()[]{}:=." and not unary:
            text += f" {token.text} "
        else:
            text += f" {token.text}" if words else token.text
    return text.strip()


def is_bar(term: Sequence[Token]) -> bool:
    """Whether a term is ``(left | group)`` or ``tag(left | group)``."""
    start = 1 if term[0].kind == "name" else 0
    if term[0].text == "I":  # its bar is a logical or
        return False
    if len(term) < start + 2 or term[start].text != "(" or term[-1].text != ")":
        return False
    return len(split(term[start + 1 : -1], ("|", "||"))) > 1


def closing(tokens: Sequence[Token], start: int) -> int:
    """Return the index after the bracket that closes the one at ``start``."""
    depth = 0
    for index in range(start, len(tokens)):
        depth += tokens[index].text in ("(", "[", "{")
        depth -= tokens[index].text in (")", "]", "}")
        if depth == 0:
            return index + 1
    return len(tokens)


def parts_of_cbind(tokens: Sequence[Token]) -> list[list[Token]] | None:
    """Return the arguments of ``cbind(a, b)``, None where words are something else.

    >>> parts_of_cbind(tokenize("cbind(y, n - y)"))[1][0].text, parts_of_cbind(tokenize("y"))
    ('n', None)
    """
    called = len(tokens) > 2 and [token.text for token in tokens[:2]] == ["cbind", "("]
    if not (called and closing(tokens, 1) == len(tokens)):
        return None
    return [part for _, part in split(tokens[2:-1], (",",))]
