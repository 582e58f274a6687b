"""Printed summaries, as text and as HTML."""

from jaxlmm.results.summary.summary import summary

__all__ = ["summary"]
