"""performance_single and precision_single: the user's own texts."""
import performance
import results
from atb_compat import dialogue, generation, tables

DEBUG_COLUMNS = ("key", "queries", "input_token_ids", "output_token_ids", "test_result", "golden_result", "pass")


def prompts_of(command):
    if command.is_chat:
        return [{"messages": [{"role": "user", "content": text}]} for text in command.texts]
    return [{"text": text} for text in command.texts]


def run(command, checkpoint):
    """All texts at once: more of them than the batch widen it, as in the seed."""
    group = results.group_of(command)
    is_performance = command.mode == "performance_single"
    for batch in (max(batch, len(command.texts)) for batch in command.batches_of(0)):
        files = results.Results(command, checkpoint, batch)
        measured, cases = [], []
        for length, output in command.cases:
            answers, times = generation.generate(group, generation.Request(
                model=command.weights, prompts=prompts_of(command), max_tokens=output, batch=batch, ignore_eos=is_performance,
                warm_up=min(length, checkpoint.max_positions - 2) if is_performance else 0,
                more=tuple(performance.engine_words(command, [batch]))))
            longest = max(len(answer["prompt_ids"]) for answer in answers)
            measured.append(performance.Measured(len(answers), longest, output, times.total / 1000, sum(times.prefill),
                                                 len(times.prefill), times.decode_token(output),
                                                 sum(len(answer["ids"]) for answer in answers)))
            cases += [(len(cases) + i, text, answer["prompt_ids"], answer["ids"], answer["text"], "", "")
                      for i, (text, answer) in enumerate(zip(command.texts, answers))]
            dialogue.print_answers(answers, with_text=True)
        if is_performance:
            files.write(command.mode, performance.COLUMNS, performance.table_rows(command.model_name, measured))
        else:
            tables.write_csv(files.debug_path(command.mode), DEBUG_COLUMNS, cases)
            print(f"results: {files.debug_path(command.mode)}")
