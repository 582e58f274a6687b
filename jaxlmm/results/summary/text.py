"""The summary of a fit as plain text."""

from __future__ import annotations

from jaxlmm.results.summary.content import SummaryContent, Table


def as_text(content: SummaryContent) -> str:
    """Write a summary: facts line by line, tables with aligned columns, notes.

    >>> table = Table("Fixed effects", ["", "Estimate"], [["x", "1.5"]], 1)
    >>> print(as_text(SummaryContent("A model", [[("Rows", "3"), ("AIC", "2.0")]], [table], [])))
    A model
    Rows: 3   AIC: 2.0
    <BLANKLINE>
    Fixed effects:
       Estimate
     x      1.5
    """
    facts = ["   ".join(f"{name}: {value}" for name, value in line) for line in content.facts]
    tables = [f"{table.title}:\n{_grid(table)}" for table in content.tables]
    parts = ["\n".join([content.title, *facts]), *tables, "\n".join(content.notes)]
    return "\n\n".join(part for part in parts if part)


def _grid(table: Table) -> str:
    """Align columns; those of names to the left."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[j]) for line in lines) for j in range(len(table.header))]
    written = []
    for line in lines:
        cells = [
            cell.ljust(width) if j < table.left else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        written.append(" " + " ".join(cells).rstrip())
    return "\n".join(written)
