"""States on the disk are complete after any kill, and are never loaded with a changed byte."""

import random
import signal
from pathlib import Path

from corruption import corrupt, corrupt_is_refused
from faults import Child, Fault, command_line, in_child, kill
from runs import EVERY_STEP, Bench, kills, outcome
from saves import keep_saving, other_disk, require_whole, save
from tscam.verbs.train import train

KILLS, STATES = 15, 250  # `scripts/soak` has more of both.


def test_a_killed_save_leaves_the_old_or_the_new_state_wherever_temporary_files_go(tmp_path: Path) -> None:
    elsewhere = other_disk(tmp_path)
    environment = {"TMPDIR": str(elsewhere)}

    def begin(run: Path, fault: list[Fault]) -> Child:
        run.mkdir()
        save(run, 0)
        log = run.with_suffix(".log")
        return Child(keep_saving, run, log, 4, elsewhere, watched=run, faults=fault, environment=environment)

    unbroken = begin(tmp_path / "unbroken", []).ended()
    require_whole(tmp_path / "unbroken", tmp_path / "unbroken.log")
    for number, fault in enumerate(kills(unbroken.events, KILLS, random.Random(3))):
        run = tmp_path / str(number)
        ended = begin(run, [fault]).ended()
        assert ended.code == -signal.SIGKILL, fault
        require_whole(run, run.with_suffix(".log"))
    assert list(elsewhere.iterdir()) == []
    elsewhere.rmdir()


def test_a_state_with_a_changed_byte_is_refused_and_the_one_before_is_loaded(tmp_path: Path) -> None:
    for number in (1, 2):
        save(tmp_path / "run", number)
    generator = random.Random(4)
    refused = [corrupt_is_refused(tmp_path / "run" / "state", tmp_path / "scratch", generator) for _ in range(STATES)]
    assert sum(refused) > 0.9 * STATES  # The others have other white space, and are the same state.


def test_a_run_resumes_from_the_state_before_a_corrupt_one_and_says_so(bench: Bench) -> None:
    config = bench.run(save_minutes=EVERY_STEP)
    stop = Fault(event="step: forward", nth=6, do=kill)
    assert in_child(train, config, watched=config.out, faults=[stop]).code == -signal.SIGKILL
    newest = max((config.out / "state").glob("*.safetensors"))
    corrupt(newest, random.Random(5))
    ended = in_child(command_line, "resume", config.out)
    assert ended.code == 0, ended
    assert (
        f"a corrupt state is set aside: {newest.with_suffix('.json')}: ValueError: the checksum of {newest.name}"
        in ended.err
    )
    (newest.with_suffix(".spoilt")).unlink()
    assert outcome(config.out) == bench.whole(save_minutes=EVERY_STEP).outcome


def test_the_files_of_a_state_have_the_permissions_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save(tmp_path / "run", 1)
    for file in (tmp_path / "run" / "state").iterdir():
        assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode, file.name


def test_without_a_complete_state_one_line_gives_the_reason_for_each(bench: Bench) -> None:
    config = bench.run()
    assert in_child(train, config).code == 0
    first, second = sorted((config.out / "state").glob("*.json"))
    corrupt(first.with_suffix(".safetensors"), random.Random(6))
    second.write_text("{}")
    ended = in_child(command_line, "resume", config.out)
    assert ended.code == 2
    message = ended.err.splitlines()[-1]
    assert message.startswith(
        f"tscam: {config.out}/state: nothing to continue from ({second}: KeyError: 'tensors'; {first}: "
    )
    assert message.endswith("; start again with `tscam train … --overwrite`")
    assert "Traceback" not in ended.err
