"""One ward of ten people as ten hospitals would export it: odd headers, titles, footers, numbers, dates and units.

Everything is invented. Each writer returns the file; what a screen of it must find is the same for all of them.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.formats.hospital_files import write_xlsx

#: Surnames and given names that must never reach a profile or a terminal.
SURNAMES: Final = (
    "Quillfeather",
    "Brambleby",
    "Oxenford",
    "Thistlewood",
    "Marchbanks",
    "Pennyfeather",
    "Ravensdale",
    "Hollowmere",
    "Winterbourne",
    "Applegarth",
)
GIVEN: Final = (
    "Ottilie",
    "Balthasar",
    "Crispin",
    "Dorothea",
    "Evander",
    "Florentina",
    "Gideon",
    "Henrietta",
    "Ignatius",
    "Jemima",
)
#: Latest count, comparator and severity of persons 1 to 10; the fifth is clotted.
EXPECTED: Final = [
    (400.0, None, "severe"),
    (240.0, None, "severe"),
    (4650.0, None, "normal"),
    (100.0, "<", "profound"),
    (None, None, None),
    (900.0, None, "moderate"),
    (1200.0, None, "mild"),
    (10000.0, None, "normal"),
    (2500.0, None, "normal"),
    (300.0, None, "severe"),
]


@dataclass(frozen=True)
class Line:
    """One result: person from 0, when drawn, test (anc, wbc, pct, hgb, plt), value as G/L, % or g/dL."""

    person: int
    drawn: datetime
    test: str
    value: str

    @property
    def specimen(self) -> int:
        return 7_000_000 + self.person * 10 + self.drawn.month % 3


def ward() -> Iterator[Line]:
    """The results of the ward, in the order of specimens."""
    latest = datetime(2026, 11, 20, 8, 15)
    counts = ["0.4", None, "4.65", "<0.1", "clotted", "0.9", "1.2", "10.0", "2.5", "0.3"]
    for day, count in ((datetime(2026, 10, 1, 7, 50), "4.2"), (datetime(2026, 11, 13, 9, 5), "2.3")):
        yield from _specimen(0, day, count)
    for person, count in enumerate(counts):
        yield from _specimen(person, latest.replace(minute=15 + person), count)


def _specimen(person: int, drawn: datetime, count: str | None) -> Iterator[Line]:
    if count is None:
        yield Line(person, drawn, "wbc", "1.2")
        yield Line(person, drawn, "pct", "20")
    else:
        yield Line(person, drawn, "anc", count)
    clotted = count == "clotted"
    yield Line(person, drawn, "hgb", count if clotted and count else f"{11 + person / 10:.1f}")
    yield Line(person, drawn, "plt", count if clotted and count else f"{180 + person}")


def _comma(value: str) -> str:
    return value.replace(".", ",")


def german_sap(folder: Path) -> Path:
    """Semicolons, Windows-1252, decimal commas, date and time apart, a title and a footer."""
    names = {
        "anc": "Neutrophile Gran. absolut",
        "wbc": "Leukozyten",
        "pct": "Neutrophile Gran. relativ",
        "hgb": "Hämoglobin",
        "plt": "Thrombozyten",
    }
    units = {"anc": "Gpt/l", "wbc": "Gpt/l", "pct": "%", "hgb": "g/dl", "plt": "Gpt/l"}
    lines = ["Laborliste Station 4B;;;", "erstellt am 21.11.2026;;;", ""]
    lines.append(
        "PatNr;Nachname;Vorname;Geb.-Datum;Auftragsnr.;Entn.Datum;Entn.Zeit;Parameter;Ergebnis;Einheit;Normbereich;Status"
    )
    for line in ward():
        value = "geronnen" if line.value == "clotted" else _comma(line.value)
        lines.append(
            f"{line.person + 1:08d};{SURNAMES[line.person]};{GIVEN[line.person]};03.0{line.person % 9 + 1}.1961;{line.specimen};"
            f"{line.drawn:%d.%m.%Y};{line.drawn:%H:%M};{names[line.test]};{value};{units[line.test]};;endg."
        )
    lines.append("*** Ende der Liste ***")
    return _write(folder / "sap.csv", lines, "cp1252")


def french(folder: Path) -> Path:
    """Accented headers, day/month/year, decimal commas, thousands in G/L."""
    names = {
        "anc": "Polynucléaires neutrophiles",
        "wbc": "Leucocytes",
        "pct": "Polynucléaires neutrophiles %",
        "hgb": "Hémoglobine",
        "plt": "Plaquettes",
    }
    units = {"anc": "G/L", "wbc": "G/L", "pct": "%", "hgb": "g/dL", "plt": "G/L"}
    lines = [
        "N° IPP;Nom usuel;Prénom;Né(e) le;N° demande;Date/heure prélèvement;Analyse;Résultat;Unité;Borne inf.;Borne sup.;Validation"
    ]
    for line in ward():
        value = "coagulé" if line.value == "clotted" else _comma(line.value)
        lines.append(
            f"80{line.person:05d};{SURNAMES[line.person]};{GIVEN[line.person]};14/0{line.person % 9 + 1}/1955;D{line.specimen};"
            f"{line.drawn:%d/%m/%Y %H:%M};{names[line.test]};{value};{units[line.test]};;;validé"
        )
    return _write(folder / "laboratoire.csv", lines, "utf-8-sig")


def spanish(folder: Path) -> Path:
    """Tabs, cells per cubic millimetre with grouping points."""
    names = {
        "anc": "Neutrófilos (recuento absoluto)",
        "wbc": "Leucocitos",
        "pct": "Neutrófilos %",
        "hgb": "Hemoglobina",
        "plt": "Plaquetas",
    }
    units = {"anc": "/mm3", "wbc": "/mm3", "pct": "%", "hgb": "g/dL", "plt": "/mm3"}
    lines = [
        "NHC\tPaciente\tNº petición\tFecha extracción\tHora\tDeterminación\tResultado\tUnidades\tValores de referencia"
    ]
    for line in ward():
        value = "coagulada" if line.value == "clotted" else _comma(line.value)
        if line.test in ("anc", "wbc", "plt") and line.value != "clotted":
            number = round(float(line.value.strip("<")) * 1000)
            value = ("<" if line.value.startswith("<") else "") + f"{number:,}".replace(",", ".")
        lines.append(
            f"{45_000 + line.person}\t{SURNAMES[line.person]}, {GIVEN[line.person]}\t{line.specimen}\t{line.drawn:%d-%m-%Y}\t{line.drawn:%H:%M}\t"
            f"{names[line.test]}\t{value}\t{units[line.test]}\t"
        )
    return _write(folder / "peticiones.txt", lines, "utf-8")


def polish(folder: Path) -> Path:
    """Windows-1250, commas within quotes, thousands in tys/µl."""
    names = {
        "anc": "Neutrofile (liczba)",
        "wbc": "Leukocyty",
        "pct": "Neutrofile %",
        "hgb": "Hemoglobina",
        "plt": "Płytki krwi",
    }
    units = {"anc": "tys/µl", "wbc": "tys/µl", "pct": "%", "hgb": "g/dl", "plt": "tys/µl"}
    lines = ["Nr pacjenta,Nazwisko i imię,Nr zlecenia,Data pobrania,Badanie,Wynik,Jednostka,Zakres"]
    for line in ward():
        value = "skrzep" if line.value == "clotted" else _comma(line.value)
        lines.append(
            f'P/{line.person + 1:04d}/26,"{SURNAMES[line.person]} {GIVEN[line.person]}",{line.specimen},{line.drawn:%Y-%m-%d %H:%M},'
            f'{names[line.test]},"{value}",{units[line.test]},"1,5 - 8,0"'
        )
    return _write(folder / "wyniki.csv", lines, "cp1250")


def chinese(folder: Path) -> Path:
    """GB 18030, Chinese headers and names."""
    names = {
        "anc": "中性粒细胞绝对值",
        "wbc": "白细胞计数",
        "pct": "中性粒细胞百分比",
        "hgb": "血红蛋白",
        "plt": "血小板计数",
    }
    units = {"anc": "10^9/L", "wbc": "10^9/L", "pct": "%", "hgb": "g/L", "plt": "10^9/L"}
    lines = ["病历号,姓名,标本号,采样时间,项目名称,结果,单位,参考范围"]
    for line in ward():
        value = "标本凝固" if line.value == "clotted" else line.value
        if line.test == "hgb" and line.value != "clotted":
            value = f"{float(line.value) * 10:.0f}"
        lines.append(
            f"ZY{300_100 + line.person},{SURNAMES[line.person]},{line.specimen},{line.drawn:%Y/%m/%d %H:%M},{names[line.test]},{value},{units[line.test]},"
        )
    return _write(folder / "检验结果.csv", lines, "gb18030")


def workbook(folder: Path) -> Path:
    """A workbook with two lines of title and real dates."""
    path = folder / "haematology.xlsx"
    names = {"anc": "Neutrophils #", "wbc": "WBC", "pct": "Neutrophils %", "hgb": "Hb", "plt": "Plt"}
    units = {"anc": "x10^9/L", "wbc": "x10^9/L", "pct": "%", "hgb": "g/L", "plt": "x10^9/L"}
    rows: list[list[object]] = [["Haematology results"], ["Printed 21 November 2026"], []]
    rows.append(
        ["Hospital No.", "Patient name", "DOB", "Lab No.", "Date/time taken", "Investigation", "Result", "Units"]
    )
    for line in ward():
        value = line.value if line.test != "hgb" or line.value == "clotted" else f"{float(line.value) * 10:.0f}"
        rows.append(
            [
                f"H{line.person:06d}",
                f"{SURNAMES[line.person].upper()}, {GIVEN[line.person]}",
                datetime(1950 + line.person, 3, 4),
                str(line.specimen),
                line.drawn,
                names[line.test],
                value.capitalize(),
                units[line.test],
            ]
        )
    write_xlsx(path, rows, [])
    return path


def portal(folder: Path) -> Path:
    """A portal's wide sheet: titles, one line a specimen, units in the header."""
    lines = [
        "Results portal - Ward 7",
        "Generated 2026-11-21 06:00",
        "",
        "MRN,Patient,Accession No,Date collected,WBC (10*3/uL),Neut % ,Neutrophils Abs (10*3/uL),Hgb (g/dL),Platelets (10*3/uL),Comment",
    ]
    specimens: dict[tuple[int, datetime], dict[str, str]] = {}
    for line in ward():
        specimens.setdefault((line.person, line.drawn), {})[line.test] = line.value
    for (person, drawn), values in specimens.items():
        cells = ",".join(
            "Clotted" if values.get(test) == "clotted" else values.get(test, "")
            for test in ("wbc", "pct", "anc", "hgb", "plt")
        )
        lines.append(
            f'{900_200 + person},"{SURNAMES[person]}, {GIVEN[person]}",{person}{drawn:%d%m},{drawn:%m/%d/%Y %H:%M},{cells},'
        )
    lines.append("End of report")
    return _write(folder / "portal.csv", lines, "utf-8")


