"""Answers to the exercises of graphs.md."""

from .chapter import Chapter

chapter = Chapter("graphs")

chapter.instead(
    1, "schedule not wound back", "stands at step 11", "    schedule.load_state_dict(state)\n", ""
)

chapter.instead(2, "one pixel", "loads(1, 1)", "pt - 1 + 5", "pt - 1")
chapter.instead(2, "the most loads", "fewer loads", "min(tiles", "max(tiles")

chapter.instead(3, "a float too few", "out of 1 blocks", "block = 0;", "block = 1;")
