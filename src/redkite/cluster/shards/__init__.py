"""Shards that are on other machines: how they are asked, and how they answer."""
