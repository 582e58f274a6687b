"""Unicode look-alikes: of the signs of formulas, and of the names of columns."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Collection, Iterable

SIGN_LOOK_ALIKES = {
    "-": "−–—‐‑‒―﹣⁻₋➖",
    "+": "﹢⁺₊➕",
    "~": "∼˜˷⁓〜∽≁",
    "|": "¦│∣❘⏐∤",
    "||": "‖∥",
    "*": "×∗✕✖⋅•∙⨯﹡",
    "/": "÷∕⁄",
    "^": "ˆ",
    ":": "∶꞉",
    "==": "≡",
    "!=": "≠",
    "<=": "≤≦⩽",
    ">=": "≥≧⩾",
    "(": "❨⁽₍",
    ")": "❩⁾₎",
    ",": "‚、",
    '"': "“”„‟″«»〝〞",
    "'": "‘’‛′ʹ‹›",
    "`": "´ˋ‵",
}
"""ASCII signs, and the characters that word processors, slides and web pages put in their place."""

ASCII_SIGN_OF = {sign: typed for typed, signs in SIGN_LOOK_ALIKES.items() for sign in signs}
ASCII_SIGN_OF |= {chr(ord(sign) + 0xFEE0): sign for sign in string.punctuation if sign != "_"}
"""The ASCII sign to type for each look-alike, wide forms included; no name outside backquotes can hold one."""


def unicode_name(character: str) -> str:
    """Return the code point and Unicode name of a character.

    >>> unicode_name("−")
    'U+2212 MINUS SIGN'
    """
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"


def oddities(name: str) -> str:
    """Return the code points of misleading characters in a name, as text; empty if there are none.

    These are characters without width, spaces other than U+0020, those that have a compatible form (NFKC), and signs
    that are no letter or digit; signs that look like ASCII ones have messages of their own.

    >>> oddities("µg"), oddities("Größe")
    ('U+00B5 MICRO SIGN', '')
    """
    odd = [
        character
        for character in dict.fromkeys(name)
        if not character.isascii()
        and (
            unicodedata.category(character) in ("Cf", "Mn", "Zs", "Cc")
            or unicodedata.normalize("NFKC", character) != unicodedata.normalize("NFC", character)
            or not (character.isalnum() or character in ASCII_SIGN_OF)
        )
    ]
    return ", ".join(map(unicode_name, odd))


def canonical(name: str) -> str:
    r"""Return a name with composed accents (NFC), and the Greek letter for the micro sign.

    >>> canonical("e\u0301") == canonical("\u00e9"), canonical("x²") == canonical("x2")
    (True, False)
    """
    return unicodedata.normalize("NFC", name).replace("\u00b5", "\u03bc")


def column_called(name: str, columns: Collection[object]) -> str | None:
    r"""Return the column of this name, or the only one whose name is canonically equivalent to it.

    macOS writes é as e and an accent; a keyboard gives one character. Names that only look alike (``x²`` and ``x2``)
    are different.

    >>> column_called("e\u0301", ["\u00e9", "e"]) == "\u00e9", column_called("x2", ["x²"])
    (True, None)
    """
    if name in columns:
        return name
    if name.isascii():
        return None
    equivalent = [column for column in columns if isinstance(column, str) and canonical(column) == canonical(name)]
    return equivalent[0] if len(equivalent) == 1 else None


def look_alikes(name: str, columns: Iterable[object]) -> list[str]:
    r"""Return the columns whose names look the same as this one.

    >>> look_alikes("x2", ["x²", "x3", "x2\u200b"])
    ['x²', 'x2\u200b']
    """
    own = _appearance(name)
    return [column for column in columns if isinstance(column, str) and column != name and _appearance(column) == own]


def _appearance(name: str) -> str:
    """Return a name without characters of no width, its spaces alike, in compatible form (NFKC)."""
    characters = unicodedata.normalize("NFKC", name)
    visible = (character for character in characters if unicodedata.category(character) != "Cf")
    return " ".join("".join(visible).split())
