"""Decisions in the page: by keyboard, offline, saved as one file, applied by the command, shown in the next report."""

import json
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from playwright.sync_api import Page, expect

from neutro_screen.cli.console import worklist_text
from neutro_screen.report import write_reports
from neutro_screen.store.file import lock, reading
from neutro_screen.store.review import current_worklist, review_from_file

AXE = Path(__file__).parent / "assets" / "axe.min.js"
Opened = Callable[..., Page]
Reports = Callable[[Path], Path]
Crowd = Callable[[Path, Path, int], Path]


@pytest.fixture
def page(opened: Opened, reports: Reports, plain_store: Path) -> Page:
    """The report of the sample hospital before anybody has decided."""
    return opened(reports(plain_store))


def saved(page: Page, folder: Path) -> dict[str, Any]:
    """What the button saves."""
    with page.expect_download() as download:
        page.locator("#save").click()
    file = folder / download.value.suggested_filename
    download.value.save_as(file)
    return {"file": file, **json.loads(file.read_text("utf-8"))}


def listed(page: Page, place: int) -> str:
    return page.locator("#list tbody tr[data-key] .who bdi").nth(place).inner_text()


def test_thirty_patients_are_decided_by_keyboard_saved_applied_and_shown(
    opened: Opened, plain_store: Path, tmp_path: Path, crowd: Crowd
) -> None:
    store = crowd(tmp_path / "ward.duckdb", plain_store, 40)
    page = opened(write_reports(store, tmp_path / "before"))
    page.fill("#initials", "AB")
    page.locator("#detail").focus()
    began = time.perf_counter()
    for number in range(30):
        page.keyboard.press("asd"[number % 3])
        page.keyboard.press("1")
        page.keyboard.press("n")
    assert time.perf_counter() - began < 90
    expect(page.locator("#save")).to_have_text("Save decisions (30)")
    expect(page.locator("#decided-count")).to_contain_text("not saved yet")
    told = saved(page, tmp_path)
    expect(page.locator("#decided-count")).to_contain_text("all saved")
    assert len({one["patient_id"] for one in told["decisions"]}) == 30
    assert {one["by"] for one in told["decisions"]} == {"AB"}
    assert [one["status"] for one in told["decisions"][:3]] == ["acknowledged", "snoozed", "dismissed"]
    assert [bool(one["until"]) for one in told["decisions"][:3]] == [False, True, False]
    worsened = told["decisions"][2]["patient_id"]
    with duckdb.connect(str(store)) as connection:
        connection.execute(
            "UPDATE worklist_entry SET priority = 'critical', nadir_cells_per_ul = 10 WHERE patient_id = ?", [worsened]
        )
    with lock(store):
        applied = review_from_file(store, told["file"], at=datetime.now(UTC).replace(tzinfo=None))
    assert (applied.recorded, [one.patient_id for one in applied.refused]) == (29, [worsened])
    after = opened(write_reports(store, tmp_path / "after"))
    expect(after.locator("#list tbody tr[data-reviewed]")).to_have_count(10)  # the acknowledged stay on the list
    after.get_by_role("button", name=re.compile("Set aside")).click()
    expect(after.locator("#list tbody tr[data-key]")).to_have_count(19)
    expect(after.locator("#list tbody .chip", has_text="snoozed until").first).to_be_visible()
    after.get_by_role("button", name="All", exact=True).click()
    expect(after.locator(f"#list tbody tr[data-key]:has-text('{worsened}') .chip", has_text="dismissed")).to_have_count(
        0
    )


def test_the_file_says_what_was_seen_and_why(page: Page, tmp_path: Path, plain_store: Path) -> None:
    first = listed(page, 0)
    page.get_by_role("button", name="Snooze").click()
    page.fill("#until", "2030-05-01")
    page.fill("#note", "call Monday")
    page.get_by_role("button", name="clinic review booked").click()
    expect(page.locator("#decide-state")).to_have_text(
        "Decided here: snoozed until 1 May 2030, clinic review booked; call Monday."
    )
    expect(page.locator("#list tr.picked .chip.here")).to_contain_text("snoozed")
    page.locator("#save").click()
    expect(page.locator("#initials")).to_be_focused()
    expect(page.locator("#said")).to_contain_text("Initials, please")
    page.keyboard.type("CD")
    told = saved(page, tmp_path)
    (decision,) = told["decisions"]
    with duckdb.connect(str(plain_store), read_only=True) as connection:
        seen = connection.execute(
            "SELECT priority, nadir_cells_per_ul FROM worklist WHERE patient_id = ?", [first]
        ).fetchone()
    assert seen is not None
    assert decision | {"at": ""} == {
        "patient_id": first,
        "status": "snoozed",
        "until": "2030-05-01",
        "note": "clinic review booked; call Monday",
        "by": "CD",
        "priority": seen[0],
        "nadir_cells_per_ul": seen[1],
        "at": "",
    }
    assert re.fullmatch(r"decisions_[\w-]+\.json", told["file"].name)
    assert first not in told["file"].name


