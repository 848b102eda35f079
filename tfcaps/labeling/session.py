"""A labeling at work: the pool, the queue, and the rounds of learning beside it."""

import dataclasses
import pathlib
import random
import threading
import time
from typing import Any

from tfcaps import files, process
from tfcaps.labeling import image_files, ranking, stopping
from tfcaps.labeling.configuration import LabelingOptions
from tfcaps.labeling.pool import Click, Pool
from tfcaps.labeling.ranking import Prepared, Ranking

# Of each so many images one is drawn at random: these tell the accuracy without bias.
_DRAWN = 10
_PACE_SECONDS = 300.0  # of work that the time left is reckoned from
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
        stored = files.read_json(self._curve_file) or []
        self.rounds: list[dict[str, Any]] = stored
        self._learned_from = -1
        self._times: list[float] = []

    @property
    def _curve_file(self) -> pathlib.Path:
        return pathlib.Path(self.config.log_dir) / "rounds.json"

    def begin(self) -> None:
        """Starts the learning beside."""
        threading.Thread(target=self._work, daemon=True).start()

    def end(self) -> None:
        """Ends it."""
        self._ended = True
        self._wake.set()

    def next_images(self, by: str, count: int, held: list[int]) -> dict[str, Any]:
        """Further images for a tab, beside those that it holds, and which it has lost."""
        with self._lock:
            lost = self.pool.renew(by, held[:_AT_A_TIME])
            # Those that a tab holds are its own, and would come again.
            taken = set(held) | self.unreadable
            chosen: list[int] = []
            queues = {False: iter(self._order()), True: iter(self._random)}
            for _ in range(min(count, _AT_A_TIME)):
                self._served += 1
                is_random = self._served % _DRAWN == 0
                free = (one for one in queues[is_random] if self.pool.is_free(one, by))
                image = next((one for one in free if one not in taken), None)
                if image is None:
                    break
                taken.add(image)
                chosen.append(image)
                if is_random:
                    self._drawn.add(image)
            leased = self.pool.lease(by, len(chosen), chosen)
            return {"images": [self.describe(image) for image in leased], "lost": lost}

    def record(self, clicks: list[Click]) -> list[dict[str, Any]]:
        """Makes clicks last, and tells what they are about."""
        with self._lock:
            clicks = [dataclasses.replace(c, is_random=c.image in self._drawn) for c in clicks]
            images = self.pool.record(clicks)
            self._times += [time.time()] * len(clicks)
            self._wake.set()
            return [
                {"identity": click.identity, "image": None if n is None else self.describe(n)}
                for click, n in zip(clicks, images, strict=True)
            ]

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
                "duplicates": [[self.describe(n) for n in group] for group in self.duplicates[:60]],
            }

    def file_of(self, image: int) -> pathlib.Path | None:
        """The thumbnail of an image; None where it can't be read."""
        if image not in self.pool.names:
            return None
        found = image_files.thumbnail(
            pathlib.Path(self.config.images, self.pool.names[image]),
            ranking.thumbnail_file(self.config.log_dir, image),
        )
        if found is None:
            with self._lock:
                self.unreadable.add(image)
        return found

    def _pace(self) -> float:
        """Decisions a second over the last minutes; 0 where there are too few."""
        times = self._times = [t for t in self._times if t > time.time() - _PACE_SECONDS]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 5 else 0.0

    def _order(self) -> list[int]:
        """Images in the order in which they are handed out; near-duplicates at the end."""
        first = self._ranking.order if self._ranking else []
        repeated = {image for group in self.duplicates for image in group[1:]}
        rest = first or self._random
        return [
            *(image for image in rest if image not in repeated),
            *(image for image in self._numbers if image not in repeated),
            *repeated,
        ]

    def _work(self) -> None:
        """Prepares the images, and learns anew whenever there are enough new labels."""
        config, pool = self.config, self.pool
        try:
            names = {image: pool.names[image] for image in pool.present}
            prepared: Prepared = process.run_alone(
                ranking.prepare, config.log_dir, config.images, names, config.features
            )
            with self._lock:
                self.unreadable |= set(prepared.unreadable)
                self.duplicates = prepared.duplicates
            while not self._ended:
                self._round()
                self._wake.wait(timeout=1.0)
                self._wake.clear()
        except Exception as error:  # the page goes on without a model, and says why
            self.error = f"Learning has stopped: {error}"
        self.activity = ""

    def _round(self) -> None:
        with self._lock:
            labels = self.pool.labels()
            is_enough = abs(len(labels) - self._learned_from) >= self.config.retrain_every
            if self._learned_from >= 0 and not is_enough:
                self.activity = ""
                return
            numbers = {name: number for number, name in enumerate(self.pool.classes)}
            known = {image: numbers[label] for image, label in labels.items()}
            drawn = sorted(self.pool.labels(drawn=True))
            repeated = {image for group in self.duplicates for image in group[1:]}
            left = sorted(set(self.pool.open()) - self.unreadable - repeated)
            self.activity = f"Learning from {len(labels)} labels."
        choice = {
            "strategy": self.config.strategy,
            "classes": len(self.pool.classes),
            "seed": len(labels),
        }
        found: Ranking = process.run_alone(
            ranking.rank, self.config.log_dir, known, drawn, left, choice
        )
        with self._lock:
            before, self._ranking = self._ranking, self._mapped(found)
            self._learned_from = len(labels)
            self.activity = ""
            if not found.checked:
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
