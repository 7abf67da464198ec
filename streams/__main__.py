"""`python -m streams`: the command `labelwatch`, where its script is not on the path."""

from streams.cli import main

main()
