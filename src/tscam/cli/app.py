"""The command line: parse, call, print. A verb is a function; what it does lives elsewhere and is imported when run."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from tscam.cli.flags import Flags, RecipeFlags, fill_from_recipe, refuse_what_would_be_guessed
from tscam.config import EvaluateConfig, ExplainConfig, LocalizeConfig, TrainConfig
from tscam.errors import StoppedError, TscamError
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
    config=(refuse_what_would_be_guessed, fill_from_recipe),
    default_parameter=Parameter(consume_multiple=True),  # --protocol ts-cam pxap
)


@app.command
def demo(*, out: Path | None = None) -> None:
    """Draw a few pictures, train a tiny model on their class labels, evaluate, localize: the main job in a minute.

    Parameters
    ----------
    out
        Folder of the result, new; `tscam-demo` or the next free name when not given.
    """
    from tscam.cli.terminal import training
    from tscam.verbs.demo import run_demo

    with training() as (on_progress, _):
        result = run_demo(out, on_progress=on_progress)
    print(result.summary)
    print(result.out)


@app.command
def check(data: Path, /, *, dataset: str | None = None) -> None:
    """Is this data set whole? Counts, unreadable and missing files by name, boxes outside, files in two splits.

    Parameters
    ----------
    data
        Folder of the data set.
    dataset
        Its reader; looked at when not given.
    """
    from tscam.cli.terminal import counting
    from tscam.datasets import check_dataset

    with counting("pictures") as on_progress:
        found = check_dataset(data, name=dataset, on_progress=on_progress)
    print(found.describe())
    if not found.usable:
        raise TscamError(f"{data}: not usable as it is; mend what is listed above")


@app.command
def train(
    recipe: Annotated[str, Parameter(name="RECIPE")],  # noqa: ARG001  Read by `fill_from_recipe`.
    /,
    *,
    config: Annotated[TrainConfig, RecipeFlags],
    print_config: bool = False,
) -> None:
    """Train from image-level labels alone. Ctrl-C stops after the step and keeps the state; `resume` goes on.

    Parameters
    ----------
    recipe
        One of `tscam list recipes`, or a YAML file; flags go before what it says.
    print_config
        Print all settings, which are a recipe, and do nothing.
    """
    if print_config:
        print(to_yaml(config), end="")
        return
    from tscam.cli.terminal import training
    from tscam.verbs.train import train

    with training() as (on_progress, on_note):
        run = train(config, on_progress=on_progress, on_note=on_note)
    _end_training(run)


@app.command
def resume(run: Path, /) -> None:
    """Go on with a run that was stopped or killed, from its last saved state.

    Parameters
    ----------
    run
        Folder of the run: what `--out` was.
    """
    from tscam.cli.terminal import training
    from tscam.verbs.train import resume

    with training() as (on_progress, on_note):
        done = resume(run, on_progress=on_progress, on_note=on_note)
    _end_training(done)


def _speaks() -> bool:
    """Of several processes under torchrun the first one speaks."""
    return os.environ.get("RANK", "0") == "0"


def _end_training(run: Path) -> None:
    if _speaks():
        from tscam.training.run.run_results import describe_run

        print(describe_run(run))
        print(run)


@app.command
def evaluate(model: str | None = None, /, *, config: Annotated[EvaluateConfig, Flags]) -> None:
    """Score a model, or saved maps, on a data set with boxes or masks, under one protocol or several.

    Parameters
    ----------
    model
        A model folder, a run folder (its best weights), the authors' .pth file, or hf-hub:user/name[@revision]; none
        with --maps.
    """
    from tscam.cli.terminal import counting
    from tscam.verbs.evaluate import evaluate

    with counting("evaluating") as on_progress:
        found = evaluate(model, config, on_progress=on_progress)
    if _speaks():
        print(found.describe())
        print(found.out)


@app.command
def compare(first: Path, second: Path, /, *, out: Path | None = None) -> None:
    """Two evaluations of the same pictures: differences with intervals, and exact paired tests.

    Parameters
    ----------
    first
        A folder that `evaluate` has written, or a run, whose test is taken.
    second
        Another one; differences are the second less the first.
    out
        A JSON file for the result.
    """
    from tscam.verbs.compare import compare

    print(compare(first, second, out=out).describe())
    if out is not None:
        print(out.absolute())


@app.command
def localize(pictures: list[Path], /, *, model: str, config: Annotated[LocalizeConfig, Flags]) -> None:
    """Find the objects of pictures.

    Parameters
    ----------
    pictures
        Picture files, or folders of them.
    model
        A model folder, a run folder (its best weights), the authors' .pth file, or hf-hub:user/name[@revision].
    """
    from tscam.cli.terminal import counting
    from tscam.verbs.localize import localize

    with counting("localizing") as on_progress:
        out = localize(pictures, model=model, config=config, on_progress=on_progress)
    if (bad := out / "bad_images.csv").exists():
        print(f"pictures that could not be read: {bad}")
    print(out)


@app.command
def explain(picture: Path, /, *, model: str, config: Annotated[ExplainConfig, Flags]) -> None:
    """Draw what a model sees in a picture: attention layer by layer, semantic and coupled map, classes, methods.

    Parameters
    ----------
    picture
        The picture's file.
    model
        A model folder, a run folder (its best weights), the authors' .pth file, or hf-hub:user/name[@revision].
    """
    from tscam.verbs.explain import explain

    print(
        explain(
            picture, model=model, out=config.out, label=config.label, methods=config.methods,
            threshold=config.threshold, device=config.device, overwrite=config.overwrite,
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
        Folder of the model, new.
    labels
        Text file with the name of each class, a line a class.
    overwrite
        Replace what is in `out`.
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
        user/name; made where it is not there yet.
    private
        Only for whom its owner lets in.
    license
        Of the model, as the hub calls it: apache-2.0, cc-by-nc-4.0 …; what its card says when not given.
    """
    from tscam.verbs.publish import push_to_hub

    print(push_to_hub(model, repo, private=private, license=license))


