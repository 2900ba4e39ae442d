"""The command line as a person meets it: from pictures to boxes, and one line of help for every mistake."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from data_sets import draw_picture, write_cub, write_folder, write_imagenet
from tscam.cli import app, main
from tscam.config import train_config
from tscam.model import create_model
from tscam.training.loop import train

TINY = """
backbone: vit_tiny_patch16_224
backbone_args: {patch_size: 8, embed_dim: 32, depth: 2, num_heads: 2}
weights: none
image_size: 32
resize_size: 36
epochs: 2
batch_size: 6
learning_rate: 1e-3
learning_rate_steps: []
device: cpu
workers: 0
"""


@dataclass(frozen=True)
class Answer:
    """What a command line said."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.out.splitlines()[-1]


Call = Callable[..., Answer]


@pytest.fixture
def tscam(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line in this process."""

    def call(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["tscam", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return Answer(int(left.value.code or 0), said.out, said.err)

    return call


def run_python(*arguments: str | Path, cwd: Path | None = None) -> Answer:
    """Runs Python in a process of its own, in which nothing is imported yet and warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=240,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, `tiny.yaml`, and `run`, trained from them; not to be changed."""
    folder = tmp_path_factory.mktemp("workshop")
    write_folder(folder / "data", splits={"train": 4, "test": 2})
    (folder / "tiny.yaml").write_text(TINY)
    train(train_config(str(folder / "tiny.yaml"), data=folder / "data", out=folder / "run"))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_of_every_verb_is_there_without_waiting_for_the_network() -> None:
    script = """
import sys
from tscam.cli import app
for verb in ["", *sys.argv[1:]]:
    try:
        app([*verb.split(), "--help"])
    except SystemExit as left:
        assert not left.code, left.code
heavy = {"torch", "torchvision", "timm", "accelerate", "safetensors", "cv2", "numpy", "PIL", "matplotlib", "yaml"}
print("imported:", sorted(heavy & set(sys.modules)))
"""
    verbs = [name for name in app if not name.startswith("-")]
    assert set(verbs) == {
        "demo", "check", "train", "evaluate", "localize", "convert-weights", "benchmark", "list",
    }  # fmt: skip
    answer = run_python("-c", script, *verbs)
    assert (answer.code, answer.err) == (0, "")
    assert answer.last_line == "imported: []"
    for verb in verbs:
        assert f"tscam {verb}" in answer.out
    assert "fraction of the map's maximum" in " ".join(answer.out.replace("│", " ").split())


def test_the_package_is_imported_without_the_network() -> None:
    script = (
        "import sys, tscam; dir(tscam); print(sorted({'torch', 'cv2', 'numpy'} & set(sys.modules)), tscam.TscamError)"
    )
    answer = run_python("-c", script)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "[] <class 'tscam.errors.TscamError'>\n"


def test_from_pictures_to_boxes_in_processes_of_their_own(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 4, "test": 2})
    (tmp_path / "tiny.yaml").write_text(TINY)

    def tscam(*arguments: str) -> Answer:
        answer = run_python("-m", "tscam.cli", *arguments, cwd=tmp_path)
        assert answer.code == 0, answer.err
        return answer

    trained = tscam("train", "tiny.yaml", "--data", "data", "--out", "run")
    assert trained.out == f"{tmp_path / 'run'}\n"
    assert "epoch 2/2 done: loss" in trained.err

    scores = tscam("evaluate", "run", "--data", "data", "--out", "scores")
    assert scores.last_line == str(tmp_path / "scores")
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["images"] == 6
    assert f"GT-known loc {metrics['gt_known_loc']:6.2f} %" in scores.out
    assert "protocol ts-cam" in scores.out

    found = tscam("localize", "data/test", "--model", "run", "--out", "found", "--to", "coco", "--draw", "--top-k", "2")
    assert found.out == f"{tmp_path / 'found'}\n"
    assert len((tmp_path / "found" / "localizations.jsonl").read_text().splitlines()) == 6
    assert len(list((tmp_path / "found" / "drawings").iterdir())) == 6
    assert (tmp_path / "found" / "annotations" / "instances_localized.json").is_file()


def test_a_run_is_trained_again_from_the_settings_it_keeps(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    answer = tscam("train", workshop / "run" / "config.yaml", "--out", tmp_path / "again")
    assert (answer.code, answer.last_line) == (0, str(tmp_path / "again")), answer.err
    runs = (workshop / "run", tmp_path / "again")
    first, again = (load_file(run / "weights" / "last" / "model.safetensors") for run in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_flags_go_before_the_recipe(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    answer = tscam(
        "train", workshop / "tiny.yaml", "--data", workshop / "data", "--out", tmp_path / "run", "--epochs", "1",
        "--learning-rate-steps", "3", "--learning-rate-steps", "5", "--seed=4",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    kept = (tmp_path / "run" / "config.yaml").read_text()
    assert "epochs: 1\n" in kept
    assert "learning_rate_steps:\n- 3\n- 5\n" in kept
    assert "seed: 4\n" in kept
    assert "learning_rate: 0.001\n" in kept


def test_a_checkpoint_of_the_authors_becomes_a_model_that_evaluates(
    workshop: Path, tmp_path: Path, tscam: Call
) -> None:
    model = create_model("deit_tiny_patch16_224", label_names=3, image_size=32)
    state = {f"module.{name}": tensor for name, tensor in model.tensors().items()}
    torch.save({"epoch": 60, "state_dict": state, "best_map": 0.9}, tmp_path / "theirs.pth")
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\nemu\n")
    made = tscam("convert-weights", tmp_path / "theirs.pth", "--out", tmp_path / "ours", "--labels", names)
    assert (made.code, made.out) == (0, f"{tmp_path / 'ours'}\n"), made.err
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["label_names"] == ["cat", "dog", "emu"]
    results = []
    for name in ("theirs.pth", "ours"):
        out = tmp_path / f"scores of {name}"
        scored = tscam("evaluate", tmp_path / name, "--data", workshop / "data", "--out", out)
        assert scored.code == 0, scored.err
        results.append((out / "per_image.jsonl").read_bytes())
    assert results[0] == results[1]


def test_a_whole_data_set_passes_the_check(workshop: Path, tscam: Call) -> None:
    answer = tscam("check", workshop / "data")
    assert answer.code == 0, answer.err
    assert "12" in answer.out
    assert "6" in answer.out
    assert "folder" in answer.out


def test_the_check_names_what_is_broken_and_fails(tmp_path: Path, tscam: Call) -> None:
    write_folder(tmp_path, splits={"train": 4, "test": 2})
    (tmp_path / "train" / "dog" / "dog_0_2.png").write_bytes(b"\x89PNG")
    answer = tscam("check", tmp_path)
    assert answer.code == 2
    assert "train/dog/dog_0_2.png" in answer.out
    assert answer.err.splitlines()[-1] == f"tscam: {tmp_path}: not usable as it is; mend what is listed above"


def test_names_are_listed_a_line_each(tscam: Call) -> None:
    assert {"ts-cam", "cam", "attention"} <= set(tscam("list", "methods").out.splitlines())
    assert {"cub", "folder", "imagenet"} <= set(tscam("list", "datasets").out.splitlines())
    assert "coco" in tscam("list", "formats").out.splitlines()
    assert tscam("list", "recipes", "cub/*").out.splitlines() == ["cub/deit-small", "cub/deit-tiny"]
    backbones = tscam("list", "backbones", "deit_*_patch16_224").out.splitlines()
    assert {"deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224"} <= set(backbones)
    assert all(name.startswith("deit_") for name in backbones)


def test_a_benchmark_prints_its_three_measurements(workshop: Path, tscam: Call) -> None:
    answer = tscam("benchmark", workshop / "run", "--batch-size", "2", "--threads", "1")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0].startswith("vit_tiny_patch16_224, 32×32, 3 classes, batch 2, fp32, cpu")
    assert [line[:3] for line in answer.out.splitlines()[1:]] == ["(a)", "(b)", "(b)", "(c)"]


def test_a_picture_that_cannot_be_read_is_listed_and_the_others_are_localized(
    workshop: Path, tmp_path: Path, tscam: Call
) -> None:
    for number in range(3):
        draw_picture(tmp_path / "pictures" / f"{number}.png", seed=number)
    (tmp_path / "pictures" / "1.png").write_bytes(b"\x89PNG")
    answer = tscam("localize", tmp_path / "pictures", "--model", workshop / "run", "--out", tmp_path / "found")
    assert (answer.code, answer.last_line) == (0, str(tmp_path / "found"))
    lines = [json.loads(line) for line in (tmp_path / "found" / "localizations.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["ok", "bad_image", "ok"]
    bad = (tmp_path / "found" / "bad_images.csv").read_text().splitlines()
    assert bad[0] == "image,reason"
    assert bad[1].startswith(f"{tmp_path / 'pictures' / '1.png'},")
    assert len(bad) == 2


def test_overwrite_empties_the_folder_and_its_absence_keeps_it(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    calls = {
        "evaluate": ["evaluate", workshop / "run", "--data", workshop / "data"],
        "localize": ["localize", workshop / "data" / "test", "--model", workshop / "run"],
        "train": ["train", workshop / "tiny.yaml", "--data", workshop / "data", "--epochs", "1"],
    }
    for verb, arguments in calls.items():
        out = tmp_path / verb
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
        refused = tscam(*arguments, "--out", out)
        assert_refused(refused, "the folder is not empty; choose another one, or empty it with --overwrite")
        assert files(out) == {"thesis.txt": b"years of work"}
        done = tscam(*arguments, "--out", out, "--overwrite")
        assert (done.code, done.last_line) == (0, str(out)), done.err
        assert "thesis.txt" not in files(out)


def assert_refused(answer: Answer, said: str) -> None:
    """Exit code 2, and one line on stderr that begins with `tscam: ` and says this."""
    assert answer.code == 2, answer
    assert answer.out == ""
    assert answer.err.startswith("tscam: ")
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.endswith("\n")
    assert said in answer.err


@dataclass(frozen=True)
class Place:
    """Where a mistake is made: a data set of its own, the trained run, and an `out` that must not be made."""

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

    def evaluate(self, *flags: str | Path, model: Path | None = None) -> list[str | Path]:
        return ["evaluate", model or self.run, "--data", self.data, "--out", self.out, *flags]

    def localize(self, *flags: str | Path, model: Path | None = None, of: str = "test") -> list[str | Path]:
        return ["localize", self.data / of, "--model", model or self.run, "--out", self.out, *flags]


@pytest.fixture
def place(workshop: Path, tmp_path: Path) -> Place:
    return Place(tmp_path, workshop / "run")


@pytest.mark.parametrize("verb", ["train", "evaluate", "check", "localize"])
@pytest.mark.parametrize("there", [False, True])
def test_a_missing_or_empty_folder_of_data_is_refused(place: Place, tscam: Call, verb: str, *, there: bool) -> None:
    if there:
        place.data.mkdir()
    calls: dict[str, list[str | Path]] = {
        "train": place.train(),
        "evaluate": place.evaluate(),
        "check": ["check", place.data],
        "localize": place.localize(of=""),
    }
    missing, empty = "no such folder", "an empty folder"
    if verb == "localize":
        missing, empty = "no such file or folder", "no pictures in this folder"
    assert_refused(tscam(*calls[verb]), f"{place.data}: {empty if there else missing}")
    assert not place.out.exists()


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines))


BROKEN_LINES = {
    "bounding_boxes.txt": (3, "3 1.0 nan 5.0 5.0", "'nan' is not a finite number"),
    "image_class_labels.txt": (4, "4 99", "class 99; classes.txt holds 1 to 3"),
    "train_test_split.txt": (2, "2 maybe", "split 'maybe'; expected 1 for training or 0 for test"),
    "images.txt": (5, "5 ../../etc/passwd", "leads out of the data set"),
}


@pytest.mark.parametrize("name", BROKEN_LINES)
@pytest.mark.parametrize("verb", ["train", "evaluate", "check"])
def test_a_broken_line_of_cubs_lists_is_refused_with_file_and_line(
    place: Place, tscam: Call, verb: str, name: str
) -> None:
    write_cub(place.data)
    number, text, said = BROKEN_LINES[name]
    replace_line(place.data / name, number, text)
    calls: dict[str, list[str | Path]] = {
        "train": place.train(),
        "evaluate": place.evaluate(),
        "check": ["check", place.data],
    }
    answer = tscam(*calls[verb])
    assert_refused(answer, said)
    assert f"{place.data / name}:{number}: " in answer.err
    assert not place.out.exists()


def test_a_label_of_imagenets_list_out_of_range_is_refused_with_file_and_line(place: Place, tscam: Call) -> None:
    write_imagenet(place.data)
    path = place.data / "ILSVRC2012_list" / "val_folder_new.txt"
    replace_line(path, 2, path.read_text().splitlines()[1].replace(" 0 ", " 3 ", 1))
    assert_refused(tscam(*place.evaluate()), f"{path}:2: label 3; expected 0 to 2")
    assert not place.out.exists()


def test_a_broken_row_of_boxes_is_refused_with_file_and_line(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"train": 2, "test": 1})
    replace_line(place.data / "boxes.csv", 4, "train/dog/dog_0_0.png,30,5,20,9")
    for arguments in (place.train(), place.evaluate()):
        answer = tscam(*arguments)
        assert_refused(answer, f"{place.data / 'boxes.csv'}:4: box (30, 5, 20, 9) runs backwards")
    assert not place.out.exists()


def test_a_picture_that_cannot_be_decoded_stops_training_and_evaluation(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"train": 2, "test": 2})
    path = place.data / "test" / "emu" / "emu_1_1.png"
    path.write_bytes(path.read_bytes()[:-100])
    for arguments in (place.train(), place.evaluate()):
        assert_refused(tscam(*arguments), "'test/emu/emu_1_1.png'")
        assert not place.out.exists()


def test_a_picture_without_a_box_stops_evaluation(place: Place, tscam: Call) -> None:
    write_folder(place.data, splits={"test": 2})
    lines = (place.data / "boxes.csv").read_text().splitlines()
    (place.data / "boxes.csv").write_text("\n".join(line for line in lines if "dog_0_1" not in line))
    assert_refused(tscam(*place.evaluate()), "1 of 6 pictures have no box, the first is 'test/dog/dog_0_1.png'")
    assert not place.out.exists()


@pytest.fixture
def furnished(place: Place) -> Place:
    """A place with a whole data set."""
    write_folder(place.data, splits={"train": 2, "test": 1})
    return place


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
    "an unknown argument of the backbone": (
        lambda at: at.train("--backbone-args", '{"dephts": 3}'),
        "dephts",
    ),
    "an unknown method": (
        lambda at: at.train("--method", "tscam"),
        "no method named 'tscam'; did you mean 'ts-cam'? Registered: attention, cam, ts-cam",
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
    "an unknown split": (lambda at: at.evaluate("--split", "tset"), "no split 'tset'; it holds train, test"),
    "an unknown format": (lambda at: at.localize("--to", "cocoo"), "no format named 'cocoo'; did you mean 'coco'?"),
    "an unknown device": (lambda at: at.evaluate("--device", "cuda:77"), "no device 'cuda:77' here; there is cpu"),
    "an unknown precision": (lambda at: at.localize("--precision", "fp8"), "bf16"),
    "a number in words": (lambda at: at.train("--epochs", "ten"), "ten"),
    "a missing flag": (lambda at: ["evaluate", at.run, "--data", at.data], "--out"),
    "a missing argument": (lambda at: ["train", "--data", at.data, "--out", at.out], "RECIPE"),
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
    assert_refused(answer, "not a TS-CAM checkpoint on DeiT: missing patch_embed.proj.weight")
    assert not furnished.out.exists()


def test_labels_of_another_number_are_not_taken(tmp_path: Path, tscam: Call) -> None:
    model = create_model("deit_tiny_patch16_224", label_names=3, image_size=32)
    torch.save(model.tensors(), tmp_path / "theirs.pth")
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    answer = tscam("convert-weights", tmp_path / "theirs.pth", "--out", tmp_path / "out", "--labels", names)
    assert_refused(answer, "names.txt: 2 names, the model has 3 classes")
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_a_process_of_its_own_is_one_line_too(tmp_path: Path) -> None:
    answer = run_python("-m", "tscam.cli", "check", "gone", cwd=tmp_path)
    assert_refused(answer, "gone: no such folder; --data takes the folder of a data set")


def test_debug_shows_where_a_mistake_was_found(furnished: Place, tscam: Call) -> None:
    for arguments in (["--debug", *furnished.evaluate(model=furnished.data)], furnished.train("--epochs=0", "--debug")):
        answer = tscam(*arguments)
        assert answer.code == 2
        assert "Traceback (most recent call last)" in answer.err
        assert answer.err.splitlines()[-1].startswith("tscam: ")
    assert not furnished.out.exists()
