"""Settings of every test: no example fails because the machine was busy, and two workers share two cores."""

import os

from hypothesis import settings

# Results are the same whatever the number of threads; with two each, two workers wait for one another (polars reads it once).
os.environ.setdefault("POLARS_MAX_THREADS", "1")

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
