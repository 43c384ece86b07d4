"""Flows for Prefect. What its start is to leave out is said before it is imported."""

from neutro_screen import orchestration as orchestration
