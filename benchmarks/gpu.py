"""What there is to know about one GPU: are the results right, which attention is fastest, how fast is a step.

    python benchmarks/gpu.py                       # on the first CUDA device: all sections, some seven minutes
    python benchmarks/gpu.py --section step        # one of correctness, attention, step; may be given again
    python benchmarks/gpu.py --device cpu --toy    # the same code at toy size, to see that it runs

Needs torch alone, beside what `omnigen` imports; where nothing can be installed, put PYTHONPATH=. before it. Prints
one JSON line per measurement as soon as it is made, then markdown tables and the attention to choose. A section that
fails prints its traceback, and the others run; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# Before torch starts: packs differ in length, and blocks of fixed sizes would leave gaps of several GB between them.
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import gpu_attention
import gpu_correctness
import gpu_step
import torch

from omnigen.network.recompiling import limit_recompiles

SECTIONS: dict[str, Callable[[torch.device, bool], Iterator[dict[str, Any]]]] = {
    "correctness": gpu_correctness.measure,
    "attention": gpu_attention.measure,
    "step": gpu_step.measure,
}


def describe(device: torch.device) -> dict[str, Any]:
    """Returns what the numbers were measured on."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or "cpu",
        "memory_gb": round(torch.cuda.get_device_properties(device).total_memory / 1e9, 1) if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "python": platform.python_version(),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns rows of the same section as a markdown table; a field that a row lacks stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "section"))
    lines = [columns, ["---"] * len(columns)]
    lines += [["" if row.get(name) is None else str(row[name]) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def choose(rows: Sequence[dict[str, Any]]) -> str:
    """Says which attention was fastest, forward and backward, at the greatest length where any ran."""
    timed = [row for row in rows if row.get("both_ms")]
    if not timed:
        return "attention: nothing was timed, no choice"
    longest = max(row["tokens"] for row in timed)
    best = min((row for row in timed if row["tokens"] == longest), key=lambda row: row["both_ms"])
    flex = [row["both_ms"] for row in timed if row["tokens"] == longest and row["attention"] == "flex"]
    versus = f", {min(flex) / best['both_ms']:.2f}x over flex" if flex else ""
    return f"attention: {best['attention']} ({best['variant']}) at {longest} tokens: {best['both_ms']} ms{versus}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to run: cuda, cuda:1, cpu")
    parser.add_argument("--toy", action="store_true", help="sizes that a laptop's CPU manages")
    parser.add_argument("--section", action="append", choices=list(SECTIONS), help="run this one; may be given again")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device; --device cpu --toy shows that the benchmark runs")
    # Every kernel option of flex compiles anew, each dtype and autocast too, with and without gradients.
    limit_recompiles()
    print(json.dumps({"section": "machine", **describe(device)}), flush=True)
    results: dict[str, list[dict[str, Any]]] = {}
    failed = []
    for name in arguments.section or SECTIONS:
        rows = results.setdefault(name, [])
        try:
            for row in SECTIONS[name](device, arguments.toy):
                rows.append(row)
                print(json.dumps({"section": name, **row}), flush=True)
        except Exception:  # noqa: BLE001 - whatever fails on an unknown machine, the other sections' numbers are wanted
            failed.append(name)
            traceback.print_exc()
    for name, rows in results.items():
        print(f"\n### {name}\n\n{table(rows)}")
    if "attention" in results:
        print(f"\n{choose(results['attention'])}")
    wrong = [row for row in results.get("correctness", []) if row.get("result") == "wrong"]
    if failed or wrong:
        print(f"failed sections: {', '.join(failed) or 'none'}; wrong results: {len(wrong)}", file=sys.stderr)
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
