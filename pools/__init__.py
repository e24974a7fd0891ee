"""Legs between gateways, kept ready: the wire and the decisions of the pools, on the ground floor `pools.net`."""
