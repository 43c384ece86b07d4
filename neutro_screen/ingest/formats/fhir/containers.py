"""Resources that contain others - Bundles, arrays, reports and panels - and the queries that open them."""

import json
from typing import Final

from neutro_screen.ingest.formats.fhir.structures import UNREAD, Structure

#: What an Observation inside a report takes from the report where it has no element of its own.
_FROM_REPORT: Final = (
    "subject",
    "effectiveDateTime",
    "effectiveInstant",
    "effectivePeriod",
    "effectiveTiming",
    "issued",
)
_TIMES: Final = tuple(name for name in _FROM_REPORT if name.startswith("effective"))
#: What is read of an entry of a Bundle.
ENTRY: Final[dict[str, Structure]] = {
    "resource": "JSON",
    "request": {"method": "VARCHAR", "url": "VARCHAR"},
    "response": {"lastModified": "VARCHAR"},
}
#: Resources that contain others.
CONTAINERS: Final = ("Bundle", "array", "DiagnosticReport")
#: The resources of a container: line (JSON), position, and the url where the container deletes one.
INSIDE: Final = {
    "Bundle": """
        SELECT source_row, position, entry -> '$.resource' AS line,
               CASE WHEN upper(entry ->> '$.request.method') = 'DELETE'
                    THEN coalesce(entry ->> '$.request.url', '') END AS deleted_url,
               entry ->> '$.response.lastModified' AS deleted_at
        FROM (SELECT source_row, unnest(json_extract(line, '$.entry[*]')) AS entry,
                     generate_subscripts(json_extract(line, '$.entry[*]'), 1)::BIGINT AS position FROM lines)
    """,
    "array": """
        SELECT source_row, unnest(json_extract(line, '$[*]')) AS line,
               generate_subscripts(json_extract(line, '$[*]'), 1)::BIGINT AS position, NULL::VARCHAR AS deleted_url, NULL::VARCHAR AS deleted_at FROM lines
    """,
    # A patch of nothing drops elements that are null; a time of its own keeps those of the report out. What a report or a panel
    # contains is withdrawn with it, and has no id that another resource could not have: that of the panel stands for it.
    "DiagnosticReport": f"""
        SELECT source_row, position, NULL::VARCHAR AS deleted_url, NULL::VARCHAR AS deleted_at,
               json_merge_patch(
                   json_merge_patch(
                       CASE WHEN coalesce({", ".join(f"observation ->> '$.{name}'" for name in _TIMES)}) IS NULL THEN report
                            ELSE json_merge_patch(report, '{json.dumps(dict.fromkeys(_TIMES))}') END,
                       json_merge_patch('{{}}', observation)),
                   json_merge_patch(
                       CASE WHEN line ->> '$.resourceType' = 'DiagnosticReport' THEN '{{"id": null}}'::JSON
                            ELSE json_object('id', line -> '$.id', 'meta', line -> '$.meta') END,
                       CASE WHEN line ->> '$.status' = 'entered-in-error' THEN '{{"status": "entered-in-error"}}'::JSON
                            ELSE '{{}}'::JSON END)) AS line
        FROM (SELECT source_row, line, unnest(json_extract(line, '$.contained[*]')) AS observation,
                     generate_subscripts(json_extract(line, '$.contained[*]'), 1)::BIGINT AS position,
                     json_object({", ".join(f"'{name}', line -> '$.{name}'" for name in _FROM_REPORT)}) AS report FROM lines)
        WHERE observation ->> '$.resourceType' = 'Observation' AND (
            line ->> '$.resourceType' = 'DiagnosticReport'
            OR list_contains(json_extract_string(line, '$.hasMember[*].reference'), '#' || (observation ->> '$.id')))
    """,
}
#: Observations that contain their members, their elements read already, in the form of a report. What a count is derived from is
#: no member.
PANELS: Final = f"""
    SELECT source_row, json_object('contained', contained::JSON, 'hasMember', "hasMember"::JSON, 'id', id, 'meta', meta::JSON, 'status', status, {
    ", ".join(f"'{name}', {name}" + ("::JSON" if UNREAD[name] == "JSON" else "") for name in _FROM_REPORT)
}) AS line FROM panels
"""
#: Of ``entries`` of the Bundles in ``lines``: those of histories that a newer version of the same resource makes void.
OLDER: Final = r"""
    WITH told AS (
        SELECT source_row, position, deleted_url IS NULL AS is_version,
               coalesce(regexp_extract(deleted_url, '([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})$'),
                        (line ->> '$.resourceType') || '/' || (line ->> '$.id')) AS url,
               TRY_CAST(coalesce(deleted_at, line ->> '$.meta.lastUpdated') AS TIMESTAMPTZ) AS told_at
        FROM entries WHERE source_row IN (SELECT source_row FROM lines WHERE line ->> '$.type' = 'history'))
    SELECT DISTINCT older.source_row, older.position, true AS is_older
    FROM told AS older JOIN told AS newer USING (source_row, url)
    WHERE newer.is_version
    AND CASE WHEN newer.told_at <> older.told_at THEN newer.told_at > older.told_at ELSE newer.position < older.position END
"""
