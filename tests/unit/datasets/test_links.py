"""Links out of a data set: followed in a folder that the user named, listed by check, never where a list names them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_sets import draw_picture, write_cub, write_folder, write_imagenet, write_wsol
from tscam.datasets import check_dataset, read_dataset
from tscam.errors import DataError


def replace_by_link(path: Path, target: Path) -> None:
    """Move a file or folder to `target`, and leave a link in its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    path.symlink_to(target)


def cub(root: Path) -> str:
    write_cub(root, masks=True)
    return "images/001.Bird_1/Bird_1_0002.jpg"


def imagenet(root: Path) -> str:
    write_imagenet(root)
    return "val/n01440764/ILSVRC2012_val_00000001.JPEG"


def wsol(root: Path) -> str:
    write_wsol(root, name="OpenImages", masks=True)
    return "dataset/OpenImages/001.Bird_1/test_3.png"


LISTED: dict[str, Callable[[Path], str]] = {"cub": cub, "imagenet": imagenet, "wsol": wsol}
listed = pytest.mark.parametrize("write", LISTED.values(), ids=LISTED)


@listed
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_list_that_leads_out_by_a_link_is_refused(tmp_path: Path, write: Callable[[Path], str], what: str) -> None:
    path = tmp_path / "data" / write(tmp_path / "data")
    link = path if what == "file" else path.parent
    replace_by_link(link, tmp_path / "elsewhere" / link.name)
    refusal = rf"'{path.parent.name}/[^']*' is a link out of the data set, to .*elsewhere.*; copy it, a list may not"
    with pytest.raises(DataError, match=refusal):
        read_dataset(tmp_path / "data")


@listed
def test_a_list_may_name_links_inside_the_data_set(tmp_path: Path, write: Callable[[Path], str]) -> None:
    path = tmp_path / write(tmp_path)
    replace_by_link(path, tmp_path / "all" / path.name)
    dataset = read_dataset(tmp_path)
    assert all(dataset.path(index).is_file() for index in range(len(dataset)))


@listed
def test_the_folder_of_all_pictures_may_be_a_link(tmp_path: Path, write: Callable[[Path], str]) -> None:
    path = tmp_path / "data" / write(tmp_path / "data")
    folder = path.parent.parent
    replace_by_link(folder, tmp_path / "disk" / folder.name)
    dataset = read_dataset(tmp_path / "data")
    assert all(dataset.path(index).is_file() for index in range(len(dataset)))


@listed
def test_the_root_may_be_a_link(tmp_path: Path, write: Callable[[Path], str]) -> None:
    write(tmp_path / "disk")
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert check_dataset(tmp_path / "data").usable


def test_a_mask_that_leads_out_by_a_link_is_refused(tmp_path: Path) -> None:
    wsol(tmp_path / "data")
    mask = tmp_path / "data" / "dataset" / "OpenImages" / "001.Bird_1" / "test_3_ignore.png"
    replace_by_link(mask, tmp_path / "elsewhere.png")
    with pytest.raises(
        DataError, match=r"localization\.txt:\d+: '001\.Bird_1/test_3_ignore\.png' is a link out of the"
    ):
        read_dataset(tmp_path / "data")


def test_a_segmentation_of_cub_that_leads_out_by_a_link_is_refused(tmp_path: Path) -> None:
    cub(tmp_path / "data")
    replace_by_link(tmp_path / "data" / "segmentations" / "001.Bird_1" / "Bird_1_0002.png", tmp_path / "a.png")
    with pytest.raises(DataError, match=r"'001\.Bird_1/Bird_1_0002\.png' is a link out of the data set"):
        read_dataset(tmp_path / "data")


def test_a_missing_picture_of_a_list_is_no_link(tmp_path: Path) -> None:
    write_cub(tmp_path)
    (tmp_path / "images" / "001.Bird_1" / "Bird_1_0002.jpg").unlink()
    assert check_dataset(tmp_path).splits[1].missing == ("001.Bird_1/Bird_1_0002.jpg",)


def test_links_of_class_folders_are_followed_and_listed_by_check(tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_folder(root, class_names=("cat", "dog", "emu"), boxes=None)
    replace_by_link(root / "cat", tmp_path / "elsewhere" / "cat")
    replace_by_link(root / "dog" / "dog_0_1.png", tmp_path / "elsewhere" / "a.png")
    replace_by_link(root / "emu" / "emu_0_1.png", root / "emu" / "inside.png")
    draw_picture(tmp_path / "elsewhere" / "more" / "b.png")
    (root / "dog" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    assert len(read_dataset(root)) == 8
    said = check_dataset(root).describe()
    assert (
        "all: 4 pictures are behind links out of the data set: cat/cat_0_0.png, cat/cat_0_1.png, dog/dog_0_1.png, "
        in said
    )
    assert "emu" not in "".join(line for line in said.splitlines() if "links" in line)


def test_without_links_check_says_nothing_of_them(tmp_path: Path) -> None:
    write_folder(tmp_path, boxes=None)
    assert "behind links" not in check_dataset(tmp_path).describe()
