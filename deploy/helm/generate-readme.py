#!/usr/bin/env python3
"""Writes deploy/helm/peat-mesh/README.md from the comments of values.yaml.

    deploy/helm/generate-readme.py           writes it
    deploy/helm/generate-readme.py --check   status 1 when it is not what it would write
"""

import re
import sys
from pathlib import Path

CHART = Path(__file__).resolve().parent / "peat-mesh"

INTRODUCTION = """\
# peat-mesh

<!-- Made by deploy/helm/generate-readme.py from the comments of values.yaml: change those, not this file. -->

Runs `peat-mesh-node` as a StatefulSet: JSON documents kept in step between pods, with no server in the middle.

    FORMATION_SECRET=$(openssl rand -base64 32)
    helm install peat-mesh deploy/helm/peat-mesh \\
      --set "formationSecret=$FORMATION_SECRET" \\
      --set replicaCount=3
    helm test peat-mesh --logs

[docs/kubernetes.md](../../../docs/kubernetes.md) tells how to check, scale, upgrade and mend it. Helm refuses values
that are not listed here.
"""


class Entry:
    """One key of values.yaml: its path, comment, own value, and the keys under it."""

    def __init__(self, path, comment, value):
        self.path, self.comment, self.value, self.children = path, comment, value, []

    def default(self):
        if self.value or not self.children:
            return self.value
        inner = (f"{child.path.rsplit('.', 1)[-1]}: {child.default()}" for child in self.children)
        return "{" + ", ".join(inner) + "}"

    def rows(self):
        """A key without a comment belongs to the row of the one above it."""
        if self.comment:
            yield self.path, self.default(), self.comment
        for child in self.children:
            if child.comment or not self.comment:
                yield from child.rows()


def sections(text):
    found, above, comment = [], [], []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("## "):
            found.append((stripped[3:], []))
            comment = []
        elif stripped.startswith("#"):
            comment.append(stripped[1:].strip())
        elif not stripped:
            comment = []
        else:
            key = re.fullmatch(r"( *)([A-Za-z]+):(?: (.*))?", line)
            if not key:
                sys.exit(f"values.yaml:{number}: expected `key:` or `key: value` on one line: {stripped}")
            depth = len(key[1]) // 2
            del above[depth:]
            path = ".".join([*(entry.path.rsplit(".", 1)[-1] for entry in above), key[2]])
            entry = Entry(path, " ".join(comment), (key[3] or "").strip())
            if not entry.comment and not above and not entry.value:
                pass  # the keys under it say what it is
            elif not entry.comment and not any(parent.comment for parent in above):
                sys.exit(f"values.yaml:{number}: {path} has no comment")
            (above[-1].children if above else found[-1][1]).append(entry)
            above.append(entry)
            comment = []
    return found


def readme():
    lines = [INTRODUCTION]
    for title, entries in sections((CHART / "values.yaml").read_text()):
        lines += [f"## {title}", "", "| value | default | meaning |", "|---|---|---|"]
        for path, default, meaning in (row for entry in entries for row in entry.rows()):
            lines.append(f"| `{path}` | `{default}` | {meaning.replace('|', chr(92) + '|')} |")
        lines.append("")
    return "\n".join(lines)


def main():
    target, text = CHART / "README.md", readme()
    if "--check" not in sys.argv[1:]:
        target.write_text(text)
    elif not target.exists() or target.read_text() != text:
        sys.exit("deploy/helm/peat-mesh/README.md is not what values.yaml says: run deploy/helm/generate-readme.py")


if __name__ == "__main__":
    main()
