"""The command line as people use it: help without waiting, and every step from pictures to boxes."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command_line import TINY, Answer, Call, assert_refused, run_python
from data_sets import draw_picture, write_folder
from fake_hub import running_hub
from tiny_models import save_ramps
from tscam.cli.app import app
from tscam.model import create_model
from tscam.recipe import list_recipes, to_yaml, train_config


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_help_of_every_verb_imports_no_pytorch() -> None:
    script = """
import sys
from tscam.cli.app import app
for verb in ["", *sys.argv[1:]]:
    try:
        app([*verb.split(), "--help"])
    except SystemExit as exited:
        assert not exited.code, exited.code
heavy = {"torch", "torchvision", "timm", "accelerate", "safetensors", "cv2", "numpy", "PIL", "matplotlib", "yaml",
         "jinja2"}
print("imported:", sorted(heavy & set(sys.modules)))
"""
    verbs = [name for name in app if not name.startswith("-")]
    assert set(verbs) == {
        "demo", "check", "train", "resume", "evaluate", "compare", "localize", "explain", "convert-weights", "push",
        "benchmark", "list",
    }  # fmt: skip
    answer = run_python("-c", script, *verbs)
    assert (answer.code, answer.err) == (0, "")
    assert answer.last_line == "imported: []"
    for verb in verbs:
        assert f"tscam {verb}" in answer.out
    assert "fraction of the map's maximum" in " ".join(answer.out.replace("│", " ").split())


@pytest.mark.parametrize("module", ["tscam", "tscam.cli"])
def test_python_runs_the_command_line_as_a_module(module: str, tmp_path: Path) -> None:
    answer = run_python("-m", module, "--help", cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("Usage: tscam COMMAND\n")


def test_importing_the_package_imports_no_pytorch() -> None:
    script = (
        "import sys, tscam; dir(tscam); print(sorted({'torch', 'cv2', 'numpy'} & set(sys.modules)), tscam.TscamError)"
    )
    answer = run_python("-c", script)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "[] <class 'tscam.errors.TscamError'>\n"


def test_what_comes_after_the_map_is_imported_without_pytorch() -> None:
    modules = (
        "tscam.localizer", "tscam.evaluation", "tscam.predictors", "tscam.formats", "tscam.checkpoints.source",
        "tscam.verbs.localize", "tscam.verbs.evaluate", "tscam.verbs.compare",
    )  # fmt: skip
    libraries = ("torch", "torchvision", "timm", "accelerate", "safetensors")
    script = f"import sys, {', '.join(modules)}; print(sorted(set({libraries}) & set(sys.modules)))"
    answer = run_python("-c", script)
    assert (answer.code, answer.err, answer.out) == (0, "", "[]\n")


def test_saved_maps_are_evaluated_without_pytorch(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"test": 2})
    save_ramps(tmp_path / "data", tmp_path / "maps", "test")
    script = """
import sys
from tscam.cli import main
try:
    main()
finally:
    print(sorted({"torch", "timm", "safetensors", "huggingface_hub"} & set(sys.modules)))