def test_a_decision_can_be_taken_back_and_needs_a_reason(page: Page) -> None:
    page.locator("#detail").focus()
    page.keyboard.press("d")
    expect(page.get_by_role("group", name="Reason")).to_be_visible()
    page.get_by_role("button", name="Decide with this note").click()
    expect(page.locator("#decide-state")).to_have_text("Choose a reason, or write a note.")
    page.keyboard.type("seen with the haematologist")
    page.keyboard.press("Enter")
    expect(page.locator("#save")).to_have_text("Save decisions (1)")
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    expect(page.locator("#save")).to_have_text("Save decisions (0)")
    expect(page.locator("#save")).to_be_disabled()
    expect(page.locator("#list .chip.here")).to_have_count(0)


def test_letters_in_a_field_or_with_the_keys_off_decide_nothing(page: Page) -> None:
    page.locator("#find").press_sequentially("sad1")
    page.fill("#find", "")
    page.locator("#keys").uncheck()
    page.locator("#detail").focus()
    page.keyboard.press("a")
    page.keyboard.press("1")
    expect(page.locator("#save")).to_have_text("Save decisions (0)")


def test_unsaved_decisions_warn_before_the_page_is_left(browser: Any, reports: Reports, plain_store: Path) -> None:
    page = browser.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto(f"file://{reports(plain_store)}")
    page.locator("#detail").focus()
    page.keyboard.press("a")
    page.keyboard.press("1")
    page.reload()
    assert asked == ["beforeunload"]
    page.reload()
    assert asked == ["beforeunload"], "nothing is unsaved in a fresh page"
    page.close()


def test_nothing_of_a_patient_is_left_in_the_browser(page: Page) -> None:
    page.locator("#detail").focus()
    page.keyboard.press("a")
    page.keyboard.press("1")
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    assert listed(page, 0) not in page.url


def test_who_cannot_be_assessed_is_ranked_and_decided_like_the_others(page: Page, tmp_path: Path) -> None:
    page.get_by_role("link", name="Cannot assess").first.click()
    rows = page.locator("#unknown-list tbody tr[data-key]")
    expect(rows.first).to_contain_text("P-016")
    expect(rows.first).to_contain_text("clozapine")
    rows.nth(1).get_by_role("button", name=re.compile("^Decide")).click()
    expect(page.locator("#decide")).to_be_visible()
    page.keyboard.press("a")
    page.keyboard.press("3")
    expect(rows.nth(1)).to_contain_text("acknowledged")
    page.keyboard.press("n")
    expect(page.locator("#decide-whom")).to_have_text("P-028")
    page.fill("#initials", "AB")
    (decision,) = saved(page, tmp_path)["decisions"]
    assert (decision["patient_id"], decision["priority"], decision["nadir_cells_per_ul"]) == ("P-009", None, None)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_the_form_is_named_and_reached_by_ear_and_keyboard(
    opened: Opened, reports: Reports, plain_store: Path, scheme: str, width: int
) -> None:
    page = opened(reports(plain_store), width=width, color_scheme=scheme)
    page.locator("#list .who a").first.click()
    page.keyboard.press("s")
    region = page.get_by_role("region", name=re.compile("^Decision on P-003"))
    assert region.aria_snapshot().splitlines()[0].startswith('- region "Decision on P-003"')
    for name in ("Acknowledge", "Snooze", "Dismiss"):
        expect(region.get_by_role("button", name=name)).to_have_attribute("aria-keyshortcuts", name[0].lower())
    expect(region.get_by_role("button", name="Snooze")).to_have_attribute("aria-pressed", "true")
    expect(region.get_by_label("Until")).to_be_visible()
    expect(region.get_by_label("Note")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="snoozed: why?")).to_have_count(1)
    region.get_by_role("button", name="Snooze").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(region.get_by_role("button", name="repeat count due")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="undecided.")).to_have_count(1)
    page.evaluate(AXE.read_text("utf-8"))
    for fragment in ("", "#unknown"):
        if fragment:
            page.evaluate(f"location.hash = '{fragment}'")
            page.locator(".decide-here").first.click()
        found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
        assert [(one["id"], node["html"][:120]) for one in found for node in one["nodes"][:2]] == [], fragment


