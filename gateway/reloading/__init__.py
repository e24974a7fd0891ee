"""One configuration takes the place of another while the gateway runs."""
