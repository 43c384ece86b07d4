"""A run, one module a step; ``run.py`` takes them in order."""
