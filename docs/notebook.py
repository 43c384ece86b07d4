# %% [markdown]
# # The store in a notebook
#
# Made by `make docs` from `docs/notebook.py`, with the results of the synthetic sample hospital; the tests run it.
# Needed: the installed program and a store (`make demo` makes one). No other library: `duckdb` and `polars` come with it.

# %%
import duckdb
import polars as pl

store = "sample.duckdb"
connection = duckdb.connect(store, read_only=True)
connection.sql("SELECT run_id, on_worklist, critical, new, escalated, resolved FROM run_trend").pl()

# %% [markdown]
# Tables and columns explain themselves.

# %%
connection.sql(
    "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'episode' AND column_name LIKE '%nadir%' "
    "ORDER BY column_index"
).pl()

# %% [markdown]
# The course of one patient. Times are UTC, counts cells per microlitre; a comparator says that a count is a bound.

# %%
course = connection.sql(
    "SELECT collected_at, anc_comparator, anc_cells_per_ul, severity::VARCHAR AS severity, baseline_cells_per_ul "
    "FROM anc WHERE patient_id = ? ORDER BY collected_at",
    params=["P-001"],
).pl()
course.tail(4)

# %% [markdown]
# How many patients were ever severe or worse, and how deep did they fall? Ranks are integers, higher is worse: 3 is severe.

# %%
connection.sql(
    "SELECT worst_severity::VARCHAR AS worst, count(*) AS patients, min(nadir_cells_per_ul) AS lowest "
    "FROM patient_status WHERE worst_severity_rank >= 3 GROUP BY worst_severity, worst_severity_rank ORDER BY worst_severity_rank DESC"
).pl()

# %% [markdown]
# The rules also work on frames, without files or a store. The index time is an argument; there is no other clock.

# %%
import neutro_screen

labs = pl.DataFrame(
    {
        "patient_id": ["A", "A", "B"],
        "collected_at": ["2026-11-01T08:00", "2026-11-20T08:00", "2026-11-20T09:00"],
        "analyte_name": ["Neutrophils Absolute"] * 3,
        "value": ["4.2", "0.4", "<0.1"],
        "unit": ["10*9/L"] * 3,
    }
)
result = neutro_screen.screen(labs, as_of="2026-11-22")
result.worklist.select("patient_id", "priority", "reasons")

# %%
result.flag.select("patient_id", "rule_id", "reason")

# %%
connection.close()
