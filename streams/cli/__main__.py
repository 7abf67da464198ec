"""`python -m streams.cli`: the command labelwatch, where it is not installed."""

from streams.cli import main

if __name__ == "__main__":
    main()
