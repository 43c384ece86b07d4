"""The store's views in SQL, each with the sentence that the file carries about it, and queries that many readers share."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from neutro_schemas import PRIORITIES
from neutro_schemas.store import CHANGES, WorklistRow
from neutro_screen.rules.worklist.order import LEAVING, LIST_ORDER, LISTED_GROUPS, ROW_GROUPS, STAYING_GROUPS
from neutro_screen.store.drug_views import DRUG_VIEWS
from neutro_screen.validate import dtypes

#: The run that is shown when none is named.
LATEST_RUN: Final = "SELECT run_id FROM run ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1"

#: Runs that reached nobody: what was asked for, the reports or else the notification, was not delivered.
UNDELIVERED_RUNS: Final = (
    "SELECT run_id FROM run_delivery GROUP BY run_id HAVING count(*) FILTER (kind = 'report' AND delivered_at IS NOT NULL) = 0 "
    "AND (count(*) FILTER (kind = 'report') > 0 OR count(delivered_at) = 0)"
)

#: The merge statement that counts for each patient record: the latest one received.
MERGE_STATEMENTS: Final = (
    "SELECT patient_id, replaced_by, source_file, source_row, run_id FROM patient JOIN run USING (run_id) "
    "WHERE replaced_by IS NOT NULL QUALIFY row_number() OVER (PARTITION BY patient_id "
    "ORDER BY as_of DESC, started_at DESC, run_id DESC, source_file DESC, source_row DESC, replaced_by DESC) = 1"
)
#: The records of one person: the one named by $patient and those merged into it.
PERSON: Final = "(SELECT $patient UNION ALL SELECT patient_id FROM patient_merge WHERE survivor_id = $patient)"

#: Everybody of whom a reviewer can decide: who has a status, and whose count is unknown.
KNOWN_PATIENTS: Final = "(SELECT patient_id FROM patient_summary UNION SELECT patient_id FROM unassessable)"
#: The latest decision of a reviewer per patient.
_LATEST_REVIEW: Final = (
    'SELECT * FROM review QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY "at" DESC) = 1'
)


def asked(time: str) -> str:
    """Ward and requester (view ``patient_request`` as q) as columns; null where a count or reason since ``time`` names none."""
    return ", ".join(f"CASE WHEN q.{name}_at >= {time} THEN q.{name} END AS {name}" for name in ("ward", "requester"))


def is_worse(now: str, seen: str) -> str:
    """Whether a worklist row is worse than what a reviewer saw: a higher priority or a lower nadir, or one where none was.

    Such a decision does not stand: who was set aside comes back.
    """
    return (
        f"({now}.priority IS NOT NULL AND ({seen}.priority IS NULL OR {now}.priority > {seen}.priority "
        f"OR coalesce({now}.nadir_cells_per_ul < coalesce({seen}.nadir_cells_per_ul, 'infinity'), false)))"
    )


#: Index time of the latest run, and for how long a patient without a result is looked for (policy of that run).
_NOW: Final = (
    "(SELECT as_of, CAST(policy_values ->> '$.worklist.lost_d' AS INTEGER) AS lost_d "
    "FROM run ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1)"
)
#: The order of the list in SQL; a row of an older version without a group is open.
WORKLIST_ORDER: Final = ", ".join(
    (f"list_position({list(ROW_GROUPS)}, coalesce(w.row_group, 'open'))" if column == "row_group" else f"w.{column}")
    + (" DESC NULLS LAST" if is_highest_first else "")
    for column, is_highest_first in LIST_ORDER.items()
)
#: The order of the page (RULES.md section 7): what is new or changed and recent first, then as ``WORKLIST_ORDER``.
PAGE_ORDER: Final = f"coalesce(w.is_recent, false) DESC, {WORKLIST_ORDER}"
#: Rows of a run that are on its list; the others only close what was on it before.
ON_LIST: Final = f"(coalesce(w.row_group, 'open') IN {LISTED_GROUPS} AND w.change <> 'resolved')"
#: Rows that stay on the list the next night.
STAYING: Final = f"(coalesce(w.row_group, 'open') IN {STAYING_GROUPS} AND w.change <> 'resolved')"

#: Rows whose change is counted: who stays and who leaves; the others began and recovered since the run before.
_COUNTED: Final = f"({STAYING} OR w.change IN {LEAVING})"


def _priority_rank(column: str = "priority") -> str:
    """A priority as an integer, higher is more urgent, and whether it is urgent: never compare an ENUM with a bare text."""
    return f"enum_code({column}) AS priority_rank, {column} >= 'high'::priority AS is_urgent"


def _severity_rank(column: str) -> str:
    """A severity as an integer, higher is worse, and whether it is severe."""
    return f"enum_code({column}) AS severity_rank, {column} >= 'severe'::severity AS is_severe"


def _count_of(column: str, word: str, condition: str = "TRUE") -> str:
    """How many rows of a worklist have a priority or change."""
    cast = "::priority" if column == "priority" else ""
    return f"count(*) FILTER ({condition} AND w.{column} = '{word}'{cast})"


def _of_kept(counted: str) -> str:
    """A count of a run's worklist; null where retention has removed it: that was no quiet night."""
    return f"CASE WHEN any_value(r.status) <> 'reduced' THEN {counted} END"


