"""What the Python suites share: one line a check, and where the gateway is."""

import os
import traceback

ENDPOINT = os.environ["ENDPOINT"]
HOST = ENDPOINT.removeprefix("http://")
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
CHECKS = []


def check(function):
    """A check: its name says what holds, and it raises where that does not. They run in their order."""
    CHECKS.append(function)
    return function


def run_all():
    for function in CHECKS:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except Exception:
            print(f"FAIL  {name}")
            for line in traceback.format_exc().splitlines():
                print(f"      | {line}", flush=True)
        else:
            print(f"ok    {name}", flush=True)
