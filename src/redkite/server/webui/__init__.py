"""The page `/webui` of the metrics port: what a database holds and does, for people with a browser."""
