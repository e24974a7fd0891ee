"""One supervisor takes the place of another, of newly installed code, while the gateway runs."""
