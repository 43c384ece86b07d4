"""The causes: one function each, from a group of patients to their scenario. Numbers and sources: simulation.toml."""

from collections.abc import Callable

from neutro_simulator.causes.chemotherapy import chemotherapy
from neutro_simulator.causes.diseases import (
    autoimmune,
    b12_deficiency,
    congenital,
    cyclic,
    hiv,
    hypersplenism,
    leukaemia,
    mds,
    viral,
)
from neutro_simulator.causes.drug_reactions import antithyroid, beta_lactam, clozapine, rituximab, steroid_masked
from neutro_simulator.causes.without_neutropenia import (
    artefact,
    duffy_null,
    healthy,
    healthy_on_clozapine,
    infection_neutrophilia,
)
from neutro_simulator.scenario import Group, Scenario

CAUSES: dict[str, Callable[[Group], Scenario]] = {
    cause.__name__: cause
    for cause in (
        healthy,
        healthy_on_clozapine,
        infection_neutrophilia,
        artefact,
        duffy_null,
        chemotherapy,
        clozapine,
        antithyroid,
        beta_lactam,
        rituximab,
        viral,
        hiv,
        leukaemia,
        mds,
        b12_deficiency,
        autoimmune,
        cyclic,
        congenital,
        hypersplenism,
        steroid_masked,
    )
}

__all__ = ["CAUSES"]
