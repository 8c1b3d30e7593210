#!/usr/bin/env python3
"""Renders the chart and checks what comes out. Run it by scripts/chart-test.sh.

    check.py                 with Helm as a library (package helm-python-sdk) and all checks
    check.py --update        writes the golden files instead of comparing with them
    check.py --helm PATH     with a helm binary, and only the checks that need no Python packages
"""

import base64
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True

import cases  # noqa: E402
import engine  # noqa: E402
import rules  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/peat-mesh"
GOLDEN = ROOT / "deploy/golden"
VALUES = ROOT / "tests/chart/values"
SECRETS = 64

passed, failed = 0, []


def check(what, problems):
    global passed
    problems = list(problems)
    if problems:
        failed.append(what)
        print(f"FAIL: {what}", *(f"  {line}" for problem in problems for line in str(problem).splitlines()), sep="\n")
    else:
        passed += 1
        print(f"ok: {what}")


def differences(path, text, update):
    if update:
        path.write_text(text)
        return
    before = path.read_text() if path.exists() else ""
    shown = path.relative_to(ROOT)
    found = list(difflib.unified_diff(before.splitlines(), text.splitlines(), str(shown), "rendered now", "", "", 2, ""))
    if found:
        yield "\n".join(found)
        yield "if that is meant: scripts/chart-test.sh --update"


def as_one_text(made):
    return "".join(f"---\n# {path}\n{text}\n" for path, text in sorted(made.items()) if path != "NOTES.txt")


def rendered(helm, case, **more):
    file, sets = cases.RENDERED[case]
    return helm.render(file and VALUES / file, sets, **more)


def golden(helm, update, with_notes):
    for case in cases.RENDERED:
        made = rendered(helm, case)
        check(f"golden {case}", differences(GOLDEN / f"{case}.yaml", as_one_text(made), update))
        if with_notes:
            check(f"golden notes of {case}", differences(GOLDEN / f"{case}.notes.txt", made["NOTES.txt"] + "\n", update))


def refusal(helm, sets):
    try:
        helm.render(None, sets)
    except engine.Refused as problem:
        return str(problem).strip()
    return None


def refusals(helm, update, with_golden):
    told = []
    for case, (sets, expected) in cases.REFUSED.items():
        message = refusal(helm, sets)
        problems = ["it was taken"] if message is None else [f"not said: {part}" for part in expected if part not in message]
        secret = "".join(part.partition("formationSecret=")[2] for part in sets)
        if secret and secret in (message or ""):
            problems.append("the message shows the secret")
        check(f"refused: {case}", problems and [*problems, message])
        told += [f"{case}:", *(f"  {line}".rstrip() for line in (message or "").splitlines())]
    if with_golden:
        check("golden messages", differences(GOLDEN / "bad-values.txt", "\n".join(told) + "\n", update))


def keys(schema, definitions, value, path=""):
    """Keys that values.yaml and the schema do not have in common."""
    schema = definitions[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    if "properties" not in schema or not isinstance(value, dict) or not value:
        return
    for key in set(schema["properties"]) ^ set(value):
        optional = {"/global", "/resources/claims", "/relay/resources/claims", "/updateStrategy/rollingUpdate"}
        if f"{path}/{key}" not in optional and not path.endswith("Probe"):
            yield f"{path}/{key} is in only one of values.yaml and values.schema.json"
    for key, inner in schema["properties"].items():
        yield from keys(inner, definitions, value.get(key), f"{path}/{key}")


def differing(expected, found, path=""):
    for key, value in expected.items():
        if isinstance(value, dict):
            yield from differing(value, found.get(key, {}), f"{path}{key}.")
        elif found.get(key) != value:
            yield f"{path}{key} is {found.get(key)!r}, the guide says {value!r}"


def secrets_survive(helm, load):
    for _ in range(SECRETS):
        secret = base64.b64encode(os.urandom(32)).decode()
        made = load(helm.render(None, [f"formationSecret={secret}"])["secret.yaml"])
        if base64.b64decode(made["data"]["formation-secret"]).decode() != secret:
            yield f"{secret} came out as something else"


def checks_of_objects(helm):
    import kubernetes_validate.utils
    import yaml

    def objects(made):
        parts = (text for path, text in made.items() if path != "NOTES.txt")
        return [found for text in parts for found in yaml.safe_load_all(text) if found]

    versions = kubernetes_validate.utils.all_versions()
    for case in cases.RENDERED:
        found = objects(rendered(helm, case))
        for version in (versions[0], versions[-1]):
            problems = []
            for thing in found:
                if thing["kind"] == "ServiceMonitor":
                    continue  # of an extension; Kubernetes has no schema for it
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                except kubernetes_validate.ValidationError as problem:
                    where = ".".join(map(str, problem.path))
                    problems.append(f"{thing['kind']} {rules.name(thing)}: {where}: {problem.message}")
            check(f"{case} is valid for Kubernetes {version}", problems)
        for rule in rules.OF_ONE_RELEASE:
            check(f"{case}: {rule.__name__.replace('_', ' ')}", rule(found))
    for first, second in (("east", "west"), ("peat-mesh", "peat-mesh-west"), ("a", "peat-mesh-a")):
        one, other = (objects(rendered(helm, "default", release=release)) for release in (first, second))
        check(f"releases {first} and {second} in one namespace stay apart", rules.two_releases_stay_apart(one, other))

    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    check("values.yaml and values.schema.json have the same keys", keys(schema, schema["definitions"], defaults))
    check("defaults are the guide's", differing(cases.GUIDE, defaults))
    check(f"{SECRETS} secrets survive --set", secrets_survive(helm, yaml.safe_load))
    documented = (ROOT / "docs/configuration.md").read_text()
    variables = rules.environment(objects(rendered(helm, "federation")))
    missing = [name for name in variables if name not in documented]
    check("docs/configuration.md has every variable that the chart sets", missing)


def main():
    arguments = sys.argv[1:]
    update = "--update" in arguments
    if "--helm" in arguments:
        helm, is_library = engine.Binary(CHART, arguments[arguments.index("--helm") + 1]), False
    else:
        helm, is_library = engine.Library(CHART), True
    print(helm.name)
    golden(helm, update, with_notes=is_library)
    # Messages of the schema differ between versions of Helm; the library's version is pinned.
    refusals(helm, update, with_golden=is_library)
    check("lint", helm.lint([cases.GOOD]))
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/helm/generate-readme.py", "--check"], capture_output=True, text=True, check=False
    )
    check("README.md of the chart is up to date", [done.stderr] if done.returncode else [])
    if is_library:
        checks_of_objects(helm)
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
