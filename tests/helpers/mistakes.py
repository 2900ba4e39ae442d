"""A case for refusals of the command line, and the command lines that use it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A dataset of its own, a trained run, and an `out` that a refused command must not create."""

    folder: Path
    run: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def train(self, *flags: str | Path, recipe: str | Path | None = None) -> list[str | Path]:
        recipe = recipe or self.run.parent / "tiny.yaml"
        return ["train", recipe, "--data", self.data, "--out", self.out, *flags]

    def evaluate(self, *flags: str | Path, model: str | Path | None = None) -> list[str | Path]:
        return ["evaluate", model or self.run, "--data", self.data, "--out", self.out, *flags]

    def localize(self, *flags: str | Path, model: str | Path | None = None, of: str = "test") -> list[str | Path]:
        return ["localize", self.data / of, "--model", model or self.run, "--out", self.out, *flags]

    def explain(self, *flags: str | Path) -> list[str | Path]:
        picture = next((self.data / "test").rglob("*.png"))
        return ["explain", picture, "--model", self.run, "--out", self.out, *flags]
