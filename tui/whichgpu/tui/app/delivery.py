"""What leaves the app as a file: exports, and the log of a crash."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from whichgpu.inspect.text import clean

if TYPE_CHECKING:
    from whichgpu.tui.app.application import WhichgpuApp


def deliver(app: WhichgpuApp, name: str, text: str) -> None:
    """Write a file into the working folder, under a name that is free; a browser downloads it instead."""
    safe = "".join(c if c.isalnum() or c in "-._" else "-" for c in name)
    if not app.local:
        app.deliver_text(StringIO(text), save_filename=safe)
        return
    for path in _names(Path.cwd() / safe):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
        except OSError as error:
            app.notify(f"{path.parent} takes no file: {error.strerror}", severity="error", markup=False)
            return
        app.notify(f"written: {clean(path)}", markup=False)
        return


def _names(path: Path) -> Iterator[Path]:
    yield path
    number = 1
    while True:
        number += 1
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def crash_sentence(error: BaseException | None) -> Text:
    """Keep the traceback of a defect in a log, and say where."""
    from whichgpu.tui.desk.paths import state_path

    log, kind = state_path().with_name("crash.log"), type(error).__name__
    where = "run it again with WHICHGPU_DEBUG=1"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)) if error is not None else "", encoding="utf-8")
        where = f"its log is {log}"
    except OSError:
        pass  # the sentence says how to see it otherwise
    return Text(
        f"whichgpu: error: The app did not expect this: {kind}: {clean(str(error), 300)}. That is a defect; {where}."
    )
