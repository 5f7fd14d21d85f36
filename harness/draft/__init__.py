"""A first scenario, written from what a service says about itself, or from one example request."""

from harness.draft.document import Api, read_api
from harness.draft.operations import Given, drafted_requests
from harness.draft.requests import Drafted
from harness.draft.text import Draft, write_draft

__all__ = ["Api", "Draft", "Drafted", "Given", "drafted_requests", "read_api", "write_draft"]
