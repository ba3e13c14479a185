"""Groups of commands."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from leptonbench.registry import unknown


class Group(TyperGroup):
    """A group that says which command was meant by one that does not exist."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments begin with.

        Raises:
            UsageError: If there is none of that name.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown("command", args[0], self.commands)
        return super().resolve_command(ctx, args)
