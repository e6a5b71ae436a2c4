"""What a picture costs each model that the guides name: parameters, operations, memory, and seconds on the CPU.

    python benchmarks/model_budgets.py [--only dinov2 ...] [--threads 2] [--repeats 3] [--table]

Every architecture is built from its configuration with random weights (benchmarks/model_architectures.py) and given one
picture at the model's own input size, in fp32. Each runs in a process of its own. Prints one line of JSON per model, or
with --table a Markdown table:

parameters: counted; the command fails if the guides state more than 2% more or less.
operations: of matrix products, convolutions and attention, a multiplication and an addition counted as two.
memory: the peak of what torch allocates beside weights and input. In bf16 half of it is expected.
seconds: the median of the repeats after a warm-up; null with --repeats 0.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from model_architectures import ARCHITECTURES, Architecture
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

TOLERANCE = 0.02
HEADERS = ("model", "input", "parameters", "weights in bf16", "memory a picture in bf16", "TFLOP", "seconds, CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="Parts of the names of the models to run.")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="Print a Markdown table in place of JSON.")
    options = parser.parse_args()
    print(json.dumps({"threads": options.threads, "load": [round(load, 1) for load in os.getloadavg()]}), flush=True)
    if options.table:
        print(table_row(HEADERS), table_row(["---"] * len(HEADERS)), sep="\n")
    wrong = []
    for number, model in enumerate(ARCHITECTURES):
        if any(part in model.name for part in options.only):
            found = alone(number, options.threads, options.repeats)
            print(table_row(cells(found)) if options.table else json.dumps(found), flush=True)
            if abs(found["parameters"] / 1e6 / model.millions - 1) > TOLERANCE:
                wrong.append(f"{model.name}: {found['parameters']:,}, stated {model.millions} million")
    sys.exit("\n".join(wrong) or 0)


def alone(number: int, threads: int, repeats: int) -> dict[str, Any]:
    """Returns the budget of a model as a fresh process measures it, which holds nothing of the model before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_in_process, (number, threads, repeats))


def _in_process(number: int, threads: int, repeats: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    return budget(ARCHITECTURES[number], repeats)


def budget(architecture: Architecture, repeats: int = 0) -> dict[str, Any]:
    """Returns what one picture costs: name, input, parameters, operations, memory in bytes, seconds (None for none)."""
    torch.manual_seed(0)
    model = architecture.build()
    inputs = architecture.inputs(model)
    operations, memory = counted(architecture, model, inputs)
    seconds = [timed(architecture, model, inputs) for _ in range(repeats)]
    return {
        "name": architecture.name,
        "input": architecture.given,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "operations": operations,
        "memory": memory,
        "seconds": round(statistics.median(seconds), 3) if seconds else None,
    }


def counted(architecture: Architecture, model: nn.Module, inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Runs the model once; returns the floating-point operations and the peak of allocated bytes."""
    counter, fast = FlopCounterMode(display=False), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation for all of nn.MultiheadAttention is not counted
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler, counter:
        architecture.run(model, inputs)
    torch.backends.mha.set_fastpath_enabled(fast)
    return counter.get_total_flops(), peak_bytes(profiler)


def peak_bytes(profiler: profile) -> int:
    """Returns the most bytes that were allocated at a time while the profiler ran."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    return max(itertools.accumulate(size for _, size in changes), default=0)


def timed(architecture: Architecture, model: nn.Module, inputs: Mapping[str, Any]) -> float:
    """Returns the seconds of one run."""
    started = time.perf_counter()
    with torch.inference_mode():
        architecture.run(model, inputs)
    return time.perf_counter() - started


def cells(found: Mapping[str, Any]) -> list[str]:
    """Returns a budget as the guides show it: bytes in bf16, in GB and MB of powers of ten."""
    return [
        f"`{found['name']}`",
        found["input"],
        f"{found['parameters'] / 1e6:,.0f} million",
        f"{2 * found['parameters'] / 1e9:.2g} GB",
        f"{found['memory'] / 2 / 1e6:.2g} MB",
        f"{found['operations'] / 1e12:.2g}",
        f"{found['seconds']:.2g}" if found["seconds"] is not None else "",
    ]


def table_row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


if __name__ == "__main__":
    main()
