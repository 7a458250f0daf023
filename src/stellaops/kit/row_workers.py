"""Rows measured by several processors: the reader unpacks and hands out blocks, children read and digest them.

Children are forked when the first block comes, and only where there is enough to do, more than one processor, and no
other thread that a fork could catch in the middle of something. There is one less than processors: while all of them
have enough to do, the reader measures a block itself. Without children it does so with every block.

Blocks lie in memory that all share, in slots of which each child has a few; what it finds is written over the block.
Pipes carry no more than where in this memory something lies, so that nobody waits for another to read.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import NamedTuple, NoReturn

import msgspec

from stellaops.core.errors import MissingPrerequisite
from stellaops.kit.row_blocks import Block, Measured, Read, measure

_ENOUGH = 4 << 20
"""Bytes, packed, from which on children pay."""
_MOST = 8
_SLOT = 1 << 20
"""Bytes of a slot: most blocks have little more than 256 KiB; what is larger is measured by the reader itself."""
_SLOTS_EACH = 4
_WAITING = 64
"""Blocks that may wait for one before them."""
_STOP = b""
_MOMENT = 1.0
"""Seconds that children have to end by themselves; one that is stopped, or hangs, would keep its parent for ever."""
_PLACE = struct.Struct("<QQ")
"""Where something begins, and its size."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Measured)

Take = Callable[[Measured], None]


class RowWorkerLost(MissingPrerequisite):
    """A child did not do its part, so that nothing is known of the bundle."""

    code = "ERR_VERIFY_INTERRUPTED"
    hint = "See whether the system ended it for want of memory, then verify again."


class _Child(NamedTuple):
    number: int
    connection: Connection
    answers: select.poll


class _Slot(NamedTuple):
    """A place for a block, and the child that reads it there."""

    begin: int
    child: _Child


class _Turn(NamedTuple):
    """A block whose result is due: it comes from a slot, or is there and waits for those before it."""

    take: Take
    result: _Slot | Measured