def two_values(folder: Path) -> Path:
    """Text and number of a value in columns of their own; the number is empty where the text is none."""
    names = {
        "anc": "absolute_neutrophil_count",
        "wbc": "wbc",
        "pct": "neutrophils_percent",
        "hgb": "hemoglobin",
        "plt": "platelet_count",
    }
    units = {"anc": "10^3/uL", "wbc": "10^3/uL", "pct": "%", "hgb": "g/dL", "plt": "10^3/uL"}
    lines = [
        "patient_id,lab_collect_dttm,lab_result_dttm,lab_specimen_name,lab_name,lab_value,lab_value_numeric,reference_unit"
    ]
    for line in ward():
        text = "specimen clotted" if line.value == "clotted" else line.value if line.value.startswith("<") else ""
        number = line.value if not text else ""
        lines.append(
            f"{line.person + 12_000},{line.drawn:%Y-%m-%d %H:%M:%S}+00:00,{line.drawn:%Y-%m-%d} 11:00:00+00:00,blood,{names[line.test]},{text},{number},{units[line.test]}"
        )
    return _write(folder / "labs.csv", lines, "utf-8")


def american(folder: Path) -> Path:
    """Pipes, month/day/year with AM and PM, words of status, an entry in error."""
    names = {
        "anc": "ANC (ABSOLUTE NEUTROPHIL CT)",
        "wbc": "WHITE BLOOD CELL COUNT",
        "pct": "NEUTROPHILS %",
        "hgb": "HGB",
        "plt": "PLATELET CT",
    }
    units = {"anc": "K/uL", "wbc": "K/uL", "pct": "%", "hgb": "g/dL", "plt": "K/uL"}
    lines = ["PATIENT MRN|PATIENT NAME|ORDER #|COLLECTION DATE/TIME|COMPONENT|RESULT|UNITS|STATUS"]
    for line in ward():
        rows = [(line.value.upper(), "Final")]
        if line.person == 9 and line.test == "anc":
            rows.insert(0, ("3.0", "Entered in Error"))
        lines += [
            f"{line.person + 55_501}|{SURNAMES[line.person].upper()},{GIVEN[line.person].upper()}|{line.specimen}|{line.drawn:%m/%d/%Y %I:%M %p}|{names[line.test]}|{value}|{units[line.test]}|{status}"
            for value, status in rows
        ]
    return _write(folder / "extract.txt", lines, "utf-8")


