"""A document-reading API made of four real models: the service the scenarios stress."""
