"""`python -m lookboth.cli` is the command `lookboth`."""

from lookboth.cli import main

main()
