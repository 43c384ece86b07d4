"""The tables of the spec tests: a line of column names, then one line a row, the cells parted by ``|``."""

import polars as pl


def table(text: str) -> pl.DataFrame:
    """The rows of a table as text, in their order; a blank cell or ``-`` is null, blank lines and blanks around cells do
    not count.

    Raises:
        ValueError: a row has more or fewer cells than there are names.
    """
    names, *rows = ([cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.strip())
    if wrong := [row for row in rows if len(row) != len(names)]:
        raise ValueError(f"{len(names)} columns, but {len(wrong[0])} cells in {' | '.join(wrong[0])!r}")
    given = [[None if cell in ("", "-") else cell for cell in row] for row in rows]
    return pl.DataFrame(given, schema=dict.fromkeys(names, pl.String), orient="row")
