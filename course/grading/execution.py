"""Run a submission's notebook within limits, and judge what its test cells hand in.

A notebook without an error in a test cell gets full points from nbgrader, whatever the reason. So here
points need proof: a test cell counts for nothing unless an answer came out of it that the grader, in this
process and not in the student's, finds right.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from course.assignments import ProblemSet, Task, Verdict, grade
from course.checking.questions import MAX_BYTES, MIME, Question, unpack
from course.grading.jail import Limits, Watch

STOPPED = "Stopped"  # the name of an error that is the grader's and not the student's
CUT = "\n... cut: a cell may print {:,} bytes ..."


@dataclass
class Grading:
    """What is asked of one submission, and what becomes of it.

    Args:
        graders: of the problem set.
        private: a lecturer's own tasks, by the name of the public task whose points they can cost.
        variant: the constants of the notebook.
        limits: what it may use.
        seed: of the questions, which are nobody else's.

    Attributes:
        status: "graded", or what ended it.
        flags: what a person should look at.
        verdicts: by task.
    """

    graders: ProblemSet
    private: Mapping[str, Task]
    variant: Mapping[str, Any]
    limits: Limits
    seed: int
    status: str = "graded"
    flags: list[str] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.questions = self.ask(self.graders.tasks)
        self.private_questions = self.ask(self.private)

    def ask(self, tasks: Mapping[str, Task]) -> dict[str, list[Question]]:
        generator = torch.Generator().manual_seed(self.seed)
        return {name: [*task.questions(generator, self.variant)] for name, task in tasks.items()}

    def inputs(self) -> dict[str, tuple[list[Question], int]]:
        """What `hand_in` finds in the jail: for each task its questions and a seed."""
        return {
            name: (asked + self.private_questions.get(name, []), self.seed)
            for name, asked in self.questions.items()
        }

    def flag(self, words: str) -> None:
        if words not in self.flags:
            self.flags.append(words)

    def judge(self, name: str, packed: Any) -> Verdict:
        """The verdict on an answer as it came out of the kernel."""
        task, asked = self.graders.tasks[name], self.questions[name]
        try:
            outcomes, flags = unpack(packed)
        except ValueError as error:
            self.flag(f"{name}: {error}")
            return Verdict(0, task.max_points, [f"{error}."])
        for words in flags:
            self.flag(words)
        verdict = grade(task, name, asked, outcomes[: len(asked)], self.variant)
        if name not in self.private:
            return verdict
        asked, outcomes = self.private_questions[name], outcomes[len(asked) :]
        more = grade(self.private[name], name, asked, outcomes, self.variant)
        points = max(0.0, verdict.points - (more.max_points - more.points))
        return Verdict(points, verdict.max_points, [*verdict.messages, *more.messages])


class Submission(NotebookClient):
    """Executes one notebook; whatever it does, `execute` comes back within the limits.

    Args:
        nb: the notebook to grade, with the graders' own test cells.
        grading: what is asked of it.
        sockets: the folder it talks through.
    """

    def __init__(self, nb: NotebookNode, grading: Grading, sockets, **options):
        super().__init__(
            nb,
            allow_errors=True,
            interrupt_on_timeout=True,
            # a reply of its own lets the next cells run after an interrupted one
            error_on_timeout={"ename": STOPPED, "evalue": "", "traceback": []},
            iopub_timeout=10,
            startup_timeout=120,
            raise_on_iopub_timeout=True,
            record_timing=False,
            store_widget_state=False,
            # its search for carriage returns takes a minute for a line of 200,000 characters
            coalesce_streams=False,
            **options,
        )
        self.grading, self.sockets, self.limits = grading, sockets, grading.limits
        self.ended: str | None = None
        self.watch: Watch | None = None
        self.started = time.monotonic()
        self.printed = self.shown = self.answers = 0

    async def async_start_new_kernel_client(self):
        # waits for the kernel; the watch must be there before the first line of strangers' code
        self.watch = Watch(self.km.provisioner.pid, self.sockets, self.limits)
        self.watch.start()
        client = await super().async_start_new_kernel_client()
        self.started = time.monotonic()  # the start of Python is not the student's time
        return client

    async def _async_cleanup_kernel(self):
        if self.watch is not None:
            self.watch.end()  # nothing inside is worth a polite good-bye
            self.watch.stop()
        await super()._async_cleanup_kernel()

    def end(self, status: str, words: str) -> None:
        """No cell runs any more."""
        self.ended = words
        self.grading.status = status
        if self.watch is not None:
            self.watch.end()

    async def async_execute_cell(self, cell, cell_index, execution_count=None, store_history=True):
        if cell.cell_type != "code":
            return cell
        cell.outputs, cell.execution_count = [], None
        self.printed = self.shown = self.answers = 0
        left = self.limits.seconds - (time.monotonic() - self.started)
        if self.ended is None and left <= 0:
            self.end("time limit", f"the notebook ran for more than {self.limits.seconds:g} s")
        if self.ended is None:
            self.timeout = max(1, int(min(left, self.limits.cell_seconds)))
            try:
                await super().async_execute_cell(cell, cell_index, execution_count, store_history)
            except DeadKernelError:
                words = self.watch.reason if self.watch is not None else None
                status = "limit" if words else "kernel died"
                self.end(status, words or "the code ended its own Python process")
                cell.outputs.append(stopped(self.ended))
            except CellTimeoutError:
                self.end("time limit", "a cell could not be interrupted")
                cell.outputs.append(stopped(self.ended))
            except (asyncio.CancelledError, KeyboardInterrupt):
                raise
            except Exception as error:  # a kernel in strangers' hands can send anything
                self.end(
                    "kernel died", f"the kernel sent what cannot be read ({type(error).__name__})"
                )
                cell.outputs.append(stopped(self.ended))
        else:
            cell.outputs.append(stopped(self.ended))
        if is_test(cell):
            self.judge(cell, cell.metadata.nbgrader.grade_id)
        return cell

    async def _async_handle_timeout(self, timeout, cell=None):
        self.grading.status = "time limit"
        self.grading.flag(f"a cell ran into its limit of {timeout:g} s")
        reply = await super()._async_handle_timeout(timeout, cell)
        words = f"a cell may take {timeout:g} s: this one was interrupted"
        reply["content"]["evalue"] = words
        cell.outputs.append(stopped(words))
        return reply

    def process_message(self, msg, cell, cell_index):
        """Drop what a cell prints beyond its limit; an answer may be larger."""
        content = msg["content"]
        if msg["msg_type"] in (
            "stream",
            "display_data",
            "execute_result",
            "error",
            "update_display_data",
        ):
            data = content.get("data", {})
            answers = MIME in data and is_test(cell)
            if answers:  # the first counts, and the second shows that there were more
                self.answers += 1
                if self.answers > 2 or len(str(data[MIME])) > 2 * MAX_BYTES:
                    return None
                content["data"], content["metadata"] = {MIME: data[MIME]}, {}
            elif "image/png" in data:
                # figures of honest answers are larger than any text
                content["data"] = {k: data[k] for k in ("image/png", "text/plain") if k in data}
                self.shown += len(str(data["image/png"]))
                if self.shown > self.limits.pictures:
                    self.grading.flag(f"a cell shows more than {self.limits.pictures:,} bytes")
                    return None
                data = {"text/plain": data.get("text/plain", "")}
            size = 0 if answers else len(str({**content, "data": data}))
            self.printed += size
            if self.printed > self.limits.output:
                if size and not cell.metadata.get("cut"):
                    cell.metadata["cut"] = True
                    text = str(content.get("text", ""))[: self.limits.output]
                    text += CUT.format(self.limits.output)
                    cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text=text))
                    self.grading.flag(f"a cell prints more than {self.limits.output:,} bytes")
                return None
        return super().process_message(msg, cell, cell_index)

    def judge(self, cell: NotebookNode, name: str) -> None:
        """Put the verdict in the place of what a test cell printed."""
        answers = [x.data[MIME] for x in cell.outputs if MIME in x.get("data", {})]
        errors = [x for x in cell.outputs if x.output_type == "error"]
        max_points = self.grading.graders.tasks[name].max_points
        if answers:
            if len(answers) > 1:
                self.grading.flag(f"{name}: more than one answer came out of its test cell")
            verdict = self.grading.judge(name, answers[0])
        elif errors:
            # an interrupted cell has an error of its own beside ours
            error = next((x for x in errors if x.ename == STOPPED), errors[0])
            words = str(error.evalue)[:300]
            if error.ename != STOPPED:
                words = f"the cell stops with {str(error.ename)[:60]}: {words}"
            verdict = Verdict(0, max_points, [f"no answer: {words}."])
        else:
            self.grading.flag(f"{name}: its test cell ran and handed nothing in")
            verdict = Verdict(0, max_points, ["no answer came out of the test cell."])
        self.grading.verdicts[name] = verdict
        # nbgrader reads the points from a result, 0 included
        points = f"{verdict.points:g}"
        cell.outputs = [
            nbformat.v4.new_output("stream", name="stdout", text=f"{verdict}\n"),
            nbformat.v4.new_output(
                "execute_result", data={"text/plain": points}, execution_count=1
            ),
        ]


def is_test(cell: NotebookNode) -> bool:
    """Whether a cell is one of the graders' own: answers come out of no other."""
    about = cell.metadata.get("nbgrader", {})
    return bool(about.get("grade") and not about.get("solution"))


def stopped(words: str | None) -> NotebookNode:
    """The output of a cell that did not run to its end."""
    return nbformat.v4.new_output(
        "error", ename=STOPPED, evalue=f"{words}", traceback=[f"{STOPPED}: {words}"]
    )
