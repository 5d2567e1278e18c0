"""Speed of training and prediction compared with the usual methods: python experiments/bench/bench.py"""

import argparse
from pathlib import Path
from typing import Any

import prediction
import torch
import training
from alternate import Side, alternate, matmul_limit, write_result

from lookboth.models.loading import load_backbone
from lookboth.quiet import quiet_libraries

MODEL = "smollm2-135m"
# Matrix products per step, in forward passes. With LoRA the backward pass costs one: frozen weights need no gradients.
PASSES = {"training": 2, "prediction": 1}
# Sides that are compared with their limit.
LIMITED = {"lookboth fp32": torch.float32, "lookboth bf16": torch.bfloat16}
PRODUCTS = "bare products, "
AT_ONCE = 1024
RESULTS = Path(__file__).parent.parent / "results" / "bench"


def main() -> None:
    """Parse options, run both tables, print them and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sentences", type=int, default=144, help="sentences in one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    quiet_libraries()
    tables: dict[str, Any] = {}
    for name, module, source in (("training", training, MODEL), ("prediction", prediction, None)):
        print(f"\n{name}")
        sides = module.sides(source, options.sentences, options.device)
        limits = [_limit(side, name, options.device) for side in sides if side.name in LIMITED]
        tables[name] = alternate([*sides, *limits], rounds=options.rounds)
        speeds = {row["side"]: row["words_per_second"] for row in tables[name]}
        for row in tables[name]:
            if limit := speeds.get(PRODUCTS + row["side"].removeprefix("lookboth ")):
                row["share_of_limit"] = round(row["words_per_second"] / limit, 2)
        print(_table(tables[name]))
    work = f"{MODEL}, LoRA r 16 on q and v, {options.sentences} WNUT-17 sentences per round, {options.device}"
    out = options.out or RESULTS / f"{options.device}.json"
    write_result(out, work=work, tables=tables)
    print(f"written: {out}")


def _limit(side: Side, table: str, device: str) -> Side:
    """Return a side that computes only the matrix products for another side's tokens."""
    precision = side.name.removeprefix("lookboth ")
    backbone = load_backbone(MODEL, precision="fp32")
    shapes = [(m.in_features, m.out_features) for m in backbone.modules() if isinstance(m, torch.nn.Linear)]
    times = PASSES[table] * side.tokens / AT_ONCE

    def run() -> float:
        return times * matmul_limit(shapes, AT_ONCE, LIMITED[side.name], device)

    note = f"the model's shapes, {AT_ONCE:,} tokens at once, no padding"
    return Side(PRODUCTS + precision, run, side.words, note, side.tokens)


def _table(rows: list[dict[str, Any]]) -> str:
    width = max(len(row["side"]) for row in rows)
    return "\n".join(
        f"{row['side']:{width}}  {row['words_per_second']:9.1f} words/s  {row['ratio']:6.2f}x"
        + (f"  {100 * row['share_of_limit']:.0f} % of the products" if "share_of_limit" in row else "")
        for row in rows
    )


if __name__ == "__main__":
    main()