"""
    arguments = ("evaluate", "--data", "data", "--maps", "maps", "--out", "out", "--protocol", "max-box-acc")
    answer = run_python("-c", script, *arguments, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.last_line == "[]"
    assert (tmp_path / "out" / "report.html").is_file()


def test_from_pictures_to_boxes_in_processes_of_their_own(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", splits={"train": 4, "test": 2})
    (tmp_path / "tiny.yaml").write_text(TINY)

    def tscam(*arguments: str) -> Answer:
        answer = run_python("-m", "tscam.cli", *arguments, cwd=tmp_path)
        assert answer.code == 0, answer.err
        return answer

    trained = tscam("train", "tiny.yaml", "--data", "data", "--out", "run", "--select", "val", "--val-fraction", "0.3")
    assert trained.last_line == str(tmp_path / "run")
    assert "epoch 2/2 done: loss" in trained.err

    scores = tscam("evaluate", "run", "--data", "data", "--out", "scores")
    assert scores.last_line == str(tmp_path / "scores")
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["pictures"] == 6
    known = metrics["protocols"]["ts-cam"]["scores"]["gt_known_loc"]["value"]
    assert f"GT-known loc {known:6.2f} %" in scores.out
    assert "protocol ts-cam" in scores.out

    localized = tscam(
        "localize", "data/test", "--model", "run", "--out", "found", "--to", "coco", "--draw", "--top-k", "2"
    )
    assert localized.out == f"{tmp_path / 'found'}\n"
    assert len((tmp_path / "found" / "localizations.jsonl").read_text().splitlines()) == 6
    assert len(list((tmp_path / "found" / "drawings").iterdir())) == 6
    assert (tmp_path / "found" / "annotations" / "instances_localized.json").is_file()


def test_a_run_is_trained_again_from_the_settings_it_keeps(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    answer = tscam("train", workshop / "run" / "config.yaml", "--out", tmp_path / "again")
    assert (answer.code, answer.last_line) == (0, str(tmp_path / "again")), answer.err
    runs = (workshop / "run", tmp_path / "again")
    first, again = (load_file(run / "weights" / "last" / "model.safetensors") for run in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_resuming_a_complete_run_tests_it_once_more_and_changes_nothing(
    workshop: Path, tmp_path: Path, tscam: Call
) -> None:
    run = tmp_path / "moved"
    shutil.copytree(workshop / "run", run)
    before = files(run)
    answer = tscam("resume", run)
    assert (answer.code, answer.last_line) == (0, str(run)), answer.err
    after = files(run)
    metrics = "test/metrics.json"  # It names the path of the model.
    assert json.loads(after.pop(metrics)) == json.loads(before.pop(metrics)) | {"model": str(run / "weights" / "best")}
    assert after == before


def test_flags_override_the_recipe(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    answer = tscam(
        "train", workshop / "tiny.yaml", "--data", workshop / "data", "--out", tmp_path / "run", "--epochs", "1",
        "--learning-rate-steps", "3", "--learning-rate-steps", "5", "--seed=4",
        "--backbone-args", '{"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "init_values": 0.01}',
    )  # fmt: skip
    assert answer.code == 0, answer.err
    settings = (tmp_path / "run" / "config.yaml").read_text()
    assert "epochs: 1\n" in settings
    assert "learning_rate_steps:\n- 3\n- 5\n" in settings
    assert "seed: 4\n" in settings
    assert "  depth: 2\n" in settings
    assert "  init_values: 0.01\n" in settings
    assert "learning_rate: 0.001\n" in settings


def test_a_view_that_is_not_square_is_trained_evaluated_localized_and_timed(
    workshop: Path, tmp_path: Path, tscam: Call
) -> None:
    run, data = tmp_path / "wide", workshop / "data"
    flags = ("--image-size", "24x48", "--resize-size", "56", "--epochs", "1")
    assert tscam("train", workshop / "tiny.yaml", "--data", data, "--out", run, *flags).code == 0
    model = json.loads((run / "weights" / "best" / "config.json").read_text())
    assert model["pretrained_cfg"]["input_size"] == [3, 24, 48]
    assert tscam("evaluate", run, "--data", data, "--out", tmp_path / "scores").code == 0
    assert tscam("localize", data / "test", "--model", run, "--out", tmp_path / "boxes").code == 0
    line = json.loads((tmp_path / "boxes" / "localizations.jsonl").read_text().splitlines()[0])
    (map_,) = line["maps"].values()
    assert map_["grid"] == [3, 6]
    timed = tscam("benchmark", "vit_tiny_patch16_224", "--image-size", "32x64", "--batch-size", "1", "--threads", "1")
    assert timed.out.startswith("vit_tiny_patch16_224, 32×64, 1000 classes")
    refused = tscam("benchmark", "vit_tiny_patch16_224", "--image-size", "32x")
    assert_refused(refused, "image size '32x'; expected a number such as 224, or height x width, such as 48x96")


def test_printed_settings_are_a_recipe_of_the_same_run(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    run = workshop / "run"
    printed = tscam("train", workshop / "tiny.yaml", "--data", workshop / "data", "--out", run, "--print-config")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (run / "config.yaml").read_text()  # The settings that the run has saved.
    (tmp_path / "mine.yaml").write_text(printed.out)
    again = tscam("train", tmp_path / "mine.yaml", "--out", tmp_path / "again", "--epochs", "1", "--print-config")
    assert again.out == printed.out.replace(f"out: {run}", f"out: {tmp_path / 'again'}").replace(
        "epochs: 2", "epochs: 1"
    )
    assert not (tmp_path / "again").exists()


def test_settings_are_printed_without_data_and_out(tscam: Call) -> None:
    printed = tscam("train", "modern/cub-deit-small", "--print-config", "--seed", "7")
    expected = train_config("modern/cub-deit-small", data="DATA", out="RUN", seed=7)
    assert (printed.code, printed.err, printed.out) == (0, "", to_yaml(expected))
    refused = tscam("train", "modern/cub-deit-small", "--print-config", "--ema", "2")
    assert_refused(refused, "ema 2.0; expected between 0 and 1")


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


def test_a_complete_dataset_passes_the_check(workshop: Path, tscam: Call) -> None:
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
    assert answer.err.splitlines()[-1] == f"tscam: {tmp_path}: not usable as it is; fix the problems listed above"


def test_names_are_listed_one_a_line(tscam: Call) -> None:
    assert {"ts-cam", "cam", "attention"} <= set(tscam("list", "methods").out.splitlines())
    assert {"cub", "folder", "imagenet"} <= set(tscam("list", "datasets").out.splitlines())
    assert "coco" in tscam("list", "formats").out.splitlines()
    assert tscam("list", "recipes", "cub/*").out.splitlines() == [
        "cub/conformer-small", "cub/deit-base", "cub/deit-base-384", "cub/deit-small", "cub/deit-tiny", "cub/vgg16-cam",
    ]  # fmt: skip
    lines = [line.split() for line in tscam("list", "backbones", "*_224").out.splitlines()]
    backbones = [name for name, *_ in lines if name.startswith("deit_")]
    methods = {name: " ".join(names) for name, *names in lines}
    assert methods["deit_tiny_patch16_224"] == "attention cam foreground grad-cam rollout training-free ts-cam"
    assert methods["vit_base_patch16_siglip_224"] == "cam grad-cam"
    assert methods["vit_small_patch16_18x2_224"] == "not served"
    assert {"deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224"} <= set(backbones)


def test_a_run_is_published_and_serves_every_verb_from_the_hub(
    workshop: Path, tscam: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_hub(monkeypatch, tmp_path / "cache") as hub:
        pushed = tscam("push", workshop / "run", "user/foxes", "--private", "--license", "apache-2.0")
        assert (pushed.code, pushed.err) == (0, "")
        assert pushed.last_line.endswith("/user/foxes")
        assert hub.repositories["user/foxes"].private
        card = hub.repositories["user/foxes"].files["README.md"].decode()
        assert "license: apache-2.0\n" in card
        assert "Epoch chosen: `oracle (epoch of best gt_known_loc on split 'test')`" in card

        data, model = workshop / "data", "hf-hub:user/foxes"
        scores = tscam("evaluate", model, "--data", data, "--out", tmp_path / "scores")
        assert scores.code == 0, scores.err
        hub_metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
        assert hub_metrics["model"] == model
        run_metrics = json.loads((workshop / "run" / "test" / "metrics.json").read_text())
        assert hub_metrics["protocols"]["ts-cam"]["scores"] == run_metrics["protocols"]["ts-cam"]["scores"]
        for verb in (
            ["localize", data / "test", "--model", f"{model}@main"],
            ["explain", min(data.rglob("*.png")), "--model", model, "--methods", "ts-cam"],
            ["convert-weights", model],
        ):
            answer = tscam(*verb, "--out", tmp_path / str(verb[0]))
            assert (answer.code, answer.last_line) == (0, str(tmp_path / str(verb[0]))), answer.err
        copy, best = files(tmp_path / "convert-weights"), files(workshop / "run" / "weights" / "best")
        assert copy["model.safetensors"] == best["model.safetensors"]
        assert tscam("benchmark", model, "--batch-size", "1", "--threads", "1").code == 0


def test_backbones_are_listed_without_importing_what_builds_them() -> None:
    script = """
