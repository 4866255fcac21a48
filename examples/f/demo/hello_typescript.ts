// Says hello. What main resolves to is the result.
export async function main(name = "world") {
  console.log(`Hello, ${name}!`);
  return { greeting: `Hello, ${name}!`, length: name.length };
}
