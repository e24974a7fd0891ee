"""Which running gateway a command means.

What judges a configuration takes long to load, so it is loaded for those who name a file.
"""

from pathlib import Path

from gateway.config.surroundings import Surroundings
from pools.net.errors import ConfigurationError


def runtime_dir_of(runtime_dir: Path | None, file: Path | None) -> Path:
    """Give the runtime directory that the command line names, by itself, by a configuration file, or by neither.

    Raises:
        ConfigurationError: the file is wrong.
    """
    if runtime_dir is not None:
        return runtime_dir.absolute()
    if file is not None:
        from gateway.config import configuration

        return configuration.load(file).runtime_dir
    return Surroundings.read().runtime_dir


def runtime_dir_to_reload(runtime_dir: Path | None, file: Path | None) -> Path:
    """Give the same for a file that may be wrong: the gateway is to be told of that, and to say so.

    Raises:
        ConfigurationError: nobody can tell from the file which gateway is meant.
    """
    try:
        return runtime_dir_of(runtime_dir, file)
    except ConfigurationError:
        from gateway.config.files import read_tables

        assert file is not None
        named = read_tables(file).get("gateway", {})
        found = named.get("runtime_dir") if isinstance(named, dict) else None
        return Path(found) if isinstance(found, str) and found else Surroundings.read().runtime_dir
