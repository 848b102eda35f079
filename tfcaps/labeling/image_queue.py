"""Images in the order in which they are handed out."""

import heapq
from collections.abc import Callable, Iterable


class ImageQueue:
    """Images in an order, each of which is taken once, and may come back to its place.

    Args:
        order: images; of one that comes twice the first place counts.

    Example:

    >>> queue = ImageQueue([7, 3, 5])
    >>> queue.take(lambda image: image != 7)
    3
    >>> queue.put_back(7)
    >>> queue.take(lambda image: True), queue.take(lambda image: True)
    (7, 5)
    """

    def __init__(self, order: Iterable[int]):
        self._order = list(dict.fromkeys(order))
        self._places = {image: place for place, image in enumerate(self._order)}
        self._left = list(range(len(self._order)))  # increasing, so it is a heap

    def take(self, is_wanted: Callable[[int], bool]) -> int | None:
        """The first image that is wanted, or None; those before it are out of the queue, too."""
        while self._left:
            image = self._order[heapq.heappop(self._left)]
            if is_wanted(image):
                return image
        return None

    def put_back(self, image: int) -> None:
        """Has an image come again; one that the queue never had is left out."""
        if image in self._places:
            heapq.heappush(self._left, self._places[image])
