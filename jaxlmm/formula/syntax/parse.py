"""The parser of formulas: response, fixed effects, bars and offsets. Fixed effects and left sides are for formulaic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxlmm.covariance import AbstractCovariance, Along
from jaxlmm.errors import FormulaError, OptionError
from jaxlmm.formula.syntax.products import expand
from jaxlmm.formula.syntax.tags import FUNCTIONS_TOO, TAGS, Options, check_use, options_text, tag_options, unknown_tag
from jaxlmm.formula.syntax.unknown import backquotes_message, unquoted_columns
from jaxlmm.formula.tokens import Token, is_bar, join, quoted, split, tokenize, word


class Bar(NamedTuple):
    """One random term: ``tag(left | group)``; ``group`` lists the factors whose interaction groups the rows.

    ``options`` are the arguments of its structure, ``by`` a factor each level of which has parameters of its own. A
    term over columns becomes a term for each ``level`` of that, whose left side was ``whole_left`` before. ``own`` is a
    structure in the tag's place.
    """

    left: tuple[Token, ...]
    group: tuple[str, ...]
    tag: str
    text: str
    options: Options = ()
    by: str | None = None
    level: str | None = None
    whole_left: tuple[Token, ...] = ()
    own: AbstractCovariance | None = None

    @property
    def group_name(self) -> str:
        """The grouping factor's name, ``a:b`` for an interaction."""
        return ":".join(self.group)

    @property
    def over_positions(self) -> bool:
        """Whether positions stand left of the bar of the random term."""
        return TAGS[self.tag].left == "positions"

    @property
    def structure(self) -> AbstractCovariance:
        """The structure that the tag names, with its options."""
        return TAGS[self.tag].structure(**dict(self.options)) if self.own is None else self.own


class ParsedFormula(NamedTuple):
    """The parts of a formula: ``response`` is empty for a one-sided one; ``fixed`` holds no bars and no offsets.

    ``text`` is the formula as written, ``right`` the text of its right side; ``dispersion`` and ``zeros`` are the terms
    of the options ``dispersion`` and ``zero_inflated``, once the formula is resolved against data.
    """

    text: str
    right: str
    response: tuple[Token, ...]
    fixed: tuple[Token, ...]
    bars: tuple[Bar, ...]
    offsets: tuple[tuple[Token, ...], ...]
    dispersion: tuple[Token, ...] = ()
    zeros: tuple[Token, ...] = ()

    def without_response(self) -> ParsedFormula:
        """Return the formula of the right side alone.

        >>> parse("cbind(`a ~ b`, c) ~ x + 1").without_response().text
        '~ x + 1'
        """
        return self._replace(text=f"~ {self.right}", response=())


def parts_of(parsed: ParsedFormula, bars: Iterable[Bar]) -> list[Sequence[Token]]:
    """Return the expressions of a formula with these random terms, those of its options, and grouping factors."""
    bars = list(bars)
    groups = [[quoted(factor) for factor in bar.group if factor != "1"] for bar in bars]
    groups += [[quoted(bar.by)] for bar in bars if bar.by is not None]
    of_options = parsed.dispersion, parsed.zeros, *parsed.offsets
    return [parsed.response, parsed.fixed, *of_options, *(bar.left for bar in bars), *groups]


def parse(formula: str, columns: Iterable[object] = ()) -> ParsedFormula:
    """Parse a formula into response, fixed effects, bars and offsets.

    Parameters
    ----------
    formula
        In lme4's spelling: ``response ~ fixed + (left | group) + (left || group) + tag(left | group)``. A name that is
        no plain word stands in backquotes; a backquote within it is written twice.
    columns
        The names of the data, so that an error can say which of them lacks its backquotes.

    Raises
    ------
    FormulaError
        If it cannot be read; the message says what was expected.

    Examples
    --------
    >>> parsed = parse("y ~ x + (1 + x | g) + (1 | a/b)")
    >>> [(bar.tag, bar.group_name) for bar in parsed.bars]
    [('us', 'g'), ('us', 'a'), ('us', 'a:b')]
    """
    if not isinstance(formula, str):
        raise FormulaError(f"formula: expected text such as 'y ~ x + (1 | g)', got {type(formula).__name__}.")
    try:
        return _parsed(formula)
    except FormulaError as error:
        unquoted = unquoted_columns(formula, columns)
        if not unquoted:
            raise
        raise FormulaError(f"{error} Perhaps {backquotes_message(unquoted)}") from error