class RowWorkers:
    """Measures blocks of lines, of one row set after the other.

    Args:
        read_of: what reads the lines of a row set, by its path.
        size: bytes of all row sets, packed.
    """

    def __init__(self, read_of: Callable[[str], Read], size: int) -> None:
        self._read_of = read_of
        self._size = size
        self._children: list[_Child] | None = None
        self._memory: mmap.mmap | None = None
        self._idle: deque[_Slot] = deque()
        self._turns: deque[_Turn] = deque()

    def measure(self, path: str, block: Block, take: Take) -> None:
        """Take the next block.

        Args:
            path: of its row set.
            take: is given what it comes down to, soon: after the blocks before it, and by `finish` at the latest.

        Raises:
            RowWorkerLost: see there.
        """
        if self._children is None:
            self._begin()
        self._take_ready()
        size = sum(map(len, block))
        if self._idle and size <= _SLOT:
            slot = self._idle.popleft()
            self._hand_out(path, slot, block, size)
            self._turns.append(_Turn(take, slot))
        else:
            self.put(measure(self._read_of(path), b"".join(block)), take)

    def put(self, result: Measured, take: Take) -> None:
        """Give a result in its turn, after those of the blocks before it.

        Raises:
            RowWorkerLost: see there.
        """
        self._turns.append(_Turn(take, result))
        while len(self._turns) > _WAITING:
            self._take_next()
        self._take_ready()

    def finish(self) -> None:
        """Wait for all that is due.

        Raises:
            RowWorkerLost: see there.
        """
        while self._turns:
            self._take_next()

    def close(self) -> None:
        """End the children, those that do not answer after a moment by force; what is due then never comes."""
        for child in self._children or ():
            with suppress(OSError):  # it is gone already
                child.connection.send_bytes(_STOP)
            child.connection.close()
        deadline = time.monotonic() + _MOMENT
        for child in self._children or ():
            _end(child, deadline)
        if self._memory is not None:
            self._memory.close()
        self._children, self._memory = [], None
        self._idle.clear()
        self._turns.clear()

    def __del__(self) -> None:
        self.close()

    def _take_ready(self) -> None:
        while self._turns and _is_there(self._turns[0].result):
            self._take_next()

    def _take_next(self) -> None:
        take, result = self._turns.popleft()
        if isinstance(result, _Slot):
            slot, result = result, self._answer(result)
            self._idle.append(slot)
        take(result)

    def _hand_out(self, path: str, slot: _Slot, block: Block, size: int) -> None:
        assert self._memory is not None  # noqa: S101 - it is there where slots are
        end = slot.begin
        for part in block:
            self._memory[end : end + len(part)] = part
            end += len(part)
        try:
            slot.child.connection.send_bytes(_PLACE.pack(slot.begin, size) + path.encode())
        except OSError as error:
            raise _lost(slot.child) from error

    def _answer(self, slot: _Slot) -> Measured:
        assert self._memory is not None  # noqa: S101 - it is there where slots are
        try:
            message = slot.child.connection.recv_bytes()
        except (OSError, EOFError) as error:
            raise _lost(slot.child) from error
        if len(message) > _PLACE.size:
            return _DECODER.decode(message)
        begin, size = _PLACE.unpack(message)
        return _DECODER.decode(self._memory[begin : begin + size])

    def _begin(self) -> None:
        """Fork the children where they pay."""
        children: list[_Child] = []
        self._children = children
        count = min(len(os.sched_getaffinity(0)), _MOST) - 1
        if count < 1 or self._size < _ENOUGH or threading.active_count() > 1:
            return
        self._memory = mmap.mmap(-1, count * _SLOTS_EACH * _SLOT)
        for _ in range(count):
            ours, theirs = Pipe()
            number = os.fork()
            if number == 0:
                # Without these a child would keep its brothers waiting after the reader's death.
                for child in children:
                    child.connection.close()
                ours.close()
                _work(theirs, self._memory, self._read_of)
            theirs.close()
            answers = select.poll()
            answers.register(ours, select.POLLIN)
            children.append(_Child(number, ours, answers))
        places = range(0, len(self._memory), _SLOT)
        self._idle.extend(
            _Slot(begin, child) for begin, child in zip(places, children * _SLOTS_EACH, strict=True)
        )


def _is_there(result: _Slot | Measured) -> bool:
    """Whether a result can be had without waiting."""
    return isinstance(result, Measured) or bool(result.child.answers.poll(0))


def _lost(child: _Child) -> RowWorkerLost:
    """What to say of a child whose end of the pipe is closed."""
    how = ""
    with suppress(ChildProcessError):
        code = os.waitstatus_to_exitcode(os.waitpid(child.number, 0)[1])
        how = f" by signal {-code}" if code < 0 else f" with code {code}"
    return RowWorkerLost(f"a process that read rows was ended{how}")


def _end(child: _Child, deadline: float) -> None:
    """Wait for a child that was told to stop, and kill it where it has not ended by then."""
    with suppress(ChildProcessError):
        while os.waitpid(child.number, os.WNOHANG)[0] == 0:
            if time.monotonic() >= deadline:
                os.kill(child.number, signal.SIGKILL)
                os.waitpid(child.number, 0)
                return
            time.sleep(0.002)


def _work(connection: Connection, memory: mmap.mmap, read_of: Callable[[str], Read]) -> NoReturn:
    """A child's life: it leaves without a look at what its parent has open."""
    try:
        while message := connection.recv_bytes():
            begin, size = _PLACE.unpack_from(message)
            path = message[_PLACE.size :].decode()
            answer = _ENCODER.encode(measure(read_of(path), memory[begin : begin + size]))
            if len(answer) <= _SLOT:
                memory[begin : begin + len(answer)] = answer
                answer = _PLACE.pack(begin, len(answer))
            connection.send_bytes(answer)
    finally:
        os._exit(0)
