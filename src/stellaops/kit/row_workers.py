"""Rows measured by several processors: the reader unpacks and hands out blocks, children parse and digest them.

Children are forked when the first block comes, and only where there is enough to do, more than one processor, and no
other thread that a fork could catch in the middle of something. Without them the same is done here, one block after the
other. A child holds one block at a time, so neither side ever waits for the other to read.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import NoReturn

import msgspec

from stellaops.bundles.packed import BadPacking
from stellaops.core.errors import InvalidInput
from stellaops.kit.row_blocks import Measured, Parse, measure

_ENOUGH = 4 << 20
"""Bytes, packed, from which on children pay."""
_MOST = 8
_STOP = b""
_REFUSED = b"!"

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Measured)


class RowWorkers:
    """Measures blocks of lines.

    Args:
        parser_of: what reads the lines of a row set, by its path.
        size: bytes of all row sets, packed.
    """

    def __init__(self, parser_of: Callable[[str], Parse], size: int) -> None:
        self._children: list[tuple[int, Connection]] | None = None
        self._parser_of = parser_of
        self._size = size

    def measure(self, path: str, blocks: Iterable[bytes]) -> Iterator[Measured]:
        """What each block of lines of a row set comes down to, in order.

        Raises:
            InvalidInput: a line is none, or not in its place.
        """
        if self._children is None:
            self._children = self._forked() if self._size >= _ENOUGH else []
        if not self._children:
            parse = self._parser_of(path)
            yield from (measure(parse, block) for block in blocks)
            return
        idle = deque(connection for _, connection in self._children)
        busy: deque[Connection] = deque()
        try:
            for block in blocks:
                if not idle:
                    yield _answer(busy, idle)
                child = idle.popleft()
                child.send_bytes(path.encode())
                child.send_bytes(block)
                busy.append(child)
            while busy:
                yield _answer(busy, idle)
        finally:
            for child in busy:  # an error ended it: their answers are of no use, but must be out of the way
                child.recv_bytes()

    def close(self) -> None:
        """End the children."""
        for number, connection in self._children or ():
            with suppress(OSError):  # it is gone already
                connection.send_bytes(_STOP)
            connection.close()
            os.waitpid(number, 0)
        self._children = None

    def __del__(self) -> None:
        self.close()

    def _forked(self) -> list[tuple[int, Connection]]:
        count = min(len(os.sched_getaffinity(0)), _MOST)
        if count < 2 or threading.active_count() > 1:
            return []
        children: list[tuple[int, Connection]] = []
        for _ in range(count):
            ours, theirs = Pipe()
            number = os.fork()
            if number == 0:
                # Without these a child would keep its brothers waiting after the reader's death.
                for _, connection in children:
                    connection.close()
                ours.close()
                _work(theirs, self._parser_of)
            theirs.close()
            children.append((number, ours))
        return children


def _answer(busy: deque[Connection], idle: deque[Connection]) -> Measured:
    child = busy.popleft()
    data = child.recv_bytes()
    idle.append(child)
    if data.startswith(_REFUSED):
        raise BadPacking(data[1:].decode("utf-8", "replace"))
    return _DECODER.decode(data)


def _work(connection: Connection, parser_of: Callable[[str], Parse]) -> NoReturn:
    """A child's life: it leaves without a look at what its parent has open."""
    try:
        while path := connection.recv_bytes():
            block = connection.recv_bytes()
            try:
                connection.send_bytes(_ENCODER.encode(measure(parser_of(path.decode()), block)))
            except InvalidInput as error:
                connection.send_bytes(_REFUSED + str(error).encode("utf-8", "replace"))
    finally:
        os._exit(0)
