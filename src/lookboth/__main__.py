"""`python -m lookboth` is the command `lookboth`; launchers of several processes start it so."""

from lookboth.cli import main

if __name__ == "__main__":
    main()
