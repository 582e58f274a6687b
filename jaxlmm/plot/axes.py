"""Axes of pictures. Matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import Any

MIN_FONT_POINTS, MAX_FONT_POINTS, LINE_HEIGHT = 6.0, 10.0, 1.2
"""Smallest readable and usual font size in points, and the height of a line relative to the font size."""


def name_ticks(ax: Any, names: list[str]) -> None:
    """Label the ticks 0, 1, … of the horizontal axis, upright, if a readable font size has room there."""
    width = ax.bbox.width / ax.figure.dpi * 72.0  # in points
    size = min(width / max(len(names), 1) / LINE_HEIGHT, MAX_FONT_POINTS)
    if names and size >= MIN_FONT_POINTS:
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=size)


def axes_or_new(ax: Any) -> Any:
    """Return ``ax``, or axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(8.0, 4.5), layout="constrained").add_subplot()
