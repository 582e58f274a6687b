"""Ids of samples and labels of matrices: read as text, matched, and said where they differ."""

from jaxlmm.genetics.ids.forms import hint, nearly
from jaxlmm.genetics.ids.labels import alike, as_labels, find, place, quoted
from jaxlmm.genetics.ids.samples import (
    Matched,
    exact_up_to,
    inexact,
    label_texts,
    match_samples,
    places,
    text_ids,
    whole_number,
)

__all__ = [
    "Matched",
    "alike",
    "as_labels",
    "exact_up_to",
    "find",
    "hint",
    "inexact",
    "label_texts",
    "match_samples",
    "nearly",
    "place",
    "places",
    "quoted",
    "text_ids",
    "whole_number",
]
