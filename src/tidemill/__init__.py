"""Scheduled syncs for multi-tenant products, inside your own Postgres."""
