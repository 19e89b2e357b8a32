"""The benchmarks run at a small size, and their last line has the figures that they promise."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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
    "events": {"event_ms", "event_cpu_ratio", "event_wall_ratio"},
    "year": {"mib", "idle_tick_ms", "tick_growth", "runs"},
}


HELPERS = {"measure", "drawn", "curves", "sample"}
"""Those that others import, or that read what others have left."""
RUNS = ("first", "new day")
ELSEWHERE = {"accelerator", "accelerator_heads", "scale"}
"""Those that need a GPU, or servers (tests/scale)."""


@pytest.mark.slow
@pytest.mark.parametrize("subject", FIGURES)
def test_a_benchmark_ends_with_its_figures(subject: str) -> None:
    script = REPOSITORY / "benchmarks" / f"{subject}.py"
    ran = subprocess.run([sys.executable, str(script)], cwd=REPOSITORY, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert FIGURES[subject] <= json.loads(ran.stdout.splitlines()[-1]).keys()


def test_the_curves_of_a_result_are_drawn(tmp_path: Path) -> None:
    steps = ("landing", "clean_listings", "clean_listings_schema", "price_suggestions.suggest_prices", "publishing")
    by_listings = {
        str(size): {f"{run}: {step}": {"cpu_s": size / 100, "peak_mib": 500.0} for step in steps for run in RUNS}
        for size in (1000, 10_000)
    }
    (tmp_path / "results.json").write_text(json.dumps({"by_listings": by_listings}))
    script = REPOSITORY / "benchmarks" / "curves.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "results.json"), str(tmp_path / "a.svg")], check=True)
    picture = (tmp_path / "a.svg").read_text()
    assert all(words in picture for words in ("landing", "listings and their checks", "publishing", "peak memory, GiB"))


def test_every_benchmark_is_run_by_make_bench_and_here() -> None:
    scripts = {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")} - HELPERS - ELSEWHERE
    line = next(row for row in (REPOSITORY / "Makefile").read_text().splitlines() if row.startswith("BENCHMARKS"))
    assert scripts == set(line.split(":=")[1].split()) == set(FIGURES)


def test_a_photos_drawn_features_are_the_same_in_every_file() -> None:
    """Were they others in the next file of its date, all that is qualified on them, ranges and prices would change."""
    spec = importlib.util.spec_from_file_location("drawn", REPOSITORY / "benchmarks" / "drawn.py")
    assert spec is not None and spec.loader is not None
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    hashes = [hashlib.sha256(bytes([n])).hexdigest() for n in range(6)]
    some, others = drawn.features_of(hashes[:4], ["price"], 32), drawn.features_of(hashes[3:], ["price"], 32)
    assert some["price"].shape == (4, 32)
    np.testing.assert_allclose(some["price"][3], others["price"][0], rtol=2e-3)
    assert not np.allclose(some["price"][2], some["price"][3])
