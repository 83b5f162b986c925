"""``python -m azure_sandbox`` is ``azure-sandbox``."""

from __future__ import annotations

from azure_sandbox.cli import main

main()
