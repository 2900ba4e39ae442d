"""Lack of memory is known by what each device says of it, and nothing else is taken for it."""

import pytest
import torch

from tscam.system.memory import free_unused, is_out_of_memory


def test_what_the_cpus_allocator_really_raises_is_lack_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert type(caught.value) is RuntimeError
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.93 GiB)"),
        RuntimeError("could not create a primitive"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] data. DefaultCPUAllocator: not enough memory: you tried"),
    ],
    ids=str,
)
def test_what_gpus_and_python_raise_is_lack_of_memory(fault: Exception) -> None:
    assert is_out_of_memory(fault)


@pytest.mark.parametrize(
    "fault",
    [RuntimeError("mat1 and mat2 do not fit"), ValueError("can't allocate memory"), OSError(12, "x"), SystemExit()],
)
def test_another_fault_is_not(fault: BaseException) -> None:
    assert not is_out_of_memory(fault)


def test_giving_memory_back_begins_no_work_with_a_gpu() -> None:
    before = torch.cuda.is_initialized()
    free_unused()
    assert torch.cuda.is_initialized() == before
