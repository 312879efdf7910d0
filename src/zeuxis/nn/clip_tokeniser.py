"""CLIP's tokeniser: byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of bytes (Radford et al. 2019).

The vocabulary and the merges are not here: they are given, from the files beside published weights
(:func:`zeuxis.pretrained.clip_files.read_tokeniser`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count, pairwise, takewhile
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zeuxis.errors import DataError, UsageError
from zeuxis.nn.text import WordTokeniser

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"  # of the last symbol of a word
_SHORT = re.compile(r"'(?:s|t|re|ve|m|ll|d)", re.IGNORECASE)
_KINDS = {"L": "letter", "N": "number", "Z": "space"}


class ClipTokens(NamedTuple):
    """Tokenised texts."""

    ids: Tensor  # (B, T) int64; T is the tokeniser's length
    mask: Tensor  # (B, T) bool: true for begin, text and end, false for padding
    cut: tuple[str, ...]  # of each text what did not fit into the window, in the tokeniser's spelling; "" where all did


class ClipTokeniser:
    """Texts to ids: lower case, words cut into the pieces that the merges make of their bytes.

    Args:
        vocabulary: the id of every piece; those that end a word end in ``</w>``. It has the tokens that begin and end
            a text.
        merges: pairs of pieces that become one, the first ones first.
        length: of the window in tokens, those of begin and end included.
        pad: the token after the end: OpenAI's models repeat the end, OpenCLIP's have "!" (id 0).
        added: tokens of the vocabulary that were learnt later (textual inversion; Gal et al. 2022, arXiv:2208.01618).
            One stands for itself wherever a text has it, spelt as it is and not within a longer word, and for the rest
            of its vectors too: those are called NAME_1, NAME_2, ... as public programs write them.

    Raises :class:`DataError` for a vocabulary without one of these tokens, or without what a merge makes.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        *,
        length: int = 77,
        pad: str = END,
        added: Sequence[str] = (),
    ) -> None:
        for token in (BEGIN, END, pad, *added):
            if token not in vocabulary:
                raise DataError(f"the vocabulary of {len(vocabulary)} tokens lacks '{token}': it is not CLIP's")
        for first, second in merges:
            if first + second not in vocabulary:
                raise DataError(f"the vocabulary lacks '{first + second}', which a merge makes: they do not match")
        if length < 3:
            raise UsageError(f"a window of {length} tokens holds no text between its begin and its end: give 3 or more")
        self.vocabulary, self.merges, self.length = dict(vocabulary), tuple(merges), length
        self.begin, self.end, self.pad = vocabulary[BEGIN], vocabulary[END], vocabulary[pad]
        self.pad_token = pad
        self.added = tuple(added)
        self._concepts = {token: self._vectors(token) for token in self.added}
        longest = sorted(self.added, key=len, reverse=True)  # "<a>_1" is not "<a>" and "_1"
        self._concept = re.compile(f"({'|'.join(map(_by_itself, longest))})") if longest else None
        self._rank = {pair: i for i, pair in enumerate(self.merges)}
        self._token = {i: token for token, i in vocabulary.items()}
        self._pieces = lru_cache(1 << 14)(self._merged)

    def __len__(self) -> int:
        """How many ids there are."""
        return 1 + max(self.vocabulary.values())

    def tokenise(self, texts: Sequence[str]) -> ClipTokens:
        """The ids of texts; what is beyond the window is cut off and returned.

        Raises :class:`UsageError` for a character that the vocabulary has no token for (a whole one has all).
        """
        return self.windows([self.pieces(text) for text in texts])

    def windows(self, texts: Sequence[Sequence[int]]) -> ClipTokens:
        """The same of texts that :meth:`pieces` made into ids."""
        ids = torch.full((len(texts), self.length), self.pad)
        mask = torch.zeros(len(texts), self.length, dtype=torch.bool)
        cut = []
        for i, found in enumerate(texts):
            kept = found[: self.length - 2]
            row = [self.begin, *kept, self.end]
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
            cut.append(self.text(found[len(kept) :]))
        return ClipTokens(ids, mask, tuple(cut))

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask ``(B, T)`` of captions that fit; :class:`UsageError` for a longer one, naming what is cut.

        This is what :class:`zeuxis.nn.caption_conditioner.CaptionTokeniser` asks for.
        """
        ids, mask, cut = self.tokenise(captions)
        for caption, rest in zip(captions, cut, strict=True):
            if rest:
                raise UsageError(f"caption longer than {self.length - 2} tokens: '{rest}' is too much of '{caption}'")
        return ids, mask

    def pieces(self, text: str) -> list[int]:
        """The ids of a text of any length, without begin and end."""
        parts = [text] if self._concept is None else self._concept.split(text)
        return [i for part in parts for i in self._concepts.get(part) or self._plain(part)]

    def _plain(self, text: str) -> Iterator[int]:
        """The ids of a text without added tokens."""
        return (i for word in _words(_clean(text)) for i in self._pieces(word))

    def _vectors(self, token: str) -> tuple[int, ...]:
        """The ids of an added token: its own, and those of its further vectors."""
        names = takewhile(self.vocabulary.__contains__, (f"{token}_{k}" for k in count(1)))
        return tuple(self.vocabulary[name] for name in (token, *names))

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, words apart; the tokens that begin and end are left out."""
        shown = (self._token[i] for i in ids if i not in (self.begin, self.end))
        joined = "".join(f"{token}{WORD_END}" if token in self._concepts else token for token in shown)
        parts = joined.split(WORD_END)
        return " ".join(part if part in self._concepts else _from_letters(part) for part in parts).strip()

    def _merged(self, word: str) -> tuple[int, ...]:
        if word in (BEGIN, END):
            return (self.vocabulary[word],)
        symbols = [_LETTERS[byte] for byte in word.encode("utf-8")]
        symbols[-1] += WORD_END
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if best not in self._rank:
                break
            symbols = list(_with_merged(symbols, best))
        for symbol in symbols:
            if symbol not in self.vocabulary:
                raise UsageError(f"'{word}' cannot be tokenised: the vocabulary has no token for '{symbol}' of it")
        return tuple(self.vocabulary[symbol] for symbol in symbols)


