"""What helps when something made from the segments is bad. It is moved, never deleted: after retention nothing else may have it."""

from __future__ import annotations

HISTORY_ANEW = (
    "move the source's folder under history/ out of the archive, and keep it:"
    " `archiver maintain --history` writes anew what the journal has"
)
CHECKPOINT_ANEW = (
    "move it out of the archive, and keep it: an older one or the journal itself serves where it is whole,"
    " and `archiver maintain` makes others"
)
PACK_ANEW = (
    "move it out of the archive, and keep it: the segments themselves serve,"
    " and `archiver maintain` makes it anew where `maintenance.compaction` is set"
)