def test_filters_combine_and_stand_in_the_address(opened: Opened, reports: Reports, sample_store: Path) -> None:
    file = reports(sample_store)
    page = opened(file)
    page.locator(".tile.critical button").click()
    page.get_by_role("button", name="New and changed").click()
    page.fill("#find", "neutropenia")
    shown = page.locator("#list tbody tr[data-key] .who bdi").all_inner_texts()
    assert page.url.endswith("#worklist?priority=critical&group=recent&q=neutropenia")
    every = page.locator("#list tbody tr[data-key]")
    assert 0 < every.count() == len(shown)
    again = opened(file, fragment=page.url.partition("#")[1] + page.url.partition("#")[2])
    assert again.locator("#list tbody tr[data-key] .who bdi").all_inner_texts() == shown
    expect(again.locator(".tile.critical button")).to_have_attribute("aria-pressed", "true")
    expect(again.locator("#find")).to_have_value("neutropenia")
    again.locator("#list .who a").nth(1).click()
    assert re.search(r"#p-[0-9a-f]{16}\?priority=critical&group=recent&q=neutropenia$", again.url)
    again.get_by_role("button", name="All", exact=True).click()
    assert len(again.locator("#list tbody tr[data-key]").all()) > len(shown)


def test_the_panel_follows_the_filter(page: Page) -> None:
    expect(page.locator(".panel:visible h2")).to_contain_text("critical")
    page.locator(".tile.medium button").click()
    expect(page.locator(".panel:visible h2")).to_contain_text(listed(page, 0))
    expect(page.locator(".panel:visible h2")).to_contain_text("medium")


def test_a_link_names_the_same_patient_every_night(reports: Reports, plain_store: Path, tmp_path: Path) -> None:
    with duckdb.connect(str(plain_store), read_only=True) as connection:
        (first,) = connection.execute("SELECT min(run_id) FROM run").fetchone() or ("",)
    earlier = write_reports(plain_store, tmp_path, first).read_text("utf-8")
    links = [
        dict(re.findall(r'href="#p-(\w{16})"><bdi>(.*?)</bdi>', text))
        for text in (earlier, reports(plain_store).read_text("utf-8"))
    ]
    shared = links[0].keys() & links[1].keys()
    assert len(shared) > 5
    assert all(links[0][name] == links[1][name] for name in shared)


def test_two_hundred_percent_still_shows_a_patient(opened: Opened, reports: Reports, plain_store: Path) -> None:
    page = opened(reports(plain_store), width=720, height=450, device_scale_factor=2)
    row = page.locator("#list tbody tr[data-key]").first.bounding_box()
    bar = page.locator("#decisions").bounding_box()
    assert row is not None
    assert bar is not None
    assert row["y"] + 40 < bar["y"], "no patient is visible above the bar"
    assert page.evaluate("document.documentElement.scrollWidth") <= 720


def test_times_are_those_of_the_hospital_and_its_record_opens(
    opened: Opened, plain_store: Path, tmp_path: Path
) -> None:
    store = tmp_path / "zone.duckdb"
    shutil.copy(plain_store, store)
    page_settings = json.dumps(
        {"page": {"time_zone": "America/Chicago", "record_link": "https://ehr.example/p?id={patient_id}"}}
    )
    with duckdb.connect(str(store)) as connection:
        connection.execute("UPDATE run SET counts = json_merge_patch(counts, ?)", [page_settings])
        connection.execute("UPDATE worklist_entry SET patient_id = 'P 0/3&x' WHERE patient_id = 'P-003'")
        connection.execute("UPDATE anc SET patient_id = 'P 0/3&x' WHERE patient_id = 'P-003'")
    page = opened(write_reports(store, tmp_path / "reports"))
    expect(page.locator("footer")).to_contain_text("America/Chicago")
    expect(page.locator("#list tbody tr[data-key] .count").first).to_contain_text("21 Nov 02:00")
    panel = page.locator(".panel:visible")
    expect(panel.get_by_role("link", name="Open record")).to_have_attribute(
        "href", "https://ehr.example/p?id=P%200%2F3%26x"
    )
    panel.get_by_text("All counts as a table").click()
    expect(panel.locator(".results thead")).to_contain_text("Collected (America/Chicago)")
    expect(panel.locator(".results tbody td").first).to_have_text("21 Nov 2026 02:00")


