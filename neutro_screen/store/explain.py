"""One patient, every stage: rows received, values chosen, conclusions."""

from typing import Final

from duckdb import DuckDBPyConnection

from neutro_screen.errors import ConfigurationError
from neutro_screen.store.rows import read_table
from neutro_screen.store.views import PERSON

#: What a line of a medication list was read as: the drugs that it names, or that nobody knows its name.
_READ_AS: Final = (
    "coalesce((SELECT string_agg(coalesce(ingredient, CASE matched_by WHEN 'unmatched' THEN 'not recognised' "
    "ELSE replace(matched_by, '_', ' ') END), ', ' ORDER BY ingredient) FROM drug_match AS named "
    "WHERE named.drug_name IS NOT DISTINCT FROM written.drug_name AND named.atc_code IS NOT DISTINCT FROM written.atc_code "
    "AND named.rxcui IS NOT DISTINCT FROM written.rxcui AND named.route IS NOT DISTINCT FROM written.route), "
    "'not recognised') AS read_as"
)
#: Section -> what is read, in the order in which a result is processed.
_SECTIONS: Final = {
    "status": "SELECT * FROM patient_status WHERE patient_id = $patient",
    "source_rows": "SELECT patient_id, specimen_id, collected_at, analyte, method, value_text, unit_text, value, comparator, unit, status, "
    f"lab, notes, source_file, source_row FROM lab_result WHERE patient_id IN {PERSON} "
    "ORDER BY collected_at, specimen_id, analyte, source_file, source_row",
    "refused_rows": 'SELECT collected_at, analyte, reason, "column", source_file, source_row FROM rejected_row '
    f"WHERE patient_id IN {PERSON} ORDER BY collected_at, analyte, source_file, source_row",
    "no_results": "SELECT collected_at, analyte, kind, source_file, source_row FROM no_result "
    f"WHERE patient_id IN {PERSON} ORDER BY collected_at, analyte, source_file, source_row",
    "anc": "SELECT * EXCLUDE (patient_id) FROM anc WHERE patient_id = $patient ORDER BY collected_at, specimen_id",
    "episodes": "SELECT * EXCLUDE (patient_id) FROM episode WHERE patient_id = $patient ORDER BY started_at",
    "flags": "SELECT rule_id, raised_at, reason, evidence, episode_id, run_id FROM flag WHERE patient_id = $patient "
    "ORDER BY raised_at, rule_id",
    "medications": f"SELECT drug_name, atc_code, start_date, end_date, start_as_sent, end_as_sent, route, dose, {_READ_AS} FROM medication AS written "
    f"WHERE patient_id IN {PERSON} ORDER BY start_date, drug_name",
    "falls": "SELECT * EXCLUDE (patient_id) FROM fall WHERE patient_id = $patient ORDER BY seen_at",
    "suspects": "SELECT * EXCLUDE (patient_id) FROM drug_suspect WHERE patient_id = $patient "
    "ORDER BY episode_id, leads_to_nadir DESC, fall_id, rank NULLS LAST, category, ingredient",
    "evidence": "SELECT * EXCLUDE (patient_id) FROM evidence WHERE patient_id = $patient ORDER BY episode_id, category, rule_id",
    "workup": "SELECT * EXCLUDE (patient_id) FROM workup_step WHERE patient_id = $patient ORDER BY episode_id, step",
    "cannot_assess": "SELECT reason, since, specimen_id FROM cannot_assess WHERE patient_id = $patient ORDER BY since",
    "worklist_history": "SELECT run_id, priority, change, reasons FROM worklist_row "
    f"WHERE patient_id IN {PERSON} ORDER BY run_id",
    "reviews": f'SELECT status, until, note, "by", "at" FROM review WHERE patient_id IN {PERSON} ORDER BY "at"',
    "merged_records": "SELECT patient_id, replaced_by, source_file, source_row, run_id FROM patient_merge "
    "WHERE survivor_id = $patient ORDER BY patient_id",
    "merged_into": "SELECT survivor_id, replaced_by, source_file, source_row, run_id FROM patient_merge "
    "WHERE patient_id = $patient",
}


def explain_patient(connection: DuckDBPyConnection, patient_id: str) -> dict[str, object]:
    """Every section as a list of rows (dicts), keyed by its name, and the id under ``patient_id``.

    Raises:
        ConfigurationError: the store knows nothing of such a patient.
    """
    sections: dict[str, object] = {"patient_id": patient_id}
    for name, query in _SECTIONS.items():
        rows = read_table(connection, query, {"patient": patient_id})
        sections[name] = rows.to_dicts()
    if not any(rows for name, rows in sections.items() if name != "patient_id"):
        raise ConfigurationError(
            "the store holds no row of such a patient", remedy="Check the identifier; leading zeros count."
        )
    return sections
