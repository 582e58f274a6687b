"""The tags of formulas: which covariance structure each names, and what may stand in its parentheses."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from jaxlmm.covariance import (
    AR1,
    ARMA,
    OU,
    AbstractCovariance,
    AnteDependence,
    CompoundSymmetry,
    Diagonal,
    Exponential,
    FactorAnalytic,
    Gaussian,
    Matern,
    ReducedRank,
    Toeplitz,
    Unstructured,
)
from jaxlmm.errors import FormulaError, choose
from jaxlmm.formula.tokens import Token, join


class Tag(NamedTuple):
    """A covariance structure that a formula can name.

    ``left``: whether columns or positions stand left of the bar of a random term; that of a residual has positions.
    ``options`` are arguments of the class that may follow the group. ``used_as``: where the tag may stand.
    """

    structure: type[AbstractCovariance]
    left: Literal["columns", "positions"]
    options: tuple[str, ...] = ()
    used_as: Literal["both", "random", "residual"] = "both"


TAGS = {
    "us": Tag(Unstructured, "columns"),
    "diag": Tag(Diagonal, "columns", ("hom",)),
    "cs": Tag(CompoundSymmetry, "columns", ("hom",)),
    "rr": Tag(ReducedRank, "columns", ("d",), "random"),
    "fa": Tag(FactorAnalytic, "columns", ("d",), "random"),
    "toep": Tag(Toeplitz, "positions", ("hom",)),
    "ar1": Tag(AR1, "positions", ("hom",)),
    "ad": Tag(AnteDependence, "positions", ("hom",)),
    "arma": Tag(ARMA, "positions", ("p", "q", "hom"), "residual"),
    "ou": Tag(OU, "positions"),
    "exp": Tag(Exponential, "positions", ("nugget",)),
    "gau": Tag(Gaussian, "positions", ("nugget",)),
    "mat": Tag(Matern, "positions", ("nugget",)),
}
"""The covariance structures of formulas, by the name before the parentheses."""

ELSEWHERE = {
    "un": "us(…)", "vc": "diag(…, hom=True)", "csh": "cs(…)", "adh": "ad(…)", "ante": "ad(…)", "toeph": "toep(…)",
    "ar1h": "ar1(…, hom=False)", "arh": "ar1(…, hom=False)", "hetar1": "ar1(…, hom=False)",
    "homdiag": "diag(…, hom=True)", "homcs": "cs(…, hom=True)", "homtoep": "toep(…, hom=True)", "sp_exp": "exp(…)",
    "corSymm": "us(…), which has a variance for each position too", "corCompSymm": "cs(…, hom=True)",
    "corAR1": "ar1(…)", "corCAR1": "ou(…)", "corARMA": "arma(…)", "corExp": "exp(…)", "corGaus": "gau(…)",
}  # fmt: skip
"""What structures are called in SAS, mmrm, glmmTMB and nlme, and how they are written here."""

FUNCTIONS_TOO = ("exp", "cs")
"""Tags that are functions where no bar stands in their parentheses."""

_FLAGS = {"TRUE": True, "True": True, "FALSE": False, "False": False}

Options = tuple[tuple[str, Any], ...]
"""Arguments of a structure by name."""


def unknown_tag(tag: str) -> str:
    """Say which structure a name that is no tag may mean, and which there are.

    >>> unknown_tag("csh")
    'Write cs(…). There are: us, diag, cs, rr, fa, toep, ar1, ad, arma, ou, exp, gau, mat.'
    """
    close = difflib.get_close_matches(tag.lower(), TAGS, 1)
    meant = ELSEWHERE.get(tag) or ELSEWHERE.get(tag.lower()) or (f"{close[0]}(…)" if close else "")
    return f"{f'Write {meant}. ' if meant else ''}There are: {', '.join(TAGS)}."


def tag_options(tag: str, parts: Sequence[Sequence[Token]], text: str) -> tuple[Options, str | None]:
    """Return the options that follow the group in a tag, and the factor that ``by=`` names.

    Parameters
    ----------
    tag
        The name of the structure, one of ``TAGS``.
    parts
        What stands between the commas after the group.
    text
        The whole term, for errors.

    Raises
    ------
    FormulaError
        If a part is no ``name=value``, or the tag has no such option, or the value is none of its.
    """
    options: dict[str, Any] = {}
    by = None
    names = (*TAGS[tag].options, "by")
    for part in parts:
        if len(part) < 3 or part[1].text != "=" or part[0].kind != "name":
            raise FormulaError(f"{text!r}: expected options as name=value after the group, got {join(part)!r}.")
        name, value = part[0].text, list(part[2:])
        if name not in names:
            raise FormulaError(f"{text!r}: {tag} has no option {name!r}. There are: {', '.join(names)}.")
        if name in options or (name == "by" and by is not None):
            raise FormulaError(f"{text!r}: the option {name!r} stands twice.")
        if name == "by":
            if len(value) != 1 or value[0].kind not in ("name", "quoted"):
                raise FormulaError(f"{text!r}: expected by= to name a factor, got {join(value)!r}.")
            by = value[0].name
        elif name in ("hom", "nugget"):
            if join(value) not in _FLAGS:
                raise FormulaError(f"{text!r}: expected {name}=True or {name}=False, got {join(value)!r}.")
            options[name] = _FLAGS[join(value)]
        elif not join(value).isdecimal():
            raise FormulaError(f"{text!r}: expected a whole number for {name}=, got {join(value)!r}.")
        else:
            options[name] = int(join(value))
    return tuple(options.items()), by


def options_text(options: Options, by: str | None) -> str:
    """Return the options as a formula spells them, with a comma before each.

    >>> options_text((("hom", True),), "arm")
    ', hom=True, by=arm'
    """
    written = [f"{name}={value}" for name, value in options]
    return "".join(f", {part}" for part in [*written, *([f"by={by}"] if by is not None else [])])


def check_use(tag: str, use: Literal["random", "residual"], text: str) -> None:
    """Raise if a tag cannot stand in a random term, or as a residual.

    Raises
    ------
    OptionError
        With the tags that can.
    """
    if TAGS[tag].used_as in ("both", use):
        return
    others = [name for name, one in TAGS.items() if one.used_as in ("both", use)]
    choose(f"{use} structure in {text!r}", tag, others)