def test_withdrawn_and_recovered_have_groups_and_count_beside_the_worklist(
    opened: Opened, plain_store: Path, tmp_path: Path
) -> None:
    store = tmp_path / "groups.duckdb"
    shutil.copy(plain_store, store)
    with duckdb.connect(str(store)) as connection:
        for patient, group, change in (
            ("P-001", "withdrawn", "withdrawn"),
            ("P-002", "recovered", "improved"),
            ("P-004", "lost_to_follow_up", "lost"),
        ):
            connection.execute(
                "UPDATE worklist_entry SET row_group = ?, change = ?, is_recent = false WHERE patient_id = ? "
                "AND run_id = (SELECT max(run_id) FROM run)",
                [group, change, patient],
            )
    page = opened(write_reports(store, tmp_path / "reports"))
    heads = page.locator("#list tr.group th").all_inner_texts()
    assert [re.sub(r" \(.*", "", head) for head in heads] == [
        "New and changed",
        "Open",
        "Recovered",
        "Withdrawn",
        "Lost to follow-up",
    ]
    total = sum(int(tile) for tile in page.locator(".tiles button b").all_inner_texts())
    assert f"{total} on the worklist = " in page.locator(".sum").inner_text()
    assert "1 recovered" in page.locator(".sum").inner_text()
    assert page.locator("#list tbody tr[data-key]").count() == total + 2
    page.get_by_role("button", name=re.compile("^Withdrawn")).click()
    assert listed(page, 0) == "P-001"
    page.get_by_role("link", name="Overview").click()
    expect(page.locator("#changes")).to_contain_text("withdrawn")
    newest = page.locator("#history tbody tr").first.locator("td").all_inner_texts()
    assert sum(int(cell) for cell in newest[1:6]) == total
    with reading(store) as connection:
        terminal = worklist_text(current_worklist(connection)).splitlines()[0]
    assert terminal.startswith(f"{total} on the worklist of run ")
    assert terminal.endswith("; besides, 1 recovered")


@pytest.mark.parametrize("width", [1440, 390])
def test_no_label_leaves_its_chart_and_no_section_is_torn(
    opened: Opened, reports: Reports, sample_store: Path, width: int
) -> None:
    page = opened(reports(sample_store), width=width)
    for name in page.locator("#list tbody tr[data-key]").evaluate_all("rows => rows.map((row) => row.dataset.key)"):
        page.evaluate(f"location.hash = '#p-{name}'")
        expect(page.locator(f"#panel-{name} .charts svg").first).to_be_visible()
        beyond = page.evaluate(
            """(name) => {
              const panel = document.getElementById(`panel-${name}`), edge = panel.getBoundingClientRect();
              return [...panel.querySelectorAll("svg text, .grid section, .figures *")]
                .filter((one) => one.getBoundingClientRect().right > edge.right + 1 || one.getBoundingClientRect().left < edge.left - 1)
                .map((one) => one.textContent);
            }""",
            name,
        )
        assert beyond == []
    columns = page.locator(".panel:visible .grid section").evaluate_all(
        "sections => sections.map((section) => section.getClientRects().length)"
    )
    assert set(columns) == {1}


def test_a_long_identifier_is_shown_whole_and_no_date_lies_over_the_curve(
    opened: Opened, plain_store: Path, tmp_path: Path
) -> None:
    store, long_id = tmp_path / "long.duckdb", "HOSPITAL-NORTH-0000123456789"
    shutil.copy(plain_store, store)
    with duckdb.connect(str(store)) as connection:
        for table in ("worklist_entry", "anc", "episode"):
            connection.execute(f"UPDATE {table} SET patient_id = ? WHERE patient_id = 'P-003'", [long_id])
        connection.execute("UPDATE worklist_entry SET last_collected_at = last_collected_at - INTERVAL 500 DAY")
    page = opened(write_reports(store, tmp_path / "reports"))
    link = page.locator("#list .who a", has_text=long_id)
    assert link.evaluate("link => link.scrollWidth <= link.clientWidth + 1")
    for row in page.locator("#list tbody tr[data-key]").all()[:8]:
        date, curve = row.locator(".count .quiet").bounding_box(), row.locator(".spark").bounding_box()
        assert date is not None
        assert curve is None or date["x"] + date["width"] <= curve["x"] + 1
