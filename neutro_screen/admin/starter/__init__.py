"""The files that ``neutro-screen init`` writes: commented settings for a user to edit, and those of a deployment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from neutro_screen.errors import ConfigurationError
from neutro_screen.private import private_file

_FILES: Final = ("profile.toml", "policy.toml", "notify.toml")
#: What a machine needs to run the nights: these files, and every file of these folders.
_DEPLOY_FILES: Final = ("prefect.yaml",)
_DEPLOY_FOLDERS: Final = ("deploy", "flows")


def write_starter(folder: Path, samples: Sequence[Path] = ()) -> list[Path]:
    """Write the starter files into a folder and return their paths; with samples the profile is proposed from them.

    Raises:
        ConfigurationError: one of them is there already, or the folder cannot be written.
        NeutroScreenError: a sample cannot be read.
    """
    texts = {name: Path(__file__).with_name(name).read_text("utf-8") for name in _FILES}
    if samples:
        from neutro_screen.admin.propose import propose_profile

        texts["profile.toml"] = propose_profile(*samples)
    if taken := [name for name in _FILES if (folder / name).exists()]:
        raise ConfigurationError(
            f"is there already: {', '.join(taken)}", where=str(folder), remedy="Name another folder."
        )
    with _writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in texts.items():
            with private_file(folder / name, "w") as file:
                file.write(text)
    return [folder / name for name in _FILES]


def write_deployment(folder: Path) -> list[Path]:
    """Write prefect.yaml, the flows that it names, systemd units, cron line and container file; return their paths.

    They hold no secret, and other accounts (Prefect's, systemd's) read them: 0644 in folders of 0755.

    Raises:
        ConfigurationError: one of them is there already, or the folder cannot be written.
    """
    home = _deployment_home()
    names = [Path(name) for name in _DEPLOY_FILES]
    for inside in _DEPLOY_FOLDERS:
        names += sorted(
            path.relative_to(home) for path in (home / inside).iterdir() if path.is_file() and path.suffix != ".pyc"
        )
    # The units lie beside prefect.yaml, not in a folder deploy/deploy.
    targets = {name: folder / (name.name if name.parts[0] == "deploy" else name) for name in names}
    if taken := [str(target.relative_to(folder)) for target in targets.values() if target.exists()]:
        raise ConfigurationError(
            f"is there already: {', '.join(taken)}", where=str(folder), remedy="Name another folder."
        )
    with _writing(folder):
        for name, target in targets.items():
            for made in (folder, target.parent):
                if not made.exists():
                    made.mkdir(parents=True)
                    made.chmod(0o755)
            target.write_bytes((home / name).read_bytes())
            target.chmod(0o644)
    return list(targets.values())


def _deployment_home() -> Path:
    """Where the files of a deployment are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parents[2]
    return package if (package / "deploy").is_dir() else package.parent


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"cannot be written ({error.strerror})", where=str(folder)) from None
