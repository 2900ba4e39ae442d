"""A process alone is the main one: sums and gathered items are its own, and it waits for nothing."""

import pytest
import torch

from tscam.errors import ConfigError
from tscam.system.processes import ALONE, Processes, find_device, is_member, joined, local_rank, own_device

CPU = torch.device("cpu")


def test_a_process_alone_is_the_main_one_and_its_numbers_are_the_sums() -> None:
    assert (ALONE.rank, ALONE.count, ALONE.is_main) == (0, 1, True)
    assert ALONE.sum([1.5, -2.0], device=CPU) == [1.5, -2.0]
    assert ALONE.sum([], device=CPU) == []
    items = [{"index": 3}, {"index": 1}]
    assert ALONE.gather(items) == items
    ALONE.wait()


def test_a_process_alone_keeps_its_gradients_bit_for_bit() -> None:
    weight, frozen = torch.ones(2, 3, requires_grad=True), torch.ones(4)
    (weight * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    ALONE.add_up([weight, frozen])
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1, 2, 3], [1, 2, 3]]
    assert frozen.grad is None


def test_the_first_of_several_is_the_main_one() -> None:
    assert [Processes(rank=rank, count=3).is_main for rank in range(3)] == [True, False, False]


def test_the_environment_tells_whether_a_process_is_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert (is_member(), local_rank()) == (False, 0)
    with joined("cpu") as processes:
        assert processes is ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_member()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (is_member(), local_rank()) == (True, 1)


def test_a_named_device_is_checked_even_by_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="no device 'gpu' here; there is cpu"), joined("gpu"):
        pass


@pytest.mark.parametrize(
    ("members", "name", "gpus", "device"),
    [
        (1, None, (), None),
        (1, "cuda", (), "cuda"),
        (1, "cpu", (5,), "cuda:5"),
        (3, "cpu", (), "cpu"),
        (3, "cuda:0", (), "cuda:0"),
        (3, None, (), "cuda:2"),
        (3, "cuda", (), "cuda:2"),
        (3, None, (7, 5, 6), "cuda:6"),
    ],
    ids=str,
)
def test_each_of_several_processes_has_a_gpu_of_its_own(
    members: int, name: str | None, gpus: tuple[int, ...], device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(members))
    monkeypatch.setenv("LOCAL_RANK", str(members - 1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert own_device(name, gpus=gpus) == device


def test_several_processes_without_gpus_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device(None) is None


def test_a_device_that_computes_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="no device 'meta' here; there is cpu"):
        find_device("meta")


def test_no_device_named_means_the_gpu_where_there_is_one() -> None:
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == torch.device("cpu")
