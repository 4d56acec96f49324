#!/usr/bin/env python3
"""The official `anthropic` package against `fathom serve`: messages, streams, stop sequences, tools, a begun answer, counting.
Installs the package into a virtual environment of its own.

usage: anthropic_package_test.py FATHOM_BINARY VENV_FOLDER

Exit status 77 (skipped), with the reason, where the package cannot be had."""
import json
import sys

from package_venv import run_inside
from serving import Server, wait_until

PACKAGES = ("anthropic==2.13.0",)
TOOL = {"name": "get_weather", "description": "The weather of a city.", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"], "additionalProperties": False}}
COMMON = {"model": "demo", "max_tokens": 12, "system": "Go on.",
          "messages": [{"role": "user", "content": "The old house"}], "extra_body": {"seed": 5, "temperature": 0.7}}


def check_answers(anthropic, client):
    whole = client.messages.create(**COMMON)
    assert whole.type == "message" and whole.role == "assistant" and whole.stop_reason == "max_tokens", whole
    assert whole.usage.output_tokens == 12 and whole.usage.input_tokens + whole.usage.cache_read_input_tokens > 0
    text = whole.content[0].text
    with client.messages.stream(**COMMON) as stream:
        assert "".join(stream.text_stream) == text
        final = stream.get_final_message()
    assert final.content[0].text == text and final.stop_reason == "max_tokens" and final.usage.output_tokens == 12
    names = [event.type for event in client.messages.create(**COMMON, stream=True)]
    assert names[0] == "message_start" and names[-2:] == ["message_delta", "message_stop"], names

    stopped = client.messages.create(**{**COMMON, "max_tokens": 200}, stop_sequences=["e"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "e") and "e" not in stopped.content[0].text
    begun = client.messages.create(**{**COMMON, "messages": [*COMMON["messages"], {"role": "assistant", "content": "was"}]})
    assert begun.usage.output_tokens == 12
    count = client.messages.count_tokens(model="demo", system="Go on.", messages=COMMON["messages"])
    assert count.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens


def check_tools(client):
    def is_valid(arguments):
        return len(arguments) == 2 and len(arguments["city"]) <= 8 and 1 <= arguments["days"] <= 9

    fields = {**COMMON, "max_tokens": 500, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "get_weather"}}
    whole = client.messages.create(**fields)
    (call,) = whole.content
    assert whole.stop_reason == "tool_use" and call.type == "tool_use" and call.name == "get_weather" and is_valid(call.input), whole
    with client.messages.stream(**fields) as stream:
        final = stream.get_final_message()
    assert final.content[0].input == call.input and final.stop_reason == "tool_use"
    anything = client.messages.create(**{**fields, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}})
    assert [block.type for block in anything.content] == ["tool_use"] and is_valid(anything.content[0].input)
    client.messages.create(**{**COMMON, "tools": [TOOL], "messages": [
        *COMMON["messages"], {"role": "assistant", "content": [call.model_dump()]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}]})


def check_errors(anthropic, client):
    for fields, error, status in (({"extra_body": {"temperature": 3}}, anthropic.BadRequestError, 400), ({"model": "other"}, anthropic.NotFoundError, 404),
                                  ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, anthropic.BadRequestError, 400)):
        try:
            client.messages.create(**{**COMMON, **fields})
        except error as caught:
            assert caught.status_code == status and caught.body["type"] == "error" and caught.body["error"]["message"], caught.body
        else:
            raise AssertionError(f"no {error}")


def check(binary):
    """Runs inside the environment."""
    import anthropic

    with Server(binary, "--api-key", "secret") as server:
        client = anthropic.Anthropic(base_url=server.url, api_key="secret", max_retries=0)
        check_answers(anthropic, client)
        check_tools(client)
        check_errors(anthropic, client)
        with client.messages.stream(**{**COMMON, "max_tokens": 4000, "extra_body": {"ignore_eos": True}}) as stream:
            next(iter(stream))
        load = lambda: json.loads(server.request("GET", "/load", headers={"X-API-Key": "secret"})[2])["server_load"]
        wait_until(lambda: load() == 0, "cancelled")
    print("ok")


if __name__ == "__main__":
    sys.exit(run_inside(__file__, check, PACKAGES, ("anthropic",)))
