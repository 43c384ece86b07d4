"""What every page is made of: templates that escape everything, files of this package, hashes for the security policy."""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2
from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.bccache import Bucket

from neutro_screen.made_once import keep, kept
from neutro_screen.report import words


class _Templates(Environment):
    """Templates that read a row's column at once; Jinja would look for an attribute of the dictionary first."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The column of a row; else what Jinja finds."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class _CompiledTemplates(BytecodeCache):
    """The templates as Python's bytecode, compiled once an installation: a quarter of a second of each start."""

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket, where its template has been compiled from this text."""
        found = kept(f"template-{bucket.key}", _origin(bucket))
        if found is not None:
            bucket.bytecode_from_string(found)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        keep(f"template-{bucket.key}", _origin(bucket), bucket.bytecode_to_string())


def _origin(bucket: Bucket) -> bytes:
    """What a compiled template is made from: its text, the compiler, its settings, and how constants are shown."""
    return f"{jinja2.__version__} {bucket.checksum} ".encode() + b"".join(map(Path.read_bytes, _SETTINGS))


_SETTINGS: Final = (Path(__file__), Path(words.__file__))


def escaping_environment() -> Environment:
    """The templates, every value escaped and shown as ``words.shown`` has it; a name that is not given is an error."""
    return _Templates(
        loader=PackageLoader("neutro_screen.report.html"),
        bytecode_cache=_CompiledTemplates(),
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
