export async function preprocessor(event: { body?: { order?: number } }) {
  return { order: event.body?.order ?? 0 };
}

export async function main(order: number = 1) {
  return `order ${order}`;
}
