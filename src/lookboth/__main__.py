"""Makes `python -m lookboth` run the command `lookboth`, as launchers of several processes need it."""

from lookboth.cli import main

if __name__ == "__main__":
    main()
