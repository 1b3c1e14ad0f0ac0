from __future__ import annotations

from pathlib import Path

from penstock.execution.process.log_tail import LogTail, last_line


def test_a_line_is_handed_on_once_it_is_whole(tmp_path: Path) -> None:
    lines: list[str] = []
    tail = LogTail(tmp_path / "log", lines.append)
    tail.read()
    with (tmp_path / "log").open("ab") as log:
        for part, expected in ((b"on", []), (b"e\ntw", ["one"]), (b"o\r\n\nthr", ["one", "two", ""])):
            log.write(part)
            log.flush()
            tail.read()
            assert lines == expected
    tail.read(last=True)
    assert lines == ["one", "two", "", "thr"]


def test_a_character_written_in_two_pieces_is_one(tmp_path: Path) -> None:
    lines: list[str] = []
    tail = LogTail(tmp_path / "log", lines.append)
    for part in (b"\xc3", b"\xa9\n\xff\n"):
        with (tmp_path / "log").open("ab") as log:
            log.write(part)
        tail.read()
    assert lines == ["é", "�"]


def test_a_line_without_end_comes_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 200_000)
    lines: list[str] = []
    tail = LogTail(tmp_path / "log", lines.append)
    tail.read(last=True)
    assert "".join(lines) == "x" * 200_000
    assert len(lines) == 4


def test_the_last_line_skips_blank_ones_and_is_cut(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Traceback\nValueError: x\n\n  \n")
    assert last_line(tmp_path / "log") == "ValueError: x"
    (tmp_path / "log").write_text("a" * 500)
    assert last_line(tmp_path / "log", 10) == "aaaaaaaaa…"
    assert last_line(tmp_path / "missing") == ""


def test_the_last_line_is_as_a_terminal_showed_it_without_colours(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("start\n10%\r100% \x1b[1;31mdone\x1b[0m\x07 \x1b]0;\r\n")
    assert last_line(tmp_path / "log") == "100% done 0;"
