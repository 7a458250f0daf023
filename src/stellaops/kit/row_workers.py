"""Rows measured by several processors: the reader unpacks and hands out blocks, children parse and digest them.

Children are forked when the first block comes, and only where there is enough to do, more than one processor, and no
other thread that a fork could catch in the middle of something. Without them the same is done here, one block after the
other.

Blocks lie in memory that all share, in slots of which each child has a few; pipes carry where they lie, and answers.
What the reader sends is so small that it never waits for a child to read it.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import NamedTuple, NoReturn

import msgspec

from stellaops.bundles.packed import BadPacking
from stellaops.core.errors import InvalidInput
from stellaops.kit.row_blocks import Block, Measured, Parse, measure

_ENOUGH = 4 << 20
"""Bytes, packed, from which on children pay."""
_MOST = 8
_SLOT = 3 << 20
"""Bytes of a slot: most blocks have little more than 1 MiB; what is larger is measured by the reader itself."""
_SLOTS_EACH = 2
_STOP = b""
_REFUSED = b"!"
_PLACE = struct.Struct("<QQ")
"""Where a block begins, and its size."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Measured)


class _Slot(NamedTuple):
    """A place for a block, and the child that reads it there."""

    begin: int
    child: Connection


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
        self._memory: mmap.mmap | None = None

    def measure(self, path: str, blocks: Iterable[Block]) -> Iterator[Measured]:
        """What each block of lines of a row set comes down to, in order.

        Raises:
            InvalidInput: a line is none, or not in its place.
        """
        if self._children is None:
            self._children = self._forked() if self._size >= _ENOUGH else []
        parse = self._parser_of(path)
        idle = deque(self._slots())
        busy: deque[_Slot] = deque()
        try:
            for block in blocks:
                size = sum(map(len, block))
                if not (idle or busy) or size > _SLOT:
                    while busy:
                        yield _answer(busy, idle)
                    yield measure(parse, b"".join(block))
                    continue
                if not idle:
                    yield _answer(busy, idle)
                slot = idle.popleft()
                self._hand_out(path, slot, block, size)
                busy.append(slot)
            while busy:
                yield _answer(busy, idle)
        finally:
            for slot in busy:  # an error ended it: their answers are of no use, but must be out of the way
                slot.child.recv_bytes()

    def _slots(self) -> Iterator[_Slot]:
        """The slots by turns of the children."""
        children = self._children or ()
        for turn in range(_SLOTS_EACH):
            for number, (_, child) in enumerate(children):
                yield _Slot((turn * len(children) + number) * _SLOT, child)

    def _hand_out(self, path: str, slot: _Slot, block: Block, size: int) -> None:
        assert self._memory is not None  # noqa: S101 - it is there where children are
        end = slot.begin
        for part in block:
            self._memory[end : end + len(part)] = part
            end += len(part)
        slot.child.send_bytes(_PLACE.pack(slot.begin, size) + path.encode())

    def close(self) -> None:
        """End the children."""
        for number, connection in self._children or ():
            with suppress(OSError):  # it is gone already
                connection.send_bytes(_STOP)
            connection.close()
            os.waitpid(number, 0)
        if self._memory is not None:
            self._memory.close()
        self._children, self._memory = None, None

    def __del__(self) -> None:
        self.close()

    def _forked(self) -> list[tuple[int, Connection]]:
        count = min(len(os.sched_getaffinity(0)), _MOST)
        if count < 2 or threading.active_count() > 1:
            return []
        children: list[tuple[int, Connection]] = []
        self._memory = mmap.mmap(-1, count * _SLOTS_EACH * _SLOT)
        for _ in range(count):
            ours, theirs = Pipe()
            number = os.fork()
            if number == 0:
                # Without these a child would keep its brothers waiting after the reader's death.
                for _, connection in children:
                    connection.close()
                ours.close()
                _work(theirs, self._memory, self._parser_of)
            theirs.close()
            children.append((number, ours))
        return children


def _answer(busy: deque[_Slot], idle: deque[_Slot]) -> Measured:
    slot = busy.popleft()
    data = slot.child.recv_bytes()
    idle.append(slot)
    if data.startswith(_REFUSED):
        raise BadPacking(data[1:].decode("utf-8", "replace"))
    return _DECODER.decode(data)


def _work(connection: Connection, memory: mmap.mmap, parser_of: Callable[[str], Parse]) -> NoReturn:
    """A child's life: it leaves without a look at what its parent has open."""
    try:
        while message := connection.recv_bytes():
            begin, size = _PLACE.unpack_from(message)
            path, block = message[_PLACE.size :].decode(), memory[begin : begin + size]
            try:
                connection.send_bytes(_ENCODER.encode(measure(parser_of(path), block)))
            except InvalidInput as error:
                connection.send_bytes(_REFUSED + str(error).encode("utf-8", "replace"))
    finally:
        os._exit(0)
