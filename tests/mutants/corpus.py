"""The corpus: kernels that are wrong by contract, each a small change away from an honest one, by kind of bug.

`mutants.txt` (and `ivf_pq_l2.txt`, for that target) has the changes as hunks: lines of context, lines that go (-) and
lines that come (+); `...` parts two hunks of one mutant. `equivalent.txt` has changes that keep the contract after all,
each with the reason: they are not counted. `domain.py` has those that are wrong only in a part of the domain, and
`unseen.py` those that were written against all of this, and `reports.py` those after public bug reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.mutants.domain import DOMAIN
from tests.mutants.mutant import HERE, Mutant
from tests.mutants.reports import REPORTS
from tests.mutants.unseen import UNSEEN


def parse(text: str) -> Iterator[Mutant]:
    """Read mutants: `# family`, `## name`, `base: name`, `why: reason`, then hunks."""
    family = ""
    for section in text.split("\n# "):
        family, _, rest = section.removeprefix("# ").partition("\n")
        for part in rest.split("\n## ")[1:]:
            name, *lines = part.rstrip("\n").split("\n")
            fields = {}
            while lines and lines[0].startswith(("base: ", "why: ")):
                key, _, fields[key] = lines.pop(0).partition(": ")
            hunks = "\n".join(lines).split("\n...\n")
            yield Mutant(family, name, fields["base"], tuple(map(_change, hunks)), fields.get("why", ""))


def _change(hunk: str) -> tuple[str, str]:
    """The lines that a hunk replaces, whole, and what comes in their place."""
    lines = hunk.split("\n")
    old = [line[1:] for line in lines if line[:1] != "+"]
    new = [line[1:] for line in lines if line[:1] != "-"]
    return _whole(old), _whole(new)


def _whole(lines: list[str]) -> str:
    return "\n" + "".join(f"{line}\n" for line in lines)


MUTANTS: Final = (
    *parse(HERE.joinpath("mutants.txt").read_text()),
    *parse(HERE.joinpath("ivf_pq_l2.txt").read_text()),
    *DOMAIN,
    *UNSEEN,
    *REPORTS,
)
EQUIVALENT: Final = tuple(parse(HERE.joinpath("equivalent.txt").read_text()))
