"""The command line: ``flashlips VERB``. Heavy packages load only for the verb that needs them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from core.errors import InputError
from flows.verbs import edit, learn, measure, operate, prepare
from infra.settings import quiet


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 done, 2 the input can't be used (one sentence on standard error)."""
    quiet()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    parsed = parser().parse_args(arguments)
    try:
        result: int = parsed.run(parsed) or 0
    except InputError as error:
        print(f"flashlips: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nflashlips: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return result


def parser() -> argparse.ArgumentParser:
    """Knows every verb and its arguments."""
    top = argparse.ArgumentParser(
        prog="flashlips", description="Lip-sync: prepare data, train, edit videos, measure."
    )
    verbs = top.add_subparsers(required=True, metavar="VERB")
    for part in (prepare, learn, edit, measure, operate):
        for add in part.VERBS:
            add(verbs)
    return top


if __name__ == "__main__":
    sys.exit(main())
