-- Questions of a laboratory and a pharmacovigilance team, each one query on the store. Source of docs/queries.md.

-- # The worklist

-- ## Who needs a decision first, and what is the next step?
-- `worklist` holds the open rows of the latest run; whoever is snoozed or dismissed is not in it.
SELECT patient_id, priority, change, last_anc_comparator AS "<", last_anc_cells_per_ul AS anc, next_step, next_step_due
FROM worklist
WHERE is_urgent
ORDER BY priority_rank DESC, last_anc_cells_per_ul, patient_id
LIMIT 8;

-- ## What changed since the night before?
SELECT patient_id, change, previous_priority, priority, reasons
FROM worklist_change
WHERE run_id = (SELECT max(run_id) FROM run) AND change <> 'unchanged'
ORDER BY priority_rank DESC, change, patient_id;

-- ## Whose count cannot be told, and why?
-- They are not normal; they are unknown until a usable result arrives.
SELECT patient_id, reason, since FROM cannot_assess ORDER BY since DESC, patient_id, reason;

-- ## Which steps of a work-up are overdue, and by how many hours?
-- Hours before the index time of the latest run, not before now. A step whose data the extract does not hold is
-- *unknown* and never overdue.
SELECT w.patient_id, w.step, w.due_on, date_diff('hour', w.due_on, r.as_of) AS hours_overdue
FROM workup_step w, (SELECT max(as_of) AS as_of FROM run) r
WHERE w.state = 'overdue'
ORDER BY hours_overdue DESC, w.patient_id, w.step
LIMIT 10;

-- ## How long does it take from first shown to first decision?
-- `review_time` has one row for each stay of a patient on the worklist; without a decision its hours are null.
SELECT first_priority, count(*) AS shown, count(first_decision_at) AS decided,
       round(median(hours_to_review), 1) AS median_hours, round(max(hours_to_review), 1) AS longest_hours
FROM review_time
GROUP BY first_priority, priority_rank
ORDER BY priority_rank DESC;

-- ## Which urgent patients has nobody looked at yet?
-- Rank 4 is critical; `w.is_urgent` would take the high ones as well.
SELECT t.patient_id, w.priority, t.first_shown_at, w.reasons
FROM review_time t JOIN worklist w USING (patient_id)
WHERE t.first_decision_at IS NULL AND w.priority_rank = 4
ORDER BY t.first_shown_at, t.patient_id;

-- ## Who was snoozed or dismissed and came back because it got worse?
SELECT v.patient_id, v.status, v.until, v.note, v.priority AS then_priority, w.priority AS now_priority
FROM (FROM review QUALIFY row_number() OVER (PARTITION BY patient_id ORDER BY "at" DESC) = 1) v
JOIN worklist w USING (patient_id)
WHERE v.status IN ('snoozed', 'dismissed')
  AND (w.priority > v.priority OR w.nadir_cells_per_ul < v.nadir_cells_per_ul)
ORDER BY w.priority_rank DESC, v.patient_id;

-- ## How does the worklist develop from night to night?
SELECT run_id, on_worklist, critical, high, medium, new, escalated, resolved, cannot_assess
FROM run_trend ORDER BY as_of;

-- # Laboratory

-- ## Which rows were not used, by laboratory and reason?
SELECT lab, disposition, reason, sum("rows") AS "rows"
FROM data_quality
WHERE run_id = (SELECT max(run_id) FROM run) AND disposition NOT IN ('accepted', 'duplicate', 'unmatched_drug')
GROUP BY ALL
ORDER BY "rows" DESC, lab, disposition, reason;

-- ## How long do severe counts take from the needle to the result?
SELECT lab, count(*) AS severe_counts,
       round(median(date_diff('minute', collected_at, resulted_at) / 60.0), 1) AS median_hours,
       round(max(date_diff('minute', collected_at, resulted_at) / 60.0), 1) AS longest_hours
FROM anc_ranked
WHERE is_severe AND resulted_at IS NOT NULL
GROUP BY lab
ORDER BY lab;

-- ## By which route were the counts obtained, and how many are only an upper bound?
SELECT anc_method, count(*) AS counts, count(*) FILTER (is_severe) AS severe,
       count(*) FILTER (anc_comparator IS NOT NULL) AS with_comparator
FROM anc_ranked
GROUP BY anc_method
ORDER BY counts DESC, anc_method;

-- ## Which results were corrected, retracted or are still preliminary?
SELECT patient_id, specimen_id, analyte, value_text, status, lab, source_file, source_row
FROM lab_result
WHERE status <> 'final'
ORDER BY patient_id, specimen_id, analyte, source_file, source_row;

