"""The factors of the unit table, derived a second time by a UCUM library where the spelling is UCUM."""

import pytest

from neutro_screen.reference import load_reference

ucumvert = pytest.importorskip("ucumvert", reason="the extra [dev] brings ucumvert, which re-derives the unit factors")

CANONICAL = {"count": "10*9/L", "mass": "g/dL", "volume": "fL", "percent": "%"}
#: NFKC turned the superscript of 10³ and 10⁹ into plain digits: the table knows, UCUM reads a hundred and three.
SUPERSCRIPTS_LOST = {"103/ul", "109/l"}


def test_every_factor_that_ucum_can_derive_is_the_one_of_the_table() -> None:
    registry = ucumvert.PintUcumRegistry()
    derived: dict[str, tuple[float, float]] = {}
    units = load_reference().unit_factors
    for unit in units.filter(units["decision"] != "refuse").iter_rows(named=True):
        if unit["dimension"] not in CANONICAL or unit["match_key"] in SUPERSCRIPTS_LOST:
            continue
        try:
            told = (1 * registry.from_ucum(unit["match_key"])).to(registry.from_ucum(CANONICAL[unit["dimension"]]))
        except Exception:  # noqa: S112  (no UCUM, or UCUM of another kind of quantity: the spelling is data)
            continue
        derived[unit["match_key"]] = (told.magnitude, unit["factor"])
    assert len(derived) >= 30
    assert {key: pair for key, pair in derived.items() if pair[0] != pytest.approx(pair[1], rel=1e-9)} == {}


@pytest.mark.parametrize("key", ["10-3/ul", "10*12/l", "/pl", "mmol/l"])
def test_what_reads_as_ucum_and_cannot_be_meant_is_refused(key: str) -> None:
    units = load_reference().unit_factors
    row = units.filter((units["dimension"] == "count") & (units["match_key"] == key)).to_dicts()
    assert all(unit["decision"] == "refuse" for unit in row)
