"""A labeling at work: the pool, the queue, and the rounds of learning beside it."""

import collections
import dataclasses
import multiprocessing
import pathlib
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from tfcaps import files, process
from tfcaps.labeling import final_network, image_files, networks, ranking, stopping
from tfcaps.labeling.configuration import LabelingOptions
from tfcaps.labeling.image_queue import ImageQueue
from tfcaps.labeling.pool import LABEL, UNDO, Click, Pool, Snapshot
from tfcaps.labeling.ranking import Prepared, Ranking
from tfcaps.labeling.rounds import read_rounds

# Of each so many images one is drawn at random: these tell the accuracy without bias.
_DRAWN = 10
_PACE_SECONDS = 300.0  # of work that the time left is reckoned from
_PACE_CLICKS = 1000  # at most
_COLUMNS = ("labels", "accuracy", "low", "high", "changed")  # of a round
_FEW_CLICKS = 5  # tell nothing of the pace
_AT_A_TIME = 200  # images that one tab may hold


class LabelingSession:
    """What the page asks and tells.

    Args:
        config: what is asked for.
        pool: where decisions go.

    Its methods may be called from several threads.
    """

    def __init__(self, config: LabelingOptions, pool: Pool):
        self.config = config
        self.pool = pool
        self.unreadable: set[int] = set()
        self.duplicates: list[list[int]] = []
        self.error = ""
        self.activity = "Looking at the images."
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._ended = False
        self._ranking: Ranking | None = None
        self._served = 0
        self._drawn: set[int] = set()
        self._numbers = sorted(pool.names)
        self._random = sorted(pool.present)
        random.Random(0).shuffle(self._random)
        # By whether the images in it are drawn.
        self._queues = {False: ImageQueue(self._order()), True: ImageQueue(self._random)}
        self.rounds = read_rounds(self._curve_file, _COLUMNS)
        self._learned_from = -1
        self._seen: set[int] = set()  # by the network whose features are used
        self._training: _Training | None = None
        self._times: collections.deque[float] = collections.deque(maxlen=_PACE_CLICKS)

    @property
    def _curve_file(self) -> pathlib.Path:
        return pathlib.Path(self.config.log_dir) / "rounds.json"

    def begin(self) -> None:
        """Starts the learning beside."""
        threading.Thread(target=self._work, daemon=True).start()

    def end(self) -> None:
        """Ends it, in the midst of a round, too."""
        self._ended = True
        self._wake.set()
        for child in multiprocessing.active_children():
            child.terminate()

    def train(self) -> None:
        """Starts the training of the final network in a process beside, unless there is one.

        Raises:
            UsageError: there are too few labels.
        """
        with self._lock:
            if self._training is not None and self._training.is_running:
                return
            known = self.pool.snapshot()
            training = self._training = _Training(final_network.begin(self.config, known))
        threading.Thread(target=self._train, args=(training, known), daemon=True).start()

    def _train(self, training: "_Training", known: Snapshot) -> None:
        try:
            # Images may have to be copied: nobody's click waits for that.
            final_network.write_data(self.config, known, training.folder)
            _beside(final_network.train, str(training.folder), self.config.final_network)
        except Exception as error:  # labels go on being taken
            training.error = str(error)
        training.is_running = False

    def next_images(self, by: str, count: int, held: list[int]) -> dict[str, Any]:
        """Further images for a tab, beside those that it holds, and which it has lost."""
        held, count = held[:_AT_A_TIME], min(max(count, 0), _AT_A_TIME)
        with self._lock:
            lost = self.pool.renew(by, held)
            for image in self.pool.returned():
                self._put_back(image)
            taken = set(held)

            def is_wanted(image: int) -> bool:
                is_shown = image in taken or image in self.unreadable
                return not is_shown and self.pool.is_free(image, by)

            # What a tab had before it was loaded anew comes first.
            found = [image for image in self.pool.held(by) if is_wanted(image)][:count]
            while len(found) < count:
                taken.update(found)
                self._served += 1
                is_random = self._served % _DRAWN == 0
                image = self._queues[is_random].take(is_wanted)
                if image is None:
                    break
                found.append(image)
                if is_random:
                    self._drawn.add(image)
            try:
                leased = self.pool.lease(by, len(found), found)
            except OSError:
                for image in found:
                    self._put_back(image)
                raise
            return {"images": [self.describe(image) for image in leased], "lost": lost}

    def record(self, clicks: list[Click]) -> list[dict[str, Any]]:
        """Makes clicks last, and tells what they are about."""
        with self._lock:
            clicks = [dataclasses.replace(c, is_random=self._is_drawn(c.image)) for c in clicks]
            images = self.pool.record(clicks)
            self._times.extend([time.monotonic()] * len(clicks))
            self._wake.set()
            for click, image in zip(clicks, images, strict=True):
                if click.kind == UNDO and image is not None:
                    # Whoever takes something back sees it again, and nobody else.
                    self.pool.lease(click.by, 1, [image])
            return [
                {"identity": click.identity, "image": None if n is None else self.describe(n)}
                for click, n in zip(clicks, images, strict=True)
            ]

    def _is_drawn(self, image: int | None) -> bool:
        """Whether an image was drawn at random; one whose label is corrected stays what it was."""
        before = None if image is None else self.pool.decision(image)
        return image in self._drawn or (before is not None and before.is_random)

    def _put_back(self, image: int) -> None:
        for queue in self._queues.values():
            queue.put_back(image)

    def describe(self, image: int) -> dict[str, Any]:
        """What the page shows of an image."""
        decision = self.pool.decision(image)
        guess = None
        if self._ranking and self._ranking.guesses and image < len(self._ranking.guesses):
            guess = self.pool.classes[self._ranking.guesses[image]]
        return {
            "image": image,
            "name": self.pool.names[image],
            "guess": guess,
            "label": decision and (decision.label or decision.kind),
        }

    def state(self) -> dict[str, Any]:
        """Progress, curve, advice, and what should be looked at again."""
        with self._lock:
            counts = self.pool.counts()
            low = self.rounds[-1]["low"] if self.rounds else 0.0
            per_second = self._pace()
            return {
                **counts,
                "unreadable": [self.pool.names[n] for n in sorted(self.unreadable)],
                "rounds": self.rounds,
                "activity": self.activity,
                "error": self.error,
                "minutes_left": round(counts["open"] / per_second / 60) if per_second else None,
                "saved": int(low * counts["open"]),
                "low": low,
                "stop": stopping.reason_to_stop(
                    counts["label"],
                    self.rounds,
                    budget=self.config.budget,
                    target_accuracy=self.config.target_accuracy,
                ),
                "suspicious": [
                    self.describe(n) for n in (self._ranking.suspicious if self._ranking else ())
                ],
                "training": self._training and self._training.describe(),
                "duplicates": [
                    [self.describe(n) for n in group] for group in self.duplicates[: ranking.LISTED]
                ],
                "replaced": [self.describe(n) for n in self.pool.replaced()[: ranking.LISTED]],
                "listed": ranking.LISTED,
            }

    def file_of(self, image: int) -> pathlib.Path | None:
        """The thumbnail of an image; None where it can't be read."""
        if image not in self.pool.names:
            return None
        source = pathlib.Path(self.config.images, self.pool.names[image])
        version = image_files.fingerprint(source)
        found = image_files.thumbnail(source, ranking.thumbnail_file(self.config.log_dir, image))
        with self._lock:
            self.pool.see(image, version)
            if found is None:
                self.unreadable.add(image)
        return found

    def _pace(self) -> float:
        """Decisions a second over the last minutes; 0 where there are too few."""
        times = [t for t in self._times if t > time.monotonic() - _PACE_SECONDS]
        if len(times) <= _FEW_CLICKS or times[-1] == times[0]:
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])

    def _order(self) -> list[int]:
        """Images in the order in which they are handed out; near-duplicates at the end."""
        first = self._ranking.order if self._ranking else []
        repeated = self._repeated()
        return [image for image in (first or self._random) if image not in repeated] + [
            *(image for image in self._random if image not in repeated),
            *(image for image in self._random if image in repeated),
        ]

    def _repeated(self) -> set[int]:
        """All near-duplicates but the first of each group."""
        return {image for group in self.duplicates for image in group[1:]}

    def _reorder(self) -> None:
        self._queues[False] = ImageQueue(self._order())

    def _work(self) -> None:
        """Prepares the images, and learns anew whenever there are enough new labels."""
        config = self.config
        try:
            features = None
            while not self._ended:
                # Of a network that was trained meanwhile.
                newest = config.features or final_network.newest_run(config)
                if self._ranking is None or newest != features:
                    features = newest
                    self._prepare(features)
                self._round()
                self._wake.wait(timeout=1.0)
                self._wake.clear()
        except Exception as error:  # the page goes on without a model, and says why
            self.error = f"Learning has stopped: {error}"
        self.activity = ""

    def _prepare(self, features: str | None) -> None:
        names = {image: self.pool.names[image] for image in self.pool.present}
        prepared: Prepared = _beside(
            ranking.prepare,
            *(self.config.log_dir, self.config.images, names, features),
            self.config.network != networks.SVM,
        )
        with self._lock:
            self.unreadable |= set(prepared.unreadable)
            self.duplicates = prepared.duplicates
            self._seen = final_network.learned(self.config, features)
            self._learned_from = -1
            self._reorder()

    def _round(self) -> None:
        with self._lock:
            count = self.pool.counts()[LABEL]
            is_enough = abs(count - self._learned_from) >= self.config.retrain_every
            if self._learned_from >= 0 and not is_enough:
                self.activity = ""
                return
            labels = self.pool.labels()
            numbers = {name: number for number, name in enumerate(self.pool.classes)}
            known = {image: numbers[label] for image, label in labels.items()}
            # What features were made for tells them apart too well.
            drawn = sorted(self.pool.labels(drawn=True).keys() - self._seen)
            left = sorted(set(self.pool.open()) - self.unreadable - self._repeated())
            self.activity = f"Learning from {len(labels)} labels."
        found: Ranking = _beside(ranking.rank, self.config, known, drawn, left)
        with self._lock:
            before, self._ranking = self._ranking, self._mapped(found)
            self._reorder()
            self._learned_from = len(labels)
            self.activity = ""
            is_known = before is None and self.rounds and self.rounds[-1]["labels"] == len(labels)
            if not found.checked or is_known:  # or is the last one of an earlier start
                return
            low, high = found.bounds
            changed = 1.0
            if before and before.guesses:
                pairs = zip(before.guesses, self._ranking.guesses, strict=True)
                changed = sum(a != b for a, b in pairs) / len(before.guesses)
            row = {"labels": len(labels), "accuracy": found.correct / found.checked,
                   "low": low, "high": high, "changed": changed}  # fmt: skip
            self.rounds = [*self.rounds, row]
            files.write_json(self._curve_file, self.rounds)

    def _mapped(self, found: Ranking) -> Ranking:
        """Guesses by the numbers of the pool, of which some images may be gone."""
        if not found.guesses:
            return found
        by_number = dict(zip(sorted(self.pool.present), found.guesses, strict=True))
        return found._replace(guesses=[by_number.get(number, 0) for number in self._numbers])


@dataclasses.dataclass
class _Training:
    """A training of the final network, and how it goes."""

    folder: pathlib.Path
    is_running: bool = True
    error: str = ""

    def describe(self) -> dict[str, Any]:
        """What the page shows of it."""
        return {
            "run": str(final_network.run_folder(self.folder)),
            "is_running": self.is_running,
            "error": self.error,
            **final_network.progress(self.folder),
        }


def _beside(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, called in a process that gives way to this one."""
    return process.run_alone(ranking.give_way, function, *arguments)
