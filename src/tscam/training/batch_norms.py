"""Running statistics of batch norms in training: kept where frozen, restored with a step, shared by processes."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tscam.system.processes import Processes


class RunningStatistics:
    """Means, variances and counts of a model's batch norms; a plain Vision Transformer has none."""

    def __init__(self, model: nn.Module) -> None:
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]

    def freeze(self) -> None:
        """Put norms whose weights are not trained into evaluation mode, which keeps their statistics."""
        for norm in self._norms:
            if not any(weight.requires_grad for weight in norm.parameters()):
                norm.eval()

    def copy(self) -> list[Tensor]:
        """A copy, for `restore`."""
        return [tensor.clone() for tensor in self._tensors()]

    def restore(self, copies: Sequence[Tensor]) -> None:
        """Set the statistics to a copy."""
        for tensor, copied in zip(self._tensors(), copies, strict=True):
            tensor.copy_(copied)

    def share(self, processes: Processes, *, weight: float) -> None:
        """Set the statistics of all processes to their weighted mean; `weight` is this process's."""
        if processes.count > 1:
            floats = [tensor.mul_(weight) for tensor in self._tensors() if tensor.is_floating_point()]
            processes.add_up(floats)

    def _tensors(self) -> list[Tensor]:
        return [tensor for norm in self._norms for tensor in norm.buffers()]