def _parsed(formula: str) -> ParsedFormula:
    """Parse a formula; errors do not know the columns of the data."""
    sides = split(tokenize(formula), ("~",))
    if len(sides) != 2:
        count = "no" if len(sides) == 1 else str(len(sides) - 1)
        raise FormulaError(f"formula {formula!r}: expected one '~' between response and predictors, got {count}.")
    right = sides[1][1]
    if not right:
        raise FormulaError(f"formula {formula!r}: nothing stands right of '~'; write 'y ~ 1' for an intercept alone.")
    fixed: list[Token] = []
    bars: list[Bar] = []
    offsets: list[tuple[Token, ...]] = []
    _collect(formula, right, fixed, bars, offsets)
    response, intercept = tuple(sides[0][1]), (Token("number", "1"),)
    return ParsedFormula(formula, join(right), response, tuple(fixed) or intercept, tuple(bars), tuple(offsets))


def with_bars(formula: str, bars: Sequence[str]) -> str:
    """Return a formula with other random terms, given as text, in place of its own.

    >>> with_bars("y ~ x + offset(o) + (1 | a/b)", ["(1 | a)"])
    'y ~ x + offset(o) + (1 | a)'
    """
    parsed = parse(formula)
    offsets = [f"offset({join(offset)})" for offset in parsed.offsets]
    return f"{join(parsed.response)} ~ {' + '.join([join(parsed.fixed), *offsets, *bars])}"


def parse_tag(text: str, option: str) -> Bar:
    """Parse one ``tag(left | group)``, the value of an option such as ``residual``."""
    bars: list[Bar] = []
    if not isinstance(text, str):
        raise OptionError(
            f"{option}: expected text such as 'ou(time | subject)', or a structure with its positions, as in "
            f"OU().along('time | subject'), got {type(text).__name__}."
        )
    tokens = tokenize(text)
    if len(tokens) < 2 or tokens[0].kind != "name" or not is_bar(tokens):
        raise FormulaError(f"{option}: expected one term such as 'ou(time | subject)', got {text!r}.")
    _add_bar(text, tokens, bars)
    if len(bars) != 1:
        raise FormulaError(f"{option}: expected one grouping factor, as in 'ou(time | a:b)', got {text!r}.")
    return bars[0]


def residual_bar(value: str | Along) -> Bar:
    """Parse a residual structure, whose left side is a position: a factor, whole numbers, or coordinates.

    >>> residual_bar("us(visit | subject)").tag
    'us'
    """
    if isinstance(value, Along):
        bar = parse_tag(f"us({value.text})", "residual")
        return bar._replace(own=value.structure, text=f"{type(value.structure).__name__}({value.text})")
    bar = parse_tag(value, "residual")
    check_use(bar.tag, "residual", bar.text)
    return bar


def _collect(
    formula: str,
    tokens: Sequence[Token],
    fixed: list[Token],
    bars: list[Bar],
    offsets: list[tuple[Token, ...]],
) -> None:
    """Sort the terms of a sum into ``fixed`` effects, ``bars`` and ``offsets``."""
    for sign, term in split(tokens, ("+", "-")):
        if not term:
            if not sign and tokens:  # a leading sign
                continue
            raise FormulaError(f"formula {formula!r}: a term is missing after {sign or '~'!r}.")
        inside = term[1:-1] if term[0].text == "(" and term[-1].text == ")" else []
        if is_bar(term):
            if sign == "-":
                raise FormulaError(f"formula {formula!r}: a random term cannot be subtracted; leave it out instead.")
            _add_bar(formula, term, bars)
            check_use(bars[-1].tag, "random", bars[-1].text)
        elif sign == "-" and (term[0].text == "offset" or _has_bar(term)):
            raise FormulaError(f"formula {formula!r}: {join(term)!r} cannot be subtracted; leave it out instead.")
        elif inside and _has_bar(inside):
            _collect(formula, inside, fixed, bars, offsets)
        elif term[0].text == "offset" and len(term) > 2 and term[1].text == "(":
            offsets.append(tuple(term[2:-1]))
        elif term[0].text in TAGS and term[0].text not in FUNCTIONS_TOO and len(term) > 1 and term[1].text == "(":
            raise FormulaError(f"formula {formula!r}: {term[0].text!r} needs a bar, as in '{term[0].text}(t | g)'.")
        elif _has_bar(term):
            raise FormulaError(
                f"formula {formula!r}: the bar in {join(term)!r} needs its own parentheses; write '({join(term)})'."
            )
        else:
            fixed += [*([Token("operator", sign or "+")] if fixed or sign == "-" else []), *term]


