"""The store's views in SQL, each with the sentence that the file carries about it, and queries that many readers share."""

from collections.abc import Mapping
from typing import Final

#: The run that is shown when none is named.
LATEST_RUN: Final = "SELECT run_id FROM run ORDER BY as_of DESC, started_at DESC, run_id DESC LIMIT 1"

#: The merge statement that counts for each patient record: the latest one received.
MERGE_STATEMENTS: Final = (
    "SELECT patient_id, replaced_by, source_file, source_row, run_id FROM patient JOIN run USING (run_id) "
    "WHERE replaced_by IS NOT NULL QUALIFY row_number() OVER (PARTITION BY patient_id "
    "ORDER BY as_of DESC, started_at DESC, run_id DESC, source_file DESC, source_row DESC, replaced_by DESC) = 1"
)
#: The records of one person: the one named by $patient and those merged into it.
PERSON: Final = "(SELECT $patient UNION ALL SELECT patient_id FROM patient_merge WHERE survivor_id = $patient)"

#: The latest decision of a reviewer per patient.
_LATEST_REVIEW: Final = (
    'SELECT * FROM review QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY "at" DESC) = 1'
)

#: View -> its query and what one row of it is.
VIEWS: Final[Mapping[str, tuple[str, str]]] = {
    "patient_status": (
        "SELECT * FROM patient_summary",
        "One patient at the index time of the latest run. priority is the highest of any episode, past ones included.",
    ),
    "cannot_assess": (
        "SELECT patient_id, reason, since, specimen_id FROM unassessable",
        "Patients whose neutrophil count cannot be told, and why. They are not normal; they are unknown.",
    ),
    "worklist": (
        f"""
        SELECT w.patient_id, w.priority, w.change, w.reasons, w.reason_codes, w.current_severity, w.worst_severity,
               w.last_anc_cells_per_ul, w.last_anc_comparator, w.last_collected_at, w.nadir_cells_per_ul, w.fall_pct,
               w.top_suspect, w.next_step, w.next_step_due, w.episode_id, w.episode_status, w.run_id,
               r.status AS review_status, r.until AS review_until, r.note AS review_note
        FROM worklist_row w
        JOIN run USING (run_id)
        LEFT JOIN ({_LATEST_REVIEW}) r ON r.patient_id = w.patient_id
             AND NOT coalesce(w.priority > r.priority OR w.nadir_cells_per_ul < r.nadir_cells_per_ul, false)
             AND (r.status <> 'snoozed' OR r.until >= CAST(run.as_of AS DATE))
        WHERE w.run_id = ({LATEST_RUN})
          AND w.change <> 'resolved'
          AND coalesce(r.status, 'open') NOT IN ('snoozed', 'dismissed')
        ORDER BY w.priority DESC, w.last_anc_cells_per_ul, w.fall_pct DESC NULLS LAST, w.last_collected_at, w.patient_id
        """,
        "Open rows of the latest run, most urgent first; ties: lower ANC, faster fall, older result. A dismissed or "
        "snoozed patient comes back with a higher priority or a lower nadir.",
    ),
    "worklist_change": (
        """
        SELECT run_id, patient_id, change, previous_priority, priority, reasons FROM worklist_row
        ORDER BY run_id, priority DESC, patient_id
        """,
        "What changed from one run to the next: new, escalated, unchanged, improved, resolved.",
    ),
    "run_trend": (
        """
        SELECT r.run_id, r.as_of, r.rows_in, r.rows_rejected, r.patients_touched,
               count(w.patient_id) FILTER (w.change <> 'resolved') AS on_worklist,
               count(*) FILTER (w.change <> 'resolved' AND w.priority = 'critical'::priority) AS critical,
               count(*) FILTER (w.change <> 'resolved' AND w.priority = 'high'::priority) AS high,
               count(*) FILTER (w.change <> 'resolved' AND w.priority = 'medium'::priority) AS medium,
               count(*) FILTER (w.change <> 'resolved' AND w.priority = 'low'::priority) AS low,
               count(*) FILTER (w.change <> 'resolved' AND w.priority = 'info'::priority) AS info,
               count(*) FILTER (w.change = 'new') AS new, count(*) FILTER (w.change = 'escalated') AS escalated,
               count(*) FILTER (w.change = 'improved') AS improved,
               count(*) FILTER (w.change = 'unchanged') AS unchanged,
               count(*) FILTER (w.change = 'resolved') AS resolved,
               CAST(r.counts ->> '$.cannot_assess' AS BIGINT) AS cannot_assess
        FROM run r LEFT JOIN worklist_row w USING (run_id)
        GROUP BY ALL ORDER BY r.as_of, r.run_id
        """,
        "One run: patients on its worklist by priority, what changed, who could not be assessed.",
    ),
    "review_time": (
        """
        WITH shown AS (
            SELECT w.patient_id, w.run_id AS first_run_id, w.priority AS first_priority, r.started_at AS first_shown_at,
                   lead(r.started_at) OVER (PARTITION BY w.patient_id ORDER BY r.started_at, r.run_id) AS next_shown_at
            FROM worklist_row w JOIN run r USING (run_id) WHERE w.change = 'new'
        )
        SELECT s.patient_id, s.first_run_id, s.first_priority, s.first_shown_at, min(v."at") AS first_decision_at,
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
                   count(DISTINCT s.patient_id) AS suspected
            FROM drug_suspect s JOIN episode e USING (episode_id)
            WHERE e.ended_at IS NULL AND s.category IN ('likely', 'possible', 'expected') GROUP BY s.ingredient
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
