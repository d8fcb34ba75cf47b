"""What importing the package does."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), [(None, "3000"), ("7", "7")])
def test_threads_of_torch_soon_sleep_unless_somebody_says_otherwise(given: str | None, expected: str) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    code = "import spotify_dag, os, sys; assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    given_variables = {} if given is None else {"GOMP_SPINCOUNT": given}
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables | given_variables
    )
    assert told.stdout.strip() == expected
