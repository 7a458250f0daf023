"""The one place that pairs ports with adapters, in rooms by what is put together.

Each room is a class whose attributes are the parts, and stands on the rooms whose parts it needs; `Local` is all of
them. Parts that cost something are opened when they are first asked for, and kept.
"""

from stellaops.bootstrap.clock import new_run_id, now, run_id_of
from stellaops.bootstrap.extras import ServerExtraMissing, server_extra
from stellaops.bootstrap.keys import TenantKeys
from stellaops.bootstrap.local import Local

__all__ = ["Local", "ServerExtraMissing", "TenantKeys", "new_run_id", "now", "run_id_of", "server_extra"]
