"""Where a store's file really is, and whom it belongs to: links, owner, group and mode.

Light to import: the options of a run resolve their store's path with it.
"""

from pathlib import Path

from neutro_screen.errors import StoreError
from neutro_screen.private import take_rights_of


def real_path(path: Path) -> Path:
    """The file that a symbolic link names, over any number of links; any other path as it is.

    Raises:
        StoreError: the links lead around a circle, or a folder cannot be entered.
    """
    try:
        return path.resolve() if path.is_symlink() else path
    except PermissionError as error:
        raise not_permitted(path, error) from None
    except (OSError, RuntimeError):
        raise StoreError("is a symbolic link that cannot be followed", where=str(path)) from None


def exists(store: Path) -> bool:
    """Whether there is a file under a path.

    Raises:
        StoreError: its folder cannot be entered, so that nobody can say.
    """
    try:
        return store.exists()
    except OSError as error:
        raise not_permitted(store, error) from None


def not_permitted(store: Path, error: OSError) -> StoreError:
    """The error of a store that this user may not read: what it is, and whose."""
    return StoreError(
        f"cannot be read by this user ({error.strerror}){_owner(store)}",
        where=store.name,
        remedy="Run the command as the user that runs the nights, or give the file back to that user (chown).",
    )


def _owner(store: Path) -> str:
    try:
        return f"; it belongs to {store.owner()}"
    except (KeyError, OSError):
        return ""


def take_rights(copy: Path, store: Path) -> None:
    """Give the file that takes a store's place the owner, group and mode of the store; a new one the owner of its folder.

    Raises:
        StoreError: this user may not: the file would be taken away from the user that runs the nights, or from a group.
    """
    try:
        take_rights_of(copy, store)
    except OSError:
        raise StoreError(
            f"its owner and group cannot be kept by this user{_owner(store)}",
            where=store.name,
            remedy="Run the command as the store's owner, a member of the store's group (docs/operations.md, analysts).",
        ) from None
