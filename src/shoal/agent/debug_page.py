"""The debug page: what the agent knows of itself, as plain tables. It changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# A page is for reading: beyond this nobody does, and it has to be built in the event loop.
MAX_ROWS = 500


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the page; cells are turned into text and escaped."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Shoal agent</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; }
table { border-collapse: collapse; margin-bottom: 2em; }
th, td { text-align: left; padding: .2em .8em; border-bottom: 1px solid #ccc; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
</style>
<h1>Shoal agent</h1>
"""


def debug_html(tables: Sequence[Table]) -> str:
    """Return the page that shows `tables`, each cut after its first 500 rows."""
    return _HEAD + "".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n"
        for row in table.rows[:MAX_ROWS]
    )
    more = len(table.rows) - MAX_ROWS
    left_out = f"<p>and {more} more</p>\n" if more > 0 else ""
    return f"<h2>{escape(table.title)}</h2>\n<table>\n<tr>{head}</tr>\n{rows}</table>\n{left_out}"
