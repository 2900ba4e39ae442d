"""Documents of strangers are read within bounds: what would take time or memory is refused first, with a reason."""

import re
import time
from pathlib import Path

import pytest

from tscam.system.documents import MAX_JSON, parse_yaml, read_json, read_small


def test_plain_values_lists_and_mappings_are_read() -> None:
    text = "epochs: 60\nrate: 1.5\nsteps: [10, 20]\nargs: {depth: 2, bias: true}\nname: 'x'\nnone:\n"
    assert parse_yaml(text) == {
        "epochs": 60, "rate": 1.5, "steps": [10, 20], "args": {"depth": 2, "bias": True}, "name": "x", "none": None
    }  # fmt: skip


def test_an_anchor_without_an_alias_and_a_date_are_plain_values() -> None:
    assert parse_yaml("a: &x 1\nday: 2026-02-30\n<<: {b: 2}\n") == {"a": 1, "day": "2026-02-30", "<<": {"b": 2}}


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))

REFUSED = {
    "an anchor bomb": (LAUGHS, r"^an alias, \*a0; write the value in its place$"),
    "a cycle": ("a: &a [*a]", r"^an alias, \*a;"),
    "a long alias": (f"a: *{'x' * 5000}", r"^an alias, \*x{78}…; "),
    "bytes": ("a: !!binary aGVsbG8=", r"^a tag, tag:yaml.org,2002:binary; write plain values$"),
    "a program": ("a: !!python/object/apply:os.system [ls]", r"^a tag, tag:yaml.org,2002:python/object/apply:os.syst"),
    "a long tag": (f"a: !{'t' * 5000} 1", r"^a tag, !t{78}…; "),
    "deep lists": ("[" * 30_000, r"^more than 8 levels or 5000 values$"),
    "deep mappings": ("".join(" " * n + "a:\n" for n in range(100)), "^more than 8 levels"),
    "many values": ("a: [" + "1," * 15_000 + "]", "^more than 8 levels or 5000 values$"),
    "two documents": ("a: 1\n---\nb: 2", r"^line 2: but found another document$"),
    "no integer": ("a: 0b_", "^ValueError: |invalid literal"),
    "a key that is a list": ("? [1]\n: 2", r"^line 1: found unhashable key$"),
    "half a list": ("a: [1", r"^line 1: expected"),
    "no text": ("\0", "^ReaderError"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_document_is_refused_at_once_with_the_reason(case: str) -> None:
    text, message = REFUSED[case]
    started = time.process_time()
    with pytest.raises(ValueError, match=message) as refused:
        parse_yaml(text)
    assert time.process_time() - started < 1
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_small(tmp_path / "a", at_most=5) == b"12345"
    with pytest.raises(ValueError, match=r"^more than 4 bytes$"):
        read_small(tmp_path / "a", at_most=4)
    (tmp_path / "large.json").write_bytes(b"[" + b"1," * MAX_JSON)
    with pytest.raises(ValueError, match=r"^more than 4,194,304 bytes$"):
        read_json(tmp_path / "large.json")


@pytest.mark.parametrize(
    ("text", "message"), [("[" * 100_000, "Recursion"), ("9" * 5000, "digits"), ("{", "Expecting")]
)
def test_what_is_not_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        read_json(tmp_path / "a.json")
    assert re.search("\n", str(refused.value)) is None
