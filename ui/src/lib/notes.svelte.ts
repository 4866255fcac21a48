// Short notes at the edge of the page: what was done, and what went wrong.

export interface Note {
  id: number;
  text: string;
  bad: boolean;
}

class Notes {
  list = $state<Note[]>([]);
  #next = 1;

  say(text: string, bad = false): void {
    const id = this.#next++;
    this.list.push({ id, text, bad });
    if (!bad) setTimeout(() => this.drop(id), 6000);
  }

  drop(id: number): void {
    this.list = this.list.filter((n) => n.id !== id);
  }
}

export const notes = new Notes();
