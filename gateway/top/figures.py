"""How numbers of the live view are written: few characters, and always about as many, so that columns stand still."""


def megabits(bytes_per_s: float) -> str:
    """Write a throughput in Mbit/s: 0, <.01, 0.31, 9.99, 12.3, 941."""
    value = bytes_per_s * 8 / 1e6
    if value < 0.01:
        return "<.01" if value > 0 else "0"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def each_second(rate: float) -> str:
    """Write how often something happens in a second: 0, <.1, 0.4, 9.5, 210, 12k."""
    if rate < 0.05:
        return "<.1" if rate > 0 else "0"
    if rate < 9_999.5:
        return f"{rate:.1f}" if rate < 9.95 else f"{rate:.0f}"
    return f"{rate / 1000:.0f}k"


def share(part: float) -> str:
    """Write a part of 1 as a percentage, so that only all is 100 %."""
    return "100%" if part == 1 else f"{min(part * 100, 99.9):.1f}%"


def clipped(text: str, width: int, more: str) -> str:
    """Shorten `text` to `width` characters, `more` being the last of them."""
    return text if len(text) <= width else text[: max(0, width - len(more))] + more[:width]
