"""Members that give up, leave, have gone or fail: nobody else is harmed, and what they had stays with them."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from batch_support import Service, batch_spans, ms, of_trace, requests, waits
from instrument_support import attributes, memory_provider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness.instrument import Batcher, pipeline
from harness.instrument.marks import innermost


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    provider, exporter = memory_provider()
    monkeypatch.setattr(pipeline, "provider", lambda: provider)
    return exporter


def test_a_member_that_gives_up_waits_no_longer(exporter: InMemorySpanExporter) -> None:
    async def scene() -> list[Any]:
        service = Service(size=8, window_s=0.12, run_s=0.01)

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(service.predict(1), 0.03)
            await asyncio.sleep(0.15)  # its batch runs meanwhile, without it

        return await service.serve(impatient, lambda: service.predict(2))

    answers = asyncio.run(scene())
    first, second = of_trace(exporter, 1), of_trace(exporter, 2)

    assert [answer.status for answer in answers] == [200, 200]
    assert 25 <= sum(ms(span) for span in first if span.name == "batcher") < 100
    assert "inference" not in {span.name for span in first}
    (inference,) = [span for span in second if span.name == "inference"]
    assert attributes(inference)["harness.batch_size"] == 2  # it was in the batch all the same
    assert len(batch_spans(exporter)[0].links) == 2


def test_a_member_that_leaves_during_the_run_is_charged_until_then(exporter: InMemorySpanExporter) -> None:
    async def scene() -> None:
        service = Service(size=1, window_s=0, run_s=0.12)

        async def impatient() -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(service.predict(1), 0.05)

        await service.serve(impatient)

    asyncio.run(scene())
    (inference,) = [span for span in of_trace(exporter, 1) if span.name == "inference"]

    assert 20 <= ms(inference) < 100


def test_members_whose_request_is_over_harm_nobody(exporter: InMemorySpanExporter) -> None:
    batcher, tickets = Batcher(), []

    async def forgets() -> None:
        tickets.append(batcher.join())

    asyncio.run(requests(forgets))
    outside = batcher.join()
    with batcher.run([*tickets, outside, None, *tickets], model="det"):
        pass
    outside.leave()
    (batch,) = batch_spans(exporter)

    assert [span.name for span in of_trace(exporter, 1)][-1] == "GET HTTP"
    assert "inference" not in {span.name for span in of_trace(exporter, 1)}
    assert attributes(batch)["harness.batch_size"] == 4


def test_a_batch_of_strangers_leaves_no_span(exporter: InMemorySpanExporter) -> None:
    batcher = Batcher()
    with batcher.run([batcher.join(), None]):
        pass
    with batcher.run([]):
        pass

    assert exporter.get_finished_spans() == ()


def test_a_batch_that_fails_is_an_error_of_every_member_and_may_be_tried_again(
    exporter: InMemorySpanExporter,
) -> None:
    async def work() -> None:
        batcher = Batcher()
        with batcher.join() as ticket:
            with pytest.raises(MemoryError), batcher.run([ticket]):
                raise MemoryError
            await asyncio.sleep(0.02)
            with batcher.run([ticket]):
                await asyncio.sleep(0.01)

    asyncio.run(requests(work))
    failed, again = [span for span in of_trace(exporter, 1) if span.name == "inference"]

    assert attributes(failed)["error.type"] == "MemoryError"
    assert again.status.is_ok or again.status.is_unset
    assert [batch.status.is_ok or batch.status.is_unset for batch in batch_spans(exporter)] == [False, True]
    assert 15 <= waits(of_trace(exporter, 1), "window") < 500  # the pause between the two


def test_a_ticket_in_two_runs_is_charged_each_and_neither_stays_open(exporter: InMemorySpanExporter) -> None:
    async def work() -> None:
        batcher = Batcher()
        with batcher.join() as ticket:
            first, hedge = batcher.run([ticket, ticket]), batcher.run([ticket])
            first.__enter__()
            await asyncio.sleep(0.02)
            hedge.__enter__()
            await asyncio.sleep(0.02)
            first.__exit__(None, None, None)
            await asyncio.sleep(0.02)
            hedge.__exit__(None, None, None)
        await asyncio.sleep(0.1)

    asyncio.run(requests(work))
    found = [ms(span) for span in of_trace(exporter, 1) if span.name == "inference"]

    assert len(found) == 2
    assert all(35 <= took < 95 for took in found)  # 40 ms each; open ones would last to the end, 120 and more
    assert sum(ms(span) for span in of_trace(exporter, 1) if span.name == "batcher") < 15
    assert [len(batch.links) for batch in batch_spans(exporter)] == [1, 1]


def test_a_run_that_ends_late_leaves_the_mark_of_another_request_alone(exporter: InMemorySpanExporter) -> None:
    batcher, seen = Batcher(), []

    async def work() -> None:
        run = contextvars.copy_context().run(batcher.run([]).__enter__)  # entered in a context that is gone
        before = innermost()
        run.__exit__(None, None, None)
        seen.extend([before is not None, innermost() is before])

    asyncio.run(requests(work))

    assert seen == [True, True]


def test_a_model_that_cannot_be_printed_costs_its_name_and_no_more(exporter: InMemorySpanExporter) -> None:
    class Model:
        def __repr__(self) -> str:
            raise ValueError("not loaded")

    async def work() -> None:
        batcher = Batcher()
        with batcher.join() as ticket, batcher.run([ticket], model=Model()):  # type: ignore[arg-type]
            pass

    answers = asyncio.run(requests(work))
    (batch,) = batch_spans(exporter)

    assert answers[0].status == 200
    assert (attributes(batch)["harness.batch_size"], attributes(batch)["harness.model"]) == (1, "<unprintable>")
    assert len([span for span in of_trace(exporter, 1) if span.name == "inference"]) == 1
