export async function main(cents: number = 100, rate: number = 1.1) {
  return cents * rate;
}