def indian(folder: Path) -> Path:
    """Cells per cumm with lakh grouping, tests in capitals, the identifier under a header of its own."""
    names = {
        "anc": "ABSOLUTE NEUTROPHIL COUNT",
        "wbc": "T.L.C.",
        "pct": "POLYMORPHS",
        "hgb": "HB",
        "plt": "PLATELET COUNT",
    }
    units = {"anc": "/cumm", "wbc": "/cumm", "pct": "%", "hgb": "gm%", "plt": "/cumm"}
    lines = ["UHID,PATIENT NAME,AGE/SEX,SAMPLE NO,SAMPLE COLLECTED ON,TEST,RESULT,UNIT,BIO. REF. INTERVAL"]
    for line in ward():
        value = line.value
        if line.test in ("anc", "wbc", "plt") and value != "clotted":
            number = round(float(value.strip("<")) * 1000)
            value = ("<" if value.startswith("<") else "") + _lakhs(number)
        lines.append(
            f'UH{line.person:04d}X,"{GIVEN[line.person]} {SURNAMES[line.person]}",4{line.person} Y/F,{line.specimen},{line.drawn:%d-%b-%Y %H:%M},{names[line.test]},"{value}",{units[line.test]},'
        )
    return _write(folder / "lis.csv", lines, "utf-8")


