"""Every mistake on the command line is one line of help that names the place, and it leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from command_line import Call, assert_refused, run_python
from data_sets import write_folder
from mistakes import Place
from tscam.model import create_model


def first_picture(at: Place) -> Path:
    return min(at.data.rglob("*.png"))


MISTAKES: dict[str, tuple[Callable[[Place], list[str | Path]], str]] = {
    "a size that does not divide": (
        lambda at: at.train("--image-size", "30"),
        "image size 30 is not a multiple of the patch, 8 pixels; take 24 or 32",
    ),
    "a size above the crop": (
        lambda at: at.train("--image-size", "40"),
        "resize_size 36 is below image_size 40",
    ),
    "a size that does not divide, of the benchmark": (
        lambda _: ["benchmark", "deit_tiny_patch16_224", "--image-size", "100"],
        "image size 100 is not a multiple of the patch, 16 pixels; take 96 or 112",
    ),
    "an unknown backbone": (
        lambda at: at.train("--backbone", "deit_smal_patch16_224"),
        "no backbone named 'deit_smal_patch16_224'; did you mean 'deit_small_patch16_224'?",
    ),
    "an unknown backbone of the benchmark": (
        lambda _: ["benchmark", "deit_tinny_patch16_224"],
        "did you mean 'deit_tiny_patch16_224'?",
    ),
    "a backbone without a class token": (
        lambda at: at.train("--backbone", "vit_wee_patch16_reg1_gap_256", "--backbone-args", '{"depth": 1}'),
        "no class token",
    ),
    "a network of convolutions for TS-CAM": (
        lambda at: at.train("--backbone", "vgg16_cam", "--backbone-args", "{}"),
        "method 'ts-cam' reads the class token's attention, and this backbone has no class token; "
        "use one of cam, grad-cam",
    ),
    "a layer that is not there": (
        lambda at: at.evaluate("--method", "ts-cam", "--method-args", '{"layers": [0, 2]}'),
        "layers [0, 2]; expected a list of different integers from 0 to 1, such as [1]",
    ),
    "a head of another kind": (
        lambda at: at.evaluate("--method", "training-free"),
        "method 'training-free' needs another head than weights trained for 'ts-cam' have; use one of "
        "attention, cam, grad-cam, rollout, ts-cam, or train with --method training-free",
    ),
    "an option of another method": (
        lambda at: at.localize("--method", "attention", "--method-args", '{"relu": true}'),
        "method 'attention' has no option 'relu'; it has layers, heads",
    ),
    "a pattern that fits nothing": (
        lambda _: ["list", "backbones", "swinn*"],
        "no backbones match 'swinn*'; give a shell pattern, such as 'deit*'",
    ),
    "an unknown class to explain": (
        lambda at: at.explain("--label", "dgo"),
        "no class named 'dgo'; did you mean 'dog'?",
    ),
    "an unknown method to explain by": (lambda at: at.explain("--methods", "cams"), "did you mean 'cam'?"),
    "no picture to explain": (
        lambda at: ["explain", at.folder / "gone.png", "--model", at.run, "--out", at.out],
        "gone.png",
    ),
    "an unknown argument of the backbone": (
        lambda at: at.train("--backbone-args", '{"dephts": 3}'),
        "dephts",
    ),
    "an unknown method": (
        lambda at: at.train("--method", "tscam"),
        "no method named 'tscam'; did you mean 'ts-cam'? "
        "Registered: attention, cam, grad-cam, rollout, training-free, ts-cam",
    ),
    "an unknown method in evaluation": (lambda at: at.evaluate("--method", "cams"), "did you mean 'cam'?"),
    "an unknown method in localization": (lambda at: at.localize("--method", "atention"), "did you mean 'attention'?"),
    "an unknown recipe": (
        lambda at: at.train(recipe="cub/deit-smal"),
        "no recipe 'cub/deit-smal'; did you mean 'cub/deit-small'?",
    ),
    "an unknown flag": (lambda at: at.train("--epcohs", "3"), "Did you mean --epochs?"),
    "a flag of another verb": (lambda at: at.localize("--data", "x"), "--data"),
    "an unknown verb": (lambda _: ["evalute"], "Did you mean"),
    "an unknown kind of names": (lambda _: ["list", "backbons"], "backbones"),
    "an unknown reader": (lambda at: at.train("--dataset", "fodler"), "no dataset named 'fodler'; did you mean 'f"),
    "an unknown split": (lambda at: at.evaluate("--split", "tset"), "no split 'tset'; available: train, test"),
    "an unknown format": (lambda at: at.localize("--to", "cocoo"), "no format named 'cocoo'; did you mean 'coco'?"),
    "an unknown device": (lambda at: at.evaluate("--device", "cuda:77"), "no device 'cuda:77' here; there is cpu"),
    "an unknown precision": (lambda at: at.localize("--precision", "fp8"), "bf16"),
    "a number in words": (lambda at: at.train("--epochs", "ten"), "ten"),
    "a missing flag": (lambda at: ["evaluate", at.run, "--data", at.data], "--out"),
    "a missing argument": (lambda at: ["train", "--data", at.data, "--out", at.out], "RECIPE"),
    "a test split for the choice that is not there": (
        lambda at: ["train", at.run.parent / "tiny.yaml", "--data", at.folder / "others", "--out", at.out],
        "others: no test split for --select oracle; take --select val or last",
    ),
    "too few pictures to hold any out": (
        lambda at: at.train("--select", "val"),
        "6 pictures of 3 classes are too few to hold 0.1 of them out; raise --val-fraction, or take --select last",
    ),
    "more blocks to freeze than there are": (
        lambda at: at.train("--freeze-blocks", "3"),
        "freeze_blocks 3; expected at most 2, the backbone's blocks",
    ),
    "an unknown choice of the epoch": (lambda at: at.train("--select", "best"), "oracle"),
    "a folder to resume that is no run": (
        lambda at: ["resume", at.data],
        "data: not the folder of a run, it has no config.yaml; RUN is what train's --out was",
    ),
    "a fraction of an epoch": (lambda at: at.train("--epochs", "1.5"), "--epochs 1.5; expected a whole number"),
    "a fraction of a picture": (
        lambda at: at.localize("--batch-size", "2.4"),
        "--batch-size 2.4; expected a whole number",
    ),
    "a fraction among epochs": (
        lambda at: at.train("--learning-rate-steps", "1", "2.5"),
        "--learning-rate-steps 2.5; expected a whole number",
    ),
    "a fraction of a thread": (
        lambda _: ["benchmark", "deit_tiny_patch16_224", "--threads", "0.5"],
        "--threads 0.5; expected a whole number",
    ),
    "an empty folder of data": (
        lambda at: ["train", at.run.parent / "tiny.yaml", "--data", "", "--out", at.out],
        "--data is empty; name a file or folder",
    ),
    "an empty folder to write into": (
        lambda at: ["evaluate", at.run, "--data", at.data, "--out", ""],
        "--out is empty; name a file or folder",
    ),
    "an empty model": (lambda at: ["localize", at.data, "--model=", "--out", at.out], "--model is empty"),
    "an empty picture": (lambda at: ["explain", "", "--model", at.run, "--out", at.out], "PICTURE is empty"),
    "a name that no folder can have": (
        lambda at: ["train", at.run.parent / "tiny.yaml", "--data", at.data, "--out", at.folder / ("n" * 300)],
        "--out: a name of more than 255 bytes; choose a shorter one",
    ),
    "a name of data that no folder can have": (
        lambda at: ["train", at.run.parent / "tiny.yaml", "--data", "n" * 300, "--out", at.out],
        "--data: a name of more than 255 bytes; choose a shorter one",
    ),
    "an empty model to evaluate": (lambda at: ["evaluate", "", "--data", at.data, "--out", at.out], "MODEL is empty"),
    "a model's name that no folder can have": (
        lambda at: at.localize(model="n" * 300),
        "--model: a name of more than 255 bytes; choose a shorter one",
    ),
    "a name with a line break": (
        lambda at: ["train", at.run.parent / "tiny.yaml", "--data", "two\nlines", "--out", at.out],
        r"two\nlines: no such folder",
    ),
    "a folder to start from": (
        lambda at: at.train("--weights", at.run),
        "run: a folder; use ",
    ),
    "no epochs": (lambda at: at.train("--epochs", "0"), "epochs 0; expected more than 0"),
    "a negative seed": (lambda at: at.train("--seed", "-1"), "seed -1; expected 0 to"),
    "a missing model": (
        lambda at: at.evaluate(model=at.folder / "gone"),
        "gone: no such file or folder; a MODEL is a model folder, a run folder, or a .pth file",
    ),
    "a folder that is no model": (
        lambda at: at.localize(model=at.data),
        "not a model folder, it has no readable config.json",
    ),
    "a name on the hub that is none": (
        lambda at: at.evaluate(model="hf-hub:foxes@v1"),
        "hf-hub:foxes@v1: not the name of a model on the hub; expected hf-hub:user/name or with @revision",
    ),
    "a model of the hub that evaluation cannot have": (
        lambda at: at.evaluate(model="hf-hub:nobody/nothing"),
        "hf-hub:nobody/nothing: the hub cannot be reached, and the model is not cached; connect (or unset HF_HUB_",
    ),
    "a model of the hub that localization cannot have": (
        lambda at: at.localize(model="hf-hub:nobody/nothing@v1"),
        "hf-hub:nobody/nothing@v1: the hub cannot be reached",
    ),
    "a model of the hub that cannot be explained": (
        lambda at: ["explain", first_picture(at), "--model", "hf-hub:nobody/nothing", "--out", at.out],
        "hf-hub:nobody/nothing: the hub cannot be reached",
    ),
    "a model of the hub that cannot be converted": (
        lambda at: ["convert-weights", "hf-hub:nobody/nothing", "--out", at.out],
        "hf-hub:nobody/nothing: the hub cannot be reached",
    ),
    "a model of the hub that cannot be timed": (
        lambda _: ["benchmark", "hf-hub:nobody/nothing"],
        "hf-hub:nobody/nothing: the hub cannot be reached",
    ),
    "a folder to publish that is no model": (
        lambda at: ["push", at.data, "user/name"],
        "data: not a model folder, it has no readable config.json",
    ),
    "a file to publish": (
        lambda at: ["push", at.data / "boxes.csv", "user/name"],
        "boxes.csv: not a folder; what is published is a model folder or a run folder",
    ),
    "a repository without a user": (
        lambda at: ["push", at.run, "name"],
        "repository 'name'; expected user/name",
    ),
    "a license in words": (
        lambda at: ["push", at.run, "user/name", "--license", "Apache License 2.0"],
        "license 'Apache License 2.0'; expected an identifier such as apache-2.0, cc-by-nc-4.0 or other",
    ),
    "publishing without a network": (
        lambda at: ["push", at.run, "user/name"],
        "user/name: cannot be uploaded (OfflineModeIsEnabled: ",
    ),
    "a missing start": (lambda at: at.train("--weights", at.folder / "gone.pth"), "gone.pth: no such file"),
    "a data set of other classes": (
        lambda at: ["evaluate", at.run, "--data", at.folder / "others", "--out", at.out],
        "2 classes, the model has 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(furnished: Place, tscam: Call, mistake: str) -> None:
    write_folder(furnished.folder / "others", class_names=("cat", "dog"))
    arguments, said = MISTAKES[mistake]
    answer = tscam(*arguments(furnished))
    assert_refused(answer, said)
    assert not furnished.out.exists()


@pytest.mark.parametrize("threshold", ["0", "1", "-0.1", "1.5", "nan", "inf"])
@pytest.mark.parametrize("verb", ["evaluate", "localize"])
def test_a_threshold_that_is_no_fraction_is_refused(furnished: Place, tscam: Call, verb: str, threshold: str) -> None:
    arguments = furnished.evaluate() if verb == "evaluate" else furnished.localize()
    assert_refused(tscam(*arguments, "--threshold", threshold), f"threshold {threshold}; expected a fraction")
    assert not furnished.out.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epcohs: 3", "mine.yaml: no setting 'epcohs'; did you mean 'epochs'?"),
        ("epochs: many", "mine.yaml: epochs is 'many'; expected int"),
        ("learning_rate_steps: 10", "mine.yaml: learning_rate_steps is 10; expected a list: [int, …]"),
        ("epochs: [", "mine.yaml: not YAML"),
        ("just words", "mine.yaml: not a recipe"),
    ],
)
def test_a_broken_recipe_is_refused(furnished: Place, tscam: Call, text: str, said: str) -> None:
    (furnished.folder / "mine.yaml").write_text(text)
    assert_refused(tscam(*furnished.train(recipe=furnished.folder / "mine.yaml")), said)
    assert not furnished.out.exists()


def test_weights_of_another_shape_are_refused_with_both_shapes(furnished: Place, tscam: Call) -> None:
    weights = load_file(furnished.run / "weights" / "best" / "model.safetensors")
    narrow = {name: tensor[..., :16].contiguous() for name, tensor in weights.items()}
    save_file(narrow, furnished.folder / "narrow.safetensors")
    answer = tscam(*furnished.train("--weights", furnished.folder / "narrow.safetensors"))
    assert_refused(answer, "narrow.safetensors: ")
    assert "the model's is" in answer.err

    model = furnished.folder / "model"
    model.mkdir()
    (model / "config.json").write_bytes((furnished.run / "weights" / "best" / "config.json").read_bytes())
    save_file(weights | {"head.weight": torch.zeros(4, 32, 3, 3)}, model / "model.safetensors")
    for arguments in (furnished.evaluate(model=model), furnished.localize(model=model)):
        assert_refused(tscam(*arguments), "head.weight is (4, 32, 3, 3), the model's is (3, 32, 3, 3)")
    assert not furnished.out.exists()


def test_a_file_that_is_no_checkpoint_is_not_converted(furnished: Place, tscam: Call) -> None:
    for name, content, said in (
        ("model.onnx", b"", "unknown ending '.onnx'; a MODEL is a folder or ends in .safetensors, .pth"),
        ("empty.pth", b"", "empty.pth: cannot be read as weights"),
        ("text.pth", b"hello, these are words and no weights", "text.pth: "),
        ("broken.safetensors", b"\xff" * 64, "broken.safetensors: cannot be read as weights"),
    ):
        (furnished.folder / name).write_bytes(content)
        assert_refused(tscam("convert-weights", furnished.folder / name, "--out", furnished.out), said)
        assert_refused(tscam(*furnished.evaluate(model=furnished.folder / name)), said)
    torch.save({"fc.weight": torch.zeros(3, 4)}, furnished.folder / "resnet.pth")
    answer = tscam("convert-weights", furnished.folder / "resnet.pth", "--out", furnished.out)
    assert_refused(
        answer, "not a TS-CAM checkpoint on DeiT or Conformer, nor VGG16-CAM: missing patch_embed.proj.weight"
    )
    assert not furnished.out.exists()


def test_labels_of_another_number_are_not_taken(tmp_path: Path, tscam: Call) -> None:
    model = create_model("deit_tiny_patch16_224", label_names=3, image_size=32)
    torch.save(model.tensors(), tmp_path / "theirs.pth")
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    answer = tscam("convert-weights", tmp_path / "theirs.pth", "--out", tmp_path / "out", "--labels", names)
    assert_refused(answer, "names.txt: 2 names, the model has 3 classes")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["tscam", "tscam.cli"])
def test_a_mistake_in_a_process_of_its_own_is_one_line_too(module: str, tmp_path: Path) -> None:
    answer = run_python("-m", module, "check", "gone", cwd=tmp_path)
    assert_refused(answer, "gone: no such folder; --data takes the folder of a data set")


def test_debug_shows_where_a_mistake_was_found(furnished: Place, tscam: Call) -> None:
    for arguments in (["--debug", *furnished.evaluate(model=furnished.data)], furnished.train("--epochs=0", "--debug")):
        answer = tscam(*arguments)
        assert answer.code == 2
        assert "Traceback (most recent call last)" in answer.err
        assert answer.err.splitlines()[-1].startswith("tscam: ")
    assert not furnished.out.exists()
