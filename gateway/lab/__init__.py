"""A WAN on one machine, for trying out gateways far apart: emulated lines between network namespaces."""
