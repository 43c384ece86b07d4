"""docs/notebook.ipynb from docs/notebook.py: cells divided by ``# %%``, run one after the other on the sample store."""

import ast
import contextlib
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from docs.sample_store import sample_store

SOURCE = Path(__file__).parent / "notebook.py"


def notebook_page() -> str:
    """The notebook with its results, as JSON (nbformat 4.5)."""
    names: dict[str, Any] = {}
    store = sample_store()
    with TemporaryDirectory() as folder, contextlib.chdir(folder), pl.Config(tbl_width_chars=110, fmt_str_lengths=70):
        shutil.copy(store, "sample.duckdb")
        cells = [_cell(number, text, names) for number, text in enumerate(_parts())]
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _parts() -> list[str]:
    return [part.strip("\n") for part in SOURCE.read_text("utf-8").split("# %%")[1:]]


def _cell(number: int, text: str, names: dict[str, Any]) -> dict[str, Any]:
    lines = text.split("\n")
    if lines[0].strip() == "[markdown]":
        told = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[1:])
        return {"cell_type": "markdown", "id": f"c{number}", "metadata": {}, "source": told.splitlines(keepends=True)}
    code = text.strip()
    value = _run(code, names)
    output = {
        "data": {"text/plain": str(value).splitlines(keepends=True)},
        "execution_count": number + 1,
        "metadata": {},
        "output_type": "execute_result",
    }
    return {
        "cell_type": "code",
        "execution_count": number + 1,
        "id": f"c{number}",
        "metadata": {},
        "outputs": [] if value is None else [output],
        "source": code.splitlines(keepends=True),
    }


def _run(code: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, as a notebook shows it."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(SOURCE), "exec"), names)
    return eval(compile(ast.Expression(last.value), str(SOURCE), "eval"), names) if isinstance(last, ast.Expr) else None
