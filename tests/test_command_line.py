"""The command line's manners, and the README's commands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, vps
from scenario import with_sellers

from vps_assets.home import Home
from vps_assets.lineage.graph import LINEAGE

COMMANDS = ("demo", "land", "run", "suggest", "report", "rollback", "forget", "doctor", "judge", "serve", "init", "ui")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    ran = vps(command, "--help", home=tmp_path)
    assert ran.returncode == 0
    assert "Usage" in ran.stdout


def mistake(*arguments: str, home: Path, **environment: str) -> str:
    """The one line that a user's mistake is reported in."""
    ran = vps(*arguments, home=home, **environment)
    assert ran.returncode == 2, ran.stderr
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == 1, ran.stderr
    return lines[0]


def test_a_csv_without_a_required_column_lands_nothing_and_names_the_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("listing_id,category,image_path\n1,c,p.jpg\n")
    assert "listed_at" in mistake("land", str(tmp_path / "a.csv"), home=tmp_path / "home")
    assert not (tmp_path / "home" / "landing").exists()


def test_a_run_before_anything_has_landed_says_what_to_do(tmp_path: Path) -> None:
    assert "vps land" in mistake("run", home=tmp_path)


@pytest.mark.parametrize(
    "setting", [{"VPS_RECIPE": "none such"}, {"VPS_STORAGE": "here"}, {"VPS_MLFLOW": "http://me:secret@mlflow"}]
)
def test_the_ui_does_not_start_on_settings_that_make_no_sense(home: Home, setting: dict[str, str]) -> None:
    ran = vps("ui", home=home.path, **setting)
    (name,) = setting
    assert ran.returncode == 2 and len(ran.stderr.splitlines()) == 1 and ran.stderr.startswith(f"vps: {name}: ")


def test_an_unknown_recipe_is_named_with_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "x.parquet").write_bytes(b"")
    assert "demo, small, paper" in mistake("run", home=tmp_path, VPS_RECIPE="large")


def test_dates_in_the_wrong_order_are_named(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "x.parquet").write_bytes(b"")
    message = mistake("run", "--from", "2024-05-10", "--to", "2024-05-01", home=tmp_path)
    assert "2024-05-10" in message


@pytest.mark.parametrize("arguments", [("run", "--from", "yesterday"), ("land",), ("runn",), ("suggest", "a.jpg")])
def test_wrong_arguments_are_reported_in_one_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert mistake(*arguments, home=tmp_path).startswith("vps: ")


def test_a_damaged_landing_file_is_a_failure_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "x.parquet").write_bytes(b"not parquet")
    ran = vps("run", home=tmp_path)
    assert ran.returncode == 1
    assert len(ran.stderr.strip().splitlines()) == 1


def test_without_arguments_the_help_is_shown_and_nothing_else(tmp_path: Path) -> None:
    ran = vps(home=tmp_path)
    assert "Usage" in ran.stdout
    assert ran.stderr == ""


def test_help_has_a_short_name_and_the_version_is_told(tmp_path: Path) -> None:
    assert "Usage" in vps("run", "-h", home=tmp_path).stdout
    assert re.fullmatch(r"vps \d+\.\d+\.\d+\n", vps("--version", home=tmp_path).stdout)


