"""As many tokens as a draw from what is believed about acceptance says are worth drafting.

Source: the Thompson sampling controller of EESD: acceptance of each position is a Beta belief, a draw of it decides
whether drafting goes on. Differs: the belief at a position is about tokens whose predecessors all stood, and drafting
ends where the drawn chance that the whole draft stands falls below `worth`.
"""

from __future__ import annotations

from math import inf

import numpy as np

from orchestrator.engines.speculation.rows import Row

__all__ = ["Thompson"]


class Thompson:
    """Believes the same of all rows; draws are seeded.

    `memory` is how many observations a belief weighs at most, so that it follows a change.
    """

    def __init__(self, most: int, worth: float = 0.3, memory: float = 200.0, seed: int = 0) -> None:
        if not 0 <= worth <= 1:
            raise ValueError(f"worth = {worth} must be from 0 to 1")
        if not 2 <= memory < inf:  # a belief that saw nothing weighs 2
            raise ValueError(f"memory = {memory} must be at least 2, and finite")
        self.most = most
        self.worth = worth
        self.memory = memory
        self._stood = np.ones(most)
        self._fell = np.ones(most)
        self._random = np.random.default_rng(seed)

    def choose(self, row: Row, batch: int) -> int:
        """Return how many leading positions are worth it in this draw; at least one, or nothing would be learnt."""
        drawn = self._random.beta(self._stood, self._fell).cumprod()
        return max(1, int((drawn >= self.worth).sum()))

    def observe(self, row: Row, drafted: int, accepted: int) -> None:
        """Count what stood, and the one that fell."""
        self._stood[:accepted] += 1
        if accepted < drafted:
            self._fell[accepted] += 1
        weight = self._stood + self._fell
        fade = np.minimum(1.0, self.memory / weight)
        self._stood *= fade
        self._fell *= fade
