"""The project's own rules, as part of `make check`: lock, `.reveal()`, homes of third parties, machine paths.

Prints one line per offence.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
PUBLIC_INDEX = {"pypi.org", "files.pythonhosted.org"}
OURS = {"azure_rotator", "azure_sandbox"}
# Homes and work folders of people's machines and of CI; the character classes keep this line from matching itself.
MACHINE_PATHS = re.compile(r"(?<![\w.~$}-])/(?:roo[t]|wor[k]|home/[a-z]\w*|Users/[A-Za-z]\w*)/")


def lock(text: str) -> Iterator[str]:
    """The committed lock names the public index only: a mirror's address would be of use to nobody else."""
    for host in sorted({urlsplit(url).hostname or url for url in re.findall(r'"(https?://[^"]+)"', text)}):
        if host not in PUBLIC_INDEX:
            yield f"uv.lock: names {host}, not the public index; run `uv lock` without a mirror"


def reveals(sources: Iterable[tuple[str, str]], allowed: list[str]) -> Iterator[str]:
    """`.reveal()` opens a secret; that happens in the places listed in pyproject.toml and nowhere else."""
    unused = set(allowed)
    for name, source in sources:
        for node in ast.walk(ast.parse(source, name)):
            # The attribute, not the call: a bound method that is handed on opens the value just as well.
            if isinstance(node, ast.Attribute) and node.attr == "reveal":
                unused.discard(name)
                if name not in allowed:
                    yield f"{name}:{node.lineno}: opens a secret outside of `reveal-allowed` in pyproject.toml"
    for name in sorted(unused):
        yield f"pyproject.toml: `reveal-allowed` lists {name}, which opens nothing"


def homes(sources: Iterable[tuple[str, str]], table: dict[str, list[str]]) -> Iterator[str]:
    """A third party is imported in its home only: one place to change when it changes, one place that pays for it."""
    for name, source in sources:
        package = name.removeprefix("provider/azure_rotator/").partition("/")[0].removesuffix(".py")
        for line, imported in imports(source):
            top = imported.partition(".")[0]
            if top in OURS:  # azure_rotator is not of the family azure
                continue
            for family, allowed in table.items():
                if (top == family or top.startswith(f"{family}_")) and package not in allowed:
                    yield f"{name}:{line}: imports {top}, which belongs to {' and '.join(allowed)}"


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and module of every import, those inside functions and `if TYPE_CHECKING` included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def machine_paths(texts: Iterable[tuple[str, str]], own: Iterable[str]) -> Iterator[str]:
    """No tracked file knows where on this machine it lies."""
    own_paths = [path for path in own if path.count("/") > 1]
    for name, text in texts:
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line) or any(path in line for path in own_paths):
                yield f"{name}:{number}: a path of a machine: {line.strip()[:100]}"


def _tracked() -> Iterator[tuple[str, str]]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.rstrip("\0").split("\0"):
        file = ROOT / name
        if file.is_file() and not name.endswith((".lock", ".sum")):
            yield name, file.read_text(encoding="utf-8", errors="replace")


def main() -> int:
    """Run all of them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["azure-rotator"]
    files = sorted((ROOT / "provider" / "azure_rotator").rglob("*.py"))
    product = [(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")) for file in files]
    offences = [
        *lock((ROOT / "uv.lock").read_text(encoding="utf-8")),
        *reveals(product, settings["reveal-allowed"]),
        *homes(product, settings["homes"]),
        *machine_paths(_tracked(), (str(ROOT), str(Path.home()))),
    ]
    for offence in offences:
        print(offence)
    if not offences:
        print("lock, reveals, homes, machine paths: fine")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
