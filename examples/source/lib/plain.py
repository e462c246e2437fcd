"""What texts.py imports."""

import re


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
