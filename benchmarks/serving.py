"""The service: what batching, HTTP, a new publication and a cold start cost.

    python benchmarks/serving.py [--home DIR] [--seconds 6] [--full]

On a data directory with champions, by default a demo of 500 listings that is made first. "alone" is the same thread
answering one offer at a time. Ratios are of one run, interleaved; a client asks again as soon as it is answered.
`--full`: 30 s each.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

HERE = str(Path(__file__).parent)
sys.path[:] = [*(p for p in sys.path if p != HERE), HERE]  # torch must not take statistics.py for the library's

import duckdb
import httpx
import numpy as np
import psutil
from measure import memory_mib, report, tell

from vps_assets.home import Home
from vps_assets.serving import batches
from vps_assets.serving.app import create_app
from vps_assets.serving.batches import Batcher
from vps_assets.serving.gate import Gate
from vps_assets.serving.observed import Metrics
from vps_assets.serving.offers import Offer
from vps_assets.serving.renewal import Renewal
from vps_assets.serving.snapshot import Suggested
from vps_ml.pricing.calibration import Prediction

COMMAND = [sys.executable, "-c", "from vps_assets.cli import main; main()"]
ROUNDS = 3
SWAPS = 20


def asked_for(seconds: float, clients: int, ask: Callable[[], object]) -> list[float]:
    """How long each answer took to clients that ask again as soon as they are answered."""
    ends, taken = time.perf_counter() + seconds, []

    def client(_: int) -> None:
        while (began := time.perf_counter()) < ends:
            ask()
            taken.append(time.perf_counter() - began)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return taken


def batching(renewal: Renewal, offers: list[Offer], seconds: float) -> dict[str, float]:
    """Throughput and waiting of batches against offers that are answered alone, on the same thread."""
    photos, found = cycle(offers), {}
    taken: dict[tuple[int, int], list[float]] = {}
    for _ in range(ROUNDS):
        for clients in (1, 4, 16):
            for most in (1, 16):
                batches.MOST_AT_ONCE = most
                batcher = Batcher(renewal.in_force)

                def ask(batcher: Batcher = batcher) -> None:
                    batcher.submit(next(photos)).result(30)

                answers = asked_for(seconds / ROUNDS, clients, ask)
                taken.setdefault((clients, most), []).extend(answers)
                batcher.close()
    batches.MOST_AT_ONCE = 16
    for clients in (1, 4, 16):
        alone, together = taken[(clients, 1)], taken[(clients, 16)]
        p50, p99 = np.quantile(together, (0.5, 0.99))
        tell(f"  {clients:2} clients: {len(together) / seconds:6.1f}/s together, {len(alone) / seconds:6.1f}/s alone, ")
        tell(f"              p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms together")
        found[f"throughput_{clients}"] = len(together) / len(alone)
        found[f"p50_{clients}"] = p50 / np.quantile(alone, 0.5)
        found[f"p99_over_p50_{clients}"] = p99 / p50
    return found


def http_ms(offer: Offer, count: int) -> float:
    """CPU milliseconds a request of everything but the models: parsing, queue, JSON, the log, and the client."""
    shown = {"listing_id": "L1", "photo_hash": "0" * 64, "sold_price": 1.0, "sold_on": "2024-05-31"}
    nothing = Suggested(
        {
            "qualified": True, "suggested_price": 1.0, "low": 1.0, "high": 1.0, "currency": "EUR", "qualification": 1.0,
            "inputs": "photo", "reason": None, "model_id": "none", "data_until": None, "asking": None,
            "comparables": 5 * [shown],
        },
        Prediction(0.0, 0.0, 0.0, 1.0),
    )  # fmt: skip
    stub = SimpleNamespace(
        suggestions=lambda offers, *_: [nothing] * len(offers), knows=lambda _: True, data_until=None
    )
    renewal = SimpleNamespace(
        snapshot=stub, in_force=lambda: stub, start=lambda: None, close=lambda: None, failure=None
    )
    metrics = Metrics()
    app = Gate(create_app(renewal, metrics, 10**9), metrics, frozenset({"127.0.0.1"}), None)  # type: ignore[arg-type]
    with in_thread(app) as (address, thread_cpu), httpx.Client() as client:
        photo = Path(str(offer.image)).read_bytes()
        began = thread_cpu()
        for _ in range(count):
            client.post(f"{address}/v1/suggestions", data={"category": "phone"}, files={"photo": photo})
        return 1000 * (thread_cpu() - began) / count


@contextmanager
def in_thread(app: Gate) -> Iterator[tuple[str, Callable[[], float]]]:
    """(address, CPU seconds of the server's threads) of a server in this process."""
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    here, process = threading.get_native_id(), psutil.Process()

    def cpu() -> float:
        return sum(one.user_time + one.system_time for one in process.threads() if one.id != here)

    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", cpu
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def served(home: Home) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """(address, process, seconds until it was ready) of `vps serve`."""
    env, began = os.environ | {"VPS_HOME": str(home.path)}, time.perf_counter()
    arguments = ["serve", "--port", "0", "--requests-per-minute", "1000000000"]
    process = subprocess.Popen([*COMMAND, *arguments], env=env, stderr=subprocess.PIPE)
    assert process.stderr is not None
    address = process.stderr.readline().decode().split()[2].rstrip(",")
    threading.Thread(target=process.stderr.read, daemon=True).start()
    while True:
        try:
            if httpx.get(f"{address}/v1/health/ready", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    try:
        yield address, process, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def publish_again(home: Home) -> None:
    """The copy in a new file, as a run leaves it: whole, by a rename."""
    other = home.analytics.with_name("other.duckdb")
    other.write_bytes(home.analytics.read_bytes())
    with duckdb.connect(str(other)) as connection:
        connection.execute("update clean_listings set sold_on = sold_on where listing_id = 'L00001'")
    other.replace(home.analytics)


def process_figures(home: Home, offer: Offer, seconds: float) -> dict[str, float]:
    """A service of its own: cold start, swaps under load, bad bodies."""
    photo = Path(str(offer.image)).read_bytes()
    with served(home) as (address, process, ready), httpx.Client(timeout=30) as client:
        times, memory = psutil.Process(process.pid).cpu_times(), psutil.Process(process.pid).memory_info()
        figures = {"cold_start_s": ready, "cold_start_cpu_s": times.user + times.system}
        figures["cold_start_mib"] = memory.rss / 2**20
        failed = []

        def ask() -> None:
            form = {"category": "phone"}
            post = client.post(f"{address}/v1/suggestions", data=form, files={"photo": photo})
            failed.extend([post.status_code] if post.status_code != 200 else [])

        calm = asked_for(seconds, 4, ask)
        with ThreadPoolExecutor(1) as pool:
            swapping = pool.submit(lambda: [(publish_again(home), time.sleep(1.5)) for _ in range(SWAPS)])
            swapped = asked_for(1.5 * SWAPS, 4, ask)
            swapping.result()
        figures |= {
            "swaps_failed": float(len(failed)),
            "swaps_p99": float(np.quantile(swapped, 0.99) / np.quantile(calm, 0.99)),
        }
        before = psutil.Process(process.pid).memory_info().rss
        bad = [b"", b"\xff\xd8\xff", photo[: len(photo) // 2], b"GIF89a" + b"\0" * 100, os.urandom(200_000)]
        statuses = set()

        def send(number: int) -> None:
            files = {"photo": bad[number % len(bad)]}
            statuses.add(client.post(f"{address}/v1/suggestions", data={"category": "x"}, files=files).status_code)

        with ThreadPoolExecutor(100) as pool:
            list(pool.map(send, range(1000)))
        figures["bad_bodies_memory"] = psutil.Process(process.pid).memory_info().rss / before
        figures["bad_bodies_5xx_but_503"] = float(len([s for s in statuses if s >= 500 and s != 503]))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--full", action="store_true", help="30 s each")
    arguments = parser.parse_args()
    seconds = 30.0 if arguments.full else arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        home = Home(arguments.home or Path(folder) / "home")
        if arguments.home is None:
            env = os.environ | {"VPS_HOME": str(home.path)}
            subprocess.run([*COMMAND, "demo", "--listings", "500"], env=env, check=True, capture_output=True)
        photos = sorted((home.path / "photos").glob("*/*"))[:64]
        offers = [Offer("phone", photo) for photo in photos]
        renewal = Renewal(home)
        renewal.look()
        figures = batching(renewal, offers, seconds)
        figures["memory_mib"] = memory_mib("VmHWM")
        figures["http_cpu_ms"] = http_ms(offers[0], 300)
        figures |= process_figures(home, offers[0], seconds)
        for name, value in figures.items():
            tell(f"  {name:28} {value:9.3f}")
        report(**{name: float(value) for name, value in figures.items()})


if __name__ == "__main__":
    main()
