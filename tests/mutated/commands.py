"""Wrong lines in what runs a command, and in what it is called with."""

from __future__ import annotations

from mutated.mutation import Mutation

WORDS = "tests/engine/test_command_template.py"
RUN = "tests/engine/test_command.py"
SPACE = "tests/test_space_command.py"

MUTATIONS = [
    Mutation("engine/command_template.py", "else repr(value)", "else f'{value:g}'", WORDS),
    Mutation("engine/command_template.py", "option = word.is_option", "option = True", WORDS),
    Mutation(
        "engine/command_template.py",
        'made.append("".join(_filled(word, given)))',
        'made.extend("".join(_filled(word, given)).split())',
        WORDS,
    ),
    Mutation("engine/command_template.py", 'r"-\\w*c", text', 'r"-c", text', WORDS),
    Mutation("engine/command_template.py", "not in template.words[:index]", "is None", WORDS),
    Mutation("engine/command_process.py", "None if process is None else process.pid", "None", RUN),
    Mutation(
        "engine/command_process.py",
        "end(process.pid, session=not ended)",
        "ended or end(process.pid, session=False)",
        RUN,
    ),
    Mutation(
        "engine/command_process.py",
        "if ended and not reader.closed:",
        "if False:",
        RUN,
    ),
    Mutation("engine/command_process.py", "self.both.take(chunk)", "pass", RUN),
    Mutation("engine/command_result.py", "if ran.code > 0:", "if ran.code > 1:", RUN),
    Mutation("engine/command_result.py", "_last(ran.stderr) or ", "", RUN),
    Mutation(
        "engine/command_result.py",
        "if not ran.whole and",
        "if False and",
        RUN,
    ),
    Mutation("engine/sent_files.py", "(root / path).read_bytes() == content", "True", RUN),
    Mutation("engine/command.py", "(rank[seed], seed)", "seed", RUN),
    Mutation("space_command.py", "form.success is not None or metric is None", "True", SPACE),
]
