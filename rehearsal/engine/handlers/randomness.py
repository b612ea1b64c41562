"""Random values that are drawn once and kept in the state."""

from __future__ import annotations

import secrets
import string

from .base import Cloud, Created, Handler, Props

_SPECIAL = "!@#$%&*()-_=+[]{}<>:?"  # the provider's own set
_EVERYTHING = frozenset(
    {"length", "special", "upper", "lower", "numeric", "number", "minLower", "minNumeric", "minSpecial", "minUpper"}
    | {"overrideSpecial", "keepers", "byteLength", "prefix"}
)


class _Drawn(Handler):
    """Any other input means another value."""

    force_new = _EVERYTHING

    def delete(self, cloud: Cloud, id: str, state: Props) -> None:
        """It lived in the state alone."""


def _classes(new: Props) -> dict[str, str]:
    sets = {
        "Upper": string.ascii_uppercase,
        "Lower": string.ascii_lowercase,
        "Numeric": string.digits,
        "Special": new.get("overrideSpecial") or _SPECIAL,
    }
    return {name: letters for name, letters in sets.items() if new.get(name.lower(), True)}


def _text(new: Props) -> str:
    classes, length = _classes(new), int(new["length"])
    if not classes:
        raise ValueError("a random text needs at least one of upper, lower, numeric, special")
    drawn = [
        secrets.choice(letters) for name, letters in classes.items() for _ in range(int(new.get(f"min{name}") or 0))
    ]
    everything = "".join(classes.values())
    drawn += [secrets.choice(everything) for _ in range(length - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn[:length])


class RandomPassword(_Drawn):
    pulumi_type = "random:index/randomPassword:RandomPassword"
    secret_outputs = frozenset({"result", "bcryptHash"})

    def create(self, cloud: Cloud, new: Props) -> Created:
        return Created(id="none", outputs={"result": _text(new)})


class RandomString(_Drawn):
    pulumi_type = "random:index/randomString:RandomString"

    def create(self, cloud: Cloud, new: Props) -> Created:
        result = _text(new)
        return Created(id=result, outputs={"result": result})


class RandomId(_Drawn):
    pulumi_type = "random:index/randomId:RandomId"

    def create(self, cloud: Cloud, new: Props) -> Created:
        value = secrets.token_bytes(int(new["byteLength"]))
        prefix = new.get("prefix") or ""
        outputs = {"hex": f"{prefix}{value.hex()}", "dec": f"{prefix}{int.from_bytes(value, 'big')}"}
        return Created(id=value.hex(), outputs=outputs)
