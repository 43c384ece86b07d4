"""The worklist of one run: who is on it, how urgently, and what changed since the run before (RULES.md section 7, EPI-6).

Silence changes nothing for the better: without a new result of the patient a row is neither improved nor resolved, and
its priority does not fall. What the mere passing of time changes can only raise it.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from neutro_schemas.store import WorklistRow
from neutro_screen.reference import Policy, Reference
from neutro_screen.rules.worklist.priority import sentence
from neutro_screen.rules.worklist.standing import SETTLED, standing_cases
from neutro_screen.validate import dtypes

#: Groups of the page, the first on top.
ROW_GROUPS: Final = ("open", "recovered", "withdrawn", "died", "lost_to_follow_up")
#: The order of the list: column, and whether its highest value is on top. The groups as above; a missing value is last.
#: The views of the store and the page are sorted by it as well.
LIST_ORDER: Final = {
    "row_group": False,
    "priority": True,
    "last_anc_cells_per_ul": False,
    "fall_pct": True,
    "last_collected_at": False,
    "patient_id": False,
}
#: Groups whose rows are on the list; and those that are there the next night as well, which is what is counted.
LISTED_GROUPS: Final = ("open", "recovered", "lost_to_follow_up")
STAYING_GROUPS: Final = ("open", "lost_to_follow_up")
#: Changes of those who leave it.
LEAVING: Final = ("resolved", "withdrawn", "died")
_CASE: Final = (
    "patient_id",
    "episode_id",
    "priority",
    "reasons",
    "reason_codes",
    "conclusion",
    "is_expected",
    "worst_severity",
    "nadir_cells_per_ul",
    "started_at",
    "episode_status",
    "is_open",
)
#: Columns of ``PatientStatus`` that a row shows or is decided by.
_LATEST: Final = (
    "patient_id",
    "current_severity",
    "last_anc_cells_per_ul",
    "last_anc_comparator",
    "last_collected_at",
    "fall_pct",
    "top_suspect",
    "next_step",
    "next_step_due",
    "died_on",
)
#: What is read of ``Episode`` and of ``PatientStatus``.
EPISODE_COLUMNS: Final = (*(name for name in _CASE if name not in ("episode_status", "is_open")), "status", "ended_at")
STATUS_COLUMNS: Final = (*_LATEST, "current_severity_in_context")


def open_cases(
    episodes: pl.LazyFrame, flags: pl.LazyFrame, status: pl.LazyFrame, seen: pl.LazyFrame, reference: Reference
) -> pl.LazyFrame:
    """Episodes and standing findings that belong on a worklist: the open ones, and those not yet shown by any run.

    ``seen`` (episode_id) are episodes that an earlier run already published as resolved. ``standing_cases`` are those
    outside of any episode. Columns: those of ``Episode`` that the worklist shows, and ``is_open``.
    """
    of_episodes = (
        episodes.filter(pl.col("priority").is_not_null() & (pl.col("status") != "died"))
        .with_columns(is_open=pl.col("ended_at").is_null())
        .join(seen.select("episode_id", is_seen=pl.lit(True)), on="episode_id", how="left")
        .filter(pl.col("is_open") | pl.col("is_seen").is_null())
        .rename({"status": "episode_status"})
        .select(_CASE)
    )
    # The row of an open episode carries such a reason itself.
    elsewhere = of_episodes.filter("is_open").select("patient_id")
    standing = standing_cases(flags, status, reference).join(elsewhere, on="patient_id", how="anti")
    return pl.concat([of_episodes, standing], how="vertical_relaxed")


def worklist_rows(
    cases: pl.LazyFrame,
    status: pl.LazyFrame,
    previous: pl.LazyFrame,
    episodes: pl.LazyFrame,
    reference: Reference,
    policy: Policy,
    as_of: datetime,
    run_id: str,
) -> pl.LazyFrame:
    """One row per patient with a case, and one closing row per patient of the ``previous`` worklist without.

    Of several cases an open one decides, then the most urgent, then the latest. ``status`` is ``PatientStatus``,
    ``episodes`` all episodes of these patients (patient_id, started_at, ended_at). ``change`` (EPI-6):

    new, escalated, unchanged: of rows that were not there, less urgent or as urgent the run before;
    improved: less urgent after a new result; resolved: recovered after a new result, ``row_group`` recovered;
    withdrawn: the count that was shown is cancelled or corrected away, ``row_group`` withdrawn, or open where another
    low count remains; lost: no result for the policy's ``lost_d``, ``row_group`` lost_to_follow_up, same priority;
    died: the death is recorded, ``row_group`` died.
    """
    decisive = (
        cases.sort("patient_id", "is_open", "priority", "started_at", descending=[False, True, True, True])
        .unique("patient_id", keep="first", maintain_order=True)
        .drop("started_at")
    )
    latest = status.select(_LATEST)
    return (
        decisive.join(_shown_before(previous, episodes), on="patient_id", how="full", coalesce=True)
        .join(latest, on="patient_id", how="left")
        .filter(pl.col("was_shown").is_not_null() | pl.col("died_on").is_null())
        .pipe(_with_group, policy, as_of)
        .pipe(_with_change, reference, policy, as_of)
        .with_columns(run_id=pl.lit(run_id))
        .select(list(dtypes(WorklistRow)))
        .sort("patient_id")
    )


def _shown_before(previous: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """The rows that stayed on the previous worklist, as ``was_<column>``.

    ``has_ended``: the count that was shown then belongs to an episode that has ended since.
    """
    was_over = (pl.col("change") == "resolved") | (pl.col("episode_status") == "resolved")
    group = pl.coalesce("row_group", pl.when(~was_over.fill_null(False)).then(pl.lit("open")))
    shown = previous.filter(group.is_in(STAYING_GROUPS)).select(
        "patient_id",
        was_shown=pl.lit(True),
        was_group=group,
        **{
            f"was_{name}": name
            for name in (
                "priority",
                "episode_id",
                "worst_severity",
                "nadir_cells_per_ul",
                "last_collected_at",
                "last_anc_cells_per_ul",
                "last_anc_comparator",
                "is_expected",
            )
        },
    )
    ended = (
        shown.join(episodes.select("patient_id", "started_at", "ended_at"), on="patient_id")
        .filter(
            (pl.col("started_at") <= pl.col("was_last_collected_at"))
            & (pl.col("ended_at") > pl.col("was_last_collected_at"))
        )
        .select("patient_id", has_ended=pl.lit(True))
        .unique()
    )
    return shown.join(ended, on="patient_id", how="left")


def _with_group(rows: pl.LazyFrame, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    """Add ``row_group``, ``has_new_result`` and ``is_taken_back`` (against the run before)."""
    last, was_last = pl.col("last_collected_at"), pl.col("was_last_collected_at")
    is_newer = (last > was_last).fill_null(False) | (was_last.is_null() & last.is_not_null())
    has_other_value = (last == was_last) & (
        pl.col("last_anc_cells_per_ul").ne_missing(pl.col("was_last_anc_cells_per_ul"))
        | pl.col("last_anc_comparator").ne_missing(pl.col("was_last_anc_comparator"))
    )
    is_older = (last < was_last).fill_null(False) | (last.is_null() & was_last.is_not_null())
    has_lost_nadir = (pl.col("episode_id") == pl.col("was_episode_id")) & (
        pl.col("nadir_cells_per_ul") > pl.col("was_nadir_cells_per_ul")
    )
    is_low = pl.col("episode_id").is_not_null()
    is_silent = pl.lit(as_of) - last > timedelta(days=policy.worklist.lost_d)
    # A standing finding outside of an episode has no low count that could be withdrawn: a newer count settles it.
    has_recovered = pl.col("has_ended").fill_null(False) | (pl.col("was_episode_id").is_null() & is_newer)
    is_open = pl.col("is_open").fill_null(False)
    was_shown = pl.col("was_shown").fill_null(False)
    return rows.with_columns(
        has_new_result=is_newer | has_other_value.fill_null(False),
        is_taken_back=is_older | has_lost_nadir.fill_null(False),
        row_group=pl.when(pl.col("died_on").is_not_null())
        .then(pl.lit("died"))
        .when(is_open & is_low & is_silent.fill_null(False))
        .then(pl.lit("lost_to_follow_up"))
        .when(is_open)
        .then(pl.lit("open"))
        .when(~was_shown | has_recovered)
        .then(pl.lit("recovered"))
        .otherwise(pl.lit("withdrawn")),
    )


def _with_change(rows: pl.LazyFrame, reference: Reference, policy: Policy, as_of: datetime) -> pl.LazyFrame:
    """Add ``change``, and what a closing row shows; hold the priority where no new result lets it fall."""
    was_shown = pl.col("was_shown").fill_null(False)
    stays, was = pl.col("row_group").is_in(STAYING_GROUPS), pl.col("was_priority")
    may_fall = pl.col("has_new_result") | pl.col("is_taken_back")
    is_held = (was_shown & stays & ~may_fall & (pl.col("priority") < was)).fill_null(False)
    priority = pl.when(is_held | pl.col("priority").is_null()).then(was).otherwise("priority")
    change = (
        pl.when(pl.col("row_group") == "died")
        .then(pl.lit("died"))
        .when(pl.col("row_group") == "withdrawn")
        .then(pl.lit("withdrawn"))
        .when(~was_shown)
        .then(pl.lit("new"))
        .when(pl.col("row_group") == "recovered")
        .then(pl.lit("resolved"))
        .when((pl.col("row_group") == "lost_to_follow_up") & (pl.col("was_group") == "open"))
        .then(pl.lit("lost"))
        .when(pl.col("priority") > was)
        .then(pl.lit("escalated"))
        .when((pl.col("priority") < was) & pl.col("has_new_result"))
        .then(pl.lit("improved"))
        .when(pl.col("is_taken_back") & (pl.col("priority") < was))
        .then(pl.lit("withdrawn"))
        .otherwise(pl.lit("unchanged"))
    )
    closing = {"died": "died", "withdrawn": "withdrawn", "recovered": "resolved"}
    is_settled = (pl.col("row_group") == "recovered") & pl.col("was_episode_id").is_null()
    group = pl.col("row_group").replace_strict(closing, default=None, return_dtype=pl.String)
    closed = pl.when(is_settled).then(pl.lit(SETTLED)).otherwise(group)
    words = dict(reference.reasons.select("code", "words").iter_rows())
    is_closing = closed.is_not_null() & was_shown
    changed = change.is_in(["new", "escalated", "improved", "withdrawn"])
    is_fresh = pl.lit(as_of) - pl.col("last_collected_at") <= timedelta(days=policy.worklist.new_d)
    shown = rows.with_columns(
        change=change,
        previous_priority=was,
        priority=priority,
        is_recent=(stays & changed & is_fresh).fill_null(False),
        closing=pl.when(is_closing).then(closed),
        is_held=is_held,
    )
    said = pl.col("closing").replace_strict(words, default=None, return_dtype=pl.String)
    return shown.with_columns(
        reasons=pl.when(pl.col("closing").is_not_null())
        .then(said)
        .when("is_held")
        .then(pl.concat_str("reasons", pl.lit(f"; {words['held']}")))
        .otherwise("reasons"),
        reason_codes=pl.when(pl.col("closing").is_not_null())
        .then("closing")
        .when("is_held")
        .then(pl.concat_str("reason_codes", pl.lit(",held")))
        .otherwise("reason_codes"),
        conclusion=pl.when(pl.col("closing").is_not_null()).then(sentence(said)).otherwise("conclusion"),
        episode_id=pl.coalesce("episode_id", "was_episode_id"),
        episode_status=pl.coalesce("closing", "episode_status"),
        worst_severity=pl.coalesce("worst_severity", "was_worst_severity"),
        nadir_cells_per_ul=pl.coalesce("nadir_cells_per_ul", "was_nadir_cells_per_ul"),
        is_expected=pl.coalesce("is_expected", "was_is_expected", False),
    )


def in_worklist_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by ``LIST_ORDER``: the group, the most urgent first; ties: lower ANC, faster fall, older result."""
    group = pl.col("row_group").replace_strict({name: place for place, name in enumerate(ROW_GROUPS)})
    keys = [group if column == "row_group" else pl.col(column) for column in LIST_ORDER]
    return rows.sort(keys, descending=list(LIST_ORDER.values()), nulls_last=True)
