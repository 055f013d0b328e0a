"""Every line of docs/semantics.md names the tests that prove it, and these exist.

    check.py ROOT     a test is written `folder/file:name` below tests/; `name` is a word in that file
"""

import os
import re
import sys

REFERENCE = re.compile(r"`([a-z0-9_/]+\.(?:c|cc|py|sh)):([A-Za-z0-9_]+)`")


def lines_of(page):
    """The page's bullets, each with the lines that continue it."""
    bullets = []
    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("- "):
            bullets.append([number, line])
        elif bullets and line.startswith("  "):
            bullets[-1][1] += line
    return bullets


def problems(root, page):
    texts = {}
    for number, bullet in lines_of(page):
        found = REFERENCE.findall(bullet)
        if not found:
            yield f"line {number} names no test: {bullet[:70]}"
        for path, name in found:
            if path not in texts:
                full = os.path.join(root, "tests", path)
                texts[path] = open(full, encoding="utf-8").read() if os.path.isfile(full) else None
            if texts[path] is None:
                yield f"line {number}: there is no tests/{path}"
            elif not re.search(rf"\b{name}\b", texts[path]):
                yield f"line {number}: tests/{path} has no {name}"


def main(root):
    with open(os.path.join(root, "docs", "semantics.md"), encoding="utf-8") as file:
        page = file.read()
    # The check itself must bite.
    for broken in ("- says so.\n", "- says so. `hostile/gone.c:many`\n", "- so. `hostile/walks.c:no_such_case`\n"):
        if not list(problems(root, broken)):
            sys.exit(f"semantics: this passes and should not: {broken}")
    found = list(problems(root, page))
    for problem in found:
        print("semantics:", problem)
    print(f"semantics: {len(lines_of(page))} lines, {len(found)} problems")
    sys.exit(1 if found or len(lines_of(page)) < 20 else 0)


if __name__ == "__main__":
    main(sys.argv[1])
