"""``nodulus completion``."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"] = "bash", /) -> int:
    """Print the completion script of a shell.

    For bash: nodulus completion bash > ~/.local/share/bash-completion/completions/nodulus

    Parameters
    ----------
    shell
        Which shell.
    """
    from pipelines.cli.main import make_app

    print(make_app().generate_completion(prog_name="nodulus", shell=shell))
    return 0
