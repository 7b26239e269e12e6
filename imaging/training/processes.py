"""The processes that a run is spread over, on one machine or many: started by torchrun, joined by accelerate.

One process is a run of its own; everything here then costs nothing. A batch is cut into equal parts, one a process;
losses and the statistics of batch norms are those of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch
from torch import distributed, nn

from imaging.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

#: What `--precision` is called by accelerate.
PRECISIONS: Final = {"32": "no", "bf16": "bf16", "fp16": "fp16"}
#: The first process may read and cut scans for long, while the others wait for it.
PATIENCE = timedelta(days=2)

Item = TypeVar("Item")
Result = TypeVar("Result")


def process_count() -> int:
    """How many processes share this run, as torchrun says it; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Mean of a tensor that has no gradient, over all processes of the run."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
        return values / distributed.get_world_size()
    return values


class Processes:
    """Which of a run's processes this one is, and what they share.

    Args:
        device: as torch names it; with several processes each takes the GPU of its own number.
        precision: a key of `PRECISIONS`.

    Raises:
        UsageError: ``usage.option`` for a precision that is not in the table, or half precision without a GPU.
    """

    def __init__(self, *, device: str = "cpu", precision: str = "32") -> None:
        if precision not in PRECISIONS:
            raise UsageError("usage.option", f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if precision == "fp16" and device.partition(":")[0] != "cuda":
            raise UsageError("usage.option", f"fp16 needs a CUDA device, not {device}")
        self.engine = _accelerator(device, precision)
        self.device: torch.device = self.engine.device
        self.count: int = self.engine.num_processes
        self.number: int = self.engine.process_index

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.number == 0

    def part_of(self, whole: int) -> slice:
        """This process' part of a batch."""
        each = whole // self.count
        return slice(self.number * each, (self.number + 1) * each)

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The first process runs the block, then the others, which find what it left on the disk."""
        with self.engine.main_process_first():
            yield

    def agreed(self, values: Any) -> Any:
        """The first process' values, in all of them."""
        if self.count == 1:
            return values
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([values])[0]

    def spread(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`function` of every item, each worked out by one process and known to all; in order."""
        mine = [function(item) for item in items[self.number :: self.count]]
        if self.count == 1:
            return mine
        from accelerate.utils import gather_object

        found = gather_object([(self.number, mine)])
        by_process = dict(found)
        return [by_process[i % self.count][i // self.count] for i in range(len(items))]

    def shared_norms(self, net: nn.Module) -> None:
        """Let batch norms, in training, use the whole batch and not this process' part of it."""
        if self.count == 1:
            return
        if self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(net)
            return
        for module in net.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SharedBatchNorm


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over all processes' parts of a batch, on any device; torch's own `SyncBatchNorm` is for GPUs only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) in and out."""
        if not self.training or not distributed.is_initialized():
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce

        wide = x.float()
        count = wide.numel() // wide.shape[1] * distributed.get_world_size()
        mean = all_reduce(wide.sum(dim=(0, 2, 3))) / count
        centred = wide - mean[:, None, None]
        variance = all_reduce(centred.square().sum(dim=(0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Move the running statistics, as `nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def _accelerator(device: str, precision: str) -> Accelerator:
    """An engine on a device, whatever an earlier run in this process was on."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    AcceleratorState._reset_state(reset_partial_state=not distributed.is_initialized())
    on_cpu = device.partition(":")[0] == "cpu"
    with _chosen(device if process_count() == 1 else None):
        return Accelerator(
            cpu=on_cpu,
            mixed_precision=PRECISIONS[precision],
            # The statistics of norms are shared already; the text tower has no buffers that change.
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=PATIENCE),
                DistributedDataParallelKwargs(broadcast_buffers=False),
            ],
        )


@contextmanager
def _chosen(device: str | None) -> Iterator[None]:
    """Tell accelerate the device, which it takes from the environment only."""
    name = "ACCELERATE_TORCH_DEVICE"
    before = os.environ.get(name)
    if device is not None:
        os.environ[name] = device
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
