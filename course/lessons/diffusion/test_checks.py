"""What no table of this lesson's checks knows: right answers in other styles, and wrong ones with their words."""

from course.checking.suite import Bank, StepsOfALesson

bank = Bank("diffusion")


class TestSteps(StepsOfALesson):
    bank = bank
