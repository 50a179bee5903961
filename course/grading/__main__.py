"""Grade a class's submissions of a problem set, each in a jail of its own.

    make grade PS=ps2_vae SUBMISSIONS=folder [JOBS=2] [PRIVATE_TESTS=folder] [UNSAFE=1]
        [ROSTER=class.csv] [DUE="2026-12-01 23:59"] [TIMES=times.csv] [LATE=zero]
        [EXPORT=moodle|canvas|gradescope] [ASSIGNMENT="title (id)"]

Leaves grading/ps2_vae/ with grades.csv, feedback/STUDENT.html and nbgrader's gradebook, in which the written
answers wait for a reader. Run it again to go on after an interruption, to grade what has come in since, or
to bring marks that a person gave into the table and the pages; what is graded already is not graded again,
but for a student who is named: ONLY=ada.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from course.grading import again, overrides
from course.grading.course import CannotGrade, Course
from course.grading.export import PLATFORMS, export
from course.grading.jail import NoJail, check_jail
from course.grading.late import POLICIES, read_time, set_times, tell_due
from course.grading.marks import publish, results
from course.grading.roster import BadTable, match, shared
from course.grading.run import grade_all, try_solution
from course.grading.similarity import write_similar
from course.grading.submissions import NoSubmissions, collect
from course.publish.build import ROOT, BuildError
from genlib.metrics import format_table


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("problem_set", help="its name: ps2_vae")
    parser.add_argument(
        "submissions", type=Path, help="a folder, or a zip from a learning platform"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--private-tests", type=Path, help="a folder with tests of your own")
    parser.add_argument("--only", help="the one student to grade anew; other rows stay")
    parser.add_argument("--seconds", type=float, help="a submission may run, on a slow machine")
    parser.add_argument("--out", type=Path, default=ROOT / "grading", help="where grades go")
    parser.add_argument("--unsafe", action="store_true", help="run strangers' code without a jail")
    parser.add_argument("--roster", type=Path, help="a table: student, id, email, group")
    parser.add_argument("--due", help="until when to hand in, 2026-12-01 23:59, local time")
    parser.add_argument("--times", type=Path, help="a table: student, time")
    parser.add_argument("--late", default="none", help=f"what late work costs: {POLICIES}")
    parser.add_argument("--export", help=f"grades for a platform: {PLATFORMS}")
    parser.add_argument("--assignment", default="", help='as Canvas calls it: "title (id)"')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    # nbgrader calls one of its helpers by its bare name
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    out = args.out.resolve() / args.problem_set
    try:
        if args.jobs < 1:
            raise CannotGrade(f"JOBS={args.jobs}: at least one.")
        if args.late not in POLICIES:
            raise CannotGrade(f"LATE={args.late}: it may be {' or '.join(POLICIES)}.")
        if args.export not in (None, *PLATFORMS):
            raise CannotGrade(f"EXPORT={args.export}: it may be {', '.join(PLATFORMS)}.")
        due = read_time(args.due, "DUE") if args.due else None
        if args.unsafe:
            print("UNSAFE: the submissions run without a jail, with all that you may do.")
        else:
            check_jail()
        everybody = collect(args.submissions, args.problem_set)
        messages = set_times(everybody, due, args.times, args.submissions, args.late)
        everybody, roster = match(everybody, args.roster)
        course = Course(
            args.problem_set, out, not args.unsafe, args.private_tests, args.seconds, due, args.late
        )
        one = again.only_one(everybody, args.only) if args.only else None
        known = {x.stem for x in (out / "results").glob("*.json")} | {x.student for x in everybody}
        most = {name: task.max_points for name, task in course.graders.tasks.items()}
        changed = overrides.read_overrides(out / "overrides.csv", most, known)
        course.prepare()
        overrides.template(out / "overrides.csv")
        messages += tell_due(course) + roster.messages
        try_solution(course)
        grade_all(course, [one] if one else everybody, args.jobs, anew=one is not None)
    except (BadTable, CannotGrade, NoJail, NoSubmissions, BuildError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on where this one stopped.", file=sys.stderr)
        return 130
    made = results(course, again.beside(course, everybody, one) if one else everybody)
    overrides.apply(changed, made)
    pairs = write_similar(course, [x.student for x in made])
    made = shared(made, roster)
    publish(course, made)
    left = [] if one else again.put_aside(out / "feedback", [x.student for x in made])
    rows = {
        x.student: {
            "points": f"{x.points:g} of {x.max_points:g}",
            "status": x.status,
            **({"late": x.late or "-"} if any(y.late for y in made) else {}),
            "to read": x.waiting,
            "look at": len(x.flags),
            "seconds": f"{x.seconds:.1f}",
        }
        for x in made
    }
    print(format_table(rows))
    short = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    print(f"\nGrades: {short / 'grades.csv'}\nPages:  {short / 'feedback'}/STUDENT.html")
    if pairs:
        print(f"Read alike, for you to judge: {pairs} pairs in {short / 'similar.csv'}")
    if left:
        print(f"No longer here: {', '.join(left)}; their pages are in {short / 'feedback'}/left/.")
    if any(x.waiting for x in made):
        print(
            f"Written answers wait for a reader: make marks PS={args.problem_set}, then this again."
        )
    if args.export:
        times = {x.student: x.time for x in everybody}
        folder = short / "export"
        messages += export(
            args.export, folder, args.problem_set, made, roster.people, times, args.assignment
        )
    for line in messages:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
