"""A synthetic hospital with known truth, for demonstration, benchmarks and the measuring of the screen."""

from neutro_simulator.causes import CAUSES
from neutro_simulator.enriched import EnrichedHospital, simulate_enriched_hospital
from neutro_simulator.extract import simulate_extract
from neutro_simulator.hospital import Hospital, simulate_hospital, write_native
from neutro_simulator.myelosuppression import regimen_courses
from neutro_simulator.sample import sample_expectations, sample_hospital, sample_readme
from neutro_simulator.scale import simulate_labs_at_scale

__all__ = [
    "CAUSES",
    "EnrichedHospital",
    "Hospital",
    "regimen_courses",
    "sample_expectations",
    "sample_hospital",
    "sample_readme",
    "simulate_enriched_hospital",
    "simulate_extract",
    "simulate_hospital",
    "simulate_labs_at_scale",
    "write_native",
]
