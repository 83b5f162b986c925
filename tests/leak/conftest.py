"""Stacks as the tests of the provider have them."""

from __future__ import annotations

from tests.pulumi.conftest import beside, own_environment, stack

__all__ = ["beside", "own_environment", "stack"]
