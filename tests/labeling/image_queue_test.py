"""The queue against a sorted list that does the same slowly."""

import random

from tfcaps.labeling.image_queue import ImageQueue


def test_against_a_list():
    generator = random.Random(0)
    order = generator.sample(range(50), 50)
    queue, left = ImageQueue(order), list(order)
    for _ in range(500):
        if generator.random() < 0.4:
            image = generator.randrange(60)
            queue.put_back(image)
            if image in order and image not in left:
                left = sorted([*left, image], key=order.index)
            continue
        unwanted = set(generator.sample(range(50), 10))
        expected = next((image for image in left if image not in unwanted), None)
        found = queue.take(lambda image, unwanted=unwanted: image not in unwanted)
        assert found == expected
        left = left[left.index(expected) + 1 :] if expected is not None else []
        # One that was put back twice may come twice: whoever takes it knows that it is held.
        while found is not None and queue._left and queue._order[queue._left[0]] == found:
            queue.take(lambda image, found=found: image == found)


def test_the_first_place_counts():
    queue = ImageQueue([3, 1, 3, 2, 1])
    assert [queue.take(lambda image: True) for _ in range(4)] == [3, 1, 2, None]
