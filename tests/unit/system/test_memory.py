"""Out of memory is recognized by the error of each device, and no other error is taken for it."""

import pytest
import torch

from tscam.system.memory import free_unused, is_out_of_memory


def test_the_error_of_the_cpus_allocator_means_out_of_memory() -> None:
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
def test_the_errors_of_gpus_and_python_mean_out_of_memory(fault: Exception) -> None:
    assert is_out_of_memory(fault)


@pytest.mark.parametrize(
    "fault",
    [RuntimeError("mat1 and mat2 do not fit"), ValueError("can't allocate memory"), OSError(12, "x"), SystemExit()],
)
def test_another_error_does_not_mean_out_of_memory(fault: BaseException) -> None:
    assert not is_out_of_memory(fault)


def test_freeing_memory_does_not_initialize_a_gpu() -> None:
    before = torch.cuda.is_initialized()
    free_unused()
    assert torch.cuda.is_initialized() == before
