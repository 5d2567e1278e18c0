"""`python -m lookboth.cli` is the command `lookboth`."""

from lookboth.cli import main

if __name__ == "__main__":
    main()
