"""Tables as programs print them: spools of SQL*Plus, psql, sqlcmd, mysql and db2, frames of signs, columns held apart by blanks.

They become delimited text line by line, so that line numbers stay. Rulings, repeated headers and titles become blank lines; a
line that does not fit the columns keeps the cells before the place where it breaks, and is refused by them.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from neutro_screen.errors import RefusedInputError
from neutro_screen.ingest.control import Stated, check_rows
from neutro_screen.reference import load_reference
from neutro_screen.text import alternatives

#: Header and ruling are looked for in so many lines.
_LOOKED_AT: Final = 200
#: So many characters are looked at; a printed line is no longer than that.
_LONGEST_HEAD: Final = 1 << 17
_LONGEST_LINE: Final = 1 << 15
_FRAMES: Final = str.maketrans(
    dict.fromkeys("│┃║", "|") | dict.fromkeys("─━═", "-") | dict.fromkeys("┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬╞╡╪╭╮╯╰┏┓┗┛┣┫┳┻╋╇┡┩", "+")
)
_RULING: Final = re.compile(r"[\s|+,;:=~-]*")
_RUN: Final = re.compile(r":?[-=~]+:?")
_LETTER: Final = re.compile(r"[^\W\d_]")
_GAP: Final = re.compile(r"\s{2,}")
#: A table without rulings has at least so many columns, and so many lines below its header.
_LEAST_COLUMNS: Final = 4
_LEAST_LINES: Final = 2
_PROMPT: Final = re.compile(r"\s*(?:SQL>|mysql>|MariaDB \[.*\]>|\d+>|db2 =>|\w+[=-][#>])")
#: One column a line: psql's expanded display, mysql's \G.
_EXPANDED: Final = re.compile(r"\s*(?:-\[ ?\w+ \d+ ?\]|\*{5,} ?\d+\. \w+ ?\*{5,})")

Cut = Callable[[str], list[str]]


class PrintedTable(NamedTuple):
    """Where the header stands (from 1), its names, and how a line is cut into cells; one that breaks gives fewer cells."""

    header_line: int
    #: the first line that can be a row; a line of types stands above it
    rows_from: int
    header: list[str]
    cut: Cut
    titles: frozenset[str]


def printed_table(lines: Sequence[str], name: str) -> PrintedTable | None:
    """The table in the first lines of a text; None where the text is delimited, or no table.

    Raises:
        RefusedInputError: rows are printed over several lines.
    """
    looked_at = [_plain(line) for line in lines[:_LOOKED_AT]]
    if any(map(_EXPANDED.match, looked_at)):
        raise RefusedInputError(
            "is printed with one column a line", where=name, remedy="Turn the expanded display off, or export CSV."
        )
    for place, line in enumerate(looked_at[1:], start=1):
        if (cut := _cut_by_ruling(line)) is None:
            continue
        named = place - 1
        while named and line.startswith(("|", "+")) and looked_at[named - 1].startswith("|"):
            named -= 1
        header = cut(looked_at[named])
        if len(header) == len(cut(line)) and _are_names(header):
            return PrintedTable(named + 1, place + 1, header, cut, _titles(looked_at[:named]))
    for place, line in enumerate(looked_at):
        if (by_blanks := _cut_by_blanks(line, looked_at[place + 1 :])) is not None:
            return PrintedTable(place + 1, place + 2, by_blanks(line), by_blanks, _titles(looked_at[:place]))
    return None


def delimited_copy(text: Path, name: str, delimiter: str, copy: Path) -> Path:
    """A delimited copy of a text that is a printed table; any other text itself.

    Raises:
        RefusedInputError: rows are printed over several lines, there is a second table, or fewer rows than the program
            that printed them says.
    """
    with text.open(encoding="utf-8", errors="surrogateescape", newline="\n") as source:
        head = source.read(_LONGEST_HEAD)
    table = printed_table(head.split("\n")[:_LOOKED_AT], name) if "\n" in head[:_LONGEST_LINE] else None
    if table is None:
        return text
    with (
        text.open(encoding="utf-8", errors="surrogateescape", newline="\n") as source,
        copy.open("w", encoding="utf-8", errors="surrogateescape", newline="") as target,
    ):
        writer = csv.writer(target, delimiter=delimiter, lineterminator="\n")
        writer.writerows(delimited_lines(source, table, name))
    return copy


def delimited_lines(lines: Iterable[str], table: PrintedTable, name: str) -> Iterator[list[str]]:
    """The cells of every line; none of a line that is no row. Raises as ``delimited_copy`` does, at the end."""
    n_rows, stated, is_below_row = 0, 0, False
    for number, printed in enumerate(lines, start=1):
        line = _plain(printed)
        if number == table.header_line:
            yield table.header
        elif number < table.rows_from or not line.strip() or _is_frame(line, table, name, is_below_row):
            yield []
        elif (count := _stated_rows(line)) is not None:
            stated += count
            yield []
        elif (cells := table.cut(line)) == table.header or _title(line) in table.titles:
            yield []
            is_below_row = False
        else:
            n_rows += 1
            is_below_row = True
            yield cells
    if n_rows < stated:
        check_rows(Path(name), n_rows, Stated(rows=stated))


def _plain(line: str) -> str:
    """Frames drawn with lines as those typed with signs; without the feed to a new page."""
    return line.lstrip("\ufeff").translate(_FRAMES).replace("\f", "").rstrip("\r\n")


def _is_frame(line: str, table: PrintedTable, name: str, is_below_row: bool) -> bool:
    """Whether a line is a ruling or what was typed at a prompt.

    Raises RefusedInputError where it rules other columns than those of the table, or others under the same widths.
    """
    if (other := _cut_by_ruling(line)) is not None:
        is_of_table = len(other(line)) == len(table.header) == len(table.cut(line))
        if not is_of_table or (is_below_row and not line.strip().startswith(("|", "+"))):
            raise RefusedInputError(
                "holds a second table with other columns, or rows that are printed over several lines",
                where=name,
                remedy="Print one table with lines long enough (SQL*Plus: SET LINESIZE 32767), or export CSV.",
            )
        return True
    return _RULING.fullmatch(line) is not None or _PROMPT.match(line) is not None


def _cut_by_ruling(line: str) -> Cut | None:
    """How the lines under a ruling are cut; None where the line rules no columns."""
    runs = [match.span() for match in _RUN.finditer(line)]
    if len(runs) < 2 or sum(end - start for start, end in runs) < 2 * len(runs) or not _RULING.fullmatch(line):
        return None
    between = {line[end:start].strip() for (_, end), (start, _) in pairwise(runs)}
    if between == {""} and "\t" not in line.strip():
        return _by_gutters([(end, start) for (_, end), (start, _) in pairwise(runs)])
    mark = {"": "\t", "+": "|"}.get(next(iter(between)), next(iter(between)))
    if len(between) > 1 or mark not in ("|", ",", ";", "\t"):
        return None
    return _by_mark(mark, is_framed=line.strip().startswith(("|", "+")))


def _by_mark(mark: str, *, is_framed: bool) -> Cut:
    def cut(line: str) -> list[str]:
        bare = line.strip() if mark == "|" else line
        if is_framed:
            bare = bare.removeprefix("|").removesuffix("|")
            bare = bare.removeprefix("+").removesuffix("+")
        if mark == "|" and _RULING.fullmatch(bare):
            bare = bare.replace("+", "|")
        if '"' not in bare or mark == "|":
            return [cell.strip() for cell in bare.split(mark)]
        try:
            return [cell.strip() for cell in next(csv.reader([bare], delimiter=mark))]
        except (csv.Error, StopIteration):
            return [bare]

    return cut


def _by_gutters(gutters: Sequence[tuple[int, int]]) -> Cut:
    """Cut where columns are held apart: in each gutter there is one run of blanks, or the line breaks there."""

    def cut(line: str) -> list[str]:
        text, cells, start = line.expandtabs(), list[str](), 0
        for first, last in gutters:
            blanks = [match.span() for match in re.finditer(r"\s+", text[first:last].ljust(last - first))]
            if len(blanks) != 1:
                return [*cells, text[start:]]
            cells.append(text[start : first + blanks[0][0]].strip())
            start = first + blanks[0][1]
        return [*cells, text[start:].strip()]

    return cut


def _cut_by_blanks(header: str, below: Sequence[str]) -> Cut | None:
    """How lines are cut whose columns are held apart by blanks alone; None unless every gap of the header is one below it, too."""
    names, block = _GAP.split(header.strip()), list[str]()
    for line in below:
        if not line.strip():
            break
        if not _RULING.fullmatch(line):
            block.append(line.expandtabs())
    is_delimited = any(header.count(mark) > 1 for mark in ",;|\t")
    if len(names) < _LEAST_COLUMNS or len(block) < _LEAST_LINES or is_delimited or not _are_names(names):
        return None
    width = max(map(len, [header, *block]))
    filled = [line.ljust(width) for line in (header, *block)]
    gutters = []
    indent = len(header) - len(header.lstrip())
    # An index stands below no name.
    is_indexed = any(line[:indent].strip() for line in block)
    for gap in _GAP.finditer(header.rstrip(), 0 if is_indexed else indent):
        is_blank = "".join(
            " " if all(line[at].isspace() for line in filled) else "x" for at in range(gap.start(), gap.end())
        )
        runs = [match.span() for match in re.finditer(" +", is_blank)]
        # One blank in the same place of all lines may stand within a value: between a day and its time.
        wide = [run for run in runs if run[1] - run[0] > 1] or runs
        if len(wide) != 1:
            return None
        gutters.append((gap.start() + wide[0][0], gap.start() + wide[0][1]))
    by_gutters = _by_gutters(gutters)

    def cut(line: str) -> list[str]:
        """Two blanks within a cell are a line whose columns lie elsewhere."""
        cells = by_gutters(line)
        broken = next((at for at, cell in enumerate(cells) if _GAP.search(cell)), len(cells))
        return cells if broken == len(cells) else cells[: min(broken + 1, len(gutters))]

    return cut


def _are_names(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and all(_LETTER.search(cell) for cell in cells)


def _titles(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(_title(line) for line in lines if line.strip())


def _title(line: str) -> str:
    """A title without its numbers: those of pages and times differ."""
    return re.sub(r"\d+", "0", " ".join(line.split()))


def _stated_rows(line: str) -> int | None:
    """The number of rows that a program says it printed (row_count_words.csv)."""
    found = _row_count().fullmatch(line)
    return int(found[1]) if found else None


@cache
def _row_count() -> re.Pattern[str]:
    words = alternatives(load_reference().row_count_words["word"])
    return re.compile(rf"\W*(\d+) ?(?:{words})(?:\W.{{0,40}})?", re.IGNORECASE)
