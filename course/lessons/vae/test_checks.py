from course.checking.suite import Bank, StepsOfALesson

bank = Bank("vae")


class TestSteps(StepsOfALesson):
    bank = bank
