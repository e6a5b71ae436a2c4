"""Importing the store leaves pandas alone, and takes nothing away from those who want it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("pandas", reason="pandas is not installed: nothing would be imported")


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_pyarrow_imports_pandas_with_its_first_array_and_not_after_ours() -> None:
    ask = "import sys, pyarrow as pa; pa.table({'a': [1]}); print('pandas' in sys.modules)"
    assert run(ask) == "True", "pyarrow has mended it: x2i/store/files/without_pandas.py can go"
    assert run(f"import x2i.store; {ask}") == "False"


def test_tables_still_go_to_pandas_and_come_from_it() -> None:
    there = "import x2i.store, pyarrow as pa; frame = pa.table({'a': [1, 2]}).to_pandas(); print(frame.a.sum())"
    back = "import pandas as pd; print(pa.Table.from_pandas(frame)['a'].to_pylist(), pa.array(pd.Series([3]))[0])"
    assert run(f"{there}; {back}") == "3\n[1, 2] 3"
