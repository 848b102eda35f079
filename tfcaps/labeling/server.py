"""The page: on this machine alone, for whoever has the token in its address."""

import asyncio
import errno
import itertools
import pathlib
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tfcaps import files, process
from tfcaps.errors import UsageError
from tfcaps.labeling import exchange, features, final_network, image_files, strategies
from tfcaps.labeling.configuration import LabelingOptions
from tfcaps.labeling.pool import Click, Pool, pool_file
from tfcaps.labeling.session import LabelingSession
from tfcaps.training import cluster

if TYPE_CHECKING:
    from starlette.applications import Starlette

_PAGE = pathlib.Path(__file__).parent / "page"
_HOST = "127.0.0.1"
_PORT = "port"  # of the last time
_MOST_CLICKS = 1000
_LARGEST_BODY = 2**20
# What a request that no page sends ends in: other types, numbers beyond all others, JSON that is
# nested without end.
_WRONG = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


def label_images(config: LabelingOptions) -> None:
    """Shows the page until Ctrl-C; or writes the labels (`export`), or trains on them (`train`).

    Raises:
        UsageError: there are no images, another process works on the labeling, it was begun with
            other classes or images, its folder can't be written, the port is in use, or there are
            too few labels to train on.
    """
    config.expect("images", config.images, "with a folder, or --simulate")
    cluster.expect_one_machine("a labeling")
    names = image_files.find_images(config.images)
    strategies.warn(config.strategy)
    if config.features is not None and not (config.export or config.train):
        process.run_alone(features.check, config.features)
    folder = files.WorkFolder(config.log_dir, files.LABELING)
    try:
        pathlib.Path(config.log_dir).mkdir(parents=True, exist_ok=True)
        (pathlib.Path(config.log_dir) / ".guided").touch()
        (pathlib.Path(config.log_dir) / ".guided").unlink()
    except OSError as error:
        raise UsageError(
            "Expected a folder for the labels that can be written, such as --log_dir=FOLDER. "
            f"Received: {config.log_dir}, {error.strerror}"
        ) from None
    with folder.locked():
        if folder.marker.exists():
            folder.compare(config.settled(), folder.made_with(config).settled())
        folder.begin(config.settled(), "thumbnails")
        versions = image_files.fingerprints(config.images, names)
        pool = Pool(pool_file(config.log_dir), names, config.classes, versions)
        try:
            if config.import_labels:
                count = exchange.import_labels(pool, config.import_labels)
                print(f"{count} labels from {config.import_labels}.")
            if config.export or config.train:
                _tell_replaced(pool)
            if config.export:
                count = exchange.export_labels(pool, config.images, config.export)
                print(f"{count} labels are in {config.export}: labels.csv, decisions.csv, images/")
                return
            if config.train:
                known = pool.snapshot()
                trained = final_network.begin(config, known)
                final_network.write_data(config, known, trained)
                final_network.train(trained, config.final_network)
                where = final_network.run_folder(trained)
                print(f"The network is in {where}: figures/, results.json, serving/1/")
                return
            _serve(config, LabelingSession(config, pool))
        finally:
            pool.close()


def _serve(config: LabelingOptions, session: LabelingSession) -> None:
    import uvicorn

    listening = _listening(config)
    token = secrets.token_urlsafe(16)
    address = f"http://{_HOST}:{listening.getsockname()[1]}/?token={token}"
    application = make_app(session, token)
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", access_log=False))
    session.begin()
    print(f"{address}\nCtrl-C ends it; each label is kept in {config.log_dir}.", flush=True)
    _tell_replaced(session.pool)
    if config.open_browser:
        webbrowser.open(address)
    try:
        server.run(sockets=[listening])
    finally:
        session.end()
        listening.close()


def _tell_replaced(pool: Pool) -> None:
    if replaced := pool.replaced():
        print(
            f"{len(replaced)} images were replaced since they were decided, such as "
            f"{pool.names[replaced[0]]}: their labels stand, and the page lists them.",
            flush=True,
        )


def _listening(config: LabelingOptions) -> socket.socket:
    """A socket at the port that is asked for, or at that of the last time.

    So a page that was open then keeps what it couldn't send at an address that is served again.
    """
    remembered = pathlib.Path(config.log_dir, _PORT)
    try:
        earlier = int(files.read_text(remembered)) if remembered.exists() else 0
    except (UsageError, ValueError):
        earlier = 0
    reason = ""
    for port in [config.port] if config.port else [earlier, 0]:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, port))
            listening.listen()  # whoever comes before the server is ready waits
        except (OSError, OverflowError) as error:
            listening.close()
            is_used = getattr(error, "errno", None) == errno.EADDRINUSE
            reason = "which is in use" if is_used else getattr(error, "strerror", str(error))
            continue
        files.write_text(remembered, f"{listening.getsockname()[1]}\n")
        return listening
    raise UsageError(
        f"Expected a free port, such as --port=0. Received: {config.flag('port')}, {reason}"
    )


