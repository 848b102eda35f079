"""What the server takes and refuses, and how it bears many at a time."""

import asyncio
import concurrent.futures as futures
import json
import os
import pathlib
import socket
from unittest import mock

import httpx
import pytest
import uvicorn

from benchmarks import labeling_load
from tests import runs
from tests.labeling import pages
from tfcaps import files, program
from tfcaps.errors import UsageError
from tfcaps.labeling import (
    Click,
    LabelingOptions,
    LabelingSession,
    Pool,
    SimulationOptions,
    label_images,
    make_app,
    server,
)

TOKEN = "secret"


@pytest.fixture
def folder(tmp_path):
    return pages.pictures(tmp_path / "pictures", 12)


def options(folder, **choices):
    given = {"images": str(folder), "classes": pages.CLASSES, "open_browser": False}
    store = choices.pop("log_dir", folder / ".guided_labeling")
    return LabelingOptions(log_dir=str(store), **{**given, **choices})


def application(folder, count=12, names=None):
    config = options(folder)
    pathlib.Path(config.log_dir, "thumbnails").mkdir(parents=True, exist_ok=True)
    names = names or [f"{number:05}.png" for number in range(count)]
    pool = Pool(pathlib.Path(config.log_dir, "pool.sqlite"), names, pages.CLASSES)
    session = LabelingSession(config, pool)
    return make_app(session, TOKEN), pool, session


def client(app):
    transport = httpx.ASGITransport(app)
    headers = {"x-token": TOKEN}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1", headers=headers)


def click(image, label="dark", **more):
    return {"kind": "label", "image": image, "label": label, "identity": f"c{image}", **more}


def test_forged_requests(folder):
    app, pool, _ = application(folder)
    body = {"by": "tab", "clicks": [click(0)]}
    forged = [
        {"x-token": "wrong"},
        {"x-token": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"host": "evil.example:1"},
        {"sec-fetch-site": "cross-site"},
    ]

    async def send():
        async with client(app) as one:
            answers = [await one.post("/clicks", json=body, headers=headers) for headers in forged]
            paths = ("/", "/state", "/thumbnails/0", "/page.js")
            answers += [await one.get(path, headers={"x-token": ""}) for path in paths]
            assert {answer.status_code for answer in answers} == {403}
            assert pool.log() == []
            own = {"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-origin"}
            assert (await one.post("/clicks", json=body, headers=own)).status_code == 200
            assert (await one.get(f"/?token={TOKEN}", headers={"x-token": ""})).status_code == 200

    asyncio.run(send())
    assert pool.labels() == {0: "dark"}


def test_wrong_clicks_keep_no_others_back(folder):
    app, pool, _ = application(folder)

    async def send():
        async with client(app) as one:
            bodies = [{"by": "a", "clicks": [click(0)]},
                      {"by": "b", "clicks": [click(1, "cow")]},
                      {"by": "c", "clicks": [click(2)]}]  # fmt: skip
            answers = await asyncio.gather(*(one.post("/clicks", json=body) for body in bodies))
            assert [answer.status_code for answer in answers] == [200, 400, 200]
            assert answers[1].json() == {
                "error": "Expected a label among dark, light. Received: cow"
            }
            assert (await one.post("/clicks", json={"clicks": 3})).status_code == 400

    asyncio.run(send())
    assert pool.labels() == {0: "dark", 2: "dark"}


def test_requests_beyond_any_pages(folder):
    app, _, _ = application(folder)
    large = {"by": "tab", "clicks": [click(0, "x" * 2**20)]}

    async def send():
        async with client(app) as one:
            assert (await one.post("/clicks", json=large)).status_code == 413
            streamed = await one.post("/clicks", content=_streamed(b'{"by": "tab", "clicks": []}'))
            assert streamed.status_code == 413
            asked = '{"by": "tab", "count": %s, "held": [%s]}'
            for count, held in (("1e999", "0"), ("3", "1e999"), ("3", "1" + "0" * 30)):
                answer = await one.post("/images", content=asked % (count, held))
                assert answer.status_code == 400, (count, held)
            deep = b"[" * 100_000
            for path in ("/images", "/clicks"):
                assert (await one.post(path, content=deep)).status_code == 400
            for number in ("9" * 5000, "-1", "one", "1" + "0" * 30):
                answer = await one.get(f"/thumbnails/{number}")
                assert answer.status_code in (400, 404), number

    asyncio.run(send())


