"""Passwords that Entra accepts, and that survive every way to a sign-in. Pure: randomness is an argument.

Entra wants at least 8 characters out of 3 of 4 classes, and no spaces at either end reach a sign-in whole (F54), so
there are none at all. Characters that shells, URLs and connection strings take for their own are left out too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.model import RotatedSecret
from azure_rotator.domain.secrettext import SecretText

CAPITALS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
LOWERS = "abcdefghijkmnopqrstuvwxyz"
DIGITS = "23456789"
SPECIALS = "!#*+,-.:=?@^_~"
MIN_LENGTH, MAX_LENGTH, DEFAULT_LENGTH = 5, 50, 24
ENTRA_MIN_LENGTH, ENTRA_MIN_CLASSES = 8, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What generated passwords look like.

    Args:
        invalid_characters: Never used, of whatever class they are.
    """

    length: int = DEFAULT_LENGTH
    capital_letters: bool = True
    lower_letters: bool = True
    numbers: bool = True
    special_characters: bool = True
    invalid_characters: str = ""

    def classes(self) -> tuple[str, ...]:
        """The characters to draw from, by class; without those that hold nothing."""
        wanted = (
            (self.capital_letters, CAPITALS),
            (self.lower_letters, LOWERS),
            (self.numbers, DIGITS),
            (self.special_characters, SPECIALS),
        )
        invalid = set(self.invalid_characters)
        kept = ("".join(c for c in letters if c not in invalid) for on, letters in wanted if on)
        return tuple(letters for letters in kept if letters)

    def check(self) -> None:
        """Raises: Rejected ``PasswordPolicyInvalid``: Entra would refuse every password like that."""
        if not MIN_LENGTH <= self.length <= MAX_LENGTH or self.length < ENTRA_MIN_LENGTH:
            raise Rejected(
                "PasswordPolicyInvalid",
                f"password_length {self.length} is not acceptable: Entra wants at least {ENTRA_MIN_LENGTH}, and "
                f"{MAX_LENGTH} is the most",
                hint=f"set password_length to {ENTRA_MIN_LENGTH}-{MAX_LENGTH}",
            )
        if len(self.classes()) < ENTRA_MIN_CLASSES:
            raise Rejected(
                "PasswordPolicyInvalid",
                f"passwords out of {len(self.classes())} classes of characters are refused by Entra, which wants "
                f"{ENTRA_MIN_CLASSES} of capital letters, lower letters, numbers and special characters",
                hint="switch on more of use_capital_letters, use_lower_letters, use_numbers, use_special_characters",
            )


def policy_of(item: RotatedSecret) -> Policy:
    """The item's policy; what it leaves open has the product's default."""
    return Policy(
        length=item.password_length or DEFAULT_LENGTH,
        capital_letters=item.use_capital_letters is not False,
        lower_letters=item.use_lower_letters is not False,
        numbers=item.use_numbers is not False,
        special_characters=item.use_special_characters is not False,
    )


def generate(policy: Policy, token: Callable[[int], bytes]) -> SecretText:
    """A random password with a character of every class of the policy.

    Args:
        token: Random bytes fit for secrets.

    Raises:
        Rejected: ``PasswordPolicyInvalid``.
    """
    policy.check()
    classes = policy.classes()
    letters = "".join(classes)
    drawn = [letters[_below(len(letters), token)] for _ in range(policy.length)]
    # One place of each class, at places that are drawn too: a fixed place would be known to whoever guesses.
    places = list(range(policy.length))
    for characters in classes:
        place = places.pop(_below(len(places), token))
        drawn[place] = characters[_below(len(characters), token)]
    return SecretText("".join(drawn))


def _below(bound: int, token: Callable[[int], bytes]) -> int:
    """A number below ``bound``, each as likely: bytes beyond the last whole multiple are drawn again."""
    limit = 256 - 256 % bound
    while (number := token(1)[0]) >= limit:
        pass
    return number % bound
