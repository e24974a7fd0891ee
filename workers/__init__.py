"""One process per core: accepts its shard, dials, relays."""
