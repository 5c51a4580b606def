"""`python -m kit` and the `kit` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from kit.cli import run

    run()


if __name__ == "__main__":
    main()
