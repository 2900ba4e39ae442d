"""Every mistake on the command line is refused in one line with a way out, and leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from command_line import Call, assert_refused, run_python
from data_sets import write_folder
from mistakes import Case
from tscam.model import create_model


def first_picture(case: Case) -> Path:
    return min(case.data.rglob("*.png"))


MISTAKES: dict[str, tuple[Callable[[Case], list[str | Path]], str]] = {
    "a size that does not divide": (
        lambda case: case.train("--image-size", "30"),
        "image size 30 is not a multiple of the patch, 8 pixels; take 24 or 32",
    ),
    "a size above the crop": (
        lambda case: case.train("--image-size", "40"),
        "resize_size 36 is below image_size 40",
    ),
    "a size that does not divide, of the benchmark": (
        lambda _: ["benchmark", "deit_tiny_patch16_224", "--image-size", "100"],
        "image size 100 is not a multiple of the patch, 16 pixels; take 96 or 112",
    ),
    "an unknown backbone": (
        lambda case: case.train("--backbone", "deit_smal_patch16_224"),
        "no backbone named 'deit_smal_patch16_224'; did you mean 'deit_small_patch16_224'?",
    ),
    "an unknown backbone of the benchmark": (
        lambda _: ["benchmark", "deit_tinny_patch16_224"],
        "did you mean 'deit_tiny_patch16_224'?",
    ),
    "a backbone without a class token": (
        lambda case: case.train("--backbone", "vit_wee_patch16_reg1_gap_256", "--backbone-args", '{"depth": 1}'),
        "no class token",
    ),
    "a network of convolutions for TS-CAM": (
        lambda case: case.train("--backbone", "vgg16_cam", "--backbone-args", "{}"),
        "method 'ts-cam' reads the class token's attention, and this backbone has no class token; "
        "use one of cam, grad-cam",
    ),
    "a layer that does not exist": (
        lambda case: case.evaluate("--method", "ts-cam", "--method-args", '{"layers": [0, 2]}'),
        "layers [0, 2]; expected a list of different integers from 0 to 1, such as [1]",
    ),
    "a method that needs another head": (
        lambda case: case.evaluate("--method", "training-free"),
        "method 'training-free' needs another head than weights trained for 'ts-cam' have; use one of "
        "attention, cam, grad-cam, rollout, ts-cam, or train with --method training-free",
    ),
    "an option of another method": (
        lambda case: case.localize("--method", "attention", "--method-args", '{"relu": true}'),
        "method 'attention' has no option 'relu'; it has layers, heads",
    ),
    "a pattern that matches nothing": (
        lambda _: ["list", "backbones", "swinn*"],
        "no backbones match 'swinn*'; give a shell pattern, such as 'deit*'",
    ),
    "an unknown class to explain": (
        lambda case: case.explain("--label", "dgo"),
        "no class named 'dgo'; did you mean 'dog'?",
    ),
    "an unknown method to explain by": (lambda case: case.explain("--methods", "cams"), "did you mean 'cam'?"),
    "no picture to explain": (
        lambda case: ["explain", case.folder / "gone.png", "--model", case.run, "--out", case.out],
        "gone.png",
    ),
    "an unknown argument of the backbone": (
        lambda case: case.train("--backbone-args", '{"dephts": 3}'),
        "dephts",
    ),
    "an unknown method": (
        lambda case: case.train("--method", "tscam"),
        "no method named 'tscam'; did you mean 'ts-cam'? "
        "Registered: attention, cam, foreground, grad-cam, rollout, training-free, ts-cam",
    ),
    "an unknown method in evaluation": (lambda case: case.evaluate("--method", "cams"), "did you mean 'cam'?"),
    "an unknown method in localization": (
        lambda case: case.localize("--method", "atention"),
        "did you mean 'attention'?",
    ),
    "an unknown recipe": (
        lambda case: case.train(recipe="cub/deit-smal"),
        "no recipe 'cub/deit-smal'; did you mean 'cub/deit-small'?",
    ),
    "an unknown flag": (lambda case: case.train("--epcohs", "3"), "Did you mean --epochs?"),
    "a flag of another verb": (lambda case: case.localize("--data", "x"), "--data"),
    "an unknown verb": (lambda _: ["evalute"], "Did you mean"),
    "an unknown kind of names": (lambda _: ["list", "backbons"], "backbones"),
    "an unknown reader": (lambda case: case.train("--dataset", "fodler"), "no dataset named 'fodler'; did you mean 'f"),
    "an unknown split": (lambda case: case.evaluate("--split", "tset"), "no split 'tset'; available: train, test"),
    "an unknown format": (lambda case: case.localize("--to", "cocoo"), "no format named 'cocoo'; did you mean 'coco'?"),
    "an unknown device": (lambda case: case.evaluate("--device", "cuda:77"), "no device 'cuda:77' here; there is cpu"),
    "an unknown precision": (lambda case: case.localize("--precision", "fp8"), "bf16"),
    "a number in words": (lambda case: case.train("--epochs", "ten"), "ten"),
    "a missing flag": (lambda case: ["evaluate", case.run, "--data", case.data], "--out"),
    "a missing argument": (lambda case: ["train", "--data", case.data, "--out", case.out], "RECIPE"),
    "no test split to choose the epoch on": (
        lambda case: ["train", case.run.parent / "tiny.yaml", "--data", case.folder / "others", "--out", case.out],
        "others: no test split for --select oracle; take --select val or last",
    ),
    "too few pictures to hold any out": (
        lambda case: case.train("--select", "val"),
        "6 pictures of 3 classes are too few to hold 0.1 of them out; raise --val-fraction, or take --select last",
    ),
    "more blocks to freeze than there are": (
        lambda case: case.train("--freeze-blocks", "3"),
        "freeze_blocks 3; expected at most 2, the backbone's blocks",
    ),
    "an unknown choice of the epoch": (lambda case: case.train("--select", "best"), "oracle"),
    "a folder to resume that is not a run": (
        lambda case: ["resume", case.data],
        "data: not the folder of a run, it has no config.yaml; RUN is what train's --out was",
    ),
    "a fraction of an epoch": (lambda case: case.train("--epochs", "1.5"), "--epochs 1.5; expected a whole number"),
    "a fraction of a picture": (
        lambda case: case.localize("--batch-size", "2.4"),
        "--batch-size 2.4; expected a whole number",
    ),
    "a fraction among epochs": (
        lambda case: case.train("--learning-rate-steps", "1", "2.5"),
        "--learning-rate-steps 2.5; expected a whole number",
    ),
    "a fraction of a thread": (
        lambda _: ["benchmark", "deit_tiny_patch16_224", "--threads", "0.5"],
        "--threads 0.5; expected a whole number",
    ),
    "an empty folder of data": (
        lambda case: ["train", case.run.parent / "tiny.yaml", "--data", "", "--out", case.out],
        "--data is empty; name a file or folder",
    ),
    "an empty folder to write into": (
        lambda case: ["evaluate", case.run, "--data", case.data, "--out", ""],
        "--out is empty; name a file or folder",
    ),
    "an empty model": (lambda case: ["localize", case.data, "--model=", "--out", case.out], "--model is empty"),
    "an empty picture": (lambda case: ["explain", "", "--model", case.run, "--out", case.out], "PICTURE is empty"),
    "a name too long for a folder": (
        lambda case: ["train", case.run.parent / "tiny.yaml", "--data", case.data, "--out", case.folder / ("n" * 300)],
        "--out: a name of more than 255 bytes; choose a shorter one",
    ),
    "a name too long for data": (
        lambda case: ["train", case.run.parent / "tiny.yaml", "--data", "n" * 300, "--out", case.out],
        "--data: a name of more than 255 bytes; choose a shorter one",
    ),
    "an empty model to evaluate": (
        lambda case: ["evaluate", "", "--data", case.data, "--out", case.out],
        "MODEL is empty",
    ),
    "a name too long for a model": (
        lambda case: case.localize(model="n" * 300),
        "--model: a name of more than 255 bytes; choose a shorter one",
    ),
    "a name with a line break": (
        lambda case: ["train", case.run.parent / "tiny.yaml", "--data", "two\nlines", "--out", case.out],
        r"two\nlines: no such folder",
    ),
    "a folder to start from": (
        lambda case: case.train("--weights", case.run),
        "run: a folder; use ",
    ),
    "no epochs": (lambda case: case.train("--epochs", "0"), "epochs 0; expected more than 0"),
    "a negative seed": (lambda case: case.train("--seed", "-1"), "seed -1; expected 0 to"),
    "a missing model": (
        lambda case: case.evaluate(model=case.folder / "gone"),
        "gone: no such file or folder; a MODEL is a model folder, a run folder, or a .pth file",
    ),
    "a folder that is not a model": (
        lambda case: case.localize(model=case.data),
        "not a model folder, it has no readable config.json",
    ),
    "an invalid name on the hub": (
        lambda case: case.evaluate(model="hf-hub:foxes@v1"),
        "hf-hub:foxes@v1: not the name of a model on the hub; expected hf-hub:user/name or with @revision",
    ),
    "a model of the hub that cannot be evaluated": (
        lambda case: case.evaluate(model="hf-hub:nobody/nothing"),
        "hf-hub:nobody/nothing: the hub cannot be reached, and the model is not cached; connect (or unset HF_HUB_",
    ),
    "a model of the hub that cannot localize": (
        lambda case: case.localize(model="hf-hub:nobody/nothing@v1"),
        "hf-hub:nobody/nothing@v1: the hub cannot be reached",
    ),
    "a model of the hub that cannot be explained": (
        lambda case: ["explain", first_picture(case), "--model", "hf-hub:nobody/nothing", "--out", case.out],
        "hf-hub:nobody/nothing: the hub cannot be reached",
    ),
    "a model of the hub that cannot be converted": (
        lambda case: ["convert-weights", "hf-hub:nobody/nothing", "--out", case.out],
        "hf-hub:nobody/nothing: the hub cannot be reached",
    ),
    "a model of the hub that cannot be timed": (
        lambda _: ["benchmark", "hf-hub:nobody/nothing"],
        "hf-hub:nobody/nothing: the hub cannot be reached",
    ),
    "a folder to publish that is not a model": (
        lambda case: ["push", case.data, "user/name"],
        "data: not a model folder, it has no readable config.json",
    ),
    "a file to publish": (
        lambda case: ["push", case.data / "boxes.csv", "user/name"],
        "boxes.csv: not a folder; what is published is a model folder or a run folder",
    ),
    "a repository without a user": (
        lambda case: ["push", case.run, "name"],
        "repository 'name'; expected user/name",
    ),
    "a license in words": (
        lambda case: ["push", case.run, "user/name", "--license", "Apache License 2.0"],
        "license 'Apache License 2.0'; expected an identifier such as apache-2.0, cc-by-nc-4.0 or other",
    ),
    "publishing without a network": (
        lambda case: ["push", case.run, "user/name"],
        "user/name: cannot be uploaded (OfflineModeIsEnabled: ",
    ),
    "a missing start": (lambda case: case.train("--weights", case.folder / "gone.pth"), "gone.pth: no such file"),
    "a data set of other classes": (
        lambda case: ["evaluate", case.run, "--data", case.folder / "others", "--out", case.out],
        "2 classes, the model has 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(case_with_data: Case, tscam: Call, mistake: str) -> None:
    write_folder(case_with_data.folder / "others", class_names=("cat", "dog"))
    arguments, message = MISTAKES[mistake]
    answer = tscam(*arguments(case_with_data))
    assert_refused(answer, message)
    assert not case_with_data.out.exists()


@pytest.mark.parametrize("threshold", ["0", "1", "-0.1", "1.5", "nan", "inf"])
@pytest.mark.parametrize("verb", ["evaluate", "localize"])
def test_a_threshold_that_is_not_a_fraction_is_refused(
    case_with_data: Case, tscam: Call, verb: str, threshold: str
) -> None:
    arguments = case_with_data.evaluate() if verb == "evaluate" else case_with_data.localize()
    assert_refused(tscam(*arguments, "--threshold", threshold), f"threshold {threshold}; expected a fraction")
    assert not case_with_data.out.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epcohs: 3", "mine.yaml: no setting 'epcohs'; did you mean 'epochs'?"),
        ("epochs: many", "mine.yaml: epochs is 'many'; expected int"),
        ("learning_rate_steps: 10", "mine.yaml: learning_rate_steps is 10; expected a list: [int, …]"),
        ("epochs: [", "mine.yaml: not YAML"),
        ("just words", "mine.yaml: not a recipe"),
    ],
)
def test_a_broken_recipe_is_refused(case_with_data: Case, tscam: Call, text: str, message: str) -> None:
    (case_with_data.folder / "mine.yaml").write_text(text)
    assert_refused(tscam(*case_with_data.train(recipe=case_with_data.folder / "mine.yaml")), message)
    assert not case_with_data.out.exists()


def test_weights_of_another_shape_are_refused_with_both_shapes(case_with_data: Case, tscam: Call) -> None:
    weights = load_file(case_with_data.run / "weights" / "best" / "model.safetensors")
    narrow = {name: tensor[..., :16].contiguous() for name, tensor in weights.items()}
    save_file(narrow, case_with_data.folder / "narrow.safetensors")
    answer = tscam(*case_with_data.train("--weights", case_with_data.folder / "narrow.safetensors"))
    assert_refused(answer, "narrow.safetensors: ")
    assert "the model's is" in answer.err

    model = case_with_data.folder / "model"
    model.mkdir()
    (model / "config.json").write_bytes((case_with_data.run / "weights" / "best" / "config.json").read_bytes())
    save_file(weights | {"head.weight": torch.zeros(4, 32, 3, 3)}, model / "model.safetensors")
    for arguments in (case_with_data.evaluate(model=model), case_with_data.localize(model=model)):
        assert_refused(tscam(*arguments), "head.weight is (4, 32, 3, 3), the model's is (3, 32, 3, 3)")
    assert not case_with_data.out.exists()


def test_a_file_that_is_not_a_checkpoint_is_not_converted(case_with_data: Case, tscam: Call) -> None:
    for name, content, message in (
        ("model.onnx", b"", "unknown ending '.onnx'; a MODEL is a folder or ends in .safetensors, .pth"),
        ("empty.pth", b"", "empty.pth: cannot be read as weights"),
        ("text.pth", b"hello, these are words and no weights", "text.pth: "),
        ("broken.safetensors", b"\xff" * 64, "broken.safetensors: cannot be read as weights"),
    ):
        (case_with_data.folder / name).write_bytes(content)
        assert_refused(tscam("convert-weights", case_with_data.folder / name, "--out", case_with_data.out), message)
        assert_refused(tscam(*case_with_data.evaluate(model=case_with_data.folder / name)), message)
    torch.save({"fc.weight": torch.zeros(3, 4)}, case_with_data.folder / "resnet.pth")
    answer = tscam("convert-weights", case_with_data.folder / "resnet.pth", "--out", case_with_data.out)
    assert_refused(
        answer, "not a TS-CAM checkpoint on DeiT or Conformer, nor VGG16-CAM: missing patch_embed.proj.weight"
    )
    assert not case_with_data.out.exists()


def test_labels_for_another_number_of_classes_are_refused(tmp_path: Path, tscam: Call) -> None:
    model = create_model("deit_tiny_patch16_224", label_names=3, image_size=32)
    torch.save(model.tensors(), tmp_path / "theirs.pth")
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    answer = tscam("convert-weights", tmp_path / "theirs.pth", "--out", tmp_path / "out", "--labels", names)
    assert_refused(answer, "names.txt: 2 names, the model has 3 classes")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["tscam", "tscam.cli"])
def test_a_mistake_in_a_process_of_its_own_is_one_line_as_well(module: str, tmp_path: Path) -> None:
    answer = run_python("-m", module, "check", "gone", cwd=tmp_path)
    assert_refused(answer, "gone: no such folder; --data takes the folder of a data set")


def test_debug_shows_the_traceback_of_a_mistake(case_with_data: Case, tscam: Call) -> None:
    for arguments in (
        ["--debug", *case_with_data.evaluate(model=case_with_data.data)],
        case_with_data.train("--epochs=0", "--debug"),
    ):
        answer = tscam(*arguments)
        assert answer.code == 2
        assert "Traceback (most recent call last)" in answer.err
        assert answer.err.splitlines()[-1].startswith("tscam: ")
    assert not case_with_data.out.exists()
