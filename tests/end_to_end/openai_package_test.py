#!/usr/bin/env python3
"""The official `openai` package against `fathom serve`: chat, streams, log-probabilities, n, tools, constrained answers,
responses, leaving. Installs the package into a virtual environment of its own.

usage: openai_package_test.py FATHOM_BINARY VENV_FOLDER

Exit status 77 (skipped), with the reason, where the package cannot be had."""
import json
import re
import sys

from package_venv import run_inside
from serving import Server, in_threads, wait_until

PACKAGES = ("openai==2.8.1", "jsonschema==4.26.0")
MESSAGES = [{"role": "user", "content": "The old house"}]
KEY = {"X-API-Key": "secret"}
PLACE = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
         "required": ["city", "days"], "additionalProperties": False}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city.", "parameters": PLACE}}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {
    "type": "object", "properties": {"zone": {"enum": ["utc", "cet"]}}, "required": ["zone"], "additionalProperties": False}}}
SCHEMAS = (
    PLACE,
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    {"enum": ["red", "green", 3, None]},
    {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": -5, "maximum": 20}]},
    {"type": "string", "pattern": "^[a-c]{2,4}$"},
    {"type": "object", "properties": {"when": {"type": "string", "format": "date"}, "ok": {"const": True}},
     "required": ["when", "ok"], "additionalProperties": False},
    {"$defs": {"leaf": {"type": "object", "properties": {"v": {"type": "boolean"}}, "required": ["v"], "additionalProperties": False}},
     "type": "array", "items": {"$ref": "#/$defs/leaf"}, "minItems": 1, "maxItems": 2},
)


def expect_error(make, error, status):
    try:
        make()
    except error as caught:
        assert caught.status_code == status and caught.body["message"], caught
        return caught
    raise AssertionError(f"no {error}")


def check_answers(openai, client):
    assert [model.id for model in client.models.list()][0] == "demo"
    common = {"model": "demo", "messages": MESSAGES, "max_tokens": 12, "temperature": 0.7, "seed": 5}
    whole = client.chat.completions.create(**common)
    assert whole.usage.completion_tokens == 12 and whole.choices[0].finish_reason == "length", whole
    chunks = list(client.chat.completions.create(**common, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].usage.completion_tokens == 12

    scored = client.chat.completions.create(**common, logprobs=True, top_logprobs=2, n=2)
    assert len(scored.choices) == 2 and scored.choices[0].message.content == text
    for choice in scored.choices:
        assert len(choice.logprobs.content) == 12
        assert all(len(entry.top_logprobs) == 2 and bytes(entry.bytes) for entry in choice.logprobs.content)
    again = client.chat.completions.create(**common)
    assert again.usage.prompt_tokens_details.cached_tokens >= 0

    echo = client.completions.create(model="demo", prompt="The old", max_tokens=1, echo=True, logprobs=1, temperature=0,
                                     extra_body={"top_k": 5, "return_token_ids": True})
    assert echo.choices[0].text.startswith("The old") and echo.choices[0].logprobs.token_logprobs[0] is None
    scores = client.completions.create(model="demo", prompt="The old house", max_tokens=3, temperature=0,
                                       extra_body={"prompt_logprobs": 2, "return_token_ids": True}).choices[0]
    assert scores.prompt_logprobs[0] is None and len(scores.prompt_logprobs) == len(scores.prompt_token_ids)
    for token, entry in zip(scores.prompt_token_ids[1:], scores.prompt_logprobs[1:]):
        assert 2 <= len(entry) <= 3 and entry[str(token)]["rank"] >= 1, entry

    stopped = client.chat.completions.create(**{**common, "max_tokens": 200}, stop=["e"])
    assert stopped.choices[0].finish_reason == "stop" and stopped.choices[0].stop_reason == "e", stopped
    assert "e" not in stopped.choices[0].message.content
    timed = client.chat.completions.create(**common, extra_body={"timings_per_token": True})
    assert timed.timings["predicted_n"] == 12 and timed.timings["predicted_per_second"] > 0, timed.timings

    expect_error(lambda: client.chat.completions.create(**{**common, "model": "other"}), openai.NotFoundError, 404)
    expect_error(lambda: client.chat.completions.create(**{**common, "temperature": 3}), openai.BadRequestError, 400)
    expect_error(lambda: client.with_options(api_key="no").models.list(), openai.AuthenticationError, 401)


def check_constraints(openai, client):
    import jsonschema

    def create(**fields):
        return client.chat.completions.create(**{"model": "demo", "messages": MESSAGES, "max_tokens": 500, "temperature": 1, **fields})

    for schema in SCHEMAS:
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        for seed in range(3):
            answer = create(response_format=wanted, seed=seed, n=2)
            for choice in answer.choices:
                assert choice.finish_reason == "stop", (schema, choice)
                jsonschema.validate(json.loads(choice.message.content), schema)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in create(response_format=wanted, seed=2, stream=True))
    assert streamed == answer.choices[0].message.content
    free = create(response_format={"type": "json_object"}, seed=1).choices[0]
    assert free.message.content.startswith("{")
    if free.finish_reason == "stop":
        json.loads(free.message.content)
    for fields, pattern in (({"structured_outputs": {"regex": "[0-9]{3}-[ab]"}}, "[0-9]{3}-[ab]"),
                            ({"guided_choice": ["yes", "no"]}, "yes|no"),
                            ({"structured_outputs": {"grammar": 'root ::= "x" ("y" | "z")+ "."'}}, r"x[yz]*\.?")):
        answer = create(extra_body=fields, logprobs=True, top_logprobs=1, seed=3).choices[0]
        assert re.fullmatch(pattern, answer.message.content), (fields, answer)
        assert answer.logprobs.content
    for fields, param in (({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "x"}}}}, "response_format"),
                          ({"extra_body": {"guided_regex": "("}}, "guided_regex"),
                          ({"extra_body": {"structured_outputs": {"grammar": "nonsense"}}}, "structured_outputs.grammar")):
        caught = expect_error(lambda: create(**fields), openai.BadRequestError, 400)
        assert caught.param == param, caught.body


