"""The command line: `main` parses, calls a verb and prints its result."""

from tscam.cli.app import main

__all__ = ["main"]
