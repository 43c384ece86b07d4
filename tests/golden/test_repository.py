"""The files for those who carry on: they parse, agree with each other, and name no person, no machine and no registry."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
#: Released as they are, with their authors' names and addresses.
KEPT_AS_RELEASED = (":!neutro_screen/report/**/assets", ":!neutro_screen/report/assets", ":!tests/web/assets")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def recipe(target: str) -> list[str]:
    """The commands of one target of the Makefile, without the folder of the programs."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    assert found, f"no target {target}"
    return [line.strip().lstrip("@").replace("$(BIN)/", "") for line in found[1].splitlines()]


def lines_with(pattern: str, *where: str) -> list[str]:
    """The tracked lines that match, as `file:number:text`; git says by its code whether there are any."""
    command = ["git", "-C", str(ROOT), "grep", "--untracked", "-nIE", "-e", pattern, "--", *(where or (".",))]
    done = subprocess.run([*command, *KEPT_AS_RELEASED], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


# Checks


def test_the_hooks_are_the_checks_of_make_check_and_download_nothing() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in hooks] == recipe("check")
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)


def test_the_workflow_calls_the_script_with_the_least_rights() -> None:
    text = read(".github/workflows/ci.yml")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert {step["run"] for step in steps if "run" in step} == {"bash .ci/run", "make coverage", "make sbom"}
    assert [
        step["uses"] for step in steps if not re.search(r"^actions/[\w-]+@v\d+$", step.get("uses", "actions/_@v0"))
    ] == []
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    pythons = {step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")}
    assert pythons == {lowest, "${{ matrix.python }}"}
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"][0] == lowest
    assert job["continue-on-error"] == f"${{{{ matrix.python != '{lowest}' }}}}"
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}"


def test_coverage_has_a_floor_and_a_command() -> None:
    assert any("--cov" in line for line in recipe("coverage"))
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] >= 80
    assert set(PROJECT["tool"]["mypy"]["packages"]) <= set(PROJECT["tool"]["coverage"]["run"]["source_pkgs"])


# Forms


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_and_warns_of_patient_data_first(path: Path) -> None:
    form: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    assert set(form) <= {"name", "description", "title", "labels", "body"}
    assert form["name"]
    assert form["description"]
    first, privacy, *_ = body = form["body"]
    assert first["type"] == "markdown"
    assert first["attributes"]["value"].startswith("**No patient data.**")
    assert privacy["type"] == "checkboxes"
    assert all(option["required"] for option in privacy["attributes"]["options"])
    asked = [part for part in body if part["type"] != "markdown"]
    assert {part["type"] for part in asked} <= {"checkboxes", "dropdown", "input", "textarea"}
    assert all(part["attributes"]["label"] for part in asked)
    assert len({part["id"] for part in asked}) == len(asked)


def test_no_issue_is_opened_past_the_forms() -> None:
    assert {path.stem for path in FORMS} == {"wrong_result", "new_format", "new_drug"}
    assert yaml.safe_load(read(".github/ISSUE_TEMPLATE/config.yml")) == {"blank_issues_enabled": False}
    assert "No patient data" in read(".github/pull_request_template.md")


# Versions


def versions() -> list[tuple[str, str, str]]:
    """Version, date or `unreleased`, and text, newest first."""
    return re.findall(
        r"^## (\d+\.\d+\.\d+) \(([^)]+)\)\n(.*?)(?=^## |\Z)", read("CHANGELOG.md"), re.MULTILINE | re.DOTALL
    )


def test_the_changelog_has_one_open_version_and_each_ends_with_the_clinical_rules() -> None:
    found = versions()
    assert [stamp for _, stamp, _ in found].count("unreleased") <= 1
    closed = [date.fromisoformat(stamp) for _, stamp, _ in found if stamp != "unreleased"]
    assert closed == sorted(closed, reverse=True)
    numbers = [tuple(int(part) for part in number.split(".")) for number, _, _ in found]
    assert numbers == sorted(set(numbers), reverse=True)
    for number, _, text in found:
        headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert headings == [name for name in ("Added", "Changed", "Fixed", "Clinical rules") if name in headings], (
            number
        )
        assert headings[-1] == "Clinical rules", number


def test_the_citation_is_of_the_newest_release_and_names_no_person() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "type", "authors", "version", "date-released", "license"} <= set(
        citation
    )
    assert citation["authors"] == [{"name": "neutro_screen contributors"}]
    newest = next((number, stamp) for number, stamp, _ in versions() if stamp != "unreleased")
    assert (str(citation["version"]), str(citation["date-released"])) == newest
    assert citation["license"] == PROJECT["project"]["license"]
    assert PROJECT["project"]["version"] in {number for number, _, _ in versions()}