def check_tools(openai, client):
    import jsonschema

    def create(**fields):
        return client.chat.completions.create(**{"model": "demo", "messages": MESSAGES, "max_tokens": 500, "temperature": 1, "seed": 4,
                                                 "tools": [WEATHER, TIME], **fields})

    named = {"type": "function", "function": {"name": "get_weather"}}
    whole = create(tool_choice=named).choices[0]
    (call,) = whole.message.tool_calls
    assert whole.finish_reason == "tool_calls" and whole.message.content is None and call.type == "function" and call.id
    assert call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), PLACE)

    name, arguments, reason, pieces = "", "", None, 0
    for chunk in create(tool_choice=named, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            assert delta.index == 0
            name += delta.function.name or ""
            arguments += delta.function.arguments or ""
            pieces += 1
        reason = chunk.choices[0].finish_reason or reason
    assert (name, arguments, reason) == ("get_weather", call.function.arguments, "tool_calls") and pieces > 2

    required = create(tool_choice="required", parallel_tool_calls=False, n=2)
    for choice in required.choices:
        (one,) = choice.message.tool_calls
        jsonschema.validate(json.loads(one.function.arguments),
                            {"get_weather": PLACE, "get_time": TIME["function"]["parameters"]}[one.function.name])

    # The call and its result go back to the model.
    messages = [*MESSAGES, {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    more = create(messages=messages, max_tokens=8)
    assert more.usage.completion_tokens <= 8
    caught = expect_error(lambda: create(tool_choice={"type": "function", "function": {"name": "no"}}), openai.BadRequestError, 400)
    assert caught.param == "tool_choice"


def check_responses(openai, client):
    import jsonschema

    common = {"model": "demo", "input": "The old house", "instructions": "Go on.", "temperature": 0.7, "max_output_tokens": 12,
              "extra_body": {"seed": 5}}
    whole = client.responses.create(**common)
    assert whole.status == "incomplete" and whole.incomplete_details.reason == "max_output_tokens" and whole.usage.output_tokens == 12
    events = list(client.responses.create(**common, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == "response.incomplete"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == events[-1].response.output_text, (text, whole.output_text)
    ending = {**common, "max_output_tokens": 200, "extra_body": {"seed": 5, "stop": ["e"]}}
    with client.responses.stream(**ending) as stream:  # the package's helper knows complete responses only
        assert stream.until_done().get_final_response().output_text == client.responses.create(**ending).output_text
    scored = client.responses.create(**common, include=["message.output_text.logprobs"], top_logprobs=2)
    assert len(scored.output[0].content[0].logprobs) > 0

    formatted = client.responses.create(**{**common, "max_output_tokens": 500}, text={
        "format": {"type": "json_schema", "name": "place", "schema": PLACE, "strict": True}})
    assert formatted.status == "completed"
    jsonschema.validate(json.loads(formatted.output_text), PLACE)

    tools = [{"type": "function", "name": "get_weather", "parameters": PLACE, "strict": True}]
    called = client.responses.create(**{**common, "max_output_tokens": 500}, tools=tools, tool_choice="required", parallel_tool_calls=False)
    (call,) = called.output
    assert call.type == "function_call" and call.name == "get_weather"
    jsonschema.validate(json.loads(call.arguments), PLACE)
    events = list(client.responses.create(**{**common, "max_output_tokens": 500}, tools=tools, tool_choice="required",
                                          parallel_tool_calls=False, stream=True))
    assert "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta") == call.arguments
    client.responses.create(**{**common, "input": [
        {"role": "user", "content": "x"}, {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]})
    caught = expect_error(lambda: client.responses.create(**common, previous_response_id="resp_1"), openai.BadRequestError, 400)
    assert caught.param == "previous_response_id"


def check_bystanders(openai, client):
    """Bad requests and cancelled ones leave other answers byte for byte as they are."""
    body = {"model": "demo", "messages": MESSAGES, "max_tokens": 60, "temperature": 0.9, "seed": 11, "stream": True}

    def stream():
        return "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**body))

    def disturb():
        for _ in range(5):
            for fields in ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "x"}}}},
                           {"extra_body": {"guided_regex": "a{9999999}"}}, {"tools": [WEATHER], "tool_choice": "never"}):
                expect_error(lambda: client.chat.completions.create(**{**body, **fields}), openai.BadRequestError, 400)
            with client.chat.completions.create(**{**body, "max_tokens": 500}, extra_body={"guided_regex": "[a-z ]*"}) as left:
                next(iter(left))

    alone = stream()
    assert in_threads([stream, stream, disturb])[:2] == [alone, alone]


def check_leaving(client, server):
    with client.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=4000, stream=True, extra_body={"ignore_eos": True}) as stream:
        next(iter(stream))
    wait_until(lambda: json.loads(server.request("GET", "/load", headers=KEY)[2])["server_load"] == 0, "cancelled")


def check(binary):
    """Runs inside the environment."""
    import openai

    with Server(binary, "--api-key", "secret") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="secret", max_retries=0)
        for part in (check_answers, check_constraints, check_tools, check_responses, check_bystanders):
            part(openai, client)
            print(f"{part.__name__}: ok", flush=True)
        check_leaving(client, server)
    print("ok")


if __name__ == "__main__":
    sys.exit(run_inside(__file__, check, PACKAGES, ("openai", "jsonschema")))
