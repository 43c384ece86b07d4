"""Work-up, priority and order of the worklist (RULES.md sections 6 and 7)."""
