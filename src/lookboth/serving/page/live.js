// Labeling while a text is typed: a stream of the server gets what is added to the text; another change opens a new stream.

// Calls `receive(name, data)` for each server-sent event of an answer, until the answer ends.
async function readEvents(answer, receive) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const events = (text + part.value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const [name, data] = event.split("\n").map((line) => line.slice(line.indexOf(": ") + 2));
      receive(name, JSON.parse(data));
    }
  }
}

export class Live {
  #wanted = null;
  #running = false;
  #stream = null;

  // `post(path, body, signal)` returns an answer or throws; `show(text, spans)` is called with what is final so far.
  constructor(post, show, explain) {
    this.post = post;
    this.show = show;
    this.explain = explain;
  }

  // Labels `text`; `options` are those of the request that opens a stream. Calls that come meanwhile are joined.
  async follow(text, options) {
    this.#wanted = { text, options };
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#wanted) {
        const { text: next, options: asked } = this.#wanted;
        this.#wanted = null;
        await this.#send(next, asked);
      }
    } catch (error) {
      this.stop();
      if (error.name !== "AbortError") this.explain(error);
    } finally {
      this.#running = false;
    }
  }

  stop() {
    this.#wanted = null;
    this.#stream?.abort.abort();
    this.#stream = null;
  }

  async #send(text, options) {
    const same = this.#stream && !this.#stream.ended && this.#stream.options === JSON.stringify(options);
    if (!same || !text.startsWith(this.#stream.sent)) await this.#open(options);
    const stream = this.#stream;
    const piece = text.slice(stream.sent.length);
    stream.sent = text;
    if (piece) await this.post(`v1/streams/${stream.name}`, { text: piece }, stream.abort.signal);
    this.show(text, stream.spans);
  }

  async #open(options) {
    this.stop();
    const stream = { abort: new AbortController(), options: JSON.stringify(options), sent: "", spans: [], ended: false };
    const answer = await this.post("v1/streams", { ...options, lag: 0 }, stream.abort.signal);
    await new Promise((opened, failed) => {
      const receive = (name, data) => {
        if (name === "open") opened((stream.name = data.stream));
        else if (name === "update" && data.spans.length) {
          stream.spans.push(...data.spans);
          if (stream === this.#stream) this.show(stream.sent, stream.spans);
        }
      };
      readEvents(answer, receive)
        .catch(failed)
        .finally(() => (stream.ended = true));
    });
    this.#stream = stream;
  }
}
