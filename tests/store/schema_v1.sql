-- The store of schema 1 as the first version made it (comments left out). Never edit: it is what stores in use look like.
CREATE TABLE schema_version (version INTEGER);
INSERT INTO schema_version VALUES (1);
CREATE TYPE severity AS ENUM ('normal', 'mild', 'moderate', 'severe', 'profound');
CREATE TYPE priority AS ENUM ('info', 'low', 'medium', 'high', 'critical');
CREATE TABLE "run" (
  "run_id" VARCHAR, "started_at" TIMESTAMP, "as_of" TIMESTAMP, "policy_version" VARCHAR, "policy_sha256" VARCHAR,
  "software_version" VARCHAR, "rows_in" BIGINT, "rows_accepted" BIGINT, "rows_rejected" BIGINT, "rows_no_result"
  BIGINT, "rows_duplicate" BIGINT, "rows_not_screened" BIGINT, "patients_touched" BIGINT, "data_kinds" VARCHAR,
  "counts" VARCHAR, "newest_result_at" TIMESTAMP, "status" VARCHAR
);
CREATE TABLE "source_file" (
  "run_id" VARCHAR, "name" VARCHAR, "kind" VARCHAR, "format" VARCHAR, "sha256" VARCHAR, "rows" BIGINT, "notes"
  VARCHAR, "first_collected_at" TIMESTAMP, "last_collected_at" TIMESTAMP
);
CREATE TABLE "lab_result" (
  "patient_id" VARCHAR, "specimen_id" VARCHAR, "collected_at" TIMESTAMP, "resulted_at" TIMESTAMP, "analyte" VARCHAR,
  "method" VARCHAR, "loinc" VARCHAR, "value" DOUBLE, "comparator" VARCHAR, "unit" VARCHAR, "value_text" VARCHAR,
  "unit_text" VARCHAR, "status" VARCHAR, "reference_low" DOUBLE, "reference_high" DOUBLE, "lab" VARCHAR, "notes"
  VARCHAR, "source_file" VARCHAR, "source_row" BIGINT, "run_id" VARCHAR
);
CREATE TABLE "contradicted_result" (
  "patient_id" VARCHAR, "specimen_id" VARCHAR, "collected_at" TIMESTAMP, "resulted_at" TIMESTAMP, "analyte" VARCHAR,
  "method" VARCHAR, "loinc" VARCHAR, "value" DOUBLE, "comparator" VARCHAR, "unit" VARCHAR, "value_text" VARCHAR,
  "unit_text" VARCHAR, "status" VARCHAR, "reference_low" DOUBLE, "reference_high" DOUBLE, "lab" VARCHAR, "notes"
  VARCHAR, "source_file" VARCHAR, "source_row" BIGINT, "run_id" VARCHAR
);
CREATE TABLE "rejected_row" (
  "patient_id" VARCHAR, "specimen_id" VARCHAR, "collected_at" TIMESTAMP, "analyte" VARCHAR, "reason" VARCHAR, "column"
  VARCHAR, "kind" VARCHAR, "scope" VARCHAR, "row" VARCHAR, "source_file" VARCHAR, "source_row" BIGINT, "run_id"
  VARCHAR
);
CREATE TABLE "no_result" (
  "patient_id" VARCHAR, "specimen_id" VARCHAR, "collected_at" TIMESTAMP, "analyte" VARCHAR, "kind" VARCHAR, "lab"
  VARCHAR, "source_file" VARCHAR, "source_row" BIGINT, "run_id" VARCHAR
);
CREATE TABLE "medication" (
  "patient_id" VARCHAR, "drug_name" VARCHAR, "atc_code" VARCHAR, "rxcui" VARCHAR, "start_date" DATE,
  "start_date_latest" DATE, "end_date" DATE, "route" VARCHAR, "dose" VARCHAR, "dose_unit" VARCHAR, "status" VARCHAR,
  "source_file" VARCHAR, "source_row" BIGINT, "run_id" VARCHAR
);
CREATE TABLE "patient" (
  "patient_id" VARCHAR, "birth_date" DATE, "sex" VARCHAR, "duffy_null" BOOLEAN, "ethnicity" VARCHAR, "source_file"
  VARCHAR, "source_row" BIGINT, "run_id" VARCHAR
);
CREATE TABLE "diagnosis" (
  "patient_id" VARCHAR, "code" VARCHAR, "system" VARCHAR, "date" DATE, "source_file" VARCHAR, "source_row" BIGINT,
  "run_id" VARCHAR
);
CREATE TABLE "event" (
  "patient_id" VARCHAR, "event" VARCHAR, "occurred_at" TIMESTAMP, "detail" VARCHAR, "source_file" VARCHAR,
  "source_row" BIGINT, "run_id" VARCHAR
);
CREATE TABLE "anc" (
  "patient_id" VARCHAR, "specimen_id" VARCHAR, "collected_at" TIMESTAMP, "anc_cells_per_ul" DOUBLE, "anc_comparator"
  VARCHAR, "anc_method" VARCHAR, "anc_low" DOUBLE, "anc_high" DOUBLE, "severity" severity, "severity_in_context"
  VARCHAR, "ctcae_v4_grade" TINYINT, "ctcae_v5_grade" TINYINT, "ctcae_v6_grade" TINYINT, "daids_grade" TINYINT,
  "baseline_cells_per_ul" DOUBLE, "trend" VARCHAR, "slope_log2_per_week" DOUBLE, "slope_low" DOUBLE, "slope_high"
  DOUBLE, "days_to_severe" DOUBLE, "days_to_severe_low" DOUBLE, "days_to_severe_high" DOUBLE, "significant_fall"
  BOOLEAN, "rapid_decline" BOOLEAN, "decline" VARCHAR, "context_reason" VARCHAR, "cytopenia" VARCHAR, "clozapine_step"
  VARCHAR, "next_anc_due" TIMESTAMP, "notes" VARCHAR, "anc_reported" DOUBLE, "anc_segs_and_bands" DOUBLE,
  "anc_from_percent" DOUBLE, "anc_manual" DOUBLE, "wbc_cells_per_ul" DOUBLE, "reference_low" DOUBLE, "resulted_at"
  TIMESTAMP, "lab" VARCHAR
);
CREATE TABLE "episode" (
  "episode_id" VARCHAR, "patient_id" VARCHAR, "started_at" TIMESTAMP, "ended_at" TIMESTAMP, "last_low_at" TIMESTAMP,
  "nadir_cells_per_ul" DOUBLE, "nadir_comparator" VARCHAR, "nadir_at" TIMESTAMP, "worst_severity" severity,
  "current_severity" severity, "duration_days" DOUBLE, "n_results" BIGINT, "days_mild" DOUBLE, "days_moderate" DOUBLE,
  "days_severe" DOUBLE, "days_profound" DOUBLE, "last_normal_at" TIMESTAMP, "last_normal_cells_per_ul" DOUBLE,
  "recovery_days" DOUBLE, "is_persistent" BOOLEAN, "is_severe_chronic" BOOLEAN, "is_recurrent" BOOLEAN,
  "is_prolonged_profound" BOOLEAN, "is_cyclic" BOOLEAN, "cycle_days" DOUBLE, "is_isolated_low" BOOLEAN, "status"
  VARCHAR, "priority" priority, "reasons" VARCHAR, "reason_codes" VARCHAR, "notes" VARCHAR
);
CREATE TABLE "flag" (
  "patient_id" VARCHAR, "specimen_id" VARCHAR, "episode_id" VARCHAR, "rule_id" VARCHAR, "raised_at" TIMESTAMP,
  "reason" VARCHAR, "evidence" VARCHAR, "run_id" VARCHAR
);
CREATE TABLE "drug_suspect" (
  "episode_id" VARCHAR, "patient_id" VARCHAR, "ingredient" VARCHAR, "drug_class" VARCHAR, "category" VARCHAR, "score"
  SMALLINT, "rank" SMALLINT, "first_exposure" DATE, "last_exposure" DATE, "reason" VARCHAR, "items" VARCHAR
);
CREATE TABLE "evidence" (
  "episode_id" VARCHAR, "patient_id" VARCHAR, "category" VARCHAR, "rule_id" VARCHAR, "finding" VARCHAR, "strength"
  VARCHAR, "source" VARCHAR
);
CREATE TABLE "workup_step" (
  "episode_id" VARCHAR, "patient_id" VARCHAR, "step" VARCHAR, "state" VARCHAR, "done_on" DATE, "due_on" TIMESTAMP
);
CREATE TABLE "patient_summary" (
  "patient_id" VARCHAR, "worst_severity" severity, "current_severity" severity, "last_anc_cells_per_ul" DOUBLE,
  "last_anc_comparator" VARCHAR, "last_collected_at" TIMESTAMP, "nadir_cells_per_ul" DOUBLE, "nadir_comparator"
  VARCHAR, "has_rapid_decline" BOOLEAN, "is_persistent" BOOLEAN, "is_cyclic" BOOLEAN, "top_suspect" VARCHAR,
  "priority" priority, "reasons" VARCHAR, "reason_codes" VARCHAR, "episode_id" VARCHAR, "episode_status" VARCHAR,
  "next_step" VARCHAR, "next_step_due" TIMESTAMP, "fall_pct" DOUBLE
);
CREATE TABLE "unassessable" (
  "patient_id" VARCHAR, "reason" VARCHAR, "since" TIMESTAMP, "specimen_id" VARCHAR
);
CREATE TABLE "worklist_row" (
  "run_id" VARCHAR, "patient_id" VARCHAR, "priority" priority, "previous_priority" priority, "change" VARCHAR,
  "reasons" VARCHAR, "reason_codes" VARCHAR, "current_severity" severity, "worst_severity" severity,
  "last_anc_cells_per_ul" DOUBLE, "last_anc_comparator" VARCHAR, "last_collected_at" TIMESTAMP, "nadir_cells_per_ul"
  DOUBLE, "fall_pct" DOUBLE, "top_suspect" VARCHAR, "next_step" VARCHAR, "next_step_due" TIMESTAMP, "episode_id"
  VARCHAR, "episode_status" VARCHAR
);
CREATE TABLE "quality_count" (
  "run_id" VARCHAR, "source_file" VARCHAR, "lab" VARCHAR, "analyte" VARCHAR, "disposition" VARCHAR, "reason" VARCHAR,
  "rows" BIGINT
);
CREATE TABLE "review" (
  "patient_id" VARCHAR, "status" VARCHAR, "until" DATE, "note" VARCHAR, "by" VARCHAR, "at" TIMESTAMP, "priority"
  priority, "nadir_cells_per_ul" DOUBLE
);
CREATE VIEW "patient_status" AS SELECT * FROM patient_summary;
CREATE VIEW "cannot_assess" AS SELECT patient_id, reason, since, specimen_id FROM unassessable;
CREATE VIEW "worklist_change" AS SELECT run_id, patient_id, change, previous_priority, priority, reasons FROM worklist_row ORDER BY run_id, priority DESC, patient_id;
