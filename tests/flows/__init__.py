"""Tests of the flows: a package of their own, whose Prefect server ends when its last test does."""
