"""The program ``pgledger``, also as ``python -m pgledger``."""

import sys


def main() -> None:
    """Run the command line, or say what it is missing."""
    try:
        from pgledger.cli import cli  # noqa: PLC0415 - the library works without the extra
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        # Without a libpq psycopg raises ImportError for itself; the extra brings one.
        if missing not in {"click", "rich"} and "pq wrapper" not in str(error):
            raise
        print(  # noqa: T201
            "error: the command line needs more packages than the library\n"
            "hint: pip install 'pgledger[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    cli(prog_name="pgledger")


if __name__ == "__main__":
    main()
