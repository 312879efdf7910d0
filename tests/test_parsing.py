"""Files are parsed by one thread at a time, whoever asks."""

from __future__ import annotations

import ast
import threading

import pytest

from zeuxis.catalog import listing, parsing, signatures


def test_two_threads_never_parse_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most, plain = 0, 0, ast.parse

    def counted(text: str, filename: str) -> ast.Module:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.02)  # long enough for the others to come
        inside -= 1
        return plain(text, filename=filename)

    monkeypatch.setattr(ast, "parse", counted)
    threads = [threading.Thread(target=parsing.parsed, args=("x = 1", "x.py")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert listing.parsed is signatures.parsed is parsing.parsed
