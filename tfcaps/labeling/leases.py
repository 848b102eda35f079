"""Who is looking at which image, and until when."""

import heapq
import time
from collections.abc import Iterable

_NOBODY = ("", 0.0)


class Leases:
    """Images that are kept for somebody, each until its time is over.

    Times are those of a clock that nobody sets (`time.monotonic`): a lease neither ends sooner nor
    lasts longer where the date of the machine is changed.

    Example:

    >>> leases = Leases()
    >>> leases.keep("tab-1", [4, 2], seconds=60.0)
    >>> leases.holder(4), leases.of("tab-1"), leases.ended()
    ('tab-1', [4, 2], [])
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[str, float]] = {}
        self._of: dict[str, dict[int, None]] = {}
        # When each may have ended: later, where it was renewed meanwhile.
        self._ends: list[tuple[float, int]] = []

    def keep(self, by: str, images: Iterable[int], *, seconds: float) -> None:
        """Keeps images for `by` from now on, whoever had them before."""
        expires = time.monotonic() + seconds
        for image in images:
            before = self._held.get(image)
            if before is None:
                heapq.heappush(self._ends, (expires, image))
            elif before[0] != by:
                self._forget(image, before[0])
            self._held[image] = (by, expires)
            self._of.setdefault(by, {})[image] = None

    def holder(self, image: int) -> str | None:
        """Who has an image; None: nobody."""
        by, expires = self._held.get(image, _NOBODY)
        return by if expires > time.monotonic() else None

    def seconds_left(self, image: int) -> float:
        """For how long an image is still kept; 0: nobody has it."""
        return max(0.0, self._held.get(image, _NOBODY)[1] - time.monotonic())

    def of(self, by: str) -> list[int]:
        """The images that somebody has, in the order in which they came."""
        return [image for image in self._of.get(by, ()) if self.holder(image) == by]

    def ended(self) -> list[int]:
        """The images whose time is over since this was last asked."""
        now, found = time.monotonic(), []
        while self._ends and self._ends[0][0] <= now:
            _, image = heapq.heappop(self._ends)
            by, expires = self._held[image]
            if expires > now:
                heapq.heappush(self._ends, (expires, image))
                continue
            del self._held[image]
            self._forget(image, by)
            found.append(image)
        return found

    def _forget(self, image: int, by: str) -> None:
        del self._of[by][image]
        if not self._of[by]:
            del self._of[by]
