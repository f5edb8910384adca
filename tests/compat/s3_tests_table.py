#!/usr/bin/env python3
"""Compares runs of Ceph's s3-tests: against a server itself, and through the gateway in front of that server.

    s3_tests_table.py passed DIRECT.xml
        prints the ids of the tests that pass directly, for pytest

    s3_tests_table.py adapted DIRECT.xml --expected FILE
        prints the ids of those that FILE wants run in today's words

    s3_tests_table.py compare --direct DIRECT.xml --through NAME=RUN.xml... --adapted RUN.xml --expected FILE [--write PAGE]
        prints one line a check: each test that passes directly passes through, or stands in FILE with its reason, and
        each test that FILE names really fails in some run; and each that FILE wants adapted passes so. --write puts the
        table into PAGE, between its two marks.

A test that errs while it is set up or torn down has failed.
"""

import argparse
import sys
import tomllib
import xml.etree.ElementTree as ET

BEGIN, END = "<!-- s3-tests: begin -->", "<!-- s3-tests: end -->"


def load(path):
    """Test ids, `test_s3.py::name`, and whether each `passed`, `failed` or was `skipped`."""
    outcomes = {}
    for case in ET.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        name = case.get("classname").rsplit(".", 1)[-1] + ".py::" + case.get("name")
        if kinds & {"failure", "error"}:
            outcomes[name] = "failed"
        else:
            outcomes.setdefault(name, "skipped" if "skipped" in kinds else "passed")
    return outcomes


def passing(outcomes):
    return {name for name, outcome in outcomes.items() if outcome == "passed"}


def compare(direct, runs, adapted, expectations):
    """The problems, by test; empty when every difference is an expected one and every expectation came true."""
    wanted = passing(direct)
    expected = {test: group["title"] for group in expectations["group"] for test in group["tests"]}
    problems = {}
    for name, run in runs.items():
        for test in sorted(wanted - passing(run)):
            outcome = run.get(test, "not run")
            if outcome == "not run":
                problems[test] = f"was not run: {name}"
            elif test not in expected:
                problems[test] = f"{outcome} through the gateway ({name} location(s)) and passes directly"
    for test in expected:
        if test in wanted and all(test in passing(run) for run in runs.values()):
            problems[test] = f"passes now; take it from the group `{expected[test]}`"
    for test in expectations["adapted"]:
        if test in wanted and test not in passing(adapted):
            problems[test] = f"{adapted.get(test, 'not run')} in today's words"
    return problems


def table(direct, runs, adapted, groups):
    """The part of the page that is generated."""
    wanted = passing(direct)
    lines = [
        "| run | passed | of those that pass directly |",
        "|---|---|---|",
        f"| RGW itself | {len(wanted)} of {len(direct)} | |",
    ]
    for name, run in runs.items():
        passed = len(wanted & passing(run))
        lines.append(f"| through the gateway, {name} location{'s' if name != 'one' else ''} | {passed} | {passed / len(wanted):.1%} |")
    lost = set().union(*(wanted - passing(run) for run in runs.values()))
    more = wanted & lost & passing(adapted)
    lines += [
        "",
        f"{len(lost)} tests pass directly and not through. {len(more)} of them pass through in today's words: their forms signed by "
        "version 4 instead of 2, and the bucket not made public on the way to what the test is about; they are marked with a `+`.",
        "",
    ]
    for group in groups:
        tests = sorted(test.split("::")[1] for test in group["tests"] if test in lost)
        marks = {test.split("::")[1]: "+" for test in more}
        if tests:
            lines += [f"**{group['title']}** ({len(tests)}). {group['reason']}", ""]
            lines += [", ".join(f"`{test}`{marks.get(test, '')}" for test in tests), ""]
    return "\n".join(lines).rstrip() + "\n"


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("passed").add_argument("run")
    adapting = commands.add_parser("adapted")
    adapting.add_argument("run")
    adapting.add_argument("--expected", required=True)
    comparing = commands.add_parser("compare")
    comparing.add_argument("--direct", required=True)
    comparing.add_argument("--through", action="append", required=True, metavar="NAME=RUN.xml")
    comparing.add_argument("--adapted", required=True)
    comparing.add_argument("--expected", required=True)
    comparing.add_argument("--write")
    arguments = parser.parse_args()
    if arguments.command == "passed":
        for test in sorted(passing(load(arguments.run))):
            print(f"s3tests/functional/{test}")
        return 0
    with open(arguments.expected, "rb") as file:
        expectations = tomllib.load(file)
    if arguments.command == "adapted":
        for test in sorted(passing(load(arguments.run)) & set(expectations["adapted"])):
            print(f"s3tests/functional/{test}")
        return 0

    direct = load(arguments.direct)
    runs = {name: load(path) for name, path in (pair.split("=", 1) for pair in arguments.through)}
    adapted = load(arguments.adapted)
    problems = compare(direct, runs, adapted, expectations)
    for test, problem in problems.items():
        print(f"FAIL  {test}: {problem}")
    for name, run in runs.items():
        both = passing(direct) & passing(run)
        known = passing(direct) - passing(run) - set(problems)
        print(f"ok    {name} location(s): {len(both)} tests pass as they do directly, {len(known)} differ for a known reason")
    if arguments.write:
        with open(arguments.write, encoding="utf-8") as file:
            page = file.read()
        head, rest = page.split(BEGIN)
        tail = rest.split(END)[1]
        with open(arguments.write, "w", encoding="utf-8") as file:
            file.write(f"{head}{BEGIN}\n{table(direct, runs, adapted, expectations['group'])}{END}{tail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