def _has_bar(term: Sequence[Token]) -> bool:
    """Whether a bar stands outside ``I()``, in which it is a logical or."""
    depth, inside = 0, 0
    for index, token in enumerate(term):
        if token.text == "(":
            depth += 1
            if not inside and index and term[index - 1].text == "I":
                inside = depth
        elif token.text == ")":
            inside = 0 if inside == depth else inside
            depth -= 1
        elif token.text in ("|", "||") and not inside:
            return True
    return False


def bar_of(
    tag: str, left: tuple[Token, ...], group: tuple[str, ...], options: Options = (), by: str | None = None
) -> Bar:
    """Return the random term of these parts."""
    factors = ":".join(name if name == "1" else word(name) for name in group)
    more = options_text(options, None if by is None else word(by))
    return Bar(left, group, tag, f"{tag}({join(left)} | {factors}{more})", options, by)


def _add_bar(formula: str, term: Sequence[Token], bars: list[Bar]) -> None:
    """Parse a random term into ``bars``: several if its groups are nested, or its bar is a double one."""
    tag = term[0].text if term[0].kind == "name" else "us"
    text = join(term)
    if tag not in TAGS:
        raise FormulaError(f"formula {formula!r}: unknown structure {tag!r} in {text!r}. {unknown_tag(tag)}")
    sides = split(term[(2 if term[0].kind == "name" else 1) : -1], ("|", "||"))
    if len(sides) != 2:
        raise FormulaError(f"formula {formula!r}: expected one bar in {text!r}, got {len(sides) - 1}.")
    (_, left), (bar, after) = sides
    (_, right), *rest = split(after, (",",))
    options, by = tag_options(tag, [part for _, part in rest], text)
    if not left:
        raise FormulaError(
            f"formula {formula!r}: the left side of the bar in {text!r} is empty; write '(1 | g)' for an intercept."
        )
    if not right:
        raise FormulaError(f"formula {formula!r}: the right side of the bar in {text!r} is empty; name a factor there.")
    lefts = [tuple(left)]
    if bar == "||":
        if tag != "us":
            raise FormulaError(f"formula {formula!r}: write {tag!r} with a single bar in {text!r}.")
        lefts = _uncorrelated(left)
    for group in _groups(formula, text, right):
        for part in lefts:
            bars.append(bar_of(tag, part, group, options, by))


def _uncorrelated(left: Sequence[Token]) -> list[tuple[Token, ...]]:
    """Split the left side of a double bar into its terms; a factor keeps the correlations among its levels."""
    if any(token.text in ("*", "^", "**", "/") for token in left):
        try:
            terms = [":".join(term) for term in expand(left)]
        except ValueError as error:
            raise FormulaError(f"cannot read {join(left)!r}, left of a bar.") from error
    else:
        parts = [(sign, join(part)) for sign, part in split(left, ("+", "-")) if part]
        intercept = ("-", "1") not in parts and ("", "0") not in parts and ("+", "0") not in parts
        named = [text for sign, text in parts if sign != "-" and text not in ("0", "1")]
        terms = [*(["1"] if intercept else []), *named]
    return [tuple(tokenize(term if term == "1" else f"0 + {term}")) for term in terms]


def _groups(formula: str, text: str, right: Sequence[Token]) -> list[tuple[str, ...]]:
    """Return the factors of each group right of a bar; ``a/b`` are the groups ``a`` and ``a:b``."""
    nested: list[tuple[str, ...]] = []
    for _, part in split(right, ("/",)):
        names = []
        for _, factor in split(part, (":",)):
            if len(factor) != 1 or not (factor[0].kind in ("name", "quoted") or factor[0].text == "1"):
                raise FormulaError(
                    f"formula {formula!r}: expected factor names joined by ':' or '/' right of the bar in {text!r}, "
                    f"got {join(right)!r}. Make the factor a column of the data first."
                )
            if factor[0].text == "`1`":
                raise FormulaError(
                    f"formula {formula!r}: a grouping factor called '1' cannot be told from the block of all rows, "
                    "which formulas call 1; rename the column."
                )
            names.append(factor[0].name)
        nested.append((*(nested[-1] if nested else ()), *names))
    return nested
