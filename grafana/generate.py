#!/usr/bin/env python3
"""Writes the dashboards grafana/dashboards/*.json from their description in grafana/generator.

usage: generate.py                 writes them
       generate.py --check         says how the files differ from the description, and what is wrong with them
       generate.py --expressions   prints every expression as JSON, with Grafana's variables filled in

The description: cell.py and cell_detail.py (one cell), fleet.py (all cells), words.py (what they share), model.py (its parts).
Needs Python 3.11 and the packages of tests/py/requirements.txt: `$(scripts/venv.sh) grafana/generate.py`.
"""
import argparse
import difflib
import json
import sys
from pathlib import Path

try:
    import grafana_foundation_sdk  # noqa: F401
    import yaml  # noqa: F401
except ImportError as e:
    sys.exit(f"generate.py: {e}; run it by `$(scripts/venv.sh) grafana/generate.py`, with Python 3.11 or newer")

from generator import build, cell, check, deployment, fleet

HERE = Path(__file__).resolve().parent
DASHBOARDS = {HERE / "dashboards/cell.json": cell.DASHBOARD, HERE / "dashboards/fleet.json": fleet.DASHBOARD}


def write():
    for path, described in DASHBOARDS.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(build.build(described))


def differences():
    """How the committed files differ from what would be written."""
    for path, described in DASHBOARDS.items():
        name = path.relative_to(HERE.parent)
        found = path.read_text().splitlines() if path.exists() else []
        yield from difflib.unified_diff(
            found, build.build(described).splitlines(), f"{name} (committed)", f"{name} (described)", lineterm=""
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true")
    what.add_argument("--expressions", action="store_true")
    options = parser.parse_args()
    if options.expressions:
        print(json.dumps([e for d in DASHBOARDS.values() for e in build.expressions(d)], indent=1))
    elif options.check:
        wrong = [*differences(), *check.files(HERE.parent, DASHBOARDS), *deployment.wrong(HERE.parent)]
        print("\n".join(wrong or ["the dashboards agree with their description, and nothing is wrong with what is around them"]))
        sys.exit(1 if wrong else 0)
    else:
        write()


if __name__ == "__main__":
    main()
