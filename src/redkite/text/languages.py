"""In which language is a text?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from redkite.text.extras import library

UNKNOWN = "default"

_NAMES = {
    "afr": "Afrikaans", "aka": "Akan", "amh": "Amharic", "ara": "Arabic", "aze": "Azerbaijani", "bel": "Belarusian",
    "ben": "Bengali", "bul": "Bulgarian", "cat": "Catalan", "ces": "Czech", "cmn": "Mandarin", "cym": "Welsh",
    "dan": "Danish", "deu": "German", "ell": "Greek", "eng": "English", "epo": "Esperanto", "est": "Estonian",
    "fin": "Finnish", "fra": "French", "guj": "Gujarati", "heb": "Hebrew", "hin": "Hindi", "hrv": "Croatian",
    "hun": "Hungarian", "hye": "Armenian", "ind": "Indonesian", "ita": "Italian", "jav": "Javanese",
    "jpn": "Japanese", "kan": "Kannada", "kat": "Georgian", "khm": "Khmer", "kor": "Korean", "lat": "Latin",
    "lav": "Latvian", "lit": "Lithuanian", "mal": "Malayalam", "mar": "Marathi", "mkd": "Macedonian",
    "mya": "Burmese", "nep": "Nepali", "nld": "Dutch", "nob": "Bokmal", "ori": "Oriya", "pan": "Punjabi",
    "pes": "Persian", "pol": "Polish", "por": "Portuguese", "ron": "Romanian", "rus": "Russian", "sin": "Sinhalese",
    "slk": "Slovak", "slv": "Slovene", "sna": "Shona", "spa": "Spanish", "srp": "Serbian", "swe": "Swedish",
    "tam": "Tamil", "tel": "Telugu", "tgl": "Tagalog", "tha": "Thai", "tuk": "Turkmen", "tur": "Turkish",
    "ukr": "Ukrainian", "urd": "Urdu", "uzb": "Uzbek", "vie": "Vietnamese", "yid": "Yiddish", "zul": "Zulu",
}  # fmt: skip
"""The languages of whatlang, by their codes in ISO 639-3."""


class Identifier(Protocol):
    """Names the language of each text in English; `default` where it cannot."""

    def languages(self, texts: Sequence[str]) -> list[str]: ...


class Whatlang:
    """Quick, by trigrams and scripts. What it is not surer of than `confidence` has no language."""

    def __init__(self, confidence: float = 0.0) -> None:
        self._detect = library("whatlang", "the whatlang language identifier").detect
        self._confidence = confidence

    def languages(self, texts: Sequence[str]) -> list[str]:
        return [self._language(text) for text in texts]

    def _language(self, text: str) -> str:
        try:
            found = self._detect(text)
        except ValueError:
            return UNKNOWN
        return _NAMES.get(found.lang, UNKNOWN) if found.confidence > self._confidence else UNKNOWN


class Lingua:
    """More exact on short texts; its models take seconds to load and near a gigabyte of memory."""

    def __init__(self) -> None:
        builder = library("lingua", "the lingua language identifier").LanguageDetectorBuilder
        self._detector = builder.from_all_languages().build()

    def languages(self, texts: Sequence[str]) -> list[str]:
        found = (self._detector.detect_language_of(text) for text in texts)
        return [UNKNOWN if language is None else language.name.capitalize() for language in found]
