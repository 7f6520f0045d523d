"""The addresses of the service."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from y12.runtime.cli.common import say
from y12.runtime.results.tensors import outputs_of
from y12.serve import detect, kserve
from y12.serve.bodies import ClosingResponse, was_read
from y12.serve.metrics import CONTENT_TYPE
from y12.serve.page.router import page_router
from y12.serve.refusals import Reason, Refusal
from y12.serve.service import Service
from y12.text import shown, visible

__all__ = ["make_app"]

_READ_ANYWAY = 1 << 20  # bytes of a body that is refused unread, and for which the connection is kept
_NO_CLIENT = 499  # as proxies log it; nobody reads it
_COUNTED = {"/detect": "detect", "/metrics": "metrics"}
_WITH_IMAGES = ("detect", "infer")


def make_app(service: Service) -> ASGIApp:
    """Return the service's addresses, counted."""
    app = FastAPI(title=f"y12: {service.name}", docs_url=None, redoc_url=None)
    for add in (_add_health, _add_metadata, _add_infer, _add_detect, _add_metrics):
        add(app, service)
    app.include_router(page_router(service))
    _add_refusals(app, service)
    return _Counted(app, service)


def _add_health(app: FastAPI, service: Service) -> None:
    def answered() -> Response:
        problem = service.problem
        return Response() if problem is None else JSONResponse({"error": problem}, 503)

    @app.get("/v2/health/live")
    async def live() -> Response:
        """Whether the process is of use; 503 where its network failed and a new process would help."""
        return answered()

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        """Whether the network runs."""
        return answered()

    @app.get("/v2/models/{model}/ready")
    @app.get("/v2/models/{model}/versions/{version}/ready")
    async def model_ready(model: str, version: str = kserve.VERSION) -> Response:
        """Whether the network runs."""
        _check_model(service, model, version)
        return answered()


def _add_metadata(app: FastAPI, service: Service) -> None:
    server = kserve.server_metadata()
    outputs = outputs_of(service.manifest.task, service.manifest.kpt_shape)
    model_metadata = kserve.metadata_of(service.name, service.manifest, outputs)

    @app.get("/v2")
    async def server_metadata() -> Response:
        """What the server is."""
        return JSONResponse(server)

    @app.get("/v2/models/{model}")
    @app.get("/v2/models/{model}/versions/{version}")
    async def metadata(model: str, version: str = kserve.VERSION) -> Response:
        """What the model takes and gives."""
        _check_model(service, model, version)
        return JSONResponse(model_metadata)


def _add_infer(app: FastAPI, service: Service) -> None:
    outputs = outputs_of(service.manifest.task, service.manifest.kpt_shape)

    @app.post("/v2/models/{model}/infer")
    @app.post("/v2/models/{model}/versions/{version}/infer")
    async def infer(request: Request, model: str, version: str = kserve.VERSION) -> Response:
        """Find objects: the Open Inference Protocol, with its binary extension."""
        _check_model(service, model, version)
        async with service.bodies.read(request) as body:
            asked = kserve.request_from(body, request.headers.get(kserve.HEADER), outputs)
            options = service.options_of(asked.asked)
            rows = await service.answers(
                request, asked.sources, options, lambda found: kserve.row_of(found.detections, asked.outputs)
            )
        content, json_bytes = kserve.answer_from(service.name, asked, rows)
        if json_bytes is None:
            return Response(content, media_type="application/json")
        headers = {kserve.HEADER: str(json_bytes)}
        return Response(content, headers=headers, media_type="application/octet-stream")


def _add_detect(app: FastAPI, service: Service) -> None:
    @app.post("/detect")
    async def detect_(request: Request) -> Response:
        """Find objects in the image that is the body, or a form's file; JSON, or with ?picture=1 the picture."""
        asked = detect.request_from(request.query_params, request.headers.get("accept", ""), service.manifest)
        options = service.options_of(asked.asked)
        async with service.bodies.read(request) as body:
            upload = await detect.upload_from(request.headers, body)
            finish = detect.finish_of(asked, upload.name)
            (content,) = await service.answers(request, [upload.content], options, finish, in_full=asked.picture)
        return Response(content, media_type=detect.JPEG if asked.picture else detect.JSON)


def _add_metrics(app: FastAPI, service: Service) -> None:
    @app.get("/metrics")
    async def metrics() -> Response:
        """What was counted and timed, for Prometheus."""
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _check_model(service: Service, model: str, version: str) -> None:
    if model != service.name:
        raise HTTPException(404, f"expected the model {shown(service.name)}, found {shown(model)}")
    if version != kserve.VERSION:
        raise HTTPException(404, f"expected the version {kserve.VERSION} of the model, found {shown(version)}")


def _add_refusals(app: FastAPI, service: Service) -> None:
    """Answer whatever is refused as the protocol wants it: {"error": ...}."""

    async def refused(request: Request, error: Refusal) -> Response:
        return _refusal_of(error, request, service)

    async def of_http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        answer = ClosingResponse if _is_long(request) and not was_read(request) else JSONResponse
        detail = str(error.detail)
        if detail == "Not Found":
            detail = f"expected /, /detect, /metrics or /v2/..., found {shown(request.url.path)}"
        return answer({"error": visible(detail)}, error.status_code, headers)

    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_NO_CLIENT)

    async def unexpected(request: Request, error: Exception) -> Response:
        say(f"error: a request could not be answered: {type(error).__name__} {error}")
        service.metrics.refusal(Reason.UNEXPECTED)
        return JSONResponse({"error": f"y12 did not expect {type(error).__name__}: the log says more"}, 500)

    handlers: dict[type[Exception], Callable[..., Awaitable[Response]]] = {
        Refusal: refused,
        HTTPException: of_http,
        ClientDisconnect: left,
        Exception: unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _refusal_of(error: Refusal, request: Request, service: Service) -> Response:
    """Return the answer to what is refused, and count it."""
    service.metrics.refusal(error.reason)
    headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
    unread = error.is_unread or (not was_read(request) and _is_long(request))
    answer = ClosingResponse if unread else JSONResponse
    return answer({"error": str(error)}, error.status, headers)


def _is_long(request: Request) -> bool:
    """Return whether a body was announced that is too long to be thrown away, or of no known length."""
    said = request.headers.get("content-length", "0")
    return "transfer-encoding" in request.headers or not (
        said.isdecimal() and len(said) < 15 and int(said) <= _READ_ANYWAY
    )


class _Counted:
    """The addresses, each answer counted by its kind and status; what has no room goes no further than here.

    Under a load that is many times too high nearly all requests are refused: that has to cost little.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._metrics = app, service, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        endpoint = _COUNTED.get(path) or ("infer" if path.endswith("/infer") else "other")

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.request(endpoint, message["status"])
            await send(message)

        if endpoint in _WITH_IMAGES and scope["method"] == "POST":
            try:
                self._service.check_room()
            except Refusal as refusal:
                await _refusal_of(refusal, Request(scope), self._service)(scope, receive, counted)
                return
        await self._app(scope, receive, counted)