import sys
from tscam.verbs.list import describe_names
print(len(describe_names("backbones", pattern="deit_tiny_patch16_224")), "timm" in sys.modules)
"""
    assert run_python("-c", script).out == "1 False\n"


def test_a_picture_is_explained_on_four_pages(workshop: Path, tmp_path: Path, tscam: Call) -> None:
    picture = next((workshop / "data" / "test").rglob("*.png"))
    answer = tscam("explain", picture, "--model", workshop / "run", "--out", tmp_path / "pages", "--label", "dog")
    assert (answer.code, answer.out) == (0, f"{tmp_path / 'pages'}\n"), answer.err
    pages = files(tmp_path / "pages")
    assert pages.pop(".lock") == b""
    assert sorted(pages) == ["classes.png", "coupling.png", "layers.png", "methods.png"]
    assert all(page.startswith(b"\x89PNG") for page in pages.values())
    again = tscam("explain", picture, "--model", workshop / "run", "--out", tmp_path / "again", "--label", "dog")
    assert again.code == 0, again.err
    assert files(tmp_path / "again") == {".lock": b"", **pages}


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


def test_every_recipe_of_a_benchmark_has_its_row_in_the_model_zoo() -> None:
    page = (Path(__file__).parents[2] / "docs" / "model_zoo.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\| `tscam train (\S+) ", page)) == {
        name for name in list_recipes() if name.startswith(("cub/", "ilsvrc/"))
    }
