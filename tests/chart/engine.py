"""The two ways to run Helm's engine: the library in a Python package, or a `helm` binary."""

import re
import subprocess
from pathlib import Path


class Refused(Exception):
    """Helm did not take the values; the text is what a user would read."""


def merged(base, over):
    both = dict(base)
    for key, value in over.items():
        is_map = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = merged(both[key], value) if is_map else value
    return both


class Library:
    def __init__(self, chart):
        import helm_python

        self.helm = helm_python
        self.path = chart
        self.chart = helm_python.Chart.load(chart)
        self.name = f"Helm {helm_python.helm_sdk_version()}, library"

    def render(self, file=None, sets=(), release="peat-mesh", namespace="default"):
        """Template → text, NOTES.txt included."""
        values = self.helm.values_from_yaml(Path(file).read_text()) if file else {}
        for expression in sets:
            values = merged(values, self.helm.parse_set_string(expression))
        try:
            made = self.chart.render(values, name=release, namespace=namespace, is_install=True)
        except self.helm.HelmError as problem:
            raise Refused(problem.detail) from None
        return {path.split("/templates/", 1)[1]: text.strip() for path, text in made.items() if text.strip()}

    def lint(self, sets):
        values = {}
        for expression in sets:
            values = merged(values, self.helm.parse_set_string(expression))
        report = self.helm.lint(self.path, values, strict=True)
        return [f"{found['path']}: {found['error']}" for found in report["messages"] if found["severity"] > 1]


class Binary:
    def __init__(self, chart, helm):
        self.chart, self.helm = chart, helm
        self.name = "Helm " + self.run("version", "--template", "{{.Version}}").strip() + ", binary"

    def run(self, *arguments):
        done = subprocess.run([self.helm, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(done.stderr)
        return done.stdout

    def render(self, file=None, sets=(), release="peat-mesh", namespace="default"):
        """Template → text, without NOTES.txt."""
        arguments = ["template", release, str(self.chart), "--namespace", namespace]
        arguments += ["--values", str(file)] if file else []
        for expression in sets:
            arguments += ["--set", expression]
        made = {}
        for part in re.split(r"^---\n", self.run(*arguments), flags=re.MULTILINE):
            source = re.match(r"# Source: peat-mesh/templates/(\S+)\n", part)
            if source:
                made[source[1]] = part[source.end():].strip()
        return made

    def lint(self, sets):
        arguments = [word for expression in sets for word in ("--set", expression)]
        try:
            self.run("lint", "--strict", str(self.chart), *arguments)
        except Refused as problem:
            return [str(problem)]
        return []
