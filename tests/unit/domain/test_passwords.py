"""Generated passwords: what Entra accepts, whatever the policy allows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from azure_rotator.domain import passwords
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.passwords import Policy, generate
from tests.rows import row

CLASSES = (passwords.CAPITALS, passwords.LOWERS, passwords.DIGITS, passwords.SPECIALS)
POLICIES = {
    "the defaults": Policy(),
    "the shortest": Policy(length=8),
    "the longest": Policy(length=50),
    "no special characters": Policy(special_characters=False),
    "no capitals": Policy(capital_letters=False, length=10),
    "without some characters": Policy(invalid_characters="abcXYZ23!#"),
}


def generated(policy: Policy, seed: int) -> str:
    return generate(policy, random.Random(seed).randbytes).reveal()  # noqa: S311 - to be the same each time


@row("B-20", "F54")
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_a_thousand_comply(policy: Policy):
    for seed in range(1_000):
        password = generated(policy, seed)
        assert len(password) == policy.length
        assert password.isascii()
        assert password.split() == [password]
        assert not set(password) & set(policy.invalid_characters)
        held = [any(character in letters for character in password) for letters in CLASSES]
        wanted = [policy.capital_letters, policy.lower_letters, policy.numbers, policy.special_characters]
        assert held == wanted


def test_no_two_are_alike_and_no_place_is_fixed():
    every = [generated(Policy(), seed) for seed in range(1_000)]
    assert len(set(every)) == len(every)
    for place in range(passwords.DEFAULT_LENGTH):
        seen = {password[place] for password in every}
        assert all(seen & set(letters) for letters in CLASSES), f"place {place} never has some class"


def test_every_character_is_as_likely():
    drawn = "".join(generated(Policy(), seed) for seed in range(4_000))
    for letters in CLASSES[:2]:
        counts = [drawn.count(character) for character in letters]
        assert max(counts) < 1.3 * min(counts)


@row("B-20")
@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(Policy(length=7), id="too short for Entra"),
        pytest.param(Policy(length=51), id="too long"),
        pytest.param(Policy(numbers=False, special_characters=False), id="two classes"),
        pytest.param(replace(Policy(numbers=False), invalid_characters=passwords.SPECIALS), id="an empty class"),
    ],
)
def test_an_impossible_policy_is_refused(policy: Policy):
    with pytest.raises(Rejected) as refused:
        generated(policy, 1)
    assert refused.value.code == "PasswordPolicyInvalid"
    assert refused.value.hint
