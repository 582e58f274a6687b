"""Which combinations of coefficients a test is about: hypotheses in words, or as a matrix."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlmm._util import NumpyArray
from jaxlmm.errors import OptionError, nearest

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_OPERATOR = re.compile(r"==|[-−+*/()=,]")
_WORD = re.compile(r"`[^`]*`?|[^\s=,+*/()−-]+|.", re.DOTALL)
_SPELLED = {"==": "=", "−": "-"}


def hypothesis(h: Any, names: Sequence[str]) -> NumpyArray:
    """Return a hypothesis as rows (c, p) over the coefficients ``names`` (p,), whose products with them are to be zero.

    Parameters
    ----------
    h
        Text such as ``"a - b = 0"``, ``"a = b"`` or ``"a = 0, b = 0"``, or a list of such texts, in names of
        coefficients; or a matrix (c, p) or row (p,). Of several names that stand at one place the longest is read;
        backquotes say where one begins and ends, and that a name is no number or sign.

    Raises
    ------
    OptionError
        If it cannot be read, names what is no coefficient, is not about zero, or has another number of columns.

    Examples
    --------
    >>> hypothesis("f[T.b] - 2 * x = 0", ["Intercept", "f[T.b]", "x"]).tolist()
    [[0.0, 1.0, -2.0]]
    >>> hypothesis("a-b = 0, `a`-`b` = 0", ["a", "b", "a-b"]).tolist()
    [[0.0, 0.0, 1.0], [1.0, -1.0, 0.0]]
    """
    texts = in_words(h)
    if texts:
        rows = np.concatenate([_Reader(text, names).hypotheses() for text in texts])
        if np.any(rows[:, -1] != 0.0):
            raise OptionError(f"h: expected a hypothesis about zero, as in 'a - b = 0', got {h!r}.")
        return _nonzero(rows[:, :-1] + 0.0, h)  # no zero with a sign
    try:
        rows = np.atleast_2d(np.asarray(h, float))
    except (TypeError, ValueError):
        rows = np.empty((0, 0, 0))
    if rows.ndim != 2 or rows.shape[1] != len(names) or not np.isfinite(rows).all():
        got = f"shape {np.shape(h)}" if rows.ndim == 2 else repr(h)
        raise OptionError(
            f"h: expected text such as '{names[-1]} = 0', or a matrix of finite numbers with {len(names)} columns, one "
            f"per coefficient ({', '.join(names)}), got {got}."
        )
    return _nonzero(rows, h)


def in_words(h: Any) -> list[str]:
    """Return the texts of a hypothesis in words, none of one that is a matrix."""
    if isinstance(h, str):
        return [h]
    listed = isinstance(h, (list, tuple, np.ndarray)) and len(h) > 0 and all(isinstance(text, str) for text in h)
    return [str(text) for text in h] if listed else []


def _nonzero(rows: NumpyArray, h: Any) -> NumpyArray:
    if not len(rows) or not rows.any(axis=1).all():
        raise OptionError(f"h: expected a combination of coefficients in every row, got {h!r}.")
    return rows


class _Token(NamedTuple):
    """An operator; or a number or a coefficient as the linear form (p + 1,) that it is."""

    text: str
    form: NumpyArray | None


class _Reader:
    """Reads hypotheses as linear forms: vectors (p + 1,) of the coefficients' factors, and last of a constant."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.text, self.names, self.place = text, names, 0
        self.tokens = self._tokens()

    def hypotheses(self) -> NumpyArray:
        """Return the rows (c, p + 1) that are to be zero: differences of what stands on both sides of ``=``."""
        rows = []
        while True:
            left = self._sum()
            if self._operator() != "=":
                rows.append(left)
            while self._operator() == "=":
                self.place += 1
                right = self._sum()
                rows.append(left - right)
                left = right
            if self.place == len(self.tokens):
                return np.array(rows)
            if self._operator() != ",":
                raise self._error(f"expected an operator before {self.tokens[self.place].text!r}")
            self.place += 1

    def _sum(self) -> NumpyArray:
        found = self._product()
        while (sign := self._operator()) in ("+", "-"):
            self.place += 1
            found = found + self._product() * (1.0 if sign == "+" else -1.0)
        return found

    def _product(self) -> NumpyArray:
        found = self._factor()
        while (operator := self._operator()) in ("*", "/"):
            self.place += 1
            other = self._factor()
            if operator == "*" and not found[:-1].any():
                found, other = other, found
            if other[:-1].any() or (operator == "/" and other[-1] == 0.0):
                raise self._error("a coefficient is multiplied and divided by numbers other than zero")
            found = found * other[-1] if operator == "*" else found / other[-1]
        return found

    def _factor(self) -> NumpyArray:
        if self.place == len(self.tokens):
            raise self._error("it ends too early")
        text, form = self.tokens[self.place]
        self.place += 1
        if form is not None:
            return form
        if text in ("+", "-"):
            return self._factor() * (1.0 if text == "+" else -1.0)
        if text == "(":
            found = self._sum()
            if self._operator() != ")":
                raise self._error("a parenthesis is not closed")
            self.place += 1
            return found
        raise self._error(f"expected a coefficient or a number before {text!r}")

    def _operator(self) -> str:
        """Return the operator that comes next, "" if none does."""
        token = self.tokens[self.place] if self.place < len(self.tokens) else _Token("", None)
        return token.text if token.form is None else ""

    def _tokens(self) -> list[_Token]:
        """Divide the text in one pass: at each place the longest of names, numbers and operators."""
        text, names = self.text, list(self.names)
        composed = [unicodedata.normalize("NFC", name) for name in names]
        if len(set(composed)) == len(composed):  # letters with accents are written in two ways that look alike
            text, names = unicodedata.normalize("NFC", text), composed
        unit, found, place = np.eye(len(names) + 1), [], 0
        while place < len(text):
            if text[place].isspace():
                place += 1
                continue
            ends = [_end(name, text, place) for name in names]
            end = max(ends, default=-1)
            number, operator = _NUMBER.match(text, place), _OPERATOR.match(text, place)
            if number and number.end() >= end:
                end = number.end()
                found.append(_Token(number.group(), float(number.group()) * unit[-1]))
            elif operator and operator.end() >= end:
                end = operator.end()
                found.append(_Token(_SPELLED.get(operator.group(), operator.group()), None))
            elif end > place:
                found.append(_Token(text[place:end], unit[ends.index(end)]))
            else:
                raise self._unknown(_WORD.match(text, place))
            place = end
        return found

    def _unknown(self, word: re.Match[str] | None) -> OptionError:
        name = word.group().strip("`") if word else ""
        return OptionError(
            f"h: cannot read {self.text!r}: no coefficient is named {name!r}; {nearest(name, self.names)}."
        )

    def _error(self, message: str) -> OptionError:
        return OptionError(
            f"h: cannot read {self.text!r}: {message}. Expected '{self.names[-1]} = 0', in names of coefficients: "
            f"{', '.join(self.names)}."
        )


def _end(name: str, text: str, start: int) -> int:
    """Return where ``name`` ends that stands in ``text`` at ``start``, or -1.

    The whole name, or a single factor of an interaction, may be in backquotes, inside which a backquote stands twice,
    as in a formula. A word ends where no letter follows.

    >>> _end("a b:x", "2 * `a b`:x", 4), _end("x1", "x10", 0)
    (11, -1)
    >>> _end("a`b", "`a``b`", 0), _end("a`b", "a`b", 0)
    (6, 3)
    """
    place, quoted = start, False
    for number, letter in enumerate(name):
        begins, ends = number == 0 or name[number - 1] == ":", letter in ":["
        if text[place : place + 1] == "`" and (ends if quoted else begins and letter != "`"):
            quoted, place = not quoted, place + 1
        spelled = "``" if quoted and letter == "`" else letter
        if not text.startswith(spelled, place):
            return -1
        place += len(spelled)
    following = text[place : place + 1]
    if quoted:
        return place + 1 if following == "`" else -1
    return -1 if _in_word(name[-1:]) and _in_word(following) else place


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