async def _streamed(content):
    yield content


@pytest.mark.parametrize("wrong", [{"image": [1]}, {"image": {}}, {"label": ["dark"]}])
def test_whoever_waits_beside_a_malformed_click_is_answered(folder, wrong):
    app, pool, _ = application(folder)

    async def send():
        async with client(app) as one:
            sent = [click(3) | {"identity": "a"}, click(4) | wrong | {"identity": "b"}, click(5)]
            posts = [one.post("/clicks", json={"by": "tab", "clicks": [each]}) for each in sent]
            answers = await asyncio.wait_for(asyncio.gather(*posts), 20)
            assert [answer.status_code for answer in answers] == [200, 400, 200]

    asyncio.run(send())
    assert set(pool.labels()) == {3, 5}


def test_full_disk_is_told(folder, monkeypatch):
    app, pool, _ = application(folder)
    record = pool.record

    def full(clicks):
        raise OSError("database or disk is full")

    async def send():
        async with client(app) as one:
            monkeypatch.setattr(pool, "record", full)
            answer = await one.post("/clicks", json={"by": "a", "clicks": [click(0)]})
            assert answer.status_code == 507
            assert "disk is full" in answer.json()["error"]
            monkeypatch.setattr(pool, "record", record)
            answer = await one.post("/clicks", json={"by": "a", "clicks": [click(0)]})
            assert answer.status_code == 200

    asyncio.run(send())
    assert pool.labels() == {0: "dark"}


def test_unreadable_and_vanished_images(folder):
    (folder / "00003.png").write_bytes(b"no picture")
    (folder / "00005.png").unlink()
    app, _, session = application(folder)

    async def send():
        async with client(app) as one:
            codes = [(await one.get(f"/thumbnails/{n}")).status_code for n in (0, 3, 5, 99)]
            assert codes == [200, 404, 404, 404]
            found = await one.post("/images", json={"by": "a", "count": 50, "held": []})
            assert {item["image"] for item in found.json()["images"]} == set(range(12)) - {3, 5}

    asyncio.run(send())
    assert session.state()["unreadable"] == ["00003.png", "00005.png"]


def test_an_image_that_is_replaced(folder):
    """It is shown anew, and so is its label, which stands."""
    app, pool, _ = application(folder)

    async def send():
        async with client(app) as one:
            before = (await one.get("/thumbnails/0")).content
            await one.post("/clicks", json={"by": "tab", "clicks": [click(0), click(1)]})
            assert (await one.get("/state")).json()["replaced"] == []
            (folder / "00000.png").write_bytes((folder / "00005.png").read_bytes())
            assert (await one.get("/thumbnails/0")).content != before
            (item,) = (await one.get("/state")).json()["replaced"]
            assert (item["name"], item["label"]) == ("00000.png", "dark")
            again = [click(0, "light") | {"identity": "again"}]
            await one.post("/clicks", json={"by": "tab", "clicks": again})
            assert (await one.get("/state")).json()["replaced"] == []

    asyncio.run(send())
    assert pool.labels() == {0: "light", 1: "dark"}


def test_whoever_asks_first_is_answered_while_others_keep_asking(folder):
    app, _, _ = application(folder)

    async def send():
        async with client(app) as one:
            answered = asyncio.Event()

            async def first():
                await one.post("/clicks", json={"by": "first", "clicks": [click(0)]})
                answered.set()

            async def busy(number):
                for turn in range(200):
                    if answered.is_set():
                        return True
                    sent = [click(1) | {"identity": f"{number}-{turn}"}]
                    await one.post("/clicks", json={"by": "busy", "clicks": sent})
                return False

            _, *before_the_others = await asyncio.gather(first(), *map(busy, range(3)))
            assert all(before_the_others)

    asyncio.run(send())


