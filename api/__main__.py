"""`python -P -m api --bind 127.0.0.1:8000`: the API of one host, settings from `MEDJOBS_*`.

Start it with -P or PYTHONSAFEPATH=1, or from a folder without packages of our names: `python -m` puts the working
folder first on the path before any line of ours runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from api.server import PortTaken, SchemaBehind, run
from jobs.settings import Settings, complaints


def main() -> int:
    """Parse the command line and serve; 2 for a bad setting or address, 1 for an old schema."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The medjobs HTTP API.")
    parser.add_argument("--bind", default="127.0.0.1:8000", help="HOST:PORT; port 0 takes a free one")
    parser.add_argument("--url-file", type=Path, help="gets the address once requests are answered")
    parser.add_argument("--access-log", default="-", help="file for one line per request (default: standard output)")
    given = parser.parse_args()
    try:
        run(Settings.from_environment(), given.bind, given.url_file, given.access_log)
    except ValidationError as error:
        print("bad settings:", *complaints(error), sep="\n  ", file=sys.stderr)
        return 2
    except (PortTaken, ValueError) as error:
        print(error.args[-1], file=sys.stderr)
        return 2
    except SchemaBehind as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
