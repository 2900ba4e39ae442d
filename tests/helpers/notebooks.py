"""Reading and running the notebooks of docs/ with other parameters, for the tests and `scripts/notebooks`."""

import ast
import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jupytext

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"


def read_notebook(name: str, **parameters: str | Path) -> Any:
    """Return a notebook of nbformat, with other values for variables of its cell with the tag `parameters`.

    Raises:
        ValueError: the cell does not set such a variable.
    """
    notebook = jupytext.read(FOLDER / f"{name}.py")
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for variable, value in parameters.items():
        text = json.dumps(str(value), ensure_ascii=False)
        line = f"{variable} = Path({text})" if isinstance(value, Path) else f"{variable} = {text}"
        lines = cell.source.split("\n")
        (index,) = [index for index, old in enumerate(lines) if old.startswith(f"{variable} = ")]
        cell.source = "\n".join([*lines[:index], line, *lines[index + 1 :]])
    return notebook


@dataclass(frozen=True)
class Session:
    """The result of running a notebook.

    Attributes:
        names: its variables.
        shown: values of cells that end in an expression, which Jupyter would show.
        printed: the whole output as text.
    """

    names: dict[str, Any] = field(default_factory=dict)
    shown: list[object] = field(default_factory=list)
    printed: str = ""


def run_notebook(notebook: Any) -> Session:
    """Run the cells one after another with shared variables, as Jupyter does; figures are drawn, but not shown."""
    import matplotlib

    matplotlib.use("Agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    shown: list[object] = []
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(), _figures_closed():
        warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
        for number, source in enumerate(code_of(notebook)):
            body = ast.parse(source, filename=f"cell {number}").body
            last = body.pop() if isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), f"cell {number}", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
                if value is not None:
                    shown.append(value)
    return Session(names, shown, printed.getvalue())


def code_of(notebook: Any) -> list[str]:
    """Return the source of the code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@contextlib.contextmanager
def _figures_closed() -> Iterator[None]:
    import matplotlib.pyplot as plt

    try:
        yield
    finally:
        plt.close("all")
