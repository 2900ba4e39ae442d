"""The commands of `tscam`: each parses its flags, calls a verb and prints the result.

A verb is imported when its command runs, so that `--help` waits for nothing.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from tscam.cli.flags import Flags, RecipeFlags, fill_from_recipe, refuse_ambiguous_values
from tscam.cli.output import checked_output
from tscam.config import EvaluateConfig, ExplainConfig, LocalizeConfig, TrainConfig
from tscam.decoding import MAX_PIXELS
from tscam.errors import StoppedError, TscamError, one_message
from tscam.recipe import to_yaml
from tscam.system.resources import Precision


def _version() -> str:
    from importlib.metadata import version

    return version("tscam")


app = App(
    name="tscam",
    help="Object boxes from image-level labels alone.",
    help_epilogue="Any verb takes --debug, which shows the traceback of an error.",
    help_format="plaintext",  # rich's markdown alone takes a quarter of a second to import
    version=_version,
    config=(refuse_ambiguous_values, fill_from_recipe),
    default_parameter=Parameter(consume_multiple=True),  # --protocol ts-cam pxap
)


@app.command
def demo(*, out: Path | None = None) -> None:
    """Draw pictures, train a tiny model on their class labels, evaluate it and localize: the main job in a minute.

    Parameters
    ----------
    out
        Folder of the result; it must be new or empty. By default `tscam-demo`, or the next free name.
    """
    from tscam.cli.terminal import training
    from tscam.verbs.demo import run_demo

    with training() as (on_progress, _):
        result = run_demo(out, on_progress=on_progress)
    print(result.summary)
    print(result.out)


@app.command
def check(data: Path, /, *, dataset: str | None = None, max_pixels: int = MAX_PIXELS) -> None:
    """Check a dataset: counts, unreadable and missing files by name, boxes outside pictures, files in two splits.

    Parameters
    ----------
    data
        Folder of the dataset.
    dataset
        Name of the dataset reader; detected from the folder by default.
    max_pixels
        Pixels of the largest picture that is read.
    """
    from tscam.cli.terminal import counting
    from tscam.verbs.check import check

    with counting("pictures") as on_progress:
        checked = check(data, dataset=dataset, max_pixels=max_pixels, on_progress=on_progress)
    print(checked.describe())
    if not checked.usable:
        raise TscamError(f"{data}: not usable as it is; fix the problems listed above")


@app.command
def train(
    recipe: Annotated[str, Parameter(name="RECIPE")],  # noqa: ARG001  Read by `fill_from_recipe`.
    /,
    *,
    config: Annotated[TrainConfig, RecipeFlags],
    print_config: bool = False,
) -> None:
    """Train from image-level labels alone. Ctrl-C stops after the step and saves the state; `resume` continues.

    Parameters
    ----------
    recipe
        One of `tscam list recipes`, or a YAML file; flags override its settings.
    print_config
        Print all settings as a recipe, and do nothing else.
    """
    if print_config:
        print(to_yaml(config), end="")
        return
    from tscam.cli.terminal import training
    from tscam.verbs.train import train

    with training() as (on_progress, on_note):
        run = train(config, on_progress=on_progress, on_note=on_note)
    _print_run(run)


@app.command
def resume(run: Path, /) -> None:
    """Resume a run that was stopped or killed, from its last saved state.

    Parameters
    ----------
    run
        Folder of the run: the `--out` of `train`.
    """
    from tscam.cli.terminal import training
    from tscam.verbs.train import resume

    with training() as (on_progress, on_note):
        folder = resume(run, on_progress=on_progress, on_note=on_note)
    _print_run(folder)


def _prints() -> bool:
    """True for the process that prints the result, the first one under torchrun."""
    return os.environ.get("RANK", "0") == "0"


def _print_run(run: Path) -> None:
    if _prints():
        from tscam.training.run.run_results import describe_run

        print(describe_run(run))
        print(run)


@app.command
def evaluate(model: str | None = None, /, *, config: Annotated[EvaluateConfig, Flags]) -> None:
    """Score a model, or saved maps, on a dataset with boxes or masks, under one or more protocols.

    Parameters
    ----------
    model
        A model folder, a run folder (its best weights), the authors' .pth file, or hf-hub:user/name[@revision]; left
        out with --maps.
    """
    from tscam.cli.terminal import counting
    from tscam.verbs.evaluate import evaluate

    with counting("evaluating") as on_progress:
        evaluation = evaluate(model, config, on_progress=on_progress)
    if _prints():
        print(evaluation.describe())
        print(evaluation.out)


@app.command
def compare(first: Path, second: Path, /, *, out: Path | None = None) -> None:
    """Compare two evaluations of the same pictures: differences with intervals, and exact paired tests.

    Parameters
    ----------
    first
        A result folder of `evaluate`, or a run folder, whose test is compared.
    second
        Another one; differences are the second minus the first.
    out
        A JSON file to write the result to.
    """
    from tscam.verbs.compare import compare

    print(compare(first, second, out=out).describe())
    if out is not None:
        print(out.absolute())


@app.command
def localize(pictures: list[Path], /, *, model: str, config: Annotated[LocalizeConfig, Flags]) -> None:
    """Find objects in pictures.

    Parameters
    ----------
    pictures
        Picture files, or folders of them.
    model
        A model folder, a run folder (its best weights), the authors' .pth file, or hf-hub:user/name[@revision].
    """
    from tscam.cli.terminal import counting
    from tscam.verbs.localize import localize

    notes: list[str] = []
    with counting("localizing") as on_progress:
        out = localize(pictures, model=model, config=config, on_progress=on_progress, on_note=notes.append)
    print("".join(f"{note}\n" for note in notes), end="")
    for work, name in (("read", "bad_images.csv"), ("drawn", "failed_drawings.csv")):
        if (listed := out / name).exists():
            print(f"pictures that could not be {work}: {listed}")
    print(out)


@app.command
def explain(picture: Path, /, *, model: str, config: Annotated[ExplainConfig, Flags]) -> None:
    """Draw what a model sees in a picture: attention layer by layer, semantic and coupled map, classes, methods.

    Parameters
    ----------
    picture
        The picture file.
    model
        A model folder, a run folder (its best weights), the authors' .pth file, or hf-hub:user/name[@revision].
    """
    from tscam.verbs.explain import explain

    print(
        explain(
            picture, model=model, out=config.out, label=config.label, methods=config.methods,
            threshold=config.threshold, device=config.device, max_pixels=config.max_pixels,
            overwrite=config.overwrite, on_note=print,
        )
    )  # fmt: skip


@app.command
def convert_weights(model: str, /, *, out: Path, labels: Path | None = None, overwrite: bool = False) -> None:
    """Turn a checkpoint of the TS-CAM authors into a model folder.

    Parameters
    ----------
    model
        The authors' .pth file.
    out
        Folder of the model; it must be new or empty.
    labels
        Text file with one class name a line; by default the classes are numbers from 0.
    overwrite
        Replace the content of `out`.
    """
    from tscam.verbs.publish import convert_weights

    print(convert_weights(model, out=out, labels=labels, overwrite=overwrite))


@app.command
def push(model: str, repo: str, /, *, private: bool = False, license: str | None = None) -> None:
    """Publish a model on the Hugging Face hub, in one commit. Log in first: `hf auth login`.

    Parameters
    ----------
    model
        A model folder, or a run folder (its best weights).
    repo
        user/name; created if it does not exist.
    private
        Make the repository private.
    license
        License of the model by the hub's name: apache-2.0, cc-by-nc-4.0 …; by default the one in its card.
    """
    from tscam.verbs.publish import push_to_hub

    print(push_to_hub(model, repo, private=private, license=license))


@app.command
def benchmark(
    model: str,
    /,
    *,
    batch_size: int = 8,
    image_size: int | str = 224,
    num_classes: int = 1000,
    device: str | None = None,
    precision: Precision = "fp32",
    threads: int | None = None,
) -> None:
    """Measure speed and peak memory of localization beside plain classification, in one run.

    Parameters
    ----------
    model
        Name of a backbone, or a model as in `evaluate`.
    batch_size
        Pictures that are computed together.
    image_size
        Side of the view in pixels, or its height and width, such as 48x96; for a backbone.
    num_classes
        Number of classes, for a backbone.
    device
        Device by PyTorch's name; a GPU by default, if there is one.
    precision
        Precision of the matrix products.
    threads
        CPU threads; all by default.
    """
    from tscam.verbs.benchmark import benchmark

    print(
        benchmark(
            model, batch_size=batch_size, image_size=image_size, num_classes=num_classes, device=device,
            precision=precision, threads=threads,
        ).describe()
    )  # fmt: skip


@app.command(name="list")
def list_names(kind: Literal["methods", "backbones", "datasets", "recipes", "formats"], pattern: str = "*", /) -> None:
    """List the names that other commands take.

    Parameters
    ----------
    kind
        The kind of names.
    pattern
        Shell pattern that the names must match, such as `'deit*'`.
    """
    from tscam.verbs.list import describe_names

    lines = describe_names(kind, pattern=pattern)
    if not lines:
        raise TscamError(f"no {kind} match {pattern!r}; give a shell pattern, such as 'deit*'")
    print("\n".join(lines))


def main() -> None:
    """Run the command line. A user's mistake is printed as one line, with exit code 2."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        with checked_output():
            app([argument for argument in arguments if argument != "--debug"], exit_on_error=False, print_error=False)
    except (TscamError, CycloptsError) as fault:
        if debug:
            sys.excepthook(type(fault), fault, fault.__traceback__)
        print(f"tscam: {one_message(fault)}".strip(), file=sys.stderr)
        sys.exit(128 + fault.signal if isinstance(fault, StoppedError) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
