"""The commented files that ``neutro-screen init`` writes for a user to edit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from neutro_screen.errors import ConfigurationError
from neutro_screen.private import private_file

_FILES: Final = ("profile.toml", "policy.toml", "notify.toml")


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
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in texts.items():
            with private_file(folder / name, "w") as file:
                file.write(text)
    except OSError as error:
        raise ConfigurationError(f"cannot be written ({error.strerror})", where=str(folder)) from None
    return [folder / name for name in _FILES]
