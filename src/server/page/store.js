// Keeps conversations in this browser (IndexedDB). A head {id, title, named, created, updated, choice} per conversation and
// one record per message, so that saving a growing answer writes one message, whatever the conversation's length.

const kDatabase = "fathom";
const kBatch = 2000;

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

// Opens the database. Where the browser keeps nothing (some private windows), a store that lasts as long as the page.
export async function open_store() {
  try {
    const request = indexedDB.open(kDatabase, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("heads", {keyPath: "id"});
      request.result.createObjectStore("messages", {keyPath: "id"}).createIndex("conversation", "conversation");
    };
    return new BrowserStore(await done(request));
  } catch {
    return new PageStore();
  }
}

class BrowserStore {
  lasting = true;

  constructor(database) {
    this.database = database;
    // Another tab with a newer page may want to change the database.
    database.onversionchange = () => database.close();
  }

  heads() {
    return done(this.database.transaction("heads").objectStore("heads").getAll());
  }

  messages(conversation) {
    return done(this.database.transaction("messages").objectStore("messages").index("conversation").getAll(conversation));
  }

  // Writes a head and any of its messages: all or nothing.
  save(head, messages) {
    const transaction = this.database.transaction(["heads", "messages"], "readwrite");
    if (head) transaction.objectStore("heads").put(head);
    for (const message of messages) transaction.objectStore("messages").put(message);
    // Without this a page that closes now would take the writes with it.
    transaction.commit();
    return finished(transaction);
  }

  async remove(conversation) {
    const transaction = this.database.transaction(["heads", "messages"], "readwrite");
    transaction.objectStore("heads").delete(conversation);
    const messages = transaction.objectStore("messages");
    const keys = await done(messages.index("conversation").getAllKeys(conversation));
    for (const key of keys) messages.delete(key);
    return finished(transaction);
  }

  // Calls visit with batches of messages until all have been seen or it returns false.
  async scan(visit) {
    let range = null;
    for (;;) {
      const batch = await done(this.database.transaction("messages").objectStore("messages").getAll(range, kBatch));
      if (batch.length === 0 || visit(batch) === false || batch.length < kBatch) return;
      range = IDBKeyRange.lowerBound(batch[batch.length - 1].id, true);
    }
  }
}

class PageStore {
  lasting = false;
  all_heads = new Map();
  all_messages = new Map();

  async heads() {
    return [...this.all_heads.values()];
  }

  async messages(conversation) {
    return [...this.all_messages.values()].filter((message) => message.conversation === conversation);
  }

  async save(head, messages) {
    if (head) this.all_heads.set(head.id, structuredClone(head));
    for (const message of messages) this.all_messages.set(message.id, structuredClone(message));
  }

  async remove(conversation) {
    this.all_heads.delete(conversation);
    for (const message of await this.messages(conversation)) this.all_messages.delete(message.id);
  }

  async scan(visit) {
    visit([...this.all_messages.values()]);
  }
}
