"""Which running gateway a command means."""

from pathlib import Path

from gateway import config
from gateway.surroundings import Surroundings


def runtime_dir_of(runtime_dir: Path | None, file: Path | None) -> Path:
    """Give the runtime directory that the command line names, by itself, by a configuration file, or by neither.

    Raises:
        ConfigurationError: the file is wrong.
    """
    if runtime_dir is not None:
        return runtime_dir.absolute()
    if file is not None:
        return config.load(file).runtime_dir
    return Surroundings.read().runtime_dir
