"""Shipped to connector authors: simulators that serve and fail on demand, and contexts that run connectors on them."""
