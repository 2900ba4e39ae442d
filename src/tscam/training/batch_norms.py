"""Running statistics of batch norms in training: held where frozen, taken back where a step is, shared by processes."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tscam.system.processes import Processes


class RunningStatistics:
    """The means, variances and counts that a model's batch norms keep; nothing at all in a plain Vision Transformer."""

    def __init__(self, model: nn.Module) -> None:
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]

    def hold_frozen(self) -> None:
        """Norms whose weights are not trained use their statistics as they are, and do not change them."""
        for norm in self._norms:
            if not any(weight.requires_grad for weight in norm.parameters()):
                norm.eval()

    def kept(self) -> list[Tensor]:
        """A copy, for `restore`."""
        return [tensor.clone() for tensor in self._tensors()]

    def restore(self, kept: Sequence[Tensor]) -> None:
        """Takes a copy back."""
        for tensor, before in zip(self._tensors(), kept, strict=True):
            tensor.copy_(before)

    def share(self, processes: Processes, *, weight: float) -> None:
        """Makes those of all processes the same: their mean, in which this one's counts by `weight`."""
        if processes.count > 1:
            floats = [tensor.mul_(weight) for tensor in self._tensors() if tensor.is_floating_point()]
            processes.add_up(floats)

    def _tensors(self) -> list[Tensor]:
        return [tensor for norm in self._norms for tensor in norm.buffers()]
