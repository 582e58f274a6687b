"""Characters that look like others: what to type instead of a sign, and which names only look the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

SIGNS = {
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
"""What is typed, and what word processors, slides and web pages make of it; the wide forms of ASCII are added."""

MISTAKEN = {sign: typed for typed, signs in SIGNS.items() for sign in signs}
MISTAKEN |= {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum() and code != 0x5F}
"""Signs that no name outside backquotes can hold, and what to type for them."""


def described(character: str) -> str:
    """Return a character by its number and name.

    >>> described("−")
    'U+2212 MINUS SIGN'
    """
    return f"U+{ord(character):04X} {unicodedata.name(character, 'without a name')}"


def oddities(name: str) -> str:
    """Return the characters of a name that are not what they seem, in words; empty if there are none.

    These are characters that are not seen, spaces other than the usual one, and those that have a compatible form.

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
            or not (character.isalnum() or character in MISTAKEN)
        )
    ]
    return ", ".join(map(described, odd))


def canonical(name: str) -> str:
    r"""Return one spelling of names that are the same text: composed accents, and the Greek letter for the micro sign.

    >>> canonical("e\u0301") == canonical("\u00e9"), canonical("x²") == canonical("x2")
    (True, False)
    """
    return unicodedata.normalize("NFC", name).replace("\u00b5", "\u03bc")


def column_called(name: str, columns: Collection[object]) -> str | None:
    r"""Return the column of this name, or the only one whose name is the same text in other code points.

    macOS writes é as e and an accent; what is typed is one character. Names that only look alike (``x²`` and ``x2``)
    are different.

    >>> column_called("e\u0301", ["\u00e9", "e"]) == "\u00e9", column_called("x2", ["x²"])
    (True, None)
    """
    if name in columns:
        return name
    if name.isascii():
        return None
    same = [column for column in columns if isinstance(column, str) and canonical(column) == canonical(name)]
    return same[0] if len(same) == 1 else None


def look_alikes(name: str, columns: Iterable[object]) -> list[str]:
    r"""Return the columns whose names differ from this one in nothing that is seen at a glance.

    >>> look_alikes("x2", ["x²", "x3", "x2\u200b"])
    ['x²', 'x2\u200b']
    """
    wanted = _seen(name)
    return [column for column in columns if isinstance(column, str) and column != name and _seen(column) == wanted]


def _seen(name: str) -> str:
    """Return what is seen of a name: without characters that have no width, one space for all, no font."""
    kept = (character for character in unicodedata.normalize("NFKC", name) if unicodedata.category(character) != "Cf")
    return " ".join("".join(kept).split())
