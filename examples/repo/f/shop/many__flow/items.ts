export async function main() {
  return [100, 200, 300];
}
