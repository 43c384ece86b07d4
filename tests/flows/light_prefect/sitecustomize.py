"""Read by every Python that the flow tests start: Prefect without the grammars of a check that nothing here asks for.

jsonschema, which Prefect imports, builds 38 parsers of internationalised addresses (RFC 3987) where their library can be
imported: two thirds of Prefect's start, which the flow tests pay some forty times. Without the library it leaves the check out.
"""

import sys

sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
