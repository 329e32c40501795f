"""Reading YAML: numbers as YAML 1.2 has them, a line for every key, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from epsearch.core.errors import UserError
from epsearch.study.yaml import MAX_BYTES, parse_value, read_yaml
from tests.conftest import CommandLine


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1.5e+2", -150.0),
        ("010", 10),
        ("+7", 7),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2020-01-01", "2020-01-01"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("Null", None),
        ("", None),
        ("~", None),
        ("'1e-3'", "1e-3"),
        ("[1, 1e-2]", [1, 0.01]),
        ("{low: 1e-4}", {"low": 0.0001}),
        ("a:b", "a:b"),
    ],
)
def test_values(text: str, value: object) -> None:
    found = parse_value(text, "the value")
    assert found == value
    assert type(found) is type(value)


def test_infinities_and_nan() -> None:
    assert parse_value("[.inf, -.inf]", "the value") == [float("inf"), float("-inf")]
    assert str(parse_value(".nan", "the value")) == "nan"


def test_lines_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf# with a byte order mark and CRLF\r\na: 1\r\nb:\r\n  c: [1,\r\n      2]\r\n")
    source = read_yaml(path)
    assert source.data == {"a": 1, "b": {"c": [1, 2]}}
    assert source.folder == tmp_path
    lines = {key: source.origin(key).rpartition(" ")[2] for key in source.origins}
    assert lines == {("a",): "2", ("b",): "3", ("b", "c"): "4", ("b", "c", 0): "4", ("b", "c", 1): "5"}
    assert source.origin(("b", "c")) == f"{path}, line 4"
    # A key that is not there stands where its section does; one whose section is not there, in the file.
    assert source.origin(("b", "x", "y")) == f"{path}, line 3"
    assert source.origin(("x",)) == str(path)


def test_an_anchor_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: &x {n: 1}\nb: *x\n")
    assert read_yaml(path).data == {"a": {"n": 1}, "b": {"n": 1}}


BOMB = "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))

WRONG = {
    "empty": ("", "line 1", "contains nothing", "`epsearch init` writes a template"),
    "only a comment": ("\n# nothing yet\n", "line 1", "contains nothing"),
    "a list": ("- name: a\n- b\n", "line 1", "a mapping of keys to values, but this file contains a list"),
    "one value": ("hello\n", "line 1", "contains one value"),
    "unclosed bracket": ("a: 1\nb: [1, 2\nc: 3\n", "line 3", "expected ',' or ']', but got ':'", "begins on line 2"),
    "unclosed brace": ("a: {b: 1\nc: 3\n", "line 2", "expected ',' or '}'", "flow mapping that begins on line 1"),
    "unclosed quote": ("a: 'b\nc: d\n", "line 3", "quoted scalar that begins on line 1"),
    "colon in a text": ("name: a: b\n", "line 1", "mapping values are not allowed here", "quote a text that holds"),
    "uneven indentation": ("a:\n  b: 1\n   c: 2\n", "line 3", "indent the keys of a section alike"),
    "tab": ("training:\n\tepochs: 3\n", "line 2", "indent with spaces, not tabs"),
    "key twice": ("a: 1\nb: 2\na: 3\n", "line 3: a is given twice (first on line 1); remove one"),
    "nested key twice": ("a:\n  b: 1\n  c: 2\n  b: 3\n", "line 4: a.b is given twice (first on line 2)"),
    "key twice in a list": ("a: [{b: 1, b: 2}]\n", "line 1: a.0.b is given twice"),
    "anchors that multiply": (BOMB, "values once its anchors are expanded (at most 10,000)"),
    "anchor in itself": ("a: 1\nb: &x {c: *x}\n", "line 2: an anchor contains itself; write it out"),
    "unknown anchor": ("a: *nope\n", "line 1", "found undefined alias 'nope'"),
    "nested deeply": ("a: " + "[" * 5000 + "]" * 5000, "it is nested too deeply"),
    "python tag": (
        "a: 1\nb: !!python/object/apply:os.system ['touch oops']\n",
        "line 2",
        "are not allowed in a study file",
    ),
    "bare tag": ("a: ! x\n", "line 1", "are not allowed in a study file"),
    "own tag": ("a: !thing x\n", "line 1", "write the plain value"),
    "broken standard tag": ("a: !!timestamp nonsense\n", "line 1", "are not allowed in a study file"),
    "number as a key": ("a: {1: 2}\n", "line 1: the key 1 is not text; quote it"),
    "truth as a key": ("\ntrue: 2\n", "line 2: the key True is not text"),
    "list as a key": ("[a, b]: 2\n", "line 1: the key ['a', 'b'] is not text"),
    "unhashable in a key": ("{[a]: b}: 2\n", "line 1", "found unhashable key"),
    "two documents": ("a: 1\n---\nb: 2\n", "line 2", "expected a single document in the stream, but found another"),
    "control character": ("a: 1\nb: x\x07y\n", "line 2", r"the control character '\x07'"),
    "endless number": ("a: 1\nb: " + "9" * 5000, "line 2", "a number of 5000 digits is too long"),
    "too many values": ("a:\n" + "- 1\n" * 11_000, "holds 11,003 values"),
    "too large": ("a: " + "x" * MAX_BYTES, f"larger than {MAX_BYTES:,} bytes, too large for a study file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(case: str, command_line: CommandLine) -> None:
    text, *expected = WRONG[case]
    (command_line.folder / "s.yaml").write_text(text)
    message = command_line.refuses("check", "s.yaml")
    assert message.startswith("s.yaml")
    assert "\n" not in message
    for part in expected:
        assert part in message
    assert not (command_line.folder / "oops").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: caf\xe9\n", "s.yaml, line 2: is not UTF-8 text (byte 0xe9); save it as UTF-8."),
        ("a: 1\n".encode("utf-16"), "s.yaml, line 1: is not UTF-8 text (byte 0xff); save it as UTF-8."),
        (bytes(range(128)), r"s.yaml, line 1: cannot be read as YAML: it contains the control character '\x00'."),
        (b"PK\x03\x04" + b"\0" * 2_000_000, "s.yaml: is larger than 100,000 bytes, too large for a study file."),
    ],
    ids=["latin-1", "utf-16", "ascii control characters", "2 MB of a zip file"],
)
def test_files_that_are_no_text(content: bytes, expected: str, command_line: CommandLine) -> None:
    (command_line.folder / "s.yaml").write_bytes(content)
    assert command_line.refuses("check", "s.yaml") == expected


def test_files_that_cannot_be_read(command_line: CommandLine) -> None:
    refuses = command_line.refuses
    assert refuses("check", "s.yaml") == "s.yaml: no such file. `epsearch init` writes a template."
    (command_line.folder / "study.yml").write_text("a: 1")
    assert "no such file. In that folder there are: study.yml." in refuses("check", "s.yaml")
    assert refuses("check", ".") == ".: is a directory; name the study file in it, e.g. study.yaml."
    assert "study.yml/x: cannot be read (Not a directory)" in refuses("check", "study.yml/x")
    assert "cannot be read (File name too long)" in refuses("check", "x" * 300)


def test_a_value_is_checked_like_a_file() -> None:
    with pytest.raises(UserError, match=r"the value, line 1: a is given twice"):
        parse_value("{a: 1, a: 2}", "the value")
    with pytest.raises(UserError, match=r"an anchor contains itself"):
        parse_value("&a [*a]", "the value")
