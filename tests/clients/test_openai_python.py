"""pip ``openai``: a provider as if it were OpenAI."""

from __future__ import annotations

import asyncio
import typing as t
from collections.abc import Iterator

import pytest

from tests.clients.stories import joined
from tests.clients.stories import text_of
from tests.lazy import LazyModule

if t.TYPE_CHECKING:
    import openai
    from openai.types.responses import Response
else:
    openai = LazyModule("openai")

COMPLETE = [
    "text",
    "empty",
    "reasoning",
    "tools",
    "sources-data",
    "files",
    "steps",
    "usage-length",
    "odd",
]
BROKEN = ["failed", "stopped", "interrupted"]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{url}/v1", api_key="none", _strict_response_validation=True
    ) as client:
        yield client


def asking(story: str, **more: t.Any) -> dict[str, t.Any]:
    return {"model": "tell", "messages": [{"role": "user", "content": story}], **more}


@pytest.mark.parametrize("story", COMPLETE)
def test_chat_streams_every_story(client: openai.OpenAI, story: str) -> None:
    chunks = list(client.chat.completions.create(**asking(story, stream=True)))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert joined(text) == joined(text_of(story))
    assert chunks[-1].choices[0].finish_reason == ("length" if story == "usage-length" else "stop")


@pytest.mark.parametrize("story", COMPLETE)
def test_the_stream_helper_accumulates_every_story(client: openai.OpenAI, story: str) -> None:
    with client.chat.completions.stream(**asking(story)) as stream:
        for _ in stream:
            pass
        if story == "usage-length":
            with pytest.raises(openai.LengthFinishReasonError):
                stream.get_final_completion()
            return
        choice = stream.get_final_completion().choices[0]
    assert joined(choice.message.content or "") == joined(text_of(story))


@pytest.mark.parametrize("story", COMPLETE)
def test_chat_answers_without_streaming(client: openai.OpenAI, story: str) -> None:
    answer = client.chat.completions.create(**asking(story))
    assert joined(answer.choices[0].message.content or "") == joined(text_of(story))
    assert answer.id.startswith("chatcmpl-")
    assert answer._request_id


def test_chat_streams_asynchronously(url: str) -> None:
    async def text() -> str:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            stream = await client.chat.completions.create(**asking("text", stream=True))
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(text()) == text_of("text")


def test_tool_calls_arrive_in_pieces_and_whole(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(**asking("tools")) as stream:
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    whole = client.chat.completions.create(**asking("tools")).choices[0].message.tool_calls
    for calls in (streamed, whole):
        assert calls
        told = [(call.id, call.function.name, call.function.arguments) for call in calls]
        assert told == [("c1", "weather", '{"city":"Paris"}'), ("c2", "clock", '{"zone":null}')]


def test_usage_is_sent_if_it_is_requested(client: openai.OpenAI) -> None:
    asked = asking("usage-length", stream=True, stream_options={"include_usage": True})
    usage = list(client.chat.completions.create(**asked))[-1].usage
    assert usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (12, 40, 52)
    whole = client.chat.completions.create(**asking("usage-length"))
    assert whole.usage == usage
    assert not any(
        c.usage for c in client.chat.completions.create(**asking("usage-length", stream=True))
    )


def test_reasoning_and_sources_are_in_the_message(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(**asking("reasoning")).choices[0].message
    assert message.model_extra == {"reasoning_content": "Let me think.Or 5?"}
    with client.chat.completions.stream(**asking("sources-data")) as stream:
        annotations = stream.get_final_completion().choices[0].message.annotations
    assert annotations
    assert next(note.url_citation.url for note in annotations) == "https://example.org/?a=1&b=2"


@pytest.mark.parametrize("story", BROKEN)
def test_an_incomplete_answer_raises(client: openai.OpenAI, story: str) -> None:
    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(**asking(story, stream=True)))
    assert str(raised.value)
    with pytest.raises(openai.BadRequestError, match=str(raised.value)):
        client.chat.completions.create(**asking(story))


@pytest.mark.parametrize("stream", [False, True])
def test_a_rejection_raises_with_its_message_and_is_not_retried(
    client: openai.OpenAI, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError, match="This provider says no") as refused:
        client.chat.completions.create(**asking("refused", stream=stream))
    assert refused.value.status_code == 400
    assert refused.value.code == "refused"


def test_bad_requests_and_unknown_models_raise_the_sdks_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "x"}])
    wizard: t.Any = {"role": "wizard", "content": "x"}
    with pytest.raises(openai.BadRequestError, match="role"):
        client.chat.completions.create(model="tell", messages=[wizard])
    picture: t.Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    with pytest.raises(openai.UnprocessableEntityError, match="takes only text"):
        client.chat.completions.create(
            model="blind", messages=[{"role": "user", "content": [picture]}]
        )


