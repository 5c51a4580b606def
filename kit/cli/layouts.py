"""`kit fetch` of an unknown competition: what its folders may be, and whether somebody agrees."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import UsageError

if TYPE_CHECKING:
    from kit.competitions.loading import LayoutChoice


def guessed_layout(slug: str, source: Path) -> LayoutChoice | None:
    """Return the layout that an unknown competition's folders seem to have, if somebody agrees; None where nothing can
    be guessed.

    Raises:
        UsageError: nobody can be asked, or they say no; says what to type.
    """
    from kit.cli.submit import agreed
    from kit.competitions.chosen import option_of
    from kit.competitions.folder import NAME
    from kit.competitions.guess import guess_folders
    from kit.competitions.loading import LayoutChoice

    guess = guess_folders(source.expanduser())
    if guess is None:
        return None
    print(f"No layout is known for {slug}. By their names, the files of {source} are:")
    for line in guess.lines:
        print(f"  {line}")
    flags = [word for name, text in guess.options.items() for word in (f"--{option_of(name)}", text)]
    typed = shlex.join(["kit", "fetch", slug, "--from", str(source), *flags])
    if not guess.hides:
        raise UsageError(
            f"Nothing says what is hidden. Say it: {typed} --test-masks DIR, or --boxes CSV, --hole alpha, or --hole "
            "'#000000' where holes have that colour."
        )
    if not agreed("Is that so?", f"If that is so, type: {typed}"):
        raise UsageError(f"Say what they are: {typed}")
    return LayoutChoice(NAME, None, dict(guess.options))
