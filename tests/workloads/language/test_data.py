"""Texts become tokens and back; what is no text is refused by name."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from epsearch.core.errors import UserError
from epsearch.workloads.data_folder import DATA_VARIABLE
from epsearch.workloads.language.data import TextData, ptb, python_stdlib, text, war_and_peace
from tests.workloads.real_data import skip_if_not_there


def load(dataset: Callable[[], TextData]) -> TextData:
    """The dataset; skips where it cannot be had."""
    skip_if_not_there(dataset.__name__)
    return dataset()


def spelled(data: TextData, tokens: torch.Tensor) -> list[str]:
    return [data.tokens[token] for token in tokens]


def test_penn_treebank_is_whole() -> None:
    """The published counts: 929,589, 73,760 and 82,430 words with `<eos>`, 10,000 different ones."""
    data = load(ptb)
    assert [len(part) for part in data[:3]] == [929_589, 73_760, 82_430]
    assert data.vocabulary == len(set(data.tokens)) == 10_000
    assert all(part.dtype == torch.int64 for part in data[:3])
    assert (data.train == data.tokens.index("<eos>")).sum() == 42_068
    assert spelled(data, data.train[22:40])[:5] == ["swapo", "wachter", "<eos>", "pierre", "<unk>"]
    assert " ".join(spelled(data, data.test[:9])) == "no it was n't black monday <eos> but while"


def test_war_and_peace_can_be_read_again() -> None:
    data = load(war_and_peace)
    assert sum(len(part) for part in data[:3]) > 3_000_000
    assert "".join(spelled(data, data.train[:100_000])).count("Prince") > 50


def test_python_sources_are_there_without_a_download() -> None:
    data = python_stdlib()
    assert sum(len(part) for part in data[:3]) == 2_000_000
    first = min(Path(sysconfig.get_path("stdlib")).glob("*.py")).read_text()
    assert "".join(spelled(data, data.train[: len(first)])) == first


def test_missing_data_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with pytest.raises(UserError) as error:
        war_and_peace()
    assert str(tmp_path / "war-and-peace" / "warandpeace.txt") in str(error.value)
    assert DATA_VARIABLE in str(error.value)


class TestText:
    def test_characters_come_back(self, tmp_path: Path) -> None:
        written = "Grüße, 世界 🙂!\n" * 100
        (tmp_path / "mine.txt").write_text(written, encoding="utf-8")
        data = text(tmp_path / "mine.txt")
        assert "".join(spelled(data, torch.cat(data[:3]))) == written
        assert [len(part) for part in data[:3]] == [1170, 65, 65]
        assert data.vocabulary == len(set(written)) + 1

    def test_words_come_back(self, tmp_path: Path) -> None:
        lines = [f"{'even' if number % 2 == 0 else 'odd'} number  {number % 10}" for number in range(500)]
        (tmp_path / "mine.txt").write_text("\n".join(lines) + "\n")
        data = text(tmp_path / "mine.txt", "word")
        assert " ".join(spelled(data, torch.cat(data[:3]))).split(" <eos>")[:2] == ["even number 0", " odd number 1"]
        assert set(data.tokens) == {"even", "odd", "number", *"0123456789", "<eos>", "<unk>"}

    @pytest.mark.parametrize("level", ["character", "word"])
    def test_what_training_has_not_seen_is_unknown(self, tmp_path: Path, level: str) -> None:
        (tmp_path / "mine.txt").write_text("a b " * 475 + "c b " * 25)
        data = text(tmp_path / "mine.txt", level)  # type: ignore[arg-type]
        unknown = data.tokens.index("<unk>")
        assert unknown == data.vocabulary - 1
        assert (data.train != unknown).all()
        assert (data.test == unknown).sum() == 25

    def test_a_mark_before_the_text_is_no_character(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("one line\r\n" * 200, encoding="utf-8-sig", newline="")
        assert "".join(text(tmp_path / "mine.txt").tokens) == "\n eilno<unk>"

    @pytest.mark.parametrize(
        ("content", "level", "expected"),
        [
            (b"", "character", "has 0 characters; at least 1,000 are needed."),
            (b"a" * 999, "character", "has 999 characters; at least 1,000 are needed."),
            (b"a " * 900, "word", "has 900 words; at least 1,000 are needed."),
            (b"a" * 2000 + b"\xff", "character", "is not UTF-8 text (byte 2000); convert it, e.g. with iconv."),
            (None, "word", "cannot be read (No such file or directory)."),
        ],
    )
    def test_what_is_no_text_is_refused(self, tmp_path: Path, content: bytes | None, level: str, expected: str) -> None:
        path = tmp_path / "mine.txt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError) as error:
            text(path, level)  # type: ignore[arg-type]
        assert str(path) in str(error.value)
        assert expected in str(error.value)

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="cannot be read"):
            text(tmp_path)
