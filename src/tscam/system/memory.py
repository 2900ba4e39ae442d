"""Does an exception say that memory has run out? Each device says it in its own way."""

import torch

# In the errors that have no class of their own: the CPU's allocators and oneDNN on it, Apple's GPUs, and a CUDA call
# that failed.
_SAID = ("can't allocate memory", "not enough memory", "out of memory", "could not create a primitive")


def is_out_of_memory(fault: BaseException) -> bool:
    """True for what a GPU, the CPU's allocator and Python raise when memory does not suffice."""
    return isinstance(fault, torch.OutOfMemoryError | MemoryError) or (
        isinstance(fault, RuntimeError) and any(words in str(fault) for words in _SAID)
    )


def free_unused() -> None:
    """Gives back what PyTorch keeps of a GPU's memory without need."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
