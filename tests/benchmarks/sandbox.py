"""How fast the sandbox is: seconds to ready, tokens and Graph reads a second.

The load comes from a process of its own on the same machine: client and server share the cores, so the rates are lower
bounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

import httpx

from azure_sandbox.testing import Sandbox

TENANT = "11111111-1111-4111-8111-111111111111"  # of the default seed, as is the application
CLIENT = "22222222-2222-4222-8222-222222222201"
LOGIN = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token"
GRAPH = "https://graph.microsoft.com/v1.0/applications"


def report(*, quick: bool) -> None:
    """Print it."""
    starts = []
    for _ in range(3 if quick else 7):
        start = time.perf_counter()
        with Sandbox():
            starts.append(time.perf_counter() - start)
    print(f"\nsandbox ready after                        {median(starts) * 1000:7.0f} ms (median of {len(starts)})")
    with Sandbox() as sandbox:
        secret = sandbox.state / "secrets" / "rotator"
        for clients in (1, 4):
            arguments = [str(secret), str(clients), "1" if quick else "5"]
            command = [sys.executable, "-m", "tests.benchmarks.sandbox", *arguments]
            said = subprocess.run(command, env=sandbox.environment(), check=True, capture_output=True, text=True).stdout
            for name, rate in json.loads(said).items():
                print(f"{name:<42} {rate:7.0f} a second, {clients} client{'s' if clients > 1 else ''}")


def load(secret_file: Path, clients: int, seconds: float) -> dict[str, float]:
    """Requests a second of each kind; every client keeps its connection, as the SDKs do."""
    form = {
        "client_id": CLIENT,
        "client_secret": secret_file.read_text(encoding="utf-8").strip(),
        "grant_type": "client_credentials",
        "scope": "https://graph.microsoft.com/.default",
    }
    token = httpx.post(LOGIN, data=form).raise_for_status().json()["access_token"]
    requests = {
        "sandbox tokens": httpx.Request("POST", LOGIN, data=form),
        "sandbox Graph reads": httpx.Request(
            "GET", GRAPH, params={"$filter": f"appId eq '{CLIENT}'"}, headers={"Authorization": f"Bearer {token}"}
        ),
    }
    return {name: _rate(request, clients, seconds) for name, request in requests.items()}


def _rate(request: httpx.Request, clients: int, seconds: float) -> float:
    counts = [0] * clients

    def go(number: int) -> None:
        with httpx.Client() as client:
            client.send(request).raise_for_status()
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                client.send(request).raise_for_status()
                counts[number] += 1

    threads = [threading.Thread(target=go, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


if __name__ == "__main__":
    print(json.dumps(load(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
