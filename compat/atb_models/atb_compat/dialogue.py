"""What run_pa.py and run_fa.py do once their options are read."""
import dataclasses

from . import dumps, generation, inputs, variables


def print_answers(answers, with_text):
    for i, answer in enumerate(answers):
        print(f"Answer[{i}]: {answer['text'] if with_text else answer['ids']}")
        print(f"Generate[{i}] token num: ({i}, {len(answer['ids'])})")


def run(ranks, request, chat_template="", with_text=True):
    """Answers the request's prompts, prints them, and leaves the files that the environment asks for. A single prompt is asked as
    often as the batch has places."""
    if len(request.prompts) == 1:
        request.prompts = request.prompts * request.batch
    with inputs.with_chat_template(request.model, chat_template) as model:
        answers, times = generation.generate(ranks, dataclasses.replace(request, model=model))
    print_answers(answers, with_text)
    if variables.is_on("ATB_LLM_BENCHMARK_ENABLE"):
        dumps.benchmark(request.batch, answers, times)
    dumps.wanted_dumps(ranks, request.model, answers)