def _lakhs(number: int) -> str:
    text = str(number)
    head, tail = text[:-3], text[-3:]
    groups = []
    while len(head) > 2:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ",".join([part for part in (head, *groups) if part] + [tail])


def _write(path: Path, lines: list[str], encoding: str) -> Path:
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    return path


#: By language: encoding, delimiter, format of times, decimal mark, word for clotted, header, names of anc, wbc, pct, hgb and
#: plt, and the unit of counts.
LOCAL: Final[dict[str, dict[str, str]]] = {
    row["language"]: row for row in csv.DictReader(Path(__file__).with_suffix(".csv").read_text("utf-8").splitlines())
}


def local(language: str) -> Callable[[Path], Path]:
    """The writer of the ward in a language: its header, its names of tests, its encoding."""
    of = LOCAL[language]
    delimiter = "\t" if of["delimiter"] == "tab" else of["delimiter"]
    named = dict(zip(("anc", "wbc", "pct", "hgb", "plt"), of["tests"].split("|"), strict=True))

    def write(folder: Path) -> Path:
        lines = [delimiter.join(of["header"].split("|"))]
        for line in ward():
            value = of["clotted"] if line.value == "clotted" else line.value.replace(".", of["decimal_mark"])
            person = f"{SURNAMES[line.person]} {GIVEN[line.person]}"
            units = {"pct": "%", "hgb": "g/dL"}.get(line.test, of["unit"])
            cells = (
                f"{line.person + 31_000}",
                person,
                f"{line.specimen}",
                line.drawn.strftime(of["times"]),
                named[line.test],
                value,
                units,
                "",
            )
            lines.append(delimiter.join(cells))
        return _write(folder / f"{language}.csv", lines, of["encoding"])

    return write


WRITERS: Final[dict[str, Callable[[Path], Path]]] = {
    writer.__name__: writer
    for writer in (german_sap, french, spanish, polish, chinese, workbook, portal, two_values, american, indian)
} | {language: local(language) for language in LOCAL}
