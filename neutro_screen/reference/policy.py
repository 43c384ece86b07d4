"""The numbers of the clinical rules, typed: ``policy.toml``, single values of which a user's file may override."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from neutro_screen.errors import ConfigurationError, ReferenceDataError, neighbour
from neutro_screen.private import is_stream
from neutro_screen.reference.policy_checks import (
    ENTRY_KEYS,
    Entry,
    PolicyEntryError,
    check_values,
    kept_from_firing,
    own_value,
)
from neutro_screen.reference.policy_sections import (
    AncRule,
    BacktestRule,
    ClozapineRule,
    ContextRule,
    CyclicRule,
    CytopeniaRule,
    DateRule,
    DecimalMarkRule,
    DriftRule,
    DrugRule,
    EpisodeRule,
    MixUpRule,
    NeutrophiliaRule,
    NoiseRule,
    RapidDeclineRule,
    Section,
    SilenceRule,
    SpecimenRule,
    TrendRule,
    TrueDeclineRule,
    UnitCheckRule,
    WorklistRule,
)


class Policy(Section):
    """All numbers of one policy. ``sha256`` names the values, wherever they came from."""

    version: str
    dates: DateRule
    specimen: SpecimenRule
    anc: AncRule
    unit_check: UnitCheckRule
    decimal_mark: DecimalMarkRule
    drift: DriftRule
    rpd_1: RapidDeclineRule
    rpd_2: RapidDeclineRule
    rpd_3: TrueDeclineRule
    rpd_4: NeutrophiliaRule
    episode: EpisodeRule
    noise: NoiseRule
    trend: TrendRule
    cyclic: CyclicRule
    context: ContextRule
    clozapine: ClozapineRule
    cytopenia: CytopeniaRule
    mix_up: MixUpRule
    worklist: WorklistRule
    drug: DrugRule
    silence: SilenceRule
    backtest: BacktestRule

    @property
    def sha256(self) -> str:
        """SHA-256 of the values in canonical JSON."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def load_policy(overrides: Path | None = None) -> Policy:
    """Read the built-in policy and a user's overrides on top of it.

    The file is TOML, or JSON as ``run.policy_values`` has it. An override is a value, or a table with ``value`` as in the
    built-in file, under the same section and name. A unit that it gives is converted into the built-in one.

    Raises:
        ReferenceDataError: a built-in entry has no value, unit or source.
        ConfigurationError: the user's file cannot be read, names an unknown entry or unit, or gives an impossible value
            or an impossible order of values.
    """
    return _loaded(overrides, _state_of(overrides))


def _state_of(path: Path | None) -> tuple[int, ...]:
    """What changes when a file is written again: a long-lived program must not go on with yesterday's numbers."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return ()
    return () if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _loaded(overrides: Path | None, state: tuple[int, ...]) -> Policy:
    return _overridden({} if overrides is None else _read(overrides), overrides.name if overrides else "policy.toml")


def policy_of_run(values: str | None) -> Policy:
    """The policy of a past run from ``run.policy_values``; the built-in one where a first version did not keep them.

    A number that this version has and that one had not is the built-in one; one that no rule reads any more is left out.

    Raises:
        ConfigurationError: the values are none of a policy.
    """
    if values is None:
        return load_policy()
    kept, builtin = json.loads(values), load_policy().model_dump()
    known = {
        section: {name: value for name, value in entries.items() if name in builtin[section]}
        if isinstance(entries, dict)
        else entries
        for section, entries in kept.items()
        if section in builtin
    }
    return _overridden(known, "run.policy_values")


def _overridden(own: Mapping[str, Any], where: str) -> Policy:
    """The built-in policy with a user's own entries on top."""
    builtin = _builtin()
    for section, name, entry in _entries(builtin):
        if not (isinstance(entry, dict) and entry.keys() >= ENTRY_KEYS):
            raise ReferenceDataError("entry without value, unit and source", where=f"policy.toml [{section}] {name}")
    known = _known_entries()
    chosen: dict[str, Any] = {"version": builtin["version"]}
    for section, name, entry in _entries(builtin):
        chosen.setdefault(section, {})[name] = entry["value"]
    try:
        chosen |= {name: value for name, value in own.items() if not isinstance(value, dict)}
        for section, name, given in _entries(own):
            chosen[section][name] = own_value(f"{section}.{name}", given, known)
        policy = Policy.model_validate(chosen)
        check_values(_numbers(policy), known)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        entry = ".".join(str(part) for part in first["loc"])
        raise _refusal(f"policy entry {entry}: {first['msg']}", where) from None
    except PolicyEntryError as fault:
        raise _refusal(f"policy entry {fault}", where) from None
    return policy


def policy_faults(policy: Policy) -> list[str]:
    """Rules that the numbers of a policy keep from firing, in words; none under the built-in policy."""
    return kept_from_firing(_numbers(policy), _known_entries())


def policy_entries() -> list[tuple[str, str, Any, str, str]]:
    """Every number of the built-in policy: section, name, value, unit, source."""
    return [
        (section, name, entry["value"], entry["unit"], entry["source"]) for section, name, entry in _entries(_builtin())
    ]


def _refusal(what: str, where: str) -> ConfigurationError:
    return ConfigurationError(what, where=where, remedy="Compare with the built-in policy.toml. Nothing was screened.")


def _read(path: Path) -> dict[str, Any]:
    if is_stream(path):
        raise ConfigurationError("policy is a named pipe or device, no file", where=path.name)
    try:
        text = path.read_text("utf-8")
        read = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"policy cannot be read ({error.strerror})", where=path.name, remedy=neighbour(path, "policy.toml")
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"policy cannot be read: {error}", where=path.name) from None
    if not isinstance(read, dict):
        raise ConfigurationError("policy holds no entries by name", where=path.name)
    return read


@cache
def _builtin() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("policy.toml").read_text("utf-8"))


def _known_entries() -> dict[str, Entry]:
    return {f"{section}.{name}": Entry(value, unit) for section, name, value, unit, _ in policy_entries()}


def _numbers(policy: Policy) -> dict[str, Any]:
    """Every value of a policy by ``section.name``."""
    return {f"{section}.{name}": value for section, name, value in _entries(policy.model_dump())}


def _entries(policy: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [
        (section, name, entry)
        for section, entries in policy.items()
        if isinstance(entries, dict)
        for name, entry in entries.items()
    ]
