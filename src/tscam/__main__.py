"""`python -m tscam` runs the command line."""

from tscam.cli import main

if __name__ == "__main__":
    main()