@cache
def view_columns() -> dict[tuple[str, str], str]:
    """(view, column) -> comment, where the table's own description does not serve; ``*`` = of any view."""
    with Path(__file__).with_name("view_columns.csv").open(encoding="utf-8", newline="") as rows:
        return {(row["view"], row["column"]): row["comment"] for row in csv.DictReader(rows)}


#: Rows that stand on while nothing of their patient is screened: of those lost to follow-up, and of findings outside of an
#: episode. Silence changes nothing of such a row but that it is no longer new (EPI-6).
STANDING_ON: Final = "(row_group = 'lost_to_follow_up' OR row_group = 'open' AND episode_id IS NULL)"
#: Such a row in the runs that carried it over.
_CARRIED_VALUES: Final = {
    "run_id": "r.run_id",
    "previous_priority": "e.priority",
    "change": "'unchanged'",
    "is_recent": "false",
}
_ROW_COLUMNS: Final = tuple(dtypes(WorklistRow))
_CARRIED_ROW: Final = ", ".join(f"{_CARRIED_VALUES.get(name, f'e.{name}')} AS {name}" for name in _ROW_COLUMNS)

#: View -> its query and what one row of it is.
VIEWS: Final[Mapping[str, tuple[str, str]]] = {
    "worklist_row": (
        f"""
        SELECT {", ".join(_ROW_COLUMNS)} FROM worklist_entry
        UNION ALL
        SELECT {_CARRIED_ROW}
        FROM (SELECT * FROM worklist_entry WHERE {STANDING_ON}) e JOIN run made ON made.run_id = e.run_id
        JOIN run r ON r.carries_since = made.carries_since AND r.as_of > made.as_of
             AND r.as_of <= coalesce(e.stands_until, 'infinity')
        """,
        "One patient on the worklist of one run.",
    ),
    "patient_status": (
        f"SELECT *, {_severity_rank('current_severity')}, enum_code(worst_severity) AS worst_severity_rank, "
        f"{_priority_rank()} FROM patient_summary",
        "One patient at the index time of the latest run. priority is the highest of any episode; one that is over is at "
        "most low.",
    ),
    "anc_ranked": (
        f"SELECT *, {_severity_rank('severity')} FROM anc",
        "One specimen and its ANC (table anc), with its severity as an integer and whether it is severe.",
    ),
    "episode_ranked": (
        f"SELECT *, {_severity_rank('worst_severity')}, {_priority_rank()} FROM episode",
        "One episode (table episode), with its worst severity and its priority as integers.",
    ),
    "patient_request": (
        """
        SELECT coalesce(m.survivor_id, s.patient_id) AS patient_id,
               arg_max(s.ward, (s.collected_at, s.run_id, s.ward)) AS ward,
               max(s.collected_at) FILTER (s.ward IS NOT NULL) AS ward_at,
               arg_max(s.requester, (s.collected_at, s.run_id, s.requester)) AS requester,
               max(s.collected_at) FILTER (s.requester IS NOT NULL) AS requester_at
        FROM request s LEFT JOIN patient_merge m USING (patient_id) GROUP BY ALL
        """,
        "One patient whose files name wards or requesters: those of the newest specimen that names one, and its time. For the "
        "reader's eyes: no rule looks at them.",
    ),
    "cannot_assess": (
        f"""
        WITH listed AS (
            SELECT u.patient_id, u.reason, u.since, u.specimen_id, u.last_anc_cells_per_ul, u.last_anc_comparator,
                   u.last_severity, {_severity_rank("u.last_severity")}, u.high_risk_drug,
                   date_diff('day', u.since, now.as_of) AS days,
                   CASE WHEN u.high_risk_drug IS NULL AND date_diff('day', u.since, now.as_of) > now.lost_d
                        THEN 'lost_to_follow_up' ELSE 'open' END AS row_group,
                   r.status AS review_status, r.until AS review_until, r.note AS review_note, r."by" AS review_by,
                   {asked("u.since")}
            FROM unassessable u CROSS JOIN {_NOW} now LEFT JOIN patient_request q USING (patient_id)
            LEFT JOIN ({_LATEST_REVIEW}) r ON r.patient_id = u.patient_id AND r."at" >= u.since
                 AND (r.status <> 'snoozed' OR r.until >= CAST(now.as_of AS DATE))
            WHERE u.since <= now.as_of AND coalesce(r.status, 'open') NOT IN ('snoozed', 'dismissed')
        )
        SELECT *, row_number() OVER (
            ORDER BY row_group = 'lost_to_follow_up', coalesce(is_severe, false) DESC, high_risk_drug IS NULL,
                     last_anc_cells_per_ul NULLS LAST, days DESC, patient_id, reason
        ) AS risk_rank FROM listed ORDER BY risk_rank
        """,
        "Patients whose neutrophil count is unknown, and why, by risk: severe last count, high-risk drug, lower last count, "
        "longer wait. They are not normal. A later unusable result brings a dismissed or snoozed patient back.",
    ),
    "worklist": (
        f"""
        SELECT w.patient_id, w.priority, {_priority_rank("w.priority")}, w.change, w.row_group, w.is_recent, w.is_expected,
               w.conclusion, w.reasons, w.reason_codes, w.current_severity, {_severity_rank("w.current_severity")},
               w.worst_severity, enum_code(w.worst_severity) AS worst_severity_rank, w.last_anc_cells_per_ul, w.last_anc_comparator, w.last_collected_at,
               w.nadir_cells_per_ul, w.fall_pct, w.top_suspect, w.next_step, w.next_step_due, w.episode_id,
               w.episode_status, w.run_id, r.status AS review_status, r.until AS review_until, r.note AS review_note,
               r."by" AS review_by, {asked("w.last_collected_at")}
        FROM worklist_row w
        JOIN run USING (run_id)
        LEFT JOIN patient_request q ON q.patient_id = w.patient_id
        LEFT JOIN ({_LATEST_REVIEW}) r ON r.patient_id = w.patient_id
             AND NOT {is_worse("w", "r")}
             AND (r.status <> 'snoozed' OR r.until >= CAST(run.as_of AS DATE))
        WHERE w.run_id = ({LATEST_RUN})
          AND {ON_LIST}
          AND coalesce(r.status, 'open') NOT IN ('snoozed', 'dismissed')
        ORDER BY {WORKLIST_ORDER}
        """,
        "Rows of the latest run: open, then recovered and seen for the first time, then lost to follow-up; in each group the "
        "most urgent first; ties: lower ANC, faster fall, older result. A dismissed or snoozed patient comes back with a "
        "higher priority or a lower nadir.",
    ),
    "worklist_change": (
        f"""
        SELECT run_id, patient_id, change, row_group, previous_priority,
               enum_code(previous_priority) AS previous_priority_rank, priority, {_priority_rank()}, reasons
        FROM worklist_row ORDER BY run_id, priority DESC, patient_id
        """,
        "What changed from one run to the next: new, escalated, unchanged, improved, resolved, withdrawn, lost, died.",
    ),
    "alert_burden": (
        f"""
        WITH w AS (
            SELECT w.*, coalesce(NOT {is_worse("w", "v")} AND (v.status = 'dismissed' OR v.status = 'snoozed' AND v.until >= CAST(w.as_of AS DATE)), false)
                   AS is_set_aside
            FROM (SELECT w.*, r.as_of FROM worklist_row w JOIN run r USING (run_id) WHERE {STAYING}) w
            ASOF LEFT JOIN review v ON v.patient_id = w.patient_id AND v."at" <= w.as_of
        )
        SELECT r.run_id, r.as_of, r.patients_touched AS patients_screened,
               CAST(r.counts ->> '$.patients' AS BIGINT) AS patients_known,
               {_of_kept("count(w.patient_id)")} AS alerts,
               {", ".join(f"{_of_kept(_count_of('priority', name))} AS {name}" for name in PRIORITIES[::-1])},
               {_of_kept(_count_of("change", "new"))} AS new,
               {_of_kept("count(*) FILTER (w.change = 'new' AND w.priority >= 'high'::priority)")} AS new_urgent,
               {_of_kept("count(*) FILTER (w.is_set_aside)")} AS set_aside
        FROM run r LEFT JOIN w USING (run_id) GROUP BY ALL ORDER BY r.as_of, r.run_id
        """,
        "One night: patients screened, open rows of its worklist by priority, and how many of them are new. Null where "
        "retention has removed the night's worklist.",
    ),
    "clozapine_monitoring": (
        f"""
        SELECT c.patient_id, c.first_exposure, c.last_exposure, c.last_collected_at, c.last_anc_cells_per_ul,
               c.last_anc_comparator, c.clozapine_step, c.next_anc_due, now.as_of > c.next_anc_due AS is_overdue,
               greatest(date_diff('day', c.next_anc_due, now.as_of), 0) AS days_overdue
        FROM clozapine_course c CROSS JOIN {_NOW} now
        WHERE c.last_exposure IS NULL OR c.last_exposure >= CAST(now.as_of AS DATE)
        ORDER BY c.next_anc_due, c.patient_id
        """,
        "One patient on clozapine: the last count on this course, its step of the ladder, and when the next is due.",
    ),
    "run_trend": (
        f"""
        SELECT r.run_id, r.as_of, r.rows_in, r.rows_rejected, r.patients_touched,
               {_of_kept(f"count(w.patient_id) FILTER ({STAYING})")} AS on_worklist,
               {", ".join(f"{_of_kept(_count_of('priority', name, STAYING))} AS {name}" for name in PRIORITIES[::-1])},
               {", ".join(f"{_of_kept(_count_of('change', name, _COUNTED))} AS {name}" for name in CHANGES)},
               {_of_kept(f"count(w.patient_id) FILTER (NOT {_COUNTED})")} AS recovered,
               CAST(r.counts ->> '$.cannot_assess' AS BIGINT) AS cannot_assess
        FROM run r LEFT JOIN worklist_row w USING (run_id)
        GROUP BY ALL ORDER BY r.as_of, r.run_id
        """,
        "One run: patients on its worklist by priority, what changed, who could not be assessed. Null where retention has "
        "removed the run's worklist.",
    ),
    "review_time": (
        f"""
        WITH shown AS (
            SELECT w.patient_id, w.run_id AS first_run_id, w.priority AS first_priority, r.started_at AS first_shown_at,
                   lead(r.started_at) OVER (PARTITION BY w.patient_id ORDER BY r.started_at, r.run_id) AS next_shown_at
            FROM worklist_row w JOIN run r USING (run_id)
            WHERE w.change = 'new' AND w.run_id NOT IN ({UNDELIVERED_RUNS})
        )
        SELECT s.patient_id, s.first_run_id, s.first_priority, {_priority_rank("s.first_priority")}, s.first_shown_at, min(v."at") AS first_decision_at,
               arg_min(v.status, v."at") AS first_status, arg_min(v."by", v."at") AS first_by,
               date_diff('minute', s.first_shown_at, min(v."at")) / 60.0 AS hours_to_review
        FROM shown s LEFT JOIN review v ON v.patient_id = s.patient_id AND v."at" >= s.first_shown_at
             AND (s.next_shown_at IS NULL OR v."at" < s.next_shown_at)
        GROUP BY s.patient_id, s.first_run_id, s.first_priority, s.first_shown_at
        ORDER BY s.first_shown_at, s.patient_id
        """,
        "One stay of a patient on the worklist: when a run first showed it, when somebody first decided; null = not yet.",
    ),
    "review_throughput": (
        """
        SELECT CAST(v."at" AS DATE) AS reviewed_on, v."by" AS reviewer, count(*) AS decisions,
               count(DISTINCT v.patient_id) AS patients, count(*) FILTER (v.status = 'acknowledged') AS acknowledged,
               count(*) FILTER (v.status = 'snoozed') AS snoozed, count(*) FILTER (v.status = 'dismissed') AS dismissed,
               median(t.hours_to_review) AS median_hours_to_review
        FROM review v LEFT JOIN review_time t ON t.patient_id = v.patient_id AND t.first_decision_at = v."at"
        GROUP BY 1, 2 ORDER BY reviewed_on, reviewer NULLS LAST
        """,
        "One day and reviewer: decisions, and hours from first shown to first decision (median). Null = nobody named.",
    ),
    "suspect_frequency": (
        """
        WITH suspected AS (
            SELECT s.ingredient, any_value(s.drug_class) AS drug_class,
                   count(DISTINCT s.patient_id) FILTER (s.category = 'likely') AS likely,
                   count(DISTINCT s.patient_id) FILTER (s.category = 'possible') AS possible,
                   count(DISTINCT s.patient_id) FILTER (s.category = 'expected') AS expected,
                   count(DISTINCT s.patient_id) FILTER (s.category = 'beyond_expected') AS beyond_expected,
                   count(DISTINCT s.patient_id) AS suspected
            FROM drug_suspect s JOIN episode e USING (episode_id)
            WHERE e.ended_at IS NULL AND s.category IN ('likely', 'possible', 'expected', 'beyond_expected')
            GROUP BY s.ingredient
        ), exposed AS (
            SELECT d.ingredient, count(DISTINCT m.patient_id) AS exposed
            FROM drug_match d JOIN medication m ON d.drug_name IS NOT DISTINCT FROM m.drug_name
                 AND d.atc_code IS NOT DISTINCT FROM m.atc_code AND d.rxcui IS NOT DISTINCT FROM m.rxcui
                 AND d.route IS NOT DISTINCT FROM m.route
            WHERE m.patient_id IN (SELECT patient_id FROM patient_summary) GROUP BY d.ingredient
        )
        SELECT s.*, coalesce(x.exposed, s.suspected) AS exposed
        FROM suspected s LEFT JOIN exposed x USING (ingredient)
        ORDER BY s.likely DESC, s.possible DESC, s.expected DESC, s.ingredient
        """,
        "One drug suspected in open episodes: patients by category, and screened patients whose list names the drug "
        "(exposed). Not a rate of harm, no proof of a cause.",
    ),
    **DRUG_VIEWS,
    "data_quality": (
        'SELECT run_id, source_file, lab, analyte, disposition, reason, "rows" FROM quality_count '
        "ORDER BY run_id, source_file, lab, analyte, disposition, reason",
        "Per run, file, laboratory and analyte: how many rows were accepted, refused, without result, repeated or not "
        "screened, and why.",
    ),
    "data_quality_measure": (
        'SELECT run_id, source_file, lab, analyte, measure, detail, n, "of", value FROM quality_measure '
        "ORDER BY run_id, source_file, lab, analyte, measure, detail",
        "Per run, file (null = all files), laboratory and analyte: units seen, refusals and non-results by kind, "
        "medians, and per laboratory what is odd about times and differentials.",
    ),
    "data_quality_drift": (
        "SELECT run_id, lab, analyte, what, before, now, before_value, now_value, n, runs, words FROM quality_drift "
        "ORDER BY run_id, what, lab, analyte",
        "Per run: what about a laboratory is not as it was in its last runs, from what to what.",
    ),
}
