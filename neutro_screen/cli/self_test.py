"""The sample hospital of ``doctor --self-test``: the command hands it to the test, which does not know the simulator."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl

from neutro_screen.admin.self_test import SampleHospital
from neutro_screen.admin.self_test.hospital import Paths, SampleForm
from neutro_simulator import Hospital, sample_expectations, sample_hospital
from neutro_simulator.formats import FORMS, Form, hospital_of_forms
from neutro_simulator.formats.native import write_native

_AS_OF: Final = datetime.fromisoformat("2026-03-01")


def sample() -> SampleHospital:
    """The teaching cases: whole in the native layout, and what every format can hold of them in each."""
    common = hospital_of_forms(_AS_OF, finals_only=True)
    # No other format than the native layout has a recorded Duffy-null phenotype.
    common = replace(common, patients=common.patients.with_columns(duffy_null=pl.lit(None, pl.String)))
    return SampleHospital(
        as_of=_AS_OF,
        whole=_form(Form("whole", write_native), sample_hospital(_AS_OF)),
        forms=[_form(form, common) for form in FORMS],
        answers=sample_expectations(),
    )


def _form(form: Form, of: Hospital) -> SampleForm:
    def write(folder: Path) -> Paths:
        return form.write(of, folder)

    return SampleForm(form.name, write, form.needs)
