"""Texts as tensors of tokens: Penn TreeBank, War and Peace, Python's own sources, and any text file."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import DATA_VARIABLE, data_folder
from epsearch.workloads.downloads import fetch_all

UNKNOWN, END_OF_LINE = "<unk>", "<eos>"

HELD_OUT = 20
"""A text without its own split is cut into 20 parts: the last is the test part, the one before the validation part."""

SHORTEST = 1000
"""Tokens in the shortest accepted text; its test part has 50 tokens."""

STDLIB_CHARACTERS = 2_000_000
"""How many characters of Python's sources are read."""


class TextData(NamedTuple):
    """Token indices (N,) int64 of each part, in text order, and the token of each index."""

    train: torch.Tensor
    validation: torch.Tensor
    test: torch.Tensor
    tokens: tuple[str, ...]

    @property
    def vocabulary(self) -> int:
        """Number of distinct tokens."""
        return len(self.tokens)

    def to(self, device: torch.device) -> TextData:
        """Move all parts to `device`."""
        return TextData(self.train.to(device), self.validation.to(device), self.test.to(device), self.tokens)


def ptb() -> TextData:
    """Penn TreeBank as prepared by Mikolov: 929,589 training words, 10,000 distinct, `<eos>` at line ends.

    Raises:
        UserError: the dataset is not in the data folder and cannot be downloaded.
    """
    fetch_all("ptb")
    folder = data_folder() / "ptb"
    return _from_parts([_words(_read(folder / f"ptb.{part}.txt")) for part in ("train", "valid", "test")])


def war_and_peace() -> TextData:
    """Tolstoy's War and Peace, 3.2 million characters.

    Raises:
        UserError: the text is not in the data folder.
    """
    path = data_folder() / "war-and-peace" / "warandpeace.txt"
    if not path.exists():
        raise UserError(
            f"War and Peace is not in {path}: save Project Gutenberg's plain text there "
            f"(https://www.gutenberg.org/ebooks/2600), or set {DATA_VARIABLE} to the folder that holds war-and-peace/."
        )
    return _from_one(path, _read(path), "character")


def python_stdlib() -> TextData:
    """The first 2 million characters of the sources of Python's standard library, available on every machine.

    Raises:
        UserError: the sources are not installed.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    text = ""
    for path in sorted(folder.glob("*.py")):
        if len(text) >= STDLIB_CHARACTERS:
            break
        text += _read(path)
    return _from_one(folder, text[:STDLIB_CHARACTERS], "character")


def text(path: Path, level: Literal["character", "word"] = "character") -> TextData:
    """The user's UTF-8 text: the last 5% is the test part, the 5% before it the validation part.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or is too short.
    """
    return _from_one(path, _read(path), level)


def _read(path: Path) -> str:
    try:
        # utf-8-sig removes a byte order mark.
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); convert it, e.g. with iconv.") from error
    except OSError as error:
        raise UserError(f"The text {path} cannot be read ({error.strerror or error}).") from error


def _words(text: str) -> list[str]:
    """Words separated by white space, with `<eos>` at the end of each line."""
    return text.replace("\n", f" {END_OF_LINE} ").split()


def _from_parts(parts: list[list[str]]) -> TextData:
    """Words of the training, validation and test part; numbers in the order in which the training part begins them."""
    number = {word: index for index, word in enumerate(dict.fromkeys(parts[0]))}
    unknown = number.setdefault(UNKNOWN, len(number))
    train, validation, test = (
        torch.tensor(np.fromiter((number.get(word, unknown) for word in words), np.int64, len(words)))
        for words in parts
    )
    return TextData(train, validation, test, tuple(number))


def _from_one(path: Path, text: str, level: Literal["character", "word"]) -> TextData:
    """Data from a text without its own split."""
    if level == "word":
        words = _words(text)
        return _from_parts([words[part] for part in _parts(path, len(words), "words")])
    # Millions of characters: NumPy looks up all code points at once.
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    cut = [codes[part] for part in _parts(path, len(codes), "characters")]
    alphabet = np.flatnonzero(np.bincount(cut[0]))
    number = np.full(0x110000, len(alphabet))
    number[alphabet] = np.arange(len(alphabet))
    train, validation, test = (torch.from_numpy(number[part]) for part in cut)
    return TextData(train, validation, test, (*map(chr, alphabet), UNKNOWN))


def _parts(path: Path, length: int, unit: str) -> tuple[slice, slice, slice]:
    """The training, validation and test part of a text of `length` tokens."""
    if length < SHORTEST:
        raise UserError(f"The text {path} has {length:,} {unit}; at least {SHORTEST:,} are needed.")
    held_out = length // HELD_OUT
    validation, test = length - 2 * held_out, length - held_out
    return slice(0, validation), slice(validation, test), slice(test, length)
