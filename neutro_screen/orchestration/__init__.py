"""The run under Prefect: tasks and serving. ``flows/`` imports it."""
