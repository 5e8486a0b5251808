"""Every failure whichgpu expects, as one tree.

    WhichgpuError                 base: one sentence for the user, and what to do next
      UsageError                  the question itself is wrong (exit 2)
        MissingExtraError         it needs an extra that is not installed (exit 2)
      SourceError                 the model could not be read
        NetworkError              the Hub or mirror did not answer properly (exit 3)
          OfflineError            the network is switched off and nothing local knows the model
        NotFoundError             no such repository, revision, folder or file (exit 4)
        AccessError               gated, private or a token that is not accepted (exit 5)
        UnreadableError           it is there, but it is not a model whichgpu can read (exit 6)

Foreign exceptions are translated where they enter: huggingface_hub's in ``sources/hub.py``, the file
system's in ``sources/local.py``, gguf's in ``gguf_file.py``. Other rooms add their own branches.
"""

from __future__ import annotations


class WhichgpuError(Exception):
    """A failure with one sentence for the user and the next step to take."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(WhichgpuError):
    """The question is malformed: a bad model reference, an unknown option value."""


_PUBLISHED = False
"""Whether PyPI has the package: until then nothing that we print installs it by its name."""


def install_line(extra: str) -> str:
    """Return the command that installs an extra today."""
    if _PUBLISHED:
        return f"pip install 'whichgpu[{extra}]'"
    return f"In a checkout: pip install '.[{extra}]'"


class MissingExtraError(UsageError):
    """What is asked needs a library of an extra that is not installed."""

    def __init__(self, library: str, extra: str, otherwise: str = "") -> None:
        super().__init__(f"{library} is not installed.", f"{install_line(extra)}{otherwise}")


class SourceError(WhichgpuError):
    """The model could not be read."""


class NetworkError(SourceError):
    """The Hub, a mirror or a proxy did not give a proper answer."""


class OfflineError(NetworkError):
    """The network is switched off, and nothing on this machine knows the model."""


class NotFoundError(SourceError):
    """No such repository, revision, folder or file."""


class AccessError(SourceError):
    """The repository is gated or private, or the token is not accepted."""


class UnreadableError(SourceError):
    """Something is there, but it is not a model that whichgpu can read."""
