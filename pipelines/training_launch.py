"""Start a command once a device on this machine, as torchrun does; torchrun itself starts it on many machines."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence

#: Where this process stands among those of a run, as torchrun says it.
NUMBER, COUNT, THREADS = "RANK", "WORLD_SIZE", "OMP_NUM_THREADS"


def is_launched() -> bool:
    """Whether this process is one of several that torchrun or `launch` has started."""
    return int(os.environ.get(COUNT, "1")) > 1


def is_first() -> bool:
    """Whether this process speaks for the run."""
    return int(os.environ.get(NUMBER, "0")) == 0


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run ``nodulus ARGUMENTS`` in so many processes that share one run; the exit code of what failed first, or 0."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "pipelines.cli.main", *arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return abs(failure.exitcode) or 1
    return 0
