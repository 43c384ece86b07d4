"""The run under Prefect: tasks and serving. ``flows/`` imports it before Prefect."""

from neutro_screen.left_out import leave_out

# jsonschema, which Prefect imports, builds 38 parsers of internationalised addresses (RFC 3987) where their library is
# installed: two thirds of Prefect's start. Without it that check is left out, and no parameter of a flow is such an address.
leave_out("rfc3987_syntax")
