"""Printed summaries, as text and as HTML."""