def test_what_a_run_would_make_is_said_and_not_made(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with_sellers(home, tmp_path, (1, "S1"), (2, "S2"))
    first, *_ = lines = vps("run", "--dry-run", home=home.path).stdout.splitlines()
    assert first == "raw_listings 2024-01-02 to 2024-01-03: 2 not made yet"
    assert {line.split(":")[0].split()[0] for line in lines} == set(LINEAGE)
    assert not home.warehouse.exists()
    named = vps("run", "--dry-run", "--select", "price_bounds", home=home.path).stdout
    assert named == "price_bounds: made again, as it is named\n"


def test_a_dry_run_counts_the_dates_that_are_asked_for_and_names_what_may_follow(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with_sellers(home, tmp_path, (1, "S1"), (2, "S2"))
    select = ("run", "--dry-run", "--select", "raw_listings+")
    raw, *_ = vps(*select, "--from", "2024-01-03", home=home.path).stdout.splitlines()
    assert raw == "raw_listings 2024-01-03: 1 made again, as it is named"
    bounds = vps("run", "--dry-run", "--select", "price_bounds,clean_listings", "--to", "2023-12-31", home=home.path)
    nothing, *lines = bounds.stdout.splitlines()
    assert nothing == "no listing of … to 2023-12-31 has landed: the dates with listings are 2024-01-02 to 2024-01-03"
    assert lines == ["price_bounds: made again, as it is named",
                     "and what of these follows from results that come out different: clean_listings"]  # fmt: skip
    done = vps("run", "--select", "raw_listings", "--to", "2023-12-31", home=home.path)
    assert "the dates with listings are 2024-01-02" in done.stderr and "Nothing had to be done" in done.stdout


def test_a_report_before_any_evaluation_says_what_to_do(tmp_path: Path) -> None:
    assert "vps demo" in mistake("report", home=tmp_path)


def test_a_suggestion_before_any_champion_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert "vps run" in mistake("suggest", str(tmp_path / "a.jpg"), "--category", "c", home=tmp_path)


def readme() -> str:
    return (REPOSITORY / "README.md").read_text()


def fenced(text: str) -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks."""
    return [tuple(block.split("\n", 1)) for block in text.split("```")[1::2]]  # type: ignore[misc]


def test_every_make_target_of_the_readme_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", readme()))
    assert {"demo", "test", "ui"} <= named <= targets


def test_every_vps_command_of_the_readme_exists() -> None:
    blocks = "\n".join(content for language, content in fenced(readme()) if language == "bash")
    named = set(re.findall(r"vps ([a-z]+)", blocks))
    assert named
    assert named <= set(COMMANDS)


def test_the_readmes_tree_names_files_that_exist() -> None:
    tree = next(content for _, content in fenced(readme()) if "vps_ml/ " in content)
    folder = ""
    for line in tree.strip().splitlines():
        name = line.split()[0]
        path = name if not line.startswith(" ") else folder + name
        folder = name if not line.startswith(" ") else folder
        assert (REPOSITORY / path).exists(), path


def test_every_relative_link_of_the_documents_leads_somewhere() -> None:
    for document in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_pytorch_of_another_index_leaves_out_what_only_a_gpu_needs_and_every_other_package_keeps_its_hash(
    tmp_path: Path,
) -> None:
    command = ["make", "--dry-run", "--always-make", "install", "TORCH_INDEX=https://index.example/cpu"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert re.search(r'--index-url "https://index.example/cpu" torch==\S+ torchvision==\S+$', printed, re.MULTILINE)
    (filtering,) = [line for line in printed.splitlines() if line.startswith("sed ")]
    (tmp_path / ".venv").mkdir()
    shutil.copy(REPOSITORY / "constraints.txt", tmp_path)
    subprocess.run(["bash", "-c", filtering], cwd=tmp_path, check=True)

    def pinned(file: Path) -> set[str]:
        return set(file.read_text().replace(" \\\n", " ").splitlines())

    left_out = pinned(REPOSITORY / "constraints.txt") - pinned(tmp_path / ".venv" / "constraints.txt")
    names = {re.split(r"[\[=]", line)[0].partition("-")[0] for line in left_out}
    assert names == {"torch", "torchvision", "triton", "nvidia", "cuda"}
    assert pinned(tmp_path / ".venv" / "constraints.txt") < pinned(REPOSITORY / "constraints.txt")


def test_constraints_pin_versions_and_hashes_without_hosts_or_urls() -> None:
    text = (REPOSITORY / "constraints.txt").read_text().replace(" \\\n", " ")
    pin = r"[A-Za-z0-9_.\-]+(\[[a-z0-9,\-]+\])?==[A-Za-z0-9.+!\-]+( ; sys_platform [!=]= \"\w+\")?"
    hashes = r"(\s+--hash=sha256:[0-9a-f]{64})+"
    wrong = [line for line in text.splitlines() if not re.fullmatch(pin + hashes, line)]
    assert wrong == []
    assert re.search(r"^setuptools==", text, re.MULTILINE), "the build is not isolated"
