"""Shares of an extract are numbered by themselves; together they say what one process would say of it (ANC-9, REC-1)."""

import polars as pl

from neutro_screen.recognition.origins import COLUMNS, TextCounts, no_origins, number_origins, one_number_each


def lab_rows(*rows: tuple[str, str]) -> pl.DataFrame:
    """Laboratory rows of one test with these upper limits and values."""
    types = {name: dtype for name, dtype in no_origins().schema.items() if name in COLUMNS}
    limits, values = zip(*rows, strict=True)
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in types.items()]
    sent = pl.DataFrame({"value_text": values, "limit": limits}).with_columns(*absent)
    return sent.with_columns(reference_high_text="limit", source_file=pl.lit("labs.csv")).drop("limit")


def test_an_origin_that_two_shares_have_is_one_for_all_its_rows() -> None:
    """Two folders with a file of one name: a limit that both state is stated once."""
    shares = [lab_rows(("7.5", "2.0"), ("7.0", "1.0")), lab_rows(("7.5", "2.0"), ("8.0", "3.0"), ("7.5", "2.1"))]
    sent, numbered, counts = [], [], []
    for share, rows in enumerate(shares):
        own, origins = number_origins(rows, no_origins(), share << 32)
        texts = TextCounts()
        texts.add(own)
        sent, numbered, counts = [*sent, origins], [*numbered, own], [*counts, texts.counted]
    _, alone = number_origins(pl.concat(shares), no_origins())
    same = one_number_each(pl.concat(sent))
    assert same.origins.drop("origin_no").sort(COLUMNS).equals(alone.drop("origin_no").sort(COLUMNS))
    assert same.counted(pl.concat(counts)).filter(pl.col("value_text") == "2.0")["n"].to_list() == [2]
    known = same.of_all(same.origins.select("origin_no", limit="reference_high_text"))
    found = pl.concat(numbered).join(known, on="origin_no", maintain_order="left", validate="m:1")
    assert found["limit"].to_list() == ["7.5", "7.0", "7.5", "8.0", "7.5"]
