"""What can be wrong with a bbolt file, or with what is to be written into one."""

from __future__ import annotations

from stellaops.core.errors import InvalidInput, NotTrusted


class BoltInvalid(NotTrusted):
    """A bbolt file breaks a rule of its format: it is damaged, cut off or forged."""

    code = "ERR_TRIVY_DB_INVALID"
    hint = "Do not install this database; fetch it again and compare its digest with the signed manifest."


class BoltKeyOrder(InvalidInput):
    """Keys of a bucket do not ascend strictly: two are equal, or the rows were not sorted by their bytes."""

    code = "ERR_TRIVY_DB_KEY_ORDER"
    hint = "Sort the rows by the bytes of their keys and merge rows with equal keys before they are written."


class BoltEntryInvalid(InvalidInput):
    """A key or a value has a length that the format cannot hold."""

    code = "ERR_TRIVY_DB_ENTRY"
    hint = "Leave out or correct the entry that the message names."


class BoltBucketMisuse(InvalidInput):
    """A bucket was written and not placed, placed twice, or used after the file was finished."""

    code = "ERR_TRIVY_DB_BUCKET"
    hint = "Place every bucket exactly once, under one parent, before `finish`."
