"""Commands with verbs (`kit sd run`), and the flags of before in their place (`kit sd --status`). Knows words alone."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from typer.core import TyperGroup

from kit.core.parallel import is_main_process
from kit.core.speech import say
from kit.errors import UsageError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Parameter(Protocol):
    """The part of click's and typer's parameters that is looked at."""

    opts: Sequence[str]
    nargs: int
    is_flag: bool


class VerbGroup(TyperGroup):
    """Verbs of one command; words of before, without a verb, are told their new name and understood."""

    usual: ClassVar[str]
    """The verb that is meant where no flag of `flags` stands."""
    flags: ClassVar[Mapping[str, str]]
    """The verb that each flag of before meant."""
    renamed: ClassVar[Mapping[tuple[str, str], str]] = {}
    """For a verb and an option of before, its name now; "" for plain words without an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the verb in front where it lacks."""
        # `ctx` is click's context, or that of the copy of click in Typer, which has no public name
        if getattr(ctx, "resilient_parsing", False):  # a shell asks what may be typed: the verbs
            return super().parse_args(ctx, args)
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help") and args[0].startswith("-")):
            args = self._with_verb(ctx.command_path, args)
        return super().parse_args(ctx, args)

    def _with_verb(self, path: str, args: Sequence[str]) -> list[str]:
        """Return the words of before with their verb, and without options that it does not have."""
        given = {word.partition("=")[0] for word in args}
        flag = next((flag for flag in self.flags if flag in given), None)
        verb = self.usual if flag is None else self.flags[flag]
        self._check_alone(path, verb, given)
        if is_main_process():
            name = path.split()[-1]
            was = f"kit {name}" + (f" {flag}" if flag else "")
            say(f"Note: `{was}` is now `kit {name} {verb}`.")
        known = self._options(verb)
        elsewhere = {
            name: one for other in self.commands if other != verb for name, one in self._options(other).items()
        }
        found, rest = [verb], list(args)
        while rest:
            word = rest.pop(0)
            option, equals, value = word.partition("=")
            new = self.renamed.get((verb, option))
            if new is not None:
                text = value if equals else rest.pop(0) if rest else ""
                found += [new, text] if new else [text]
            elif option not in self.flags and (flag is None or option in known or option not in elsewhere):
                found.append(word)  # what no verb knows is refused by this one
            elif option in elsewhere and not elsewhere[option].is_flag and not equals:
                del rest[:1]
        return found

    def _check_alone(self, path: str, verb: str, given: Container[str]) -> None:
        """Raise `UsageError` for two verbs at once."""
        for flag, other in self.flags.items():
            if other != verb and flag in given and (verb, flag) not in self.renamed:
                command = f"kit {path.split()[-1]}"
                raise UsageError(f"Two commands at once. Run one after the other: {command} {verb}, {command} {other}")

    def _options(self, verb: str) -> dict[str, Parameter]:
        parameters: list[Any] = list(self.commands[verb].params)
        return {name: one for one in parameters for name in one.opts if name.startswith("-")}
