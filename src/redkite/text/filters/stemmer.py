"""Words are cut to their stems, by the algorithms of Snowball."""

from __future__ import annotations

from threading import Lock

from redkite.text.filters.base import Words

STEMMER_LANGUAGES = frozenset({
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian",
    "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil", "turkish",
})  # fmt: skip

_KNOWN = 100_000
"""So many stems are remembered: a stem takes a microsecond, and texts have the same words as those before them."""


class Stemming:
    """Each word becomes its stem in one language of `STEMMER_LANGUAGES`."""

    def __init__(self, language: str) -> None:
        import Stemmer

        self._stemmer = Stemmer.Stemmer(language, 0)
        # The library's stemmers keep what they work on in themselves.
        self._lock = Lock()
        self._known: dict[str, str] = {}

    def apply(self, words: Words) -> Words:
        with self._lock:
            known = self._known
            new = [word for word in dict.fromkeys(words.words) if word not in known]
            known.update(zip(new, self._stemmer.stemWords(new), strict=True))
            stems = [known[word] for word in words.words]
            if len(known) > _KNOWN:
                self._known = {}
        return Words(words.sources, stems)
