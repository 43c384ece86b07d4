"""The causes: one function each, from a group of patients to their scenario. Numbers and sources: simulation.toml."""

from collections.abc import Callable

from neutro_simulator.causes.chemotherapy import chemotherapy, chemotherapy_beyond
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
from neutro_simulator.causes.idiosyncratic import interaction, late_immune, late_reaction, rival_stopped
from neutro_simulator.causes.second_falls import (
    duffy_null_on_clozapine,
    graves_then_antithyroid,
    mds_on_azacitidine,
    two_drug_falls,
    viral_on_mild,
)
from neutro_simulator.causes.without_neutropenia import (
    artefact,
    duffy_null,
    healthy,
    healthy_on_clozapine,
    infection_neutrophilia,
    withdrawn_count,
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
        graves_then_antithyroid,
        duffy_null_on_clozapine,
        mds_on_azacitidine,
        two_drug_falls,
        viral_on_mild,
        rival_stopped,
        interaction,
        late_reaction,
        late_immune,
        chemotherapy_beyond,
        withdrawn_count,
    )
}

__all__ = ["CAUSES"]
