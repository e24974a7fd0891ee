"""How a client says where it wants to go. Parsers without I/O, one module a protocol."""
