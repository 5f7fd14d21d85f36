"""A document-reading API made of four real models: the service the scenarios stress."""

import os

# onnxruntime's Linux wheels report usage from the moment they are imported, unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
