// The languages that the page offers, and what a new script in each begins with.

export const languages = ['bash', 'python3', 'bun', 'deno', 'nativets', 'go', 'postgresql'];

export const beginnings: Record<string, string> = {
  bash: 'name="$1"\necho "Hello, $name"\n',
  python3: 'def main(name: str = "you"):\n    return f"Hello, {name}"\n',
  bun: 'export async function main(name: string = "you") {\n  return `Hello, ${name}`;\n}\n',
  deno: 'export async function main(name: string = "you") {\n  return `Hello, ${name}`;\n}\n',
  nativets: 'export async function main(name: string = "you") {\n  return `Hello, ${name}`;\n}\n',
  go: 'package inner\n\nfunc main(name string) (any, error) {\n\treturn "Hello, " + name, nil\n}\n',
  postgresql: '-- $1 name = you\nSELECT $1::text AS hello\n',
};
