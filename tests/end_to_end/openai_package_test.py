#!/usr/bin/env python3
"""The official `openai` package against `fathom serve`: chat, streams, log-probabilities, n, leaving. Installs the package
into a virtual environment of its own.

usage: openai_package_test.py FATHOM_BINARY VENV_FOLDER

Exit status 77 (skipped), with the reason, where the package cannot be had."""
import os
import pathlib
import subprocess
import sys

PACKAGE = "openai==2.8.1"
SKIPPED = 77


def install(venv):
    """The environment's python, or None where something is missing."""
    python = venv / "bin" / "python"
    if python.exists() and subprocess.run([str(python), "-c", "import openai"], capture_output=True, check=False).returncode == 0:
        return python
    for step in ([sys.executable, "-m", "venv", "--clear", str(venv)],
                 [str(python), "-m", "pip", "install", "--quiet", PACKAGE]):
        try:
            done = subprocess.run(step, capture_output=True, timeout=300, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0:
            return None
    return python


def check(binary):
    """Runs inside the environment."""
    import openai
    from serving import Server

    messages = [{"role": "user", "content": "The old house"}]
    with Server(binary, "--api-key", "secret") as server:
        client = openai.OpenAI(base_url=server.url + "/v1", api_key="secret", max_retries=0)
        assert [model.id for model in client.models.list()][0] == "demo"

        common = {"model": "demo", "messages": messages, "max_tokens": 12, "temperature": 0.7, "seed": 5}
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

        echo = client.completions.create(model="demo", prompt="The old", max_tokens=1, echo=True, logprobs=1, temperature=0,
                                         extra_body={"top_k": 5, "return_token_ids": True})
        assert echo.choices[0].text.startswith("The old") and echo.choices[0].logprobs.token_logprobs[0] is None

        for make, error, status in (
                (lambda: client.chat.completions.create(**{**common, "model": "other"}), openai.NotFoundError, 404),
                (lambda: client.chat.completions.create(**{**common, "temperature": 3}), openai.BadRequestError, 400),
                (lambda: client.with_options(api_key="no").models.list(), openai.AuthenticationError, 401)):
            try:
                make()
            except error as caught:
                assert caught.status_code == status and caught.body["message"], caught
            else:
                raise AssertionError(f"no {error}")

        with client.chat.completions.create(**{**common, "max_tokens": 4000}, stream=True, extra_body={"ignore_eos": True}) as stream:
            next(iter(stream))
        key = {"X-API-Key": "secret"}
        import json
        from serving import wait_until
        wait_until(lambda: json.loads(server.request("GET", "/load", headers=key)[2])["server_load"] == 0, "cancelled")
    print("ok")


def main():
    binary, venv = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
    if venv.name == "inside":
        return check(binary)
    python = install(venv)
    if python is None:
        print(f"skipped: {PACKAGE} cannot be installed into {venv}")
        return SKIPPED
    return subprocess.run([str(python), __file__, binary, "inside"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
