"""When a sensor requests failed work again."""

from dataclasses import dataclass

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 6 * 3600.0


@dataclass(frozen=True)
class Attempts:
    """How often something was requested, and when last; plain values, for a cursor."""

    count: int = 0
    at: float = 0.0
    """Seconds since 1970."""

    @property
    def due_at(self) -> float:
        """When the next attempt is due: at once, then after a minute, two, four, and so on up to six hours."""
        return self.at + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self.count - 1)) if self.count else 0.0

    def due(self, now: float) -> bool:
        """Whether the next attempt is due."""
        return now >= self.due_at

    def capped(self, now: float) -> "Attempts":
        """As seen at this moment: if the clock was set back since, the pause begins now, and is no longer for it."""
        return Attempts(self.count, min(self.at, now))

    def again(self, now: float) -> "Attempts":
        """After one more attempt."""
        return Attempts(self.count + 1, now)
