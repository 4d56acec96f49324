// A conversation as a tree of messages: an edited question or another answer is a sibling, so nothing is ever overwritten.
// The head's choice says which sibling is shown: {parent id: child id}, the latest where it says nothing.
//
// message: {id, conversation, parent, role: "user"|"assistant", content, created, state, stats, error, model, logprobs}
// state of an answer: "streaming", "stop", "length", "stopped" (by the user), "error".

const kRoot = "root";
const kTitleLength = 60;

// Ids sort by time of making: the order among siblings, also after a reload.
let last_time = 0;
export function new_id() {
  last_time = Math.max(Date.now(), last_time + 1);
  return `${last_time.toString(36).padStart(9, "0")}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
}

export class Conversation {
  constructor(head, messages) {
    this.head = head;
    this.by_id = new Map();
    this.children = new Map();
    for (const message of messages.toSorted((a, b) => (a.id < b.id ? -1 : 1))) this.insert(message);
  }

  static create() {
    const now = Date.now();
    return new Conversation({id: new_id(), title: "", named: false, created: now, updated: now, choice: {}}, []);
  }

  insert(message) {
    this.by_id.set(message.id, message);
    if (!this.children.has(message.parent)) this.children.set(message.parent, []);
    this.children.get(message.parent).push(message);
  }

  // Adds a message under parent (null: a first one) and makes it the one shown.
  add(parent, fields) {
    const message = {id: new_id(), conversation: this.head.id, parent: parent?.id ?? kRoot, created: Date.now(), ...fields};
    this.insert(message);
    this.choose(message);
    this.head.updated = message.created;
    if (!this.head.named && message.role === "user" && !parent) this.head.title = title_of(message.content);
    return message;
  }

  choose(message) {
    this.head.choice[message.parent] = message.id;
  }

  siblings(message) {
    return this.children.get(message.parent);
  }

  parent(message) {
    return this.by_id.get(message.parent) ?? null;
  }

  // The messages shown, first to last.
  path() {
    const path = [];
    for (let at = kRoot; this.children.has(at);) {
      const children = this.children.get(at);
      const next = this.by_id.get(this.head.choice[at]) ?? children[children.length - 1];
      path.push(next);
      at = next.id;
    }
    return path;
  }

  // Makes the branch that holds a message the one shown.
  reveal(message) {
    for (let at = message; at; at = this.parent(at)) this.choose(at);
  }
}

function title_of(text) {
  const line = text.trim().split("\n", 1)[0];
  return line.length > kTitleLength ? `${[...line].slice(0, kTitleLength).join("")}…` : line;
}

export function as_markdown(conversation) {
  const parts = conversation.path().map((message) => `## ${message.role === "user" ? "User" : "Assistant"}\n\n${message.content}\n`);
  return `# ${conversation.head.title}\n\n${parts.join("\n")}`;
}

// The export format: {"format": "fathom-conversations", "version": 1, "conversations": [{head, messages}]}.
export function as_export(conversations) {
  return JSON.stringify({format: "fathom-conversations", version: 1, conversations}, null, 1);
}

function is_message(value, ids) {
  return typeof value?.id === "string" && typeof value.parent === "string" && (value.parent === kRoot || ids.has(value.parent)) &&
         typeof value.content === "string" && (value.role === "user" || value.role === "assistant");
}

// Reads an export. Every id is made anew, so importing can overwrite nothing. Throws where the file is not an export.
export function from_export(text) {
  const file = JSON.parse(text);
  if (file?.format !== "fathom-conversations" || !Array.isArray(file.conversations)) throw new Error("not an export");
  return file.conversations.map(({head, messages}) => {
    if (typeof head?.title !== "string" || !Array.isArray(messages)) throw new Error("not an export");
    const sorted = messages.toSorted((a, b) => (a?.id < b?.id ? -1 : 1));
    const ids = new Map([[kRoot, kRoot]]);
    const copy = Conversation.create();
    Object.assign(copy.head, {title: head.title, named: true, created: Number(head.created) || copy.head.created,
                              updated: Number(head.updated) || copy.head.updated});
    for (const message of sorted) {
      // A parent is older than its children, so its new id is known by now; this also rules out circles.
      if (!is_message(message, ids)) throw new Error("not an export");
      ids.set(message.id, new_id());
      copy.insert({id: ids.get(message.id), conversation: copy.head.id, parent: ids.get(message.parent), role: message.role,
                   content: message.content, created: Number(message.created) || 0, state: message.state === "length" ? "length" : "stop",
                   model: typeof message.model === "string" ? message.model : ""});
    }
    for (const [parent, child] of Object.entries(head.choice ?? {}))
      if (ids.has(parent) && ids.has(child)) copy.head.choice[ids.get(parent)] = ids.get(child);
    return copy;
  });
}
