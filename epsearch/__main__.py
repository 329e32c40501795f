"""`python -m epsearch`: the command line, where no script is installed."""

from epsearch.cli.main import main

if __name__ == "__main__":
    main()
