"""Model matrices by formulaic, with R's coding of factors. Slow to import: imported where it is used."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from formulaic import Formula, ModelSpec
from formulaic.materializers import PandasMaterializer
from formulaic.materializers.types import FactorValues, ScopedFactor, ScopedTerm
from formulaic.parser.types import Factor, Term
from formulaic.transforms import encode_contrasts, stateful_transform
from formulaic.transforms import poly as formulaic_poly
from formulaic.transforms.contrasts import PolyContrasts, SumContrasts, TreatmentContrasts
from formulaic.utils.cast import as_columns
from jaxtyping import Float
from pandas.api.types import is_bool_dtype

from jaxlmm._util import NumpyArray
from jaxlmm.errors import DataError, FormulaError
from jaxlmm.formula.coding.contrasts import CONTR, contrasts_of
from jaxlmm.formula.functions import (
    FUNCTIONS,
    LOGICAL_AS_NUMBERS,
    StandIns,
    arithmetic,
    bs,
    check_levels,
    dummy,
    factor,
    listed,
    logical_as_numbers,
    ns,
    ordered,
)


class Evaluated(NamedTuple):
    """A model matrix, its columns' names, its terms, and what computes the same columns on other data.

    ``terms`` are in the order of the columns: the factors of each, none for the intercept, and its number of columns.
    ``transforms`` are formulaic's states of transforms, as the knots of a spline; ``codings`` the levels of each
    categorical factor, and whether they are ordered.
    """

    matrix: Float[NumpyArray, "n p"]
    names: tuple[str, ...]
    terms: tuple[tuple[tuple[str, ...], int], ...]
    transforms: dict[str, Any]
    codings: dict[str, dict[str, Any]]


def evaluate(
    text: str,
    data: pd.DataFrame,
    stand_ins: StandIns,
    transforms: Mapping[str, Any],
    codings: Mapping[str, Any],
    *,
    coding: str = "",
) -> Evaluated:
    """Evaluate the right side of a formula with states of ``transforms`` and ``codings``; empty ones are learned.

    ``text`` and ``data`` have identifiers (``stand_ins``) in place of columns' names; the result has the columns' own
    names. With ``coding`` all factors are coded in one way, whatever the formula says: by contrasts that sum to zero
    over the levels (``"centered"``), in full, or as factors without contrasts of their own are (``"default"``).
    """
    spec = ModelSpec(
        formula=Formula(text),
        na_action="ignore",
        output="numpy",
        transform_state=copy.deepcopy(dict(transforms)),
        encoder_state={name: (Factor.Kind.CATEGORICAL, dict(state)) for name, state in codings.items()},
    )
    context = {
        **FUNCTIONS,
        "factor": stateful_transform(factor),
        "ordered": stateful_transform(ordered),
        "dummy": stateful_transform(dummy),
        "bs": stateful_transform(bs),
        "ns": stateful_transform(ns),
        "poly": poly,
        "C": CODERS[coding],
        "contr": CONTR,
        LOGICAL_AS_NUMBERS: logical_as_numbers,
        **{stand_ins.text(index): value for index, value in enumerate(stand_ins.texts)},
    }
    coder, full = CODERS[coding], coding == "full"
    made = Materializer(data, context=context, written=stand_ins.written, coder=coder, full=full)
    matrix = made.get_model_matrix(spec)
    learned_spec = matrix.model_spec
    learned_codings = {
        name: {"categories": list(state["categories"]), "ordered": state["ordered"]}
        for name, (kind, state) in learned_spec.encoder_state.items()
        if kind is Factor.Kind.CATEGORICAL
    }
    terms = [
        (tuple(part.factor.expr for scoped in term.scoped_terms[:1] for part in scoped.factors), len(term.columns))
        for term in learned_spec.structure
    ]
    names, state = tuple(learned_spec.column_names), dict(learned_spec.transform_state)
    return Evaluated(np.asarray(matrix, float), names, tuple(terms), state, learned_codings)


class Materializer(PandasMaterializer):
    """formulaic's materializer with R's rules: which factors of a term are coded in full, and by what contrasts.

    formulaic finds a basis of full rank. R looks at the margin of each term, which may leave linearly dependent
    columns; the fit drops those. An ordered factor gets polynomial contrasts, a logical value is a factor.
    """

    REGISTER_NAME = "jaxlmm"
    REGISTER_INPUTS = ()

    @PandasMaterializer.override
    def _is_categorical(self, values: Any) -> bool:
        return is_bool_dtype(getattr(values, "dtype", object)) or super()._is_categorical(values)

    @PandasMaterializer.override
    def _get_scoped_terms(
        self, terms: Iterable[Term], ensure_full_rank: bool = True
    ) -> Iterator[tuple[Term, list[ScopedTerm]]]:
        """Code a factor by contrasts if the margin, its term without it, lies within an earlier term, else in full.

        That is R's ``terms.formula``; ``model.matrix`` adds that without an intercept the first factor is in full.
        The factors of a term stand in the order in which the formula names them first.
        """
        terms = list(terms)
        index: dict[str, int] = {}
        for part in (part for term in terms for part in term.factors if part.token is not None):
            start = part.token.source_start or 0
            index[part.expr] = min(start, index.get(part.expr, start))
        earlier: list[set[str]] = []
        full_next = all(self._variables(term) for term in terms)  # no intercept: the first factor is in full
        for term in terms:
            scoped, scale = [], 1
            for part in sorted(term.factors, key=lambda part: index.get(part.expr, 0)):
                evaluated = self.factor_cache[part.expr]
                if evaluated.metadata.kind is Factor.Kind.CONSTANT:
                    scale = scale * evaluated.values
                    continue
                margin = self._variables(term) - {part.expr}
                reduced = evaluated.metadata.kind is Factor.Kind.CATEGORICAL
                if reduced:
                    reduced = not full_next and (not margin or any(margin <= other for other in earlier))
                    full_next = False
                    reduced = reduced and not self.params["full"]
                scoped.append(ScopedFactor(evaluated, reduced=reduced))
            earlier.append(self._variables(term))
            yield term, [ScopedTerm(scoped, scale=scale)]

    def _variables(self, term: Term) -> set[str]:
        """Return the factors, categorical and numeric, of a term: all of its parts but constants."""
        kinds = {part.expr: self.factor_cache[part.expr].metadata.kind for part in term.factors}
        return {name for name, kind in kinds.items() if kind is not Factor.Kind.CONSTANT}

    @PandasMaterializer.override
    def _evaluate(self, expr: str, metadata: Any, spec: ModelSpec) -> Any:
        try:
            evaluated = super()._evaluate(arithmetic(expr), metadata, spec)
        except DataError as error:
            raise DataError(f"{expr}: {error}") from error
        values = evaluated[0]
        if np.isscalar(values) or (isinstance(values, (np.ndarray, pd.Series)) and len(values) != self.nrows):
            raise DataError(f"{expr}: expected a value in each of {self.nrows} rows, got {np.size(values)} in all.")
        return evaluated

    @PandasMaterializer.override
    def _flatten_encoded_evaled_factor(self, name: str, values: Any) -> dict[str, Any]:
        """Name a factor's columns by its own spelling; stand-ins in the names of levels are left as they are."""
        written = self.params["written"](name) if name in self.factor_cache else name
        return super()._flatten_encoded_evaled_factor(written, values)

    @PandasMaterializer.override
    def _encode_evaled_factor(self, factor: Any, spec: ModelSpec, drop_rows: Any, reduced_rank: bool = False) -> Any:
        try:
            return super()._encode_evaled_factor(factor, spec, drop_rows, reduced_rank)
        except DataError as error:
            raise DataError(f"{factor.expr}: {error}") from error
        except Exception as error:
            raise FormulaError(f"cannot evaluate {factor.expr!r}: no columns can be made of it: {error}") from error

    @PandasMaterializer.override
    def _encode_categorical(
        self,
        values: Any,
        metadata: Any,
        encoder_state: Any,
        spec: ModelSpec,
        drop_rows: Any,
        reduced_rank: bool = False,
    ) -> Any:
        encoder = self.params["coder"](values).__formulaic_metadata__.encoder
        return as_columns(encoder(values, reduced_rank, drop_rows, encoder_state, spec))


