"""Asks a running server what OpenAI's own Python client can ask, and checks the answers.

Needs: pip install openai; a server, such as `tril serve runs/tales`.
Usage: python scripts/try_openai_client.py [http://127.0.0.1:8080]
"""

import sys

import openai

address = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
client = openai.OpenAI(base_url=address + "/v1", api_key="none", max_retries=0)

model = client.models.list().data[0].id
print("model             ", model)
assert client.models.retrieve(model).id == model

whole = client.completions.create(model=model, prompt="Once", max_tokens=20, seed=1, logprobs=2, n=2)
again = client.completions.create(model=model, prompt="Once", max_tokens=20, seed=1, n=2)
assert [choice.text for choice in whole.choices] == [choice.text for choice in again.choices]
assert whole.choices[0].text != whole.choices[1].text
assert whole.usage.completion_tokens == 40 and len(whole.choices[0].logprobs.tokens) == 20
print("completion        ", repr(whole.choices[0].text))

stream = client.completions.create(
    model=model, prompt="Once", max_tokens=20, seed=1, stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == whole.choices[0].text
assert chunks[-1].usage.completion_tokens == 20
print("stream            ", len(chunks), "chunks, the same text")

messages = [{"role": "user", "content": "Once there was a"}]
chat = client.chat.completions.create(
    model=model, messages=messages, max_completion_tokens=20, seed=1, logprobs=True, top_logprobs=3
)
assert len(chat.choices[0].logprobs.content) == 20
assert len(chat.choices[0].logprobs.content[0].top_logprobs) == 3
print("chat              ", repr(chat.choices[0].message.content))
stream = client.chat.completions.create(
    model=model, messages=messages, max_completion_tokens=20, seed=1, stream=True
)
pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
assert "".join(pieces) == chat.choices[0].message.content
print("chat stream       ", len(pieces), "pieces, the same text")

messages += [
    {"role": "assistant", "content": chat.choices[0].message.content},
    {"role": "user", "content": " And"},
]
later = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=5, seed=1)
print("second turn       ", later.usage.prompt_tokens_details.cached_tokens, "of", later.usage.prompt_tokens, "cached")

receipt = client.completions.create(model=model, prompt="Once", max_tokens=5, extra_body={"receipt": True})
print("receipt of        ", receipt.model_extra["receipt"]["model_sha256"][:16], "seed", receipt.model_extra["seed"])

with client.completions.create(
    model=model, prompt="Once", max_tokens=-1, stream=True, extra_body={"ignore_eos": True}
) as endless:
    some = [chunk.choices[0].text for _, chunk in zip(range(200), endless)]
print("without end       ", len(some), "pieces, then left")


def refused(kind, **arguments):
    try:
        client.completions.create(**{"model": model, "prompt": "Once", **arguments})
    except kind as error:
        print(f"{kind.__name__:<18}", error.body["message"])
    else:
        raise AssertionError(f"{arguments} was not refused")


refused(openai.BadRequestError, suffix="end")
refused(openai.BadRequestError, best_of=3)
refused(openai.BadRequestError, prompt=[10**9])
refused(openai.NotFoundError, model="gpt-4")
try:
    client.chat.completions.create(
        model=model, messages=messages, tools=[{"type": "function", "function": {"name": "f"}}]
    )
except openai.BadRequestError as error:
    print("BadRequestError   ", error.body["message"])
