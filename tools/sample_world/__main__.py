"""``python -m tools.sample_world``: write the bundled samples, or check them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import bench.data
from tools.sample_world import SIZES, generate

SAMPLES = Path(bench.data.__file__).parent / "samples"


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; say which files differ in their rows.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=SAMPLES, show_default=True
)
def main(check: bool, out: Path) -> None:
    """Write OUT/<task>/<split>.parquet for all tasks, in the hub's columns."""
    import datasets
    import pyarrow.parquet as pq

    files = {out / task / f"{split}.parquet" for task in SIZES for split in SIZES[task]}
    differing = sorted(set(out.glob("*/*.parquet")) - files)
    for task, sizes in SIZES.items():
        for split, size in sizes.items():
            table = datasets.Dataset.from_list(generate(task, split, size)).data.table
            table = table.replace_schema_metadata(None)
            file = out / task / f"{split}.parquet"
            if not check:
                file.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(table, file, compression="zstd", compression_level=19)
            elif not file.exists() or not pq.read_table(file).equals(table):
                differing.append(file)
    for file in differing:
        click.echo(f"{file} is not what the generator gives", err=True)
    if differing:
        sys.exit(1)
    done = "hold what the generator gives" if check else "written"
    click.echo(f"{len(files)} files of {len(SIZES)} tasks {done}")


if __name__ == "__main__":
    main()