def make_app(session: LabelingSession, token: str) -> "Starlette":
    """The page as an ASGI application.

    Args:
        session: what it shows.
        token: without which nothing is given or taken.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    desk = _Desk(session)

    def is_allowed(request: Any) -> bool:
        given = request.query_params.get("token") or request.headers.get("x-token", "")
        host = request.headers.get("host", "").rsplit(":", 1)[0]
        origin = request.headers.get("origin")
        own = (None, f"http://{request.headers.get('host')}")
        return (
            secrets.compare_digest(given.encode(), token.encode())
            # A foreign name that leads here, or another page in the same browser.
            and host in (_HOST, "localhost")
            and origin in own
            and request.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        )

    def guarded(answer: Any) -> Any:
        async def respond(request: Any) -> Response:
            if not is_allowed(request):
                sentence = "Expected the address that bin/guided_labeling printed, with its token."
                return Response(sentence, 403)
            if request.method == "POST" and not _is_small(request):
                return JSONResponse({"error": f"Expected at most {_LARGEST_BODY:,} bytes."}, 413)
            try:
                return await answer(request)
            except (UsageError, *_WRONG) as error:
                return JSONResponse({"error": str(error)}, 400)
            except OSError as error:
                return JSONResponse({"error": f"The disk is full or broken: {error}"}, 507)

        return respond

    async def page(request: Any) -> Response:
        text = (_PAGE / "page.html").read_text(encoding="utf-8")
        headers = {"content-security-policy": "default-src 'self'; frame-ancestors 'none'",
                   "referrer-policy": "no-referrer", "cache-control": "no-store"}  # fmt: skip
        text = text.replace("TOKEN", token).replace("POOL", session.pool.identity)
        return HTMLResponse(text, headers=headers)

    async def script(request: Any) -> Response:
        return FileResponse(_PAGE / "page.js")

    async def style(request: Any) -> Response:
        return FileResponse(_PAGE / "page.css")

    async def thumbnail(request: Any) -> Response:
        path = await run_in_threadpool(session.file_of, int(request.path_params["image"]))
        if path is None:
            return Response("This image can't be read.", 404)
        return FileResponse(path, headers={"cache-control": "private, max-age=86400, immutable"})

    async def images(request: Any) -> Response:
        asked = await request.json()
        held = [int(image) for image in asked["held"]]
        return JSONResponse(await desk.ask(_Images(str(asked["by"]), int(asked["count"]), held)))

    async def clicks(request: Any) -> Response:
        asked = await request.json()
        found = [
            Click(
                str(one["identity"]),
                one["kind"],
                str(asked["by"]),
                one.get("image"),
                one.get("label"),
            )
            for one in asked["clicks"][:_MOST_CLICKS]
        ]
        return JSONResponse(await desk.ask(found))

    async def state(request: Any) -> Response:
        found = await run_in_threadpool(session.state)
        return JSONResponse({**found, "classes": session.pool.classes})

    async def training(request: Any) -> Response:
        await run_in_threadpool(session.train)
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/", guarded(page)),
            Route("/page.js", guarded(script)),
            Route("/page.css", guarded(style)),
            Route("/thumbnails/{image}", guarded(thumbnail)),
            Route("/images", guarded(images), methods=["POST"]),
            Route("/clicks", guarded(clicks), methods=["POST"]),
            Route("/state", guarded(state)),
            Route("/training", guarded(training), methods=["POST"]),
        ]
    )


def _is_small(request: Any) -> bool:
    """Whether a request says that it isn't longer than any page's."""
    length = request.headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length[:20]) <= _LARGEST_BODY


class _Images(NamedTuple):
    """Further images that a tab asks for, see `LabelingSession.next_images`."""

    by: str
    wanted: int
    held: list[int]


# Clicks are to be recorded.
_Question = list[Click] | _Images


class _Desk:
    """Answers what comes at the same time together, in one thread.

    So the clicks of many tabs are one transaction: the disk is asked once for all of them, and each
    is acknowledged after that. And nobody waits for a lock that others get again and again.
    """

    def __init__(self, session: LabelingSession):
        self._session = session
        self._waiting: list[tuple[_Question, asyncio.Future]] = []
        self._task: asyncio.Task | None = None

    async def ask(self, question: _Question) -> Any:
        """The answer of the session; what it raises is raised here."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._task is None or self._task.done():
            # Of nobody's own: whoever asks first needn't stay until nobody asks any more.
            self._task = asyncio.create_task(self._answer_all())
        return await future

    async def _answer_all(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            answers = await asyncio.to_thread(self._answers, [question for question, _ in waiting])
            for (_, future), answer in zip(waiting, answers, strict=True):
                if future.cancelled():  # whoever asked is gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _answers(self, questions: list[_Question]) -> list[Any]:
        """What each question gives: an answer, or the exception that says why there is none."""
        clicks = [question for question in questions if not isinstance(question, _Images)]
        recorded = iter(self._recorded(clicks))
        return [
            _or_error(self._session.next_images, *question)
            if isinstance(question, _Images)
            else next(recorded)
            for question in questions
        ]

    def _recorded(self, clicks: list[list[Click]]) -> list[Any]:
        found = _or_error(self._session.record, [click for some in clicks for click in some])
        if isinstance(found, OSError):
            print(found, file=sys.stderr)
            return [found] * len(clicks)
        if isinstance(found, Exception):
            # One of them is wrong, in whatever way: each by itself, and whoever waits is answered.
            return [_or_error(self._session.record, some) for some in clicks]
        rest = iter(found)
        return [list(itertools.islice(rest, len(some))) for some in clicks]


def _or_error(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or the exception that it raises."""
    try:
        return function(*arguments)
    except Exception as error:
        return error