def test_what_is_taken_back_stays_with_whoever_took_it_back(folder):
    _, _, session = application(folder)
    (one,) = session.next_images("a", 1, [])["images"]
    session.record([Click("x", "label", "a", one["image"], "dark")])
    others = {item["image"] for item in session.next_images("b", 50, [])["images"]}
    assert others == set(range(12)) - {one["image"]}
    session.record([Click("u", "undo", "a")])
    assert session.next_images("c", 50, [])["images"] == []
    assert [item["image"] for item in session.next_images("a", 50, [])["images"]] == [one["image"]]


def test_a_correction_leaves_an_image_drawn_or_not(folder):
    _, pool, _ = application(folder)
    pool.record([Click("r", "label", "a", 3, "dark", is_random=True)])
    pool.record([Click("n", "label", "a", 4, "dark")])
    later = LabelingSession(options(folder), pool)
    later.record([Click("c", "label", "b", 3, "light"), Click("d", "label", "b", 4, "light")])
    assert pool.labels() == {3: "light", 4: "light"}
    assert pool.labels(drawn=True) == {3: "light"}


def test_an_image_comes_again_when_its_lease_is_over(folder, monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    _, _, session = application(folder)
    assert len(session.next_images("a", 50, [])["images"]) == 12
    assert session.next_images("b", 50, [])["images"] == []
    seconds[0] += 60
    assert len(session.next_images("b", 50, [])["images"]) == 12
    assert sorted(session.next_images("a", 1, [0, 1])["lost"]) == [0, 1]


def test_fifty_tabs_by_http(folder):
    """The load of `benchmarks/labeling_load.py`, in small: each image once, and no label lost."""
    names = [f"{number}.png" for number in range(400)]
    config = options(folder, classes=labeling_load.CLASSES)
    pathlib.Path(config.log_dir).mkdir()
    pool = Pool(pathlib.Path(config.log_dir, "pool.sqlite"), names, config.classes)
    application = make_app(LabelingSession(config, pool), TOKEN)
    server = uvicorn.Server(uvicorn.Config(application, log_level="error"))
    with socket.socket() as listening, futures.ThreadPoolExecutor(51) as threads:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        running = threads.submit(server.run, sockets=[listening])
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/?token={TOKEN}"
        tabs = [labeling_load.Tab(address, f"tab-{number}") for number in range(50)]
        for ended in [threads.submit(tab.work) for tab in tabs]:
            ended.result(timeout=60)
        server.should_exit = True
        running.result(timeout=60)
    labelled = [image for tab in tabs for image in tab.labelled]
    assert sorted(labelled) == list(range(400))
    again = Pool(pool.path, names, config.classes)
    assert again.labels() == {n: labeling_load.CLASSES[n % 9] for n in range(400)}


def test_fifty_clients(folder):
    """Each image goes to one of them, and each label arrives."""
    names = [f"{number}.png" for number in range(10_000)]
    app, pool, _ = application(folder, names=names)
    labelled: list[int] = []

    async def person(one, by):
        held: list[int] = []
        while True:
            found = await one.post("/images", json={"by": by, "count": 100, "held": held})
            items = [item["image"] for item in found.json()["images"]]
            if not items:
                return
            for start in range(0, len(items), 10):
                part = items[start : start + 10]
                answer = await one.post(
                    "/clicks", json={"by": by, "clicks": [click(image) for image in part]}
                )
                assert answer.status_code == 200
                labelled.extend(part)

    async def all_of_them():
        async with client(app) as one:
            await asyncio.gather(*(person(one, f"p{number}") for number in range(50)))

    asyncio.run(all_of_them())
    assert sorted(labelled) == list(range(10_000))
    assert len(Pool(pool.path, names, pages.CLASSES).labels()) == 10_000


def refusal(config):
    with pytest.raises(UsageError) as caught:
        label_images(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestBadInput:
    def test_folder_without_images(self, tmp_path):
        assert refusal(options(tmp_path, log_dir=tmp_path / ".s")) == (
            f"Expected --images with images (.png .jpg .jpeg .bmp .gif). "
            f"Received: {tmp_path}, with none"
        )
        assert refusal(options(tmp_path / "x", log_dir=tmp_path / ".s")) == (
            f"Expected --images with a folder. Received: {tmp_path / 'x'}"
        )
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "classes, sentence",
        [
            (["a", "a"], "Expected --classes to be distinct names. Received: a,a"),
            ([f"c{n}" for n in range(100)], "Expected --classes to be 2 to 99 names, a key or two "
                f"each. Received: {','.join(f'c{n}' for n in range(100))}"),
            (["a"], "Expected --classes to be 2 to 99 names, a key or two each. Received: a"),
            (["a", "b/c"], "Expected --classes to be names that can be folders. Received: a,b/c"),
        ],
    )  # fmt: skip
    def test_classes(self, folder, classes, sentence):
        with pytest.raises(UsageError) as caught:
            options(folder, classes=classes)
        assert str(caught.value) == sentence

    def begun(self, folder, tmp_path):
        labels = tmp_path / "labels.csv"
        labels.write_text("image,label\n00001.png,light\n00002.png,dark\n")
        target = tmp_path / "out"
        label_images(options(folder, import_labels=str(labels), export=str(target)))
        return target

    def test_export_is_what_was_imported(self, folder, tmp_path):
        from tfcaps import datasets

        target = self.begun(folder, tmp_path)
        assert (target / "labels.csv").read_text() == (
            "image,label\n00001.png,light\n00002.png,dark\n"
        )
        assert sorted(str(p.relative_to(target)) for p in target.glob("images/*/*")) == [
            "images/dark/2-00002.png",
            "images/light/1-00001.png",
        ]
        train, test, names = datasets.read_folder(str(target / "images"), 16)
        assert (len(train) + len(test), names) == (2, ("dark", "light"))
        assert refusal(options(folder, export=str(target))) == (
            f"Expected --export with a new folder. Received: {target}, which exists"
        )

    def test_images_that_were_replaced(self, folder, tmp_path, capsys):
        self.begun(folder, tmp_path)
        assert "were replaced" not in capsys.readouterr().out
        (folder / "00002.png").write_bytes((folder / "00001.png").read_bytes())
        label_images(options(folder, export=str(tmp_path / "again")))
        assert capsys.readouterr().out.startswith(
            "1 images were replaced since they were decided, such as 00002.png: their labels "
            "stand, and the page lists them.\n"
        )
        labels = (tmp_path / "again" / "labels.csv").read_text()
        assert labels == (tmp_path / "out" / "labels.csv").read_text()

    def test_pool_of_other_classes_and_folder(self, folder, tmp_path):
        self.begun(folder, tmp_path)
        store = folder / ".guided_labeling"
        before = runs.snapshot(store)
        assert refusal(options(folder, classes=["cat", "dog"])) == (
            f"Expected --classes=dark,light, as the labeling in {store} was started with, to go on "
            "with it. Received: --classes=cat,dog"
        )
        other = pages.pictures(tmp_path / "other", 2)
        assert refusal(options(other, log_dir=store)) == (
            f"Expected --images={folder}, as the labeling in {store} was started with, to go on "
            f"with it. Received: --images={other}"
        )
        assert runs.snapshot(store) == before

    def test_two_servers(self, folder):
        config = options(folder)
        with files.WorkFolder(config.log_dir, files.LABELING).locked():
            assert refusal(config) == (
                f"Expected --log_dir without another process at work. Received: {config.log_dir}, "
                "in which another process works on a labeling"
            )

    def test_port_in_use(self, folder):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            assert refusal(options(folder, port=port)) == (
                f"Expected a free port, such as --port=0. Received: --port={port}, which is in use"
            )

    def test_port_of_the_last_time(self, folder):
        config = options(folder)
        store = pathlib.Path(config.log_dir)
        store.mkdir()
        with server._listening(config) as first:
            port = first.getsockname()[1]
            with server._listening(config) as second:  # it isn't free
                other = second.getsockname()[1]
        assert other != port
        with server._listening(config) as third:
            assert third.getsockname()[1] == other
        for damaged in ("", "seven", "-1", "70000", "9" * 5000):
            (store / "port").write_text(damaged)
            server._listening(config).close()
        with pytest.MonkeyPatch.context() as patch:
            refused = PermissionError(13, "Permission denied")
            patch.setattr(socket.socket, "bind", mock.Mock(side_effect=refused))
            assert refusal(options(folder, port=80)) == (
                "Expected a free port, such as --port=0. Received: --port=80, Permission denied"
            )

    def test_read_only_folder(self, folder, monkeypatch):
        """Root may write anywhere, so the system's refusal is made here."""

        def refuse(self, *arguments, **choices):
            raise PermissionError(13, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(pathlib.Path, "mkdir", refuse)
            sentence = refusal(options(folder))
        assert sentence == (
            "Expected a folder for the labels that can be written, such as --log_dir=FOLDER. "
            f"Received: {folder}/.guided_labeling, Permission denied"
        )

    @pytest.mark.parametrize(
        "text, sentence",
        [
            ("image,label\nother.png,dark\n", "Expected labels of images in --images. Received: "
                                              "other.png in {}"),
            ("image,label\n00001.png,dark\n00002.png,cow\n", "Expected a label among dark, light. "
                                                             "Received: cow"),
            ("image,label\n00001.png,dark\n00001.png,light\n", "Expected one label of each image. "
                "Received: dark and light for 00001.png in {}"),
            ("name,class\n", "Expected a CSV file with the columns image and label. Received: {}"),
            (f'image,label\n"{"a" * 200_000}",dark\n', "Expected --import_labels with a CSV file. "
                                                       "Received: {}"),
        ],
    )  # fmt: skip
    def test_label_file(self, folder, tmp_path, text, sentence):
        path = tmp_path / "labels.csv"
        path.write_text(text)
        assert refusal(options(folder, import_labels=str(path))) == sentence.format(path)
        pool = Pool(folder / ".guided_labeling" / "pool.sqlite", [], pages.CLASSES)
        assert pool.log() == []

    def test_a_label_file_of_a_spreadsheet(self, folder, tmp_path):
        """It begins with a byte order mark, and a row may be there twice."""
        path = tmp_path / "labels.csv"
        path.write_text("\ufeffimage,label\n" + "00001.png,dark\n" * 2)
        label_images(options(folder, import_labels=str(path), export=str(tmp_path / "out")))
        assert "00001.png,dark" in (tmp_path / "out" / "labels.csv").read_text()

    def test_results_among_the_images(self, folder, tmp_path):
        """They would be taken for images the next time."""
        options(folder, log_dir=folder / ".hidden" / "store", export=f"{folder}-out")
        for name, place in (
            ("log_dir", folder),
            ("log_dir", folder / "store"),
            ("export", f"{folder}/.hidden/../out"),
        ):
            given = {"log_dir": tmp_path / "store", name: place}
            with pytest.raises(UsageError) as caught:
                options(folder, **given)
            assert str(caught.value) == (
                f"Expected --{name} outside --images, or in a hidden folder of it. "
                f"Received: {place}"
            )

    def test_a_name_that_is_no_text(self, folder):
        path = os.fsencode(folder) + b"/\xff.png"
        with open(path, "wb") as file:
            file.write((folder / "00001.png").read_bytes())
        assert refusal(options(folder)) == (
            f"Expected names of images in UTF-8. Received: '\\udcff.png' in {folder}"
        )

    def test_resume_knows_the_folder(self, folder):
        """As the program says that --resume goes on; of a simulation it has to be told which."""
        flags = [f"--images={folder}", "--classes=dark,light", "--resume"]
        found = program.parse(LabelingOptions, flags)
        assert (found.log_dir, found.resume) == (f"{folder}/.guided_labeling", True)
        program.parse(SimulationOptions, ["--resume"])
        for cls, given in ((LabelingOptions, []), (SimulationOptions, ["--simulate"])):
            with pytest.raises(UsageError, match="beside --resume, the folder to go on in"):
                program.parse(cls, [*given, "--resume"])

    def test_nothing_to_export(self, folder, tmp_path):
        assert "Expected labels of images that are there" in refusal(
            options(folder, export=str(tmp_path / "out"))
        )
        assert not os.path.exists(tmp_path / "out")

    def test_damaged_marker(self, folder, tmp_path):
        self.begun(folder, tmp_path)
        marker = folder / ".guided_labeling" / "labeling.json"
        marker.write_text(json.dumps({"classes": 3})[:-1])
        assert "is damaged" in refusal(options(folder))