-- ## How many neutropenic patients had platelets or haemoglobin low as well?
-- `cytopenia` is only told where the count is low; *unknown* says that the other lines were not reported.
SELECT cytopenia, count(DISTINCT patient_id) AS patients, min(anc_cells_per_ul) AS lowest_anc
FROM anc_ranked
WHERE severity_rank > 0 AND cytopenia IS NOT NULL
GROUP BY cytopenia
ORDER BY patients DESC, cytopenia;

-- # Pharmacovigilance

-- ## Which drugs are suspected most often, and how many screened patients take them?
-- The denominator is who is in the store with the drug on the list. It is no incidence, and a suspicion is no cause.
SELECT ingredient, likely, possible, expected, exposed,
       round(100.0 * (likely + possible) / exposed, 1) AS suspected_pct
FROM suspect_frequency
ORDER BY likely DESC, possible DESC, expected DESC, ingredient;

-- ## How long after the first dose did the count fall?
SELECT s.ingredient, s.category, s.patient_id, s.first_exposure,
       date_diff('day', s.first_exposure, CAST(e.started_at AS DATE)) AS days_to_first_low,
       e.nadir_cells_per_ul AS nadir
FROM drug_suspect s JOIN episode e USING (episode_id)
WHERE s.category IN ('likely', 'possible')
ORDER BY s.ingredient, s.patient_id, s.first_exposure;

-- ## In whom did the count recover after the suspect was stopped?
SELECT s.patient_id, s.ingredient, s.category, s.last_exposure, e.ended_at,
       date_diff('day', s.last_exposure, CAST(e.ended_at AS DATE)) AS days_to_recovery
FROM drug_suspect s JOIN episode e USING (episode_id)
WHERE s.last_exposure IS NOT NULL AND e.ended_at IS NOT NULL AND s.category <> 'excluded'
ORDER BY days_to_recovery, s.patient_id, s.ingredient;

-- ## Who takes clozapine, at which step, and when is the next count due?
SELECT patient_id, arg_max(anc_cells_per_ul, collected_at) AS anc, max(collected_at) AS collected_at,
       arg_max(clozapine_step, collected_at) AS step, arg_max(next_anc_due, collected_at) AS next_anc_due
FROM anc
WHERE clozapine_step IS NOT NULL
GROUP BY patient_id
ORDER BY next_anc_due, patient_id;

-- ## From which CTCAE grade to which: the shift table
-- First grade on file against the worst one, one patient once.
SELECT first_grade, count(*) FILTER (worst = 0) AS "worst 0", count(*) FILTER (worst = 1) AS "worst 1",
       count(*) FILTER (worst = 2) AS "worst 2", count(*) FILTER (worst = 3) AS "worst 3",
       count(*) FILTER (worst = 4) AS "worst 4"
FROM (SELECT patient_id, arg_min(ctcae_v5_grade, collected_at) AS first_grade, max(ctcae_v5_grade) AS worst
      FROM anc WHERE ctcae_v5_grade IS NOT NULL GROUP BY patient_id)
GROUP BY first_grade
ORDER BY first_grade;

-- ## How long do episodes last, by their worst severity?
SELECT worst_severity, count(*) AS episodes, count(ended_at) AS ended,
       round(median(duration_days) FILTER (ended_at IS NOT NULL), 1) AS median_days_of_ended,
       min(nadir_cells_per_ul) AS lowest_nadir
FROM episode_ranked
GROUP BY worst_severity, severity_rank
ORDER BY severity_rank DESC;

-- ## Who will be below 500 soon, if the count goes on falling like this?
SELECT patient_id, collected_at, anc_cells_per_ul AS anc, round(slope_log2_per_week, 2) AS log2_per_week,
       round(days_to_severe, 1) AS days, round(days_to_severe_low, 1) AS from_days, round(days_to_severe_high, 1) AS to_days
FROM anc
WHERE days_to_severe IS NOT NULL
ORDER BY collected_at DESC, days_to_severe, patient_id
LIMIT 5;

-- ## Which names on the medication lists name no listed drug?
-- *known_not_a_cause*: recognised, and no cause of neutropenia. *unmatched*: no table knows the name, so it cannot be
-- suspected; these are worth a look.
SELECT d.drug_name, d.matched_by, count(*) AS lines, count(DISTINCT m.patient_id) AS patients
FROM drug_match d JOIN medication m ON m.drug_name IS NOT DISTINCT FROM d.drug_name
     AND m.atc_code IS NOT DISTINCT FROM d.atc_code AND m.rxcui IS NOT DISTINCT FROM d.rxcui
     AND m.route IS NOT DISTINCT FROM d.route
WHERE d.ingredient IS NULL
GROUP BY ALL
ORDER BY lines DESC, d.drug_name;

-- ## Which rules fired, how often, and in how many patients?
SELECT rule_id, count(*) AS flags, count(DISTINCT patient_id) AS patients, min(reason) AS for_example
FROM flag
GROUP BY rule_id
ORDER BY flags DESC, rule_id;
