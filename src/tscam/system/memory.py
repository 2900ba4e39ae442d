"""Out of memory: each device reports it in its own way. For PyTorch code."""

import torch

# Messages of errors without a class of their own: the CPU's allocators and oneDNN, Apple's GPUs, a failed CUDA call.
_MESSAGES = ("can't allocate memory", "not enough memory", "out of memory", "could not create a primitive")


def is_out_of_memory(fault: BaseException) -> bool:
    """True for the errors of a GPU, the CPU's allocator and Python that mean out of memory."""
    return isinstance(fault, torch.OutOfMemoryError | MemoryError) or (
        isinstance(fault, RuntimeError) and any(message in str(fault) for message in _MESSAGES)
    )


def free_unused() -> None:
    """Free the GPU memory that PyTorch caches but does not use."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
