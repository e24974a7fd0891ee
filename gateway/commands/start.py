"""`gateway start`: settings from a file, the command line or neither, then the gateway itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.config import configuration
from gateway.config.settings import GatewaySettings
from gateway.exit_codes import ExitCode
from gateway.launch import launch
from gateway.upgrading.inheritance import tell_failure
from pools.net.endpoint import Endpoint
from pools.net.errors import ConfigurationError


def start(
    *,
    file: Path | None,
    listen: Endpoint | None,
    to: Endpoint | None,
    workers: int | None,
    runtime_dir: Path | None,
) -> ExitCode:
    """Run a gateway in the foreground.

    Args:
        file: its configuration; None for the embedded default.
        workers: instead of the configuration's; 0 for one on each core, None for what the configuration says.
        runtime_dir: instead of the configuration's.

    Raises:
        ConfigurationError: the configuration is wrong; nothing was bound.
    """
    given: dict[str, Any] = {} if workers is None else {"workers": workers or None}
    if runtime_dir is not None:
        given["runtime_dir"] = runtime_dir.absolute()
    if file is None:
        return launch(replace(configuration.default(listen=listen, to=to), **given))
    path = file.absolute()

    def read() -> GatewaySettings:
        return replace(configuration.load(path), **given)

    try:
        settings = read()
    except ConfigurationError as error:
        tell_failure(ExitCode.CONFIGURATION, str(error))
        raise
    return launch(settings, config=str(path), read=read)
