"""The configuration of a gateway: read, judged key by key and together, and frozen."""