def _by_itself(token: str) -> str:
    """A pattern of a token where it is no part of a longer word; <one> with marks of its own may stand anywhere."""
    before = r"(?<!\w)" if re.match(r"\w", token[0]) else ""
    after = r"(?!\w)" if re.match(r"\w", token[-1]) else ""
    return f"{before}{re.escape(token)}{after}"


def _with_merged(symbols: Sequence[str], pair: tuple[str, str]) -> Iterator[str]:
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            yield symbols[i] + symbols[i + 1]
            i += 2
        else:
            yield symbols[i]
            i += 1


def _clean(text: str) -> str:
    """Composed (NFC), every run of white space one space, in lower case letter by letter (final sigma is a sigma)."""
    return "".join(c.lower() for c in re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip())


def _kind(character: str) -> str:
    if character.isspace():
        return "space"
    return _KINDS.get(unicodedata.category(character)[0], "other")


def _words(text: str) -> Iterator[str]:
    """The words of a clean text: begin or end, 's and its like, runs of letters, digits, runs of what remains."""
    i = 0
    while i < len(text):
        special = next((token for token in (BEGIN, END) if text.startswith(token, i)), None)
        short = _SHORT.match(text, i)
        kind = _kind(text[i])
        j = i + 1
        if special is not None:
            j = i + len(special)
        elif short is not None:
            j = short.end()
        elif kind in ("letter", "other"):
            while j < len(text) and _kind(text[j]) == kind:
                j += 1
        if kind != "space":
            yield text[i:j]
        i = j


def _letters() -> dict[int, str]:
    """A printable character for every byte, as in GPT-2: its own where it has one, the next from 256 on otherwise."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in own]
    return {byte: chr(byte) for byte in own} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_LETTERS = _letters()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}


def _from_letters(letters: str) -> str:
    return bytes(_BYTES[letter] for letter in letters).decode("utf-8", "replace")


class EndedWords:
    """A closed vocabulary whose texts begin and end as CLIP's do: words in place of pieces, 0 in place of padding.

    ``length`` is that of the window, begin and end included.
    """

    def __init__(self, words: Sequence[str], length: int) -> None:
        if length < 3:
            raise UsageError(f"a window of {length} tokens holds no text between its begin and its end: give 3 or more")
        self.inner = WordTokeniser(words, length - 2)
        self.length, self.begin, self.end = length, len(self.inner) + 1, len(self.inner) + 2

    def __len__(self) -> int:
        """How many ids there are."""
        return self.end + 1

    def encode(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids ``(B, T)`` int64 and mask ``(B, T)`` bool; raises as :meth:`zeuxis.nn.text.WordTokeniser.encode`."""
        inner, said = self.inner.encode(captions)  # (B, T - 2)
        ids = F.pad(inner, (1, 1))
        ids[:, 0] = self.begin
        ends = 1 + said.sum(1)
        ids[torch.arange(len(ids)), ends] = self.end
        return ids, torch.arange(self.length) <= ends[:, None]


def byte_vocabulary() -> dict[str, int]:
    """The smallest vocabulary, which CLIP's begins with: every byte, every byte at a word's end; then begin and end."""
    letters = sorted(_LETTERS.values())
    return {token: i for i, token in enumerate([*letters, *(letter + WORD_END for letter in letters), BEGIN, END])}