def test_every_provider_is_a_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [
        "tell",
        "broken",
        "echo",
        "ask",
        "shop",
        "blind",
    ]
    assert client.models.retrieve("echo").object == "model"


def response_of(event: object) -> Response:
    """The response object of an event that has one."""
    response = getattr(event, "response", None)
    assert isinstance(response, openai.types.responses.Response)
    return response


@pytest.mark.parametrize("story", ["failed", "interrupted"])
def test_a_failed_response_raises_and_can_be_retrieved(client: openai.OpenAI, story: str) -> None:
    stream = client.responses.create(model="tell", input=story, stream=True)
    created = response_of(next(iter(stream)))
    with pytest.raises(openai.APIError) as raised:
        list(stream)
    failed = client.responses.retrieve(created.id)
    assert failed.status == "failed"
    assert failed.error
    assert failed.error.message == str(raised.value)


@pytest.mark.parametrize("story", [*COMPLETE, "stopped"])
def test_responses_stream_every_story(client: openai.OpenAI, story: str) -> None:
    events = list(client.responses.create(model="tell", input=story, stream=True))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert joined(text) == joined(text_of(story))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    ends = {"usage-length": "incomplete", "stopped": "incomplete"}
    last = events[-1]
    assert last.type == f"response.{ends.get(story, 'completed')}"
    final = response_of(last)
    assert client.responses.retrieve(final.id).to_dict() == final.to_dict()


@pytest.mark.parametrize("story", [story for story in COMPLETE if story != "usage-length"])
def test_the_response_helper_accumulates_every_story(client: openai.OpenAI, story: str) -> None:
    with client.responses.stream(model="tell", input=story) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    whole = client.responses.create(model="tell", input=story)
    assert joined(final.output_text) == joined(whole.output_text) == joined(text_of(story))
    assert [item.type for item in final.output] == [item.type for item in whole.output]


def test_a_failed_response_without_streaming_raises(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="The model did not answer"):
        client.responses.create(model="tell", input="failed")


def test_a_background_response_resumes_after_an_event(client: openai.OpenAI) -> None:
    seen = []
    stream = client.responses.create(model="tell", input="words-40", stream=True, background=True)
    for event in stream:
        seen.append(event)
        if len(seen) == 12:
            break
    stream.close()
    id = response_of(seen[0]).id
    rest = list(client.responses.retrieve(id, stream=True, starting_after=seen[-1].sequence_number))
    numbers = [event.sequence_number for event in [*seen, *rest]]
    assert numbers == list(range(len(numbers)))
    text = response_of(rest[-1]).output_text
    assert text == "".join(f"{number} " for number in range(40))
    with client.responses.stream(response_id=id, starting_after=5) as helper:
        assert helper.get_final_response().output_text == text


def test_a_background_response_is_polled_and_cancelled(client: openai.OpenAI) -> None:
    response = client.responses.create(model="tell", input="words-2000", background=True)
    assert response.status == "in_progress"
    cancelled = client.responses.cancel(response.id)
    assert cancelled.status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"


def test_instructions_and_input_reach_the_provider(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="echo",
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
    )
    assert answer.output_text == str(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    )
