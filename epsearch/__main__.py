"""`python -m epsearch`: the command line without the installed script."""

from epsearch.cli.main import main

if __name__ == "__main__":
    main()