@app.command
def benchmark(
    model: str,
    /,
    *,
    batch_size: int = 8,
    image_size: int = 224,
    num_classes: int = 1000,
    device: str | None = None,
    precision: Precision = "fp32",
    threads: int | None = None,
) -> None:
    """Images/s and peak memory of classifier, logits + maps, and boxes, as ratios in one run.

    Parameters
    ----------
    model
        A backbone's name, or a model as for `evaluate`.
    batch_size
        Pictures at once.
    image_size
        Side of the view in pixels, for a backbone.
    num_classes
        For a backbone.
    device
        As PyTorch names it; the GPU where there is one.
    precision
        Of the matrix products.
    threads
        Of the processor; all when not given.
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
    """The names that other verbs take.

    Parameters
    ----------
    kind
        Which names.
    pattern
        Only those that fit, such as `'deit*'`.
    """
    from tscam.verbs.list import lines_of

    lines = lines_of(kind, pattern=pattern)
    if not lines:
        raise TscamError(f"no {kind} fit {pattern!r}; a pattern is as of a shell, such as 'deit*'")
    print("\n".join(lines))


def main() -> None:
    """Runs the command line. A user's mistake is one line and exit code 2."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        app([argument for argument in arguments if argument != "--debug"], exit_on_error=False, print_error=False)
    except (TscamError, CycloptsError) as fault:
        if debug:
            sys.excepthook(type(fault), fault, fault.__traceback__)
        # A path may have line breaks; cyclopts has some of its own.
        said = "\\n".join(str(fault).splitlines()) if isinstance(fault, TscamError) else str(fault)
        print(f"tscam: {said}".strip(), file=sys.stderr)
        sys.exit(128 + fault.signal if isinstance(fault, StoppedError) else 2)
    except KeyboardInterrupt:
        sys.exit(130)
