"""What every page is made of: templates that escape everything, files of this package, hashes for the security policy."""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from neutro_screen.report import words


def escaping_environment() -> Environment:
    """The templates, every value escaped and shown as ``words.shown`` has it; a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("neutro_screen.report.html"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        finalize=words.shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def asset(name: str) -> str:
    """A script or style of this package."""
    return (files("neutro_screen.report.html") / "assets" / name).read_text("utf-8")


def hashes(texts: Iterable[str]) -> str:
    """Sources of a content security policy that allow these scripts or styles and nothing else."""
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
