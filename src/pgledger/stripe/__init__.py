"""Stripe: its webhooks, its checkout, and charges without the payer."""

from pgledger.stripe.checkout import (
    AsyncStripeCheckout,
    CheckoutRefusedError,
    CheckoutUnavailableError,
    StripeCheckout,
    TopUp,
)
from pgledger.stripe.provider import StripeProvider
from pgledger.stripe.translation import EVENT_TYPES, facts_of
from pgledger.stripe.webhook import AsyncStripeWebhook, StripeWebhook, WebhookRefusedError

__all__ = [
    "EVENT_TYPES",
    "AsyncStripeCheckout",
    "AsyncStripeWebhook",
    "CheckoutRefusedError",
    "CheckoutUnavailableError",
    "StripeCheckout",
    "StripeProvider",
    "StripeWebhook",
    "TopUp",
    "WebhookRefusedError",
    "facts_of",
]
