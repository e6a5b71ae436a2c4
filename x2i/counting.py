"""Numbers with what they count, in the singular where there is one: "1 image is new", "3 images are new"."""

from __future__ import annotations

import re

_SINGULARS = {"have": "has", "are": "is", "were": "was"} | {
    verb: f"{verb}s" for verb in ("belong", "come", "lie", "name", "share")
}
_PLURAL = re.compile(r"\b(?P<stem>\w+?)(?P<ending>ies|(?<=ss)es|(?<=sh)es|(?<=ch)es|(?<=x)es|(?<!s)s)\b")
_VERB = re.compile(rf"\b({'|'.join(_SINGULARS)})\b")


def counted(count: int, plural: str) -> str:
    """Returns `count`, with commas, and the phrase `plural`; for 1, with its first noun and verb in the singular.

    plural: its first word that ends with s is the noun, the first word after it that is known as a verb the verb.
    A phrase without such a noun stays as it is.
    """
    noun = _PLURAL.search(plural)
    if count != 1 or noun is None:
        return f"{count:,} {plural}"
    singular = noun["stem"] + ("y" if noun["ending"] == "ies" else "")
    rest = _VERB.sub(lambda verb: _SINGULARS[verb[0]], plural[noun.end() :], count=1)
    return f"1 {plural[: noun.start()]}{singular}{rest}".replace(" their ", " its ")
