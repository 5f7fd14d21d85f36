"""JUnit XML as another program reads it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import xmlschema
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase

SCHEMA = xmlschema.XMLSchema(Path(__file__).parent / "schema" / "junit.xsd")
WORDS = {Failure: "failure", Error: "error", Skipped: "skipped"}


def read(text: str) -> JUnitXml:
    """The document as junitparser sees it, once it obeys the schema."""
    SCHEMA.validate(text)
    return JUnitXml.fromstring(text.encode())


def cases(text: str) -> list[TestCase]:
    return [case for suite in read(text) for case in suite]


def outcomes(text: str) -> dict[str, str]:
    return {case.name: WORDS[type(case.result[0])] if case.result else "passed" for case in cases(text)}


def said(text: str, name: str) -> str:
    found = next(case for case in cases(text) if case.name == name)
    return f"{found.result[0].message}\n{found.result[0].text}"


def output(text: str, tag: str) -> str:
    SCHEMA.validate(text)
    return ET.fromstring(text).findtext(f"testsuite/{tag}") or ""  # noqa: S314 - our own text


def properties(text: str) -> dict[str, str]:
    return {each.name: each.value for suite in read(text) for each in suite.properties()}
