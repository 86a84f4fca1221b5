"""Stripe: its webhooks, its checkout, and charges without the payer."""
