export async function main(items: string[] = ["tea", "milk"]) {
  return items.map((name, at) => ({ name, at }));
}
