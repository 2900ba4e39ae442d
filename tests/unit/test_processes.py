"""A process that works alone holds everything: sums and gathered items are its own, and nothing is waited for."""

import pytest
import torch

from tscam.system.processes import ALONE, Processes, is_member, joined, local_rank

CPU = torch.device("cpu")


def test_alone_a_process_is_the_main_one_and_its_numbers_are_the_sums() -> None:
    assert (ALONE.rank, ALONE.count, ALONE.is_main) == (0, 1, True)
    assert ALONE.sum([1.5, -2.0], device=CPU) == [1.5, -2.0]
    assert ALONE.sum([], device=CPU) == []
    items = [{"index": 3}, {"index": 1}]
    assert ALONE.gather(items) == items
    ALONE.wait()


def test_alone_gradients_stay_to_the_bit() -> None:
    weight, frozen = torch.ones(2, 3, requires_grad=True), torch.ones(4)
    (weight * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    ALONE.add_up([weight, frozen])
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1, 2, 3], [1, 2, 3]]
    assert frozen.grad is None


def test_the_first_of_several_is_the_main_one() -> None:
    assert [Processes(rank=rank, count=3).is_main for rank in range(3)] == [True, False, False]


def test_the_environment_says_whether_a_process_is_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
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
