"""Tries to get what one was not given, and checks each answer and the table of them.

    tests/clients/identity/attacks [--write] [SECTION…]

Takes OS_* and AWS_* of an administrator, as ./dev exports them. The table is in docs/security-identity.md, between its
marks; --write puts the answers of the tests there. Ends with 0 when all attacks were answered as the table says.
"""

import argparse
import pathlib
import sys

import bodies
import endings
import guesses
import rules
import scopes
import signatures
import tokens
from cloud import Cloud

TABLE = pathlib.Path(__file__).resolve().parents[4] / "docs" / "security-identity.md"
BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"
SECTIONS = [tokens, signatures, scopes, endings, rules, bodies, guesses]


def tried(section, cloud, wrong):
    """The section's part of the table."""
    lines = [f"\n## {section.TITLE}\n\n| attack | answer |\n|---|---|\n"]
    for attack, expected, observed in section.attacks(cloud):
        if str(observed) != expected:
            wrong.append(f"{section.TITLE}: {attack}: {expected} is expected, {observed} came")
            print(f"FAILED {wrong[-1]} {getattr(observed, 'data', b'')[:200]}", flush=True)
        lines.append(f"| {attack} | {expected} |\n")
    print(f"{section.TITLE}: {len(lines) - 1} attacks", flush=True)
    return "".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="only these modules, without the table")
    options = parser.parse_args()
    cloud, wrong = Cloud(), []
    chosen = [it for it in SECTIONS if not options.sections or it.__name__ in options.sections]
    table = "".join(tried(section, cloud, wrong) for section in chosen)
    cloud.close()
    if not options.sections:
        before, _, rest = TABLE.read_text().partition(BEGIN)
        stands, _, behind = rest.partition(END)
        if options.write:
            TABLE.write_text(before + BEGIN + table + "\n" + END + behind)
        elif stands != table + "\n":
            wrong.append(f"{TABLE.name} says something else; take the answers over with --write, and look at them")
    print("\n".join(wrong) or "all held")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
