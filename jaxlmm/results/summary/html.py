"""The summary of a fit as HTML for notebooks: tables with captions and headings, without style or script."""

from __future__ import annotations

from html import escape

from jaxlmm.results.summary.content import SummaryContent


def as_html(content: SummaryContent) -> str:
    """Write a summary; every name and value is escaped.

    >>> from jaxlmm.results.summary.content import SummaryContent, Table
    >>> table = Table("Fixed effects", ["", "Pr(>|t|)"], [["x<0", "0.5"]], 1)
    >>> as_html(SummaryContent("A model", [[("Rows", "3")]], [table], [])).splitlines()[-3]
    '<tr><th scope="row">x&lt;0</th><td>0.5</td></tr>'
    """
    facts = [_row([name, value], 1) for line in content.facts for name, value in line]
    parts = ["<section>"]
    parts += _table(content.title, [], facts)
    for table in content.tables:
        parts += _table(table.title, table.header, [_row(row, table.left) for row in table.rows])
    parts += [f"<p>{escape(note)}</p>" for note in content.notes]
    return "\n".join([*parts, "</section>"])


def _table(title: str, header: list[str], rows: list[str]) -> list[str]:
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' if cell else "<td></td>" for cell in header)
    head = [f"<thead><tr>{heads}</tr></thead>"] if header else []
    return [f"<table><caption>{escape(title)}</caption>", *head, "<tbody>", *rows, "</tbody></table>"]


def _row(cells: list[str], left: int) -> str:
    names = "".join(f'<th scope="row">{escape(cell)}</th>' for cell in cells[:left])
    return f"<tr>{names}{''.join(f'<td>{escape(cell)}</td>' for cell in cells[left:])}</tr>"
