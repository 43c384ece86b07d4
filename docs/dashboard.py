# A dashboard over a store of neutro_screen, on this machine only:
#   marimo run dashboard.py --token -- --store screen.duckdb
import marimo

app = marimo.App(width="full", app_title="neutro_screen")


@app.cell
def _():
    import altair as alt
    import duckdb
    import marimo as mo

    store = mo.cli_args().get("store") or "screen.duckdb"

    def rows(query):
        """Opened for each query: a night can replace the file meanwhile."""
        with duckdb.connect(store, read_only=True) as connection:
            return connection.sql(query).pl()

    def table(found, **more):
        plain = {"selection": None, "show_column_summaries": False, "show_data_types": False, "page_size": 15}
        return mo.ui.table(found, **plain, **more)

    return alt, mo, rows, table


@app.cell
def _(mo, rows):
    night = rows(
        """
        SELECT b.as_of, b.patients_screened, b.alerts, b.critical, b.high, b.new, b.set_aside,
               (SELECT count(DISTINCT patient_id) FROM cannot_assess) AS cannot_assess
        FROM alert_burden b ORDER BY b.as_of DESC, b.run_id DESC LIMIT 1
        """
    ).row(0, named=True)
    mo.vstack(
        [
            mo.md(f"# Neutropenia screen\n\nNight of **{night['as_of']:%Y-%m-%d %H:%M} UTC**. It diagnoses nothing."),
            mo.hstack(
                [
                    mo.stat(night["critical"], label="critical"),
                    mo.stat(night["high"], label="high"),
                    mo.stat(night["alerts"], label="open rows"),
                    mo.stat(night["new"], label="new tonight"),
                    mo.stat(night["cannot_assess"], label="cannot assess"),
                ],
                widths="equal",
            ),
        ]
    )
    return


@app.cell
def _(mo, rows, table):
    urgent = rows(
        """
        SELECT patient_id, CAST(priority AS VARCHAR) AS priority, change,
               concat_ws(' ', last_anc_comparator, CAST(round(last_anc_cells_per_ul) AS BIGINT)) AS "ANC/µL",
               strftime(last_collected_at, '%Y-%m-%d %H:%M') AS collected, conclusion, next_step,
               strftime(next_step_due, '%Y-%m-%d %H:%M') AS due
        FROM worklist WHERE is_urgent
        ORDER BY priority_rank DESC, last_anc_cells_per_ul, patient_id
        """
    )
    mo.vstack(
        [mo.md("## Urgent tonight"), table(urgent, wrapped_columns=["conclusion"], column_widths={"conclusion": 640})]
    )
    return


@app.cell
def _(alt, mo, rows):
    nights = rows(
        """
        UNPIVOT (SELECT strftime(as_of, '%Y-%m-%d %H:%M') AS night, critical, high, medium, low, info FROM alert_burden)
        ON critical, high, medium, low, info INTO NAME priority VALUE alerts
        ORDER BY night, priority
        """
    )
    order = ["critical", "high", "medium", "low", "info"]
    chart = (
        alt.Chart(nights)
        .mark_bar()
        .encode(
            alt.X("night:O", title=None),
            alt.Y("alerts:Q", title="open rows"),
            alt.Color("priority:N", sort=order, scale=alt.Scale(domain=order, scheme="viridis")),
            tooltip=["night:O", "priority:N", "alerts:Q"],
        )
        .properties(height=220, width="container")
    )
    mo.vstack([mo.md("## Open rows a night, by priority"), mo.ui.altair_chart(chart, chart_selection=False)])
    return


@app.cell
def _(mo, rows, table):
    drugs = rows(
        """
        SELECT ingredient, likely, possible, expected, exposed,
               round(100.0 * (likely + possible) / nullif(exposed, 0), 1) AS suspected_pct
        FROM suspect_frequency ORDER BY likely DESC, possible DESC, ingredient
        """
    )
    waiting = rows(
        """
        SELECT CAST(first_priority AS VARCHAR) AS priority, count(*) AS shown, count(first_decision_at) AS decided,
               round(median(hours_to_review), 1) AS median_hours
        FROM review_time GROUP BY first_priority, priority_rank ORDER BY priority_rank DESC
        """
    )
    mo.vstack(
        [
            mo.md(
                "## Drugs suspected in open episodes\n\nA suspicion is no proof. Exposed: screened, and on the drug."
            ),
            table(drugs),
            mo.md("## From first shown to first decision"),
            table(waiting),
        ]
    )
    return


@app.cell
def _(mo, rows, table):
    quality = rows(
        """
        SELECT lab, disposition, reason, CAST(sum("rows") AS BIGINT) AS n
        FROM data_quality
        WHERE run_id = (SELECT run_id FROM run ORDER BY as_of DESC, run_id DESC LIMIT 1)
          AND disposition IN ('rejected', 'no_result')
        GROUP BY ALL ORDER BY n DESC, lab, disposition, reason
        """
    )
    mo.vstack([mo.md("## Rows that could not be used tonight"), table(quality)])
    return


if __name__ == "__main__":
    app.run()
