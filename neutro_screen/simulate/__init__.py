"""A synthetic hospital with known truth, for demonstration, benchmarks and the measuring of the screen."""

from neutro_screen.simulate.causes import CAUSES
from neutro_screen.simulate.hospital import Hospital, simulate_hospital, write_native
from neutro_screen.simulate.myelosuppression import regimen_courses
from neutro_screen.simulate.sample import sample_expectations, sample_hospital, sample_readme
from neutro_screen.simulate.scale import simulate_labs_at_scale

__all__ = [
    "CAUSES",
    "Hospital",
    "regimen_courses",
    "sample_expectations",
    "sample_hospital",
    "sample_readme",
    "simulate_hospital",
    "simulate_labs_at_scale",
    "write_native",
]
