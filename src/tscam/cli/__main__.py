"""`python -m tscam.cli`, which torchrun starts."""

from tscam.cli import main

if __name__ == "__main__":
    main()
