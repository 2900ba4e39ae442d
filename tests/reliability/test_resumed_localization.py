"""A localization that is killed at any moment and resumed has the bytes of the unbroken one."""

import signal
from collections.abc import Mapping

import pytest

from faults import Fault, kill
from tscam.errors import OutputError
from unbroken import KillAfter, Localizations, files_of, tear_last_line

# Just before an event; `start` stands before all events of a run that is no training.
EVENTS = {
    "the record is begun": ("start: open x *.part", 1),
    "the record is in place": ("start: os.rename run.json", 1),
    "the first picture is read": ("start: picture read to score", 1),
    "a drawing is begun": ("start: open x drawings/*.part", 2),
    "a drawing is in place": ("start: os.rename drawings/#-#.jpg", 5),
    "the list of bad pictures is begun": ("start: open x *.part", 2),
    "a format is begun": ("start: open x annotations/*.part", 1),
    "a file of a format in place": ("start: os.rename Annotations/#.xml", 4),
    "the record is complete": ("start: os.rename run.json", 2),
}
MOMENTS = {f"after {done} pictures": KillAfter(done) for done in (1, 2, 4, 6, 9)} | {
    moment: Fault(event=event, nth=nth, do=kill) for moment, (event, nth) in EVENTS.items()
}


@pytest.fixture(scope="module")
def localizations(tmp_path_factory: pytest.TempPathFactory) -> Localizations:
    return Localizations(tmp_path_factory.mktemp("localizations"))


@pytest.fixture(scope="module")
def unbroken(localizations: Localizations) -> Mapping[str, bytes]:
    """The files of an unbroken run."""
    config = localizations.config()
    ended = localizations.run(config)
    assert ended.result == config.out, ended
    files = files_of(config.out)
    assert len([name for name in files if name.startswith("drawings/")]) == 7
    assert files["bad_images.csv"].count(b"\n") == 3
    assert {event for event, _ in EVENTS.values()} <= ended.events.keys(), list(ended.events)
    return files


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_localization_that_is_resumed_ends_as_the_unbroken_one(
    moment: str, localizations: Localizations, unbroken: Mapping[str, bytes]
) -> None:
    config = localizations.config()
    assert localizations.run(config, fault=MOMENTS[moment]).code == -signal.SIGKILL
    if (done := config.out / "localizations.jsonl").exists():
        tear_last_line(done)
    ended = localizations.run(config, resume=True)
    assert ended.result == config.out, ended
    assert files_of(config.out) == unbroken


def test_a_localization_that_is_killed_each_time_it_is_resumed_ends_as_the_unbroken_one(
    localizations: Localizations, unbroken: Mapping[str, bytes]
) -> None:
    config = localizations.config()
    for done in (2, 3, 7, 8):
        ended = localizations.run(config, fault=KillAfter(done), resume=True)
        assert ended.code == -signal.SIGKILL, ended
        assert (config.out / "localizations.jsonl").read_bytes().count(b"\n") == done
    assert localizations.run(config, resume=True).result == config.out
    assert files_of(config.out) == unbroken
    assert localizations.run(config, resume=True).result == config.out
    assert files_of(config.out) == unbroken


def test_other_pictures_another_model_and_other_settings_are_not_mixed_with_an_interrupted_run(
    localizations: Localizations,
) -> None:
    config = localizations.config()
    assert localizations.run(config, fault=KillAfter(5)).code == -signal.SIGKILL
    before = files_of(config.out)
    refused = localizations.run(config).error
    assert str(refused).startswith(
        f"{config.out}: an interrupted run of `tscam localize` is here; go on with it by --resume"
    )
    picture = localizations.pictures / "0.png"
    content = picture.read_bytes()
    picture.write_bytes(content + b"\0")
    refused = localizations.run(config, resume=True).error
    picture.write_bytes(content)
    assert isinstance(refused, OutputError)
    assert "the list of pictures changed since the run here began" in str(refused)
    assert files_of(config.out) == before
