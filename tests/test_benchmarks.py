"""The benchmarks run at a small size, and their last line has the figures that they promise."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

FIGURES = {
    "statistics": {"backfill_speedup", "backfill_peak_mib", "new_day_growth", "join_s"},
    "landing": {"landing_rows_per_s", "peak_growth", "verify_speedup_of_two_threads"},
    "embedding": {"embedding_speedup", "cosine", "forward_fraction", "shared_trunk_speedup", "demo_speedup"},
    "embedding_files": {"date_growth", "read_over_copy", "matrix"},
    "words": {"titles", "hashed_s", "hashed_speedup", "encoder"},
    "training": {"gemm_fraction", "ten_models_speedup", "reduction_speedup"},
    "comparables": {"items", "category_and_day_cpu_ms", "all_cpu_ms", "category_and_day_recall", "all_recall", "mib"},
    "serving": {
        "throughput_16",
        "p50_1",
        "p99_over_p50_4",
        "http_cpu_ms",
        "cold_start_cpu_s",
        "swaps_failed",
        "swaps_p99",
    },
    "lineage": {"new_day_share", "loading_s", "by_listings"},
    "million": {"by_listings", "disk_mib", "exponents"},
    "year": {"mib", "idle_tick_ms", "tick_growth", "runs"},
}


ELSEWHERE = {"accelerator", "scale"}
"""Those that need a GPU, or servers (tests/scale)."""


@pytest.mark.slow
@pytest.mark.parametrize("subject", FIGURES)
def test_a_benchmark_ends_with_its_figures(subject: str) -> None:
    script = REPOSITORY / "benchmarks" / f"{subject}.py"
    ran = subprocess.run([sys.executable, str(script)], cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert FIGURES[subject] <= json.loads(ran.stdout.splitlines()[-1]).keys()


def test_every_benchmark_is_run_by_make_bench_and_here() -> None:
    scripts = {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")} - {"measure", "drawn", *ELSEWHERE}
    line = next(row for row in (REPOSITORY / "Makefile").read_text().splitlines() if row.startswith("BENCHMARKS"))
    assert scripts == set(line.split(":=")[1].split()) == set(FIGURES)
