"""The count over time: episodes, trend, decline (RULES.md sections 3 and 4)."""
