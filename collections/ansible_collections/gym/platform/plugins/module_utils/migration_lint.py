# Copyright (c) the gym platform's authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a migration must not do while a service is used: hold a lock, or take away what the old colour works with.

Run as a program it checks the SQL in `<directory>/expand` and `<directory>/contract` of any service, and exits 1 when
something is refused: `python -m <this module> <directory>`. Squawk knows PostgreSQL's locks; here is only which of its
rules hold in which phase, and what no rule of it covers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Phase = Literal["expand", "contract"]
PHASES: tuple[Phase, ...] = ("expand", "contract")
# The oldest that the platform runs: what locks there and no longer in a later one must not be used.
POSTGRESQL = "15.0"

# A matter of taste, or answered elsewhere: a `statement_timeout` would end the validation of a large table.
UNASKED = (
    "ban-char-field",
    "identifier-too-long",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-repack",
    "prefer-robust-stmts",
    "prefer-text-field",
    "prefer-timestamp-tz",
    "require-enum-value-ordering",
    "require-statement-timeout",
)
# Off in Squawk by itself: what the old colour may do and no longer could.
EXPAND_ONLY = ("ban-revoke", "ban-drop-policy", "ban-alter-policy-condition", "ban-alter-policy-roles")
# What a contract is for.
CONTRACT_MAY = re.compile(r"ban-drop-(?!database|schema|extension)|ban-set-default")

LATER = "Leave it for the contract phase, when no old code is left."
SAFE_WAY = {
    "adding-field-with-default": "Add the column without it, let the new code write it, fill the rest in in batches.",
    "adding-not-nullable-field": "Add `check (... is not null) not valid`, commit, validate it, commit, set NOT NULL.",
    "changing-column-type": "Add another column, write both, fill it in in batches, drop the old one in a contract.",
    "renaming-column": "Add another column, write both, fill it in in batches, drop the old one in a contract.",
    "renaming-table": "Make another table, or a view of the new name; drop the old one in a contract.",
    "renaming-object": "Make another one of the new name; drop the old one in a contract.",
    "ban-set-schema": "Make another one in the other schema; drop the old one in a contract.",
    "syntax-error": "Write what PostgreSQL understands.",
}
# Rule, what it looks like, why not, the safe way; for what Squawk has no rule for.
OWN_RULES = (
    (
        "whole-table-at-once",
        re.compile(r"(update|delete\s+from)\s(?!.*\bwhere\b)", re.I | re.S),
        "It locks every row until the commit, and check-ins wait for it.",
        "Change rows in batches, each in a transaction of its own.",
    ),
    (
        "rewrite-under-lock",
        re.compile(
            r"vacuum\s*(\(.*\bfull\b|full\b)|cluster\b|lock\s|refresh\s+materialized\s+view\s+(?!concurrently)", re.I
        ),
        "It keeps everybody out of the table for as long as it takes.",
        "Do without it; refresh a view CONCURRENTLY.",
    ),
)
# Comments, and the bodies of functions: a migration does not run them.
_SKIPPED = re.compile(r"--[^\n]*|\$(\w*)\$.*?\$\1\$|\bbegin\s+atomic\b.*?\bend\b", re.I | re.S)
_STATEMENT = re.compile(r"[^;]+")


class LinterError(Exception):
    """The linter cannot be run."""


@dataclass(frozen=True, order=True)
class Finding:
    """A statement that is refused, with the rule, the reason and the safe way."""

    path: str
    line: int
    rule: str
    statement: str
    reason: str
    safe_way: str

    def __str__(self) -> str:
        """Say it in three lines."""
        return f"{self.path}:{self.line}: {self.rule}: {self.statement}\n    {self.reason}\n    Safe: {self.safe_way}"


def lint(path: Path, phase: Phase) -> list[Finding]:
    """Return what is refused in a file of SQL; raise LinterError when Squawk cannot be run."""
    text = path.read_text()
    found = [*_squawk(path, text, phase), *_own(path, text)]
    return sorted(found)


def lint_directory(directory: Path) -> tuple[list[Path], list[Finding]]:
    """Check `expand/*.sql` and `contract/*.sql`; return the files and what is refused."""
    files = [(path, phase) for phase in PHASES for path in sorted((directory / phase).glob("*.sql"))]
    if not files:
        raise LinterError(f"{directory} has no expand/*.sql and no contract/*.sql; render the migrations there first.")
    return [path for path, _ in files], [found for path, phase in files for found in lint(path, phase)]


def _squawk(path: Path, text: str, phase: Phase) -> Iterator[Finding]:
    program = shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")
    if program is None:
        raise LinterError("There is no squawk beside this Python; run `make .venv/.installed`.")
    command = [program, "--reporter=json", f"--pg-version={POSTGRESQL}", f"--exclude={','.join(UNASKED)}"]
    if phase == "expand":
        command.append(f"--include={','.join(EXPAND_ONLY)}")
    # Of a file and not of a directory: a .squawk.toml of the service must not loosen anything.
    ran = subprocess.run([*command, "--config=/dev/null", str(path)], capture_output=True, text=True, check=False)
    try:
        violations = json.loads(ran.stdout)
    except ValueError:
        raise LinterError(f"squawk could not read {path}: {(ran.stderr or ran.stdout).strip()}") from None
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for violation in violations:
        rule = violation["rule_name"]
        line, statement = _statement_at(text, starts[violation["line"]] + violation["column"])
        if phase == "contract" and CONTRACT_MAY.match(rule):
            continue
        # What everybody may do by default, the old colour was granted by name.
        if rule == "ban-revoke" and statement.lower().endswith("from public"):
            continue
        safe = SAFE_WAY.get(rule) or violation["help"] or LATER
        yield Finding(str(path), line, rule, _shortened(statement), violation["message"], safe)


def _own(path: Path, text: str) -> Iterator[Finding]:
    for line, statement in _statements(text):
        for rule, pattern, reason, safe in OWN_RULES:
            if pattern.match(statement):
                yield Finding(str(path), line, rule, _shortened(statement), reason, safe)


def _statements(text: str, offset: int = -1) -> Iterator[tuple[int, str]]:
    """Return each statement that ends after `offset`, and its first line, counted from 1."""
    # Blanked and not removed: what is left stays where it is.
    code = _SKIPPED.sub(lambda found: re.sub(r"\S", " ", found[0]), text)
    for match in _STATEMENT.finditer(code):
        if match.end() > offset:
            begin = match.end() - len(match[0].lstrip())
            yield code.count("\n", 0, begin) + 1, match[0].strip()


def _statement_at(text: str, offset: int) -> tuple[int, str]:
    return next(_statements(text, offset), (1, ""))


def _shortened(statement: str) -> str:
    return textwrap.shorten(statement, 100, placeholder=" ...")


def main(directories: list[str]) -> int:
    """Check directories, print what is refused, and return the exit status."""
    refused = 0
    try:
        for directory in directories:
            files, findings = lint_directory(Path(directory))
            refused += len(findings)
            for finding in findings:
                print(finding)
            print(f"{directory}: {len(files)} migrations, {len(findings)} refused")
    except LinterError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
