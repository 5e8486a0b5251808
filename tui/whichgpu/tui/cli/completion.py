"""``whichgpu completion``: the script that teaches a shell to complete."""

from __future__ import annotations

import click

from whichgpu.tui.words.exit_codes import ExitCode

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script that completes commands, options, models, cards and columns in bash, zsh or fish.

    \b
    bash: whichgpu completion bash > ~/.local/share/bash-completion/completions/whichgpu
    zsh:  whichgpu completion zsh > ~/.zfunc/_whichgpu      (~/.zfunc in fpath, then compinit)
    fish: whichgpu completion fish > ~/.config/fish/completions/whichgpu.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(context.find_root().command, {}, "whichgpu", "_WHICHGPU_COMPLETE").source())
    return ExitCode.OK
