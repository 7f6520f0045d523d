"""What all requests together may hold, and in which order and company images leave the queue."""

import asyncio
import socket
import threading
from time import monotonic

import pytest
import uvicorn
from starlette.requests import Request

from y12.runtime.options import DetectOptions
from y12.serve.bodies import Bodies
from y12.serve.protocol import Protocol
from y12.serve.queue import Job, JobQueue
from y12.serve.refusals import Refusal
from y12.serve.server import listening

LOOSE, STRICT = DetectOptions(), DetectOptions(conf=0.9)


def request(body):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_all_bodies_together_hold_so_much_and_no_more():
    async def both():
        bodies = Bodies(1000, 1500, 5)
        async with bodies.read(request(bytes(1000))) as first:
            assert len(first) == 1000
            with pytest.raises(Refusal, match="expected room for the body within 1500 bytes, found none") as caught:
                async with bodies.read(request(bytes(600))):
                    pass
            assert (caught.value.status, caught.value.retry_after_s) == (503, 1)
            async with bodies.read(request(bytes(500))):
                pass
        async with bodies.read(request(bytes(1000))):  # what was held, and what was refused, is free again
            pass

    asyncio.run(both())


def job(options=LOOSE):
    return Job(lambda: None, options, lambda found: found)


def test_a_batch_has_the_same_options_and_the_order_is_kept():
    queue = JobQueue(10)
    jobs = [job(), job(), job(STRICT), job()]
    queue.put(jobs)
    assert [queue.take(8, 0) for _ in range(3)] == [jobs[:2], jobs[2:3], jobs[3:]]
    queue.put(jobs := [job() for _ in range(5)])
    assert [queue.take(4, 0), queue.take(4, 0)] == [jobs[:4], jobs[4:]]


def test_a_batch_is_waited_for_as_long_as_its_first_image_may_wait():
    queue = JobQueue(10)
    first, second, late = job(), job(), job()
    queue.put([first])
    threading.Timer(0.1, queue.put, [[second]]).start()
    began = monotonic()
    assert queue.take(8, 0.4) == [first, second]
    assert 0.25 < monotonic() - began < 5
    late.queued_at -= 1  # it has waited long enough
    queue.put([late])
    began = monotonic()
    assert queue.take(8, 0.5) == [late]
    assert monotonic() - began < 0.4


def test_all_images_of_a_request_have_a_place_or_none():
    queue = JobQueue(3)
    queue.put([job(), job()])
    with pytest.raises(Refusal, match="expected room for 2 in the queue, found 2 of 3 places taken") as caught:
        queue.put([job(), job()])
    assert caught.value.status == 503
    assert len(queue) == 2
    queue.put([job()])


def test_the_seconds_of_retry_after_are_those_of_what_waits():
    queue = JobQueue(100)
    queue.put([job() for _ in range(50)])
    assert queue.retry_after_s() == 1
    queue.learn(0.1)
    assert queue.retry_after_s() == 5


def test_what_nobody_waits_for_leaves_its_place():
    queue = JobQueue(2)
    jobs = [job(), job()]
    queue.put(jobs)
    assert queue.drop(jobs[:1]) == 1
    queue.put([other := job()])
    assert queue.take(8, 0) == [jobs[1], other]
    assert queue.drop([other]) == 0  # it is under way


def test_a_closed_queue_gives_what_it_has_and_takes_no_more():
    queue = JobQueue(2)
    queue.put([waiting := job()])
    queue.close()
    with pytest.raises(Refusal, match="found one that stops"):
        queue.put([job()])
    assert queue.take(8, 10) == [waiting]
    assert queue.take(8, 10) == []


def test_an_answer_that_nobody_reads_is_given_up():
    """It is larger than what the sockets hold, as few of y12's are."""
    ended = threading.Event()

    async def app(scope, receive, send):
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(64):
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            ended.set()

    impatient = type("Impatient", (Protocol,), {"unread_s": 0.3})
    server = uvicorn.Server(uvicorn.Config(app, http=impatient, ws="none", lifespan="off", log_config=None))
    listener = listening("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with socket.create_connection(listener.getsockname()) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert ended.wait(20)
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
