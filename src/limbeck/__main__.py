"""`python -m limbeck`: the command line."""

from __future__ import annotations

from limbeck.cli.main import main

if __name__ == "__main__":
    main()
