"""A very small test runner: ordered tests, all run, one summary line."""

import os
import pathlib
import sys
import tempfile
import time
import traceback


class Skip(Exception):
    """Raised by a test that lacks its data."""


def data_folder(variable: str) -> str:
    """The folder a data variable names; skips the test where it is unset."""
    folder = os.environ.get(variable)
    if not folder:
        raise Skip(f"{variable} unset")
    return folder


def equal(found, expected, what: str = "") -> None:
    """Asserts equality and shows both sides, shortened."""
    assert found == expected, f"{what}: found {str(found)[:600]}, expected {str(expected)[:600]}"


def raises(kind: type, action, text: str = ""):
    """Asserts that `action` raises exactly `kind` with the error body of the API; gives the error."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - the class is what is tested
        assert type(error) is kind, f"raised {type(error).__name__}: {error}, not {kind.__name__}"
        body = getattr(error, "body", None)
        assert isinstance(body, dict), f"error body is no object: {body!r}"
        equal(body.get("status"), "error", "error body status")
        assert isinstance(body.get("error"), str) and body["error"], f"no message in {body!r}"
        assert text in body["error"], f"{text!r} is not in {body['error']!r}"
        return error
    raise AssertionError(f"nothing was raised, expected {kind.__name__}")


def run(tests: list, fixture) -> int:
    """Runs tests in order, each with `fixture`; prints the summary; gives the number of failures."""
    passed = failed = skipped = 0
    for test in tests:
        began = time.monotonic()
        try:
            test(fixture)
        except Skip as reason:
            skipped += 1
            print(f"SKIPPED {test.__name__}: {reason}", flush=True)
            continue
        except Exception:  # noqa: BLE001 - one failure must not hide the next
            failed += 1
            print(f"FAILED {test.__name__}\n{traceback.format_exc()}", flush=True)
            continue
        passed += 1
        print(f"ok {test.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return failed


def main(tests: list, fixture_of) -> None:
    """Runs tests with `fixture_of(folder)`, over a folder of their own; ends the process by what came of it.

    The fixture's server, or its `servers`, are killed whatever happens.
    """
    with tempfile.TemporaryDirectory(prefix="elacsym-client-") as folder:
        fixture = fixture_of(pathlib.Path(folder))
        try:
            failed = run(tests, fixture)
        finally:
            for server in getattr(fixture, "servers", None) or [fixture.server]:
                if server.process.poll() is None:
                    server.kill()
    sys.exit(1 if failed else 0)
