"""A ready-made endpoint for a provider's webhooks: an ASGI application of Starlette."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pgledger.stripe.webhook import LARGEST_BODY, AsyncStripeWebhook, StripeWebhook, too_large


def webhook_app(webhook: StripeWebhook | AsyncStripeWebhook) -> Starlette:
    """Return an application that takes the provider's events at ``/``, by POST.

    It answers as ``webhook.respond`` says. A webhook on a sync ledger runs in the thread pool. Give
    it to a server as it is, or mount it; Stripe follows no redirect, so that the URL of a mounted
    one ends in a slash. To have it at a path without one, use webhook_endpoint().
    """
    return Starlette(routes=[Route("/", webhook_endpoint(webhook), methods=["POST"])])


def webhook_endpoint(
    webhook: StripeWebhook | AsyncStripeWebhook,
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of webhook_app() for a route of an application of your own."""

    async def endpoint(request: Request) -> Response:
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            status, answer = too_large()
        else:
            signature = request.headers.get("stripe-signature")
            if isinstance(webhook, AsyncStripeWebhook):
                status, answer = await webhook.respond(body, signature)
            else:
                status, answer = await run_in_threadpool(webhook.respond, body, signature)
        return JSONResponse(answer, status)

    return endpoint


async def _body(request: Request) -> bytes | None:
    """Read the body, and no more of it than is taken."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)
