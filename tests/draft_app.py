"""A FastAPI service with one of everything that an openapi.json can ask for."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Form, Header, Query, UploadFile
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, Field

app = FastAPI(title="Odd & ends", version="0.3")


class Node(BaseModel):
    name: str
    children: list[Node] = []
    parent: Node | None = None


class Kind(Enum):
    YES = "yes"
    OTHER = "other"


class Work(BaseModel):
    text: str = Field(min_length=3, max_length=5)
    kind: Kind
    count: int = Field(ge=3, lt=10)
    threshold: float = Field(gt=0, le=1)
    tags: list[str] = Field(min_length=2)
    price: str = Field(examples=["$5 ${HOME} no"])
    maybe: int | None = None
    either: int | str
    mode: Literal["fast"]
    node: Node
    options: dict[str, Any] = {}


@app.post("/v1/work", summary="Work: it # all")
def work(asked: Work) -> bool:
    return asked.price == "$5 ${HOME} no" and asked.kind is Kind.YES


@app.post("/v1/tree")
def tree(node: Node) -> str:
    return node.name


@app.get("/v1/items/{item_id}")
def item(item_id: int, q: Annotated[str, Query(examples=["a b&c"])], limit: int = 3) -> str:
    return f"{item_id} {q} {limit}"


@app.delete("/v1/items/{item_id}")
def remove(item_id: int) -> int:
    raise AssertionError(f"nobody asked to delete {item_id}")


@app.post("/v1/upload")
def upload(image: UploadFile, lang: Annotated[str, Form()] = "en") -> int:
    return image.size or 0


@app.post("/v1/many")
def many(scans: list[UploadFile], confidence: Annotated[float, Form()] = 0.5) -> int:
    return len(scans)


@app.post("/v1/form")
def form(user: Annotated[str, Form()], count: Annotated[int, Form(ge=2)]) -> str:
    return user * count


@app.post("/v1/locked", dependencies=[Depends(HTTPBearer()), Depends(APIKeyHeader(name="X-Key"))])
def locked(anything: dict[str, Any]) -> int:
    return len(anything)


@app.get("/v1/tenant")
def tenant(x_tenant: Annotated[str, Header(examples=["acme"])]) -> str:
    return x_tenant


@app.get("/old", deprecated=True)
def old() -> int:
    return 1


@app.get("/health")
def health() -> int:
    return 1
