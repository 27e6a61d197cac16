"""Check what other services' files say about tox.ini: `tox -e workflows`.

Every tox environment that .github/workflows names must be one of tox.ini: tox takes a name that nobody has defined for
an environment with all defaults, and would run something else. Every version that .pre-commit-config.yaml holds a tool
at must be the one of tox.ini.
"""

from __future__ import annotations

import configparser
import itertools
import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent


def known(name: str, sections: set[str]) -> bool:
    return name in sections or re.fullmatch(r"py(3\d+)?-(native|python)(-patched)?", name) is not None


def named(job: dict) -> list[str]:
    """The environments of a job, with its matrix filled in."""
    matrix = job.get("strategy", {}).get("matrix", {})
    names = []
    for step in job["steps"]:
        for text in re.findall(r"tox -e (.+?)(?: --.*)?$", step.get("run", ""), re.MULTILINE):
            keys = re.findall(r"\$\{\{ matrix\.(\w+) \}\}", text)
            for values in itertools.product(*(matrix[key] for key in keys)):
                pairs = zip(keys, values, strict=True)
                filled = text
                for key, value in pairs:
                    filled = filled.replace(f"${{{{ matrix.{key} }}}}", value)
                names.append(filled)
    return names


def pinned(text: str) -> set[str]:
    """Each NAME==VERSION in the text of a file."""
    return set(re.findall(r"[\w-]+==[\d.*]+", text))


def main() -> int:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    sections = {section.partition(":")[2] for section in tox.sections()}
    names = [
        name
        for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
        for job in YAML(typ="safe").load(file)["jobs"].values()
        for name in named(job)
    ]
    unknown = [name for name in names if not known(name, sections)]
    print(f"{len(names)} environments are named" + (f", of which tox.ini lacks {unknown}" if unknown else ""))
    other = pinned((ROOT / ".pre-commit-config.yaml").read_text()) - pinned((ROOT / "tox.ini").read_text())
    if other:
        print(f".pre-commit-config.yaml has versions that tox.ini lacks: {sorted(other)}")
    return 1 if unknown or other or not names else 0


if __name__ == "__main__":
    sys.exit(main())
