"""Format numbers for people, in the language in use; missing values become a dash."""

from __future__ import annotations

from clinadapt.core.errors import InputError
from clinadapt.core.language import language, localised

MISSING = "–"
_ABBREVIATIONS = {"f1", "roc", "auc", "mcc", "pr", "ppv", "npv", "ece"}


def score(value: float | None) -> str:
    """Format a score with three decimals."""
    return MISSING if value is None else localised(_minus(f"{value:.3f}"))


def decimals(value: float, digits: int = 2) -> str:
    """Format a number with that many decimals."""
    return localised(_minus(f"{value:.{digits}f}"))


def seconds(value: float | None) -> str:
    """Format a duration: "0.45 s", "12.3 s", "4 min 05 s", "2 h 13 min"."""
    if value is None:
        return MISSING
    if value < 0.005:
        return "0 s" if value == 0 else localised("< 0.01 s")
    if value < 59.95:
        return localised(f"{round(value, 2):.3g} s")
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(value / 60), 60)
    return localised(f"{hours:,} h {minutes:02d} min")


def size(value: float | None) -> str:
    """Format a number of bytes in a suitable decimal unit: "640 MB", "1.94 GB"."""
    units = ("o", "ko", "Mo", "Go", "To") if language() == "fr" else ("B", "kB", "MB", "GB", "TB")
    return MISSING if value is None else _scaled(value, units)


def energy(kwh: float | None) -> str:
    """Format kilowatt-hours in a suitable unit."""
    return MISSING if kwh is None else _scaled(1000 * kwh, ("Wh", "kWh", "MWh"))


def mass(kg: float | None) -> str:
    """Format kilograms in a suitable unit."""
    return MISSING if kg is None else _scaled(1000 * kg, ("g", "kg", "t"))


def parameters(value: float | None) -> str:
    """Format a number of parameters in thousands, millions or billions."""
    large = ("Md", "Bn") if language() == "fr" else ("bn", "trn")
    return MISSING if value is None else _scaled(value, ("", "k", "M", *large)).rstrip()


def count(value: float | None) -> str:
    """Format an integer with thousands separators."""
    return MISSING if value is None else localised(f"{value:,.0f}")


def estimate(value: int) -> str:
    """Format an estimated number to two digits: 1234 becomes "1,200"."""
    size = 10 ** max(0, len(str(value)) - 2)
    return localised(f"{round(value / size) * size:,}")


def rank(value: float | None) -> str:
    """Format a mean rank with one decimal."""
    return MISSING if value is None else localised(f"{value:.1f}")


def share(value: float | None) -> str:
    """Format a fraction as a percentage."""
    return MISSING if value is None else localised(f"{value:.1%}")


def percent(value: float) -> str:
    """Format a round fraction as a percentage, without a line's end before the sign: "95 %"."""
    return localised(f"{100 * value:g}") + "\u00a0%"


def points(value: float | None, decimals: int = 1) -> str:
    """Format a difference of scores in percentage points, with its sign."""
    return MISSING if value is None else localised(_minus(f"{100 * value:+.{decimals}f}"))


def p(value: float | None) -> str:
    """Format a p-value with three decimals."""
    if value is None:
        return MISSING
    return localised("< 0.001" if value < 0.001 else f"{value:.3f}")


def metric(name: str) -> str:
    """Format the name of a metric: ``f1_macro`` becomes "F1 macro"."""
    return " ".join(w.upper() if w in _ABBREVIATIONS else w for w in name.split("_"))


def _minus(number: str) -> str:
    """Write a number with a true minus sign, which is as wide as a plus."""
    return number.replace("-", "−")


def _scaled(value: float, units: tuple[str, ...]) -> str:
    unit, *larger = units
    for next_unit in larger:
        if value < 999.5:
            break
        value, unit = value / 1000, next_unit
    return localised(f"{value:.3g} ") + unit


UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(text: str) -> int:
    """Parse a size such as "2GB", "1.5 GiB" or "800MB" into bytes.

    Raises
    ------
    InputError
        The text is not a size.
    """
    cleaned = text.replace(" ", "").upper()
    for unit in sorted(UNITS, key=len, reverse=True):
        if cleaned.endswith(unit):
            try:
                value = float(cleaned.removesuffix(unit))
            except ValueError:
                break
            if value > 0:
                return int(value * UNITS[unit])
    raise InputError(f"expected a size such as 2GB, 800MB or 1.5GiB, got {text!r}")