def as_factor(values: Any, contrasts: Any = None, **options: Any) -> FactorValues:
    """Return values as a factor coded by ``contrasts``: by default polynomial if it is ordered, else treatment.

    ``options`` are those of named contrasts, as in ``C(f, contr.treatment, base=2)``.
    """

    def encoder(values: Any, reduced_rank: bool, drop_rows: Any, encoder_state: dict, model_spec: ModelSpec) -> Any:
        column = factor(getattr(values, "__wrapped__", values))
        coded = coded_by(column.array, encoder_state)
        default = PolyContrasts if encoder_state["ordered"] else TreatmentContrasts
        levels = list(coded.categories)
        return encode_contrasts(
            pd.Series(coded),
            contrasts=contrasts_of(default if contrasts is None else contrasts, options, levels),
            levels=levels,
            reduced_rank=reduced_rank,
            _state=encoder_state,
            _spec=model_spec,
        )

    return FactorValues(values, kind="categorical", spans_intercept=True, encoder=encoder)


def centered_factor(values: Any, contrasts: Any = None, **options: Any) -> FactorValues:
    """Return values as a factor coded by contrasts that sum to zero, whatever others are asked for."""
    return as_factor(values, SumContrasts)


def default_factor(values: Any, contrasts: Any = None, **options: Any) -> FactorValues:
    """Return values as a factor that has no contrasts of its own, whatever others are asked for."""
    return as_factor(values)


CODERS = {"": as_factor, "centered": centered_factor, "full": centered_factor, "default": default_factor}
"""What codes factors, by ``coding``."""


def coded_by(column: pd.Categorical, state: dict[str, Any]) -> pd.Categorical:
    """Return a factor with the levels of ``state``; an empty one first takes those that occur, and if they are ordered.

    Raises
    ------
    DataError
        If a row has no level, or one that is not in ``state``; if only one level occurs where that is empty.
    """
    if (column.codes < 0).any():
        raise DataError(f"expected a level in every row, got {int((column.codes < 0).sum())} rows without one.")
    occurring = column.remove_unused_categories()
    if "categories" not in state:
        if len(occurring.categories) < 2:
            raise DataError(
                f"expected a factor with at least 2 levels, got {listed(occurring.categories)}; leave it out."
            )
        state.update(categories=list(occurring.categories), ordered=bool(column.ordered))
        return occurring
    check_levels(occurring.categories, state["categories"])
    return pd.Categorical(np.asarray(column, object), state["categories"])


@stateful_transform
def poly(x: Any, degree: int = 1, raw: bool = False, _state: Any = None) -> FactorValues:
    """Return formulaic's polynomials, raw or orthogonal, as columns named ``1``, ``2``, … by their power."""
    columns = formulaic_poly(x, degree, raw=raw, _state=_state)
    return FactorValues(np.asarray(columns), column_names=tuple(str(power + 1) for power in range(degree)))
