"""Ids of samples and labels of matrices: read as text, matched, and hints where they differ."""

from jaxlmm.genetics.ids.forms import hint, nearly
from jaxlmm.genetics.ids.labels import alike, as_labels, find, find_all, quoted
from jaxlmm.genetics.ids.samples import (
    Matched,
    exact_up_to,
    find_texts,
    inexact,
    label_texts,
    match_samples,
    text_ids,
    whole_number,
)

__all__ = [
    "Matched",
    "alike",
    "as_labels",
    "exact_up_to",
    "find",
    "find_all",
    "find_texts",
    "hint",
    "inexact",
    "label_texts",
    "match_samples",
    "nearly",
    "quoted",
    "text_ids",
    "whole_number",
]
