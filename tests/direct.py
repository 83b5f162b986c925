"""Requests to a port of this machine, past any proxy that a test has set: ``urlopen`` keeps the one that it met first,
for every later test of the process."""

from __future__ import annotations

from urllib.request import ProxyHandler, build_opener

ask = build_opener(ProxyHandler({})).open
