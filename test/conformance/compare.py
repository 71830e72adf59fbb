"""Compares the results of the conformance suite with the list of cases that must pass.

    compare.py <results.json> <list of passing ids> [--update]

Exit status 1 when a listed case did not pass, or when there are no results. Newly passing cases are printed.
"""

import json
import pathlib
import sys


def main(arguments: list[str]) -> int:
    update = "--update" in arguments
    results, listed = (pathlib.Path(a) for a in arguments if a != "--update")
    if not results.exists():
        print(f"no results in {results}")
        return 1
    cases = json.loads(results.read_text())["cases"]
    outcome: dict[str, str] = {}
    for case in cases:
        # A case that passed and then failed in its teardown counts as failed.
        if outcome.get(case["id"]) != "failed":
            outcome[case["id"]] = case["outcome"]
    passed = sorted(case for case, result in outcome.items() if result == "passed")
    if update:
        listed.write_text("".join(f"{case}\n" for case in passed))
        print(f"{len(passed)} passing cases written to {listed}")
        return 0
    must = [line for line in listed.read_text().splitlines() if line and not line.startswith("#")] if listed.exists() else []
    broken = [case for case in must if outcome.get(case) != "passed"]
    new = sorted(set(passed) - set(must))
    for case in new:
        print(f"newly passing: {case}")
    for case in broken:
        print(f"BROKEN: {case} ({outcome.get(case, 'not run')})")
    print(f"{len(passed)} of {len(outcome)} cases pass; {len(must)} must; {len(broken)} broken; {len(new)} new")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
