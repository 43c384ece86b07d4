"""One count a specimen, its severity and grades (RULES.md sections 1 and 2)."""