# Components


def locked(name: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^([a-z0-9-]+)==(\S+)", read(name), re.MULTILINE))


def test_the_locks_pin_the_same_versions_with_hashes() -> None:
    assert locked("requirements.lock") <= locked("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-dev.lock"):
        pinned = re.findall(r"^[a-z0-9-]+==.+(?:\n    --hash=sha256:[0-9a-f]{64}.*)+", read(name), re.MULTILINE)
        assert len(pinned) == len(locked(name)) > 30


def test_the_list_of_components_has_every_package_of_the_lock(tmp_path: Path) -> None:
    made = tmp_path / "sbom.json"
    (line,) = [line for line in recipe("sbom") if "cyclonedx" in line]
    words = shlex.split(line)
    assert words[0] == "python"
    assert words[-2:] == ["-o", "sbom.json"]
    done = subprocess.run([sys.executable, *words[1:-1], str(made)], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    sbom = json.loads(made.read_text("utf-8"))
    assert (sbom["bomFormat"], sbom["metadata"]["component"]["name"]) == ("CycloneDX", "neutro-screen")
    components = {(part["name"], part["version"]) for part in sbom["components"]}
    assert components == locked("requirements.lock")
    assert {part["purl"] for part in sbom["components"]} == {
        f"pkg:pypi/{name}@{version}" for name, version in components
    }
    assert str(ROOT) not in made.read_text("utf-8")


# Decisions


DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert {path.name for path in (ROOT / "docs" / "adr").iterdir()} == {"index.md", *(path.name for path in DECISIONS)}


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_the_form_of_all_and_is_linked(path: Path) -> None:
    text = path.read_text("utf-8")
    head = re.match(r"# (\d+)\. (.+)\n\nStatus: (.+)\nDate: (\d{4}-\d\d-\d\d)\n\n## ", text)
    assert head, "title, status, date"
    number, title, status, day = head.groups()
    assert int(number) == int(path.name[:4])
    assert re.fullmatch(r"accepted|proposed|superseded by \[ADR \d+\]\(\d{4}-[\w-]+\.md\)", status)
    assert date.fromisoformat(day)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert f"| {number} | [{title}]({path.name}) | {day} |" in read("docs/adr/index.md").splitlines()
    assert f'{{ "{title}" = "adr/{path.name}" }}' in read("zensical.toml")
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_a_decision_that_is_referred_to_exists() -> None:
    found = lines_with(r"\bADR [0-9]+|adr/[0-9]{4}", "neutro_screen", "schemas", "docs", "*.md", "Makefile", "*.toml")
    named = {
        int(number)
        for line in found
        for number in re.findall(r"\bADR (\d+)|adr/(\d{4})", line)
        for number in number
        if number
    }
    assert named
    assert named <= set(range(1, len(DECISIONS) + 1))


# Names


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a folder of somebody's machine", r"/(work|root|Users)/[a-z.]|/home/[a-z]|[A-Z]:\\\\?Users"),
        (
            "a registry",
            r"pypi[.]org|pythonhosted[.]|npmjs[.]|debian[.]org|docker[.]io|ghcr[.]io|quay[.]io|index-url[ =]",
        ),
    ],
    ids=["path", "registry"],
)
def test_no_tracked_file_names(what: str, pattern: str) -> None:
    assert lines_with(pattern) == [], what


def test_no_tracked_file_holds_an_address_of_a_person() -> None:
    address = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*[.][a-z]{2,}"
    found = [match[0] for line in lines_with(address) for match in re.finditer(address, line.split(":", 2)[2])]
    assert [text for text in found if not re.search(r"@(\w+\.)*example\.(org|com|net)$", text)] == []


def test_these_checks_find_what_they_look_for() -> None:
    assert lines_with("neutro-screen simulate", "CONTRIBUTING.md")
    assert lines_with("oncall@example[.]org")


# Recipes


def test_contributing_has_the_six_recipes_and_says_which_files_they_touch() -> None:
    recipes = dict(
        re.findall(
            r"^### ([^\n]+)\n(.*?)(?=^### |\Z)",
            read("CONTRIBUTING.md").split("\n## Recipes\n")[1],
            re.MULTILINE | re.DOTALL,
        )
    )
    assert list(recipes) == ["A drug", "A test name", "A threshold", "A rule", "A format", "A column"]
    most = {"A drug": 2, "A test name": 2, "A rule": 5, "A format": 7}
    for name, text in recipes.items():
        files = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
        assert 2 <= len(files) <= most.get(name, 5), name


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_a_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(name))
    assert [link for link in links if not (ROOT / link).exists()] == []
