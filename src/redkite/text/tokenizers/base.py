"""What a tokenizer is."""

from __future__ import annotations

from typing import Protocol

from redkite.text.texts import Texts
from redkite.text.tokens import Tokens


class Tokenizer(Protocol):
    """Cuts texts into words. Any thread may call it."""

    def tokenize(self, texts: Texts) -> Tokens:
        """The words of each text as they stand there."""
        ...
