"""Stream AI answers from Flask as server-sent events that survive lost connections, resume and stop."""

from flask_aistream.core.cursor import Cursor
from flask_aistream.core.events import Data
from flask_aistream.core.events import File
from flask_aistream.core.events import Finished
from flask_aistream.core.events import Reasoning
from flask_aistream.core.events import SourceDocument
from flask_aistream.core.events import SourceUrl
from flask_aistream.core.events import StepFinished
from flask_aistream.core.events import StepStarted
from flask_aistream.core.events import ToolApproval
from flask_aistream.core.events import ToolCall
from flask_aistream.core.events import ToolError
from flask_aistream.core.events import ToolResult
from flask_aistream.core.events import Usage
from flask_aistream.core.request import ChatRequest
from flask_aistream.core.run import Run
from flask_aistream.errors import AccessDenied
from flask_aistream.errors import AIStreamError
from flask_aistream.errors import ProviderError
from flask_aistream.runs.ended import RunEnded
from flask_aistream.sse.frame import Frame
from flask_aistream.web.blueprint import AIStream
from flask_aistream.web.handle import RunHandle
from flask_aistream.web.signals import run_ended

__version__ = "0.1.0"

__all__ = [
    "AIStream",
    "AIStreamError",
    "AccessDenied",
    "ChatRequest",
    "Cursor",
    "Data",
    "File",
    "Finished",
    "Frame",
    "ProviderError",
    "Reasoning",
    "Run",
    "RunEnded",
    "RunHandle",
    "SourceDocument",
    "SourceUrl",
    "StepFinished",
    "StepStarted",
    "ToolApproval",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "Usage",
    "run_ended",
]
