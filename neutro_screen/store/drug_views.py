"""The store's views for pharmacovigilance: exposures, the signal of the store's own population, the listing of cases (DRG-8)."""

from collections.abc import Mapping
from typing import Final

#: z of a two-sided interval of 95 %.
_Z: Final = 1.96

#: View -> its query and what one row of it is.
DRUG_VIEWS: Final[Mapping[str, tuple[str, str]]] = {
    "exposure": (
        "SELECT patient_id, ingredient, started_on, ended_on FROM drug_course "
        "ORDER BY patient_id, ingredient, started_on",
        "One course of one listed drug of one patient, by the medication lists; null = still given.",
    ),
    "drug_signal": (
        f"""
        WITH counted AS (SELECT DISTINCT patient_id FROM anc),
        exposed AS (
            SELECT DISTINCT c.ingredient, c.patient_id FROM drug_course c SEMI JOIN counted USING (patient_id)
            WHERE c.is_cause AND c.part_of IS NULL
        ),
        fell AS (SELECT DISTINCT ingredient, patient_id FROM drug_suspect WHERE category <> 'excluded'),
        person AS (
            SELECT patient_id, max(f.patient_id IS NOT NULL) AS has_fallen
            FROM exposed e LEFT JOIN fell f USING (ingredient, patient_id) GROUP BY patient_id
        ),
        total AS (SELECT count(*) AS n, count(*) FILTER (has_fallen) AS n_fallen FROM person),
        drug AS (
            SELECT e.ingredient, count(*) AS exposed, count(f.patient_id) AS falls,
                   count(*) FILTER (p.has_fallen) AS any_fall
            FROM exposed e JOIN person p USING (patient_id) LEFT JOIN fell f USING (ingredient, patient_id)
            GROUP BY e.ingredient
        ),
        share AS (
            SELECT d.ingredient, d.exposed, d.falls, t.n - d.exposed AS others, t.n_fallen - d.any_fall AS other_falls,
                   (d.falls + 0.5) / (d.exposed + 1) AS of_drug,
                   (t.n_fallen - d.any_fall + 0.5) / (t.n - d.exposed + 1) AS of_others,
                   sqrt(1 / (d.falls + 0.5) - 1.0 / (d.exposed + 1)
                        + 1 / (t.n_fallen - d.any_fall + 0.5) - 1.0 / (t.n - d.exposed + 1)) AS spread
            FROM drug d CROSS JOIN total t
        )
        SELECT ingredient, exposed, falls, round(1000.0 * falls / exposed, 1) AS per_1000, others, other_falls,
               CASE WHEN others > 0 THEN round(of_drug / of_others, 2) END AS ratio,
               CASE WHEN others > 0 THEN round(of_drug / of_others * exp(-{_Z} * spread), 2) END AS low,
               CASE WHEN others > 0 THEN round(of_drug / of_others * exp({_Z} * spread), 2) END AS high
        FROM share ORDER BY low DESC NULLS LAST, ingredient
        """,
        "One listed drug of the store: patients exposed, those with a fall while exposed, against patients on the other "
        "listed drugs. For pharmacovigilance: no proof of a cause, never evidence for one patient (DRG-8).",
    ),
    "case_listing": (
        """
        SELECT s.patient_id, s.episode_id, s.fall_id, s.ingredient, s.drug_class, s.category, s.score, s.rank,
               s.first_exposure AS started_on, s.last_exposure AS stopped_on,
               CAST(f.seen_at AS DATE) AS fell_on, date_diff('day', s.first_exposure, CAST(f.seen_at AS DATE)) AS days_to_fall,
               f.from_cells_per_ul, f.to_cells_per_ul, f.to_comparator, CAST(f.reached_at AS DATE) AS lowest_on,
               CAST(f.back_at AS DATE) AS back_on,
               CASE WHEN f.back_at IS NULL THEN 'no_recovery_seen'
                    WHEN s.last_exposure < CAST(f.back_at AS DATE) THEN 'recovered_after_stop'
                    ELSE 'recovered_while_given' END AS outcome,
               e.worst_severity, enum_code(e.worst_severity) AS severity_rank,
               e.worst_severity >= 'severe'::severity AS is_severe,
               CAST(s.items ->> '$.naranjo.total' AS INTEGER) AS naranjo_total,
               s.items ->> '$.naranjo.category' AS naranjo_category,
               array_to_string(list_filter(json_keys(s.items, '$.naranjo'), lambda k: regexp_matches(k, '^[0-9]')
                   AND json_extract_string(s.items, '$.naranjo.' || '"' || k || '"') IS NOT NULL), ', ') AS naranjo_known,
               array_to_string(list_filter(json_keys(s.items, '$.naranjo'), lambda k: regexp_matches(k, '^[0-9]')
                   AND json_extract_string(s.items, '$.naranjo.' || '"' || k || '"') IS NULL), ', ') AS naranjo_open,
               s.items ->> '$.who_umc' AS who_umc, s.reason
        FROM drug_suspect s JOIN fall f USING (fall_id) LEFT JOIN episode e ON e.episode_id = s.episode_id
        WHERE s.category IN ('likely', 'possible', 'expected', 'beyond_expected')
        ORDER BY s.patient_id, f.seen_at, s.rank, s.ingredient
        """,
        "One suspect of one fall, for a case report: dates, course, category, and the items of Naranjo that the data answer "
        "and that a reader has to.",
    ),
}
